// SPDX-License-Identifier: Apache-2.0
/* Greedy generation. The prompts of a batch are packed as a forest, so a prefix that they share is
 * computed and cached once; each row then grows one segment of its own under the segment of its
 * last token. A step computes the new token of every row that is still going and, below it, the
 * rest of each draft that begins like the row: as long as the network predicts what a draft says,
 * the same step has the next prediction. The keys of drafts are dropped, so tokens that they
 * contributed to a row that goes on are computed again. Finished rows leave the batch; on a device,
 * where a step that comes for the second time is repeated as a whole, half of the rows at a time.
 */
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
    const generate_rows *rows;
    pb_generated *out; /* [prompt.samples] */

    int64_t drafts;      /* of the options, unless they are not used */
    int64_t draft_keys;  /* most of one row, */
    int32_t draft_first; /* which begins with this id */
    int64_t most_rows;   /* of a step */
    int32_t *kept;       /* [samples] new tokens with keys in the row's own segment */
    bool *ended;         /* [samples] */
    int64_t going;       /* samples that are not */

    /* One step: segments are those of the prompt without rows, then one per active row, each
     * followed by those of its drafts. */
    pb_segment *segments;
    int32_t *active;        /* [n] samples that are computed */
    int32_t *slots;         /* [n] the output of its newest token; those of its drafts follow */
    int32_t *ids;           /* [rows] */
    int32_t *positions;     /* [rows] */
    int32_t *key_rows;      /* [rows] where new keys go in the cache */
    int32_t *out_rows;      /* [outs] */
    int32_t *out_positions; /* [outs] */
    int32_t *choices;       /* [2 · outs] ids, and after all of them the bits of their logits */
    int64_t count;          /* n */
    int64_t outs;
} generation;

/* The first key of what a row generates. */
static int64_t first_key(const generation *g, int64_t sample)
{
    return g->prompt.forest.keys + sample * g->options->max_new_tokens;
}

/* Rows of a draft that are computed for a row with `count` new ids: those after them but the last
 * one, whose successor nobody asks for. None where the draft begins differently. */
static int64_t draft_rows(const generation *g, int64_t draft, const int32_t *ids, int64_t count)
{
    const pb_sample *d = &g->options->drafts[draft];
    int64_t most       = g->options->max_new_tokens;
    int64_t end        = (d->length < most ? d->length : most) - 1;
    bool begins        = end > count && memcmp(d->ids, ids, (size_t)count * sizeof *ids) == 0;
    return begins ? end - count : 0;
}

/* Holds the keys of the prompt, of every token that a row may generate, and of the drafts of a
 * step. */
static pb_status open_cache(generation *g)
{
    int64_t layers = g->net->config->layers;
    int64_t most   = (INT32_MAX - g->prompt.forest.keys) / g->prompt.samples - g->draft_keys;
    if (g->options->max_new_tokens > most) {
        return PB_FAIL(PB_ERR_ARGUMENT,
                       "%" PRId64 " new tokens for each of %" PRId64
                       " rows are more than a cache can count; at most %" PRId64 " are possible",
                       g->options->max_new_tokens, g->prompt.samples, most);
    }
    PB_TRY(PB_ALLOC(g->cache.keys, layers));
    PB_TRY(PB_ALLOC(g->cache.values, layers));
    int64_t width    = g->net->config->kv_heads * g->net->config->head_dim;
    int64_t capacity = first_key(g, g->prompt.samples) + g->prompt.samples * g->draft_keys;
    pb_tensor all;
    PB_TRY(network_provide_cache(g->net, 2 * layers * capacity, width, &all));
    for (int64_t l = 0; l < layers; l++) {
        g->cache.keys[l]   = pb_tensor_rows(&all, 2 * l * capacity, capacity);
        g->cache.values[l] = pb_tensor_rows(&all, (2 * l + 1) * capacity, capacity);
    }
    return PB_OK;
}

/* At most the drafts that begin with the same id are computed for a row. */
static void count_drafts(generation *g)
{
    const pb_sample *drafts = g->options->drafts;
    g->drafts               = network_saves(g->net, PB_SAVING_DRAFTS) ? g->options->draft_count : 0;
    for (int64_t d = 0; d < g->drafts; d++) {
        int64_t rows = 0;
        for (int64_t other = 0; other < g->drafts && drafts[d].length > 0; other++) {
            rows += draft_rows(g, other, drafts[d].ids, 1);
        }
        if (rows > g->draft_keys) {
            g->draft_keys  = rows;
            g->draft_first = drafts[d].ids[0];
        }
    }
    g->most_rows = g->prompt.samples * (1 + g->draft_keys);
}

static pb_status open_generation(generation *g)
{
    int64_t samples = g->prompt.samples;
    count_drafts(g);
    int64_t rows = g->prompt.forest.rows > g->most_rows ? g->prompt.forest.rows : g->most_rows;
    int64_t outs = g->prompt.outs > g->most_rows ? g->prompt.outs : g->most_rows;
    PB_TRY(open_cache(g));
    PB_TRY(PB_ALLOC(g->segments, g->prompt.forest.count + samples * (1 + g->drafts)));
    PB_TRY(PB_ALLOC(g->active, samples));
    PB_TRY(PB_ALLOC(g->slots, samples));
    PB_TRY(PB_ALLOC(g->kept, samples));
    PB_TRY(PB_ALLOC(g->ended, samples));
    PB_TRY(PB_ALLOC(g->ids, g->most_rows));
    PB_TRY(PB_ALLOC(g->positions, g->most_rows));
    PB_TRY(PB_ALLOC(g->key_rows, rows));
    PB_TRY(PB_ALLOC(g->out_rows, g->most_rows));
    PB_TRY(PB_ALLOC(g->out_positions, g->most_rows));
    PB_TRY(PB_ALLOC(g->choices, 2 * outs));
    for (int64_t i = 0; i < samples; i++) {
        PB_TRY(PB_ALLOC(g->out[i].ids, g->options->max_new_tokens));
    }
    g->going = samples;
    return PB_OK;
}

static void close_generation(generation *g)
{
    pb_memory_free(g->cache.keys);
    pb_memory_free(g->cache.values);
    pb_memory_free(g->segments);
    pb_memory_free(g->active);
    pb_memory_free(g->slots);
    pb_memory_free(g->kept);
    pb_memory_free(g->ended);
    pb_memory_free(g->ids);
    pb_memory_free(g->positions);
    pb_memory_free(g->key_rows);
    pb_memory_free(g->out_rows);
    pb_memory_free(g->out_positions);
    pb_memory_free(g->choices);
    pb_batch_clear(&g->prompt);
}

bool network_generation_stops(const pb_generate_options *options, int32_t id)
{
    for (int64_t i = 0; i < options->stop_count; i++) {
        if (options->stop_ids[i] == id) {
            return true;
        }
    }
    return false;
}

/* Appends the id that was picked in `slot` to a row, which may end with it. */
static pb_status append(generation *g, int64_t sample, int64_t slot)
{
    pb_generated *row = &g->out[sample];
    int32_t id        = g->choices[slot];
    float logit;
    memcpy(&logit, &g->choices[g->outs + slot], sizeof logit);
    if (!isfinite(logit)) {
        return PB_FAIL(PB_ERR_NUMERIC,
                       "logits of row %" PRId64 " of %" PRId64
                       " are not finite at its new token %" PRId64 ": " PB_NOT_FINITE_REMEDY,
                       (g->rows->numbers != NULL ? g->rows->numbers[sample] : sample) + 1,
                       g->rows->all, row->count + 1);
    }
    row->ids[row->count++] = id;
    g->ended[sample] =
        row->count == g->options->max_new_tokens || network_generation_stops(g->options, id);
    g->going -= g->ended[sample];
    return PB_OK;
}

/* The output that follows the ids of a row, which had `before` at the beginning of the step; -1
 * where no draft has them. */
static int64_t next_slot(const generation *g, const pb_generated *row, int64_t before, int64_t slot)
{
    int64_t more  = row->count - before;
    int64_t first = slot + 1;
    for (int64_t d = 0; d < g->drafts; d++) {
        int64_t rows        = draft_rows(g, d, row->ids, before);
        const int32_t *next = g->options->drafts[d].ids + before;
        if (more <= rows && memcmp(next, row->ids + before, (size_t)more * sizeof *next) == 0) {
            return first + more - 1;
        }
        first += rows;
    }
    return -1;
}

/* Takes what a step predicts for a row that it computed. The active rows before it have been taken
 * already. */
static pb_status take(generation *g, int64_t sample, int64_t slot)
{
    pb_generated *row = &g->out[sample];
    int64_t before    = row->count;
    int64_t next      = g->ended[sample] ? -1 : slot;
    g->kept[sample]   = (int32_t)before;
    while (next >= 0 && !g->ended[sample]) {
        PB_TRY(append(g, sample, next));
        next = before > 0 ? next_slot(g, row, before, slot) : -1;
    }
    return PB_OK;
}

/* Rows of a step while `going` of them go on. */
static int64_t rows_for(const generation *g, int64_t going)
{
    int64_t power = 1;
    while (power < going) {
        power *= 2;
    }
    return !network_saves(g->net, PB_SAVING_LEAVING) ? g->prompt.samples
           : pb_backend_pads(g->net->backend)        ? power
                                                     : going;
}

/* Rows that have ended leave, as far as the next step has fewer. */
static void leave(generation *g)
{
    int64_t left  = g->count - rows_for(g, g->going);
    int64_t count = g->count;
    g->count      = 0;
    for (int64_t n = 0; n < count; n++) {
        bool leaves = left > 0 && g->ended[g->active[n]];
        left -= leaves;
        if (!leaves) {
            g->active[g->count++] = g->active[n];
        }
    }
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

/* The pass, and the most probable next id of all wanted rows, in chunks of logits. */
static pb_status run_queued(void *context)
{
    const prepared *q = context;
    pb_network *net   = q->net;
    scratch *s        = &net->scratch;
    int64_t outs      = q->pass->shape.outs;
    int64_t chunk     = s->logits.shape[0];
    PB_TRY(network_body_forward(net, q->pass));
    PB_TRY(network_head_norm(net, q->pass));
    for (int64_t first = 0; first < outs; first += chunk) {
        int64_t n        = outs - first < chunk ? outs - first : chunk;
        pb_tensor x      = pb_tensor_rows(&s->normed, first, n);
        pb_tensor logits = pb_tensor_rows(&s->logits, 0, n);
        pb_tensor index  = pb_tensor_rows(&s->choices, first, n);
        pb_tensor value  = pb_tensor_rows(&s->choices, outs + first, n);
        value.dtype      = PB_DTYPE_F32;
        PB_TRY(network_head_logits(net, &x, &logits));
        PB_TRY(pb_argmax(net->backend, &index, &value, &logits));
    }
    return PB_OK;
}

/* All that the operations of a pass depend on, its page aside. */
typedef struct step_key {
    pass_part part;
    const void *cache;
    int64_t capacity;
} step_key;

/* Runs a pass, which `recurs` or not, and fetches its choices: the only wait. */
static pb_status choose(generation *g, pass *p, bool recurs)
{
    pb_network *net = g->net;
    prepared q      = {net, p};
    PB_TRY(network_prepare(net, p));
    network_warn_of_positions(net, p);
    step_key key   = {p->own, p->cache->keys[0].data, p->cache->keys[0].shape[0]};
    pb_tensor host = pb_tensor_1d(g->choices, PB_DTYPE_I32, 2 * g->outs);
    PB_TRY(recurs ? pb_repeat(net->backend, &key, sizeof key, run_queued, &q) : run_queued(&q));
    return pb_copy(net->backend, &host, &net->scratch.choices);
}

static pb_status run_prompt(generation *g)
{
    const pb_batch *b = &g->prompt;
    pass p            = network_pass_over(b, false);
    p.key_rows        = g->key_rows;
    p.cache           = &g->cache;
    p.shape.cached    = true;
    g->outs           = b->outs;
    place_keys(g, &b->forest);
    PB_TRY(choose(g, &p, false));
    for (int64_t i = 0; i < b->samples; i++) {
        int64_t slot = 0;
        while (b->out_rows[slot] != b->last_rows[i]) {
            slot++;
        }
        PB_TRY(take(g, i, slot));
        g->active[g->count++] = (int32_t)i;
    }
    leave(g);
    return PB_OK;
}

/* Adds a segment whose last rows are computed, from these ids; the last `outs` of them are
 * wanted. */
static void add_segment(generation *g, pb_forest *forest, pb_segment s, const int32_t *ids,
                        int64_t outs)
{
    s.row = forest->rows;
    for (int64_t i = 0; i < s.rows; i++) {
        g->ids[s.row + i]       = ids[i];
        g->positions[s.row + i] = (int32_t)(s.position + s.length - s.rows + i);
        if (i >= s.rows - outs) {
            g->out_rows[g->outs]      = (int32_t)(s.row + i);
            g->out_positions[g->outs] = g->positions[s.row + i];
            g->outs++;
        }
    }
    g->segments[forest->count++] = s;
    forest->rows += s.rows;
}

/* The segment of a row has as many keys as it has ids, those that are not kept being computed. */
static void add_row(generation *g, pb_forest *forest, int64_t sample)
{
    const pb_batch *b        = &g->prompt;
    const pb_generated *row  = &g->out[sample];
    const pb_segment *parent = &b->segments[b->last_segments[sample]];
    int64_t fresh            = g->ended[sample] ? 1 : row->count - g->kept[sample];
    int64_t key              = first_key(g, b->samples) + sample * g->draft_keys;
    pb_segment own           = {
                  .rows     = fresh,
                  .key      = first_key(g, sample),
                  .length   = row->count,
                  .position = parent->position + parent->length,
                  .parent   = b->last_segments[sample],
    };
    int32_t index = (int32_t)forest->count;
    add_segment(g, forest, own, row->ids + row->count - fresh, 1);
    for (int64_t d = 0; d < g->drafts && !g->ended[sample]; d++) {
        int64_t rows     = draft_rows(g, d, row->ids, row->count);
        pb_segment draft = {
            .rows     = rows,
            .key      = key,
            .length   = rows,
            .position = own.position + own.length,
            .parent   = index,
        };
        if (rows > 0) {
            add_segment(g, forest, draft, g->options->drafts[d].ids + row->count, rows);
        }
        key += rows;
    }
}

static void build_step(generation *g, pb_forest *forest)
{
    const pb_batch *b = &g->prompt;
    memcpy(g->segments, b->segments, (size_t)b->forest.count * sizeof *g->segments);
    for (int64_t i = 0; i < b->forest.count; i++) {
        g->segments[i].row  = 0;
        g->segments[i].rows = 0;
    }
    *forest = (pb_forest){
        .segments = g->segments,
        .count    = b->forest.count,
        .keys     = g->cache.keys[0].shape[0],
    };
    g->outs = 0;
    for (int64_t n = 0; n < g->count; n++) {
        g->slots[n] = (int32_t)g->outs;
        add_row(g, forest, g->active[n]);
    }
}

static pass step_pass(generation *g, pb_forest *forest)
{
    build_step(g, forest);
    place_keys(g, forest);
    bool all = g->outs == forest->rows;
    return (pass){
        .forest        = forest,
        .ids           = g->ids,
        .positions     = g->positions,
        .out_rows      = all ? NULL : g->out_rows,
        .out_positions = all ? NULL : g->out_positions,
        .key_rows      = g->key_rows,
        .shape = {.rows = forest->rows, .keys = forest->keys, .outs = g->outs, .cached = true},
        .cache = &g->cache,
    };
}

/* Takes the memory of a step of all rows, which have `count` new tokens, one of them without
 * keys. */
static pb_status reserve_step(generation *g, int64_t count)
{
    pb_forest forest;
    for (int64_t i = 0; i < g->prompt.samples; i++) {
        g->active[g->count++] = (int32_t)i;
        g->out[i].count       = count;
        g->out[i].ids[0]      = g->draft_first;
        g->kept[i]            = (int32_t)(count - 1);
    }
    pass p   = step_pass(g, &forest);
    g->count = 0;
    for (int64_t i = 0; i < g->prompt.samples; i++) {
        g->out[i].count = 0;
    }
    PB_TRY(network_prepare(g->net, &p));
    return network_reserve(g->net, &p);
}

/* No step needs more than the last one if every row gets that far, or than one with most drafts. A
 * row that stays has all its tokens. */
static pb_status reserve_steps(generation *g)
{
    int64_t most = g->options->max_new_tokens;
    bool stays   = rows_for(g, g->prompt.samples - 1) >= g->prompt.samples;
    PB_TRY(most > 1 && g->draft_keys > 0 ? reserve_step(g, 1) : PB_OK);
    return most > 1 ? reserve_step(g, stays ? most : most - 1) : PB_OK;
}

static pb_status run_step(generation *g)
{
    pb_forest forest;
    pass p = step_pass(g, &forest);
    PB_TRY(choose(g, &p, forest.rows == g->count)); /* no drafts */
    for (int64_t n = 0; n < g->count; n++) {
        PB_TRY(take(g, g->active[n], g->slots[n]));
    }
    leave(g);
    return PB_OK;
}

pb_status network_generate_cached(pb_network *net, const generate_rows *rows,
                                  const pb_generate_options *options, pb_generated *out)
{
    pb_batch_options packing = pb_network_batch_options(net, false);
    generation g             = {.net = net, .options = options, .rows = rows, .out = out};
    pb_status status;
    PB_TRY_GOTO(status, pb_batch_build(rows->prompts, rows->count, &packing, &g.prompt), done);
    PB_TRY_GOTO(status, open_generation(&g), done);
    PB_TRY_GOTO(status, reserve_steps(&g), done);
    PB_TRY_GOTO(status, run_prompt(&g), done);
    while (g.going > 0) {
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
