// SPDX-License-Identifier: Apache-2.0
/* Builder `record`: the template, over a passage whose highlights become sentences and, in the
 * corrected protocol, over entities in the order of the passage, since the hub's rows have them in
 * random order; rows without `entity_spans` keep their order. */
#include "builders.h"
#include "template.h"

#include "pb/memory.h"

#include <stdlib.h>
#include <string.h>

static const char *const needed[] = {"passage:string", "entities:strings", NULL};

/* "…\n@highlight\n…": the mark after the end of a sentence becomes a space, any other ". ". */
static pb_status join_highlights(const char *passage, pb_string *out)
{
    static const char mark[] = "\n@highlight\n";
    const char *p            = passage;

    PB_TRY(pb_string_puts(out, ""));
    for (const char *at = strstr(p, mark); at != NULL; at = strstr(p, mark)) {
        bool ended = at > passage && strchr(".?!\"'", at[-1]) != NULL;
        PB_TRY(pb_string_append(out, p, (size_t)(at - p)));
        PB_TRY(pb_string_puts(out, ended ? " " : ". "));
        p = at + sizeof mark - 1;
    }
    return pb_string_puts(out, p);
}

typedef struct span {
    json_t *text;
    json_int_t start;
    size_t index;
} span;

static int by_start(const void *a, const void *b)
{
    const span *x = a, *y = b;

    if (x->start != y->start) {
        return x->start < y->start ? -1 : 1;
    }
    return x->index < y->index ? -1 : x->index > y->index;
}

static pb_status read_spans(const json_t *spans, span **out, size_t *count)
{
    const json_t *texts  = json_object_get(spans, "text");
    const json_t *starts = json_object_get(spans, "start");

    *count    = json_array_size(texts);
    bool fits = json_is_array(texts) && json_is_array(starts) && json_array_size(starts) == *count;
    for (size_t i = 0; fits && i < *count; i++) {
        fits =
            json_is_string(json_array_get(texts, i)) && json_is_integer(json_array_get(starts, i));
    }
    if (!fits) {
        return PB_FAIL(
            PB_ERR_FORMAT,
            "column \"entity_spans\" lacks the lists \"text\" (of strings) and \"start\" "
            "(of integers) of one length; correct the row, or leave the column out");
    }
    PB_TRY(PB_ALLOC(*out, *count));
    for (size_t i = 0; i < *count; i++) {
        (*out)[i] = (span){.text  = json_array_get(texts, i),
                           .start = json_integer_value(json_array_get(starts, i)),
                           .index = i};
    }
    return PB_OK;
}

/* The distinct texts in the order of their first occurrence. */
static pb_status order_entities(const dataset_column *column, const json_t *spans, json_t *row)
{
    span *items    = NULL;
    size_t count   = 0;
    json_t *list   = json_array();
    json_t *seen   = json_object();
    bool ok        = list != NULL && seen != NULL;
    pb_status read = read_spans(spans, &items, &count);

    if (read == PB_OK && count > 0) {
        qsort(items, count, sizeof *items, by_start);
    }
    for (size_t i = 0; read == PB_OK && ok && i < count; i++) {
        const char *text = json_string_value(items[i].text);
        if (json_object_get(seen, text) == NULL) {
            ok = json_object_set_new(seen, text, json_true()) == 0 &&
                 json_array_append(list, items[i].text) == 0;
        }
    }
    if (read == PB_OK && ok && count > 0) {
        ok = json_object_set(row, column->source, list) == 0;
    }
    pb_memory_free(items);
    json_decref(list);
    json_decref(seen);
    PB_TRY(read);
    return ok ? PB_OK : PB_FAIL(PB_ERR_MEMORY, "out of memory for the entities of a row");
}

static pb_status prepare(const pb_row_builder *b, json_t *row)
{
    const dataset_column *column = columns_find(&b->columns, "passage");
    const json_t *spans          = json_object_get(row, "entity_spans");
    pb_string passage            = {0};

    pb_status status = join_highlights(json_string_value(column_value(column, row)), &passage);
    if (status == PB_OK &&
        json_object_set_new(row, column->source, json_stringn(passage.data, passage.length)) != 0) {
        status = PB_FAIL(PB_ERR_MEMORY, "out of memory for the passage of a row");
    }
    pb_string_clear(&passage);
    PB_TRY(status);
    if (b->columns.protocol == PB_PROTOCOL_CORRECTED && spans != NULL && !json_is_null(spans)) {
        PB_TRY(order_entities(columns_find(&b->columns, "entities"), spans, row));
    }
    return PB_OK;
}

static pb_status record_build(const pb_row_builder *b, const json_t *row, pb_row_texts *out)
{
    PB_TRY(columns_check(&b->columns, row));
    json_t *copy = json_copy((json_t *)(uintptr_t)row);
    if (copy == NULL) {
        return PB_FAIL(PB_ERR_MEMORY, "out of memory for the copy of a row");
    }
    pb_status status;
    PB_TRY_GOTO(status, prepare(b, copy), done);
    PB_TRY_GOTO(status, row_template_write(b, copy, out), done);
done:
    json_decref(copy);
    return status;
}

const pb_dataset_builder builder_record = {
    .name    = "record",
    .open    = row_template_open,
    .close   = row_template_close,
    .build   = record_build,
    .columns = needed,
};
