// SPDX-License-Identifier: Apache-2.0
/* The lock of a folder, and the temporary files that killed runs left behind in it. */
#include "internal.h"

#include "pb/clock.h"
#include "pb/log.h"
#include "pb/memory.h"
#include "pb/stop.h"
#include "pb/string.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { HOST_BYTES = 256 };

#define SECONDS_UNTOLD 2.0

/* A temporary file whose name begins with the prefix; one that cannot be removed does no harm. */
static pb_status remove_temporary(void *prefix, const char *path, const char *name)
{
    if (pb_string_begins(name, prefix) && pb_file_is_temporary(name) && remove(path) != 0) {
        pb_log_warn("%s of a killed run cannot be removed: %s", path, strerror(errno));
    }
    return PB_OK;
}

/* Of a folder that may be missing. */
static pb_status remove_temporaries_of(const char *directory, const char *name)
{
    char *path       = NULL;
    pb_status status = PB_OK;
    PB_TRY(pb_path_join(directory, name, &path));
    if (pb_path_is_directory(path)) {
        status = pb_path_each(path, NULL, remove_temporary, "");
    }
    pb_memory_free(path);
    return status;
}

/* Only the files of a run of this sweep: `merge` may be writing a file of another name. */
pb_status lock_clean(const char *directory, const char *sweep)
{
    pb_string merged = {0};
    pb_status status;

    PB_TRY_GOTO(status, pb_string_printf(&merged, "%s.h5.tmp.", sweep), out);
    PB_TRY_GOTO(status, pb_path_each(directory, NULL, remove_temporary, "plan.json.tmp."), out);
    PB_TRY_GOTO(status, pb_path_each(directory, NULL, remove_temporary, merged.data), out);
    PB_TRY_GOTO(status, remove_temporaries_of(directory, "shards"), out);
    PB_TRY_GOTO(status, remove_temporaries_of(directory, "checkpoints"), out);
    PB_TRY_GOTO(status, remove_temporaries_of(directory, "attempts"), out);
out:
    pb_string_clear(&merged);
    return status;
}

/* A file or a circular link of that name would make all shards unreadable. */
static pb_status make_shards_folder(const char *directory)
{
    char *shards = NULL;

    PB_TRY(pb_path_join(directory, "shards", &shards));
    pb_status status = pb_path_make_directories(shards);
    pb_memory_free(shards);
    return status;
}

/* Another job plans or merges, mostly for seconds. */
static pb_status wait_for(const char *path, const char *holder, double seconds, pb_file_lock **out)
{
    const struct timespec pause = {.tv_nsec = 20000000};
    double begin                = pb_clock_seconds();
    double told                 = begin + SECONDS_UNTOLD;
    pb_status status            = pb_file_lock_take(path, holder, out);
    while (status == PB_ERR_IO && pb_clock_seconds() - begin < seconds &&
           pb_file_lock_look(path) == PB_FILE_LOCK_HELD) {
        pb_error_clear();
        PB_TRY(pb_stop_check());
        if (pb_clock_seconds() > told) {
            pb_log0_info("waiting for %s, which another job holds", path);
            told = INFINITY;
        }
        (void)nanosleep(&pause, NULL);
        status = pb_file_lock_take(path, holder, out);
    }
    return status;
}

pb_status lock_take(const char *directory, const char *sweep, double seconds, pb_file_lock **out)
{
    char host[HOST_BYTES] = "";
    pb_string holder      = {0};
    char *path            = NULL;
    pb_file_lock *lock    = NULL;
    pb_status status;

    if (gethostname(host, sizeof host - 1) != 0) {
        (void)snprintf(host, sizeof host, "unknown");
    }
    PB_TRY_GOTO(
        status,
        pb_string_printf(&holder, "sweep %s on host %s, process %ld", sweep, host, (long)getpid()),
        out);
    PB_TRY_GOTO(status, pb_path_join(directory, "run.lock", &path), out);
    PB_TRY_GOTO(status, wait_for(path, holder.data, seconds, &lock), out);
    PB_TRY_GOTO(status, make_shards_folder(directory), err_lock);
    *out = lock;
    goto out;

err_lock:
    pb_file_lock_release(lock);
out:
    pb_memory_free(path);
    pb_string_clear(&holder);
    return status;
}
