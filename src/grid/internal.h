// SPDX-License-Identifier: Apache-2.0
/* Declarations shared by the files of this module. */
#pragma once

#include "pb/grid.h"
#include "pb/mistakes.h"

/* A value of an axis: a file, or a variant of it. */
typedef struct grid_value {
    char *name;
    pb_config *file;
    bool borrows;        /* the file is that of an earlier value */
    pb_config *settings; /* of a variant; NULL: none */
} grid_value;

typedef struct grid_axis {
    grid_value *items;
    int64_t count;
} grid_axis;

/* A key that varies, "method.r", and the axis with its variants. */
typedef struct grid_varied {
    char *key;
    pb_grid_axis_kind kind;
} grid_varied;

/* The cells that an entry of `exclude` or a `when` matches: an absent key matches any value. */
typedef struct grid_match {
    pb_config_list model, dataset, method;
    pb_config_ints seed;
} grid_match;

typedef struct grid_matches {
    grid_match *items;
    int64_t count;
} grid_matches;

struct pb_grid {
    pb_config *config;  /* the grid file with sets of sweep and run */
    pb_config *sets;    /* all sets, the last layer of every cell */
    pb_config *written; /* the group sweep as the grid file has it, without sets */
    pb_grid_sweep sweep;
    pb_grid_run_options run;
    pb_grid_search search;
    grid_axis axes[PB_AXIS_FILES];
    grid_varied *varied;
    int64_t varied_count;
    grid_matches excludes, overrides;
};

#define GRID_PLACE 512

/* file.c: that a file of the grid cannot be read is a mistake in the configuration. */
pb_status grid_file_open(const char *path, pb_config **out) PB_MUST_USE;
/* Keys of a group must be among `allowed`, each a group itself. */
pb_status grid_check_groups(const pb_config *config, const char *group,
                            const char *const *allowed) PB_MUST_USE;

/* Groups that override and vary may set. */
extern const char *const grid_cell_groups[];

/* value.c */
extern const char *const grid_axis_words[]; /* "model", "dataset", "method", NULL */
extern const char *const grid_axis_keys[];  /* "models", … */
/* The file of a name or path, and its name. */
pb_status grid_value_open(const pb_grid *grid, pb_grid_axis_kind kind, const char *place,
                          const char *value, grid_value *out) PB_MUST_USE;
void grid_value_close(grid_value *value); /* accepts a zeroed one */
/* Adds the value to its axis, or, on failure, closes it. `place`: where it is written, for the
 * message when its name is there already. */
pb_status grid_value_add_take(pb_grid *grid, pb_grid_axis_kind kind, const char *place,
                              grid_value *value) PB_MUST_USE;

/* axis.c */
/* An error in a value becomes one of the mistakes. */
pb_status grid_axis_open(pb_grid *grid, pb_grid_axis_kind kind, pb_mistakes *mistakes) PB_MUST_USE;
void grid_axis_close(grid_axis *axis);

/* vary.c: the variants of the entry at a key of `config`, "sweep.methods.[1]"; `only`: the one with
 * this name, NULL: all. */
pb_status grid_vary(pb_grid *grid, pb_grid_axis_kind kind, const pb_config *config,
                    const char *entry, const char *only) PB_MUST_USE;
/* The variant of this name, of any entry that the grid file has on the axis. */
pb_status grid_vary_select(pb_grid *grid, pb_grid_axis_kind kind, const char *place,
                           const char *name) PB_MUST_USE;

/* match.c */
pb_status grid_matches_read(pb_grid *grid) PB_MUST_USE;
void grid_matches_clear(grid_matches *matches);
bool grid_match_cell(const grid_match *match, const pb_grid_cell *cell);

/* dealer.c */
enum { GRID_MESSAGE = sizeof((pb_grid_outcome *)NULL)->message };

/* The cells to do, in gangs: gang g has those of the places first[g] … first[g + 1] - 1. */
typedef struct grid_gangs {
    int64_t *todo;  /* [cells] numbers of cells */
    int64_t *first; /* [count + 1] */
    int64_t cells, count;
} grid_gangs;

/* gangs.c: `leads` as pb_grid_job's gather fills it, for todo [count]. */
pb_status grid_gangs_open(const int64_t *todo, const int64_t *leads, int64_t count,
                          grid_gangs *out) PB_MUST_USE;
void grid_gangs_close(grid_gangs *gangs); /* accepts a zeroed one */

static inline int64_t grid_gang_size(const grid_gangs *gangs, int64_t gang)
{
    return gangs->first[gang + 1] - gangs->first[gang];
}

/* estimate.c: a method's cells that are left, and those that have finished. */
typedef struct grid_method {
    int64_t next; /* of the gangs that begin with it, the first that may be free; -1: none */
    double left;  /* cost of the cells without a result */
    double cost, seconds; /* of the finished ones */
    int64_t place;        /* in the heap; -1: it is not there */
    bool compared;
} grid_method;

typedef struct grid_estimate {
    const pb_grid_cells *cells;
    const grid_gangs *gangs;
    grid_method *methods; /* [count], by their place on the axis */
    int64_t count;
    int64_t *after;       /* [gangs] the next gang that begins with the same method; -1: none */
    double cost, seconds; /* of all finished cells */
    int64_t *queue;       /* [queued] a heap of methods by their next gang, the first one first */
    int64_t queued;
    int64_t *compared; /* [compared_count] methods whose next gangs are compared by their seconds */
    int64_t compared_count;
} grid_estimate;

pb_status grid_estimate_open(grid_estimate *e, const pb_grid_cells *cells,
                             const grid_gangs *gangs) PB_MUST_USE;
void grid_estimate_close(grid_estimate *e); /* accepts a zeroed one */
/* The free gang of the first model that is expected to take longest; -1: none is free. */
int64_t grid_estimate_longest(grid_estimate *e, const bool *free);
/* The gang is free again. */
void grid_estimate_free(grid_estimate *e, int64_t gang);
/* The cell at a place of gangs->todo has a result. */
void grid_estimate_finished(grid_estimate *e, int64_t place, double seconds, bool failed);
/* Seconds that one process would need for what is left; INFINITY before anything is known. */
double grid_estimate_left(const grid_estimate *e);

/* help.c: a gang, as far as others can help with it. */
typedef struct grid_help_run {
    int leader;    /* the rank that runs it; -1: none does */
    int helpers;   /* ranks */
    int64_t parts; /* processes that can work on it at once */
    double cost;
} grid_help_run;

typedef struct grid_help {
    grid_help_run *runs; /* [gangs] */
    int64_t *helped;     /* [ranks] the gang that a rank helps with; -1: none */
    int64_t gangs;
    int64_t led; /* gangs that some rank runs, or has been dealt */
    int ranks;
    bool split;   /* some gang has parts */
    bool changed; /* since answers were last given: a gang is led or not, or lacks a helper */
} grid_help;

pb_status grid_help_open(grid_help *h, int64_t gangs, int ranks) PB_MUST_USE;
void grid_help_close(grid_help *h); /* accepts a zeroed one */
/* The gang that the rank helps with from now on; -1: none can be helped. */
int64_t grid_help_choose(grid_help *h, int rank);
void grid_help_stop(grid_help *h, int rank);
/* The rank runs the gang from now on; -1: none does. */
void grid_help_lead(grid_help *h, int64_t gang, int rank);

/* A gang to run, or one that `leader` runs, to help with. */
typedef struct grid_deal {
    int64_t gang; /* -1: none */
    int leader;   /* -1: this process */
} grid_deal;

/* Another rank, as rank 0 knows it. */
typedef struct grid_peer {
    bool left;
    bool waits, helpless; /* for an answer; it is not to be asked for help */
} grid_peer;

/* Deals out the gangs. */
typedef struct grid_dealer {
    pb_comm *comm;
    const pb_grid_cells *cells;
    const grid_gangs *gangs;
    const pb_grid_job *job;
    int64_t skipped; /* done before, or by other groups */
    /* on rank 0 */
    bool *free; /* [gangs] not dealt yet */
    grid_estimate estimate;
    grid_help help;
    int64_t dealt, finished, failed; /* cells, by all ranks */
    int64_t passed;                  /* cells that `take` refused */
    int others;                      /* ranks that have not left */
    grid_peer *peers;                /* [ranks] */
    /* on the other ranks */
    bool asked, over; /* an answer is in flight; there are no more cells */
    bool left;        /* rank 0 sends nothing more */
    double answer_takes;
    /* on all */
    grid_deal held;    /* dealt to this rank and not begun */
    grid_deal current; /* what it is doing */
    int64_t released;  /* the last gang that needed no more help from it; -1: none */
    bool helpless;     /* it could not help: it is not to be asked again */
    bool stopped;      /* a signal came, to whichever rank */
    bool told;         /* rank 0 of a signal that came here */
    grid_deal *joined; /* [ranks] who has come to help, and with which gang */
    int joined_count;
    double polled;               /* clock seconds of the last poll of messages */
    double gaps, gap_squares;    /* sums over the gaps between two polls */
    void (*idle)(void *context); /* called while it waits */
    void *idle_context;
    bool broken; /* the group, with this message */
    char trouble[512];
} grid_dealer;

/* Collective: every rank opens one over the same list, and leaves before closing it. After
 * PB_ERR_COMM the group must be aborted. */
pb_status grid_dealer_open(grid_dealer *d, pb_comm *comm, const pb_grid_cells *cells,
                           const grid_gangs *gangs, const pb_grid_job *job) PB_MUST_USE;
/* Deals the first gangs, one to each rank in order. */
pb_status grid_dealer_begin(grid_dealer *d) PB_MUST_USE;
void grid_dealer_close(grid_dealer *d);

/* Handles the messages that have arrived, without waiting. False: the group is broken. */
bool grid_dealer_poll(grid_dealer *d);
/* The current gang takes this many seconds more: asks for the next one when it is time. */
void grid_dealer_expect_end(grid_dealer *d, double seconds);
/* What to do next; waits as long as a rank at work may give a gang back, or need help. */
pb_status grid_dealer_take(grid_dealer *d, grid_deal *deal) PB_MUST_USE;
/* The gang just taken was not begun. */
void grid_dealer_put_back(grid_dealer *d);
/* The process is ready to help with its current gang. */
pb_status grid_dealer_ready(grid_dealer *d) PB_MUST_USE;
/* The next rank that has come to help with the current gang; -1: none. */
int grid_dealer_joined(grid_dealer *d);
/* The current gang needs no more help: nothing is on its way to a helper. */
void grid_dealer_alone(grid_dealer *d);
/* Reports the cell at a place to the group and the log. */
pb_status grid_dealer_finished(grid_dealer *d, int64_t place,
                               const pb_grid_outcome *outcome) PB_MUST_USE;
/* This rank takes no more gangs. Rank 0 returns when all have left. */
pb_status grid_dealer_leave(grid_dealer *d) PB_MUST_USE;

/* watch.c */
struct pb_grid_watch {
    bool shows;               /* this process draws the progress line */
    double begin;             /* clock seconds at the start of the run */
    double deadline;          /* clock seconds; 0: none */
    double drawn;             /* when the progress line was last drawn */
    grid_dealer *dealer;      /* polled whenever a stop is checked */
    const pb_grid_cell *cell; /* running here, NULL between cells */
    const char *phase;        /* of that cell, and since when */
    double phase_begin;
    double last_phase_seconds; /* of the cell before, 0: unknown */
    double cell_begin;
    bool terminal;           /* the progress line is visible; otherwise lines go to the log */
    double line_seconds;     /* between two of them; 0: none */
    const pb_grid_job *job;  /* its `report` gets what this process is doing */
    bool tells;              /* its last report was a cell */
    double told, tell_pause; /* when, and the least time until the next */
};

/* `began`: clock seconds that the time limit counts from. */
void grid_watch_begin(pb_grid_watch *watch, const pb_grid_run_options *run, double began,
                      const pb_grid_job *job);
void grid_watch_end(pb_grid_watch *watch);
/* This process has nothing to do but wait for others; `watch` is a pb_grid_watch. */
void grid_watch_idle(void *watch);
/* A cell begins here; NULL: the previous one has ended. */
void grid_watch_cell(pb_grid_watch *watch, const pb_grid_cell *cell);
const char *grid_watch_reason(const pb_grid_watch *watch); /* "SIGTERM", "the time limit" */
