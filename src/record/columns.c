// SPDX-License-Identifier: Apache-2.0
/* Lists of rows as groups of columns: one dataset per member of a row. */
#include "nexus.h"
#include "text.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* One column of rows, gathered; texts are copies in valid UTF-8. */
static pb_status gather(const record_list *list, const record_field *column, const char *rows,
                        int64_t count, void **out, int64_t *escaped)
{
    size_t size      = hdf_kind_size(column->kind);
    char *values     = pb_memory_new((size_t)count + 1, size);
    pb_status status = values != NULL ? PB_OK : PB_ERR_MEMORY;

    for (int64_t i = 0; status == PB_OK && i < count; i++) {
        const char *row = rows + (size_t)i * list->row_size;
        if (column->kind == RECORD_TEXT) {
            status = text_utf8(record_text(row, column), (char **)values + i, escaped);
        } else {
            memcpy(values + (size_t)i * size, row + column->offset, size);
        }
    }
    if (status != PB_OK) {
        if (column->kind == RECORD_TEXT) {
            pb_memory_free_texts((char **)values, (size_t)count);
        } else {
            pb_memory_free(values);
        }
        return status;
    }
    *out = values;
    return PB_OK;
}

/* Column `c`; the first one becomes the scale of the others. */
static pb_status write_column(hid_t group, const record_list *list, int c, const void *rows,
                              int64_t count, hid_t *scale, int64_t *escaped)
{
    const record_field *column = &list->columns[c];
    const char *axis           = list->columns[0].name;
    void *values               = NULL;
    hid_t dataset              = -1;
    pb_status status           = PB_OK;

    PB_TRY(gather(list, column, rows, count, &values, escaped));
    hdf_array array = {.name      = column->name,
                       .units     = column->units,
                       .long_name = column->long_name,
                       .kind      = column->kind,
                       .rank      = 1,
                       .shape     = {(hsize_t)count},
                       .values    = values};
    PB_TRY_GOTO(status, hdf_array_write(group, &array, c == 0 ? scale : &dataset), out);
    PB_TRY_GOTO(status,
                c == 0 ? hdf_scale_make(*scale, axis) : hdf_scale_attach(dataset, *scale, 0, axis),
                out);
out:
    hdf_release(&dataset);
    if (column->kind == RECORD_TEXT) {
        pb_memory_free_texts(values, (size_t)count);
    } else {
        pb_memory_free(values);
    }
    return status;
}

pb_status hdf_list_write(hid_t parent, const record_list *list, const void *rows, int64_t count,
                         int64_t *escaped)
{
    hid_t group      = -1;
    hid_t scale      = -1;
    pb_status status = PB_OK;

    PB_TRY_GOTO(status, hdf_group_create(parent, list->name, &group), out);
    PB_TRY_GOTO(status, hdf_put_text(group, "long_name", list->long_name, NULL), out);
    for (int c = 0; c < list->columns_count; c++) {
        PB_TRY_GOTO(status, write_column(group, list, c, rows, count, &scale, escaped), out);
    }
    if (list->signal != NULL && count > 0) {
        nexus_plot plot = {.signal = list->signal, .rank = 1, .axes = {list->columns[0].name}};
        PB_TRY_GOTO(status, nexus_data(group, &plot), out);
    }
out:
    hdf_release(&scale);
    hdf_release(&group);
    return pb_error_prefix(status, "group \"%s\"", list->name);
}

/* Reads one column into the rows. */
static pb_status scatter(hid_t dataset, const record_list *list, const record_field *column,
                         hsize_t count, char *rows)
{
    size_t size  = hdf_kind_size(column->kind);
    char *values = NULL;

    if (column->kind == RECORD_TEXT) {
        return hdf_column_texts(dataset, count, rows + column->offset, list->row_size);
    }
    values = pb_memory_new((size_t)count + 1, size);
    if (values == NULL) {
        return PB_ERR_MEMORY;
    }
    pb_status status = hdf_column_numbers(dataset, column->kind, count, values);
    for (hsize_t i = 0; status == PB_OK && i < count; i++) {
        memcpy(rows + i * list->row_size + column->offset, values + i * size, size);
    }
    pb_memory_free(values);
    return status;
}

/* A column that the program that wrote the file did not know. */
static void fill_unknown(const record_list *list, const record_field *column, hsize_t count,
                         char *rows)
{
    const double number = NAN;
    const int64_t whole = -1;
    const void *unknown = column->kind == RECORD_F64 ? (const void *)&number : &whole;

    for (hsize_t i = 0; i < count; i++) {
        memcpy(rows + i * list->row_size + column->offset, unknown, hdf_kind_size(column->kind));
    }
}

static void free_rows(const record_list *list, char *rows, hsize_t count)
{
    for (int c = 0; rows != NULL && c < list->columns_count; c++) {
        for (hsize_t i = 0; list->columns[c].kind == RECORD_TEXT && i < count; i++) {
            pb_memory_free(*record_text_slot(rows + i * list->row_size, &list->columns[c]));
        }
    }
    pb_memory_free(rows);
}

pb_status hdf_list_read(hid_t parent, const record_list *list, void **out, int64_t *out_count)
{
    hid_t group      = -1;
    hid_t dataset    = -1;
    char *rows       = NULL;
    hsize_t count    = 0;
    pb_status status = PB_OK;

    PB_TRY_GOTO(status, hdf_group_open(parent, list->name, &group), out);
    for (int c = 0; c < list->columns_count; c++) {
        const record_field *column = &list->columns[c];
        hsize_t length             = 0;

        if (c >= list->columns_count - list->added && !hdf_has(group, column->name)) {
            fill_unknown(list, column, count, rows);
            continue;
        }
        PB_TRY_GOTO(status, hdf_column_open(group, column->name, column->kind, &dataset, &length),
                    out);
        if (c == 0 && length > 0) {
            count = length;
            rows  = pb_memory_new(length, list->row_size);
            if (rows == NULL) {
                status = PB_ERR_MEMORY;
                goto out;
            }
        } else if (length != count) {
            status = PB_FAIL(PB_ERR_FORMAT, "dataset \"%s\" has %" PRIu64 " rows, not %" PRIu64,
                             column->name, (uint64_t)length, (uint64_t)count);
            goto out;
        }
        PB_TRY_GOTO(status, scatter(dataset, list, column, count, rows), out);
        hdf_release(&dataset);
    }
out:
    hdf_release(&dataset);
    hdf_release(&group);
    if (status != PB_OK) {
        free_rows(list, rows, count);
        return pb_error_prefix(status, "group \"%s\"", list->name);
    }
    *out       = rows;
    *out_count = (int64_t)count;
    return PB_OK;
}
