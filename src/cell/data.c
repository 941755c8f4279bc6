// SPDX-License-Identifier: Apache-2.0
/* The data set of a cell: its sizes before the run, and its rows as tokens of the model. */
#include "running.h"

#include <inttypes.h>
#include <string.h>

static pb_status open_sets(pb_cell_env *env, const env_model *model,
                           const pb_cell_observer *observer, int64_t cutoff_tokens, cell_data *d)
{
    const pb_dataset_options *o = pb_dataset_get_options(d->dataset);
    pb_encode_options encode    = {.tpl           = model->chat,
                                   .tokenizer     = model->tokenizer,
                                   .cutoff_tokens = cutoff_tokens,
                                   .threads       = env->setup.threads,
                                   .cache         = env->cache,
                                   .stop          = observer != NULL ? observer->stop : NULL,
                                   .stop_context  = observer != NULL ? observer->context : NULL};

    char train_sha[PB_HASH_TEXT], test_sha[PB_HASH_TEXT];

    PB_TRY(env_file_hash(env, o->train_file, train_sha));
    PB_TRY(env_file_hash(env, o->test_file, test_sha));
    encode.file_sha[PB_SPLIT_TRAIN] = train_sha;
    encode.file_sha[PB_SPLIT_TEST]  = test_sha;
    PB_TRY(pb_encoded_open(d->dataset, PB_SPLIT_TEST, &encode, NULL, &d->test_set));
    return pb_encoded_open(d->dataset, PB_SPLIT_TRAIN, &encode, &d->test_set, &d->train_set);
}

/* Scores of truncated rows mean little: if most rows are cut, the cutoff is an error. */
static pb_status check_cut(const char *name, const pb_data_options *o, const pb_encoded_set *set,
                           bool train)
{
    int64_t cut  = set->truncated + set->too_long;
    int64_t rows = set->count + (train ? set->too_long : 0);

    if ((double)cut <= o->max_truncated_share * (double)rows) {
        return PB_OK;
    }
    return PB_FAIL(PB_ERR_CONFIG,
                   "data set %s: %" PRId64 " of %" PRId64 " %s rows are longer than "
                   "data.cutoff_tokens = %" PRId64 " and were cut, more than the share of %g that "
                   "data.max_truncated_share allows; raise data.cutoff_tokens (peftbench data %s "
                   "--model DIR shows the lengths) or that share",
                   name, cut, rows, train ? "training" : "test", o->cutoff_tokens,
                   o->max_truncated_share, name);
}

pb_status cell_data_open(pb_cell_env *env, const pb_cell *cell, const env_model *model,
                         const pb_cell_observer *observer, cell_data *out)
{
    const pb_data_options *o = &cell->plan->options.data;
    cell_data data           = {0};

    PB_TRY(cell_open_dataset(cell, &data.dataset));
    pb_status status = open_sets(env, model, observer, o->cutoff_tokens, &data);
    /* The tokenizer's cache would count as memory of the cell, but only in the process that
     * tokenised the rows. */
    pb_tokenizer_trim(model->tokenizer);
    if (status == PB_OK) {
        status = check_cut(cell->name.dataset, o, &data.test_set, false);
    }
    if (status == PB_OK) {
        status = check_cut(cell->name.dataset, o, &data.train_set, true);
    }
    if (status != PB_OK) {
        cell_data_close(&data);
        return PB_FRAME(status);
    }
    *out = data;
    return PB_OK;
}

void cell_data_close(cell_data *data)
{
    pb_encoded_close(&data->train_set);
    pb_encoded_close(&data->test_set);
    pb_dataset_close(data->dataset);
    *data = (cell_data){0};
}

pb_status pb_cell_prepare(pb_cell_env *env, const pb_cell *cell, const pb_cell_observer *observer)
{
    const env_model *model = env_find_model(env, cell->name.model);
    cell_data data         = {0};

    if (env->cache == NULL || model == NULL || model->status != PB_OK) {
        return PB_OK;
    }
    PB_TRY(pb_cell_check(cell));
    PB_TRY(cell_data_open(env, cell, model, observer, &data));
    cell_data_close(&data);
    return PB_OK;
}

static pb_status measure_split(const pb_dataset *dataset, pb_split split, pb_cell_split *out)
{
    const pb_example *examples = NULL;
    pb_rows *rows              = NULL;
    int64_t total = 0, count = 0;
    double prompts = 0.0, answers = 0.0;
    pb_status status;

    PB_TRY(pb_rows_open(dataset, split, 1, &rows));
    do {
        PB_TRY_GOTO(status, pb_rows_next(rows, &examples, &count), out_rows);
        for (int64_t i = 0; i < count; i++) {
            prompts += (double)strlen(examples[i].user);
            answers += (double)strlen(examples[i].answer);
        }
        total += count;
    } while (count > 0);
    *out = (pb_cell_split){.rows         = total,
                           .prompt_bytes = prompts / (double)total,
                           .answer_bytes = answers / (double)total};
out_rows:
    pb_rows_close(rows);
    return status;
}

pb_status pb_cell_check_data(const pb_cell *cell, pb_cell_rows *out)
{
    pb_dataset *dataset = NULL;
    pb_status status;
    PB_TRY(pb_cell_check(cell));
    PB_TRY(cell_open_dataset(cell, &dataset));
    PB_TRY_GOTO(status, measure_split(dataset, PB_SPLIT_TRAIN, &out->train), out_dataset);
    PB_TRY_GOTO(status, measure_split(dataset, PB_SPLIT_TEST, &out->test), out_dataset);
out_dataset:
    pb_dataset_close(dataset);
    return status;
}
