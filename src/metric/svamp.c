// SPDX-License-Identifier: Apache-2.0
/* "(expression) = number".
 *
 * Paper: correct when both sides agree within 1e-6, whatever the reference says; the left side must
 * be in parentheses. Corrected: both sides agree, and the number is the reference's; a reference
 * without one is an error. */
#include "expression.h"
#include "metrics.h"
#include "number.h"

#include "pb/memory.h"
#include "pb/python.h"
#include "pb/utf8.h"

#include <math.h>
#include <string.h>

/* Longer texts are not numbers; repeating digits can fill an answer of 1024 tokens. */
enum { NUMBER_BYTES = 16 << 10 };

static const double tolerance = 1e-6;
static const double integral  = 1e-9; /* numbers this close to an integer print without decimals */

typedef struct span {
    const char *text;
    size_t length;
} span;

static span strip(const char *text, size_t length)
{
    pb_str_strip(&text, &length);
    return (span){text, length};
}

/* The two sides of the only `=`. */
static bool sides_of(const char *text, span *left, span *right)
{
    const char *equals = strchr(text, '=');

    if (equals == NULL || strchr(equals + 1, '=') != NULL) {
        return false;
    }
    *left  = strip(text, (size_t)(equals - text));
    *right = strip(equals + 1, strlen(equals + 1));
    return true;
}

/* Commas removed; texts longer than the copy are not numbers. */
static bool number_of(number_form form, span s, double *out)
{
    char plain[NUMBER_BYTES];
    size_t used = 0;

    for (size_t i = 0; i < s.length; i++) {
        if (s.text[i] != ',') {
            if (used == sizeof plain) {
                return false;
            }
            plain[used++] = s.text[i];
        }
    }
    span rest = strip(plain, used);
    return number_whole(form, rest.text, rest.length, out);
}

/* The first `(` is closed by the last character. */
static bool is_enclosed(span s)
{
    int64_t depth = 0;

    for (size_t i = 0; i < s.length; i++) {
        depth += s.text[i] == '(' ? 1 : s.text[i] == ')' ? -1 : 0;
        if (depth <= 0) {
            return depth == 0 && i > 0 && i + 1 == s.length;
        }
    }
    return false;
}

/* \d of the original's pattern, and its float(), take the digits of every script. */
static bool python_number_of(span s, double *out)
{
    char plain[NUMBER_BYTES];
    size_t used = 0, bytes = 0;

    for (size_t i = 0; i < s.length; i += bytes) {
        int digit = pb_str_digit(pb_str_next(s.text + i, s.length - i, &bytes));
        if (used + bytes > sizeof plain) {
            return false;
        }
        if (digit >= 0) {
            plain[used++] = (char)('0' + digit);
        } else {
            memcpy(plain + used, s.text + i, bytes);
            used += bytes;
        }
    }
    return number_of(NUMBER_STRICT, (span){plain, used}, out);
}

static bool paper_sides(const char *text, span *left, double *left_value, double *right_value)
{
    span right;

    if (!sides_of(text, left, &right) || !is_enclosed(*left)) {
        return false;
    }
    span inside = strip(left->text + 1, left->length - 2);
    return python_number_of(right, right_value) &&
           expression_value(EXPRESSION_PYTHON, inside.text, inside.length, left_value);
}

static double canonical(double value)
{
    return fabs(value - round(value)) < integral ? round(value) : value;
}

/* A correct answer that is the reference's own equation. */
static bool is_gold_equation(span left, double right_value, const char *reference)
{
    span gold_left, gold_right;
    double gold = 0;

    return sides_of(reference, &gold_left, &gold_right) && python_number_of(gold_right, &gold) &&
           gold_left.length == left.length && memcmp(gold_left.text, left.text, left.length) == 0 &&
           canonical(gold) == canonical(right_value);
}

static pb_status score_paper(pb_metric_result *result)
{
    int64_t exact = 0;

    for (int64_t i = 0; i < result->rows; i++) {
        span left;
        double left_value = 0, right_value = 0;
        bool parsed        = paper_sides(result->predictions[i], &left, &left_value, &right_value);
        result->invalid[i] = !parsed;
        result->correct[i] = parsed && fabs(left_value - right_value) < tolerance;
        exact += result->correct[i] && is_gold_equation(left, right_value, result->references[i]);
    }
    metric_set_share(result, "accuracy");
    PB_TRY(metric_add(result, "total", (double)result->rows, true));
    PB_TRY(metric_add_flags(result, "math_correct", result->correct));
    PB_TRY(metric_add_flags(result, "format_errors", result->invalid));
    PB_TRY(metric_add(result, "gold_exact_equation", (double)exact, true));
    return metric_add(result, "accuracy", result->main, false);
}

/* The number after the last `=`. */
static bool last_number(const char *text, double *out)
{
    const char *equals = strrchr(text, '=');
    return equals != NULL && number_of(NUMBER_PLAIN, strip(equals + 1, strlen(equals + 1)), out);
}

static pb_status read_reference(const char *text, double *out)
{
    if (!last_number(text, out) || !isfinite(*out)) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "the reference \"%.*s\" has no number after an \"=\"; where equation and "
                       "result are two columns, write dataset.answer = \"{equation} = {result}\"",
                       PB_FIT(text, 80));
    }
    return PB_OK;
}

static pb_status score_corrected(const pb_metric_input *input, pb_metric_result *result)
{
    int64_t answers = 0, consistent = 0;

    for (int64_t i = 0; i < result->rows; i++) {
        const char *text = result->predictions[i];
        span left, right_side;
        double gold = 0, left_value = 0, value = 0, answer = 0;
        PB_TRY(metric_at_row(input, i, read_reference(result->references[i], &gold)));
        bool parsed = sides_of(text, &left, &right_side) &&
                      number_of(NUMBER_PLAIN, right_side, &value) &&
                      expression_value(EXPRESSION_DECIMAL, left.text, left.length, &left_value);
        bool agrees        = parsed && fabs(left_value - value) < tolerance;
        result->invalid[i] = !parsed;
        result->correct[i] = agrees && fabs(value - gold) < tolerance;
        consistent += agrees;
        answers += last_number(text, &answer) && fabs(answer - gold) < tolerance;
    }
    double n = (double)result->rows;
    metric_set_share(result, "accuracy");
    PB_TRY(metric_add(result, "accuracy", result->main, false));
    PB_TRY(metric_add(result, "answer_accuracy", (double)answers / n, false));
    PB_TRY(metric_add(result, "self_consistent", (double)consistent / n, false));
    PB_TRY(metric_add_flags(result, "format_errors", result->invalid));
    return metric_add(result, "n", n, true);
}

static pb_status score_svamp(const pb_metric_input *input, char *const *labels,
                             pb_metric_result *result, pb_metric_parts *parts)
{
    (void)labels;
    (void)parts; /* those of a mean */
    return input->protocol == PB_PROTOCOL_PAPER ? score_paper(result)
                                                : score_corrected(input, result);
}

static const char *const examples[] = {"(0) = 0", "1 = 1", "(2) = 1", "0 * 1 = 0"};

const pb_metric metric_svamp = {
    .name        = "svamp",
    .about       = "share of right equations",
    .differences = "the equation must hold, the right answer is not looked at → it must hold and "
                   "give the right answer",
    .score       = score_svamp,
    .examples    = examples,
    .read_number = read_reference,
};
