// SPDX-License-Identifier: Apache-2.0
/* The table of commands, and running the named one. */
#include "commands.h"

#include "pb/log.h"
#include "pb/registry.h"

#include <string.h>

/* In the order of the help. A new command adds its declaration to commands.h and a line here. */
static const pb_command *const registry[] = {
    &command_run,      &command_plan,       &command_status,
    &command_merge,    &command_report,     &command_pscp,
    &command_list,     &command_info,       &command_bench,
    &command_data,     &command_tokenize,   &command_prompt,
    &command_score,    &command_logits,     &command_train,
    &command_evaluate, &command_generate,   &command_replay,
    &command_manual,   &command_completion, NULL,
};

const pb_command *const *pb_cli_commands(void)
{
    return registry;
}

int pb_cli_exit_code(pb_status status)
{
    switch (status) {
    case PB_OK:
        return 0;
    case PB_ERR_USAGE:
    case PB_ERR_CONFIG:
        return 2;
    case PB_STOPPED:
        return 3;
    default:
        return 1;
    }
}

static pb_status find_command(const pb_command *const *commands, const char *name,
                              const pb_command **out)
{
    const pb_registry registry_of = {.kind = "command", .entries = commands};
    size_t index;

    PB_TRY(pb_registry_find(&registry_of, name, &index));
    *out = commands[index];
    return PB_OK;
}

/* Help of one command, of the program when `command` is NULL. */
static pb_status print_help(const pb_command *const *commands, const pb_command *command,
                            pb_comm *comm)
{
    pb_string text = {0};
    pb_status status;

    PB_TRY_GOTO(status,
                command != NULL ? cli_help_command(command, &text)
                                : cli_help_program(commands, &text),
                done);
    PB_TRY_GOTO(status, cli_write(comm, text.data), done);
done:
    pb_string_clear(&text);
    return status;
}

/* A request for help takes precedence over any error on the same line. */
bool cli_asks_for_help(int argc, char *const *argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return true;
        }
    }
    return false;
}

/* The request of this process's command line. */
typedef struct request {
    const pb_command *command; /* NULL: the program as a whole */
    bool help, version;
    pb_cli *cli; /* NULL with help or version */
} request;

static pb_status parse(const pb_command *const *commands, pb_comm *comm, int argc,
                       char *const *argv, request *out)
{
    pb_log_level level = PB_LOG_INFO;
    const char *name   = argc > 1 ? argv[1] : "--help";
    bool help          = strcmp(name, "help") == 0;

    out->version = strcmp(name, "--version") == 0;
    out->help    = strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || (help && argc == 2);
    if (out->version || out->help) {
        return PB_OK;
    }
    PB_TRY(find_command(commands, help ? argv[2] : name, &out->command));
    out->help = help || cli_asks_for_help(argc - 2, argv + 2);
    if (out->help) {
        return PB_OK;
    }
    PB_TRY(pb_cli_open(out->command, comm, argc - 2, argv + 2, &out->cli));
    out->cli->commands = commands;
    PB_TRY(pb_log_parse_level(pb_cli_text(out->cli, "log-level"), &level));
    pb_log_setup(level, pb_comm_rank(comm), pb_comm_size(comm));
    return PB_OK;
}

/* Processes that run different commands would wait for each other in different calls. */
static pb_status check_request(const pb_command *const *commands, pb_comm *comm, const request *r)
{
    int64_t number = r->version ? 1 : r->help ? 2 : 3;
    for (int64_t i = 0; r->command != NULL && commands[i] != NULL; i++) {
        number += commands[i] == r->command ? 4 * (i + 1) : 0;
    }
    int64_t extremes[2] = {number, -number};
    PB_TRY(pb_comm_reduce_max(comm, extremes, 2));
    return extremes[0] == -extremes[1]
               ? PB_OK
               : PB_FAIL(PB_ERR_USAGE, "the processes of this group were given different "
                                       "commands; start all of them with the same one");
}

static pb_status perform(const pb_command *const *commands, pb_comm *comm, const request *r,
                         int *exit_code)
{
    if (r->version) {
        return cli_write(comm, "peftbench " PB_VERSION "\n");
    }
    if (r->help) {
        return print_help(commands, r->command, comm);
    }
    if (r->command->alone && pb_comm_size(comm) > 1) {
        return PB_FAIL(PB_ERR_USAGE,
                       "peftbench %s runs in one process: start it without a launcher",
                       r->command->name);
    }
    if (r->command->first && pb_comm_rank(comm) != 0) {
        return PB_OK;
    }
    pb_status status = r->command->run(r->cli);
    *exit_code       = r->cli->exit_code;
    return status;
}

/* If every rank failed with the same status, rank 0 reports it; otherwise the worst status and its
 * message go to all. */
static pb_status agree(pb_comm *comm, pb_status status)
{
    int64_t extremes[2] = {status, -(int64_t)status};
    PB_TRY(pb_comm_reduce_max(comm, extremes, 2));
    if (extremes[0] != -extremes[1]) {
        return pb_comm_agree(comm, status);
    }
    if (status != PB_OK && pb_comm_rank(comm) != 0) {
        pb_log_debug("%s", pb_error_message());
    }
    return status;
}

pb_status pb_cli_dispatch(const pb_command *const *commands, pb_comm *comm, int argc,
                          char *const *argv, int *exit_code)
{
    int code         = 0;
    request r        = {0};
    pb_status status = agree(comm, parse(commands, comm, argc, argv, &r));
    if (status == PB_OK) {
        status = check_request(commands, comm, &r);
    }
    if (status == PB_OK) {
        status = perform(commands, comm, &r, &code);
        status = status != PB_ERR_COMM ? agree(comm, status) : status;
    }
    pb_cli_close(r.cli);
    PB_TRY(status);
    int64_t worst = code;
    PB_TRY(pb_comm_reduce_max(comm, &worst, 1));
    *exit_code = (int)worst;
    return PB_OK;
}
