// SPDX-License-Identifier: Apache-2.0
/* What `run` shares with `report`. */
#pragma once

#include "pb/cli.h"

/* Prints the report of one merged file: text, or JSON with --json. */
pb_status report_print(const pb_cli *cli, const char *path) PB_MUST_USE;
