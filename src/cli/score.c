// SPDX-License-Identifier: Apache-2.0
/* peftbench score: computes the metrics of a data set from predictions and labels on JSON lines. */
#include "commands.h"
#include "dataset_config.h"
#include "lines.h"
#include "session.h"

#include "pb/dataset.h"
#include "pb/json.h"
#include "pb/log.h"
#include "pb/memory.h"
#include "pb/metric.h"

#include <jansson.h>
#include <math.h>

static const pb_option options[] = {
    PB_CLI_FLAG("json", "the output is JSON; it always is"),
    PB_OPTION_END,
};

/* The lines of input column by column, as the metric takes them. */
typedef struct job {
    const pb_metric *metric;
    json_t **lines; /* own the texts */
    const char **predictions, **labels;
    char **ids;            /* of the question, NULL without a row */
    const char ***answers; /* all correct ones, ended by NULL; NULL without a row */
    int64_t *numbers;
    int64_t count;
} job;

static pb_status text_of(const json_t *row, const char *key, const char **out)
{
    const json_t *value = json_object_get(row, key);

    if (!json_is_string(value)) {
        return PB_FAIL(
            PB_ERR_FORMAT, "\"%s\" is %s; a line is {\"prediction\": \"…\", \"label\": \"…\"}%s",
            key, value == NULL ? "missing" : "not a string",
            json_is_number(value) ? ", a number is written as the text it has in the data" : "");
    }
    *out = json_string_value(value);
    return PB_OK;
}

/* {"idx": {"passage": 3, "query": 7}, "answers": ["…", …]} as in ReCoRD. */
static pb_status read_question(const json_t *row, char **id, const char ***all)
{
    const json_t *idx     = json_object_get(row, "idx");
    const json_t *passage = json_object_get(idx, "passage");
    const json_t *query   = json_object_get(idx, "query");
    const json_t *answers = json_object_get(row, "answers");
    size_t count          = json_array_size(answers);
    pb_string text        = {0};

    if (!json_is_integer(passage) || !json_is_integer(query)) {
        return PB_FAIL(PB_ERR_FORMAT, "\"row\" needs \"idx\": {\"passage\": N, \"query\": N} with "
                                      "whole numbers that identify the question");
    }
    if (count == 0) {
        return PB_FAIL(PB_ERR_FORMAT, "\"row\" needs \"answers\", a list of all correct answers; "
                                      "leave out rows without one");
    }
    PB_TRY(PB_ALLOC(*all, count + 1));
    for (size_t k = 0; k < count; k++) {
        const json_t *answer = json_array_get(answers, k);
        if (!json_is_string(answer)) {
            return PB_FAIL(PB_ERR_FORMAT, "\"answers\"[%zu] of \"row\" is not a string", k);
        }
        (*all)[k] = json_string_value(answer);
    }
    PB_TRY(pb_string_printf(&text, "%" JSON_INTEGER_FORMAT "-%" JSON_INTEGER_FORMAT,
                            json_integer_value(passage), json_integer_value(query)));
    *id = text.data;
    return PB_OK;
}

static pb_status check_question(const job *j, int64_t i, const json_t *row)
{
    if (!j->metric->reads_questions) {
        return PB_OK;
    }
    if (i > 0 && (row == NULL) != (j->ids[0] == NULL)) {
        return PB_FAIL(PB_ERR_FORMAT, "only some lines have a \"row\"; give it with "
                                      "every line or with no line");
    }
    return row != NULL ? read_question(row, &j->ids[i], &j->answers[i]) : PB_OK;
}

static pb_status take(void *context, json_t *json, int64_t number)
{
    job *j    = context;
    int64_t i = j->count;

    if (!json_is_object(json)) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "expected {\"prediction\": \"…\", \"label\": \"…\"}, not a list or a "
                       "single value");
    }
    PB_TRY(PB_GROW(j->lines, i + 1));
    PB_TRY(PB_GROW(j->predictions, i + 1));
    PB_TRY(PB_GROW(j->labels, i + 1));
    PB_TRY(PB_GROW(j->ids, i + 1));
    PB_TRY(PB_GROW(j->answers, i + 1));
    PB_TRY(PB_GROW(j->numbers, i + 1));
    j->lines[i]   = json_incref(json);
    j->numbers[i] = number;
    j->count++;
    PB_TRY(text_of(json, "prediction", &j->predictions[i]));
    PB_TRY(text_of(json, "label", &j->labels[i]));
    return check_question(j, i, json_object_get(json, "row"));
}

static void clear_job(job *j)
{
    for (int64_t i = 0; i < j->count; i++) {
        json_decref(j->lines[i]);
        pb_memory_free(j->answers[i]);
    }
    pb_memory_free_texts(j->ids, (size_t)j->count);
    pb_memory_free(j->lines);
    pb_memory_free(j->predictions);
    pb_memory_free(j->labels);
    pb_memory_free(j->answers);
    pb_memory_free(j->numbers);
}

static pb_status score_lines(const job *j, const pb_config_list *labels, pb_protocol protocol,
                             pb_metric_result *result)
{
    bool asked            = j->ids[0] != NULL;
    pb_metric_input input = {
        .protocol     = protocol,
        .predictions  = j->predictions,
        .references   = j->labels,
        .alternatives = asked ? (const char *const *const *)j->answers : NULL,
        .ids          = asked ? (const char *const *)j->ids : NULL,
        .file         = "standard input",
        .lines        = j->numbers,
        .rows         = j->count,
        .labels       = labels->items,
        .label_count  = labels->count,
    };
    if (j->metric->reads_questions && !asked) {
        pb_log_warn("score: no line has a \"row\": each is taken as a separate question with "
                    "its label as the only answer");
    }
    return pb_metric_score(j->metric->name, &input, result);
}

static void put_value(pb_json *json, const char *name, double value)
{
    if (isnan(value)) {
        pb_json_put_text(json, name, "NaN");
    } else {
        pb_json_put_number(json, name, value, PB_JSON_EXACT);
    }
}

static pb_status put_result(const pb_metric_result *r, pb_string *out)
{
    pb_json json = pb_json_begin(out, PB_JSON_INLINE, 0);

    for (int64_t i = 0; i < r->count; i++) {
        const pb_metric_value *v = &r->values[i];
        if (v->is_count) {
            pb_json_put_fixed(&json, v->name, v->value, 0);
        } else {
            put_value(&json, v->name, v->value);
        }
    }
    put_value(&json, "main", r->main);
    put_value(&json, "main_low", r->main_low);
    put_value(&json, "main_high", r->main_high);
    return pb_json_finish(&json, "\n");
}

static pb_status score(const pb_cli *cli, const job *j, const pb_config_list *labels)
{
    pb_metric_result result = {0};
    pb_string text          = {0};

    PB_TRY(score_lines(j, labels, dataset_config_protocol(cli), &result));
    pb_status status = cli_print_made(cli, put_result(&result, &text), &text);
    pb_metric_result_clear(&result);
    return status;
}

static pb_status score_input(const pb_cli *cli, const pb_config *config,
                             const pb_dataset_options *dataset)
{
    job j = {0};
    pb_status status;

    PB_TRY(pb_config_at(config, "dataset", "metric", -1,
                        pb_metric_require(dataset->metric, &j.metric)));
    PB_TRY_GOTO(status, lines_each("{\"prediction\": \"…\", \"label\": \"…\"}", 0, take, &j), done);
    if (j.count == 0) {
        status = PB_FAIL(PB_ERR_FORMAT, "standard input: no lines to score; each is "
                                        "{\"prediction\": \"…\", \"label\": \"…\"}");
        goto done;
    }
    const pb_config_list *labels = pb_dataset_options_labels(dataset, dataset_config_protocol(cli));
    PB_TRY_GOTO(status, score(cli, &j, labels), done);
done:
    clear_job(&j);
    return status;
}

/* The files of rows are not needed: their names may depend on the environment. */
static pb_status read_options(const pb_cli *cli, pb_config **config, pb_dataset_options *dataset)
{
    static const char *const groups[] = {"dataset", NULL};

    PB_TRY(
        dataset_config_open(cli, "--dataset", pb_cli_text(cli, "dataset"), groups, false, config));
    return pb_config_read(*config, "dataset", pb_dataset_fields, pb_dataset_groups, dataset);
}

static pb_status run(pb_cli *cli)
{
    pb_config *config          = NULL;
    pb_dataset_options dataset = {0};

    pb_status status = read_options(cli, &config, &dataset);
    if (status == PB_OK) {
        status = score_input(cli, config, &dataset);
        pb_config_clear(pb_dataset_fields, &dataset);
    }
    pb_config_close(config);
    return status;
}

const pb_command command_score = {
    .name    = "score",
    .help    = "the metrics of predictions, on JSON lines",
    .usage   = "--dataset NAME --protocol paper|corrected [--set dataset.KEY=VALUE] < LINES",
    .details = "Reads {\"prediction\": \"…\", \"label\": \"…\"} per line, texts both: "
               "what was generated and the correct answer as the data set writes it. "
               "ReCoRD also needs \"row\": {\"idx\": {\"passage\": N, \"query\": N}, "
               "\"answers\": [\"…\"]}, which identifies the rows of one question and what is "
               "correct. Other keys are ignored. Prints one JSON object: the values of the "
               "data set's metric by name, \"main\" (which enters the tables) and the "
               "ends of its 95 % interval, \"main_low\" and \"main_high\"; "
               "results/README.md describes them. A value that is undefined is \"NaN\".\n\n"
               "Only the metric and the labels of the data set's file are used; its rows need "
               "not exist. A line that cannot be read, or has more than 64 MiB, ends "
               "the command.\n",
    .options = {dataset_config_options, options},
    .alone   = true,
    .run     = run,
};
