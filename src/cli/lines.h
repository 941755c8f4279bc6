// SPDX-License-Identifier: Apache-2.0
/* JSON lines from standard input, for the commands that run a single stage. */
#pragma once

#include "pb/status.h"

#include <jansson.h>
#include <stdint.h>

/* Receives the JSON value of line `number`, which counts from 1; it may keep a reference. */
typedef pb_status (*lines_taker)(void *context, json_t *row, int64_t number);

/* Passes every non-empty line to `take`; `form` describes a line in messages. Duplicate keys are
 * refused, and jansson's `flags` are added. An array, which may be a whole file of rows, is
 * refused. Reading ends at the first failure, with "standard input:LINE" before its message; a line
 * has at most 64 MiB. */
pb_status lines_each(const char *form, size_t flags, lines_taker take, void *context) PB_MUST_USE;
