// SPDX-License-Identifier: Apache-2.0
/* One cell of the grid: planned, then run into a record.
 *
 * A cell is its configuration and nothing else: it knows no ranks and no schedule. Opening it reads
 * the configuration, once; everything else is asked of the open cell. Cells that differ only in
 * their seed share what was read. Everything else that cells share belongs to pb/cell_env.h.
 *
 *     PB_TRY(pb_cell_open_take(&name, config, NULL, &cell));
 *     PB_TRY_GOTO(status, pb_cell_hash(env, cell, hash), …);
 *     PB_TRY_GOTO(status, pb_cell_run(env, &cell, 1, NULL, keep, context), …); */
#pragma once

#include "pb/cell_env.h"
#include "pb/protocol.h"
#include "pb/rates.h"
#include "pb/record.h"

struct pb_train_step;

typedef struct pb_cell_name {
    const char *model, *dataset, *method; /* names in the grid, borrowed for the cell's life */
    int64_t seed;
    pb_protocol protocol;
} pb_cell_name;

/* Reads the groups model, dataset, method, train, data and eval of the merged configuration, which
 * the cell takes over, also on failure. Whatever it has in common with `like`, a cell opened
 * earlier (may be NULL), is shared. An error in the configuration becomes part of the cell, see
 * pb_cell_check; opening fails only when out of memory. */
pb_status pb_cell_open_take(const pb_cell_name *name, pb_config *config, const pb_cell *like,
                            pb_cell **out) PB_MUST_USE;
/* The same cell with another seed; both are closed. */
pb_status pb_cell_open_seed(const pb_cell *cell, int64_t seed, pb_cell **out) PB_MUST_USE;
void pb_cell_close(pb_cell *cell); /* accepts NULL */

/* PB_ERR_CONFIG with file, line, key and remedy when the configuration is wrong. */
pb_status pb_cell_check(const pb_cell *cell) PB_MUST_USE;

/* Appends the effective values of all options, from which the cell can be opened again. */
pb_status pb_cell_config(const pb_cell *cell, pb_string *out) PB_MUST_USE;
/* The same of those on which the result depends. */
pb_status pb_cell_text(const pb_cell *cell, pb_string *out) PB_MUST_USE;
/* Appends the groups `dataset` and `data`, file names included: cells with the same text and
 * protocol have the same rows. */
pb_status pb_cell_data_text(const pb_cell *cell, pb_string *out) PB_MUST_USE;

/* What a cell reads from files. */
typedef enum pb_cell_input {
    PB_INPUT_WEIGHTS,
    PB_INPUT_TOKENIZER,
    PB_INPUT_TRAIN,
    PB_INPUT_TEST,
    PB_INPUT_COUNT
} pb_cell_input;

extern const char *const pb_cell_input_names[]; /* "weights", … */

/* The file of an input, for a model's its folder; "" when the configuration is invalid. */
const char *pb_cell_input_path(const pb_cell *cell, pb_cell_input input);
/* SHA-256 of the contents as this process reads them, once per file; a word if it cannot read
 * them. */
pb_status pb_cell_input_hashes(pb_cell_env *env, const pb_cell *cell,
                               char hashes[PB_INPUT_COUNT][PB_HASH_TEXT]) PB_MUST_USE;
/* Adds the identity of the files on this node: the same for processes that read the same files. */
pb_status pb_cell_input_places(const pb_cell *cell, pb_hash *hash) PB_MUST_USE;

/* The rows that a run uses of a cell's data set; tokens are means over the rows. */
typedef struct pb_cell_split {
    int64_t rows;
    double prompt, answer; /* tokens; the answer with its end */
    double shared;         /* tokens that all prompts begin with */
} pb_cell_split;

/* Where these numbers come from. */
typedef enum pb_rows_source {
    PB_ROWS_GUESSED, /* nothing was read */
    PB_ROWS_ASSUMED, /* there are no files: dataset.typical */
    PB_ROWS_BYTES,   /* the files, at four bytes a token and without a chat template */
    PB_ROWS_TOKENS   /* the files, at the bytes per token of their first rows */
} pb_rows_source;

extern const char *const pb_rows_source_names[]; /* "guessed", "assumed", "bytes", "tokens" */

typedef struct pb_cell_rows {
    pb_cell_split train, test;
    int64_t source; /* pb_rows_source */
} pb_cell_rows;

/* Opens the data set of the cell as a run would, and measures its rows by their bytes. With
 * `assume`, a data set without files whose configuration has the group `typical` is taken to be as
 * stated there. */
pb_status pb_cell_check_data(const pb_cell *cell, bool assume, pb_cell_rows *out) PB_MUST_USE;
/* Turns bytes into tokens of the cell's model where its tokenizer is open. */
pb_status pb_cell_count_tokens(const pb_cell_env *env, const pb_cell *cell,
                               pb_cell_rows *rows) PB_MUST_USE;

/* What is known about a cell before it runs. Counts and FLOPs of a forward pass are exact, from the
 * shapes; the others are modelled. */
typedef struct pb_cell_prediction {
    int64_t model_params, trainable_params;
    int64_t steps;
    double flops_forward_t, flops_base_t; /* 10^12, 512 tokens */
    /* Device memory in 10^9 bytes, for batches of rows of the data set's mean length: the total,
     * and the weights in it; 0 on the CPU. On a device memory_gb is what the host needs. */
    double device_gb, device_weights_gb;
    double memory_gb;  /* 10^9 bytes: weights, four values per trainable parameter, activations of a
                          batch of mean rows, and keys and values of a batch of the test */
    double weights_gb; /* of these, what cells of one model share */
    /* Training, validation and test. A token in training costs a forward pass of the adapted model,
     * the backward pass through the activations down to the lowest trained layer, and 2 FLOP per
     * number trained at a site; one in validation and test a forward pass. Tokens that the rows of
     * a batch begin with count once, where no dropout acts; the head and most of the last layer
     * count at answers only. */
    pb_work work;
    double seconds; /* of it, at the rates of the environment */
} pb_cell_prediction;

/* Plans the method on the shapes of the model; fails when it does not fit them, or the steps of the
 * run. Steps and lengths follow from `rows`; NULL: lengths are guessed. Cells that differ only in
 * their seed plan once for the same rows. */
pb_status pb_cell_predict(const pb_cell_env *env, const pb_cell *cell, const pb_cell_rows *rows,
                          pb_cell_prediction *out) PB_MUST_USE;

/* SHA-256 over everything that can change the result: the text of the cell, contents of model,
 * tokenizer and data, backend, threads, and the version of the code that determines results. A
 * missing file is hashed as missing. */
pb_status pb_cell_hash(pb_cell_env *env, const pb_cell *cell, char text[PB_HASH_TEXT]) PB_MUST_USE;
/* The hash of the cell in the plan: the record keeps it, and the cell fails in a process that would
 * run it with a different one. "" before it is set. */
void pb_cell_set_hash(pb_cell *cell, const char text[PB_HASH_TEXT]);
const char *pb_cell_get_hash(const pb_cell *cell);
/* The hash of what a search compares the cell with, a part of its own hash. */
void pb_cell_set_group(pb_cell *cell, const char text[PB_HASH_TEXT]);
bool pb_cell_same_group(const pb_cell *a, const pb_cell *b); /* false for cells without one */
bool pb_cell_is_baseline(const pb_cell *cell);               /* it runs no model */

/* PB_ERR_FORMAT, with both hashes, when an input named in a record has changed although its
 * configuration hash has not. Inputs that it does not name are ignored. */
pb_status pb_cell_check_record(pb_cell_env *env, const pb_cell *cell,
                               const pb_record *record) PB_MUST_USE;

/* Adapters are kept, the cell's method has one, and it is not there. */
pb_status pb_cell_lacks_adapter(const pb_cell_env *env, const pb_cell *cell, bool *out) PB_MUST_USE;

/* DIRECTORY/FOLDER/<cell><suffix>, see pb_cell_file_path. */
pb_status pb_cell_path(const char *directory, const char *folder, const pb_cell *cell,
                       const char *suffix, char **out) PB_MUST_USE;
/* Removes the cell's checkpoint, if there is one. */
pb_status pb_cell_remove_checkpoint(const char *directory, const pb_cell *cell) PB_MUST_USE;

/* What a cell outside of a sweep does differently; the paths are borrowed. */
typedef struct pb_cell_own {
    bool tests_only;     /* it is not trained */
    const char *adapter; /* it begins with this one; NULL: with a new one */
    const char *save;    /* the tested values are saved here as an adapter or, of full fine-tuning,
                            a checkpoint; NULL: nowhere */
} pb_cell_own;

void pb_cell_set_own(pb_cell *cell, const pb_cell_own *own);

/* The progress of a cell. */
typedef struct pb_cell_progress {
    const char *phase;   /* "setup", "train", "test" */
    bool last;           /* the cell ends with this phase */
    int64_t step, steps; /* done and total, in "test" of rows; 0 of 0 if nothing is counted */
    double loss;         /* of the step; NaN: none */
} pb_cell_progress;

typedef struct pb_cell_observer {
    void *context;
    bool (*stop)(void *context); /* true ends the cell with PB_STOPPED */
    /* Called at the beginning of a phase and after each of its steps. */
    void (*progress)(void *context, const pb_cell_progress *progress);
    /* These may be NULL; a failure is that of the cell, which may be any of a gang. */
    pb_status (*step)(void *context, const pb_cell *cell, const struct pb_train_step *step);
    pb_status (*validation)(void *context, const pb_cell *cell, int64_t step, double loss);
    /* The rank of a process that has come to help with the only cell (see pb_cell_help), or -1;
     * asked until it is -1, between steps. */
    int (*joined)(void *context);
} pb_cell_observer;

/* Tokenises the rows of the cell unless the cache has them; does nothing without a cache or the
 * model. While another process does so, the observer's stop is polled. */
pb_status pb_cell_prepare(pb_cell_env *env, const pb_cell *cell,
                          const pb_cell_observer *observer) PB_MUST_USE;

/* How many processes can compute parts of its training at once. It must have been predicted. */
int64_t pb_cell_parts(const pb_cell *cell);

/* A call for help with a cell that another process runs. */
typedef struct pb_cell_call {
    int leader; /* the rank of that process */
    void *context;
    pb_status (*ready)(void *context); /* the cell is set up here */
    bool (*over)(void *context);       /* polled: true when the cell needs no more help */
    bool (*stop)(void *context);       /* polled: true when this process is to compute no more */
} pb_cell_call;

/* Sets the cell up and computes parts of its training until the call is over. A part that cannot be
 * computed here goes back, and the failure is logged. A status other than PB_OK before `ready`
 * means that the cell cannot be set up here; after it, that the group is broken. */
pb_status pb_cell_help(pb_cell_env *env, const pb_cell *cell, const pb_cell_call *call) PB_MUST_USE;

/* True where the two may train together (see pb/gang.h): they have the same model and the same
 * number of passes per step, and both have something to train, and
 * neither is split. Both must have been predicted. */
bool pb_cell_may_join(const pb_cell_env *env, const pb_cell *cell,
                      const pb_cell *other) PB_MUST_USE;

/* Keeps the result of cell number `index`, which may be changed. */
typedef pb_status (*pb_cell_keep)(void *context, int64_t index, pb_record *record);

/* Runs a cell, or a gang: cells that may join one another and are trained together. Each is kept as
 * soon as it has been tested. A failure of a cell is a result: it is recorded, and the call returns
 * PB_OK, or PB_ERR_DEVICE when this process cannot run another cell. Any other status means that
 * cells not yet kept have no result: PB_STOPPED on request, PB_ERR_MEMORY when even the record
 * could not be filled.
 *
 * The results of a gang are those of its cells alone, bit for bit, except for how they were
 * computed: times and operations of training are shares of the gang's, by rows; memory is that of
 * all together. */
pb_status pb_cell_run(pb_cell_env *env, const pb_cell *const *cells, int64_t count,
                      const pb_cell_observer *observer, pb_cell_keep keep,
                      void *context) PB_MUST_USE;
