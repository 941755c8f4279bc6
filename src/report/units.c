// SPDX-License-Identifier: Apache-2.0
/* Rows are paired by position, and only where the lists of row numbers are equal in every cell: no
 * row is dropped to make two methods comparable.
 *
 * A unit is a row of the test file, since records hold no ids; the metric `record` draws questions
 * by their id. They are the same where it matters: the corrected protocol drops rows whose id
 * occurred before (metric/record.c). */
#include "units.h"

#include "pb/memory.h"
#include "pb/stop.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const pb_record_values *cell_of(const rows_of_cells *c, int64_t method, int64_t seed)
{
    int64_t at = method * c->results->seeds_count + seed;

    return c->have[at] ? &c->cells[at] : NULL;
}

static pb_status read_cells(rows_of_cells *c, int64_t model, int64_t dataset)
{
    const pb_results *r = c->results;
    int64_t cells       = r->methods_count * r->seeds_count;

    PB_TRY(PB_ALLOC(c->cells, cells + 1));
    PB_TRY(PB_ALLOC(c->have, cells + 1));
    for (int64_t t = 0; t < r->methods_count; t++) {
        for (int64_t s = 0; s < r->seeds_count; s++) {
            int64_t at    = pb_results_index(r, model, dataset, t, s);
            int64_t place = t * r->seeds_count + s;
            PB_TRY(pb_stop_check());
            if (r->state[at] == PB_CELL_DONE) {
                PB_TRY(pb_record_values_read(&r->records[r->grid[at]], &c->cells[place]));
                c->have[place] = true;
            }
        }
    }
    return PB_OK;
}

pb_status rows_read(const pb_results *results, int64_t model, int64_t dataset, rows_of_cells *out)
{
    rows_of_cells rows = {.results = results};
    pb_status status   = read_cells(&rows, model, dataset);

    if (status != PB_OK) {
        rows_clear(&rows);
        return status;
    }
    *out = rows;
    return PB_OK;
}

void rows_clear(rows_of_cells *rows)
{
    for (int64_t i = 0;
         rows->cells != NULL && i < rows->results->methods_count * rows->results->seeds_count;
         i++) {
        pb_record_values_clear(&rows->cells[i]);
    }
    pb_memory_free(rows->cells);
    pb_memory_free(rows->have);
    *rows = (rows_of_cells){0};
}

bool rows_have(const rows_of_cells *c, int64_t method)
{
    for (int64_t s = 0; s < c->results->seeds_count; s++) {
        if (cell_of(c, method, s) != NULL) {
            return true;
        }
    }
    return false;
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
        if (!isfinite(cell->values[i])) {
            return "the values of the rows are not known";
        }
    }
    return NULL;
}

/* Finds the common seeds, or the problem. Returns a cell of the pair, NULL when there is a
 * problem. */
static const pb_record_values *check_pair(const rows_of_cells *c, int64_t method_a,
                                          int64_t method_b, units *out)
{
    const pb_record_values *first = NULL;

    for (int64_t s = 0; s < c->results->seeds_count; s++) {
        const pb_record_values *a = cell_of(c, method_a, s);
        const pb_record_values *b = cell_of(c, method_b, s);
        if (a == NULL || b == NULL) {
            continue;
        }
        first               = first != NULL ? first : a;
        const char *problem = unlike(first, a);
        problem             = problem != NULL ? problem : unlike(first, b);
        if (problem != NULL) {
            out->problem = problem;
            return NULL;
        }
        out->seeds++;
    }
    if (first == NULL) {
        out->problem = "no seed in common";
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

/* The difference of one prediction, sum over the common seeds; *binary: false when a value is not 0
 * or 1. */
static double difference_at(const rows_of_cells *c, int64_t method_a, int64_t method_b, int64_t i,
                            bool *binary)
{
    double sum = 0;

    for (int64_t s = 0; s < c->results->seeds_count; s++) {
        const pb_record_values *a = cell_of(c, method_a, s);
        const pb_record_values *b = cell_of(c, method_b, s);
        if (a != NULL && b != NULL) {
            double x = a->values[i];
            double y = b->values[i];
            sum += x - y;
            *binary = *binary && (x == 0 || x == 1) && (y == 0 || y == 1);
        }
    }
    return sum;
}

static pb_status gather(const rows_of_cells *c, int64_t method_a, int64_t method_b,
                        const pb_record_values *first, units *out)
{
    int64_t count  = first->count;
    int64_t *order = NULL; /* predictions by their row */
    double total   = 0;

    PB_TRY(PB_ALLOC(out->sums, count));
    PB_TRY(PB_ALLOC(out->sizes, count));
    PB_TRY(PB_ALLOC(order, count));
    for (int64_t i = 0; i < count; i++) {
        order[i] = i;
    }
    qsort_r(order, (size_t)count, sizeof *order, by_row, first->rows);
    out->binary = out->seeds == 1;
    for (int64_t k = 0; k < count; k++) {
        int64_t i = order[k];
        bool next = k == 0 || first->rows[i] != first->rows[order[k - 1]];
        double d  = difference_at(c, method_a, method_b, i, &out->binary) / (double)out->seeds;
        out->count += next;
        out->sums[out->count - 1] += d;
        out->sizes[out->count - 1] += 1;
        total += d;
    }
    out->single     = out->count == count;
    out->binary     = out->binary && out->single;
    out->difference = 100 * total / (double)count;
    pb_memory_free(order);
    return PB_OK;
}

pb_status units_make(const rows_of_cells *rows, int64_t method_a, int64_t method_b, units *out)
{
    units made                    = {.difference = NAN, .problem = ""};
    const pb_record_values *first = check_pair(rows, method_a, method_b, &made);
    pb_status status = first != NULL ? gather(rows, method_a, method_b, first, &made) : PB_OK;

    if (status != PB_OK) {
        units_clear(&made);
        return status;
    }
    *out = made;
    return PB_OK;
}

void units_clear(units *u)
{
    pb_memory_free(u->sums);
    pb_memory_free(u->sizes);
    *u = (units){0};
}
