// SPDX-License-Identifier: Apache-2.0
/* Answers as words, and questions of several rows. Expected words are those of Python's str and re
 * under the rules of the protocol. */
#include "support.h"

#include "answer_text.h"
#include "metric_value.h"
#include "pb/metric.h"
#include "pb/python.h"

#include <math.h>
#include <string.h>

static void assert_words(const char *text, const char *wanted)
{
    answer_text a = {0};

    assert_ok(answer_text_make(text, &a));
    assert_string_equal(a.words, wanted);
    answer_text_clear(&a);
}

static void answers_are_compared_as_words_without_articles_and_punctuation(void **state)
{
    (void)state;
    assert_words("The Beatles", "beatles");
    assert_words("Ann-Marie O'Neil", "annmarie oneil");
    assert_words("  a \t cat,\n AND the\xC2\xA0"
                 "dog! ",
                 "cat and dog");
    assert_words("U.S.A. an' the",
                 "usa"); /* punctuation is removed first: then an, the are words */
    assert_words("then another atheist", "then another atheist");
    assert_words("a_b the_c", "ab thec"); /* the underscore is punctuation */
    assert_words("\xE2\x80\x9Cthe\xE2\x80\x9D", "\xE2\x80\x9C \xE2\x80\x9D"); /* quotes are not */
    assert_words("a\xC3\xA9 \xC3\xA9"
                 "a a\xC2\xB2",
                 "a\xC3\xA9 \xC3\xA9"
                 "a a\xC2\xB2");
    assert_words("A\xCC\x81", "\xCC\x81"); /* a mark is not part of a word for re */
    assert_words("", "");
    assert_words("!?", "");
    assert_words("the an a", "");
}

/* UTF-8 of a code point that is not a surrogate, ended by NUL. */
static const char *encode(int32_t c, char text[5])
{
    static const int shifts[]         = {0, 6, 12, 18};
    static const unsigned char lead[] = {0, 0xC0, 0xE0, 0xF0};
    int more                          = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;

    for (int i = 0; i <= more; i++) {
        int32_t bits = c >> shifts[more - i];
        text[i]      = (char)(i == 0 ? lead[more] | bits : 0x80 | (bits & 0x3F));
    }
    text[more + 1] = '\0';
    return text;
}

/* An article before a character that is a word for re stays; the underscore has been removed by
 * then. */
static void an_article_ends_where_no_word_character_follows(void **state)
{
    (void)state;
    for (int32_t c = 1; c < 0x110000; c++) {
        char text[16] = "the", character[5];
        answer_text a = {0};
        if (c >= 0xD800 && c < 0xE000) {
            continue;
        }
        strcat(strcat(text, encode(c, character)), " x");
        assert_ok(answer_text_make(text, &a));
        bool keeps = strncmp(a.words, "the", 3) == 0;
        if (keeps != (pb_str_is_word(c) && c != '_')) {
            fail_msg("U+%04X: \"%s\"", (unsigned)c, a.words);
        }
        answer_text_clear(&a);
    }
}

static double f1_of(const char *prediction, const char *answer)
{
    answer_text p = {0}, a = {0};

    assert_ok(answer_text_make(prediction, &p));
    assert_ok(answer_text_make(answer, &a));
    double f1 = answer_text_f1(&p, &a);
    answer_text_clear(&p);
    answer_text_clear(&a);
    return f1;
}

static void words_are_shared_as_often_as_both_have_them(void **state)
{
    (void)state;
    assert_true(fabs(f1_of("New York", "New York City") - 0.8) < 1e-15);
    assert_true(fabs(f1_of("real real madrid", "Madrid Real") - 0.8) < 1e-15);
    assert_true(fabs(f1_of("b b b", "b b") - 0.8) < 1e-15);
    assert_true(f1_of("x", "y") == 0);
    assert_true(f1_of("", "the") == 0);
}

typedef struct question_rows {
    const char *predictions[3], *references[3], *ids[3];
    const char *const *alternatives[3];
    pb_metric_input input;
} question_rows;

static const char *const two_answers[] = {"West Brom", "West Bromwich Albion", NULL};
static const char *const one_answer[]  = {"Kansas", NULL};
static const char *const no_answer[]   = {NULL};

/* Two rows of one question, one of another. */
static void make_rows(question_rows *rows, pb_protocol protocol)
{
    *rows = (question_rows){
        .predictions  = {"Albion", "West Brom", "Kansas City"},
        .references   = {"West Brom", "West Bromwich Albion", "Kansas"},
        .ids          = {"0-0", "0-0", "0-1"},
        .alternatives = {two_answers, two_answers, one_answer},
    };
    rows->input = (pb_metric_input){
        .protocol     = protocol,
        .predictions  = rows->predictions,
        .references   = rows->references,
        .ids          = rows->ids,
        .alternatives = rows->alternatives,
        .rows         = 3,
    };
}

#define ASSERT_NEAR(got, wanted) assert_true(fabs((got) - (wanted)) < 1e-15)

static void one_row_stands_for_a_question_when_corrected_and_the_last_for_all_in_paper(void **state)
{
    question_rows rows;
    pb_metric_result r = {0};

    (void)state;
    make_rows(&rows, PB_PROTOCOL_CORRECTED);
    assert_ok(pb_metric_score("record", &rows.input, &r));
    assert_string_equal(r.main_name, "f1");
    ASSERT_NEAR(r.main, (0.5 + 2 / 3.0) / 2); /* 1 of 1 and 1 of 3 words; 1 of 2 and 1 of 1 */
    ASSERT_NEAR(metric_value(&r, "exact_match"), 0);
    ASSERT_NEAR(metric_value(&r, "queries"), 2);
    ASSERT_NEAR(metric_value(&r, "rows"), 3);
    ASSERT_NEAR(r.row_values[0], 0.5);
    ASSERT_NEAR(r.row_values[1], 1);
    ASSERT_NEAR(r.row_values[2], 2 / 3.0);
    assert_true(!r.correct[0] && r.correct[1] && !r.correct[2]);
    pb_metric_result_clear(&r);
    rows.input.protocol = PB_PROTOCOL_PAPER;
    assert_ok(pb_metric_score("record", &rows.input, &r));
    ASSERT_NEAR(r.main, (1 + 1 + 2 / 3.0) / 3);
    ASSERT_NEAR(metric_value(&r, "exact_match"), 2 / 3.0);
    ASSERT_NEAR(r.row_values[0], 0.5); /* a row by itself is not replaced */
    pb_metric_result_clear(&r);
}

static void without_ids_and_alternatives_every_row_is_a_question_with_one_answer(void **state)
{
    question_rows rows;
    pb_metric_result r = {0};

    (void)state;
    make_rows(&rows, PB_PROTOCOL_CORRECTED);
    rows.input.ids          = NULL;
    rows.input.alternatives = NULL;
    assert_ok(pb_metric_score("record", &rows.input, &r));
    ASSERT_NEAR(r.main, (0 + 0.4 + 2 / 3.0) / 3);
    ASSERT_NEAR(metric_value(&r, "queries"), 3);
    pb_metric_result_clear(&r);
}

static void rows_without_a_right_answer_are_refused(void **state)
{
    question_rows rows;
    pb_metric_result r         = {0};
    const char *const broken[] = {"ab\xff", NULL};

    (void)state;
    make_rows(&rows, PB_PROTOCOL_CORRECTED);
    rows.alternatives[2] = no_answer;
    assert_error(pb_metric_score("record", &rows.input, &r), PB_ERR_FORMAT,
                 "row 2: the row has no right answer");
    rows.alternatives[2] = broken;
    assert_error(pb_metric_score("record", &rows.input, &r), PB_ERR_FORMAT,
                 "row 2: a right answer is not UTF-8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_compared_as_words_without_articles_and_punctuation),
        cmocka_unit_test(an_article_ends_where_no_word_character_follows),
        cmocka_unit_test(words_are_shared_as_often_as_both_have_them),
        cmocka_unit_test(
            one_row_stands_for_a_question_when_corrected_and_the_last_for_all_in_paper),
        cmocka_unit_test(without_ids_and_alternatives_every_row_is_a_question_with_one_answer),
        cmocka_unit_test(rows_without_a_right_answer_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, returns_all_bytes);
}
