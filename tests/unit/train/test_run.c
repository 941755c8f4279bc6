// SPDX-License-Identifier: Apache-2.0
/* Runs of the trainer: the rows of a step, the divisor of a loss, repeatability, and early ends. */
#include "train_fixture.h"

#include "pb/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static train_log log_a, log_b;

static const method_case bias  = {"bitfit", ""};
static const method_case drop  = {"lora", "r = 3; dropout = 0.3;"};
static const method_case plain = {"lora", "r = 3; dropout = 0.0;"};

/* Row i has 2^i label tokens, so that the number of labels of a step identifies its rows. */
enum { POWERS = 5 };

static void fill_powers(network_rows *rows)
{
    network_rows_fill(rows);
    for (int r = 0; r < POWERS; r++) {
        rows->samples[r].length = NETWORK_LENGTH;
        for (int t = 0; t < NETWORK_LENGTH; t++) {
            rows->ids[r][t]    = (5 * r + 3 * t) % NETWORK_VOCAB;
            rows->labels[r][t] = t > 0 && t <= 1 << r ? rows->ids[r][t] : PB_LABEL_NONE;
        }
    }
}

static void an_epoch_takes_every_row_once_and_ends_with_a_short_step(void **state)
{
    (void)state;
    network_rows rows;
    network_fixture f;
    pb_train_result result;
    fill_powers(&rows);
    network_fixture_open(&f, &bias, false, 1);
    pb_train_data data = {rows.samples, POWERS, NULL, 0};
    pb_train_options o = train_options(0, 2, 1e-3);
    o.epochs           = 4;
    o.shuffle          = true;
    assert_ok(train_run(&f, &o, 1, &data, &log_a, &result));
    assert_int_equal(log_a.count, 12);
    bool reordered = false;
    for (int epoch = 0; epoch < 4; epoch++) {
        int64_t seen = 0;
        for (int s = 0; s < 3; s++) {
            const pb_train_step *step = &log_a.steps[3 * epoch + s];
            int64_t rows_of_step      = s < 2 ? 2 : 1;
            assert_int_equal(__builtin_popcountll((unsigned long long)step->label_tokens),
                             rows_of_step);
            assert_int_equal(step->tokens, rows_of_step * NETWORK_LENGTH);
            assert_int_equal(step->step, 3 * epoch + s + 1);
            assert_int_equal(step->steps, 12);
            assert_true(step->seconds > 0.0);
            assert_int_equal(seen & step->label_tokens, 0);
            seen |= step->label_tokens;
            reordered = reordered || step->label_tokens != log_a.steps[s].label_tokens;
        }
        assert_int_equal(seen, 31);
    }
    assert_true(reordered);
    assert_int_equal(result.steps, 12);
    assert_int_equal(result.tokens, 4 * POWERS * NETWORK_LENGTH);
    assert_int_equal(result.label_tokens, 4 * 31);
    assert_true(result.final_loss == log_a.steps[11].loss);
    assert_int_equal(log_a.gradients, 12);
    network_fixture_close(&f);
}

static void without_shuffling_rows_come_in_file_order(void **state)
{
    (void)state;
    static const int64_t expected[] = {1 + 2, 4 + 8, 16 + 1, 2 + 4, 8 + 16, 1 + 2};
    network_rows rows;
    network_fixture f;
    pb_train_result result;
    fill_powers(&rows);
    network_fixture_open(&f, &bias, false, 1);
    pb_train_data data = {rows.samples, POWERS, NULL, 0};
    pb_train_options o = train_options(6, 2, 1e-3);
    assert_ok(train_run(&f, &o, 1, &data, &log_a, &result));
    for (int s = 0; s < 6; s++) {
        assert_int_equal(log_a.steps[s].label_tokens, expected[s]);
    }
    network_fixture_close(&f);
}

/* Parts with 3, 12 and 17 labels: a mean of the parts' means would be a different loss. */
static void accumulated_parts_are_one_batch(void **state)
{
    (void)state;
    network_rows rows;
    pb_train_result result;
    fill_powers(&rows);
    pb_train_data data = {rows.samples, POWERS, NULL, 0};
    for (int k = 0; k < 2; k++) {
        network_fixture f;
        network_fixture_open(&f, &plain, false, 1);
        pb_train_options o = train_options(5, k == 0 ? 6 : 2, 1e-2);
        o.accumulate       = k == 0 ? 1 : 3;
        assert_ok(train_run(&f, &o, 1, &data, k == 0 ? &log_a : &log_b, &result));
        network_fixture_close(&f);
    }
    for (int s = 0; s < 5; s++) {
        assert_true(fabs(log_a.steps[s].loss - log_b.steps[s].loss) < 1e-5);
        assert_true(fabs(log_a.steps[s].grad_norm - log_b.steps[s].grad_norm) <
                    1e-4 * log_a.steps[s].grad_norm);
        assert_int_equal(log_a.steps[s].label_tokens, log_b.steps[s].label_tokens);
    }
    assert_true(log_a.steps[4].loss < log_a.steps[0].loss);
}

/* Layers without a backward share their memory, whether the method acts in the first of them or
 * not. */
static void single_layers_can_be_trained_and_validated(void **state)
{
    (void)state;
    static const method_case cases[] = {
        {"lora", "r = 2; dropout = 0.0; targets = [\"layers.1.self_attn.k_proj\"];"},
        {"ia3", "targets = [\"layers.1.self_attn.v_proj\", \"layers.0.mlp.down_proj\"]; "
                "feedforward = [\"layers.0.mlp.down_proj\"];"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        network_rows rows;
        network_fixture f;
        pb_train_result result;
        double before = 0.0;
        double after  = 0.0;
        network_rows_fill(&rows);
        network_fixture_open(&f, &cases[i], true, 1);
        pb_train_data data = {rows.samples, NETWORK_ROWS, rows.samples, NETWORK_ROWS};
        pb_train_options o = train_options(20, NETWORK_ROWS, 1e-2);
        assert_ok(pb_train_loss(f.net, rows.samples, NETWORK_ROWS, 2, PB_MEAN_TOKENS, &before));
        assert_ok(train_run(&f, &o, 1, &data, &log_a, &result));
        assert_ok(pb_train_loss(f.net, rows.samples, NETWORK_ROWS, 2, PB_MEAN_TOKENS, &after));
        assert_true(fabs(log_a.steps[0].loss - before) < 1e-5);
        assert_true(after < before && fabs(result.best_loss - after) < 1e-5);
        network_fixture_close(&f);
    }
}

/* The rows grow from step to step, so that every step needs more than the one before. Even cases
 * compute in F32, odd ones with bf16 factors. */
static void a_step_allocates_nothing(void **state)
{
    (void)state;
    static const int ascending[] = {3, 2, 5, 0, 1, 4};
    for (int n = 0; n < 2 * method_case_count(); n += n % 2 == 0 ? 1 : 2 * method_case_step() - 1) {
        int i = n / 2;
        network_rows rows;
        network_fixture f;
        pb_train_result result;
        pb_sample sorted[NETWORK_ROWS];
        network_rows_fill(&rows);
        for (int r = 0; r < NETWORK_ROWS; r++) {
            sorted[r] = rows.samples[ascending[r]];
        }
        network_fixture_open(&f, method_case_at(i), true, 2);
        assert_ok(pb_backend_use_dtype(f.backend, n % 2 == 0 ? PB_DTYPE_F32 : PB_DTYPE_BF16));
        pb_train_data data = {sorted, NETWORK_ROWS, NULL, 0};
        pb_train_options o = train_options(NETWORK_ROWS, 1, 1e-3);
        if (f.method->parameters > 0) {
            assert_ok(train_run(&f, &o, 1, &data, &log_a, &result));
            assert_int_equal(log_a.count, NETWORK_ROWS);
            for (int s = 1; s < NETWORK_ROWS; s++) {
                assert_int_equal(log_a.allocations[s], log_a.allocations[0]);
            }
        }
        network_fixture_close(&f);
    }
}

static void run_with_seed(uint64_t seed, train_log *log, float **values, int64_t *count)
{
    network_rows rows;
    network_fixture f;
    pb_train_result result;
    network_rows_fill(&rows);
    network_fixture_open(&f, &drop, true, 1);
    pb_train_data data = {rows.samples, NETWORK_ROWS, rows.samples, 3};
    pb_train_options o = train_options(10, 2, 1e-2);
    o.shuffle          = true;
    o.evaluate_share   = 0.2;
    assert_ok(train_run(&f, &o, seed, &data, log, &result));
    *count  = f.method->parameters;
    *values = host_values(f.backend, &f.method->values);
    network_fixture_close(&f);
}

static void the_same_seed_gives_the_same_bits(void **state)
{
    (void)state;
    float *a;
    float *b;
    int64_t count;
    run_with_seed(5, &log_a, &a, &count);
    run_with_seed(5, &log_b, &b, &count);
    for (int64_t s = 0; s < 10; s++) {
        assert_true(log_a.steps[s].loss == log_b.steps[s].loss);
        assert_true(log_a.steps[s].grad_norm == log_b.steps[s].grad_norm);
    }
    assert_memory_equal(log_a.losses, log_b.losses, (size_t)log_a.validations * sizeof(double));
    assert_memory_equal(a, b, (size_t)count * sizeof *a);
    free(a);
    free(b);
}

static void another_seed_gives_another_order(void **state)
{
    (void)state;
    float *a;
    float *b;
    int64_t count;
    bool other_order = false;
    run_with_seed(5, &log_a, &a, &count);
    run_with_seed(50, &log_b, &b, &count);
    for (int64_t s = 0; s < 10; s++) {
        other_order = other_order || log_a.steps[s].tokens != log_b.steps[s].tokens;
    }
    assert_true(other_order);
    assert_true(memcmp(a, b, (size_t)count * sizeof *a) != 0);
    free(a);
    free(b);
}

/* With a huge weight decay and a tiny step, only decaying values move by more than the step. */
static void biases_and_norms_do_not_decay(void **state)
{
    (void)state;
    const method_case full = {"full", ""};
    network_rows rows;
    pb_train_result result;
    network_rows_fill(&rows);
    pb_train_data data = {rows.samples, 2, NULL, 0};
    for (int all = 0; all < 2; all++) {
        network_fixture f;
        network_fixture_open(&f, &full, true, 1);
        float *before      = host_values(f.backend, &f.method->values);
        pb_train_options o = train_options(1, 2, 1e-6);
        o.weight_decay     = 1e5;
        o.decay_all        = all != 0;
        assert_ok(train_run(&f, &o, 1, &data, &log_a, &result));
        const float *was = before;
        for (int64_t i = 0; i < f.method->count; i++) {
            const pb_trainable *t = &f.method->trainables[i];
            float *now            = host_values(f.backend, &t->value);
            int64_t n             = pb_tensor_count(&t->value);
            bool spared = strstr(t->name, "bias") != NULL || strstr(t->name, "norm") != NULL;
            float keep  = spared && all == 0 ? 1.0f : 0.9f;
            for (int64_t k = 0; k < n; k++) {
                assert_true(fabsf(now[k] - keep * was[k]) < 3e-6f);
            }
            was += n;
            free(now);
        }
        free(before);
        network_fixture_close(&f);
    }
}

/* Adam's first step does not see the scale of the gradient, but eps does. */
static void gradients_are_clipped_to_the_norm(void **state)
{
    (void)state;
    network_rows rows;
    pb_train_result result;
    double moved[2];
    network_rows_fill(&rows);
    pb_train_data data = {rows.samples, 2, NULL, 0};
    for (int k = 0; k < 2; k++) {
        network_fixture f;
        network_fixture_open(&f, &bias, true, 1);
        float *before      = host_values(f.backend, &f.method->values);
        pb_train_options o = train_options(1, 2, 1.0);
        o.eps              = 1.0;
        o.weight_decay     = 0.0;
        o.clip             = k == 0 ? 0.0 : 1e-3;
        assert_ok(train_run(&f, &o, 1, &data, &log_a, &result));
        assert_true(log_a.steps[0].grad_norm > 0.01);
        moved[k]     = 0.0;
        float *after = host_values(f.backend, &f.method->values);
        for (int64_t i = 0; i < f.method->parameters; i++) {
            double d = (double)after[i] - (double)before[i];
            moved[k] += d * d;
        }
        free(after);
        free(before);
        network_fixture_close(&f);
    }
    assert_true(fabs(sqrt(moved[1]) - 1e-3) < 2e-5);
    assert_true(sqrt(moved[0]) > 5e-3);
}

static void a_run_that_diverges_says_so(void **state)
{
    (void)state;
    network_rows rows;
    network_fixture f;
    pb_train_result result;
    network_rows_fill(&rows);
    network_fixture_open(&f, &plain, false, 1);
    pb_train_data data = {rows.samples, NETWORK_ROWS, NULL, 0};
    pb_train_options o = train_options(20, 2, 1e30);
    assert_error(train_run(&f, &o, 1, &data, &log_a, &result), PB_ERR_NUMERIC,
                 "after 1 step: loss nan, norm of the gradient nan: the run diverged; a learning "
                 "rate below 1e+30 may help");
    assert_int_equal(log_a.count, 1);
    assert_int_equal(result.steps, log_a.count);
    network_fixture_close(&f);
}

/* No rate has had an effect yet, whatever the sign of the NaN. */
static void numbers_that_are_not_finite_at_the_start_are_not_the_rates_fault(void **state)
{
    (void)state;
    static const float values[] = {NAN, -NAN, INFINITY};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        network_rows rows;
        network_fixture f;
        pb_train_result result;
        network_rows_fill(&rows);
        network_fixture_open(&f, &bias, false, 1);
        pb_train_data data = {rows.samples, NETWORK_ROWS, NULL, 0};
        pb_train_options o = train_options(20, 2, 1e-3);
        host_set(f.backend, &f.method->values, 0, values[i]);
        assert_error(train_run(&f, &o, 1, &data, &log_a, &result), PB_ERR_NUMERIC,
                     "loss nan, norm of the gradient nan before anything was trained: a value left "
                     "the range of F32; use another checkpoint or adapter");
        assert_int_equal(log_a.count, 0);
        network_fixture_close(&f);
    }
}

/* Row `row` alone has a token whose embedding is not finite. */
static void spoil(network_fixture *f, network_rows *rows, int64_t row)
{
    const pb_tensor *embedding = &pb_weights_at(f->weights, 0)->weight;
    int32_t last               = NETWORK_VOCAB - 1;
    for (int r = 0; r < NETWORK_ROWS; r++) {
        for (int t = 0; t < NETWORK_LENGTH; t++) {
            rows->ids[r][t] = rows->ids[r][t] == last ? 0 : rows->ids[r][t];
        }
    }
    rows->ids[row][0] = last;
    host_set(f->backend, embedding, last * embedding->shape[1], NAN);
}

/* The values after a run that ends with a spoiled step `bad`: as it is noticed, or before the
 * gradients of that step are used. */
static float *values_at_bad_step(const method_case *c, pb_train_options *o, int64_t bad,
                                 bool noticed, int64_t *count)
{
    network_rows rows;
    network_fixture f;
    pb_train_result result;
    network_rows_fill(&rows);
    network_fixture_open(&f, c, false, 1);
    pb_train_data data = {rows.samples, NETWORK_ROWS, NULL, 0};
    spoil(&f, &rows, bad * o->accumulate - 1);
    if (noticed) {
        assert_error(pb_train_run(f.net, f.method, o, 1, &data, NULL, &result), PB_ERR_NUMERIC,
                     bad == 1 ? "before anything was trained" : "the run diverged");
    } else {
        log_a.fail_gradients = bad;
        assert_error(train_run(&f, o, 1, &data, &log_a, &result), PB_ERR_IO, "gradients");
        log_a.fail_gradients = 0;
    }
    assert_int_equal(result.steps, bad - 1);
    *count        = f.method->parameters;
    float *values = host_values(f.backend, &f.method->values);
    network_fixture_close(&f);
    return values;
}

/* Even where the next step has begun before the numbers arrive. `full` trains the embedding. */
static void a_bad_step_leaves_the_values_of_the_steps_before_it(void **state)
{
    (void)state;
    for (int n = 0; n < 3 * method_case_count(); n += n % 3 < 2 ? 1 : 3 * method_case_step() - 2) {
        const method_case *c = method_case_at(n / 3);
        pb_train_options o   = train_options(NETWORK_ROWS, 1, 1e-3);
        o.accumulate         = 1 + n % 2;
        o.clip               = n % 3 != 0;
        o.max_steps          = NETWORK_ROWS / o.accumulate;
        int64_t bad          = n % 3 == 0 ? 1 : o.max_steps - n % 3 + 1;
        if (strcmp(c->method, "full") == 0 || strcmp(c->method, "none") == 0) {
            continue;
        }
        int64_t count;
        float *before = values_at_bad_step(c, &o, bad, false, &count);
        float *after  = values_at_bad_step(c, &o, bad, true, &count);
        assert_memory_equal(before, after, (size_t)count * sizeof *after);
        free(before);
        free(after);
    }
}

static void a_stop_ends_the_run_before_the_next_step(void **state)
{
    (void)state;
    network_rows rows;
    network_fixture f;
    pb_train_result result;
    network_rows_fill(&rows);
    network_fixture_open(&f, &bias, false, 1);
    pb_train_data data = {rows.samples, NETWORK_ROWS, rows.samples, 1};
    pb_train_options o = train_options(8, 2, 1e-3);
    log_a              = (train_log){.stop_before = 4};
    /* If steps are reported late, later ones are under way by then, and are completed. */
    int done = 3 + pb_backend_lag(f.backend);
    char text[64];
    snprintf(text, sizeof text, "stopped before step %d of 8", done + 1);
    assert_error(train_run(&f, &o, 1, &data, &log_a, &result), PB_STOPPED, text);
    assert_int_equal(log_a.count, done);
    assert_int_equal(log_a.validations, 0);
    assert_int_equal(result.steps, done);
    log_a = (train_log){0};
    network_fixture_close(&f);
}

static void what_an_observer_fails_with_ends_the_run(void **state)
{
    (void)state;
    static const char *const texts[] = {"the step is", "the validation is", "the gradients are"};
    network_rows rows;
    pb_train_result result;
    network_rows_fill(&rows);
    pb_train_data data = {rows.samples, NETWORK_ROWS, rows.samples, 2};
    for (int k = 0; k < 3; k++) {
        network_fixture f;
        network_fixture_open(&f, &bias, false, 1);
        pb_train_options o = train_options(8, 2, 1e-3);
        o.evaluate_share   = 0.25;
        log_a              = (train_log){.fail_step       = k == 0 ? 4 : 0,
                                         .fail_validation = k == 1 ? 4 : 0,
                                         .fail_gradients  = k == 2 ? 4 : 0};
        assert_error(train_run(&f, &o, 1, &data, &log_a, &result), PB_ERR_IO, texts[k]);
        assert_int_equal(log_a.count, k == 2 ? 3 : 4);
        assert_int_equal(log_a.validations, k == 1 ? 2 : 1);
        network_fixture_close(&f);
    }
    log_a = (train_log){0};
}

static void runs_without_rows_or_labels_are_refused(void **state)
{
    (void)state;
    network_rows rows;
    network_fixture f;
    pb_train_result result;
    network_rows_fill(&rows);
    network_fixture_open(&f, &bias, false, 1);
    pb_train_data none = {rows.samples, 0, NULL, 0};
    pb_train_data bare = {rows.samples, 2, NULL, 0};
    pb_train_options o = train_options(8, 2, 1e-3);
    assert_error(pb_train_run(f.net, f.method, &o, 1, &none, NULL, &result), PB_ERR_ARGUMENT,
                 "no rows to train on");
    rows.samples[0].labels = NULL;
    rows.samples[1].labels = NULL;
    assert_error(pb_train_run(f.net, f.method, &o, 1, &bare, NULL, &result), PB_ERR_FORMAT,
                 "none of the 2 rows of a step has a label token; the first of them is training "
                 "row 1 of 2");
    network_fixture_close(&f);
}

static void rows_of_a_late_step_without_labels_are_refused_before_the_first(void **state)
{
    (void)state;
    network_rows rows;
    network_fixture f;
    pb_train_result result;
    network_rows_fill(&rows);
    rows.samples[4].labels = NULL;
    rows.samples[5].labels = NULL;
    network_fixture_open(&f, &bias, false, 1);
    pb_train_data data = {rows.samples, NETWORK_ROWS, NULL, 0};
    pb_train_options o = train_options(3, 2, 1e-3);
    assert_error(train_run(&f, &o, 1, &data, &log_a, &result), PB_ERR_FORMAT,
                 "the first of them is training row 5 of 6");
    assert_int_equal(log_a.count, 0);
    o.max_steps = 2;
    assert_ok(train_run(&f, &o, 1, &data, &log_a, &result));
    network_fixture_close(&f);
}

static void memory_that_is_not_had_leaves_nothing_behind(void **state)
{
    (void)state;
    network_rows rows;
    network_fixture f;
    pb_train_result result;
    device_skip_unless_host();
    network_rows_fill(&rows);
    network_fixture_open(&f, &plain, false, 1);
    pb_train_data data = {rows.samples, 4, rows.samples, 2};
    pb_train_options o = train_options(2, 2, 1e-3);
    size_t limit       = pb_memory_current();
    pb_status status   = PB_ERR_MEMORY;
    int failures       = 0;
    while (status != PB_OK) {
        pb_memory_limit(limit);
        status = pb_train_run(f.net, f.method, &o, 1, &data, NULL, &result);
        pb_memory_limit(0);
        if (status != PB_OK) {
            assert_int_equal(status, PB_ERR_MEMORY);
            limit = network_bytes_wanted();
            assert_true(limit > 0);
            failures++;
        }
    }
    assert_true(failures >= 10);
    network_fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_epoch_takes_every_row_once_and_ends_with_a_short_step),
        cmocka_unit_test(without_shuffling_rows_come_in_file_order),
        cmocka_unit_test(accumulated_parts_are_one_batch),
        cmocka_unit_test(single_layers_can_be_trained_and_validated),
        cmocka_unit_test(a_step_allocates_nothing),
        cmocka_unit_test(the_same_seed_gives_the_same_bits),
        cmocka_unit_test(another_seed_gives_another_order),
        cmocka_unit_test(biases_and_norms_do_not_decay),
        cmocka_unit_test(gradients_are_clipped_to_the_norm),
        cmocka_unit_test(a_run_that_diverges_says_so),
        cmocka_unit_test(numbers_that_are_not_finite_at_the_start_are_not_the_rates_fault),
        cmocka_unit_test(a_bad_step_leaves_the_values_of_the_steps_before_it),
        cmocka_unit_test(rows_of_a_late_step_without_labels_are_refused_before_the_first),
        cmocka_unit_test(a_stop_ends_the_run_before_the_next_step),
        cmocka_unit_test(what_an_observer_fails_with_ends_the_run),
        cmocka_unit_test(runs_without_rows_or_labels_are_refused),
        cmocka_unit_test(memory_that_is_not_had_leaves_nothing_behind),
    };
    return cmocka_run_group_tests_name("unit_train_run", tests, NULL, NULL);
}
