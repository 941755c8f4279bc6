// SPDX-License-Identifier: Apache-2.0
/* Trainings whose passes are split: the same bits whoever computes the parts, here a second network
 * in the place of other processes. */
#include "train_fixture.h"

#include "pb/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HELPERS = 2, PARTS = 6, STEPS = 3 };

/* A part that was given. */
typedef struct given {
    pb_train_part part;
    int64_t index;
    int64_t rows[8];
} given;

/* Helpers that answer in the opposite order, from network `f`. */
typedef struct crew {
    network_fixture *f;
    const pb_train_data *data;
    int64_t count;
    given queue[PARTS];
    int64_t queued, computed;
    int64_t refuse; /* every refuse-th part comes back; 0: none */
    pb_status fails;
    float *values;
} crew;

static int64_t count_helpers(void *context)
{
    return ((crew *)context)->count;
}

static pb_status give(void *context, int64_t helper, int64_t index, const pb_train_part *part,
                      const float *values)
{
    crew *c = context;
    assert_in_range(helper, 0, c->count - 1);
    assert_in_range(part->count, 1, 8);
    given *g = &c->queue[c->queued++];
    *g       = (given){.part = *part, .index = index};
    memcpy(g->rows, part->rows, (size_t)part->count * sizeof *part->rows);
    g->part.rows = g->rows;
    memcpy(c->values, values, (size_t)c->f->method->parameters * sizeof *values);
    return PB_OK;
}

static pb_status take(void *context, pb_train_share *shares, int64_t *index, bool *done)
{
    crew *c        = context;
    const given *g = &c->queue[--c->queued];
    c->computed++;
    *index = g->index;
    *done  = c->refuse == 0 || c->computed % c->refuse != 0;
    if (c->fails != PB_OK) {
        return PB_FAIL(c->fails, "the group is broken");
    }
    return *done ? pb_train_help(c->f->net, c->f->method, c->data, &g->part, c->values,
                                 &shares[*index])
                 : PB_OK;
}

typedef struct outcome {
    train_log log;
    pb_train_result result;
    float *values;
    int64_t count;
    pb_status status;
} outcome;

/* Trains with `helpers` of a second network; NULL: alone. */
static void train(const method_case *method, int64_t split, crew *helpers, outcome *out)
{
    network_rows rows;
    network_fixture f, other;
    network_rows_fill(&rows);
    network_fixture_open(&f, method, false, 1);
    pb_train_data data         = {rows.samples, NETWORK_ROWS - 1, rows.samples, 2};
    pb_train_options o         = train_options(STEPS, 4, 1e-2);
    o.accumulate               = 2;
    o.split                    = split;
    o.shuffle                  = true;
    o.epochs                   = 100.0;
    out->log                   = (train_log){0};
    pb_train_observer observer = train_observer(&out->log);
    pb_train_helpers slots     = {helpers, count_helpers, give, take};
    if (helpers != NULL) {
        network_fixture_open_beside(&other, &f, method);
        helpers->f      = &other;
        helpers->data   = &data;
        helpers->values = malloc((size_t)f.method->parameters * sizeof *helpers->values);
    }
    out->status = pb_train_alone(&(pb_train_member){.net      = f.net,
                                                    .method   = f.method,
                                                    .options  = &o,
                                                    .seed     = 7,
                                                    .data     = &data,
                                                    .observer = &observer,
                                                    .result   = &out->result,
                                                    .helpers  = helpers != NULL ? &slots : NULL});
    out->count  = f.method->parameters;
    out->values = host_values(f.backend, &f.method->values);
    if (helpers != NULL) {
        assert_true(out->status == PB_ERR_COMM || helpers->queued == 0);
        free(helpers->values);
        network_fixture_close_beside(&other);
    }
    network_fixture_close(&f);
}

static void assert_same(const outcome *a, const outcome *b)
{
    assert_ok(a->status);
    assert_ok(b->status);
    assert_int_equal(a->log.count, b->log.count);
    for (int64_t i = 0; i < a->log.count; i++) {
        const pb_train_step *x = &a->log.steps[i], *y = &b->log.steps[i];
        assert_true(x->loss == y->loss && x->grad_norm == y->grad_norm);
        assert_true(x->tokens == y->tokens && x->label_tokens == y->label_tokens);
    }
    assert_true(a->result.best_loss == b->result.best_loss);
    assert_memory_equal(a->values, b->values, (size_t)a->count * sizeof *a->values);
}

static outcome whole, alone, helped;

/* Dropout included: it depends on the number of the pass, which is that of the part. */
static void it_does_not_matter_who_computes_a_part(void **state)
{
    (void)state;
    for (int i = 0; i < method_case_count(); i += 1 + method_case_step()) {
        crew them = {.count = HELPERS};
        train(method_case_at(i), 3, NULL, &alone);
        train(method_case_at(i), 3, &them, &helped);
        if (alone.count > 0) {
            assert_in_range(them.computed, STEPS, STEPS * PARTS);
        }
        assert_same(&alone, &helped);
        free(alone.values);
        free(helped.values);
    }
}

static const method_case plain = {"lora", "r = 3; dropout = 0.0;"};

static void parts_that_come_back_are_computed_here(void **state)
{
    (void)state;
    for (int64_t refuse = 1; refuse <= 3; refuse += 2) { /* all, every third */
        crew them = {.count = HELPERS, .refuse = refuse};
        train(&plain, 3, NULL, &alone);
        train(&plain, 3, &them, &helped);
        assert_true(them.computed > 0);
        assert_same(&alone, &helped);
        free(alone.values);
        free(helped.values);
    }
}

/* Only the order of additions differs. */
static void a_split_step_is_the_step_up_to_rounding(void **state)
{
    (void)state;
    train(&plain, 1, NULL, &whole);
    for (int64_t split = 2; split <= 4; split += 2) {
        train(&plain, split, NULL, &alone);
        assert_ok(alone.status);
        for (int64_t i = 0; i < STEPS; i++) {
            const pb_train_step *x = &whole.log.steps[i], *y = &alone.log.steps[i];
            assert_true(fabs(x->loss - y->loss) < 1e-5);
            assert_true(fabs(x->grad_norm - y->grad_norm) < 1e-4 * x->grad_norm);
            assert_true(x->tokens == y->tokens && x->label_tokens == y->label_tokens);
        }
        free(alone.values);
    }
    free(whole.values);
}

/* More parts than rows: some have none. */
static void parts_without_rows_add_nothing(void **state)
{
    (void)state;
    train(&plain, 4, NULL, &whole);
    train(&plain, 16, NULL, &alone);
    assert_ok(alone.status);
    for (int64_t i = 0; i < STEPS; i++) {
        assert_true(whole.log.steps[i].loss == alone.log.steps[i].loss);
    }
    free(whole.values);
    free(alone.values);
}

static void a_broken_group_ends_the_run(void **state)
{
    (void)state;
    crew them = {.count = HELPERS, .fails = PB_ERR_COMM};
    train(&plain, 3, &them, &helped);
    assert_int_equal(helped.status, PB_ERR_COMM);
    assert_int_equal(helped.log.count, 0);
    free(helped.values);
}

static void a_part_with_rows_that_do_not_exist_is_refused(void **state)
{
    (void)state;
    network_rows rows;
    network_fixture f;
    network_rows_fill(&rows);
    network_fixture_open(&f, &plain, false, 1);
    pb_train_data data   = {.train = rows.samples, .train_count = 3};
    pb_train_share share = {0};
    float *values        = host_values(f.backend, &f.method->values);
    for (int64_t row = -1; row <= 3; row += 4) {
        pb_train_part part = {.grad_scale = 1.0, .rows = &row, .count = 1};
        assert_int_equal(pb_train_help(f.net, f.method, &data, &part, values, &share),
                         PB_ERR_ARGUMENT);
        assert_non_null(strstr(pb_error_message(), "of 3"));
    }
    free(values);
    network_fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_does_not_matter_who_computes_a_part),
        cmocka_unit_test(parts_that_come_back_are_computed_here),
        cmocka_unit_test(a_split_step_is_the_step_up_to_rounding),
        cmocka_unit_test(parts_without_rows_add_nothing),
        cmocka_unit_test(a_broken_group_ends_the_run),
        cmocka_unit_test(a_part_with_rows_that_do_not_exist_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
