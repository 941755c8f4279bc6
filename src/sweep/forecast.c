// SPDX-License-Identifier: Apache-2.0
/* The forecast of a sweep: modelled seconds of each cell, and of all cells on several processes. */
#include "internal.h"

#include "pb/memory.h"

/* The members of a gang hold their memory at the same time, the weights once. */
static pb_status count_gangs(const pb_sweep *s, pb_sweep_forecast *f)
{
    int64_t *cells = NULL;
    int64_t *leads = NULL;
    pb_status status;
    PB_TRY_GOTO(status, PB_ALLOC(cells, f->count + 1), done);
    PB_TRY_GOTO(status, PB_ALLOC(leads, f->count + 1), done);
    for (int64_t i = 0; i < f->count; i++) {
        cells[i] = leads[i] = i;
    }
    gangs_form(s, cells, f->count, pb_comm_size(s->comm), leads);
    for (int64_t i = 0; i < f->count; i++) {
        pb_sweep_foreseen *lead = &f->cells[leads[i]];
        f->cells[i].behind_lead = i - leads[i];
        f->cells[i].memory_gb   = f->cells[i].prediction.memory_gb;
        f->cells[i].device_gb   = f->cells[i].prediction.device_gb;
        if (leads[i] != i) {
            lead->memory_gb += f->cells[i].prediction.memory_gb - f->cells[i].prediction.weights_gb;
            lead->device_gb +=
                f->cells[i].prediction.device_gb - f->cells[i].prediction.device_weights_gb;
        }
    }
    for (int64_t i = 0; i < f->count; i++) {
        f->cells[i].memory_gb = f->cells[leads[i]].memory_gb;
        f->cells[i].device_gb = f->cells[leads[i]].device_gb;
    }
done:
    pb_memory_free(cells);
    pb_memory_free(leads);
    return status;
}

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
    PB_TRY_GOTO(status, count_gangs(s, &f), err_forecast);
    *out = f;
    return PB_OK;

err_forecast:
    pb_sweep_forecast_clear(&f);
    return status;
}

/* Of the gang that cell `lead` leads. */
static double gang_seconds(const pb_sweep_forecast *forecast, int64_t lead)
{
    double seconds = 0.0;
    for (int64_t i = lead; i < forecast->count; i++) {
        seconds += i - forecast->cells[i].behind_lead == lead ? forecast->cells[i].seconds : 0.0;
    }
    return seconds;
}

/* Processes beyond one per cell change nothing. A gang is dealt as a whole. */
pb_status pb_sweep_forecast_makespan(const pb_sweep_forecast *forecast, int64_t ranks,
                                     double *seconds)
{
    int64_t used = ranks < forecast->count ? ranks : forecast->count;
    double *busy = NULL;
    PB_TRY(PB_ALLOC(busy, used + 1));
    *seconds = 0.0;
    for (int64_t i = 0; i < forecast->count; i++) {
        int64_t first = 0;
        if (forecast->cells[i].behind_lead > 0) {
            continue;
        }
        for (int64_t r = 1; r < used; r++) {
            first = busy[r] < busy[first] ? r : first;
        }
        busy[first] += gang_seconds(forecast, i);
        *seconds = busy[first] > *seconds ? busy[first] : *seconds;
    }
    pb_memory_free(busy);
    return PB_OK;
}
