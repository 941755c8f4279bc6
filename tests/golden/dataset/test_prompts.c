// SPDX-License-Identifier: Apache-2.0
/* User message and answer, byte by byte: the paper protocol against the original's code, the
 * corrected one against an independent implementation. The golden rows become the files of a data
 * set whose configuration is the project's own. */
#include "support.h"

#include "pb/dataset.h"
#include "pb/file.h"
#include "pb/memory.h"

#include <jansson.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const sets[] = {
    "rte", "sst2", "gsm8k", "mnli",    "qqp",  "qnli", "mrpc", "cola",       "stsb",       "boolq",
    "cb",  "wic",  "copa",  "multirc", "mmlu", "piqa", "siqa", "winogrande", "openbookqa", "svamp",
};

static char folder[] = "/tmp/pb-prompts-XXXXXX";

static json_t *instructions; /* text by id, from the original's own file */

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
static json_t *load_lines(const char *path)
{
    FILE *file   = fopen(path, "r");
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

/* The golden entries of a data set and split, written as a file of their rows; an extra copy of the
 * last row stands in where there is none. Returns how many are real. */
static int64_t write_rows(const json_t *entries, const char *set, const char *split,
                          const char *path, const json_t **kept, const json_t *fallback)
{
    FILE *file    = fopen(path, "w");
    int64_t count = 0;

    assert_non_null(file);
    for (size_t i = 0; i < json_array_size(entries); i++) {
        const json_t *entry = json_array_get(entries, i);
        if (strcmp(field(entry, "dataset"), set) == 0 &&
            strcmp(field(entry, "split"), split) == 0) {
            assert_int_equal(json_dumpf(json_object_get(entry, "row"), file, JSON_COMPACT), 0);
            (void)fputc('\n', file);
            kept[count++] = entry;
        }
    }
    if (count == 0) {
        assert_int_equal(json_dumpf(fallback, file, JSON_COMPACT), 0);
    }
    assert_int_equal(fclose(file), 0);
    return count;
}

static void set_text(pb_config *config, const char *key, const char *value)
{
    pb_string text = {0};

    /* A list keeps the value from being read as anything but text. */
    assert_ok(pb_string_printf(&text, "dataset.%s=\"", key));
    for (const char *p = value; *p != '\0'; p++) {
        assert_ok(pb_string_printf(&text, "%s%c", *p == '"' || *p == '\\' ? "\\" : "", *p));
    }
    assert_ok(pb_string_puts(&text, "\""));
    assert_ok(pb_config_set(config, text.data));
    pb_string_clear(&text);
}

static void compare(const char *set, const pb_dataset *ds, pb_split split,
                    const json_t *const *entries, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        pb_example example  = pb_dataset_example(ds, split, i);
        const char *user    = field(entries[i], "user");
        const json_t *reply = json_object_get(entries[i], "assistant");
        const char *answer  = json_is_string(reply) ? json_string_value(reply) : "";
        if (strcmp(example.user, user) != 0 || strcmp(example.answer, answer) != 0) {
            fail_msg("%s row %d:\n%s\n=> %s\nexpected\n%s\n=> %s", set, (int)i, example.user,
                     example.answer, user, answer);
        }
    }
}

static void check_set(const char *set, const json_t *entries, pb_protocol protocol,
                      const json_t *any_row)
{
    enum { LIMIT = 400 };
    const json_t *train[LIMIT], *test[LIMIT];
    char train_path[128], test_path[128], config_path[512];
    pb_data_options data = {0};
    pb_config *config    = NULL;
    pb_dataset *ds       = NULL;

    assert_true(json_array_size(entries) < LIMIT);
    (void)snprintf(train_path, sizeof train_path, "%s/%s.train.jsonl", folder, set);
    (void)snprintf(test_path, sizeof test_path, "%s/%s.test.jsonl", folder, set);
    (void)snprintf(config_path, sizeof config_path, PB_SOURCE_DIR "/configs/dataset/%s.cfg", set);
    int64_t n_train = write_rows(entries, set, "train", train_path, train, any_row);
    int64_t n_test  = write_rows(entries, set, "test", test_path, test, any_row);
    if (n_train + n_test == 0) {
        return;
    }
    assert_ok(pb_config_open(config_path, &config));
    set_text(config, "train_file", train_path);
    set_text(config, "test_file", test_path);
    if (protocol == PB_PROTOCOL_CORRECTED) {
        const json_t *first = n_train > 0 ? train[0] : test[0];
        set_text(config, "instruction", field(instructions, field(first, "instruction_id")));
    }
    assert_ok(pb_config_defaults(pb_data_fields, &data));
    assert_ok(pb_dataset_open(config, "dataset", protocol, &data, &ds));
    assert_int_equal(pb_dataset_count(ds, PB_SPLIT_TRAIN), n_train > 0 ? n_train : 1);
    assert_int_equal(pb_dataset_count(ds, PB_SPLIT_TEST), n_test > 0 ? n_test : 1);
    compare(set, ds, PB_SPLIT_TRAIN, train, n_train);
    compare(set, ds, PB_SPLIT_TEST, test, n_test);
    pb_dataset_close(ds);
    pb_config_clear(pb_data_fields, &data);
    pb_config_close(config);
}

static const json_t *first_row(const json_t *entries)
{
    return json_object_get(json_array_get(entries, 0), "row");
}

static void paper_prompts_equal_the_original(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof sets / sizeof *sets; k++) {
        json_t *entries = load_lines(shared_path("golden/protocol/prompts/%s.jsonl", sets[k]));
        assert_true(json_array_size(entries) >= 10);
        check_set(sets[k], entries, PB_PROTOCOL_PAPER, first_row(entries));
        json_decref(entries);
    }
    assert_int_equal(pb_memory_current(), 0);
}

static void paper_prompts_of_invented_edge_cases_equal_the_original(void **state)
{
    json_t *entries = load_lines(shared_path("golden/protocol/prompts/_synthetic.jsonl"));

    (void)state;
    assert_true(json_array_size(entries) >= 10);
    for (size_t k = 0; k < sizeof sets / sizeof *sets; k++) {
        json_t *real = load_lines(shared_path("golden/protocol/prompts/%s.jsonl", sets[k]));
        check_set(sets[k], entries, PB_PROTOCOL_PAPER, first_row(real));
        json_decref(real);
    }
    json_decref(entries);
}

/* Entries of the corrected file name their row by source; the paper's file holds the rows. */
static void corrected_prompts_equal_an_independent_implementation(void **state)
{
    json_t *corrected = load_lines(shared_path("golden/protocol/prompts/_corrected.jsonl"));
    int compared      = 0;

    (void)state;
    for (size_t k = 0; k < sizeof sets / sizeof *sets; k++) {
        json_t *paper   = load_lines(shared_path("golden/protocol/prompts/%s.jsonl", sets[k]));
        json_t *entries = json_array();
        for (size_t i = 0; i < json_array_size(corrected); i++) {
            json_t *entry = json_array_get(corrected, i);
            for (size_t j = 0; j < json_array_size(paper); j++) {
                json_t *candidate = json_array_get(paper, j);
                if (strcmp(field(entry, "dataset"), sets[k]) == 0 &&
                    strcmp(field(entry, "split"), field(candidate, "split")) == 0 &&
                    json_equal(json_object_get(entry, "source"),
                               json_object_get(candidate, "source"))) {
                    json_t *copy = json_copy(entry);
                    json_object_set(copy, "row", json_object_get(candidate, "row"));
                    json_array_append_new(entries, copy);
                    break;
                }
            }
        }
        compared += (int)json_array_size(entries);
        check_set(sets[k], entries, PB_PROTOCOL_CORRECTED, first_row(paper));
        json_decref(entries);
        json_decref(paper);
    }
    json_decref(corrected);
    assert_true(compared >= 60);
}

/* A data set of one column, the scores as the source files spell them. */
static void stsb_scores_print_as_the_original_prints_them(void **state)
{
    json_error_t error;
    json_t *root =
        json_load_file(shared_path("golden/protocol/prompts/_stsb_label_strings.json"), 0, &error);
    json_t *map          = json_object_get(root, "map");
    const char *spelled  = NULL;
    json_t *wanted       = NULL;
    pb_config *config    = NULL;
    pb_dataset *ds       = NULL;
    pb_data_options data = {0};
    char path[128], text[512];
    int64_t i = 0;

    (void)state;
    assert_true(json_object_size(map) > 100);
    (void)snprintf(path, sizeof path, "%s/scores.jsonl", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    json_object_foreach(map, spelled, wanted)
    {
        (void)fprintf(file, "{\"score\": %s}\n", spelled);
    }
    assert_int_equal(fclose(file), 0);
    (void)snprintf(text, sizeof text,
                   "dataset = { name = \"scores\"; train_file = \"%s\"; test_file = \"%s\"; "
                   "columns = [\"score:float32\"]; answer = \"{score}\"; };",
                   path, path);
    assert_ok(pb_config_parse(text, "scores.cfg", &config));
    assert_ok(pb_config_defaults(pb_data_fields, &data));
    assert_ok(pb_dataset_open(config, "dataset", PB_PROTOCOL_PAPER, &data, &ds));
    json_object_foreach(map, spelled, wanted)
    {
        assert_string_equal(pb_dataset_example(ds, PB_SPLIT_TRAIN, i).answer,
                            json_string_value(wanted));
        i++;
    }
    pb_dataset_close(ds);
    pb_config_clear(pb_data_fields, &data);
    pb_config_close(config);
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paper_prompts_equal_the_original),
        cmocka_unit_test(paper_prompts_of_invented_edge_cases_equal_the_original),
        cmocka_unit_test(corrected_prompts_equal_an_independent_implementation),
        cmocka_unit_test(stsb_scores_print_as_the_original_prints_them),
    };
    (void)setenv("PB_PEFTBENCH_INFO", shared_path("protocol/dataset_info.json"), 1);
    (void)setenv("PB_DATA", shared_path("data"), 1);
    if (mkdtemp(folder) == NULL) {
        return 1;
    }
    load_instructions();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(instructions);
    char command[96];
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command) != 0 ? 1 : failed;
}
