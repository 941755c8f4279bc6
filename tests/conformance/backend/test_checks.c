// SPDX-License-Identifier: Apache-2.0
/* Bad arguments: every front refuses them with the correct code and a message that names the
 * operation and the error, before anything is written. */
#include "pb/backend.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

enum { ROWS = 4, COLUMNS = 6 };

static pb_backend *be;
static _Alignas(64) float memory[8][ROWS * COLUMNS];
static const int32_t good_rows[ROWS] = {0, 1, 2, 3};
static const int32_t bad_rows[ROWS]  = {0, 1, 2, 99};
static const pb_mask mask            = {.seed = 1};

/* [4, 6], and a view of five of its columns. */
static pb_tensor x(int i)
{
    return pb_tensor_2d(memory[i], PB_DTYPE_F32, ROWS, COLUMNS);
}

static pb_tensor narrow(int i)
{
    pb_tensor t = x(i);
    return pb_tensor_columns(&t, 0, COLUMNS - 1);
}

/* Rows 0 … 3 as a list within 0 … limit - 1. */
static pb_list list(int64_t limit)
{
    pb_list out;
    assert_int_equal(pb_page_begin(be, 0), PB_OK);
    assert_int_equal(pb_page_list(be, "rows", good_rows, ROWS, 0, limit, &out), PB_OK);
    assert_int_equal(pb_page_end(be), PB_OK);
    return out;
}

static pb_tensor numbers(int i, int64_t n)
{
    return pb_tensor_1d(memory[i], PB_DTYPE_F64, n);
}

static pb_tensor vector(int i, int64_t n)
{
    return pb_tensor_1d(memory[i], PB_DTYPE_F32, n);
}

static void expect(pb_status got, pb_status want, const char *operation, const char *what)
{
    if (got != want || strstr(pb_error_message(), operation) == NULL ||
        strstr(pb_error_message(), what) == NULL) {
        fail_msg("%s, %s: status %s, message \"%s\"", operation, what, pb_status_name(got),
                 pb_error_message());
    }
    pb_error_clear();
}

static const pb_rmsnorm_args norm = {.eps = 1e-5f};

static void tensors_of_other_shapes_are_refused(void **state)
{
    (void)state;
    pb_tensor a = x(0);
    pb_tensor b = x(1);
    pb_tensor n = narrow(2);
    pb_tensor v = vector(3, COLUMNS - 1);
    pb_tensor w = vector(3, COLUMNS);
    pb_list l   = list(ROWS);
    expect(pb_copy(be, &a, &n), PB_ERR_SHAPE, "copy", "[4, 5]");
    expect(pb_axpy(be, &a, 1.0f, &n), PB_ERR_SHAPE, "axpy", "x is [4, 5], not [4, 6]");
    expect(pb_embedding_forward(be, &a, &n, &l, 1.0f), PB_ERR_SHAPE, "embedding", "table");
    expect(pb_embedding_backward(be, &a, &n, &l, 1.0f), PB_ERR_SHAPE, "embedding", "dtable");
    expect(pb_gather(be, &a, &n, &l), PB_ERR_SHAPE, "gather", "x");
    expect(pb_scatter_add(be, &a, &n, &l), PB_ERR_SHAPE, "scatter", "y");
    expect(pb_rmsnorm_forward(be, &a, &n, &v, &norm), PB_ERR_SHAPE, "rmsnorm", "y");
    expect(pb_rmsnorm_forward(be, &a, &b, &v, &norm), PB_ERR_SHAPE, "rmsnorm", "weight");
    expect(pb_rmsnorm_backward(be, &a, &v, &b, &b, &w, &norm), PB_ERR_SHAPE, "rmsnorm", "dweight");
    expect(pb_rope(be, &a, &b, &l, 5, false), PB_ERR_SHAPE, "rope", "heads");
    expect(pb_rope(be, &a, &b, &l, 3, false), PB_ERR_SHAPE, "rope", "table");
    expect(pb_gated_forward(be, &a, &b, &n, PB_ACTIVATION_SILU), PB_ERR_SHAPE, "gated", "up");
    expect(pb_gated_backward(be, &a, &n, &b, &b, &b, PB_ACTIVATION_SILU), PB_ERR_SHAPE, "gated",
           "dup");
    expect(pb_activation_forward(be, &n, &b, PB_ACTIVATION_SILU), PB_ERR_SHAPE, "activation", "y");
    expect(pb_activation_backward(be, &n, &a, &b, PB_ACTIVATION_SILU), PB_ERR_SHAPE, "activation",
           "dx");
    expect(pb_column_scale_forward(be, &a, &b, &v), PB_ERR_SHAPE, "column scale", "scale");
    expect(pb_column_scale_backward(be, &a, &v, &b, &b, &w), PB_ERR_SHAPE, "column scale",
           "dscale");
    expect(pb_bias_forward(be, &a, &v), PB_ERR_SHAPE, "bias", "bias");
    expect(pb_bias_backward(be, &v, &a), PB_ERR_SHAPE, "bias", "dbias");
    expect(pb_put_rows(be, &a, &n, &l), PB_ERR_SHAPE, "put rows", "y");
    expect(pb_dropout(be, &n, &a, 0.1, &mask), PB_ERR_SHAPE, "dropout", "y");
    pb_tensor sums         = numbers(4, PB_NUMBERS);
    pb_adamw_tensor tensor = {.value = a, .first = b, .second = b, .grad = n};
    pb_adamw_args adamw    = {.lr = 1, .beta1 = 0.9, .beta2 = 0.9, .step = 1};
    expect(pb_adamw(be, &tensor, 1, &sums, &adamw), PB_ERR_SHAPE, "adamw", "grad");
    expect(pb_sum_squares(be, &sums, &a), PB_ERR_SHAPE, "sum of squares", "out is F64 [4]");
    expect(pb_sum_squares(be, &w, &a), PB_ERR_SHAPE, "sum of squares", "F32");
    expect(pb_inverse_norms(be, &v, &sums, &a, &a), PB_ERR_SHAPE, "inverse norms", "a is");
    expect(pb_identity_distance(be, &sums, &a, 1.0), PB_ERR_SHAPE, "identity distance", "gram");
    expect(pb_sensitivity(be, &v, &v, &v, &w, 0.5, 0.5), PB_ERR_SHAPE, "sensitivity", "grad");
    expect(pb_product_means(be, &v, &a, &n, false), PB_ERR_SHAPE, "product means", "b is");
    expect(pb_drop_smallest(be, &v, &w, 1), PB_ERR_SHAPE, "drop smallest", "kept");
    expect(pb_keep(be, &v, &w), PB_ERR_SHAPE, "keep", "kept");
}

static void values_out_of_range_are_refused(void **state)
{
    (void)state;
    pb_tensor a       = x(0);
    pb_tensor b       = x(1);
    pb_tensor row     = pb_tensor_rows(&a, 0, 0);
    pb_tensor losses  = numbers(2, ROWS);
    pb_tensor none    = numbers(2, 0);
    pb_tensor index   = pb_tensor_1d(memory[3], PB_DTYPE_I32, ROWS);
    pb_tensor largest = vector(4, ROWS);
    pb_list out;
    expect(pb_page_list(be, "targets", bad_rows, ROWS, 0, 6, &out), PB_ERR_ARGUMENT, "targets",
           "targets[3] is 99, allowed are 0 to 5");
    expect(pb_page_list(be, "targets", NULL, ROWS, 0, 6, &out), PB_ERR_ARGUMENT, "targets",
           "missing");
    expect(pb_dropout(be, &a, &b, 1.0, &mask), PB_ERR_ARGUMENT, "dropout", "p is 1");
    expect(pb_activation_forward(be, &a, &b, (pb_activation)17), PB_ERR_ARGUMENT, "activation",
           "17");
    expect(pb_drop_smallest(be, &largest, &largest, 0), PB_ERR_ARGUMENT, "drop smallest", "0 of 4");
    expect(pb_argmax(be, &largest, &largest, &a), PB_ERR_ARGUMENT, "argmax", "indices");
    expect(pb_argmax(be, &index, &index, &a), PB_ERR_UNSUPPORTED, "argmax", "largest");
    expect(pb_rmsnorm_backward(be, &a, NULL, &a, &b, &b, &norm), PB_ERR_SHAPE, "rmsnorm", "weight");
    pb_tensor sums      = numbers(5, PB_NUMBERS);
    pb_adamw_args adamw = {.lr = 1, .beta1 = 0.9, .beta2 = 0.9, .step = 0};
    expect(pb_adamw(be, NULL, 0, &sums, &adamw), PB_ERR_ARGUMENT, "adamw", "steps");
    assert_int_equal(pb_cross_entropy(be, &none, &row, &(pb_list){0}, NULL), PB_OK);
    expect(pb_cross_entropy(be, &none, &a, &(pb_list){0}, NULL), PB_ERR_SHAPE, "cross entropy",
           "4 targets are needed");
    expect(pb_post(be, PB_SLOTS, &losses), PB_ERR_ARGUMENT, "post", "slot 2");
    expect(pb_take(be, -1, losses.data), PB_ERR_ARGUMENT, "take", "slot -1");
    expect(pb_take(be, 0, losses.data), PB_ERR_ARGUMENT, "take", "slot 0 was not posted");
    expect(pb_post(be, 0, &a), PB_ERR_SHAPE, "post", "F32");
}

/* A list checked against other bounds may exceed these. */
static void lists_of_another_range_are_refused(void **state)
{
    (void)state;
    pb_tensor a      = x(0);
    pb_tensor b      = x(1);
    pb_tensor losses = numbers(2, ROWS);
    pb_list far      = list(99);
    pb_list few      = list(ROWS);
    few.count        = 3;
    expect(pb_embedding_forward(be, &a, &b, &far, 1.0f), PB_ERR_ARGUMENT, "embedding forward",
           "ids are within 0 to 98, allowed are -1 to 3");
    expect(pb_embedding_backward(be, &a, &b, &far, 1.0f), PB_ERR_ARGUMENT, "embedding", "98");
    expect(pb_gather(be, &a, &b, &far), PB_ERR_ARGUMENT, "gather", "rows are within");
    expect(pb_gather(be, &a, &b, &few), PB_ERR_SHAPE, "gather", "4 rows are needed");
    expect(pb_scatter_add(be, &a, &b, &far), PB_ERR_ARGUMENT, "scatter", "98");
    expect(pb_put_rows(be, &a, &b, &far), PB_ERR_ARGUMENT, "put rows", "98");
    expect(pb_cross_entropy(be, &losses, &a, &far, NULL), PB_ERR_ARGUMENT, "cross entropy",
           "targets are within");
    expect(pb_rope(be, &a, &b, &far, 1, false), PB_ERR_ARGUMENT, "rope", "positions are within");
}

static void tensors_that_are_none_or_not_f32_are_refused(void **state)
{
    (void)state;
    pb_tensor a       = x(0);
    pb_tensor none    = {0};
    pb_tensor half    = a;
    pb_tensor nowhere = a;
    pb_tensor folded  = a;
    half.dtype        = PB_DTYPE_BF16;
    nowhere.data      = NULL;
    folded.stride     = 3;
    expect(pb_axpy(be, &a, 1.0f, &none), PB_ERR_ARGUMENT, "axpy", "x is missing");
    expect(pb_axpy(be, &a, 1.0f, &half), PB_ERR_UNSUPPORTED, "axpy", "BF16");
    expect(pb_axpy(be, &a, 1.0f, &nowhere), PB_ERR_ARGUMENT, "axpy", "no memory");
    expect(pb_axpy(be, &a, 1.0f, &folded), PB_ERR_SHAPE, "axpy", "stride 3");
}

static void products_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    pb_tensor a         = x(0);
    pb_tensor b         = x(1);
    pb_tensor c         = pb_tensor_2d(memory[2], PB_DTYPE_F32, ROWS, ROWS);
    pb_matmul_args none = {.alpha = 1.0f};
    pb_matmul_args args = {.transpose_b = true, .alpha = 1.0f};
    expect(pb_matmul(be, &c, &a, &b, &none), PB_ERR_SHAPE, "matmul", "B is [4, 6], not [6, any]");
    expect(pb_matmul(be, &b, &a, &a, &args), PB_ERR_SHAPE, "matmul", "C");
    expect(pb_matmul(be, &c, &a, &b, NULL), PB_ERR_ARGUMENT, "matmul", "arguments");
    pb_tensor on_a = pb_tensor_2d(memory[0], PB_DTYPE_F32, ROWS, ROWS);
    expect(pb_matmul(be, &on_a, &a, &b, &args), PB_ERR_ARGUMENT, "matmul", "factor");
}

typedef struct set {
    pb_segment segments[2];
    pb_forest forest;
    pb_attention_args args;
    pb_tensor q, k, lse;
} set;

/* Two rows of two tokens, two heads of width 3. */
static set good_set(void)
{
    return (set){
        .segments = {{.rows = 2, .length = 2, .parent = -1},
                     {.row = 2, .rows = 2, .key = 2, .length = 2, .parent = -1}},
        .forest   = {.count = 2, .rows = ROWS, .keys = ROWS},
        .args     = {.heads = 2, .kv_heads = 2, .head_dim = 3, .scale = 1.0f},
        .q        = x(0),
        .k        = x(1),
        .lse      = pb_tensor_2d(memory[2], PB_DTYPE_F32, ROWS, 2),
    };
}

static pb_status plan_of(set *s, bool with_backward, pb_attention_plan *plan)
{
    s->forest.segments = s->segments;
    s->args.forest     = &s->forest;
    s->args.backward   = with_backward;
    PB_TRY(pb_page_begin(be, 0));
    PB_TRY(pb_page_plan(be, &s->args, plan));
    return pb_page_end(be);
}

static pb_status forward(set *s)
{
    pb_tensor out = x(3);
    pb_attention_plan plan;
    PB_TRY(plan_of(s, false, &plan));
    return pb_attention_forward(be, &out, &s->lse, &s->q, &s->k, &s->k, &plan);
}

static pb_status backward_with(set *s, bool with_backward)
{
    pb_tensor out = x(3);
    pb_tensor dq  = x(4);
    pb_tensor dk  = x(5);
    pb_tensor dv  = x(6);
    pb_attention_plan plan;
    PB_TRY(plan_of(s, with_backward, &plan));
    return pb_attention_backward(be, &dq, &dk, &dv, &out, &out, &s->lse, &s->q, &s->k, &s->k,
                                 &plan);
}

static pb_status backward(set *s)
{
    return backward_with(s, true);
}

static void forests_that_do_not_hold_are_refused(void **state)
{
    (void)state;
    const char *op = "attention plan";
    set s          = good_set();
    assert_int_equal(forward(&s), PB_OK);
    assert_int_equal(backward(&s), PB_OK);
    expect(backward_with(&s, false), PB_ERR_ARGUMENT, "attention backward", "forward pass alone");
    s.segments[1].row = 3;
    expect(forward(&s), PB_ERR_ARGUMENT, op, "segment 1 starts at row 3");
    s                    = good_set();
    s.segments[1].parent = 1;
    expect(forward(&s), PB_ERR_ARGUMENT, op, "parent 1");
    s                    = good_set();
    s.segments[1].length = 3;
    expect(forward(&s), PB_ERR_ARGUMENT, op, "segment 1");
    s                  = good_set();
    s.segments[1].rows = 3;
    expect(forward(&s), PB_ERR_ARGUMENT, op, "segment 1");
    s             = good_set();
    s.forest.rows = 5;
    expect(forward(&s), PB_ERR_ARGUMENT, op, "the forest says 5");
    s             = good_set();
    s.forest.keys = 5;
    expect(forward(&s), PB_ERR_SHAPE, "attention forward", "the store has 4");
    s            = good_set();
    s.args.heads = 3;
    expect(forward(&s), PB_ERR_ARGUMENT, op, "kv_heads");
    s               = good_set();
    s.args.head_dim = 2;
    expect(forward(&s), PB_ERR_SHAPE, "attention forward", "q is [4, 6], not [4, 4]");
    s     = good_set();
    s.lse = x(2);
    expect(forward(&s), PB_ERR_SHAPE, "attention forward", "lse");
    s                 = good_set();
    s.segments[1].key = 1;
    assert_int_equal(forward(&s), PB_OK);
    expect(backward(&s), PB_ERR_ARGUMENT, op, "keys in common");
}

static void wanted_rows_must_ascend(void **state)
{
    (void)state;
    static const int32_t twice[]   = {1, 1};
    static const int32_t outside[] = {1, 4};
    set s                          = good_set();
    s.args.only_rows               = twice;
    s.args.only_count              = 2;
    expect(forward(&s), PB_ERR_ARGUMENT, "attention plan", "only_rows[1]");
    s.args.only_rows = outside;
    expect(forward(&s), PB_ERR_ARGUMENT, "only_rows", "only_rows[1] is 4");
    s.args.only_rows = good_rows;
    expect(forward(&s), PB_ERR_SHAPE, "attention forward", "q is [4, 6], not [2, 6]");
}

static void a_page_has_room_for_some_plans(void **state)
{
    (void)state;
    pb_attention_plan plan = {0};
    pb_tensor out          = x(3);
    set s                  = good_set();
    expect(pb_attention_forward(be, &out, &s.lse, &s.q, &s.k, &s.k, &plan), PB_ERR_ARGUMENT,
           "attention forward", "never made");
    assert_int_equal(plan_of(&s, false, &plan), PB_OK);
    for (int i = 1; i < PB_PAGE_PLANS; i++) {
        assert_int_equal(pb_page_plan(be, &s.args, &plan), PB_OK);
    }
    expect(pb_page_plan(be, &s.args, &plan), PB_ERR_ARGUMENT, "attention plan", "room for 4");
}

static int open_all(void **state)
{
    (void)state;
    return pb_backend_open("cpu", 0, 1, &be) == PB_OK ? 0 : -1;
}

static int close_all(void **state)
{
    (void)state;
    pb_backend_close(be);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_of_other_shapes_are_refused),
        cmocka_unit_test(values_out_of_range_are_refused),
        cmocka_unit_test(lists_of_another_range_are_refused),
        cmocka_unit_test(tensors_that_are_none_or_not_f32_are_refused),
        cmocka_unit_test(products_that_do_not_fit_are_refused),
        cmocka_unit_test(forests_that_do_not_hold_are_refused),
        cmocka_unit_test(wanted_rows_must_ascend),
        cmocka_unit_test(a_page_has_room_for_some_plans),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
