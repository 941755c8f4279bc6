// SPDX-License-Identifier: Apache-2.0
/* Post-processors: the special tokens before and after the ids of a text. */
#pragma once

#include "json.h"

#include "pb/tokenizer.h"

typedef struct postprocessor {
    pb_ids before, behind;
} postprocessor;

/* Reads "post_processor" of the root; ids must be below `size`. */
pb_status postprocessor_parse(const json_t *root, int64_t size, postprocessor *out) PB_MUST_USE;
void postprocessor_clear(postprocessor *p);
