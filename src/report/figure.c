// SPDX-License-Identifier: Apache-2.0
/* Building figures, and their axes. */
#include "figure.h"

#include "pb/memory.h"

#include <math.h>
#include <stdarg.h>

pb_status figure_begin(figure *f, figure_kind kind, const char *x, const char *y, const char *title,
                       ...)
{
    va_list list;

    *f = (figure){.kind = kind, .x = x, .y = y, .here = NAN};
    va_start(list, title);
    pb_status status = pb_string_vprintf(&f->title, title, list);
    va_end(list);
    return PB_FRAME(status);
}

void figure_clear(figure *f)
{
    for (int64_t i = 0; i < f->count; i++) {
        pb_memory_free(f->series[i].points);
        pb_memory_free(f->series[i].marks);
        pb_string_clear(&f->series[i].value);
    }
    pb_memory_free(f->series);
    pb_string_clear(&f->title);
    *f = (figure){0};
}

pb_status figure_add(figure *f, const char *name, int64_t style, figure_series **out)
{
    PB_TRY(PB_GROW(f->series, f->count + 1));
    *out  = &f->series[f->count++];
    **out = (figure_series){.name = name, .style = style};
    return PB_OK;
}

pb_status figure_point_add(figure_series *series, figure_point point)
{
    PB_TRY(PB_GROW(series->points, series->count + 1));
    series->points[series->count++] = point;
    return PB_OK;
}

pb_status figure_mark_add(figure_series *series, figure_point point)
{
    PB_TRY(PB_GROW(series->marks, series->marks_count + 1));
    series->marks[series->marks_count++] = point;
    return PB_OK;
}

static void include(figure_range *range, double value)
{
    if (isfinite(value)) {
        range->low  = fmin(range->low, value);
        range->high = fmax(range->high, value);
    }
}

/* Room around points, so that their markers stay off the axes. */
static figure_range pad(const figure *f, figure_range range)
{
    double room = f->kind == FIGURE_POINTS && range.low < range.high ? range.high - range.low : 0;

    double low = range.low - 0.06 * room;

    return (figure_range){range.low >= 0 ? fmax(low, 0) : low, range.high + 0.06 * room, 0};
}

/* Steps of 1, 2 or 5 times a power of ten, at most six of them. */
static figure_range widen(figure_range range)
{
    if (range.low > range.high) {
        return (figure_range){0, 1, 0.5};
    }
    double span = range.high - range.low;
    if (span <= 1e-9 * fmax(fabs(range.low), fabs(range.high)) || span == 0) {
        span = fmax(fabs(range.high), 1) / 5;
        range.low -= range.low == 0 ? 0 : span / 2;
        range.high += span / 2;
        span = range.high - range.low;
    }
    double power = pow(10, floor(log10(span / 5)));
    double ratio = span / 5 / power;
    range.step   = power * (ratio <= 1 ? 1 : ratio <= 2 ? 2 : ratio <= 5 ? 5 : 10);
    range.low    = floor(range.low / range.step + 1e-9) * range.step;
    range.high   = ceil(range.high / range.step - 1e-9) * range.step;
    return range;
}

figure_range figure_x(const figure *f)
{
    figure_range range = {INFINITY, -INFINITY, 0};

    for (int64_t i = 0; i < f->count; i++) {
        const figure_series *s = &f->series[i];
        for (int64_t p = 0; p < s->count; p++) {
            include(&range, s->points[p].x);
            include(&range, s->points[p].low);
            include(&range, s->points[p].high);
        }
        for (int64_t p = 0; p < s->marks_count; p++) {
            include(&range, s->marks[p].x);
        }
    }
    if (f->kind == FIGURE_BARS || f->kind == FIGURE_DOTS) {
        include(&range, 0);
    }
    return widen(pad(f, range));
}

figure_range figure_y(const figure *f)
{
    figure_range range = {INFINITY, -INFINITY, 0};

    for (int64_t i = 0; i < f->count; i++) {
        const figure_series *s = &f->series[i];
        for (int64_t p = 0; p < s->count; p++) {
            include(&range, s->points[p].y);
        }
        for (int64_t p = 0; p < s->marks_count; p++) {
            include(&range, s->marks[p].y);
        }
    }
    return widen(pad(f, range));
}
