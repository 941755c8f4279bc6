// SPDX-License-Identifier: Apache-2.0
/* Regular expressions of Oniguruma (Ruby syntax) rewritten for PCRE2. */
#pragma once

#include "pb/status.h"
#include "pb/string.h"

#include <stddef.h>

/* Appends the rewritten expression. A construct that would mean something else in PCRE2 and has no
 * exact counterpart is refused by name. `place` is for messages. */
pb_status regex_rewrite(const char *regex, size_t length, const char *place,
                        pb_string *out) PB_MUST_USE;
