// SPDX-License-Identifier: Apache-2.0
/* The life of a cell: set up, train with validation, test, measure, fill in the record. A failure
 * along the way is written to the record, and the sweep continues. */
#include "running.h"

#include "pb/clock.h"
#include "pb/log.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Orders the rows of the training file: the validation part first. */
static pb_status split_rows(running *r)
{
    int64_t n = r->data.train_set.count;
    uint64_t seed =
        (uint64_t)(r->cell->name.protocol == PB_PROTOCOL_PAPER ? r->cell->name.seed
                                                               : r->options->data.validation_seed);
    PB_TRY(PB_ALLOC(r->rows, n));
    PB_TRY(PB_ALLOC(r->order, n));
    PB_TRY(pb_split_validation(n, r->options->data.validation_share, seed, r->order,
                               &r->validation_count));
    for (int64_t i = 0; i < n; i++) {
        r->rows[i] = pb_encoded_sample(&r->data.train_set, r->order[i]);
    }
    r->train_count = n - r->validation_count;
    return PB_OK;
}

/* Cells of one data set have the same rows: each process warns about them once. */
static pb_status warn_once(running *r)
{
    pb_cell_env *env = r->env;

    for (int64_t i = 0; i < env->warned_count; i++) {
        if (strcmp(env->warned[i], r->cell->name.dataset) == 0) {
            return PB_OK;
        }
    }
    size_t before = pb_memory_current();
    PB_TRY(PB_GROW(env->warned, env->warned_count + 1));
    PB_TRY(PB_TEXT(env->warned[env->warned_count], r->cell->name.dataset));
    env->warned_count++;
    running_grow_base(r, pb_memory_current() - before, 0); /* outlives the cell */
    pb_row_counts_warn(r->data.dataset, PB_SPLIT_TRAIN, &r->data.train_set.counts);
    pb_row_counts_warn(r->data.dataset, PB_SPLIT_TEST, &r->data.test_set.counts);
    if (r->record->rows_truncated > 0) {
        pb_log_warn("data set %s: %" PRId64 " of %" PRId64 " training rows and %" PRId64
                    " of %" PRId64 " test rows were cut at data.cutoff_tokens = %" PRId64
                    "; raise it if the lost text matters",
                    r->cell->name.dataset, r->data.train_set.truncated, r->data.train_set.count,
                    r->data.test_set.truncated, r->data.test_set.count,
                    r->options->data.cutoff_tokens);
    }
    if (r->record->rows_too_long > 0) {
        pb_log_warn("data set %s: %" PRId64 " training rows left out and %" PRId64
                    " test rows without their text, data.cutoff_tokens = %" PRId64
                    " is too short for them",
                    r->cell->name.dataset, r->data.train_set.too_long, r->data.test_set.too_long,
                    r->options->data.cutoff_tokens);
    }
    return PB_OK;
}

/* Counts over both files, for readers of the results. */
static pb_status record_rows(running *r)
{
    pb_record *record       = r->record;
    const pb_row_counts *a  = &r->data.train_set.counts;
    const pb_row_counts *b  = &r->data.test_set.counts;
    record->rows_truncated  = r->data.train_set.truncated + r->data.test_set.truncated;
    record->rows_too_long   = r->data.train_set.too_long + r->data.test_set.too_long;
    record->rows_bad        = a->bad + b->bad;
    record->rows_unlabelled = a->unlabelled + b->unlabelled;
    record->rows_no_answer  = a->no_answer + b->no_answer;
    record->rows_empty      = a->faults[PB_ROW_EMPTY] + b->faults[PB_ROW_EMPTY];
    record->rows_duplicate  = a->faults[PB_ROW_DUPLICATE] + b->faults[PB_ROW_DUPLICATE];
    record->rows_overlap    = a->overlap;
    record->bytes_train     = a->bytes;
    record->bytes_test      = b->bytes;
    return warn_once(r);
}

static pb_status record_data(running *r)
{
    pb_record *record       = r->record;
    record->rows_train      = r->train_count;
    record->rows_validation = r->validation_count;
    record->rows_test       = r->data.test_set.count;
    PB_TRY(record_rows(r));
    char both[2 * PB_HASH_TEXT];
    snprintf(both, sizeof both, "%s %s", r->data.train_set.sha, r->data.test_set.sha);
    return pb_record_set_text(&record->data_hash, both);
}

/* What the environment caches during a cell outlives it and is not counted as the cell's memory. */
static pb_status learn(running *r)
{
    const pb_dataset_options *o = &r->options->dataset;
    size_t before               = pb_memory_current();
    char hash[PB_HASH_TEXT];

    PB_TRY(env_file_hash(r->env, o->train_file, hash));
    PB_TRY(env_file_hash(r->env, o->test_file, hash));
    running_grow_base(r, pb_memory_current() - before, 0);
    return PB_OK;
}

static pb_status set_up_data(running *r)
{
    PB_TRY(learn(r));
    PB_TRY(cell_data_open(r->env, r->cell, r->model, r->observer, &r->data));
    PB_TRY(split_rows(r));
    PB_TRY(record_data(r));
    return cell_check_data(r->env, &r->data);
}

/* The weights outlive the cell that happens to place them. */
static pb_status place_weights(running *r)
{
    size_t host = pb_memory_current();
    size_t before, after;
    pb_backend_memory(r->env->backend, &before, NULL);
    PB_TRY(env_place_weights(r->env, r->model));
    pb_backend_memory(r->env->backend, &after, NULL);
    running_grow_base(r, pb_memory_current() - host, after - before);
    return PB_OK;
}

pb_status running_set_up(running *r)
{
    pb_record *record = r->record;
    pb_string text    = {0};
    PB_TRY(pb_cell_env_check_model(r->env, r->cell->name.model));
    r->model = env_find_model(r->env, r->cell->name.model);
    PB_TRY(pb_cell_check(r->cell));
    pb_status status = pb_cell_config(r->cell, &text);
    if (status == PB_OK && r->cell->group[0] != '\0' && r->env->search != NULL) {
        status = cell_write_search(r->env->search, r->cell->group, &text);
    }
    if (status == PB_OK) {
        status = pb_record_set_text(&record->config, text.data);
    }
    pb_string_clear(&text);
    PB_TRY(status);
    PB_TRY(env_check_model(r->model, record));
    PB_TRY(cell_check_hash(r->env, r->cell));
    PB_TRY(set_up_data(r));
    PB_TRY(cell_create_method(r->cell, r->model->model, r->env->backend, &r->method));
    record->trainable_params = r->method->parameters;
    record->model_params     = pb_model_parameters(r->model->model);
    record->flops_forward_t  = pb_method_flops(r->method, r->model->model, FLOPS_TOKENS) / 1e12;
    record->flops_base_t     = pb_method_flops(NULL, r->model->model, FLOPS_TOKENS) / 1e12;
    if (r->method->ops->baseline != NULL) {
        return PB_OK; /* a baseline runs no network */
    }
    PB_TRY(place_weights(r));
    PB_TRY(pb_network_create(r->model->weights, r->method, &r->net));
    pb_network_without(r->net, cell_without(&r->options->eval));
    return PB_OK;
}

/* The results of a finished cell are valid only if these conditions hold. */
static void validate(running *r)
{
    const pb_record *record = r->record;
    const char *reason      = NULL;
    if (record->predictions_count != r->data.test_set.count) {
        reason = "not every test row has a prediction";
    } else if (isnan(record->score) && r->cell->name.protocol == PB_PROTOCOL_CORRECTED) {
        reason = "the main metric is not a number";
    } else if (r->net != NULL && !r->cell->own.tests_only && r->validation_count > 0 &&
               record->validation_count == 0) {
        reason = "no validation took place";
    }
    r->record->valid = reason == NULL;
    if (reason != NULL) {
        pb_ignore(pb_record_set_text(&r->record->reason, reason), "the reason is only informative");
    }
}

pb_status running_finish_test(running *r)
{
    running_energy_begin(r);
    r->flops_mark = running_flops(r);
    PB_TRY(running_test(r));
    r->record->seconds_test = pb_clock_seconds() - r->test_begin;
    r->record->flops_test   = running_flops_tested(r);
    if (r->net != NULL) {
        r->record->mfu_test =
            running_product_share(r, r->record->flops_test, r->record->seconds_test);
    }
    running_energy(r, &r->energy_test);
    PB_TRY(running_phase(r, NULL));
    PB_TRY(env_check_model(r->model, r->record)); /* its weights are mapped: they can change */
    validate(r);
    return running_keep_adapter(r);
}

void running_tear_down(running *r)
{
    running_close_checkpoint(r);
    pb_network_destroy(r->net);
    pb_method_destroy(r->method);
    pb_memory_free(r->rows);
    pb_memory_free(r->order);
    pb_memory_free(r->helper_ranks);
    cell_data_close(&r->data);
    r->net          = NULL;
    r->method       = NULL;
    r->rows         = NULL;
    r->order        = NULL;
    r->helper_ranks = NULL;
    r->data         = (cell_data){0};
}

pb_status running_conclude(running *r)
{
    char created[32];
    pb_clock_iso8601(pb_clock_unix(), created, sizeof created);
    PB_TRY(pb_record_set_text(&r->record->created, created));
    PB_TRY(pb_cell_provenance(r->env, r->record));
    PB_TRY(running_record_energy(r));
    PB_TRY(running_record_memory(r));
    r->record->seconds_total = pb_clock_seconds() - r->begin;
    if (r->gang_size > 1) {
        r->record->seconds_total =
            r->seconds + r->trained.seconds_steps + r->trained.seconds_validation;
    }
    r->record->memory_system_peak_gb = (double)pb_memory_resident_peak() / 1e9;
    return PB_OK;
}

pb_status running_start(running *r)
{
    const pb_cell_name *name = &r->cell->name;
    r->begin                 = pb_clock_seconds();
    r->record->gang          = r->gang_size;
    r->record->segments      = 1;
    r->record->seconds_lost  = 0.0;
    PB_TRY(pb_record_set_key(r->record, name->model, name->dataset, name->method, name->seed));
    PB_TRY(pb_record_set_text(&r->record->protocol, pb_protocol_names[name->protocol]));
    memcpy(r->record->key.config_hash, r->cell->hash, sizeof r->cell->hash);
    /* Earlier cells must leave no trace in the memory figures of this one. */
    const env_model *model = env_find_model(r->env, name->model);
    pb_tokenizer_trim(model != NULL ? model->tokenizer : NULL);
    env_release_other_weights(r->env, model);
    pb_backend_reset(r->env->backend);
    pb_backend_memory(r->env->backend, &r->base_device_bytes, NULL);
    r->base_bytes = pb_memory_current();
    pb_memory_peak_reset();
    (void)pb_memory_resident_peak_reset();
    return running_restore(r);
}
