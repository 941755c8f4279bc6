// SPDX-License-Identifier: Apache-2.0
/* Adapters on disk, as Hugging Face PEFT lays them out: adapter_config.json names the method and
 * its options, adapter_model.safetensors holds its tensors. */
#pragma once

#include "pb/method.h"

/* What adapter_config_read works from. */
struct pb_adapter_config {
    const void *json; /* the parsed adapter_config.json: jansson's json_t, an object */
    const char *path; /* for messages */
    const pb_model *model;
    bool encoder; /* the encoder's own values are available, not only its output */
};

/* Reads an HF adapter (adapter_config.json, adapter_model.safetensors). An encoder (p-tuning,
 * projected prefix) comes from encoder.safetensors beside it; without that file the encoder's
 * output is trained directly. `given` (NULL: none) is a safetensors file of the trainables by name
 * whose values count instead; adapter_model.safetensors is not read then. */
pb_status pb_method_load(const char *directory, const char *given, const pb_model *model,
                         pb_backend *backend, uint64_t seed, pb_method **out) PB_MUST_USE;
/* Writes an adapter, replacing an existing one; when that fails or is interrupted, the directory is
 * not an adapter. Encoders are saved beside it as encoder.safetensors, so that training can
 * continue. A method without peft_type that binds weights (full) writes a checkpoint in HF
 * layout. */
pb_status pb_method_save(pb_method *m, const char *directory) PB_MUST_USE;

typedef enum pb_method_list_kind {
    PB_LIST_TRAINED,
    PB_LIST_GRADIENTS, /* of the trained ones */
    PB_LIST_SAVED,     /* those and the frozen ones that a file holds */
} pb_method_list_kind;

/* Tensors by name, in backend memory: fills the caller's `tensors` [m->count], returns how many. */
int64_t pb_method_list(const pb_method *m, pb_method_list_kind kind, pb_named_tensor *tensors);
/* Writes them into one safetensors file; PB_LIST_SAVED as HF PEFT saves them. */
pb_status pb_method_write_tensors(pb_method *m, pb_method_list_kind kind,
                                  const char *path) PB_MUST_USE;

/* Sets tensors by name (F32, F16 or BF16, exact shapes): every trained one must be there, frozen
 * ones may, nothing else. */
pb_status pb_method_set_values(pb_method *m, const pb_safetensors *file,
                               const char *path) PB_MUST_USE;
