// SPDX-License-Identifier: Apache-2.0
/* The front: post-processing of all texts, the metric's table, and what is the same for every
 * metric. */
#include "metrics.h"

#include "pb/memory.h"
#include "pb/python.h"
#include "pb/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* After the last occurrence of the mark; the whole text without one. */
static const char *behind_last(const char *text, const char *mark)
{
    for (const char *at = strstr(text, mark); at != NULL; at = strstr(text, mark)) {
        text = at + strlen(mark);
    }
    return text;
}

pb_status pb_metric_post(pb_protocol protocol, bool keep_case, const char *text, char **out)
{
    const char *mark = protocol == PB_PROTOCOL_PAPER ? "</think>\n\n" : "</think>";
    bool lower       = protocol == PB_PROTOCOL_PAPER || !keep_case;
    const char *rest = behind_last(text, mark);
    size_t length    = strlen(rest);
    pb_string result = {0};
    size_t bad       = 0;

    if (!pb_utf8_is_valid(rest, length, &bad)) {
        return PB_FAIL(PB_ERR_FORMAT, "byte %zu of a text to score is not UTF-8", bad + 1);
    }
    pb_str_strip(&rest, &length);
    pb_status status;
    PB_TRY_GOTO(status, pb_string_append(&result, "", 0), err_result);
    PB_TRY_GOTO(status,
                lower ? pb_str_lower(rest, length, &result)
                      : pb_string_append(&result, rest, length),
                err_result);
    *out = result.data;
    return PB_OK;

err_result:
    pb_string_clear(&result);
    return status;
}

/* The labels followed by the reference, as `score` sees them. */
static pb_status post_reference(const pb_metric *ops, char *const *labels, int64_t label_count,
                                const char *reference, char **posted)
{
    for (int64_t k = 0; k < label_count; k++) {
        PB_TRY(pb_metric_post(PB_PROTOCOL_CORRECTED, ops->keeps_case, labels[k], &posted[k]));
    }
    return pb_metric_post(PB_PROTOCOL_CORRECTED, ops->keeps_case, reference, &posted[label_count]);
}

pb_status pb_metric_check_reference(const char *metric, char *const *labels, int64_t label_count,
                                    const char *reference)
{
    const pb_metric *ops = NULL;
    char **posted        = NULL;

    PB_TRY(pb_metric_find(metric, &ops));
    bool checks = ops->check_reference != NULL || ops->read_number != NULL;
    if (!checks || (ops->needs_labels && label_count < 2)) {
        return PB_OK; /* or the fault is not the reference's */
    }
    if (reference == NULL) {
        return metric_no_answer();
    }
    PB_TRY(PB_ALLOC(posted, label_count + 1));
    pb_status status;
    PB_TRY_GOTO(status, post_reference(ops, labels, label_count, reference, posted), done);
    double number;
    status = ops->read_number != NULL
                 ? ops->read_number(posted[label_count], &number)
                 : ops->check_reference(posted[label_count], posted, label_count);
done:
    pb_memory_free_texts(posted, (size_t)(label_count + 1));
    return status;
}

static pb_status post_rows(const pb_metric_input *input, bool keep_case, const char *const *texts,
                           char **out)
{
    for (int64_t i = 0; i < input->rows; i++) {
        PB_TRY(
            metric_at_row(input, i, pb_metric_post(input->protocol, keep_case, texts[i], &out[i])));
    }
    return PB_OK;
}

pb_status pb_metric_require(const char *name, const pb_metric **out)
{
    const pb_metric *metric = NULL;

    PB_TRY(pb_metric_find(name, &metric));
    PB_TRY(metric->available != NULL ? metric->available() : PB_OK);
    *out = metric;
    return PB_OK;
}

static pb_status check(const char *name, const pb_metric_input *input, const pb_metric **metric)
{
    PB_TRY(pb_metric_require(name, metric));
    if (input->rows < 1) {
        return PB_FAIL(PB_ERR_ARGUMENT, "metric %s: there are no rows to score", name);
    }
    if ((*metric)->needs_labels && input->label_count < 2) {
        return PB_FAIL(PB_ERR_CONFIG,
                       "metric %s needs at least two labels, the data set has %" PRId64
                       " (dataset.labels)",
                       name, input->label_count);
    }
    return PB_OK;
}

static pb_status make_texts(const pb_metric_input *input, const pb_metric *ops, char **labels,
                            pb_metric_result *result)
{
    PB_TRY(PB_ALLOC(result->predictions, input->rows));
    PB_TRY(PB_ALLOC(result->references, input->rows));
    PB_TRY(PB_ALLOC(result->row_values, input->rows));
    PB_TRY(PB_ALLOC(result->correct, input->rows));
    PB_TRY(PB_ALLOC(result->invalid, input->rows));
    for (int64_t k = 0; k < input->label_count; k++) {
        PB_TRY(pb_metric_post(input->protocol, ops->keeps_case, input->labels[k], &labels[k]));
    }
    PB_TRY(post_rows(input, ops->keeps_case, input->predictions, result->predictions));
    return post_rows(input, ops->keeps_case, input->references, result->references);
}

/* Labels that become the same text in post-processing could not be distinguished. */
static pb_status check_labels(char *const *labels, int64_t count)
{
    for (int64_t k = 1; k < count; k++) {
        for (int64_t other = 0; other < k; other++) {
            if (strcmp(labels[k], labels[other]) == 0) {
                return PB_FAIL(PB_ERR_CONFIG,
                               "labels %" PRId64 " and %" PRId64 " of the data set are the same "
                               "text \"%.*s\" once white space and case are gone "
                               "(dataset.labels)",
                               other, k, PB_FIT(labels[k], 80));
            }
        }
    }
    return PB_OK;
}

/* The values that every metric has. */
static pb_status add_common(pb_metric_result *result)
{
    int64_t invalid    = metric_count(result->invalid, result->rows);
    int64_t characters = 0;
    double n           = (double)result->rows;

    for (int64_t i = 0; i < result->rows; i++) {
        const char *text = result->predictions[i];
        characters += pb_utf8_count(text, strlen(text));
    }
    PB_TRY(metric_add(result, "invalid_share", (double)invalid / n, false));
    return metric_add(result, "output_chars_mean", (double)characters / n, false);
}

/* The parts of a mean over rows. */
static pb_status make_mean_parts(const pb_metric_result *result, pb_metric_parts *parts)
{
    PB_TRY(metric_make_parts(parts, result->rows, 2));
    for (int64_t i = 0; i < result->rows; i++) {
        parts->dense[2 * i]     = result->row_values[i];
        parts->dense[2 * i + 1] = 1;
    }
    return PB_OK;
}

static pb_status score(const pb_metric_input *input, const pb_metric *ops, char **labels,
                       pb_metric_result *result, pb_metric_parts *parts)
{
    PB_TRY(make_texts(input, ops, labels, result));
    PB_TRY(check_labels(labels, input->label_count));
    PB_TRY(ops->score(input, labels, result, parts));
    for (int64_t i = 0; i < result->rows && !ops->fills_row_values; i++) {
        result->row_values[i] = result->correct[i];
    }
    PB_TRY(add_common(result));
    if (ops->main_of == NULL) {
        PB_TRY(make_mean_parts(result, parts));
    }
    return metric_interval(parts, result->main, &result->main_low, &result->main_high);
}

pb_status metric_score_parts(const char *metric, const pb_metric_input *input,
                             pb_metric_result *out, pb_metric_parts *parts)
{
    const pb_metric *ops = NULL;
    char **labels        = NULL;

    PB_TRY(check(metric, input, &ops));
    PB_TRY(PB_ALLOC(labels, input->label_count));
    pb_metric_result result = {.rows = input->rows};
    pb_metric_parts made    = {.metric = ops, .protocol = input->protocol};
    pb_status status        = score(input, ops, labels, &result, &made);
    pb_memory_free_texts(labels, (size_t)input->label_count);
    if (status != PB_OK) {
        pb_metric_result_clear(&result);
        metric_parts_clear(&made);
        return PB_FRAME(status);
    }
    *out   = result;
    *parts = made;
    return PB_OK;
}

pb_status pb_metric_score(const char *metric, const pb_metric_input *input, pb_metric_result *out)
{
    pb_metric_parts parts = {0};

    PB_TRY(metric_score_parts(metric, input, out, &parts));
    metric_parts_clear(&parts);
    return PB_OK;
}
