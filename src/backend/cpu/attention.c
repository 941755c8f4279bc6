// SPDX-License-Identifier: Apache-2.0
/* Attention over the forest, forward: for each block of queries a pass over the keys of its chain,
 * from its own segment to the root, with the running maximum and sum of Milakov & Gimelshein
 * (2018); scores exist for one block of keys at a time.
 *
 * A block writes its own rows only, so blocks and key heads are shared among threads freely. It
 * holds queries of one segment: a segment's result has the same bits whatever other segments there
 * are. */
#include "attention.h"
#include "simd.h"

#include <math.h>
#include <omp.h>
#include <string.h>

void attention_pack(const attention_plan *plan, const attention_block *block, int64_t kv_head,
                    const pb_tensor *t, float factor, float *to)
{
    int64_t width = plan->group * plan->width;
    for (int64_t j = 0; j < block->count; j++) {
        const float *from = cpu_row(t, block->slot + j) + kv_head * width;
        for (int64_t i = 0; i < width; i++) {
            to[j * width + i] = from[i] * factor;
        }
    }
}

void attention_unpack(const attention_plan *plan, const attention_block *block, int64_t kv_head,
                      const float *from, float factor, pb_tensor *t)
{
    int64_t width = plan->group * plan->width;
    for (int64_t j = 0; j < block->count; j++) {
        float *to = cpu_row(t, block->slot + j) + kv_head * width;
        for (int64_t i = 0; i < width; i++) {
            to[i] = from[j * width + i] * factor;
        }
    }
}

typedef struct forward {
    const attention_plan *plan;
    const pb_tensor *q, *keys, *values;
    pb_tensor *out, *lse;
} forward;

/* A thread's own: R rows of a block. */
typedef struct workspace {
    float *q;      /* [R, E] */
    float *out;    /* [R, E] */
    float *scores; /* [R, ATTENTION_KEYS] */
    float *max;    /* [R] */
    float *sum;    /* [R] */
} workspace;

static size_t workspace_bytes(const attention_plan *p)
{
    return 2 * cpu_bytes(p->rows * p->width, sizeof(float)) +
           cpu_bytes(p->rows * ATTENTION_KEYS, sizeof(float)) +
           2 * cpu_bytes(p->rows, sizeof(float));
}

static workspace workspace_at(const attention_plan *p, char *at)
{
    workspace w;
    w.q = (float *)(void *)at;
    at += cpu_bytes(p->rows * p->width, sizeof(float));
    w.out = (float *)(void *)at;
    at += cpu_bytes(p->rows * p->width, sizeof(float));
    w.scores = (float *)(void *)at;
    at += cpu_bytes(p->rows * ATTENTION_KEYS, sizeof(float));
    w.max = (float *)(void *)at;
    at += cpu_bytes(p->rows, sizeof(float));
    w.sum = (float *)(void *)at;
    return w;
}

/* Turns scores first … end - 1 into exp(score - max), the others of the block into 0, and brings
 * the row's output to the new maximum. */
static void softmax_row(workspace *w, int64_t r, int64_t first, int64_t end, int64_t keys,
                        int64_t width)
{
    float *s = w->scores + r * ATTENTION_KEYS;
    if (first >= end) {
        memset(s, 0, (size_t)keys * sizeof *s);
        return;
    }
    float block_max = simd_max(s + first, end - first);
    float max       = block_max > w->max[r] ? block_max : w->max[r];
    for (int64_t i = 0; i < first; i++) {
        s[i] = 0.0f;
    }
    for (int64_t i = first; i < end; i++) {
        s[i] = simd_exp(s[i] - max);
    }
    for (int64_t i = end; i < keys; i++) {
        s[i] = 0.0f;
    }
    float sum = simd_sum(s + first, end - first);
    if (max > w->max[r]) {
        float factor = simd_exp(w->max[r] - max);
        float *out   = w->out + r * width;
        for (int64_t i = 0; i < width; i++) {
            out[i] *= factor;
        }
        w->sum[r] *= factor;
        w->max[r] = max;
    }
    w->sum[r] += sum;
}

/* Keys first … first + keys - 1 of a span. */
static void forward_keys(const forward *f, const attention_block *block, int64_t kv_head,
                         const key_span *span, int64_t first, int64_t keys, workspace *w)
{
    const attention_plan *plan = f->plan;
    int64_t rows               = block->count * plan->group;
    int64_t column             = kv_head * plan->width;
    small_block scores         = {w->scores, ATTENTION_KEYS};
    small_block k              = {cpu_row(f->keys, span->key + first) + column, f->keys->stride};
    small_block v = {cpu_row(f->values, span->key + first) + column, f->values->stride};
    small_nt(scores, (small_block){w->q, plan->width}, k, rows, keys, plan->width);
    for (int64_t j = 0; j < block->count; j++) {
        int64_t from;
        int64_t end;
        attention_visible(plan, block, span, j, &from, &end);
        from = from < first ? 0 : from - first;
        end  = end - first < keys ? end - first : keys;
        for (int64_t g = 0; g < plan->group; g++) {
            softmax_row(w, j * plan->group + g, from, end, keys, plan->width);
        }
    }
    small_nn_add((small_block){w->out, plan->width}, scores, v, rows, plan->width, keys);
}

static void forward_block(const forward *f, const attention_block *block, int64_t kv_head,
                          workspace *w)
{
    const attention_plan *plan = f->plan;
    const pb_forest *forest    = plan->args.forest;
    int64_t rows               = block->count * plan->group;
    attention_pack(plan, block, kv_head, f->q, plan->args.scale, w->q);
    memset(w->out, 0, (size_t)(rows * plan->width) * sizeof(float));
    for (int64_t r = 0; r < rows; r++) {
        w->max[r] = -INFINITY;
        w->sum[r] = 0.0f;
    }
    for (int32_t s = block->segment; s >= 0; s = forest->segments[s].parent) {
        key_span span = key_span_of(forest, s, block->segment);
        int64_t first;
        int64_t end;
        int64_t unused;
        attention_visible(plan, block, &span, 0, &first, &unused);
        attention_visible(plan, block, &span, block->count - 1, &unused, &end);
        for (int64_t k = first; k < end; k += ATTENTION_KEYS) {
            forward_keys(f, block, kv_head, &span, k,
                         end - k < ATTENTION_KEYS ? end - k : ATTENTION_KEYS, w);
        }
    }
    for (int64_t r = 0; r < rows; r++) {
        float factor = 1.0f / w->sum[r];
        float *out   = w->out + r * plan->width;
        for (int64_t i = 0; i < plan->width; i++) {
            out[i] *= factor;
        }
        float *lse = cpu_row(f->lse, block->slot + r / plan->group) + kv_head * plan->group;
        lse[r % plan->group] = (float)((double)w->max[r] + log((double)w->sum[r]));
    }
    attention_unpack(plan, block, kv_head, w->out, 1.0f, f->out);
}

size_t cpu_attention_forward_bytes(const pb_backend *be, const pb_attention_plan *plan)
{
    return workspace_bytes(plan->parts) * (size_t)be->threads;
}

pb_status cpu_attention_forward(pb_backend *be, pb_tensor *out, pb_tensor *lse, const pb_tensor *q,
                                const pb_tensor *keys, const pb_tensor *values,
                                const pb_attention_plan *plan)
{
    forward f = {
        .plan = plan->parts, .q = q, .keys = keys, .values = values, .out = out, .lse = lse};
    size_t own_bytes = workspace_bytes(f.plan);
    int64_t kv_heads = plan->args.kv_heads;
    int64_t units    = f.plan->count * kv_heads;
    void *scratch    = NULL;
    PB_TRY(cpu_scratch(be, cpu_attention_forward_bytes(be, plan), &scratch));
    char *own = scratch;
#pragma omp parallel num_threads(be->threads) if (units > 1)
    {
        workspace w = workspace_at(f.plan, own + own_bytes * (size_t)omp_get_thread_num());
#pragma omp for schedule(dynamic)
        for (int64_t u = 0; u < units; u++) {
            forward_block(&f, &f.plan->blocks[u / kv_heads], u % kv_heads, &w);
        }
    }
    return PB_OK;
}
