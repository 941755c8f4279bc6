// SPDX-License-Identifier: Apache-2.0
/* Types by role: a table that declares BF16 for what passes between operations checks the types
 * that the network gives to each operation, and computes nothing. */
#include "network_fixture.h"
#include "waited.h"

#include "internal.h"

#include "pb/memory.h"

static pb_dtype bf16(const pb_backend *be)
{
    (void)be;
    return PB_DTYPE_BF16;
}

static int calls; /* of the operations below */

static pb_status expect(pb_dtype dtype, const pb_tensor *const *tensors, int count)
{
    calls++;
    for (int i = 0; i < count; i++) {
        assert_int_equal(tensors[i]->dtype, dtype);
    }
    return PB_OK;
}

#define EXPECT(dtype, ...)                                 \
    expect(dtype, (const pb_tensor *const[]){__VA_ARGS__}, \
           (int)(sizeof((const pb_tensor *[]){__VA_ARGS__}) / sizeof(pb_tensor *)))

/* What has the width of the model is the residual stream where a product or a sum writes it. */
enum { WIDTH = 16 };

static pb_status matmul(pb_backend *be, pb_tensor *c, const pb_tensor *a, const pb_tensor *b,
                        const pb_matmul_args *args)
{
    (void)be;
    if (args->transpose_a) { /* a gradient of weights */
        assert_true(c->dtype == PB_DTYPE_F32 && b->dtype == PB_DTYPE_BF16);
        return a->shape[1] == NETWORK_VOCAB ? EXPECT(PB_DTYPE_F32, a) : EXPECT(PB_DTYPE_BF16, a);
    }
    if (c->shape[1] == NETWORK_VOCAB) { /* logits */
        assert_int_equal(a->dtype, PB_DTYPE_BF16);
        return EXPECT(PB_DTYPE_F32, c);
    }
    if (a->shape[1] == NETWORK_VOCAB) { /* and their gradient */
        assert_int_equal(a->dtype, PB_DTYPE_F32);
        return EXPECT(PB_DTYPE_BF16, c);
    }
    bool to_residual = args->transpose_b && c->shape[1] == WIDTH && b->shape[1] != WIDTH;
    assert_int_equal(a->dtype, PB_DTYPE_BF16);
    assert_true(!to_residual || c->dtype == PB_DTYPE_F32);
    return args->transpose_b ? PB_OK : EXPECT(PB_DTYPE_BF16, c);
}

static pb_status axpy(pb_backend *be, pb_tensor *y, float alpha, const pb_tensor *x)
{
    (void)be;
    (void)alpha;
    return EXPECT(PB_DTYPE_F32, y, x);
}

static pb_status put_rows(pb_backend *be, pb_tensor *y, const pb_tensor *x, const pb_list *rows)
{
    (void)be;
    (void)rows;
    return EXPECT(PB_DTYPE_BF16, y, x);
}

static pb_status moved_rows(pb_backend *be, pb_tensor *y, const pb_tensor *x, const pb_list *rows)
{
    (void)be;
    (void)rows;
    return EXPECT(x->dtype, y); /* of one role */
}

static pb_status rmsnorm_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                                 const pb_tensor *weight, const pb_rmsnorm_args *args)
{
    (void)be;
    (void)args;
    assert_int_equal(y->dtype, PB_DTYPE_BF16);
    return EXPECT(PB_DTYPE_F32, x, weight);
}

static pb_status rmsnorm_backward(pb_backend *be, pb_tensor *dx, pb_tensor *dweight,
                                  const pb_tensor *dy, const pb_tensor *x, const pb_tensor *weight,
                                  const pb_rmsnorm_args *args)
{
    (void)be;
    (void)args;
    assert_int_equal(dy->dtype, PB_DTYPE_BF16);
    return EXPECT(PB_DTYPE_F32, dx, x, weight, dweight);
}

static pb_status rope(pb_backend *be, pb_tensor *x, const pb_tensor *table,
                      const pb_list *positions, int64_t heads, bool inverse)
{
    (void)be;
    (void)positions;
    (void)heads;
    (void)inverse;
    assert_int_equal(table->dtype, PB_DTYPE_F32);
    return EXPECT(PB_DTYPE_BF16, x);
}

static pb_status attention_forward(pb_backend *be, pb_tensor *out, pb_tensor *lse,
                                   const pb_tensor *q, const pb_tensor *keys,
                                   const pb_tensor *values, const pb_attention_plan *plan)
{
    (void)be;
    (void)plan;
    assert_int_equal(lse->dtype, PB_DTYPE_F32);
    return EXPECT(PB_DTYPE_BF16, out, q, keys, values);
}

static pb_status attention_backward(pb_backend *be, pb_tensor *dq, pb_tensor *dkeys,
                                    pb_tensor *dvalues, const pb_tensor *dout, const pb_tensor *out,
                                    const pb_tensor *lse, const pb_tensor *q, const pb_tensor *keys,
                                    const pb_tensor *values, const pb_attention_plan *plan)
{
    (void)be;
    (void)plan;
    assert_int_equal(lse->dtype, PB_DTYPE_F32);
    return EXPECT(PB_DTYPE_BF16, dq, dkeys, dvalues, dout, out, q, keys, values);
}

static pb_status gated_forward(pb_backend *be, pb_tensor *y, const pb_tensor *gate,
                               const pb_tensor *up, pb_activation act)
{
    (void)be;
    (void)act;
    return EXPECT(PB_DTYPE_BF16, y, gate, up);
}

static pb_status gated_backward(pb_backend *be, pb_tensor *dgate, pb_tensor *dup,
                                const pb_tensor *dy, const pb_tensor *gate, const pb_tensor *up,
                                pb_activation act)
{
    (void)be;
    (void)act;
    return EXPECT(PB_DTYPE_BF16, dgate, dup, dy, gate, up);
}

static pb_status no_bias(pb_backend *be, pb_tensor *y, const pb_tensor *bias)
{
    (void)be;
    (void)y;
    return EXPECT(PB_DTYPE_F32, bias);
}

static pb_backend_ops recording_table(const pb_backend *be)
{
    pb_backend_ops ops     = *be->ops;
    ops.activation         = bf16;
    ops.matmul             = matmul;
    ops.axpy               = axpy;
    ops.put_rows           = put_rows;
    ops.gather             = moved_rows;
    ops.scatter_add        = moved_rows;
    ops.rmsnorm_forward    = rmsnorm_forward;
    ops.rmsnorm_backward   = rmsnorm_backward;
    ops.rope               = rope;
    ops.attention_forward  = attention_forward;
    ops.attention_backward = attention_backward;
    ops.gated_forward      = gated_forward;
    ops.gated_backward     = gated_backward;
    ops.bias_forward       = no_bias;
    return ops;
}

static void a_backend_that_declares_bf16_gets_it_between_operations(void **state)
{
    (void)state;
    static const method_case full = {"full", ""};
    network_fixture f;
    network_rows rows;
    double loss;
    pb_generated out[NETWORK_ROWS];
    pb_generate_options options = {.max_new_tokens = 3, .batch = 4};
    network_rows_fill(&rows);
    network_fixture_open(&f, &full, false, 1);
    const pb_backend_ops *before = f.backend->ops;
    pb_backend_ops recording     = recording_table(f.backend);
    pb_batch batch               = network_pack(&f, rows.samples, NETWORK_ROWS, true);
    (void)network_step(&f, &batch, 0);
    size_t f32_bytes = pb_memory_current();
    pb_network_destroy(f.net);
    size_t without = pb_memory_current();
    assert_int_equal(pb_backend_activation(f.backend), PB_DTYPE_F32);
    f.backend->ops = &recording;
    assert_ok(pb_network_create(f.weights, f.method, &f.net));
    calls = 0;
    assert_ok(waited_step(f.net, &batch, 1.0, 0, &loss));
    assert_true(calls > 60);
    assert_true(pb_memory_current() - without < (f32_bytes - without) * 3 / 4);
    assert_ok(pb_network_generate(f.net, rows.samples, NETWORK_ROWS, &options, out));
    for (int r = 0; r < NETWORK_ROWS; r++) {
        pb_memory_free(out[r].ids);
    }
    f.backend->ops = before;
    pb_batch_clear(&batch);
    network_fixture_close(&f);
}

static void fronts_take_the_declared_type_alone(void **state)
{
    (void)state;
    network_fixture f;
    uint16_t memory[3][16] = {{0}};
    network_fixture_open(&f, NULL, false, 1);
    const pb_backend_ops *before = f.backend->ops;
    pb_backend_ops recording     = recording_table(f.backend);
    pb_tensor gate               = pb_tensor_2d(memory[0], PB_DTYPE_BF16, 2, 4);
    pb_tensor up                 = pb_tensor_2d(memory[1], PB_DTYPE_BF16, 2, 4);
    pb_tensor y                  = pb_tensor_2d(memory[2], PB_DTYPE_BF16, 2, 4);
    assert_error(pb_gated_forward(f.backend, &y, &gate, &up, PB_ACTIVATION_SILU),
                 PB_ERR_UNSUPPORTED, "gated forward: gate is BF16, only F32 is computed");
    f.backend->ops = &recording;
    assert_ok(pb_gated_forward(f.backend, &y, &gate, &up, PB_ACTIVATION_SILU));
    up.dtype = PB_DTYPE_F16;
    assert_error(pb_gated_forward(f.backend, &y, &gate, &up, PB_ACTIVATION_SILU),
                 PB_ERR_UNSUPPORTED, "up is F16, only F32 and BF16 are computed");
    pb_tensor sum = pb_tensor_1d(memory[1], PB_DTYPE_F64, 1);
    assert_error(pb_sum_squares(f.backend, &sum, &gate), PB_ERR_UNSUPPORTED,
                 "x is BF16, only F32 is computed");
    f.backend->ops = before;
    network_fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_backend_that_declares_bf16_gets_it_between_operations),
        cmocka_unit_test(fronts_take_the_declared_type_alone),
    };
    return cmocka_run_group_tests_name("unit_network_roles", tests, NULL, NULL);
}
