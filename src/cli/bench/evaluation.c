// SPDX-License-Identifier: Apache-2.0
/* Random weights answer at random: where a profile has known answers, what the rows answer in an
 * untimed test is taken as these, as if the model had learnt them. */
#include "evaluation.h"

#include "pb/clock.h"
#include "pb/memory.h"

#include <string.h>

enum { REPEATS = 3 };

typedef struct evaluation {
    pb_network *net;
    const bench_rows *rows;
    pb_generated *answers; /* [count] */
    pb_sample *known;      /* [known_count] different ones */
    int64_t known_count;
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
    return pb_network_generate(e->net, e->rows->prompts, e->rows->count, &e->how, answers);
}

static bool is_known(const evaluation *e, const pb_generated *answer)
{
    size_t bytes = (size_t)answer->count * sizeof *answer->ids;
    for (int64_t k = 0; k < e->known_count; k++) {
        if (e->known[k].length == answer->count &&
            memcmp(e->known[k].ids, answer->ids, bytes) == 0) {
            return true;
        }
    }
    return false;
}

static pb_status open_evaluation(evaluation *e, const bench_profile *profile, int64_t batch)
{
    PB_TRY(PB_ALLOC(e->answers, e->rows->count));
    PB_TRY(PB_ALLOC(e->known, e->rows->count));
    e->how = (pb_generate_options){.max_new_tokens = profile->answer_most, .batch = batch};
    PB_TRY(test_once(e, e->answers));
    for (int64_t i = 0; profile->labels && i < e->rows->count; i++) {
        const pb_generated *answer = &e->answers[i];
        if (!is_known(e, answer)) {
            e->known[e->known_count++] = (pb_sample){.ids = answer->ids, .length = answer->count};
        }
    }
    e->how.drafts      = e->known;
    e->how.draft_count = e->known_count;
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
    PB_TRY_GOTO(status, open_evaluation(&e, profile, batch), done);
    PB_TRY_GOTO(status, time_tests(&e, out), done);
    out->tokens = 0.0;
    for (int64_t i = 0; i < rows->count; i++) {
        out->tokens += (double)e.answers[i].count / (double)rows->count;
    }
done:
    forget_answers(&e, e.answers);
    pb_memory_free(e.answers);
    pb_memory_free(e.known);
    pb_network_without(net, 0);
    return status;
}
