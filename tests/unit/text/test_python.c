// SPDX-License-Identifier: Apache-2.0
/* Case conversion and expressions against the results of Python 3.11 for the same texts. */
#include "../../support/support.h"

#include "pb/python.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static void assert_capitalized(const char *text, const char *expected)
{
    pb_string out = {0};

    assert_ok(pb_string_puts(&out, ""));
    assert_ok(pb_str_capitalize(text, strlen(text), &out));
    assert_string_equal(out.data, expected);
    pb_string_clear(&out);
}

static void capitalize_maps_the_first_character_to_title_case_and_lowers_the_rest(void **state)
{
    (void)state;
    assert_capitalized("", "");
    assert_capitalized("he USES a BBQ", "He uses a bbq");
    assert_capitalized("\u00e9lise PARLE", "\u00c9lise parle");
    assert_capitalized("1ST", "1st");
    assert_capitalized("\u00df\u00c4", "Ss\u00e4");
    assert_capitalized("\ufb03X", "Ffix");
    assert_capitalized("\u01c6", "\u01c5");    /* dz with caron has a separate title form */
    assert_capitalized("x\u0130", "Xi\u0307"); /* capital I with dot above */
    assert_capitalized("\u03c3\u03a3", "\u03a3\u03c2"); /* a final sigma sees the first letter */
    assert_capitalized("\U0001f600A", "\U0001f600a");
}

/* Bytes matched from `at`, -1 for none. */
static int match(const char *regex, const char *text, size_t at)
{
    bool found = true;
    size_t end = 0;

    assert_ok(pb_re_match_at(regex, text, at, &found, &end));
    return found ? (int)(end - at) : -1;
}

static void expressions_match_as_pythons_do(void **state)
{
    (void)state;
    assert_int_equal(match("Mr. S", "Mr. Smith", 0), 5);
    assert_int_equal(match("Mr. S", "Mrs Smith", 0), 5); /* "." is any character */
    assert_int_equal(match("Mr.", "Mr\n", 0), -1);       /* but a line feed */
    assert_int_equal(match("C++", "The C++", 4), 1);     /* possessive */
    assert_int_equal(match("C++C", "CCC", 0), -1);
    assert_int_equal(match("Ann (the cook)", "Ann (the cook)", 0), -1);
    assert_int_equal(match("Ann (the cook)", "Ann the cook", 0), 12);
    assert_int_equal(match("a|ab", "ab", 0), 1);
    assert_int_equal(match("ab??", "ab", 0), 1);
    assert_int_equal(match("a{2}", "aaa", 0), 2);
    assert_int_equal(match("a{,2}", "aaa", 0), 2);
    assert_int_equal(match("a{,}", "aaa", 0), 3);
    assert_int_equal(match("a{}", "a{}", 0), 3);
    assert_int_equal(match("a{x}", "a{x}", 0), 4);
    assert_int_equal(match("{1", "{1", 0), 2);
    assert_int_equal(match("[]x]*", "]x]y", 0), 3);
    assert_int_equal(match("[^]]", "\n", 0), 1);
    assert_int_equal(match("[[:alpha:]]", "a]", 0), 2); /* a set of "[:alph" and then "]" */
    assert_int_equal(match("[:,:]a", ",a", 0), 2);
    assert_int_equal(match("[a-c-]+", "b-d", 0), 2);
    assert_int_equal(match("[\u00e0-\u00e9]", "\u00e8", 0), 2);
    assert_int_equal(match("^b", "ab", 1), -1); /* the beginning is that of the text */
    assert_int_equal(match("b$", "ab\n", 1), 1);
    assert_int_equal(match("", "x", 1), 0);
    assert_int_equal(match("x()", "x", 0), 1);
    assert_int_equal(match("a]}", "a]}", 0), 3);
    assert_int_equal(match("\\d+\\.", "12.", 0), 3);
    assert_int_equal(match("\\.", "a", 0), -1);
    assert_int_equal(match("\\d", "\u0663", 0), 2); /* a digit of another script */
    assert_int_equal(match("\\w+", "a\u00e9_1-", 0), 5);
    assert_int_equal(match("\\s", "\x1c", 0), 1); /* white space in Python, not in C */
    assert_int_equal(match("[\\w.]+", "a.1/", 0), 3);
    assert_int_equal(match("[^\\d.]+", "ab.1", 0), 2);
    assert_int_equal(match("[\\d-]+", "1-2", 0), 3);
    assert_int_equal(match("[\\]\\-a]+", "a-]", 0), 3);
    assert_int_equal(match("\\W\\S\\D", ".ab", 0), 3);
    assert_int_equal(match("a\\b.\\Bb", "a.b", 0), -1);
    assert_int_equal(match("a\\b.\\bb\\Z", "a.b", 0), 3);
    assert_int_equal(match("b\\Z", "b\n", 0), -1);
    assert_int_equal(match("\\n\\t", "\n\t", 0), 2);
    assert_int_equal(match("\\\u00e9", "\u00e9", 0), 2);
    assert_int_equal(match("(?:ab)+c", "ababc", 0), 5);
    assert_int_equal(match("(?P<n>a|b){2}", "ba", 0), 2);
    assert_int_equal(match("(?!x)a(?=b)", "ab", 0), 1);
    assert_int_equal(match("(?<=a)b(?<!c)", "ab", 1), 1);
}

static bool full(const char *regex, const char *text)
{
    pb_re_set *set = NULL;
    bool found     = false;
    assert_ok(pb_re_set_create(&set));
    for (int i = 0; i < 2; i++) { /* compiled, and found again */
        assert_ok(pb_re_fullmatch(set, "", regex, "", text, &found));
    }
    pb_re_set_destroy(set);
    return found;
}

static void a_full_match_is_of_the_whole_text(void **state)
{
    (void)state;
    assert_true(full(".*\\.(q|v)_proj", "model.layers.0.self_attn.q_proj"));
    assert_false(full(".*\\.(q|v)_proj", "model.layers.0.self_attn.q_proj.x"));
    assert_false(full("(q|v)_proj", "model.layers.0.self_attn.q_proj"));
    assert_true(full("a|ab", "ab")); /* it continues where the first alternative is too short */
    assert_true(full("a??b??", "ab"));
    assert_false(full("b$", "b\n"));
    assert_true(full("", ""));
}

static void what_surrounds_an_expression_is_matched_but_not_shown(void **state)
{
    pb_re_set *set = NULL;
    bool found     = false;

    (void)state;
    assert_ok(pb_re_set_create(&set));
    assert_ok(pb_re_fullmatch(set, "(.*\\.)?(", "q|v", ")_proj", "layers.0.v_proj", &found));
    assert_true(found);
    assert_ok(pb_re_fullmatch(set, "(", "q|v", ")_proj", "layers.0.v_proj", &found));
    assert_false(found);
    assert_error(pb_re_fullmatch(set, "(.*\\.)?(", "(q", ")", "q", &found), PB_ERR_FORMAT,
                 "the regular expression \"(q\" has a ( without its ) (byte 2)");
    assert_error(pb_re_fullmatch(set, "(.*\\.)?(", "a*b\\q", ")", "q", &found), PB_ERR_FORMAT,
                 "the regular expression \"a*b\\q\" has a backslash before a letter or digit that "
                 "is not supported here (byte 3)");
    pb_re_set_destroy(set);
}

/* Each match alone is far from its bound. */
static void all_matches_of_a_set_have_one_bound(void **state)
{
    const char *text = "model.layers.0.self_attn.q_proj.model.layers.0.self_attn.q_proj";
    pb_re_set *set   = NULL;
    pb_status status = PB_OK;
    bool found       = false;

    (void)state;
    assert_ok(pb_re_set_create(&set));
    for (int i = 0; i < 10000 && status == PB_OK; i++) {
        status = pb_re_fullmatch(set, "", ".*.*.*[!?]", "", text, &found);
        assert_false(found);
    }
    assert_error(status, PB_ERR_FORMAT, "more than 50000000 steps; give fewer or simpler ones");
    pb_re_set_destroy(set);
}

static void assert_refused(const char *regex, const char *text, const char *why)
{
    bool found = false;
    size_t end = 0;

    assert_error(pb_re_match_at(regex, text, 0, &found, &end), PB_ERR_FORMAT, why);
    assert_false(found);
}

static void expressions_that_python_refuses_or_are_not_read_say_why(void **state)
{
    char deep[2001];

    (void)state;
    assert_refused("*a", "a", "repeats nothing");
    assert_refused("(*ACCEPT)", "a", "repeats nothing (byte 1)");
    assert_refused("^*", "a", "repeats nothing");
    assert_refused("a|+", "a", "repeats nothing");
    assert_refused("a**", "a", "repeats a repetition");
    assert_refused("a{1}{2}", "a", "repeats a repetition");
    assert_refused("a+++", "a", "repeats a repetition");
    assert_refused(":)", "a", "a ) without its (");
    assert_refused("(a", "a", "a ( without its )");
    assert_refused("[a", "a", "a [ without its ]");
    assert_refused("[]", "a", "a [ without its ]");
    assert_refused("[a-", "a", "a [ without its ]");
    assert_refused("[z-a]", "a", "range out of order");
    assert_refused("a{3,2}", "a", "out of order");
    assert_refused("a{65536}", "a", "too big");
    assert_refused("(a)\\1", "aa", "backslash");
    assert_refused("\\q", "q", "backslash");
    assert_refused("[\\W]", "1", "backslash");
    assert_refused("a\\", "a", "ends in a backslash");
    assert_refused("[a-\\d]", "1", "a class as its end");
    assert_refused("[\\d-a]", "1", "a class as its end");
    assert_refused("\\b*", "1", "repeats nothing");
    assert_refused("(?<=a*)b", "b", "lookbehind");
    assert_refused("(?P<n", "b", "(?");
    assert_refused("(?R)", "a", "(?");
    memset(deep, '(', 1000);
    memset(deep + 1000, ')', 1000);
    deep[2000] = '\0';
    assert_refused(deep, "a", "too deeply nested");
}

static void an_expression_that_backtracks_without_end_is_stopped(void **state)
{
    (void)state;
    assert_refused("(a+)+$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
                   "match limit exceeded");
}

/* The time to read an expression grows with its length, not with the square of it. */
static void a_very_long_expression_is_refused_at_once(void **state)
{
    (void)state;
    enum { LENGTH = 2000000 };
    char *regex     = malloc(LENGTH + 1);
    clock_t started = clock();
    assert_non_null(regex);
    memset(regex, 'x', LENGTH);
    regex[LENGTH] = '\0';
    assert_refused(regex, "x", "too large");
    assert_true(clock() - started < 10 * CLOCKS_PER_SEC);
    free(regex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(capitalize_maps_the_first_character_to_title_case_and_lowers_the_rest),
        cmocka_unit_test(expressions_match_as_pythons_do),
        cmocka_unit_test(a_full_match_is_of_the_whole_text),
        cmocka_unit_test(what_surrounds_an_expression_is_matched_but_not_shown),
        cmocka_unit_test(all_matches_of_a_set_have_one_bound),
        cmocka_unit_test(expressions_that_python_refuses_or_are_not_read_say_why),
        cmocka_unit_test(an_expression_that_backtracks_without_end_is_stopped),
        cmocka_unit_test(a_very_long_expression_is_refused_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, returns_all_bytes);
}
