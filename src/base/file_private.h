// SPDX-License-Identifier: Apache-2.0
/* What the files of this module that read and write share. */
#pragma once

#include "pb/status.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/types.h>

/* Every failing system call ends here: verb and path, the system's reason, the remedy. */
#define FAIL_SYSTEM(verb, path) \
    file_fail(PB_ERR_IO, __FILE__, __LINE__, __func__, (verb), (path), errno)
pb_status file_fail(pb_status status, const char *file, int line, const char *function,
                    const char *verb, const char *path, int reason);

int file_sync(int fd); /* fsync, again after a signal */
/* Makes the entries of a directory durable. Some network file systems refuse to sync a directory
 * (EINVAL): their rename is as durable as they can make it. */

/* What is not a regular file, for messages: "a directory", "a pipe", "a device", … */
const char *file_kind(mode_t mode);

/* Whether a reading that failed with this errno, for the `tries`-th time, is worth another: then
 * the error is cleared, after a pause. */
bool file_try_again(pb_status status, int reason, int tries);
