// SPDX-License-Identifier: Apache-2.0
/* Accounted memory: contents, alignment, counting, limits, failures, threads. */
#include "pb/memory.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <string.h>

static void blocks_are_zeroed_aligned_and_counted(void **state)
{
    size_t before = pb_memory_current();

    (void)state;
    for (size_t bytes = 1; bytes < 3000000; bytes = bytes * 3 + 1) {
        unsigned char *block = pb_memory_new(bytes, 1);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % 64, 0);
        assert_int_equal(pb_memory_current(), before + bytes);
        for (size_t i = 0; i < bytes; i++) {
            assert_int_equal(block[i], 0);
        }
        memset(block, 0xAB, bytes);
        pb_memory_free(block);
        assert_int_equal(pb_memory_current(), before);
    }
    pb_memory_free(NULL);
}

static void a_count_of_zero_gives_a_unique_pointer(void **state)
{
    (void)state;
    void *a = pb_memory_new(0, 8);
    void *b = pb_memory_new(8, 0);
    assert_non_null(a);
    assert_non_null(b);
    assert_ptr_not_equal(a, b);
    pb_memory_free(a);
    pb_memory_free(b);
}

static void resizing_keeps_the_contents_and_zeroes_the_rest(void **state)
{
    size_t before = pb_memory_current();

    (void)state;
    int32_t *block = pb_memory_resize(NULL, 10, sizeof *block);
    assert_non_null(block);
    for (int32_t i = 0; i < 10; i++) {
        block[i] = i + 1;
    }
    block = pb_memory_resize(block, 1000, sizeof *block);
    assert_non_null(block);
    assert_int_equal(block[9], 10);
    assert_int_equal(block[10], 0);
    assert_int_equal(block[999], 0);
    block = pb_memory_resize(block, 5, sizeof *block);
    assert_non_null(block);
    assert_int_equal(block[4], 5);
    assert_int_equal(pb_memory_current(), before + 5 * sizeof *block);
    pb_memory_free(block);
    assert_int_equal(pb_memory_current(), before);
}

static void a_growing_block_keeps_its_items_and_doubles(void **state)
{
    size_t before  = pb_memory_current();
    size_t largest = 0;
    int moves      = 0;
    int32_t *items = NULL;

    (void)state;
    for (int32_t i = 0; i < 1000; i++) {
        const int32_t *old = items;
        assert_int_equal(PB_GROW(items, i + 1), PB_OK);
        moves += items != old;
        assert_int_equal(items[i], 0);
        items[i] = i;
    }
    for (int32_t i = 0; i < 1000; i++) {
        assert_int_equal(items[i], i);
    }
    assert_in_range(moves, 2, 10);
    largest = pb_memory_current() - before;
    assert_in_range(largest, 1000 * sizeof *items, 2000 * sizeof *items);
    assert_int_equal(PB_GROW(items, 1), PB_OK); /* never shrinks */
    assert_int_equal(pb_memory_current() - before, largest);
    assert_int_equal(PB_GROW(items, 50000), PB_OK);
    assert_int_equal(pb_memory_current() - before, 50000 * sizeof *items);
    pb_memory_limit(pb_memory_current() + 1);
    assert_int_equal(PB_GROW(items, 50001), PB_ERR_MEMORY);
    pb_memory_limit(0);
    assert_int_equal(items[999], 999);
    pb_memory_free(items);
    assert_int_equal(pb_memory_current(), before);
}

static void check_words(const uint64_t *words, size_t begin, size_t end, uint64_t factor)
{
    for (size_t i = begin; i < end; i++) {
        if (words[i] != i * factor) {
            fail_msg("word %zu of a resized block is wrong", i);
        }
    }
}

static void a_large_block_grows_and_shrinks_in_place_of_a_copy(void **state)
{
    const size_t large = (size_t)1 << 20; /* words: 8 MiB */
    size_t before      = pb_memory_current();
    uint64_t *words    = NULL;

    (void)state;
    assert_int_equal(PB_GROW(words, 1000), PB_OK);
    for (size_t count = 1000; count <= 4 * large; count *= 2) {
        words = pb_memory_resize(words, count, sizeof *words);
        assert_non_null(words);
        assert_int_equal((uintptr_t)words % 64, 0);
        assert_int_equal(pb_memory_current(), before + count * sizeof *words);
        for (size_t i = count == 1000 ? 0 : count / 2; i < count; i++) {
            assert_int_equal(words[i], 0);
            words[i] = i;
        }
        check_words(words, 0, count, 1);
    }
    words = pb_memory_resize(words, large + 5, sizeof *words);
    assert_non_null(words);
    check_words(words, 0, large + 5, 1);
    words = pb_memory_resize(words, 2 * large, sizeof *words);
    assert_non_null(words);
    check_words(words, 0, large + 5, 1);
    check_words(words, large + 5, 2 * large, 0);
    words = pb_memory_resize(words, 3, sizeof *words);
    assert_non_null(words);
    check_words(words, 0, 3, 1);
    assert_int_equal(pb_memory_current(), before + 3 * sizeof *words);
    pb_memory_limit(pb_memory_current() + 1000);
    assert_null(pb_memory_resize(words, large, sizeof *words));
    assert_int_equal(PB_GROW(words, 2 * large), PB_ERR_MEMORY);
    pb_memory_limit(0);
    check_words(words, 0, 3, 1);
    assert_int_equal(PB_GROW(words, 1000), PB_OK);
    check_words(words, 3, 1000, 0);
    pb_memory_free(words);
    assert_int_equal(pb_memory_current(), before);
}

static void the_peak_is_the_most_held_since_the_reset(void **state)
{
    (void)state;
    pb_memory_peak_reset();
    size_t before = pb_memory_current();
    size_t count  = pb_memory_allocations();
    void *a       = pb_memory_new(1000, 1);
    void *b       = pb_memory_new(5000, 1);
    pb_memory_free(b);
    assert_int_equal(pb_memory_allocations(), count + 2);
    assert_int_equal(pb_memory_peak(), before + 6000);
    pb_memory_peak_reset();
    assert_int_equal(pb_memory_peak(), before + 1000);
    pb_memory_account(3000);
    assert_int_equal(pb_memory_current(), before + 4000);
    pb_memory_account(-3000);
    assert_int_equal(pb_memory_current(), before + 1000);
    assert_int_equal(pb_memory_peak(), before + 4000);
    pb_memory_free(a);
}

static void a_reached_limit_fails_with_its_figures_and_changes_nothing(void **state)
{
    (void)state;
    char *kept    = pb_memory_text("kept");
    size_t before = pb_memory_current();
    char *none    = NULL;

    assert_non_null(kept);
    pb_memory_limit(before + 100);
    assert_int_equal(PB_ALLOC(none, 101), PB_ERR_MEMORY);
    assert_null(none);
    assert_non_null(strstr(pb_error_message(), "101 bytes"));
    assert_non_null(strstr(pb_error_message(), "limit"));
    assert_null(pb_memory_resize(kept, 200, 1));
    assert_string_equal(kept, "kept");
    assert_int_equal(pb_memory_current(), before);
    assert_int_equal(PB_ALLOC(none, 100), PB_OK);
    pb_memory_limit(0);
    pb_memory_free(none);
    pb_memory_free(kept);
}

static void an_overflowing_count_fails(void **state)
{
    (void)state;
    size_t before = pb_memory_current();

    assert_null(pb_memory_new(SIZE_MAX / 2, 4));
    assert_non_null(strstr(pb_error_message(), "more than can be counted"));
    assert_null(pb_memory_new(SIZE_MAX - 16, 1));
    assert_int_equal(pb_memory_current(), before);
}

static void a_refusal_of_the_system_is_reported(void **state)
{
    (void)state;
    size_t before = pb_memory_current();

    assert_null(pb_memory_new(SIZE_MAX / 4, 1));
    assert_non_null(strstr(pb_error_message(), "the system refused"));
    assert_int_equal(pb_memory_current(), before);
}

static void *churn(void *argument)
{
    for (size_t i = 0; i < 2000; i++) {
        pb_memory_free(pb_memory_new(i % 97, 8));
    }
    return argument;
}

static void counting_is_right_from_many_threads(void **state)
{
    pthread_t threads[4];
    size_t before = pb_memory_current();

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, churn, NULL), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(pb_memory_current(), before);
}

static void the_largest_resident_set_grows_with_touched_memory(void **state)
{
    const size_t bytes = (size_t)64 << 20;

    (void)state;
    size_t before = pb_memory_resident_peak();
    char *block   = pb_memory_new(bytes, 1);
    assert_non_null(block);
    memset(block, 1, bytes);
    pb_memory_free(block);
    assert_true(before > 0);
    assert_true(pb_memory_resident_peak() > before + bytes / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_zeroed_aligned_and_counted),
        cmocka_unit_test(a_count_of_zero_gives_a_unique_pointer),
        cmocka_unit_test(resizing_keeps_the_contents_and_zeroes_the_rest),
        cmocka_unit_test(a_growing_block_keeps_its_items_and_doubles),
        cmocka_unit_test(a_large_block_grows_and_shrinks_in_place_of_a_copy),
        cmocka_unit_test(the_peak_is_the_most_held_since_the_reset),
        cmocka_unit_test(a_reached_limit_fails_with_its_figures_and_changes_nothing),
        cmocka_unit_test(an_overflowing_count_fails),
        cmocka_unit_test(a_refusal_of_the_system_is_reported),
        cmocka_unit_test(counting_is_right_from_many_threads),
        cmocka_unit_test(the_largest_resident_set_grows_with_touched_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
