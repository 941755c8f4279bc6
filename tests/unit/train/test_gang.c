// SPDX-License-Identifier: Apache-2.0
/* Runs of several networks together: each has the curves and values that it has alone, and neither
 * the end nor the failure of one changes another. */
#include "train_fixture.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MEMBERS = 5 };

/* Methods that act at the products, bind weights, put rows before the tokens, drop, and have
 * penalties and schedules of their own. */
static const method_case methods[MEMBERS] = {
    {"adalora", "init_r = 3; target_r = 2; dropout = 0.0; tinit = 1; tfinal = 1; delta_t = 1;"},
    {"lora", "r = 2; alpha = 4.0; dropout = 0.3;"},
    {"full", ""},
    {"prompt", "num_virtual_tokens = 3; init = \"normal\";"},
    {"ia3", ""},
};

/* A run of one member. */
typedef struct gang_run {
    network_fixture f;
    network_rows rows;
    pb_train_options options;
    pb_train_data data;
    pb_train_observer observer;
    pb_train_result result;
    train_log log;
    pb_status ended; /* how, and how often */
    int endings;
    char message[256];
    int64_t asked, stop_at; /* 0: never */
    const char *path;       /* of its archive */
    float *values;          /* [parameters] in the end */
    int64_t parameters;
} gang_run;

typedef struct gang {
    gang_run *members;
    pb_train_member of[MEMBERS];
} gang;

static gang_run *run_of(void *log)
{
    return (gang_run *)(void *)((char *)log - offsetof(gang_run, log));
}

static void on_ended(void *context, pb_status status)
{
    gang_run *r = run_of(context);
    r->ended    = status;
    r->endings++;
    if (status != PB_OK) {
        strncpy(r->message, pb_error_message(), sizeof r->message - 1);
    }
}

/* Each has another number of rows, steps and validations. */
static void open_gang(gang *g)
{
    g->members = calloc(MEMBERS, sizeof *g->members);
    assert_non_null(g->members);
    for (int i = 0; i < MEMBERS; i++) {
        gang_run *r = &g->members[i];
        if (i == 0) {
            network_fixture_open(&r->f, &methods[0], true, 2);
        } else {
            network_fixture_open_beside(&r->f, &g->members[0].f, &methods[i]);
        }
        network_rows_fill(&r->rows);
        r->options                = train_options(6 - i, 1 + i % 3, 1e-2);
        r->options.accumulate     = 2;
        r->options.evaluate_share = i % 2 == 0 ? 0.5 : 0.0;
        r->options.shuffle        = i > 1;
        r->data                   = (pb_train_data){.train            = r->rows.samples,
                                                    .train_count      = NETWORK_ROWS - i % 2,
                                                    .validation       = r->rows.samples + i,
                                                    .validation_count = i == 3 ? 0 : 1};
        r->observer               = train_observer(&r->log);
        r->observer.ended         = on_ended;
        r->observer.gradients     = NULL;
        g->of[i]                  = (pb_train_member){.net      = r->f.net,
                                                      .method   = r->f.method,
                                                      .options  = &r->options,
                                                      .seed     = 20 + (uint64_t)i,
                                                      .data     = &r->data,
                                                      .observer = &r->observer,
                                                      .result   = &r->result};
    }
}

/* Keeps what the runs gave. */
static void close_gang(gang *g)
{
    for (int i = MEMBERS - 1; i >= 0; i--) {
        gang_run *r   = &g->members[i];
        r->parameters = r->f.method->parameters;
        r->values     = host_values(r->f.backend, &r->f.method->values);
        if (i > 0) {
            network_fixture_close_beside(&r->f);
        } else {
            network_fixture_close(&r->f);
        }
    }
}

static void free_gang(gang *g)
{
    for (int i = 0; i < MEMBERS; i++) {
        free(g->members[i].values);
    }
    free(g->members);
}

/* What must not depend on the others: all but the times. */
static void assert_same_run(const gang_run *a, const gang_run *b)
{
    assert_int_equal(a->log.count, b->log.count);
    for (int64_t i = 0; i < a->log.count; i++) {
        const pb_train_step *x = &a->log.steps[i];
        const pb_train_step *y = &b->log.steps[i];
        assert_int_equal(x->step, y->step);
        assert_int_equal(x->steps, y->steps);
        assert_memory_equal(&x->loss, &y->loss, sizeof x->loss);
        assert_memory_equal(&x->lr, &y->lr, sizeof x->lr);
        assert_memory_equal(&x->grad_norm, &y->grad_norm, sizeof x->grad_norm);
        assert_int_equal(x->tokens, y->tokens);
        assert_int_equal(x->label_tokens, y->label_tokens);
    }
    assert_int_equal(a->log.validations, b->log.validations);
    for (int64_t i = 0; i < a->log.validations; i++) {
        assert_int_equal(a->log.validated[i], b->log.validated[i]);
        assert_memory_equal(&a->log.losses[i], &b->log.losses[i], sizeof(double));
    }
    assert_int_equal(a->result.steps, b->result.steps);
    assert_int_equal(a->result.best_step, b->result.best_step);
    assert_memory_equal(&a->result.best_loss, &b->result.best_loss, sizeof(double));
    assert_memory_equal(&a->result.final_loss, &b->result.final_loss, sizeof(double));
    assert_int_equal(a->result.tokens, b->result.tokens);
    assert_int_equal(a->result.label_tokens, b->result.label_tokens);
    assert_int_equal(a->parameters, b->parameters);
    assert_memory_equal(a->values, b->values, (size_t)a->parameters * sizeof(float));
}

static void run_alone(const gang *g, int i)
{
    const pb_train_member *of = &g->of[i];
    assert_ok(pb_train_run(of->net, of->method, of->options, of->seed, of->data, of->observer,
                           of->result));
}

static void every_member_has_the_run_that_it_has_alone(void **state)
{
    (void)state;
    for (int64_t size = 1; size <= MEMBERS; size += size == 1 ? 1 : 3) {
        gang together;
        gang apart;
        open_gang(&together);
        assert_ok(pb_train_gang(together.of, size));
        close_gang(&together);
        open_gang(&apart);
        for (int i = 0; i < size; i++) {
            run_alone(&apart, i);
        }
        close_gang(&apart);
        for (int i = 0; i < size; i++) {
            assert_same_run(&together.members[i], &apart.members[i]);
            assert_int_equal(together.members[i].endings, 1);
            assert_int_equal(together.members[i].ended, PB_OK);
            assert_int_equal(apart.members[i].endings, 0);
        }
        free_gang(&together);
        free_gang(&apart);
    }
}

static bool stops_once(void *context)
{
    gang_run *r = run_of(context);
    return ++r->asked == r->stop_at;
}

static pb_status on_save(void *context, struct pb_train_state *state)
{
    pb_archive *a = NULL;
    PB_TRY(pb_archive_create(run_of(context)->path, "member", &a));
    return pb_archive_close(a, pb_train_archive(state, a));
}

/* One alone is not in a gang. */
static pb_status run_first(const pb_train_member *of, int64_t count, int64_t size)
{
    return count == 0 ? PB_OK : size == 1 ? pb_train_alone(of) : pb_train_gang(of, count);
}

/* Goes on with those that had not ended; their curves continue. */
static void resume(const gang *stopped, gang *later, int64_t size)
{
    pb_train_member of[MEMBERS];
    int64_t count = 0;
    for (int i = 0; i < size; i++) {
        gang_run *r = &later->members[i];
        if (stopped->members[i].endings > 0) {
            continue;
        }
        r->log    = stopped->members[i].log;
        of[count] = later->of[i];
        assert_ok(pb_archive_open(stopped->members[i].path, "member", &of[count].resume));
        count++;
    }
    assert_ok(run_first(of, count, size));
    for (int64_t i = 0; i < count; i++) {
        assert_ok(pb_archive_close(of[i].resume, PB_OK));
    }
}

/* The values that are best are not the last ones, so those of a checkpoint count. */
static void open_gang_that_gets_worse(gang *g)
{
    open_gang(g);
    g->members[0].options.learning_rate  = 0.1;
    g->members[0].options.evaluate_share = 0.1; /* after every step */
    g->members[0].data.train_count       = 1;   /* and the row of its validation has other labels */
    g->members[0].data.validation        = g->members[0].rows.samples + 4;
}

/* False when the run ended before it asked so often. */
static bool stopped_at(int64_t ask, int64_t size, const gang *whole, char (*paths)[220])
{
    gang first, later;
    open_gang_that_gets_worse(&first);
    for (int i = 0; i < MEMBERS; i++) {
        first.members[i].path          = paths[i];
        first.members[i].observer.stop = stops_once;
        first.members[i].observer.save = on_save;
    }
    first.members[0].stop_at = ask;
    pb_status status         = run_first(first.of, size, size);
    close_gang(&first);
    bool stopped = status == PB_STOPPED;
    if (stopped) {
        open_gang_that_gets_worse(&later);
        resume(&first, &later, size);
        close_gang(&later);
        for (int i = 0; i < size; i++) {
            const gang *end = first.members[i].endings > 0 ? &first : &later;
            assert_same_run(&end->members[i], &whole->members[i]);
        }
        free_gang(&later);
    } else {
        assert_ok(status);
    }
    free_gang(&first);
    return stopped;
}

/* Requests come before every pass and in validations. */
static void a_run_that_was_stopped_goes_on_to_the_same_end(void **state)
{
    (void)state;
    char *made = NULL;
    char folder[200];
    char paths[MEMBERS][220];
    assert_ok(pb_temporary_make("peftbench", &made));
    snprintf(folder, sizeof folder, "%s", made);
    pb_memory_free(made); /* a fixture wants all bytes back */
    for (int i = 0; i < MEMBERS; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/%d", folder, i);
    }
    gang whole;
    open_gang_that_gets_worse(&whole);
    assert_ok(pb_train_gang(whole.of, MEMBERS));
    close_gang(&whole);
    assert_in_range(whole.members[0].result.best_step, 1, 5);
    for (int64_t size = 1; size <= MEMBERS; size += MEMBERS - 1) {
        int64_t ask = 1;
        while (stopped_at(ask, size, &whole, paths)) {
            ask += method_case_step();
        }
        /* six steps of two passes, each with a validation of a row */
        assert_in_range(ask, 19, 18 + method_case_step());
    }
    free_gang(&whole);
    pb_temporary_remove(folder);
}

static void steps_of_a_gang_allocate_nothing(void **state)
{
    (void)state;
    gang g;
    open_gang(&g);
    for (int i = 1; i < MEMBERS; i++) { /* a new order and a validation are not for nothing */
        g.members[i].options.shuffle        = false;
        g.members[i].options.evaluate_share = 0.0;
        g.members[i].options.max_steps      = 5;
    }
    assert_ok(pb_train_gang(g.of + 1, MEMBERS - 1));
    const train_log *log = &g.members[1].log;
    for (int64_t i = 1; i < log->count; i++) {
        assert_int_equal(log->allocations[i], log->allocations[0]);
    }
    close_gang(&g);
    free_gang(&g);
}

/* Equal rows, whose methods need the backward of all layers: equal shares of what both need. */
static void time_and_work_of_a_step_are_shared_by_rows(void **state)
{
    (void)state;
    gang g;
    double alone[2] = {0};
    for (int together = 0; together < 2; together++) {
        open_gang(&g);
        for (int i = 1; i < 5; i += 3) {
            g.members[i].data =
                (pb_train_data){.train = g.members[i].rows.samples, .train_count = 4};
            g.members[i].options = train_options(2, 2, 1e-2);
            g.of[i].observer     = &g.members[i].observer;
        }
        const pb_train_member of[] = {g.of[1], g.of[4]};
        const train_log *a         = &g.members[1].log;
        const train_log *b         = &g.members[4].log;
        if (!together) {
            run_alone(&g, 1);
            run_alone(&g, 4);
            alone[0] = a->steps[0].flops;
            alone[1] = b->steps[0].flops;
        } else {
            assert_ok(pb_train_gang(of, 2));
            /* Without dropout the second shares the rows' prefixes. */
            double share = a->steps[0].flops / (a->steps[0].flops + b->steps[0].flops);
            assert_true(share > 0.5);
            double both = a->steps[0].flops + b->steps[0].flops;
            assert_true(fabs(both - alone[0] - alone[1]) < 0.02 * both);
            assert_true(fabs(a->steps[0].seconds * (1.0 - share) - b->steps[0].seconds * share) <
                        1e-9);
        }
        close_gang(&g);
        free_gang(&g);
    }
}

static void a_member_that_fails_leaves_the_others_alone(void **state)
{
    (void)state;
    gang together;
    gang apart;
    network_rows bare;
    network_rows_fill(&bare);
    for (int row = 0; row < NETWORK_ROWS; row++) {
        for (int64_t t = 0; t < NETWORK_LENGTH; t++) {
            bare.labels[row][t] = PB_LABEL_NONE;
        }
    }
    open_gang(&together);
    together.members[2].options.learning_rate = 1e30;
    together.members[2].options.clip          = 0.0;
    together.members[3].data.train            = bare.samples;
    assert_ok(pb_train_gang(together.of, MEMBERS));
    assert_int_equal(together.members[2].ended, PB_ERR_NUMERIC);
    assert_non_null(strstr(together.members[2].message, "a learning rate below 1e+30"));
    assert_int_equal(together.members[3].ended, PB_ERR_FORMAT);
    assert_non_null(strstr(together.members[3].message, "has a label token"));
    close_gang(&together);
    open_gang(&apart);
    for (int i = 0; i < MEMBERS; i++) {
        if (i != 2 && i != 3) {
            run_alone(&apart, i);
        }
    }
    close_gang(&apart);
    for (int i = 0; i < MEMBERS; i++) {
        assert_int_equal(together.members[i].endings, 1);
        if (i != 2 && i != 3) {
            assert_same_run(&together.members[i], &apart.members[i]);
        }
    }
    free_gang(&together);
    free_gang(&apart);
}

static void a_wish_to_stop_ends_all(void **state)
{
    (void)state;
    gang g;
    open_gang(&g);
    g.members[1].log.stop_before = 3;
    assert_error(pb_train_gang(g.of, MEMBERS), PB_STOPPED, "stopped before step 3 of 6");
    for (int i = 0; i < MEMBERS; i++) {
        assert_int_equal(g.members[i].log.count, 2);
    }
    close_gang(&g);
    free_gang(&g);
}

static void other_numbers_of_passes_are_refused(void **state)
{
    (void)state;
    gang g;
    open_gang(&g);
    g.members[2].options.accumulate = 1;
    assert_error(pb_train_gang(g.of, MEMBERS), PB_ERR_ARGUMENT, "not 2 and 1");
    assert_error(pb_train_gang(g.of, 0), PB_ERR_ARGUMENT, "no members");
    close_gang(&g);
    free_gang(&g);
}

/* All take six steps, and are validated after three. */
static void make_comparable(gang *g)
{
    for (int i = 0; i < MEMBERS; i++) {
        g->members[i].options.max_steps      = 6;
        g->members[i].options.evaluate_share = 0.5;
        g->members[i].data.validation_count  = 1;
    }
}

/* From 1, by the loss after three steps. */
static int place_of(const gang *g, int at)
{
    int place = 1;
    for (int i = 0; i < MEMBERS; i++) {
        place += g->members[i].log.losses[0] < g->members[at].log.losses[0];
    }
    return place;
}

static void a_search_ends_the_weakest_and_leaves_the_others_as_they_are(void **state)
{
    const int64_t rungs[]        = {34, 50}; /* the same step: it counts once */
    const pb_train_search search = {.rungs = rungs, .count = 2, .keep = 0.5};
    gang together;
    gang apart;
    (void)state;
    open_gang(&together);
    make_comparable(&together);
    assert_ok(pb_train_gang_search(together.of, MEMBERS, &search));
    close_gang(&together);
    open_gang(&apart);
    make_comparable(&apart);
    for (int i = 0; i < MEMBERS; i++) {
        run_alone(&apart, i);
    }
    close_gang(&apart);
    for (int i = 0; i < MEMBERS; i++) {
        const gang_run *r = &together.members[i];
        int place         = place_of(&apart, i);
        assert_int_equal(r->endings, 1);
        assert_int_equal(r->ended, PB_OK);
        if (place <= 3) { /* half of five, rounded up */
            assert_int_equal(r->result.rung, 0);
            assert_same_run(r, &apart.members[i]);
            continue;
        }
        assert_int_equal(r->result.rung, 50);
        assert_int_equal(r->result.place, place);
        assert_int_equal(r->result.of, MEMBERS);
        assert_int_equal(r->result.steps, 3);
        assert_int_equal(r->log.validations, 1);
        assert_memory_equal(&r->log.losses[0], &apart.members[i].log.losses[0], sizeof(double));
    }
    free_gang(&together);
    free_gang(&apart);
}

/* Of rungs at 20 and 70 percent, steps 2 and 5, neither is a step of validation: 3 of 5 go on, then
 * 2 of 3. */
static void a_search_validates_at_its_rungs(void **state)
{
    const int64_t rungs[]        = {20, 70};
    const pb_train_search search = {.rungs = rungs, .count = 2, .keep = 0.5};
    int64_t ended[7]             = {0};
    gang g;
    (void)state;
    open_gang(&g);
    make_comparable(&g);
    assert_ok(pb_train_gang_search(g.of, MEMBERS, &search));
    close_gang(&g);
    for (int i = 0; i < MEMBERS; i++) {
        const gang_run *r = &g.members[i];
        ended[r->result.steps]++;
        assert_int_equal(r->log.validated[0], 2);
        assert_int_equal(r->log.validations, r->result.steps == 6   ? 4
                                             : r->result.steps == 5 ? 3
                                                                    : 1);
        assert_int_equal(r->result.of, r->result.steps == 6 ? 0 : r->result.steps == 5 ? 3 : 5);
    }
    assert_true(ended[2] == 2 && ended[5] == 1 && ended[6] == 2);
    free_gang(&g);
}

static void a_search_needs_equal_steps_and_validation_rows(void **state)
{
    const int64_t rungs[]        = {50};
    const pb_train_search search = {.rungs = rungs, .count = 1, .keep = 0.5};
    gang g;
    (void)state;
    open_gang(&g);
    make_comparable(&g);
    g.members[2].options.max_steps = 5;
    assert_error(pb_train_gang_search(g.of, MEMBERS, &search), PB_ERR_CONFIG, "6 and 5");
    g.members[2].options.max_steps     = 6;
    g.members[4].data.validation_count = 0;
    assert_error(pb_train_gang_search(g.of, MEMBERS, &search), PB_ERR_CONFIG,
                 "give data.validation_share");
    close_gang(&g);
    free_gang(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_member_has_the_run_that_it_has_alone),
        cmocka_unit_test(a_run_that_was_stopped_goes_on_to_the_same_end),
        cmocka_unit_test(steps_of_a_gang_allocate_nothing),
        cmocka_unit_test(time_and_work_of_a_step_are_shared_by_rows),
        cmocka_unit_test(a_member_that_fails_leaves_the_others_alone),
        cmocka_unit_test(a_wish_to_stop_ends_all),
        cmocka_unit_test(other_numbers_of_passes_are_refused),
        cmocka_unit_test(a_search_ends_the_weakest_and_leaves_the_others_as_they_are),
        cmocka_unit_test(a_search_validates_at_its_rungs),
        cmocka_unit_test(a_search_needs_equal_steps_and_validation_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
