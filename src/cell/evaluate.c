// SPDX-License-Identifier: Apache-2.0
/* The test of a cell: answers are generated greedily, decoded, post-processed and scored; every
 * row's prediction is kept. */
#include "internal.h"

#include "pb/memory.h"

#include <string.h>

typedef struct test {
    running *r;
    int64_t rows;
    pb_sample *prompts;
    pb_generated *generated;
    char **predictions; /* [rows] texts as generated */
    char **references;
    pb_ids stops;
} test;

static pb_status open_test(test *t)
{
    PB_TRY(PB_ALLOC(t->prompts, t->rows));
    PB_TRY(PB_ALLOC(t->generated, t->rows));
    PB_TRY(PB_ALLOC(t->predictions, t->rows));
    PB_TRY(PB_ALLOC(t->references, t->rows));
    for (int64_t i = 0; i < t->rows; i++) {
        t->prompts[i] = pb_encoded_prompt(&t->r->test_set, i);
    }
    return pb_template_stop_ids(t->r->model->chat, t->r->model->tokenizer, &t->stops);
}

static void close_test(test *t)
{
    for (int64_t i = 0; i < t->rows; i++) {
        if (t->generated != NULL) {
            pb_memory_free(t->generated[i].ids);
        }
        if (t->predictions != NULL) {
            pb_memory_free(t->predictions[i]);
        }
        if (t->references != NULL) {
            pb_memory_free(t->references[i]);
        }
    }
    pb_memory_free(t->prompts);
    pb_memory_free(t->generated);
    pb_memory_free(t->predictions);
    pb_memory_free(t->references);
    pb_ids_clear(&t->stops);
}

/* Batches of fixed rows, so that a stop can be answered and the result does not depend on it. */
static pb_status generate(test *t)
{
    running *r                  = t->r;
    int64_t most                = r->options.eval.max_new_tokens;
    pb_generate_options options = {
        .max_new_tokens = most > 0 ? most : pb_dataset_max_new_tokens(r->dataset),
        .stop_ids       = t->stops.items,
        .stop_count     = t->stops.count,
        .batch          = r->options.eval.batch,
    };
    for (int64_t first = 0; first < t->rows; first += options.batch) {
        int64_t n = t->rows - first < options.batch ? t->rows - first : options.batch;
        if (r->observer != NULL && r->observer->stop != NULL &&
            r->observer->stop(r->observer->context)) {
            return PB_FAIL(PB_STOPPED, "stopped before test row %lld of %lld", (long long)first,
                           (long long)t->rows);
        }
        pb_status status =
            pb_network_generate(r->net, t->prompts + first, n, &options, t->generated + first);
        if (status != PB_OK) {
            pb_error_prefix(status, "test rows %lld … %lld", (long long)first + 1,
                            (long long)(first + n));
            return pb_error_frame(status, __FILE__, __LINE__, __func__);
        }
        if (r->observer != NULL && r->observer->progress != NULL) {
            r->observer->progress(r->observer->context, "test",
                                  (double)(first + n) / (double)t->rows);
        }
    }
    return PB_OK;
}

static pb_status decode(test *t)
{
    running *r = t->r;
    for (int64_t i = 0; i < t->rows; i++) {
        pb_string text   = {0};
        pb_string answer = {0};
        pb_status status = pb_tokenizer_decode(r->model->tokenizer, t->generated[i].ids,
                                               t->generated[i].count, true, &text);
        if (status == PB_OK) {
            status =
                pb_encoded_reference(r->dataset, &r->test_set, r->model->tokenizer, i, &answer);
        }
        if (status == PB_OK) {
            t->predictions[i] = pb_memory_text(text.data != NULL ? text.data : "");
            t->references[i]  = pb_memory_text(answer.data != NULL ? answer.data : "");
            status = t->predictions[i] != NULL && t->references[i] != NULL ? PB_OK : PB_ERR_MEMORY;
        }
        pb_string_clear(&text);
        pb_string_clear(&answer);
        PB_TRY(status);
    }
    return PB_OK;
}

static pb_status record_scores(test *t, const pb_metric_result *result)
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
        PB_TRY(pb_record_add_prediction(record, t->r->test_set.rows[i], t->predictions[i],
                                        t->references[i], result->correct[i],
                                        result->row_values[i]));
    }
    record->invalid_share = (double)invalid / (double)t->rows;
    return PB_OK;
}

static pb_status score(test *t)
{
    running *r                   = t->r;
    const pb_config_list *labels = pb_dataset_labels(r->dataset);
    pb_metric_input input        = {
               .protocol    = r->cell->protocol,
               .predictions = (const char *const *)t->predictions,
               .references  = (const char *const *)t->references,
               .rows        = t->rows,
               .labels      = labels->items,
               .label_count = labels->count,
    };
    pb_metric_result result = {0};
    PB_TRY(pb_metric_score(pb_dataset_get_options(r->dataset)->metric, &input, &result));
    pb_status status = record_scores(t, &result);
    pb_metric_result_clear(&result);
    return status;
}

pb_status running_test(running *r)
{
    test t = {.r = r, .rows = r->test_set.count};
    pb_status status;
    PB_TRY_GOTO(status, open_test(&t), done);
    PB_TRY_GOTO(status, generate(&t), done);
    PB_TRY_GOTO(status, decode(&t), done);
    PB_TRY_GOTO(status, score(&t), done);
done:
    close_test(&t);
    return status;
}
