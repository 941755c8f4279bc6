// SPDX-License-Identifier: Apache-2.0
/* Pearson's and Spearman's correlation of numbers in texts.
 *
 * Paper: Python's float() of each text, -1 where that fails, rounded to float32; NaN and constant
 * input give NaN. Corrected: a prediction that is not a finite number is replaced by the mean of
 * the valid ones; constant input, or none that is valid, gives 0. For any finite numbers r is exact
 * but for rounding, however large, small or close together they are.
 *
 * The value of a row by itself is 1 - |difference| / range of the references, at least 0; that of
 * an invalid prediction is 0. */
#include "metrics.h"
#include "number.h"

#include "pb/memory.h"
#include "pb/utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A difference of sums below this share of a sum has lost too many digits. */
static const double lost = 1e-8;
/* A mean below this share of the largest deviation changes no sum of squares. */
static const double no_mean    = 0x1p-36;
static const double same_score = 0.05; /* a prediction this close (one decimal) counts as correct */

static double mean_of(const double *x, int64_t n)
{
    double sum = 0;

    for (int64_t i = 0; i < n; i++) {
        sum += x[i];
    }
    return sum / (double)n;
}

/* Multiplies by the power of two that brings the largest magnitude to 0.5 … 1. Then nothing
 * overflows, and what underflows is negligible beside the largest. The values were x ·
 * 2^exponent. */
static int scale(double *x, int64_t n)
{
    double largest = 0;
    int exponent   = 0;

    for (int64_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs(x[i]));
    }
    (void)frexp(largest, &exponent);
    for (int64_t i = 0; i < n; i++) {
        x[i] = ldexp(x[i], -exponent);
    }
    return exponent;
}

/* Scaled deviations from the mean. The mean of values close together and far from 0 is rounded
 * coarsely, so the remainder is subtracted again. */
static void center(double *x, int64_t n)
{
    enum { ROUNDS = 8 };

    for (int round = 0; round < ROUNDS; round++) {
        (void)scale(x, n);
        double mean = mean_of(x, n);
        if (round > 0 && fabs(mean) <= no_mean) {
            return;
        }
        for (int64_t i = 0; i < n; i++) {
            x[i] -= mean;
        }
    }
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

static bool is_finite(const double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            return false;
        }
    }
    return true;
}

/* NaN when undefined; else x and y become their scaled deviations. r does not change when x or y
 * are multiplied by a number, so no square has to overflow or vanish. */
static double pearson(double *x, double *y, int64_t n)
{
    double xx = 0, yy = 0, xy = 0;

    if (!is_finite(x, n) || !is_finite(y, n) || is_constant(x, n) || is_constant(y, n)) {
        return (double)NAN;
    }
    center(x, n);
    center(y, n);
    for (int64_t i = 0; i < n; i++) {
        xx += x[i] * x[i];
        yy += y[i] * y[i];
        xy += x[i] * y[i];
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

    *valid = number_python(text, strlen(text), &value);
    return *valid ? (double)(float)value : -1.0;
}

static bool corrected_value(const char *text, double *out)
{
    return number_whole(NUMBER_EXPONENT, text, strlen(text), out) && isfinite(*out);
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

/* Replaces NaN by the mean of the other values, which lies between them however it is rounded; 0
 * where there is none. */
static void repair(double *x, int64_t n)
{
    double low = INFINITY, high = -INFINITY, sum = 0;
    int64_t valid = 0;

    for (int64_t i = 0; i < n; i++) {
        low  = fmin(low, x[i]);
        high = fmax(high, x[i]);
    }
    double largest = fmax(fabs(low), fabs(high));
    int exponent   = 0;
    (void)frexp(isfinite(largest) ? largest : 0, &exponent);
    for (int64_t i = 0; i < n; i++) {
        sum += isnan(x[i]) ? 0 : ldexp(x[i], -exponent);
        valid += !isnan(x[i]);
    }
    double mean = valid > 0 ? ldexp(sum / (double)valid, exponent) : 0;
    mean        = valid > 0 ? fmin(fmax(mean, low), high) : 0;
    for (int64_t i = 0; i < n; i++) {
        x[i] = isnan(x[i]) ? mean : x[i];
    }
}

static pb_status read_reference(const char *text, double *out)
{
    return corrected_value(text, out)
               ? PB_OK
               : PB_FAIL(PB_ERR_FORMAT, "the reference \"%.*s\" is not a number", PB_FIT(text, 80));
}

/* Invalid predictions are NaN. */
static pb_status read_corrected(const pb_metric_input *input, pb_metric_result *result, double *x,
                                double *y)
{
    for (int64_t i = 0; i < result->rows; i++) {
        PB_TRY(metric_at_row(input, i, read_reference(result->references[i], &y[i])));
        result->invalid[i] = !corrected_value(result->predictions[i], &x[i]);
        x[i]               = result->invalid[i] ? (double)NAN : x[i];
    }
    return PB_OK;
}

static pb_status add_values(pb_protocol protocol, double p, double s, pb_metric_result *result)
{
    bool paper = protocol == PB_PROTOCOL_PAPER;
    if (!paper) {
        p = isnan(p) ? 0 : p;
        s = isnan(s) ? 0 : s;
    }
    result->main      = p;
    result->main_name = paper ? "pearsonr" : "pearson";
    PB_TRY(metric_add(result, result->main_name, p, false));
    PB_TRY(metric_add(result, paper ? "spearmanr" : "spearman", s, false));
    PB_TRY(metric_add_flags(result, "invalid", result->invalid));
    return metric_add(result, "n", (double)result->rows, true);
}

/* Sums of a row: of all rows the count, y and y²; of those with a valid prediction the count, x, y,
 * x² and xy. x and y are scaled deviations, so that the differences of sums lose few digits. */
enum { ALL, ALL_Y, ALL_YY, VALID, X, Y, XX, XY, SUMS };

static void fill_sums(const double *x, const double *y, const pb_metric_result *result,
                      pb_metric_parts *parts)
{
    bool paper = parts->protocol == PB_PROTOCOL_PAPER;

    for (int64_t i = 0; i < result->rows; i++) {
        double *part = parts->dense + i * SUMS;
        part[ALL]    = 1;
        part[ALL_Y]  = y[i];
        part[ALL_YY] = y[i] * y[i];
        if (paper || !result->invalid[i]) {
            part[VALID] = 1;
            part[X]     = x[i];
            part[Y]     = y[i];
            part[XX]    = x[i] * x[i];
            part[XY]    = x[i] * y[i];
        }
    }
}

/* Invalid predictions are the mean of the valid ones of the same rows: they add nothing to the
 * variance of x or to the covariance. NaN where the sums cannot decide: for equal values, and for a
 * sample whose values are close together compared with the whole. */
static double pearson_of(pb_protocol protocol, const double *s, int64_t width)
{
    (void)protocol;
    (void)width;
    double xx = s[XX] - s[X] * s[X] / s[VALID];
    double yy = s[ALL_YY] - s[ALL_Y] * s[ALL_Y] / s[ALL];
    double xy = s[XY] - s[X] * s[Y] / s[VALID];
    if (!(xx > lost * s[XX]) || !(yy > lost * s[ALL_YY])) {
        return (double)NAN;
    }
    double r = xy / (sqrt(xx) * sqrt(yy));
    return r > 1 ? 1 : r < -1 ? -1 : r;
}

/* The values of a row as they were read, x NaN where it is invalid; and room for a sample. */
enum { READ_X, READ_Y, SAMPLE_X, SAMPLE_Y, KEPT };

static double pearson_of_sample(const pb_metric_parts *parts, const double *weights)
{
    double *x       = parts->kept + SAMPLE_X * parts->units;
    double *y       = parts->kept + SAMPLE_Y * parts->units;
    int64_t count   = 0;
    bool paper      = parts->protocol == PB_PROTOCOL_PAPER;
    const double *r = parts->kept;

    for (int64_t u = 0; u < parts->units; u++) {
        for (int64_t k = weights != NULL ? (int64_t)weights[u] : 1; k > 0; k--) {
            x[count]   = r[READ_X * parts->units + u];
            y[count++] = r[READ_Y * parts->units + u];
        }
    }
    if (!paper) {
        repair(x, count);
    }
    double value = pearson(x, y, count);
    return isnan(value) && !paper ? 0 : value;
}

/* In halves, so that the difference of two numbers is one. */
static void fill_rows(const double *x, const double *y, pb_metric_result *result)
{
    double low = y[0], high = y[0];

    for (int64_t i = 0; i < result->rows; i++) {
        low  = fmin(low, y[i]);
        high = fmax(high, y[i]);
    }
    double range = high / 2 - low / 2;
    for (int64_t i = 0; i < result->rows; i++) {
        double distance       = fabs(x[i] / 2 - y[i] / 2);
        result->correct[i]    = !result->invalid[i] && distance < same_score / 2;
        bool graded           = !result->invalid[i] && isfinite(range) && distance < range;
        result->row_values[i] = graded ? 1 - distance / range : result->correct[i];
    }
}

static pb_status score_values(const pb_metric_input *input, pb_metric_result *result,
                              pb_metric_parts *parts)
{
    int64_t n = result->rows;
    double *x = parts->kept + SAMPLE_X * n, *y = parts->kept + SAMPLE_Y * n;
    double s = 0;

    if (input->protocol == PB_PROTOCOL_PAPER) {
        read_paper(result, x, y);
    } else {
        PB_TRY(read_corrected(input, result, x, y));
    }
    memcpy(parts->kept, x, (size_t)(2 * n) * sizeof *x);
    if (input->protocol != PB_PROTOCOL_PAPER) {
        repair(x, n);
    }
    fill_rows(x, y, result);
    PB_TRY(spearman(x, y, n, &s));
    double p = pearson(x, y, n);
    fill_sums(x, y, result, parts);
    return add_values(input->protocol, p, s, result);
}

static pb_status score_pearsonr(const pb_metric_input *input, char *const *labels,
                                pb_metric_result *result, pb_metric_parts *parts)
{
    (void)labels;
    PB_TRY(metric_make_parts(parts, result->rows, SUMS));
    PB_TRY(PB_ALLOC(parts->kept, KEPT * result->rows));
    return score_values(input, result, parts);
}

const pb_metric metric_pearsonr = {
    .name        = "pearsonr",
    .about       = "Pearson's correlation of numbers, with Spearman's",
    .differences = "an answer that is not a number counts as -1, values are rounded to float32, an "
                   "undefined result is NaN → the mean of the other answers, double, 0",
    .score       = score_pearsonr,
    .fills_row_values = true,
    .read_number      = read_reference,
    .main_of          = pearson_of,
    .main_of_sample   = pearson_of_sample,
};
