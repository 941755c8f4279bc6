// SPDX-License-Identifier: Apache-2.0
/* safetensors files: reading by a checked mapping (one file or a sharded folder), and atomic
 * writing.
 *
 * The header is checked completely before anything is used: size, JSON, dtype, shape × dtype =
 * range, no overlap, no hole, inside the file, no name twice. Tensors are views into the mapping;
 * only data that is not aligned for its dtype is copied. A tensor of a dtype or number of
 * dimensions that this program does not hold is listed as none (pb_tensor_is_none). */
#pragma once

#include "pb/backend.h"

typedef struct pb_safetensors pb_safetensors;

typedef struct pb_named_tensor {
    const char *name;
    pb_tensor tensor;
} pb_named_tensor;

/* `path`: a file, or a folder with model.safetensors or model.safetensors.index.json (shards inside
 * the folder only). */
pb_status pb_safetensors_open(const char *path, pb_safetensors **out) PB_MUST_USE;
void pb_safetensors_close(pb_safetensors *file); /* accepts NULL; views die with it */
/* Gives back the memory of the pages read so far; views stay valid, see pb_mapping_release. */
void pb_safetensors_release(const pb_safetensors *file);

/* Whether a folder has a file that pb_safetensors_open would look for; nothing is opened. */
pb_status pb_safetensors_present(const char *directory, bool *out) PB_MUST_USE;
/* The failure of a folder that lacks `wanted`, a checkpoint's or (`adapter`) an adapter's file:
 * names files in another known form, and how to obtain the wanted one. Never PB_OK. */
pb_status pb_safetensors_missing(const char *directory, const char *wanted,
                                 bool adapter) PB_MUST_USE;

int64_t pb_safetensors_count(const pb_safetensors *file);
const pb_named_tensor *pb_safetensors_at(const pb_safetensors *file,
                                         int64_t index); /* sorted by name */

/* NULL when no tensor has that name. */
const pb_named_tensor *pb_safetensors_find(const pb_safetensors *file, const char *name);

/* The place of a name in the sorted list, -1 when there is none. */
int64_t pb_safetensors_index(const pb_safetensors *file, const char *name);

/* The tensor of that name, ready to use; fails, naming file and tensor, when there is none or this
 * program does not support its dtype or number of dimensions. */
pb_status pb_safetensors_get(const pb_safetensors *file, const char *name,
                             pb_tensor *out) PB_MUST_USE;

/* The file's path that holds entry `index`, for messages. */
const char *pb_safetensors_path(const pb_safetensors *file, int64_t index);

/* The files themselves, sorted by name. */
int64_t pb_safetensors_file_count(const pb_safetensors *file);
const char *pb_safetensors_file_path(const pb_safetensors *file, int64_t index);

/* False when entry `index` had to be copied because its data is not aligned for its dtype. */
bool pb_safetensors_is_mapped(const pb_safetensors *file, int64_t index);

/* Writes F32, F16, BF16 and I32 tensors in the order given; strided views are made contiguous.
 * Atomic and durable. `format`: the value of __metadata__.format, NULL for none ("pt" is what HF
 * writes). */
pb_status pb_safetensors_write(const char *path, const pb_named_tensor *tensors, int64_t count,
                               const char *format) PB_MUST_USE;
/* The same of tensors in a backend's memory or the host's, through a host buffer of the size of the
 * largest. */
pb_status pb_safetensors_write_from(pb_backend *backend, const char *path,
                                    const pb_named_tensor *tensors, int64_t count,
                                    const char *format) PB_MUST_USE;

/* dst (F32, contiguous) = src of any float dtype, same shape. */
pb_status pb_tensor_to_f32(pb_tensor *dst, const pb_tensor *src) PB_MUST_USE;
