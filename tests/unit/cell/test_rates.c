// SPDX-License-Identifier: Apache-2.0
/* Rates of work fitted to times that were made from known ones. */
#include "support.h"

#include "pb/rates.h"
#include "pb/record.h"

#include <math.h>

static const pb_rates truth = {.seconds = {2e-12, 1e-12, 3e-3, 5e-11, 0.25}};

enum { SAMPLES = 12 };

/* Amounts that no kind shares with another. */
static void make(const pb_rates *rates, pb_rates_sample samples[SAMPLES])
{
    for (int i = 0; i < SAMPLES; i++) {
        samples[i].work    = (pb_work){.amount = {1e12 * (1 + i % 3), 1e11 * (1 + i * i),
                                                  10.0 * (i + 2), 1e9 * (1 + i % 5), i % 2}};
        samples[i].seconds = pb_rates_seconds(rates, &samples[i].work);
    }
}

static void assert_rates(const pb_rates *rates, const pb_rates *expected)
{
    for (int k = 0; k < PB_WORK_KINDS; k++) {
        double scale = expected->seconds[k] > 0 ? expected->seconds[k] : truth.seconds[k];
        assert_true(fabs(rates->seconds[k] - expected->seconds[k]) <= 1e-6 * scale);
    }
}

static void times_made_from_rates_give_them_back(void **state)
{
    pb_rates_sample samples[SAMPLES];
    pb_rates rates;
    (void)state;
    make(&truth, samples);
    assert_ok(pb_rates_fit(samples, SAMPLES, &rates));
    assert_rates(&rates, &truth);
}

/* Every cell takes a second less than a true rate allows: the best that is not negative is 0. */
static void no_rate_is_negative(void **state)
{
    pb_rates_sample samples[SAMPLES];
    pb_rates less = truth;
    pb_rates rates;
    (void)state;
    less.seconds[PB_WORK_CELLS] = -0.5;
    make(&less, samples);
    assert_ok(pb_rates_fit(samples, SAMPLES, &rates));
    assert_true(rates.seconds[PB_WORK_CELLS] == 0);
    for (int k = 0; k < PB_WORK_KINDS; k++) {
        assert_true(rates.seconds[k] >= 0);
    }
}

static void work_that_no_sample_has_is_free(void **state)
{
    pb_rates_sample samples[SAMPLES];
    pb_rates expected = truth;
    pb_rates rates;
    (void)state;
    make(&truth, samples);
    for (int i = 0; i < SAMPLES; i++) {
        samples[i].seconds -= samples[i].work.amount[PB_WORK_READ] * truth.seconds[PB_WORK_READ];
        samples[i].work.amount[PB_WORK_READ] = 0;
    }
    expected.seconds[PB_WORK_READ] = 0;
    assert_ok(pb_rates_fit(samples, SAMPLES, &rates));
    assert_rates(&rates, &expected);
}

/* Twice the same column: either kind explains the times. */
static void kinds_that_cannot_be_told_apart_give_the_times_together(void **state)
{
    pb_rates_sample samples[SAMPLES];
    pb_rates rates;
    (void)state;
    make(&truth, samples);
    for (int i = 0; i < SAMPLES; i++) {
        samples[i].work.amount[PB_WORK_READ] = 1e8 * samples[i].work.amount[PB_WORK_PASSES];
        samples[i].seconds                   = pb_rates_seconds(&truth, &samples[i].work);
    }
    assert_ok(pb_rates_fit(samples, SAMPLES, &rates));
    for (int i = 0; i < SAMPLES; i++) {
        double seconds = pb_rates_seconds(&rates, &samples[i].work);
        assert_true(fabs(seconds - samples[i].seconds) <= 1e-6 * samples[i].seconds);
    }
}

/* One kind of work and two rates: with the variance of a time proportional to it the rate is that
 * of the sums. */
static void sums_of_like_samples_are_kept(void **state)
{
    const pb_rates_sample samples[] = {{.work = {.amount = {1e12}}, .seconds = 1.0},
                                       {.work = {.amount = {2e12}}, .seconds = 4.0}};
    pb_rates rates;
    (void)state;
    assert_ok(pb_rates_fit(samples, 2, &rates));
    /* sum of w / sum of w²/s = 3e12 / (1e24 + 1e24) */
    assert_true(fabs(rates.seconds[PB_WORK_TRAIN] - 1.5e-12) < 1e-24);
}

static void a_product_rate_counts_operations_only(void **state)
{
    const pb_work work = {.amount = {3e9, 1e9, 5, 5, 5}};
    pb_rates rates     = pb_rates_of_product(8.0);
    (void)state;
    assert_true(fabs(pb_rates_seconds(&rates, &work) - 1.0) < 1e-12);
}

static void no_sample_is_an_error(void **state)
{
    pb_rates rates;
    (void)state;
    assert_error(pb_rates_fit(NULL, 0, &rates), PB_ERR_ARGUMENT, "no measured work");
}

/* What a cell of the demo would have: 6 steps of 2 passes, 3 validations of 10 rows in batches of
 * 4, 9 test rows in batches of 5 with 3 tokens each. */
static void fill(pb_record *r)
{
    pb_record_init(r);
    assert_ok(pb_record_set_text(&r->config, "train = { batch = 4; accumulate = 2; };\n"
                                             "eval = { batch = 5; };\n"));
    r->gang               = 1;
    r->model_params       = 1000;
    r->flops_train        = 5e9;
    r->rows_validation    = 10;
    r->rows_test          = 9;
    r->seconds_train      = 4;
    r->seconds_validation = 1;
    r->seconds_test       = 2;
    r->seconds_total      = 7.5;
    for (int i = 1; i <= 6; i++) {
        assert_ok(pb_record_add_step(r, &(pb_record_step){.step = i}));
    }
    for (int i = 1; i <= 3; i++) {
        assert_ok(pb_record_add_validation(r, 2 * i, 1.0));
    }
    assert_ok(pb_record_add_phase(r, "train", 0, 5, 7e9, 0.5)); /* with validation */
    assert_ok(pb_record_add_phase(r, "test", 5, 2, 3e9, 0.5));
    assert_ok(pb_record_add_metric(r, "output_tokens_mean", 3));
}

static void assert_sample(const pb_rates_sample *sample, double seconds, pb_work work)
{
    assert_true(sample->seconds == seconds);
    for (int k = 0; k < PB_WORK_KINDS; k++) {
        assert_true(sample->work.amount[k] == work.amount[k]);
    }
}

static void a_record_tells_its_work(void **state)
{
    pb_rates_sample samples[PB_RATES_SAMPLES];
    int count = 0;
    pb_record r;
    (void)state;
    fill(&r);
    assert_ok(pb_rates_measured(&r, samples, &count));
    assert_int_equal(count, 3);
    assert_sample(&samples[0], 4, (pb_work){.amount = {5e9, 0, 12, 0, 0}});
    /* 3 validations of 3 batches; 2 batches with 2 tokens more than the first, of 4000 bytes */
    assert_sample(&samples[1], 3, (pb_work){.amount = {0, 5e9, 9 + 6, 4 * 4000, 0}});
    assert_sample(&samples[2], 0.5, (pb_work){.amount = {0, 0, 0, 0, 1}});
    /* class names are drafts, verified in one pass; unless they are not saved */
    for (int without = 0; without < 2; without++) {
        const char *texts[] = {"dataset = { labels = [\"a\", \"b\"]; };\n"
                               "train = { batch = 4; accumulate = 2; };\neval = { batch = 5; };\n",
                               "dataset = { labels = [\"a\", \"b\"]; };\n"
                               "train = { batch = 4; accumulate = 2; };\n"
                               "eval = { batch = 5; without = [\"drafts\"]; };\n"};
        assert_ok(pb_record_set_text(&r.config, texts[without]));
        assert_ok(pb_rates_measured(&r, samples, &count));
        int later = without ? 4 : 2;
        assert_sample(&samples[1], 3,
                      (pb_work){.amount = {0, 5e9, 9 + 2 + later, later * 4000, 0}});
    }
    r.gang = 4; /* a pass is shared; the phases are those of all */
    assert_ok(pb_rates_measured(&r, samples, &count));
    assert_int_equal(count, 2);
    assert_sample(&samples[0], 4, (pb_work){.amount = {5e9, 0, 3, 0, 0}});
    assert_sample(&samples[1], 2, (pb_work){.amount = {0, 3e9, 6, 4 * 4000, 0}});
    pb_record_clear(&r);
}

static void a_record_without_its_configuration_is_refused(void **state)
{
    pb_rates_sample samples[PB_RATES_SAMPLES];
    int count = 0;
    pb_record r;
    (void)state;
    fill(&r);
    assert_ok(pb_record_set_text(&r.config, "train = { batch = \"many\"; };\n"));
    assert_error(pb_rates_measured(&r, samples, &count), PB_ERR_CONFIG, "its configuration:1");
    pb_record_clear(&r);
}

static void a_baseline_is_a_cell_and_no_more(void **state)
{
    pb_rates_sample samples[PB_RATES_SAMPLES];
    int count = 0;
    pb_record r;
    (void)state;
    pb_record_init(&r);
    r.seconds_total = 0.25;
    assert_ok(pb_rates_measured(&r, samples, &count));
    assert_int_equal(count, 1);
    assert_sample(&samples[0], 0.25, (pb_work){.amount = {0, 0, 0, 0, 1}});
    pb_record_clear(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_made_from_rates_give_them_back),
        cmocka_unit_test(no_rate_is_negative),
        cmocka_unit_test(work_that_no_sample_has_is_free),
        cmocka_unit_test(kinds_that_cannot_be_told_apart_give_the_times_together),
        cmocka_unit_test(sums_of_like_samples_are_kept),
        cmocka_unit_test(a_product_rate_counts_operations_only),
        cmocka_unit_test(no_sample_is_an_error),
        cmocka_unit_test(a_record_tells_its_work),
        cmocka_unit_test(a_record_without_its_configuration_is_refused),
        cmocka_unit_test(a_baseline_is_a_cell_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
