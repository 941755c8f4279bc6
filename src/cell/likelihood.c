// SPDX-License-Identifier: Apache-2.0
/* Predictions by likelihood: the class name with the largest sum of log p over its tokens, as the
 * answer to a row's prompt, without the template's end of answer; ties go to the first. This is
 * what lm-evaluation-harness calls acc; its acc_norm divides the sum by the characters of the name
 * (here `accuracy_norm`). */
#include "running.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Rows whose losses are still being computed. */
typedef struct scored_batch {
    int64_t first, count;
    pb_batch packed;
} scored_batch;

typedef struct scoring {
    cell_test *t;
    int64_t count; /* candidates */
    int32_t *ids;  /* of a batch's samples */
    int64_t capacity;
    pb_sample *samples; /* [rows of a batch · count] */
    double *sums;       /* [rows of a batch · count] of log p */
    double *losses;
    int64_t losses_capacity;
    scored_batch batches[PB_SLOTS]; /* indexed by batch number % PB_SLOTS */
} scoring;

static pb_status open_scoring(scoring *s)
{
    s->count = s->t->candidate_count;
    for (int64_t k = 0; k < s->count; k++) {
        if (s->t->candidates[k].scored == 0) {
            return PB_FAIL(PB_ERR_CONFIG, "dataset.labels: \"%s\" gives no tokens",
                           s->t->candidates[k].text);
        }
    }
    PB_TRY(PB_ALLOC(s->samples, s->t->groups.largest * s->count));
    return PB_ALLOC(s->sums, s->t->groups.largest * s->count);
}

static void close_scoring(scoring *s)
{
    pb_memory_free(s->ids);
    pb_memory_free(s->samples);
    pb_memory_free(s->sums);
    pb_memory_free(s->losses);
    for (int i = 0; i < PB_SLOTS; i++) {
        pb_batch_clear(&s->batches[i].packed);
    }
}

/* The samples of a batch: every prompt followed by every candidate, without its end. */
static pb_status make_samples(scoring *s, int64_t first, int64_t count)
{
    int64_t total = 0;

    for (int64_t i = 0; i < count; i++) {
        pb_sample prompt = cell_test_prompt(s->t, first + i);
        for (int64_t k = 0; k < s->count; k++) {
            total += prompt.length + s->t->candidates[k].scored;
        }
    }
    PB_TRY(PB_GROW(s->ids, total));
    int32_t *at = s->ids;
    for (int64_t i = 0; i < count; i++) {
        pb_sample prompt = cell_test_prompt(s->t, first + i);
        for (int64_t k = 0; k < s->count; k++) {
            const cell_candidate *answer = &s->t->candidates[k];
            s->samples[i * s->count + k] = (pb_sample){
                .ids          = at,
                .length       = prompt.length + answer->scored,
                .answer_start = prompt.length > 0 ? prompt.length : 1,
            };
            memcpy(at, prompt.ids, (size_t)prompt.length * sizeof *at);
            memcpy(at + prompt.length, answer->ids.items, (size_t)answer->scored * sizeof *at);
            at += prompt.length + answer->scored;
        }
    }
    return PB_OK;
}

/* Computes the losses of batch `number`. */
static pb_status begin_batch(scoring *s, int64_t number)
{
    pb_network *net          = s->t->r->net;
    pb_batch_options options = pb_network_batch_options(net, false);
    int slot                 = (int)(number % PB_SLOTS);
    scored_batch *b          = &s->batches[slot];

    b->first = s->t->groups.starts[number];
    b->count = s->t->groups.starts[number + 1] - b->first;
    PB_TRY(make_samples(s, b->first, b->count));
    PB_TRY(pb_batch_rebuild(s->samples, b->count * s->count, &options, &b->packed));
    PB_TRY(pb_network_loss(net, &b->packed, false, NULL));
    return pb_post(pb_network_backend(net), slot, pb_network_losses(net));
}

/* Sums of log p of batch `number`, by row and candidate. */
static pb_status take_sums(scoring *s, int64_t number)
{
    int slot              = (int)(number % PB_SLOTS);
    const scored_batch *b = &s->batches[slot];

    PB_TRY(PB_GROW(s->losses, b->packed.labels));
    PB_TRY(pb_take(pb_network_backend(s->t->r->net), slot, s->losses));
    memset(s->sums, 0, (size_t)(b->count * s->count) * sizeof *s->sums);
    for (int64_t n = 0; n < b->packed.labels; n++) {
        s->sums[b->packed.label_samples[n]] -= s->losses[n];
    }
    return PB_OK;
}

/* The most likely of a row's candidates; -1 when a sum is not finite. */
static int64_t likeliest(const scoring *s, const double *sums, bool by_length)
{
    int64_t best = -1;
    double most  = -INFINITY;

    for (int64_t k = 0; k < s->count; k++) {
        double value = by_length ? sums[k] / s->t->candidates[k].characters : sums[k];
        if (!isfinite(value)) {
            return -1;
        }
        if (value > most) {
            most = value;
            best = k;
        }
    }
    return best;
}

static pb_status predict(scoring *s, const scored_batch *b)
{
    cell_test *t = s->t;

    for (int64_t i = 0; i < b->count; i++) {
        const double *sums = s->sums + i * s->count;
        int64_t row        = t->groups.order[b->first + i];
        int64_t best       = likeliest(s, sums, false);
        int64_t normal     = likeliest(s, sums, true);
        if (best < 0) {
            return PB_FAIL(PB_ERR_NUMERIC,
                           "the likelihood of a label is not finite; " PB_NOT_FINITE_REMEDY);
        }
        PB_TRY(PB_TEXT(t->predictions[row], t->candidates[best].text));
        t->norm_right += strcmp(t->candidates[normal].text, t->alternatives[row][0]) == 0;
    }
    return PB_OK;
}

static pb_status finish_batch(scoring *s, int64_t number)
{
    PB_TRY(take_sums(s, number));
    return predict(s, &s->batches[number % PB_SLOTS]);
}

/* The `status` of work on batch `number`; the message of a failure names its rows. */
static pb_status of_batch(const scoring *s, int64_t number, pb_status status)
{
    const scored_batch *b = &s->batches[number % PB_SLOTS];

    return cell_test_prefix(s->t, b->first, b->count, status);
}

static pb_status predict_all(scoring *s)
{
    cell_test *t = s->t;

    PB_TRY(open_scoring(s));
    PB_TRY(running_test_progress(t->r, t->done));
    int64_t batches = t->groups.count;
    int64_t late    = pb_backend_lag(pb_network_backend(t->r->net));
    int64_t begin   = cell_test_next_group(t);
    for (int64_t number = begin; number < batches + late; number++) {
        int64_t done = number - late;
        if (number < batches) {
            PB_TRY(of_batch(s, number, begin_batch(s, number)));
        }
        if (done >= begin) {
            PB_TRY(of_batch(s, done, finish_batch(s, done)));
            PB_TRY(running_test_progress(t->r, t->groups.starts[done + 1]));
        }
    }
    return PB_OK;
}

pb_status cell_test_likelihood(cell_test *t)
{
    scoring s = {.t = t};

    t->norm_right    = t->done > 0 ? t->norm_right : 0;
    pb_status status = predict_all(&s);
    close_scoring(&s);
    return status;
}
