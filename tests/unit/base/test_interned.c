// SPDX-License-Identifier: Apache-2.0
/* Byte strings by number. */
#include "pb/interned.h"
#include "pb/memory.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

static void numbers_follow_the_first_appearance(void **state)
{
    size_t before     = pb_memory_current();
    pb_interned texts = {0};
    int32_t number    = -1;
    size_t length     = 0;
    char text[16];

    (void)state;
    assert_int_equal(pb_interned_find(&texts, "0", 1), -1);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 1000; i++) {
            int bytes = snprintf(text, sizeof text, "%d", i);
            assert_int_equal(pb_interned_add(&texts, text, (size_t)bytes, &number), PB_OK);
            assert_int_equal(number, i);
            assert_int_equal(pb_interned_find(&texts, text, (size_t)bytes), i);
            assert_memory_equal(pb_interned_bytes(&texts, i, &length), text, (size_t)bytes);
            assert_int_equal(length, bytes);
        }
        assert_int_equal(texts.count, 1000);
    }
    assert_int_equal(pb_interned_find(&texts, "1000", 4), -1);
    pb_interned_clear(&texts);
    assert_int_equal(pb_memory_current(), before);
    assert_int_equal(texts.count, 0);
    assert_int_equal(pb_interned_find(&texts, "0", 1), -1);
}

/* A zero byte is one like any other, and the empty string is not the absence of one. */
static void the_length_belongs_to_the_string(void **state)
{
    static const char zeros[1000];
    pb_interned texts = {0};
    int32_t number    = -1;
    size_t length     = 7;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(pb_interned_add(&texts, zeros, (size_t)i + 1, &number), PB_OK);
        assert_int_equal(number, i);
    }
    assert_int_equal(pb_interned_find(&texts, NULL, 0), -1);
    assert_int_equal(pb_interned_add(&texts, NULL, 0, &number), PB_OK);
    assert_int_equal(number, 1000);
    assert_non_null(pb_interned_bytes(&texts, 1000, &length));
    assert_int_equal(length, 0);
    pb_interned_clear(&texts);
}

static void lists_are_compared_by_their_numbers(void **state)
{
    const int32_t first[] = {1, 2, 3}, second[] = {1, 2, 4};
    pb_interned lists = {0};
    int32_t number    = -1;
    int64_t count     = 0;

    (void)state;
    assert_int_equal(pb_interned_add_list(&lists, first, 3, &number), PB_OK);
    assert_int_equal(pb_interned_add_list(&lists, second, 3, &number), PB_OK);
    assert_int_equal(number, 1);
    assert_int_equal(pb_interned_add_list(&lists, second, 2, &number), PB_OK);
    assert_int_equal(number, 2);
    assert_memory_equal(pb_interned_list(&lists, 1, &count), second, sizeof second);
    assert_int_equal(count, 3);
    pb_interned_clear(&lists);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_follow_the_first_appearance),
        cmocka_unit_test(the_length_belongs_to_the_string),
        cmocka_unit_test(lists_are_compared_by_their_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
