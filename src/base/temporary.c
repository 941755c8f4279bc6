// SPDX-License-Identifier: Apache-2.0
/* Temporary folders. */
#include "pb/file.h"

#include "pb/memory.h"
#include "pb/string.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

pb_status pb_temporary_make(const char *prefix, char **path)
{
    const char *parent = getenv("TMPDIR");
    pb_string name     = {0};
    char *made         = NULL;
    pb_status status;

    PB_TRY_GOTO(status, pb_string_printf(&name, "%s-XXXXXX", prefix), out);
    PB_TRY_GOTO(status,
                pb_path_join(parent != NULL && *parent != '\0' ? parent : "/tmp", name.data, &made),
                out);
    if (mkdtemp(made) == NULL) {
        status = PB_FAIL(PB_ERR_IO, "cannot create %s: %s%s; set TMPDIR to a folder with room",
                         made, strerror(errno), pb_file_remedy(errno));
        pb_memory_free(made);
        goto out;
    }
    *path = made;
out:
    pb_string_clear(&name);
    return status;
}

static int remove_entry(const char *path, const struct stat *about, int kind, struct FTW *place)
{
    (void)about;
    (void)kind;
    (void)place;
    (void)remove(path);
    return 0;
}

void pb_temporary_remove(const char *path)
{
    enum { OPEN_FOLDERS = 16 };

    if (path != NULL) {
        (void)nftw(path, remove_entry, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS);
    }
}
