// SPDX-License-Identifier: Apache-2.0
/* The number of steps and the rate of each, by hand. */
#include "support.h"

#include "pb/train.h"

#include <math.h>

static void steps_are_epochs_of_whole_batches(void **state)
{
    (void)state;
    pb_train_options o = {.batch = 4, .accumulate = 1, .epochs = 3};
    assert_int_equal(pb_train_steps(&o, 8), 6);
    assert_int_equal(pb_train_steps(&o, 9), 9); /* the last batch is short */
    assert_int_equal(pb_train_steps(&o, 1), 3);
    o.accumulate = 3;
    assert_int_equal(pb_train_steps(&o, 12), 3);
    assert_int_equal(pb_train_steps(&o, 13), 6);
}

static void a_fraction_of_an_epoch_is_rounded_up(void **state)
{
    (void)state;
    pb_train_options o = {.batch = 4, .accumulate = 1, .epochs = 0.5};
    assert_int_equal(pb_train_steps(&o, 20), 3); /* 2.5 */
    o.epochs = 1.5;
    assert_int_equal(pb_train_steps(&o, 16), 6);
    o.epochs = 0.0;
    assert_int_equal(pb_train_steps(&o, 16), 0);
}

static void max_steps_bounds_the_epochs(void **state)
{
    (void)state;
    pb_train_options o = {.batch = 1, .accumulate = 1, .epochs = 10, .max_steps = 7};
    assert_int_equal(pb_train_steps(&o, 100), 7);
    assert_int_equal(pb_train_steps(&o, 0), 0);
    o.epochs    = 1e300;
    o.max_steps = 0;
    assert_true(pb_train_steps(&o, 100) > INT64_C(1) << 40);
}

static void the_rate_rises_from_zero_to_its_peak(void **state)
{
    (void)state;
    pb_train_options o = {.learning_rate = 2.0, .warmup_ratio = 0.11};
    for (o.schedule = PB_SCHEDULE_COSINE; o.schedule <= PB_SCHEDULE_CONSTANT; o.schedule++) {
        /* 0.11 of 50 steps is 5.5: 6 steps. */
        for (int64_t s = 0; s <= 6; s++) {
            assert_true(fabs(pb_train_lr(&o, 50, s) - 2.0 * (double)s / 6.0) < 1e-15);
        }
        assert_true(pb_train_lr(&o, 50, 7) <= 2.0);
    }
}

static void after_the_warm_up_each_schedule_has_its_form(void **state)
{
    (void)state;
    pb_train_options o = {.learning_rate = 2.0, .warmup_ratio = 0.2};
    o.schedule         = PB_SCHEDULE_COSINE;
    assert_true(fabs(pb_train_lr(&o, 10, 6) - 1.0) < 1e-15); /* halfway: cos is 0 */
    assert_true(fabs(pb_train_lr(&o, 10, 4) - (1.0 + sqrt(0.5))) < 1e-15);
    assert_true(fabs(pb_train_lr(&o, 10, 10)) < 1e-15);
    o.schedule = PB_SCHEDULE_LINEAR;
    assert_true(fabs(pb_train_lr(&o, 10, 4) - 1.5) < 1e-15);
    assert_true(fabs(pb_train_lr(&o, 10, 9) - 0.25) < 1e-15);
    o.schedule = PB_SCHEDULE_CONSTANT;
    assert_true(pb_train_lr(&o, 10, 9) == 2.0);
}

static void extreme_warm_ups_divide_by_nothing(void **state)
{
    (void)state;
    pb_train_options o = {.learning_rate = 1.0, .schedule = PB_SCHEDULE_COSINE};
    assert_true(pb_train_lr(&o, 1, 0) == 1.0);
    o.warmup_ratio = 1.0;
    assert_true(pb_train_lr(&o, 1, 0) == 0.0);
    assert_true(pb_train_lr(&o, 4, 3) == 0.75);
    assert_true(isfinite(pb_train_lr(&o, 4, 4)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_epochs_of_whole_batches),
        cmocka_unit_test(a_fraction_of_an_epoch_is_rounded_up),
        cmocka_unit_test(max_steps_bounds_the_epochs),
        cmocka_unit_test(the_rate_rises_from_zero_to_its_peak),
        cmocka_unit_test(after_the_warm_up_each_schedule_has_its_form),
        cmocka_unit_test(extreme_warm_ups_divide_by_nothing),
    };
    return cmocka_run_group_tests_name("unit_train_schedule", tests, NULL, NULL);
}
