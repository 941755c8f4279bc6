// SPDX-License-Identifier: Apache-2.0
/* One line per command: each is defined in the file of its name. Help prints what parsing uses. */
#pragma once

#include "pb/cli.h"
#include "pb/string.h"

/* options.c: the tables that a command's parsing looks through, its own first. */
enum { PB_OPTION_TABLES = 3 };
void pb_option_tables(const pb_command *command, const pb_option *tables[PB_OPTION_TABLES]);

/* help.c */
pb_status pb_cli_help_program(const pb_command *const *commands, pb_string *out) PB_MUST_USE;
pb_status pb_cli_help_command(const pb_command *command, pb_string *out) PB_MUST_USE;
