// SPDX-License-Identifier: Apache-2.0
/* The part of `peftbench tokenize` that measures. */
#pragma once

#include "pb/cli.h"
#include "pb/tokenizer.h"

/* Prints the speed of encoding --text, or of a text made from --seed, on one thread and on
 * --threads. */
pb_status tokenize_bench(const pb_cli *cli, const pb_tokenizer *t) PB_MUST_USE;
