// SPDX-License-Identifier: Apache-2.0
/* What cells share: the models of a sweep with their tokenizers, opened once per node, the hashes
 * of their files, the backend, and the provenance of results. */
#pragma once

#include "pb/backend.h"
#include "pb/comm.h"
#include "pb/config.h"
#include "pb/hash.h"
#include "pb/record.h"

struct pb_dataset;
typedef struct pb_cell pb_cell;
typedef struct pb_cell_env pb_cell_env;

/* Settings of the command line and the group `run`, for all cells. */
typedef struct pb_cell_setup {
    const char *backend; /* a name of the registry, or "auto" */
    int device;
    int threads;    /* part of every cell's configuration; 0: one per processor of the process */
    pb_dtype dtype; /* F32 or BF16, see pb_backend_use_dtype */
    bool graphs;    /* see pb_backend_use_graphs; changes no result */
    const char *products; /* see pb_backend_use_products; NULL: as pb_backend_use_dtype has them */
    /* For a plan: the rate of products, which is then not measured, and no device is opened; 0: it
     * is measured. */
    double gflops;
    /* For a plan: fitted rates of work, in place of the rate of products; NULL: none. */
    const struct pb_rates *rates;
} pb_cell_setup;

/* The groups `model`, `dataset.typical` and `eval` of a cell. */
extern const pb_config_field pb_cell_model_fields[];
extern const pb_config_field pb_cell_typical_fields[];
extern const pb_config_field pb_cell_eval_fields[];

/* Collective (comm may be NULL). PB_ERR_CONFIG when the backends of the processes compute
 * differently: a cell's result must not depend on the process that runs it. */
pb_status pb_cell_env_open(const pb_cell_setup *setup, pb_comm *comm,
                           pb_cell_env **out) PB_MUST_USE;
void pb_cell_env_close(pb_cell_env *env); /* accepts NULL */

/* Measures which library should compute products: a text for the next. On one process. */
pb_status pb_cell_env_measure_products(pb_cell_env *env, char text[PB_PRODUCTS_SIZE]) PB_MUST_USE;
/* See pb_backend_use_products; the same text on every process. Collective. */
pb_status pb_cell_env_use_products(pb_cell_env *env, const char *text) PB_MUST_USE;

/* The memory of the backend, in a plan that of the device planned for, is the host's. */
bool pb_cell_env_on_host(const pb_cell_env *env);
int pb_cell_env_threads(const pb_cell_env *env);
/* GFLOP/s of a square product, measured or stated; 0 where fitted rates take its place. */
double pb_cell_env_gflops(const pb_cell_env *env);

/* Keeps the tokens of data sets in this folder (see pb/encoded.h); without it every cell tokenises
 * its rows. */
pb_status pb_cell_env_set_cache(pb_cell_env *env, const char *folder) PB_MUST_USE;

/* Keeps the adapter of every cell that trains one, as it was tested, in
 * FOLDER/<model>/<dataset>/<method>/<seed>. `base`: what they name as their model, NULL: its
 * folder; borrowed. */
pb_status pb_cell_env_set_adapters(pb_cell_env *env, const char *folder,
                                   const char *base) PB_MUST_USE;

/* Cells leave a checkpoint in DIRECTORY/checkpoints every so many seconds (0: never) and when they
 * are stopped; a cell that has one goes on from there. */
pb_status pb_cell_env_set_checkpoints(pb_cell_env *env, const char *directory,
                                      double seconds) PB_MUST_USE;

/* Cells that train together are searched (pb/train.h); borrowed. */
struct pb_train_search;
void pb_cell_env_set_search(pb_cell_env *env, const struct pb_train_search *search);

/* Inspects the model of the cell, once per name: config.json, the tokenizer and the headers of any
 * weights (`weights`: they are required). Enough for pb_cell_predict. A model that cannot be used
 * is kept with its message: its cells fail, others do not. Collective; fails only when out of
 * memory or when the group is broken. */
pb_status pb_cell_env_add_shape(pb_cell_env *env, const pb_cell *cell, bool weights) PB_MUST_USE;

/* Opens the weights of the model, whether or not it was inspected before; the group `model` of the
 * first cell counts for all cells of the model. Collective; a model that cannot be opened is
 * treated as above. */
pb_status pb_cell_env_add_model(pb_cell_env *env, const pb_cell *cell) PB_MUST_USE;

/* PB_OK when the model can be used, as far as it was inspected or opened; else the reason. */
pb_status pb_cell_env_check_model(const pb_cell_env *env, const char *name) PB_MUST_USE;

/* Gives every process the hashes of rank 0's files: a cell that reads other contents fails, with
 * the file and both hashes. Collective; called after the hashes of the plan are computed. */
pb_status pb_cell_env_share_files(pb_cell_env *env) PB_MUST_USE;

/* Rejects rows that the data set's metric cannot score, as every cell does. */
void pb_cell_check_answers(struct pb_dataset *ds);

/* Version and commit of this program, and the version of its results, in words. */
const char *pb_cell_program(void);

/* GFLOP/s of a square product on the backend, of the type of its activations: the median of five.
 * Its size, `least` or more, keeps the threads or the device busy. */
pb_status pb_cell_gemm_rate(pb_backend *backend, int64_t least, double *gflops) PB_MUST_USE;

/* Name and value pairs of host, processor, build and libraries. */
pb_status pb_cell_provenance(const pb_cell_env *env, pb_record *record) PB_MUST_USE;
