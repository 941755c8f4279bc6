// SPDX-License-Identifier: Apache-2.0
/* Greedy generation of all rows, batch by batch: with a cache, or, to measure and to check what
 * that saves, without one. Then every new token costs a pass over all rows of the batch from their
 * beginnings, finished ones included. */
#include "internal.h"

#include "pb/memory.h"

#include <string.h>

typedef struct uncached {
    pb_sample *rows;    /* [count] prompts with their new ids */
    int32_t **ids;      /* [count] of these */
    pb_generated *next; /* [count] of a round */
    bool *ended;        /* [count] */
    int64_t count, going;
} uncached;

static pb_status open_rows(uncached *u, const pb_sample *prompts, int64_t most, pb_generated *out)
{
    PB_TRY(PB_ALLOC(u->rows, u->count));
    PB_TRY(PB_ALLOC(u->ids, u->count));
    PB_TRY(PB_ALLOC(u->next, u->count));
    PB_TRY(PB_ALLOC(u->ended, u->count));
    for (int64_t i = 0; i < u->count; i++) {
        PB_TRY(PB_ALLOC(out[i].ids, most));
        PB_TRY(PB_ALLOC(u->ids[i], prompts[i].length + most));
        if (prompts[i].length > 0) {
            memcpy(u->ids[i], prompts[i].ids, (size_t)prompts[i].length * sizeof *prompts[i].ids);
        }
        u->rows[i] = (pb_sample){.ids = u->ids[i], .length = prompts[i].length};
    }
    u->going = u->count;
    return PB_OK;
}

static void close_rows(uncached *u)
{
    for (int64_t i = 0; u->ids != NULL && i < u->count; i++) {
        pb_memory_free(u->ids[i]);
    }
    pb_memory_free(u->ids);
    pb_memory_free(u->rows);
    pb_memory_free(u->next);
    pb_memory_free(u->ended);
}

static void take(uncached *u, const pb_generate_options *options, pb_generated *out)
{
    for (int64_t i = 0; i < u->count; i++) {
        int32_t id = u->next[i].ids[0];
        pb_memory_free(u->next[i].ids);
        u->next[i]                     = (pb_generated){0};
        u->ids[i][u->rows[i].length++] = id;
        if (u->ended[i]) {
            continue;
        }
        out[i].ids[out[i].count++] = id;
        u->ended[i] =
            out[i].count == options->max_new_tokens || network_generation_stops(options, id);
        u->going -= u->ended[i];
    }
}

static pb_status generate_uncached(pb_network *net, const pb_sample *prompts, int64_t count,
                                   int64_t first, int64_t all, const pb_generate_options *options,
                                   pb_generated *out)
{
    pb_generate_options one = *options;
    uncached u              = {.count = count};
    pb_status status;
    one.max_new_tokens = 1;
    PB_TRY_GOTO(status, open_rows(&u, prompts, options->max_new_tokens, out), done);
    while (u.going > 0) {
        PB_TRY_GOTO(status, network_generate_cached(net, u.rows, count, first, all, &one, u.next),
                    done);
        take(&u, options, out);
    }
done:
    close_rows(&u);
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
        status = network_saves(net, PB_SAVING_CACHE)
                     ? network_generate_cached(net, bare, n, first, count, options, out + first)
                     : generate_uncached(net, bare, n, first, count, options, out + first);
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
