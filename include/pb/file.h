// SPDX-License-Identifier: Apache-2.0
/* Files: whole reads, read-only mappings, paths, and writes that are atomic and durable.
 * Every message names the path and the system's reason. */
#pragma once

#include "pb/status.h"
#include "pb/string.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Opens a regular file for reading; the caller closes *fd with close(). Folders, pipes, sockets and
 * devices are errors that name the kind, and a pipe without a writer does not block. The pointers
 * that Git LFS and git-annex leave in place of unfetched files are errors too; this holds for every
 * function here that reads a file. */
pb_status pb_file_open(const char *path, int *fd) PB_MUST_USE;

/* What the user can do about the system's reason (an errno), as a clause "; free some space …"; ""
 * where the reason suffices. */
const char *pb_file_remedy(int reason);

/* Recognises the remains of a failed download: "is empty", "holds an HTML page" …; NULL for any
 * other contents. For formats that never begin that way. */
const char *pb_file_failed_download(const void *bytes, size_t size);

/* A whole file in memory, terminated by an extra NUL. Refuses files above `max_bytes` (0: no
 * limit). Errors that may be transient are retried a few times. */
pb_status pb_file_read(const char *path, size_t max_bytes, pb_string *out) PB_MUST_USE;
/* `size` bytes from offset `at` on; fewer where the file ends before. */
pb_status pb_file_read_part(const char *path, int64_t at, size_t size, pb_string *out) PB_MUST_USE;

/* A read-only shared mapping; pages are shared by all processes of a node. */
typedef struct pb_mapping {
    const void *data; /* NULL for an empty file */
    size_t size;      /* bytes */
} pb_mapping;

pb_status pb_mapping_open(const char *path, pb_mapping *out) PB_MUST_USE;
void pb_mapping_close(pb_mapping *mapping); /* accepts a zeroed one */
/* Gives back the memory of the pages read so far. The contents stay: the next access reads them
 * again, from the system's cache while they are in it. */
void pb_mapping_release(const pb_mapping *mapping);

/* For a SIGBUS handler, async-signal-safe: the message for the file whose mapped page at `address`
 * the system cannot supply, because the file was cut short or its disk fails. Returns its bytes; 0
 * when no file is mapped there. */
size_t pb_mapping_describe_loss(const void *address, char *text, size_t size);

/* Atomic and durable: the bytes go to a temporary file beside `path`, which is fsynced, renamed
 * over `path`, and its directory fsynced. On failure the temporary is removed and `path` is
 * unchanged, with one exception: when only the last fsync fails, `path` already holds the new bytes
 * and a power failure may bring back the old ones. Every failure of the system is PB_ERR_IO,
 * including a missing directory.
 *
 * A symbolic link at `path` is not followed: the new file takes its place, and its target is
 * unchanged. A path that is or leads to anything but a regular file (a directory, a pipe, a device)
 * is refused. */
pb_status pb_file_write_atomic(const char *path, const void *bytes, size_t size) PB_MUST_USE;
/* All bytes, in as many pieces as the system takes; `path` for the message. */
pb_status pb_file_write_all(int fd, const char *path, const void *bytes, size_t size) PB_MUST_USE;

/* The halves of the above for writers of other libraries. The first creates an empty file beside
 * `path` under a unique name, "<path>.tmp.<host>.<pid>.<n>", and returns the name (free it with
 * pb_memory_free); the writer fills it, or removes it on failure. The last takes it over, complete
 * and closed, also on failure. A writer that uses stdio opens it with the second. */
pb_status pb_file_temporary_create(const char *path, char **out) PB_MUST_USE;
pb_status pb_file_temporary_stream(const char *temporary, FILE **out) PB_MUST_USE;
pb_status pb_file_commit(const char *temporary, const char *path) PB_MUST_USE;

bool pb_file_is_temporary(const char *name); /* whether this is the name of a temporary file */

/* An advisory lock on a file, which is created when missing and must be a regular file without
 * other names: no link is followed. It is held until it is released or the process ends in any way.
 * `holder` is written into the file; a process that finds it locked fails with PB_ERR_IO and that
 * text. On a file system without locks a warning is logged, and *out is NULL. */
typedef struct pb_file_lock pb_file_lock;

pb_status pb_file_lock_take(const char *path, const char *holder, pb_file_lock **out) PB_MUST_USE;
/* The same without a holder's text, for work that another process may do instead: *held is true,
 * and *out NULL, while another process has the lock. On a file system without locks *out is NULL,
 * without a warning. */
pb_status pb_file_lock_try(const char *path, pb_file_lock **out, bool *held) PB_MUST_USE;
void pb_file_lock_release(pb_file_lock *lock); /* accepts NULL; the file stays, empty */

/* Whether the lock is held, without creating the file or holding anything beyond the call; unknown
 * where it cannot be opened or there are no locks. */
typedef enum pb_file_lock_state {
    PB_FILE_LOCK_FREE,
    PB_FILE_LOCK_HELD,
    PB_FILE_LOCK_UNKNOWN
} pb_file_lock_state;

pb_file_lock_state pb_file_lock_look(const char *path);

pb_status pb_path_join(const char *directory, const char *name,
                       char **out) PB_MUST_USE;                        /* absolute name: itself */
pb_status pb_path_directory(const char *path, char **out) PB_MUST_USE; /* "." when there is none */
pb_status pb_path_make_directories(const char *path) PB_MUST_USE;      /* like mkdir -p */
pb_status pb_path_sync_directory(const char *path) PB_MUST_USE;        /* its names are durable */
bool pb_path_exists(const char *path);
pb_status pb_path_has(const char *directory, const char *name,
                      bool *out) PB_MUST_USE; /* the directory has the name */
bool pb_path_is_taken(const char *path);      /* also true for a dangling link */
bool pb_path_is_directory(const char *path);
/* Replaces ${NAME} from the environment; an unset variable is an error that names it. */
pb_status pb_path_expand(const char *path, char **out) PB_MUST_USE;

/* Sorted names (without "." and "..") in a directory that end in `suffix` (NULL: all). Free with
 * pb_memory_free_texts. */
pb_status pb_path_list(const char *directory, const char *suffix, char ***names,
                       size_t *count) PB_MUST_USE;
/* Calls `take` for each of these names, with its path, until one fails. */
typedef pb_status (*pb_path_take)(void *context, const char *path, const char *name);

pb_status pb_path_each(const char *directory, const char *suffix, pb_path_take take,
                       void *context) PB_MUST_USE;
/* The first name, sorted, that a pattern of the shell ("*.gguf") matches, NULL when there is none;
 * free with pb_memory_free. */
pb_status pb_path_match(const char *directory, const char *pattern, char **name) PB_MUST_USE;

/* A new folder "<prefix>-XXXXXX" in $TMPDIR, or in /tmp; its path is freed with pb_memory_free. */
pb_status pb_temporary_make(const char *prefix, char **path) PB_MUST_USE;
/* Removes a file or folder with everything in it, as far as possible; links are removed, not
 * followed. Accepts NULL. */
void pb_temporary_remove(const char *path);
