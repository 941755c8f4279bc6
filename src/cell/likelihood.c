// SPDX-License-Identifier: Apache-2.0
/* Predictions by likelihood: the class name with the largest sum of log p over its tokens, as the
 * answer to a row's prompt, without the template's end of answer; ties go to the first. This is
 * what lm-evaluation-harness calls acc; its acc_norm divides the sum by the characters of the name
 * (here `accuracy_norm`). */
#include "running.h"

#include "pb/memory.h"
#include "pb/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* A class name as tokens. */
typedef struct candidate {
    const char *text;
    pb_ids ids;
    double characters;
} candidate;

/* Rows whose losses are still being computed. */
typedef struct scored_batch {
    int64_t first, count;
    pb_batch packed;
} scored_batch;

typedef struct scoring {
    cell_test *t;
    candidate *candidates;
    int64_t count;
    int64_t rows; /* at once */
    int32_t *ids; /* of a batch's samples */
    int64_t capacity;
    pb_sample *samples; /* [rows · count] */
    double *sums;       /* [rows · count] of log p */
    double *losses;
    int64_t losses_capacity;
    scored_batch batches[PB_SLOTS]; /* indexed by batch number % PB_SLOTS */
} scoring;

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
static pb_status tokenise(const running *r, const pb_ids *stops, candidate *c)
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
    int64_t end = rendered.prompt_length;
    while (end < rendered.ids.count && !is_stop(stops, rendered.ids.items[end])) {
        end++;
    }
    PB_TRY_GOTO(status,
                pb_ids_extend(&c->ids, rendered.ids.items + rendered.prompt_length,
                              end - rendered.prompt_length),
                out_rendered);
    if (c->ids.count == 0) {
        status = PB_FAIL(PB_ERR_CONFIG, "dataset.labels: \"%s\" gives no tokens", c->text);
    }
out_rendered:
    pb_rendered_clear(&rendered);
    return status;
}

static pb_status open_scoring(scoring *s)
{
    running *r                   = s->t->r;
    const pb_config_list *labels = pb_dataset_labels(r->data.dataset);
    pb_ids stops                 = {0};
    pb_status status;

    s->rows = r->options->eval.batch < s->t->rows ? r->options->eval.batch : s->t->rows;
    PB_TRY(PB_ALLOC(s->candidates, labels->count));
    s->count = labels->count;
    PB_TRY(PB_ALLOC(s->samples, s->rows * s->count));
    PB_TRY(PB_ALLOC(s->sums, s->rows * s->count));
    PB_TRY_GOTO(status, pb_template_stop_ids(r->model->chat, r->model->tokenizer, &stops),
                out_stops);
    for (int64_t k = 0; k < s->count; k++) {
        s->candidates[k].text = labels->items[k];
        PB_TRY_GOTO(status, tokenise(r, &stops, &s->candidates[k]), out_stops);
    }
out_stops:
    pb_ids_clear(&stops);
    return status;
}

static void close_scoring(scoring *s)
{
    for (int64_t k = 0; k < s->count; k++) {
        pb_ids_clear(&s->candidates[k].ids);
    }
    pb_memory_free(s->candidates);
    pb_memory_free(s->ids);
    pb_memory_free(s->samples);
    pb_memory_free(s->sums);
    pb_memory_free(s->losses);
    for (int i = 0; i < PB_SLOTS; i++) {
        pb_batch_clear(&s->batches[i].packed);
    }
}

/* The samples of rows [first, first + count): every prompt followed by every candidate. */
static pb_status make_samples(scoring *s, int64_t first, int64_t count)
{
    int64_t total = 0;

    for (int64_t i = 0; i < count; i++) {
        pb_sample prompt = pb_encoded_prompt(&s->t->r->data.test_set, first + i);
        for (int64_t k = 0; k < s->count; k++) {
            total += prompt.length + s->candidates[k].ids.count;
        }
    }
    PB_TRY(PB_GROW(s->ids, total));
    int32_t *at = s->ids;
    for (int64_t i = 0; i < count; i++) {
        pb_sample prompt = pb_encoded_prompt(&s->t->r->data.test_set, first + i);
        for (int64_t k = 0; k < s->count; k++) {
            const pb_ids *answer         = &s->candidates[k].ids;
            s->samples[i * s->count + k] = (pb_sample){
                .ids          = at,
                .length       = prompt.length + answer->count,
                .answer_start = prompt.length > 0 ? prompt.length : 1,
            };
            memcpy(at, prompt.ids, (size_t)prompt.length * sizeof *at);
            memcpy(at + prompt.length, answer->items, (size_t)answer->count * sizeof *at);
            at += prompt.length + answer->count;
        }
    }
    return PB_OK;
}

/* Computes the losses of batch `number`, rows number · s->rows … */
static pb_status begin_batch(scoring *s, int64_t number)
{
    pb_network *net          = s->t->r->net;
    pb_batch_options options = pb_network_batch_options(net, false);
    int slot                 = (int)(number % PB_SLOTS);
    scored_batch *b          = &s->batches[slot];
    int64_t left             = s->t->rows - number * s->rows;

    b->first = number * s->rows;
    b->count = left < s->rows ? left : s->rows;
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
        double value = by_length ? sums[k] / s->candidates[k].characters : sums[k];
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
        int64_t row        = b->first + i;
        int64_t best       = likeliest(s, sums, false);
        int64_t normal     = likeliest(s, sums, true);
        if (best < 0) {
            return PB_FAIL(PB_ERR_NUMERIC,
                           "the likelihood of a label is not finite; " PB_NOT_FINITE_REMEDY);
        }
        PB_TRY(PB_TEXT(t->predictions[row], s->candidates[best].text));
        t->norm_right += strcmp(s->candidates[normal].text, t->alternatives[row][0]) == 0;
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

    return pb_error_prefix(status, "test rows %" PRId64 " … %" PRId64, b->first + 1,
                           b->first + b->count);
}

static pb_status predict_all(scoring *s)
{
    cell_test *t = s->t;

    PB_TRY(open_scoring(s));
    PB_TRY(running_test_progress(t->r, t->done));
    int64_t batches = (t->rows + s->rows - 1) / s->rows;
    int64_t late    = pb_backend_lag(pb_network_backend(t->r->net));
    int64_t begin   = t->done / s->rows;
    for (int64_t number = begin; number < batches + late; number++) {
        int64_t done = number - late;
        if (number < batches) {
            PB_TRY(of_batch(s, number, begin_batch(s, number)));
        }
        if (done >= begin) {
            PB_TRY(of_batch(s, done, finish_batch(s, done)));
            PB_TRY(
                running_test_progress(t->r, done < batches - 1 ? (done + 1) * s->rows : t->rows));
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
