// SPDX-License-Identifier: Apache-2.0
/* Errors of splits and orders; their numbers are compared in tests/golden/batch. */
#include "support.h"

#include "pb/batch.h"

static void splits_refuse_what_leaves_nothing_to_train_on(void **state)
{
    int64_t order[4], held = -1;

    (void)state;
    assert_error(pb_split_validation(1, 0.1, 42, order, &held), PB_ERR_CONFIG,
                 "leaves none to train on");
    assert_error(pb_split_validation(-1, 0.1, 42, order, &held), PB_ERR_ARGUMENT, "-1 rows");
    assert_error(pb_split_validation(4, 1.5, 42, order, &held), PB_ERR_ARGUMENT, "1.5");
    assert_int_equal(held, -1);
    assert_ok(pb_split_validation(0, 0.1, 42, order, &held));
    assert_int_equal(held, 0);
    assert_error(pb_epoch_order(-1, 42, order), PB_ERR_ARGUMENT, "-1 rows");
    assert_ok(pb_epoch_order(0, 42, order));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits_refuse_what_leaves_nothing_to_train_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
