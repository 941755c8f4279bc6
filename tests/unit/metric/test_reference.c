// SPDX-License-Identifier: Apache-2.0
/* References that cannot be scored against, and how close a number must be to its reference. */
#include "metric_value.h"
#include "support.h"

#include "pb/metric.h"

#include <math.h>
#include <string.h>

static pb_status score(const char *metric, pb_protocol protocol, const char *prediction,
                       const char *reference, pb_metric_result *out)
{
    static const char *const labels[] = {"yes", "no"};
    const int64_t line                = 7;
    pb_metric_input input             = {.protocol    = protocol,
                                         .predictions = &prediction,
                                         .references  = &reference,
                                         .file        = "rows",
                                         .lines       = &line,
                                         .rows        = 1,
                                         .labels      = (char *const *)(uintptr_t)labels,
                                         .label_count = 2};
    return pb_metric_score(metric, &input, out);
}

static void what_a_reference_lacks_is_not_charged_to_the_prediction(void **state)
{
    static const struct {
        const char *metric, *prediction, *reference, *message;
    } cases[] = {
        {"gsm8k", "#### 72", "72", "has no number after \"####\""},
        {"gsm8k", "#### 72", "", "has no number after \"####\""},
        {"gsm8k", "#### 72", "12 boxes of 6 are 72.", "dataset.answer = \"#### {column}\""},
        {"gsm8k", "#### 72", "#### seventy-two", "has no number after \"####\""},
        {"gsm8k", "#### 72", "#### 72\n####", "has no number after \"####\""},
        {"gsm8k", "#### nan", "#### nan", "has no number after \"####\""},
        {"svamp", "(8 - 2) = 6", "( 8.0 - 2.0 )", "has no number after an \"=\""},
        {"svamp", "(8 - 2) = 6", "6", "has no number after an \"=\""},
        {"svamp", "(8 - 2) = 6", "( 8.0 - 2.0 ) = ", "has no number after an \"=\""},
        {"svamp", "(8 - 2) = 6", "( 8.0 - 2.0 ) = six", "has no number after an \"=\""},
        {"svamp", "(8 - 2) = 6", "( 8.0 - 2.0 ) = 6 apples", "has no number after an \"=\""},
        {"pearsonr", "3.8", "", "is not a number"},
        {"pearsonr", "3.8", "3,8", "is not a number"},
        {"pearsonr", "3.8", "inf", "is not a number"},
        {"pearsonr", "3.8", "1e400", "is not a number"},
        {"f1", "yes", "", "is not one of the data set's labels"},
        {"macro_f1", "yes", "maybe", "is not one of the data set's labels"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pb_metric_result r = {0};
        pb_status status   = score(cases[i].metric, PB_PROTOCOL_CORRECTED, cases[i].prediction,
                                   cases[i].reference, &r);
        assert_error(status, PB_ERR_FORMAT, cases[i].message);
        assert_null(r.values);
    }
}

static void the_message_names_the_line_and_ends_at_a_whole_character(void **state)
{
    char reference[100];
    pb_metric_result r = {0};

    (void)state;
    (void)memset(reference, 'x', 79);
    (void)strcpy(reference + 79, "\xC3\xA9 and more");
    assert_error(score("gsm8k", PB_PROTOCOL_CORRECTED, "#### 1", reference, &r), PB_ERR_FORMAT,
                 "rows:7: the reference \"xxx");
    assert_error(score("gsm8k", PB_PROTOCOL_CORRECTED, "#### 1", reference, &r), PB_ERR_FORMAT,
                 "xxx\" has no number");
}

static void the_paper_counts_such_rows_as_format_errors(void **state)
{
    pb_metric_result r = {0};

    (void)state;
    assert_ok(score("gsm8k", PB_PROTOCOL_PAPER, "#### 72", "72", &r));
    assert_true(r.main == 0 && metric_value(&r, "format_errors") == 1);
    pb_metric_result_clear(&r);
    assert_ok(score("svamp", PB_PROTOCOL_PAPER, "(8 - 2) = 6", "( 8.0 - 2.0 )", &r));
    assert_true(r.main == 1);
    pb_metric_result_clear(&r);
}

static void assert_main(const char *metric, const char *prediction, const char *reference,
                        double wanted)
{
    pb_metric_result r = {0};

    assert_ok(score(metric, PB_PROTOCOL_CORRECTED, prediction, reference, &r));
    if (r.main != wanted) {
        fail_msg("%s: %s for %s is %g, not %g", metric, prediction, reference, r.main, wanted);
    }
    pb_metric_result_clear(&r);
}

static void a_number_is_right_within_a_millionth_however_large_it_is(void **state)
{
    (void)state;
    assert_main("gsm8k", "#### 12345678", "#### 12345679", 0);
    assert_main("gsm8k", "#### 2000001", "#### 2000000", 0);
    assert_main("gsm8k", "#### 2000000.5", "#### 2,000,000", 0);
    assert_main("gsm8k", "#### $12,345,679 in all", "#### 12345679", 1);
    assert_main("gsm8k", "#### 12345679.0000005", "#### 12345679", 1);
    assert_main("gsm8k", "#### 0.0000009", "#### 0", 1);
    assert_main("gsm8k", "#### 0.0000011", "#### 0", 0);
    assert_main("svamp", "12345678 + 0 = 12345678", "12345679 + 0 = 12345679", 0);
    assert_main("svamp", "12345678 + 1 = 12,345,679", "( 12345678.0 + 1.0 ) = 12345679", 1);
    assert_main("svamp", "10000000 / 3 = 3333333.3", "10000000 / 3 = 3333333.3", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_reference_lacks_is_not_charged_to_the_prediction),
        cmocka_unit_test(the_message_names_the_line_and_ends_at_a_whole_character),
        cmocka_unit_test(the_paper_counts_such_rows_as_format_errors),
        cmocka_unit_test(a_number_is_right_within_a_millionth_however_large_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, returns_all_bytes);
}
