// SPDX-License-Identifier: Apache-2.0
/* The number after the last `####` of a worked solution.
 *
 * Paper: the whole rest must be one number for Python's float(), within 1e-6 of the reference's.
 * Corrected: the first number there, within 1e-6 of the reference's; "flexible" takes the last
 * number of a text without `####`; a reference without a number is an error. */
#include "metrics.h"
#include "number.h"

#include "pb/memory.h"
#include "pb/utf8.h"

#include <math.h>
#include <string.h>

static const double tolerance = 1e-6;

/* After the last `####`; NULL without one. */
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
    *has = number_python(plain.data, used, out);
    pb_string_clear(&plain);
    return PB_OK;
}

static bool corrected_number(const char *text, bool flexible, double *out)
{
    const char *at = behind_mark(text);

    if (at == NULL) {
        return flexible && number_search(text, true, out);
    }
    return number_search(at, false, out);
}

static bool near_gold(double value, double gold)
{
    return fabs(value - gold) <= tolerance;
}

static pb_status read_reference(const char *text, double *out)
{
    if (!corrected_number(text, false, out) || !isfinite(*out)) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "the reference \"%.*s\" has no number after \"####\"; where a column is "
                       "the number alone, write dataset.answer = \"#### {column}\"",
                       PB_FIT(text, 80));
    }
    return PB_OK;
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
    metric_set_share(result, "accuracy");
    PB_TRY(metric_add(result, "accuracy", result->main, false));
    PB_TRY(metric_add_flags(result, "format_errors", result->invalid));
    return metric_add(result, "n", (double)result->rows, true);
}

static pb_status score_corrected(const pb_metric_input *input, pb_metric_result *result)
{
    int64_t flexible = 0;

    for (int64_t i = 0; i < result->rows; i++) {
        double value = 0, gold = 0;
        PB_TRY(metric_at_row(input, i, read_reference(result->references[i], &gold)));
        bool has           = corrected_number(result->predictions[i], false, &value);
        result->invalid[i] = !has;
        result->correct[i] = has && near_gold(value, gold);
        has                = corrected_number(result->predictions[i], true, &value);
        flexible += has && near_gold(value, gold);
    }
    double n = (double)result->rows;
    metric_set_share(result, "accuracy");
    PB_TRY(metric_add(result, "accuracy", result->main, false));
    PB_TRY(metric_add(result, "accuracy_flexible", (double)flexible / n, false));
    PB_TRY(metric_add_flags(result, "format_errors", result->invalid));
    return metric_add(result, "n", n, true);
}

static pb_status score_gsm8k(const pb_metric_input *input, char *const *labels,
                             pb_metric_result *result, pb_metric_parts *parts)
{
    (void)labels;
    (void)parts; /* those of a mean */
    return input->protocol == PB_PROTOCOL_PAPER ? score_paper(result)
                                                : score_corrected(input, result);
}

static const char *const examples[] = {"#### 0", "1\n#### 1", "#### 1", "#### 0"};

const pb_metric metric_gsm8k = {
    .name        = "gsm8k",
    .about       = "share of right numbers at the end of a solution",
    .differences = "what follows the last #### must be a number as a whole → the first number in "
                   "it; a reference without one is a format error → a bad row",
    .score       = score_gsm8k,
    .examples    = examples,
    .read_number = read_reference,
};
