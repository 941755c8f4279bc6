// SPDX-License-Identifier: Apache-2.0
/* A record in memory: creation, key, and appending to its lists. */
#include "source.h"
#include "tables.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void pb_record_init(pb_record *record)
{
    memset(record, 0, sizeof *record);
    record->valid    = true;
    record->complete = true;
    for (int i = 0; i < record_numbers_count; i++) {
        char *at = (char *)record + record_numbers[i].offset;
        if (record_numbers[i].kind == RECORD_I64) {
            *(int64_t *)at = -1;
        } else {
            *(double *)at = NAN;
        }
    }
}

static void clear_list(pb_record *record, const record_list *list)
{
    char *rows    = *record_list_rows(record, list);
    int64_t count = *record_list_count(record, list);

    for (int c = 0; c < list->columns_count; c++) {
        if (list->columns[c].kind != RECORD_TEXT || (record->shared && list->always)) {
            continue;
        }
        for (int64_t i = 0; i < count; i++) {
            pb_memory_free(*record_text_slot(rows + (size_t)i * list->row_size, &list->columns[c]));
        }
    }
    pb_memory_free(rows);
    *record_list_rows(record, list)  = NULL;
    *record_list_count(record, list) = 0;
}

void pb_record_key_clear(pb_record_key *key)
{
    pb_memory_free(key->model);
    pb_memory_free(key->dataset);
    pb_memory_free(key->method);
    memset(key, 0, sizeof *key);
}

static void clear_texts(pb_record *record)
{
    for (int t = 0; t < record_texts_count; t++) {
        pb_memory_free(*record_text_slot(record, &record_texts[t]));
    }
    for (int64_t i = 0; i < record->provenance_count; i++) {
        pb_memory_free(record->provenance[i].name);
        pb_memory_free(record->provenance[i].value);
    }
    pb_memory_free(record->provenance);
    pb_memory_free(record->source_file);
    pb_record_key_clear(&record->key);
}

void pb_record_clear(pb_record *record)
{
    for (int l = 0; l < record_lists_count; l++) {
        clear_list(record, &record_lists[l]);
    }
    if (!record->shared) {
        clear_texts(record);
    }
    pb_memory_free(record->source_group);
    record_source_release(record->source);
    memset(record, 0, sizeof *record);
}

pb_status pb_record_set_key(pb_record *record, const char *model, const char *dataset,
                            const char *method, int64_t seed)
{
    PB_TRY(pb_record_set_text(&record->key.model, model));
    PB_TRY(pb_record_set_text(&record->key.dataset, dataset));
    PB_TRY(pb_record_set_text(&record->key.method, method));
    record->key.seed = seed;
    return PB_OK;
}

const char *pb_record_state(const pb_record *record)
{
    return record->status != PB_OK ? "failed" : record->valid ? "done" : "invalid";
}

static int compare_text(const char *a, const char *b)
{
    return strcmp(a != NULL ? a : "", b != NULL ? b : "");
}

int pb_record_key_compare(const pb_record_key *a, const pb_record_key *b)
{
    int order = compare_text(a->model, b->model);

    if (order == 0) {
        order = compare_text(a->dataset, b->dataset);
    }
    if (order == 0) {
        order = compare_text(a->method, b->method);
    }
    if (order == 0) {
        order = (a->seed > b->seed) - (a->seed < b->seed);
    }
    return order;
}

pb_status pb_record_fail(pb_record *record, pb_status status)
{
    const char *message = pb_error_message();

    if (status == PB_OK) {
        return PB_FAIL(PB_ERR_ARGUMENT, "record: a cell cannot fail with the status OK");
    }
    PB_TRY(pb_record_set_text(&record->message,
                              message[0] != '\0' ? message : pb_status_sentence(status)));
    PB_TRY(pb_record_set_text(&record->reason, "the cell failed"));
    record->status = status;
    record->valid  = false;
    return PB_OK;
}

pb_status pb_record_add_metric(pb_record *record, const char *name, double value)
{
    for (int64_t i = 0; i < record->metrics_count; i++) {
        if (strcmp(record->metrics[i].name, name) == 0) {
            record->metrics[i].value = value;
            return PB_OK;
        }
    }
    PB_TRY(PB_GROW(record->metrics, record->metrics_count + 1));
    pb_record_metric *metric = &record->metrics[record->metrics_count];
    *metric                  = (pb_record_metric){.value = value};
    PB_TRY(pb_record_set_text(&metric->name, name));
    record->metrics_count++;
    return PB_OK;
}

pb_status pb_record_add_provenance(pb_record *record, const char *name, const char *value)
{
    pb_record_pair pair = {0};
    pb_status status;

    for (int64_t i = 0; i < record->provenance_count; i++) {
        if (strcmp(record->provenance[i].name, name) == 0) {
            return pb_record_set_text(&record->provenance[i].value, value != NULL ? value : "");
        }
    }
    PB_TRY_GOTO(status, pb_record_set_text(&pair.name, name), err_pair);
    PB_TRY_GOTO(status, pb_record_set_text(&pair.value, value != NULL ? value : ""), err_pair);
    PB_TRY_GOTO(status, PB_GROW(record->provenance, record->provenance_count + 1), err_pair);
    record->provenance[record->provenance_count++] = pair;
    return PB_OK;

err_pair:
    pb_memory_free(pair.name);
    pb_memory_free(pair.value);
    return status;
}

const char *pb_record_find_provenance(const pb_record *record, const char *name)
{
    for (int64_t i = 0; i < record->provenance_count; i++) {
        if (strcmp(record->provenance[i].name, name) == 0) {
            return record->provenance[i].value;
        }
    }
    return NULL;
}

pb_status pb_record_add_step(pb_record *record, const pb_record_step *step)
{
    PB_TRY(PB_GROW(record->train, record->train_count + 1));
    record->train[record->train_count++] = *step;
    return PB_OK;
}

pb_status pb_record_add_validation(pb_record *record, int64_t step, double loss)
{
    PB_TRY(PB_GROW(record->validation, record->validation_count + 1));
    record->validation[record->validation_count++] =
        (pb_record_validation){.step = step, .loss = loss};
    return PB_OK;
}

pb_status pb_record_add_memory(pb_record *record, double seconds, int64_t host_bytes,
                               int64_t device_bytes, int64_t device_peak_bytes, const char *phase)
{
    PB_TRY(PB_GROW(record->memory, record->memory_count + 1));
    pb_record_memory *sample = &record->memory[record->memory_count];

    *sample = (pb_record_memory){.seconds           = seconds,
                                 .host_bytes        = host_bytes,
                                 .device_bytes      = device_bytes,
                                 .device_peak_bytes = device_peak_bytes};
    PB_TRY(pb_record_set_text(&sample->phase, phase));
    record->memory_count++;
    return PB_OK;
}

pb_status pb_record_add_phase(pb_record *record, const char *name, double start, double seconds,
                              double flops, double product_share)
{
    PB_TRY(PB_GROW(record->phases, record->phases_count + 1));
    pb_record_phase *phase = &record->phases[record->phases_count];
    *phase                 = (pb_record_phase){.start = start, .seconds = seconds, .flops = flops};
    phase->product_share   = product_share;
    PB_TRY(pb_record_set_text(&phase->name, name));
    record->phases_count++;
    return PB_OK;
}

pb_status pb_record_add_prediction(pb_record *record, int64_t row_number, const char *prediction,
                                   const char *label, int correct, double value)
{
    pb_record_prediction one = {.row = row_number, .correct = (int8_t)correct, .value = value};
    pb_status status;

    PB_TRY_GOTO(status, pb_record_set_text(&one.prediction, prediction), err_texts);
    PB_TRY_GOTO(status, pb_record_set_text(&one.label, label), err_texts);
    PB_TRY_GOTO(status, PB_GROW(record->predictions, record->predictions_count + 1), err_texts);
    record->predictions[record->predictions_count++] = one;
    return PB_OK;

err_texts:
    pb_memory_free(one.prediction);
    pb_memory_free(one.label);
    return status;
}
