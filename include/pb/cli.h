// SPDX-License-Identifier: Apache-2.0
/* The command line: a command is one table entry, and its options are a table too. Parsing,
 * `--help` and error messages all come from these tables.
 *
 *     static const pb_option options[] = {
 *         PB_CLI_NEEDED("model", "DIR", "…"),
 *         PB_OPTION_END,
 *     };
 *     const pb_command command_tokenize = {.name = "tokenize", .options = {options}, …};
 *
 * The table of commands is in src/cli/cli.c. */
#pragma once

#include "pb/comm.h"
#include "pb/config.h"
#include "pb/status.h"
#include "pb/tensor.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum pb_option_kind {
    PB_OPTION_FLAG, /* takes no value */
    PB_OPTION_TEXT,
    PB_OPTION_INT,
    PB_OPTION_FLOAT,
    PB_OPTION_LIST, /* text, may be given several times */
} pb_option_kind;

typedef struct pb_option {
    const char *name; /* without dashes; NULL ends a table */
    char letter;      /* 'o' for -o, 0 for none */
    pb_option_kind kind;
    const char *value;    /* name of the value in the help: "DIR", "N" */
    const char *fallback; /* the default, as it would be typed; NULL: none */
    const char *help;     /* one line */
    bool required;
    double minimum, maximum;    /* of numbers; both 0: no bounds */
    const char *const *choices; /* of texts; NULL-terminated; NULL: anything */
    /* The number or flag `key` of this table, which supplies everything but the name. */
    const pb_config_field *fields;
    const char *key;
} pb_option;

/* The usual forms, as for the fields of a configuration; others are written out. */
#define PB_CLI_FLAG(name_, help_)                                \
    {                                                            \
        .name = (name_), .kind = PB_OPTION_FLAG, .help = (help_) \
    }
#define PB_CLI_CHOICE(name_, value_, fallback_, choices_, help_)                             \
    {                                                                                        \
        .name = (name_), .kind = PB_OPTION_TEXT, .value = (value_), .fallback = (fallback_), \
        .choices = (choices_), .help = (help_)                                               \
    }
#define PB_CLI_TEXT(name_, value_, fallback_, help_) \
    PB_CLI_CHOICE(name_, value_, fallback_, NULL, help_)
#define PB_CLI_NEEDED(name_, value_, help_)                                           \
    {                                                                                 \
        .name = (name_), .kind = PB_OPTION_TEXT, .value = (value_), .required = true, \
        .help = (help_)                                                               \
    }
#define PB_CLI_INT(name_, value_, fallback_, min_, max_, help_)                             \
    {                                                                                       \
        .name = (name_), .kind = PB_OPTION_INT, .value = (value_), .fallback = (fallback_), \
        .minimum = (min_), .maximum = (max_), .help = (help_)                               \
    }
/* -o, the place of the output. */
#define PB_CLI_OUTPUT(value_, required_, help_)                                     \
    {                                                                               \
        .name = "output", .letter = 'o', .kind = PB_OPTION_TEXT, .value = (value_), \
        .required = (required_), .help = (help_)                                    \
    }
#define PB_CLI_LIST(name_, value_, help_)                                           \
    {                                                                               \
        .name = (name_), .kind = PB_OPTION_LIST, .value = (value_), .help = (help_) \
    }
#define PB_OPTION_END \
    {                 \
        .name = NULL  \
    }

typedef struct pb_cli pb_cli;

typedef struct pb_command {
    const char *name;
    const char *help;            /* one line */
    const char *usage;           /* the arguments after the name: "GRID.cfg [-o DIR]" */
    const char *details;         /* more help below the options, NULL for none */
    const pb_option *options[3]; /* tables, own and shared ones, in the order of the help */
    int min_arguments;           /* arguments that are not options */
    int max_arguments;           /* -1: any number */
    bool alone;    /* runs in one process, and is refused under a launcher with more */
    bool first;    /* only rank 0 runs it */
    bool stops;    /* signals ask it to stop, from the start of the program, see pb/stop.h */
    bool computes; /* has the common options: dtype threads device seed set json */
    const char *const
        *without; /* except these, which would have no effect; NULL-terminated or NULL */
    pb_status (*run)(pb_cli *cli);
} pb_command;

/* The input of a command. */
struct pb_cli {
    const pb_command *command;
    const pb_command *const *commands; /* all of the program, for those that print them */
    pb_comm *comm;                     /* borrowed */
    int exit_code; /* 0; a command that returns PB_OK may set 3 (stopped) or 4 (cells failed) */
    struct pb_cli_values *values;
};

/* Values by option name; the option must be in the command's table or a common one. An option that
 * was not given has its fallback or, without one, NULL, 0, false or no items. */
const char *pb_cli_text(const pb_cli *cli, const char *name);
int64_t pb_cli_int(const pb_cli *cli, const char *name);
bool pb_cli_flag(const pb_cli *cli, const char *name);
const char *const *pb_cli_list(const pb_cli *cli, const char *name, int64_t *count);
bool pb_cli_given(const pb_cli *cli, const char *name); /* typed, not a fallback */

/* Stores the typed options that set fields of the table; other members keep their values. */
void pb_cli_overlay(const pb_cli *cli, const pb_config_field *fields, void *object);

/* Arguments that are not options. */
int pb_cli_argument_count(const pb_cli *cli);
const char *pb_cli_argument(const pb_cli *cli, int index); /* NULL past the last */

/* Writes a text to standard output, on rank 0 only, and fails if it cannot be written. A closed
 * pipe is not an error: nothing more is written then. */
pb_status pb_cli_print(const pb_cli *cli, const char *text) PB_MUST_USE;
bool pb_cli_is_heard(void); /* the reader is still there */
/* --width, else $COLUMNS, else the columns of the terminal, else PB_TABLE_WIDTH. */
int64_t pb_cli_width(const pb_cli *cli);

/* --device → backend and number. */
pb_status pb_cli_device(const pb_cli *cli, const char **name, int *number) PB_MUST_USE;
/* --dtype: what pb_backend_use_dtype takes. */
pb_dtype pb_cli_dtype(const pb_cli *cli);

/* Parses the arguments after the command's name. */
pb_status pb_cli_open(const pb_command *command, pb_comm *comm, int argc, char *const *argv,
                      pb_cli **out) PB_MUST_USE;
void pb_cli_close(pb_cli *cli); /* accepts NULL */

/* Runs the command named by argv[1] from a NULL-terminated table. Collective; every rank gets the
 * worst status and exit code of all. */
pb_status pb_cli_dispatch(const pb_command *const *commands, pb_comm *comm, int argc,
                          char *const *argv, int *exit_code) PB_MUST_USE;

/* The first call of main: where the command named by argv[1] can be stopped, signals are caught and
 * armed until the end of the program. On every rank: one killed by a signal would end the others.
 */
void pb_cli_catch(const pb_command *const *commands, int argc, char *const *argv);

/* Prepares what the command named by argv[1] needs before MPI starts; see pb_kernels_start, which
 * may restart the program. Errors are left to pb_cli_dispatch. */
void pb_cli_prepare(const pb_command *const *commands, int argc, char *const *argv);

/* The commands of this program, NULL-terminated. */
const pb_command *const *pb_cli_commands(void);

/* 0 done; 1 failed; 2 bad usage or configuration; 3 stopped with everything kept. */
int pb_cli_exit_code(pb_status status);
