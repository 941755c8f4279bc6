// SPDX-License-Identifier: Apache-2.0
/* The front: post-processing of all texts, then the metric's table. */
#include "metrics.h"
#include "python_str.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Behind the last occurrence of the mark; the whole text without one. */
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

    if (!pb_string_is_utf8(rest, length, &bad)) {
        return PB_FAIL(PB_ERR_FORMAT, "byte %zu of a text to score is not UTF-8", bad + 1);
    }
    pb_str_strip(&rest, &length);
    pb_status status = pb_string_append(&result, "", 0);
    if (status == PB_OK) {
        status =
            lower ? pb_str_lower(rest, length, &result) : pb_string_append(&result, rest, length);
    }
    if (status != PB_OK) {
        pb_string_clear(&result);
        return status;
    }
    *out = result.data;
    return PB_OK;
}

static void free_texts(char **texts, int64_t count)
{
    for (int64_t i = 0; texts != NULL && i < count; i++) {
        pb_memory_free(texts[i]);
    }
    pb_memory_free(texts);
}

void pb_metric_result_clear(pb_metric_result *result)
{
    free_texts(result->predictions, result->rows);
    free_texts(result->references, result->rows);
    pb_memory_free(result->values);
    pb_memory_free(result->row_values);
    pb_memory_free(result->correct);
    pb_memory_free(result->invalid);
    *result = (pb_metric_result){0};
}

double pb_metric_value_of(const pb_metric_result *result, const char *name)
{
    for (int64_t i = 0; i < result->count; i++) {
        if (strcmp(result->values[i].name, name) == 0) {
            return result->values[i].value;
        }
    }
    return (double)NAN;
}

pb_status pb_metric_add(pb_metric_result *result, const char *name, double value, bool is_count)
{
    pb_metric_value *values =
        pb_memory_resize(result->values, (size_t)result->count + 1, sizeof *values);
    if (values == NULL) {
        return PB_ERR_MEMORY;
    }
    result->values     = values;
    pb_metric_value *v = &values[result->count++];
    *v                 = (pb_metric_value){.value = value, .is_count = is_count};
    (void)snprintf(v->name, sizeof v->name, "%s", name);
    return PB_OK;
}

static pb_status post_all(pb_protocol protocol, bool keep_case, const char *const *texts,
                          int64_t count, char **out)
{
    for (int64_t i = 0; i < count; i++) {
        PB_TRY(pb_metric_post(protocol, keep_case, texts[i], &out[i]));
    }
    return PB_OK;
}

pb_status pb_metric_check(const char *name)
{
    const char *names[64]       = {0};
    const pb_metric *const *all = pb_metric_registry();
    const pb_metric *found      = pb_metric_find(name);

    if (found != NULL) {
        return found->available != NULL ? found->available() : PB_OK;
    }
    for (size_t i = 0; all[i] != NULL && i + 1 < sizeof names / sizeof *names; i++) {
        names[i] = all[i]->name;
    }
    const char *near = pb_string_nearest(name, names);
    return PB_FAIL(PB_ERR_CONFIG, "there is no metric \"%s\"%s%s%s", name,
                   near != NULL ? "; did you mean \"" : "", near != NULL ? near : "",
                   near != NULL ? "\"?" : "");
}

static pb_status check(const char *name, const pb_metric_input *input, const pb_metric **metric)
{
    PB_TRY(pb_metric_check(name));
    *metric = pb_metric_find(name);
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

pb_status pb_metric_score(const char *metric, const pb_metric_input *input, pb_metric_result *out)
{
    pb_metric_result result = {
        .rows = input->rows, .main_low = (double)NAN, .main_high = (double)NAN};
    const pb_metric *ops = NULL;
    char **labels        = NULL;
    pb_status status;

    PB_TRY(check(metric, input, &ops));
    PB_TRY_GOTO(status, PB_ALLOC(labels, input->label_count), err_result);
    PB_TRY_GOTO(status, PB_ALLOC(result.predictions, input->rows), err_result);
    PB_TRY_GOTO(status, PB_ALLOC(result.references, input->rows), err_result);
    PB_TRY_GOTO(status, PB_ALLOC(result.row_values, input->rows), err_result);
    PB_TRY_GOTO(status, PB_ALLOC(result.correct, input->rows), err_result);
    PB_TRY_GOTO(status, PB_ALLOC(result.invalid, input->rows), err_result);
    PB_TRY_GOTO(status,
                post_all(input->protocol, ops->keeps_case, (const char *const *)input->labels,
                         input->label_count, labels),
                err_result);
    PB_TRY_GOTO(status,
                post_all(input->protocol, ops->keeps_case, input->predictions, input->rows,
                         result.predictions),
                err_result);
    PB_TRY_GOTO(status,
                post_all(input->protocol, ops->keeps_case, input->references, input->rows,
                         result.references),
                err_result);
    PB_TRY_GOTO(status, ops->score(input, labels, &result), err_result);
    for (int64_t i = 0; i < input->rows && !ops->fills_row_values; i++) {
        result.row_values[i] = result.correct[i];
    }
    free_texts(labels, input->label_count);
    *out = result;
    return PB_OK;

err_result:
    free_texts(labels, input->label_count);
    pb_metric_result_clear(&result);
    return status;
}
