// SPDX-License-Identifier: Apache-2.0
/* What every registered builder promises: one source of rows, the same texts each time and by
 * several threads at once, errors that name the column for rows that are not as declared. */
#include "samples.h"
#include "support.h"

#include "pb/memory.h"

#include <jansson.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[64];

/* Columns that some builder needs; every one of them can be left out of a row. */
static const char *const columns[] = {"text",        "span1_text", "span2_text", "span1_index",
                                      "span2_index", "passage",    "entities",   "label"};
enum { COLUMNS = sizeof columns / sizeof *columns };

#define COLUMN_LIST                                                                         \
    "[\"text:string\", \"span1_text:string\", \"span2_text:string\", \"span1_index:int\", " \
    "\"span2_index:int\", \"passage:string\", \"entities:strings\", \"label:label\"]"

static json_t *make_row(int64_t index)
{
    static const char *const texts[] = {"Ann saw that she won.", "Bob (she said) lost.", "C++ won"};

    return json_pack("{s:s,s:s,s:s,s:i,s:i,s:s,s:[ss],s:i}", "text", texts[index % 3], "span1_text",
                     "Ann", "span2_text", "she", "span1_index", 0, "span2_index", 3, "passage",
                     "One.\n@highlight\nTwo", "entities", "One", "Two", "label", (int)(index % 2));
}

static void write_rows(int64_t count)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    for (int64_t i = 0; i < count; i++) {
        json_t *row = make_row(i);
        assert_int_equal(json_dumpf(row, file, JSON_COMPACT), 0);
        (void)fputc('\n', file);
        json_decref(row);
    }
    assert_int_equal(fclose(file), 0);
}

static pb_dataset *open_with(const pb_dataset_builder *builder, pb_protocol protocol, int64_t rows)
{
    pb_data_options data = {.train_rows = rows, .test_rows = rows};
    pb_config *config    = NULL;
    pb_dataset *ds       = NULL;
    char text[1024];

    (void)snprintf(text, sizeof text,
                   "dataset = { name = \"c\"; builder = \"%s\"; train_file = \"%s\"; test_file = "
                   "\"%s\"; columns = " COLUMN_LIST "; labels = [\"yes\", \"no\"]; instruction = "
                   "\"Q\"; lines = [\"{text} {passage} {entities:join}\"]; };",
                   builder->name, path, path);
    assert_ok(pb_config_parse(text, "c.cfg", &config));
    assert_ok(pb_dataset_open(config, "dataset", protocol, &data, &ds));
    pb_config_close(config);
    return ds;
}

static void every_builder_has_a_name_and_one_source_of_rows(void **state)
{
    const pb_dataset_builder *const *all = pb_dataset_registry();

    (void)state;
    for (size_t b = 0; all[b] != NULL; b++) {
        assert_true(*all[b]->name != '\0');
        assert_non_null(all[b]->open);
        assert_non_null(all[b]->close);
        assert_true((all[b]->build != NULL) != (all[b]->generate != NULL));
        all[b]->close(NULL);
        for (size_t k = 0; k < b; k++) {
            assert_string_not_equal(all[b]->name, all[k]->name);
        }
    }
}

static void assert_same(const test_samples *x, const test_samples *y, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        assert_string_equal(x->items[i].user, y->items[i].user);
        assert_string_equal(x->items[i].answer, y->items[i].answer);
        assert_int_equal(strncmp(x->items[i].user, "Q\n", 2), 0);
        assert_ptr_equal(x->items[i].body, x->items[i].user + 2);
        assert_true(strcmp(x->items[i].answer, "yes") == 0 ||
                    strcmp(x->items[i].answer, "no") == 0);
        assert_int_equal(x->items[i].row, i);
        assert_int_equal(x->items[i].line, i + 1);
    }
}

static void every_builder_gives_the_same_texts_each_time(void **state)
{
    const pb_dataset_builder *const *all = pb_dataset_registry();

    (void)state;
    write_rows(64);
    for (size_t b = 0; all[b] != NULL; b++) {
        for (int split = 0; split < PB_SPLIT_COUNT; split++) {
            test_samples one = {0}, four = {0}, few = {0};
            pb_dataset *whole = open_with(all[b], PB_PROTOCOL_PAPER, 0);
            pb_dataset *part  = open_with(all[b], PB_PROTOCOL_PAPER, 2);
            assert_ok(test_samples_read(whole, (pb_split)split, 1, &one));
            assert_ok(test_samples_read(whole, (pb_split)split, 4, &four));
            assert_ok(test_samples_read(part, (pb_split)split, 1, &few));
            assert_true(one.count >= 16);
            assert_int_equal(four.count, one.count);
            assert_int_equal(few.count, 2);
            assert_int_equal(strlen(one.sha), 64);
            assert_string_equal(one.sha, four.sha);
            assert_same(&one, &four, one.count);
            assert_same(&one, &few, 2);
            test_samples_clear(&one);
            test_samples_clear(&four);
            test_samples_clear(&few);
            pb_dataset_close(whole);
            pb_dataset_close(part);
        }
        assert_int_equal(pb_memory_current(), 0);
    }
}

/* Each column in turn absent, null, and of the types that it is not. */
static void every_builder_names_the_column_that_is_not_as_declared(void **state)
{
    static const char *const values[]    = {"null", "1.5", "true", "{}", "[1]", "[null]", "[[]]"};
    const pb_dataset_builder *const *all = pb_dataset_registry();

    (void)state;
    for (size_t b = 0; all[b] != NULL; b++) {
        for (int p = 0; all[b]->build != NULL && p < 2; p++) {
            pb_dataset *ds     = open_with(all[b], (pb_protocol)p, 0);
            pb_row_texts texts = {0};
            for (size_t c = 0; c < COLUMNS; c++) {
                char name[32];
                json_t *row = make_row(0);
                (void)snprintf(name, sizeof name, "column \"%s\"", columns[c]);
                assert_int_equal(json_object_del(row, columns[c]), 0);
                assert_error(pb_dataset_build(ds, PB_SPLIT_TEST, row, &texts), PB_ERR_FORMAT, name);
                for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
                    json_t *value = json_loads(values[v], JSON_DECODE_ANY, NULL);
                    assert_int_equal(json_object_set_new(row, columns[c], value), 0);
                    assert_error(pb_dataset_build(ds, PB_SPLIT_TEST, row, &texts), PB_ERR_FORMAT,
                                 name);
                }
                json_decref(row);
            }
            json_t *list = json_array();
            assert_error(pb_dataset_build(ds, PB_SPLIT_TEST, list, &texts), PB_ERR_FORMAT,
                         "is missing");
            json_decref(list);
            pb_row_texts_clear(&texts);
            pb_dataset_close(ds);
        }
    }
    assert_int_equal(pb_memory_current(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_builder_has_a_name_and_one_source_of_rows),
        cmocka_unit_test(every_builder_gives_the_same_texts_each_time),
        cmocka_unit_test(every_builder_names_the_column_that_is_not_as_declared),
    };
    (void)snprintf(path, sizeof path, "/tmp/pb-builders-XXXXXX");
    int file = mkstemp(path);
    if (file < 0) {
        return 1;
    }
    (void)close(file);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)unlink(path);
    return failed;
}
