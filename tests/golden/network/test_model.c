// SPDX-License-Identifier: Apache-2.0
/* The bare network against golden values: logits, hidden states, negative log-likelihoods and
 * greedy tokens. */
#include "golden.h"
#include "device.h"
#include "waited.h"

#include "pb/memory.h"
#include "pb/network.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const checkpoints[] = {
    "tiny-llama3",  "tiny-llama32",     "tiny-smollm", "stories260K", "llama2xs",
    "tiny-mistral", "tiny-mistral-swa", "tiny-qwen2",  "tiny-qwen3",  "tiny-gemma3"};

typedef struct fixture {
    pb_backend *backend;
    pb_model *model;
    pb_weights *weights;
    pb_network *net;
    pb_safetensors *expected;
    json_t *data, *meta;
} fixture;

static void open_fixture(const char *checkpoint, fixture *f)
{
    f->backend = device_open(1);
    assert_ok(pb_model_open(shared_path("models/%s", checkpoint), NULL, 1, &f->model));
    assert_ok(pb_weights_open(f->model, f->backend, pb_backend_border(f->backend), &f->weights));
    assert_ok(pb_network_create(f->weights, NULL, &f->net));
    assert_ok(pb_safetensors_open(shared_path("golden/model/%s/tensors.safetensors", checkpoint),
                                  &f->expected));
    f->data = golden_json(shared_path("golden/data/%s.json", checkpoint));
    f->meta = golden_json(shared_path("golden/model/%s/meta.json", checkpoint));
}

static void close_fixture(fixture *f)
{
    pb_network_destroy(f->net);
    pb_weights_close(f->weights);
    pb_model_close(f->model);
    pb_backend_close(f->backend);
    pb_safetensors_close(f->expected);
    json_decref(f->data);
    json_decref(f->meta);
    assert_int_equal(pb_memory_current(), 0);
}

static const pb_tensor *find(const fixture *f, const char *format, int a, int b)
{
    char name[64];
    snprintf(name, sizeof name, format, a, b);
    const pb_named_tensor *found = pb_safetensors_find(f->expected, name);
    if (found == NULL) {
        fail_msg("the golden file has no tensor %s", name);
    }
    return &found->tensor;
}

static void check_sequence(fixture *f, int index)
{
    const pb_model_config *c = pb_model_get_config(f->model);
    golden_rows rows;
    golden_rows_sequence(json_array_get(json_object_get(f->data, "sequences"), (size_t)index),
                         &rows);
    int64_t length = rows.samples[0].length;
    pb_batch batch;
    pb_batch_options whole = {.share = true};
    assert_ok(pb_batch_build(rows.samples, 1, &whole, &batch));
    float *logits   = calloc((size_t)(length * c->vocab), sizeof *logits);
    float **hidden  = calloc((size_t)c->layers + 1, sizeof *hidden);
    int32_t *wanted = calloc((size_t)length, sizeof *wanted);
    for (int64_t l = 0; l <= c->layers; l++) {
        hidden[l] = calloc((size_t)(length * c->width), sizeof **hidden);
    }
    for (int64_t t = 0; t < length; t++) {
        wanted[t] = (int32_t)t;
    }
    assert_ok(pb_network_logits(f->net, &batch, wanted, length, logits, hidden));
    const pb_tensor *expected = find(f, "seq%d.logits", index, 0);
    int64_t first             = length - expected->shape[0];
    assert_true(golden_error(logits + first * c->vocab, expected->data, pb_tensor_count(expected)) <
                TOLERANCE_LOGITS);
    for (int64_t l = 0; l <= c->layers; l++) {
        if (index == 0) {
            expected = find(f, "seq%d.hidden.%d", index, (int)l);
            assert_int_equal(pb_tensor_count(expected), length * c->width);
            assert_true(golden_error(hidden[l], expected->data, pb_tensor_count(expected)) <
                        TOLERANCE_LOGITS);
        }
        free(hidden[l]);
    }
    double sum     = 0.0;
    double *losses = calloc((size_t)batch.labels, sizeof *losses);
    assert_ok(waited_loss(f->net, &batch, &sum, losses));
    expected = find(f, "seq%d.nll", index, 0);
    assert_int_equal(batch.labels, pb_tensor_count(expected));
    for (int64_t n = 0; n < batch.labels; n++) {
        assert_true(fabs(losses[n] - (double)((const float *)expected->data)[n]) <
                    10 * TOLERANCE_LOSS);
    }
    const json_t *sequence = json_array_get(json_object_get(f->meta, "sequences"), (size_t)index);
    assert_true(fabs(sum / (double)batch.labels - json_number(sequence, "mean_nll_f64")) <
                TOLERANCE_LOSS);
    free(losses);
    free(wanted);
    free(hidden);
    free(logits);
    pb_batch_clear(&batch);
    golden_rows_free(&rows);
}

static void logits_hidden_states_and_nll_match(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof checkpoints / sizeof *checkpoints; i++) {
        fixture f;
        open_fixture(checkpoints[i], &f);
        for (int s = 0; s < 3; s++) {
            check_sequence(&f, s);
        }
        close_fixture(&f);
    }
}

/* Ids agree up to the first step at which the margin between the two best logits is below the
 * resolution of F32. */
static void check_greedy(const fixture *f, const golden_rows *rows, unsigned without)
{
    const json_t *greedy  = json_object_get(f->meta, "greedy");
    const json_t *margins = json_object_get(greedy, "margins");
    int32_t ids[64];
    int64_t count      = json_ids(json_object_get(greedy, "new_ids"), ids, 64);
    int32_t wrong[64]  = {ids[0], ids[1], ids[0], ids[1]};
    pb_sample drafts[] = {{.ids = wrong, .length = 8}, {.ids = ids, .length = count / 2}};
    pb_generated got;
    pb_generate_options options = {
        .max_new_tokens = count, .batch = 1, .drafts = drafts, .draft_count = 2};
    pb_network_without(f->net, without);
    assert_ok(pb_network_generate(f->net, rows->samples, 1, &options, &got));
    assert_int_equal(got.count, count);
    for (int64_t t = 0; t < count; t++) {
        if (ids[t] != got.ids[t]) {
            assert_true(json_number_value(json_array_get(margins, (size_t)t)) < 1e-3);
            break;
        }
    }
    pb_memory_free(got.ids);
}

/* On the first checkpoint whatever the network does not save, and when it saves nothing at all; not
 * on a device, whose passes take long where it is pretended. */
static void greedy_tokens_match(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof checkpoints / sizeof *checkpoints; i++) {
        fixture f;
        golden_rows rows;
        open_fixture(checkpoints[i], &f);
        golden_rows_sequence(json_array_get(json_object_get(f.data, "sequences"), 0), &rows);
        check_greedy(&f, &rows, 0);
        bool each = i == 0 && strcmp(device_name(), "cuda") != 0;
        for (unsigned s = 0; each && s <= PB_SAVING_COUNT; s++) {
            check_greedy(&f, &rows, s < PB_SAVING_COUNT ? 1U << s : ~0U);
        }
        golden_rows_free(&rows);
        close_fixture(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_hidden_states_and_nll_match),
        cmocka_unit_test(greedy_tokens_match),
    };
    shared_directory();
    return cmocka_run_group_tests_name("golden_network_model", tests, NULL, NULL);
}
