// SPDX-License-Identifier: Apache-2.0
/* A network on the backend: steps that neither allocate nor wait. */
#include "fake_cuda.h"
#include "network_fixture.h"

#include "pb/train.h"

#include <string.h>

enum { STEPS = 4 };

/* The counts of the runtime when each step is reported. */
typedef struct counted_run {
    fake_cuda_counts after[STEPS + 1];
    double loss;
} counted_run;

static pb_status count_step(void *context, const pb_train_step *step)
{
    counted_run *r       = context;
    r->after[step->step] = fake_cuda_count();
    r->loss              = step->loss;
    return PB_OK;
}

/* Steps over the same rows, so that graphs are recorded and launched. */
static void run_counted(network_fixture *f, counted_run *r)
{
    network_rows rows;
    pb_train_options options;
    pb_train_result result;
    pb_train_observer observer = {.context = r, .step = count_step};
    network_rows_fill(&rows);
    pb_train_data data = {.train = rows.samples, .train_count = NETWORK_ROWS};
    assert_ok(pb_config_defaults(pb_train_fields, &options));
    options.max_steps = STEPS;
    options.batch     = NETWORK_ROWS;
    options.shuffle   = false;
    assert_ok(pb_train_run(f->net, f->method, &options, 3, &data, &observer, &result));
    assert_int_equal(result.steps, STEPS);
}

/* A step waits once: for the numbers of the one before. */
static void check_counts(const method_case *c, const counted_run *r)
{
    const fake_cuda_counts *first = &r->after[1];
    const fake_cuda_counts *last  = &r->after[STEPS - 1];
    int64_t waits                 = last->waits - first->waits - (STEPS - 2);
    int64_t queries               = last->queries - first->queries;
    int64_t allocations           = last->allocations - first->allocations;
    if (waits != 0 || queries != 0 || allocations != 0) {
        fail_msg("%s: %lld waits too many, %lld queries, %lld allocations", method_case_text(c),
                 (long long)waits, (long long)queries, (long long)allocations);
    }
    if (!(last->graphs > first->graphs && r->loss > 0.0)) {
        fail_msg("%s: no step was launched as a graph, or the loss is %g", method_case_text(c),
                 r->loss);
    }
}

/* In BF16, where factors are converted. */
static void check_steps(const method_case *c)
{
    counted_run r     = {0};
    network_fixture f = {0};
    network_small_model(&f.model);
    assert_ok(network_open_on(&f, "cuda", PB_DTYPE_BF16, c));
    if (f.method->parameters > 0) {
        run_counted(&f, &r);
        check_counts(c, &r);
    }
    network_fixture_close(&f);
}

static void steps_neither_allocate_nor_wait(void **state)
{
    (void)state;
    for (int i = 0; i < method_case_count(); i++) {
        const method_case *c = method_case_at(i);
        bool lists_positions = strstr(c->options, "random") != NULL;
        if (method_case_is_first(i) || lists_positions) {
            check_steps(c);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_neither_allocate_nor_wait),
    };
    return cmocka_run_group_tests_name("cuda_host_network", tests, NULL, NULL);
}
