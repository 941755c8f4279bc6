// SPDX-License-Identifier: Apache-2.0
/* What differs between two records of one cell, among all that the digest covers. */
#include "tables.h"

#include "pb/results.h"
#include "pb/statistics.h"

#include <math.h>
#include <string.h>

typedef struct comparison {
    pb_record_differs differs;
    void *context;
} comparison;

static bool is_same(const void *a, const void *b, const record_field *field)
{
    if (field->kind == RECORD_TEXT) {
        return strcmp(record_text(a, field), record_text(b, field)) == 0;
    }
    if (field->kind != RECORD_F64) {
        return record_i64(a, field) == record_i64(b, field);
    }
    double x = record_f64(a, field), y = record_f64(b, field);
    return (isnan(x) && isnan(y)) || memcmp(&x, &y, sizeof x) == 0;
}

static double number(const void *object, const record_field *field)
{
    return field->kind == RECORD_F64 ? record_f64(object, field)
                                     : (double)record_i64(object, field);
}

/* Adds a pair of values to the difference; the first one is shown. */
static void note(const void *a, const void *b, const record_field *field, int64_t row,
                 pb_record_difference *d)
{
    bool is_text = field->kind == RECORD_TEXT;
    if (d->count++ == 0) {
        d->first = row;
        d->a     = is_text ? (double)NAN : number(a, field);
        d->b     = is_text ? (double)NAN : number(b, field);
        if (is_text) {
            d->text_a = record_text(a, field);
            d->text_b = record_text(b, field);
        }
    }
    if (!is_text) {
        d->largest = fmax(d->largest, pb_statistics_relative(number(a, field), number(b, field)));
    }
}

static pb_status compare_one(const comparison *c, const pb_record *a, const pb_record *b,
                             const record_field *field)
{
    pb_record_difference d = {.name = field->name, .of = 1};
    if (!field->digest || is_same(a, b, field)) {
        return PB_OK;
    }
    note(a, b, field, 0, &d);
    return c->differs(c->context, &d);
}

static pb_status compare_column(const comparison *c, const pb_record *a, const pb_record *b,
                                const record_list *list, const record_field *column)
{
    const char *x          = record_list_rows_of(a, list);
    const char *y          = record_list_rows_of(b, list);
    int64_t count          = record_list_count_of(a, list);
    int64_t other          = record_list_count_of(b, list);
    pb_record_difference d = {
        .list = list->name, .name = column->name, .of = count < other ? count : other};
    for (int64_t i = 0; i < d.of && column->digest; i++) {
        const char *u = x + (size_t)i * list->row_size;
        const char *v = y + (size_t)i * list->row_size;
        if (!is_same(u, v, column)) {
            note(u, v, column, i, &d);
        }
    }
    return d.count > 0 ? c->differs(c->context, &d) : PB_OK;
}

static pb_status compare_list(const comparison *c, const pb_record *a, const pb_record *b,
                              const record_list *list)
{
    int64_t count = record_list_count_of(a, list);
    int64_t other = record_list_count_of(b, list);
    bool digest   = false;
    for (int i = 0; i < list->columns_count; i++) {
        digest = digest || list->columns[i].digest;
        PB_TRY(compare_column(c, a, b, list, &list->columns[i]));
    }
    pb_record_difference d = {.list    = list->name,
                              .name    = "rows",
                              .of      = 1,
                              .count   = 1,
                              .a       = (double)count,
                              .b       = (double)other,
                              .largest = pb_statistics_relative((double)count, (double)other)};
    return digest && count != other ? c->differs(c->context, &d) : PB_OK;
}

pb_status pb_record_compare(const pb_record *a, const pb_record *b, pb_record_differs differs,
                            void *context)
{
    const comparison c     = {differs, context};
    pb_record_difference d = {.name   = "status",
                              .of     = 1,
                              .count  = 1,
                              .a      = (double)NAN,
                              .b      = (double)NAN,
                              .text_a = pb_record_state(a),
                              .text_b = pb_record_state(b)};
    if (strcmp(d.text_a, d.text_b) != 0) {
        PB_TRY(differs(context, &d));
    }
    for (int i = 0; i < record_texts_count; i++) {
        PB_TRY(compare_one(&c, a, b, &record_texts[i]));
    }
    for (int i = 0; i < record_numbers_count; i++) {
        PB_TRY(compare_one(&c, a, b, &record_numbers[i]));
    }
    for (int i = 0; i < record_lists_count; i++) {
        PB_TRY(compare_list(&c, a, b, &record_lists[i]));
    }
    return PB_OK;
}
