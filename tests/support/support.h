// SPDX-License-Identifier: Apache-2.0
/* Helpers shared by many tests. */
#pragma once

#include "pb/status.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

/* The folder of shared inputs ($PB_SHARED, or ../shared beside the source tree). If it is absent,
 * the process exits with 77 (skipped), or with 1 when CI is set, where its absence is a failure. */
const char *shared_directory(void);

/* "<shared>/<formatted>", in one of a few static buffers. */
const char *shared_path(const char *format, ...) PB_PRINTF(1, 2);

/* Ends the process, as an absent shared folder does, when `status` says that an optional component
 * is missing. */
void need(pb_status status);

/* A tear-down, of a test or of a group of them: lifts a limit on memory, and fails
 * unless all accounted memory was returned. */
int returns_all_bytes(void **state);

/* Fails the test with the error record when status is not PB_OK. */
#define assert_ok(expression) assert_ok_at((expression), #expression, __FILE__, __LINE__)
void assert_ok_at(pb_status status, const char *what, const char *file, int line);

/* Fails unless status is `expected` and the message contains `text`; clears the record. */
#define assert_error(expression, expected, text) \
    assert_error_at((expression), (expected), (text), #expression, __FILE__, __LINE__)
void assert_error_at(pb_status status, pb_status expected, const char *text, const char *what,
                     const char *file, int line);
