// SPDX-License-Identifier: Apache-2.0
/* The folder of data --bench: files that go away with the command, also when it is stopped. */
#include "data_bench.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A handler can reach nothing but a global: the signal that asked to stop, 0 for none. */
static volatile sig_atomic_t stop_signal = 0;

/* A pipe that nobody reads any more makes the output fail instead. */
static const int stop_signals[DATA_SIGNALS] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};

static void on_signal(int number)
{
    stop_signal = number != SIGPIPE ? number : stop_signal;
}

static void watch_signals(data_folder *folder)
{
    stop_signal = 0;
    for (int i = 0; i < DATA_SIGNALS; i++) {
        struct sigaction action = {0};
        action.sa_handler       = on_signal;
        action.sa_flags         = SA_RESTART;
        (void)sigemptyset(&action.sa_mask);
        (void)sigaction(stop_signals[i], &action, &folder->old[i]);
    }
    folder->watches = true;
}

pb_status data_folder_check(const data_folder *folder)
{
    return stop_signal == 0
               ? PB_OK
               : PB_FAIL(PB_STOPPED, "data --bench: stopped by signal %d, %s is removed",
                         (int)stop_signal, folder->path);
}

pb_status data_folder_make(data_folder *folder)
{
    const char *parent = getenv("TMPDIR");

    PB_TRY(pb_path_join(parent != NULL && *parent != '\0' ? parent : "/tmp",
                        "peftbench-data-XXXXXX", &folder->path));
    watch_signals(folder);
    if (mkdtemp(folder->path) == NULL) {
        pb_status status =
            PB_FAIL(PB_ERR_IO, "%s cannot be made: %s%s; set TMPDIR to a folder with room",
                    folder->path, strerror(errno), pb_file_remedy(errno));
        pb_memory_free(folder->path);
        folder->path = NULL;
        return status;
    }
    PB_TRY(pb_path_join(folder->path, "rows.jsonl", &folder->rows));
    PB_TRY(pb_path_join(folder->path, "rows.cfg", &folder->config));
    PB_TRY(pb_path_join(folder->path, "cache", &folder->cache));
    PB_TRY(data_rows_configure(folder->config, folder->rows));
    folder->file = fopen(folder->rows, "wbxe");
    if (folder->file == NULL) {
        return PB_FAIL(PB_ERR_IO, "cannot write %s: %s%s", folder->rows, strerror(errno),
                       pb_file_remedy(errno));
    }
    return PB_OK;
}

static void remove_files(const char *directory)
{
    char **names = NULL;
    size_t count = 0;

    if (directory == NULL || !pb_path_exists(directory) ||
        pb_path_list(directory, NULL, &names, &count) != PB_OK) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        char *path = NULL;
        if (pb_path_join(directory, names[i], &path) == PB_OK) {
            (void)unlink(path);
        }
        pb_memory_free(path);
    }
    pb_memory_free_texts(names, count);
    (void)rmdir(directory);
}

void data_folder_remove(data_folder *folder)
{
    if (folder->file != NULL) {
        (void)fclose(folder->file);
    }
    remove_files(folder->cache);
    remove_files(folder->path);
    for (int i = 0; i < DATA_SIGNALS && folder->watches; i++) {
        (void)sigaction(stop_signals[i], &folder->old[i], NULL);
    }
    pb_memory_free(folder->path);
    pb_memory_free(folder->rows);
    pb_memory_free(folder->config);
    pb_memory_free(folder->cache);
    *folder = (data_folder){0};
}
