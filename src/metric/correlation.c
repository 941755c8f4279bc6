// SPDX-License-Identifier: Apache-2.0
/* Pearson's and Spearman's correlation of numbers in texts.
 *
 * Paper: Python's float() of each text, -1 where that fails, rounded to float32; NaN and constant
 * input give NaN. Corrected: a prediction that is no finite number is replaced by the mean of the
 * valid ones; nothing valid or constant input gives 0.
 *
 * The value of a row by itself is 1 - |difference| / range of the references, at least 0; that of
 * an invalid prediction is 0. */
#include "metrics.h"
#include "number.h"

#include "pb/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A variance below this share of the mean square is rounding of equal values. */
static const double no_variance = 1e-13;
static const double same_score  = 0.05; /* a prediction this near (one decimal) counts as right */

static double mean_of(const double *x, int64_t n)
{
    double sum = 0;

    for (int64_t i = 0; i < n; i++) {
        sum += x[i];
    }
    return sum / (double)n;
}

static bool is_constant(const double *x, int64_t n)
{
    for (int64_t i = 1; i < n; i++) {
        if (x[i] != x[0]) {
            return false;
        }
    }
    return true;
}

/* NaN when it is not defined. */
static double pearson(const double *x, const double *y, int64_t n)
{
    double mx = mean_of(x, n), my = mean_of(y, n);
    double xx = 0, yy = 0, xy = 0;

    if (n < 2 || is_constant(x, n) || is_constant(y, n)) {
        return (double)NAN;
    }
    for (int64_t i = 0; i < n; i++) {
        xx += (x[i] - mx) * (x[i] - mx);
        yy += (y[i] - my) * (y[i] - my);
        xy += (x[i] - mx) * (y[i] - my);
    }
    double r = xy / (sqrt(xx) * sqrt(yy));
    return r > 1 ? 1 : r < -1 ? -1 : r;
}

typedef struct ranked {
    double value;
    int64_t index;
} ranked;

static int compare_ranked(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    return (x->value > y->value) - (x->value < y->value);
}

/* Ranks from 1, ties get their mean. */
static void rank_values(const double *x, int64_t n, ranked *scratch, double *ranks)
{
    for (int64_t i = 0; i < n; i++) {
        scratch[i] = (ranked){.value = x[i], .index = i};
    }
    qsort(scratch, (size_t)n, sizeof *scratch, compare_ranked);
    for (int64_t i = 0, end = 0; i < n; i = end) {
        for (end = i + 1; end < n && scratch[end].value == scratch[i].value;) {
            end++;
        }
        for (int64_t k = i; k < end; k++) {
            ranks[scratch[k].index] = (double)(i + 1 + end) / 2;
        }
    }
}

static pb_status spearman(const double *x, const double *y, int64_t n, double *out)
{
    ranked *scratch = NULL;
    double *ranks   = NULL;
    pb_status status;

    *out = (double)NAN;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(x[i]) || isnan(y[i])) {
            return PB_OK;
        }
    }
    PB_TRY_GOTO(status, PB_ALLOC(scratch, n), out_ranks);
    PB_TRY_GOTO(status, PB_ALLOC(ranks, 2 * n), out_ranks);
    rank_values(x, n, scratch, ranks);
    rank_values(y, n, scratch, ranks + n);
    *out = pearson(ranks, ranks + n, n);
out_ranks:
    pb_memory_free(scratch);
    pb_memory_free(ranks);
    return status;
}

static double paper_value(const char *text, bool *valid)
{
    double value;

    *valid = pb_number_python(text, strlen(text), &value);
    return *valid ? (double)(float)value : -1.0;
}

static bool corrected_value(const char *text, double *out)
{
    return pb_number_whole(PB_NUMBER_EXPONENT, text, strlen(text), out) && isfinite(*out);
}

static void read_paper(pb_metric_result *result, double *x, double *y)
{
    for (int64_t i = 0; i < result->rows; i++) {
        bool valid, unused;
        x[i]               = paper_value(result->predictions[i], &valid);
        y[i]               = paper_value(result->references[i], &unused);
        result->invalid[i] = !valid;
    }
}

static pb_status read_corrected(const pb_metric_input *input, pb_metric_result *result, double *x,
                                double *y)
{
    double sum    = 0;
    int64_t valid = 0;

    for (int64_t i = 0; i < result->rows; i++) {
        if (!corrected_value(result->references[i], &y[i])) {
            return pb_metric_at_row(input, i,
                                    PB_FAIL(PB_ERR_FORMAT, "the reference \"%.80s\" is no number",
                                            result->references[i]));
        }
        result->invalid[i] = !corrected_value(result->predictions[i], &x[i]);
        if (!result->invalid[i]) {
            sum += x[i];
            valid++;
        }
    }
    for (int64_t i = 0; i < result->rows; i++) {
        if (result->invalid[i]) {
            x[i] = valid > 0 ? sum / (double)valid : 0;
        }
    }
    return PB_OK;
}

static pb_status add_values(pb_protocol protocol, double p, double s, pb_metric_result *result)
{
    bool paper      = protocol == PB_PROTOCOL_PAPER;
    int64_t invalid = pb_metric_count(result->invalid, result->rows);

    if (!paper) {
        p = isnan(p) ? 0 : p;
        s = isnan(s) ? 0 : s;
    }
    result->main      = p;
    result->main_name = paper ? "pearsonr" : "pearson";
    PB_TRY(pb_metric_add(result, result->main_name, p, false));
    PB_TRY(pb_metric_add(result, paper ? "spearmanr" : "spearman", s, false));
    PB_TRY(pb_metric_add(result, "invalid", (double)invalid, true));
    return pb_metric_add(result, "n", (double)result->rows, true);
}

/* Sums of a row: of all rows the count, y and y²; of those with a valid prediction the count, x, y,
 * x² and xy. x and y are less their means, so that the differences of sums lose no digits. */
enum { ALL, ALL_Y, ALL_YY, VALID, X, Y, XX, XY, SUMS };

static pb_status make_parts(const double *x, const double *y, const pb_metric_result *result,
                            pb_metric_parts *parts)
{
    int64_t n = result->rows;
    double mx = mean_of(x, n), my = mean_of(y, n);
    bool paper = parts->protocol == PB_PROTOCOL_PAPER;

    PB_TRY(pb_metric_make_parts(parts, n, SUMS));
    for (int64_t i = 0; i < n; i++) {
        double *part = parts->dense + i * SUMS;
        double dx = x[i] - mx, dy = y[i] - my;
        part[ALL]    = 1;
        part[ALL_Y]  = dy;
        part[ALL_YY] = dy * dy;
        if (paper || !result->invalid[i]) {
            part[VALID] = 1;
            part[X]     = dx;
            part[Y]     = dy;
            part[XX]    = dx * dx;
            part[XY]    = dx * dy;
        }
    }
    return PB_OK;
}

/* Invalid predictions are the mean of the valid ones of the same rows: they add nothing to the
 * variance of x and to the covariance. */
static double pearson_of(pb_protocol protocol, const double *s, int64_t width)
{
    double undefined = protocol == PB_PROTOCOL_PAPER ? (double)NAN : 0;

    (void)width;
    if (s[VALID] < 1) {
        return undefined;
    }
    double xx = s[XX] - s[X] * s[X] / s[VALID];
    double yy = s[ALL_YY] - s[ALL_Y] * s[ALL_Y] / s[ALL];
    double xy = s[XY] - s[X] * s[Y] / s[VALID];
    if (!(xx > no_variance * s[XX]) || !(yy > no_variance * s[ALL_YY])) {
        return undefined;
    }
    double r = xy / (sqrt(xx) * sqrt(yy));
    return isnan(r) ? undefined : r > 1 ? 1 : r < -1 ? -1 : r;
}

static void fill_rows(const double *x, const double *y, pb_metric_result *result)
{
    double low = y[0], high = y[0];

    for (int64_t i = 0; i < result->rows; i++) {
        low  = fmin(low, y[i]);
        high = fmax(high, y[i]);
    }
    double range = high - low;
    for (int64_t i = 0; i < result->rows; i++) {
        double distance       = fabs(x[i] - y[i]);
        result->correct[i]    = !result->invalid[i] && distance < same_score;
        bool graded           = !result->invalid[i] && isfinite(range) && distance < range;
        result->row_values[i] = graded ? 1 - distance / range : result->correct[i];
    }
}

static pb_status score_pearsonr(const pb_metric_input *input, char *const *labels,
                                pb_metric_result *result, pb_metric_parts *parts)
{
    int64_t n = result->rows;
    double *x = NULL;
    double s  = 0;
    pb_status status;

    (void)labels;
    PB_TRY(PB_ALLOC(x, 2 * n));
    double *y = x + n;
    if (input->protocol == PB_PROTOCOL_PAPER) {
        read_paper(result, x, y);
    } else {
        PB_TRY_GOTO(status, read_corrected(input, result, x, y), out_values);
    }
    fill_rows(x, y, result);
    PB_TRY_GOTO(status, make_parts(x, y, result, parts), out_values);
    PB_TRY_GOTO(status, spearman(x, y, n, &s), out_values);
    PB_TRY_GOTO(status, add_values(input->protocol, pearson(x, y, n), s, result), out_values);
out_values:
    pb_memory_free(x);
    return status;
}

const pb_metric pb_metric_pearsonr = {
    .name        = "pearsonr",
    .differences = "an answer that is no number counts as -1, values are rounded to float32, an "
                   "undefined result is NaN → the mean of the other answers, double, 0",
    .score       = score_pearsonr,
    .fills_row_values = true,
    .main_of          = pearson_of,
};
