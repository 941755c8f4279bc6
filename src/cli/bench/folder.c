// SPDX-License-Identifier: Apache-2.0
/* The folder of data --bench: its files are removed when the command ends, also when it is
 * stopped. */
#include "rows.h"

#include "pb/file.h"
#include "pb/memory.h"
#include "pb/stop.h"

#include <errno.h>
#include <string.h>

pb_status bench_folder_check(const bench_folder *folder)
{
    pb_status status = pb_stop_check();
    return status == PB_OK ? PB_OK
                           : pb_error_prefix(status, "data --bench: %s is removed", folder->path);
}

pb_status bench_folder_make(bench_folder *folder)
{
    pb_stop_catch();
    pb_stop_arm(0);
    folder->watches = true;
    PB_TRY(pb_temporary_make("peftbench-data", &folder->path));
    PB_TRY(pb_path_join(folder->path, "rows.jsonl", &folder->rows));
    PB_TRY(pb_path_join(folder->path, "rows.cfg", &folder->config));
    PB_TRY(pb_path_join(folder->path, "cache", &folder->cache));
    PB_TRY(bench_rows_configure(folder->config, folder->rows));
    folder->file = fopen(folder->rows, "wbxe");
    if (folder->file == NULL) {
        return PB_FAIL(PB_ERR_IO, "cannot write %s: %s%s", folder->rows, strerror(errno),
                       pb_file_remedy(errno));
    }
    return PB_OK;
}

void bench_folder_remove(bench_folder *folder)
{
    if (folder->file != NULL) {
        (void)fclose(folder->file);
    }
    pb_temporary_remove(folder->path);
    if (folder->watches) {
        pb_stop_release();
    }
    pb_memory_free(folder->path);
    pb_memory_free(folder->rows);
    pb_memory_free(folder->config);
    pb_memory_free(folder->cache);
    *folder = (bench_folder){0};
}
