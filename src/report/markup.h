// SPDX-License-Identifier: Apache-2.0
/* Texts inside HTML and SVG. */
#pragma once

#include "pb/string.h"

/* Appends a text that may stand in elements and in quoted attributes: every character that markup
 * would interpret is escaped, controls become U+FFFD. */
pb_status markup_put(pb_string *out, const char *text) PB_MUST_USE;
/* The same, cut to `columns` with three dots where it is longer. */
pb_status markup_put_short(pb_string *out, const char *text, int64_t columns) PB_MUST_USE;
