// SPDX-License-Identifier: Apache-2.0
/* Metrics over class labels, and the plain share of equal texts.
 *
 * Corrected: an invalid prediction is an extra class. It adds a false negative to its gold class
 * and nothing else; F1 of class k = 2 TP / (2 TP + FP + FN). Paper: an invalid prediction becomes
 * labels[0] where gold is labels[1], else labels[1], before anything is counted. The confusion
 * table shows what was predicted, under both protocols.
 *
 * All values follow from the confusion counts, to which a row adds a single 1. */
#include "metrics.h"

#include "pb/memory.h"
#include "pb/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PAPER_CUT = 16 };   /* characters that exact_match compares under the paper protocol */
enum { LABEL_BYTES = 40 }; /* of a label in the name of a value */

/* What was predicted for what. */
typedef struct confusion {
    pb_protocol protocol;
    int64_t classes;
    const double *counts; /* [classes, classes + 1] gold × predicted, the last column: invalid */
} confusion;

/* One class, as the protocol counts it. */
typedef struct class_counts {
    double gold, predicted, right;
} class_counts;

static double at(const confusion *c, int64_t gold, int64_t predicted)
{
    return c->counts[gold * (c->classes + 1) + predicted];
}

static confusion confusion_of(pb_protocol protocol, const double *counts, int64_t width)
{
    int64_t classes = 1;

    while (classes * (classes + 1) < width) {
        classes++;
    }
    return (confusion){protocol, classes, counts};
}

/* The class that the paper protocol takes an invalid prediction for. */
static int64_t wrong_class(int64_t gold)
{
    return gold == 1 ? 0 : 1;
}

static class_counts counts_of(const confusion *c, int64_t k)
{
    class_counts counts = {.right = at(c, k, k)};

    for (int64_t other = 0; other < c->classes; other++) {
        counts.gold += at(c, k, other);
        counts.predicted += at(c, other, k);
        if (c->protocol == PB_PROTOCOL_PAPER && wrong_class(other) == k) {
            counts.predicted += at(c, other, c->classes);
        }
    }
    counts.gold += at(c, k, c->classes);
    return counts;
}

static int64_t class_of(const char *text, char *const *labels, int64_t count)
{
    for (int64_t k = 0; k < count; k++) {
        if (strcmp(text, labels[k]) == 0) {
            return k;
        }
    }
    return -1;
}

static pb_status read_gold(const char *text, char *const *labels, int64_t count, int64_t *gold)
{
    *gold = class_of(text, labels, count);
    if (*gold < 0) {
        return PB_FAIL(
            PB_ERR_FORMAT,
            "the reference \"%.*s\" is not one of the data set's labels; leave unlabelled "
            "rows out of the test file",
            PB_FIT(text, 80));
    }
    return PB_OK;
}

static pb_status check_label(const char *text, char *const *labels, int64_t label_count)
{
    int64_t gold;
    return read_gold(text, labels, label_count, &gold);
}

static pb_status read_classes(const pb_metric_input *input, char *const *labels,
                              pb_metric_result *result, pb_metric_parts *parts)
{
    int64_t classes = input->label_count;

    PB_TRY(metric_make_places(parts, result->rows, classes * (classes + 1)));
    for (int64_t i = 0; i < result->rows; i++) {
        int64_t gold      = -1;
        int64_t predicted = class_of(result->predictions[i], labels, classes);
        PB_TRY(metric_at_row(input, i, read_gold(result->references[i], labels, classes, &gold)));
        result->correct[i] = predicted == gold;
        result->invalid[i] = predicted < 0;
        parts->places[i]   = gold * (classes + 1) + (predicted < 0 ? classes : predicted);
    }
    return PB_OK;
}

static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : 0.0;
}

static double class_f1(class_counts c)
{
    return ratio(2 * c.right, c.gold + c.predicted);
}

static double accuracy_of(pb_protocol protocol, const double *counts, int64_t width)
{
    confusion c  = confusion_of(protocol, counts, width);
    double right = 0, rows = 0;

    for (int64_t i = 0; i < width; i++) {
        rows += counts[i];
    }
    for (int64_t k = 0; k < c.classes; k++) {
        right += at(&c, k, k);
    }
    return ratio(right, rows);
}

static double f1_of(pb_protocol protocol, const double *counts, int64_t width)
{
    confusion c = confusion_of(protocol, counts, width);
    return class_f1(counts_of(&c, 1));
}

/* Mean over the classes in gold; the paper adds those that are only predicted. */
static double macro_f1_of(pb_protocol protocol, const double *counts, int64_t width)
{
    confusion c     = confusion_of(protocol, counts, width);
    double sum      = 0;
    int64_t present = 0;

    for (int64_t k = 0; k < c.classes; k++) {
        class_counts one = counts_of(&c, k);
        if (one.gold > 0 || (protocol == PB_PROTOCOL_PAPER && one.predicted > 0)) {
            sum += class_f1(one);
            present++;
        }
    }
    return ratio(sum, (double)present);
}

/* The multi-class Matthews correlation (Gorodkin 2004), invalid as a further class without gold. */
static double matthews(const confusion *c, const pb_metric_result *result)
{
    double right   = (double)metric_count(result->correct, result->rows);
    double invalid = (double)metric_count(result->invalid, result->rows);
    double s       = (double)result->rows;
    double pt = 0, pp = invalid * invalid, tt = 0;

    for (int64_t k = 0; k < c->classes; k++) {
        class_counts one = counts_of(c, k);
        pt += one.predicted * one.gold;
        pp += one.predicted * one.predicted;
        tt += one.gold * one.gold;
    }
    double product = (s * s - pp) * (s * s - tt);
    return product > 0 ? (right * s - pt) / sqrt(product) : 0.0;
}

/* A label as part of a name: itself, or class<k> where it is long or would be ambiguous there. */
static const char *word_of(char *const *labels, int64_t k, char *text, size_t size)
{
    if (strlen(labels[k]) <= LABEL_BYTES && strcmp(labels[k], "invalid") != 0) {
        return labels[k];
    }
    (void)snprintf(text, size, "class%" PRId64, k);
    return text;
}

static pb_status add_class_values(const confusion *c, char *const *labels, pb_metric_result *result)
{
    char name[112], text[32];

    for (int64_t k = 0; k < c->classes; k++) {
        class_counts one = counts_of(c, k);
        const char *word = word_of(labels, k, text, sizeof text);
        (void)snprintf(name, sizeof name, "precision.%s", word);
        PB_TRY(metric_add(result, name, ratio(one.right, one.predicted), false));
        (void)snprintf(name, sizeof name, "recall.%s", word);
        PB_TRY(metric_add(result, name, ratio(one.right, one.gold), false));
        (void)snprintf(name, sizeof name, "f1.%s", word);
        PB_TRY(metric_add(result, name, class_f1(one), false));
    }
    return PB_OK;
}

static pb_status add_confusion(const confusion *c, char *const *labels, pb_metric_result *result)
{
    char name[112], text[2][32];

    for (int64_t gold = 0; gold < c->classes; gold++) {
        for (int64_t p = 0; p <= c->classes; p++) {
            (void)snprintf(name, sizeof name, "confusion.%s.%s",
                           word_of(labels, gold, text[0], sizeof text[0]),
                           p == c->classes ? "invalid"
                                           : word_of(labels, p, text[1], sizeof text[1]));
            PB_TRY(metric_add(result, name, at(c, gold, p), true));
        }
    }
    return PB_OK;
}

/* The cut to 16 characters makes no difference to labels up to 16. */
static bool equal_cut(const char *a, const char *b)
{
    size_t same = 0; /* bytes */

    while (a[same] == b[same] && a[same] != '\0') {
        same++;
    }
    return a[same] == b[same] || pb_utf8_count(a, same + 1) > PAPER_CUT;
}

static double equal_share_cut(const pb_metric_result *result)
{
    int64_t equal = 0;

    for (int64_t i = 0; i < result->rows; i++) {
        equal += equal_cut(result->predictions[i], result->references[i]);
    }
    return (double)equal / (double)result->rows;
}

static pb_status add_paper(pb_metric_result *result)
{
    PB_TRY(metric_add(result, result->main_name, result->main, false));
    PB_TRY(metric_add(result, "exact_match", equal_share_cut(result), false));
    PB_TRY(metric_add_flags(result, "invalid", result->invalid));
    return metric_add(result, "n", (double)result->rows, true);
}

static pb_status add_corrected(const pb_metric_parts *parts, const confusion *c,
                               pb_metric_result *result)
{
    double accuracy = accuracy_of(c->protocol, c->counts, parts->width);
    double macro    = macro_f1_of(c->protocol, c->counts, parts->width);

    PB_TRY(metric_add(result, "accuracy", accuracy, false));
    PB_TRY(metric_add_flags(result, "invalid", result->invalid));
    PB_TRY(metric_add(result, "n", (double)result->rows, true));
    PB_TRY(metric_add(result, "macro_f1", macro, false));
    if (parts->metric->main_of == f1_of) {
        PB_TRY(metric_add(result, "f1", result->main, false));
    }
    if (parts->metric == &metric_f1_mcc) {
        PB_TRY(metric_add(result, "mcc", matthews(c, result), false));
    }
    return PB_OK;
}

static pb_status add_all(const pb_metric_parts *parts, double *sums, char *const *labels,
                         pb_metric_result *result)
{
    result->main      = metric_parts_main(parts, NULL, sums);
    result->main_name = parts->metric->main_of == f1_of         ? "f1"
                        : parts->metric->main_of == macro_f1_of ? "macro_f1"
                                                                : "accuracy";
    confusion c       = confusion_of(parts->protocol, sums, parts->width);
    PB_TRY(c.protocol == PB_PROTOCOL_PAPER ? add_paper(result) : add_corrected(parts, &c, result));
    PB_TRY(add_class_values(&c, labels, result));
    return add_confusion(&c, labels, result);
}

static pb_status score_labels(const pb_metric_input *input, char *const *labels,
                              pb_metric_result *result, pb_metric_parts *parts)
{
    double *sums = NULL;

    PB_TRY(read_classes(input, labels, result, parts));
    PB_TRY(PB_ALLOC(sums, parts->width));
    pb_status status = add_all(parts, sums, labels, result);
    pb_memory_free(sums);
    return status;
}

/* Needs only the texts, so the layers above can be tested with any data set. */
static pb_status score_exact(const pb_metric_input *input, char *const *labels,
                             pb_metric_result *result, pb_metric_parts *parts)
{
    (void)input;
    (void)labels;
    (void)parts; /* those of a mean */
    for (int64_t i = 0; i < result->rows; i++) {
        result->correct[i] = strcmp(result->predictions[i], result->references[i]) == 0;
        result->invalid[i] = *result->predictions[i] == '\0' && !result->correct[i];
    }
    metric_set_share(result, "exact_match");
    PB_TRY(metric_add(result, "exact_match", result->main, false));
    return metric_add(result, "n", (double)result->rows, true);
}

const pb_metric metric_exact_match = {
    .name        = "exact_match",
    .about       = "share of answers that are the reference, letter by letter",
    .differences = "nothing differs",
    .score       = score_exact,
};

const pb_metric metric_accuracy = {
    .name  = "accuracy",
    .about = "share of right classes",
    .differences =
        "nothing differs in the share of right answers; in the values of the classes an "
        "answer that is not a class counts as one of the first two → as a class of its own",
    .score           = score_labels,
    .needs_labels    = true,
    .check_reference = check_label,
    .main_of         = accuracy_of,
};

const pb_metric metric_f1 = {
    .name  = "f1",
    .about = "F1 of the second of two classes",
    .differences =
        "an answer that is not a class counts as the wrong one of the two → as a class of "
        "its own, which has no F1",
    .score           = score_labels,
    .needs_labels    = true,
    .check_reference = check_label,
    .main_of         = f1_of,
};

const pb_metric metric_macro_f1 = {
    .name  = "macro_f1",
    .about = "mean of F1 over the classes",
    .differences =
        "an answer that is not a class counts as one of the first two classes, right labels "
        "beyond these turn into the second → as a class of its own, which has no F1; mean "
        "over the classes that are right answers",
    .score           = score_labels,
    .needs_labels    = true,
    .check_reference = check_label,
    .main_of         = macro_f1_of,
};

const pb_metric metric_f1_mcc = {
    .name  = "f1_mcc",
    .about = "F1 of the second of two classes, with Matthews' correlation",
    .differences =
        "an answer that is not a class counts as the wrong one of the two → as a class of "
        "its own; Matthews' correlation beside F1",
    .score           = score_labels,
    .needs_labels    = true,
    .check_reference = check_label,
    .main_of         = f1_of,
};
