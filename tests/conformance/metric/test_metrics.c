// SPDX-License-Identifier: Apache-2.0
/* Guarantees of every registered metric, in both protocols. */
#include "metrics.h"
#include "support.h"

#include "pb/memory.h"

#include <math.h>
#include <string.h>

static const char *const labels[] = {"0", "1"};

/* References that a metric can read: labels that are numbers, a worked solution, an equation. */
static const char *const references_of_labels[] = {"0", "1", "1", "0"};
static const char *const solutions[]            = {"#### 0", "1\n#### 1", "#### 1", "#### 0"};
static const char *const equations[]            = {"(0) = 0", "1 = 1", "(2) = 1", "0 * 1 = 0"};

static const char *const hostile[] = {"", "\xF0\x9F\x98\x80", "####", "= = = ((((", "nan"};

static pb_status score(const pb_metric *metric, pb_protocol protocol,
                       const char *const *predictions, const char *const *references, int64_t rows,
                       pb_metric_result *out, pb_metric_parts *parts)
{
    pb_metric_input input = {.protocol    = protocol,
                             .predictions = predictions,
                             .references  = references,
                             .rows        = rows,
                             .labels      = (char *const *)(uintptr_t)labels,
                             .label_count = 2};
    return metric_score_parts(metric->name, &input, out, parts);
}

static void clear(pb_metric_result *r, pb_metric_parts *parts)
{
    pb_metric_result_clear(r);
    metric_parts_clear(parts);
}

/* The first of them that the metric can score against. */
static const char *const *references_of(const pb_metric *metric)
{
    static const char *const *const all[] = {references_of_labels, solutions, equations};

    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        int fit = 0;
        for (int i = 0; i < 4; i++) {
            fit += pb_metric_check_reference(metric->name, (char *const *)(uintptr_t)labels, 2,
                                             all[k][i]) == PB_OK;
        }
        pb_error_clear();
        if (fit == 4) {
            return all[k];
        }
    }
    fail_msg("%s: no references that it can read; add some", metric->name);
    return NULL;
}

/* Its answers are computed: no prediction here is correct. */
static bool is_worked(const pb_metric *metric)
{
    return references_of(metric) != references_of_labels;
}

/* The guarantees of the headers for parts, values of rows and the interval. */
static void check_parts(const pb_metric *metric, const pb_metric_result *r,
                        const pb_metric_parts *parts)
{
    double sums[64];

    assert_true(parts->width > 0 && parts->width <= 64);
    assert_true(parts->units >= 1 && parts->units <= r->rows);
    assert_true((parts->dense == NULL) != (parts->places == NULL));
    double main_value = metric_parts_main(parts, NULL, sums);
    bool both_nan     = isnan(main_value) && isnan(r->main);
    if (!both_nan && !(fabs(main_value - r->main) < 1e-12)) {
        fail_msg("%s: main %.17g, of its parts %.17g", metric->name, r->main, main_value);
    }
    assert_true(isnan(r->main_low) == isnan(r->main));
    assert_true(isnan(r->main) || (r->main_low >= -1 && r->main_low <= r->main_high));
    assert_true(isnan(r->main) || r->main_high <= 1);
    for (int64_t i = 0; i < r->rows; i++) {
        assert_true(r->row_values[i] >= 0 && r->row_values[i] <= 1);
        assert_false(r->correct[i] && r->invalid[i]);
        assert_true(r->row_values[i] == 0 || !r->invalid[i]);
    }
}

/* A component missing from this build is not a failure of the metric; the golden tests report
 * it. */
static bool is_lacking(const pb_metric *metric)
{
    const pb_metric *found = NULL;
    bool lacking           = pb_metric_require(metric->name, &found) != PB_OK;
    pb_error_clear();
    return lacking;
}

static void check_result(const pb_metric *metric, const pb_metric_result *r,
                         const pb_metric_parts *parts)
{
    double main_value = pb_metric_value_of(r, r->main_name);
    bool both_nan     = isnan(main_value) && isnan(r->main);

    if (!both_nan && main_value != r->main) {
        fail_msg("%s: main %g, %s %g", metric->name, r->main, r->main_name, main_value);
    }
    for (int64_t i = 0; i < r->count; i++) {
        const pb_metric_value *v = &r->values[i];
        assert_true(*v->name != '\0');
        bool unbounded = strcmp(v->name, "output_chars_mean") == 0;
        assert_true(v->is_count ? v->value >= 0 && v->value == floor(v->value)
                    : unbounded ? v->value >= 0
                                : isnan(v->value) || (v->value >= -1 && v->value <= 1));
        for (int64_t k = 0; k < i; k++) {
            assert_string_not_equal(v->name, r->values[k].name);
        }
    }
    check_parts(metric, r, parts);
}

/* The names that every metric has, for predictions of 0, 1, 2 and 3 characters. */
static void check_common(const pb_metric_result *r)
{
    int64_t invalid = 0;

    for (int64_t i = 0; i < r->rows; i++) {
        invalid += r->invalid[i];
    }
    assert_true(pb_metric_value_of(r, "invalid_share") == (double)invalid / (double)r->rows);
    assert_true(pb_metric_value_of(r, "output_chars_mean") == 1.5);
}

static void every_metric_counts_invalid_predictions_and_characters(void **state)
{
    const pb_metric *const *all = pb_metric_registry();
    const char *predictions[]   = {" ", "1\n", "<think>x</think>\n\n\xC3\xA9\xC3\xA9", "abc"};

    (void)state;
    for (size_t m = 0; all[m] != NULL; m++) {
        for (int protocol = 0; protocol < 2; protocol++) {
            pb_metric_result r    = {0};
            pb_metric_parts parts = {0};
            assert_ok(score(all[m], (pb_protocol)protocol, predictions, references_of(all[m]), 4,
                            &r, &parts));
            check_result(all[m], &r, &parts);
            check_common(&r);
            assert_true(r.invalid[0]);
            clear(&r, &parts);
        }
    }
}

static void every_metric_gives_the_same_interval_again_and_none_for_one_row(void **state)
{
    const pb_metric *const *all = pb_metric_registry();
    const char *predictions[]   = {"0", "1", "0", "0"};

    (void)state;
    for (size_t m = 0; all[m] != NULL; m++) {
        for (int protocol = 0; protocol < 2; protocol++) {
            pb_metric_result r[3]    = {{0}};
            pb_metric_parts parts[3] = {{0}};
            for (int k = 0; k < 3; k++) {
                assert_ok(score(all[m], (pb_protocol)protocol, predictions, references_of(all[m]),
                                k < 2 ? 4 : 1, &r[k], &parts[k]));
            }
            assert_true(r[0].main_low == r[1].main_low && r[0].main_high == r[1].main_high);
            assert_true(is_worked(all[m]) || r[0].main_low < r[0].main_high);
            assert_true(isnan(r[2].main_low) && isnan(r[2].main_high));
            for (int k = 0; k < 3; k++) {
                clear(&r[k], &parts[k]);
            }
        }
    }
}

/* One question in two rows whose correct answers differ from the references. */
static void only_metrics_that_say_so_read_ids_and_alternatives(void **state)
{
    const pb_metric *const *all       = pb_metric_registry();
    const char *const answers[]       = {"1", "0", NULL};
    const char *const *alternatives[] = {answers, answers};
    const char *const ids[]           = {"same", "same"};
    const char *const predictions[]   = {"1", "0"};

    (void)state;
    for (size_t m = 0; all[m] != NULL; m++) {
        pb_metric_input input  = {.protocol    = PB_PROTOCOL_CORRECTED,
                                  .predictions = predictions,
                                  .references  = references_of(all[m]),
                                  .rows        = 2,
                                  .labels      = (char *const *)(uintptr_t)labels,
                                  .label_count = 2};
        pb_metric_result plain = {0}, asked = {0};
        pb_metric_parts rows = {0}, questions = {0};
        assert_ok(metric_score_parts(all[m]->name, &input, &plain, &rows));
        input.ids          = ids;
        input.alternatives = alternatives;
        assert_ok(metric_score_parts(all[m]->name, &input, &asked, &questions));
        assert_true(rows.units == 2 && questions.units == (all[m]->reads_questions ? 1 : 2));
        assert_true((plain.main != asked.main) == all[m]->reads_questions);
        clear(&plain, &rows);
        clear(&asked, &questions);
    }
}

static void every_metric_gives_named_values_in_range(void **state)
{
    const pb_metric *const *all = pb_metric_registry();
    const pb_metric *found      = NULL;

    (void)state;
    for (size_t m = 0; all[m] != NULL; m++) {
        if (is_lacking(all[m])) {
            continue;
        }
        for (int protocol = 0; protocol < 2; protocol++) {
            pb_metric_result r    = {0};
            pb_metric_parts parts = {0};
            assert_ok(pb_metric_find(all[m]->name, &found));
            assert_ptr_equal(found, all[m]);
            assert_ok(score(all[m], (pb_protocol)protocol, references_of(all[m]),
                            references_of(all[m]), 4, &r, &parts));
            check_result(all[m], &r, &parts);
            if (!is_worked(all[m])) {
                assert_true(fabs(r.main - 1) < 1e-15 || r.row_values[0] < 1);
                assert_true(r.correct[0] && r.correct[3]);
            }
            clear(&r, &parts);
        }
    }
    assert_error(pb_metric_find("none such", &found), PB_ERR_CONFIG, "there is no metric");
}

/* "paper → corrected", or that nothing differs. */
static void every_metric_says_what_the_protocols_do_differently(void **state)
{
    const pb_metric *const *all = pb_metric_registry();

    (void)state;
    for (size_t m = 0; all[m] != NULL; m++) {
        assert_non_null(all[m]->differences);
        assert_true(strstr(all[m]->differences, " → ") != NULL ||
                    strcmp(all[m]->differences, "nothing differs") == 0);
    }
}

static void every_metric_survives_hostile_predictions(void **state)
{
    const pb_metric *const *all = pb_metric_registry();

    (void)state;
    for (size_t m = 0; all[m] != NULL; m++) {
        if (is_lacking(all[m])) {
            continue;
        }
        for (int protocol = 0; protocol < 2; protocol++) {
            for (size_t h = 0; h < sizeof hostile / sizeof *hostile; h++) {
                const char *predictions[] = {hostile[h], "1", hostile[h], "0"};
                pb_metric_result r        = {0};
                pb_metric_parts parts     = {0};
                assert_ok(score(all[m], (pb_protocol)protocol, predictions, references_of(all[m]),
                                4, &r, &parts));
                check_result(all[m], &r, &parts);
                assert_false(r.correct[0]);
                assert_true(protocol == PB_PROTOCOL_PAPER || !isnan(r.main));
                clear(&r, &parts);
            }
        }
    }
}

static void every_metric_gives_all_memory_back_when_there_is_none(void **state)
{
    const pb_metric *const *all = pb_metric_registry();
    int failures                = 0;

    (void)state;
    for (size_t m = 0; all[m] != NULL; m++) {
        if (is_lacking(all[m])) {
            continue;
        }
        const char *const *references = references_of(all[m]);
        for (size_t limit = 16; limit < 16384; limit += 48) {
            pb_metric_result r    = {0};
            pb_metric_parts parts = {0};
            pb_memory_limit(limit);
            pb_status status =
                score(all[m], PB_PROTOCOL_CORRECTED, references, references, 4, &r, &parts);
            pb_memory_limit(0);
            assert_true(status == PB_OK || status == PB_ERR_MEMORY);
            failures += status != PB_OK;
            clear(&r, &parts);
            assert_int_equal(pb_memory_current(), 0);
        }
    }
    pb_error_clear();
    assert_true(failures > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_metric_gives_named_values_in_range),
        cmocka_unit_test(every_metric_counts_invalid_predictions_and_characters),
        cmocka_unit_test(every_metric_gives_the_same_interval_again_and_none_for_one_row),
        cmocka_unit_test(only_metrics_that_say_so_read_ids_and_alternatives),
        cmocka_unit_test(every_metric_says_what_the_protocols_do_differently),
        cmocka_unit_test(every_metric_survives_hostile_predictions),
        cmocka_unit_test(every_metric_gives_all_memory_back_when_there_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
