// SPDX-License-Identifier: Apache-2.0
/* One sample for each right answer, or one sample that accepts them all. */
#include "answers.h"

#include <inttypes.h>

/* No row of a real set comes close; more would fill memory with copies of the message. */
enum { MAX_COPIED_BYTES = 1 << 28 };

static pb_status copy_sample(pb_row_texts *texts, int64_t from, pb_row_text **out)
{
    PB_TRY(pb_row_texts_add(texts, out));
    const pb_row_text *source = &texts->items[from];
    PB_TRY(pb_string_append(&(*out)->user, source->user.data, source->user.length));
    (*out)->body       = source->body;
    (*out)->has_inputs = source->has_inputs;
    (*out)->has_answer = source->has_answer;
    (*out)->empty      = source->empty;
    return PB_OK;
}

static pb_status write_list(const dataset_column *column, const json_t *list, const char *none,
                            bool together, pb_row_texts *texts)
{
    int64_t first     = texts->count - 1;
    size_t count      = json_array_size(list);
    pb_row_text *text = &texts->items[first];

    text->has_answer = true;
    text->unlabelled = count == 0;
    if (count == 0) {
        return pb_string_puts(&text->answer, none);
    }
    if (!together && count > MAX_COPIED_BYTES / (text->user.length + 1)) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "column \"%s\" has %zu answers to a message of %zu bytes, a sample for each "
                       "would take more than %d bytes; remove some",
                       column->source, count, text->user.length, MAX_COPIED_BYTES);
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_array_get(list, i);
        if (i > 0 && together) {
            PB_TRY(pb_string_append(&text->references, json_string_value(value),
                                    json_string_length(value) + 1));
            text->reference_count++;
            continue;
        }
        if (i > 0) {
            PB_TRY(copy_sample(texts, first, &text));
        }
        PB_TRY(
            pb_string_append(&text->answer, json_string_value(value), json_string_length(value)));
    }
    return PB_OK;
}

pb_status answers_write(const dataset_column *column, const char *none, bool together,
                        const json_t *row, pb_row_texts *texts)
{
    json_t *list = NULL;

    PB_TRY(column_list(column, row, &list));
    pb_status status = write_list(column, list, none, together, texts);
    json_decref(list);
    return status;
}
