// SPDX-License-Identifier: Apache-2.0
/* One safetensors file: its mapping and its checked list of tensors. A sharded checkpoint is a list
 * of these; see safetensors.c. */
#pragma once

#include "pb/file.h"
#include "pb/safetensors.h"

#define SHARD_DTYPE_TEXT 16

typedef struct shard_tensor {
    /* The view is none (ndim 0) when this program does not support the dtype or number of
     * dimensions: such a tensor may be in a file and is an error only where it is used. */
    pb_named_tensor named;             /* named.name is owned */
    char dtype_text[SHARD_DTYPE_TEXT]; /* as the file writes it */
    int64_t file_ndim;
    uint64_t begin, end; /* bytes of the data part */
    void *copy;          /* owned; see shard_open */
    int64_t shard;       /* index of the file in its checkpoint */
} shard_tensor;

typedef struct model_shard {
    char *path;
    pb_mapping mapping;
    shard_tensor *tensors; /* in the order of their data */
    int64_t count;
} model_shard;

/* Maps and checks the file. Every message names it. Data that is not aligned to its element size is
 * copied. On failure `out` is zeroed. */
pb_status shard_open(const char *path, model_shard *out) PB_MUST_USE;
void shard_close(model_shard *shard); /* accepts a zeroed one */

void shard_tensor_clear(shard_tensor *tensor);

/* Names in messages, in files and in lists of names: no control characters, 1 to 1000 bytes. */
bool shard_name_is_plain(const char *name);
