// SPDX-License-Identifier: Apache-2.0
/* Post-processing and scores worked out by hand. */
#include "metric_value.h"
#include "support.h"

#include "pb/memory.h"
#include "pb/metric.h"

#include <math.h>
#include <string.h>

static void assert_post(pb_protocol protocol, bool keep_case, const char *text, const char *wanted)
{
    char *got = NULL;

    assert_ok(pb_metric_post(protocol, keep_case, text, &got));
    assert_string_equal(got, wanted);
    pb_memory_free(got);
}

static void thoughts_are_removed_as_the_protocol_says(void **state)
{
    (void)state;
    assert_post(PB_PROTOCOL_PAPER, false, "<think>x</think>\n\nYes", "yes");
    assert_post(PB_PROTOCOL_PAPER, false, "<think>x</think>Yes", "<think>x</think>yes");
    assert_post(PB_PROTOCOL_PAPER, false, "<think>x</think>\n\n", "");
    assert_post(PB_PROTOCOL_CORRECTED, false, "<think>x</think>Yes", "yes");
    assert_post(PB_PROTOCOL_CORRECTED, false, "a</think>b</think>\nc", "c");
    assert_post(PB_PROTOCOL_CORRECTED, false, "<think>Yes", "<think>yes");
}

static void strip_and_lower_case_are_those_of_unicode(void **state)
{
    (void)state;
    assert_post(PB_PROTOCOL_PAPER, false, "\t\xC2\xA0 Yes\xE3\x80\x80\xE2\x80\xA8\x1f\n", "yes");
    assert_post(PB_PROTOCOL_PAPER, false, "\xE2\x80\x8BYes", "\xE2\x80\x8Byes"); /* no space */
    assert_post(PB_PROTOCOL_PAPER, false, "\xC3\x89\xC4\xB0", "\xC3\xA9i\xCC\x87");
    assert_post(PB_PROTOCOL_PAPER, false, "\xCE\xA3\xCE\x91\xCE\xA3 \xCE\xA3",
                "\xCF\x83\xCE\xB1\xCF\x82 \xCF\x83");
    assert_post(PB_PROTOCOL_PAPER, false, "A\xCE\xA3.", "a\xCF\x82.");
    assert_post(PB_PROTOCOL_PAPER, false, "A\xCE\xA3.B", "a\xCF\x83.b");
    assert_post(PB_PROTOCOL_CORRECTED, true, " Def F(X) ", "Def F(X)");
    assert_post(PB_PROTOCOL_PAPER, true, " Def F(X) ", "def f(x)");
    assert_post(PB_PROTOCOL_PAPER, false, " \n ", "");
}

static void broken_utf8_is_an_error(void **state)
{
    char *got = NULL;

    (void)state;
    assert_error(pb_metric_post(PB_PROTOCOL_PAPER, false, "ab\xff", &got), PB_ERR_FORMAT,
                 "byte 3 of a text to score is not UTF-8");
    assert_null(got);
}

static const char *const labels[] = {"No", "Yes", "Maybe"};

static pb_status score(const char *metric, pb_protocol protocol, const char *const *predictions,
                       const char *const *references, int64_t rows, int64_t label_count,
                       pb_metric_result *out)
{
    pb_metric_input input = {.protocol    = protocol,
                             .predictions = predictions,
                             .references  = references,
                             .rows        = rows,
                             .labels      = (char *const *)(uintptr_t)labels,
                             .label_count = label_count};
    return pb_metric_score(metric, &input, out);
}

#define ASSERT_VALUE(result, name, wanted) \
    assert_true(fabs(metric_value((result), (name)) - (wanted)) < 1e-15)

static void
invalid_predictions_cost_recall_when_corrected_and_turn_into_errors_in_paper(void **state)
{
    const char *predictions[] = {"yes", "YES", "no", "perhaps", "perhaps"};
    const char *references[]  = {"Yes", "No", "No", "Yes", "No"};
    pb_metric_result r        = {0};

    (void)state;
    /* Yes: one right, one false, one missed; No: one right, none false, two missed. */
    assert_ok(score("f1", PB_PROTOCOL_CORRECTED, predictions, references, 5, 2, &r));
    assert_string_equal(r.main_name, "f1");
    ASSERT_VALUE(&r, "f1", 0.5);
    ASSERT_VALUE(&r, "accuracy", 0.4);
    ASSERT_VALUE(&r, "macro_f1", 0.5);
    ASSERT_VALUE(&r, "invalid", 2);
    ASSERT_VALUE(&r, "invalid_share", 0.4);
    ASSERT_VALUE(&r, "precision.no", 1);
    ASSERT_VALUE(&r, "recall.no", 1 / 3.0);
    ASSERT_VALUE(&r, "f1.no", 0.5);
    assert_true(r.correct[0] && !r.correct[1] && r.correct[2] && !r.correct[3] && !r.correct[4]);
    assert_true(!r.invalid[2] && r.invalid[3] && r.invalid[4]);
    assert_true(isnan(metric_value(&r, "absent")));
    pb_metric_result_clear(&r);
    /* The fourth becomes No, the fifth Yes: Yes has one right, two false, one missed. */
    assert_ok(score("f1", PB_PROTOCOL_PAPER, predictions, references, 5, 2, &r));
    ASSERT_VALUE(&r, "f1", 0.4);
    ASSERT_VALUE(&r, "exact_match", 0.4);
    pb_metric_result_clear(&r);
    /* Three classes: the missed Maybe becomes a Yes. */
    references[3] = "maybe";
    assert_ok(score("accuracy", PB_PROTOCOL_PAPER, predictions, references, 5, 3, &r));
    assert_string_equal(r.main_name, "accuracy");
    ASSERT_VALUE(&r, "accuracy", 0.4);
    pb_metric_result_clear(&r);
    assert_ok(score("macro_f1", PB_PROTOCOL_PAPER, predictions, references, 5, 3, &r));
    assert_string_equal(r.main_name, "macro_f1");
    ASSERT_VALUE(&r, "macro_f1", (0.5 + 0.4 + 0) / 3);
    pb_metric_result_clear(&r);
}

static void the_confusion_table_shows_what_was_predicted_under_both_protocols(void **state)
{
    const char *predictions[] = {"yes", "YES", "no", "perhaps", "perhaps"};
    const char *references[]  = {"Yes", "No", "No", "Yes", "No"};

    (void)state;
    for (int protocol = 0; protocol < 2; protocol++) {
        pb_metric_result r = {0};
        assert_ok(score("f1", (pb_protocol)protocol, predictions, references, 5, 2, &r));
        ASSERT_VALUE(&r, "confusion.yes.yes", 1);
        ASSERT_VALUE(&r, "confusion.yes.no", 0);
        ASSERT_VALUE(&r, "confusion.yes.invalid", 1);
        ASSERT_VALUE(&r, "confusion.no.yes", 1);
        ASSERT_VALUE(&r, "confusion.no.no", 1);
        ASSERT_VALUE(&r, "confusion.no.invalid", 1);
        ASSERT_VALUE(&r, "invalid_share", 0.4);
        /* Classes are counted by the rule of the protocol: the paper leaves no invalid ones. */
        bool paper = protocol == PB_PROTOCOL_PAPER;
        ASSERT_VALUE(&r, "precision.yes", paper ? 1 / 3.0 : 0.5);
        ASSERT_VALUE(&r, "recall.yes", 0.5);
        ASSERT_VALUE(&r, "f1.yes", r.main);
        pb_metric_result_clear(&r);
    }
}

static void long_labels_and_one_called_invalid_are_named_by_their_number(void **state)
{
    static const char *const odd[] = {"no", "invalid",
                                      "a label that is longer than a name of a value has room for"};
    const char *predictions[]      = {"no", "invalid", odd[2], "x"};
    const char *references[]       = {"no", "invalid", odd[2], odd[2]};
    pb_metric_input input          = {.protocol    = PB_PROTOCOL_CORRECTED,
                                      .predictions = predictions,
                                      .references  = references,
                                      .rows        = 4,
                                      .labels      = (char *const *)(uintptr_t)odd,
                                      .label_count = 3};
    pb_metric_result r             = {0};

    (void)state;
    assert_ok(pb_metric_score("macro_f1", &input, &r));
    ASSERT_VALUE(&r, "confusion.class1.class1", 1);
    ASSERT_VALUE(&r, "confusion.class2.class2", 1);
    ASSERT_VALUE(&r, "confusion.class2.invalid", 1);
    ASSERT_VALUE(&r, "recall.class2", 0.5);
    pb_metric_result_clear(&r);
}

static void a_row_has_its_nearness_in_units_of_the_range_as_value(void **state)
{
    const char *predictions[] = {"0", "2", "5.02", "9", "none"};
    const char *references[]  = {"0", "1", "5", "2", "3"};
    pb_metric_result r        = {0};

    (void)state;
    assert_ok(score("pearsonr", PB_PROTOCOL_CORRECTED, predictions, references, 5, 0, &r));
    assert_true(r.row_values[0] == 1 && r.correct[0]);
    assert_true(fabs(r.row_values[1] - 0.8) < 1e-15 && !r.correct[1]);
    assert_true(fabs(r.row_values[2] - 0.996) < 1e-12 && r.correct[2]);
    assert_true(r.row_values[3] == 0);
    assert_true(r.row_values[4] == 0 && r.invalid[4]);
    pb_metric_result_clear(&r);
}

static void exact_match_needs_no_labels(void **state)
{
    const char *predictions[] = {"abc", "x"};
    const char *references[]  = {"ABC", "y"};
    pb_metric_result r        = {0};

    (void)state;
    assert_ok(score("exact_match", PB_PROTOCOL_CORRECTED, predictions, references, 2, 0, &r));
    assert_true(r.main == 0.5);
    assert_true(r.correct[0] && !r.correct[1]);
    pb_metric_result_clear(&r);
}

static void of_five_signs_the_first_four_are_the_mark(void **state)
{
    const char *predictions[] = {"#####72", "########72"};
    const char *references[]  = {"#### 72", "#### 72"};
    pb_metric_result r        = {0};

    (void)state;
    assert_ok(score("gsm8k", PB_PROTOCOL_PAPER, predictions, references, 2, 0, &r));
    assert_true(r.invalid[0] && !r.correct[0]);
    assert_true(!r.invalid[1] && r.correct[1]);
    ASSERT_VALUE(&r, "format_errors", 1);
    pb_metric_result_clear(&r);
}

static void labels_that_post_processing_makes_equal_are_refused(void **state)
{
    static const char *const same[] = {"No", "Yes", " no"};
    const char *texts[]             = {"no"};
    pb_metric_input input           = {.protocol    = PB_PROTOCOL_CORRECTED,
                                       .predictions = texts,
                                       .references  = texts,
                                       .rows        = 1,
                                       .labels      = (char *const *)(uintptr_t)same,
                                       .label_count = 3};
    pb_metric_result r              = {0};

    (void)state;
    assert_error(pb_metric_score("macro_f1", &input, &r), PB_ERR_CONFIG,
                 "labels 0 and 2 of the data set are the same text \"no\"");
}

static void what_cannot_be_scored_is_refused(void **state)
{
    const char *predictions[] = {"yes"};
    const char *references[]  = {"unknown"};
    pb_metric_result r        = {0};

    (void)state;
    assert_error(score("f2", PB_PROTOCOL_PAPER, predictions, references, 1, 2, &r), PB_ERR_CONFIG,
                 "unknown metric \"f2\"");
    assert_error(score("macro_f", PB_PROTOCOL_PAPER, predictions, references, 1, 2, &r),
                 PB_ERR_CONFIG, "did you mean \"macro_f1\"?");
    assert_error(score("f1", PB_PROTOCOL_PAPER, predictions, references, 1, 1, &r), PB_ERR_CONFIG,
                 "needs at least two labels");
    assert_error(score("f1", PB_PROTOCOL_PAPER, predictions, references, 0, 2, &r), PB_ERR_ARGUMENT,
                 "no rows");
    assert_error(score("f1", PB_PROTOCOL_PAPER, predictions, references, 1, 2, &r), PB_ERR_FORMAT,
                 "row 0: the reference \"unknown\" is not one of the data set's labels");
    assert_error(score("pearsonr", PB_PROTOCOL_CORRECTED, predictions, references, 1, 0, &r),
                 PB_ERR_FORMAT, "is not a number");
    assert_null(r.values);
    const int64_t line    = 7;
    const char *broken[]  = {"ab\xff"};
    pb_metric_input input = {
        .predictions = broken, .references = references, .file = "rows", .lines = &line, .rows = 1};
    assert_error(pb_metric_score("exact_match", &input, &r), PB_ERR_FORMAT,
                 "rows:7: byte 3 of a text to score is not UTF-8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thoughts_are_removed_as_the_protocol_says),
        cmocka_unit_test(strip_and_lower_case_are_those_of_unicode),
        cmocka_unit_test(broken_utf8_is_an_error),
        cmocka_unit_test(
            invalid_predictions_cost_recall_when_corrected_and_turn_into_errors_in_paper),
        cmocka_unit_test(the_confusion_table_shows_what_was_predicted_under_both_protocols),
        cmocka_unit_test(long_labels_and_one_called_invalid_are_named_by_their_number),
        cmocka_unit_test(a_row_has_its_nearness_in_units_of_the_range_as_value),
        cmocka_unit_test(labels_that_post_processing_makes_equal_are_refused),
        cmocka_unit_test(exact_match_needs_no_labels),
        cmocka_unit_test(of_five_signs_the_first_four_are_the_mark),
        cmocka_unit_test(what_cannot_be_scored_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, returns_all_bytes);
}
