// SPDX-License-Identifier: Apache-2.0
/* Attention over the forest, backward. Probabilities are recomputed from the scores and the stored
 * log-sum: P = exp(S - lse). With D = rowsum(dout · out) (Dao et al. 2022):
 *     dV += P^T dout,  dS = P · (dout V^T - D),  dQ = dS K · scale,  dK += dS^T (scale · Q).
 *
 * A unit is a block of queries and a key head. Units are processed in runs, each in two phases:
 * units compute P, dS and their dQ; then every piece of keys of a segment sums its dK and dV over
 * the units of the run that see it. In both phases each output has one writer, and sums follow the
 * order of blocks and pieces alone: results do not depend on the length of a run, which may depend
 * on the number of threads. A batch with one tree is distributed like any other. */
#include "attention.h"
#include "simd.h"

#include <omp.h>
#include <string.h>

/* A long run has few barriers, which cost most where threads share a core with others. */
enum {
    RUN_PER_THREAD = 64,      /* units of a run for each of several threads */
    RUN_BYTES      = 32 << 20 /* of a run's memory, where that is enough for a unit per thread */
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

/* Units in the whole call and in a run, and bytes of scratch memory. */
typedef struct sizes {
    int64_t units, run;
    size_t unit_bytes, bytes;
} sizes;

typedef struct backward {
    const attention_plan *plan;
    sizes sizes;
    const pb_tensor *q, *keys, *values, *dout, *out, *lse;
    pb_tensor *dq, *dkeys, *dvalues;
    int64_t *listed; /* [segments] first unit of the last run that listed it, -1: none */
    key_piece *list; /* [pieces] that the units of this run see */
    int64_t listed_count;
    char *memory; /* [run] units */
} backward;

/* Rows of a unit's parts, so that each begins at a cache line. */
static int64_t padded_rows(const attention_plan *p)
{
    return (p->rows + 15) / 16 * 16;
}

/* Floats per row of a unit. */
static int64_t unit_width(const attention_plan *p)
{
    return 3 * p->width + 2 + 2 * p->chain * ATTENTION_KEYS;
}

static sizes sizes_of(const pb_backend *be, const attention_plan *plan)
{
    sizes s       = {.units = plan->count * plan->args.kv_heads};
    s.unit_bytes  = cpu_bytes(padded_rows(plan) * unit_width(plan), sizeof(float));
    int64_t fit   = (int64_t)(RUN_BYTES / s.unit_bytes);
    int64_t least = be->threads;
    int64_t most  = be->threads > 1 ? (int64_t)be->threads * RUN_PER_THREAD : 1;
    s.run         = fit < least ? least : (fit < most ? fit : most);
    s.run         = s.run < s.units ? s.run : s.units;
    s.bytes       = cpu_bytes(plan->args.forest->count, sizeof(int64_t)) +
              cpu_bytes(plan->pieces, sizeof(key_piece)) + s.unit_bytes * (size_t)s.run;
    return s;
}

size_t cpu_attention_backward_bytes(const pb_backend *be, const pb_attention_plan *plan)
{
    return sizes_of(be, plan->parts).bytes;
}

static void place_lists(backward *b, char *at)
{
    int64_t segments = b->plan->args.forest->count;
    b->listed        = (void *)at;
    at += cpu_bytes(segments, sizeof *b->listed);
    b->list = (void *)at;
    at += cpu_bytes(b->plan->pieces, sizeof *b->list);
    b->memory = at;
    for (int64_t i = 0; i < segments; i++) {
        b->listed[i] = -1;
    }
}

/* The place of unit `index` of a run. */
static unit unit_at(const backward *b, int64_t index)
{
    int64_t rows  = padded_rows(b->plan);
    int64_t width = b->plan->width;
    float *at     = (float *)(void *)(b->memory + b->sizes.unit_bytes * (size_t)index);
    unit u        = {.q = at, .dout = at + rows * width, .dq = at + 2 * rows * width};
    u.lse         = at + 3 * rows * width;
    u.delta       = u.lse + rows;
    u.probs       = u.delta + rows;
    u.dprob       = u.probs + rows * b->plan->chain * ATTENTION_KEYS;
    return u;
}

/* The keys of a segment that the block sees: `first` is that of the first piece among them. */
static void seen_keys(const backward *b, const attention_block *block, int32_t segment,
                      key_span *span, int64_t *first, int64_t *end)
{
    int64_t unused;
    *span = key_span_of(b->plan->args.forest, segment, block->segment);
    attention_visible(b->plan, block, span, 0, first, &unused);
    attention_visible(b->plan, block, span, block->count - 1, &unused, end);
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
                        const key_span *span, int64_t first, int64_t keys, const unit *u, float *p,
                        float *ds)
{
    const attention_plan *plan = b->plan;
    int64_t rows               = block->count * plan->group;
    int64_t width              = plan->width;
    int64_t column             = kv_head * width;
    small_block k              = {cpu_row(b->keys, span->key + first) + column, b->keys->stride};
    small_block v = {cpu_row(b->values, span->key + first) + column, b->values->stride};
    small_nt((small_block){p, ATTENTION_KEYS}, (small_block){u->q, width}, k, rows, keys, width);
    for (int64_t j = 0; j < block->count; j++) {
        int64_t from;
        int64_t end;
        attention_visible(plan, block, span, j, &from, &end);
        from = from < first ? 0 : (from - first < keys ? from - first : keys);
        end  = end - first < keys ? end - first : keys;
        for (int64_t r = j * plan->group; r < (j + 1) * plan->group; r++) {
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
    const attention_plan *plan   = b->plan;
    const pb_forest *forest      = plan->args.forest;
    const attention_block *block = &b->plan->blocks[index / plan->args.kv_heads];
    int64_t kv_head              = index % plan->args.kv_heads;
    int64_t rows                 = block->count * plan->group;
    attention_pack(plan, block, kv_head, b->q, plan->args.scale, u->q);
    attention_pack(plan, block, kv_head, b->out, 1.0f, u->dq);
    attention_pack(plan, block, kv_head, b->dout, 1.0f, u->dout);
    for (int64_t r = 0; r < rows; r++) {
        const float *lse = cpu_row(b->lse, block->slot + r / plan->group);
        u->lse[r]        = lse[kv_head * plan->group + r % plan->group];
        u->delta[r] = simd_dot(u->dq + r * plan->width, u->dout + r * plan->width, plan->width);
    }
    memset(u->dq, 0, (size_t)(rows * plan->width) * sizeof(float));
    for (int32_t s = block->segment; s >= 0; s = forest->segments[s].parent) {
        key_span span;
        int64_t first;
        int64_t end;
        seen_keys(b, block, s, &span, &first, &end);
        for (int64_t k = first; k < end; k += ATTENTION_KEYS) {
            int64_t at = (b->plan->before[s] * ATTENTION_KEYS + k) * plan->rows;
            query_piece(b, block, kv_head, &span, k,
                        end - k < ATTENTION_KEYS ? end - k : ATTENTION_KEYS, u, u->probs + at,
                        u->dprob + at);
        }
    }
    attention_unpack(plan, block, kv_head, u->dq, plan->args.scale, b->dq);
}

/* The pieces of all segments in the chains of units first … end - 1. */
static void list_pieces(backward *b, int64_t first, int64_t end)
{
    const pb_forest *forest = b->plan->args.forest;
    int64_t kv_heads        = b->plan->args.kv_heads;
    b->listed_count         = 0;
    for (int64_t block = first / kv_heads; block <= (end - 1) / kv_heads; block++) {
        int32_t s = b->plan->blocks[block].segment;
        for (; s >= 0 && b->listed[s] != first; s = forest->segments[s].parent) {
            b->listed[s] = first;
            for (int64_t i = 0; i < attention_pieces(&forest->segments[s]); i++) {
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
    const attention_plan *plan = b->plan;
    const pb_forest *forest    = plan->args.forest;
    const pb_tensor *to        = of_values ? b->dvalues : b->dkeys;
    int64_t kv_heads           = plan->args.kv_heads;
    int64_t key                = (int64_t)piece->piece * ATTENTION_KEYS;
    int64_t at      = (b->plan->before[piece->segment] * ATTENTION_KEYS + key) * plan->rows;
    int64_t row     = forest->segments[piece->segment].key + key;
    small_block sum = {cpu_row(to, row) + kv_head * plan->width, to->stride};
    for (int64_t i = first + (kv_head + kv_heads - first % kv_heads) % kv_heads; i < end;
         i += kv_heads) {
        const attention_block *block = &b->plan->blocks[i / kv_heads];
        key_span span;
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
        small_block rows   = {of_values ? u.dout : u.q, plan->width};
        small_tn_add(sum, factor, rows, last - key < ATTENTION_KEYS ? last - key : ATTENTION_KEYS,
                     plan->width, block->count * plan->group);
    }
}

/* By all threads of the team. */
static void run_units(backward *b, int64_t first, int64_t end)
{
    int64_t kv_heads = b->plan->args.kv_heads;
#pragma omp single nowait
    list_pieces(b, first, end);
#pragma omp for schedule(dynamic)
    for (int64_t i = first; i < end; i++) {
        unit u = unit_at(b, i - first);
        query_unit(b, i, &u);
    }
    /* The barrier after that loop covers the list, too. */
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < 2 * kv_heads * b->listed_count; i++) {
        piece_gradient(b, &b->list[i / (2 * kv_heads)], i / 2 % kv_heads, i % 2 != 0, first, end);
    }
}

pb_status cpu_attention_backward(pb_backend *be, pb_tensor *dq, pb_tensor *dkeys,
                                 pb_tensor *dvalues, const pb_tensor *dout, const pb_tensor *out,
                                 const pb_tensor *lse, const pb_tensor *q, const pb_tensor *keys,
                                 const pb_tensor *values, const pb_attention_plan *plan)
{
    backward b    = {.plan    = plan->parts,
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
    b.sizes       = sizes_of(be, b.plan);
    PB_TRY(cpu_scratch(be, b.sizes.bytes, &scratch));
    place_lists(&b, scratch);
    PB_TRY(cpu_zero(be, dkeys));
    PB_TRY(cpu_zero(be, dvalues));
    int64_t units = b.sizes.units;
    int64_t run   = b.sizes.run;
#pragma omp parallel num_threads(be->threads) if (units > 1)
    for (int64_t first = 0; first < units; first += run) {
        run_units(&b, first, first + run < units ? first + run : units);
    }
    return PB_OK;
}
