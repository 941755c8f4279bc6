// SPDX-License-Identifier: Apache-2.0
/* What an opened data set holds. */
#pragma once

#include "pb/dataset.h"

struct pb_dataset {
    pb_dataset_options options;
    pb_data_options data; /* numbers only: the text is not kept */
    pb_protocol protocol;
    const pb_dataset_builder *ops;
    char *instructions[PB_SPLIT_COUNT];
    pb_row_builder *builders[PB_SPLIT_COUNT];
};

static inline const char *pb_split_name(pb_split split)
{
    return split == PB_SPLIT_TRAIN ? "training" : "testing";
}
