// SPDX-License-Identifier: Apache-2.0
/* Texts on their way into a file. */
#pragma once

#include "pb/status.h"

#include <stdint.h>

/* A copy in which every byte that is not part of valid UTF-8 is written as \xHH; the number of such
 * bytes is added to *escaped (may be NULL). NULL counts as "". */
pb_status text_utf8(const char *text, char **out, int64_t *escaped) PB_MUST_USE;
