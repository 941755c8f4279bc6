// SPDX-License-Identifier: Apache-2.0
/* The class names of a data set as tokens of answers. Pieces of a template are tokenised
 * separately, so an answer's tokens are the same after every prompt. */
#include "running.h"

#include "pb/memory.h"
#include "pb/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool is_stop(const pb_ids *stops, int32_t id)
{
    for (int64_t i = 0; i < stops->count; i++) {
        if (stops->items[i] == id) {
            return true;
        }
    }
    return false;
}

/* Pieces of a template are tokenised separately, so an answer's tokens are the same after every
 * prompt. */
static pb_status tokenise(const running *r, const pb_ids *stops, cell_candidate *c)
{
    bool corrected       = r->cell->name.protocol == PB_PROTOCOL_CORRECTED;
    pb_rendered rendered = {0};
    pb_status status;

    int64_t characters = pb_utf8_count(c->text, strlen(c->text));
    c->characters      = characters > 0 ? (double)characters : 1.0;
    PB_TRY_GOTO(
        status,
        pb_template_render(r->model->chat, r->model->tokenizer, "", c->text, corrected, &rendered),
        out_rendered);
    const int32_t *answer = rendered.ids.items + rendered.prompt_length;
    int64_t length        = rendered.ids.count - rendered.prompt_length;
    while (c->scored < length && !is_stop(stops, answer[c->scored])) {
        c->scored++;
    }
    PB_TRY_GOTO(status, pb_ids_extend(&c->ids, answer, c->scored < length ? c->scored + 1 : length),
                out_rendered);
out_rendered:
    pb_rendered_clear(&rendered);
    return status;
}

static pb_status open_candidates(cell_test *t)
{
    const running *r             = t->r;
    const pb_config_list *labels = pb_dataset_labels(r->data.dataset);
    pb_ids stops                 = {0};
    pb_status status;

    PB_TRY(PB_ALLOC(t->candidates, labels->count));
    t->candidate_count = labels->count;
    PB_TRY_GOTO(status, pb_template_stop_ids(r->model->chat, r->model->tokenizer, &stops),
                out_stops);
    for (int64_t k = 0; k < labels->count; k++) {
        t->candidates[k].text = labels->items[k];
        PB_TRY_GOTO(status, tokenise(r, &stops, &t->candidates[k]), out_stops);
    }
out_stops:
    pb_ids_clear(&stops);
    return status;
}

int64_t cell_test_new_tokens(const cell_test *t)
{
    int64_t most = t->r->options->eval.max_new_tokens;
    return most > 0 ? most : pb_dataset_max_new_tokens(t->r->data.dataset);
}

/* Tokens of a row beyond its prompt. */
static int64_t most_tokens(const cell_test *t)
{
    const cell_options *o = t->r->options;
    int64_t more          = 0;
    if (o->eval.scoring == SCORING_GENERATION) {
        return cell_test_new_tokens(t);
    }
    for (int64_t k = 0; k < t->candidate_count; k++) {
        more += t->candidates[k].scored;
    }
    return more;
}

static pb_status group_rows(cell_test *t)
{
    const cell_options *o = t->r->options;
    bool sorted        = t->r->net != NULL && (cell_without(&o->eval) & 1U << PB_SAVING_ORDER) == 0;
    pb_sample *prompts = NULL;
    PB_TRY(PB_ALLOC(prompts, t->rows));
    for (int64_t i = 0; i < t->rows; i++) {
        prompts[i] = pb_encoded_prompt(&t->r->data.test_set, i);
    }
    pb_status status =
        pb_groups_make(prompts, t->rows, o->eval.batch, most_tokens(t), sorted, &t->groups);
    pb_memory_free(prompts);
    return status;
}

pb_sample cell_test_prompt(const cell_test *t, int64_t index)
{
    return pb_encoded_prompt(&t->r->data.test_set, t->groups.order[index]);
}

int64_t cell_test_next_group(const cell_test *t)
{
    int64_t group = 0;
    while (group < t->groups.count && t->groups.starts[group] < t->done) {
        group++;
    }
    return group;
}

pb_status cell_test_prefix(const cell_test *t, int64_t first, int64_t count, pb_status status)
{
    enum { NAMED = 8 };
    char names[NAMED * 24] = "";
    size_t used            = 0;
    for (int64_t i = 0; i < count && i < NAMED; i++) {
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%" PRId64, i > 0 ? ", " : "",
                                 t->groups.order[first + i] + 1);
    }
    return pb_error_prefix(status, "test row%s %s%s", count > 1 ? "s" : "", names,
                           count > NAMED ? ", …" : "");
}

pb_status cell_test_rows_open(cell_test *t)
{
    PB_TRY(t->r->net != NULL ? open_candidates(t) : PB_OK);
    return group_rows(t);
}

void cell_test_rows_close(cell_test *t)
{
    for (int64_t k = 0; t->candidates != NULL && k < t->candidate_count; k++) {
        pb_ids_clear(&t->candidates[k].ids);
    }
    pb_memory_free(t->candidates);
    pb_groups_clear(&t->groups);
}
