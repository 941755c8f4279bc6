// SPDX-License-Identifier: Apache-2.0
/* Guarantees of every registered builder: one source of rows, the same texts each time and from
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

enum { COLUMNS = 32 };

/* The columns of every row, followed by those that a builder needs. */
static const char *const common[] = {"text:string", "count:int", "list:strings", "label:label",
                                     NULL};

enum { COMMON = sizeof common / sizeof *common - 1 };

static bool is_common(const char *column)
{
    size_t i = 0;

    while (i < COMMON && strcmp(common[i], column) != 0) {
        i++;
    }
    return i < COMMON;
}

/* All columns of a builder's rows. */
static size_t columns_of(const pb_dataset_builder *builder, const char *columns[COLUMNS])
{
    size_t count = COMMON;

    memcpy(columns, common, COMMON * sizeof *common);
    for (size_t i = 0; builder->columns != NULL && builder->columns[i] != NULL; i++) {
        assert_true(count < COLUMNS);
        if (!is_common(builder->columns[i])) {
            columns[count++] = builder->columns[i];
        }
    }
    return count;
}

/* "name" of "name:type", in a static buffer. */
static const char *name_of(const char *column)
{
    static char name[64];

    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(column, ":"), column);
    return name;
}

static json_t *value_of(const char *column, int64_t index)
{
    static const char *const texts[] = {"Ann saw that she won.", "Bob (she said) lost.",
                                        "One.\n@highlight\nC++ won"};
    const char *type                 = strchr(column, ':') + 1;

    if (strcmp(type, "string") == 0) {
        return json_string(texts[index % 3]);
    }
    if (strcmp(type, "strings") == 0) {
        return json_pack("[ss]", "One", "Two");
    }
    return json_integer(index % 2);
}

static json_t *make_row(const pb_dataset_builder *builder, int64_t index)
{
    const char *columns[COLUMNS];
    size_t count = columns_of(builder, columns);
    json_t *row  = json_object();

    for (size_t c = 0; c < count; c++) {
        json_t *value = value_of(columns[c], index);
        assert_int_equal(json_object_set_new(row, name_of(columns[c]), value), 0);
    }
    return row;
}

static void write_rows(const pb_dataset_builder *builder, int64_t count)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    for (int64_t i = 0; i < count; i++) {
        json_t *row = make_row(builder, i);
        assert_int_equal(json_dumpf(row, file, JSON_COMPACT), 0);
        (void)fputc('\n', file);
        json_decref(row);
    }
    assert_int_equal(fclose(file), 0);
}

/* With all columns except number `left_out`. */
static pb_status try_open(const pb_dataset_builder *builder, pb_protocol protocol, int64_t rows,
                          size_t left_out, pb_dataset **out)
{
    pb_data_options data = {.train_rows = rows, .test_rows = rows};
    pb_config *config    = NULL;
    const char *columns[COLUMNS];
    size_t count = columns_of(builder, columns);
    char list[1024], text[2048];

    list[0] = '\0';
    for (size_t c = 0; c < count; c++) {
        if (c != left_out) {
            size_t used = strlen(list);
            (void)snprintf(list + used, sizeof list - used, "%s\"%s\"", used > 0 ? ", " : "",
                           columns[c]);
        }
    }
    (void)snprintf(text, sizeof text,
                   "dataset = { name = \"c\"; builder = \"%s\"; train_file = \"%s\"; test_file = "
                   "\"%s\"; columns = [%s]; labels = [\"yes\", \"no\"]; instruction = "
                   "\"Q\"; lines = [\"{text} {list:join}\"]; };",
                   builder->name, path, path, list);
    assert_ok(pb_config_parse(text, "c.cfg", &config));
    pb_status status = pb_dataset_open(config, "dataset", protocol, &data, out);
    pb_config_close(config);
    return status;
}

static pb_dataset *open_with(const pb_dataset_builder *builder, pb_protocol protocol, int64_t rows)
{
    pb_dataset *ds = NULL;

    assert_ok(try_open(builder, protocol, rows, COLUMNS, &ds));
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
    for (size_t b = 0; all[b] != NULL; b++) {
        write_rows(all[b], 64);
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

/* Each column in turn absent, null, and of every wrong type. */
static void every_builder_names_the_column_that_is_not_as_declared(void **state)
{
    static const char *const values[]    = {"null", "1.5", "true", "{}", "[1]", "[null]", "[[]]"};
    const pb_dataset_builder *const *all = pb_dataset_registry();

    (void)state;
    for (size_t b = 0; all[b] != NULL; b++) {
        const char *columns[COLUMNS];
        size_t count = columns_of(all[b], columns);
        for (int p = 0; all[b]->build != NULL && p < 2; p++) {
            pb_dataset *ds     = open_with(all[b], (pb_protocol)p, 0);
            pb_row_texts texts = {0};
            for (size_t c = 0; c < count; c++) {
                char name[80];
                json_t *row = make_row(all[b], 0);
                (void)snprintf(name, sizeof name, "column \"%s\"", name_of(columns[c]));
                assert_int_equal(json_object_del(row, name_of(columns[c])), 0);
                assert_error(pb_dataset_build(ds, PB_SPLIT_TEST, row, &texts), PB_ERR_FORMAT, name);
                for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
                    json_t *value = json_loads(values[v], JSON_DECODE_ANY, NULL);
                    assert_int_equal(json_object_set_new(row, name_of(columns[c]), value), 0);
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

static void every_builder_names_the_column_that_is_not_declared(void **state)
{
    const pb_dataset_builder *const *all = pb_dataset_registry();

    (void)state;
    for (size_t b = 0; all[b] != NULL; b++) {
        const char *columns[COLUMNS];
        size_t count = columns_of(all[b], columns);
        for (size_t c = COMMON; c < count; c++) {
            pb_dataset *ds = NULL;
            char expected[128];
            (void)snprintf(expected, sizeof expected, "builder %s needs \"%s\"", all[b]->name,
                           columns[c]);
            assert_error(try_open(all[b], PB_PROTOCOL_PAPER, 0, c, &ds), PB_ERR_CONFIG, expected);
            assert_null(ds);
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
        cmocka_unit_test(every_builder_names_the_column_that_is_not_declared),
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
