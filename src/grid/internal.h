// SPDX-License-Identifier: Apache-2.0
/* What the files of the grid share. */
#pragma once

#include "pb/grid.h"
#include "pb/mistakes.h"

/* An axis whose values are files. */
typedef struct grid_axis {
    char **names;
    pb_config **configs;
    int64_t count;
} grid_axis;

/* Cells that an entry of `exclude` or a `when` speaks of: an absent key means any value. */
typedef struct grid_match {
    pb_config_list model, dataset, method;
    pb_config_ints seed;
} grid_match;

typedef struct grid_matches {
    grid_match *items;
    int64_t count;
} grid_matches;

struct pb_grid {
    pb_config *config; /* the grid file with sets of sweep and run */
    pb_config *sets;   /* all sets, the last layer of every cell */
    pb_grid_sweep sweep;
    pb_grid_run_options run;
    grid_axis axes[PB_AXIS_FILES];
    grid_matches excludes, overrides;
};

#define GRID_PLACE 512

extern const char *const pb_grid_axis_words[]; /* "model", "dataset", "method", NULL */
extern const char *const pb_grid_axis_keys[];  /* "models", … */

/* Keys of a group must be among `allowed`, each a group itself. */
pb_status pb_grid_check_groups(const pb_config *config, const char *group,
                               const char *const *allowed) PB_MUST_USE;

/* A file of the grid: that it cannot be read is a mistake in the configuration. */
pb_status pb_grid_file_open(const char *path, pb_config **out) PB_MUST_USE;

/* axis.c: what is wrong with a value becomes one of the mistakes. */
pb_status pb_grid_axis_open(pb_grid *grid, pb_grid_axis_kind kind,
                            pb_mistakes *mistakes) PB_MUST_USE;
void pb_grid_axis_close(grid_axis *axis);

/* match.c */
pb_status pb_grid_matches_read(pb_grid *grid) PB_MUST_USE;
void pb_grid_matches_clear(grid_matches *matches);
bool pb_grid_match_cell(const grid_match *match, const pb_grid_cell *cell);

/* watch.c */
struct pb_grid_watch {
    bool shows;      /* this process draws the progress line */
    double begin;    /* clock seconds at the start of the run */
    double deadline; /* clock seconds; 0: none */
    double drawn;    /* when the progress line was last drawn */
    int64_t cells, skipped, handed_out, finished, failed;
    const pb_grid_cell *cell; /* running here, NULL between cells */
};

/* `began`: clock seconds that the time limit counts from. */
void pb_grid_watch_begin(pb_grid_watch *watch, const pb_grid_run_options *run, double began);
void pb_grid_watch_end(pb_grid_watch *watch);
void pb_grid_watch_draw(pb_grid_watch *watch, const char *phase, double done);
const char *pb_grid_watch_reason(const pb_grid_watch *watch); /* "SIGTERM", "the time limit" */
