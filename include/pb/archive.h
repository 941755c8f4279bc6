// SPDX-License-Identifier: Apache-2.0
/* A file of state: what is written is read back in the same order, by the same code.
 *
 *     PB_TRY(pb_archive_create(path, identity, &a));    or pb_archive_open: then a is read
 *     status = pb_archive_bytes(a, &step, sizeof step);
 *     status = pb_archive_close(a, status);
 *
 * The bytes are those of this machine: an archive is for the program that wrote it. The file begins
 * with its identity and ends with the SHA-256 of everything before it. It is written as
 * pb_file_write_atomic writes, and never held in memory as a whole. */
#pragma once

#include "pb/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct pb_archive pb_archive;

pb_status pb_archive_create(const char *path, const char *identity, pb_archive **out) PB_MUST_USE;
/* Checks the whole file. Without a file *out is NULL; PB_ERR_FORMAT, with the cause, when it is
 * damaged or has another identity. */
pb_status pb_archive_open(const char *path, const char *identity, pb_archive **out) PB_MUST_USE;
/* `status`: of the work. Publishes a new archive if it is PB_OK, else leaves no trace of it and
 * returns that status. Accepts NULL. */
pb_status pb_archive_close(pb_archive *archive, pb_status status) PB_MUST_USE;

bool pb_archive_reads(const pb_archive *archive);

/* Each writes what is there, or replaces it by what was written; PB_ERR_FORMAT at the end. */
pb_status pb_archive_bytes(pb_archive *archive, void *bytes, size_t size) PB_MUST_USE;
pb_status pb_archive_text(pb_archive *archive, char **text) PB_MUST_USE; /* owned, may be NULL */
