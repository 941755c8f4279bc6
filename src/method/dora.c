// SPDX-License-Identifier: Apache-2.0
/* DoRA (Liu et al., "DoRA: Weight-decomposed low-rank adaptation", ICML 2024).
 *
 *     V = W + s B A,   y = m ⊙ (V x) / n + b,   n [out] the norms of the rows of V, m [out]
 *
 * m starts as n. n follows V, but is a constant to the gradient (section 4.3 there). Its square is
 * ‖W‖² + rows of B · rows of M with M = 2 s W Aᵀ + s² B (A Aᵀ), so V itself is never made. As in HF
 * PEFT, in training with dropout W x stays, and what is added is m ⊙ V drop(x) / n - W drop(x). */
#include "lora.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <math.h>

typedef struct dora_state {
    lora_state lora;
    void *block;        /* backend memory of the next four */
    pb_tensor squares;  /* F64 [total out] ‖W‖² by row, site after site */
    pb_tensor inverse;  /* [total out] 1 / n */
    pb_tensor negative; /* [total out] -b, where there is a bias */
    pb_tensor room;     /* [largest r · (out + r)] Mᵀ and A Aᵀ of a site */
    int64_t *first;     /* [sites] first row of a site in the totals */
    int64_t rows;       /* total out */
} dora_state;

static pb_tensor of_site(const pb_method *m, const pb_site *site, const pb_tensor *total)
{
    const dora_state *state = m->state;
    return pb_tensor_rows(total, state->first[site->index], site->out);
}

static const pb_placed *placed(const pb_method *m, const pb_site *site)
{
    return pb_weights_at(m->weights, site->index);
}

static pb_trainable *magnitude(const pb_method *m, const pb_site *site)
{
    return site_trainable(m, site, 2);
}

static pb_status plan_magnitude(pb_method *m, const pb_site *site)
{
    const lora_options *o = m->options;
    pb_trainable scale    = {
           .ndim = 1, .shape = {site->out}, .init = PB_INIT_ONE, .rate = o->lora_plus_ratio};
    PB_TRY(trainable_name(&scale, "base_model.model.%s.lora_magnitude_vector", site->hf_name));
    return pb_method_declare(m, &scale, NULL);
}

static int64_t rank_at(const pb_method *m, const pb_site *site)
{
    return site_trainable(m, site, 0)->shape[0];
}

static pb_status allocate(pb_method *m)
{
    dora_state *state = m->state;
    int64_t room      = 0;
    PB_TRY(PB_ALLOC(state->first, pb_model_site_count(m->model)));
    for (int64_t i = 0; i < pb_model_site_count(m->model); i++) {
        const pb_site *site = pb_model_site_at(m->model, i);
        state->first[i]     = state->rows;
        if (m->sites[i] >= 0) {
            int64_t r = rank_at(m, site);
            state->rows += site->out;
            room = r * (site->out + r) > room ? r * (site->out + r) : room;
        }
    }
    if (m->backend == NULL) {
        return PB_OK;
    }
    size_t doubles = (size_t)state->rows * sizeof(double);
    size_t floats  = (size_t)(2 * state->rows + room) * sizeof(float);
    PB_TRY(pb_backend_alloc(m->backend, doubles + floats, &state->block));
    float *data     = (float *)state->block + 2 * state->rows;
    state->squares  = pb_tensor_1d(state->block, PB_DTYPE_F64, state->rows);
    state->inverse  = pb_tensor_1d(data, PB_DTYPE_F32, state->rows);
    state->negative = pb_tensor_1d(data + state->rows, PB_DTYPE_F32, state->rows);
    state->room     = pb_tensor_1d(data + 2 * state->rows, PB_DTYPE_F32, room);
    return PB_OK;
}

static pb_status plan(pb_method *m)
{
    PB_TRY(lora_plan(m, sizeof(dora_state), plan_magnitude));
    return allocate(m);
}

static void destroy(pb_method *m)
{
    dora_state *state = m->state;
    if (state != NULL) {
        pb_backend_free(m->backend, state->block);
        pb_memory_free(state->first);
    }
    lora_destroy(m);
}

/* The squared norms of the rows of a frozen weight, from the model's own memory. */
static pb_status weight_squares(const pb_site *site, double *squares)
{
    float *row = NULL;
    PB_TRY(PB_ALLOC(row, site->in));
    pb_tensor host   = pb_tensor_2d(row, PB_DTYPE_F32, 1, site->in);
    pb_status status = PB_OK;
    for (int64_t o = 0; o < site->out && status == PB_OK; o++) {
        pb_tensor from = pb_tensor_rows(&site->weight, o, 1);
        double sum     = 0.0;
        status         = pb_tensor_to_f32(&host, &from);
        for (int64_t i = 0; i < site->in && status == PB_OK; i++) {
            sum += (double)row[i] * (double)row[i];
        }
        squares[o] = sum;
        if (status == PB_OK && sum == 0.0) {
            status =
                PB_FAIL(PB_ERR_NUMERIC, "dora: row %" PRId64 " of %s is zero, it has no direction",
                        o, site->hf_name);
        }
    }
    pb_memory_free(row);
    return status;
}

/* ‖W‖² of the site's rows, m = ‖W‖, since B starts as zero, and -b. squares, floats [out]: room. */
static pb_status initialise_site(pb_method *m, const pb_site *site, double *squares, float *floats)
{
    const dora_state *state = m->state;
    pb_tensor to_squares    = of_site(m, site, &state->squares);
    pb_tensor to_negative   = of_site(m, site, &state->negative);
    pb_tensor from_squares  = pb_tensor_1d(squares, PB_DTYPE_F64, site->out);
    pb_tensor from          = pb_tensor_1d(floats, PB_DTYPE_F32, site->out);
    PB_TRY(weight_squares(site, squares));
    PB_TRY(pb_copy(m->backend, &to_squares, &from_squares));
    for (int64_t o = 0; o < site->out; o++) {
        floats[o] = (float)sqrt(squares[o]);
    }
    PB_TRY(pb_copy(m->backend, &magnitude(m, site)->value, &from));
    for (int64_t o = 0; o < site->out && site->has_bias; o++) {
        floats[o] = -((const float *)site->bias.data)[o];
    }
    return site->has_bias ? pb_copy(m->backend, &to_negative, &from) : PB_OK;
}

/* Calls a function at every site, with room on the host for as many numbers as it has rows. */
static pb_status at_sites(pb_method *m,
                          pb_status (*call)(pb_method *, const pb_site *, double *, float *))
{
    const dora_state *state = m->state;
    double *doubles         = NULL;
    float *floats           = NULL;
    pb_status status        = PB_OK;
    PB_TRY_GOTO(status, PB_ALLOC(doubles, state->rows), out_host);
    PB_TRY_GOTO(status, PB_ALLOC(floats, state->rows), out_host);
    for (int64_t i = 0; i < pb_model_site_count(m->model) && status == PB_OK; i++) {
        const pb_site *site = pb_model_site_at(m->model, i);
        status              = m->sites[i] >= 0 ? call(m, site, doubles, floats) : PB_OK;
    }
out_host:
    pb_memory_free(floats);
    pb_memory_free(doubles);
    return status;
}

static pb_status initialise(pb_method *m)
{
    return at_sites(m, initialise_site);
}

/* 1 / n, from ‖W‖² + rows of B · rows of M. */
static pb_status find_norms(pb_method *m, const pb_site *site)
{
    const dora_state *state = m->state;
    pb_low_rank l           = lora_at(m, site);
    int64_t r               = l.a.shape[0];
    float *room             = state->room.data;
    pb_tensor squares       = of_site(m, site, &state->squares);
    pb_tensor inverse       = of_site(m, site, &state->inverse);
    pb_tensor product       = pb_tensor_2d(room, PB_DTYPE_F32, r, site->out);
    pb_tensor gram          = pb_tensor_2d(room + r * site->out, PB_DTYPE_F32, r, r);
    PB_TRY(pb_matmul(m->backend, &product, &l.a, &placed(m, site)->weight,
                     &(pb_matmul_args){.transpose_b = true, .alpha = 2.0f * l.scale}));
    PB_TRY(pb_matmul(m->backend, &gram, &l.a, &l.a,
                     &(pb_matmul_args){.transpose_b = true, .alpha = l.scale * l.scale}));
    PB_TRY(pb_matmul(m->backend, &product, &gram, &l.b,
                     &(pb_matmul_args){.transpose_b = true, .alpha = 1.0f, .beta = 1.0f}));
    return pb_inverse_norms(m->backend, &inverse, &squares, &product, &l.b);
}

static pb_status values_changed(pb_method *m)
{
    for (int64_t i = 0; m->weights != NULL && i < pb_model_site_count(m->model); i++) {
        PB_TRY(m->sites[i] >= 0 ? find_norms(m, pb_model_site_at(m->model, i)) : PB_OK);
    }
    return PB_OK;
}

static pb_status check_norms(pb_method *m, const pb_site *site, double *doubles, float *floats)
{
    pb_tensor host    = pb_tensor_1d(floats, PB_DTYPE_F32, site->out);
    pb_tensor inverse = of_site(m, site, &((const dora_state *)m->state)->inverse);
    (void)doubles;
    PB_TRY(pb_copy(m->backend, &host, &inverse));
    for (int64_t o = 0; o < site->out; o++) {
        if (isnan(floats[o])) {
            return PB_FAIL(PB_ERR_NUMERIC,
                           "dora: the norm of row %" PRId64 " of %s with its update is not a "
                           "positive number, so the row has no direction",
                           o, site->hf_name);
        }
    }
    return PB_OK;
}

static pb_status check_values(pb_method *m)
{
    return m->weights != NULL ? at_sites(m, check_norms) : PB_OK;
}

/* Kept: A drop(x), then V x / n. */
static int64_t kept_width(const pb_method *m, const pb_site *site)
{
    return m->sites[site->index] >= 0 ? rank_at(m, site) + site->out : 0;
}

/* What the low-rank product needs, then with dropout m ⊙ V x / n or its gradient. */
static int64_t scratch_width(const pb_method *m, const pb_site *site)
{
    if (m->sites[site->index] < 0) {
        return 0;
    }
    pb_low_rank l = lora_at(m, site);
    return pb_low_rank_room(&l) + (lora_drops(m) ? site->out : 0);
}

typedef struct views {
    pb_low_rank l;
    pb_tensor inner, direction; /* the two parts of what is kept */
    pb_tensor inverse, negative;
    pb_tensor more; /* [T, out] of the scratch; none without dropout */
    bool drops;
} views;

static views views_of(pb_method *m, const pb_site *site, const pb_site_context *ctx,
                      const pb_tensor *kept)
{
    const dora_state *state = m->state;
    views v                 = {.l = lora_at(m, site), .drops = ctx->training && lora_drops(m)};
    int64_t r               = v.l.a.shape[0];
    v.inner                 = pb_tensor_columns(kept, 0, r);
    v.direction             = pb_tensor_columns(kept, r, site->out);
    v.inverse               = of_site(m, site, &state->inverse);
    v.negative              = of_site(m, site, &state->negative);
    if (v.drops) {
        v.more = pb_tensor_columns(ctx->scratch, pb_low_rank_room(&v.l), site->out);
    } else {
        v.l.dropout = 0.0;
    }
    return v;
}

/* y += m ⊙ V drop(x) / n - W drop(x). */
static pb_status dropped_forward(pb_method *m, const pb_site *site, const pb_site_context *ctx,
                                 views *v, pb_tensor *y, const pb_tensor *x)
{
    pb_tensor dropped = pb_tensor_half(ctx->scratch, 1, site->in);
    PB_TRY(pb_dropout(m->backend, &dropped, x, v->l.dropout, &v->l.mask));
    PB_TRY(pb_matmul(m->backend, &v->direction, &dropped, &placed(m, site)->weight,
                     &(pb_matmul_args){.transpose_b = true, .alpha = 1.0f}));
    PB_TRY(pb_axpy(m->backend, y, -1.0f, &v->direction));
    PB_TRY(pb_low_rank_forward(m->backend, &v->direction, x, &v->l, &v->inner, ctx->scratch));
    PB_TRY(pb_column_scale_forward(m->backend, &v->direction, &v->direction, &v->inverse));
    PB_TRY(
        pb_column_scale_forward(m->backend, &v->more, &v->direction, &magnitude(m, site)->value));
    return pb_axpy(m->backend, y, 1.0f, &v->more);
}

static pb_status output_forward(pb_method *m, const pb_site *site, const pb_site_context *ctx,
                                pb_tensor *y, const pb_tensor *x, pb_tensor *kept)
{
    views v = views_of(m, site, ctx, kept);
    if (v.drops) {
        return dropped_forward(m, site, ctx, &v, y, x);
    }
    if (site->has_bias) {
        PB_TRY(pb_bias_forward(m->backend, y, &v.negative));
    }
    PB_TRY(pb_low_rank_forward(m->backend, y, x, &v.l, &v.inner, ctx->scratch));
    PB_TRY(pb_column_scale_forward(m->backend, &v.direction, y, &v.inverse));
    PB_TRY(pb_column_scale_forward(m->backend, y, &v.direction, &magnitude(m, site)->value));
    return site->has_bias ? pb_bias_forward(m->backend, y, &placed(m, site)->bias) : PB_OK;
}

static pb_status output_backward(pb_method *m, const pb_site *site, const pb_site_context *ctx,
                                 pb_tensor *dy, pb_tensor *dx, const pb_tensor *x,
                                 const pb_tensor *kept)
{
    views v             = views_of(m, site, ctx, kept);
    pb_trainable *scale = magnitude(m, site);
    pb_tensor dv        = v.drops ? v.more : *dy; /* gradient of V x */
    PB_TRY(
        pb_column_scale_backward(m->backend, &dv, &scale->grad, dy, &v.direction, &scale->value));
    PB_TRY(pb_column_scale_forward(m->backend, &dv, &dv, &v.inverse));
    PB_TRY(pb_low_rank_backward(m->backend, dx, &dv, x, &v.l, &v.inner, ctx->scratch, true));
    if (!v.drops || pb_tensor_is_none(dx)) {
        return PB_OK;
    }
    pb_tensor way = pb_tensor_half(ctx->scratch, 1, site->in); /* of W drop(x) to x */
    PB_TRY(pb_axpy(m->backend, &dv, -1.0f, dy));
    PB_TRY(pb_matmul(m->backend, &way, &dv, &placed(m, site)->weight,
                     &(pb_matmul_args){.alpha = 1.0f}));
    PB_TRY(pb_dropout(m->backend, &way, &way, v.l.dropout, &v.l.mask));
    return pb_axpy(m->backend, dx, 1.0f, &way);
}

/* diag(m / n) V; the bias stays. */
static pb_status merge(pb_method *m, const pb_site *site, pb_tensor *weight, pb_tensor *bias)
{
    const dora_state *state = m->state;
    pb_low_rank l           = lora_at(m, site);
    pb_tensor inverse       = of_site(m, site, &state->inverse);
    (void)bias;
    PB_TRY(low_rank_merge(m, &l, weight));
    PB_TRY(scale_rows(m, weight, &inverse));
    return scale_rows(m, weight, &magnitude(m, site)->value);
}

static void config_write(const pb_method *m, pb_json *json)
{
    lora_config_write(m, true, json);
}

static bool claims(const pb_adapter_config *c)
{
    return adapter_is_on(c, "use_dora");
}

static pb_status config_read(void *options, const pb_adapter_config *c)
{
    bool dora = true;
    PB_TRY(adapter_bool(c, "use_dora", &dora));
    return lora_config_read(options, c);
}

const pb_method_ops method_dora = {
    .name                   = "dora",
    .help                   = "low-rank updates of the direction of rows, and their magnitude",
    .options_size           = sizeof(lora_options),
    .fields                 = lora_fields,
    .plan                   = plan,
    .destroy                = destroy,
    .initialise             = initialise,
    .values_changed         = values_changed,
    .check_values           = check_values,
    .acts                   = acts_on_output,
    .linear_output_forward  = output_forward,
    .linear_output_backward = output_backward,
    .kept_width             = kept_width,
    .scratch_width          = scratch_width,
    .drops                  = lora_drops,
    .merge                  = merge,
    .extra_flops            = lora_flops,
    .peft_type              = "LORA",
    .claims                 = claims,
    .adapter_config_write   = config_write,
    .adapter_config_read    = config_read,
};
