// SPDX-License-Identifier: Apache-2.0
/* Chooses the kernels, opens the process group, runs the command and turns the final status into
 * the exit code. */
#include "pb/cli.h"
#include "pb/comm.h"
#include "pb/file.h"
#include "pb/kernels.h"
#include "pb/log.h"
#include "pb/memory.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { GROUP_SECONDS = 10 };

/* With the signals ignored, a full disk or a closed pipe makes the write fail, with a proper
 * message. */
static void ignore_write_signals(void)
{
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
}

/* A handler has access to globals only: the group, and the previous action of SIGBUS. */
static pb_comm *group;
static struct sigaction bus_before;

/* Handles the loss of a page of a mapped file, in any thread: prints one message and aborts the
 * group. If the abort hangs, the alarm ends the process. Any other SIGBUS goes to the previous
 * action: a fault recurs at once, and a signal that was sent is raised again. */
static void on_lost_page(int number, siginfo_t *info, void *context)
{
    static const char head[] = "error: ";
    char line[1536]          = "error: ";
    size_t used              = sizeof head - 1;
    size_t length            = 0;

    (void)context;
    if (info->si_code > 0) {
        length = pb_mapping_describe_loss(info->si_addr, line + used, sizeof line - used - 1);
    }
    if (length == 0) {
        (void)sigaction(SIGBUS, &bus_before, NULL);
        if (info->si_code <= 0) {
            (void)raise(number);
        }
        return;
    }
    used += length;
    line[used++] = '\n';
    if (write(STDERR_FILENO, line, used) < 0 || pb_comm_size(group) == 1) {
        _exit(1);
    }
    (void)alarm(GROUP_SECONDS);
    pb_comm_abort(group, 1);
}

/* The MPI library may install its own handler for SIGBUS, so this one is installed after it. */
static void catch_lost_pages(pb_comm *comm)
{
    struct sigaction action = {.sa_sigaction = on_lost_page, .sa_flags = SA_SIGINFO};

    group = comm;
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGBUS, &action, &bus_before);
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

    pb_cli_catch(pb_cli_commands(), argc, argv);
    ignore_write_signals();
    if (pb_kernels_child(argc, argv)) {
        return 0;
    }
    pb_cli_prepare(pb_cli_commands(), argc, argv);
    pb_status status = pb_comm_open(&argc, &argv, &comm);
    if (status != PB_OK) {
        report(status);
        return pb_cli_exit_code(status);
    }
    catch_lost_pages(comm);
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
