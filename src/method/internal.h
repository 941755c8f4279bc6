// SPDX-License-Identifier: Apache-2.0
/* What the method files share: the map from sites to trainables, names, and the reading of
 * adapter_config.json. */
#pragma once

#include "pb/adapter.h"

#include <jansson.h>

/* The one trainable of the methods that train what goes before the tokens; also what HF calls the
 * output of their encoders. */
#define PB_PROMPT_NAME "prompt_embeddings"
/* adapter_keys that all prompt methods share. */
#define PB_PROMPT_KEYS \
    "num_attention_heads num_layers num_transformer_submodules num_virtual_tokens token_dim "

#define PB_ENTRY(name, source) extern const pb_method_ops pb_method_##name;
#include "registry.def"

/* targets.c ------------------------------------------------------------------------------------ */

/* True when HF's rule matches: the module's path is `target`, or ends with a dot and `target`. */
bool pb_target_matches(const pb_site *site, const char *target);

/* *out = these texts, copied; what it held is freed. */
pb_status pb_targets_set(const char *const *texts, size_t count, pb_config_list *out) PB_MUST_USE;

/* Declares the tensors of one site. */
typedef pb_status (*pb_site_plan)(pb_method *m, const pb_site *site);

/* Plans every site of that class that one of the targets matches, in the order of the sites, and
 * maps it to the first tensor that `plan` declares. A target that matches nothing is an error that
 * names the known ones. */
pb_status pb_method_plan_sites(pb_method *m, const pb_config_list *targets,
                               pb_site_class site_class, pb_site_plan plan) PB_MUST_USE;
/* Tensor number `which` of the site; NULL when the method does not act there. */
pb_trainable *pb_site_trainable(const pb_method *m, const pb_site *site, int64_t which);

/* values.c ------------------------------------------------------------------------------------- */

/* Sets the name; one that does not fit is an error. */
pb_status pb_trainable_name(pb_trainable *t, const char *format, ...) PB_MUST_USE PB_PRINTF(2, 3);
/* Weight decay applies to all but biases and norm weights, told by name as HF's trainer does. */
bool pb_trainable_decays(const char *name);
/* Allocates values and gradients and fills the values. */
pb_status pb_method_allocate(pb_method *m) PB_MUST_USE;
pb_status pb_method_initialise(pb_method *m) PB_MUST_USE;
/* One flat view of a contiguous tensor. */
pb_tensor pb_flat(const pb_tensor *t);

/* method.c ------------------------------------------------------------------------------------- */

/* For plan slots: puts the place of an option (entry `index` of its list, -1: none) before the
 * message of a failure; gives `status` back. */
pb_status pb_method_at(const pb_method *m, const char *key, int64_t index,
                       pb_status status) PB_MUST_USE;

/* adapter_json.c ------------------------------------------------------------------------------- */

/* Each leaves *out as it is when the key is absent or null, and refuses other types by name. */
pb_status pb_adapter_int(const pb_adapter_config *c, const char *key, int64_t minimum,
                         int64_t *out) PB_MUST_USE;
pb_status pb_adapter_number(const pb_adapter_config *c, const char *key, double *out) PB_MUST_USE;
/* Keys (NULL-terminated) that HF PEFT cannot compute with when they are null. */
pb_status pb_adapter_refuse_null(const pb_adapter_config *c, const char *const *keys) PB_MUST_USE;
pb_status pb_adapter_bool(const pb_adapter_config *c, const char *key, bool *out) PB_MUST_USE;
/* NULL when absent. */
pb_status pb_adapter_text(const pb_adapter_config *c, const char *key,
                          const char **out) PB_MUST_USE;
/* *out = the place of the text among `names` (NULL-terminated); another one is refused. */
pb_status pb_adapter_choice(const pb_adapter_config *c, const char *key, const char *const *names,
                            int *out) PB_MUST_USE;
/* A list of texts replaces *out; sorted, since HF writes sets in random order. */
pb_status pb_adapter_list(const pb_adapter_config *c, const char *key,
                          pb_config_list *out) PB_MUST_USE;
/* target_modules, which must be there; "all-linear" stands for the seven linears of a layer. */
pb_status pb_adapter_targets(const pb_adapter_config *c, pb_config_list *out) PB_MUST_USE;
/* Keys (NULL-terminated) that change the mathematics: anything but absent, null, false, 0, "none",
 * [] or {} is refused by name. */
pb_status pb_adapter_refuse(const pb_adapter_config *c, const char *const *keys) PB_MUST_USE;
/* One warning that lists the keys which HF PEFT does not write for this peft_type; adapter_keys.c.
 */
pb_status pb_adapter_warn_unknown(const pb_adapter_config *c, const char *type) PB_MUST_USE;
/* An integer that the model gives: another value is refused. */
pb_status pb_adapter_expect(const pb_adapter_config *c, const char *key,
                            int64_t expected) PB_MUST_USE;
void pb_adapter_write_list(const pb_config_list *list, const char *key, pb_json *json);
/* The keys that all prompt methods share. `heads` and `width`: of one virtual row. */
void pb_adapter_write_prompt(const pb_method *m, int64_t rows, int64_t heads, int64_t width,
                             pb_json *json);
