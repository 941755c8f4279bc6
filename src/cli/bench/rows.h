// SPDX-License-Identifier: Apache-2.0
/* The files of data --bench. */
#pragma once

#include "text.h"

#include <stdio.h>

/* Appends `count` rows like those of MNLI to the file: a premise of about 20 words, a hypothesis of
 * about 10, a label; occasionally other scripts, escaped as in the hub's files. */
pb_status bench_rows_append(made_text *m, int64_t count, FILE *file) PB_MUST_USE;
/* Writes the configuration for such a file, `rows` beside it: group dataset, and group bare, which
 * reads the same rows but makes no text of them. */
pb_status bench_rows_configure(const char *path, const char *rows) PB_MUST_USE;

/* A temporary folder with the file of rows. */
typedef struct bench_folder {
    char *path;
    char *rows, *config, *cache; /* paths in it */
    FILE *file;                  /* `rows`, open for appending */
    bool watches;                /* signals are caught, see pb/stop.h */
} bench_folder;

/* From here on signals only request a stop. The folder must be removed also on failure. */
pb_status bench_folder_make(bench_folder *folder) PB_MUST_USE;
/* PB_STOPPED after a signal. */
pb_status bench_folder_check(const bench_folder *folder) PB_MUST_USE;
void bench_folder_remove(bench_folder *folder); /* accepts a zeroed one */
