// SPDX-License-Identifier: Apache-2.0
/* A pass over a forest: its lists, plans, rope tables and views are made ready, then it runs from
 * the ids to the last layer's output, and back. */
#include "internal.h"

#include "pb/log.h"
#include "pb/memory.h"
#include "pb/usage.h"

#include <inttypes.h>
#include <math.h>

enum { LARGEST_RANK = 256 }; /* of a method for whose factors memory is reserved */

static pb_status make_rope(pb_network *net, const pb_rope_config *rope, int64_t positions,
                           void **table)
{
    int64_t width = net->config->head_dim;
    float *host   = NULL;
    pb_status status;
    PB_TRY_GOTO(status, PB_ALLOC(host, positions * width), done);
    PB_TRY_GOTO(status, pb_model_rope_table(rope, width, positions, host), done);
    PB_TRY_GOTO(status,
                pb_backend_alloc(net->backend, (size_t)(positions * width) * sizeof *host, table),
                done);
    pb_tensor from = pb_tensor_2d(host, PB_DTYPE_F32, positions, width);
    pb_tensor to   = pb_tensor_2d(*table, PB_DTYPE_F32, positions, width);
    PB_TRY_GOTO(status, pb_copy(net->backend, &to, &from), done);
done:
    pb_memory_free(host);
    return status;
}

/* The tables of both ropes. On failure the old ones stay. */
static pb_status make_ropes(pb_network *net, int64_t positions)
{
    const pb_model_config *c    = net->config;
    const pb_rope_config *own[] = {&c->rope, &c->rope_sliding};
    pass_memory *memory         = net->memory;
    void *tables[2]             = {NULL, NULL};
    pb_status status            = PB_OK;
    for (int i = 0; i < (c->two_ropes ? 2 : 1) && status == PB_OK; i++) {
        status = make_rope(net, own[i], positions, &tables[i]);
    }
    for (int i = 0; i < 2; i++) {
        pb_backend_free(net->backend, status == PB_OK ? memory->rope[i] : tables[i]);
        memory->rope[i] = status == PB_OK ? tables[i] : memory->rope[i];
    }
    memory->rope_positions = status == PB_OK ? positions : memory->rope_positions;
    return status;
}

static int64_t position_count(const pass *p)
{
    int64_t count = 1;
    for (int64_t t = 0; t < p->shape.rows; t++) {
        count = p->positions[t] >= count ? p->positions[t] + 1 : count;
    }
    return count;
}

void network_warn_of_positions(pb_network *net, const pass *p)
{
    int64_t positions = position_count(p);
    if (positions > net->config->max_positions && !net->warned_of_positions) {
        net->warned_of_positions = true;
        pb_log_warn("a row has %" PRId64 " positions, the model was made for %" PRId64
                    " (max_position_embeddings); data.cutoff_tokens bounds them",
                    positions, net->config->max_positions);
    }
}

/* Tables grow in doubles. Those of a dynamic rope differ for every length beyond the model's own.
 */
static pb_status provide_ropes(pb_network *net, const pass *p)
{
    int64_t positions        = position_count(p);
    const pb_model_config *c = net->config;
    int64_t own              = c->max_positions;
    int64_t have             = net->memory->rope_positions;
    int64_t grown            = 2 * have > positions ? 2 * have : positions;
    bool dynamic = c->rope.type == PB_ROPE_DYNAMIC || c->rope_sliding.type == PB_ROPE_DYNAMIC;
    if (dynamic && positions > own) {
        return have != positions ? make_ropes(net, positions) : PB_OK;
    }
    if (dynamic) {
        grown = grown > own ? own : grown;
        return positions > have || have > own ? make_ropes(net, grown) : PB_OK;
    }
    return positions > have ? make_ropes(net, grown) : PB_OK;
}

static pb_status check_ids(const pb_network *net, const pass *p, const pass_part *part)
{
    for (int64_t t = 0; t < part->rows; t++) {
        bool virtual_row = t < part->virtual_rows; /* their ids are -1 */
        int32_t id       = p->ids[part->row + t];
        if (id >= net->config->vocab || (id < 0 && !virtual_row)) {
            return PB_FAIL(PB_ERR_ARGUMENT,
                           "token id %" PRId32 " is outside the model's vocabulary of %" PRId64
                           ": is this the model's own tokenizer?",
                           id, net->config->vocab);
        }
    }
    return PB_OK;
}

/* A pass without parts is one of this network alone. */
static void provide_parts(pb_network *net, pass *p)
{
    if (p->parts != NULL) {
        return;
    }
    p->own         = (pass_part){.net          = net,
                                 .rows         = p->shape.rows,
                                 .outs         = p->shape.outs,
                                 .labels       = p->shape.labels,
                                 .virtual_rows = p->shape.virtual_rows,
                                 .virtual_keys = p->shape.virtual_keys,
                                 .sum          = p->sum};
    p->parts       = &p->own;
    p->part_count  = 1;
    p->grad_scales = &p->grad_scale;
}

/* A list of the page; a list that the pass does not need stays empty. */
static pb_status put_list(pb_network *net, const char *name, const int32_t *host, int64_t count,
                          int64_t first, int64_t limit, pb_list *out)
{
    *out = (pb_list){0};
    return host != NULL ? pb_page_list(net->backend, name, host, count, first, limit, out) : PB_OK;
}

static pb_status put_lists(pb_network *net, pass *p)
{
    const pass_shape *s = &p->shape;
    pass_page *page     = &p->page;
    int64_t limit       = net->memory->rope_positions;
    PB_TRY(put_list(net, "ids", p->ids, s->rows, -1, net->config->vocab, &page->ids));
    PB_TRY(put_list(net, "positions", p->positions, s->rows, 0, limit, &page->positions));
    PB_TRY(put_list(net, "out_rows", p->out_rows, s->outs, 0, s->rows, &page->out_rows));
    PB_TRY(
        put_list(net, "out_positions", p->out_positions, s->outs, 0, limit, &page->out_positions));
    PB_TRY(put_list(net, "label_slots", p->label_slots, s->labels, 0, s->outs, &page->label_slots));
    PB_TRY(put_list(net, "targets", p->targets, s->labels, -1, net->config->vocab, &page->targets));
    PB_TRY(pb_page_floats(net->backend, p->grad_scales, p->part_count, &page->grad_scales));
    return put_list(net, "key_rows", p->key_rows, s->rows, 0, s->keys, &page->key_rows);
}

/* One plan for every kind of layer that the model has. */
static pb_status put_plans(pb_network *net, pass *p)
{
    const pb_model_config *c = net->config;
    for (int64_t l = 0; l < c->layers; l++) {
        pb_attention_plan *plan = &p->page.plans[layer_plan_index(net, p, l)];
        bool subset             = layer_is_subset(net, p, l);
        if (plan->parts != NULL) {
            continue;
        }
        PB_TRY(pb_page_plan(net->backend,
                            &(pb_attention_args){
                                .forest     = p->forest,
                                .heads      = c->heads,
                                .kv_heads   = c->kv_heads,
                                .head_dim   = c->head_dim,
                                .scale      = (float)(1.0 / sqrt(c->query_scalar)),
                                .window     = pb_model_window(c, l),
                                .only_rows  = subset ? p->out_rows : NULL,
                                .only_count = subset ? p->shape.outs : 0,
                                .backward   = p->shape.backward,
                            },
                            plan));
    }
    return PB_OK;
}

pb_status network_prepare(pb_network *net, pass *p)
{
    if (p->shape.rows == 0) {
        return PB_FAIL(PB_ERR_ARGUMENT, "a batch without rows cannot be computed");
    }
    provide_parts(net, p);
    for (int64_t i = 0; i < p->part_count; i++) {
        PB_TRY(check_ids(net, p, &p->parts[i]));
    }
    PB_TRY(provide_ropes(net, p));
    PB_TRY(network_write_border(net));
    PB_TRY(pb_page_begin(net->backend, p->number));
    PB_TRY(put_lists(net, p));
    PB_TRY(put_plans(net, p));
    PB_TRY(pb_page_end(net->backend));
    PB_TRY(network_layout(net, &p->shape));
    return network_try_shares(net, p);
}

/* The widest rows that a product of a layer takes in, forward or backward. */
static int64_t widest_factor(const pb_model_config *c)
{
    int64_t qkv    = (c->heads + 2 * c->kv_heads) * c->head_dim;
    int64_t widest = 2 * c->ff > qkv ? 2 * c->ff : qkv;
    return widest > c->width ? widest : c->width;
}

static bool has_narrow_weights(const pb_network *net)
{
    for (int64_t i = 0; i < pb_model_site_count(net->model); i++) {
        if (net->bindings[i].weight.dtype != PB_DTYPE_F32) {
            return true;
        }
    }
    return false;
}

/* The most elements of a weight that products convert; factors of a method are smaller. */
static int64_t largest_converted(const pb_network *net)
{
    pb_dtype act    = pb_backend_activation(net->backend);
    int64_t largest = LARGEST_RANK * widest_factor(net->config);
    for (int64_t i = 0; i < pb_model_site_count(net->model); i++) {
        const pb_tensor *weight = &net->bindings[i].weight;
        bool converted          = weight->ndim == 2 && weight->dtype != act;
        largest =
            converted && pb_tensor_count(weight) > largest ? pb_tensor_count(weight) : largest;
    }
    return largest;
}

/* Low-rank parts keep as many columns as their rank. */
static int64_t largest_rank(const pb_network *net)
{
    int64_t largest = 0;
    for (int64_t i = 0; i < pb_model_site_count(net->model); i++) {
        int64_t width = network_kept_width(net, pb_model_site_at(net->model, i));
        largest       = width > largest ? width : largest;
    }
    return largest < LARGEST_RANK ? largest : LARGEST_RANK;
}

/* For each kind of layer: attention takes other memory in another one. */
pb_status network_reserve(pb_network *net, const pass *p)
{
    int64_t rows         = p->shape.rows;
    int64_t widest       = widest_factor(net->config);
    int64_t head         = network_chunk(net, p->shape.outs, p->shape.labels) * net->config->vocab;
    pb_reserve_args args = {
        .norm_rows    = rows * net->config->heads,
        .factor       = rows * widest > head ? rows * widest : head,
        .weight       = largest_converted(net),
        .rank         = largest_rank(net),
        .inner        = widest > net->config->vocab ? widest : net->config->vocab,
        .narrow_types = has_narrow_weights(net),
    };
    for (int i = 0; i < PASS_PLANS; i++) {
        args.plan = &p->page.plans[i];
        PB_TRY(args.plan->parts != NULL ? pb_backend_reserve(net->backend, &args) : PB_OK);
    }
    return PB_OK;
}

/* What the method puts before the tokens, and the rows of their ids. */
static pb_status embedding_forward(pb_network *net, const pass *p, const pass_part *part)
{
    const pb_site *site = pb_model_site(net->model, PB_SITE_EMBEDDING, -1);
    pb_method *m        = part->net->method;
    pb_tensor x         = pb_tensor_rows(&net->layers[0].x, part->row, part->rows);
    pb_list ids         = pb_list_part(&p->page.ids, part->row, part->rows);
    if (part->virtual_rows > 0) {
        pb_tensor root = pb_tensor_rows(&x, 0, part->virtual_rows);
        PB_TRY(m->ops->rows_forward(m, &root));
    }
    if (part->virtual_keys > 0) {
        pb_tensor keys = pb_tensor_rows(&net->scratch.virtual_keys, part->key, part->virtual_keys);
        PB_TRY(m->ops->keys_forward(m, &keys));
    }
    return pb_embedding_forward(net->backend, &x, &part->net->bindings[site->index].weight, &ids,
                                (float)net->config->embedding_scale);
}

pb_status network_body_forward(pb_network *net, const pass *p)
{
    network_warn_of_positions(net, p);
    pb_backend_part(net->backend, PB_PART_LAYERS);
    for (int64_t i = 0; i < p->part_count; i++) {
        PB_TRY(embedding_forward(net, p, &p->parts[i]));
    }
    for (int64_t l = 0; l < net->config->layers; l++) {
        if (p->hidden != NULL) {
            pb_tensor host =
                pb_tensor_2d(p->hidden[l], PB_DTYPE_F32, p->shape.rows, net->config->width);
            PB_TRY(pb_copy(net->backend, &host, &net->layers[l].x));
        }
        PB_TRY(network_layer_forward(net, p, l));
    }
    return PB_OK;
}

static pb_status embedding_backward(pb_network *net, const pass *p, const pass_part *part)
{
    const pb_site *site   = pb_model_site(net->model, PB_SITE_EMBEDDING, -1);
    pb_method *m          = part->net->method;
    pb_binding *embedding = &part->net->bindings[site->index];
    if (part->virtual_keys > 0) {
        pb_tensor keys = pb_tensor_rows(&net->scratch.dvirtual_keys, part->key, part->virtual_keys);
        PB_TRY(m->ops->keys_backward(m, &keys));
    }
    if (!part->net->embedding_backward) {
        return PB_OK;
    }
    pb_tensor dx = pb_tensor_rows(&net->scratch.dx, part->row, part->rows);
    pb_list ids  = pb_list_part(&p->page.ids, part->row, part->rows);
    if (part->virtual_rows > 0) {
        pb_tensor root = pb_tensor_rows(&dx, 0, part->virtual_rows);
        PB_TRY(m->ops->rows_backward(m, &root));
    }
    return pb_tensor_is_none(&embedding->dweight)
               ? PB_OK
               : pb_embedding_backward(net->backend, &embedding->dweight, &dx, &ids,
                                       (float)net->config->embedding_scale);
}

pb_status network_body_backward(pb_network *net, const pass *p)
{
    pb_backend_part(net->backend, PB_PART_LAYERS);
    for (int64_t l = net->config->layers - 1; l >= 0 && net->needs[l].backward; l--) {
        PB_TRY(network_layer_backward(net, p, l));
    }
    for (int64_t i = 0; i < p->part_count; i++) {
        PB_TRY(embedding_backward(net, p, &p->parts[i]));
    }
    return PB_OK;
}
