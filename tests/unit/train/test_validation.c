// SPDX-License-Identifier: Apache-2.0
/* Validation: when it runs, over what its mean is taken, and that the best state is restored. */
#include "train_fixture.h"
#include "waited.h"

#include "pb/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static train_log hearing;

static const method_case bias  = {"bitfit", ""};
static const method_case plain = {"lora", "r = 3; dropout = 0.0;"};

/* Validates the ten steps as the options say and compares the steps. */
static void check_steps(double share, bool last, const int64_t *expected, int64_t count)
{
    network_rows rows;
    network_fixture f;
    pb_train_result result;
    network_rows_fill(&rows);
    network_fixture_open(&f, &bias, false, 1);
    pb_train_data data = {rows.samples, NETWORK_ROWS, rows.samples, 2};
    pb_train_options o = train_options(10, 2, 1e-3);
    o.evaluate_share   = share;
    o.evaluate_last    = last;
    hearing            = (train_log){0};
    assert_ok(train_run(&f, &o, 1, &data, &hearing, &result));
    assert_int_equal(hearing.validations, count);
    if (count > 0) {
        assert_memory_equal(hearing.validated, expected, (size_t)count * sizeof *expected);
        assert_true(result.seconds_validation > 0.0);
    } else {
        assert_int_equal(result.best_step, 0);
        assert_true(isnan(result.best_loss));
    }
    network_fixture_close(&f);
}

/* After step 3 of 10, which is validated; with many rows a validation takes longer than steps do.
 */
static void a_stop_is_answered_during_validation(void **state)
{
    network_rows rows;
    network_fixture f;
    pb_train_result result;

    (void)state;
    network_rows_fill(&rows);
    network_fixture_open(&f, &bias, false, 1);
    pb_train_data data = {rows.samples, NETWORK_ROWS, rows.samples, 2};
    pb_train_options o = train_options(10, 2, 1e-3);
    o.evaluate_share   = 0.3;
    hearing            = (train_log){.stop_before = 4};
    assert_error(train_run(&f, &o, 1, &data, &hearing, &result), PB_STOPPED,
                 "stopped before validation row 1 of 2");
    assert_int_equal(hearing.validations, 0);
    network_fixture_close(&f);
}

static void multiples_and_the_last_step_are_validated(void **state)
{
    (void)state;
    static const int64_t with_last[] = {3, 6, 9, 10};
    static const int64_t fifths[]    = {2, 4, 6, 8, 10};
    static const int64_t only_last[] = {10};
    check_steps(0.3, true, with_last, 4);
    check_steps(0.3, false, with_last, 3);
    check_steps(0.21, true, with_last, 4); /* 2.1 steps are rounded up */
    check_steps(0.2, true, fifths, 5);     /* the last one is a multiple: once */
    check_steps(0.0, true, only_last, 1);
    check_steps(0.0, false, NULL, 0);
    check_steps(1.0, false, only_last, 1);
}

static void without_validation_rows_nothing_is_validated(void **state)
{
    (void)state;
    network_rows rows;
    network_fixture f;
    pb_train_result result;
    network_rows_fill(&rows);
    network_fixture_open(&f, &bias, false, 1);
    pb_train_data data = {rows.samples, NETWORK_ROWS, NULL, 0};
    pb_train_options o = train_options(6, 2, 1e-2);
    o.evaluate_share   = 0.3;
    float first        = host_get(f.backend, &f.method->values, 0);
    hearing            = (train_log){0};
    assert_ok(train_run(&f, &o, 1, &data, &hearing, &result));
    assert_int_equal(hearing.validations, 0);
    assert_int_equal(result.best_step, 0);
    assert_true(isnan(result.best_loss));
    assert_int_equal(result.steps, 6);
    assert_true(host_get(f.backend, &f.method->values, 0) != first);
    network_fixture_close(&f);
}

/* After the same text, training rows and validation rows have different tokens: learning makes the
 * validation worse from some step on. */
static void run_contradiction(network_fixture *f, bool restore, pb_train_result *result)
{
    network_rows rows;
    network_rows other;
    network_rows_fill(&rows);
    network_rows_fill(&other);
    for (int r = 0; r < NETWORK_ROWS; r++) {
        for (int t = 0; t < NETWORK_LENGTH; t++) {
            if (other.labels[r][t] != PB_LABEL_NONE) {
                other.labels[r][t] = (other.labels[r][t] + 7) % NETWORK_VOCAB;
            }
        }
    }
    network_fixture_open(f, &plain, false, 1);
    pb_train_data data = {rows.samples, NETWORK_ROWS, other.samples, NETWORK_ROWS};
    pb_train_options o = train_options(40, NETWORK_ROWS, 2e-2);
    o.evaluate_share   = 0.1;
    o.restore_best     = restore;
    hearing            = (train_log){.method = f->method};
    assert_ok(train_run(f, &o, 1, &data, &hearing, result));
}

static void the_best_state_comes_back_when_the_last_is_worse(void **state)
{
    (void)state;
    for (int restore = 0; restore < 2; restore++) {
        network_fixture f;
        pb_train_result result;
        run_contradiction(&f, restore != 0, &result);
        int64_t last = hearing.validations - 1;
        int64_t best = 0;
        for (int64_t v = 1; v <= last; v++) {
            best = hearing.losses[v] < hearing.losses[best] ? v : best;
        }
        assert_true(best < last);
        assert_true(hearing.losses[last] > hearing.losses[best]);
        assert_int_equal(result.best_step, hearing.validated[best]);
        assert_true(result.best_loss == hearing.losses[best]);
        size_t bytes  = (size_t)f.method->parameters * sizeof(float);
        float *values = host_values(f.backend, &f.method->values);
        assert_memory_equal(values, hearing.values[restore ? best : last], bytes);
        free(values);
        train_log_free(&hearing);
        network_fixture_close(&f);
    }
}

/* A rate of zero keeps the loss: the first of equal validations is the best. */
static void of_equal_losses_the_first_is_the_best(void **state)
{
    (void)state;
    network_rows rows;
    network_fixture f;
    pb_train_result result;
    network_rows_fill(&rows);
    network_fixture_open(&f, &plain, false, 1);
    pb_train_data data = {rows.samples, NETWORK_ROWS, rows.samples, 2};
    pb_train_options o = train_options(6, 2, 0.0);
    o.evaluate_share   = 0.3;
    hearing            = (train_log){0};
    assert_ok(train_run(&f, &o, 1, &data, &hearing, &result));
    assert_int_equal(hearing.validations, 3);
    assert_true(hearing.losses[0] == hearing.losses[2]);
    assert_int_equal(result.best_step, 2);
    network_fixture_close(&f);
}

static void a_method_without_parameters_is_only_validated(void **state)
{
    (void)state;
    const method_case none = {"none", ""};
    network_rows rows;
    network_fixture f;
    pb_train_result result;
    double expected = 0.0;
    network_rows_fill(&rows);
    network_fixture_open(&f, &none, false, 1);
    pb_train_data data = {rows.samples, 0, rows.samples, NETWORK_ROWS};
    pb_train_options o = train_options(6, 2, 1e-2);
    hearing            = (train_log){0};
    assert_ok(train_run(&f, &o, 1, &data, &hearing, &result));
    assert_ok(pb_train_loss(f.net, rows.samples, NETWORK_ROWS, 2, PB_MEAN_TOKENS, &expected));
    assert_int_equal(hearing.count, 0);
    assert_int_equal(hearing.validations, 1);
    assert_int_equal(hearing.validated[0], 0);
    assert_int_equal(result.steps, 0);
    assert_int_equal(result.best_step, 0);
    assert_true(result.best_loss == expected && isnan(result.final_loss));
    network_fixture_close(&f);
}

static void a_loss_that_is_not_finite_without_training_is_the_models_fault(void **state)
{
    (void)state;
    network_rows rows;
    network_fixture f;
    pb_train_result result;
    network_rows_fill(&rows);
    network_fixture_open(&f, &bias, false, 1);
    host_set(f.backend, &f.method->values, 0, -NAN);
    pb_method none     = *f.method;
    none.parameters    = 0;
    pb_train_data data = {rows.samples, 0, rows.samples, NETWORK_ROWS};
    pb_train_options o = train_options(6, 2, 1e-2);
    assert_error(pb_train_run(f.net, &none, &o, 1, &data, NULL, &result), PB_ERR_NUMERIC,
                 "validation loss nan before anything was trained: a value left the range of F32; "
                 "use another checkpoint or adapter");
    network_fixture_close(&f);
}

/* Both means from the losses of each row alone. */
static void the_mean_is_over_tokens_or_over_rows(void **state)
{
    (void)state;
    network_rows rows;
    network_fixture f;
    double sums[NETWORK_ROWS];
    int64_t labels[NETWORK_ROWS];
    double all     = 0.0;
    double by_rows = 0.0;
    int64_t count  = 0;
    double loss    = 0.0;
    network_rows_fill(&rows);
    network_fixture_open(&f, &bias, false, 1);
    for (int r = 0; r < 5; r++) {
        pb_batch batch = network_pack(&f, &rows.samples[r], 1, false);
        assert_ok(waited_loss(f.net, &batch, &sums[r], NULL));
        labels[r] = batch.labels;
        all += sums[r];
        count += labels[r];
        pb_batch_clear(&batch);
    }
    for (int r = 0; r < 5; r += 2) {
        int n = r + 2 <= 5 ? 2 : 1;
        by_rows += n == 2 ? 2.0 * (sums[r] + sums[r + 1]) / (double)(labels[r] + labels[r + 1])
                          : sums[r] / (double)labels[r];
    }
    assert_ok(pb_train_loss(f.net, rows.samples, 5, 2, PB_MEAN_TOKENS, &loss));
    assert_true(fabs(loss - all / (double)count) < 1e-5);
    assert_ok(pb_train_loss(f.net, rows.samples, 5, 2, PB_MEAN_ROWS, &loss));
    assert_true(fabs(loss - by_rows / 5.0) < 1e-5);
    assert_true(fabs(all / (double)count - by_rows / 5.0) > 1e-3);
    network_fixture_close(&f);
}

static void rows_without_any_label_have_no_loss(void **state)
{
    (void)state;
    network_rows rows;
    network_fixture f;
    double loss = 0.0;
    double one  = 0.0;
    network_rows_fill(&rows);
    network_fixture_open(&f, &bias, false, 1);
    assert_ok(pb_train_loss(f.net, &rows.samples[1], 1, 1, PB_MEAN_TOKENS, &one));
    rows.samples[0].labels = NULL;
    assert_error(pb_train_loss(f.net, rows.samples, 1, 1, PB_MEAN_TOKENS, &loss), PB_ERR_ARGUMENT,
                 "none of the 1 rows has a label token");
    assert_ok(pb_train_loss(f.net, rows.samples, 2, 1, PB_MEAN_TOKENS, &loss));
    assert_true(loss == one);
    network_fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stop_is_answered_during_validation),
        cmocka_unit_test(multiples_and_the_last_step_are_validated),
        cmocka_unit_test(without_validation_rows_nothing_is_validated),
        cmocka_unit_test(the_best_state_comes_back_when_the_last_is_worse),
        cmocka_unit_test(of_equal_losses_the_first_is_the_best),
        cmocka_unit_test(a_method_without_parameters_is_only_validated),
        cmocka_unit_test(a_loss_that_is_not_finite_without_training_is_the_models_fault),
        cmocka_unit_test(the_mean_is_over_tokens_or_over_rows),
        cmocka_unit_test(rows_without_any_label_have_no_loss),
    };
    return cmocka_run_group_tests_name("unit_train_validation", tests, NULL, NULL);
}
