// SPDX-License-Identifier: Apache-2.0
/* Choices made before MPI starts: the kernels, and how threads wait. */
#include "commands.h"

#include "pb/kernels.h"

#include <stdlib.h>
#include <string.h>

enum { THREADS_MAX = 4096 };

/* Whether the user may have set the threads: by --threads or, for `run`, in the grid file. */
static bool wants_threads(const char *command, int argc, char *const *argv)
{
    bool found = strcmp(command, command_run.name) == 0;
    for (int i = 0; i < argc && !found; i++) {
        found = strncmp(argv[i], "--threads", strlen("--threads")) == 0;
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

void pb_cli_prepare(const pb_command *const *commands, int argc, char *const *argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    while (*commands != NULL && strcmp((*commands)->name, name) != 0) {
        commands++;
    }
    if (*commands == NULL || cli_asks_for_help(argc - 2, argv + 2)) {
        return;
    }
    bool threads = wants_threads(name, argc - 2, argv + 2);
    if ((*commands)->computes || threads) {
        pb_kernels_start(argv, threads);
    }
    if (*commands == &command_info) {
        pb_kernels_measure_all(typed_threads(argc - 2, argv + 2));
    }
}
