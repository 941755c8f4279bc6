// SPDX-License-Identifier: Apache-2.0
/* Memory that is not had: each pass is tried under a limit that the next allocation exceeds, until
 * it succeeds. Every failure is PB_ERR_MEMORY, and afterwards the network gives the same bits as
 * one that never failed. */
#include "network_fixture.h"

#include "pb/memory.h"

#include <string.h>

enum { NEW_TOKENS = 5 };

typedef struct work {
    network_fixture f;
    network_rows rows;
    pb_batch batch;
    double loss;
    pb_generated out[NETWORK_ROWS];
} work;

typedef pb_status (*action)(work *w);

static pb_status make(work *w)
{
    return pb_network_create(w->f.weights, w->f.method, &w->f.net);
}

static pb_status step(work *w)
{
    return pb_network_step(w->f.net, &w->batch, 1.0, 3, &w->loss);
}

static pb_status loss(work *w)
{
    return pb_network_loss(w->f.net, &w->batch, &w->loss, NULL);
}

static pb_status generate(work *w)
{
    pb_generate_options options = {.max_new_tokens = NEW_TOKENS, .batch = 4};
    return pb_network_generate(w->f.net, w->rows.samples, NETWORK_ROWS, &options, w->out);
}

/* Tries until it works, each time with just the bytes that the last failure asked for. */
static int sweep(work *w, action act)
{
    size_t limit = pb_memory_current();
    int failures = 0;
    for (;;) {
        pb_memory_limit(limit);
        pb_status status = act(w);
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

static void open_work(work *w, const network_case *c)
{
    memset(w, 0, sizeof *w);
    network_rows_fill(&w->rows);
    network_fixture_open(&w->f, c, true, 1);
    w->batch = network_pack(&w->f, w->rows.samples, NETWORK_ROWS, true);
}

static void close_work(work *w)
{
    pb_batch_clear(&w->batch);
    network_fixture_close(&w->f);
}

/* What an undisturbed network gives. */
static void expect(const network_case *c, double *step_loss, double *gradient_sum,
                   int32_t ids[NETWORK_ROWS][NEW_TOKENS])
{
    work w;
    open_work(&w, c);
    *step_loss = network_step(&w.f, &w.batch, 3);
    if (w.f.method->parameters > 0) {
        assert_ok(pb_sum_squares(w.f.backend, &w.f.method->grads, gradient_sum));
    }
    assert_ok(generate(&w));
    for (int r = 0; r < NETWORK_ROWS; r++) {
        memcpy(ids[r], w.out[r].ids, sizeof ids[r]);
        pb_memory_free(w.out[r].ids);
    }
    close_work(&w);
}

static void every_failed_allocation_leaves_a_usable_network(void **state)
{
    (void)state;
    for (int i = 0; i < network_case_count; i++) {
        double step_loss    = 0.0;
        double gradient_sum = 0.0;
        double sum          = 0.0;
        int32_t ids[NETWORK_ROWS][NEW_TOKENS];
        work w;
        expect(&network_cases[i], &step_loss, &gradient_sum, ids);
        open_work(&w, &network_cases[i]);
        assert_true(sweep(&w, step) >= 4);
        double first = w.loss;
        assert_true(network_step(&w.f, &w.batch, 3) == step_loss && first == step_loss);
        if (w.f.method->parameters > 0) {
            assert_ok(pb_sum_squares(w.f.backend, &w.f.method->grads, &sum));
        }
        assert_true(sum == gradient_sum);
        assert_true(sweep(&w, generate) >= 4);
        for (int r = 0; r < NETWORK_ROWS; r++) {
            assert_memory_equal(w.out[r].ids, ids[r], sizeof ids[r]);
            pb_memory_free(w.out[r].ids);
        }
        close_work(&w);
    }
}

static void a_network_that_never_had_memory_is_destroyed_cleanly(void **state)
{
    (void)state;
    work w;
    open_work(&w, &network_cases[1]);
    pb_memory_limit(pb_memory_current());
    pb_status status = loss(&w);
    pb_memory_limit(0);
    assert_int_equal(status, PB_ERR_MEMORY);
    close_work(&w);
}

static void creation_without_memory_returns_all_bytes(void **state)
{
    (void)state;
    work w;
    open_work(&w, &network_cases[1]);
    pb_network_destroy(w.f.net);
    w.f.net = NULL;
    assert_true(sweep(&w, make) >= 5);
    close_work(&w);
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
