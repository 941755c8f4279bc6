// SPDX-License-Identifier: Apache-2.0
/* The samples of a row: a list whose strings keep their memory from row to row. */
#include "pb/dataset.h"
#include "pb/memory.h"

enum {
    KEPT_BYTES = 64 << 10
}; /* a longer string frees its memory, so that one row with a long text does not hold it for all
      later rows */

static void empty_string(pb_string *s)
{
    if (s->capacity > KEPT_BYTES) {
        pb_string_clear(s);
    }
    s->length = 0;
    if (s->data != NULL) {
        s->data[0] = '\0';
    }
}

static void empty_text(pb_row_text *text)
{
    empty_string(&text->user);
    empty_string(&text->answer);
    empty_string(&text->references);
    *text =
        (pb_row_text){.user = text->user, .answer = text->answer, .references = text->references};
}

pb_status pb_row_texts_add(pb_row_texts *texts, pb_row_text **out)
{
    if (texts->count == texts->capacity) {
        PB_TRY(PB_GROW(texts->items, texts->count + 1));
        texts->capacity = texts->count + 1;
    }
    pb_row_text *text = &texts->items[texts->count];
    empty_text(text);
    /* A text that is never written to still counts. */
    PB_TRY(pb_string_puts(&text->user, ""));
    PB_TRY(pb_string_puts(&text->answer, ""));
    texts->count++;
    *out = text;
    return PB_OK;
}

void pb_row_texts_empty(pb_row_texts *texts)
{
    texts->count = 0;
}

void pb_row_texts_clear(pb_row_texts *texts)
{
    for (int64_t i = 0; i < texts->capacity; i++) {
        pb_string_clear(&texts->items[i].user);
        pb_string_clear(&texts->items[i].answer);
        pb_string_clear(&texts->items[i].references);
    }
    pb_memory_free(texts->items);
    *texts = (pb_row_texts){0};
}
