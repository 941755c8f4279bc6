// SPDX-License-Identifier: Apache-2.0
/* The files of data --bench. */
#pragma once

#include "made_text.h"

#include <stdio.h>

/* Appends `count` rows like those of MNLI to the file: a premise of about 20 words, a hypothesis of
 * about 10, a label; now and then other scripts, escaped as the hub's files are. */
pb_status data_rows_append(made_text *m, int64_t count, FILE *file) PB_MUST_USE;
/* Writes the configuration of such a file, `rows` beside it: group dataset, and group bare, which
 * reads the same rows and makes no text of them. */
pb_status data_rows_configure(const char *path, const char *rows) PB_MUST_USE;

/* A folder of its own below $TMPDIR. */
typedef struct data_folder {
    char *path;
    char *rows, *config, *cache; /* paths in it */
    FILE *file;                  /* `rows`, open for more of them */
    bool watches;                /* for signals, see pb/stop.h */
} data_folder;

/* From here on signals only ask to stop. On failure it has to be removed all the same. */
pb_status data_folder_make(data_folder *folder) PB_MUST_USE;
/* PB_STOPPED when a signal asked for it. */
pb_status data_folder_check(const data_folder *folder) PB_MUST_USE;
void data_folder_remove(data_folder *folder); /* accepts a zeroed one */
