// SPDX-License-Identifier: Apache-2.0
/* Figures of the report before they have a form: series of points, which the page writes as SVG and
 * gnuplot draws. A series has the place of its method in the results as its style, so that a method
 * looks the same in every figure: colour, dashes and marker, each of which tells it apart.
 *
 *     figure f = {0};
 *     PB_TRY(figure_begin(&f, FIGURE_LINES, "loss", "step", "nat/token"));
 *     PB_TRY(figure_add(&f, method, style, &series));
 *     PB_TRY(figure_point_add(series, (figure_point){x, y, NAN, NAN})); */
#pragma once

#include "summary.h"

#include "pb/string.h"

enum { FIGURE_COLOURS = 8, FIGURE_MARKERS = 6, FIGURE_DASHES = 3, FIGURE_SERIES_MAX = 18 };

typedef enum figure_kind {
    FIGURE_BARS,  /* a bar and its interval per series, from 0 to x */
    FIGURE_DOTS,  /* a row of dots per series */
    FIGURE_LINES, /* y over x */
    FIGURE_POINTS /* one labelled point per series, its area a third quantity */
} figure_kind;

typedef struct figure_point {
    double x, y;
    double low, high; /* interval of x; NaN: none */
} figure_point;

typedef struct figure_series {
    const char *name; /* borrowed */
    int64_t style;
    figure_point *points;
    int64_t count;
    figure_point *marks; /* markers on or beside a line */
    int64_t marks_count;
    double area;     /* of a point: share of the largest, 0 … 1 */
    bool strong;     /* a point that no other one dominates */
    pb_string value; /* of a row: as shown beside its name; empty: none */
} figure_series;

typedef struct figure {
    figure_kind kind;
    pb_string title;
    const char *x, *y; /* labels of the axes; y: NULL where the series are rows */
    double here;       /* a place on the x axis to mark; NaN: none */
    figure_series *series;
    int64_t count;
} figure;

pb_status figure_begin(figure *f, figure_kind kind, const char *x, const char *y, const char *title,
                       ...) PB_MUST_USE PB_PRINTF(5, 6);
void figure_clear(figure *f); /* accepts a zeroed one */
/* *out is valid until the next series is added. */
pb_status figure_add(figure *f, const char *name, int64_t style, figure_series **out) PB_MUST_USE;
pb_status figure_point_add(figure_series *series, figure_point point) PB_MUST_USE;
pb_status figure_mark_add(figure_series *series, figure_point point) PB_MUST_USE;

/* The ends of an axis. */
typedef struct figure_range {
    double low, high, step; /* step: between two ticks */
} figure_range;

/* Over all finite values, widened to whole steps; 0 … 1 without any. */
figure_range figure_x(const figure *f);
figure_range figure_y(const figure *f);

/* ---------------------------------------------------------------- figures.c, curves.c */

/* What is shown of a figure: called with each; the figure ends with the call. */
typedef pb_status (*figure_show)(void *context, const char *name, const figure *f);

/* Of one model: "pscp", "memory", "time" (quality over cost), "stability", "beta-p" … "beta-all".
 */
pb_status figures_of_model(const summary *all, const pb_results *results, int64_t model,
                           figure_show show, void *context) PB_MUST_USE;

/* "loss" and "bytes" of one (model, data set), read from the files of the records; nothing for
 * what has no curve. */
pb_status figures_of_curves(const pb_results *results, int64_t model, int64_t dataset,
                            figure_show show, void *context) PB_MUST_USE;

/* ---------------------------------------------------------------- svg.c */

/* Appends an <svg> that is readable 360 CSS pixels wide; `number` makes its ids unique. */
pb_status figure_svg(const figure *f, int64_t number, pb_string *out) PB_MUST_USE;
/* The sample of a style, for a key. */
pb_status figure_svg_key(int64_t style, pb_string *out) PB_MUST_USE;
