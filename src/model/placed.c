// SPDX-License-Identifier: Apache-2.0
/* Placing the weights of a model in a backend's memory. The layout is walked twice, with and
 * without memory: first it only adds up the bytes. */
#include "pb/memory.h"
#include "pb/random.h"
#include "pb/weights.h"

#include <inttypes.h>

enum {
    ALIGNMENT = 256, /* bytes */
    POOL      = 1 << 22,
    POOL_STEP = 1000003 /* prime: no two matrices begin at the same value of the pool */
};

#define RANDOM_DEVIATION 0.02

struct pb_weights {
    const pb_model *model;
    pb_backend *backend;
    int64_t border;
    uint64_t border_owner;
    pb_placed *sites; /* [sites] */
    char *block;      /* NULL: the model's own memory is used, or is not yet allocated */
    size_t bytes;     /* laid out so far */
    /* Of random weights: values that all of them are copies of. */
    pb_tensor pool; /* F32 [POOL], in backend memory; none: the model has weights */
    int64_t pool_at;
    pb_dtype dtype;
};

/* Room for a matrix after what is laid out so far; none while there is no memory. */
static pb_tensor take(pb_weights *w, pb_dtype dtype, int64_t rows, int64_t columns)
{
    size_t begin = w->bytes;
    size_t bytes = (size_t)(rows * columns) * pb_dtype_size(dtype);
    w->bytes += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return w->block != NULL ? pb_tensor_2d(w->block + begin, dtype, rows, columns) : (pb_tensor){0};
}

/* What is placed for a site: its own tensors, or for random weights the shapes that they would
 * have. */
static pb_tensor weight_of(const pb_weights *w, const pb_site *site)
{
    if (pb_tensor_is_none(&w->pool) || !site->has_weight) {
        return site->weight;
    }
    return site->site_class == PB_SITE_NORM
               ? pb_tensor_1d(w->pool.data, PB_DTYPE_F32, site->out)
               : pb_tensor_2d(w->pool.data, w->dtype, site->out, site->in);
}

static pb_tensor bias_of(const pb_weights *w, const pb_site *site)
{
    return pb_tensor_is_none(&w->pool) || !site->has_bias
               ? site->bias
               : pb_tensor_1d(w->pool.data, PB_DTYPE_F32, site->out);
}

/* A matrix from the pool, in bands of rows. */
static pb_status fill(pb_weights *w, pb_tensor *to)
{
    int64_t width = pb_tensor_width(to);
    int64_t most  = POOL / 2 / width;
    if (most == 0) {
        return PB_FAIL(PB_ERR_ARGUMENT, "random weights: rows of %" PRId64 " values, at most %d",
                       width, POOL / 2);
    }
    for (int64_t row = 0, count = 0; row < to->shape[0]; row += count) {
        count           = to->shape[0] - row < most ? to->shape[0] - row : most;
        pb_tensor band  = pb_tensor_rows(to, row, count);
        float *values   = (float *)w->pool.data + w->pool_at;
        pb_tensor block = pb_tensor_2d(values, PB_DTYPE_F32, count, width);
        w->pool_at      = (w->pool_at + POOL_STEP) % (POOL / 2);
        PB_TRY(pb_copy(w->backend, &band, &block));
    }
    return PB_OK;
}

static pb_status put(pb_weights *w, pb_tensor *to, const pb_tensor *from)
{
    return pb_tensor_is_none(&w->pool) ? pb_copy(w->backend, to, from) : fill(w, to);
}

/* Room of its own for a tensor, and its values. */
static pb_status place_alone(pb_weights *w, const pb_tensor *from, pb_tensor *to)
{
    if (pb_tensor_is_none(from)) {
        return PB_OK;
    }
    pb_dtype type = from->ndim == 2 ? pb_backend_weight_type(w->backend, from->dtype) : from->dtype;
    pb_tensor room = take(w, type, from->shape[0], pb_tensor_width(from));
    if (w->block == NULL) {
        return PB_OK;
    }
    *to        = *from;
    to->dtype  = type;
    to->data   = room.data;
    to->stride = from->ndim == 1 ? 1 : room.stride;
    return from->ndim == 2 || pb_tensor_is_none(&w->pool) ? put(w, to, from) : PB_OK;
}

/* A matrix and its border. */
static pb_status place_linear(pb_weights *w, const pb_site *site)
{
    pb_tensor from = weight_of(w, site);
    pb_dtype type  = pb_backend_weight_type(w->backend, from.dtype);
    pb_tensor all  = take(w, type, site->out + w->border, site->in + w->border);
    if (w->block == NULL) {
        return PB_OK;
    }
    pb_tensor rows    = pb_tensor_rows(&all, 0, site->out);
    pb_tensor *weight = &w->sites[site->index].weight;
    *weight           = pb_tensor_narrow(&rows, w->border);
    return put(w, weight, &from);
}

/* Lays everything out, and copies it where there is memory. */
static pb_status place_all(pb_weights *w)
{
    w->bytes = 0;
    for (int64_t i = 0; i < pb_model_site_count(w->model); i++) {
        const pb_site *site = pb_model_site_at(w->model, i);
        pb_tensor weight    = weight_of(w, site);
        pb_tensor bias      = bias_of(w, site);
        if (site->site_class != PB_SITE_LINEAR && site->has_weight) {
            PB_TRY(place_alone(w, &weight, &w->sites[i].weight));
        }
        PB_TRY(place_alone(w, &bias, &w->sites[i].bias));
    }
    for (int64_t i = 0; i < pb_model_site_count(w->model); i++) {
        const pb_site *site = pb_model_site_at(w->model, i);
        if (site->site_class == PB_SITE_LINEAR) {
            PB_TRY(place_linear(w, site));
        }
    }
    const pb_site *head = pb_model_site(w->model, PB_SITE_HEAD, -1);
    if (!head->has_weight) {
        w->sites[head->index].weight = w->sites[0].weight; /* the embedding */
    }
    return PB_OK;
}

static pb_status place(pb_weights *w)
{
    void *memory = NULL;
    PB_TRY(place_all(w));
    PB_TRY(pb_backend_alloc(w->backend, w->bytes, &memory));
    w->block = memory;
    PB_TRY(place_all(w));
    PB_TRY(pb_sync(w->backend));
    pb_model_release(w->model);
    return PB_OK;
}

static void borrow(pb_weights *w)
{
    for (int64_t i = 0; i < pb_model_site_count(w->model); i++) {
        const pb_site *site = pb_model_site_at(w->model, i);
        w->sites[i]         = (pb_placed){.weight = site->weight, .bias = site->bias};
    }
}

static pb_status place_model(pb_weights *w)
{
    if (pb_tensor_is_none(&pb_model_site_at(w->model, 0)->weight)) {
        return PB_FAIL(PB_ERR_ARGUMENT, "placing weights: the model was opened without any");
    }
    if (pb_backend_is_host(w->backend)) {
        borrow(w);
        return PB_OK;
    }
    return place(w);
}

/* Norms that scale by one; a new block holds zeros, as biases are. */
static pb_status fill_norms(pb_weights *w)
{
    float one        = (float)(1.0 - pb_model_get_config(w->model)->norm_offset);
    float *ones      = NULL;
    pb_status status = PB_OK;
    for (int64_t i = 0; i < pb_model_site_count(w->model); i++) {
        const pb_site *site = pb_model_site_at(w->model, i);
        if (site->site_class != PB_SITE_NORM || one == 0.0f) {
            continue;
        }
        PB_TRY_GOTO(status, PB_ALLOC(ones, site->out), done);
        for (int64_t n = 0; n < site->out; n++) {
            ones[n] = one;
        }
        pb_tensor from = pb_tensor_1d(ones, PB_DTYPE_F32, site->out);
        PB_TRY_GOTO(status, pb_copy(w->backend, &w->sites[i].weight, &from), done);
        pb_memory_free(ones);
        ones = NULL;
    }
done:
    pb_memory_free(ones);
    return status;
}

static pb_status make_pool(pb_weights *w, uint64_t seed)
{
    pb_random stream = pb_random_stream(seed, PB_RANDOM_SYNTHETIC, 0);
    float *values    = NULL;
    void *memory     = NULL;
    PB_TRY(pb_backend_alloc(w->backend, POOL * sizeof *values, &memory));
    w->pool = pb_tensor_1d(memory, PB_DTYPE_F32, POOL);
    PB_TRY(PB_ALLOC(values, POOL));
    for (int64_t i = 0; i < POOL; i++) {
        values[i] = (float)(RANDOM_DEVIATION * pb_random_normal(stream, (uint64_t)i));
    }
    pb_tensor from   = pb_tensor_1d(values, PB_DTYPE_F32, POOL);
    pb_status status = pb_copy(w->backend, &w->pool, &from);
    pb_memory_free(values);
    return PB_FRAME(status);
}

static pb_status place_random(pb_weights *w, uint64_t seed)
{
    PB_TRY(make_pool(w, seed));
    PB_TRY(place(w));
    PB_TRY(fill_norms(w));
    PB_TRY(pb_sync(w->backend));
    pb_backend_free(w->backend, w->pool.data);
    w->pool = (pb_tensor){0};
    return PB_OK;
}

/* `seed`: of random weights; NULL: the model's own. */
static pb_status open_weights(const pb_weights *chosen, const uint64_t *seed, pb_weights **out)
{
    int64_t sites    = pb_model_site_count(chosen->model);
    pb_status status = PB_OK;
    pb_weights *w    = NULL;
    if (chosen->border < 0) {
        return PB_FAIL(PB_ERR_ARGUMENT, "placing weights: a border of %" PRId64 " rows",
                       chosen->border);
    }
    PB_TRY(PB_ALLOC(w, 1));
    *w = *chosen;
    PB_TRY_GOTO(status, PB_ALLOC(w->sites, sites), err_weights);
    PB_TRY_GOTO(status, seed != NULL ? place_random(w, *seed) : place_model(w), err_weights);
    *out = w;
    return PB_OK;
err_weights:
    pb_weights_close(w);
    return status;
}

pb_status pb_weights_random(const pb_model *model, pb_backend *backend, int64_t border,
                            pb_dtype dtype, uint64_t seed, pb_weights **out)
{
    pb_weights chosen = {.model = model, .backend = backend, .border = border, .dtype = dtype};
    return open_weights(&chosen, &seed, out);
}

pb_status pb_weights_open(const pb_model *model, pb_backend *backend, int64_t border,
                          pb_weights **out)
{
    pb_weights chosen = {.model = model, .backend = backend, .border = border};
    return open_weights(&chosen, NULL, out);
}

void pb_weights_close(pb_weights *w)
{
    if (w != NULL) {
        pb_backend_free(w->backend, w->pool.data);
        pb_backend_free(w->backend, w->block);
        pb_memory_free(w->sites);
        pb_memory_free(w);
    }
}

const pb_model *pb_weights_model(const pb_weights *w)
{
    return w->model;
}

pb_backend *pb_weights_backend(const pb_weights *w)
{
    return w->backend;
}

size_t pb_weights_bytes(const pb_weights *w)
{
    return w->bytes;
}

const pb_placed *pb_weights_at(const pb_weights *w, int64_t index)
{
    return &w->sites[index];
}

uint64_t pb_weights_border_take(pb_weights *w)
{
    return ++w->border_owner;
}

uint64_t pb_weights_border_owner(const pb_weights *w)
{
    return w->border_owner;
}
