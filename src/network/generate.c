// SPDX-License-Identifier: Apache-2.0
/* Greedy generation. The prompts of a batch are packed as a forest, so a prefix that they share is
 * computed and cached once; each row then grows one segment of its own under the segment of its
 * last token. A step computes one new row per row that is still going. Finished rows leave the
 * batch. */
#include "internal.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

typedef struct generation {
    pb_network *net;
    const pb_generate_options *options;
    pb_batch prompt;
    kv_cache cache;
    int64_t first, all; /* row of the first prompt, and how many there are, for messages */
    pb_generated *out;  /* [prompt.samples] */

    /* One step: segments are those of the prompt without rows, then one per active row. */
    pb_segment *segments;
    int32_t *active;    /* [n] samples still going */
    int32_t *ids;       /* [n] */
    int32_t *positions; /* [n] */
    int32_t *key_rows;  /* [T] of the prompt, [n] of a step: where new keys go in the cache */
    int32_t *best;      /* [samples] */
    float *largest;     /* [samples] logits of `best` */
    int64_t count;      /* n */
} generation;

/* The first key of what a row generates. */
static int64_t first_key(const generation *g, int64_t sample)
{
    return g->prompt.forest.keys + sample * g->options->max_new_tokens;
}

static pb_status open_store(const generation *g, pb_tensor *store)
{
    int64_t width    = g->net->config->kv_heads * g->net->config->head_dim;
    int64_t capacity = first_key(g, g->prompt.samples);
    void *data       = NULL;
    PB_TRY(pb_backend_alloc(g->net->backend,
                            (size_t)capacity * (size_t)width * pb_dtype_size(g->net->act), &data));
    *store = pb_tensor_2d(data, g->net->act, capacity, width);
    return PB_OK;
}

/* Holds the keys of the prompt and of every token that a row may generate. */
static pb_status open_cache(generation *g)
{
    int64_t layers = g->net->config->layers;
    int64_t most   = (INT32_MAX - g->prompt.forest.keys) / g->prompt.samples;
    if (g->options->max_new_tokens > most) {
        return PB_FAIL(PB_ERR_ARGUMENT,
                       "%" PRId64 " new tokens for each of %" PRId64
                       " rows are more than a cache can count; at most %" PRId64 " are possible",
                       g->options->max_new_tokens, g->prompt.samples, most);
    }
    PB_TRY(PB_ALLOC(g->cache.keys, layers));
    PB_TRY(PB_ALLOC(g->cache.values, layers));
    for (int64_t l = 0; l < layers; l++) {
        PB_TRY(open_store(g, &g->cache.keys[l]));
        PB_TRY(open_store(g, &g->cache.values[l]));
    }
    return PB_OK;
}

static void close_cache(generation *g)
{
    for (int64_t l = 0; l < g->net->config->layers; l++) {
        if (g->cache.keys != NULL) {
            pb_backend_free(g->net->backend, g->cache.keys[l].data);
        }
        if (g->cache.values != NULL) {
            pb_backend_free(g->net->backend, g->cache.values[l].data);
        }
    }
    pb_memory_free(g->cache.keys);
    pb_memory_free(g->cache.values);
}

static pb_status open_generation(generation *g)
{
    int64_t samples = g->prompt.samples;
    PB_TRY(open_cache(g));
    PB_TRY(PB_ALLOC(g->segments, g->prompt.forest.count + samples));
    PB_TRY(PB_ALLOC(g->active, samples));
    PB_TRY(PB_ALLOC(g->ids, samples));
    PB_TRY(PB_ALLOC(g->positions, samples));
    PB_TRY(
        PB_ALLOC(g->key_rows, g->prompt.forest.rows > samples ? g->prompt.forest.rows : samples));
    PB_TRY(PB_ALLOC(g->best, samples));
    PB_TRY(PB_ALLOC(g->largest, samples));
    for (int64_t i = 0; i < samples; i++) {
        PB_TRY(PB_ALLOC(g->out[i].ids, g->options->max_new_tokens));
    }
    return PB_OK;
}

static void close_generation(generation *g)
{
    close_cache(g);
    pb_memory_free(g->segments);
    pb_memory_free(g->active);
    pb_memory_free(g->ids);
    pb_memory_free(g->positions);
    pb_memory_free(g->key_rows);
    pb_memory_free(g->best);
    pb_memory_free(g->largest);
    pb_batch_clear(&g->prompt);
}

static bool stops(const pb_generate_options *options, int32_t id)
{
    for (int64_t i = 0; i < options->stop_count; i++) {
        if (options->stop_ids[i] == id) {
            return true;
        }
    }
    return false;
}

/* Appends the id that was picked in `slot` to a row, which stays active unless it is finished with
 * it. The active rows before it have been taken already. */
static pb_status take(generation *g, int64_t sample, int64_t slot)
{
    pb_generated *row = &g->out[sample];
    int32_t id        = g->best[slot];
    if (!isfinite(g->largest[slot])) {
        return PB_FAIL(PB_ERR_NUMERIC,
                       "logits of row %" PRId64 " of %" PRId64
                       " are not finite at its new token %" PRId64 ": " PB_NOT_FINITE_REMEDY,
                       g->first + sample + 1, g->all, row->count + 1);
    }
    row->ids[row->count++] = id;
    if (row->count < g->options->max_new_tokens && !stops(g->options, id)) {
        g->active[g->count++] = (int32_t)sample;
    }
    return PB_OK;
}

/* New keys go after those that their segment has in the cache. */
static void place_keys(generation *g, const pb_forest *forest)
{
    for (int64_t i = 0; i < forest->count; i++) {
        const pb_segment *s = &forest->segments[i];
        for (int64_t k = 0; k < s->rows; k++) {
            g->key_rows[s->row + k] = (int32_t)(s->key + s->length - s->rows + k);
        }
    }
}

/* The most probable next id of all wanted rows, in chunks of logits. */
static pb_status pick(generation *g, const pass *p)
{
    pb_network *net   = g->net;
    int64_t outs      = p->shape.outs;
    scratch *s        = &net->scratch;
    pb_tensor best    = pb_tensor_1d(g->best, PB_DTYPE_I32, outs);
    pb_tensor largest = pb_tensor_1d(g->largest, PB_DTYPE_F32, outs);
    PB_TRY(network_head_norm(net, p));
    int64_t chunk = s->logits.shape[0];
    for (int64_t first = 0; first < outs; first += chunk) {
        int64_t n        = outs - first < chunk ? outs - first : chunk;
        pb_tensor x      = pb_tensor_rows(&s->normed, first, n);
        pb_tensor logits = pb_tensor_rows(&s->logits, 0, n);
        pb_tensor index  = pb_tensor_rows(&s->best, first, n);
        pb_tensor value  = pb_tensor_rows(&s->largest, first, n);
        PB_TRY(network_head_logits(net, &x, &logits));
        PB_TRY(pb_argmax(net->backend, &index, &value, &logits));
    }
    PB_TRY(pb_copy(net->backend, &best, &s->best));
    return pb_copy(net->backend, &largest, &s->largest);
}

static pb_status run_prompt(generation *g)
{
    const pb_batch *b = &g->prompt;
    pass p            = network_pass_over(b, false);
    p.key_rows        = g->key_rows;
    p.cache           = &g->cache;
    p.shape.cached    = true;
    place_keys(g, &b->forest);
    PB_TRY(network_prepare(g->net, &p));
    PB_TRY(network_body_forward(g->net, &p));
    PB_TRY(pick(g, &p));
    int32_t *slot_of = g->positions; /* free until the first step */
    for (int64_t i = 0; i < b->samples; i++) {
        int64_t slot = 0;
        while (b->out_rows[slot] != b->last_rows[i]) {
            slot++;
        }
        slot_of[i] = (int32_t)slot;
    }
    for (int64_t i = 0; i < b->samples; i++) {
        PB_TRY(take(g, i, slot_of[i]));
    }
    return PB_OK;
}

/* Every active row gets one more key: its segment has as many as it has ids, the last one being
 * computed. */
static void build_step(generation *g, pb_forest *forest)
{
    const pb_batch *b = &g->prompt;
    int64_t fixed     = b->forest.count;
    memcpy(g->segments, b->segments, (size_t)fixed * sizeof *g->segments);
    for (int64_t i = 0; i < fixed; i++) {
        g->segments[i].row  = 0;
        g->segments[i].rows = 0;
    }
    for (int64_t n = 0; n < g->count; n++) {
        int32_t sample           = g->active[n];
        int64_t length           = g->out[sample].count;
        const pb_segment *parent = &b->segments[b->last_segments[sample]];
        pb_segment *s            = &g->segments[fixed + n];
        *s                       = (pb_segment){
                                  .row      = n,
                                  .rows     = 1,
                                  .key      = first_key(g, sample),
                                  .length   = length,
                                  .position = parent->position + parent->length,
                                  .parent   = b->last_segments[sample],
        };
        g->ids[n]       = g->out[sample].ids[length - 1];
        g->positions[n] = (int32_t)(s->position + length - 1);
    }
    *forest = (pb_forest){
        .segments = g->segments,
        .count    = fixed + g->count,
        .rows     = g->count,
        .keys     = g->cache.keys[0].shape[0],
    };
}

static pass step_pass(generation *g, pb_forest *forest)
{
    build_step(g, forest);
    place_keys(g, forest);
    return (pass){
        .forest    = forest,
        .ids       = g->ids,
        .positions = g->positions,
        .key_rows  = g->key_rows,
        .shape     = {.rows = g->count, .keys = forest->keys, .outs = g->count, .cached = true},
        .cache     = &g->cache,
    };
}

/* Takes the memory that the last step needs if every row gets that far: no step needs more. */
static pb_status reserve_steps(generation *g)
{
    pb_forest forest;
    if (g->options->max_new_tokens == 1) {
        return PB_OK;
    }
    for (int64_t i = 0; i < g->prompt.samples; i++) {
        g->active[g->count++] = (int32_t)i;
        g->out[i].count       = g->options->max_new_tokens - 1;
    }
    pass p   = step_pass(g, &forest);
    g->count = 0;
    for (int64_t i = 0; i < g->prompt.samples; i++) {
        g->out[i].count = 0;
    }
    PB_TRY(network_prepare(g->net, &p));
    return network_reserve(g->net, &p);
}

static pb_status run_step(generation *g)
{
    pb_forest forest;
    pass p = step_pass(g, &forest);
    PB_TRY(network_prepare(g->net, &p));
    PB_TRY(network_body_forward(g->net, &p));
    PB_TRY(pick(g, &p));
    int64_t count = g->count;
    g->count      = 0;
    for (int64_t n = 0; n < count; n++) {
        PB_TRY(take(g, g->active[n], n));
    }
    return PB_OK;
}

/* The rows from `first` on of `all`. */
static pb_status generate_batch(pb_network *net, const pb_sample *prompts, int64_t count,
                                int64_t first, int64_t all, const pb_generate_options *options,
                                pb_generated *out)
{
    pb_batch_options packing = pb_network_batch_options(net, false);
    generation g = {.net = net, .options = options, .first = first, .all = all, .out = out};
    pb_status status;
    PB_TRY_GOTO(status, pb_batch_build(prompts, count, &packing, &g.prompt), done);
    PB_TRY_GOTO(status, open_generation(&g), done);
    PB_TRY_GOTO(status, reserve_steps(&g), done);
    PB_TRY_GOTO(status, run_prompt(&g), done);
    while (g.count > 0) {
        if (options->stop != NULL && options->stop(options->context)) {
            status = PB_FAIL(PB_STOPPED, "stopped between two tokens");
            goto done;
        }
        PB_TRY_GOTO(status, run_step(&g), done);
    }
done:
    close_generation(&g);
    return status;
}

pb_status pb_network_generate(pb_network *net, const pb_sample *prompts, int64_t count,
                              const pb_generate_options *options, pb_generated *out)
{
    memset(out, 0, (size_t)count * sizeof *out);
    if (options->max_new_tokens < 1 || options->batch < 1) {
        return PB_FAIL(PB_ERR_ARGUMENT,
                       "generation needs at least one new token and one row at a time");
    }
    pb_status status = PB_OK;
    pb_sample *bare  = NULL; /* prompts without labels */
    PB_TRY(PB_ALLOC(bare, options->batch < count ? options->batch : count));
    for (int64_t first = 0; first < count && status == PB_OK; first += options->batch) {
        int64_t n = count - first < options->batch ? count - first : options->batch;
        for (int64_t i = 0; i < n; i++) {
            bare[i] =
                (pb_sample){.ids = prompts[first + i].ids, .length = prompts[first + i].length};
        }
        status = generate_batch(net, bare, n, first, count, options, out + first);
    }
    pb_memory_free(bare);
    if (status != PB_OK) {
        for (int64_t i = 0; i < count; i++) {
            pb_memory_free(out[i].ids);
            out[i] = (pb_generated){0};
        }
        return PB_FRAME(status);
    }
    return PB_OK;
}
