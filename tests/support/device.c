// SPDX-License-Identifier: Apache-2.0
/* See device.h. */
#include "device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *device_name(void)
{
    const char *name = getenv("PB_TEST_BACKEND");
    return name != NULL ? name : "cpu";
}

pb_backend *device_open(int threads)
{
    const char *products = getenv("PB_TEST_PRODUCTS");
    pb_backend *be       = NULL;
    assert_ok(pb_backend_open(device_name(), 0, threads, &be));
    if (products != NULL) {
        assert_ok(pb_backend_use_products(be, products));
    }
    return be;
}

bool device_is_absent(const char *backend)
{
    pb_backend *be   = NULL;
    pb_status status = pb_backend_open(backend, 0, 1, &be);
    pb_backend_close(be);
    if (status == PB_ERR_CONFIG) { /* any other failure is that of a test */
        (void)fprintf(stderr, "backend %s is not tested: %s\n", backend, pb_error_message());
    }
    pb_error_clear();
    return status == PB_ERR_CONFIG;
}

void device_skip_unless_host(void)
{
    const pb_backend_ops *ops = NULL;
    assert_ok(pb_backend_find(device_name(), &ops));
    if (!ops->is_host) {
        skip();
    }
}

pb_tensor device_matrix(pb_backend *be, int64_t rows, int64_t columns, const float *values)
{
    void *data = NULL;
    assert_ok(pb_backend_alloc(be, (size_t)(rows * columns) * sizeof(float), &data));
    pb_tensor t = pb_tensor_2d(data, PB_DTYPE_F32, rows, columns);
    if (values != NULL) {
        host_write(be, &t, values);
    }
    return t;
}

/* A dense tensor over host memory, of the shape of another. */
static pb_tensor mirror(const pb_tensor *t, const float *values)
{
    pb_tensor host = *t;
    host.data      = (void *)(uintptr_t)values;
    host.stride    = t->ndim == 1 ? 1 : pb_tensor_width(t);
    return host;
}

void host_read(pb_backend *be, const pb_tensor *t, float *values)
{
    pb_tensor host = mirror(t, values);
    if (pb_tensor_count(t) > 0) {
        assert_ok(pb_copy(be, &host, t));
    }
}

float *host_values(pb_backend *be, const pb_tensor *t)
{
    float *values = calloc((size_t)pb_tensor_count(t) + 1, sizeof *values);
    assert_non_null(values);
    host_read(be, t, values);
    return values;
}

void host_write(pb_backend *be, const pb_tensor *t, const float *values)
{
    pb_tensor to         = *t;
    const pb_tensor host = mirror(t, values);
    if (pb_tensor_count(t) > 0) {
        assert_ok(pb_copy(be, &to, &host));
    }
}

static pb_tensor element(const pb_tensor *t, int64_t index)
{
    return pb_tensor_1d((float *)t->data + index, PB_DTYPE_F32, 1);
}

float host_get(pb_backend *be, const pb_tensor *t, int64_t index)
{
    float value  = 0.0f;
    pb_tensor at = element(t, index);
    host_read(be, &at, &value);
    return value;
}

void host_set(pb_backend *be, const pb_tensor *t, int64_t index, float value)
{
    pb_tensor at = element(t, index);
    host_write(be, &at, &value);
}

bool host_equal(pb_backend *be, const pb_tensor *a, const pb_tensor *b)
{
    float *x  = host_values(be, a);
    float *y  = host_values(be, b);
    bool same = pb_tensor_same_shape(a, b) && memcmp(x, y, pb_tensor_bytes(a)) == 0;
    free(x);
    free(y);
    return same;
}
