// SPDX-License-Identifier: Apache-2.0
/* Reading goes through a window: records across its border are whole, memory does not grow with the
 * file, threads parse at the same time, hashes cover the file as stored. */
#include "fixture.h"
#include "pack.h"
#include "reader.h"

#include "pb/hash.h"
#include "pb/memory.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 60000, KIB = 1 << 10, MIB = 1 << 20 };

/* The text of row `i`, of some hundred characters at most; special ones in every form. */
static void put_text(int i, pb_string *out)
{
    static const char *const pieces[] = {"word ", "\xC3\xA9", "\"", ",", "\\",
                                         "\n",    "}]",       "\t", "'"};

    assert_ok(pb_string_printf(out, "%d", i));
    for (int k = 0; k < i % 97; k++) {
        assert_ok(pb_string_puts(out, pieces[(i + k * k) % 9]));
    }
}

/* Characters that `format` cannot represent become spaces. */
static void put_row(dataset_format format, int i, const char *text, size_t length, pb_string *out)
{
    char separator = format == FORMAT_CSV ? ',' : '\t';

    if (format == FORMAT_JSON || format == FORMAT_JSONL) {
        assert_ok(pb_string_puts(out, format == FORMAT_JSON ? (i == 0 ? "[" : ",\n ") : ""));
        assert_ok(pb_string_puts(out, "{\"s\": "));
        assert_ok(pb_string_json(out, text, length));
        assert_ok(pb_string_printf(out, ", \"n\": \"%d\"}%s", i,
                                   format == FORMAT_JSONL ? "\n"
                                   : i == ROWS - 1        ? "]\n"
                                                          : ""));
        return;
    }
    assert_ok(pb_string_printf(out, "%s%d%c", i == 0 ? (separator == ',' ? "n,s\n" : "n\ts\n") : "",
                               i, separator));
    if (format == FORMAT_TSV) {
        assert_ok(pb_string_append(out, text, length));
    } else {
        assert_ok(pb_string_puts(out, "\""));
        for (size_t k = 0; k < length; k++) {
            assert_ok(
                pb_string_append(out, text[k] == '"' ? "\"\"" : &text[k], text[k] == '"' ? 2 : 1));
        }
        assert_ok(pb_string_puts(out, "\""));
    }
    assert_ok(pb_string_puts(out, i % 2 == 0 ? "\n" : "\r\n"));
}

static void row_text(dataset_format format, int i, pb_string *out)
{
    out->length = 0;
    put_text(i, out);
    for (size_t k = 0; format == FORMAT_TSV && k < out->length; k++) {
        out->data[k] = strchr("\t\n", out->data[k]) != NULL ? ' ' : out->data[k];
    }
}

static void build_file(dataset_format format, pb_string *out)
{
    pb_string text = {0};

    for (int i = 0; i < ROWS; i++) {
        row_text(format, i, &text);
        put_row(format, i, text.data, text.length, out);
    }
    pb_string_clear(&text);
}

/* All rows are there, whole, and in order, at their lines. */
static void assert_rows(dataset_format format, const char *path, const pb_string *plain)
{
    dataset_reader *reader = NULL;
    pb_string record       = {0};
    pb_string text         = {0};
    int64_t line           = 0;
    int64_t expected       = format >= FORMAT_CSV ? 2 : 1;
    bool has               = true;
    char number[16];

    assert_ok(reader_open(path, format, NULL, &reader));
    for (int i = 0; i < ROWS; i++) {
        json_t *row   = NULL;
        record.length = 0;
        assert_ok(reader_next(reader, &record, &line, &has));
        assert_true(has);
        assert_int_equal(line, expected);
        assert_ok(reader_parse(reader, record.data, record.length, &row));
        row_text(format, i, &text);
        assert_string_equal(json_string_value(json_object_get(row, "s")), text.data);
        (void)snprintf(number, sizeof number, "%d", i);
        assert_string_equal(json_string_value(json_object_get(row, "n")), number);
        assert_int_equal(json_object_size(row), 2);
        json_decref(row);
        expected++;
        for (size_t k = 0; format >= FORMAT_CSV && k < text.length; k++) {
            expected += text.data[k] == '\n';
        }
    }
    assert_ok(reader_next(reader, &record, &line, &has));
    assert_false(has);
    assert_true(plain->length > 4 * MIB); /* several windows */
    assert_int_equal(reader_is_text(reader), format >= FORMAT_CSV);
    reader_close(reader);
    pb_string_clear(&record);
    pb_string_clear(&text);
}

static void records_across_windows_are_whole_in_every_form(void **state)
{
    static const struct {
        const char *name;
        dataset_format format;
    } files[] = {{"a.jsonl", FORMAT_JSONL},
                 {"a.json", FORMAT_JSON},
                 {"a.csv", FORMAT_CSV},
                 {"a.tsv", FORMAT_TSV},
                 {"a.txt", FORMAT_TSV_QUOTED}};

    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        pb_string plain  = {0};
        pb_string packed = {0};
        build_file(files[i].format, &plain);
        fixture_write(files[i].name, plain.data, plain.length);
        assert_rows(files[i].format, fixture_path(files[i].name), &plain);
        if (pack_gzip(plain.data, plain.length, &packed)) {
            fixture_write("packed", packed.data, packed.length);
            assert_rows(files[i].format, fixture_path("packed"), &plain);
        }
        packed.length = 0;
        if (pack_zstd(plain.data, plain.length, &packed)) {
            fixture_write("packed", packed.data, packed.length);
            assert_rows(files[i].format, fixture_path("packed"), &plain);
        }
        pb_string_clear(&plain);
        pb_string_clear(&packed);
    }
}

/* A file of 24 MiB needs only the window and the current record. */
static void memory_does_not_grow_with_the_file(void **state)
{
    pb_string plain        = {0};
    pb_string record       = {0};
    dataset_reader *reader = NULL;
    int64_t line           = 0;
    bool has               = true;
    int64_t count          = 0;

    (void)state;
    while (plain.length < 24 * MIB) {
        assert_ok(pb_string_printf(&plain, "{\"s\":\"%200d\"}\n", (int)count++));
    }
    fixture_write("a.jsonl", plain.data, plain.length);
    pb_string_clear(&plain);
    size_t before = pb_memory_current();
    pb_memory_peak_reset();
    assert_ok(reader_open(fixture_path("a.jsonl"), FORMAT_AUTO, NULL, &reader));
    for (; has; count--) {
        record.length = 0;
        assert_ok(reader_next(reader, &record, &line, &has));
    }
    assert_int_equal(count, -1);
    assert_true(pb_memory_peak() - before < MIB + 64 * KIB);
    reader_close(reader);
    pb_string_clear(&record);
}

static void names_choose_the_form(void **state)
{
    static const struct {
        const char *name, *bytes, *row;
    } files[] = {
        {"a.jsonl", "{\"s\":1}", "{\"s\":1}"},
        {"a.JSONL", "{\"s\":1}", "{\"s\":1}"},
        {"a.json", "{\"s\":1}", "{\"s\":1}"},
        {"a.json", "[{\"s\":1}]", "{\"s\":1}"},
        {"a.csv", "s,t\n1,\"2\"", "{\"s\":\"1\",\"t\":\"2\"}"},
        {"a.tsv", "s\tt\n1\t\"2", "{\"s\":\"1\",\"t\":\"\\\"2\"}"},
        {"a.csv.gz", "s\n1", "{\"s\":\"1\"}"},
        {"a.tsv.zst", "s\n1", "{\"s\":\"1\"}"},
        {"rows", " \n[{\"s\":1}]", "{\"s\":1}"},
        {"rows.txt", "{\"s\":1}", "{\"s\":1}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        dataset_reader *reader = NULL;
        pb_string record       = {0};
        json_t *row            = NULL;
        int64_t line           = 0;
        bool has               = false;
        fixture_write(files[i].name, files[i].bytes, strlen(files[i].bytes));
        assert_ok(reader_open(fixture_path(files[i].name), FORMAT_AUTO, NULL, &reader));
        assert_ok(reader_next(reader, &record, &line, &has));
        assert_ok(reader_parse(reader, record.data, record.length, &row));
        char *text = json_dumps(row, JSON_COMPACT);
        assert_string_equal(text, files[i].row);
        free(text);
        json_decref(row);
        pb_string_clear(&record);
        reader_close(reader);
    }
}

static void hash_covers_the_file_as_stored_once_it_is_read(void **state)
{
    static const char rows[] = "{\"s\":1}\n{\"s\":2}\n";
    pb_string bytes          = {0};
    pb_string record         = {0};
    dataset_reader *reader   = NULL;
    int64_t line             = 0;
    bool has                 = false;
    char sha[PB_HASH_TEXT];

    (void)state;
    for (int i = 0; i < 200000; i++) {
        assert_ok(pb_string_append(&bytes, rows, sizeof rows - 1));
    }
    fixture_write("a.jsonl", bytes.data, bytes.length);
    assert_ok(pb_hash_bytes(bytes.data, bytes.length, sha));
    assert_ok(reader_open(fixture_path("a.jsonl"), FORMAT_AUTO, NULL, &reader));
    assert_ok(reader_next(reader, &record, &line, &has));
    assert_string_equal(reader_sha(reader), "");
    assert_int_equal(reader_bytes(reader), MIB);
    assert_ok(reader_finish(reader));
    assert_string_equal(reader_sha(reader), sha);
    assert_int_equal(reader_bytes(reader), bytes.length);
    assert_ok(reader_next(reader, &record, &line, &has));
    assert_false(has);
    reader_close(reader);
    pb_string_clear(&record);

    record.length   = 0;
    pb_string small = {0};
    if (pack_gzip(rows, sizeof rows - 1, &small)) {
        fixture_write("a.jsonl.gz", small.data, small.length);
        assert_ok(pb_hash_bytes(small.data, small.length, sha));
        assert_ok(reader_open(fixture_path("a.jsonl.gz"), FORMAT_AUTO, NULL, &reader));
        for (has = true; has;) {
            assert_ok(reader_next(reader, &record, &line, &has));
        }
        assert_string_equal(reader_sha(reader), sha);
        assert_int_equal(reader_bytes(reader), small.length);
        reader_close(reader);
    }
    pb_string_clear(&small);
    pb_string_clear(&record);
    pb_string_clear(&bytes);
}

typedef struct worker {
    pthread_t thread;
    const dataset_reader *reader;
    int64_t parsed;
} worker;

enum { WORKERS = 4, PARSES = 2000 };

static void *parse_many(void *argument)
{
    worker *w = argument;

    for (int i = 0; i < PARSES; i++) {
        char text[64];
        json_t *row = NULL;
        (void)snprintf(text, sizeof text, "%d,\"a \"\"b\"\"\"", i);
        if (reader_parse(w->reader, text, strlen(text), &row) == PB_OK) {
            w->parsed += strcmp(json_string_value(json_object_get(row, "t")), "a \"b\"") == 0;
            json_decref(row);
        }
        if (reader_parse(w->reader, "1", 1, &row) == PB_ERR_FORMAT &&
            strstr(pb_error_message(), "1 fields") != NULL) {
            w->parsed++;
        }
    }
    return NULL;
}

static void threads_parse_while_another_reads(void **state)
{
    pb_string plain         = {0};
    pb_string record        = {0};
    dataset_reader *reader  = NULL;
    int64_t line            = 0;
    bool has                = true;
    worker workers[WORKERS] = {0};

    (void)state;
    assert_ok(pb_string_puts(&plain, "s,t\n"));
    for (int i = 0; i < 100000; i++) {
        assert_ok(pb_string_printf(&plain, "%d,\"a row of text\"\n", i));
    }
    fixture_write("a.csv", plain.data, plain.length);
    assert_ok(reader_open(fixture_path("a.csv"), FORMAT_AUTO, NULL, &reader));
    for (int i = 0; i < WORKERS; i++) {
        workers[i].reader = reader;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, parse_many, &workers[i]), 0);
    }
    while (has) {
        record.length = 0;
        assert_ok(reader_next(reader, &record, &line, &has));
    }
    for (int i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        assert_int_equal(workers[i].parsed, 2 * PARSES);
    }
    reader_close(reader);
    pb_string_clear(&record);
    pb_string_clear(&plain);
}

static void records_are_appended(void **state)
{
    static const char rows[] = "{\"s\":1}\n\n{\n{\"s\":2}";
    dataset_reader *reader   = NULL;
    pb_string out            = {0};
    int64_t line             = 0;
    bool has                 = false;

    (void)state;
    fixture_write("a.jsonl", rows, sizeof rows - 1);
    assert_ok(pb_string_puts(&out, "before "));
    assert_ok(reader_open(fixture_path("a.jsonl"), FORMAT_AUTO, NULL, &reader));
    for (has = true; has;) {
        assert_ok(reader_next(reader, &out, &line, &has));
    }
    assert_string_equal(out.data, "before {\"s\":1}{{\"s\":2}");
    assert_int_equal(out.length, strlen(out.data));
    reader_close(reader);
    pb_string_clear(&out);
}

static void memory_that_cannot_be_had_is_an_error(void **state)
{
    const char *const names[] = {"a.csv", "a.gz", "a.zst"};
    pb_string plain           = {0};
    pb_string gzip            = {0};
    pb_string zstd            = {0};

    (void)state;
    assert_ok(pb_string_puts(&plain, "s,t\n\"a\",b\n"));
    fixture_write("a.csv", plain.data, plain.length);
    bool has_gzip = pack_gzip("{\"s\":1}", 7, &gzip);
    bool has_zstd = pack_zstd("{\"s\":1}", 7, &zstd);
    fixture_write("a.gz", has_gzip ? gzip.data : "{}", has_gzip ? gzip.length : 2);
    fixture_write("a.zst", has_zstd ? zstd.data : "{}", has_zstd ? zstd.length : 2);
    pb_string_clear(&plain);
    pb_string_clear(&gzip);
    pb_string_clear(&zstd);
    for (int i = 0; i < 3; i++) {
        int failures  = 0;
        size_t before = pb_memory_current();
        for (size_t limit = 64; limit < 2 * MIB; limit += limit < 12 * KIB ? 64 : 16 * KIB) {
            dataset_reader *reader = NULL;
            pb_string record       = {0};
            int64_t line           = 0;
            bool has               = false;
            pb_memory_limit(before + limit);
            pb_status status = reader_open(fixture_path(names[i]), FORMAT_AUTO, NULL, &reader);
            status           = status == PB_OK ? reader_next(reader, &record, &line, &has) : status;
            pb_memory_limit(0);
            if (status != PB_OK) {
                assert_int_equal(status, PB_ERR_MEMORY);
                failures++;
            }
            reader_close(reader);
            pb_string_clear(&record);
            assert_int_equal(pb_memory_current(), before);
        }
        assert_in_range(failures, 10, 300);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_across_windows_are_whole_in_every_form),
        cmocka_unit_test(memory_does_not_grow_with_the_file),
        cmocka_unit_test(names_choose_the_form),
        cmocka_unit_test(hash_covers_the_file_as_stored_once_it_is_read),
        cmocka_unit_test(threads_parse_while_another_reads),
        cmocka_unit_test(records_are_appended),
        cmocka_unit_test(memory_that_cannot_be_had_is_an_error),
    };
    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
