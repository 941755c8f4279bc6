// SPDX-License-Identifier: Apache-2.0
/* The tables of a record. A new number, text or column is one line here (and a member in
 * pb/record.h, and a line in results/README.md). */
#include "tables.h"

#include <math.h>

#define NUMBER_I64(member, units_, long_, digest_)                               \
    {                                                                            \
#member, RECORD_I64, offsetof(pb_record, member), units_, long_, digest_ \
    }
#define NUMBER_F64(member, units_, long_, digest_)                               \
    {                                                                            \
#member, RECORD_F64, offsetof(pb_record, member), units_, long_, digest_ \
    }
/* A process's share in what the whole node uses. */
#define ENERGY(part, of_)                                                                        \
    NUMBER_F64(energy_##part##_j, "J", "share in the energy of " of_ " during the cell", false), \
        NUMBER_F64(energy_##part##_train_j, "J",                                                 \
                   "share in the energy of " of_ " in training, without validation", false),     \
        NUMBER_F64(energy_##part##_validation_j, "J",                                            \
                   "share in the energy of " of_ " in validation", false),                       \
        NUMBER_F64(energy_##part##_test_j, "J", "share in the energy of " of_ " in the test",    \
                   false)
#define TEXT(member, digest_)                                              \
    {                                                                      \
#member, RECORD_TEXT, offsetof(pb_record, member), "", "", digest_ \
    }
#define COUNT_OF(array) ((int)(sizeof(array) / sizeof *(array)))

const record_field record_numbers[] = {
    NUMBER_F64(score, "percent", "main metric times 100", true),
    NUMBER_F64(score_low, "percent", "lower end of the 95 % interval of score over test rows",
               true),
    NUMBER_F64(score_high, "percent", "upper end of the 95 % interval of score over test rows",
               true),
    NUMBER_F64(invalid_share, "1", "share of the predictions that could not be parsed", true),
    NUMBER_I64(trainable_params, "1", "trainable parameters", true),
    NUMBER_I64(model_params, "1", "parameters of the base model", true),
    NUMBER_F64(flops_forward_t, "TFLOP",
               "forward pass of the adapted model over 512 tokens, from the shapes", true),
    NUMBER_F64(flops_base_t, "TFLOP",
               "forward pass of the base model over 512 tokens, from the shapes", true),
    NUMBER_F64(memory_peak_gb, "GB", "peak of the accounted bytes of the cell, 1e9 bytes", false),
    NUMBER_I64(adapter_bytes, "byte", "size of the files of the kept adapter", false),
    NUMBER_I64(gang, "1", "cells that trained together, this one included", false),
    NUMBER_F64(memory_device_peak_gb, "GB", "part of memory_peak_gb in device memory", false),
    NUMBER_F64(memory_mean_gb, "GB", "mean of the accounted bytes in training, over time", false),
    NUMBER_F64(memory_p99_gb, "GB", "99th percentile of the accounted bytes in training, over time",
               false),
    NUMBER_F64(memory_system_peak_gb, "GB", "peak resident set of the process, 1e9 bytes", false),
    NUMBER_F64(seconds_train, "s", "wall time of training without validation", false),
    NUMBER_F64(seconds_validation, "s", "wall time of validation", false),
    NUMBER_F64(seconds_test, "s", "wall time of the evaluation on the test rows", false),
    NUMBER_F64(seconds_total, "s", "wall time of the cell", false),
    NUMBER_I64(segments, "1", "runs that worked on the cell", false),
    NUMBER_F64(seconds_lost, "s", "wall time of the work that stops cut off", false),
    NUMBER_F64(tokens_per_second, "token/s", "real training tokens per second of training", false),
    NUMBER_I64(train_tokens, "token", "real tokens trained on, all steps", true),
    NUMBER_I64(label_tokens, "token", "label tokens trained on, all steps", true),
    NUMBER_F64(flops_train, "FLOP", "operations of the products of the training steps, as counted",
               false),
    NUMBER_F64(flops_validation, "FLOP", "operations of the products in validation, as counted",
               false),
    NUMBER_F64(flops_test, "FLOP", "operations of the products in the test, as counted", false),
    NUMBER_F64(mfu, "1", "share of the measured product rate reached in training", false),
    NUMBER_F64(mfu_validation, "1", "share of the measured product rate reached in validation",
               false),
    NUMBER_F64(mfu_test, "1", "share of the measured product rate reached in the test", false),
    NUMBER_F64(energy_j, "J", "energy of the device during the cell", false),
    NUMBER_F64(energy_train_j, "J", "energy of the device in training, without validation", false),
    NUMBER_F64(energy_validation_j, "J", "energy of the device in validation", false),
    NUMBER_F64(energy_test_j, "J", "energy of the device in the test", false),
    ENERGY(package, "the processors' packages"),
    ENERGY(dram, "the processors' memory"),
    ENERGY(node, "the node"),
    NUMBER_F64(validation_loss, "nat/token", "validation loss of the values that were tested",
               false),
    NUMBER_I64(best_step, "1", "step with the smallest validation loss", true),
    NUMBER_I64(rows_truncated, "1", "rows that did not fit and were cut", true),
    NUMBER_I64(rows_too_long, "1", "rows too long even without their text", true),
    NUMBER_I64(rows_bad, "1", "rows that could not be read and were left out", true),
    NUMBER_I64(rows_unlabelled, "1", "rows with label -1", true),
    NUMBER_I64(rows_no_answer, "1", "rows with a null answer", true),
    NUMBER_I64(rows_empty, "1", "rows with an empty text", true),
    NUMBER_I64(rows_duplicate, "1", "rows with the id of another", true),
    NUMBER_I64(bytes_train, "byte", "size of the training file", true),
    NUMBER_I64(bytes_test, "byte", "size of the test file", true),
    NUMBER_I64(rows_overlap, "1", "training samples that the test file has as well", true),
    NUMBER_I64(rows_train, "1", "training rows", true),
    NUMBER_I64(rows_validation, "1", "validation rows", true),
    NUMBER_I64(rows_test, "1", "test rows", true),
};
const int record_numbers_count = COUNT_OF(record_numbers);

const record_field record_texts[] = {
    TEXT(protocol, true),    TEXT(message, true),    TEXT(reason, true),
    TEXT(metric_name, true), TEXT(model_hash, true), TEXT(tokenizer_hash, true),
    TEXT(data_hash, true),   TEXT(created, false),   TEXT(config, false),
};
const int record_texts_count = COUNT_OF(record_texts);

static const record_field metric_columns[] = {
    {"name", RECORD_TEXT, offsetof(pb_record_metric, name), "", "name of the metric", true},
    {"value", RECORD_F64, offsetof(pb_record_metric, value), "1", "value of the metric", true},
};
static const record_field train_columns[] = {
    {"step", RECORD_I64, offsetof(pb_record_step, step), "1", "optimiser step, from 1", true},
    {"loss", RECORD_F64, offsetof(pb_record_step, loss), "nat/token",
     "training loss per label token", true},
    {"lr", RECORD_F64, offsetof(pb_record_step, lr), "1", "learning rate", true},
    {"grad_norm", RECORD_F64, offsetof(pb_record_step, grad_norm), "1",
     "norm of the gradient before clipping", true},
    {"tokens", RECORD_I64, offsetof(pb_record_step, tokens), "token", "real tokens of the step",
     true},
    {"seconds", RECORD_F64, offsetof(pb_record_step, seconds), "s", "wall time of the step", false},
};
static const record_field validation_columns[] = {
    {"step", RECORD_I64, offsetof(pb_record_validation, step), "1", "optimiser step", true},
    {"loss", RECORD_F64, offsetof(pb_record_validation, loss), "nat/token",
     "validation loss per label token", true},
};
static const record_field memory_columns[] = {
    {"seconds", RECORD_F64, offsetof(pb_record_memory, seconds), "s", "time since the cell began",
     false},
    {"host_bytes", RECORD_I64, offsetof(pb_record_memory, host_bytes), "byte",
     "accounted host memory, the most since the row before", false},
    {"device_bytes", RECORD_I64, offsetof(pb_record_memory, device_bytes), "byte",
     "accounted device memory at that moment", false},
    {"phase", RECORD_TEXT, offsetof(pb_record_memory, phase), "", "phase of the cell", false},
    {"device_peak_bytes", RECORD_I64, offsetof(pb_record_memory, device_peak_bytes), "byte",
     "accounted device memory, the most since the row before", false},
};
static const record_field phase_columns[] = {
    {"name", RECORD_TEXT, offsetof(pb_record_phase, name), "", "name of the phase", false},
    {"start", RECORD_F64, offsetof(pb_record_phase, start), "s", "start since the cell began",
     false},
    {"seconds", RECORD_F64, offsetof(pb_record_phase, seconds), "s", "wall time of the phase",
     false},
    {"flops", RECORD_F64, offsetof(pb_record_phase, flops), "FLOP",
     "operations of the products, as counted", false},
    {"product_share", RECORD_F64, offsetof(pb_record_phase, product_share), "1",
     "share of the measured product rate", false},
};
static const record_field prediction_columns[] = {
    {"row", RECORD_I64, offsetof(pb_record_prediction, row), "1", "number of the test row", true},
    {"prediction", RECORD_TEXT, offsetof(pb_record_prediction, prediction), "", "generated text",
     true},
    {"label", RECORD_TEXT, offsetof(pb_record_prediction, label), "", "expected text", true},
    {"correct", RECORD_I8, offsetof(pb_record_prediction, correct), "1",
     "1 right, 0 wrong, -1 where the metric has no right and wrong", true},
    {"value", RECORD_F64, offsetof(pb_record_prediction, value), "1",
     "score of the row by itself, 1 at best", true},
};

#define LIST(member, type, long_, signal_, columns_, always_, added_)                       \
    {                                                                                       \
#member, long_, signal_, columns_, COUNT_OF(columns_), offsetof(pb_record, member), \
            offsetof(pb_record, member##_count), sizeof(type), always_, added_              \
    }

const record_list record_lists[] = {
    LIST(metrics, pb_record_metric, "metrics of the test rows", NULL, metric_columns, true, 0),
    LIST(train, pb_record_step, "training, by step", "loss", train_columns, false, 0),
    LIST(validation, pb_record_validation, "validation, by step", "loss", validation_columns, false,
         0),
    LIST(memory, pb_record_memory, "memory trace", "host_bytes", memory_columns, false, 1),
    LIST(phases, pb_record_phase, "phases of the cell", NULL, phase_columns, false, 1),
    LIST(predictions, pb_record_prediction, "predictions on the test rows", NULL,
         prediction_columns, false, 1),
};
const int record_lists_count = COUNT_OF(record_lists);

void **record_list_rows(pb_record *record, const record_list *list)
{
    return (void **)((char *)record + list->rows);
}

int64_t *record_list_count(pb_record *record, const record_list *list)
{
    return (int64_t *)((char *)record + list->count);
}

const void *record_list_rows_of(const pb_record *record, const record_list *list)
{
    return *(void *const *)((const char *)record + list->rows);
}

int64_t record_list_count_of(const pb_record *record, const record_list *list)
{
    return *(const int64_t *)((const char *)record + list->count);
}

double record_f64(const void *object, const record_field *field)
{
    return *(const double *)((const char *)object + field->offset);
}

int64_t record_i64(const void *object, const record_field *field)
{
    const char *at = (const char *)object + field->offset;

    return field->kind == RECORD_I8 ? *(const int8_t *)at : *(const int64_t *)at;
}

const char *pb_record_number_name(int index, const char **unit)
{
    const record_field *field = index < record_numbers_count ? &record_numbers[index] : NULL;

    if (unit != NULL) {
        *unit = field != NULL ? field->units : NULL;
    }
    return field != NULL ? field->name : NULL;
}

double pb_record_number(const pb_record *record, int index)
{
    const record_field *field = &record_numbers[index];

    if (field->kind == RECORD_F64) {
        return record_f64(record, field);
    }
    int64_t value = record_i64(record, field);
    return value < 0 ? NAN : (double)value;
}

const char *record_text(const void *object, const record_field *field)
{
    const char *text = *(char *const *)((const char *)object + field->offset);

    return text != NULL ? text : "";
}

char **record_text_slot(void *object, const record_field *field)
{
    return (char **)((char *)object + field->offset);
}
