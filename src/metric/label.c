// SPDX-License-Identifier: Apache-2.0
/* Metrics over class labels, and the plain share of equal texts.
 *
 * Corrected: an invalid prediction is an extra class. It adds a false negative to its gold class
 * and nothing else; F1 of class k = 2 TP / (2 TP + FP + FN). Paper: an invalid prediction becomes
 * labels[0] where gold is labels[1], else labels[1], before anything is counted. */
#include "metrics.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PAPER_CUT = 16 }; /* characters that exact_match compares under the paper protocol */

typedef struct class_counts {
    int64_t tp, fp, fn;
    int64_t gold, predicted;
} class_counts;

typedef struct tally {
    class_counts *classes; /* [label_count] */
    int64_t count;         /* of classes */
    int64_t rows, equal, invalid;
} tally;

static int64_t class_of(const char *text, char *const *labels, int64_t count)
{
    for (int64_t k = 0; k < count; k++) {
        if (strcmp(text, labels[k]) == 0) {
            return k;
        }
    }
    return -1;
}

static void count_pair(tally *t, int64_t gold, int64_t predicted)
{
    t->classes[gold].gold++;
    if (predicted >= 0) {
        t->classes[predicted].predicted++;
    }
    if (predicted == gold) {
        t->classes[gold].tp++;
        return;
    }
    t->classes[gold].fn++;
    if (predicted >= 0) {
        t->classes[predicted].fp++;
    }
}

static pb_status count_all(const pb_metric_input *input, char *const *labels,
                           pb_metric_result *result, tally *t)
{
    for (int64_t i = 0; i < result->rows; i++) {
        int64_t gold      = class_of(result->references[i], labels, t->count);
        int64_t predicted = class_of(result->predictions[i], labels, t->count);
        if (gold < 0) {
            return PB_FAIL(PB_ERR_FORMAT,
                           "row %" PRId64 ": the reference \"%.80s\" is none of the data set's "
                           "labels; leave unlabelled rows out of the test file",
                           i, result->references[i]);
        }
        result->correct[i] = predicted == gold;
        result->invalid[i] = predicted < 0;
        t->equal += predicted == gold;
        t->invalid += predicted < 0;
        if (predicted < 0 && input->protocol == PB_PROTOCOL_PAPER) {
            predicted = gold == 1 ? 0 : 1;
        }
        count_pair(t, gold, predicted);
    }
    t->rows = result->rows;
    return PB_OK;
}

static double ratio(int64_t part, int64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : 0.0;
}

static double class_f1(const class_counts *c)
{
    return ratio(2 * c->tp, 2 * c->tp + c->fp + c->fn);
}

/* Mean over the classes in gold; the paper adds those that are only predicted. */
static double macro_f1(const tally *t, pb_protocol protocol)
{
    double sum      = 0;
    int64_t present = 0;

    for (int64_t k = 0; k < t->count; k++) {
        const class_counts *c = &t->classes[k];
        if (c->gold > 0 || (protocol == PB_PROTOCOL_PAPER && c->predicted > 0)) {
            sum += class_f1(c);
            present++;
        }
    }
    return present > 0 ? sum / (double)present : 0.0;
}

/* The multi-class Matthews correlation (Gorodkin 2004), invalid as a further class without gold. */
static double matthews(const tally *t)
{
    double s = (double)t->rows, c = (double)t->equal;
    double pt = 0, pp = (double)t->invalid * (double)t->invalid, tt = 0;

    for (int64_t k = 0; k < t->count; k++) {
        double p = (double)t->classes[k].predicted, g = (double)t->classes[k].gold;
        pt += p * g;
        pp += p * p;
        tt += g * g;
    }
    double product = (s * s - pp) * (s * s - tt);
    return product > 0 ? (c * s - pt) / sqrt(product) : 0.0;
}

static pb_status add_class_values(const tally *t, char *const *labels, pb_metric_result *result)
{
    char name[64];

    for (int64_t k = 0; k < t->count; k++) {
        const class_counts *c = &t->classes[k];
        (void)snprintf(name, sizeof name, "precision.%.40s", labels[k]);
        PB_TRY(pb_metric_add(result, name, ratio(c->tp, c->tp + c->fp), false));
        (void)snprintf(name, sizeof name, "recall.%.40s", labels[k]);
        PB_TRY(pb_metric_add(result, name, ratio(c->tp, c->gold), false));
        (void)snprintf(name, sizeof name, "f1.%.40s", labels[k]);
        PB_TRY(pb_metric_add(result, name, class_f1(c), false));
    }
    return PB_OK;
}

/* The cut to 16 characters makes no difference to labels up to 16. */
static bool equal_cut(const char *a, const char *b)
{
    for (int characters = 0; *a == *b && *a != '\0'; a++, b++) {
        characters += ((unsigned char)a[1] & 0xC0) != 0x80;
        if (characters == PAPER_CUT) {
            return true;
        }
    }
    return *a == *b;
}

static double equal_share_cut(const pb_metric_result *result)
{
    int64_t equal = 0;

    for (int64_t i = 0; i < result->rows; i++) {
        equal += equal_cut(result->predictions[i], result->references[i]);
    }
    return ratio(equal, result->rows);
}

typedef enum label_main { MAIN_ACCURACY, MAIN_F1, MAIN_MACRO_F1, MAIN_F1_MCC } label_main;

/* The value that enters the tables: accuracy, the mean over the classes, or F1 of class 1. */
static void set_main(const tally *t, label_main kind, pb_protocol protocol,
                     pb_metric_result *result)
{
    switch (kind) {
    case MAIN_ACCURACY:
        result->main      = ratio(t->equal, t->rows);
        result->main_name = "accuracy";
        break;
    case MAIN_MACRO_F1:
        result->main      = macro_f1(t, protocol);
        result->main_name = "macro_f1";
        break;
    case MAIN_F1:
    case MAIN_F1_MCC:
        result->main      = class_f1(&t->classes[1]);
        result->main_name = "f1";
        break;
    }
}

static pb_status add_paper(const tally *t, label_main kind, pb_metric_result *result)
{
    set_main(t, kind, PB_PROTOCOL_PAPER, result);
    PB_TRY(pb_metric_add(result, result->main_name, result->main, false));
    PB_TRY(pb_metric_add(result, "exact_match", equal_share_cut(result), false));
    PB_TRY(pb_metric_add(result, "invalid", (double)t->invalid, true));
    return pb_metric_add(result, "n", (double)t->rows, true);
}

static pb_status add_corrected(const tally *t, label_main kind, char *const *labels,
                               pb_metric_result *result)
{
    set_main(t, kind, PB_PROTOCOL_CORRECTED, result);
    PB_TRY(pb_metric_add(result, "accuracy", ratio(t->equal, t->rows), false));
    PB_TRY(pb_metric_add(result, "invalid", (double)t->invalid, true));
    PB_TRY(pb_metric_add(result, "invalid_share", ratio(t->invalid, t->rows), false));
    PB_TRY(pb_metric_add(result, "n", (double)t->rows, true));
    PB_TRY(pb_metric_add(result, "macro_f1", macro_f1(t, PB_PROTOCOL_CORRECTED), false));
    if (kind == MAIN_F1 || kind == MAIN_F1_MCC) {
        PB_TRY(pb_metric_add(result, "f1", class_f1(&t->classes[1]), false));
    }
    if (kind == MAIN_F1_MCC) {
        PB_TRY(pb_metric_add(result, "mcc", matthews(t), false));
    }
    return add_class_values(t, labels, result);
}

static pb_status score_labels(const pb_metric_input *input, char *const *labels, label_main kind,
                              pb_metric_result *result)
{
    tally t = {.count = input->label_count};
    pb_status status;

    PB_TRY(PB_ALLOC(t.classes, t.count));
    PB_TRY_GOTO(status, count_all(input, labels, result, &t), out_tally);
    if (input->protocol == PB_PROTOCOL_PAPER) {
        PB_TRY_GOTO(status, add_paper(&t, kind, result), out_tally);
    } else {
        PB_TRY_GOTO(status, add_corrected(&t, kind, labels, result), out_tally);
    }
out_tally:
    pb_memory_free(t.classes);
    return status;
}

static pb_status score_accuracy(const pb_metric_input *input, char *const *labels,
                                pb_metric_result *result)
{
    return score_labels(input, labels, MAIN_ACCURACY, result);
}

static pb_status score_f1(const pb_metric_input *input, char *const *labels,
                          pb_metric_result *result)
{
    return score_labels(input, labels, MAIN_F1, result);
}

static pb_status score_macro_f1(const pb_metric_input *input, char *const *labels,
                                pb_metric_result *result)
{
    return score_labels(input, labels, MAIN_MACRO_F1, result);
}

static pb_status score_f1_mcc(const pb_metric_input *input, char *const *labels,
                              pb_metric_result *result)
{
    return score_labels(input, labels, MAIN_F1_MCC, result);
}

/* Needs nothing but the texts, which lets the layers above be tested with any data set. */
static pb_status score_exact(const pb_metric_input *input, char *const *labels,
                             pb_metric_result *result)
{
    int64_t equal = 0;

    (void)input;
    (void)labels;
    for (int64_t i = 0; i < result->rows; i++) {
        result->correct[i] = strcmp(result->predictions[i], result->references[i]) == 0;
        equal += result->correct[i];
    }
    result->main      = ratio(equal, result->rows);
    result->main_name = "exact_match";
    PB_TRY(pb_metric_add(result, "exact_match", result->main, false));
    return pb_metric_add(result, "n", (double)result->rows, true);
}

const pb_metric pb_metric_exact_match = {.name = "exact_match", .score = score_exact};
const pb_metric pb_metric_accuracy    = {
       .name = "accuracy", .needs_labels = true, .score = score_accuracy};
const pb_metric pb_metric_f1       = {.name = "f1", .needs_labels = true, .score = score_f1};
const pb_metric pb_metric_macro_f1 = {
    .name = "macro_f1", .needs_labels = true, .score = score_macro_f1};
const pb_metric pb_metric_f1_mcc = {.name = "f1_mcc", .needs_labels = true, .score = score_f1_mcc};
