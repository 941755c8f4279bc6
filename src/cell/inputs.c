// SPDX-License-Identifier: Apache-2.0
/* The input files of a cell, by path and by contents: for comparing what processes see. */
#include "internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

const char *const pb_cell_input_names[] = {"weights", "tokenizer", "training rows", "test rows",
                                           NULL};

const char *pb_cell_input_path(const pb_cell *cell, pb_cell_input input)
{
    const cell_options *o = &cell->plan->options;

    if (cell->plan->status != PB_OK) {
        return "";
    }
    switch (input) {
    case PB_INPUT_WEIGHTS:
    case PB_INPUT_TOKENIZER:
        return o->model.path;
    case PB_INPUT_TRAIN:
        return o->dataset.train_file;
    case PB_INPUT_TEST:
    case PB_INPUT_COUNT:
        break;
    }
    return o->dataset.test_file;
}

static pb_status hash_of(pb_cell_env *env, const pb_cell *cell, pb_cell_input input,
                         char hash[PB_HASH_TEXT])
{
    const env_model *model = env_find_model(env, cell->name.model);
    bool usable            = model != NULL && model->loaded && model->tokenizer != NULL;
    bool rows              = input == PB_INPUT_TRAIN || input == PB_INPUT_TEST;

    if (cell->plan->status != PB_OK || (!rows && !usable)) {
        snprintf(hash, PB_HASH_TEXT, "unreadable");
        return PB_OK;
    }
    if (rows) {
        return env_file_hash(env, pb_cell_input_path(cell, input), hash);
    }
    if (input == PB_INPUT_WEIGHTS) {
        return pb_model_hash(model->model, hash);
    }
    snprintf(hash, PB_HASH_TEXT, "%s", pb_tokenizer_hash(model->tokenizer));
    return PB_OK;
}

pb_status pb_cell_input_hashes(pb_cell_env *env, const pb_cell *cell,
                               char hashes[PB_INPUT_COUNT][PB_HASH_TEXT])
{
    for (int input = 0; input < PB_INPUT_COUNT; input++) {
        PB_TRY(hash_of(env, cell, (pb_cell_input)input, hashes[input]));
    }
    return PB_OK;
}

pb_status pb_cell_input_places(const pb_cell *cell, pb_hash *hash)
{
    for (int input = 0; input < PB_INPUT_COUNT; input++) {
        struct stat place = {0};
        char text[128]    = "missing";
        if (stat(pb_cell_input_path(cell, (pb_cell_input)input), &place) == 0) {
            snprintf(text, sizeof text, "%" PRIdMAX " %" PRIdMAX " %" PRIdMAX,
                     (intmax_t)place.st_dev, (intmax_t)place.st_ino, (intmax_t)place.st_size);
        }
        PB_TRY(pb_hash_update_text(hash, text));
    }
    return PB_OK;
}
