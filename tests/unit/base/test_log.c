// SPDX-License-Identifier: Apache-2.0
/* The log as seen on stderr: levels, marks, long lines, and the progress line of a terminal. */
#include "pb/log.h"
#include "pb/string.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static char captured[32768];

static int kept_stderr;
static FILE *capture;

static void begin_capture(void)
{
    capture = tmpfile();
    assert_non_null(capture);
    kept_stderr = dup(STDERR_FILENO);
    assert_true(dup2(fileno(capture), STDERR_FILENO) >= 0);
}

static const char *end_capture(void)
{
    assert_true(dup2(kept_stderr, STDERR_FILENO) >= 0);
    (void)close(kept_stderr);
    rewind(capture);
    captured[fread(captured, 1, sizeof captured - 1, capture)] = '\0';
    (void)fclose(capture);
    return captured;
}

static void a_group_of_one_is_not_marked(void **state)
{
    (void)state;
    pb_log_setup(PB_LOG_INFO, 0, 1);
    begin_capture();
    pb_log_info("loaded %d tensors", 12);
    pb_log_warn("slow");
    pb_log0_error("bad");
    pb_log_debug("dropped");
    assert_string_equal(end_capture(), "loaded 12 tensors\nwarn: slow\nerror: bad\n");
}

static void ranks_mark_their_lines_with_rank_and_module(void **state)
{
    (void)state;
    pb_log_setup(PB_LOG_TRACE, 3, 4);
    begin_capture();
    pb_log_info("a line");
    pb_log_trace("finer");
    pb_log0_info("only rank 0 says this");
    assert_string_equal(end_capture(), "[3 base] a line\n[3 base] trace: finer\n");
    pb_log_setup(PB_LOG_INFO, 0, 4);
    begin_capture();
    pb_log0_info("only rank 0 says this");
    assert_string_equal(end_capture(), "only rank 0 says this\n");
}

static void levels_are_parsed_by_name(void **state)
{
    pb_log_level level = PB_LOG_ERROR;

    (void)state;
    assert_int_equal(pb_log_parse_level("trace", &level), PB_OK);
    assert_int_equal(level, PB_LOG_TRACE);
    assert_int_equal(pb_log_parse_level("error", &level), PB_OK);
    assert_int_equal(level, PB_LOG_ERROR);
    assert_int_equal(pb_log_parse_level("loud", &level), PB_ERR_USAGE);
    assert_int_equal(level, PB_LOG_ERROR);
    assert_non_null(strstr(pb_error_message(), "\"loud\""));
    pb_log_setup(PB_LOG_DEBUG, 0, 1);
    assert_int_equal(pb_log_get_level(), PB_LOG_DEBUG);
}

static void a_long_line_is_cut_visibly_and_stays_one_line(void **state)
{
    char *text = malloc(20001);

    (void)state;
    assert_non_null(text);
    memset(text, 'x', 20000);
    text[20000] = '\0';
    pb_log_setup(PB_LOG_INFO, 1, 2);
    begin_capture();
    pb_log_warn("%s", text);
    const char *line = end_capture();
    size_t length    = strlen(line);
    assert_true(length > 8000 && length <= 8192);
    assert_string_equal(line + length - 4, "...\n");
    free(text);
}

static void what_a_terminal_would_obey_is_escaped(void **state)
{
    char text[16];

    (void)state;
    pb_log_setup(PB_LOG_INFO, 0, 1);
    begin_capture();
    pb_log_info("\x1b[31m Übung \xff\x7f\xc2\x9b\r\n\tnext");
    assert_string_equal(end_capture(), "\\x1b[31m Übung \\xff\\x7f\\xc2\\x9b\\x0d\n\tnext\n");
    assert_int_equal(pb_string_printable("ab\x01", text, 7), 0);
    assert_string_equal(text, "ab\\x01");
    assert_int_equal(pb_string_printable("ab\x01"
                                         "c",
                                         text, 6),
                     2);
    assert_string_equal(text, "ab");
    assert_int_equal(pb_string_printable("aü", text, 3), 2);
    assert_string_equal(text, "a");
}

static void logging_keeps_errno(void **state)
{
    (void)state;
    pb_log_setup(PB_LOG_INFO, 0, 1);
    begin_capture();
    errno = ENOSPC;
    pb_log_info("a line");
    pb_log_progress("a step");
    assert_int_equal(errno, ENOSPC);
    (void)end_capture();
}

static void progress_is_dropped_where_there_is_no_terminal(void **state)
{
    (void)state;
    pb_log_setup(PB_LOG_INFO, 0, 1);
    begin_capture();
    pb_log_progress("1 of 2");
    pb_log_info("a line");
    pb_log_progress(NULL);
    assert_string_equal(end_capture(), "a line\n");
}

static void progress_overwrites_itself_on_a_terminal(void **state)
{
    int master = -1;
    int slave  = -1;
    char text[512];
    struct winsize window = {.ws_row = 24, .ws_col = 11};

    (void)state;
    assert_int_equal(openpty(&master, &slave, NULL, NULL, &window), 0);
    pb_log_setup(PB_LOG_INFO, 0, 1);
    kept_stderr = dup(STDERR_FILENO);
    assert_true(dup2(slave, STDERR_FILENO) >= 0);
    pb_log_progress("1 of 2");
    pb_log_info("a line");
    pb_log_progress("longer than the row");
    pb_log_progress(NULL);
    pb_log_info("done");
    assert_true(dup2(kept_stderr, STDERR_FILENO) >= 0);
    (void)close(kept_stderr);
    /* A terminal may deliver the output in parts. */
    const char expected[] = "1 of 2\r\033[Ka line\r\n1 of 2\r\033[Klonger tha\r\033[Kdone\r\n";
    size_t length         = 0;
    while (length < strlen(expected)) {
        ssize_t part = read(master, text + length, sizeof text - 1 - length);
        assert_true(part > 0);
        length += (size_t)part;
    }
    text[length] = '\0';
    assert_string_equal(text, expected);
    (void)close(slave);
    (void)close(master);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_group_of_one_is_not_marked),
        cmocka_unit_test(ranks_mark_their_lines_with_rank_and_module),
        cmocka_unit_test(levels_are_parsed_by_name),
        cmocka_unit_test(a_long_line_is_cut_visibly_and_stays_one_line),
        cmocka_unit_test(what_a_terminal_would_obey_is_escaped),
        cmocka_unit_test(logging_keeps_errno),
        cmocka_unit_test(progress_is_dropped_where_there_is_no_terminal),
        cmocka_unit_test(progress_overwrites_itself_on_a_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
