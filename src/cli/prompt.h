// SPDX-License-Identifier: Apache-2.0
/* The part of `peftbench prompt` behind --explain. */
#pragma once

#include "pb/cli.h"
#include "pb/dataset.h"

/* Prints an explanation of how the protocols differ for a data set. */
pb_status prompt_explain(const pb_cli *cli, const pb_dataset_options *o) PB_MUST_USE;
