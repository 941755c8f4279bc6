// SPDX-License-Identifier: Apache-2.0
/* Rows with several correct answers. */
#pragma once

#include "columns.h"

/* Gives the last of the samples, which has its user message, the answers of a checked row: the
 * first is its own; the others are its references when `together`, else each gets a further sample
 * with the same message. `none` is the answer when there are none. */
pb_status answers_write(const dataset_column *column, const char *none, bool together,
                        const json_t *row, pb_row_texts *texts) PB_MUST_USE;
