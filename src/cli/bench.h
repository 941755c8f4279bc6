// SPDX-License-Identifier: Apache-2.0
/* The parts of the command bench that have a file of their own. */
#pragma once

#include "commands.h"

/* Opens the checkpoint of --model again and again from the page cache; prints bytes of weights per
 * second (10^9) beside those of a copy in memory by as many threads. */
pb_status bench_load(const pb_cli *cli) PB_MUST_USE;
