// SPDX-License-Identifier: Apache-2.0
/* Post-processors: the special tokens before and after the ids of a text. */
#pragma once

#include "json.h"

#include "pb/tokenizer.h"

typedef struct pb_postprocessor {
    pb_ids before, behind;
} pb_postprocessor;

/* Reads "post_processor" of the root; ids must be below `size`. */
pb_status pb_postprocessor_parse(const json_t *root, int64_t size,
                                 pb_postprocessor *out) PB_MUST_USE;
void pb_postprocessor_clear(pb_postprocessor *p);
