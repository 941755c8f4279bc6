// SPDX-License-Identifier: Apache-2.0
/* The benchmarks: training and evaluation (the command bench), opening a checkpoint (bench --load),
 * reading and tokenising rows (data --bench), tokenising texts (tokenize --bench). */
#pragma once

#include "pb/cli.h"
#include "pb/tokenizer.h"

/* Opens the checkpoint of --model repeatedly from the page cache; prints GB (10^9 bytes) of weights
 * per second beside the rate of a copy in memory by the same number of threads. */
pb_status bench_load(const pb_cli *cli) PB_MUST_USE;

/* Prints the rates of the stages between a file of rows and token rows. */
pb_status bench_data(const pb_cli *cli, int threads) PB_MUST_USE;

/* Prints the speed of encoding --text, or a text made from --seed, on one thread and on
 * --threads. */
pb_status bench_tokenize(const pb_cli *cli, const pb_tokenizer *t) PB_MUST_USE;
