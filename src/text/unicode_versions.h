// SPDX-License-Identifier: Apache-2.0
/* Character properties in the Unicode versions of Hugging Face's library, whatever versions
 * utf8proc and PCRE2 have. */
#pragma once

#include "pb/string.h"

#include <stdbool.h>
#include <stdint.h>
#include <utf8proc.h>

/* The general category in version 16. */
utf8proc_category_t unicode_category(int32_t code);

/* The small letter of a letter, other characters themselves. U+0130 has two and is not changed. */
int32_t unicode_lower(int32_t code);

/* True when version 11 has no combining class, no decomposition or no composition for it. */
bool unicode_is_normalised_later(int32_t code);

/* True when it is punctuation today, but was not in version 8. */
bool unicode_is_punctuation_later(int32_t code);

/* Appends the characters of a category ("L", "Lu") that versions 15.0 to 16.0 added, as ranges for
 * a class of a PCRE2 expression. */
pb_status unicode_append_assigned(const char *category, pb_string *out) PB_MUST_USE;
