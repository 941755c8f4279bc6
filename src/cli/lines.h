// SPDX-License-Identifier: Apache-2.0
/* JSON lines from standard input, for the commands that run one stage alone. */
#pragma once

#include "pb/status.h"

#include <jansson.h>
#include <stdint.h>

/* Takes the JSON value of line `number`, from 1; it may keep it by a reference of its own. */
typedef pb_status (*lines_taker)(void *context, json_t *row, int64_t number);

/* Hands every line that is not empty to `take`; `form` tells messages what a line is. A key may not
 * stand twice, and `flags` of jansson are added. An array, as a whole file of rows may be, is
 * refused. The first failure ends the reading, with "standard input:LINE" before its message; a
 * line has at most 64 MiB. */
pb_status lines_each(const char *form, size_t flags, lines_taker take, void *context) PB_MUST_USE;
