// SPDX-License-Identifier: Apache-2.0
/* HRA (Yuan et al., "Bridging the gap between low-rank and orthogonal adaptation via Householder
 * reflection adaptation", NeurIPS 2024).
 *
 *     W' = W H_1 H_2 … H_r,   so y = W (H_1 (… (H_r x))) + b
 *     H_k = I - 2 û_k û_kᵀ,   û_k = u_k / ‖u_k‖,   u_k column k of U [in, r]
 *
 * With r even, columns start as equal pairs, whose reflections cancel. A reflection is its own
 * inverse: the backward needs only the last result, and walks back through the others. */
#include "internal.h"

#include "pb/memory.h"

#include <math.h>

typedef struct hra_options {
    method_targets where;
    int64_t r;
} hra_options;

static const pb_config_field fields[] = {
    PB_FIELD_INT(hra_options, r, 8, 1, 65536, "", "number of reflections"),
    TARGET_FIELDS("q_proj v_proj", "linear modules to adapt, by the end of their path"),
    PB_FIELD_END,
};

static const char adapter_keys[] =
    "apply_GS bias init_weights layers_pattern layers_to_transform r target_modules";

/* The vectors are rows here: each is contiguous, and a norm over rows gives them length 1. */
typedef struct hra_state {
    void *block;              /* backend memory of the tensors below */
    pb_tensor *turned, *unit; /* by site: [r, in] the columns of U, and those of length 1 */
    pb_tensor nothing;        /* [widest] zeros */
    float *dunit, *dturned;   /* [r, widest] gradients, of one site at a time */
} hra_state;

static int64_t reflections(const pb_method *m)
{
    return ((const hra_options *)m->options)->r;
}

static unsigned acts(const pb_method *m, const pb_site *site)
{
    return site_trainable(m, site, 0) != NULL ? PB_ACTS_ON_INPUT : 0;
}

static pb_status plan_site(pb_method *m, const pb_site *site)
{
    int64_t r      = reflections(m);
    pb_trainable u = {
        .ndim  = 2,
        .shape = {site->in, r},
        .init  = PB_INIT_UNIFORM,
        .scale = sqrt(r % 2 == 0 ? 2.0 / (double)r : 1.0 / (double)r),
    };
    PB_TRY(trainable_name(&u, "base_model.model.%s.hra_u", site->hf_name));
    return pb_method_declare(m, &u, NULL);
}

static pb_status allocate(pb_method *m)
{
    hra_state *s   = m->state;
    int64_t sites  = pb_model_site_count(m->model);
    int64_t r      = reflections(m);
    int64_t widest = 0;
    for (int64_t i = 0; i < m->count; i++) {
        widest = m->trainables[i].shape[0] > widest ? m->trainables[i].shape[0] : widest;
    }
    int64_t floats = 2 * m->parameters + widest + 2 * r * widest;
    PB_TRY(PB_ALLOC(s->turned, sites));
    PB_TRY(PB_ALLOC(s->unit, sites));
    PB_TRY(pb_backend_alloc(m->backend, (size_t)floats * sizeof(float), &s->block));
    float *next = s->block;
    for (int64_t i = 0; i < sites; i++) {
        const pb_site *site = pb_model_site_at(m->model, i);
        if (acts(m, site) != 0) {
            s->turned[i] = pb_tensor_2d(next, PB_DTYPE_F32, r, site->in);
            s->unit[i]   = pb_tensor_2d(next + r * site->in, PB_DTYPE_F32, r, site->in);
            next += 2 * r * site->in;
        }
    }
    s->nothing = pb_tensor_1d(next, PB_DTYPE_F32, widest);
    s->dunit   = next + widest;
    s->dturned = s->dunit + r * widest;
    return PB_OK;
}

static pb_status plan(pb_method *m)
{
    hra_state *state = NULL;
    PB_TRY(PB_ALLOC(state, 1));
    m->state = state;
    PB_TRY(method_plan_sites(m, PB_SITE_LINEAR, plan_site));
    return m->backend != NULL ? allocate(m) : PB_OK;
}

static void destroy(pb_method *m)
{
    hra_state *s = m->state;
    if (s == NULL) {
        return;
    }
    pb_backend_free(m->backend, s->block);
    pb_memory_free(s->unit);
    pb_memory_free(s->turned);
    pb_memory_free(s);
}

/* Columns 1, 3, … become those before them. */
static pb_status initialise(pb_method *m)
{
    for (int64_t i = 0; i < m->count && reflections(m) % 2 == 0; i++) {
        for (int64_t k = 1; k < reflections(m); k += 2) {
            pb_tensor from = pb_tensor_columns(&m->trainables[i].value, k - 1, 1);
            pb_tensor to   = pb_tensor_columns(&m->trainables[i].value, k, 1);
            PB_TRY(pb_copy(m->backend, &to, &from));
        }
    }
    return PB_OK;
}

/* x / ‖x‖ is x / sqrt(mean(x²)) times 1 / sqrt(in): a norm whose weight is its offset alone. */
static pb_rmsnorm_args length_one(const pb_site *site)
{
    return (pb_rmsnorm_args){.eps = 0.0f, .offset = (float)(1.0 / sqrt((double)site->in))};
}

/* Row k as a column [in, 1]. */
static pb_tensor upright(const pb_tensor *rows, int64_t k)
{
    pb_tensor row = pb_tensor_rows(rows, k, 1);
    return pb_tensor_2d(row.data, PB_DTYPE_F32, rows->shape[1], 1);
}

static pb_status values_changed(pb_method *m)
{
    hra_state *s = m->state;
    for (int64_t i = 0; i < pb_model_site_count(m->model); i++) {
        const pb_site *site   = pb_model_site_at(m->model, i);
        const pb_trainable *u = site_trainable(m, site, 0);
        if (u == NULL) {
            continue;
        }
        pb_rmsnorm_args norm = length_one(site);
        pb_tensor nothing    = pb_tensor_rows(&s->nothing, 0, site->in);
        for (int64_t k = 0; k < reflections(m); k++) {
            pb_tensor from = pb_tensor_columns(&u->value, k, 1);
            pb_tensor to   = upright(&s->turned[i], k);
            PB_TRY(pb_copy(m->backend, &to, &from));
        }
        PB_TRY(pb_rmsnorm_forward(m->backend, &s->unit[i], &s->turned[i], &nothing, &norm));
    }
    return PB_OK;
}

/* along [T, 1] = x û_k for every row. */
static pb_status project(const pb_method *m, const pb_site *site, int64_t k, const pb_tensor *x,
                         pb_tensor *along)
{
    pb_tensor u = pb_tensor_rows(&((const hra_state *)m->state)->unit[site->index], k, 1);
    return pb_matmul(m->backend, along, x, &u,
                     &(pb_matmul_args){.transpose_b = true, .alpha = 1.0f});
}

/* x [T, in] = H_k x for every row, from along = x û_k. */
static pb_status reflect(const pb_method *m, const pb_site *site, int64_t k, pb_tensor *x,
                         const pb_tensor *along)
{
    pb_tensor u = pb_tensor_rows(&((const hra_state *)m->state)->unit[site->index], k, 1);
    return pb_matmul(m->backend, x, along, &u, &(pb_matmul_args){.alpha = -2.0f, .beta = 1.0f});
}

/* A state between two reflections, and two columns of products with û. */
static int64_t scratch_width(const pb_method *m, const pb_site *site)
{
    return acts(m, site) != 0 ? (site->in + 3) / 2 : 0;
}

static pb_status input_forward(pb_method *m, const pb_site *site, const pb_site_context *ctx,
                               pb_tensor *xout, const pb_tensor *x)
{
    pb_tensor along = pb_tensor_columns(ctx->scratch, 0, 1);
    PB_TRY(pb_copy(m->backend, xout, x));
    for (int64_t k = reflections(m) - 1; k >= 0; k--) {
        PB_TRY(project(m, site, k, xout, &along));
        PB_TRY(reflect(m, site, k, xout, &along));
    }
    return PB_OK;
}

/* Through H_k, z' = z - 2 (z û) û: z' becomes z, and dx, the gradient of z', that of z;
 * dû [1, in] = -2 Σ_rows (dx û) z + (z û) dx. */
static pb_status reflect_backward(const pb_method *m, const pb_site *site, int64_t k,
                                  const pb_site_context *ctx, pb_tensor *z, pb_tensor *dx,
                                  pb_tensor *du)
{
    pb_tensor along  = pb_tensor_columns(ctx->scratch, site->in, 1);
    pb_tensor dalong = pb_tensor_columns(ctx->scratch, site->in + 1, 1);
    PB_TRY(project(m, site, k, z, &along));
    PB_TRY(reflect(m, site, k, z, &along));
    PB_TRY(project(m, site, k, z, &along));
    PB_TRY(project(m, site, k, dx, &dalong));
    PB_TRY(pb_matmul(m->backend, du, &dalong, z,
                     &(pb_matmul_args){.transpose_a = true, .alpha = -2.0f}));
    PB_TRY(pb_matmul(m->backend, du, &along, dx,
                     &(pb_matmul_args){.transpose_a = true, .alpha = -2.0f, .beta = 1.0f}));
    return reflect(m, site, k, dx, &dalong);
}

/* dU += the gradient of the unit vectors, through their norm and turned back into columns. */
static pb_status unit_backward(pb_method *m, const pb_site *site, const pb_tensor *dunit)
{
    const hra_state *s   = m->state;
    pb_rmsnorm_args norm = length_one(site);
    pb_tensor nothing    = pb_tensor_rows(&s->nothing, 0, site->in);
    pb_tensor dturned    = pb_tensor_2d(s->dturned, PB_DTYPE_F32, reflections(m), site->in);
    PB_TRY(pb_rmsnorm_backward(m->backend, &dturned, NULL, dunit, &s->turned[site->index], &nothing,
                               &norm));
    for (int64_t k = 0; k < reflections(m); k++) {
        pb_tensor from = upright(&dturned, k);
        pb_tensor to   = pb_tensor_columns(&site_trainable(m, site, 0)->grad, k, 1);
        PB_TRY(pb_axpy(m->backend, &to, 1.0f, &from));
    }
    return PB_OK;
}

static pb_status input_backward(pb_method *m, const pb_site *site, const pb_site_context *ctx,
                                pb_tensor *dx, const pb_tensor *x)
{
    const hra_state *s = m->state;
    int64_t r          = reflections(m);
    pb_tensor z        = pb_tensor_columns(ctx->scratch, 0, site->in);
    pb_tensor along    = pb_tensor_columns(ctx->scratch, site->in, 1);
    pb_tensor dunit    = pb_tensor_2d(s->dunit, PB_DTYPE_F32, r, site->in);
    PB_TRY(pb_copy(m->backend, &z, x));
    for (int64_t k = r - 1; k >= 0; k--) {
        PB_TRY(project(m, site, k, &z, &along));
        PB_TRY(reflect(m, site, k, &z, &along));
    }
    for (int64_t k = 0; k < r; k++) {
        pb_tensor du = pb_tensor_rows(&dunit, k, 1);
        PB_TRY(reflect_backward(m, site, k, ctx, &z, dx, &du));
    }
    return unit_backward(m, site, &dunit);
}

/* W H_1 … H_r: each row of W through the reflections, the first one first. */
static pb_status merge(pb_method *m, const pb_site *site, pb_tensor *weight, pb_tensor *bias)
{
    void *block      = NULL;
    pb_status status = PB_OK;
    (void)bias;
    PB_TRY(pb_backend_alloc(m->backend, (size_t)site->out * sizeof(float), &block));
    pb_tensor along = pb_tensor_2d(block, PB_DTYPE_F32, site->out, 1);
    for (int64_t k = 0; k < reflections(m); k++) {
        PB_TRY_GOTO(status, project(m, site, k, weight, &along), out_block);
        PB_TRY_GOTO(status, reflect(m, site, k, weight, &along), out_block);
    }
out_block:
    pb_backend_free(m->backend, block);
    return status;
}

/* A product with û and one back, of every reflection. */
static double extra_flops(const pb_method *m, int64_t tokens)
{
    return 4.0 * (double)tokens * (double)m->parameters;
}

static void config_write(const pb_method *m, pb_json *json)
{
    const hra_options *o = m->options;
    pb_json_put_int(json, "r", o->r);
    pb_json_put_bool(json, "apply_GS", false);
    pb_json_put_text(json, "bias", "none");
    targets_write(m, json);
}

static pb_status config_read(void *options, const pb_adapter_config *c)
{
    static const char *const refused[] = {"apply_GS", "bias", NULL};
    hra_options *o                     = options;
    PB_TRY(adapter_refuse(c, refused));
    PB_TRY(adapter_int(c, "r", 1, &o->r));
    return targets_read(c, &o->where);
}

const pb_method_ops method_hra = {
    .name                  = "hra",
    .help                  = "Householder reflections of the inputs of linear modules",
    .options_size          = sizeof(hra_options),
    .fields                = fields,
    .plan                  = plan,
    .destroy               = destroy,
    .initialise            = initialise,
    .values_changed        = values_changed,
    .acts                  = acts,
    .linear_input_forward  = input_forward,
    .linear_input_backward = input_backward,
    .scratch_width         = scratch_width,
    .merge                 = merge,
    .extra_flops           = extra_flops,
    .peft_type             = "HRA",
    .adapter_keys          = adapter_keys,
    .adapter_config_write  = config_write,
    .adapter_config_read   = config_read,
};
