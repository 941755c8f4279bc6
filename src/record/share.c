// SPDX-License-Identifier: Apache-2.0
/* Records of a sweep have most of their texts in common: configuration, provenance, names. In
 * results each text and each list of provenance is stored once; a record then takes a thousand
 * bytes instead of many thousand. */
#include "gather.h"
#include "tables.h"

#include "pb/interned.h"
#include "pb/memory.h"

#include <string.h>

struct pb_results_texts {
    pb_interned numbers;
    char **items;             /* [numbers.count] */
    pb_interned list_numbers; /* of lists of provenance, by their texts' addresses */
    pb_record_pair **lists;   /* [list_numbers.count] */
};

void results_texts_clear(pb_results *results)
{
    struct pb_results_texts *t = results->texts;
    if (t != NULL) {
        for (int64_t i = 0; i < t->list_numbers.count; i++) {
            pb_memory_free(t->lists[i]);
        }
        pb_memory_free(t->lists);
        pb_interned_clear(&t->list_numbers);
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

/* The list is the results', also on failure. */
static pb_status share_list(struct pb_results_texts *t, pb_record *record)
{
    size_t bytes     = (size_t)record->provenance_count * sizeof *record->provenance;
    int32_t before   = t->list_numbers.count;
    int32_t number   = 0;
    pb_status status = PB_GROW(t->lists, before + 1);
    if (status == PB_OK) {
        status = pb_interned_add(&t->list_numbers, record->provenance, bytes, &number);
    }
    if (status == PB_OK && number == before) {
        t->lists[number] = record->provenance;
        return PB_OK;
    }
    pb_memory_free(record->provenance);
    record->provenance = status == PB_OK ? t->lists[number] : NULL;
    return status;
}

pb_status results_share(pb_results *results, pb_record *record)
{
    if (results->texts == NULL) {
        PB_TRY(PB_ALLOC(results->texts, 1));
    }
    struct pb_results_texts *t = results->texts;
    PB_TRY(each_text(record, add_text, t));
    PB_TRY(each_text(record, replace_text, t));
    record->shared = true;
    return share_list(t, record);
}
