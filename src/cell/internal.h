// SPDX-License-Identifier: Apache-2.0
/* What the files of this module share: the environment and the planned cell. */
#pragma once

#include "pb/backend.h"
#include "pb/cell.h"
#include "pb/dataset.h"
#include "pb/energy.h"
#include "pb/method.h"
#include "pb/metric.h"
#include "pb/template.h"
#include "pb/train.h"
#include "pb/usage.h"

/* Forward FLOPs are those of one sequence of this many tokens. */
enum { FLOPS_TOKENS = 512 };

typedef struct env_model {
    char *name;
    int64_t same; /* the number of the entry with this folder and chat template; its own mostly */
    struct cell_plan *plan; /* of the first cell with this model, for its group `model` */
    pb_model *model;        /* NULL if it could not be opened: see status and message */
    bool loaded;            /* with its weights */
    pb_weights *weights;    /* in the backend's memory; NULL until a cell needs them */
    pb_tokenizer *tokenizer;
    const pb_template *chat;
    pb_status status;
    char *message;
    char hash[PB_HASH_TEXT];
    /* The folder of its files, the folder's stamp when it was last read, and the hashes computed
     * then (see changes.c). */
    char *folder;
    char stamp[PB_HASH_TEXT], seen_model[PB_HASH_TEXT], seen_tokenizer[PB_HASH_TEXT];
} env_model;

/* Contents of a file, hashed once. */
typedef struct env_file {
    char *path;
    char hash[PB_HASH_TEXT];
} env_file;

struct pb_cell_env {
    pb_cell_setup setup;
    pb_backend *backend;           /* lent to one cell after another */
    bool on_device;                /* cells run on a device, if only in the plan */
    bool shares_device;            /* with other processes of this run */
    bool device_lost;              /* to this process: no further cell can be computed */
    char *cache;                   /* folder of tokens, NULL: none */
    const pb_train_search *search; /* NULL: none */
    char *adapters;                /* folder of adapters, NULL: none are kept */
    const char *adapters_base;     /* what they name as their model; NULL: its folder */
    char *checkpoints;             /* folder of the results, NULL: no checkpoints */
    double checkpoint_seconds;     /* between two; 0: only before a stop */
    bool checkpoint_failed;        /* and that was reported */
    double gemm_gflops; /* measured at the start, by this process alone; in a plan, stated */
    pb_rates rates;     /* of work, for predictions */
    double peak_gflops; /* the same with the best kernels known */
    char *peak_source;  /* which these are */
    pb_energy *energy;  /* counters of the node */
    pb_comm *comm;      /* borrowed */
    env_model *models;
    int64_t models_count;
    env_file *files;
    int64_t files_count;
    char **warned; /* data sets with a warning about their rows */
    int64_t warned_count;
};

/* device_cost.c: the lowest layer that a gradient has to reach; the number of layers: none. */
int64_t cell_lowest_layer(const pb_method *m);

/* device_cost.c: modelled bytes of a cell on a device: in all, with passes of `rows` rows of which
 * `labels` have a label; of the weights; in host memory. */
double cell_device_bytes(const pb_model *model, const pb_method *method, pb_dtype dtype,
                         double rows, double labels);
double cell_device_weights(const pb_model *model, pb_dtype dtype);
double cell_device_host_bytes(const pb_model *model);

/* Logs once how many threads `--threads 0` (`open`) selects, and warns when they outnumber the
 * processors of a process or of a node. Collective. */
pb_status env_report_processors(const pb_cell_env *env, bool open) PB_MUST_USE;

/* The group `model`. */
typedef struct cell_model_options {
    char *path; /* folder of a checkpoint in HF layout */
    char *chat; /* template name */
    /* Origin, for the reader and jobs/fetch_data.py. */
    char *hub, *revision, *licence;
    pb_config_list sha256;
} cell_model_options;

/* How a prediction is made: by generating the answer, or by choosing the most likely class. */
typedef enum cell_scoring { SCORING_GENERATION, SCORING_LIKELIHOOD } cell_scoring;

/* The group `eval`. */
typedef struct cell_eval_options {
    int scoring;            /* cell_scoring */
    int64_t batch;          /* rows at once, see pb_groups_make */
    int64_t max_new_tokens; /* 0: the default of the data set and the protocol */
    pb_config_list without; /* names of savings */
} cell_eval_options;

/* The group `dataset.typical`: what a plan assumes of a data set whose files are not there; 0: not
 * stated. Rows of the whole files; tokens of a row, mean. */
typedef struct cell_typical {
    int64_t train_rows, test_rows;
    int64_t tokens, answer_tokens; /* of the prompt, and of the answer with its end */
} cell_typical;

/* The groups of fixed fields. */
enum { CELL_GROUPS = 6 };

/* All groups of a cell, read and checked. */
typedef struct cell_options {
    cell_model_options model;
    cell_eval_options eval;
    pb_data_options data;
    pb_dataset_options dataset;
    cell_typical typical;
    pb_train_options train;
    const pb_method_ops *method;
    void *method_options; /* of method->fields */
} cell_options;

/* options.c: what the network and the test do not save, see pb_network_without. */
unsigned cell_without(const cell_eval_options *o);

/* work.c: the work of a cell over rows as they are after the cutoff, of which `held` are kept for
 * validation; `bytes`: of the weights. */
pb_work cell_work(const pb_method *m, const cell_options *o, const pb_cell_rows *rows, int64_t held,
                  double bytes);
/* Passes over a batch of test rows after the first one, for `more` tokens of each: drafts, which
 * rows with `labels` have, are verified in one. */
double cell_later_passes(const cell_eval_options *o, bool labels, double more);
/* That a test row may generate. */
double cell_most_new_tokens(const cell_options *o);
/* Rows that were read, or guessed ones (NULL), after the cutoff. */
pb_cell_rows cell_rows_of(const cell_options *o, const pb_cell_rows *rows);

/* Appends the groups in libconfig syntax: all fields, or those that `kept` (PB_KEPT_…) depends on.
 */
pb_status cell_options_write(const cell_options *options, unsigned kept,
                             pb_string *out) PB_MUST_USE;
/* All fields of the groups `dataset`, `dataset.typical` and `data`. */
pb_status cell_options_write_data(const cell_options *options, pb_string *out) PB_MUST_USE;

/* The part of a cell that is read once for all cells that differ only in their seed. */
typedef struct cell_plan {
    int64_t users;
    pb_config *config; /* names the places of errors that are found later */
    pb_protocol protocol;
    cell_options options;
    struct cell_plan
        *lenders[CELL_GROUPS]; /* the plan that read the options of a group; NULL: this one */
    pb_status status;          /* of the configuration; message is NULL for PB_OK */
    char *message;
    bool predicted; /* the prediction is for these rows; zeroed: guessed ones */
    pb_cell_rows rows;
    pb_cell_prediction prediction;
} cell_plan;

/* Reads the options of the plan from its configuration. Groups that it shares with that of `like`
 * (may be NULL) are borrowed. On failure the groups before the error are filled, `model` being the
 * first. */
pb_status cell_options_read(cell_plan *plan, cell_plan *like) PB_MUST_USE;
/* Frees what this plan has read. */
void cell_options_clear(cell_plan *plan);

cell_plan *cell_plan_share(cell_plan *plan);
void cell_plan_release(cell_plan *plan); /* accepts NULL */

struct pb_cell {
    pb_cell_name name;
    cell_plan *plan;
    pb_cell_own own;
    char hash[PB_HASH_TEXT];  /* "": not set yet */
    char group[PB_HASH_TEXT]; /* "": it is not searched */
};

/* The cell as text: all fields, or those that `kept` depends on. */
pb_status cell_describe(const pb_cell *cell, unsigned kept, pb_string *out) PB_MUST_USE;
/* What stopped variants, or did not: the group `search` of a recorded configuration. */
typedef struct cell_search {
    pb_config_ints rungs;
    double keep;
    char *group; /* hash of what was compared */
} cell_search;

extern const pb_config_field cell_search_fields[];
pb_status cell_write_search(const pb_train_search *search, const char *group,
                            pb_string *out) PB_MUST_USE;
/* The version of the code that determines results. */
const char *cell_results_version(void);
/* The data set and the method of the cell, each with its own options; `backend` NULL: only the plan
 * of the method. */
pb_status cell_open_dataset(const pb_cell *cell, pb_dataset **out) PB_MUST_USE;
pb_status cell_create_method(const pb_cell *cell, const pb_model *model, pb_backend *backend,
                             pb_method **out) PB_MUST_USE;

/* SHA-256 of a file's contents, read once; a word if it cannot be read. */
pb_status env_file_hash(pb_cell_env *env, const char *path, char hash[PB_HASH_TEXT]) PB_MUST_USE;

/* A hash over names, sizes, times and inodes of the files of a model and its tokenizer. */
pb_status env_stamp_folder(const char *folder, char stamp[PB_HASH_TEXT]) PB_MUST_USE;
/* Checks that the files of the model have not changed since it was opened, and puts their current
 * hashes into the record. PB_ERR_IO names both. */
pb_status env_check_model(env_model *m, pb_record *record) PB_MUST_USE;
/* Checks that this process computes the same configuration hash for the cell. */
pb_status cell_check_hash(pb_cell_env *env, const pb_cell *cell) PB_MUST_USE;
env_model *env_find_model(const pb_cell_env *env, const char *name);
/* Cells of a model run in a row, so a device holds the weights of one. */
void env_release_other_weights(pb_cell_env *env, const env_model *m);
/* The weights of a model that was opened with them, placed at the first call. */
pb_status env_place_weights(pb_cell_env *env, env_model *m) PB_MUST_USE;
