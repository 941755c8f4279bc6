// SPDX-License-Identifier: Apache-2.0
/* Trials of products with different numbers of rows. */
#include "device.h"
#include "products.h"

#include "pb/memory.h"
#include "pb/random.h"
#include "pb/rows.h"
#include "pb/usage.h"

#include <stdlib.h>

enum { OUT = 37, IN = 50, GAP = 3, FEW = 5, MANY = 23, ROOM = 1 << 16 };

typedef struct rows_fixture {
    pb_backend *be;
    pb_tensor weight; /* a view: its rows have gaps */
    void *room;
} rows_fixture;

static void open_fixture(rows_fixture *f, products_rows rows)
{
    float values[OUT * (IN + GAP)];
    pb_random stream = pb_random_stream(1, PB_RANDOM_TEST, 0);
    for (int64_t i = 0; i < OUT * (IN + GAP); i++) {
        values[i] = (float)pb_random_normal(stream, (uint64_t)i);
    }
    f->be = device_open(1);
    products_replace(f->be, rows);
    f->weight          = device_matrix(f->be, OUT, IN + GAP, values);
    f->weight.shape[1] = IN;
    assert_ok(pb_backend_alloc(f->be, ROOM, &f->room));
}

static void close_fixture(rows_fixture *f)
{
    pb_backend_free(f->be, f->weight.data);
    pb_backend_free(f->be, f->room);
    pb_backend_close(f->be);
    assert_int_equal(pb_memory_current(), 0);
}

static void try_rows(rows_fixture *f, int64_t rows)
{
    assert_ok(pb_rows_try(f->be, &f->weight, &(pb_rows){.rows = rows}, f->room, ROOM));
}

static bool are_alike(const rows_fixture *f, const pb_tensor *weight, int64_t a, int64_t b)
{
    return pb_rows_alike(f->be, weight, &(pb_rows){.rows = a}, &(pb_rows){.rows = b});
}

static void rows_that_stand_alone_are_alike(void **state)
{
    (void)state;
    rows_fixture f;
    open_fixture(&f, PRODUCTS_ALIKE);
    try_rows(&f, FEW);
    try_rows(&f, MANY);
    assert_true(are_alike(&f, &f.weight, FEW, MANY));
    assert_true(are_alike(&f, &f.weight, FEW, FEW));
    close_fixture(&f);
}

static void rows_that_depend_on_their_number_are_not(void **state)
{
    (void)state;
    rows_fixture f;
    open_fixture(&f, PRODUCTS_DEPEND);
    try_rows(&f, FEW);
    try_rows(&f, MANY);
    assert_false(are_alike(&f, &f.weight, FEW, MANY));
    assert_true(are_alike(&f, &f.weight, MANY, MANY));
    close_fixture(&f);
}

static void what_was_not_tried_is_not_known(void **state)
{
    (void)state;
    rows_fixture f;
    open_fixture(&f, PRODUCTS_ALIKE);
    pb_tensor narrower = f.weight;
    narrower.shape[1]--;
    assert_false(are_alike(&f, &f.weight, FEW, FEW));
    try_rows(&f, FEW);
    assert_false(are_alike(&f, &f.weight, FEW, MANY));
    assert_false(are_alike(&f, &narrower, FEW, FEW));
    assert_ok(pb_rows_try(f.be, &narrower, &(pb_rows){.rows = FEW}, f.room, OUT * IN));
    assert_false(are_alike(&f, &narrower, FEW, FEW)); /* the room is too small */
    assert_ok(pb_backend_use_dtype(f.be, PB_DTYPE_F32));
    assert_false(are_alike(&f, &f.weight, FEW, FEW));
    close_fixture(&f);
}

static void sums_without_rounding_show_nothing(void **state)
{
    (void)state;
    rows_fixture f;
    open_fixture(&f, PRODUCTS_ALIKE);
    assert_ok(pb_zero(f.be, &f.weight));
    try_rows(&f, FEW);
    assert_false(are_alike(&f, &f.weight, FEW, FEW));
    close_fixture(&f);
}

static void a_trial_runs_once_and_counts_as_no_work(void **state)
{
    (void)state;
    rows_fixture f;
    open_fixture(&f, PRODUCTS_ALIKE);
    pb_backend_work_reset(f.be, true);
    try_rows(&f, FEW);
    assert_true(products_take_count() > 0);
    try_rows(&f, FEW);
    assert_int_equal(products_take_count(), 0);
    pb_backend_work work = pb_backend_work_get(f.be);
    assert_true(work.matmul_flops == 0.0 && work.matmul_seconds == 0.0);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_that_stand_alone_are_alike),
        cmocka_unit_test(rows_that_depend_on_their_number_are_not),
        cmocka_unit_test(what_was_not_tried_is_not_known),
        cmocka_unit_test(sums_without_rounding_show_nothing),
        cmocka_unit_test(a_trial_runs_once_and_counts_as_no_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
