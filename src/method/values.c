// SPDX-License-Identifier: Apache-2.0
/* The tensors of a method: declared by the plan, then laid out in one buffer of values, one of
 * gradients and one of frozen values, and filled. Value i of tensor t comes from the stream (seed,
 * t) alone, so it does not depend on order, rank or backend. */
#include "internal.h"

#include "pb/memory.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

pb_status trainable_name(pb_trainable *t, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(t->name, sizeof t->name, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof t->name) {
        return PB_FAIL(PB_ERR_UNSUPPORTED, "trainable tensor name is longer than %zu bytes: %s…",
                       sizeof t->name - 1, t->name);
    }
    return PB_OK;
}

/* `text` has the part "norm": between dots or ends, or after an underscore. */
static bool has_norm_part(const char *text)
{
    for (const char *p = strstr(text, "norm"); p != NULL; p = strstr(p + 1, "norm")) {
        bool starts = p == text || p[-1] == '.' || p[-1] == '_';
        if (starts && (p[4] == '\0' || p[4] == '.')) {
            return true;
        }
    }
    return false;
}

/* Weight decay applies to all but biases and norm weights, recognised by name as HF's trainer does.
 */
static bool trainable_decays(const char *name)
{
    char lower[sizeof(((pb_trainable *)NULL)->name)];
    size_t length = 0;
    for (; name[length] != '\0' && length + 1 < sizeof lower; length++) {
        lower[length] = (char)tolower((unsigned char)name[length]);
    }
    lower[length] = '\0';
    return strstr(lower, "bias") == NULL && strstr(lower, "layernorm") == NULL &&
           strstr(lower, "rmsnorm") == NULL && !has_norm_part(lower);
}

static pb_status count_of(const pb_trainable *t, int64_t *count)
{
    int64_t n = 1;
    if (t->ndim < 1 || t->ndim > PB_TENSOR_DIMS) {
        return PB_FAIL(PB_ERR_ARGUMENT, "trainable %s has %d dimensions", t->name, t->ndim);
    }
    for (int i = 0; i < t->ndim; i++) {
        if (t->shape[i] < 1 || __builtin_mul_overflow(n, t->shape[i], &n)) {
            return PB_FAIL(PB_ERR_ARGUMENT, "trainable %s: dimension %d is %" PRId64, t->name, i,
                           t->shape[i]);
        }
    }
    *count = n;
    return PB_OK;
}

static pb_tensor view(const pb_trainable *t, float *data)
{
    pb_tensor v = {.data = data, .dtype = PB_DTYPE_F32, .ndim = t->ndim, .stride = 1};
    for (int i = 0; i < t->ndim; i++) {
        v.shape[i] = t->shape[i];
        v.stride *= i > 0 ? t->shape[i] : 1;
    }
    return v;
}

static pb_status fail_shape(const pb_trainable *t, const pb_tensor *found, const char *path)
{
    char have[64], want[64];
    pb_tensor wanted = view(t, NULL);
    return PB_FAIL(PB_ERR_SHAPE, "%s: tensor %s is %s, this model and method need %s", path,
                   t->name, pb_tensor_shape_text(found, have, sizeof have),
                   pb_tensor_shape_text(&wanted, want, sizeof want));
}

/* Trainables come from floats; a dtype that nothing here reads has no shape either. */
static pb_status check_dtype(const pb_safetensors *file, const pb_named_tensor *entry,
                             const char *path)
{
    pb_tensor tensor = {0};
    if (pb_safetensors_get(file, entry->name, &tensor) != PB_OK) {
        return PB_FAIL(PB_ERR_FORMAT, "%s", pb_error_message());
    }
    if (tensor.dtype != PB_DTYPE_F32 && tensor.dtype != PB_DTYPE_F16 &&
        tensor.dtype != PB_DTYPE_BF16) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s: tensor %s is of dtype %s; F32, F16 and BF16 can be trained", path,
                       entry->name, pb_dtype_name(tensor.dtype));
    }
    return PB_OK;
}

/* The file has the tensor, unless it `may_lack` it, in its shape. */
static pb_status check_tensor(const pb_trainable *t, bool may_lack, const pb_safetensors *file,
                              const char *path)
{
    const pb_named_tensor *entry = pb_safetensors_find(file, t->name);
    pb_tensor wanted             = view(t, NULL);
    if (entry == NULL && may_lack) {
        return PB_OK;
    }
    if (entry == NULL) {
        return PB_FAIL(PB_ERR_FORMAT, "%s: tensor %s is missing", path, t->name);
    }
    PB_TRY(check_dtype(file, entry, path));
    return pb_tensor_same_shape(&entry->tensor, &wanted) ? PB_OK
                                                         : fail_shape(t, &entry->tensor, path);
}

pb_status pb_method_declare(pb_method *m, const pb_trainable *trainable, int64_t *index)
{
    const pb_method_source *source = m->source;
    int64_t count                  = 0;
    int64_t total                  = 0;
    PB_TRY(count_of(trainable, &count));
    if (trainable->name[0] == '\0') {
        return PB_FAIL(PB_ERR_ARGUMENT, "%s: a trainable tensor has no name", m->ops->name);
    }
    for (int64_t i = 0; i < m->count; i++) {
        if (strcmp(m->trainables[i].name, trainable->name) == 0) {
            return PB_FAIL(PB_ERR_ARGUMENT, "%s: trainable %s is declared twice", m->ops->name,
                           trainable->name);
        }
    }
    if (source != NULL && source->adapter != NULL) {
        PB_TRY(check_tensor(trainable, true, source->file, source->file_path));
    }
    int64_t *sum = trainable->frozen ? &m->frozen_parameters : &m->parameters;
    if (__builtin_add_overflow(*sum, count, &total) || (uint64_t)total > SIZE_MAX / sizeof(float)) {
        return PB_FAIL(PB_ERR_ARGUMENT, "%s: too many parameters", m->ops->name);
    }
    PB_TRY(PB_GROW(m->trainables, m->count + 1));
    pb_trainable *t = &m->trainables[m->count];
    *t              = *trainable;
    t->rate         = t->rate != 0.0 ? t->rate : 1.0;
    t->decay        = trainable_decays(t->name);
    t->value        = (pb_tensor){0};
    t->grad         = (pb_tensor){0};
    if (index != NULL) {
        *index = m->count;
    }
    m->count++;
    *sum = total;
    return PB_OK;
}

pb_tensor method_flat(const pb_tensor *t)
{
    return pb_tensor_1d(t->data, t->dtype, pb_tensor_count(t));
}

pb_status method_check_file(const pb_method *m)
{
    const pb_method_source *source = m->source;
    for (int64_t i = 0; i < m->count && source->adapter != NULL; i++) {
        const pb_trainable *t = &m->trainables[i];
        bool may_lack         = t->frozen && (t->derived || !source->is_whole);
        PB_TRY(check_tensor(t, may_lack, source->file, source->file_path));
    }
    return PB_OK;
}

pb_status method_allocate(pb_method *m)
{
    PB_TRY(pb_backend_vector(m->backend, PB_DTYPE_F32, m->parameters, &m->values));
    PB_TRY(pb_backend_vector(m->backend, PB_DTYPE_F32, m->parameters, &m->grads));
    PB_TRY(pb_backend_vector(m->backend, PB_DTYPE_F32, m->frozen_parameters, &m->frozen));
    float *value  = m->values.data;
    float *grad   = m->grads.data;
    float *frozen = m->frozen.data;
    for (int64_t i = 0; i < m->count; i++) {
        pb_trainable *t = &m->trainables[i];
        if (t->frozen) {
            t->value = view(t, frozen);
            frozen += pb_tensor_count(&t->value);
        } else {
            t->value = view(t, value);
            t->grad  = view(t, grad);
            value += pb_tensor_count(&t->value);
            grad += pb_tensor_count(&t->value);
        }
    }
    return PB_OK;
}

/* Host values of a tensor that is not a copy. */
static void draw(const pb_trainable *t, pb_random stream, int64_t count, float *out)
{
    for (int64_t i = 0; i < count; i++) {
        double x = 0.0;
        switch (t->init) {
        case PB_INIT_ONE:
            x = 1.0;
            break;
        case PB_INIT_CONSTANT:
            x = t->scale;
            break;
        case PB_INIT_NORMAL:
            x = t->scale * pb_random_normal(stream, (uint64_t)i);
            break;
        case PB_INIT_UNIFORM:
            x = t->scale * (2.0 * pb_random_uniform(stream, (uint64_t)i) - 1.0);
            break;
        case PB_INIT_ZERO:
        case PB_INIT_COPY:
            break;
        }
        out[i] = (float)x;
    }
}

static pb_status fill(pb_method *m, int64_t index)
{
    pb_trainable *t = &m->trainables[index];
    int64_t count   = pb_tensor_count(&t->value);
    if (t->init == PB_INIT_ZERO) {
        return PB_OK; /* backend memory starts as zero */
    }
    if (t->init == PB_INIT_COPY) {
        if (pb_tensor_is_none(&t->source)) {
            return PB_FAIL(PB_ERR_ARGUMENT, "%s: nothing to start %s from", m->ops->name, t->name);
        }
        return pb_copy(m->backend, &t->value, &t->source);
    }
    float *host      = NULL;
    pb_random stream = pb_random_stream(m->seed, PB_RANDOM_INIT, (uint64_t)index);
    PB_TRY(PB_ALLOC(host, count));
    draw(t, stream, count, host);
    pb_tensor from   = pb_tensor_1d(host, PB_DTYPE_F32, count);
    pb_tensor to     = method_flat(&t->value);
    pb_status status = pb_copy(m->backend, &to, &from);
    pb_memory_free(host);
    return status;
}

pb_status pb_method_values_changed(pb_method *m)
{
    bool has_values = !pb_tensor_is_none(&m->values);
    m->version++;
    return has_values && m->ops->values_changed != NULL ? m->ops->values_changed(m) : PB_OK;
}

pb_status pb_method_check_values(pb_method *m)
{
    bool has_values = !pb_tensor_is_none(&m->values);
    return has_values && m->ops->check_values != NULL ? m->ops->check_values(m) : PB_OK;
}

/* After all values were written, the frozen ones too. */
static pb_status all_changed(pb_method *m)
{
    PB_TRY(m->ops->frozen_changed != NULL ? m->ops->frozen_changed(m) : PB_OK);
    PB_TRY(pb_method_values_changed(m));
    return pb_method_check_values(m);
}

pb_status method_initialise(pb_method *m)
{
    for (int64_t i = 0; i < m->count; i++) {
        PB_TRY(fill(m, i));
    }
    if (m->ops->initialise != NULL) {
        PB_TRY(m->ops->initialise(m));
    }
    return all_changed(m);
}

pb_status pb_method_attach(pb_method *m, const pb_weights *weights)
{
    m->weights = weights;
    PB_TRY(pb_method_values_changed(m));
    return pb_method_check_values(m);
}

pb_status pb_method_archive(pb_method *m, pb_archive *archive)
{
    PB_TRY(pb_archive_tensor(archive, m->backend, &m->values));
    PB_TRY(m->ops->archive != NULL ? m->ops->archive(m, archive) : PB_OK);
    return pb_archive_reads(archive) ? pb_method_values_changed(m) : PB_OK;
}

pb_status pb_method_penalty(pb_method *m, bool gradient, pb_tensor *sum)
{
    return m->ops->penalty != NULL ? m->ops->penalty(m, gradient, sum) : PB_OK;
}

static const pb_trainable *find(const pb_method *m, const char *name)
{
    for (int64_t i = 0; i < m->count; i++) {
        if (strcmp(m->trainables[i].name, name) == 0) {
            return &m->trainables[i];
        }
    }
    return NULL;
}

static pb_status read_value(pb_method *m, pb_trainable *t, const pb_tensor *found, const char *path,
                            float *host)
{
    pb_tensor from = view(t, host);
    PB_TRY(pb_error_prefix(pb_tensor_to_f32(&from, found), "%s: tensor %s", path, t->name));
    int64_t count = pb_tensor_count(&from);
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(host[i])) {
            return PB_FAIL(PB_ERR_NUMERIC,
                           "%s: tensor %s has a value that is not finite at %" PRId64, path,
                           t->name, i);
        }
    }
    return pb_copy(m->backend, &t->value, &from);
}

/* All of the file against all of the plan, before a value is changed. */
static pb_status check_file(const pb_method *m, const pb_safetensors *file, const char *path)
{
    for (int64_t i = 0; i < pb_safetensors_count(file); i++) {
        const pb_named_tensor *entry = pb_safetensors_at(file, i);
        bool empty = pb_tensor_count(&entry->tensor) == 0; /* of a module with no row left */
        if (find(m, entry->name) == NULL && !empty) {
            return PB_FAIL(PB_ERR_FORMAT, "%s: tensor %s is not one that %s trains on this model",
                           path, entry->name, m->ops->name);
        }
    }
    for (int64_t i = 0; i < m->count; i++) {
        PB_TRY(check_tensor(&m->trainables[i], m->trainables[i].frozen, file, path));
    }
    return PB_OK;
}

pb_status pb_method_set_values(pb_method *m, const pb_safetensors *file, const char *path)
{
    PB_TRY(check_file(m, file, path));
    if (pb_tensor_is_none(&m->values)) {
        return PB_OK; /* only planned, or nothing to train */
    }
    float *host      = NULL;
    int64_t largest  = 0;
    pb_status status = PB_OK;
    for (int64_t i = 0; i < m->count; i++) {
        int64_t count = pb_tensor_count(&m->trainables[i].value);
        largest       = count > largest ? count : largest;
    }
    PB_TRY(PB_ALLOC(host, largest));
    for (int64_t i = 0; i < m->count && status == PB_OK; i++) {
        pb_trainable *t              = &m->trainables[i];
        const pb_named_tensor *entry = pb_safetensors_find(file, t->name);
        status = entry != NULL ? read_value(m, t, &entry->tensor, path, host) : PB_OK;
    }
    pb_memory_free(host);
    PB_TRY(status);
    return pb_error_prefix(all_changed(m), "%s", path);
}

int64_t pb_method_list(const pb_method *m, pb_method_list_kind kind, pb_named_tensor *tensors)
{
    int64_t count = 0;
    for (int64_t i = 0; i < m->count; i++) {
        const pb_trainable *t = &m->trainables[i];
        if (!t->frozen || (kind == PB_LIST_SAVED && !t->derived)) {
            tensors[count++] = (pb_named_tensor){
                .name = t->name, .tensor = kind == PB_LIST_GRADIENTS ? t->grad : t->value};
        }
    }
    return count;
}
