// SPDX-License-Identifier: Apache-2.0
/* Comment removal: the rules one by one, and malicious texts. */
#include "codebleu/strip.h"
#include "support.h"

#include "pb/memory.h"

#include <stdlib.h>
#include <string.h>

static void check(const char *text, const char *wanted, bool fails)
{
    pb_string out = {0};
    bool failed   = !fails;

    assert_ok(code_strip(text, strlen(text), &out, &failed));
    assert_string_equal(out.data, wanted);
    assert_int_equal(out.length, strlen(wanted));
    assert_int_equal(failed, fails);
    pb_string_clear(&out);
}

static void comments_go_and_leave_the_spaces_before_them(void **state)
{
    (void)state;
    check("x = 1  # one\n", "x = 1  ", false);
    check("# first\n\nx\t=\f1 # é\n", "x = 1 ", false);
    check("u = 'a # b' # é\n", "u = 'a # b' ", false);
}

static void docstrings_go_where_a_statement_begins_or_a_line(void **state)
{
    (void)state;
    check("def f():\n    '''doc\n    more'''\n    return 'x'\n", "def f():\n    return 'x'", false);
    check("'a' 'b'\n", " 'b'", false);
    check("x = [\n'gone',\n 'kept']\n", "x = [\n,\n 'kept']", false);
    check("x = 1; 'kept'\n", "x = 1; 'kept'", false);
}

static void numbers_end_where_a_prefix_of_a_string_begins(void **state)
{
    (void)state;
    check("x = [1,\n0b'#' ]# c", "x = [1,\n0b'#' ]", false);
    check("y = 0xfb'#' # c", "y = 0xfb'#' ", false);
    check("z = 1_0.5e-3jr'#' # c", "z = 1_0.5e-3jr'#' ", false);
    check("w = ...0b'#' # c", "w = ...0b'#' ", false);
}

static void strings_may_go_on_in_the_next_line(void **state)
{
    (void)state;
    check("s = 'a\\\nb' # c", "s = 'a\\\nb' ", false);
    check("s = 'a\\\r\nb' # c", "s = 'a\\\r\nb' ", false);
    check("s = 'a\\\nb # c\nt # d", "s = 'a\\\nb # c\nt ", false);
    check("s = \"\"\"a\\\"\"\"# b\n\"\"\"# c", "s = \"\"\"a\\\"\"\"# b\n\"\"\"", false);
}

static void a_text_that_the_tokenizer_refuses_stays_as_it_is(void **state)
{
    static const char *const texts[] = {
        "x = (1 # c",
        "x = 1) # c",
        "'''a # c",
        "s = 'a\\\n",
        "x \\\n",
        "if a:\n        b # c\n    c",
        "if a:\n\tb\n    c # c",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        check(texts[i], texts[i], true);
    }
}

static void long_texts_take_linear_time(void **state)
{
    enum { SIZE = 1 << 20 };
    char *text = malloc(SIZE + 1);
    (void)state;

    for (const char *fill = " ('\"\\$#\n\t"; *fill != '\0'; fill++) {
        pb_string out = {0};
        bool failed   = false;
        memset(text, *fill, SIZE);
        memcpy(text + SIZE - 2, "$x", 3);
        assert_ok(code_strip(text, SIZE, &out, &failed));
        pb_string_clear(&out);
    }
    free(text);
    assert_int_equal(pb_memory_current(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comments_go_and_leave_the_spaces_before_them),
        cmocka_unit_test(docstrings_go_where_a_statement_begins_or_a_line),
        cmocka_unit_test(numbers_end_where_a_prefix_of_a_string_begins),
        cmocka_unit_test(strings_may_go_on_in_the_next_line),
        cmocka_unit_test(a_text_that_the_tokenizer_refuses_stays_as_it_is),
        cmocka_unit_test(long_texts_take_linear_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
