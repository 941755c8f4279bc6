// SPDX-License-Identifier: Apache-2.0
/* The forecast of a sweep: modelled seconds of each cell, and of all cells on several processes. */
#include "internal.h"

#include "pb/memory.h"

pb_status pb_sweep_forecast_make(const pb_sweep *s, pb_sweep_forecast *out)
{
    pb_sweep_forecast f = {0};
    pb_status status;

    PB_TRY(check_cells(s, &f));
    for (int64_t i = 0; i < f.count; i++) {
        pb_sweep_foreseen *known = &f.cells[i];
        if (known->mistake < 0) {
            PB_TRY_GOTO(
                status,
                pb_cell_predict(s->env, known->cell->cell, &known->rows, &known->prediction),
                err_forecast);
            known->seconds = known->prediction.seconds;
        }
        f.seconds += known->seconds;
    }
    *out = f;
    return PB_OK;

err_forecast:
    pb_sweep_forecast_clear(&f);
    return status;
}

/* Processes beyond one per cell change nothing. */
pb_status pb_sweep_forecast_makespan(const pb_sweep_forecast *forecast, int64_t ranks,
                                     double *seconds)
{
    int64_t used = ranks < forecast->count ? ranks : forecast->count;
    double *busy = NULL;
    PB_TRY(PB_ALLOC(busy, used + 1));
    *seconds = 0.0;
    for (int64_t i = 0; i < forecast->count; i++) {
        int64_t first = 0;
        for (int64_t r = 1; r < used; r++) {
            first = busy[r] < busy[first] ? r : first;
        }
        busy[first] += forecast->cells[i].seconds;
        *seconds = busy[first] > *seconds ? busy[first] : *seconds;
    }
    pb_memory_free(busy);
    return PB_OK;
}
