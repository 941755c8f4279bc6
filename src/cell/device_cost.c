// SPDX-License-Identifier: Apache-2.0
/* Modelled memory of a cell on a device, by type: what passes between operations is BF16 in a bf16
 * run, the residual stream, statistics and all that is trained F32. */
#include "internal.h"

#include "pb/batch.h"

#include <math.h>

/* Bytes that do not depend on the cell: the workspace of the product library, pages of small data;
 * in host memory the two buffers of copies, at most. */
static const double WORKSPACE = 32 << 20, PAGES = 5 << 18, BUFFER = 64 << 20;

/* Values per trainable parameter: its own, the gradient, two moments, the best so far; and those
 * that a method with a schedule of its own keeps. */
enum { TRAINED_VALUES = 5, SCHEDULE_VALUES = 2 };

/* Terms that a product of a low-rank part sums before it adds them to others; the largest rank of a
 * factor that has room to be converted. */
enum { PART_TERMS = 512, LARGEST_RANK = 256 };

enum { LOGITS_ROWS = 1024 }; /* at once */

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

static double larger(double a, double b)
{
    return a > b ? a : b;
}

/* What a method keeps of every layer, and virtual keys with their gradients. */
static double method_bytes(const sizes *s, const pb_method *m)
{
    double numbers = 0.0;
    for (int64_t i = 0; m->ops->kept_width != NULL && i < pb_model_site_count(s->model); i++) {
        numbers += (double)m->ops->kept_width(m, pb_model_site_at(s->model, i));
    }
    double keys = m->ops->virtual_keys != NULL ? (double)m->ops->virtual_keys(m) : 0.0;
    return s->rows * numbers * s->act +
           keys * 2.0 * s->keys * ((double)s->c->layers * (s->act + 2.0 * sizeof(float)));
}

/* Numbers per row for the method's own work at one site. */
static double method_scratch(const sizes *s, const pb_method *m, bool backward)
{
    double widest = larger(larger(s->ff, s->queries), s->width);
    double own    = 0.0;
    bool inputs   = false;
    for (int64_t i = 0; i < pb_model_site_count(s->model); i++) {
        const pb_site *site = pb_model_site_at(s->model, i);
        inputs =
            inputs || (m->ops->acts != NULL && (m->ops->acts(m, site) & PB_ACTS_ON_INPUT) != 0);
        if (m->ops->scratch_width != NULL) {
            own = larger(own, (double)m->ops->scratch_width(m, site));
        }
    }
    return 2.0 * own + (inputs ? widest : 0.0) + (inputs && backward ? widest : 0.0);
}

/* What all layers share: inputs of products and, with a backward, their gradients. */
static double shared_bytes(const sizes *s, bool backward)
{
    double fused   = has(s, PB_SITE_QKV) ? s->queries + 2.0 * s->keys : 0.0;
    double between = s->width + s->ff + 2.0 * s->border + fused;
    double exact   = 0.0;
    double labels  = 2.0 * s->width + s->border; /* of the last layer and the head */
    double results = s->width;
    if (backward) {
        between += 2.0 * s->width + 2.0 * s->queries + 2.0 * s->keys + 2.0 * s->ff + fused;
        between += 8.0 * s->border;
        exact += s->width;
        labels += s->width + s->border;
        results += s->width;
    }
    return s->rows * (between * s->act + exact * sizeof(float)) +
           s->labels * (labels * s->act + results * sizeof(float) + sizeof(double));
}

/* The widest rank that a product of a low-rank part has; see network_reserve. */
static double largest_rank(const sizes *s, const pb_method *m)
{
    double largest = 0.0;
    for (int64_t i = 0; m->ops->kept_width != NULL && i < pb_model_site_count(s->model); i++) {
        largest = larger(largest, (double)m->ops->kept_width(m, pb_model_site_at(s->model, i)));
    }
    return largest < LARGEST_RANK ? largest : LARGEST_RANK;
}

/* Logits in chunks; and what one operation takes: the factors of a product in the type that is
 * multiplied, or the parts of a low-rank product. */
static double head_bytes(const sizes *s, const pb_method *m)
{
    double vocab  = (double)s->c->vocab;
    double widest = larger(larger(2.0 * s->ff, s->queries + 2.0 * s->keys), s->width);
    double chunk  = LOGITS_ROWS < s->labels ? LOGITS_ROWS : s->labels;
    double factor = larger(s->rows * widest, chunk * vocab);
    double parts =
        factor / PART_TERMS + larger(s->rows * (double)s->c->heads, larger(widest, vocab));
    return chunk * (vocab * sizeof(float) + s->width * s->act) +
           larger((factor + LARGEST_RANK * widest) * s->act,
                  parts * largest_rank(s, m) * sizeof(float));
}

int64_t cell_lowest_layer(const pb_method *m)
{
    int64_t lowest = pb_model_get_config(m->model)->layers;
    if (m->ops->virtual_rows != NULL || m->ops->virtual_keys != NULL) {
        return 0;
    }
    for (int64_t i = 0; m->ops->acts != NULL && i < pb_model_site_count(m->model); i++) {
        const pb_site *site = pb_model_site_at(m->model, i);
        int64_t layer       = site->kind == PB_SITE_EMBEDDING ? 0 : site->layer;
        if (layer >= 0 && layer < lowest && m->ops->acts(m, site) != 0) {
            lowest = layer;
        }
    }
    return lowest;
}

double cell_device_bytes(const pb_model *model, const pb_method *method, pb_dtype dtype,
                         double rows, double labels)
{
    const pb_model_config *c = pb_model_get_config(model);
    int64_t lowest           = cell_lowest_layer(method);
    int64_t padded           = pb_batch_padded_labels((int64_t)ceil(labels));
    double added             = (double)padded - labels;
    bool backward            = method->parameters > 0;
    if (method->ops->virtual_rows != NULL) {
        added += (double)method->ops->virtual_rows(method);
    }
    sizes s        = {.c       = c,
                      .model   = model,
                      .act     = (double)pb_dtype_size(dtype),
                      .rows    = (double)pb_batch_padded_rows((int64_t)ceil(rows + added)),
                      .labels  = (double)padded,
                      .queries = (double)(c->heads * c->head_dim),
                      .keys    = (double)(c->kv_heads * c->head_dim),
                      .width   = (double)c->width,
                      .ff      = (double)c->ff,
                      .border  = method->ops->low_rank != NULL ? PB_BORDER : 0.0};
    int values     = TRAINED_VALUES + (method->ops->after_step != NULL ? SCHEDULE_VALUES : 0);
    double trained = values * (double)sizeof(float) * (double)method->parameters;
    int64_t kept   = c->layers - 1 - lowest; /* sets of their own, but for the last */
    double sets    = (double)(kept > 0 ? kept : 0) + (lowest > 0 ? 1.0 : 0.0);
    return cell_device_weights(model, dtype) + trained +
           sizeof(float) * (double)method->frozen_parameters + sets * layer_bytes(&s) +
           last_layer_bytes(&s) + method_bytes(&s, method) + shared_bytes(&s, backward) +
           s.rows * s.act * method_scratch(&s, method, backward) + head_bytes(&s, method) +
           WORKSPACE + PAGES;
}

double cell_device_host_bytes(const pb_model *model)
{
    double weights = cell_device_weights(model, PB_DTYPE_F32);
    return 2.0 * (weights < BUFFER ? weights : BUFFER);
}
