// SPDX-License-Identifier: Apache-2.0
/* Attention over the forest, backward. Probabilities are made again from the scores and the stored
 * log-sum: P = exp(S - lse). With D = rowsum(dout · out) (Dao et al. 2022):
 *     dV += P^T dout,  dS = P · (dout V^T - D),  dQ = dS K · scale,  dK += dS^T (scale · Q).
 *
 * A unit is a block of queries and a key head. Units are worked on in runs, each in two phases:
 * units make P, dS and their dQ; then every piece of keys of a segment takes its dK and dV from the
 * units of the run that see it. Nobody else writes there, in both phases, and sums follow the order
 * of blocks and pieces alone: results do not depend on the length of a run, and that may follow
 * from the number of threads. A batch with one tree is shared out like any other. */
#include "attention.h"
#include "simd.h"

#include <omp.h>
#include <string.h>

/* A long run has few barriers, which cost most where threads share a core with others. */
enum {
    RUN_PER_THREAD = 64,      /* units of a run for each of several threads */
    RUN_BYTES      = 32 << 20 /* of a run's memory, where that is a unit for each thread */
};

/* What is kept of a unit between the phases: R rows of its block, and of every piece of its chain
 * [R, ATTENTION_KEYS]. */
typedef struct unit {
    float *q;     /* [R, E], times the scale */
    float *dout;  /* [R, E] */
    float *dq;    /* [R, E] */
    float *lse;   /* [R] */
    float *delta; /* [R] */
    float *probs; /* [pieces] P */
    float *dprob; /* [pieces] dout V^T, then dS */
} unit;

/* Keys piece · ATTENTION_KEYS … of a segment. */
typedef struct key_piece {
    int32_t segment;
    int32_t piece;
} key_piece;

/* The parts of the scratch memory and their sizes. */
typedef struct plan {
    attention_shape shape;
    int64_t units, run; /* in the whole call, in a run */
    int64_t chain;      /* pieces of the longest chain */
    int64_t pieces;     /* of all segments */
    size_t unit_bytes, bytes;
} plan;

typedef struct backward {
    plan plan;
    const pb_tensor *q, *keys, *values, *dout, *out, *lse;
    pb_tensor *dq, *dkeys, *dvalues;
    attention_block *blocks; /* [shape.blocks] */
    int64_t *before;         /* [segments] pieces of a segment's ancestors */
    int64_t *listed;         /* [segments] first unit of the last run that listed it, -1: none */
    key_piece *list;         /* [pieces] that the units of this run see */
    int64_t listed_count;
    char *memory; /* [run] units */
} backward;

static int64_t pieces_of(const pb_segment *s)
{
    return (s->length + ATTENTION_KEYS - 1) / ATTENTION_KEYS;
}

/* The longest chain by walking up from every segment, so that it needs no memory. */
static int64_t longest_chain(const pb_forest *forest)
{
    int64_t longest = 0;
    for (int64_t i = 0; i < forest->count; i++) {
        int64_t pieces = 0;
        for (int32_t s = (int32_t)i; s >= 0; s = forest->segments[s].parent) {
            pieces += pieces_of(&forest->segments[s]);
        }
        longest = pieces > longest ? pieces : longest;
    }
    return longest;
}

/* Rows of a unit's parts, so that each begins at a cache line. */
static int64_t padded_rows(const plan *p)
{
    return (p->shape.rows + 15) / 16 * 16;
}

/* Floats per row of a unit. */
static int64_t unit_width(const plan *p)
{
    return 3 * p->shape.width + 2 + 2 * p->chain * ATTENTION_KEYS;
}

static plan plan_of(const pb_backend *be, const pb_attention_args *args)
{
    const pb_forest *forest = args->forest;
    plan p                  = {.shape = attention_shape_of(args), .chain = longest_chain(forest)};
    for (int64_t i = 0; i < forest->count; i++) {
        p.pieces += pieces_of(&forest->segments[i]);
    }
    p.unit_bytes  = cpu_bytes(padded_rows(&p) * unit_width(&p), sizeof(float));
    p.units       = p.shape.blocks * args->kv_heads;
    int64_t fit   = (int64_t)(RUN_BYTES / p.unit_bytes);
    int64_t least = be->threads;
    int64_t most  = be->threads > 1 ? (int64_t)be->threads * RUN_PER_THREAD : 1;
    p.run         = fit < least ? least : (fit < most ? fit : most);
    p.run         = p.run < p.units ? p.run : p.units;
    p.bytes       = cpu_bytes(p.shape.blocks, sizeof(attention_block)) +
              2 * cpu_bytes(forest->count, sizeof(int64_t)) +
              cpu_bytes(p.pieces, sizeof(key_piece)) + p.unit_bytes * (size_t)p.run;
    return p;
}

size_t cpu_attention_backward_bytes(const pb_backend *be, const pb_attention_args *args)
{
    return plan_of(be, args).bytes;
}

static void place_lists(backward *b, char *at)
{
    const pb_forest *forest = b->plan.shape.args->forest;
    b->blocks               = (void *)at;
    at += cpu_bytes(b->plan.shape.blocks, sizeof *b->blocks);
    b->before = (void *)at;
    at += cpu_bytes(forest->count, sizeof *b->before);
    b->listed = (void *)at;
    at += cpu_bytes(forest->count, sizeof *b->listed);
    b->list = (void *)at;
    at += cpu_bytes(b->plan.pieces, sizeof *b->list);
    b->memory = at;
    attention_cut(&b->plan.shape, b->blocks);
    for (int64_t i = 0; i < forest->count; i++) {
        int32_t parent = forest->segments[i].parent;
        b->listed[i]   = -1;
        b->before[i]   = parent >= 0 ? b->before[parent] + pieces_of(&forest->segments[parent]) : 0;
    }
}

/* The place of unit `index` of a run. */
static unit unit_at(const backward *b, int64_t index)
{
    int64_t rows  = padded_rows(&b->plan);
    int64_t width = b->plan.shape.width;
    float *at     = (float *)(void *)(b->memory + b->plan.unit_bytes * (size_t)index);
    unit u        = {.q = at, .dout = at + rows * width, .dq = at + 2 * rows * width};
    u.lse         = at + 3 * rows * width;
    u.delta       = u.lse + rows;
    u.probs       = u.delta + rows;
    u.dprob       = u.probs + rows * b->plan.chain * ATTENTION_KEYS;
    return u;
}

/* The keys of a segment that the block sees: `first` is that of the first piece among them. */
static void seen_keys(const backward *b, const attention_block *block, int32_t segment,
                      text_span *span, int64_t *first, int64_t *end)
{
    int64_t unused;
    *span = pb_span_of(b->plan.shape.args->forest, segment, block->segment);
    attention_visible(&b->plan.shape, block, span, 0, first, &unused);
    attention_visible(&b->plan.shape, block, span, block->count - 1, &unused, end);
    *first -= *first < *end ? *first % ATTENTION_KEYS : 0;
}

/* P of one row in place of its scores. */
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

/* P, dS and the part of dQ from keys first … first + keys - 1 of a span, one piece. */
static void query_piece(const backward *b, const attention_block *block, int64_t kv_head,
                        const text_span *span, int64_t first, int64_t keys, const unit *u, float *p,
                        float *ds)
{
    const attention_shape *shape = &b->plan.shape;
    int64_t rows                 = block->count * shape->group;
    int64_t width                = shape->width;
    int64_t column               = kv_head * width;
    small_block k                = {cpu_row(b->keys, span->key + first) + column, b->keys->stride};
    small_block v = {cpu_row(b->values, span->key + first) + column, b->values->stride};
    small_nt((small_block){p, ATTENTION_KEYS}, (small_block){u->q, width}, k, rows, keys, width);
    for (int64_t j = 0; j < block->count; j++) {
        int64_t from;
        int64_t end;
        attention_visible(shape, block, span, j, &from, &end);
        from = from < first ? 0 : (from - first < keys ? from - first : keys);
        end  = end - first < keys ? end - first : keys;
        for (int64_t r = j * shape->group; r < (j + 1) * shape->group; r++) {
            probabilities(p + r * ATTENTION_KEYS, from, end, keys, u->lse[r]);
        }
    }
    small_nt((small_block){ds, ATTENTION_KEYS}, (small_block){u->dout, width}, v, rows, keys,
             width);
    for (int64_t r = 0; r < rows; r++) {
        const float *probs = p + r * ATTENTION_KEYS;
        float *d           = ds + r * ATTENTION_KEYS;
        float delta        = u->delta[r];
        for (int64_t i = 0; i < keys; i++) {
            d[i] = probs[i] * (d[i] - delta);
        }
    }
    small_nn_add((small_block){u->dq, width}, (small_block){ds, ATTENTION_KEYS}, k, rows, width,
                 keys);
}

/* First phase. */
static void query_unit(const backward *b, int64_t index, const unit *u)
{
    const attention_shape *shape = &b->plan.shape;
    const pb_forest *forest      = shape->args->forest;
    const attention_block *block = &b->blocks[index / shape->args->kv_heads];
    int64_t kv_head              = index % shape->args->kv_heads;
    int64_t rows                 = block->count * shape->group;
    attention_pack(shape, block, kv_head, b->q, shape->args->scale, u->q);
    attention_pack(shape, block, kv_head, b->out, 1.0f, u->dq);
    attention_pack(shape, block, kv_head, b->dout, 1.0f, u->dout);
    for (int64_t r = 0; r < rows; r++) {
        const float *lse = cpu_row(b->lse, block->slot + r / shape->group);
        u->lse[r]        = lse[kv_head * shape->group + r % shape->group];
        u->delta[r] = simd_dot(u->dq + r * shape->width, u->dout + r * shape->width, shape->width);
    }
    memset(u->dq, 0, (size_t)(rows * shape->width) * sizeof(float));
    for (int32_t s = block->segment; s >= 0; s = forest->segments[s].parent) {
        text_span span;
        int64_t first;
        int64_t end;
        seen_keys(b, block, s, &span, &first, &end);
        for (int64_t k = first; k < end; k += ATTENTION_KEYS) {
            int64_t at = (b->before[s] * ATTENTION_KEYS + k) * shape->rows;
            query_piece(b, block, kv_head, &span, k,
                        end - k < ATTENTION_KEYS ? end - k : ATTENTION_KEYS, u, u->probs + at,
                        u->dprob + at);
        }
    }
    attention_unpack(shape, block, kv_head, u->dq, shape->args->scale, b->dq);
}

/* The pieces of all segments in the chains of units first … end - 1. */
static void list_pieces(backward *b, int64_t first, int64_t end)
{
    const pb_forest *forest = b->plan.shape.args->forest;
    int64_t kv_heads        = b->plan.shape.args->kv_heads;
    b->listed_count         = 0;
    for (int64_t block = first / kv_heads; block <= (end - 1) / kv_heads; block++) {
        int32_t s = b->blocks[block].segment;
        for (; s >= 0 && b->listed[s] != first; s = forest->segments[s].parent) {
            b->listed[s] = first;
            for (int64_t i = 0; i < pieces_of(&forest->segments[s]); i++) {
                b->list[b->listed_count++] = (key_piece){s, (int32_t)i};
            }
        }
    }
}

static bool descends(const pb_forest *forest, int32_t segment, int32_t from)
{
    while (segment > from) {
        segment = forest->segments[segment].parent;
    }
    return segment == from;
}

/* Second phase: dV or dK of one piece and key head, from units first … end - 1. */
static void piece_gradient(const backward *b, const key_piece *piece, int64_t kv_head,
                           bool of_values, int64_t first, int64_t end)
{
    const attention_shape *shape = &b->plan.shape;
    const pb_forest *forest      = shape->args->forest;
    const pb_tensor *to          = of_values ? b->dvalues : b->dkeys;
    int64_t kv_heads             = shape->args->kv_heads;
    int64_t key                  = (int64_t)piece->piece * ATTENTION_KEYS;
    int64_t at                   = (b->before[piece->segment] * ATTENTION_KEYS + key) * shape->rows;
    int64_t row                  = forest->segments[piece->segment].key + key;
    small_block sum              = {cpu_row(to, row) + kv_head * shape->width, to->stride};
    for (int64_t i = first + (kv_head + kv_heads - first % kv_heads) % kv_heads; i < end;
         i += kv_heads) {
        const attention_block *block = &b->blocks[i / kv_heads];
        text_span span;
        int64_t from;
        int64_t last;
        if (!descends(forest, block->segment, piece->segment)) {
            continue;
        }
        seen_keys(b, block, piece->segment, &span, &from, &last);
        if (key < from || key >= last) {
            continue;
        }
        unit u             = unit_at(b, i - first);
        small_block factor = {(of_values ? u.probs : u.dprob) + at, ATTENTION_KEYS};
        small_block rows   = {of_values ? u.dout : u.q, shape->width};
        small_tn_add(sum, factor, rows, last - key < ATTENTION_KEYS ? last - key : ATTENTION_KEYS,
                     shape->width, block->count * shape->group);
    }
}

/* By all threads of the team. */
static void run_units(backward *b, int64_t first, int64_t end)
{
    int64_t kv_heads = b->plan.shape.args->kv_heads;
#pragma omp single nowait
    list_pieces(b, first, end);
#pragma omp for schedule(dynamic)
    for (int64_t i = first; i < end; i++) {
        unit u = unit_at(b, i - first);
        query_unit(b, i, &u);
    }
    /* The barrier of that loop is behind the list, too. */
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < 2 * kv_heads * b->listed_count; i++) {
        piece_gradient(b, &b->list[i / (2 * kv_heads)], i / 2 % kv_heads, i % 2 != 0, first, end);
    }
}

pb_status cpu_attention_backward(pb_backend *be, pb_tensor *dq, pb_tensor *dkeys,
                                 pb_tensor *dvalues, const pb_tensor *dout, const pb_tensor *out,
                                 const pb_tensor *lse, const pb_tensor *q, const pb_tensor *keys,
                                 const pb_tensor *values, const pb_attention_args *args)
{
    backward b    = {.plan    = plan_of(be, args),
                     .q       = q,
                     .keys    = keys,
                     .values  = values,
                     .dout    = dout,
                     .out     = out,
                     .lse     = lse,
                     .dq      = dq,
                     .dkeys   = dkeys,
                     .dvalues = dvalues};
    void *scratch = NULL;
    PB_TRY(cpu_scratch(be, b.plan.bytes, &scratch));
    place_lists(&b, scratch);
    int64_t units = b.plan.units;
#pragma omp parallel num_threads(be->threads) if (units > 1)
    for (int64_t first = 0; first < units; first += b.plan.run) {
        run_units(&b, first, first + b.plan.run < units ? first + b.plan.run : units);
    }
    return PB_OK;
}
