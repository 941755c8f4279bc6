// SPDX-License-Identifier: Apache-2.0
/* The number behind the last `####` of a worked solution.
 *
 * Paper: all that stands there must be one number for Python's float(), within 1e-6 of the
 * reference's. Corrected: the first number there, within 1e-6 · max(1, |reference|); "flexible"
 * takes the last number of a text without `####`. */
#include "metrics.h"
#include "number.h"

#include "pb/memory.h"

#include <math.h>
#include <string.h>

static const double tolerance = 1e-6;

/* Behind the last `####`, NULL without one. */
static const char *behind_mark(const char *text)
{
    const char *found = NULL;

    for (const char *at = strstr(text, "####"); at != NULL; at = strstr(at + 4, "####")) {
        found = at + 4;
    }
    return found;
}

static pb_status paper_number(const char *text, bool *has, double *out)
{
    const char *at  = behind_mark(text);
    pb_string plain = {0};

    *has = false;
    if (at == NULL) {
        return PB_OK;
    }
    PB_TRY(pb_string_append(&plain, at, strlen(at)));
    size_t used = 0;
    for (size_t i = 0; i < plain.length; i++) {
        if (plain.data[i] != ',' && plain.data[i] != '%') {
            plain.data[used++] = plain.data[i];
        }
    }
    *has = pb_number_python(plain.data, used, out);
    pb_string_clear(&plain);
    return PB_OK;
}

static bool corrected_number(const char *text, bool flexible, double *out)
{
    const char *at = behind_mark(text);

    if (at == NULL) {
        return flexible && pb_number_search(text, true, out);
    }
    return pb_number_search(at, false, out);
}

static bool near_gold(double value, double gold)
{
    return fabs(value - gold) <= tolerance * fmax(1.0, fabs(gold));
}

static pb_status score_paper(pb_metric_result *result)
{
    for (int64_t i = 0; i < result->rows; i++) {
        bool has = false, has_gold = false;
        double value = 0, gold = 0;
        PB_TRY(paper_number(result->predictions[i], &has, &value));
        PB_TRY(paper_number(result->references[i], &has_gold, &gold));
        result->invalid[i] = !has || !has_gold;
        result->correct[i] = has && has_gold && fabs(value - gold) < tolerance;
    }
    int64_t right     = pb_metric_count(result->correct, result->rows);
    int64_t errors    = pb_metric_count(result->invalid, result->rows);
    result->main      = (double)right / (double)result->rows;
    result->main_name = "accuracy";
    PB_TRY(pb_metric_add(result, "accuracy", result->main, false));
    PB_TRY(pb_metric_add(result, "format_errors", (double)errors, true));
    return pb_metric_add(result, "n", (double)result->rows, true);
}

static pb_status score_corrected(pb_metric_result *result)
{
    int64_t flexible = 0;

    for (int64_t i = 0; i < result->rows; i++) {
        double value = 0, gold = 0;
        bool has_gold      = corrected_number(result->references[i], false, &gold);
        bool has           = corrected_number(result->predictions[i], false, &value);
        result->invalid[i] = !has || !has_gold;
        result->correct[i] = has && has_gold && near_gold(value, gold);
        has                = corrected_number(result->predictions[i], true, &value);
        flexible += has && has_gold && near_gold(value, gold);
    }
    int64_t right     = pb_metric_count(result->correct, result->rows);
    int64_t errors    = pb_metric_count(result->invalid, result->rows);
    double n          = (double)result->rows;
    result->main      = (double)right / n;
    result->main_name = "accuracy";
    PB_TRY(pb_metric_add(result, "accuracy", result->main, false));
    PB_TRY(pb_metric_add(result, "accuracy_flexible", (double)flexible / n, false));
    PB_TRY(pb_metric_add(result, "format_errors", (double)errors, true));
    return pb_metric_add(result, "n", n, true);
}

static pb_status score_gsm8k(const pb_metric_input *input, char *const *labels,
                             pb_metric_result *result, pb_metric_parts *parts)
{
    (void)labels;
    (void)parts; /* those of a mean */
    return input->protocol == PB_PROTOCOL_PAPER ? score_paper(result) : score_corrected(result);
}

const pb_metric pb_metric_gsm8k = {
    .name        = "gsm8k",
    .differences = "what follows the last #### must be a number as a whole → the first number in "
                   "it",
    .score       = score_gsm8k,
};
