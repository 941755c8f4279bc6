// SPDX-License-Identifier: Apache-2.0
/* Every process of a run must have been started for the same work and see the same files. A
 * difference is reported before the first cell, with the process, the place and both values.
 * Collective. */
#pragma once

#include "sweep.h"

/* Program, options, --set, and the composed configuration of every cell of the open grid. */
pb_status alike_check_configuration(const pb_cli *cli, const sweep *s) PB_MUST_USE;

/* Files of models, tokenizers and rows, by their contents. Those of a node are read by its first
 * process, and by others only where their paths lead to other files. */
pb_status alike_check_inputs(const pb_cli *cli, const sweep *s) PB_MUST_USE;
