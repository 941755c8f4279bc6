// SPDX-License-Identifier: Apache-2.0
/* The square product that is timed as the reference for MFU has random factors: a device that
 * multiplies zeros is faster than one that works. */
#include "device.h"

#include "pb/cell_env.h"

#include <stdlib.h>

pb_status __real_pb_matmul(pb_backend *be, pb_tensor *c, const pb_tensor *a, const pb_tensor *b,
                           const pb_matmul_args *args);
pb_status __wrap_pb_matmul(pb_backend *be, pb_tensor *c, const pb_tensor *a, const pb_tensor *b,
                           const pb_matmul_args *args);

static int64_t seen;

/* Signs are mixed, and hardly any value occurs twice in a row. */
static void assert_random(pb_backend *be, const pb_tensor *t, int64_t row)
{
    int64_t n       = t->shape[1];
    int64_t above   = 0;
    int64_t same    = 0;
    pb_tensor there = pb_tensor_rows(t, row, 1);
    float *values   = host_values(be, &there);
    for (int64_t i = 1; i < n; i++) {
        above += values[i] > 0.0f;
        same += values[i] == values[i - 1];
    }
    free(values);
    assert_true(above > n / 4 && above < n - n / 4);
    assert_true(same < n / 16);
}

pb_status __wrap_pb_matmul(pb_backend *be, pb_tensor *c, const pb_tensor *a, const pb_tensor *b,
                           const pb_matmul_args *args)
{
    if (seen++ == 0) {
        assert_random(be, a, 0);
        assert_random(be, a, a->shape[0] - 1);
        assert_random(be, b, b->shape[0] / 2);
    }
    return __real_pb_matmul(be, c, a, b, args);
}

static void the_reference_product_has_random_factors(void **state)
{
    double gflops = 0.0;
    (void)state;
    pb_backend *be = device_open(1);
    assert_ok(pb_cell_gemm_rate(be, 0, &gflops));
    assert_true(gflops > 0.0);
    assert_true(seen > 1);
    pb_backend_close(be);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reference_product_has_random_factors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
