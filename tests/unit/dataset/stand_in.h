// SPDX-License-Identifier: Apache-2.0
/* Stand-ins for the module `text`: a template with one id per byte, "<user>" and "answer$", so that
 * every id can be written out; and sets of three rows made with it. */
#pragma once

#include "fixture.h"

#include "pb/encoded.h"

/* Inputs of the cache's key; "bytes", "$" and "bytes" unless a test changes them. */
extern const char *stand_in_name, *stand_in_end, *stand_in_tokenizer;

/* Three rows: "a", "b" yes; "abcdefgh", "i" no; "x", "" no. */
extern const char stand_in_rows[];

pb_dataset *stand_in_dataset(pb_protocol protocol); /* both files hold the rows */
/* Row `index` is made of these bytes, the first `prompt_length` of them the prompt. */
void stand_in_assert_row(const pb_encoded_set *set, int64_t index, const char *text,
                         int64_t prompt_length);
