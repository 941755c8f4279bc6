// SPDX-License-Identifier: Apache-2.0
/* Opens the process group, runs the command, turns the final status into the exit code. */
#include "pb/cli.h"
#include "pb/comm.h"
#include "pb/log.h"
#include "pb/memory.h"

#include <signal.h>
#include <stdio.h>

/* A full disk or a closed pipe becomes an error of the write, with its own message. */
static void ignore_write_signals(void)
{
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
}

static void report(pb_status status)
{
    char trail[8192];

    if (status == PB_STOPPED) {
        pb_log0_info("%s", pb_error_message());
    } else if (pb_log_get_level() >= PB_LOG_DEBUG) {
        pb_error_describe(trail, sizeof trail);
        pb_log0_error("%s", trail);
    } else {
        pb_log0_error("%s", pb_error_message());
    }
}

int main(int argc, char **argv)
{
    pb_comm *comm = NULL;
    int code      = 0;

    ignore_write_signals();
    pb_status status = pb_comm_open(&argc, &argv, &comm);
    if (status != PB_OK) {
        report(status);
        return pb_cli_exit_code(status);
    }
    pb_log_setup(PB_LOG_INFO, pb_comm_rank(comm), pb_comm_size(comm));
    status = pb_cli_dispatch(pb_cli_commands(), comm, argc, argv, &code);
    if (status == PB_ERR_COMM) {
        pb_log_error("%s", pb_error_message());
        pb_comm_abort(comm, 1);
    }
    if (status != PB_OK) {
        report(status);
        code = pb_cli_exit_code(status);
    }
    pb_comm_close(comm);
    if (pb_memory_current() > 0) {
        pb_log_warn("%zu accounted bytes were not returned at exit", pb_memory_current());
    }
    return code;
}
