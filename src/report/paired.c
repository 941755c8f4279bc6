// SPDX-License-Identifier: Apache-2.0
/* Tests of every pair of methods of a data set, and the interval of every difference. */
#include "paired.h"

#include "flips.h"
#include "stats.h"
#include "units.h"

#include "pb/memory.h"
#include "pb/statistics.h"
#include "pb/stop.h"

#include <math.h>

typedef struct comparing {
    rows_of_cells rows;
    units *units;       /* [pairs] */
    flips *tests;       /* [pairs] those of sign flips, zero for others */
    double **resamples; /* [pairs][STATS_RESAMPLES] differences of bootstrap samples, NULL: none */
    paired_list list;
} comparing;

static pb_status test_units(const units *u, flips *test, paired *pair)
{
    int64_t only_a = 0;
    int64_t only_b = 0;

    if (!u->binary) {
        PB_TRY(flips_open(u->sums, u->count, test));
        pair->test = test->exact ? "sign_flip_exact" : "sign_flip";
        return PB_OK;
    }
    for (int64_t i = 0; i < u->count; i++) {
        only_a += u->sums[i] > 0;
        only_b += u->sums[i] < 0;
    }
    pair->p    = stats_mcnemar(only_a, only_b);
    pair->test = "mcnemar";
    return PB_OK;
}

static pb_status compare(comparing *c, int64_t index)
{
    paired *pair = &c->list.pairs[index];
    units *u     = &c->units[index];

    PB_TRY(pb_stop_check());
    PB_TRY(units_make(&c->rows, pair->a, pair->b, u));
    pair->rows       = u->count;
    pair->seeds      = u->seeds;
    pair->difference = u->difference;
    pair->problem    = u->problem;
    if (pair->problem[0] != '\0') {
        return PB_OK;
    }
    PB_TRY(test_units(u, &c->tests[index], pair));
    if (u->count == 1) { /* a single row says nothing about others */
        return PB_OK;
    }
    return PB_ALLOC(c->resamples[index], STATS_RESAMPLES);
}

/* The mean of a bootstrap sample, percent. */
static double resampled(const units *u, const double *weights)
{
    double sum  = stats_weighted_sum(weights, u->sums, u->count);
    double size = u->single ? (double)u->count : stats_weighted_sum(weights, u->sizes, u->count);

    return 100 * sum / size;
}

/* A bootstrap sample depends only on its number and the number of units: pairs share the draws. */
static pb_status make_intervals(comparing *c)
{
    double *weights = NULL;
    int64_t most    = 0;

    for (int64_t i = 0; i < c->list.count; i++) {
        most = c->units[i].count > most ? c->units[i].count : most;
    }
    PB_TRY(PB_ALLOC(weights, most + 1));
    for (int64_t sample = 0; sample < STATS_RESAMPLES; sample++) {
        int64_t drawn = 0;
        for (int64_t i = 0; i < c->list.count; i++) {
            const units *u = &c->units[i];
            if (c->resamples[i] == NULL) {
                continue;
            }
            if (u->count != drawn) {
                pb_statistics_resample(
                    pb_random_stream(STATS_SEED, PB_RANDOM_PAIRS, (uint64_t)sample), u->count,
                    weights);
                drawn = u->count;
            }
            c->resamples[i][sample] = resampled(u, weights);
        }
    }
    pb_memory_free(weights);
    for (int64_t i = 0; i < c->list.count; i++) {
        paired *pair = &c->list.pairs[i];
        if (c->resamples[i] != NULL) {
            pb_statistics_interval(c->resamples[i], STATS_RESAMPLES, &pair->low, &pair->high);
        }
    }
    return PB_OK;
}

static pb_status adjust(paired_list *list)
{
    double *p        = NULL;
    double *adjusted = NULL;
    pb_status status = PB_OK;

    PB_TRY_GOTO(status, PB_ALLOC(p, list->count + 1), out);
    PB_TRY_GOTO(status, PB_ALLOC(adjusted, list->count + 1), out);
    for (int64_t i = 0; i < list->count; i++) {
        p[i] = list->pairs[i].p;
    }
    PB_TRY_GOTO(status, stats_holm(p, list->count, adjusted), out);
    for (int64_t i = 0; i < list->count; i++) {
        list->pairs[i].p_holm = adjusted[i];
    }
out:
    pb_memory_free(p);
    pb_memory_free(adjusted);
    return status;
}

static pb_status list_pairs(comparing *c)
{
    int64_t methods = c->rows.results->methods_count;

    for (int64_t a = 0; a < methods; a++) {
        for (int64_t b = a + 1; b < methods; b++) {
            if (!rows_have(&c->rows, a) || !rows_have(&c->rows, b)) {
                continue;
            }
            PB_TRY(PB_GROW(c->list.pairs, c->list.count + 1));
            c->list.pairs[c->list.count++] = (paired){.a          = a,
                                                      .b          = b,
                                                      .difference = NAN,
                                                      .low        = NAN,
                                                      .high       = NAN,
                                                      .p          = NAN,
                                                      .p_holm     = NAN,
                                                      .test       = "",
                                                      .problem    = ""};
        }
    }
    PB_TRY(PB_ALLOC(c->units, c->list.count + 1));
    PB_TRY(PB_ALLOC(c->tests, c->list.count + 1));
    return PB_ALLOC(c->resamples, c->list.count + 1);
}

static pb_status compare_all(comparing *c, const pb_results *results, int64_t model,
                             int64_t dataset)
{
    PB_TRY(rows_read(results, model, dataset, &c->rows));
    PB_TRY(list_pairs(c));
    for (int64_t i = 0; i < c->list.count; i++) {
        PB_TRY(compare(c, i));
    }
    PB_TRY(flips_draw(c->tests, c->list.count));
    for (int64_t i = 0; i < c->list.count; i++) {
        paired *pair = &c->list.pairs[i];
        pair->p      = c->tests[i].p > 0 ? c->tests[i].p : pair->p;
    }
    PB_TRY(make_intervals(c));
    return adjust(&c->list);
}

pb_status paired_make(const pb_results *results, int64_t model, int64_t dataset, paired_list *out)
{
    comparing c      = {0};
    pb_status status = compare_all(&c, results, model, dataset);

    for (int64_t i = 0; i < c.list.count; i++) {
        if (c.units != NULL) {
            units_clear(&c.units[i]);
        }
        if (c.tests != NULL) {
            flips_close(&c.tests[i]);
        }
        if (c.resamples != NULL) {
            pb_memory_free(c.resamples[i]);
        }
    }
    rows_clear(&c.rows);
    pb_memory_free(c.units);
    pb_memory_free(c.tests);
    pb_memory_free(c.resamples);
    if (status != PB_OK) {
        paired_clear(&c.list);
        return status;
    }
    *out = c.list;
    return PB_OK;
}

void paired_clear(paired_list *list)
{
    pb_memory_free(list->pairs);
    *list = (paired_list){0};
}

paired paired_swapped(const paired *pair)
{
    paired other = *pair;

    other.a          = pair->b;
    other.b          = pair->a;
    other.difference = -pair->difference;
    other.low        = -pair->high;
    other.high       = -pair->low;
    return other;
}
