// SPDX-License-Identifier: Apache-2.0
/* Predictions by greedy generation. The rows of each batch are fixed, so the result does not depend
 * on stops, which are checked between batches. Class names are likely answers, which are verified
 * in one pass. */
#include "running.h"

#include "pb/memory.h"

#include <inttypes.h>

static pb_status generate_batch(cell_test *t, const pb_generate_options *options, int64_t first,
                                int64_t count, pb_sample *prompts, pb_generated *generated)
{
    running *r = t->r;
    pb_status status;

    for (int64_t i = 0; i < count; i++) {
        prompts[i] = cell_test_prompt(t, first + i);
    }
    status = pb_network_generate_group(r->net, prompts, count, options, generated);
    if (status != PB_OK) {
        return PB_FRAME(cell_test_prefix(t, first, count, status));
    }
    for (int64_t i = 0; i < count; i++) {
        pb_string text = {0};
        if (status == PB_OK) {
            status = pb_tokenizer_decode(r->model->tokenizer, generated[i].ids, generated[i].count,
                                         true, &text);
        }
        if (status == PB_OK) {
            status = PB_TEXT(t->predictions[t->groups.order[first + i]],
                             text.data != NULL ? text.data : "");
        }
        t->tokens += generated[i].count;
        pb_string_clear(&text);
        pb_memory_free(generated[i].ids);
        generated[i] = (pb_generated){0};
    }
    return status;
}

static pb_status generate_all(cell_test *t, const pb_generate_options *options, pb_sample *prompts,
                              pb_generated *generated)
{
    const pb_groups *groups = &t->groups;
    PB_TRY(running_test_progress(t->r, t->done));
    for (int64_t g = cell_test_next_group(t); g < groups->count; g++) {
        int64_t first = groups->starts[g];
        int64_t n     = groups->starts[g + 1] - first;
        PB_TRY(generate_batch(t, options, first, n, prompts, generated));
        PB_TRY(running_test_progress(t->r, first + n));
    }
    return PB_OK;
}

pb_status cell_test_generate(cell_test *t)
{
    running *r              = t->r;
    pb_sample *prompts      = NULL;
    pb_sample *drafts       = NULL;
    pb_generated *generated = NULL;
    pb_ids stops            = {0};
    pb_status status;

    t->tokens = t->done > 0 ? t->tokens : 0;
    PB_TRY_GOTO(status, PB_ALLOC(prompts, t->groups.largest), done);
    PB_TRY_GOTO(status, PB_ALLOC(generated, t->groups.largest), done);
    PB_TRY_GOTO(status, PB_ALLOC(drafts, t->candidate_count), done);
    PB_TRY_GOTO(status, pb_template_stop_ids(r->model->chat, r->model->tokenizer, &stops), done);
    for (int64_t k = 0; k < t->candidate_count; k++) {
        const pb_ids *ids = &t->candidates[k].ids;
        drafts[k]         = (pb_sample){.ids = ids->items, .length = ids->count};
    }
    pb_generate_options options = {
        .max_new_tokens = cell_test_new_tokens(t),
        .stop_ids       = stops.items,
        .stop_count     = stops.count,
        .batch          = t->groups.largest,
        .drafts         = drafts,
        .draft_count    = t->candidate_count,
        .stop           = running_wants_stop,
        .context        = r,
    };
    PB_TRY_GOTO(status, generate_all(t, &options, prompts, generated), done);
done:
    pb_memory_free(prompts);
    pb_memory_free(drafts);
    pb_memory_free(generated);
    pb_ids_clear(&stops);
    return status;
}
