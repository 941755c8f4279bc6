// SPDX-License-Identifier: Apache-2.0
/* Out of memory: each pass is tried under a limit that the next allocation exceeds, until it
 * succeeds. Every failure is PB_ERR_MEMORY, and afterwards the network gives the same bits as
 * without a failure. */
#include "network_fixture.h"
#include "waited.h"

#include "pb/memory.h"

#include <string.h>

static const method_case full = {"full", ""};

enum { NEW_TOKENS = 5 };

typedef struct trial {
    network_fixture f;
    network_rows rows;
    pb_batch batch;
    double loss;
    pb_generated out[NETWORK_ROWS];
} trial;

typedef pb_status (*action)(trial *t);

static pb_status make(trial *t)
{
    return pb_network_create(t->f.weights, t->f.method, &t->f.net);
}

static pb_status step(trial *t)
{
    return waited_step(t->f.net, &t->batch, 1.0, 3, &t->loss);
}

static pb_status loss(trial *t)
{
    return waited_loss(t->f.net, &t->batch, &t->loss, NULL);
}

static pb_status generate(trial *t)
{
    pb_generate_options options = {.max_new_tokens = NEW_TOKENS, .batch = 4};
    return pb_network_generate(t->f.net, t->rows.samples, NETWORK_ROWS, &options, t->out);
}

/* Tries until it succeeds, each time with just the bytes that the last failure requested. */
static int raise_limit(trial *t, action act)
{
    size_t limit = pb_memory_current();
    int failures = 0;
    for (;;) {
        pb_memory_limit(limit);
        pb_status status = act(t);
        pb_memory_limit(0);
        if (status == PB_OK) {
            return failures;
        }
        assert_int_equal(status, PB_ERR_MEMORY);
        size_t wanted = network_bytes_wanted();
        assert_true(wanted > limit);
        limit = wanted;
        failures++;
    }
}

static void open_trial(trial *t, const method_case *c)
{
    memset(t, 0, sizeof *t);
    network_rows_fill(&t->rows);
    network_fixture_open(&t->f, c, true, 1);
    t->batch = network_pack(&t->f, t->rows.samples, NETWORK_ROWS, true);
}

static void close_trial(trial *t)
{
    pb_batch_clear(&t->batch);
    network_fixture_close(&t->f);
}

/* The results of an undisturbed network. */
static void expect(const method_case *c, double *step_loss, double *gradient_sum,
                   int32_t ids[NETWORK_ROWS][NEW_TOKENS])
{
    trial t;
    open_trial(&t, c);
    *step_loss = network_step(&t.f, &t.batch, 3);
    if (t.f.method->parameters > 0) {
        assert_ok(waited_squares(t.f.backend, &t.f.method->grads, gradient_sum));
    }
    assert_ok(generate(&t));
    for (int r = 0; r < NETWORK_ROWS; r++) {
        memcpy(ids[r], t.out[r].ids, sizeof ids[r]);
        pb_memory_free(t.out[r].ids);
    }
    close_trial(&t);
}

static void every_failed_allocation_leaves_a_usable_network(void **state)
{
    (void)state;
    for (int i = 0; i < method_case_count(); i++) {
        double step_loss    = 0.0;
        double gradient_sum = 0.0;
        double sum          = 0.0;
        int32_t ids[NETWORK_ROWS][NEW_TOKENS];
        trial t;
        expect(method_case_at(i), &step_loss, &gradient_sum, ids);
        open_trial(&t, method_case_at(i));
        assert_true(raise_limit(&t, step) >= 4);
        double first = t.loss;
        assert_true(network_step(&t.f, &t.batch, 3) == step_loss && first == step_loss);
        if (t.f.method->parameters > 0) {
            assert_ok(waited_squares(t.f.backend, &t.f.method->grads, &sum));
        }
        assert_true(sum == gradient_sum);
        assert_true(raise_limit(&t, generate) >= 4);
        for (int r = 0; r < NETWORK_ROWS; r++) {
            assert_memory_equal(t.out[r].ids, ids[r], sizeof ids[r]);
            pb_memory_free(t.out[r].ids);
        }
        close_trial(&t);
    }
}

static void a_network_that_never_had_memory_is_destroyed_cleanly(void **state)
{
    (void)state;
    trial t;
    open_trial(&t, &full);
    pb_memory_limit(pb_memory_current());
    pb_status status = loss(&t);
    pb_memory_limit(0);
    assert_int_equal(status, PB_ERR_MEMORY);
    close_trial(&t);
}

static void creation_without_memory_returns_all_bytes(void **state)
{
    (void)state;
    trial t;
    open_trial(&t, &full);
    pb_network_destroy(t.f.net);
    t.f.net = NULL;
    assert_true(raise_limit(&t, make) >= 5);
    close_trial(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failed_allocation_leaves_a_usable_network),
        cmocka_unit_test(a_network_that_never_had_memory_is_destroyed_cleanly),
        cmocka_unit_test(creation_without_memory_returns_all_bytes),
    };
    return cmocka_run_group_tests_name("unit_network_memory", tests, NULL, NULL);
}
