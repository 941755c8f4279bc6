// SPDX-License-Identifier: Apache-2.0
/* The decoder network: forward and backward over packed batches, and greedy generation with a KV
 * cache.
 *
 * A network borrows the placed weights of a frozen model and a method, and owns the activations.
 * Head, loss and, in the last layer, queries and feed-forward exist for label rows only; the
 * backward stops at the lowest trainable site; frozen weights get no gradient. */
#pragma once

#include "pb/batch.h"
#include "pb/method.h"
#include "pb/weights.h"

typedef struct pb_network pb_network;

/* Both are borrowed for the network's life; method may be NULL (the bare model). */
pb_status pb_network_create(pb_weights *weights, pb_method *method, pb_network **out) PB_MUST_USE;
void pb_network_destroy(pb_network *net); /* accepts NULL */
pb_backend *pb_network_backend(const pb_network *net);

/* Folds the method into own copies of the weights where it acts on products; the network is then
 * for inference only. Methods that bind their tensors stay as they are; one that can be neither
 * bound nor merged is refused by name. */
pb_status pb_network_merge(pb_network *net) PB_MUST_USE;

/* What a network leaves out because no result needs it. Each can be done nevertheless, to measure
 * what that costs and to check that it changes nothing but the rounding of F32. */
typedef enum pb_saving {
    PB_SAVING_PADDING, /* rows are as long as they are, not as the longest one of their batch */
    PB_SAVING_PREFIX,  /* common beginnings of the rows of a batch are computed once */
    PB_SAVING_HEAD,    /* the vocabulary projection exists for labels only */
    PB_SAVING_LAST,    /* so do queries and feed-forward of the last layer */
    PB_SAVING_LOWEST,  /* the backward ends at the lowest trained site */
    PB_SAVING_CACHE,   /* generation keeps keys and values */
    PB_SAVING_LEAVING, /* finished rows leave the batch */
    PB_SAVING_DRAFTS,  /* answers that are likely are verified in one pass */
    PB_SAVING_ORDER,   /* rows of a test are ordered by their beginnings; by the caller */
    PB_SAVING_COUNT
} pb_saving;

extern const char *const pb_saving_names[]; /* "padding", … */

/* From now on the network saves everything but these: bits 1 << PB_SAVING_…. A member of a gang is
 * told before the gang is made. */
void pb_network_without(pb_network *net, unsigned savings);

/* How a batch must be packed for this network's method. `training`: dropout acts, so prefixes may
 * not be shared. */
pb_batch_options pb_network_batch_options(const pb_network *net, bool training);

/* Makes all memory ready that a step over this batch needs; steps over it and over smaller ones
 * then allocate nothing. */
pb_status pb_network_reserve(pb_network *net, const pb_batch *batch) PB_MUST_USE;

/* Losses -log p of the batch's labels; no gradient, no dropout. sum (F64 [1], backend memory; may
 * be NULL) += their sum, or, by_rows, samples · their mean. */
pb_status pb_network_loss(pb_network *net, const pb_batch *batch, bool by_rows,
                          pb_tensor *sum) PB_MUST_USE;
/* Those of the last pass by label: F64 [N], until the next pass. */
const pb_tensor *pb_network_losses(const pb_network *net);

/* Forward and backward: sum += the sum of -log p, and the gradients of grad_scale times that are
 * added to the method's. `pass` numbers the forward passes of a run (dropout). */
pb_status pb_network_step(pb_network *net, const pb_batch *batch, double grad_scale, uint64_t pass,
                          pb_tensor *sum) PB_MUST_USE;

/* The cause and the remedy of numbers that are not finite where nothing was trained. */
#define PB_NOT_FINITE_REMEDY                                                                     \
    "a value left the range of F32; use another checkpoint or adapter: this one is damaged, or " \
    "its "                                                                                       \
    "training diverged"

/* Logits [n, V] (host) of packed rows [n] of the batch. hidden, if not NULL: L + 1 host pointers,
 * each [T, D], filled as HF lists hidden states (0: the embedding; the last one after the final
 * norm). Logits that are not finite are PB_ERR_NUMERIC. */
pb_status pb_network_logits(pb_network *net, const pb_batch *batch, const int32_t *rows,
                            int64_t count, float *logits, float *const *hidden) PB_MUST_USE;

typedef struct pb_generate_options {
    int64_t max_new_tokens;
    const int32_t *stop_ids; /* generation of a row ends with one of these (kept as the last id) */
    int64_t stop_count;
    int64_t batch;           /* rows at once, see pb_groups_make; of a group, all are */
    const pb_sample *drafts; /* [draft_count] answers that are likely, each with its end: what
                                is generated is the same, in fewer passes */
    int64_t draft_count;
    bool (*stop)(void *context); /* asked before every token; true: PB_STOPPED. NULL: never */
    void *context;
} pb_generate_options;

/* The new ids of one row. */
typedef struct pb_generated {
    int32_t *ids;
    int64_t count;
} pb_generated;

/* Greedy, in the groups that pb_groups_make forms, sorted unless PB_SAVING_ORDER is off. Common
 * prefixes of a group are computed once, finished rows leave it. out [count], as the prompts: free
 * each with pb_memory_free(ids). On failure there is nothing to free; where the
 * largest logit of a row is not finite, there is nothing to choose: PB_ERR_NUMERIC. */
pb_status pb_network_generate(pb_network *net, const pb_sample *prompts, int64_t count,
                              const pb_generate_options *options, pb_generated *out) PB_MUST_USE;
/* The same for one group that the caller has formed. */
pb_status pb_network_generate_group(pb_network *net, const pb_sample *prompts, int64_t count,
                                    const pb_generate_options *options,
                                    pb_generated *out) PB_MUST_USE;
