// SPDX-License-Identifier: Apache-2.0
/* Figures as SVG inside a page, whose style sheet has the colours: classes s0 … of series, d0 … of
 * dashes. 360 units wide, one unit a CSS pixel on a phone, so that texts keep their size. */
#include "figure.h"
#include "markup.h"

#include "pb/variant.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PUT(...) PB_TRY(pb_string_printf(out, __VA_ARGS__))

enum { WIDTH = 360, ROW = 32, LETTER = 6, LABELS = 120, TICK_BYTES = 32 };

/* Where data are drawn. */
typedef struct svg_frame {
    double left, top, right, bottom;
    figure_range x, y;
} svg_frame;

static double at_x(const svg_frame *a, double x)
{
    return a->left + (x - a->x.low) / (a->x.high - a->x.low) * (a->right - a->left);
}

static double at_y(const svg_frame *a, double y)
{
    return a->bottom - (y - a->y.low) / (a->y.high - a->y.low) * (a->bottom - a->top);
}

static int64_t ticks_of(const figure_range *range)
{
    return llround((range->high - range->low) / range->step);
}

static const char *tick_text(const figure_range *range, int64_t i, char text[TICK_BYTES])
{
    double value = range->low + (double)i * range->step;

    snprintf(text, TICK_BYTES, "%.6g", fabs(value) < range->step / 1e6 ? 0.0 : value);
    return text;
}

/* Every how many ticks have a label, so that labels do not touch. */
static int64_t label_stride(const svg_frame *a)
{
    size_t longest = 1;
    char text[TICK_BYTES];

    for (int64_t i = 0; i <= ticks_of(&a->x); i++) {
        size_t length = strlen(tick_text(&a->x, i, text));
        longest       = length > longest ? length : longest;
    }
    double room = (a->right - a->left) / (double)ticks_of(&a->x);
    return (int64_t)ceil((double)(longest + 1) * LETTER / room);
}

static pb_status put_x_axis(const figure *f, const svg_frame *a, pb_string *out)
{
    int64_t stride = label_stride(a);
    char text[TICK_BYTES];

    for (int64_t i = 0; i <= ticks_of(&a->x); i++) {
        double x           = at_x(a, a->x.low + (double)i * a->x.step);
        const char *anchor = x > WIDTH - 20 ? "end" : x < 12 ? "start" : "middle";
        PUT("<path class=\"grid\" d=\"M%.1f %.1fV%.1f\"/>", x, a->top, a->bottom);
        if (i % stride == 0) {
            PUT("<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>", x,
                a->bottom + 14, anchor, tick_text(&a->x, i, text));
        }
    }
    if (isfinite(f->here)) {
        PUT("<path class=\"here\" d=\"M%.1f %.1fV%.1f\"/>", at_x(a, f->here), a->top, a->bottom);
    }
    PUT("<text class=\"label\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", a->right,
        a->bottom + 29);
    PB_TRY(markup_put_short(out, f->x, (int64_t)(a->right - a->left) / LETTER));
    return pb_string_puts(out, "</text>");
}

static pb_status put_y_axis(const figure *f, const svg_frame *a, pb_string *out)
{
    char text[TICK_BYTES];

    for (int64_t i = 0; i <= ticks_of(&a->y); i++) {
        double y = at_y(a, a->y.low + (double)i * a->y.step);
        PUT("<path class=\"grid\" d=\"M%.1f %.1fH%.1f\"/>", a->left, y, a->right);
        PUT("<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%s</text>", a->left - 5,
            y + 4, tick_text(&a->y, i, text));
    }
    PUT("<text class=\"label\" x=\"0\" y=\"11\">");
    PB_TRY(markup_put_short(out, f->y, WIDTH / LETTER));
    return pb_string_puts(out, "</text>");
}

/* Circle, square, triangle, diamond, cross, plus. */
static pb_status put_marker(int64_t style, double x, double y, double r, pb_string *out)
{
    static const char *const shapes[FIGURE_MARKERS] = {
        "M-1 0a1 1 0 1 1 2 0a1 1 0 1 1-2 0z",
        "M-.9-.9h1.8v1.8h-1.8z",
        "M0-1.2L1.1.8H-1.1z",
        "M0-1.3L1.1 0 0 1.3-1.1 0z",
        "M-1-.6L-.6-1 0-.4.6-1 1-.6.4 0 1 .6.6 1 0 .4-.6 1-1 .6-.4 0z",
        "M-.3-1.2h.6v.9h.9v.6h-.9v.9h-.6v-.9h-.9v-.6h.9z"};

    return pb_string_printf(
        out, "<path class=\"mark\" transform=\"translate(%.1f %.1f)scale(%.1f)\" d=\"%s\"/>", x, y,
        r, shapes[style % FIGURE_MARKERS]);
}

static pb_status begin_series(const figure_series *s, const char *extra, pb_string *out)
{
    PUT("<g class=\"s%" PRId64 " d%" PRId64 "%s\" data-style=\"%" PRId64 "\"><title>",
        s->style % FIGURE_COLOURS, s->style / FIGURE_MARKERS % FIGURE_DASHES, extra, s->style);
    PB_TRY(markup_put(out, s->name));
    if (s->value.length > 0) {
        PB_TRY(pb_string_puts(out, ": "));
        PB_TRY(markup_put(out, s->value.data));
    }
    return pb_string_puts(out, "</title>");
}

static pb_status put_bar(const figure_point *p, const svg_frame *a, double y, pb_string *out)
{
    double zero = at_x(a, 0);
    double end  = at_x(a, p->x);

    PUT("<rect class=\"bar\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"9\"/>", fmin(zero, end),
        y, fabs(end - zero));
    if (isfinite(p->low) && isfinite(p->high)) {
        PUT("<path class=\"range\" d=\"M%.1f %.1fv7M%.1f %.1fv7M%.1f %.1fH%.1f\"/>",
            at_x(a, p->low), y + 1, at_x(a, p->high), y + 1, at_x(a, p->low), y + 4.5,
            at_x(a, p->high));
    }
    return PB_OK;
}

/* The name and the value of a row above its bar or dots. */
static pb_status put_rows(const figure *f, pb_string *out)
{
    svg_frame a = {.left = 6, .top = 4, .right = WIDTH - 6, .x = figure_x(f)};

    a.bottom = a.top + ROW * (double)f->count;
    PB_TRY(put_x_axis(f, &a, out));
    for (int64_t i = 0; i < f->count; i++) {
        const figure_series *s = &f->series[i];
        double top             = a.top + ROW * (double)i;
        int64_t room           = WIDTH / LETTER - 3;
        PB_TRY(begin_series(s, "", out));
        for (int64_t p = 0; p < s->count; p++) {
            if (f->kind == FIGURE_BARS) {
                PB_TRY(put_bar(&s->points[p], &a, top + 18, out));
            } else {
                PUT("<circle class=\"dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>",
                    at_x(&a, s->points[p].x), top + 22);
            }
        }
        PUT("<text class=\"name\" x=\"%.1f\" y=\"%.1f\">", a.left, top + 14);
        PB_TRY(markup_put_short(out, s->name, room - (int64_t)s->value.length));
        PUT("</text><text class=\"name\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", a.right,
            top + 14);
        PB_TRY(markup_put(out, s->value.length > 0 ? s->value.data : ""));
        PB_TRY(pb_string_puts(out, "</text></g>"));
    }
    return PB_OK;
}

static pb_status put_line(const figure_series *s, const svg_frame *a, pb_string *out)
{
    bool drawn = false; /* the line has begun and is not interrupted */

    PB_TRY(begin_series(s, "", out));
    PB_TRY(pb_string_puts(out, "<path class=\"line\" d=\""));
    for (int64_t p = 0; p < s->count; p++) {
        bool known = isfinite(s->points[p].x) && isfinite(s->points[p].y);
        if (known) {
            PUT("%c%.1f %.1f", drawn ? 'L' : 'M', at_x(a, s->points[p].x), at_y(a, s->points[p].y));
        }
        drawn = known;
    }
    PB_TRY(pb_string_puts(out, "\"/>"));
    for (int64_t p = 0; p < s->marks_count; p++) {
        if (isfinite(s->marks[p].y)) {
            PB_TRY(put_marker(s->style, at_x(a, s->marks[p].x), at_y(a, s->marks[p].y), 3, out));
        }
    }
    return pb_string_puts(out, "</g>");
}

typedef struct svg_label {
    const figure_series *series;
    double x, y; /* of the point */
    double at;   /* y of the label */
} svg_label;

static int compare_heights(const void *a, const void *b)
{
    const svg_label *x = a, *y = b;

    return (x->y > y->y) - (x->y < y->y);
}

/* Labels in one column, as near to their points as they fit without touching. */
static void spread(svg_label *labels, int64_t count, double top, double bottom)
{
    enum { PITCH = 14 };
    double low = bottom;

    qsort(labels, (size_t)count, sizeof *labels, compare_heights);
    for (int64_t i = 0; i < count; i++) {
        double above = i > 0 ? labels[i - 1].at + PITCH : top;
        labels[i].at = fmax(labels[i].y, above);
    }
    for (int64_t i = count - 1; i >= 0; i--) {
        labels[i].at = fmin(labels[i].at, low);
        low          = labels[i].at - PITCH;
    }
}

/* Of a variant only the values: "lora{4,0.001}"; the key of the figure has the whole names. */
static pb_status put_short_name(const char *name, pb_string *out)
{
    pb_variant_setting setting;
    pb_string made   = {0};
    const char *at   = NULL;
    int base         = pb_variant_base(name);
    pb_status status = pb_string_append(&made, name, (size_t)base);

    for (bool first = true; status == PB_OK && pb_variant_next(name, &at, &setting);
         first      = false) {
        status = pb_string_printf(&made, "%s%.*s", first ? "{" : ",", setting.value_length,
                                  setting.value);
    }
    if (status == PB_OK) {
        status = pb_string_puts(&made, at != NULL && name[base] == '{' ? "}" : "");
    }
    if (status == PB_OK) {
        status = markup_put_short(out, made.data, LABELS / LETTER - 1);
    }
    pb_string_clear(&made);
    return status;
}

static pb_status put_labelled(const svg_label *label, double left, pb_string *out)
{
    const figure_series *s = label->series;

    PB_TRY(begin_series(s, s->strong ? " strong" : " weak", out));
    PUT("<path class=\"lead\" d=\"M%.1f %.1fL%.1f %.1f\"/>", label->x, label->y, left - 4,
        label->at);
    PB_TRY(put_marker(s->style, label->x, label->y, 3 + 7 * sqrt(s->area), out));
    PUT("<text class=\"name\" x=\"%.1f\" y=\"%.1f\">", left, label->at + 4);
    PB_TRY(put_short_name(s->name, out));
    return pb_string_puts(out, "</text></g>");
}

static pb_status put_points(const figure *f, const svg_frame *a, pb_string *out)
{
    svg_label labels[FIGURE_SERIES_MAX] = {0};
    int64_t count                       = 0;

    for (int64_t i = 0; i < f->count && count < FIGURE_SERIES_MAX; i++) {
        const figure_series *s = &f->series[i];
        if (s->count > 0) {
            labels[count].series = s;
            labels[count].x      = at_x(a, s->points[0].x);
            labels[count++].y    = at_y(a, s->points[0].y);
        }
    }
    spread(labels, count, 20, a->bottom + 10);
    for (int64_t i = 0; i < count; i++) {
        PB_TRY(put_labelled(&labels[i], WIDTH - LABELS + 8, out));
    }
    return PB_OK;
}

static pb_status put_plane(const figure *f, double height, pb_string *out)
{
    bool points = f->kind == FIGURE_POINTS;
    svg_frame a = {.left   = 44,
                   .top    = 22,
                   .right  = points ? WIDTH - LABELS - 8 : WIDTH - 8,
                   .bottom = height - 34,
                   .x      = figure_x(f),
                   .y      = figure_y(f)};

    PB_TRY(put_x_axis(f, &a, out));
    PB_TRY(put_y_axis(f, &a, out));
    if (points) {
        return put_points(f, &a, out);
    }
    for (int64_t i = 0; i < f->count; i++) {
        PB_TRY(put_line(&f->series[i], &a, out));
    }
    return PB_OK;
}

/* What a reader hears: the last value of each series. */
static pb_status put_description(const figure *f, pb_string *out)
{
    for (int64_t i = 0; i < f->count; i++) {
        const figure_series *s = &f->series[i];
        PB_TRY(pb_string_puts(out, i > 0 ? "; " : ""));
        PB_TRY(markup_put(out, s->name));
        if (s->value.length > 0) {
            PB_TRY(pb_string_puts(out, " "));
            PB_TRY(markup_put(out, s->value.data));
        } else if (s->count > 0 && f->y != NULL) {
            const figure_point *p = &s->points[s->count - 1];
            PUT(" %.4g at %.4g", p->y, p->x);
        }
    }
    return PB_OK;
}

pb_status figure_svg(const figure *f, int64_t number, pb_string *out)
{
    bool rows       = f->kind == FIGURE_BARS || f->kind == FIGURE_DOTS;
    double height   = rows ? ROW * (double)f->count + 40 : 250;
    double smallest = 14.0 * (double)f->count + 40; /* room for the labels of points */

    height = f->kind == FIGURE_POINTS ? fmax(height, smallest) : height;
    PUT("<svg role=\"img\" viewBox=\"0 0 %d %.0f\" aria-labelledby=\"t%" PRId64 " e%" PRId64
        "\"><title id=\"t%" PRId64 "\">",
        WIDTH, height, number, number, number);
    PB_TRY(markup_put(out, f->title.data));
    PUT("</title><desc id=\"e%" PRId64 "\">", number);
    PB_TRY(put_description(f, out));
    PB_TRY(pb_string_puts(out, "</desc>"));
    PB_TRY(rows ? put_rows(f, out) : put_plane(f, height, out));
    return pb_string_puts(out, "</svg>");
}

pb_status figure_svg_key(int64_t style, pb_string *out)
{
    PUT("<svg class=\"sample\" viewBox=\"0 0 34 12\" aria-hidden=\"true\"><g class=\"s%" PRId64
        " d%" PRId64 "\"><path class=\"line\" d=\"M1 6H33\"/>",
        style % FIGURE_COLOURS, style / FIGURE_MARKERS % FIGURE_DASHES);
    PB_TRY(put_marker(style, 17, 6, 3.5, out));
    return pb_string_puts(out, "</g></svg>");
}
