// SPDX-License-Identifier: Apache-2.0
/* One line per command: each is defined in the file of its name. Help prints what parsing uses. */
#pragma once

#include "pb/cli.h"
#include "pb/string.h"
#include "pb/sweep.h"

extern const pb_command command_bench;
extern const pb_command command_completion;
extern const pb_command command_data;
extern const pb_command command_evaluate;
extern const pb_command command_generate;
extern const pb_command command_info;
extern const pb_command command_list;
extern const pb_command command_logits;
extern const pb_command command_manual;
extern const pb_command command_plan;
extern const pb_command command_run;
extern const pb_command command_tokenize;
extern const pb_command command_merge;
extern const pb_command command_report;
extern const pb_command command_pscp;
extern const pb_command command_prompt;
extern const pb_command command_replay;
extern const pb_command command_score;
extern const pb_command command_status;
extern const pb_command command_train;

/* pscp.c: the exponents of the score, for the commands that show it. */
extern const pb_option options_pscp[];

enum { CLI_WIDEST = 100000 }; /* --width */

/* output.c */
/* Each prints a text that was made with status `made`, of which a failure is returned instead, and
 * clears it. */
pb_status cli_print_made(const pb_cli *cli, pb_status made, pb_string *text) PB_MUST_USE;
/* Lines such as "name   value". Those wider than --width, $COLUMNS or the terminal are broken at
 * blanks and continue below the value; without any of these widths no line is broken. */
pb_status cli_print_lines(const pb_cli *cli, pb_status made, pb_string *text) PB_MUST_USE;
/* JSON with --json, and else such lines. */
pb_status cli_print_facts(const pb_cli *cli, pb_status made, pb_string *text) PB_MUST_USE;

/* Writes to standard output, on rank 0 only; see pb_cli_print. */
pb_status cli_write(pb_comm *comm, const char *text) PB_MUST_USE;

/* $COLUMNS, else the columns of the terminal, else PB_TABLE_WIDTH. */
int64_t cli_terminal_width(void);
/* Standard output is a terminal, and $NO_COLOR is empty (no-color.org). Launchers of MPI give their
 * processes terminals even where their own output is a file: then never. */
bool cli_takes_colour(const pb_cli *cli);

/* options.c: all options of a command in the order of its help; those that set a field are
 * completed from it. Free with pb_memory_free. */
typedef struct option_entry {
    pb_option option;
    char fallback[32]; /* for a field: its default as text */
} option_entry;

pb_status option_list(const pb_command *command, option_entry **out, int64_t *count) PB_MUST_USE;
/* The field that the option sets. */
const pb_config_field *option_field(const pb_option *option);

/* grid.c: opens the sweep over the grid that the first argument names, with --set, --device,
 * --dtype and --threads in addition to `how`. Collective. */
pb_status cli_open_sweep(const pb_cli *cli, pb_sweep_options *how, pb_sweep **out) PB_MUST_USE;

/* cli.c: --help or -h among the arguments after the command's name. */
bool cli_asks_for_help(int argc, char *const *argv);

/* help.c */
pb_status cli_help_program(const pb_command *const *commands, pb_string *out) PB_MUST_USE;
pb_status cli_help_command(const pb_command *command, pb_string *out) PB_MUST_USE;
extern const char cli_about[];
extern const char cli_exit_codes[];
enum { CLI_LEFT_BYTES = 64 };
/* "-o, --output DIR" */
void cli_option_left(const pb_option *option, char left[CLI_LEFT_BYTES]);
/* The help of an option, and its default. */
pb_status cli_option_meaning(const pb_option *option, pb_string *out) PB_MUST_USE;

/* help_config.c: every key of the configuration, from the tables of the modules that own them. */
pb_status help_config_print(const pb_cli *cli) PB_MUST_USE;
