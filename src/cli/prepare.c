// SPDX-License-Identifier: Apache-2.0
/* What is done before MPI starts: signals, the choice of kernels, and how threads wait. */
#include "commands.h"

#include "pb/kernels.h"
#include "pb/stop.h"
#include "pb/string.h"

#include <stdlib.h>
#include <string.h>

enum { THREADS_MAX = 4096 };

static bool has(const char *option, int argc, char *const *argv)
{
    bool found = false;
    for (int i = 0; i < argc && !found; i++) {
        found = pb_string_begins(argv[i], option);
    }
    return found;
}

/* The number after --threads; 1 if it is missing or not a number. */
static int typed_threads(int argc, char *const *argv)
{
    static const char option[] = "--threads";
    const size_t length        = sizeof option - 1;
    long threads               = 1;
    for (int i = 0; i < argc; i++) {
        bool here = strncmp(argv[i], option, length) == 0;
        if (here && argv[i][length] == '=') {
            threads = strtol(argv[i] + length + 1, NULL, 10);
        } else if (here && argv[i][length] == '\0' && i + 1 < argc) {
            threads = strtol(argv[i + 1], NULL, 10);
        }
    }
    return threads >= 0 && threads <= THREADS_MAX ? (int)threads : 1;
}

/* NULL: none, or its help is asked for. */
static const pb_command *find(const pb_command *const *commands, int argc, char *const *argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    while (*commands != NULL && strcmp((*commands)->name, name) != 0) {
        commands++;
    }
    return *commands == NULL || cli_asks_for_help(argc - 2, argv + 2) ? NULL : *commands;
}

void pb_cli_catch(const pb_command *const *commands, int argc, char *const *argv)
{
    const pb_command *command = find(commands, argc, argv);
    if (command != NULL && command->stops) {
        pb_stop_arm(0); /* first: a signal may wait to be caught */
        pb_stop_catch();
    }
}

void pb_cli_prepare(const pb_command *const *commands, int argc, char *const *argv)
{
    const pb_command *command = find(commands, argc, argv);
    if (command == NULL) {
        return;
    }
    /* The threads may be set by the option or, for `run`, in the grid file, for `replay` in the
     * record. */
    bool threads = command == &command_run || command == &command_replay ||
                   has("--threads", argc - 2, argv + 2);
    if (command->computes || threads) {
        pb_kernels_start(argv, threads);
    }
    if (command == &command_info && has("--measure", argc - 2, argv + 2)) {
        pb_kernels_measure_all(typed_threads(argc - 2, argv + 2));
    }
}
