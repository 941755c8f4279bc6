// SPDX-License-Identifier: Apache-2.0
#include "hostile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Adds the outcome of one file; the first message goes to `message`. */
static void read_all(dataset_reader *reader, const char *file, pb_string *rows, pb_string *shape,
                     pb_string *message)
{
    pb_string record = {0};
    int64_t line     = 0;
    bool has         = true;
    char place[64];

    for (;;) {
        json_t *row      = NULL;
        record.length    = 0;
        pb_status status = reader_next(reader, &record, &line, &has);
        bool is_cut      = status == PB_OK;
        if (is_cut && !has) {
            break;
        }
        (void)snprintf(place, sizeof place, "%s:%d: ", file, (int)line);
        if (is_cut) {
            status = reader_parse(reader, record.data, record.length, &row);
        } else {
            assert_int_equal(record.length, 0);
            assert_non_null(strstr(pb_error_message(), place));
        }
        if (status == PB_OK) {
            char *text = json_dumps(row, JSON_COMPACT);
            assert_ok(pb_string_puts(rows, text));
            assert_ok(pb_string_puts(shape, "."));
            free(text);
            json_decref(row);
            continue;
        }
        if (message->length == 0) {
            assert_ok(pb_string_puts(message, is_cut ? place : ""));
            assert_ok(pb_string_puts(message, pb_error_message()));
        }
        assert_ok(pb_string_puts(rows, status == PB_ERR_FORMAT ? "!" : "#"));
        assert_ok(pb_string_puts(shape, status == PB_ERR_FORMAT ? "!" : "#"));
        if (status != PB_ERR_FORMAT) {
            assert_int_equal(status, PB_ERR_IO);
            /* It stays so. */
            assert_int_equal(reader_next(reader, &record, &line, &has), PB_ERR_IO);
            break;
        }
    }
    pb_string_clear(&record);
}

void hostile_check_as(const hostile_case *c, dataset_format format)
{
    pb_string rows         = {0};
    pb_string shape        = {0};
    pb_string message      = {0};
    dataset_reader *reader = NULL;
    bool is_shape          = *c->outcome != '\0' && strspn(c->outcome, ".!#") == strlen(c->outcome);

    fixture_write(c->file, c->bytes, c->size);
    pb_status status = reader_open(fixture_path(c->file), format, NULL, &reader);
    if (status != PB_OK) {
        assert_null(reader);
        assert_ok(pb_string_puts(&message, pb_error_message()));
        assert_ok(pb_string_puts(&rows, "open"));
        if (strstr(pb_error_message(), c->file) == NULL) {
            fail_msg("%s: no file name in \"%s\"", c->name, pb_error_message());
        }
    } else {
        assert_ok(pb_string_puts(&rows, ""));
        assert_ok(pb_string_puts(&shape, ""));
        read_all(reader, c->file, &rows, &shape, &message);
        reader_close(reader);
    }
    const char *got = status == PB_OK && is_shape ? shape.data : rows.data;
    if (strcmp(got, c->outcome) != 0) {
        fail_msg("%s (%s): outcome %.300s, expected %s; message: %s", c->name, c->file, got,
                 c->outcome, message.data != NULL ? message.data : "");
    }
    if ((c->part == NULL) != (message.length == 0)) {
        fail_msg("%s (%s): message \"%s\"", c->name, c->file,
                 message.data != NULL ? message.data : "");
    }
    if (c->part != NULL && strstr(message.data, c->part) == NULL) {
        fail_msg("%s (%s): \"%s\" lacks \"%s\"", c->name, c->file, message.data, c->part);
    }
    pb_string_clear(&rows);
    pb_string_clear(&shape);
    pb_string_clear(&message);
    pb_error_clear();
}

void hostile_check(const hostile_case *c)
{
    hostile_check_as(c, FORMAT_AUTO);
}
