// SPDX-License-Identifier: Apache-2.0
/* Graphs of training passes and of the steps of generation: the bits of passes that are queued call
 * by call, over batches, methods and gangs that take turns; few calls, and no others than a step
 * may make; graphs that no longer fit are dropped; calls that fail while one is made, or launched.
 */
#include "fake_cuda.h"
#include "network_fixture.h"

#include "pb/gang.h"
#include "pb/memory.h"
#include "pb/usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Steps --------------------------------------------------------------------------------------- */

enum { BATCHES = 3, MEMBERS = 2, STEPS = 10, KEPT = 32 };

/* Rows of a batch: the first two have the same sizes, and other forests, labels and ids. */
static const int64_t first_row[BATCHES] = {0, 1, 3};
static const int64_t row_count[BATCHES] = {2, 2, 3};

/* What a step takes: a graph of the first batch is made in step 2, one of the last in step 7. */
static const int order[STEPS] = {0, 2, 1, 0, 1, 0, 2, 2, 1, 0};

typedef struct trainee {
    network_fixture f[MEMBERS];
    int members;
    pb_gang *gang; /* NULL: alone */
    network_rows rows;
    pb_batch batches[MEMBERS][BATCHES];
    pb_tensor sums; /* F64 [MEMBERS] */
} trainee;

typedef struct outcome {
    double loss[STEPS][MEMBERS], flops[STEPS];
    float *grads[STEPS][MEMBERS];
} outcome;

static void open_trainee(trainee *t, const method_case *const cases[], int members)
{
    pb_network *nets[MEMBERS];
    void *data = NULL;
    *t         = (trainee){.members = members};
    network_rows_fill(&t->rows);
    for (int m = 0; m < members; m++) {
        if (m == 0) {
            network_fixture_open(&t->f[0], cases[0], true, 1);
        } else {
            network_fixture_open_beside(&t->f[m], &t->f[0], cases[m]);
        }
        nets[m] = t->f[m].net;
        for (int b = 0; b < BATCHES; b++) {
            t->batches[m][b] = network_pack(&t->f[m], t->rows.samples + (first_row[b] + m) % 4,
                                            row_count[b], true);
        }
    }
    if (members > 1) {
        assert_ok(pb_gang_create(nets, members, &t->gang));
    }
    assert_ok(pb_backend_alloc(t->f[0].backend, MEMBERS * sizeof(double), &data));
    t->sums = pb_tensor_1d(data, PB_DTYPE_F64, MEMBERS);
}

static void close_trainee(trainee *t)
{
    pb_backend_free(t->f[0].backend, t->sums.data);
    pb_gang_destroy(t->gang);
    for (int m = t->members - 1; m >= 0; m--) {
        for (int b = 0; b < BATCHES; b++) {
            pb_batch_clear(&t->batches[m][b]);
        }
        if (m > 0) {
            network_fixture_close_beside(&t->f[m]);
        }
    }
    network_fixture_close(&t->f[0]);
}

/* A step as training makes it, with `batch` of the first `members`. */
static pb_status step(trainee *t, int batch, int members, uint64_t pass)
{
    pb_gang_part parts[MEMBERS];
    pb_tensor sums[MEMBERS];
    PB_TRY(pb_zero(t->f[0].backend, &t->sums));
    for (int m = 0; m < members; m++) {
        sums[m]  = pb_tensor_rows(&t->sums, m, 1);
        parts[m] = (pb_gang_part){.net        = t->f[m].net,
                                  .batch      = &t->batches[m][batch],
                                  .grad_scale = 1.0 / (double)(pass + 2 + (uint64_t)m),
                                  .sum        = &sums[m]};
        PB_TRY(pb_zero(t->f[m].backend, &t->f[m].method->grads));
    }
    return t->gang != NULL
               ? pb_gang_step(t->gang, parts, members, pass)
               : pb_network_step(parts[0].net, parts[0].batch, parts[0].grad_scale, pass, &sums[0]);
}

/* From step 6 on a gang's last member has ended. */
static void run_steps(trainee *t, bool graphs, outcome *o)
{
    pb_backend *be = t->f[0].backend;
    pb_backend_use_graphs(be, graphs);
    for (int i = 0; i < STEPS; i++) {
        int members = i < 6 ? t->members : 1;
        pb_backend_work_reset(be, false);
        assert_ok(step(t, order[i], members, (uint64_t)i));
        o->flops[i] = pb_backend_flops(pb_backend_work_get(be));
        assert_ok(pb_post(be, 0, &t->sums));
        assert_ok(pb_take(be, 0, o->loss[i]));
        for (int m = 0; m < members; m++) {
            o->grads[i][m] = host_values(be, &t->f[m].method->grads);
        }
    }
}

static void compare(const trainee *t, outcome *plain, outcome *graphs, const char *what)
{
    for (int i = 0; i < STEPS; i++) {
        if (plain->flops[i] != graphs->flops[i]) {
            fail_msg("%s, step %d: %.0f operations are counted, not %.0f", what, i,
                     graphs->flops[i], plain->flops[i]);
        }
        for (int m = 0; m < t->members && plain->grads[i][m] != NULL; m++) {
            size_t bytes = (size_t)t->f[m].method->parameters * sizeof(float);
            if (memcmp(&plain->loss[i][m], &graphs->loss[i][m], sizeof(double)) != 0 ||
                memcmp(plain->grads[i][m], graphs->grads[i][m], bytes) != 0) {
                fail_msg("%s, step %d, member %d: loss %.17g, with graphs %.17g", what, i, m,
                         plain->loss[i][m], graphs->loss[i][m]);
            }
            free(plain->grads[i][m]);
            free(graphs->grads[i][m]);
        }
    }
}

static void check_graphs(const method_case *const cases[], int members)
{
    static outcome plain, graphs;
    trainee t;
    memset(&plain, 0, sizeof plain);
    memset(&graphs, 0, sizeof graphs);
    open_trainee(&t, cases, members);
    run_steps(&t, false, &plain);
    int64_t before = fake_cuda_count().graphs;
    run_steps(&t, true, &graphs);
    assert_true(fake_cuda_count().graphs - before >= 4);
    compare(&t, &plain, &graphs, method_case_text(cases[0]));
    close_trainee(&t);
}

static void graphs_change_no_bit_of_a_method(void **state)
{
    (void)state;
    for (int i = 0; i < method_case_count(); i++) {
        const method_case *c = method_case_at(i);
        bool drops           = strstr(c->options, "dropout = 0.3") != NULL;
        if (i % 13 == 2 || drops || strcmp(c->method, "full") == 0) {
            check_graphs(&c, 1);
        }
    }
}

static void graphs_change_no_bit_of_a_gang(void **state)
{
    static const method_case lora      = {"lora", "r = 4; dropout = 0.3;"};
    static const method_case prefix    = {"prefix", "num_virtual_tokens = 3;"};
    const method_case *const members[] = {&lora, &prefix};
    (void)state;
    check_graphs(members, 2);
}

/* What a step calls --------------------------------------------------------------------------- */

static void steps_of_a_graph_are_few_calls(void **state)
{
    static const method_case lora    = {"lora", "r = 8; dropout = 0.1;"};
    const method_case *const cases[] = {&lora};
    double loss[MEMBERS];
    trainee t;
    (void)state;
    open_trainee(&t, cases, 1);
    pb_backend *be = t.f[0].backend;
    assert_ok(pb_network_reserve(t.f[0].net, &t.batches[0][0]));
    fake_cuda_counts before = fake_cuda_count();
    fake_cuda_counts plain  = before;
    fake_cuda_counts last   = before;
    for (int i = 0; i < STEPS; i++) {
        plain = i == 1 ? fake_cuda_count() : plain;
        last  = fake_cuda_count();
        assert_ok(step(&t, i % 2, 1, (uint64_t)i));
        assert_ok(pb_post(be, i % PB_SLOTS, &t.sums));
        if (i > 0) {
            assert_ok(pb_take(be, (i - 1) % PB_SLOTS, loss));
        }
    }
    fake_cuda_counts after = fake_cuda_count();
    assert_int_equal(after.allocations, before.allocations);
    assert_int_equal(after.queries, before.queries);
    assert_int_equal(after.waits - before.waits, STEPS - 1); /* one for each loss */
    assert_int_equal(after.instances - before.instances, 2); /* of each batch */
    assert_int_equal(after.graphs - before.graphs, STEPS - 2);
    assert_true(plain.calls - before.calls > 100);
    assert_true(after.calls - last.calls < 12); /* of which a page and a post are six */
    close_trainee(&t);
}

static void work_that_is_timed_is_queued_call_by_call(void **state)
{
    static const method_case bitfit  = {"bitfit", ""};
    const method_case *const cases[] = {&bitfit};
    trainee t;
    (void)state;
    open_trainee(&t, cases, 1);
    int64_t before = fake_cuda_count().instances;
    pb_backend_work_reset(t.f[0].backend, true);
    for (int i = 0; i < 3; i++) {
        assert_ok(step(&t, 0, 1, 0));
    }
    assert_true(pb_backend_work_get(t.f[0].backend).attention_seconds > 0.0);
    assert_int_equal(fake_cuda_count().instances, before);
    close_trainee(&t);
}

/* Generation ---------------------------------------------------------------------------------- */

enum { TOKENS = 12, PROMPTS = 5 };

typedef struct answers {
    pb_generated rows[PROMPTS];
    fake_cuda_counts before[TOKENS]; /* each step */
    int64_t steps;
} answers;

static bool note_counts(void *context)
{
    answers *a            = context;
    a->before[a->steps++] = fake_cuda_count();
    return false;
}

static void generate(network_fixture *f, bool graphs, const int32_t *stops, answers *out)
{
    network_rows rows;
    pb_generate_options options = {.max_new_tokens = TOKENS,
                                   .stop_ids       = stops,
                                   .stop_count     = stops != NULL ? 2 : 0,
                                   .batch          = PROMPTS,
                                   .stop           = note_counts,
                                   .context        = out};
    network_rows_fill(&rows);
    *out = (answers){0};
    pb_backend_use_graphs(f->backend, graphs);
    assert_ok(pb_network_generate(f->net, rows.samples, PROMPTS, &options, out->rows));
}

static void free_answers(answers *a)
{
    for (int r = 0; r < PROMPTS; r++) {
        pb_memory_free(a->rows[r].ids);
    }
}

/* Rows end at different tokens, so that steps have 5, 4, 2 rows and 1. */
static void graphs_change_no_token(void **state)
{
    static const method_case cases[] = {{"lora", "r = 8; dropout = 0.1;"},
                                        {"prefix", "num_virtual_tokens = 3;"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        network_fixture f;
        answers all, plain, graphs;
        network_fixture_open(&f, &cases[i], true, 1);
        generate(&f, false, NULL, &all);
        int32_t stops[] = {all.rows[3].ids[4], all.rows[2].ids[7]};
        free_answers(&all);
        generate(&f, false, stops, &plain);
        int64_t made = fake_cuda_count().instances;
        generate(&f, true, stops, &graphs);
        assert_in_range(fake_cuda_count().instances - made, 1, 4);
        for (int r = 0; r < PROMPTS; r++) {
            assert_int_equal(graphs.rows[r].count, plain.rows[r].count);
            assert_memory_equal(graphs.rows[r].ids, plain.rows[r].ids,
                                (size_t)plain.rows[r].count * sizeof(int32_t));
        }
        free_answers(&plain);
        free_answers(&graphs);
        network_fixture_close(&f);
    }
}

static void a_token_of_a_graph_is_one_launch_and_one_wait(void **state)
{
    static const method_case lora = {"lora", "r = 8; dropout = 0.1;"};
    network_fixture f;
    answers a;
    (void)state;
    network_fixture_open(&f, &lora, false, 1);
    int64_t made = fake_cuda_count().instances;
    for (int turn = 0; turn < 2; turn++) {
        generate(&f, true, NULL, &a);
        assert_int_equal(a.steps, TOKENS - 1);
        for (int i = turn == 0 ? 2 : 0; i + 1 < a.steps; i++) {
            const fake_cuda_counts *from = &a.before[i];
            const fake_cuda_counts *to   = &a.before[i + 1];
            assert_int_equal(to->graphs - from->graphs, 1);
            assert_int_equal(to->waits - from->waits, 1);
            assert_int_equal(to->allocations - from->allocations, 0);
            assert_int_equal(to->queries - from->queries, 0);
            assert_true(to->calls - from->calls < 8);
        }
        free_answers(&a);
    }
    assert_int_equal(fake_cuda_count().instances - made, 1); /* the second batch has it, too */
    network_fixture_close(&f);
}

/* Graphs that no longer fit ------------------------------------------------------------------- */

enum { MANY = 400000 }; /* numbers, more than a page has room for */

/* Three steps of a batch, whose last is of a graph; returns its loss. */
static double loss_of_three(trainee *t)
{
    double loss[MEMBERS];
    int64_t before = fake_cuda_count().instances;
    for (int i = 0; i < 3; i++) {
        assert_ok(step(t, 0, 1, 7));
    }
    assert_int_equal(fake_cuda_count().instances, before + 1);
    assert_ok(pb_post(t->f[0].backend, 0, &t->sums));
    assert_ok(pb_take(t->f[0].backend, 0, loss));
    return loss[0];
}

static void a_page_that_grows_and_memory_that_is_freed_drop_graphs(void **state)
{
    static const method_case lora    = {"lora", "r = 8; dropout = 0.1;"};
    const method_case *const cases[] = {&lora};
    static int32_t numbers[MANY];
    pb_list list;
    void *data = NULL;
    trainee t;
    (void)state;
    open_trainee(&t, cases, 1);
    pb_backend *be = t.f[0].backend;
    double loss    = loss_of_three(&t);
    assert_ok(pb_page_begin(be, 0));
    assert_ok(pb_page_list(be, "numbers", numbers, MANY, 0, 1, &list));
    assert_ok(pb_page_end(be));
    assert_true(loss_of_three(&t) == loss);
    assert_ok(pb_backend_alloc(be, 1000, &data));
    pb_backend_free(be, data);
    assert_true(loss_of_three(&t) == loss);
    pb_backend_reset(be); /* a cell begins */
    assert_true(loss_of_three(&t) == loss);
    close_trainee(&t);
    assert_int_equal(fake_cuda_count().live_graphs, 0);
}

static void networks_that_take_turns_have_graphs_of_their_own(void **state)
{
    static const method_case lora    = {"lora", "r = 4; dropout = 0.1;"};
    static const method_case ia3     = {"ia3", ""};
    const method_case *const first[] = {&lora};
    trainee t, other;
    double expected[2];
    (void)state;
    open_trainee(&t, first, 1);
    expected[0] = loss_of_three(&t);
    for (int i = 0; i < 2; i++) { /* the second may lie where the first one was */
        other               = t;
        other.batches[0][0] = t.batches[0][0];
        network_fixture_open_beside(&other.f[0], &t.f[0], i == 0 ? &ia3 : &lora);
        expected[1] = loss_of_three(&other);
        assert_true((expected[1] == expected[0]) == (i == 1));
        for (int k = 0; k < 4; k++) {
            double loss[MEMBERS];
            trainee *turn = k % 2 == 0 ? &t : &other;
            assert_ok(step(turn, 0, 1, 7));
            assert_ok(pb_post(t.f[0].backend, 0, &t.sums));
            assert_ok(pb_take(t.f[0].backend, 0, loss));
            assert_true(loss[0] == expected[k % 2]);
        }
        network_fixture_close_beside(&other.f[0]);
    }
    close_trainee(&t);
}

/* Keys and failures --------------------------------------------------------------------------- */

/* x [1] += 1, by three launches. */
typedef struct counter {
    pb_backend *be;
    pb_tensor x, one;
} counter;

static pb_status count_once(void *context)
{
    counter *c = context;
    PB_TRY(pb_axpy(c->be, &c->x, 1.0f, &c->one));
    PB_TRY(pb_axpy(c->be, &c->x, 1.0f, &c->one));
    return pb_axpy(c->be, &c->x, -1.0f, &c->one);
}

static counter open_counter(void)
{
    static const float one = 1.0f;
    counter c              = {.be = device_open(1)};
    c.x                    = device_matrix(c.be, 1, 1, NULL);
    c.one                  = device_matrix(c.be, 1, 1, &one);
    return c;
}

static void close_counter(counter *c)
{
    pb_backend_free(c->be, c->x.data);
    pb_backend_free(c->be, c->one.data);
    pb_backend_close(c->be);
    assert_int_equal(fake_cuda_count().live_graphs, 0);
    assert_int_equal(pb_memory_current(), 0);
}

static void repeat(counter *c, int64_t key, int64_t times)
{
    for (int64_t i = 0; i < times; i++) {
        assert_ok(pb_repeat(c->be, &key, sizeof key, count_once, c));
    }
}

/* Whether a key has a graph, which then is launched. */
static bool has_graph(counter *c, int64_t key)
{
    int64_t before = fake_cuda_count().graphs;
    repeat(c, key, 1);
    return fake_cuda_count().graphs > before;
}

static void the_graph_that_was_used_least_recently_makes_room(void **state)
{
    (void)state;
    counter c   = open_counter();
    int64_t all = 0;
    for (int64_t key = 0; key < KEPT; key++, all += 2) {
        repeat(&c, key, 2);
    }
    assert_true(has_graph(&c, 0));
    repeat(&c, KEPT, 2); /* in the place of 1 */
    assert_true(has_graph(&c, 0));
    assert_true(has_graph(&c, KEPT));
    assert_false(has_graph(&c, 1)); /* in the place of 2 */
    assert_true(has_graph(&c, 1));
    assert_true(has_graph(&c, 3));
    assert_false(has_graph(&c, 2));
    all += 2 + 7;
    assert_true(host_get(c.be, &c.x, 0) == (float)all);
    close_counter(&c);
}

/* Runs `first` keys, then one whose n-th call fails; returns how many times it has counted. */
static int fail_once(counter *c, int64_t key, int64_t n, bool *failed)
{
    float before = host_get(c->be, &c->x, 0);
    fake_cuda_fail(n);
    pb_status status = pb_repeat(c->be, &key, sizeof key, count_once, c);
    fake_cuda_fail(0);
    *failed = status != PB_OK;
    if (*failed) {
        assert_true(status == PB_ERR_LIBRARY || status == PB_ERR_MEMORY);
        assert_non_null(strstr(pb_error_message(), "cuda: "));
        pb_error_clear();
    }
    return (int)(host_get(c->be, &c->x, 0) - before);
}

/* Of recording (uses 1) and of launching (2) a graph. */
static void every_call_of_a_graph_may_fail(void **state)
{
    (void)state;
    for (int uses = 1; uses <= 2; uses++) {
        int ended = 0;
        int plain = 0;
        int64_t n = 0;
        bool more = true;
        while (more) {
            counter c   = open_counter();
            bool failed = false;
            n++;
            repeat(&c, 1, uses);
            int64_t made     = fake_cuda_count().instances;
            int64_t launched = fake_cuda_count().graphs;
            int64_t calls    = fake_cuda_count().calls;
            int counted      = fail_once(&c, 1, n, &failed);
            more             = fake_cuda_count().calls - calls > n;
            assert_int_equal(counted, failed ? 0 : 1);
            ended += failed;
            plain += !failed && fake_cuda_count().graphs == launched;
            assert_true(uses == 2 || failed || fake_cuda_count().instances > made || plain > 0);
            repeat(&c, 1, 1); /* the next one is right */
            assert_true(host_get(c.be, &c.x, 0) == (float)(uses + counted + 1));
            close_counter(&c);
        }
        /* Three launches and that of the graph end the pass; without a begin, an end or an
         * instance there is no graph. */
        assert_int_equal(ended, uses == 1 ? 4 : 1);
        assert_int_equal(plain, uses == 1 ? 3 : 0);
    }
}

static void a_pass_that_fails_while_it_is_recorded_names_the_remedy(void **state)
{
    (void)state;
    counter c   = open_counter();
    int64_t key = 1;
    repeat(&c, key, 1);
    fake_cuda_fail(3); /* the second launch */
    assert_error(pb_repeat(c.be, &key, sizeof key, count_once, &c), PB_ERR_LIBRARY,
                 "while a graph was recorded (run.graphs = false records none): cuda: axpy [1, ");
    fake_cuda_fail(0);
    close_counter(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(graphs_change_no_bit_of_a_method),
        cmocka_unit_test(graphs_change_no_bit_of_a_gang),
        cmocka_unit_test(steps_of_a_graph_are_few_calls),
        cmocka_unit_test(work_that_is_timed_is_queued_call_by_call),
        cmocka_unit_test(graphs_change_no_token),
        cmocka_unit_test(a_token_of_a_graph_is_one_launch_and_one_wait),
        cmocka_unit_test(a_page_that_grows_and_memory_that_is_freed_drop_graphs),
        cmocka_unit_test(networks_that_take_turns_have_graphs_of_their_own),
        cmocka_unit_test(the_graph_that_was_used_least_recently_makes_room),
        cmocka_unit_test(every_call_of_a_graph_may_fail),
        cmocka_unit_test(a_pass_that_fails_while_it_is_recorded_names_the_remedy),
    };
    assert_int_equal(setenv("PB_TEST_BACKEND", "cuda", 1), 0);
    return cmocka_run_group_tests_name("cuda_host_graphs", tests, NULL, NULL);
}
