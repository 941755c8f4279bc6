// SPDX-License-Identifier: Apache-2.0
/* Golden files: token rows, expected numbers, and the tolerances, which are defined only here. */
#pragma once

#include "pb/batch.h"
#include "pb/model.h"
#include "pb/tensor.h"

#include <jansson.h>

/* For an F32 program against float64 values. Measured differences of HF's own float32 run are about
 * a tenth of these; the margin covers a different order of summation. */
#define TOLERANCE_LOGITS    5e-5 /* max error / max value, logits and hidden states */
#define TOLERANCE_LOSS      2e-5 /* absolute, nats */
#define TOLERANCE_GRADIENT  1e-4 /* per tensor, max error / max value */
#define TOLERANCE_GRAD_NORM 5e-5 /* relative */
#define TOLERANCE_UPDATE \
    5e-3 /* l2 error of the update / l2 of the update: Adam divides rounding noise by itself */
#define TOLERANCE_MERGED 2e-5 /* merged against unmerged logits, max error / max value */
#define TOLERANCE_LR     1e-12

/* Products of bf16 factors against HF's autocast: about three times what autocast differs from F32.
 */
#define TOLERANCE_BF16_LOSS      0.03 /* absolute, nats */
#define TOLERANCE_BF16_GRADIENT  0.15 /* per tensor, max error / max value */
#define COSINE_BF16_GRADIENT     0.99
#define TOLERANCE_BF16_GRAD_NORM 0.03 /* relative */

json_t *golden_json(const char *path); /* fails the test if the file cannot be read */

/* Rows of ids with labels from prompt_len on. */
typedef struct golden_rows {
    pb_sample *samples;
    int64_t count;
    int32_t *storage;
} golden_rows;

void golden_rows_load(const json_t *batch, golden_rows *out);   /* [{"ids", "prompt_len"}, …] */
void golden_rows_sequence(const json_t *ids, golden_rows *out); /* one row, every label wanted */
void golden_rows_free(golden_rows *rows);

/* max |a - b| / max |b| over n values. */
double golden_error(const float *a, const float *b, int64_t n);
/* The same for an F32 tensor in backend memory. */
double golden_tensor_error(pb_backend *be, const pb_tensor *t, const float *expected);
/* ‖a - b‖ / ‖b - start‖. */
double golden_update_error(const float *a, const float *b, const float *start, int64_t n);

/* The configuration of an entry of param_counts.json by its "shape". */
pb_model_config golden_shape(const json_t *entry);

double json_number(const json_t *object, const char *key); /* fails the test when absent */
int64_t json_ids(const json_t *array, int32_t *ids, int64_t capacity);
