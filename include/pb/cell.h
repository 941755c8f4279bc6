// SPDX-License-Identifier: Apache-2.0
/* One cell of the grid: set up, train, evaluate, measure, validate, and fill a record.
 *
 * An environment holds what cells share: the models of the sweep with their tokenizers, opened once
 * per node, and the build's provenance. A cell is its configuration and nothing else: it knows no
 * ranks and no schedule. */
#pragma once

#include "pb/comm.h"
#include "pb/config.h"
#include "pb/hash.h"
#include "pb/model.h"
#include "pb/protocol.h"
#include "pb/record.h"

struct pb_dataset;
typedef struct pb_cell_env pb_cell_env;

/* What the command line and the group `run` decide for all cells. */
typedef struct pb_cell_setup {
    const char *backend; /* a name of the registry, or "auto" */
    int device;
    int threads;    /* part of every cell's configuration; 0: all that the process may use */
    pb_dtype dtype; /* F32 or BF16, see pb_backend_use_dtype */
} pb_cell_setup;

/* The group `model`. */
typedef struct pb_cell_model_options {
    char *path; /* folder of a checkpoint in HF layout */
    char *chat; /* template name */
    /* Origin, for the reader and jobs/fetch_data.py; not part of the hash of a cell. */
    char *hub, *revision, *licence;
    pb_config_list sha256;
} pb_cell_model_options;

extern const pb_config_field pb_cell_model_fields[];

/* How a prediction is made: the answer is generated, or the class whose text is the likeliest. */
typedef enum pb_scoring { PB_SCORING_GENERATION, PB_SCORING_LIKELIHOOD } pb_scoring;

/* The group `eval`. */
typedef struct pb_cell_eval_options {
    int scoring;            /* pb_scoring */
    int64_t batch;          /* rows generated at once */
    int64_t max_new_tokens; /* 0: as the data set and the protocol say */
} pb_cell_eval_options;

extern const pb_config_field pb_cell_eval_fields[];

typedef struct pb_cell {
    const char *model, *dataset, *method; /* names in the grid */
    int64_t seed;
    pb_protocol protocol;
    const pb_config *config; /* merged: groups model, dataset, method, train, data, eval */
    const char *hash;        /* what pb_cell_hash made for the plan; pb_cell_run needs it */
} pb_cell;

/* Collective (comm may be NULL). PB_ERR_CONFIG when the backends of the processes compute in
 * different ways: a cell's result may not depend on the process that it falls to. */
pb_status pb_cell_env_open(const pb_cell_setup *setup, pb_comm *comm,
                           pb_cell_env **out) PB_MUST_USE;
void pb_cell_env_close(pb_cell_env *env); /* accepts NULL */

/* Keeps the tokens of data sets in this folder (see pb/encoded.h); without it they are made
 * again for every cell. */
pb_status pb_cell_env_set_cache(pb_cell_env *env, const char *folder) PB_MUST_USE;

/* Looks at the model of this name from the group `model`, once: config.json, the tokenizer and the
 * headers of the weights where there are any (`weights`: there have to be). Enough for
 * pb_cell_predict and pb_cell_cost. A model that cannot be used is remembered with its message: its
 * cells fail, others do not. Collective; fails only when memory is out or the group is broken. */
pb_status pb_cell_env_add_shape(pb_cell_env *env, const char *name, const pb_config *config,
                                bool weights) PB_MUST_USE;

/* Opens the weights of the model, whether it was looked at before or not. Collective, and the same
 * holds for one that cannot be opened. */
pb_status pb_cell_env_add_model(pb_cell_env *env, const char *name,
                                const pb_config *config) PB_MUST_USE;

/* PB_OK when the model can be used, as far as it was looked at or opened; else the reason. */
pb_status pb_cell_env_check_model(const pb_cell_env *env, const char *name) PB_MUST_USE;

/* What is known of a cell before it runs. Counts and FLOPs are exact, from the shapes; memory is
 * modelled. */
typedef struct pb_cell_prediction {
    int64_t model_params, trainable_params;
    double flops_forward_t, flops_base_t; /* 10^12, 512 tokens */
    double memory_gb; /* 10^9 bytes: weights, four values per trainable parameter, activations of a
                         batch of 128-token rows */
} pb_cell_prediction;

/* Checks the whole configuration of the cell, and fills the prediction. */
pb_status pb_cell_predict(pb_cell_env *env, const pb_cell *cell,
                          pb_cell_prediction *out) PB_MUST_USE;

/* Reads every group of the cell: PB_ERR_CONFIG with file, line, key and remedy for what is wrong
 * there. */
pb_status pb_cell_check_config(const pb_cell *cell) PB_MUST_USE;

/* Appends the groups `dataset` and `data` as they are in force, file names included: cells of the
 * same text and protocol have the same rows. */
pb_status pb_cell_data_text(const pb_cell *cell, pb_string *out) PB_MUST_USE;

/* Makes rows bad that the data set's metric cannot score, as in every cell. */
void pb_cell_check_answers(struct pb_dataset *ds);

/* Appends every group as it is in force, without what differs from machine to machine (file names)
 * and notes for readers. */
pb_status pb_cell_text(const pb_cell *cell, pb_string *out) PB_MUST_USE;

/* This program and what its results are comparable with, in words. */
const char *pb_cell_program(void);

/* What a cell reads from files. */
typedef enum pb_cell_input {
    PB_INPUT_WEIGHTS,
    PB_INPUT_TOKENIZER,
    PB_INPUT_TRAIN,
    PB_INPUT_TEST,
    PB_INPUT_COUNT
} pb_cell_input;

extern const char *const pb_cell_input_names[]; /* "weights", … */

/* Appends the file of an input, the folder of a model's. */
pb_status pb_cell_input_path(const pb_cell *cell, pb_cell_input input, pb_string *out) PB_MUST_USE;
/* SHA-256 of the contents as this process reads them, once per file; a word where it cannot. */
pb_status pb_cell_input_hashes(pb_cell_env *env, const pb_cell *cell,
                               char hashes[PB_INPUT_COUNT][PB_HASH_TEXT]) PB_MUST_USE;
/* Adds which files of this node they are: the same for processes that read the same ones. */
pb_status pb_cell_input_places(const pb_cell *cell, pb_hash *hash) PB_MUST_USE;

/* What a run takes of the data set of a cell. */
typedef struct pb_cell_split {
    int64_t rows;
    double prompt_bytes, answer_bytes; /* mean over the rows, before the chat template */
} pb_cell_split;

typedef struct pb_cell_rows {
    pb_cell_split train, test;
} pb_cell_rows;

/* Opens the data set of the cell as a run would, and measures it. */
pb_status pb_cell_check_data(const pb_cell *cell, pb_cell_rows *out) PB_MUST_USE;

/* Modelled seconds of training and testing at half the measured rate of a square product. A token
 * in training costs a forward pass of the adapted model, the backward through the activations down
 * to the lowest trained layer, and 2 FLOP per number trained at a site; a test row one forward pass
 * of its prompt and answer; the head acts on answers only. `rows` gives lengths at 4 bytes a token;
 * NULL: guessed. */
pb_status pb_cell_predict_seconds(const pb_cell_env *env, const pb_cell *cell,
                                  const pb_cell_rows *rows, double *seconds) PB_MUST_USE;

/* SHA-256 over everything that can change the result: effective configuration without paths,
 * contents of model, tokenizer and data, backend, threads, and the version of the result-bearing
 * code. Files that are missing hash as such. */
pb_status pb_cell_hash(pb_cell_env *env, const pb_cell *cell, char text[PB_HASH_TEXT]) PB_MUST_USE;

/* Gives every process the hashes of rank 0's files: a cell that reads other contents fails, with
 * the file and both hashes. Collective; after the hashes of the plan are made. */
pb_status pb_cell_env_share_files(pb_cell_env *env) PB_MUST_USE;

/* PB_ERR_FORMAT, with both hashes, when the inputs that a record names are not those of today,
 * though its configuration hash is. What it does not name does not count. */
pb_status pb_cell_check_record(pb_cell_env *env, const pb_cell *cell,
                               const pb_record *record) PB_MUST_USE;

/* Relative cost, for ordering: the FLOPs behind pb_cell_predict_seconds with guessed rows. 1 when
 * it cannot be told. */
double pb_cell_cost(pb_cell_env *env, const pb_cell *cell);

/* How far a cell is. */
typedef struct pb_cell_progress {
    const char *phase;   /* "setup", "train", "test" */
    bool last;           /* the cell ends with this phase */
    int64_t step, steps; /* done and in all, in "test" rows; 0 of 0 where nothing is counted */
    double loss;         /* of the step; NaN: none */
} pb_cell_progress;

typedef struct pb_cell_observer {
    void *context;
    bool (*stop)(void *context); /* true ends the cell with PB_STOPPED */
    /* At the beginning of a phase and after each of its steps. */
    void (*progress)(void *context, const pb_cell_progress *progress);
} pb_cell_observer;

/* Makes the tokens that the cell will ask for, unless the cache has them; needs the cache and the
 * model. The observer's stop is asked while another process makes them. */
pb_status pb_cell_prepare(pb_cell_env *env, const pb_cell *cell,
                          const pb_cell_observer *observer) PB_MUST_USE;

/* Runs the cell. A failure of the cell is a result: it is in the record, and the call returns
 * PB_OK. Any other status says that there is no result: PB_STOPPED on request, PB_ERR_MEMORY when
 * even the record could not be filled. */
pb_status pb_cell_run(pb_cell_env *env, const pb_cell *cell, const pb_cell_observer *observer,
                      pb_record *record) PB_MUST_USE;

/* The size of a square product that keeps so many threads busy, 768 at least. */
int64_t pb_cell_gemm_size(int threads);

/* GFLOP/s of a square F32 product of this size on the backend: the median of five. */
pb_status pb_cell_gemm_rate(pb_backend *backend, int64_t size, double *gflops) PB_MUST_USE;

/* Name and value pairs of host, processor, build and libraries. */
pb_status pb_cell_provenance(const pb_cell_env *env, pb_record *record) PB_MUST_USE;
