// SPDX-License-Identifier: Apache-2.0
/* A fine-tuning method: one file per method, each a table of slots that says at which sites of the
 * network it acts.
 *
 * The network knows sites, not methods; a method knows its slots, not the network; the trainer
 * knows a list of trainable tensors and nothing else. A method fills only the slots it needs:
 *
 *   bind                    full, lntuning, bitfit   own copies of weights, norms, biases
 *   linear_input_*          ia3 (feed-forward), hra  before a product
 *   low_rank                lora, adalora, vera      beside a product
 *   linear_output_*         ia3, bn_adapter, dora …  after a product
 *   rows_*                  prompt, p-tuning         virtual rows before the tokens
 *   keys_*                  prefix                   keys and values before those of the tokens
 *   values_changed          dora, hra                recomputes what follows from the values
 *   frozen_changed          svft                     the same for values that are not trained
 *   penalty, after_step     adalora                  a term of the loss; a schedule of its own
 *   baseline                majority, random, …      no model is run
 *   (none)                  none
 */
#pragma once

#include "pb/archive.h"
#include "pb/backend.h"
#include "pb/baseline.h"
#include "pb/config.h"
#include "pb/json.h"
#include "pb/safetensors.h"
#include "pb/trainable.h"
#include "pb/weights.h"

typedef struct pb_method pb_method;
typedef struct pb_method_ops pb_method_ops;
typedef struct pb_method_source pb_method_source;
typedef struct pb_adapter_config pb_adapter_config; /* pb/adapter.h */

/* What the network uses at a site in place of the frozen tensors. Only gradients that have a tensor
 * are computed. */
typedef struct pb_binding {
    pb_tensor weight, dweight; /* d: += */
    pb_tensor bias, dbias;
} pb_binding;

/* What a slot may know about the pass it runs in. */
typedef struct pb_site_context {
    bool training;      /* dropout acts */
    pb_tensor *scratch; /* [rows, 2 · scratch_width], undefined, for one call of a slot */
} pb_site_context;

enum {
    PB_ACTS_ON_INPUT   = 1, /* linear_input_* is called at this site */
    PB_ACTS_ON_OUTPUT  = 2, /* linear_output_* is called at this site */
    PB_ACTS_BOUND      = 4, /* bind put a trainable weight or bias here */
    PB_ACTS_LOW_RANK   = 8, /* low_rank describes what is added here; not together with ON_OUTPUT */
    PB_ACTS_AT_PRODUCT = PB_ACTS_ON_INPUT | PB_ACTS_ON_OUTPUT | PB_ACTS_LOW_RANK,
};

struct pb_method_ops {
    const char *name;
    const char *help; /* one line */
    size_t options_size;
    const pb_config_field *fields; /* of the options struct; NULL when there are none */

    /* required: declares the trainable tensors through pb_method_declare; allocates `state`. The
     * model may be without weights. */
    pb_status (*plan)(pb_method *m);

    /* optional */
    void (*destroy)(pb_method *m); /* frees `state` and what it holds; state may be NULL */
    /* Initial values that pb_init_kind cannot express; called after it was applied. */
    pb_status (*initialise)(pb_method *m);
    /* Recomputes what follows from frozen values, which only the start and a file change. */
    pb_status (*frozen_changed)(pb_method *m);
    /* Recomputes what follows from the values (norms, rotations, products of small factors), in
     * every step and when the method is attached to weights, which this may need. Does not wait. */
    pb_status (*values_changed)(pb_method *m);
    /* An error that says why nothing can be computed with the values, where that is so. Waits. */
    pb_status (*check_values)(pb_method *m);
    /* sum, F64 [1], += a term of the loss that depends on the values alone; `gradient`: its
     * gradient is added to the method's. It is part of every reported loss of training and
     * validation, once per step, and of the norm of the gradient. Does not wait. */
    pb_status (*penalty)(pb_method *m, bool gradient, pb_tensor *sum);
    pb_status (*check_steps)(pb_method *m, int64_t steps); /* the schedule fits a run of these */
    /* Before the first step: takes the memory of after_step; required with it. */
    pb_status (*begin_steps)(pb_method *m);
    /* After update `step` of `steps`, from 1; the gradients are those of the update, clipped. May
     * change values, also after a step that was not finite, which ends the run. Does not wait. */
    pb_status (*after_step)(pb_method *m, int64_t step, int64_t steps);
    /* Writes or reads what after_step keeps beside the values; required with it. */
    pb_status (*archive)(pb_method *m, pb_archive *archive);
    unsigned (*acts)(const pb_method *m, const pb_site *site); /* PB_ACTS_*; for all slots below */
    pb_status (*bind)(pb_method *m, pb_binding *bindings);     /* [pb_model_site_count] */

    /* The product of small factors that is added to W x + bias. Its dropout acts in training. */
    pb_low_rank (*low_rank)(const pb_method *m, const pb_site *site);
    /* x' = f(x); x, x' [T, in]. */
    pb_status (*linear_input_forward)(pb_method *m, const pb_site *site, const pb_site_context *ctx,
                                      pb_tensor *xout, const pb_tensor *x);
    /* dx: gradient of x' on entry, of x on return; adds to the gradients of its tensors. */
    pb_status (*linear_input_backward)(pb_method *m, const pb_site *site,
                                       const pb_site_context *ctx, pb_tensor *dx,
                                       const pb_tensor *x);
    /* y [T, out]: W x + bias on entry, changed in place. x is what the product saw. kept [T,
     * kept_width] survives to the backward. */
    pb_status (*linear_output_forward)(pb_method *m, const pb_site *site,
                                       const pb_site_context *ctx, pb_tensor *y, const pb_tensor *x,
                                       pb_tensor *kept);
    /* dy: gradient of the changed y on entry, of W x + bias on return; dx [T, in] += the method's
     * own way to x (none: not wanted). */
    pb_status (*linear_output_backward)(pb_method *m, const pb_site *site,
                                        const pb_site_context *ctx, pb_tensor *dy, pb_tensor *dx,
                                        const pb_tensor *x, const pb_tensor *kept);
    int64_t (*kept_width)(const pb_method *m, const pb_site *site); /* floats per row; absent: 0 */
    int64_t (*scratch_width)(const pb_method *m, const pb_site *site); /* the same */

    /* Dropout acts in training: prefixes may not be shared; absent: no. */
    bool (*drops)(const pb_method *m);

    int64_t (*virtual_rows)(const pb_method *m);              /* n; required with rows_* */
    pb_status (*rows_forward)(pb_method *m, pb_tensor *rows); /* rows [n, D] = */
    pb_status (*rows_backward)(pb_method *m, const pb_tensor *drows);

    int64_t (*virtual_keys)(const pb_method *m); /* n; required with keys_* */
    /* keys [n, L·2·K·E] =: columns of layer l: 2l keys, 2l + 1 values, each K·E wide. */
    pb_status (*keys_forward)(pb_method *m, pb_tensor *keys);
    pb_status (*keys_backward)(pb_method *m, const pb_tensor *dkeys);

    /* weight [out, in], bias [out] or none: in place. Not for low_rank, not at bound sites. */
    pb_status (*merge)(pb_method *m, const pb_site *site, pb_tensor *weight, pb_tensor *bias);

    /* Forward operations of the method's own at its sites, for `tokens` tokens: 2 per
     * multiply-accumulate of a product, 1 per element of a scaling; virtual rows and keys are
     * counted by the front. Absent: 0. */
    double (*extra_flops)(const pb_method *m, int64_t tokens);

    const pb_baseline *baseline; /* answers without a model; then there is no other slot */
    /* HF adapters: "LORA" (NULL: cannot be saved as one), and the keys that HF PEFT writes for the
     * type, separated by spaces; one of the methods that share it lists them. The file holds the
     * trainables, or with rows_* and keys_* their output under the name "prompt_embeddings". */
    const char *peft_type, *adapter_keys;
    /* Of methods that share a peft_type: true where the file is this one's. Absent: it always is.
     * One and only one may claim a file. */
    bool (*claims)(const pb_adapter_config *config);
    void (*adapter_config_write)(const pb_method *m, pb_json *json); /* "r": 8, … */
    /* options (holding the defaults) = what the file says. */
    pb_status (*adapter_config_read)(void *options, const pb_adapter_config *config);
    /* Cuts `host`, a copy of tensor `index`, down to what the file holds of it, in place. */
    pb_status (*saved_form)(pb_method *m, int64_t index, pb_tensor *host);
};

/* The instance: plain, so that slots reach their parts; made by pb_method_create and destroyed by
 * pb_method_destroy. */
struct pb_method {
    const pb_method_ops *ops;
    void *options; /* the struct that ops->fields describes */
    void *state;   /* the method's own */
    const pb_model *model;
    const char *base; /* what a saved adapter names as its model; NULL: the model's folder */
    pb_backend *backend;
    const pb_weights *weights; /* what it is attached to, or NULL */
    uint64_t seed, version;    /* version: of the values, another one whenever they changed */
    int64_t *sites;            /* [pb_model_site_count] first tensor of the site; -1: it has none */
    pb_trainable *trainables;
    int64_t count;
    int64_t parameters, frozen_parameters; /* sums of sizes: of what is trained, and of the rest */
    pb_tensor values, grads;               /* [parameters] */
    pb_tensor frozen;                      /* [frozen_parameters] */
    pb_method_source *source;              /* what the plan works from, as long as it runs */
};

const pb_method_ops *const *pb_method_registry(void); /* NULL-terminated */
/* Unknown: an error that names the nearest. */
pb_status pb_method_find(const char *name, const pb_method_ops **out) PB_MUST_USE;

/* The method that the key `name` of a group names; messages give the key's place. */
pb_status pb_method_find_in(const pb_config *config, const char *group,
                            const pb_method_ops **out) PB_MUST_USE;

const pb_config_field *pb_method_fields(const pb_method_ops *ops); /* of the options; never NULL */
/* Options (of ops->options_size) from `group` of `config` except its key "name"; config NULL: the
 * defaults. Owned by the caller until pb_method_create_take. */
pb_status pb_method_options_read(const pb_method_ops *ops, const pb_config *config,
                                 const char *group, void **options) PB_MUST_USE;
pb_status pb_method_options_copy(const pb_method_ops *ops, const void *options,
                                 void **copy) PB_MUST_USE;
void pb_method_options_free(const pb_method_ops *ops, void *options); /* options may be NULL */

/* Plans, allocates and initialises. Options are read from `group` of `config` (NULL: defaults)
 * except its key "name". backend NULL: only the plan, no values. The initial values depend on seed
 * alone. */
pb_status pb_method_create(const pb_method_ops *ops, const pb_config *config, const char *group,
                           const pb_model *model, pb_backend *backend, uint64_t seed,
                           pb_method **out) PB_MUST_USE;
/* The same from options that were read before; they are taken over and *options is NULL, also on
 * failure. `config` and `group`: what they were read from, for messages; may be NULL. */
pb_status pb_method_create_take(const pb_method_ops *ops, void **options, const pb_config *config,
                                const char *group, const pb_model *model, pb_backend *backend,
                                uint64_t seed, pb_method **out) PB_MUST_USE;
/* Gives values to a method planned over a model without weights; refuses methods that start from
 * weights. */
pb_status pb_method_give_values(pb_method *m, pb_backend *backend) PB_MUST_USE;
void pb_method_destroy(pb_method *m); /* accepts NULL */
/* For networks: the method acts on these weights, borrowed, from now on; NULL: on none. */
pb_status pb_method_attach(pb_method *m, const pb_weights *weights) PB_MUST_USE;

/* The effective weight and bias of a site: `weight` and `bias` (or none) are copies of the frozen
 * ones in backend memory, changed in place. Nothing changes at a bound site, where trained tensors
 * already replace the frozen ones. An error for methods that add rows or keys. */
pb_status pb_method_merge(pb_method *m, const pb_site *site, pb_tensor *weight,
                          pb_tensor *bias) PB_MUST_USE;

/* For plan slots: adds a tensor; `trainable` is copied, its `decay` follows from its name. Returns
 * its index through *index (may be NULL). */
pb_status pb_method_declare(pb_method *m, const pb_trainable *trainable,
                            int64_t *index) PB_MUST_USE;

/* To be called after writing to m->values: what follows from them is recomputed. */
pb_status pb_method_values_changed(pb_method *m) PB_MUST_USE;
/* Writes or reads the values and the state of a schedule. */
pb_status pb_method_archive(pb_method *m, pb_archive *archive) PB_MUST_USE;
/* The slots, where the method has them. */
pb_status pb_method_penalty(pb_method *m, bool gradient, pb_tensor *sum) PB_MUST_USE;
pb_status pb_method_check_values(pb_method *m) PB_MUST_USE;
/* As soon as the steps of a run are known; `config` and `group`: of the options, for messages. */
pb_status pb_method_check_steps(pb_method *m, const pb_config *config, const char *group,
                                int64_t steps) PB_MUST_USE;

/* Forward FLOPs of the adapted model, unmerged, for one sequence of `tokens` tokens, from the
 * shapes: with virtual rows and keys n = tokens + rows, k = n + keys: 2·n·(sum of in·out over
 * linears, head included) + 4·n·k·E·H·L + the method's own. m may be NULL. */
double pb_method_flops(const pb_method *m, const pb_model *model, int64_t tokens);
