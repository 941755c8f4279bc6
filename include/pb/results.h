// SPDX-License-Identifier: Apache-2.0
/* Records on disk: a shard per cell while a sweep runs, one merged HDF5 file afterwards
 * (results/README.md is the schema), and the list of cells a directory is to hold.
 *
 * A shard or merged file is written to a temporary, closed, fsynced and renamed: a file under its
 * final name is complete. Texts that are not UTF-8 are stored with \xHH escapes and counted. */
#pragma once

#include "pb/file.h"
#include "pb/record.h"
#include "pb/string.h"

#define PB_RESULTS_SCHEMA 1

/* What a directory is to hold: `run` writes it once, `status` and `merge` read it
 * (DIRECTORY/plan.json). */
typedef struct pb_plan {
    char *name;     /* of the sweep; the merged file is DIRECTORY/<name>.h5 */
    char *protocol; /* "paper" or "corrected" */
    char *command_line;
    pb_record_key
        *cells; /* axes in the order of the results: by first appearance; by pb_plan_add */
    int64_t count;
} pb_plan;

void pb_plan_clear(pb_plan *plan); /* accepts a zeroed one */
pb_status pb_plan_add(pb_plan *plan, const char *model, const char *dataset, const char *method,
                      int64_t seed, const char *config_hash) PB_MUST_USE;
pb_status pb_plan_write(const char *directory, const pb_plan *plan) PB_MUST_USE; /* atomic */
/* PB_ERR_NOT_FOUND when there is no plan in the directory. */
pb_status pb_plan_read(const char *directory, pb_plan *out) PB_MUST_USE;

/* One hash over a plan and the checksums of its shards ("" where there is none): a merged file has
 * it as an attribute, which shows whether it was made from exactly these. */
pb_status pb_plan_shards_hash(const pb_plan *plan, char (*checksums)[PB_HASH_TEXT],
                              char text[PB_HASH_TEXT]) PB_MUST_USE;

typedef enum pb_shard_state {
    PB_SHARD_MISSING,
    PB_SHARD_DONE,
    PB_SHARD_FAILED,
    PB_SHARD_DAMAGED /* not a regular file, not the bytes that were written, or another cell's */
} pb_shard_state;

/* Writes DIRECTORY/shards/<model>__<dataset>__<method>__<seed>__<config_hash>.h5 (names escaped, 16
 * digits of the hash). Makes the folder. */
pb_status pb_shard_write(const char *directory, const pb_record *record) PB_MUST_USE;
/* The path of a cell's shard, whether it exists or not. */
/* DIRECTORY/FOLDER/<cell><suffix>: the name of the shard, for other files of the cell. */
pb_status pb_cell_file_path(const char *directory, const char *folder, const pb_record_key *key,
                            const char *suffix, char **out) PB_MUST_USE;
pb_status pb_shard_path(const char *directory, const pb_record_key *key, char **out) PB_MUST_USE;
/* Reads one file: `parts` of its record when it is DONE or FAILED (else *out is unchanged), and,
 * when it is DAMAGED, a text that names file and cause, to be freed by the caller (else NULL). An
 * error only where the system refuses to read the file. */
pb_status pb_shard_examine(const char *path, pb_record_parts parts, pb_record *out,
                           pb_shard_state *state, char **damage) PB_MUST_USE;
/* The same for a cell in its configuration. */
pb_status pb_shard_find(const char *directory, const pb_record_key *key, pb_record_parts parts,
                        pb_record *out, pb_shard_state *state, char **damage) PB_MUST_USE;
/* Renames a damaged shard to a name that ends in ".damaged", or ".damaged.2" and so on where that
 * is taken; *out: that path. Only the holder of the lock may call it. */
pb_status pb_shard_set_aside(const char *directory, const pb_record_key *key,
                             char **out) PB_MUST_USE;

/* Where a process commits its results: a shard per cell, or, `packed`, DIRECTORY/shards/NNNN.pack,
 * a file with the shards of all cells of this process, which grows by one after the other. `round`
 * is above that of every earlier run in the directory. */
typedef struct pb_shard_writer pb_shard_writer;

pb_status pb_shard_writer_open(const char *directory, bool packed, int64_t round, int rank,
                               pb_shard_writer **out) PB_MUST_USE;
pb_status pb_shard_writer_put(pb_shard_writer *writer, const pb_record *record) PB_MUST_USE;
pb_status pb_shard_writer_close(pb_shard_writer *writer) PB_MUST_USE; /* accepts NULL */

/* All shards of a directory, those in packs as they were when it was opened. */
typedef struct pb_shards pb_shards;

pb_status pb_shards_open(const char *directory, pb_shards **out) PB_MUST_USE;
/* Adds what has been written since. */
pb_status pb_shards_update(pb_shards **shards) PB_MUST_USE;
void pb_shards_close(pb_shards *shards);          /* accepts NULL */
int64_t pb_shards_round(const pb_shards *shards); /* the latest, 0 without packs */
/* As pb_shard_find and pb_shard_set_aside, wherever the shard is. */
pb_status pb_shards_find(const pb_shards *shards, const pb_record_key *key, pb_record_parts parts,
                         pb_record *out, pb_shard_state *state, char **damage) PB_MUST_USE;
pb_status pb_shards_set_aside(pb_shards *shards, const pb_record_key *key, char **out) PB_MUST_USE;
/* Cells in packs, and one of them as pb_shard_examine reads one. */
int64_t pb_shards_packed(const pb_shards *shards);
pb_status pb_shards_read(const pb_shards *shards, int64_t index, pb_record_parts parts,
                         pb_record *out, pb_shard_state *state, char **damage) PB_MUST_USE;
/* Damage to packs that hides the cells it hit: a text for each. */
int64_t pb_shards_damaged(const pb_shards *shards);
pb_status pb_shards_damage(const pb_shards *shards, int64_t index, pb_string *out) PB_MUST_USE;
/* Sets this damage aside, with a warning, and writes damaged packs again without it and without
 * what was set aside. Only the holder of the lock may call it; `shards` must then be closed. */
pb_status pb_shards_mend(pb_shards *shards) PB_MUST_USE;
/* Shards that the sweep does not ask for: other cells, other configurations. */
pb_status pb_shards_count_others(const pb_shards *shards, const pb_plan *plan,
                                 int64_t *count) PB_MUST_USE;

/* "a/b" → a name that is one path component of a file system and of HDF5, one to one. */
pb_status pb_results_escape(const char *name, pb_string *out) PB_MUST_USE;

typedef enum pb_cell_state {
    PB_CELL_EXCLUDED = -1, /* the sweep does not ask for it */
    PB_CELL_MISSING  = 0,
    PB_CELL_DONE     = 1,
    PB_CELL_FAILED   = 2,
    PB_CELL_INVALID  = 3 /* done, but its validation failed */
} pb_cell_state;

/* Cells over their axes. Records are read without curves; those stay in their files. */
typedef struct pb_results {
    /* owned, may be NULL; `sweep` is, of a directory, when it has no plan */
    char *sweep, *protocol, *command_line, *created, *program;
    char **models, **datasets, **methods;
    int64_t *seeds;
    int64_t models_count, datasets_count, methods_count, seeds_count;
    pb_record *records; /* in the order of the grid */
    int64_t count;
    int64_t *grid; /* [models][datasets][methods][seeds]: index of the record, or -1 */
    int8_t *state; /* the same shape: pb_cell_state */
    struct pb_results_index *index; /* of the names */
    struct pb_results_texts *texts; /* of the records */
    char **damaged; /* [damaged_count] file and cause of every damaged shard of the directory */
    int64_t damaged_count;
    char shards[PB_HASH_TEXT]; /* pb_plan_shards_hash; "" where there is no plan */
    int64_t stale;    /* shards left out: the plan asks for another configuration, or not at all */
    int64_t repeated; /* cells found in more than one file with the same configuration */
} pb_results;

void pb_results_clear(pb_results *results); /* accepts a zeroed one */

/* Opening, merging and hashing read many files; a stop (pb/stop.h) ends them with PB_STOPPED. */

/* All shards of a directory except the damaged ones, which are listed. With a plan.json, only cells
 * of the plan; others are counted as stale. Without, the axes are the sorted names in the shards,
 * and cells without a shard count as missing. */
pb_status pb_results_open_directory(const char *directory, pb_results *out) PB_MUST_USE;
/* The same with these parts of every record; the above is with PB_RECORD_NUMBERS. */
pb_status pb_results_open_parts(const char *directory, pb_record_parts parts,
                                pb_results *out) PB_MUST_USE;

/* Merged files or single shards. The same cell twice with different configurations is an error. */
pb_status pb_results_open(const char *const *paths, int64_t count, pb_results *out) PB_MUST_USE;

int64_t pb_results_index(const pb_results *results, int64_t model, int64_t dataset, int64_t method,
                         int64_t seed);
int64_t pb_results_positions(const pb_results *results); /* of the grid */
/* The names of the cell at a position, borrowed; without its configuration. */
pb_record_key pb_results_key(const pb_results *results, int64_t position);
/* Cells in this state. */
int64_t pb_results_count(const pb_results *results, pb_cell_state state);

/* A key that varies among the names of an axis (pb/variant.h). In a sweep it varies on one axis. */
typedef struct pb_results_setting {
    char *key;    /* owned: "r" */
    char *column; /* owned: "setting_r", fit for a name in HDF5 */
    int axis;     /* 0 model, 1 dataset, 2 method */
    bool numeric; /* all of its values are numbers, true or false */
} pb_results_setting;

typedef struct pb_results_settings {
    pb_results_setting *items; /* by axis, then in the order of its names */
    int64_t count;
} pb_results_settings;

pb_status pb_results_settings_find(const pb_results *results, pb_results_settings *out) PB_MUST_USE;
void pb_results_settings_clear(pb_results_settings *settings); /* accepts a zeroed one */
/* The names of a key by axis, as `axis` above counts them. */
const char *pb_record_key_name(const pb_record_key *key, int axis);

/* Test rows and the score of each row, as in predictions/row and predictions/value. */
typedef struct pb_record_values {
    int64_t *rows;  /* [count] numbers of the test rows; a number may occur more than once */
    double *values; /* [count] NaN where unknown */
    int64_t count;
} pb_record_values;

/* Reads nothing else from the file of the record and does not change the record. */
pb_status pb_record_values_read(const pb_record *record, pb_record_values *out) PB_MUST_USE;
void pb_record_values_clear(pb_record_values *values); /* accepts a zeroed one */

/* The configuration of a record, which is left out unless the record is complete; likewise. */
pb_status pb_record_config_read(const pb_record *record, char **out) PB_MUST_USE;

/* Calls `visit` with the complete record. Where its curves are still on disk, it is loaded for the
 * call; that fails when the file has changed since. */
typedef pb_status (*pb_record_visitor)(void *context, const pb_record *whole);
pb_status pb_record_visit(const pb_record *record, pb_record_visitor visit,
                          void *context) PB_MUST_USE;

/* The PSCP score per model and method, [models][methods] each, NaN where there is none. */
typedef struct pb_results_pscp {
    double *pscp, *score, *cost_p, *cost_f, *cost_m; /* 1 … factors; score: P */
    double *params, *flops_t, *memory_gb;            /* the measured inputs M */
    double *pscp_std;  /* sample standard deviation of the PSCP of single seeds */
    int64_t *datasets; /* how many data sets entered, of */
    int64_t *datasets_planned;
    double beta_p, beta_f, beta_m, c_p, c_f, c_m;
} pb_results_pscp;

/* Writes the merged file, atomically. Curves are taken from the files of the records one by one.
 * `pscp` may be NULL. */
pb_status pb_results_write(const pb_results *results, const pb_results_pscp *pscp,
                           const char *path) PB_MUST_USE;

/* SHA-256 over everything but timings, memory of the system, provenance, energy and dates: the same
 * whatever the number of ranks, kills and resumes. */
pb_status pb_results_digest(const pb_results *results, char text[PB_HASH_TEXT]) PB_MUST_USE;

/* Values that differ between two records of a cell: a number, a text, or a column of a list. */
typedef struct pb_record_difference {
    const char *list, *name; /* list: "train", NULL: a value of the cell itself */
    int64_t count, of;       /* how many of the values that both have differ */
    int64_t first;           /* row of the first of them, and its values; of texts a, b are NaN */
    double a, b;
    const char *text_a, *text_b;
    double largest; /* relative difference of any of these numbers; 0: they are texts */
} pb_record_difference;

typedef pb_status (*pb_record_differs)(void *context, const pb_record_difference *difference);
/* Calls `differs` for whatever differs among all that the digest covers, except configuration hash
 * and names. Both are complete. */
pb_status pb_record_compare(const pb_record *a, const pb_record *b, pb_record_differs differs,
                            void *context) PB_MUST_USE;

/* "HDF5 1.10.8". */
const char *pb_results_library(void);
