// SPDX-License-Identifier: Apache-2.0
/* Passes over a batch: what must not change a result (sharing, trimming, threads, parts, earlier
 * passes), what must not be written, and refused input. */
#include "golden.h"
#include "network_fixture.h"
#include "waited.h"

#include "pb/hash.h"
#include "pb/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The same sums in another order: F32 rounding of a value of order 1. */
#define TOLERANCE_ORDER_LOSS 1e-6
#define TOLERANCE_ORDER_GRAD 2e-5

static const method_case full = {"full", ""};

/* The results of a pass: the loss and a copy of the gradients. */
typedef struct outcome {
    double loss;
    float *grads;
    int64_t count;
} outcome;

static outcome run(network_fixture *f, const pb_sample *samples, int64_t count,
                   const pb_batch_options *options)
{
    pb_batch batch;
    assert_ok(pb_batch_build(samples, count, options, &batch));
    outcome o = {.loss = network_step(f, &batch, 4), .count = f->method->parameters};
    o.grads   = host_values(f->backend, &f->method->grads);
    pb_batch_clear(&batch);
    return o;
}

static void assert_same_bits(const outcome *a, const outcome *b)
{
    assert_int_equal(a->count, b->count);
    assert_memory_equal(&a->loss, &b->loss, sizeof a->loss);
    if (a->count > 0) {
        assert_memory_equal(a->grads, b->grads, (size_t)a->count * sizeof *a->grads);
    }
}

static void assert_close(const method_case *c, const outcome *a, const outcome *b)
{
    double error = a->count > 0 ? golden_error(a->grads, b->grads, a->count) : 0.0;
    if (!(fabs(a->loss - b->loss) <= TOLERANCE_ORDER_LOSS * fabs(b->loss)) ||
        !(error <= TOLERANCE_ORDER_GRAD)) {
        fail_msg("%s: loss %.9g and %.9g, error of the gradient %g", method_case_text(c), a->loss,
                 b->loss, error);
    }
}

/* Runs the rows of the fixture with both packings. */
static void compare_packings(const method_case *c, bool other_share, bool other_trim)
{
    network_fixture f;
    network_rows rows;
    network_fixture_open(&f, c, true, 1);
    network_rows_fill(&rows);
    pb_batch_options usual = pb_network_batch_options(f.net, true);
    pb_batch_options other = usual;
    other.share            = usual.share && other_share;
    other.trim             = other_trim;
    outcome a              = run(&f, rows.samples, NETWORK_ROWS, &usual);
    outcome b              = run(&f, rows.samples, NETWORK_ROWS, &other);
    assert_close(c, &a, &b);
    free(a.grads);
    free(b.grads);
    network_fixture_close(&f);
}

static bool drops(const method_case *c)
{
    return strstr(c->options, "dropout = 0.3") != NULL;
}

static void shared_prefixes_change_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < method_case_count(); i += method_case_step()) {
        compare_packings(method_case_at(i), false, true);
    }
}

/* Dropout masks depend on the packed row, which trimming moves: such a method is left out. */
static void trimming_changes_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < method_case_count(); i += method_case_step()) {
        if (!drops(method_case_at(i))) {
            compare_packings(method_case_at(i), true, false);
        }
    }
}

static void sharing_is_off_only_where_dropout_acts(void **state)
{
    (void)state;
    for (int i = 0; i < method_case_count(); i += method_case_step()) {
        network_fixture f;
        network_fixture_open(&f, method_case_at(i), false, 1);
        assert_int_equal(pb_network_batch_options(f.net, true).share, !drops(method_case_at(i)));
        assert_true(pb_network_batch_options(f.net, false).share);
        network_fixture_close(&f);
    }
}

/* A first pass that is larger leaves its values in the block that the second one uses. */
static void a_result_depends_on_no_earlier_pass(void **state)
{
    (void)state;
    for (int i = 0; i < method_case_count(); i += method_case_step()) {
        network_fixture used;
        network_fixture fresh;
        network_rows rows;
        network_rows_fill(&rows);
        network_fixture_open(&used, method_case_at(i), true, 1);
        pb_batch_options options = pb_network_batch_options(used.net, true);
        outcome first            = run(&used, rows.samples, NETWORK_ROWS, &options);
        outcome again            = run(&used, rows.samples, NETWORK_ROWS, &options);
        outcome second           = run(&used, rows.samples + 2, 2, &options);
        assert_same_bits(&first, &again);
        pb_network_destroy(used.net);
        assert_ok(pb_network_create(used.weights, used.method, &used.net));
        fresh         = used;
        outcome alone = run(&fresh, rows.samples + 2, 2, &options);
        assert_same_bits(&second, &alone);
        free(first.grads);
        free(again.grads);
        free(second.grads);
        free(alone.grads);
        network_fixture_close(&fresh);
    }
}

static void results_are_the_same_bits_for_one_and_two_threads(void **state)
{
    (void)state;
    for (int i = 0; i < method_case_count(); i += method_case_step()) {
        outcome of[2];
        for (int threads = 1; threads <= 2; threads++) {
            network_fixture f;
            network_rows rows;
            network_rows_fill(&rows);
            network_fixture_open(&f, method_case_at(i), true, threads);
            pb_batch_options options = pb_network_batch_options(f.net, true);
            of[threads - 1]          = run(&f, rows.samples, NETWORK_ROWS, &options);
            network_fixture_close(&f);
        }
        assert_same_bits(&of[0], &of[1]);
        free(of[0].grads);
        free(of[1].grads);
    }
}

static void parts_add_up_to_the_whole_batch(void **state)
{
    (void)state;
    for (int i = 0; i < method_case_count(); i += method_case_step()) {
        network_fixture f;
        network_rows rows;
        if (drops(method_case_at(i))) {
            continue;
        }
        network_rows_fill(&rows);
        network_fixture_open(&f, method_case_at(i), false, 1);
        pb_batch_options options = pb_network_batch_options(f.net, true);
        outcome parts            = run(&f, rows.samples, 2, &options);
        for (int64_t first = 2; first < NETWORK_ROWS; first += 2) {
            pb_batch batch = network_pack(&f, rows.samples + first, 2, true);
            double loss    = 0.0;
            assert_ok(waited_step(f.net, &batch, 1.0, 4, &loss));
            parts.loss += loss;
            pb_batch_clear(&batch);
        }
        host_read(f.backend, &f.method->grads, parts.grads);
        outcome whole = run(&f, rows.samples, NETWORK_ROWS, &options);
        assert_close(method_case_at(i), &parts, &whole);
        free(parts.grads);
        free(whole.grads);
        network_fixture_close(&f);
    }
}

static void the_gradient_is_scaled(void **state)
{
    (void)state;
    network_fixture f;
    network_rows rows;
    network_rows_fill(&rows);
    network_fixture_open(&f, &full, false, 1);
    pb_batch_options options = pb_network_batch_options(f.net, true);
    outcome one              = run(&f, rows.samples, NETWORK_ROWS, &options);
    pb_batch batch           = network_pack(&f, rows.samples, NETWORK_ROWS, true);
    double loss              = 0.0;
    assert_ok(pb_zero(f.backend, &f.method->grads));
    assert_ok(waited_step(f.net, &batch, 0.25, 4, &loss));
    assert_true(loss == one.loss);
    for (int64_t i = 0; i < one.count; i++) {
        one.grads[i] *= 0.25f;
    }
    assert_true(golden_tensor_error(f.backend, &f.method->grads, one.grads) < 1e-6);
    free(one.grads);
    pb_batch_clear(&batch);
    network_fixture_close(&f);
}

static void dropout_follows_the_number_of_the_pass(void **state)
{
    (void)state;
    const method_case dropping = {"lora", "r = 3; dropout = 0.3;"};
    network_fixture f;
    network_rows rows;
    network_rows_fill(&rows);
    network_fixture_open(&f, &dropping, false, 1);
    pb_batch batch   = network_pack(&f, rows.samples, NETWORK_ROWS, true);
    double first     = network_step(&f, &batch, 1);
    double other     = network_step(&f, &batch, 2);
    double evaluated = 0.0;
    double twice     = 0.0;
    assert_true(network_step(&f, &batch, 1) == first);
    assert_true(other != first);
    assert_ok(waited_loss(f.net, &batch, &evaluated, NULL));
    assert_ok(waited_loss(f.net, &batch, &twice, NULL));
    assert_true(evaluated == twice && evaluated != first && evaluated != other);
    pb_batch_clear(&batch);
    network_fixture_close(&f);
}

static void losses_by_label_add_up(void **state)
{
    (void)state;
    network_fixture f;
    network_rows rows;
    network_rows_fill(&rows);
    network_fixture_open(&f, NULL, false, 1);
    pb_batch batch = network_pack(&f, rows.samples, NETWORK_ROWS, false);
    double losses[NETWORK_ROWS * NETWORK_LENGTH];
    double sum   = 0.0;
    double added = 0.0;
    assert_ok(waited_loss(f.net, &batch, &sum, losses));
    for (int64_t n = 0; n < batch.labels; n++) {
        assert_true(isfinite(losses[n]) && losses[n] > 0.0);
        added += losses[n];
    }
    assert_true(added == sum);
    pb_batch_clear(&batch);
    network_fixture_close(&f);
}

/* A digest of all frozen tensors. */
static uint64_t digest(const pb_model *model)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (int64_t i = 0; i < pb_model_site_count(model); i++) {
        const pb_site *site         = pb_model_site_at(model, i);
        const pb_tensor *tensors[2] = {&site->weight, &site->bias};
        for (int k = 0; k < 2; k++) {
            const unsigned char *bytes = tensors[k]->data;
            for (size_t b = 0; bytes != NULL && b < pb_tensor_bytes(tensors[k]); b++) {
                h = (h ^ bytes[b]) * UINT64_C(1099511628211);
            }
        }
    }
    return h;
}

static void frozen_weights_and_values_stay_as_they_are(void **state)
{
    (void)state;
    for (int i = 0; i < method_case_count(); i += method_case_step()) {
        network_fixture f;
        network_rows rows;
        network_rows_fill(&rows);
        network_fixture_open(&f, method_case_at(i), true, 1);
        uint64_t before = digest(f.model);
        size_t bytes    = (size_t)f.method->parameters * sizeof(float);
        float *values   = host_values(f.backend, &f.method->values);
        pb_batch batch  = network_pack(&f, rows.samples, NETWORK_ROWS, true);
        (void)network_step(&f, &batch, 0);
        assert_true(digest(f.model) == before);
        float *after = host_values(f.backend, &f.method->values);
        assert_memory_equal(after, values, bytes);
        free(after);
        free(values);
        pb_batch_clear(&batch);
        network_fixture_close(&f);
    }
}

static void evaluation_leaves_gradients_alone(void **state)
{
    (void)state;
    network_fixture f;
    network_rows rows;
    network_rows_fill(&rows);
    network_fixture_open(&f, &full, true, 1);
    pb_batch batch = network_pack(&f, rows.samples, NETWORK_ROWS, false);
    double sum     = 0.0;
    assert_ok(pb_zero(f.backend, &f.method->grads));
    assert_ok(waited_loss(f.net, &batch, &sum, NULL));
    for (int64_t i = 0; i < f.method->parameters; i++) {
        assert_true(host_get(f.backend, &f.method->grads, i) == 0.0f);
    }
    pb_batch_clear(&batch);
    network_fixture_close(&f);
}

/* All three entries refuse the batch. */
/* More rows than fit in one chunk of logits, in any order, each as if it were the only one. */
static void logits_of_many_rows_are_those_of_each(void **state)
{
    (void)state;
    enum { MOST = 2 * NETWORK_ROWS * NETWORK_LENGTH };
    static float all[MOST * NETWORK_VOCAB];
    float one[NETWORK_VOCAB];
    int32_t wanted[MOST];
    network_fixture f;
    network_rows rows;
    network_rows_fill(&rows);
    network_fixture_open(&f, &full, false, 1);
    pb_batch batch = network_pack(&f, rows.samples, NETWORK_ROWS, false);
    int64_t n      = batch.forest.rows;
    for (int64_t i = 0; i < 2 * n; i++) {
        wanted[i] = (int32_t)((n - 1) - i % n);
    }
    assert_ok(pb_network_logits(f.net, &batch, wanted, 2 * n, all, NULL));
    assert_memory_equal(all, all + n * NETWORK_VOCAB, (size_t)(n * NETWORK_VOCAB) * sizeof *all);
    for (int64_t i = 0; i < n; i++) {
        assert_ok(pb_network_logits(f.net, &batch, &wanted[i], 1, one, NULL));
        for (int v = 0; v < NETWORK_VOCAB; v++) {
            assert_true(fabsf(one[v] - all[i * NETWORK_VOCAB + v]) < 1e-5f);
        }
    }
    pb_batch_clear(&batch);
    network_fixture_close(&f);
}

static void assert_refused(pb_network *net, const pb_batch *batch, const char *text)
{
    double loss = 0.0;
    float logits[NETWORK_VOCAB];
    int32_t row = 0;
    assert_error(waited_loss(net, batch, &loss, NULL), PB_ERR_ARGUMENT, text);
    assert_error(waited_step(net, batch, 1.0, 0, &loss), PB_ERR_ARGUMENT, text);
    assert_error(pb_network_logits(net, batch, &row, 1, logits, NULL), PB_ERR_ARGUMENT, text);
}

static void a_batch_packed_for_another_method_is_refused(void **state)
{
    (void)state;
    const method_case prompt   = {"prompt", "num_virtual_tokens = 3;"};
    const method_case prefix   = {"prefix", "num_virtual_tokens = 3; projection = false;"};
    const method_case *cases[] = {NULL, &prompt, &prefix};
    network_rows rows;
    network_rows_fill(&rows);
    for (int i = 0; i < 3; i++) {
        network_fixture f;
        network_fixture_open(&f, cases[i], false, 1);
        for (int64_t kind = 0; kind < 3; kind++) {
            pb_batch batch;
            pb_batch_options options = {.virtual_rows = kind == 1 ? 3 : 0,
                                        .virtual_keys = kind == 2 ? 3 : 0};
            assert_ok(pb_batch_build(rows.samples, 2, &options, &batch));
            if (kind != i) {
                assert_refused(f.net, &batch, "packed for another method");
            }
            pb_batch_clear(&batch);
        }
        network_fixture_close(&f);
    }
}

static void ids_outside_of_the_vocabulary_are_refused(void **state)
{
    (void)state;
    const int32_t bad[] = {NETWORK_VOCAB, INT32_MAX, -1, -5, INT32_MIN};
    network_fixture f;
    network_fixture_open(&f, &full, false, 1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        network_rows rows;
        pb_batch batch;
        pb_batch_options options = pb_network_batch_options(f.net, true);
        network_rows_fill(&rows);
        rows.ids[3][6] = bad[i];
        assert_ok(pb_batch_build(rows.samples, 4, &options, &batch));
        assert_refused(f.net, &batch, "outside the model's vocabulary of 40");
        pb_batch_clear(&batch);
    }
    network_fixture_close(&f);
}

static void targets_outside_of_the_vocabulary_are_refused(void **state)
{
    (void)state;
    const int32_t bad[] = {NETWORK_VOCAB, -1};
    network_fixture f;
    network_fixture_open(&f, &full, false, 1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        network_rows rows;
        double loss = 0.0;
        network_rows_fill(&rows);
        rows.labels[3][6] = bad[i];
        pb_batch batch    = network_pack(&f, rows.samples, 4, true);
        assert_error(waited_loss(f.net, &batch, &loss, NULL), PB_ERR_ARGUMENT, "targets");
        pb_batch_clear(&batch);
    }
    network_fixture_close(&f);
}

static void a_batch_without_labels_has_no_loss(void **state)
{
    (void)state;
    network_fixture f;
    network_rows rows;
    double loss = 0.0;
    network_rows_fill(&rows);
    rows.samples[0].labels = NULL;
    network_fixture_open(&f, NULL, false, 1);
    pb_batch batch = network_pack(&f, rows.samples, 1, true);
    assert_error(waited_loss(f.net, &batch, &loss, NULL), PB_ERR_ARGUMENT, "no label token");
    pb_batch_clear(&batch);
    network_fixture_close(&f);
}

static void logits_of_a_row_outside_of_the_batch_are_refused(void **state)
{
    (void)state;
    const int32_t bad[] = {-1, 25};
    network_fixture f;
    network_rows rows;
    float logits[NETWORK_VOCAB];
    network_rows_fill(&rows);
    rows.samples[0].labels = NULL;
    network_fixture_open(&f, NULL, false, 1);
    pb_batch batch = network_pack(&f, rows.samples, 1, false);
    for (int i = 0; i < 2; i++) {
        assert_error(pb_network_logits(f.net, &batch, &bad[i], 1, logits, NULL), PB_ERR_ARGUMENT,
                     "outside the batch of 25 rows");
    }
    pb_batch_clear(&batch);
    network_fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shared_prefixes_change_nothing),
        cmocka_unit_test(trimming_changes_nothing),
        cmocka_unit_test(sharing_is_off_only_where_dropout_acts),
        cmocka_unit_test(a_result_depends_on_no_earlier_pass),
        cmocka_unit_test(results_are_the_same_bits_for_one_and_two_threads),
        cmocka_unit_test(parts_add_up_to_the_whole_batch),
        cmocka_unit_test(the_gradient_is_scaled),
        cmocka_unit_test(dropout_follows_the_number_of_the_pass),
        cmocka_unit_test(losses_by_label_add_up),
        cmocka_unit_test(frozen_weights_and_values_stay_as_they_are),
        cmocka_unit_test(evaluation_leaves_gradients_alone),
        cmocka_unit_test(a_batch_packed_for_another_method_is_refused),
        cmocka_unit_test(ids_outside_of_the_vocabulary_are_refused),
        cmocka_unit_test(targets_outside_of_the_vocabulary_are_refused),
        cmocka_unit_test(a_batch_without_labels_has_no_loss),
        cmocka_unit_test(logits_of_a_row_outside_of_the_batch_are_refused),
        cmocka_unit_test(logits_of_many_rows_are_those_of_each),
    };
    return cmocka_run_group_tests_name("unit_network_pass", tests, NULL, NULL);
}
