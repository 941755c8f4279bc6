// SPDX-License-Identifier: Apache-2.0
/* One hash over everything in the results that does not depend on time or machine. Cells enter in
 * the order of their keys, numbers as their bits (every NaN alike, little endian). */
#include "cell.h"

#include "pb/memory.h"
#include "pb/results.h"
#include "pb/stop.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static pb_status put_bits(pb_hash *hash, uint64_t bits)
{
    unsigned char bytes[8];

    for (int i = 0; i < 8; i++) {
        bytes[i] = (unsigned char)(bits >> (8 * i));
    }
    return pb_hash_update(hash, bytes, sizeof bytes);
}

static pb_status put_field(pb_hash *hash, const void *object, const record_field *field)
{
    double value  = 0;
    uint64_t bits = 0x7FF8000000000000U;

    switch (field->kind) {
    case RECORD_TEXT:
        return pb_hash_update_text(hash, record_text(object, field));
    case RECORD_I64:
    case RECORD_I8:
        return put_bits(hash, (uint64_t)record_i64(object, field));
    case RECORD_F64:
        value = record_f64(object, field);
        if (!isnan(value)) {
            memcpy(&bits, &value, sizeof bits);
        }
        return put_bits(hash, bits);
    }
    return PB_FAIL(PB_ERR_INTERNAL, "digest: field %s has no kind", field->name);
}

static pb_status put_list(pb_hash *hash, const pb_record *record, const record_list *list)
{
    const char *rows = record_list_rows_of(record, list);
    int64_t count    = record_list_count_of(record, list);

    PB_TRY(pb_hash_update_text(hash, list->name));
    for (int c = 0; c < list->columns_count; c++) {
        if (!list->columns[c].digest) {
            continue;
        }
        PB_TRY(pb_hash_update_text(hash, list->columns[c].name));
        PB_TRY(put_bits(hash, (uint64_t)count));
        for (int64_t i = 0; i < count; i++) {
            PB_TRY(put_field(hash, rows + (size_t)i * list->row_size, &list->columns[c]));
        }
    }
    return PB_OK;
}

static pb_status put_record(void *context, const pb_record *record)
{
    pb_hash *hash = context;

    PB_TRY(pb_hash_update_text(hash, record->key.model));
    PB_TRY(pb_hash_update_text(hash, record->key.dataset));
    PB_TRY(pb_hash_update_text(hash, record->key.method));
    PB_TRY(put_bits(hash, (uint64_t)record->key.seed));
    PB_TRY(pb_hash_update_text(hash, record->key.config_hash));
    PB_TRY(pb_hash_update_text(hash, pb_status_name(record->status)));
    PB_TRY(put_bits(hash, record->valid ? 1 : 0));
    for (int t = 0; t < record_texts_count; t++) {
        if (record_texts[t].digest) {
            PB_TRY(put_field(hash, record, &record_texts[t]));
        }
    }
    for (int n = 0; n < record_numbers_count; n++) {
        if (record_numbers[n].digest) {
            PB_TRY(pb_hash_update_text(hash, record_numbers[n].name));
            PB_TRY(put_field(hash, record, &record_numbers[n]));
        }
    }
    for (int l = 0; l < record_lists_count; l++) {
        PB_TRY(put_list(hash, record, &record_lists[l]));
    }
    return PB_OK;
}

static int compare(const void *a, const void *b)
{
    return pb_record_key_compare(&(*(const pb_record *const *)a)->key,
                                 &(*(const pb_record *const *)b)->key);
}

static pb_status put_all(pb_hash *hash, const pb_record *const *order, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        PB_TRY(pb_stop_check());
        PB_TRY(pb_record_visit(order[i], put_record, hash));
    }
    return PB_OK;
}

pb_status pb_results_digest(const pb_results *results, char text[PB_HASH_TEXT])
{
    const pb_record **order = NULL;
    pb_hash *hash           = NULL;
    pb_status status        = PB_OK;

    PB_TRY(PB_ALLOC(order, results->count + 1));
    for (int64_t i = 0; i < results->count; i++) {
        order[i] = &results->records[i];
    }
    if (results->count > 1) {
        qsort(order, (size_t)results->count, sizeof *order, compare);
    }
    PB_TRY_GOTO(status, pb_hash_create(&hash), out);
    PB_TRY_GOTO(status, put_bits(hash, PB_RESULTS_SCHEMA), out);
    PB_TRY_GOTO(status, put_bits(hash, (uint64_t)results->count), out);
    PB_TRY_GOTO(status, put_all(hash, order, results->count), out);
    PB_TRY_GOTO(status, pb_hash_finish(hash, text), out);
out:
    pb_hash_destroy(hash);
    pb_memory_free(order);
    return status;
}
