// SPDX-License-Identifier: Apache-2.0
#include "samples.h"

#include "pb/memory.h"

#include <string.h>

static pb_status copy_text(const char *text, const char **out)
{
    if (text == NULL) {
        return PB_OK;
    }
    *out = pb_memory_text(text);
    return *out != NULL ? PB_OK : PB_ERR_MEMORY;
}

static pb_status copy_example(const pb_example *from, pb_example *to)
{
    const char **references = NULL;

    *to            = *from;
    to->user       = NULL;
    to->body       = NULL;
    to->answer     = NULL;
    to->inputs     = NULL;
    to->targets    = NULL;
    to->id         = NULL;
    to->references = NULL;
    PB_TRY(copy_text(from->user, &to->user));
    PB_TRY(copy_text(from->answer, &to->answer));
    PB_TRY(copy_text(from->inputs, &to->inputs));
    PB_TRY(copy_text(from->targets, &to->targets));
    PB_TRY(copy_text(from->id, &to->id));
    to->body = to->user + (from->body - from->user);
    PB_TRY(PB_ALLOC(references, from->reference_count));
    to->references = references;
    for (int64_t i = 0; i < from->reference_count; i++) {
        PB_TRY(copy_text(from->references[i], &references[i]));
    }
    return PB_OK;
}

static void free_const(const void *block)
{
    pb_memory_free((void *)(uintptr_t)block);
}

void test_samples_clear(test_samples *samples)
{
    for (int64_t i = 0; i < samples->count; i++) {
        pb_example *e = &samples->items[i];
        for (int64_t k = 0; e->references != NULL && k < e->reference_count; k++) {
            free_const(e->references[k]);
        }
        free_const(e->references);
        free_const(e->user);
        free_const(e->answer);
        free_const(e->inputs);
        free_const(e->targets);
        free_const(e->id);
    }
    pb_memory_free(samples->items);
    memset(samples, 0, sizeof *samples);
}

static pb_status read_all(pb_rows *rows, test_samples *out)
{
    const pb_example *examples = NULL;
    int64_t count              = 0;

    do {
        PB_TRY(pb_rows_next(rows, &examples, &count));
        for (int64_t i = 0; i < count; i++) {
            PB_TRY(PB_GROW(out->items, out->count + 1));
            PB_TRY(copy_example(&examples[i], &out->items[out->count++]));
        }
    } while (count > 0);
    out->counts = pb_rows_counts(rows);
    memcpy(out->sha, pb_rows_sha(rows), sizeof out->sha);
    return PB_OK;
}

pb_status test_samples_read(const pb_dataset *ds, pb_split split, int threads, test_samples *out)
{
    pb_rows *rows = NULL;

    memset(out, 0, sizeof *out);
    PB_TRY(pb_rows_open(ds, split, threads, &rows));
    pb_status status = read_all(rows, out);
    pb_rows_close(rows);
    if (status != PB_OK) {
        test_samples_clear(out);
    }
    return status;
}
