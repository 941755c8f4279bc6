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

static pb_status generate_uncached(pb_network *net, const generate_rows *rows,
                                   const pb_generate_options *options, pb_generated *out)
{
    pb_generate_options one = *options;
    generate_rows longer    = *rows;
    uncached u              = {.count = rows->count};
    pb_status status;
    one.max_new_tokens = 1;
    PB_TRY_GOTO(status, open_rows(&u, rows->prompts, options->max_new_tokens, out), done);
    longer.prompts = u.rows;
    while (u.going > 0) {
        PB_TRY_GOTO(status, network_generate_cached(net, &longer, &one, u.next), done);
        take(&u, options, out);
    }
done:
    close_rows(&u);
    return status;
}

static pb_status check(const pb_generate_options *options)
{
    if (options->max_new_tokens < 1 || options->batch < 1) {
        return PB_FAIL(PB_ERR_ARGUMENT,
                       "generation needs at least one new token and one row at a time");
    }
    return PB_OK;
}

static pb_status generate_group(pb_network *net, const generate_rows *rows,
                                const pb_generate_options *options, pb_generated *out)
{
    return network_saves(net, PB_SAVING_CACHE) ? network_generate_cached(net, rows, options, out)
                                               : generate_uncached(net, rows, options, out);
}

static void forget(pb_generated *out, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        pb_memory_free(out[i].ids);
        out[i] = (pb_generated){0};
    }
}

/* A prompt has no labels: they would be outputs. */
static pb_sample bare(const pb_sample *prompt)
{
    return (pb_sample){.ids = prompt->ids, .length = prompt->length};
}

pb_status pb_network_generate_group(pb_network *net, const pb_sample *prompts, int64_t count,
                                    const pb_generate_options *options, pb_generated *out)
{
    pb_sample *rows = NULL;
    memset(out, 0, (size_t)count * sizeof *out);
    PB_TRY(check(options));
    PB_TRY(PB_ALLOC(rows, count));
    for (int64_t i = 0; i < count; i++) {
        rows[i] = bare(&prompts[i]);
    }
    const generate_rows group = {.prompts = rows, .count = count, .all = count};
    pb_status status          = generate_group(net, &group, options, out);
    pb_memory_free(rows);
    if (status != PB_OK) {
        forget(out, count);
    }
    return PB_FRAME(status);
}

/* All groups of prompts, one after another. `rows` and `made` are those of a group. */
static pb_status generate_all(pb_network *net, const pb_sample *prompts, const pb_groups *groups,
                              const pb_generate_options *options, pb_sample *rows,
                              pb_generated *made, pb_generated *out)
{
    pb_status status = PB_OK;
    for (int64_t g = 0; g < groups->count && status == PB_OK; g++) {
        const int64_t *numbers = groups->order + groups->starts[g];
        generate_rows group    = {.prompts = rows,
                                  .count   = groups->starts[g + 1] - groups->starts[g],
                                  .numbers = numbers,
                                  .all     = groups->starts[groups->count]};
        for (int64_t i = 0; i < group.count; i++) {
            rows[i] = bare(&prompts[numbers[i]]);
            made[i] = (pb_generated){0};
        }
        status = generate_group(net, &group, options, made);
        for (int64_t i = 0; i < group.count; i++) {
            out[numbers[i]] = made[i];
        }
    }
    return status;
}

pb_status pb_network_generate(pb_network *net, const pb_sample *prompts, int64_t count,
                              const pb_generate_options *options, pb_generated *out)
{
    bool sorted        = network_saves(net, PB_SAVING_ORDER);
    pb_groups groups   = {0};
    pb_sample *rows    = NULL;
    pb_generated *made = NULL;
    pb_status status;
    memset(out, 0, (size_t)count * sizeof *out);
    PB_TRY(check(options));
    PB_TRY(
        pb_groups_make(prompts, count, options->batch, options->max_new_tokens, sorted, &groups));
    PB_TRY_GOTO(status, PB_ALLOC(rows, groups.largest), done);
    PB_TRY_GOTO(status, PB_ALLOC(made, groups.largest), done);
    PB_TRY_GOTO(status, generate_all(net, prompts, &groups, options, rows, made, out), done);
done:
    pb_memory_free(rows);
    pb_memory_free(made);
    pb_groups_clear(&groups);
    if (status != PB_OK) {
        forget(out, count);
    }
    return PB_FRAME(status);
}
