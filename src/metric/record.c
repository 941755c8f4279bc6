// SPDX-License-Identifier: Apache-2.0
/* ReCoRD: the best token F1, and the best exact match, over all correct answers of a question.
 *
 * Several rows may ask the same question: they have the same id. Paper: the last prediction of a
 * question counts for each of its rows, mean over rows. Corrected: the first row of a question
 * stands for it, mean over questions. The value of a row by itself is the F1 of its own prediction.
 *
 * A unit of the interval is a question by its id; report/units.c, which does not see ids, takes the
 * predictions of one row of the file as a unit. They are the same where it matters: the corrected
 * protocol drops rows whose id occurred before. */
#include "answer_text.h"
#include "metrics.h"

#include "pb/memory.h"
#include "pb/utf8.h"

#include <stdlib.h>
#include <string.h>

/* Rows by question. */
typedef struct questions {
    int64_t *first, *last; /* [rows] the first and the last row that ask the same question */
    int64_t *unit;         /* [rows] number of the question, in the order of first rows */
    int64_t count;
} questions;

typedef struct keyed_row {
    const char *id;
    int64_t row;
} keyed_row;

static int compare_keyed(const void *a, const void *b)
{
    const keyed_row *x = a, *y = b;
    int order = strcmp(x->id, y->id);
    return order != 0 ? order : (x->row > y->row) - (x->row < y->row);
}

static pb_status group_by_id(const pb_metric_input *input, questions *q)
{
    keyed_row *keyed = NULL;

    PB_TRY(PB_ALLOC(keyed, input->rows));
    for (int64_t i = 0; i < input->rows; i++) {
        keyed[i] = (keyed_row){.id = input->ids[i], .row = i};
    }
    qsort(keyed, (size_t)input->rows, sizeof *keyed, compare_keyed);
    for (int64_t i = 0, end = 0; i < input->rows; i = end) {
        for (end = i + 1; end < input->rows && strcmp(keyed[end].id, keyed[i].id) == 0;) {
            end++;
        }
        for (int64_t k = i; k < end; k++) {
            q->first[keyed[k].row] = keyed[i].row;
            q->last[keyed[k].row]  = keyed[end - 1].row;
        }
    }
    pb_memory_free(keyed);
    return PB_OK;
}

static void clear_questions(questions *q)
{
    pb_memory_free(q->first);
    pb_memory_free(q->last);
    pb_memory_free(q->unit);
}

static pb_status find_questions(const pb_metric_input *input, questions *q)
{
    PB_TRY(PB_ALLOC(q->first, input->rows));
    PB_TRY(PB_ALLOC(q->last, input->rows));
    PB_TRY(PB_ALLOC(q->unit, input->rows));
    for (int64_t i = 0; i < input->rows; i++) {
        q->first[i] = i;
        q->last[i]  = i;
    }
    if (input->ids != NULL) {
        PB_TRY(group_by_id(input, q));
    }
    for (int64_t i = 0; i < input->rows; i++) {
        q->unit[i] = q->first[i] == i ? q->count++ : q->unit[q->first[i]];
    }
    return PB_OK;
}

/* Against one right answer; keeps the best so far. */
static pb_status compare_one(const answer_text *prediction, const char *text, double *f1,
                             bool *equal)
{
    answer_text answer = {0};

    if (!pb_utf8_is_valid(text, strlen(text), NULL)) {
        return PB_FAIL(PB_ERR_FORMAT, "a right answer is not UTF-8");
    }
    PB_TRY(answer_text_make(text, &answer));
    double value = answer_text_f1(prediction, &answer);
    *f1          = value > *f1 ? value : *f1;
    *equal       = *equal || answer_text_equal(prediction, &answer);
    answer_text_clear(&answer);
    return PB_OK;
}

/* The prediction of row `from` against the right answers of row `row`. */
static pb_status compare(const pb_metric_input *input, const pb_metric_result *result, int64_t from,
                         int64_t row, double *f1, bool *equal)
{
    const char *const own[]    = {result->references[row], NULL};
    const char *const *answers = input->alternatives != NULL ? input->alternatives[row] : own;
    answer_text prediction     = {0};

    *f1    = 0;
    *equal = false;
    if (answers == NULL || *answers == NULL) {
        return metric_at_row(input, row, metric_no_answer());
    }
    PB_TRY(answer_text_make(result->predictions[from], &prediction));
    pb_status status = PB_OK;
    for (; *answers != NULL && status == PB_OK; answers++) {
        status = compare_one(&prediction, *answers, f1, equal);
    }
    answer_text_clear(&prediction);
    return metric_at_row(input, row, status);
}

/* The parts of a question: sum of F1, of exact matches, and of rows that count. */
enum { F1, EQUAL, COUNTED, SUMS };

static double f1_of(pb_protocol protocol, const double *sums, int64_t width)
{
    (void)protocol;
    (void)width;
    return sums[F1] / sums[COUNTED];
}

static pb_status count_rows(const pb_metric_input *input, const questions *q,
                            pb_metric_result *result, pb_metric_parts *parts)
{
    bool paper = input->protocol == PB_PROTOCOL_PAPER;

    PB_TRY(metric_make_parts(parts, q->count, SUMS));
    for (int64_t i = 0; i < result->rows; i++) {
        double f1  = 0;
        bool equal = false;
        PB_TRY(compare(input, result, i, i, &f1, &equal));
        result->row_values[i] = f1;
        result->correct[i]    = equal;
        result->invalid[i]    = *result->predictions[i] == '\0' && !equal;
        if (paper && q->last[i] != i) {
            PB_TRY(compare(input, result, q->last[i], i, &f1, &equal));
        }
        if (paper || q->first[i] == i) {
            double *part = parts->dense + q->unit[i] * SUMS;
            part[F1] += f1;
            part[EQUAL] += equal;
            part[COUNTED] += 1;
        }
    }
    return PB_OK;
}

static pb_status add_values(const pb_metric_parts *parts, pb_metric_result *result)
{
    double sums[SUMS];
    result->main      = metric_parts_main(parts, NULL, sums);
    result->main_name = "f1";
    PB_TRY(metric_add(result, "f1", result->main, false));
    PB_TRY(metric_add(result, "exact_match", sums[EQUAL] / sums[COUNTED], false));
    PB_TRY(metric_add_flags(result, "invalid", result->invalid));
    PB_TRY(metric_add(result, "queries", (double)parts->units, true));
    return metric_add(result, "rows", (double)result->rows, true);
}

static pb_status score_record(const pb_metric_input *input, char *const *labels,
                              pb_metric_result *result, pb_metric_parts *parts)
{
    questions q = {0};
    pb_status status;

    (void)labels;
    PB_TRY_GOTO(status, find_questions(input, &q), out_questions);
    PB_TRY_GOTO(status, count_rows(input, &q, result, parts), out_questions);
    PB_TRY_GOTO(status, add_values(parts, result), out_questions);
out_questions:
    clear_questions(&q);
    return status;
}

static pb_status check_answer(const char *text, char *const *labels, int64_t label_count)
{
    (void)labels;
    (void)label_count;
    (void)text;
    return PB_OK;
}

const pb_metric metric_record = {
    .name            = "record",
    .about           = "exact match and F1 of ReCoRD, the best of several right answers",
    .differences     = "the last answer to a query counts for all its rows, mean over rows → one "
                       "answer a query, the best over all right ones, mean over queries",
    .score           = score_record,
    .reads_questions = true,
    .fills_row_values = true,
    .check_reference  = check_answer,
    .main_of          = f1_of,
};
