// SPDX-License-Identifier: Apache-2.0
/* Guarantees of every registered metric, in both protocols. */
#include "metric_value.h"
#include "metrics.h"
#include "support.h"

#include "pb/memory.h"

#include <math.h>
#include <string.h>

static const char *const labels[] = {"0", "1"};

/* The metric under test. */
static const pb_metric *metric;

/* Of a metric that gives no examples. */
static const char *const references_of_labels[] = {"0", "1", "1", "0"};

static const char *const hostile[] = {"", "\xF0\x9F\x98\x80", "####", "= = = ((((", "nan"};

static pb_status score(pb_protocol protocol, const char *const *predictions,
                       const char *const *references, int64_t rows, pb_metric_result *out,
                       pb_metric_parts *parts)
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

static const char *const *example_references(void)
{
    return metric->examples != NULL ? metric->examples : references_of_labels;
}

/* Its answers are computed: no prediction here is correct. */
static bool is_worked(void)
{
    return metric->examples != NULL;
}

/* The guarantees of the headers for parts, values of rows and the interval. */
static void check_parts(const pb_metric_result *r, const pb_metric_parts *parts)
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

static void check_result(const pb_metric_result *r, const pb_metric_parts *parts)
{
    double main_value = metric_value(r, r->main_name);
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
    check_parts(r, parts);
}

/* The names that every metric has, for predictions of 0, 1, 2 and 3 characters. */
static void check_common(const pb_metric_result *r)
{
    int64_t invalid = 0;

    for (int64_t i = 0; i < r->rows; i++) {
        invalid += r->invalid[i];
    }
    assert_true(metric_value(r, "invalid_share") == (double)invalid / (double)r->rows);
    assert_true(metric_value(r, "output_chars_mean") == 1.5);
}

static void its_example_references_are_ones_that_it_can_read(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        assert_ok(pb_metric_check_reference(metric->name, (char *const *)(uintptr_t)labels, 2,
                                            example_references()[i]));
    }
}

static void it_counts_invalid_predictions_and_characters(void **state)
{
    const char *predictions[] = {" ", "1\n", "<think>x</think>\n\n\xC3\xA9\xC3\xA9", "abc"};

    (void)state;
    for (int protocol = 0; protocol < 2; protocol++) {
        pb_metric_result r    = {0};
        pb_metric_parts parts = {0};
        assert_ok(score((pb_protocol)protocol, predictions, example_references(), 4, &r, &parts));
        check_result(&r, &parts);
        check_common(&r);
        assert_true(r.invalid[0]);
        clear(&r, &parts);
    }
}

static void it_gives_the_same_interval_again_and_none_for_one_row(void **state)
{
    const char *predictions[] = {"0", "1", "0", "0"};

    (void)state;
    for (int protocol = 0; protocol < 2; protocol++) {
        pb_metric_result r[3]    = {{0}};
        pb_metric_parts parts[3] = {{0}};
        for (int k = 0; k < 3; k++) {
            assert_ok(score((pb_protocol)protocol, predictions, example_references(), k < 2 ? 4 : 1,
                            &r[k], &parts[k]));
        }
        assert_true(r[0].main_low == r[1].main_low && r[0].main_high == r[1].main_high);
        assert_true(is_worked() || r[0].main_low < r[0].main_high);
        assert_true(isnan(r[2].main_low) && isnan(r[2].main_high));
        for (int k = 0; k < 3; k++) {
            clear(&r[k], &parts[k]);
        }
    }
}

/* One question in two rows whose correct answers differ from the references. */
static void it_reads_ids_and_alternatives_only_if_it_says_so(void **state)
{
    const char *const answers[]       = {"1", "0", NULL};
    const char *const *alternatives[] = {answers, answers};
    const char *const ids[]           = {"same", "same"};
    const char *const predictions[]   = {"1", "0"};
    pb_metric_input input             = {.protocol    = PB_PROTOCOL_CORRECTED,
                                         .predictions = predictions,
                                         .references  = example_references(),
                                         .rows        = 2,
                                         .labels      = (char *const *)(uintptr_t)labels,
                                         .label_count = 2};
    pb_metric_result plain = {0}, asked = {0};
    pb_metric_parts rows = {0}, questions = {0};

    (void)state;
    assert_ok(metric_score_parts(metric->name, &input, &plain, &rows));
    input.ids          = ids;
    input.alternatives = alternatives;
    assert_ok(metric_score_parts(metric->name, &input, &asked, &questions));
    assert_true(rows.units == 2 && questions.units == (metric->reads_questions ? 1 : 2));
    assert_true((plain.main != asked.main) == metric->reads_questions);
    clear(&plain, &rows);
    clear(&asked, &questions);
}

static void its_values_are_named_and_in_range(void **state)
{
    const pb_metric *found = NULL;

    (void)state;
    assert_ok(pb_metric_find(metric->name, &found));
    assert_ptr_equal(found, metric);
    for (int protocol = 0; protocol < 2; protocol++) {
        pb_metric_result r    = {0};
        pb_metric_parts parts = {0};
        assert_ok(score((pb_protocol)protocol, example_references(), example_references(), 4, &r,
                        &parts));
        check_result(&r, &parts);
        if (!is_worked()) {
            assert_true(fabs(r.main - 1) < 1e-15 || r.row_values[0] < 1);
            assert_true(r.correct[0] && r.correct[3]);
        }
        clear(&r, &parts);
    }
}

/* "paper → corrected", or that nothing differs. */
static void it_says_what_the_protocols_do_differently(void **state)
{
    (void)state;
    assert_non_null(metric->differences);
    assert_true(strstr(metric->differences, " → ") != NULL ||
                strcmp(metric->differences, "nothing differs") == 0);
}

static void it_survives_hostile_predictions(void **state)
{
    (void)state;
    for (int protocol = 0; protocol < 2; protocol++) {
        for (size_t h = 0; h < sizeof hostile / sizeof *hostile; h++) {
            const char *predictions[] = {hostile[h], "1", hostile[h], "0"};
            pb_metric_result r        = {0};
            pb_metric_parts parts     = {0};
            assert_ok(
                score((pb_protocol)protocol, predictions, example_references(), 4, &r, &parts));
            check_result(&r, &parts);
            assert_false(r.correct[0]);
            assert_true(protocol == PB_PROTOCOL_PAPER || !isnan(r.main));
            clear(&r, &parts);
        }
    }
}

static void it_gives_all_memory_back_when_there_is_none(void **state)
{
    const char *const *references = example_references();
    int failures                  = 0;

    (void)state;
    for (size_t limit = 16; limit < 16384; limit += 48) {
        pb_metric_result r    = {0};
        pb_metric_parts parts = {0};
        pb_memory_limit(limit);
        pb_status status = score(PB_PROTOCOL_CORRECTED, references, references, 4, &r, &parts);
        pb_memory_limit(0);
        assert_true(status == PB_OK || status == PB_ERR_MEMORY);
        failures += status != PB_OK;
        clear(&r, &parts);
        assert_int_equal(pb_memory_current(), 0);
    }
    pb_error_clear();
    assert_true(failures > 2);
}

/* A component missing from this build is not a failure of the metric; the golden tests report
 * it. */
static bool is_lacking(void)
{
    const pb_metric *found = NULL;
    bool lacking           = pb_metric_require(metric->name, &found) != PB_OK;
    pb_error_clear();
    return lacking;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_example_references_are_ones_that_it_can_read),
        cmocka_unit_test(its_values_are_named_and_in_range),
        cmocka_unit_test(it_counts_invalid_predictions_and_characters),
        cmocka_unit_test(it_gives_the_same_interval_again_and_none_for_one_row),
        cmocka_unit_test(it_reads_ids_and_alternatives_only_if_it_says_so),
        cmocka_unit_test(it_says_what_the_protocols_do_differently),
        cmocka_unit_test(it_survives_hostile_predictions),
        cmocka_unit_test(it_gives_all_memory_back_when_there_is_none),
    };
    int failed = 0;

    for (const pb_metric *const *each = pb_metric_registry(); *each != NULL; each++) {
        metric = *each;
        if (!is_lacking()) {
            failed += cmocka_run_group_tests_name(metric->name, tests, NULL, NULL);
        }
    }
    return failed;
}
