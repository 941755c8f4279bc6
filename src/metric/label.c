// SPDX-License-Identifier: Apache-2.0
/* Metrics over class labels, and the plain share of equal texts.
 *
 * Corrected: an invalid prediction is an extra class. It adds a false negative to its gold class
 * and nothing else; F1 of class k = 2 TP / (2 TP + FP + FN). Paper: an invalid prediction becomes
 * labels[0] where gold is labels[1], else labels[1], before anything is counted. The confusion
 * table shows what was predicted, under both protocols.
 *
 * All values follow from three counts per class, which are sums over rows. */
#include "metrics.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PAPER_CUT = 16 };   /* characters that exact_match compares under the paper protocol */
enum { LABEL_BYTES = 40 }; /* of a label in the name of a value */

/* The counts of class k are counts[k * COUNTS + …]. Doubles: they are parts of `main`. */
enum { GOLD, PREDICTED, RIGHT, COUNTS };

typedef struct tally {
    double *counts;     /* [classes, COUNTS] over all rows */
    int64_t *confusion; /* [classes, classes + 1] gold × predicted, the last column: invalid */
    int64_t classes;
    int64_t equal, invalid; /* rows */
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

static void count_row(tally *t, double *part, int64_t gold, int64_t predicted)
{
    part[gold * COUNTS + GOLD] = 1;
    if (predicted >= 0) {
        part[predicted * COUNTS + PREDICTED] = 1;
    }
    if (predicted == gold) {
        part[gold * COUNTS + RIGHT] = 1;
    }
    for (int64_t k = 0; k < t->classes * COUNTS; k++) {
        t->counts[k] += part[k];
    }
}

static pb_status count_all(const pb_metric_input *input, char *const *labels,
                           pb_metric_result *result, tally *t)
{
    PB_TRY(pb_metric_make_parts(result, result->rows, t->classes * COUNTS));
    for (int64_t i = 0; i < result->rows; i++) {
        int64_t gold      = class_of(result->references[i], labels, t->classes);
        int64_t predicted = class_of(result->predictions[i], labels, t->classes);
        if (gold < 0) {
            return pb_metric_at_row(input, i,
                                    PB_FAIL(PB_ERR_FORMAT,
                                            "the reference \"%.80s\" is none of the data set's "
                                            "labels; leave unlabelled rows out of the test file",
                                            result->references[i]));
        }
        result->correct[i] = predicted == gold;
        result->invalid[i] = predicted < 0;
        t->equal += predicted == gold;
        t->invalid += predicted < 0;
        t->confusion[gold * (t->classes + 1) + (predicted < 0 ? t->classes : predicted)]++;
        if (predicted < 0 && input->protocol == PB_PROTOCOL_PAPER) {
            predicted = gold == 1 ? 0 : 1;
        }
        count_row(t, result->parts + i * result->width, gold, predicted);
    }
    return PB_OK;
}

static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : 0.0;
}

static double class_f1(const double *c)
{
    return ratio(2 * c[RIGHT], c[GOLD] + c[PREDICTED]);
}

static double accuracy_of(pb_protocol protocol, const double *counts, int64_t width)
{
    double right = 0, rows = 0;

    (void)protocol;
    for (const double *c = counts; c < counts + width; c += COUNTS) {
        right += c[RIGHT];
        rows += c[GOLD];
    }
    return ratio(right, rows);
}

static double f1_of(pb_protocol protocol, const double *counts, int64_t width)
{
    (void)protocol;
    (void)width;
    return class_f1(counts + COUNTS);
}

/* Mean over the classes in gold; the paper adds those that are only predicted. */
static double macro_f1_of(pb_protocol protocol, const double *counts, int64_t width)
{
    double sum      = 0;
    int64_t present = 0;

    for (const double *c = counts; c < counts + width; c += COUNTS) {
        if (c[GOLD] > 0 || (protocol == PB_PROTOCOL_PAPER && c[PREDICTED] > 0)) {
            sum += class_f1(c);
            present++;
        }
    }
    return ratio(sum, (double)present);
}

/* The multi-class Matthews correlation (Gorodkin 2004), invalid as a further class without gold. */
static double matthews(const tally *t, int64_t rows)
{
    double s = (double)rows, c = (double)t->equal;
    double pt = 0, pp = (double)t->invalid * (double)t->invalid, tt = 0;

    for (int64_t k = 0; k < t->classes; k++) {
        double p = t->counts[k * COUNTS + PREDICTED], g = t->counts[k * COUNTS + GOLD];
        pt += p * g;
        pp += p * p;
        tt += g * g;
    }
    double product = (s * s - pp) * (s * s - tt);
    return product > 0 ? (c * s - pt) / sqrt(product) : 0.0;
}

/* A label as part of a name: itself, or class<k> where it is long or means something else there. */
static const char *word_of(char *const *labels, int64_t k, char *text, size_t size)
{
    if (strlen(labels[k]) <= LABEL_BYTES && strcmp(labels[k], "invalid") != 0) {
        return labels[k];
    }
    (void)snprintf(text, size, "class%" PRId64, k);
    return text;
}

static pb_status add_class_values(const tally *t, char *const *labels, pb_metric_result *result)
{
    char name[112], text[32];

    for (int64_t k = 0; k < t->classes; k++) {
        const double *c  = t->counts + k * COUNTS;
        const char *word = word_of(labels, k, text, sizeof text);
        (void)snprintf(name, sizeof name, "precision.%s", word);
        PB_TRY(pb_metric_add(result, name, ratio(c[RIGHT], c[PREDICTED]), false));
        (void)snprintf(name, sizeof name, "recall.%s", word);
        PB_TRY(pb_metric_add(result, name, ratio(c[RIGHT], c[GOLD]), false));
        (void)snprintf(name, sizeof name, "f1.%s", word);
        PB_TRY(pb_metric_add(result, name, class_f1(c), false));
    }
    return PB_OK;
}

static pb_status add_confusion(const tally *t, char *const *labels, pb_metric_result *result)
{
    char name[112], text[2][32];

    for (int64_t gold = 0; gold < t->classes; gold++) {
        for (int64_t p = 0; p <= t->classes; p++) {
            (void)snprintf(name, sizeof name, "confusion.%s.%s",
                           word_of(labels, gold, text[0], sizeof text[0]),
                           p == t->classes ? "invalid"
                                           : word_of(labels, p, text[1], sizeof text[1]));
            int64_t count = t->confusion[gold * (t->classes + 1) + p];
            PB_TRY(pb_metric_add(result, name, (double)count, true));
        }
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
    return (double)equal / (double)result->rows;
}

static pb_status add_paper(const tally *t, pb_metric_result *result)
{
    PB_TRY(pb_metric_add(result, result->main_name, result->main, false));
    PB_TRY(pb_metric_add(result, "exact_match", equal_share_cut(result), false));
    PB_TRY(pb_metric_add(result, "invalid", (double)t->invalid, true));
    return pb_metric_add(result, "n", (double)result->rows, true);
}

static pb_status add_corrected(const tally *t, pb_metric_result *result)
{
    double accuracy = accuracy_of(PB_PROTOCOL_CORRECTED, t->counts, result->width);
    double macro    = macro_f1_of(PB_PROTOCOL_CORRECTED, t->counts, result->width);

    PB_TRY(pb_metric_add(result, "accuracy", accuracy, false));
    PB_TRY(pb_metric_add(result, "invalid", (double)t->invalid, true));
    PB_TRY(pb_metric_add(result, "n", (double)result->rows, true));
    PB_TRY(pb_metric_add(result, "macro_f1", macro, false));
    if (result->metric->main_of == f1_of) {
        PB_TRY(pb_metric_add(result, "f1", result->main, false));
    }
    if (result->metric == &pb_metric_f1_mcc) {
        PB_TRY(pb_metric_add(result, "mcc", matthews(t, result->rows), false));
    }
    return PB_OK;
}

static pb_status score_labels(const pb_metric_input *input, char *const *labels,
                              pb_metric_result *result)
{
    const pb_metric *metric = result->metric;
    tally t                 = {.classes = input->label_count};
    pb_status status;

    PB_TRY_GOTO(status, PB_ALLOC(t.counts, t.classes * COUNTS), out_tally);
    PB_TRY_GOTO(status, PB_ALLOC(t.confusion, t.classes * (t.classes + 1)), out_tally);
    PB_TRY_GOTO(status, count_all(input, labels, result, &t), out_tally);
    result->main      = metric->main_of(input->protocol, t.counts, result->width);
    result->main_name = metric->main_of == f1_of         ? "f1"
                        : metric->main_of == macro_f1_of ? "macro_f1"
                                                         : "accuracy";
    PB_TRY_GOTO(status,
                input->protocol == PB_PROTOCOL_PAPER ? add_paper(&t, result)
                                                     : add_corrected(&t, result),
                out_tally);
    PB_TRY_GOTO(status, add_class_values(&t, labels, result), out_tally);
    PB_TRY_GOTO(status, add_confusion(&t, labels, result), out_tally);
out_tally:
    pb_memory_free(t.counts);
    pb_memory_free(t.confusion);
    return status;
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
        result->invalid[i] = *result->predictions[i] == '\0' && !result->correct[i];
        equal += result->correct[i];
    }
    result->main      = (double)equal / (double)result->rows;
    result->main_name = "exact_match";
    PB_TRY(pb_metric_add(result, "exact_match", result->main, false));
    return pb_metric_add(result, "n", (double)result->rows, true);
}

const pb_metric pb_metric_exact_match = {.name = "exact_match", .score = score_exact};
const pb_metric pb_metric_accuracy    = {
       .name = "accuracy", .score = score_labels, .needs_labels = true, .main_of = accuracy_of};
const pb_metric pb_metric_f1 = {
    .name = "f1", .score = score_labels, .needs_labels = true, .main_of = f1_of};
const pb_metric pb_metric_macro_f1 = {
    .name = "macro_f1", .score = score_labels, .needs_labels = true, .main_of = macro_f1_of};
const pb_metric pb_metric_f1_mcc = {
    .name = "f1_mcc", .score = score_labels, .needs_labels = true, .main_of = f1_of};
