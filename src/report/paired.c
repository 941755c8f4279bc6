// SPDX-License-Identifier: Apache-2.0
/* Reads the rows of all cells of a data set, turns every pair of methods into differences per unit,
 * and tests them. */
#include "paired.h"

#include "stats.h"

#include "pb/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Differences of one pair, by unit. */
typedef struct units {
    double *sums;     /* [count] of the differences of a unit's predictions */
    double *sizes;    /* [count] how many predictions it has */
    double *resample; /* [STATS_RESAMPLES] means of the bootstrap samples */
    int64_t count;
    bool single; /* every unit is one prediction */
} units;

typedef struct comparing {
    const pb_results *results;
    pb_record_values *cells; /* [methods][seeds] */
    bool *have;              /* [methods][seeds] the cell counts and was read */
    int64_t *order;          /* predictions by their row; grows */
    units *units;            /* [pairs] */
    paired_list list;
} comparing;

static const pb_record_values *cell_of(const comparing *c, int64_t method, int64_t seed)
{
    int64_t at = method * c->results->seeds_count + seed;

    return c->have[at] ? &c->cells[at] : NULL;
}

static pb_status read_cells(comparing *c, int64_t model, int64_t dataset)
{
    const pb_results *r = c->results;

    for (int64_t t = 0; t < r->methods_count; t++) {
        for (int64_t s = 0; s < r->seeds_count; s++) {
            int64_t at    = pb_results_index(r, model, dataset, t, s);
            int64_t place = t * r->seeds_count + s;
            if (r->state[at] == PB_CELL_DONE) {
                PB_TRY(pb_record_values_read(&r->records[r->grid[at]], &c->cells[place]));
                c->have[place] = true;
            }
        }
    }
    return PB_OK;
}

/* Why a cell cannot be compared by position with another one of the pair, NULL when it can. */
static const char *unlike(const pb_record_values *first, const pb_record_values *cell)
{
    if (cell->count == 0) {
        return "no predictions are stored";
    }
    if (cell->count != first->count ||
        memcmp(cell->rows, first->rows, (size_t)cell->count * sizeof *cell->rows) != 0) {
        return "tested on different rows";
    }
    for (int64_t i = 0; i < cell->count; i++) {
        if (isnan(cell->values[i])) {
            return "it is not known what a row is worth";
        }
    }
    return NULL;
}

/* Finds the seeds in common; *first: a cell of the pair. */
static const pb_record_values *check_pair(const comparing *c, paired *pair)
{
    const pb_record_values *first = NULL;

    for (int64_t s = 0; s < c->results->seeds_count; s++) {
        const pb_record_values *a = cell_of(c, pair->a, s);
        const pb_record_values *b = cell_of(c, pair->b, s);
        if (a == NULL || b == NULL) {
            continue;
        }
        first               = first != NULL ? first : a;
        const char *problem = unlike(first, a);
        problem             = problem != NULL ? problem : unlike(first, b);
        if (problem != NULL) {
            pair->problem = problem;
            return NULL;
        }
        pair->seeds++;
    }
    if (first == NULL) {
        pair->problem = "no seed in common";
    }
    return first;
}

static int by_row(const void *a, const void *b, void *context)
{
    const int64_t *rows = context;
    int64_t x           = *(const int64_t *)a;
    int64_t y           = *(const int64_t *)b;

    if (rows[x] != rows[y]) {
        return (rows[x] > rows[y]) - (rows[x] < rows[y]);
    }
    return (x > y) - (x < y);
}

/* The difference of one prediction, mean over the common seeds; *binary: a single seed whose values
 * are 0 or 1. */
static double difference_at(const comparing *c, const paired *pair, int64_t i, bool *binary)
{
    double sum = 0;

    for (int64_t s = 0; s < c->results->seeds_count; s++) {
        const pb_record_values *a = cell_of(c, pair->a, s);
        const pb_record_values *b = cell_of(c, pair->b, s);
        if (a != NULL && b != NULL) {
            double x = a->values[i];
            double y = b->values[i];
            sum += x - y;
            *binary = *binary && (x == 0 || x == 1) && (y == 0 || y == 1);
        }
    }
    *binary = *binary && pair->seeds == 1;
    return sum / (double)pair->seeds;
}

static pb_status gather(comparing *c, const pb_record_values *first, paired *pair, units *out,
                        bool *binary)
{
    int64_t count = first->count;
    double total  = 0;

    PB_TRY(PB_ALLOC(out->sums, count));
    PB_TRY(PB_ALLOC(out->sizes, count));
    PB_TRY(PB_GROW(c->order, count));
    for (int64_t i = 0; i < count; i++) {
        c->order[i] = i;
    }
    qsort_r(c->order, (size_t)count, sizeof *c->order, by_row, first->rows);
    *binary = true;
    for (int64_t k = 0; k < count; k++) {
        int64_t i = c->order[k];
        bool next = k == 0 || first->rows[i] != first->rows[c->order[k - 1]];
        double d  = difference_at(c, pair, i, binary);
        out->count += next;
        out->sums[out->count - 1] += d;
        out->sizes[out->count - 1] += 1;
        total += d;
    }
    out->single      = out->count == count;
    *binary          = *binary && out->single;
    pair->rows       = out->count;
    pair->difference = 100 * total / (double)count;
    return PB_OK;
}

static pb_status test_units(const units *u, bool binary, paired *pair)
{
    int64_t only_a = 0;
    int64_t only_b = 0;
    bool exact     = false;

    if (!binary) {
        PB_TRY(stats_sign_flip(u->sums, u->count, &pair->p, &exact));
        pair->test = exact ? "sign_flip_exact" : "sign_flip";
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
    paired *pair                  = &c->list.pairs[index];
    units *u                      = &c->units[index];
    const pb_record_values *first = check_pair(c, pair);
    bool binary                   = false;

    if (first == NULL) {
        return PB_OK;
    }
    PB_TRY(gather(c, first, pair, u, &binary));
    PB_TRY(test_units(u, binary, pair));
    return PB_ALLOC(u->resample, STATS_RESAMPLES);
}

/* The mean of a bootstrap sample, percent. */
static double resampled(const units *u, const double *weights)
{
    double sum  = stats_weighted_sum(weights, u->sums, u->count);
    double size = u->single ? (double)u->count : stats_weighted_sum(weights, u->sizes, u->count);

    return 100 * sum / size;
}

/* A bootstrap sample depends on its number and the number of units alone: pairs share the draws. */
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
            units *u = &c->units[i];
            if (u->count > 1 && u->count != drawn) {
                stats_resample(sample, u->count, weights);
                drawn = u->count;
            }
            if (u->count > 1) {
                u->resample[sample] = resampled(u, weights);
            }
        }
    }
    pb_memory_free(weights);
    for (int64_t i = 0; i < c->list.count; i++) {
        paired *pair = &c->list.pairs[i];
        if (c->units[i].count > 1) { /* one row alone says nothing of others */
            stats_sort(c->units[i].resample, STATS_RESAMPLES);
            pair->low  = stats_quantile(c->units[i].resample, STATS_RESAMPLES, 0.025);
            pair->high = stats_quantile(c->units[i].resample, STATS_RESAMPLES, 0.975);
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

static bool has_any(const comparing *c, int64_t method)
{
    for (int64_t s = 0; s < c->results->seeds_count; s++) {
        if (cell_of(c, method, s) != NULL) {
            return true;
        }
    }
    return false;
}

static pb_status list_pairs(comparing *c)
{
    for (int64_t a = 0; a < c->results->methods_count; a++) {
        for (int64_t b = a + 1; b < c->results->methods_count; b++) {
            if (!has_any(c, a) || !has_any(c, b)) {
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
    return PB_ALLOC(c->units, c->list.count + 1);
}

static pb_status compare_all(comparing *c, int64_t model, int64_t dataset)
{
    int64_t cells = c->results->methods_count * c->results->seeds_count;

    PB_TRY(PB_ALLOC(c->cells, cells + 1));
    PB_TRY(PB_ALLOC(c->have, cells + 1));
    PB_TRY(read_cells(c, model, dataset));
    PB_TRY(list_pairs(c));
    for (int64_t i = 0; i < c->list.count; i++) {
        PB_TRY(compare(c, i));
    }
    PB_TRY(make_intervals(c));
    return adjust(&c->list);
}

pb_status paired_make(const pb_results *results, int64_t model, int64_t dataset, paired_list *out)
{
    comparing c      = {.results = results};
    pb_status status = compare_all(&c, model, dataset);

    for (int64_t i = 0; c.cells != NULL && i < results->methods_count * results->seeds_count; i++) {
        pb_record_values_clear(&c.cells[i]);
    }
    for (int64_t i = 0; c.units != NULL && i < c.list.count; i++) {
        pb_memory_free(c.units[i].sums);
        pb_memory_free(c.units[i].sizes);
        pb_memory_free(c.units[i].resample);
    }
    pb_memory_free(c.cells);
    pb_memory_free(c.have);
    pb_memory_free(c.order);
    pb_memory_free(c.units);
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
