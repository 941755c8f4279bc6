// SPDX-License-Identifier: Apache-2.0
/* Placing the weights of a model in a backend's memory. The layout is walked twice, with and
 * without memory: first it only adds up the bytes. */
#include "pb/memory.h"
#include "pb/weights.h"

#include <inttypes.h>

enum { ALIGNMENT = 256, STACKED_MAX = 3 }; /* bytes; sites of one stack */

/* The kinds of a stack from top to bottom. A family has either the parts or what replaces them. */
typedef struct stack_kinds {
    int count;
    pb_site_kind kinds[STACKED_MAX];
} stack_kinds;

static const stack_kinds stacks[] = {
    {3, {PB_SITE_Q, PB_SITE_K, PB_SITE_V}}, {1, {PB_SITE_QKV}},     {1, {PB_SITE_O}},
    {2, {PB_SITE_GATE, PB_SITE_UP}},        {1, {PB_SITE_GATE_UP}}, {1, {PB_SITE_DOWN}},
};

struct pb_weights {
    const pb_model *model;
    pb_backend *backend;
    int64_t border;
    pb_placed *sites;  /* [sites] */
    pb_tensor *stacks; /* [sites] of linear sites, shared by those of one stack */
    char *block;       /* NULL: the model's own memory is used, or is not yet allocated */
    size_t bytes;      /* laid out so far */
};

/* Room for a matrix after what is laid out so far; none while there is no memory. */
static pb_tensor take(pb_weights *w, pb_dtype dtype, int64_t rows, int64_t columns)
{
    size_t begin = w->bytes;
    size_t bytes = (size_t)(rows * columns) * pb_dtype_size(dtype);
    w->bytes += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return w->block != NULL ? pb_tensor_2d(w->block + begin, dtype, rows, columns) : (pb_tensor){0};
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
    return pb_copy(w->backend, to, from);
}

/* Weights of different dtypes share a stack as F32. */
static pb_dtype common_dtype(const pb_site *const *sites, int count)
{
    for (int i = 1; i < count; i++) {
        if (sites[i]->weight.dtype != sites[0]->weight.dtype) {
            return PB_DTYPE_F32;
        }
    }
    return sites[0]->weight.dtype;
}

static pb_status place_stack(pb_weights *w, const pb_site *const *sites, int count)
{
    int64_t in   = sites[0]->in;
    int64_t rows = w->border;
    int64_t row  = 0;
    for (int i = 0; i < count; i++) {
        rows += sites[i]->out;
    }
    pb_dtype type   = pb_backend_weight_type(w->backend, common_dtype(sites, count));
    pb_tensor stack = take(w, type, rows, in + w->border);
    for (int i = 0; i < count && w->block != NULL; i++) {
        pb_placed *placed          = &w->sites[sites[i]->index];
        pb_tensor all              = pb_tensor_rows(&stack, row, sites[i]->out);
        w->stacks[sites[i]->index] = stack;
        placed->weight             = pb_tensor_columns(&all, 0, in);
        PB_TRY(pb_copy(w->backend, &placed->weight, &sites[i]->weight));
        row += sites[i]->out;
    }
    return PB_OK;
}

static pb_status place_stacks(pb_weights *w, int64_t layer)
{
    for (size_t s = 0; s < sizeof stacks / sizeof *stacks; s++) {
        const pb_site *sites[STACKED_MAX] = {NULL};
        for (int i = 0; i < stacks[s].count; i++) {
            sites[i] = pb_model_site(w->model, stacks[s].kinds[i], layer);
        }
        if (sites[0] != NULL) {
            PB_TRY(place_stack(w, sites, stacks[s].count));
        }
    }
    return PB_OK;
}

/* Lays everything out, and copies it where there is memory. */
static pb_status place_all(pb_weights *w)
{
    w->bytes = 0;
    for (int64_t i = 0; i < pb_model_site_count(w->model); i++) {
        const pb_site *site = pb_model_site_at(w->model, i);
        if (site->site_class != PB_SITE_LINEAR && site->has_weight) {
            PB_TRY(place_alone(w, &site->weight, &w->sites[i].weight));
        }
        PB_TRY(place_alone(w, &site->bias, &w->sites[i].bias));
    }
    for (int64_t l = 0; l < pb_model_get_config(w->model)->layers; l++) {
        PB_TRY(place_stacks(w, l));
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
    return pb_sync(w->backend);
}

static void borrow(pb_weights *w)
{
    for (int64_t i = 0; i < pb_model_site_count(w->model); i++) {
        const pb_site *site = pb_model_site_at(w->model, i);
        w->sites[i]         = (pb_placed){.weight = site->weight, .bias = site->bias};
    }
}

static pb_status initialise(pb_weights *w)
{
    int64_t sites = pb_model_site_count(w->model);
    if (w->border < 0) {
        return PB_FAIL(PB_ERR_ARGUMENT, "placing weights: a border of %" PRId64 " rows", w->border);
    }
    if (pb_tensor_is_none(&pb_model_site_at(w->model, 0)->weight)) {
        return PB_FAIL(PB_ERR_ARGUMENT, "placing weights: the model was opened without any");
    }
    PB_TRY(PB_ALLOC(w->sites, sites));
    PB_TRY(PB_ALLOC(w->stacks, sites));
    if (pb_backend_is_host(w->backend)) {
        borrow(w);
        return PB_OK;
    }
    return place(w);
}

pb_status pb_weights_open(const pb_model *model, pb_backend *backend, int64_t border,
                          pb_weights **out)
{
    pb_weights *w = NULL;
    PB_TRY(PB_ALLOC(w, 1));
    w->model         = model;
    w->backend       = backend;
    w->border        = border;
    pb_status status = initialise(w);
    if (status != PB_OK) {
        pb_weights_close(w);
        return PB_FRAME(status);
    }
    *out = w;
    return PB_OK;
}

void pb_weights_close(pb_weights *w)
{
    if (w != NULL) {
        pb_backend_free(w->backend, w->block);
        pb_memory_free(w->stacks);
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

pb_tensor pb_weights_stack(const pb_weights *w, const pb_site *site)
{
    return w->stacks[site->index];
}
