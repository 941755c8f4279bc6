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
