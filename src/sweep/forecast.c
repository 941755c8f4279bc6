// SPDX-License-Identifier: Apache-2.0
/* The forecast of a sweep: modelled seconds of each cell, and of all cells on several processes. */
#include "internal.h"

#include "pb/memory.h"

#include <math.h>

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
    gangs_form(s, cells, f->count, pb_comm_size(s->comm), NULL, leads);
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

double forecast_cost(const pb_cell_prediction *prediction)
{
    return fmax(prediction->seconds, 1e-3);
}

/* The order of a run, which foresees the same. */
static pb_status order(pb_sweep *s, pb_sweep_forecast *f)
{
    pb_sweep_foreseen *ordered = NULL;
    PB_TRY(PB_ALLOC(ordered, f->count));
    for (int64_t i = 0; i < f->count; i++) {
        s->cells.items[i].cost = forecast_cost(&f->cells[i].prediction);
    }
    pb_grid_order(&s->cells);
    for (int64_t i = 0; i < f->count; i++) {
        ordered[i]      = f->cells[s->cells.items[i].before];
        ordered[i].cell = &s->cells.items[i];
    }
    pb_memory_free(f->cells);
    f->cells = ordered;
    return PB_OK;
}

pb_status pb_sweep_forecast_make(pb_sweep *s, pb_sweep_forecast *out)
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
    PB_TRY_GOTO(status, order(s, &f), err_forecast);
    PB_TRY_GOTO(status, count_gangs(s, &f), err_forecast);
    f.threads   = pb_cell_env_threads(s->env);
    f.on_device = !pb_cell_env_on_host(s->env);
    f.gflops    = pb_cell_env_gflops(s->env);
    *out        = f;
    return PB_OK;

err_forecast:
    pb_sweep_forecast_clear(&f);
    return status;
}

/* Processes that are free earlier come first: a binary heap over their times. */
static void sink(double *busy, int64_t count)
{
    int64_t at = 0;
    for (;;) {
        int64_t least = at;
        for (int64_t child = 2 * at + 1; child <= 2 * at + 2 && child < count; child++) {
            least = busy[child] < busy[least] ? child : least;
        }
        if (least == at) {
            return;
        }
        double moved = busy[at];
        busy[at]     = busy[least];
        busy[least]  = moved;
        at           = least;
    }
}

/* Processes beyond one per cell change nothing. A gang is dealt as a whole. */
pb_status pb_sweep_forecast_makespan(const pb_sweep_forecast *forecast, int64_t ranks,
                                     pb_sweep_makespan *out)
{
    int64_t count    = forecast->count;
    int64_t used     = ranks < count ? ranks : count;
    double *busy     = NULL;
    double *gangs    = NULL; /* seconds, at the place of the first cell */
    double sum       = 0.0;
    pb_status status = PB_OK;
    *out             = (pb_sweep_makespan){0};
    PB_TRY_GOTO(status, PB_ALLOC(busy, used + 1), done);
    PB_TRY_GOTO(status, PB_ALLOC(gangs, count + 1), done);
    for (int64_t i = 0; i < count; i++) {
        gangs[i - forecast->cells[i].behind_lead] += forecast->cells[i].seconds;
        sum += forecast->cells[i].seconds;
    }
    for (int64_t i = 0; i < count; i++) {
        if (forecast->cells[i].behind_lead > 0) {
            continue;
        }
        busy[0] += gangs[i];
        out->seconds = busy[0] > out->seconds ? busy[0] : out->seconds;
        out->bound   = gangs[i] > out->bound ? gangs[i] : out->bound;
        sink(busy, used);
    }
    out->bound = used > 0 && sum / (double)used > out->bound ? sum / (double)used : out->bound;
done:
    pb_memory_free(busy);
    pb_memory_free(gangs);
    return status;
}
