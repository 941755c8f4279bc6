// SPDX-License-Identifier: Apache-2.0
/* Baselines: answers from the training answers alone, to say what a score is worth.
 *
 *   majority      the most frequent training answer; of equally frequent ones the first class, then
 *                 the one that comes first in the file
 *   all-positive  the second of two classes, the one that F1 measures
 *   random        one of the training answers for every row, drawn uniformly: each answer comes as
 *                 often as in training
 *   mean          the mean of the training answers, which are numbers */
#include "internal.h"

#include "pb/memory.h"
#include "pb/random.h"
#include "pb/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static pb_status plan(pb_method *m)
{
    (void)m;
    return PB_OK;
}

static pb_status repeat(const char *text, int64_t count, char **texts)
{
    for (int64_t i = 0; i < count; i++) {
        PB_TRY(PB_TEXT(texts[i], text));
    }
    return PB_OK;
}

typedef struct counted {
    const char *text;
    int64_t first; /* place in the file */
} counted;

static int compare(const void *a, const void *b)
{
    const counted *x = a, *y = b;
    int order = strcmp(x->text, y->text);
    return order != 0 ? order : (x->first > y->first) - (x->first < y->first);
}

/* The index of a text among the classes; their number when it is not one of them. */
static int64_t class_place(const pb_answers *answers, const char *text)
{
    int64_t k = 0;

    while (k < answers->label_count && strcmp(answers->labels[k], text) != 0) {
        k++;
    }
    return k;
}

/* In one pass over the sorted answers; `sorted` [train_count]. */
static const char *most_frequent(const pb_answers *answers, const counted *sorted)
{
    int64_t most = 0, n = answers->train_count;
    const counted *best = &sorted[0];

    for (int64_t i = 0, end = 0; i < n; i = end) {
        for (end = i + 1; end < n && strcmp(sorted[end].text, sorted[i].text) == 0;) {
            end++;
        }
        int64_t mine = class_place(answers, sorted[i].text);
        int64_t its  = class_place(answers, best->text);
        bool before  = mine != its ? mine < its : sorted[i].first < best->first;
        if (end - i > most || (end - i == most && before)) {
            most = end - i;
            best = &sorted[i];
        }
    }
    return best->text;
}

static pb_status answer_majority(uint64_t seed, const pb_answers *answers, int64_t count,
                                 char **texts)
{
    counted *sorted = NULL;

    (void)seed;
    PB_TRY(PB_ALLOC(sorted, answers->train_count));
    for (int64_t i = 0; i < answers->train_count; i++) {
        sorted[i] = (counted){.text = answers->train[i], .first = i};
    }
    qsort(sorted, (size_t)answers->train_count, sizeof *sorted, compare);
    pb_status status = repeat(most_frequent(answers, sorted), count, texts);
    pb_memory_free(sorted);
    return status;
}

static pb_status answer_all_positive(uint64_t seed, const pb_answers *answers, int64_t count,
                                     char **texts)
{
    (void)seed;
    return repeat(answers->labels[1], count, texts);
}

static pb_status answer_random(uint64_t seed, const pb_answers *answers, int64_t count,
                               char **texts)
{
    pb_random stream = pb_random_stream(seed, PB_RANDOM_BASELINE, 0);

    for (int64_t i = 0; i < count; i++) {
        uint64_t drawn = pb_random_below(stream, (uint64_t)i, (uint64_t)answers->train_count);
        PB_TRY(repeat(answers->train[drawn], 1, &texts[i]));
    }
    return PB_OK;
}

static pb_status answer_mean(uint64_t seed, const pb_answers *answers, int64_t count, char **texts)
{
    double sum     = 0;
    pb_string text = {0};

    (void)seed;
    for (int64_t i = 0; i < answers->train_count; i++) {
        char *end    = NULL;
        double value = strtod(answers->train[i], &end);
        if (end == answers->train[i] || *end != '\0' || !isfinite(value)) {
            return PB_FAIL(PB_ERR_FORMAT,
                           "training answer %" PRId64
                           ", \"%.*s\", is not a number, so there is no mean",
                           i + 1, PB_FIT(answers->train[i], 80));
        }
        sum += value;
    }
    PB_TRY(pb_string_printf(&text, "%.6f", sum / (double)answers->train_count));
    pb_status status = repeat(text.data, count, texts);
    pb_string_clear(&text);
    return status;
}

const pb_method_ops method_majority = {
    .name     = "majority",
    .help     = "baseline: the most frequent training answer",
    .plan     = plan,
    .baseline = &(const pb_baseline){.answer = answer_majority},
};

const pb_method_ops method_all_positive = {
    .name     = "all-positive",
    .help     = "baseline: the second of two classes",
    .plan     = plan,
    .baseline = &(const pb_baseline){.answer = answer_all_positive, .labels = 2},
};

const pb_method_ops method_random = {
    .name     = "random",
    .help     = "baseline: training answers drawn at random",
    .plan     = plan,
    .baseline = &(const pb_baseline){.answer = answer_random},
};

const pb_method_ops method_mean = {
    .name     = "mean",
    .help     = "baseline: the mean of the training answers, which are numbers",
    .plan     = plan,
    .baseline = &(const pb_baseline){.answer = answer_mean, .numbers = true},
};
