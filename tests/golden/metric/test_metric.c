// SPDX-License-Identifier: Apache-2.0
/* The metrics against the values of the original's code (paper) and of an independent
 * implementation (corrected), case by case, with the post-processed texts. */
#include "metric_value.h"
#include "golden.h"
#include "metrics.h"
#include "support.h"

#include "pb/memory.h"

#include <jansson.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE             1e-12 /* relative: sums of small integers in a different order */
#define TOLERANCE_CORRELATION 1e-9  /* absolute: sums of rounded products in a different order */

typedef struct set {
    const char *file, *metric;
    int cases; /* at least, so that an empty file cannot pass */
} set;

static const set sets[] = {
    {"mnli", "macro_f1", 11},    {"qqp", "f1", 11},
    {"qnli", "f1", 11},          {"sst2", "f1", 11},
    {"stsb", "pearsonr", 11},    {"mrpc", "f1", 11},
    {"rte", "f1", 11},           {"cola", "f1_mcc", 11},
    {"multirc", "f1", 11},       {"boolq", "f1", 11},
    {"wic", "f1", 11},           {"wsc", "f1", 11},
    {"cb", "macro_f1", 11},      {"copa", "f1", 11},
    {"mmlu", "macro_f1", 11},    {"piqa", "f1", 11},
    {"siqa", "macro_f1", 11},    {"hellaswag", "macro_f1", 11},
    {"winogrande", "f1", 11},    {"gsm8k", "gsm8k", 25},
    {"svamp", "svamp", 50},      {"openbookqa", "macro_f1", 11},
    {"math_qa", "macro_f1", 11}, {"record", "record", 11},
};

typedef struct texts {
    const char **predictions, **references, **labels;
    char (*ids)[48]; /* of ReCoRD, as are the next two */
    const char **id_texts;
    const char ***alternatives;
    pb_metric_input input;
} texts;

/* {"idx": {"passage", "query"}, "answers"} of every row. */
static void load_questions(const json_t *rows, texts *out)
{
    size_t n          = json_array_size(rows);
    out->ids          = calloc(n, sizeof *out->ids);
    out->id_texts     = calloc(n, sizeof *out->id_texts);
    out->alternatives = calloc(n, sizeof *out->alternatives);
    assert_int_equal(n, out->input.rows);
    for (size_t i = 0; i < n; i++) {
        const json_t *row     = json_array_get(rows, i);
        const json_t *idx     = json_object_get(row, "idx");
        const json_t *answers = json_object_get(row, "answers");
        size_t count          = json_array_size(answers);
        assert_true(count > 0);
        (void)snprintf(out->ids[i], sizeof out->ids[i], "%g-%g", json_number(idx, "passage"),
                       json_number(idx, "query"));
        out->id_texts[i]     = out->ids[i];
        out->alternatives[i] = calloc(count + 1, sizeof **out->alternatives);
        for (size_t k = 0; k < count; k++) {
            out->alternatives[i][k] = json_string_value(json_array_get(answers, k));
        }
    }
    out->input.ids          = out->id_texts;
    out->input.alternatives = (const char *const *const *)out->alternatives;
}

static void load_texts(const json_t *root, const json_t *entry, pb_protocol protocol, texts *out)
{
    const json_t *items  = json_object_get(entry, "items");
    size_t n             = json_array_size(items);
    const json_t *labels = json_object_get(root, "labels");

    out->predictions = calloc(n, sizeof *out->predictions);
    out->references  = calloc(n, sizeof *out->references);
    out->labels      = calloc(json_array_size(labels) + 1, sizeof *out->labels);
    for (size_t i = 0; i < n; i++) {
        const json_t *item  = json_array_get(items, i);
        out->predictions[i] = json_string_value(json_object_get(item, "predict"));
        out->references[i]  = json_string_value(json_object_get(item, "label"));
        assert_non_null(out->predictions[i]);
        assert_non_null(out->references[i]);
    }
    for (size_t i = 0; i < json_array_size(labels); i++) {
        out->labels[i] = json_string_value(json_array_get(labels, i));
    }
    out->input = (pb_metric_input){
        .protocol    = protocol,
        .predictions = out->predictions,
        .references  = out->references,
        .rows        = (int64_t)n,
        .labels      = (char *const *)(uintptr_t)out->labels,
        .label_count = (int64_t)json_array_size(labels),
    };
    if (json_object_get(entry, "dataset") != NULL) {
        load_questions(json_object_get(entry, "dataset"), out);
    }
}

static void free_texts(texts *t)
{
    for (int64_t i = 0; t->alternatives != NULL && i < t->input.rows; i++) {
        free(t->alternatives[i]);
    }
    free(t->alternatives);
    free(t->id_texts);
    free(t->ids);
    free(t->predictions);
    free(t->references);
    free(t->labels);
}

static void compare(const char *place, const char *name, const json_t *wanted, double got,
                    bool correlation)
{
    if (json_is_string(wanted)) {
        assert_string_equal(json_string_value(wanted), "NaN");
        if (!isnan(got)) {
            fail_msg("%s %s: %.17g, expected NaN", place, name, got);
        }
        return;
    }
    double value = json_number_value(wanted);
    double limit = correlation ? TOLERANCE_CORRELATION : TOLERANCE * fmax(fabs(value), 1e-3);
    if (!(fabs(got - value) <= limit)) {
        fail_msg("%s %s: %.17g, expected %.17g", place, name, got, value);
    }
}

static void compare_all(const char *place, const json_t *wanted, const pb_metric_result *result,
                        bool correlation)
{
    const char *name = NULL;
    json_t *value    = NULL;

    assert_true(json_object_size(wanted) > 0);
    json_object_foreach((json_t *)(uintptr_t)wanted, name, value)
    {
        double got = strcmp(name, "main") == 0 ? result->main : metric_value(result, name);
        compare(place, name, value, got, correlation);
    }
}

/* The interval is computed from sums over rows: they must also give the value itself. */
static void compare_parts(const char *place, const pb_metric_result *result,
                          const pb_metric_parts *parts)
{
    double sums[64];

    assert_true(parts->width <= 64);
    double got = metric_parts_main(parts, NULL, sums);
    bool same  = isnan(got) ? isnan(result->main) : fabs(got - result->main) <= TOLERANCE;
    if (!same) {
        fail_msg("%s: %.17g of the parts, %.17g of the rows", place, got, result->main);
    }
}

static void compare_post(const char *place, const json_t *pairs, const pb_metric_result *result)
{
    assert_int_equal(json_array_size(pairs), result->rows);
    for (int64_t i = 0; i < result->rows; i++) {
        const json_t *pair = json_array_get(pairs, (size_t)i);
        if (strcmp(json_string_value(json_array_get(pair, 0)), result->predictions[i]) != 0 ||
            strcmp(json_string_value(json_array_get(pair, 1)), result->references[i]) != 0) {
            fail_msg("%s row %d: \"%s\" / \"%s\"", place, (int)i, result->predictions[i],
                     result->references[i]);
        }
    }
}

static void check_case(const set *s, const json_t *root, const json_t *entry)
{
    bool correlation    = strcmp(s->metric, "pearsonr") == 0;
    const char *id      = json_string_value(json_object_get(entry, "id"));
    const char *names[] = {[PB_PROTOCOL_CORRECTED] = "corrected", [PB_PROTOCOL_PAPER] = "paper"};

    for (int protocol = 0; protocol < 2; protocol++) {
        char place[128];
        texts t                 = {0};
        pb_metric_result result = {0};
        pb_metric_parts parts   = {0};
        (void)snprintf(place, sizeof place, "%s/%s/%s", s->file, id, names[protocol]);
        load_texts(root, entry, (pb_protocol)protocol, &t);
        assert_ok(metric_score_parts(s->metric, &t.input, &result, &parts));
        compare_all(place, json_object_get(entry, names[protocol]), &result, correlation);
        compare_parts(place, &result, &parts);
        if (protocol == PB_PROTOCOL_PAPER) {
            compare(place, "table", json_object_get(entry, "paper_table_value"), result.main * 100,
                    correlation);
            compare_post(place, json_object_get(entry, "normalised"), &result);
        }
        pb_metric_result_clear(&result);
        metric_parts_clear(&parts);
        free_texts(&t);
    }
}

static void every_set_scores_as_the_golden_cases_in_both_protocols(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof sets / sizeof *sets; k++) {
        json_error_t error;
        json_t *root =
            json_load_file(shared_path("golden/protocol/metrics/%s.json", sets[k].file), 0, &error);
        if (root == NULL) {
            fail_msg("%s: %s", sets[k].file, error.text);
        }
        const json_t *cases = json_object_get(root, "cases");
        assert_true((int)json_array_size(cases) >= sets[k].cases);
        for (size_t i = 0; i < json_array_size(cases); i++) {
            check_case(&sets[k], root, json_array_get(cases, i));
        }
        json_decref(root);
    }
    assert_int_equal(pb_memory_current(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_set_scores_as_the_golden_cases_in_both_protocols),
    };
    (void)shared_directory();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
