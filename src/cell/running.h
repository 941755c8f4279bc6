// SPDX-License-Identifier: Apache-2.0
/* A running cell: its data, its phases, its test. */
#pragma once

#include "internal.h"

#include "pb/encoded.h"
#include "pb/network.h"
#include "pb/train.h"

/* A data set as tokens of a model. */
typedef struct cell_data {
    pb_dataset *dataset;
    pb_encoded_set train_set, test_set;
} cell_data;

/* `observer` (NULL: none) may stop the wait for another process. */
pb_status cell_data_open(pb_cell_env *env, const pb_cell *cell, const env_model *model,
                         const pb_cell_observer *observer, cell_data *out) PB_MUST_USE;
void cell_data_close(cell_data *data); /* accepts a zeroed one */

/* Checks that the rows come from the files that went into the cell's hash. */
pb_status cell_check_data(pb_cell_env *env, const cell_data *data) PB_MUST_USE;

struct cell_test;

/* How far a cell has come; the numbers are in checkpoints. */
typedef enum running_stage { STAGE_TRAINING, STAGE_TRAINED, STAGE_KEPT } running_stage;

/* What has a counter of its own. The node contains the others. */
typedef enum energy_component {
    ENERGY_DEVICE,
    ENERGY_PACKAGE, /* from here in the order of pb_energy_part */
    ENERGY_DRAM,
    ENERGY_NODE,
    ENERGY_COMPONENTS
} energy_component;

typedef struct energies {
    double joules[ENERGY_COMPONENTS];
} energies;

/* A running cell. */
typedef struct running {
    pb_cell_env *env;
    const pb_cell *cell;
    const pb_cell_observer *observer;
    pb_record *record;
    const cell_options *options; /* of the cell */
    env_model *model;
    cell_data data;
    pb_sample *rows; /* validation part first, then training part */
    int64_t *order;  /* [rows] of the training set */
    int64_t validation_count, train_count;
    pb_method *method;
    pb_network *net;
    double begin; /* clock */
    /* Bytes held before the cell, or kept for later cells. */
    size_t base_bytes, base_device_bytes;
    const char *phase;
    double phase_begin, phase_flops;
    /* Of training, above base_bytes and with the model. */
    int64_t peak_bytes, peak_device_bytes;
    int64_t peak_before, peak_device_before; /* the same in earlier runs */
    struct running *gang; /* [gang_size] all that train together; alone: this one */
    int64_t gang_size;
    size_t window_host, window_device; /* the most bytes held since the last sample */
    double seconds;                    /* of the phases that are its own */
    pb_train_result trained;
    running_stage stage;
    pb_archive *resume;     /* its checkpoint, read as far as it was needed; NULL: none */
    int64_t resume_step;    /* of the training */
    bool has_file;          /* of a checkpoint */
    bool trained_saved;     /* it has the trained values */
    double saved;           /* clock, of the first member: the last checkpoint of any */
    double worked;          /* clock: the end of the last step or test batch */
    struct cell_test *test; /* while it runs */
    double test_begin;      /* clock */
    double test_before;     /* seconds, of the test in earlier runs */
    bool ended;             /* no longer in training */
    pb_status lost;         /* nothing can be recorded any more */
    bool failed;            /* the record says why */
    bool again;             /* it cannot go on in this gang: it is run alone */
    /* FLOP: when the part that runs began; of the test in earlier runs. */
    double flops_mark, flops_tested;
    /* Of a gang the first member has those of the steps of all, and what was read of the node
     * and belongs to no part yet; the last reading of the device, joules; the clock of that of the
     * node, and how many processes share it; why a counter is not trusted. */
    energies energy_setup, energy_steps, energy_validation, energy_test, energy_pending;
    double energy_seen, energy_read;
    int64_t energy_processes;
    char energy_lost[ENERGY_COMPONENTS][128];
    pb_train_helpers helpers;
    int *helper_ranks; /* [helper_count] */
    int64_t helper_count;
} running;

/* Bytes that outlive the cell belong to no cell. */
void running_grow_base(running *r, size_t host, size_t device);

/* The life of a cell. */
pb_status running_start(running *r) PB_MUST_USE;
pb_status running_set_up(running *r) PB_MUST_USE;
/* What the trainer gets. */
pb_train_observer running_observer(running *r);
pb_train_data running_data(running *r);
void running_record_training(running *r);
void running_record_peak(running *r, int64_t bytes, int64_t device_bytes);
/* After the phase "test" has begun. */
pb_status running_finish_test(running *r) PB_MUST_USE;
/* Saves the tested values where adapters are kept, and records their hash and size. */
pb_status running_keep_adapter(running *r) PB_MUST_USE;
/* The failure becomes the result; of a gang's member that ran out of memory there is none yet. */
pb_status running_fail(running *r, pb_status status) PB_MUST_USE;
void running_tear_down(running *r);
/* Fills in what is known in the end, failed or not. */
pb_status running_conclude(running *r) PB_MUST_USE;

/* Starts a phase (ending the one before); NULL only ends. */
pb_status running_phase(running *r, const char *name) PB_MUST_USE;
bool running_wants_stop(void *context); /* the observer does */
/* Notifies the observer; loss is NaN if there is none. */
void running_progress(const running *r, int64_t step, int64_t steps, double loss);
/* Adds a sample to the memory trace: the most bytes held since the last one. */
pb_status running_sample(running *r) PB_MUST_USE;
double running_flops(const running *r);
double running_flops_tested(const running *r); /* in the test, which runs, and in earlier runs */
/* Share of the measured rate of products; NaN where one of them is not known. */
double running_product_share(const running *r, double flops, double seconds);
/* Mean and 99th percentile of the memory in training, from the trace. */
pb_status running_record_memory(running *r) PB_MUST_USE;

/* ---------------------------------------------------------------- checkpoint.c */

/* Finds the checkpoint of the cell, and says in the log when it is of no use. */
pb_status running_open_checkpoint(running *r) PB_MUST_USE;
void running_close_checkpoint(running *r);
/* The record and the times as of the checkpoint, if there is one. */
pb_status running_restore(running *r) PB_MUST_USE;
/* Writes the checkpoint. `state`: of a training that goes on; NULL: it is over. */
pb_status running_save(running *r, struct pb_train_state *state) PB_MUST_USE;
/* Of all members that are trained and have no result yet. */
pb_status running_save_trained(running *r) PB_MUST_USE;
bool running_save_due(const running *r);
/* Writes or reads the predictions so far, with `test` NULL that there are none. */
pb_status running_archive_test(pb_archive *archive, struct cell_test *test) PB_MUST_USE;
void running_remove_checkpoint(running *r);
/* Reports to the observer, and remembers, that `done` of the test rows are done; PB_STOPPED when it
 * requests a stop. Saves what is trained when that is due. */
pb_status running_test_progress(running *r, int64_t done) PB_MUST_USE;

/* Adds the joules since the last call for any member of the gang, 0 where they are not known. */
void running_energy(running *r, energies *into);
/* help.c: *out is NULL where no other process can help. */
pb_status running_helpers(running *r, const pb_train_helpers **out) PB_MUST_USE;
void running_energy_begin(running *r);
/* To be called again and again while a cell works: counters that start again at 0 are read. */
void running_energy_keep(running *r);
double running_energy_share(const running *r); /* of those of the gang's steps, 0 … 1 */
void running_energy_of_steps(running *r);      /* adds them to those of the steps */
/* Puts the energy into the record, where it is known, and in any case how it is known. */
pb_status running_record_energy(running *r) PB_MUST_USE;

/* Predictions, metric. */
pb_status running_test(running *r) PB_MUST_USE;

/* A class name as an answer. */
typedef struct cell_candidate {
    const char *text;
    pb_ids ids;     /* with the end of the answer, if the template has one */
    int64_t scored; /* ids of the name itself */
    double characters;
} cell_candidate;

/* A running test. */
typedef struct cell_test {
    running *r;
    int64_t rows;
    cell_candidate *candidates; /* where a network is tested on a data set with labels */
    int64_t candidate_count;
    pb_groups groups;           /* of rows that are predicted together */
    int64_t done;               /* rows with a prediction: the first ones in the order of groups */
    char **predictions;         /* [rows] raw texts of the model */
    char **references;          /* [rows] */
    const char ***alternatives; /* [rows] all correct answers, each list ended by NULL */
    const char **ids;           /* [rows] */
    int64_t tokens;             /* generated over all rows; -1: nothing was generated */
    int64_t norm_right;         /* by likelihood per character; -1: not scored this way */
} cell_test;

/* The prompt of a row, counted in the order of groups. */
pb_sample cell_test_prompt(const cell_test *t, int64_t index);
/* That a row may generate. */
int64_t cell_test_new_tokens(const cell_test *t);
/* The first group without predictions. */
int64_t cell_test_next_group(const cell_test *t);
/* The status; the message of a failure names rows first … first + count - 1 in the order of
 * groups. */
pb_status cell_test_prefix(const cell_test *t, int64_t first, int64_t count, pb_status status);

/* Candidates and groups; whatever is open is closed, also after a failure. */
pb_status cell_test_rows_open(cell_test *t) PB_MUST_USE;
void cell_test_rows_close(cell_test *t);

/* The ways to make predictions; each fills predictions [rows]. */
pb_status cell_test_generate(cell_test *t) PB_MUST_USE;
pb_status cell_test_likelihood(cell_test *t) PB_MUST_USE;
pb_status cell_test_baseline(cell_test *t) PB_MUST_USE;
