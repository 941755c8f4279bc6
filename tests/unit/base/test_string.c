// SPDX-License-Identifier: Apache-2.0
/* The growing text, JSON quoting, nearest names. */
#include "pb/string.h"
#include "pb/memory.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

static void text_grows_and_gives_its_memory_back(void **state)
{
    pb_string s     = {0};
    size_t before   = pb_memory_current();
    size_t expected = 0;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(pb_string_printf(&s, "%d,", i), PB_OK);
        expected += (size_t)snprintf(NULL, 0, "%d,", i);
    }
    assert_int_equal(s.length, expected);
    assert_int_equal(strlen(s.data), expected);
    assert_int_equal(strncmp(s.data, "0,1,2,3,", 8), 0);
    assert_string_equal(s.data + expected - 4, "999,");
    pb_string_clear(&s);
    assert_null(s.data);
    assert_int_equal(s.length, 0);
    assert_int_equal(pb_memory_current(), before);
    pb_string_clear(&s);
}

static void empty_and_binary_pieces_are_kept(void **state)
{
    pb_string s = {0};

    (void)state;
    assert_int_equal(pb_string_append(&s, NULL, 0), PB_OK);
    assert_string_equal(s.data, "");
    assert_int_equal(pb_string_append(&s, "a\0b", 3), PB_OK);
    assert_int_equal(pb_string_puts(&s, "c"), PB_OK);
    assert_int_equal(s.length, 4);
    assert_memory_equal(s.data, "a\0bc", 5);
    pb_string_clear(&s);
}

static void a_failed_append_leaves_the_text_as_it_was(void **state)
{
    pb_string s = {0};
    char large[4096];

    (void)state;
    memset(large, 'x', sizeof large);
    assert_int_equal(pb_string_puts(&s, "kept"), PB_OK);
    pb_memory_limit(pb_memory_current() + 16);
    assert_int_equal(pb_string_append(&s, large, sizeof large), PB_ERR_MEMORY);
    assert_int_equal(pb_string_printf(&s, "%4000d", 1), PB_ERR_MEMORY);
    pb_memory_limit(0);
    assert_string_equal(s.data, "kept");
    assert_int_equal(s.length, 4);
    assert_int_equal(pb_string_append(&s, large, SIZE_MAX - 2), PB_ERR_MEMORY);
    assert_string_equal(s.data, "kept");
    pb_string_clear(&s);
}

static void assert_json(const char *bytes, size_t length, const char *expected)
{
    pb_string s = {0};

    assert_int_equal(pb_string_json(&s, bytes, length), PB_OK);
    assert_string_equal(s.data, expected);
    pb_string_clear(&s);
}

static void json_text_is_quoted_and_always_valid(void **state)
{
    (void)state;
    assert_json("", 0, "\"\"");
    assert_json("a\"b\\c/", 6, "\"a\\\"b\\\\c/\"");
    assert_json("\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\"");
    assert_json("\0\x01\x1f\x7f", 4, "\"\\u0000\\u0001\\u001f\x7f\"");
    assert_json("\xC3\xA9\xF0\x9F\x98\x80", 6, "\"\xC3\xA9\xF0\x9F\x98\x80\"");
    /* One replacement per longest start of a sequence, as Unicode recommends. */
    assert_json("a\xFF"
                "b",
                3,
                "\"a\xEF\xBF\xBD"
                "b\"");
    assert_json("\xF0\x9F\x98", 3, "\"\xEF\xBF\xBD\"");
    assert_json("\xE2\x82"
                "A",
                3,
                "\"\xEF\xBF\xBD"
                "A\"");
    assert_json("\xED\xA0\x80", 3, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

static void the_nearest_name_is_found_or_none(void **state)
{
    static const char *const names[] = {
        "lora", "ia3", "lntuning", "prompt-tuning", "prefix", "none", "bitfit", "dropout", NULL};
    char endless[500];

    (void)state;
    assert_string_equal(pb_string_nearest("lroa", names), "lora");
    assert_string_equal(pb_string_nearest("LoRA", names), "lora");
    assert_string_equal(pb_string_nearest("lora", names), "lora");
    assert_string_equal(pb_string_nearest("bit_fit", names), "bitfit");
    assert_string_equal(pb_string_nearest("prompt_tunnig", names), "prompt-tuning");
    assert_string_equal(pb_string_nearest("dropuot", names), "dropout");
    assert_null(pb_string_nearest("quantisation", names));
    assert_null(pb_string_nearest("xy", names));
    assert_null(pb_string_nearest("", names));
    memset(endless, 'a', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    assert_null(pb_string_nearest(endless, names));
}

static void names_are_compared_one_by_one(void **state)
{
    (void)state;
    assert_null(pb_string_nearer("lroa", NULL, "bitfit"));
    assert_string_equal(pb_string_nearer("lroa", NULL, "lora"), "lora");
    assert_string_equal(pb_string_nearer("lroa", "lora", "lorax"), "lora");
    assert_string_equal(pb_string_nearer("lroa", "lorax", "lora"), "lora");
    assert_string_equal(pb_string_nearer("lroa", "lora", "Lora"),
                        "lora"); /* the first of equally near ones */
}

static void ill_formed_parts_are_replaced_one_by_one(void **state)
{
    pb_string s = {0};

    (void)state;
    assert_int_equal(pb_string_utf8(&s, "a\xFF\xE2\x82z\xC3\xA9\xF0\x9F", 9), PB_OK);
    assert_string_equal(s.data, "a\xEF\xBF\xBD\xEF\xBF\xBDz\xC3\xA9\xEF\xBF\xBD");
    pb_string_clear(&s);
    assert_int_equal(pb_string_utf8(&s, "", 0), PB_OK);
    assert_int_equal(s.length, 0);
    pb_string_clear(&s);
}

static void beginnings_and_ends_are_compared_whole(void **state)
{
    (void)state;
    assert_true(pb_string_begins("model.norm", "model."));
    assert_true(pb_string_begins("", "") && pb_string_ends("", ""));
    assert_false(pb_string_begins("mod", "model."));
    assert_false(pb_string_begins("a model.", "model."));
    assert_true(pb_string_ends("model.norm", ".norm"));
    assert_false(pb_string_ends("norm", ".norm"));
    assert_false(pb_string_ends("model.norm.", ".norm"));
}

static void texts_are_sorted_by_their_bytes(void **state)
{
    const char *texts[] = {"b", "", "\xC3\xA9", "B", "ab", "b"};

    (void)state;
    pb_string_sort(texts, 6);
    for (int i = 1; i < 6; i++) {
        assert_true(strcmp(texts[i - 1], texts[i]) <= 0);
    }
    assert_string_equal(texts[0], "");
    assert_string_equal(texts[5], "\xC3\xA9");
    pb_string_sort(NULL, 0);
}

static void a_hint_names_the_nearest_and_all(void **state)
{
    static const char *const names[] = {"lora", "ia3", "full", NULL};
    static const char *const none[]  = {NULL};
    const char *many[301]            = {NULL};
    char text[PB_HINT_BYTES];

    (void)state;
    assert_string_equal(pb_string_hint(text, "lorra", names),
                        "; did you mean \"lora\"? Known: lora, ia3, full");
    assert_string_equal(pb_string_hint(text, "zzzzzzzz", names), "; known: lora, ia3, full");
    assert_string_equal(pb_string_hint(text, "zzzzzzzz", none), "");
    for (int i = 0; i < 300; i++) {
        many[i] = "a-name-of-some-length";
    }
    pb_string_hint(text, "zzzzzzzz", many);
    assert_true(strlen(text) < PB_HINT_BYTES);
    assert_string_equal(text + strlen(text) - 10, "ength, ...");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hint_names_the_nearest_and_all),
        cmocka_unit_test(text_grows_and_gives_its_memory_back),
        cmocka_unit_test(empty_and_binary_pieces_are_kept),
        cmocka_unit_test(a_failed_append_leaves_the_text_as_it_was),
        cmocka_unit_test(json_text_is_quoted_and_always_valid),
        cmocka_unit_test(ill_formed_parts_are_replaced_one_by_one),
        cmocka_unit_test(the_nearest_name_is_found_or_none),
        cmocka_unit_test(names_are_compared_one_by_one),
        cmocka_unit_test(beginnings_and_ends_are_compared_whole),
        cmocka_unit_test(texts_are_sorted_by_their_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
