// SPDX-License-Identifier: Apache-2.0
/* The network's own structures: what a layer keeps for its backward, the scratch all layers share,
 * and the state of one pass. Everything is a view into one block of backend memory, laid out by
 * activations.c. */
#pragma once

#include "pb/network.h"

/* What is kept of a layer for its backward: nothing that an elementwise operation can recompute.
 * Q is the number of rows whose output is wanted: T, or U in the last layer. */
typedef struct layer_acts {
    pb_tensor x;            /* [T, D] input */
    pb_tensor q;            /* [Q, H·E] after norm and rope */
    pb_tensor keys, values; /* [S, K·E] after norm and rope */
    pb_tensor raw_q, raw_k; /* [Q, H·E], [T, K·E] before their norms, where there are any */
    pb_tensor attn;         /* [Q, H·E] */
    pb_tensor lse;          /* [Q, H] */
    pb_tensor attn_out;     /* [Q, D] before the norm on it, where there is one */
    pb_tensor mid;          /* [Q, D] after the attention block */
    pb_tensor gate, up;     /* [Q, F] */
    pb_tensor gate_up;      /* [Q, 2F] both, where one product makes them */
    pb_tensor mlp_out;      /* [Q, D] as attn_out */
    pb_tensor kept[PB_SITE_LAYER_KINDS]; /* the method's, [rows, kept_width] */
} layer_acts;

typedef struct scratch {
    pb_tensor h;                    /* [T, D] normed input */
    pb_tensor hq;                   /* [U, D] its wanted rows, in the last layer */
    pb_tensor qkv, dqkv;            /* [T, (H + 2K)·E] where one product makes all three */
    pb_tensor act;                  /* [T, F] gated */
    pb_tensor site;                 /* [T, max in] a method's changed input */
    pb_tensor method;               /* [T, 2 · max scratch_width] */
    pb_tensor out, normed;          /* [U, D] last layer's output; after the final norm */
    pb_tensor head_in, logits;      /* [chunk, D], [chunk, V] */
    pb_tensor losses;               /* [N], F64, of the labels */
    pb_tensor choices;              /* [2 · U] in generation: ids, I32, then their logits, F32 */
    pb_tensor virtual_keys;         /* [n, L·2·K·E] */
    pb_tensor dx, dh, dy;           /* [T, D] */
    pb_tensor dxq, dhq;             /* [U, D] */
    pb_tensor dq, dattn;            /* [T, H·E] */
    pb_tensor dkeys, dvalues;       /* [S, K·E] */
    pb_tensor dgate, dup, dgate_up; /* [T, F], [T, F], [T, 2F] */
    pb_tensor dsite;                /* [T, max in] */
    pb_tensor dvirtual_keys;        /* [n, L·2·K·E] */
    pb_tensor new_keys, new_values; /* [T, K·E] before they go to a cache */
} scratch;

/* What a pass wants, which decides the layout. */
typedef struct pass_shape {
    int64_t rows;   /* T */
    int64_t keys;   /* S */
    int64_t outs;   /* U; T when outputs are wanted everywhere */
    int64_t labels; /* N */
    int64_t virtual_rows, virtual_keys;
    bool backward;
    bool cached; /* keys and values are in a cache of the caller */
} pass_shape;

/* Keys and values of all layers, outside of the pass. */
typedef struct kv_cache {
    pb_tensor *keys, *values; /* [L] of [capacity, K·E] */
} kv_cache;

enum { PASS_FULL, PASS_WINDOW, PASS_OUTS, PASS_PLANS }; /* kinds of layers */

/* What the operations of a pass read. */
typedef struct pass_page {
    pb_list ids, positions, out_rows, out_positions, label_slots, targets, key_rows;
    pb_tensor grad_scales; /* F32 [parts] */
    pb_attention_plan plans[PASS_PLANS];
} pass_page;

/* What of a pass belongs to one network, whose method acts there; parts follow one another. */
typedef struct pass_part {
    pb_network *net;
    int64_t row, rows; /* packed rows, the virtual ones first */
    int64_t out, outs; /* wanted rows */
    int64_t label, labels;
    int64_t key; /* first virtual key */
    int64_t virtual_rows, virtual_keys;
    double *sum; /* F64 [1], backend memory: += that of the losses, in training */
} pass_part;

/* Of the rows of a part, or of those among them that are wanted. */
typedef struct pass_range {
    int64_t first, count;
} pass_range;

/* One forward (and backward) over a forest. A list that is NULL is not needed. */
typedef struct pass {
    const pb_forest *forest;
    const int32_t *ids, *positions;          /* [T] */
    const int32_t *out_rows, *out_positions; /* [U]; NULL: all rows are wanted */
    const int32_t *label_slots, *targets;    /* [N] */
    const int32_t *key_rows;                 /* [T] where their keys go in a cache */
    uint64_t number;                         /* of the forward pass, in training */
    pass_shape shape;
    const pass_part *parts; /* [part_count]; NULL: all of it is the network's own */
    int64_t part_count;
    const float *grad_scales; /* [part_count], in training */
    pass_part own;            /* that one part, made by network_prepare, as is the page */
    float grad_scale;         /* of it */
    double *sum;              /* of it */
    pass_page page;
    pb_site_context context;
    kv_cache *cache;      /* NULL in training and evaluation of a loss */
    float *const *hidden; /* [L + 1], or NULL */
} pass;

/* What the backward has to reach in a layer. */
typedef struct layer_need {
    bool backward; /* anything at all */
    bool dx;       /* the gradient of the layer's input */
    bool attn;     /* the backward passes the feed-forward block into the attention block */
} layer_need;

/* Memory of passes, shared by networks of which one at a time has a pass. */
typedef struct pass_memory {
    int64_t users;
    float *rope[2]; /* [rope_positions, E] of the full and of the sliding layers; one where equal */
    int64_t rope_positions;
    void *block; /* backend memory */
    size_t block_bytes;
    void *cache; /* of the last generation, on a device */
    size_t cache_bytes;
} pass_memory;

/* What a network writes into the borders of the weights, which all networks over these share. */
typedef struct part_border {
    int64_t columns;        /* of activations as of the weights; 0: no part rides */
    pb_scaled_copy *copies; /* [2 · sites] for one writing */
    uint64_t owner;         /* that the network was when it took them last */
    uint64_t version;       /* of the values that it wrote */
} part_border;

struct pb_network {
    pb_weights *weights;
    const pb_model *model;
    const pb_model_config *config;
    pb_backend *backend;
    pb_dtype act;               /* of what passes between operations */
    pb_method *method;          /* may be NULL */
    pb_network *const *members; /* of a gang's network, which has no method of its own */
    int64_t member_count;       /* 0: this is none */
    pb_binding *bindings;       /* [sites] */
    unsigned *acts;             /* [sites] PB_ACTS_*; of a gang: those of any member */
    layer_need *needs;          /* [L] */
    bool embedding_backward;    /* rows or the embedding are trained */
    int64_t scratch_width;      /* largest of the method */
    part_border border;
    pb_linear_part *low_ranks; /* [member_count or 1] of the parts that share a product */
    bool warned_of_positions;
    unsigned without; /* what is not saved */

    void **merged; /* [sites] backend memory of merged weights, or NULL */

    pass_memory *memory;
    layer_acts *layers; /* [L] views of the last pass */
    scratch scratch;
    pb_tensor label_losses; /* of the last pass, without the padding's */
};

bool network_saves(const pb_network *net, pb_saving saving);

/* Rows of logits that exist at once: bounded so that they never dominate memory. */
int64_t network_chunk(const pb_network *net, int64_t outs, int64_t labels);

/* Checks the ids and makes the page, rope tables and views of the pass. */
pb_status network_prepare(pb_network *net, pass *p) PB_MUST_USE;
/* Rows longer than the model was made for are computed, as in transformers, but not silently. */
void network_warn_of_positions(pb_network *net, const pass *p);
/* The memory that the operations of a prepared pass need for themselves. */
pb_status network_reserve(pb_network *net, const pass *p) PB_MUST_USE;

/* Lays out the views for a pass; grows the block when it has to. */
pb_status network_layout(pb_network *net, const pass_shape *shape) PB_MUST_USE;

/* A part's share of x, which has `factor` rows for every row of the pass or for every wanted
 * one. */
pass_range network_part_range(const pass *p, const pass_part *part, const pb_tensor *x,
                              int64_t factor);
/* The same rows of what methods work in or keep: [rows, width], contiguous. `all` is at least as
 * wide. */
pb_tensor network_part_region(const pb_tensor *all, pass_range range, int64_t width);

/* Finds out whether parts of the method may ride, and provides for it. */
pb_status network_open_border(pb_network *net) PB_MUST_USE;
/* The borders hold what the method adds now: they are written unless they still do. */
pb_status network_write_border(pb_network *net) PB_MUST_USE;
bool network_holds_border(const pb_network *net);

/* How many parts from `first` on share a product with the frozen weight of a site whose input is x:
 * their method binds nothing there and leaves the input alone, and a row's bits do not depend on
 * the number of rows. */
int64_t network_share(const pb_network *net, const pass *p, const pb_site *site, const pb_tensor *x,
                      int64_t first);
/* The same for the head, whose rows are those of labels: all of them fit into one chunk. */
int64_t network_share_head(const pb_network *net, const pass *p, int64_t first);
/* Tries the numbers of rows of all products that the parts of a pass could share, where that was
 * not done before; it has its memory, which is free. */
pb_status network_try_shares(pb_network *net, const pass *p) PB_MUST_USE;

/* Finds what the backward of a network has to reach: `needs` and `embedding_backward`. */
void network_find_needs(pb_network *net);
/* Frees the memory of passes unless another network uses it, too. */
void network_leave_memory(pb_network *net);
/* *out = rows of keys or values [rows, width] for a generation. They stay where they are from one
 * generation to the next: graphs refer to them, and fresh pages cost time. */
pb_status network_provide_cache(pb_network *net, int64_t rows, int64_t width,
                                pb_tensor *out) PB_MUST_USE;
/* A pass over the batch without parts of its own. */
pass network_pass_over(const pb_batch *batch, bool backward);
/* Rows that are generated together. */
typedef struct generate_rows {
    const pb_sample *prompts; /* [count] without labels */
    int64_t count;
    const int64_t *numbers; /* [count] of the rows among `all`, for messages; NULL: 0, 1, … */
    int64_t all;
} generate_rows;

/* A pass that was prepared, for pb_repeat. */
typedef struct prepared {
    pb_network *net;
    const pass *pass;
} prepared;

/* On failure rows may have ids that are to be freed. */
pb_status network_generate_cached(pb_network *net, const generate_rows *rows,
                                  const pb_generate_options *options,
                                  pb_generated *out) PB_MUST_USE;
bool network_generation_stops(const pb_generate_options *options, int32_t id);
/* From the ids to the gradients and the sums of losses. */
pb_status network_train_pass(pb_network *net, pass *p) PB_MUST_USE;
/* PB_ERR_ARGUMENT for a batch that was packed for another method, or without labels. */
pb_status network_check_batch(const pb_network *net, const pb_batch *batch) PB_MUST_USE;

/* NULL where the family has no such site. */
const pb_site *network_site(const pb_network *net, pb_site_kind kind, int64_t layer);
pb_rmsnorm_args network_norm_args(const pb_network *net);

/* y = W x (+ bias), with the method's hooks, + residual, none: zeros. */
pb_status network_linear_forward(pb_network *net, const pass *p, const pb_site *site, pb_tensor *y,
                                 const pb_tensor *x, pb_tensor *kept,
                                 const pb_tensor *residual) PB_MUST_USE;
/* dx = or += (accumulate); dx none: not wanted. dy may be changed. */
pb_status network_linear_backward(pb_network *net, const pass *p, const pb_site *site,
                                  pb_tensor *dy, const pb_tensor *x, pb_tensor *dx, bool accumulate,
                                  const pb_tensor *kept) PB_MUST_USE;
/* Weight and bias of a site, and what the method adds there, in *part. */
pb_linear network_linear_at(const pb_network *net, const pb_site *site, pb_linear_part *part);
/* The method changes the gradient of a site's output in place. */
bool network_linear_changes_dy(const pb_network *net, const pb_site *site);

pb_status network_layer_forward(pb_network *net, const pass *p, int64_t layer) PB_MUST_USE;
/* The gradient of the layer's output is in scratch.dxq (last layer) or scratch.dx; that of its
 * input goes to dx. */
pb_status network_layer_backward(pb_network *net, const pass *p, int64_t layer) PB_MUST_USE;

/* What the two blocks of a layer share. Kinds that the family lacks are never trained. */
bool layer_is_last(const pb_network *net, int64_t layer);
/* Only some rows of this layer are wanted: out_rows of the pass. */
bool layer_is_subset(const pb_network *net, const pass *p, int64_t layer);
/* Which of the page's attention plans the layer has, and that plan in a prepared pass. */
int layer_plan_index(const pb_network *net, const pass *p, int64_t layer);
const pb_attention_plan *layer_plan(const pb_network *net, const pass *p, int64_t layer);
bool layer_has(const pb_network *net, pb_site_kind kind);
bool layer_trains(const pb_network *net, pb_site_kind kind, int64_t layer);
pb_status layer_norm_forward(pb_network *net, const pass *p, pb_site_kind kind, int64_t layer,
                             pb_tensor *y, const pb_tensor *x) PB_MUST_USE;
/* dx = or += (add) */
pb_status layer_norm_backward(pb_network *net, const pass *p, pb_site_kind kind, int64_t layer,
                              pb_tensor *dx, const pb_tensor *dy, const pb_tensor *x,
                              bool add) PB_MUST_USE;
pb_status layer_linear_forward(pb_network *net, const pass *p, pb_site_kind kind, int64_t layer,
                               pb_tensor *y, const pb_tensor *x) PB_MUST_USE;
pb_status layer_linear_backward(pb_network *net, const pass *p, pb_site_kind kind, int64_t layer,
                                pb_tensor *dy, const pb_tensor *x, pb_tensor *dx,
                                bool accumulate) PB_MUST_USE;
/* The end of a block: y = residual + norm(W x), or residual + W x where the family has no norm
 * there; `raw` keeps W x for the backward. */
pb_status layer_out_forward(pb_network *net, const pass *p, pb_site_kind linear, pb_site_kind norm,
                            int64_t layer, pb_tensor *y, pb_tensor *raw, const pb_tensor *x,
                            const pb_tensor *residual) PB_MUST_USE;
/* dx: gradient of y, kept for the residual; dinput: of x, none where it is not wanted. */
pb_status layer_out_backward(pb_network *net, const pass *p, pb_site_kind linear, pb_site_kind norm,
                             int64_t layer, const pb_tensor *dx, const pb_tensor *raw,
                             const pb_tensor *x, pb_tensor *dinput) PB_MUST_USE;

/* mid = x + …(attention) */
pb_status layer_attention_forward(pb_network *net, const pass *p, int64_t layer) PB_MUST_USE;
/* scratch.dxq or scratch.dx: gradient of mid on entry; scratch.dx: of x on return. */
pb_status layer_attention_backward(pb_network *net, const pass *p, int64_t layer) PB_MUST_USE;
/* out = mid + …(feed forward) */
pb_status layer_feed_forward_forward(pb_network *net, const pass *p, int64_t layer) PB_MUST_USE;
/* dx: gradient of out on entry, of mid on return (where the attention block needs it). */
pb_status layer_feed_forward_backward(pb_network *net, const pass *p, int64_t layer,
                                      pb_tensor *dx) PB_MUST_USE;

/* Embedding, all layers. The last layer's output is scratch.out [U, D]. */
pb_status network_body_forward(pb_network *net, const pass *p) PB_MUST_USE;
/* The gradient of the last layer's output is in scratch.dxq. */
pb_status network_body_backward(pb_network *net, const pass *p) PB_MUST_USE;
/* y = norm(x), x [n, …] with `heads` rows for every row or wanted row of the pass; each part by its
 * own weight. */
pb_status network_norm_forward(pb_network *net, const pass *p, const pb_site *site, int64_t heads,
                               pb_tensor *y, const pb_tensor *x) PB_MUST_USE;
/* dx = or += (add) */
pb_status network_norm_backward(pb_network *net, const pass *p, const pb_site *site, int64_t heads,
                                pb_tensor *dx, const pb_tensor *dy, const pb_tensor *x,
                                bool add) PB_MUST_USE;
/* scratch.normed, the final norm of scratch.out. */
pb_status network_head_norm(pb_network *net, const pass *p) PB_MUST_USE;
/* Logits [n, V] (backend memory) of normed rows x [n, D]. */
pb_status network_head_logits(const pb_network *net, const pb_tensor *x,
                              pb_tensor *logits) PB_MUST_USE;
/* Logits [n, V] of rows [n] of scratch.normed, to the host. */
pb_status network_head_rows(pb_network *net, const pb_list *rows, float *logits) PB_MUST_USE;
/* scratch.losses of all labels and, in a pass with a backward, the gradient of each part's
 * grad_scale · their sum by the last layer's output in scratch.dxq. */
pb_status network_head_loss(pb_network *net, const pass *p) PB_MUST_USE;

/* Elements per row that the method keeps at a site from the forward to the backward, and half of
 * those that it works in. */
int64_t network_kept_width(const pb_network *net, const pb_site *site);
int64_t network_scratch_width(const pb_network *net, const pb_site *site);

int64_t network_virtual_rows(const pb_network *net);
int64_t network_virtual_keys(const pb_network *net);
