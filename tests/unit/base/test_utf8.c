// SPDX-License-Identifier: Apache-2.0
/* Checking, stepping, cutting and counting of UTF-8. */
#include "pb/utf8.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

/* a, plus-minus, arrow, grinning face: characters of 1, 2, 3 and 4 bytes. */
static const char four[]     = "a\xC2\xB1\xE2\x86\x92\xF0\x9F\x98\x80";
static const size_t starts[] = {0, 1, 3, 6, 10};
static const int32_t codes[] = {'a', 0xB1, 0x2192, 0x1F600};

static void utf8_is_checked_to_the_byte(void **state)
{
    static const struct {
        const char *bytes;
        int valid;
        size_t bad_offset;
    } cases[] = {
        {"", 1, 0},
        {"plain", 1, 0},
        {"\xC2\x80\xDF\xBF", 1, 0},
        {"\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF", 1, 0},
        {"\xF0\x90\x80\x80\xF4\x8F\xBF\xBF", 1, 0},
        {"ab\x80", 0, 2},               /* a lone continuation */
        {"\xC0\xAF", 0, 0},             /* overlong, two bytes */
        {"\xC1\xBF", 0, 0},             /* overlong, two bytes */
        {"\xE0\x9F\xBF", 0, 0},         /* overlong, three bytes */
        {"\xF0\x8F\xBF\xBF", 0, 0},     /* overlong, four bytes */
        {"a\xED\xA0\x80", 0, 1},        /* a surrogate */
        {"\xF4\x90\x80\x80", 0, 0},     /* beyond U+10FFFF */
        {"\xF5\x80\x80\x80", 0, 0},     /* never a lead byte */
        {"x\xC3", 0, 1},                /* cut off */
        {"xy\xE2\x82", 0, 2},           /* cut off */
        {"\xC3\xA9\xF0\x9F\x98", 0, 2}, /* cut off */
        {"\xE2\x28\xA1", 0, 0},         /* no continuation */
        {"\xFE", 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t bad   = 0;
        size_t bytes = strlen(cases[i].bytes);
        assert_int_equal(pb_utf8_is_valid(cases[i].bytes, bytes, &bad), cases[i].valid);
        assert_int_equal(bad, cases[i].bad_offset);
        assert_int_equal(pb_utf8_is_valid(cases[i].bytes, bytes, NULL), cases[i].valid);
    }
    assert_true(pb_utf8_is_valid("a\0b", 3, NULL));
}

static void an_ill_formed_part_is_the_longest_start_of_a_character(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
    } cases[] = {{"\xFF\xFF", 1},
                 {"\x80\x80", 1},
                 {"\xE2\x82"
                  "A",
                  2},
                 {"\xF0\x9F\x98"
                  "A",
                  3},
                 {"\xED\xA0\x80", 1},
                 {"\xF4\x90\x80\x80", 1}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t size = 0;
        assert_false(pb_utf8_next(cases[i].bytes, strlen(cases[i].bytes), &size));
        assert_int_equal(size, cases[i].size);
    }
}

static void characters_are_counted_and_not_bytes(void **state)
{
    (void)state;
    assert_int_equal(pb_utf8_count(four, strlen(four)), 4);
    assert_int_equal(pb_utf8_count(four, 3), 2);
    assert_int_equal(pb_utf8_count(four, 0), 0);
    assert_int_equal(pb_utf8_count("\0\0", 2), 2);
}

static void characters_are_stepped_over_both_ways(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        size_t next = 0, size = 0;
        assert_true(pb_utf8_next(four + starts[i], strlen(four) - starts[i], &next));
        assert_int_equal(pb_utf8_decode(four + starts[i], &size), codes[i]);
        assert_int_equal(size, starts[i + 1] - starts[i]);
        assert_int_equal(next, size);
        assert_int_equal(pb_utf8_size(four[starts[i]]), size);
        assert_int_equal(pb_utf8_before(four, starts[i + 1]), starts[i]);
        for (size_t at = starts[i]; at < starts[i + 1]; at++) {
            assert_int_equal(pb_utf8_floor(four, at), starts[i]);
            assert_int_equal(pb_utf8_continues(four[at]), at != starts[i]);
        }
    }
    assert_int_equal(pb_utf8_floor(four, strlen(four)), strlen(four));
    assert_int_equal(pb_utf8_floor("\x80\x80", 1), 0);
}

static void a_text_is_cut_at_a_whole_character(void **state)
{
    static const int fits[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};

    (void)state;
    for (size_t most = 0; most < sizeof fits / sizeof fits[0]; most++) {
        assert_int_equal(pb_utf8_fit(four, most), fits[most]);
    }
    assert_int_equal(pb_utf8_fit("", 5), 0);
}

static void what_is_encoded_is_decoded(void **state)
{
    static const int32_t borders[] = {0,      0x7F,   0x80,   0x7FF,   0x800,
                                      0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF};

    (void)state;
    for (size_t i = 0; i < sizeof borders / sizeof borders[0]; i++) {
        char bytes[4];
        size_t size = 0, length = pb_utf8_encode(borders[i], bytes);
        assert_true(pb_utf8_is_valid(bytes, length, NULL));
        assert_int_equal(pb_utf8_decode(bytes, &size), borders[i]);
        assert_int_equal(size, length);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_is_checked_to_the_byte),
        cmocka_unit_test(an_ill_formed_part_is_the_longest_start_of_a_character),
        cmocka_unit_test(characters_are_counted_and_not_bytes),
        cmocka_unit_test(characters_are_stepped_over_both_ways),
        cmocka_unit_test(a_text_is_cut_at_a_whole_character),
        cmocka_unit_test(what_is_encoded_is_decoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
