// SPDX-License-Identifier: Apache-2.0
/* Operations of a training step, as the model FLOPs utilisation counts them. */
#pragma once

#include "pb/model.h"

/* The step: `rows` of `length` tokens, of which `labels` are trained on. */
typedef struct step_size {
    int64_t rows, length, labels;
} step_size;

/* Operations that the mathematics of a step needs, 2 per multiply-accumulate: frozen products
 * forward and for dx (none for the input of layer 0), the head both ways, 2 and 5 products of
 * attention over visible pairs, and the low-rank parts, which have `trained` parameters. Nothing is
 * counted twice, whatever is computed twice. */
double flops_counted(const pb_model *model, int64_t trained, const step_size *step);

/* 4 · parameters · tokens, as other projects publish it. */
double flops_by_parameters(const pb_model *model, const step_size *step);
