// SPDX-License-Identifier: Apache-2.0
/* What a cell reads from files, by path and by contents: for comparing what processes see. */
#include "internal.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

const char *const pb_cell_input_names[] = {"weights", "tokenizer", "training rows", "test rows",
                                           NULL};

/* A cell whose configuration cannot be read has no inputs: *readable is false. */
static pb_status read_options(const pb_cell *cell, cell_options *out, bool *readable)
{
    pb_status status = cell_options_read(cell, out);
    *readable        = status == PB_OK;
    if (status == PB_ERR_MEMORY) {
        return PB_FRAME(status);
    }
    if (status != PB_OK) {
        pb_error_clear();
    }
    return PB_OK;
}

static const char *path_of(const cell_options *o, pb_cell_input input)
{
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

static pb_status hash_of(pb_cell_env *env, const pb_cell *cell, const cell_options *o,
                         pb_cell_input input, char hash[PB_HASH_TEXT])
{
    const env_model *model = env_find_model(env, cell->model);
    bool usable            = model != NULL && model->loaded && model->tokenizer != NULL;

    if (input == PB_INPUT_TRAIN || input == PB_INPUT_TEST) {
        return env_file_hash(env, path_of(o, input), hash);
    }
    if (!usable) {
        snprintf(hash, PB_HASH_TEXT, "unreadable");
        return PB_OK;
    }
    if (input == PB_INPUT_WEIGHTS) {
        return pb_model_hash(model->model, hash);
    }
    snprintf(hash, PB_HASH_TEXT, "%s", pb_tokenizer_hash(model->tokenizer));
    return PB_OK;
}

pb_status pb_cell_input_path(const pb_cell *cell, pb_cell_input input, pb_string *out)
{
    cell_options options = {0};
    bool readable        = false;
    PB_TRY(read_options(cell, &options, &readable));
    pb_status status = readable ? pb_string_puts(out, path_of(&options, input)) : PB_OK;
    cell_options_clear(&options);
    return status;
}

pb_status pb_cell_input_hashes(pb_cell_env *env, const pb_cell *cell,
                               char hashes[PB_INPUT_COUNT][PB_HASH_TEXT])
{
    cell_options options = {0};
    bool readable        = false;
    pb_status status     = PB_OK;
    PB_TRY(read_options(cell, &options, &readable));
    for (int input = 0; input < PB_INPUT_COUNT && status == PB_OK; input++) {
        snprintf(hashes[input], PB_HASH_TEXT, "unreadable");
        if (readable) {
            status = hash_of(env, cell, &options, (pb_cell_input)input, hashes[input]);
        }
    }
    cell_options_clear(&options);
    return status;
}

pb_status pb_cell_input_places(const pb_cell *cell, pb_hash *hash)
{
    cell_options options = {0};
    bool readable        = false;
    pb_status status     = PB_OK;
    PB_TRY(read_options(cell, &options, &readable));
    for (int input = 0; input < PB_INPUT_COUNT && status == PB_OK; input++) {
        struct stat place = {0};
        char text[128]    = "missing";
        if (readable && stat(path_of(&options, (pb_cell_input)input), &place) == 0) {
            snprintf(text, sizeof text, "%" PRIdMAX " %" PRIdMAX " %" PRIdMAX,
                     (intmax_t)place.st_dev, (intmax_t)place.st_ino, (intmax_t)place.st_size);
        }
        status = pb_hash_update_text(hash, text);
    }
    cell_options_clear(&options);
    return status;
}
