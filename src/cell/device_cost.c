// SPDX-License-Identifier: Apache-2.0
/* Modelled memory of a cell on a device, by type: what passes between operations is BF16 in a bf16
 * run, the residual stream, statistics and all that is trained F32. */
#include "internal.h"

/* Bytes that do not depend on the cell: the workspace of the product library, pages of small data;
 * in host memory the two buffers of copies, at most. */
static const double WORKSPACE = 32 << 20, PAGES = 5 << 18, BUFFER = 64 << 20;

/* Values per trainable parameter: its own, the gradient, two moments, the best so far. */
enum { TRAINED_VALUES = 5 };

typedef struct sizes {
    const pb_model_config *c;
    const pb_model *model;
    double act;                      /* bytes of a number between operations */
    double rows, labels;             /* of a pass */
    double queries, keys, width, ff; /* numbers per row */
    double border;                   /* likewise, of rows that products read */
} sizes;

static double matrices(const pb_model *model)
{
    double numbers = 0.0;
    for (int64_t i = 0; i < pb_model_site_count(model); i++) {
        const pb_site *site = pb_model_site_at(model, i);
        if (site->has_weight &&
            (site->site_class == PB_SITE_LINEAR || site->kind == PB_SITE_EMBEDDING)) {
            numbers += (double)site->in * (double)site->out;
        }
    }
    return numbers;
}

/* Beside and below the weights of linear sites. */
static double borders(const pb_model *model)
{
    double numbers = 0.0;
    for (int64_t i = 0; i < pb_model_site_count(model); i++) {
        const pb_site *site = pb_model_site_at(model, i);
        if (site->site_class == PB_SITE_LINEAR) {
            numbers += PB_BORDER * (double)(site->in + site->out + PB_BORDER);
        }
    }
    return numbers;
}

double cell_device_weights(const pb_model *model, pb_dtype dtype)
{
    double large = matrices(model);
    return (large + borders(model)) * (double)pb_dtype_size(dtype) +
           ((double)pb_model_parameters(model) - large) * sizeof(float);
}

static bool has(const sizes *s, pb_site_kind kind)
{
    return pb_model_site(s->model, kind, 0) != NULL;
}

/* What a layer keeps for its backward, without the method's part. */
static double layer_bytes(const sizes *s)
{
    double between = 2.0 * s->queries + 2.0 * s->keys + 2.0 * s->ff + s->border;
    between += has(s, PB_SITE_Q_NORM) ? s->queries + s->keys : 0.0;
    between += has(s, PB_SITE_ATTN_OUT_NORM) ? s->width : 0.0;
    between += has(s, PB_SITE_MLP_OUT_NORM) ? s->width : 0.0;
    double exact = 2.0 * s->width + (double)s->c->heads;
    return s->rows * (between * s->act + exact * sizeof(float));
}

/* The queries of the last layer are the label rows. */
static double last_layer_bytes(const sizes *s)
{
    double keys = 2.0 * s->keys + (has(s, PB_SITE_Q_NORM) ? s->keys : 0.0);
    double all  = s->rows * (keys * s->act + s->width * sizeof(float));
    return all + layer_bytes(s) * s->labels / s->rows;
}

static double method_bytes(const sizes *s, const pb_method *m)
{
    double numbers = 0.0;
    for (int64_t i = 0; m->ops->kept_width != NULL && i < pb_model_site_count(s->model); i++) {
        numbers += (double)m->ops->kept_width(m, pb_model_site_at(s->model, i));
    }
    return s->rows * numbers * s->act;
}

/* What all layers share: inputs of products and, with a backward, their gradients. */
static double shared_bytes(const sizes *s, bool backward)
{
    double between = s->width + s->ff + 2.0 * s->border;
    double exact   = 0.0;
    if (backward) {
        between += 2.0 * s->width + 2.0 * s->queries + 2.0 * s->keys + 2.0 * s->ff;
        between += 6.0 * s->border;
        exact += s->width;
    }
    return s->rows * (between * s->act + exact * sizeof(float));
}

/* Logits in chunks; and the factor of a product in the type that is multiplied. */
static double head_bytes(const sizes *s)
{
    double vocab  = (double)s->c->vocab;
    double chunk  = (double)(32 << 20) / (vocab * sizeof(float));
    double widest = s->ff > s->queries ? s->ff : s->queries;
    chunk         = chunk < 16.0 ? 16.0 : chunk;
    chunk         = chunk < s->labels ? chunk : s->labels;
    widest        = widest > s->width ? widest : s->width;
    double factor = s->rows * widest > chunk * vocab ? s->rows * widest : chunk * vocab;
    return chunk * (vocab * sizeof(float) + s->width * s->act) + factor * s->act;
}

double cell_device_bytes(const pb_model *model, const pb_method *method, pb_dtype dtype,
                         double rows, double labels, int64_t lowest)
{
    const pb_model_config *c = pb_model_get_config(model);
    sizes s                  = {.c       = c,
                                .model   = model,
                                .act     = (double)pb_dtype_size(dtype),
                                .rows    = rows,
                                .labels  = labels,
                                .queries = (double)(c->heads * c->head_dim),
                                .keys    = (double)(c->kv_heads * c->head_dim),
                                .width   = (double)c->width,
                                .ff      = (double)c->ff,
                                .border  = method->ops->low_rank != NULL ? PB_BORDER : 0.0};
    double trained           = TRAINED_VALUES * sizeof(float) * (double)method->parameters;
    int64_t kept             = c->layers - 1 - lowest; /* sets of their own, but for the last */
    double sets              = (double)(kept > 0 ? kept : 0) + (lowest > 0 ? 1.0 : 0.0);
    return cell_device_weights(model, dtype) + trained +
           sizeof(float) * (double)method->frozen_parameters + sets * layer_bytes(&s) +
           last_layer_bytes(&s) + method_bytes(&s, method) + shared_bytes(&s, lowest < c->layers) +
           head_bytes(&s) + WORKSPACE + PAGES;
}

double cell_device_host_bytes(const pb_model *model)
{
    double weights = cell_device_weights(model, PB_DTYPE_F32);
    return 2.0 * (weights < BUFFER ? weights : BUFFER);
}
