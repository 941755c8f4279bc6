// SPDX-License-Identifier: Apache-2.0
/* Messages, answers and chat texts, byte by byte: the paper protocol against the original's code,
 * the corrected one against an independent implementation. The data sets are the project's own
 * configurations, the rows those of the golden files. */
#include "support.h"

#include "pb/dataset.h"
#include "pb/memory.h"
#include "pb/template.h"

#include <jansson.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const sets[] = {
    "mnli",    "qqp",    "qnli",    "sst2",   "stsb",         "mrpc",       "rte",
    "cola",    "record", "multirc", "boolq",  "wic",          "wsc",        "cb",
    "copa",    "mmlu",   "piqa",    "siqa",   "hellaswag",    "winogrande", "openbookqa",
    "math_qa", "gsm8k",  "svamp",   "conala", "codealpacapy", "apps",
};
enum { SETS = sizeof sets / sizeof *sets };

static const char *const templates[] = {"llama3", "qwen3", "gemma", "mistral"};

static json_t *instructions; /* text by id, from the original's own file */

static const pb_template *template_of(const char *name)
{
    const pb_template *tpl = NULL;
    assert_ok(pb_template_find(name, &tpl));
    return tpl;
}

static void load_instructions(void)
{
    json_error_t error;
    json_t *info    = json_load_file(shared_path("protocol/dataset_info.json"), 0, &error);
    const char *key = NULL;
    json_t *entry   = NULL;

    assert_non_null(info);
    instructions = json_object();
    json_object_foreach(info, key, entry)
    {
        char sha[PB_HASH_TEXT];
        const json_t *value = json_object_get(entry, "instruction");
        const char *text    = json_is_string(value) ? json_string_value(value) : "";
        assert_ok(pb_hash_bytes(text, strlen(text), sha));
        sha[10] = '\0';
        json_object_set_new(instructions, sha, json_string(text));
    }
    json_decref(info);
}

/* All objects of a file of JSON lines. */
static json_t *load_lines(const char *name)
{
    FILE *file   = fopen(shared_path("golden/protocol/prompts/%s.jsonl", name), "r");
    json_t *list = json_array();
    json_error_t error;

    assert_non_null(file);
    for (;;) {
        json_t *value = json_loadf(file, JSON_DISABLE_EOF_CHECK, &error);
        if (value == NULL) {
            break;
        }
        json_array_append_new(list, value);
    }
    (void)fclose(file);
    return list;
}

static const char *field(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    assert_non_null(text);
    return text;
}

static void assert_text(const char *what, const json_t *entry, const char *text,
                        const json_t *expected)
{
    const char *wanted = json_string_value(expected);

    if ((text == NULL) != (wanted == NULL) || (text != NULL && strcmp(text, wanted) != 0)) {
        fail_msg("%s, %s, %s:\n%s\nexpected\n%s", field(entry, "dataset"), field(entry, "split"),
                 what, text != NULL ? text : "(none)", wanted != NULL ? wanted : "(none)");
    }
}

static pb_split split_of(const json_t *entry)
{
    return strcmp(field(entry, "split"), "train") == 0 ? PB_SPLIT_TRAIN : PB_SPLIT_TEST;
}

/* `instruction` replaces that of the configuration; NULL: keep it. */
static pb_dataset *open_set(const char *set, pb_protocol protocol, const char *instruction)
{
    pb_data_options data = {0};
    pb_config *config    = NULL;
    pb_dataset *ds       = NULL;
    pb_string setting    = {0};
    char path[512];

    (void)snprintf(path, sizeof path, PB_SOURCE_DIR "/configs/dataset/%s.cfg", set);
    assert_ok(pb_config_open(path, &config));
    if (instruction != NULL) {
        assert_ok(pb_string_puts(&setting, "dataset.instruction="));
        assert_ok(pb_string_json(&setting, instruction, strlen(instruction)));
        assert_ok(pb_config_set(config, setting.data));
    }
    assert_ok(pb_config_defaults(pb_data_fields, &data));
    assert_ok(pb_dataset_open(config, "dataset", protocol, &data, &ds));
    pb_config_clear(pb_data_fields, &data);
    pb_config_close(config);
    pb_string_clear(&setting);
    return ds;
}

static void check_rendered(const json_t *entry, const pb_row_text *text)
{
    const json_t *rendered = json_object_get(entry, "rendered");

    for (size_t k = 0; k < sizeof templates / sizeof *templates; k++) {
        const json_t *expected = json_object_get(rendered, templates[k]);
        pb_string prompt = {0}, answer = {0};
        assert_non_null(expected);
        assert_ok(pb_template_text(template_of(templates[k]), NULL, text->user.data,
                                   text->answer.data, false, &prompt, &answer));
        assert_text(templates[k], entry, prompt.data, json_object_get(expected, "prompt"));
        assert_text(templates[k], entry, answer.data, json_object_get(expected, "answer"));
        pb_string_clear(&prompt);
        pb_string_clear(&answer);
    }
}

/* Entry [k, n] of "expand" is sample k of the n that the row gives. */
static void check_paper(const pb_dataset *ds, const json_t *entry)
{
    const json_t *expand = json_object_get(entry, "expand");
    json_int_t k         = json_integer_value(json_array_get(expand, 0));
    pb_row_texts texts   = {0};

    assert_int_equal(json_array_size(expand), 2);
    assert_ok(pb_dataset_build(ds, split_of(entry), json_object_get(entry, "row"), &texts));
    assert_int_equal(texts.count, json_integer_value(json_array_get(expand, 1)));
    const pb_row_text *text = &texts.items[k];
    assert_int_equal(text->reference_count, 0);
    assert_true(text->has_answer);
    assert_text("inputs", entry, text->has_inputs ? text->user.data + text->body : NULL,
                json_object_get(entry, "inputs"));
    assert_text("targets", entry, text->has_inputs ? text->answer.data : NULL,
                json_object_get(entry, "targets"));
    assert_text("user", entry, text->user.data, json_object_get(entry, "user"));
    assert_text("assistant", entry, text->answer.data, json_object_get(entry, "assistant"));
    check_rendered(entry, text);
    pb_row_texts_clear(&texts);
}

static void paper_texts_equal_the_original(void **state)
{
    int checked = 0;

    (void)state;
    for (size_t s = 0; s < SETS; s++) {
        json_t *entries = load_lines(sets[s]);
        pb_dataset *ds  = open_set(sets[s], PB_PROTOCOL_PAPER, NULL);
        assert_true(json_array_size(entries) >= 12);
        for (size_t i = 0; i < json_array_size(entries); i++, checked++) {
            check_paper(ds, json_array_get(entries, i));
        }
        pb_dataset_close(ds);
        json_decref(entries);
    }
    assert_int_equal(checked, 331);
    assert_int_equal(pb_memory_current(), 0);
}

static void paper_texts_of_invented_edge_cases_equal_the_original(void **state)
{
    json_t *entries = load_lines("_synthetic");

    (void)state;
    assert_int_equal(json_array_size(entries), 33);
    for (size_t i = 0; i < json_array_size(entries); i++) {
        const json_t *entry = json_array_get(entries, i);
        pb_dataset *ds      = open_set(field(entry, "dataset"), PB_PROTOCOL_PAPER, NULL);
        check_paper(ds, entry);
        pb_dataset_close(ds);
    }
    json_decref(entries);
}

/* The row of a corrected entry is in the paper's file under the same source. */
static const json_t *row_of(const json_t *entry, const json_t *paper)
{
    for (size_t i = 0; i < json_array_size(paper); i++) {
        const json_t *candidate = json_array_get(paper, i);
        if (split_of(candidate) == split_of(entry) &&
            json_equal(json_object_get(entry, "source"), json_object_get(candidate, "source"))) {
            return json_object_get(candidate, "row");
        }
    }
    fail_msg("%s: no row", field(entry, "dataset"));
    return NULL;
}

/* A set with several answers has a sample for each in training, and references in testing. */
static void check_references(const json_t *entry, const json_t *row, const pb_row_texts *texts)
{
    const json_t *answers = json_object_get(row, "answers");
    size_t count          = json_is_array(answers) ? json_array_size(answers) : 1;
    bool train            = split_of(entry) == PB_SPLIT_TRAIN;

    assert_int_equal(texts->count, train ? count : 1);
    assert_int_equal(texts->items[0].reference_count, train ? 0 : count - 1);
    const char *reference = texts->items[0].references.data;
    for (int64_t i = 0; i < texts->items[0].reference_count; i++) {
        assert_string_equal(reference, json_string_value(json_array_get(answers, (size_t)i + 1)));
        reference += strlen(reference) + 1;
    }
}

/* The golden texts have the original's instructions, which replace ours. */
static void corrected_texts_equal_an_independent_implementation(void **state)
{
    json_t *corrected = load_lines("_corrected");
    int repeated      = 0;

    (void)state;
    assert_int_equal(json_array_size(corrected), 156);
    for (size_t i = 0; i < json_array_size(corrected); i++) {
        const json_t *entry = json_array_get(corrected, i);
        const char *set     = field(entry, "dataset");
        json_t *paper       = load_lines(set);
        const json_t *row   = row_of(entry, paper);
        pb_row_texts texts  = {0};
        pb_dataset *ds      = open_set(set, PB_PROTOCOL_CORRECTED,
                                       field(instructions, field(entry, "instruction_id")));
        assert_ok(pb_dataset_build(ds, split_of(entry), row, &texts));
        assert_text("user", entry, texts.items[0].user.data, json_object_get(entry, "user"));
        assert_text("assistant", entry, texts.items[0].answer.data,
                    json_object_get(entry, "assistant"));
        check_references(entry, row, &texts);
        repeated += texts.count > 1 || texts.items[0].reference_count > 0;
        pb_row_texts_clear(&texts);
        pb_dataset_close(ds);
        json_decref(paper);
    }
    json_decref(corrected);
    assert_true(repeated >= 2);
    assert_int_equal(pb_memory_current(), 0);
}

static void stsb_scores_print_as_the_original_prints_them(void **state)
{
    json_error_t error;
    json_t *root =
        json_load_file(shared_path("golden/protocol/prompts/_stsb_label_strings.json"), 0, &error);
    json_t *map         = json_object_get(root, "map");
    const char *spelled = NULL;
    json_t *wanted      = NULL;
    pb_dataset *ds      = open_set("stsb", PB_PROTOCOL_PAPER, NULL);
    pb_row_texts texts  = {0};

    (void)state;
    assert_true(json_object_size(map) > 100);
    json_object_foreach(map, spelled, wanted)
    {
        json_t *row = json_pack("{s:s,s:s,s:f}", "sentence1", "a", "sentence2", "b", "label",
                                strtod(spelled, NULL));
        assert_ok(pb_dataset_build(ds, PB_SPLIT_TRAIN, row, &texts));
        assert_string_equal(texts.items[0].answer.data, json_string_value(wanted));
        json_decref(row);
    }
    pb_row_texts_clear(&texts);
    pb_dataset_close(ds);
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paper_texts_equal_the_original),
        cmocka_unit_test(paper_texts_of_invented_edge_cases_equal_the_original),
        cmocka_unit_test(corrected_texts_equal_an_independent_implementation),
        cmocka_unit_test(stsb_scores_print_as_the_original_prints_them),
    };
    (void)setenv("PB_PEFTBENCH_INFO", shared_path("protocol/dataset_info.json"), 1);
    (void)setenv("PB_DATA", shared_path("data"), 1);
    load_instructions();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(instructions);
    return failed;
}
