// SPDX-License-Identifier: Apache-2.0
/* Attention over the forest, backward. Probabilities are made again from the scores and the stored
 * log-sum: P = exp(S - lse). With D = rowsum(dout · out) (Dao et al. 2022):
 *     dV += P^T dout,  dS = P · (dout V^T - D),  dQ = dS K · scale,  dK += dS^T (scale · Q).
 *
 * A thread takes a tree and a key head as a whole: nobody else adds to its keys, and the sums run
 * over its segments in order. */
#include "attention.h"
#include "simd.h"

#include <omp.h>
#include <string.h>

typedef struct backward {
    attention_shape shape;
    const pb_tensor *q, *keys, *values, *dout, *out, *lse;
    pb_tensor *dq, *dkeys, *dvalues;
} backward;

/* A thread's own: R rows of a block. */
typedef struct workspace {
    float *q;      /* [R, E], times the scale */
    float *dout;   /* [R, E] */
    float *dq;     /* [R, E] */
    float *scores; /* [R, ATTENTION_KEYS]: S, P, then dS */
    float *dprob;  /* [R, ATTENTION_KEYS]: dout V^T */
    float *lse;    /* [R] */
    float *delta;  /* [R] */
} workspace;

/* Hands out the parts of a thread's memory; with at == NULL only counts their bytes. */
static size_t workspace_at(const attention_shape *s, char *at, workspace *w)
{
    float **parts[] = {&w->q, &w->dout, &w->dq, &w->scores, &w->dprob, &w->lse, &w->delta};
    int64_t sizes[] = {s->width, s->width, s->width, ATTENTION_KEYS, ATTENTION_KEYS, 1, 1};
    size_t used     = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (at != NULL) {
            *parts[i] = (float *)(void *)(at + used);
        }
        used += cpu_bytes(s->rows * sizes[i], sizeof(float));
    }
    return used;
}

/* The blocks of each tree: order [blocks], start [trees + 1]. */
typedef struct trees {
    attention_block *blocks;
    int64_t *start;
    int64_t *order;
    int32_t *tree; /* of each segment */
    int64_t count;
} trees;

/* A stable counting sort of the blocks by tree. */
static void sort_blocks(const attention_shape *shape, trees *t)
{
    const pb_forest *forest = shape->args->forest;
    attention_cut(shape, t->blocks);
    t->count = 0;
    for (int64_t i = 0; i < forest->count; i++) {
        int32_t parent = forest->segments[i].parent;
        t->tree[i]     = parent >= 0 ? t->tree[parent] : (int32_t)t->count++;
    }
    memset(t->start, 0, (size_t)(t->count + 1) * sizeof *t->start);
    for (int64_t b = 0; b < shape->blocks; b++) {
        t->start[t->tree[t->blocks[b].segment] + 1]++;
    }
    for (int64_t i = 0; i < t->count; i++) {
        t->start[i + 1] += t->start[i];
    }
    for (int64_t b = 0; b < shape->blocks; b++) {
        t->order[t->start[t->tree[t->blocks[b].segment]]++] = b;
    }
    for (int64_t i = t->count; i > 0; i--) {
        t->start[i] = t->start[i - 1];
    }
    t->start[0] = 0;
}

/* P and dS of one row: scores become dS after dV has taken P, so P is kept in `dprob`'s place. */
static void probabilities(float *s, int64_t first, int64_t end, int64_t keys, float lse)
{
    for (int64_t i = 0; i < first; i++) {
        s[i] = 0.0f;
    }
    for (int64_t i = first; i < end; i++) {
        s[i] = simd_exp(s[i] - lse);
    }
    for (int64_t i = end > first ? end : first; i < keys; i++) {
        s[i] = 0.0f;
    }
}

static void backward_keys(const backward *b, const attention_block *block, int64_t kv_head,
                          const pb_span *span, int64_t first, int64_t keys, workspace *w)
{
    const attention_shape *shape = &b->shape;
    int64_t rows                 = block->count * shape->group;
    int64_t width                = shape->width;
    int64_t column               = kv_head * width;
    int64_t row                  = span->key + first;
    small_block k                = {cpu_row(b->keys, row) + column, b->keys->stride};
    small_block v                = {cpu_row(b->values, row) + column, b->values->stride};
    small_block dk               = {cpu_row(b->dkeys, row) + column, b->dkeys->stride};
    small_block dv               = {cpu_row(b->dvalues, row) + column, b->dvalues->stride};
    small_block scores           = {w->scores, ATTENTION_KEYS};
    small_block dprob            = {w->dprob, ATTENTION_KEYS};
    small_block q                = {w->q, width};
    small_block dout             = {w->dout, width};
    small_nt(scores, q, k, rows, keys, width);
    for (int64_t j = 0; j < block->count; j++) {
        int64_t from;
        int64_t end;
        attention_visible(shape, block, span, j, &from, &end);
        from = from < first ? 0 : (from - first < keys ? from - first : keys);
        end  = end - first < keys ? end - first : keys;
        for (int64_t r = j * shape->group; r < (j + 1) * shape->group; r++) {
            probabilities(w->scores + r * ATTENTION_KEYS, from, end, keys, w->lse[r]);
        }
    }
    small_tn_add(dv, scores, dout, keys, width, rows);
    small_nt(dprob, dout, v, rows, keys, width);
    for (int64_t r = 0; r < rows; r++) {
        float *s       = w->scores + r * ATTENTION_KEYS;
        const float *d = w->dprob + r * ATTENTION_KEYS;
        float delta    = w->delta[r];
        for (int64_t i = 0; i < keys; i++) {
            s[i] *= d[i] - delta;
        }
    }
    small_nn_add((small_block){w->dq, width}, scores, k, rows, width, keys);
    small_tn_add(dk, scores, q, keys, width, rows);
}

static void backward_block(const backward *b, const attention_block *block, int64_t kv_head,
                           workspace *w)
{
    const attention_shape *shape = &b->shape;
    const pb_forest *forest      = shape->args->forest;
    int64_t rows                 = block->count * shape->group;
    attention_pack(shape, block, kv_head, b->q, shape->args->scale, w->q);
    attention_pack(shape, block, kv_head, b->out, 1.0f, w->dq);
    attention_pack(shape, block, kv_head, b->dout, 1.0f, w->dout);
    for (int64_t r = 0; r < rows; r++) {
        const float *lse = cpu_row(b->lse, block->slot + r / shape->group);
        w->lse[r]        = lse[kv_head * shape->group + r % shape->group];
        w->delta[r] = simd_dot(w->dq + r * shape->width, w->dout + r * shape->width, shape->width);
    }
    memset(w->dq, 0, (size_t)(rows * shape->width) * sizeof(float));
    for (int32_t s = block->segment; s >= 0; s = forest->segments[s].parent) {
        pb_span span = pb_span_of(forest, s, block->segment);
        int64_t first;
        int64_t end;
        int64_t unused;
        attention_visible(shape, block, &span, 0, &first, &unused);
        attention_visible(shape, block, &span, block->count - 1, &unused, &end);
        for (int64_t k = first; k < end; k += ATTENTION_KEYS) {
            backward_keys(b, block, kv_head, &span, k,
                          end - k < ATTENTION_KEYS ? end - k : ATTENTION_KEYS, w);
        }
    }
    attention_unpack(shape, block, kv_head, w->dq, shape->args->scale, b->dq);
}

pb_status cpu_attention_backward(pb_backend *be, pb_tensor *dq, pb_tensor *dkeys,
                                 pb_tensor *dvalues, const pb_tensor *dout, const pb_tensor *out,
                                 const pb_tensor *lse, const pb_tensor *q, const pb_tensor *keys,
                                 const pb_tensor *values, const pb_attention_args *args)
{
    backward b         = {.shape   = attention_shape_of(args),
                          .q       = q,
                          .keys    = keys,
                          .values  = values,
                          .dout    = dout,
                          .out     = out,
                          .lse     = lse,
                          .dq      = dq,
                          .dkeys   = dkeys,
                          .dvalues = dvalues};
    int64_t segments   = args->forest->count;
    workspace none     = {0};
    size_t own_bytes   = workspace_at(&b.shape, NULL, &none);
    size_t block_bytes = cpu_bytes(b.shape.blocks, sizeof(attention_block));
    size_t start_bytes = cpu_bytes(segments + 1, sizeof(int64_t));
    size_t order_bytes = cpu_bytes(b.shape.blocks, sizeof(int64_t));
    size_t tree_bytes  = cpu_bytes(segments, sizeof(int32_t));
    size_t list_bytes  = block_bytes + start_bytes + order_bytes + tree_bytes;
    void *scratch      = NULL;
    PB_TRY(cpu_scratch(be, list_bytes + own_bytes * (size_t)be->threads, &scratch));
    char *at = scratch;
    trees t  = {.blocks = (void *)at,
                .start  = (void *)(at + block_bytes),
                .order  = (void *)(at + block_bytes + start_bytes),
                .tree   = (void *)(at + block_bytes + start_bytes + order_bytes)};
    sort_blocks(&b.shape, &t);
    int64_t units = t.count * args->kv_heads;
#pragma omp parallel num_threads(be->threads) if (units > 1)
    {
        workspace w;
        workspace_at(&b.shape, at + list_bytes + own_bytes * (size_t)omp_get_thread_num(), &w);
#pragma omp for schedule(dynamic)
        for (int64_t u = 0; u < units; u++) {
            int64_t tree = u / args->kv_heads;
            for (int64_t i = t.start[tree]; i < t.start[tree + 1]; i++) {
                backward_block(&b, &t.blocks[t.order[i]], u % args->kv_heads, &w);
            }
        }
    }
    return PB_OK;
}
