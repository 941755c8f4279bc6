// SPDX-License-Identifier: Apache-2.0
/* The builder `template`, for builders that change a row before passing it on: they share its
 * state, open and close. */
#pragma once

#include "answers.h"
#include "pattern.h"

struct pb_row_builder {
    dataset_columns columns;
    const pb_dataset_options *options; /* borrowed */
    const char *instruction;
    row_pattern *lines;
    int64_t line_count;
    row_pattern answer;
    const dataset_column *answers; /* NULL: the pattern gives the answer */
    bool together;                 /* all answers belong to one sample */
};

pb_status row_template_open(const pb_dataset_options *options, pb_protocol protocol, pb_split split,
                            const char *instruction, pb_row_builder **out) PB_MUST_USE;
void row_template_close(pb_row_builder *b); /* accepts NULL */

/* The samples of a row that was checked against the columns. */
pb_status row_template_write(const pb_row_builder *b, const json_t *row,
                             pb_row_texts *out) PB_MUST_USE;
