// SPDX-License-Identifier: Apache-2.0
/* Clocks and the text form of a time. */
#include "pb/clock.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <time.h>

static void the_monotonic_clock_measures_a_pause(void **state)
{
    const struct timespec pause = {.tv_nsec = 20000000};

    (void)state;
    double start = pb_clock_seconds();
    (void)nanosleep(&pause, NULL);
    double seconds = pb_clock_seconds() - start;
    assert_true(seconds >= 0.02 && seconds < 10.0);
}

static void the_unix_clock_is_the_systems(void **state)
{
    (void)state;
    assert_true(fabs(pb_clock_unix() - (double)time(NULL)) < 2.0);
}

static void times_are_written_in_iso_8601(void **state)
{
    char text[32];

    (void)state;
    pb_clock_iso8601(0.0, text, sizeof text);
    assert_string_equal(text, "1970-01-01T00:00:00Z");
    pb_clock_iso8601(1795507500.75, text, sizeof text);
    assert_string_equal(text, "2026-11-24T08:05:00Z");
    pb_clock_iso8601(951782400.0, text, 21);
    assert_string_equal(text, "2000-02-29T00:00:00Z");
}

static void a_time_that_is_none_is_unknown(void **state)
{
    char text[32];

    (void)state;
    pb_clock_iso8601((double)NAN, text, sizeof text);
    assert_string_equal(text, "unknown");
    pb_clock_iso8601(1e300, text, sizeof text);
    assert_string_equal(text, "unknown");
    pb_clock_iso8601(-1.0, text, sizeof text);
    assert_string_equal(text, "unknown");
    pb_clock_iso8601(0.0, text, 4);
    assert_string_equal(text, "unk");
}

static void seconds_are_sorted_upwards(void **state)
{
    double seconds[] = {3.0, -1.0, 1e9, 0.5, 3.0};

    (void)state;
    pb_clock_sort(seconds, 5);
    for (int i = 1; i < 5; i++) {
        assert_true(seconds[i - 1] <= seconds[i]);
    }
    assert_true(seconds[0] == -1.0 && seconds[4] == 1e9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_monotonic_clock_measures_a_pause),
        cmocka_unit_test(the_unix_clock_is_the_systems),
        cmocka_unit_test(times_are_written_in_iso_8601),
        cmocka_unit_test(a_time_that_is_none_is_unknown),
        cmocka_unit_test(seconds_are_sorted_upwards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
