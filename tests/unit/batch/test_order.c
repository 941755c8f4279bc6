// SPDX-License-Identifier: Apache-2.0
/* Errors of splits and orders, whose numbers are compared in tests/golden/batch; groups of samples
 * for evaluation. */
#include "support.h"

#include "pb/batch.h"
#include "pb/memory.h"

#include <stdbool.h>
#include <string.h>

static void splits_refuse_what_leaves_nothing_to_train_on(void **state)
{
    int64_t order[4], held = -1;

    (void)state;
    assert_error(pb_split_validation(1, 0.1, 42, order, &held), PB_ERR_CONFIG,
                 "leaves none to train on");
    assert_error(pb_split_validation(-1, 0.1, 42, order, &held), PB_ERR_ARGUMENT, "-1 rows");
    assert_error(pb_split_validation(4, 1.5, 42, order, &held), PB_ERR_ARGUMENT, "1.5");
    assert_int_equal(held, -1);
    assert_ok(pb_split_validation(0, 0.1, 42, order, &held));
    assert_int_equal(held, 0);
    assert_error(pb_epoch_order(-1, 42, order), PB_ERR_ARGUMENT, "-1 rows");
    assert_ok(pb_epoch_order(0, 42, order));
}

enum { PASSAGES = 5, QUESTIONS = 7, SAMPLES = PASSAGES * QUESTIONS, PASSAGE = 40, LONGEST = 56 };

/* Questions about passages in turn: neighbours have nothing in common but the instruction. */
typedef struct questions {
    int32_t ids[SAMPLES][LONGEST];
    pb_sample samples[SAMPLES];
} questions;

static void fill(questions *q)
{
    for (int i = 0; i < SAMPLES; i++) {
        int passage   = i % PASSAGES;
        q->samples[i] = (pb_sample){.ids = q->ids[i], .length = PASSAGE + 4 + i % 13};
        for (int t = 0; t < LONGEST; t++) {
            q->ids[i][t] = t < 10 ? t : t < PASSAGE ? 100 * passage + t : 1000 * i + t;
        }
    }
}

static int64_t packed_rows(const questions *q, const pb_groups *g, int64_t group)
{
    pb_sample samples[SAMPLES];
    pb_batch batch;
    pb_batch_options options = {.share = true};
    int64_t count            = g->starts[group + 1] - g->starts[group];
    for (int64_t i = 0; i < count; i++) {
        samples[i] = q->samples[g->order[g->starts[group] + i]];
    }
    assert_ok(pb_batch_build(samples, count, &options, &batch));
    int64_t rows = batch.forest.rows;
    pb_batch_clear(&batch);
    return rows;
}

/* The rows that all groups together compute; every sample is in one of them. */
static int64_t check_groups(const questions *q, const pb_groups *g, int64_t limit, int64_t more)
{
    int64_t total      = 0;
    bool seen[SAMPLES] = {false};
    assert_int_equal(g->starts[0], 0);
    assert_int_equal(g->starts[g->count], SAMPLES);
    for (int64_t i = 0; i < SAMPLES; i++) {
        assert_false(seen[g->order[i]]);
        seen[g->order[i]] = true;
    }
    for (int64_t k = 0; k < g->count; k++) {
        int64_t count = g->starts[k + 1] - g->starts[k];
        int64_t rows  = packed_rows(q, g, k);
        assert_true(count >= 1 && count <= g->largest);
        assert_true(count == 1 || rows + count * more <= limit);
        total += rows;
    }
    return total;
}

static void common_beginnings_are_in_one_group(void **state)
{
    (void)state;
    questions q;
    pb_groups sorted, plain;
    int64_t tokens = 0;
    fill(&q);
    for (int i = 0; i < SAMPLES; i++) {
        tokens += q.samples[i].length + 3;
    }
    assert_ok(pb_groups_make(q.samples, SAMPLES, 5, 3, true, &sorted));
    assert_ok(pb_groups_make(q.samples, SAMPLES, 5, 3, false, &plain));
    int64_t rows = check_groups(&q, &sorted, 5 * tokens / SAMPLES, 3);
    assert_true(2 * rows < check_groups(&q, &plain, INT64_MAX, 3));
    assert_int_equal(plain.count, SAMPLES / 5);
    assert_true(sorted.count < plain.count);
    pb_groups_clear(&sorted);
    pb_groups_clear(&plain);
    assert_ok(pb_groups_make(q.samples, SAMPLES, 1, 3, true, &sorted));
    (void)check_groups(&q, &sorted, tokens / SAMPLES, 3);
    pb_groups_clear(&sorted);
    assert_int_equal(pb_memory_current(), 0);
}

/* Equal samples and beginnings of others; a second call gives the same. */
static void groups_depend_on_the_samples_alone(void **state)
{
    (void)state;
    static const int64_t expected[] = {4, 1, 3, 0, 2};
    int32_t ids[3]                  = {5, 6, 7};
    int32_t other[1]                = {4};
    pb_sample samples[]             = {{.ids = ids, .length = 3},
                                       {.ids = ids, .length = 2},
                                       {.ids = ids, .length = 3},
                                       {.ids = ids, .length = 2},
                                       {.ids = other, .length = 1}};
    for (int again = 0; again < 2; again++) {
        pb_groups g;
        assert_ok(pb_groups_make(samples, 5, 8, 0, true, &g));
        assert_memory_equal(g.order, expected, sizeof expected);
        assert_int_equal(g.count, 1);
        pb_groups_clear(&g);
    }
}

static void no_samples_are_no_groups(void **state)
{
    (void)state;
    for (int sorted = 0; sorted < 2; sorted++) {
        pb_groups g;
        assert_ok(pb_groups_make(NULL, 0, 8, 4, sorted != 0, &g));
        assert_int_equal(g.count, 0);
        assert_int_equal(g.starts[0], 0);
        pb_groups_clear(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits_refuse_what_leaves_nothing_to_train_on),
        cmocka_unit_test(common_beginnings_are_in_one_group),
        cmocka_unit_test(groups_depend_on_the_samples_alone),
        cmocka_unit_test(no_samples_are_no_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
