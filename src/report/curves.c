// SPDX-License-Identifier: Apache-2.0
/* Learning curves and traces of memory, read record by record and reduced at once, so that memory
 * does not grow with the sweep. */
#include "figure.h"

#include "pb/memory.h"

#include <math.h>
#include <string.h>

enum { BINS = 48 };

/* Means over seeds. A bin is a share of a record's own steps. */
typedef struct curve {
    double x[BINS], y[BINS];
    int64_t n[BINS];
    double validation_x[BINS], validation_y[BINS];
    int64_t validations[BINS];
    /* of the first seed that has a trace: the largest of a bin */
    double seconds[BINS], gigabytes[BINS];
    bool traced;
} curve;

static int bin_of(int64_t i, int64_t count)
{
    return (int)(i * BINS / count);
}

static pb_status reduce(void *context, const pb_record *r)
{
    curve *c        = context;
    double last     = r->train_count > 0 ? (double)r->train[r->train_count - 1].step : 0;
    bool first_seed = !c->traced && r->memory_count > 0;

    for (int64_t i = 0; i < r->train_count; i++) {
        int b = bin_of(i, r->train_count);
        c->x[b] += (double)r->train[i].step;
        c->y[b] += r->train[i].loss;
        c->n[b]++;
    }
    for (int64_t i = 0; i < r->validation_count && last > 0; i++) {
        double place = fmin(fmax((double)r->validation[i].step / last, 0), 1);
        int b        = (int)(place * (BINS - 1));
        c->validation_x[b] += (double)r->validation[i].step;
        c->validation_y[b] += r->validation[i].loss;
        c->validations[b]++;
    }
    for (int64_t i = 0; first_seed && i < r->memory_count; i++) {
        const pb_record_memory *m = &r->memory[i];
        /* Where the peak is unknown, the other column has it. */
        double device   = fmax((double)m->device_bytes, (double)m->device_peak_bytes);
        double size     = ((double)m->host_bytes + device) / 1e9;
        int b           = bin_of(i, r->memory_count);
        c->seconds[b]   = m->seconds;
        c->gigabytes[b] = fmax(c->gigabytes[b], size);
    }
    c->traced = c->traced || first_seed;
    return PB_OK;
}

static pb_status read_curve(const pb_results *r, int64_t m, int64_t d, int64_t t, curve *out)
{
    *out = (curve){0};
    for (int64_t k = 0; k < r->seeds_count; k++) {
        int64_t at = r->grid[pb_results_index(r, m, d, t, k)];
        if (at >= 0) {
            PB_TRY(pb_record_visit(&r->records[at], reduce, out));
        }
    }
    return PB_OK;
}

static pb_status add_loss(const curve *c, const char *method, int64_t style, figure *f)
{
    figure_series *series = NULL;

    PB_TRY(figure_add(f, method, style, &series));
    for (int b = 0; b < BINS; b++) {
        double n = (double)c->n[b];
        if (c->n[b] > 0) {
            PB_TRY(figure_point_add(series, (figure_point){c->x[b] / n, c->y[b] / n, NAN, NAN}));
        }
        n = (double)c->validations[b];
        if (c->validations[b] > 0) {
            PB_TRY(figure_mark_add(
                series, (figure_point){c->validation_x[b] / n, c->validation_y[b] / n, NAN, NAN}));
        }
    }
    if (series->count == 0) {
        f->count--;
    } else if (series->marks_count == 0) {
        return figure_mark_add(series, series->points[series->count - 1]);
    }
    return PB_OK;
}

static pb_status add_trace(const curve *c, const char *method, int64_t style, figure *f)
{
    figure_series *series = NULL;
    double last           = -1;

    if (!c->traced) {
        return PB_OK;
    }
    PB_TRY(figure_add(f, method, style, &series));
    for (int b = 0; b < BINS; b++) {
        if (c->gigabytes[b] > 0 && c->seconds[b] > last) {
            last = c->seconds[b];
            PB_TRY(figure_point_add(series, (figure_point){last, c->gigabytes[b], NAN, NAN}));
        }
    }
    if (series->count == 0) {
        f->count--;
        return PB_OK;
    }
    return figure_mark_add(series, series->points[series->count - 1]);
}

static pb_status fill(const pb_results *r, int64_t m, int64_t d, curve *c, figure *loss,
                      figure *trace)
{
    for (int64_t t = 0; t < r->methods_count && t < FIGURE_SERIES_MAX; t++) {
        PB_TRY(read_curve(r, m, d, t, c));
        PB_TRY(add_loss(c, r->methods[t], t, loss));
        PB_TRY(add_trace(c, r->methods[t], t, trace));
    }
    return PB_OK;
}

pb_status figures_of_curves(const pb_results *results, int64_t model, int64_t dataset,
                            figure_show show, void *context)
{
    const char *name = results->datasets[dataset];
    figure loss      = {0};
    figure trace     = {0};
    curve *c         = NULL;
    pb_status status;

    PB_TRY_GOTO(status, PB_ALLOC(c, 1), out);
    PB_TRY_GOTO(status,
                figure_begin(&loss, FIGURE_LINES, "step", "loss, nat/token",
                             "%s: training loss, mean over seeds; markers: validation loss", name),
                out);
    PB_TRY_GOTO(status,
                figure_begin(&trace, FIGURE_LINES, "s since the cell began", "memory, GB",
                             "%s: accounted memory of the first seed", name),
                out);
    PB_TRY_GOTO(status, fill(results, model, dataset, c, &loss, &trace), out);
    if (loss.count > 0) {
        PB_TRY_GOTO(status, show(context, "loss", &loss), out);
    }
    if (trace.count > 0) {
        PB_TRY_GOTO(status, show(context, "bytes", &trace), out);
    }
out:
    figure_clear(&loss);
    figure_clear(&trace);
    pb_memory_free(c);
    return status;
}
