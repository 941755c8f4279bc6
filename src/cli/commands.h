// SPDX-License-Identifier: Apache-2.0
/* One line per command: each is defined in the file of its name. Help prints what parsing uses. */
#pragma once

#include "pb/cli.h"
#include "pb/string.h"

extern const pb_command pb_command_bench;
extern const pb_command pb_command_generate;
extern const pb_command pb_command_info;
extern const pb_command pb_command_logits;
extern const pb_command pb_command_plan;
extern const pb_command pb_command_run;
extern const pb_command pb_command_tokenize;
extern const pb_command pb_command_merge;
extern const pb_command pb_command_report;
extern const pb_command pb_command_pscp;
extern const pb_command pb_command_status;
extern const pb_command pb_command_train;

/* options.c: the tables that a command's parsing looks through, its own first. */
enum { PB_OPTION_TABLES = 3 };
void pb_option_tables(const pb_command *command, const pb_option *tables[PB_OPTION_TABLES]);

/* help.c */
pb_status pb_cli_help_program(const pb_command *const *commands, pb_string *out) PB_MUST_USE;
pb_status pb_cli_help_command(const pb_command *command, pb_string *out) PB_MUST_USE;

/* help_config.c: every key of the configuration, from the tables of the modules that own them. */
pb_status help_config_print(const pb_cli *cli) PB_MUST_USE;
