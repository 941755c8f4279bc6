// SPDX-License-Identifier: Apache-2.0
/* Random weights answer at random: where a profile has known answers, what the rows answer in an
 * untimed test is taken as these, as if the model had learnt them. */
#include "evaluation.h"

#include "pb/clock.h"
#include "pb/memory.h"

enum { REPEATS = 3 };

typedef struct evaluation {
    pb_network *net;
    const bench_rows *rows;
    pb_groups groups;
    pb_sample *prompts;    /* [largest] */
    pb_generated *answers; /* [count] by the order of the groups */
    pb_sample *known;      /* [count] */
    pb_generate_options how;
} evaluation;

static void forget_answers(evaluation *e, pb_generated *answers)
{
    for (int64_t i = 0; answers != NULL && i < e->rows->count; i++) {
        pb_memory_free(answers[i].ids);
        answers[i] = (pb_generated){0};
    }
}

static pb_status test_once(evaluation *e, pb_generated *answers)
{
    for (int64_t g = 0; g < e->groups.count; g++) {
        int64_t first = e->groups.starts[g];
        int64_t count = e->groups.starts[g + 1] - first;
        for (int64_t i = 0; i < count; i++) {
            e->prompts[i] = e->rows->prompts[e->groups.order[first + i]];
        }
        PB_TRY(pb_network_generate(e->net, e->prompts, count, &e->how, answers + first));
    }
    return PB_OK;
}

static pb_status open_evaluation(evaluation *e, const bench_profile *profile, int64_t batch,
                                 unsigned without)
{
    bool sorted = (without & 1U << PB_SAVING_ORDER) == 0;
    PB_TRY(pb_groups_make(e->rows->prompts, e->rows->count, batch, profile->answer_most, sorted,
                          &e->groups));
    PB_TRY(PB_ALLOC(e->prompts, e->groups.largest));
    PB_TRY(PB_ALLOC(e->answers, e->rows->count));
    PB_TRY(PB_ALLOC(e->known, e->rows->count));
    e->how =
        (pb_generate_options){.max_new_tokens = profile->answer_most, .batch = e->groups.largest};
    PB_TRY(test_once(e, e->answers));
    if (profile->labels) {
        for (int64_t i = 0; i < e->rows->count; i++) {
            e->known[i] = (pb_sample){.ids = e->answers[i].ids, .length = e->answers[i].count};
        }
        e->how.drafts      = e->known;
        e->how.draft_count = e->rows->count;
    }
    return PB_OK;
}

static pb_status time_tests(evaluation *e, bench_evaluation *out)
{
    double seconds[REPEATS];
    pb_generated *answers = NULL;
    PB_TRY(PB_ALLOC(answers, e->rows->count));
    pb_status status = PB_OK;
    for (int i = 0; i < REPEATS && status == PB_OK; i++) {
        double begin = pb_clock_seconds();
        status       = test_once(e, answers);
        seconds[i]   = pb_clock_seconds() - begin;
        forget_answers(e, answers);
    }
    pb_memory_free(answers);
    PB_TRY(status);
    pb_clock_sort(seconds, REPEATS);
    out->seconds = seconds[REPEATS / 2];
    return PB_OK;
}

pb_status bench_evaluate(pb_network *net, const bench_rows *rows, const bench_profile *profile,
                         int64_t batch, unsigned without, bench_evaluation *out)
{
    evaluation e = {.net = net, .rows = rows};
    pb_status status;
    pb_network_without(net, without);
    PB_TRY_GOTO(status, open_evaluation(&e, profile, batch, without), done);
    PB_TRY_GOTO(status, time_tests(&e, out), done);
    out->tokens = 0.0;
    for (int64_t i = 0; i < rows->count; i++) {
        out->tokens += (double)e.answers[i].count / (double)rows->count;
    }
done:
    forget_answers(&e, e.answers);
    pb_memory_free(e.answers);
    pb_memory_free(e.known);
    pb_memory_free(e.prompts);
    pb_groups_clear(&e.groups);
    pb_network_without(net, 0);
    return status;
}
