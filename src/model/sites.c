// SPDX-License-Identifier: Apache-2.0
/* The named places of the network. Every size follows from the configuration alone, so the list of
 * a model without weights is the same as that of an opened one.
 *
 * Our names are the same for all families; the Hugging Face names are those of the checkpoint. */
#include "model_private.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    const char *hf_name; /* behind "model.layers.N." where the kind belongs to a layer */
} names[PB_SITE_KIND_COUNT] = {
    [PB_SITE_Q]          = {"attn.q", "self_attn.q_proj"},
    [PB_SITE_K]          = {"attn.k", "self_attn.k_proj"},
    [PB_SITE_V]          = {"attn.v", "self_attn.v_proj"},
    [PB_SITE_O]          = {"attn.o", "self_attn.o_proj"},
    [PB_SITE_GATE]       = {"mlp.gate", "mlp.gate_proj"},
    [PB_SITE_UP]         = {"mlp.up", "mlp.up_proj"},
    [PB_SITE_DOWN]       = {"mlp.down", "mlp.down_proj"},
    [PB_SITE_ATTN_NORM]  = {"attn_norm", "input_layernorm"},
    [PB_SITE_MLP_NORM]   = {"mlp_norm", "post_attention_layernorm"},
    [PB_SITE_FINAL_NORM] = {"final_norm", "model.norm"},
    [PB_SITE_EMBEDDING]  = {"embedding", "model.embed_tokens"},
    [PB_SITE_HEAD]       = {"head", "lm_head"},
};

bool pb_site_is_norm(pb_site_kind kind)
{
    return kind == PB_SITE_ATTN_NORM || kind == PB_SITE_MLP_NORM || kind == PB_SITE_FINAL_NORM;
}

bool pb_site_has_bias(const pb_model_config *config, pb_site_kind kind)
{
    if (kind <= PB_SITE_O) {
        return config->attention_bias;
    }
    return kind <= PB_SITE_DOWN && config->mlp_bias;
}

bool pb_site_has_weight(const pb_model_config *config, pb_site_kind kind)
{
    return kind != PB_SITE_HEAD || !config->tied;
}

pb_tensor pb_site_weight_shape(const pb_site *site)
{
    if (pb_site_is_norm(site->kind)) {
        return pb_tensor_1d(NULL, PB_DTYPE_F32, site->out);
    }
    return pb_tensor_2d(NULL, PB_DTYPE_F32, site->out, site->in);
}

pb_tensor pb_site_bias_shape(const pb_site *site)
{
    return pb_tensor_1d(NULL, PB_DTYPE_F32, site->out);
}

static void set_sizes(const pb_model_config *c, pb_site *site)
{
    const struct {
        int64_t out, in;
    } sizes[PB_SITE_KIND_COUNT] = {
        [PB_SITE_Q]          = {c->heads * c->head_dim, c->width},
        [PB_SITE_K]          = {c->kv_heads * c->head_dim, c->width},
        [PB_SITE_V]          = {c->kv_heads * c->head_dim, c->width},
        [PB_SITE_O]          = {c->width, c->heads * c->head_dim},
        [PB_SITE_GATE]       = {c->ff, c->width},
        [PB_SITE_UP]         = {c->ff, c->width},
        [PB_SITE_DOWN]       = {c->width, c->ff},
        [PB_SITE_ATTN_NORM]  = {c->width, 1},
        [PB_SITE_MLP_NORM]   = {c->width, 1},
        [PB_SITE_FINAL_NORM] = {c->width, 1},
        [PB_SITE_EMBEDDING]  = {c->vocab, c->width},
        [PB_SITE_HEAD]       = {c->vocab, c->width},
    };
    site->out = sizes[site->kind].out;
    site->in  = sizes[site->kind].in;
}

static void add_site(const pb_model_config *config, pb_site_kind kind, int32_t layer,
                     pb_site *sites, int64_t *count)
{
    pb_site *site = &sites[*count];
    site->index   = (int32_t)*count;
    site->kind    = kind;
    site->layer   = layer;
    if (layer >= 0) {
        snprintf(site->name, sizeof site->name, "layers.%" PRId32 ".%s", layer, names[kind].name);
        snprintf(site->hf_name, sizeof site->hf_name, "model.layers.%" PRId32 ".%s", layer,
                 names[kind].hf_name);
    } else {
        snprintf(site->name, sizeof site->name, "%s", names[kind].name);
        snprintf(site->hf_name, sizeof site->hf_name, "%s", names[kind].hf_name);
    }
    set_sizes(config, site);
    (*count)++;
}

pb_status pb_sites_create(const pb_model_config *config, pb_site **sites, int64_t *count)
{
    pb_site *list = NULL;
    *count        = 0;
    PB_TRY(PB_ALLOC(list, config->layers * PB_SITE_LAYER_KINDS + 3));
    add_site(config, PB_SITE_EMBEDDING, -1, list, count);
    for (int32_t layer = 0; layer < config->layers; layer++) {
        for (int kind = 0; kind < (int)PB_SITE_LAYER_KINDS; kind++) {
            add_site(config, (pb_site_kind)kind, layer, list, count);
        }
    }
    add_site(config, PB_SITE_FINAL_NORM, -1, list, count);
    add_site(config, PB_SITE_HEAD, -1, list, count);
    *sites = list;
    return PB_OK;
}

int64_t pb_model_site_count(const pb_model *model)
{
    return model->site_count;
}

const pb_site *pb_model_site_at(const pb_model *model, int64_t index)
{
    PB_ASSERT(index >= 0 && index < model->site_count);
    return &model->sites[index];
}

const pb_site *pb_model_site(const pb_model *model, pb_site_kind kind, int64_t layer)
{
    int64_t behind_layers = 1 + model->config.layers * PB_SITE_LAYER_KINDS;
    if (kind == PB_SITE_EMBEDDING) {
        return &model->sites[0];
    }
    if (kind == PB_SITE_FINAL_NORM) {
        return &model->sites[behind_layers];
    }
    if (kind == PB_SITE_HEAD) {
        return &model->sites[behind_layers + 1];
    }
    PB_ASSERT((int)kind >= 0 && kind < PB_SITE_LAYER_KINDS);
    PB_ASSERT(layer >= 0 && layer < model->config.layers);
    return &model->sites[1 + layer * PB_SITE_LAYER_KINDS + (int64_t)kind];
}

const pb_site *pb_model_site_find(const pb_model *model, const char *name)
{
    for (int64_t i = 0; i < model->site_count; i++) {
        const pb_site *site = &model->sites[i];
        if (strcmp(site->hf_name, name) == 0 || strcmp(site->name, name) == 0) {
            return site;
        }
    }
    return NULL;
}
