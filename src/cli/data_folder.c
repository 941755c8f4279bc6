// SPDX-License-Identifier: Apache-2.0
/* The folder of data --bench: files that go away with the command, also when it is stopped. */
#include "data_bench.h"

#include "pb/file.h"
#include "pb/memory.h"
#include "pb/stop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

pb_status data_folder_check(const data_folder *folder)
{
    pb_status status = pb_stop_check();
    return status == PB_OK ? PB_OK
                           : pb_error_prefix(status, "data --bench: %s is removed", folder->path);
}

pb_status data_folder_make(data_folder *folder)
{
    const char *parent = getenv("TMPDIR");

    PB_TRY(pb_path_join(parent != NULL && *parent != '\0' ? parent : "/tmp",
                        "peftbench-data-XXXXXX", &folder->path));
    pb_stop_catch();
    pb_stop_arm(0);
    folder->watches = true;
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
    if (folder->watches) {
        pb_stop_release();
    }
    pb_memory_free(folder->path);
    pb_memory_free(folder->rows);
    pb_memory_free(folder->config);
    pb_memory_free(folder->cache);
    *folder = (data_folder){0};
}
