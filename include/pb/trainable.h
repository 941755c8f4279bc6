// SPDX-License-Identifier: Apache-2.0
/* The tensors of a method: declared by its plan, laid out and filled by the method's front, updated
 * by the trainer, saved with the adapter.
 *
 *     pb_trainable b = {.ndim = 2, .shape = {site->out, r}, .init = PB_INIT_ZERO, .rate = 16.0};
 *
 * The values of all trained tensors are laid end to end in one buffer, their gradients in another;
 * frozen tensors have a third. */
#pragma once

#include "pb/tensor.h"

#include <stdbool.h>

typedef enum pb_init_kind {
    PB_INIT_ZERO,
    PB_INIT_ONE,
    PB_INIT_CONSTANT, /* scale */
    PB_INIT_NORMAL,   /* N(0, scale²) */
    PB_INIT_UNIFORM,  /* U(-scale, scale) */
    PB_INIT_COPY,     /* of `source` */
} pb_init_kind;

typedef struct pb_trainable {
    char name[128]; /* as HF PEFT names it in training:
                       "base_model.model.model.layers.0.self_attn.k_proj.lora_A.weight" */
    int ndim;
    int64_t shape[PB_TENSOR_DIMS];
    pb_init_kind init;
    double scale;
    pb_tensor source;
    double rate;     /* factor of the learning rate; 0 in a declaration: 1 */
    bool frozen;     /* not trained: no gradient, no moments, not among the parameters */
    bool derived;    /* a frozen one that follows from options or weights: the file may lack it */
    bool decay;      /* weight decay applies; set by the declaration */
    pb_tensor value; /* F32, backend memory; none until the method is created with weights */
    pb_tensor grad;  /* none where frozen */
} pb_trainable;
