// SPDX-License-Identifier: Apache-2.0
/* What the method files share: the map from sites to trainables, names, and the reading of
 * adapter_config.json. */
#pragma once

#include "pb/adapter.h"
#include "pb/python.h"

#include <jansson.h>

/* The one trainable of the methods that train what goes before the tokens; also what HF calls the
 * output of their encoders. */
#define PROMPT_NAME "prompt_embeddings"
/* adapter_keys that all prompt methods share. */
#define PROMPT_KEYS \
    "num_attention_heads num_layers num_transformer_submodules num_virtual_tokens token_dim "

#define PB_ENTRY(name, source) extern const pb_method_ops method_##name;
#include "registry.def"

/* targets.c ------------------------------------------------------------------------------------ */

/* The modules a method acts on, as HF PEFT chooses them; the first member of a method's options. */
typedef struct method_targets {
    pb_config_list targets; /* ends of paths, or "all-linear" alone; HF: target_modules, a list */
    char *target_pattern;   /* for the whole path, in place of targets; HF: a text */
    pb_config_list exclude; /* ends of paths; HF: exclude_modules, a list */
    char *exclude_pattern;  /* HF: a text */
    pb_config_ints layers;  /* HF: layers_to_transform */
    pb_config_list layer_lists; /* what the numbers count in; HF: layers_pattern */
} method_targets;

#define ALL_LINEAR "all-linear"

/* The fields of a method_targets at the start of the options; `default_`: of targets. */
#define TARGET_FIELDS(default_, help_)                                                       \
    PB_FIELD_TEXT_LIST(method_targets, targets, default_, help_),                            \
        PB_FIELD_TEXTS(PB_CONFIG_TEXT, PB_KEPT_BEFORE, method_targets, target_pattern, "",   \
                       "in place of targets: a regular expression (Python's) for the path"), \
        PB_FIELD_TEXTS(PB_CONFIG_TEXT_LIST, PB_KEPT_BEFORE, method_targets, exclude, "",     \
                       "targets to leave out, by the end of their path"),                    \
        PB_FIELD_TEXTS(PB_CONFIG_TEXT, PB_KEPT_BEFORE, method_targets, exclude_pattern, "",  \
                       "targets to leave out: a regular expression for the path"),           \
        PB_FIELD_INT_LIST_FOR(PB_KEPT_BEFORE, method_targets, layers, "", 0, 1048576,        \
                              "layers to act in, from 0; none given: all"),                  \
        PB_FIELD_TEXTS(PB_CONFIG_TEXT_LIST, PB_KEPT_BEFORE, method_targets, layer_lists, "", \
                       "names of the lists that layers are numbers of; none given: any")

/* Declares the tensors of one site. */
typedef pb_status (*site_plan)(pb_method *m, const pb_site *site);

/* Plans every site of that class that the targets (of the options) name, in the order of the sites,
 * and maps it to the first tensor that `plan` declares. A target that matches nothing is an error
 * that names the known ones. */
pb_status method_plan_sites(pb_method *m, pb_site_class site_class, site_plan plan) PB_MUST_USE;
/* A pattern in place of a list: both given in a configuration is an error. */
pb_status method_check_either(const pb_method *m, const char *list_key, const pb_config_list *list,
                              const char *pattern_key, const char *pattern) PB_MUST_USE;
/* `acts` of methods that act in one way, at the sites that were planned. */
unsigned acts_bound(const pb_method *m, const pb_site *site);
unsigned acts_low_rank(const pb_method *m, const pb_site *site);
unsigned acts_on_output(const pb_method *m, const pb_site *site);
/* Tensor number `which` of the site; NULL when the method does not act there. */
pb_trainable *site_trainable(const pb_method *m, const pb_site *site, int64_t which);

/* The keys of adapter_config.json that say where the adapter acts. Written are a list of ends or a
 * pattern; what narrows those is written as the list of the paths that are left. */
pb_status targets_read(const pb_adapter_config *c, method_targets *out) PB_MUST_USE;
/* For a method whose file has the targets alone, and whose options begin with them. */
pb_status targets_config_read(void *options, const pb_adapter_config *c) PB_MUST_USE;
void targets_write(const pb_method *m, pb_json *json);
/* Those keys become a list of paths. */
bool targets_are_narrowed(const pb_method *m);
/* The paths of the targets, or of those that are chosen. */
void targets_write_paths(const pb_method *m, const char *key,
                         bool (*chosen)(const pb_method *m, const pb_site *site), pb_json *json);

/* patterns.c ----------------------------------------------------------------------------------- */

/* Numbers for some of the targets: a list of texts "pattern=number" (HF: rank_pattern,
 * alpha_pattern). A pattern is a regular expression for the path or for what follows one of its
 * dots; the first that matches counts. */

/* *number = that of the site; as it was where none matches. */
pb_status patterns_find(const pb_method *m, const char *key, const pb_config_list *list,
                        const pb_site *site, double *number) PB_MUST_USE;
/* Before planning: every entry is a pattern and a number of at least `minimum`, whole where
 * `whole`; no pattern occurs twice. `key`: of the options, for messages. */
pb_status patterns_check(const pb_method *m, const char *key, const pb_config_list *list,
                         double minimum, bool whole) PB_MUST_USE;
/* Of that, only the last. */
pb_status patterns_check_unique(const pb_method *m, const char *key,
                                const pb_config_list *list) PB_MUST_USE;
/* After planning: in a configuration, a pattern that matches none of the targets is an error. */
pb_status patterns_used(const pb_method *m, const char *key,
                        const pb_config_list *list) PB_MUST_USE;
pb_status patterns_read(const pb_adapter_config *c, const char *key,
                        pb_config_list *out) PB_MUST_USE;
/* The same for an object of other values, named `of` in messages: `entry` makes a text of each. */
typedef pb_status (*pattern_entry)(const pb_adapter_config *c, const char *key, const char *pattern,
                                   const json_t *value, pb_string *out);
pb_status patterns_read_each(const pb_adapter_config *c, const char *key, const char *of,
                             pattern_entry entry, pb_config_list *out) PB_MUST_USE;
void patterns_write(const pb_config_list *list, const char *key, pb_json *json);

/* values.c ------------------------------------------------------------------------------------- */

/* Sets the name; one that does not fit is an error. */
pb_status trainable_name(pb_trainable *t, const char *format, ...) PB_MUST_USE PB_PRINTF(2, 3);
/* The file of an adapter has what was declared. */
pb_status method_check_file(const pb_method *m) PB_MUST_USE;
/* Allocates values and gradients and fills the values. */
pb_status method_allocate(pb_method *m) PB_MUST_USE;
pb_status method_initialise(pb_method *m) PB_MUST_USE;
/* One flat view of a contiguous tensor. */
pb_tensor method_flat(const pb_tensor *t);

/* method.c ------------------------------------------------------------------------------------- */

/* What a plan works from: options of a configuration, or of an adapter with its file of values. */
struct pb_method_source {
    const pb_config *config; /* NULL: none */
    const char *group;
    const char *adapter;        /* path of the adapter_config.json; NULL: none */
    const pb_safetensors *file; /* of its values; a tensor of another size is not declared */
    const char *file_path;
    bool is_whole; /* the file has the frozen tensors too, but for derived ones */
    pb_re_set *expressions;
};

/* As pb_method_create_take, from `source`, whose expressions are the plan's. */
pb_status method_create(const pb_method_ops *ops, void **options, const pb_model *model,
                        pb_backend *backend, uint64_t seed, pb_method_source *source,
                        pb_method **out) PB_MUST_USE;

/* For plan slots: puts the place of an option (entry `index` of its list, -1: none), or its name in
 * an adapter, before the message of a failure; gives `status` back. */
pb_status method_at(const pb_method *m, const char *key, int64_t index,
                    pb_status status) PB_MUST_USE;
/* The option was given, and not left at its default. */
bool method_is_given(const pb_method *m, const char *key);
/* An option's name where it was given: as it is, or HF's in an adapter. */
const char *method_key(const pb_method *m, const char *key);
/* For plan slots: re.fullmatch; see pb/python.h. */
pb_status method_matches(const pb_method *m, const char *before, const char *regex,
                         const char *after, const char *path, bool *matches) PB_MUST_USE;

/* adapter_json.c ------------------------------------------------------------------------------- */

/* *out = these texts, copied; what it held is freed. */
pb_status targets_set(const char *const *texts, size_t count, pb_config_list *out) PB_MUST_USE;

/* Each leaves *out as it is when the key is absent or null, and refuses other types by name. */
pb_status adapter_int(const pb_adapter_config *c, const char *key, int64_t minimum,
                      int64_t *out) PB_MUST_USE;
pb_status adapter_number(const pb_adapter_config *c, const char *key, double *out) PB_MUST_USE;
/* A probability of dropping: from 0, below 1. */
pb_status adapter_dropout(const pb_adapter_config *c, const char *key, double *out) PB_MUST_USE;
/* The key is there and is not null, false, 0, "none" or empty. */
bool adapter_is_on(const pb_adapter_config *c, const char *key);
/* Keys (NULL-terminated) that HF PEFT cannot compute with when they are null. */
pb_status adapter_refuse_null(const pb_adapter_config *c, const char *const *keys) PB_MUST_USE;
pb_status adapter_bool(const pb_adapter_config *c, const char *key, bool *out) PB_MUST_USE;
/* NULL when absent. */
pb_status adapter_text(const pb_adapter_config *c, const char *key, const char **out) PB_MUST_USE;
/* *out = the place of the text among `names` (NULL-terminated); another one is refused. */
pb_status adapter_choice(const pb_adapter_config *c, const char *key, const char *const *names,
                         int *out) PB_MUST_USE;
/* A list of texts replaces *out; sorted, since HF writes sets in random order. */
pb_status adapter_list(const pb_adapter_config *c, const char *key,
                       pb_config_list *out) PB_MUST_USE;
/* An integer or a list of them replaces *out. */
pb_status adapter_ints(const pb_adapter_config *c, const char *key,
                       pb_config_ints *out) PB_MUST_USE;
/* A text replaces *text, a list *list; a text that is empty changes nothing. */
pb_status adapter_text_or_list(const pb_adapter_config *c, const char *key, char **text,
                               pb_config_list *list) PB_MUST_USE;
/* Keys (NULL-terminated) that change the mathematics: anything but absent, null, false, 0, "none",
 * [] or {} is refused by name. */
pb_status adapter_refuse(const pb_adapter_config *c, const char *const *keys) PB_MUST_USE;
/* One warning that lists the keys which HF PEFT does not write for this peft_type; adapter_keys.c.
 */
pb_status adapter_warn_unknown(const pb_adapter_config *c, const char *type) PB_MUST_USE;
/* An integer that the model gives: another value is refused. */
pb_status adapter_expect(const pb_adapter_config *c, const char *key, int64_t expected) PB_MUST_USE;
/* 0 as 0.0, as HF PEFT writes it. */
void adapter_write_dropout(double dropout, const char *key, pb_json *json);
/* The keys that all prompt methods share. `heads` and `width`: of one virtual row. */
void adapter_write_prompt(const pb_method *m, int64_t rows, int64_t heads, int64_t width,
                          pb_json *json);
