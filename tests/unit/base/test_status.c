// SPDX-License-Identifier: Apache-2.0
/* Status names, and the error record: messages, frames, limits, threads. */
#include "pb/status.h"
#include "pb/log.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static pb_status fails(int value)
{
    return PB_FAIL(PB_ERR_SHAPE, "value %d", value);
}

static pb_status passes_on(int value)
{
    PB_TRY(fails(value));
    return PB_OK;
}

static pb_status cleans_up(bool *cleaned)
{
    pb_status status;

    PB_TRY_GOTO(status, passes_on(7), err_something);
    return PB_OK;
err_something:
    *cleaned = true;
    return status;
}

static pb_status stops(void)
{
    return PB_STOPPED;
}

static pb_status passes_stop_on(void)
{
    PB_TRY(stops());
    return PB_OK;
}

static void every_code_has_a_name_and_a_sentence(void **state)
{
    (void)state;
    for (int i = 0; i < (int)PB_STATUS_COUNT; i++) {
        assert_true(strlen(pb_status_name((pb_status)i)) > 0);
        assert_true(strlen(pb_status_sentence((pb_status)i)) > 0);
    }
    assert_string_equal(pb_status_name(PB_ERR_IO), "ERR_IO");
    assert_string_equal(pb_status_name((pb_status)99), "ERR_UNKNOWN");
    assert_string_equal(pb_status_sentence((pb_status)99), "an unknown status code");
}

static void a_failure_is_reported_with_its_frames_innermost_first(void **state)
{
    char text[1024];
    bool cleaned = false;

    (void)state;
    assert_int_equal(cleans_up(&cleaned), PB_ERR_SHAPE);
    assert_true(cleaned);
    assert_string_equal(pb_error_message(), "value 7");
    pb_error_describe(text, sizeof text);
    const char *first  = strstr(text, "\n  at tests/unit/base/test_status.c:");
    const char *second = strstr(text, " passes_on");
    const char *third  = strstr(text, " cleans_up");
    assert_ptr_equal(text, strstr(text, "value 7\n"));
    assert_non_null(first);
    assert_true(strstr(text, " fails") < second && second < third);
    pb_error_clear();
    assert_string_equal(pb_error_message(), "");
}

static void a_description_is_cut_to_its_space(void **state)
{
    char text[10];

    (void)state;
    (void)passes_on(123456);
    memset(text, 'x', sizeof text);
    pb_error_describe(text, 8);
    assert_string_equal(text, "value 1");
    assert_int_equal(text[8], 'x');
    pb_error_describe(text, 0);
    assert_int_equal(text[9], 'x');
}

static void a_prefix_names_the_place(void **state)
{
    (void)state;
    pb_status status = passes_on(3);
    assert_int_equal(pb_error_prefix(status, "file %s", "a.cfg"), PB_ERR_SHAPE);
    assert_string_equal(pb_error_message(), "file a.cfg: value 3");
    assert_int_equal(pb_error_prefix(PB_OK, "not used"), PB_OK);
    assert_string_equal(pb_error_message(), "file a.cfg: value 3");
}

static void a_message_may_quote_the_one_before(void **state)
{
    (void)state;
    (void)fails(5);
    (void)PB_FAIL(PB_ERR_FORMAT, "seen: %s", pb_error_message());
    assert_string_equal(pb_error_message(), "seen: value 5");
}

static void a_bare_status_never_shows_a_stale_message(void **state)
{
    (void)state;
    (void)fails(5);
    assert_int_equal(passes_stop_on(), PB_STOPPED);
    assert_string_equal(pb_error_message(), pb_status_sentence(PB_STOPPED));
}

static void a_long_message_is_cut_at_a_whole_character(void **state)
{
    char longer[4001];

    (void)state;
    for (size_t i = 0; i + 1 < sizeof longer; i += 2) {
        memcpy(longer + i, "\xC3\xA9", 2);
    }
    longer[4000] = '\0';
    for (int shift = 0; shift < 2; shift++) {
        (void)PB_FAIL(PB_ERR_IO, "%s%s", shift ? "x" : "", longer);
        const char *message = pb_error_message();
        size_t length       = strlen(message);
        assert_true(length > 2000 && length < 2048);
        assert_string_equal(message + length - 3, "...");
        assert_int_equal((unsigned char)message[length - 4], 0xA9);
    }
    (void)pb_error_prefix(PB_ERR_IO, "%s", longer);
    assert_true(strlen(pb_error_message()) < 2048);
}

static pb_status recurses(int depth)
{
    if (depth == 0) {
        return PB_FAIL(PB_ERR_IO, "deep");
    }
    PB_TRY(recurses(depth - 1));
    return PB_OK;
}

static void at_most_32_frames_are_kept(void **state)
{
    char text[8192];
    int lines = 0;

    (void)state;
    assert_int_equal(recurses(100), PB_ERR_IO);
    pb_error_describe(text, sizeof text);
    for (const char *at = strchr(text, '\n'); at != NULL; at = strchr(at + 1, '\n')) {
        lines++;
    }
    assert_int_equal(lines, 32);
}

static void *fail_elsewhere(void *argument)
{
    (void)fails(99);
    return argument;
}

static void each_thread_has_its_own_record(void **state)
{
    pthread_t thread;

    (void)state;
    (void)fails(1);
    assert_int_equal(pthread_create(&thread, NULL, fail_elsewhere, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_string_equal(pb_error_message(), "value 1");
}

static void an_ignored_status_is_logged_and_cleared(void **state)
{
    char line[256] = "";
    FILE *capture  = tmpfile();

    (void)state;
    assert_non_null(capture);
    int kept = dup(STDERR_FILENO);
    (void)dup2(fileno(capture), STDERR_FILENO);
    pb_ignore(fails(4), "closing a thing");
    pb_ignore(PB_OK, "nothing happened");
    (void)dup2(kept, STDERR_FILENO);
    (void)close(kept);
    rewind(capture);
    assert_non_null(fgets(line, sizeof line, capture));
    assert_string_equal(line, "warn: closing a thing: value 4\n");
    assert_null(fgets(line, sizeof line, capture));
    (void)fclose(capture);
    assert_string_equal(pb_error_message(), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_name_and_a_sentence),
        cmocka_unit_test(a_failure_is_reported_with_its_frames_innermost_first),
        cmocka_unit_test(a_description_is_cut_to_its_space),
        cmocka_unit_test(a_prefix_names_the_place),
        cmocka_unit_test(a_message_may_quote_the_one_before),
        cmocka_unit_test(a_bare_status_never_shows_a_stale_message),
        cmocka_unit_test(a_long_message_is_cut_at_a_whole_character),
        cmocka_unit_test(at_most_32_frames_are_kept),
        cmocka_unit_test(each_thread_has_its_own_record),
        cmocka_unit_test(an_ignored_status_is_logged_and_cleared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
