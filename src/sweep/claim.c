// SPDX-License-Identifier: Apache-2.0
#include "claim.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FILE_BYTES = 4096 };

/* The job that has the claim: "" if it does not say, or has not written its whole line yet; *there
 * is false without a claim. */
static pb_status read_claim(const char *path, char name[JOBS_NAME], bool *there)
{
    pb_string text = {0};
    name[0]        = '\0';
    *there         = pb_path_is_taken(path);
    if (!*there) {
        return PB_OK;
    }
    pb_status status = pb_file_read(path, FILE_BYTES, &text);
    if (status == PB_OK && text.length > 0 && text.length <= JOBS_NAME &&
        text.data[text.length - 1] == '\n') {
        (void)snprintf(name, JOBS_NAME, "%.*s", (int)text.length - 1, text.data);
    }
    pb_string_clear(&text);
    if (status != PB_OK && !pb_path_is_taken(path)) { /* it has just been removed */
        pb_error_clear();
        *there = false;
        return PB_OK;
    }
    return status;
}

static jobs_state state_of(jobs *j, const char *path, const char *name)
{
    if (*name != '\0') {
        return strcmp(name, jobs_name(j)) == 0 ? JOBS_LIVES : jobs_look(j, name);
    }
    return jobs_is_old(j, path) ? JOBS_GONE : JOBS_SILENT;
}

pb_status claim_look(jobs *j, const char *path, jobs_state *out)
{
    char name[JOBS_NAME];
    bool there = false;
    PB_TRY(read_claim(path, name, &there));
    *out = there ? state_of(j, path, name) : JOBS_GONE;
    return PB_OK;
}

/* Removes the claim of a job that is gone. One of several jobs that try succeeds: the others find
 * nothing to rename, or the claim of the first, which they put back. */
static pb_status take_over(jobs *j, const char *path, const char *gone)
{
    char name[JOBS_NAME];
    bool there    = false;
    char *folder  = NULL;
    pb_string own = {0};
    pb_status status;
    PB_TRY_GOTO(status, pb_path_directory(path, &folder), out);
    PB_TRY_GOTO(status, pb_string_printf(&own, "%s/.taken.%s", folder, jobs_name(j)), out);
    PB_TRY_GOTO(status, read_claim(path, name, &there), out);
    if (!there || strcmp(name, gone) != 0 || rename(path, own.data) != 0) {
        goto out;
    }
    PB_TRY_GOTO(status, read_claim(own.data, name, &there), out);
    if (strcmp(name, gone) != 0) {
        (void)link(own.data, path);
    }
    (void)unlink(own.data);
out:
    pb_memory_free(folder);
    pb_string_clear(&own);
    return status;
}

static pb_status fail(const char *path)
{
    return PB_FAIL(PB_ERR_IO, "cannot create %s: %s%s", path, strerror(errno),
                   pb_file_remedy(errno));
}

/* *made is false where there is a claim. */
static pb_status create(const jobs *j, const char *path, bool *made)
{
    char line[JOBS_NAME + 1];
    int length = snprintf(line, sizeof line, "%s\n", jobs_name(j));
    int fd     = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    *made      = fd >= 0;
    if (fd < 0) {
        return errno == EEXIST ? PB_OK : fail(path);
    }
    pb_status status = pb_file_write_all(fd, path, line, (size_t)length);
    if (close(fd) != 0 && status == PB_OK) {
        status = fail(path);
    }
    if (status != PB_OK) {
        (void)unlink(path);
    }
    return status;
}

pb_status claim_take(jobs *j, const char *path, bool *mine, char from[JOBS_NAME])
{
    from[0] = '\0';
    for (int i = 0; i < 2; i++) {
        char name[JOBS_NAME];
        bool there = false;
        PB_TRY(create(j, path, mine));
        if (*mine) {
            return PB_OK;
        }
        PB_TRY(read_claim(path, name, &there));
        *mine = there && strcmp(name, jobs_name(j)) == 0; /* NFS lost the answer */
        if (*mine || (there && state_of(j, path, name) != JOBS_GONE)) {
            return PB_OK;
        }
        if (there) {
            (void)snprintf(from, JOBS_NAME, "%s",
                           *name != '\0' ? name : "that does not say its name");
            PB_TRY(take_over(j, path, name));
        }
    }
    return PB_OK;
}
