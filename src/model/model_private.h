// SPDX-License-Identifier: Apache-2.0
/* The model's fields, for the files of this folder: sites.c makes the list, weights.c fills it,
 * model.c opens and answers questions. */
#pragma once

#include "pb/model.h"
#include "pb/safetensors.h"

struct pb_model {
    pb_model_config config;
    char *directory; /* "" when the weights are not from a file */
    pb_site *sites;  /* embedding, the sites of layer 0, 1, …, final norm, head */
    int64_t site_count;
    size_t bytes; /* of all weights as held */

    pb_safetensors *file;   /* views of the mapping */
    pb_comm_window *window; /* converted, shared by the ranks of a node */
    float *arena;           /* converted in a group of one, or random */

    char **files; /* paths of the weight files, for the hash */
    int64_t file_count;
    char hash[PB_HASH_TEXT]; /* "" until asked for */
};

/* The list of sites with names and sizes, no weights. */
pb_status sites_create(const pb_model_config *config, pb_site **sites, int64_t *count) PB_MUST_USE;

/* The prefix of the names of all modules but the head: "model.", and in the language part of a
 * larger model "model.language_model.". */
const char *sites_body(const pb_model_config *config);

/* The tensor of a site without memory: [out, in], or [out] for norms and biases. */
pb_tensor site_weight_shape(const pb_site *site);
pb_tensor site_bias_shape(const pb_site *site);

/* Fills the sites of `model` from its directory. Collective like pb_model_open. On failure the
 * caller closes the model. */
pb_status model_load(pb_model *model, pb_comm *comm, int threads) PB_MUST_USE;

/* Points every site to its place in `memory` (floats, 64-byte aligned pieces in list order); with
 * NULL it only counts. Returns the number of floats needed. */
int64_t model_lay_out(pb_model *model, float *memory);

/* After the sites have their memory: the tied head, the bytes. */
void model_finish(pb_model *model);
