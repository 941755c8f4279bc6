// SPDX-License-Identifier: Apache-2.0
/* The instruction texts of the paper protocol, from the original's own file. */
#pragma once

#include "pb/dataset.h"

/* The text for a split: ours under the corrected protocol and for sets without an original; else
 * the original's, which is refused when its SHA-256 does not begin with the id. `info_path` may be
 * "". */
pb_status instruction_read(const pb_dataset_options *options, pb_protocol protocol, pb_split split,
                           const char *info_path, char **out) PB_MUST_USE;
