// SPDX-License-Identifier: Apache-2.0
/* One variant of each method is chosen for every data set, by the mean over seeds. */
#include "sample.h"
#include "support.h"

#include "pb/report.h"

#include <math.h>
#include <string.h>

typedef struct one_cell {
    const char *dataset, *method;
    int64_t seed;
    double loss, score; /* score NaN: failed */
} one_cell;

static void put(const char *directory, pb_plan *plan, const one_cell *cell)
{
    pb_record r;

    assert_ok(sample_small("m", cell->dataset, cell->method, cell->seed, &r));
    r.score           = cell->score;
    r.validation_loss = cell->loss;
    if (isnan(cell->score)) {
        assert_ok(pb_record_fail(&r, PB_FAIL(PB_ERR_NUMERIC, "the loss is not finite")));
        pb_error_clear();
    }
    assert_ok(pb_shard_write(directory, &r));
    assert_ok(pb_plan_add(plan, "m", cell->dataset, cell->method, cell->seed, r.key.config_hash));
    pb_record_clear(&r);
}

static void open_cells(const one_cell *cells, int count, pb_results *out)
{
    const char *directory = sample_directory();
    pb_plan plan          = {0};

    for (int i = 0; i < count; i++) {
        put(directory, &plan, &cells[i]);
    }
    assert_ok(pb_record_set_text(&plan.name, "s"));
    assert_ok(pb_plan_write(directory, &plan));
    pb_plan_clear(&plan);
    assert_ok(pb_results_open_directory(directory, out));
}

#define COUNT(cells) ((int)(sizeof(cells) / sizeof *(cells)))

/* a{r=4} has one lucky seed, a{r=8} the smallest loss, a{r=9} the best score; equal ones keep their
 * order; b has no variants; nothing of a is planned on the last data set. */
static const one_cell cells[] = {
    {"rte", "a{r=4}", 1, 0.01, 99}, {"rte", "a{r=4}", 2, 0.01, NAN}, {"rte", "b", 1, NAN, 50},
    {"rte", "a{r=8}", 1, 0.2, 60},  {"rte", "a{r=8}", 2, 0.4, 70},   {"rte", "a{r=9}", 1, 0.5, 80},
    {"rte", "a{r=9}", 2, 0.2, 80},  {"sst2", "a{r=4}", 1, 0.3, 70},  {"sst2", "a{r=8}", 1, 0.3, 70},
    {"qqp", "b", 1, 1, 40},
};

static void expect_choice(const pb_results *r, const pb_report_choice *c, const char *dataset,
                          const char *variant, double value, int64_t seeds, int64_t variants)
{
    assert_string_equal(r->datasets[c->dataset], dataset);
    assert_string_equal(r->methods[c->method], "a");
    assert_string_equal(c->variant, variant);
    assert_true(fabs(c->value - value) < 1e-12);
    assert_int_equal(c->seeds, seeds);
    assert_int_equal(c->variants, variants);
}

static void choices_are_made_by_the_mean_over_most_seeds(void **state)
{
    pb_results r              = {0};
    pb_report_choices choices = {0};

    (void)state;
    open_cells(cells, COUNT(cells), &r);
    assert_ok(pb_report_choose(&r, PB_REPORT_BEST_VALIDATION, &choices));
    assert_int_equal(choices.count, 2);
    expect_choice(&r, &choices.items[0], "rte", "a{r=8}", 0.3, 2, 3);
    expect_choice(&r, &choices.items[1], "sst2", "a{r=4}", 0.3, 1, 2);
    assert_int_equal(choices.left_out, 5);
    assert_int_equal(choices.left_out_failed, 1);
    pb_report_choices_clear(&choices);
    pb_results_clear(&r);

    open_cells(cells, COUNT(cells), &r);
    assert_ok(pb_report_choose(&r, PB_REPORT_BEST_SCORE, &choices));
    expect_choice(&r, &choices.items[0], "rte", "a{r=9}", 80, 2, 3);
    pb_report_choices_clear(&choices);
    pb_results_clear(&r);
}

static void the_results_are_then_over_methods(void **state)
{
    pb_results r              = {0};
    pb_report_choices choices = {0};

    (void)state;
    open_cells(cells, COUNT(cells), &r);
    assert_ok(pb_report_choose(&r, PB_REPORT_BEST_VALIDATION, &choices));
    assert_int_equal(r.methods_count, 2);
    assert_string_equal(r.methods[0], "a");
    assert_string_equal(r.methods[1], "b");
    assert_int_equal(r.count, 5);
    for (int64_t i = 0; i < pb_results_positions(&r); i++) {
        pb_record_key key = pb_results_key(&r, i);
        if (r.grid[i] < 0) {
            assert_int_equal(r.state[i], PB_CELL_EXCLUDED);
            continue;
        }
        const pb_record *record = &r.records[r.grid[i]];
        assert_int_equal(r.state[i], PB_CELL_DONE);
        assert_string_equal(record->key.dataset, key.dataset);
        assert_int_equal(record->key.seed, key.seed);
        assert_int_equal(record->key.method[0], key.method[0]);
    }
    assert_true(r.records[r.grid[pb_results_index(&r, 0, 0, 0, 1)]].score == 70);
    pb_report_choices_clear(&choices);
    pb_results_clear(&r);
}

static void reports_name_what_was_chosen_and_by_what(void **state)
{
    pb_results r              = {0};
    pb_report_choices choices = {0};
    pb_report_options how     = {
            .pscp = pb_pscp_defaults(), .pairs = PB_REPORT_PAIRS_NONE, .width = 200};
    pb_string text = {0};

    (void)state;
    open_cells(cells, COUNT(cells), &r);
    assert_ok(pb_report_choose(&r, PB_REPORT_BEST_VALIDATION, &choices));
    how.choices = &choices;
    assert_ok(pb_report_text(&r, &how, &text));
    assert_non_null(strstr(text.data, "variants chosen by the mean validation loss over seeds; 5 "
                                      "cells of other variants are left out, 1 of them failed\n"));
    assert_non_null(
        strstr(text.data, "\nm      rte       a       a{r=8}  0.3000  2 of 2         3\n"));
    assert_null(strstr(text.data, "mistake"));
    pb_string_clear(&text);
    choices.by = PB_REPORT_BEST_SCORE;
    assert_ok(pb_report_text(&r, &how, &text));
    assert_non_null(strstr(text.data, "choosing on the test rows is a mistake"));
    pb_string_clear(&text);
    assert_ok(pb_report_json(&r, &how, &text));
    assert_non_null(strstr(text.data, "\"best_by\": \"score\""));
    assert_non_null(strstr(text.data, "\"method\": \"a\", \"variant\": \"a{r=8}\", \"value\": "));
    pb_string_clear(&text);
    assert_ok(pb_report_csv(&r, &how, &text));
    assert_non_null(strstr(text.data, "\r\nchosen,m,rte,a,a{r=8},score,percent,"));
    pb_string_clear(&text);
    assert_ok(pb_report_csv_cells(&r, &how, &text));
    assert_non_null(strstr(text.data, "\r\nm,rte,a{r=8},1,done,"));
    assert_non_null(strstr(text.data, ",m,rte,a,8\r\n"));
    pb_string_clear(&text);
    pb_report_choices_clear(&choices);
    pb_results_clear(&r);
}

static void values_that_nobody_has_are_an_error(void **state)
{
    static const one_cell unknown[] = {{"rte", "a{r=4}", 1, NAN, 60},
                                       {"rte", "a{r=8}", 1, NAN, 70}};
    static const one_cell failed[]  = {{"rte", "a{r=4}", 1, 0.1, NAN},
                                       {"rte", "a{r=8}", 1, 0.1, NAN}};
    pb_results r                    = {0};
    pb_report_choices choices       = {0};

    (void)state;
    open_cells(unknown, 2, &r);
    assert_error(pb_report_choose(&r, PB_REPORT_BEST_VALIDATION, &choices), PB_ERR_ARGUMENT,
                 "no variant of a has a validation loss on m/rte; train with "
                 "data.validation_share, or choose by score");
    assert_int_equal(r.methods_count, 2);
    pb_error_clear();
    assert_ok(pb_report_choose(&r, PB_REPORT_BEST_SCORE, &choices));
    assert_string_equal(choices.items[0].variant, "a{r=8}");
    pb_report_choices_clear(&choices);
    pb_results_clear(&r);

    open_cells(failed, 2, &r);
    assert_ok(pb_report_choose(&r, PB_REPORT_BEST_VALIDATION, &choices));
    assert_string_equal(choices.items[0].variant, "a{r=4}");
    assert_true(isnan(choices.items[0].value));
    assert_int_equal(choices.left_out_failed, 1);
    assert_int_equal(r.state[0], PB_CELL_FAILED);
    pb_report_choices_clear(&choices);
    pb_results_clear(&r);
}

static void without_variants_nothing_changes(void **state)
{
    static const one_cell plain[] = {{"rte", "a", 1, NAN, 60}, {"rte", "b", 1, NAN, 70}};
    pb_results r                  = {0};
    pb_report_choices choices     = {0};
    pb_report_options how         = {.pscp = pb_pscp_defaults(), .choices = &choices};
    pb_string text                = {0};

    (void)state;
    open_cells(plain, 2, &r);
    assert_ok(pb_report_choose(&r, PB_REPORT_BEST_VALIDATION, &choices));
    assert_int_equal(choices.count + choices.left_out, 0);
    assert_int_equal(r.methods_count, 2);
    assert_ok(pb_report_text(&r, &how, &text));
    assert_non_null(strstr(text.data, "no method has variants to choose from"));
    pb_string_clear(&text);
    pb_report_choices_clear(&choices);
    pb_results_clear(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(choices_are_made_by_the_mean_over_most_seeds, returns_all_bytes),
        cmocka_unit_test_teardown(the_results_are_then_over_methods, returns_all_bytes),
        cmocka_unit_test_teardown(reports_name_what_was_chosen_and_by_what, returns_all_bytes),
        cmocka_unit_test_teardown(values_that_nobody_has_are_an_error, returns_all_bytes),
        cmocka_unit_test_teardown(without_variants_nothing_changes, returns_all_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
