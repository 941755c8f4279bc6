// SPDX-License-Identifier: Apache-2.0
/* The Unicode normalization forms. Most characters never change; only the stretches around the
 * others are normalised. */
#pragma once

#include "pb/string.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum text_form { FORM_NFC, FORM_NFD, FORM_NFKC, FORM_NFKD, FORM_COUNT } text_form;

/* Appends the text in the form when it differs from the text; *changed tells whether it does
 * (nothing is appended when not). The text is valid UTF-8. */
pb_status form_apply(text_form form, const char *text, size_t length, pb_string *out,
                     bool *changed) PB_MUST_USE;
