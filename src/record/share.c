// SPDX-License-Identifier: Apache-2.0
/* Records of a sweep have most of their texts in common: configuration, provenance, names. In
 * results each text is stored once, and so is provenance that is the same as that of the record
 * before; a record then takes a few hundred bytes instead of many thousand. */
#include "gather.h"
#include "tables.h"

#include "pb/interned.h"
#include "pb/memory.h"

#include <string.h>

struct pb_results_texts {
    pb_interned numbers;
    char **items;           /* [numbers.count] */
    pb_record_pair **lists; /* [count] of provenance, the last one that of the last record */
    int64_t count;
};

void results_texts_clear(pb_results *results)
{
    struct pb_results_texts *t = results->texts;
    if (t != NULL) {
        for (int64_t i = 0; i < t->count; i++) {
            pb_memory_free(t->lists[i]);
        }
        pb_memory_free(t->lists);
        pb_memory_free_texts(t->items, (size_t)t->numbers.count);
        pb_interned_clear(&t->numbers);
        pb_memory_free(t);
        results->texts = NULL;
    }
}

typedef pb_status (*visit_text)(struct pb_results_texts *t, char **text);

static pb_status each_text(pb_record *record, visit_text visit, struct pb_results_texts *t)
{
    char **const named[] = {&record->key.model, &record->key.dataset, &record->key.method,
                            &record->source_file};
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        PB_TRY(visit(t, named[i]));
    }
    for (int i = 0; i < record_texts_count; i++) {
        PB_TRY(visit(t, record_text_slot(record, &record_texts[i])));
    }
    for (int64_t i = 0; i < record->metrics_count; i++) {
        PB_TRY(visit(t, &record->metrics[i].name));
    }
    for (int64_t i = 0; i < record->provenance_count; i++) {
        PB_TRY(visit(t, &record->provenance[i].name));
        PB_TRY(visit(t, &record->provenance[i].value));
    }
    return PB_OK;
}

static pb_status add_text(struct pb_results_texts *t, char **text)
{
    int32_t before = t->numbers.count;
    int32_t number = 0;
    if (*text == NULL) {
        return PB_OK;
    }
    PB_TRY(PB_GROW(t->items, before + 1));
    PB_TRY(pb_interned_add(&t->numbers, *text, strlen(*text), &number));
    if (number == before) {
        PB_TRY(PB_TEXT(t->items[number], *text));
    }
    return PB_OK;
}

/* Cannot fail: the text was added. */
static pb_status replace_text(struct pb_results_texts *t, char **text)
{
    if (*text != NULL) {
        int32_t number = pb_interned_find(&t->numbers, *text, strlen(*text));
        pb_memory_free(*text);
        *text = t->items[number];
    }
    return PB_OK;
}

static bool same_list(const pb_record *a, const pb_record *b)
{
    size_t bytes = (size_t)a->provenance_count * sizeof *a->provenance;
    return a->provenance_count == b->provenance_count && bytes > 0 &&
           memcmp(a->provenance, b->provenance, bytes) == 0;
}

pb_status results_share(pb_results *results, const pb_record *before, pb_record *record)
{
    if (results->texts == NULL) {
        PB_TRY(PB_ALLOC(results->texts, 1));
    }
    struct pb_results_texts *t = results->texts;
    PB_TRY(PB_GROW(t->lists, t->count + 1));
    PB_TRY(each_text(record, add_text, t));
    PB_TRY(each_text(record, replace_text, t));
    record->shared = true;
    if (before != NULL && same_list(before, record)) {
        pb_memory_free(record->provenance);
        record->provenance = before->provenance;
    } else if (record->provenance != NULL) {
        t->lists[t->count++] = record->provenance;
    }
    return PB_OK;
}
