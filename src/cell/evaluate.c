// SPDX-License-Identifier: Apache-2.0
/* The test of a cell: predictions are made in one of three ways, post-processed and scored; every
 * row's prediction is kept. */
#include "running.h"

#include "pb/clock.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static pb_status open_test(cell_test *t)
{
    const pb_encoded_set *set = &t->r->data.test_set;

    PB_TRY(cell_test_rows_open(t));
    PB_TRY(PB_ALLOC(t->predictions, t->rows));
    PB_TRY(PB_ALLOC(t->references, t->rows));
    PB_TRY(PB_ALLOC(t->alternatives, t->rows));
    PB_TRY(PB_ALLOC(t->ids, t->rows));
    for (int64_t i = 0; i < t->rows; i++) {
        int64_t answers  = pb_encoded_answer_count(set, i);
        pb_string answer = {0};
        PB_TRY(PB_ALLOC(t->alternatives[i], answers + 1));
        for (int64_t k = 0; k < answers; k++) {
            t->alternatives[i][k] = pb_encoded_answer(set, i, k);
        }
        t->ids[i] = pb_encoded_id(set, i);
        pb_status status =
            pb_encoded_reference(t->r->data.dataset, set, t->r->model->tokenizer, i, &answer);
        if (status == PB_OK) {
            status = PB_TEXT(t->references[i], answer.data != NULL ? answer.data : "");
        }
        pb_string_clear(&answer);
        PB_TRY(status);
    }
    return PB_OK;
}

static void close_test(cell_test *t)
{
    for (int64_t i = 0; t->alternatives != NULL && i < t->rows; i++) {
        pb_memory_free(t->alternatives[i]);
    }
    cell_test_rows_close(t);
    pb_memory_free(t->alternatives);
    pb_memory_free_texts(t->predictions, (size_t)t->rows);
    pb_memory_free_texts(t->references, (size_t)t->rows);
    pb_memory_free(t->ids);
}

static pb_status record_scores(cell_test *t, const pb_metric_result *result)
{
    pb_record *record = t->r->record;
    int64_t invalid   = 0;
    PB_TRY(pb_record_set_text(&record->metric_name, result->main_name));
    record->score      = result->main * 100.0;
    record->score_low  = result->main_low * 100.0;
    record->score_high = result->main_high * 100.0;
    for (int64_t i = 0; i < result->count; i++) {
        PB_TRY(pb_record_add_metric(record, result->values[i].name, result->values[i].value));
    }
    for (int64_t i = 0; i < t->rows; i++) {
        invalid += result->invalid[i];
        PB_TRY(pb_record_add_prediction(record, t->r->data.test_set.rows[i], t->predictions[i],
                                        t->references[i], result->correct[i],
                                        result->row_values[i]));
    }
    record->invalid_share = (double)invalid / (double)t->rows;
    if (t->tokens >= 0) {
        PB_TRY(pb_record_add_metric(record, "output_tokens_mean",
                                    (double)t->tokens / (double)t->rows));
    }
    if (t->norm_right >= 0) {
        PB_TRY(
            pb_record_add_metric(record, "accuracy_norm", (double)t->norm_right / (double)t->rows));
    }
    return PB_OK;
}

static pb_status score(cell_test *t)
{
    running *r                   = t->r;
    const pb_config_list *labels = pb_dataset_labels(r->data.dataset);
    pb_metric_input input        = {
               .protocol     = r->cell->name.protocol,
               .predictions  = (const char *const *)t->predictions,
               .references   = (const char *const *)t->references,
               .alternatives = (const char *const *const *)t->alternatives,
               .ids          = t->ids,
               .rows         = t->rows,
               .labels       = labels->items,
               .label_count  = labels->count,
    };
    pb_metric_result result = {0};
    PB_TRY(pb_metric_score(pb_dataset_get_options(r->data.dataset)->metric, &input, &result));
    pb_status status = record_scores(t, &result);
    pb_metric_result_clear(&result);
    return status;
}

/* PB_STOPPED, with its message, once the predictions so far are kept. */
static pb_status save_stopped(running *r)
{
    char message[160];
    (void)snprintf(message, sizeof message, "%s", pb_error_message());
    PB_TRY(running_save_trained(r));
    return PB_FAIL(PB_STOPPED, "%s", message);
}

static pb_status predict(cell_test *t)
{
    running *r = t->r;
    if (r->options->method->baseline != NULL) {
        return cell_test_baseline(t);
    }
    return r->options->eval.scoring == SCORING_LIKELIHOOD ? cell_test_likelihood(t)
                                                          : cell_test_generate(t);
}

pb_status running_test(running *r)
{
    cell_test t   = {.r = r, .rows = r->data.test_set.count, .tokens = -1, .norm_right = -1};
    r->test_begin = pb_clock_seconds() - r->test_before;
    pb_status status;

    PB_TRY_GOTO(status, open_test(&t), done);
    PB_TRY_GOTO(status, r->resume != NULL ? running_archive_test(r->resume, &t) : PB_OK, done);
    running_close_checkpoint(r);
    r->test = &t;
    status  = predict(&t);
    PB_TRY_GOTO(status, status == PB_STOPPED ? save_stopped(r) : status, done);
    PB_TRY_GOTO(status, score(&t), done);
done:
    r->test = NULL;
    close_test(&t);
    return status;
}
