// SPDX-License-Identifier: Apache-2.0
/* Rates of work from the cells of a results file. */
#include "internal.h"

#include "pb/memory.h"

#include <math.h>

typedef struct samples {
    pb_rates_sample *items; /* those of a cell follow one another */
    int *counts;            /* [cells] */
    int64_t count, cells;
} samples;

static pb_status add_cell(void *context, const pb_record *whole)
{
    samples *s = context;
    PB_TRY(PB_GROW(s->items, s->count + PB_RATES_SAMPLES));
    PB_TRY(PB_GROW(s->counts, s->cells + 1));
    int *count = &s->counts[s->cells];
    PB_TRY(pb_rates_measured(whole, s->items + s->count, count));
    s->count += *count;
    s->cells++;
    return PB_OK;
}

static pb_status add_cells(const pb_results *results, samples *s)
{
    for (int64_t i = 0; i < results->count; i++) {
        const pb_record *r = &results->records[i];
        pb_status status   = r->status == PB_OK ? pb_record_visit(r, add_cell, s) : PB_OK;
        if (status != PB_OK) {
            return pb_error_prefix(status, "%s/%s/%s/%lld", r->key.model, r->key.dataset,
                                   r->key.method, (long long)r->key.seed);
        }
    }
    return PB_OK;
}

/* Relative to the measured seconds of whole cells. */
static double residual_of(const samples *s, const pb_rates *rates)
{
    double squares = 0.0;
    int64_t at     = 0;
    for (int64_t i = 0; i < s->cells; i++) {
        double predicted = 0.0;
        double measured  = 0.0;
        for (int k = 0; k < s->counts[i]; k++, at++) {
            predicted += pb_rates_seconds(rates, &s->items[at].work);
            measured += s->items[at].seconds;
        }
        double off = measured > 0.0 ? predicted / measured - 1.0 : 0.0;
        squares += off * off;
    }
    return sqrt(squares / (double)s->cells);
}

pb_status pb_sweep_fit_read(const char *path, pb_sweep_fit *out)
{
    pb_results results = {0};
    samples s          = {0};
    pb_sweep_fit fit   = {0};
    pb_status status;
    PB_TRY(pb_results_open(&path, 1, &results));
    PB_TRY_GOTO(status, add_cells(&results, &s), done);
    if (s.count == 0) {
        status = PB_FAIL(PB_ERR_CONFIG, "%s: no finished cell to fit the rates to", path);
        goto done;
    }
    PB_TRY_GOTO(status, pb_rates_fit(s.items, s.count, &fit.rates), done);
    fit.cells    = s.cells;
    fit.residual = residual_of(&s, &fit.rates);
    *out         = fit;
done:
    pb_memory_free(s.items);
    pb_memory_free(s.counts);
    pb_results_clear(&results);
    return status;
}
