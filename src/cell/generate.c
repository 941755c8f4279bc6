// SPDX-License-Identifier: Apache-2.0
/* Predictions by greedy generation. The rows of each batch are fixed, so the result does not depend
 * on stops, which are checked between batches. */
#include "running.h"

#include "pb/memory.h"

#include <inttypes.h>

static pb_status generate_batch(cell_test *t, const pb_generate_options *options, int64_t first,
                                int64_t count, pb_sample *prompts, pb_generated *generated)
{
    running *r = t->r;
    pb_status status;

    for (int64_t i = 0; i < count; i++) {
        prompts[i] = pb_encoded_prompt(&r->data.test_set, first + i);
    }
    status = pb_network_generate(r->net, prompts, count, options, generated);
    if (status != PB_OK) {
        pb_error_prefix(status, "test rows %" PRId64 " … %" PRId64, first + 1, first + count);
        return PB_FRAME(status);
    }
    for (int64_t i = 0; i < count; i++) {
        pb_string text = {0};
        if (status == PB_OK) {
            status = pb_tokenizer_decode(r->model->tokenizer, generated[i].ids, generated[i].count,
                                         true, &text);
        }
        if (status == PB_OK) {
            status = PB_TEXT(t->predictions[first + i], text.data != NULL ? text.data : "");
        }
        t->tokens += generated[i].count;
        pb_string_clear(&text);
        pb_memory_free(generated[i].ids);
        generated[i] = (pb_generated){0};
    }
    return status;
}

static pb_status generate_all(cell_test *t, const pb_ids *stops, pb_sample *prompts,
                              pb_generated *generated)
{
    running *r                  = t->r;
    int64_t most                = r->options->eval.max_new_tokens;
    pb_generate_options options = {
        .max_new_tokens = most > 0 ? most : pb_dataset_max_new_tokens(r->data.dataset),
        .stop_ids       = stops->items,
        .stop_count     = stops->count,
        .batch          = r->options->eval.batch,
        .stop           = running_wants_stop,
        .context        = r,
    };

    PB_TRY(running_test_progress(t->r, t->done));
    for (int64_t first = t->done; first < t->rows; first += options.batch) {
        int64_t n = t->rows - first < options.batch ? t->rows - first : options.batch;
        PB_TRY(generate_batch(t, &options, first, n, prompts, generated));
        PB_TRY(running_test_progress(t->r, first + n));
    }
    return PB_OK;
}

pb_status cell_test_generate(cell_test *t)
{
    running *r              = t->r;
    pb_sample *prompts      = NULL;
    pb_generated *generated = NULL;
    pb_ids stops            = {0};
    pb_status status;

    t->tokens = t->done > 0 ? t->tokens : 0;
    PB_TRY_GOTO(status, PB_ALLOC(prompts, r->options->eval.batch), done);
    PB_TRY_GOTO(status, PB_ALLOC(generated, r->options->eval.batch), done);
    PB_TRY_GOTO(status, pb_template_stop_ids(r->model->chat, r->model->tokenizer, &stops), done);
    PB_TRY_GOTO(status, generate_all(t, &stops, prompts, generated), done);
done:
    pb_memory_free(prompts);
    pb_memory_free(generated);
    pb_ids_clear(&stops);
    return status;
}
