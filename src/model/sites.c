// SPDX-License-Identifier: Apache-2.0
/* The named places of the network. Every size follows from the configuration alone, so the list of
 * a model without weights is the same as that of an opened one.
 *
 * Our names are the same for all families; the Hugging Face names are those of the checkpoint. */
#include "family.h"
#include "model_private.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <stdio.h>

/* What a kind is, in every family. */
static const struct {
    const char *name;
    pb_site_class site_class;
    bool attention;
} kinds[PB_SITE_KIND_COUNT] = {
    [PB_SITE_Q]             = {"attn.q", PB_SITE_LINEAR, true},
    [PB_SITE_K]             = {"attn.k", PB_SITE_LINEAR, true},
    [PB_SITE_V]             = {"attn.v", PB_SITE_LINEAR, true},
    [PB_SITE_O]             = {"attn.o", PB_SITE_LINEAR, true},
    [PB_SITE_GATE]          = {"mlp.gate", PB_SITE_LINEAR, false},
    [PB_SITE_UP]            = {"mlp.up", PB_SITE_LINEAR, false},
    [PB_SITE_DOWN]          = {"mlp.down", PB_SITE_LINEAR, false},
    [PB_SITE_QKV]           = {"attn.qkv", PB_SITE_LINEAR, true},
    [PB_SITE_GATE_UP]       = {"mlp.gate_up", PB_SITE_LINEAR, false},
    [PB_SITE_ATTN_NORM]     = {"attn_norm", PB_SITE_NORM, true},
    [PB_SITE_MLP_NORM]      = {"mlp_norm", PB_SITE_NORM, false},
    [PB_SITE_ATTN_OUT_NORM] = {"attn_out_norm", PB_SITE_NORM, true},
    [PB_SITE_MLP_OUT_NORM]  = {"mlp_out_norm", PB_SITE_NORM, false},
    [PB_SITE_Q_NORM]        = {"attn.q_norm", PB_SITE_NORM, true},
    [PB_SITE_K_NORM]        = {"attn.k_norm", PB_SITE_NORM, true},
    [PB_SITE_FINAL_NORM]    = {"final_norm", PB_SITE_NORM, false},
    [PB_SITE_EMBEDDING]     = {"embedding", PB_SITE_TABLE, false},
    [PB_SITE_HEAD]          = {"head", PB_SITE_TABLE, false},
};

static bool has_bias(const pb_model_config *config, pb_site_kind kind)
{
    switch (kind) {
    case PB_SITE_Q:
    case PB_SITE_K:
    case PB_SITE_V:
        return config->qkv_bias;
    case PB_SITE_O:
        return config->o_bias;
    case PB_SITE_GATE:
    case PB_SITE_UP:
    case PB_SITE_DOWN:
        return config->mlp_bias;
    default:
        return false;
    }
}

pb_tensor site_weight_shape(const pb_site *site)
{
    if (site->site_class == PB_SITE_NORM) {
        return pb_tensor_1d(NULL, PB_DTYPE_F32, site->out);
    }
    return pb_tensor_2d(NULL, PB_DTYPE_F32, site->out, site->in);
}

pb_tensor site_bias_shape(const pb_site *site)
{
    return pb_tensor_1d(NULL, PB_DTYPE_F32, site->out);
}

static void set_sizes(const pb_model_config *c, pb_site *site)
{
    int64_t q  = c->heads * c->head_dim;
    int64_t kv = c->kv_heads * c->head_dim;
    const struct {
        int64_t out, in;
    } sizes[PB_SITE_KIND_COUNT] = {
        [PB_SITE_Q]             = {q, c->width},
        [PB_SITE_K]             = {kv, c->width},
        [PB_SITE_V]             = {kv, c->width},
        [PB_SITE_O]             = {c->width, q},
        [PB_SITE_GATE]          = {c->ff, c->width},
        [PB_SITE_UP]            = {c->ff, c->width},
        [PB_SITE_DOWN]          = {c->width, c->ff},
        [PB_SITE_QKV]           = {q + 2 * kv, c->width},
        [PB_SITE_GATE_UP]       = {2 * c->ff, c->width},
        [PB_SITE_ATTN_NORM]     = {c->width, 1},
        [PB_SITE_MLP_NORM]      = {c->width, 1},
        [PB_SITE_ATTN_OUT_NORM] = {c->width, 1},
        [PB_SITE_MLP_OUT_NORM]  = {c->width, 1},
        [PB_SITE_Q_NORM]        = {c->head_dim, 1},
        [PB_SITE_K_NORM]        = {c->head_dim, 1},
        [PB_SITE_FINAL_NORM]    = {c->width, 1},
        [PB_SITE_EMBEDDING]     = {c->vocab, c->width},
        [PB_SITE_HEAD]          = {c->vocab, c->width},
    };
    site->out = sizes[site->kind].out;
    site->in  = sizes[site->kind].in;
}

const char *sites_body(const pb_model_config *config)
{
    return config->inner ? "model.language_model." : "model.";
}

static void add_site(const pb_model_config *config, pb_site_kind kind, int32_t layer,
                     pb_site *sites, int64_t *count)
{
    const char *hf_name = config->family->names[kind];
    pb_site *site       = &sites[*count];
    if (hf_name == NULL) {
        return;
    }
    *site = (pb_site){
        .index      = (int32_t)*count,
        .kind       = kind,
        .site_class = kinds[kind].site_class,
        .attention  = kinds[kind].attention,
        .has_weight = kind != PB_SITE_HEAD || !config->tied,
        .has_bias   = has_bias(config, kind),
        .layer      = layer,
    };
    const char *body = kind == PB_SITE_HEAD ? "" : sites_body(config);
    if (layer >= 0) {
        snprintf(site->name, sizeof site->name, "layers.%" PRId32 ".%s", layer, kinds[kind].name);
        snprintf(site->hf_name, sizeof site->hf_name, "%slayers.%" PRId32 ".%s", body, layer,
                 hf_name);
    } else {
        snprintf(site->name, sizeof site->name, "%s", kinds[kind].name);
        snprintf(site->hf_name, sizeof site->hf_name, "%s%s", body, hf_name);
    }
    set_sizes(config, site);
    (*count)++;
}

pb_status sites_create(const pb_model_config *config, pb_site **sites, int64_t *count)
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
    if (kind == PB_SITE_EMBEDDING) {
        return &model->sites[0];
    }
    if (kind == PB_SITE_FINAL_NORM) {
        return &model->sites[model->site_count - 2];
    }
    if (kind == PB_SITE_HEAD) {
        return &model->sites[model->site_count - 1];
    }
    PB_ASSERT((int)kind >= 0 && kind < PB_SITE_LAYER_KINDS);
    PB_ASSERT(layer >= 0 && layer < model->config.layers);
    if (model->config.family->names[kind] == NULL) {
        return NULL;
    }
    int64_t before = 0; /* kinds of a layer that the family has and that come first */
    int64_t all    = 0;
    for (int k = 0; k < (int)PB_SITE_LAYER_KINDS; k++) {
        bool there = model->config.family->names[k] != NULL;
        before += there && k < (int)kind;
        all += there;
    }
    return &model->sites[1 + layer * all + before];
}

const char *pb_model_architecture(const pb_model_config *config)
{
    return config->family->architecture;
}

const char *const *pb_model_default_norms(const pb_model_config *config)
{
    return config->family->default_norms;
}
