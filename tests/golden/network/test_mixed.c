// SPDX-License-Identifier: Apache-2.0
/* Products of bf16 factors against HF under autocast to bfloat16 with the frozen weights in it:
 * first gradients and the 12-step curve. */
#include "golden.h"
#include "device.h"
#include "waited.h"

#include "pb/adapter.h"
#include "pb/memory.h"
#include "pb/train.h"

#include <math.h>
#include <string.h>

typedef struct fixture {
    const char *method;
    json_t *golden;
    int steps_seen;
} fixture;

static pb_status check_step(void *opaque, const pb_train_step *step)
{
    fixture *f = opaque;
    const json_t *golden =
        json_array_get(json_object_get(f->golden, "curve"), (size_t)f->steps_seen);
    double error = fabs(step->loss - json_number(golden, "loss"));
    if (!(error < TOLERANCE_BF16_LOSS)) {
        fail_msg("%s: step %d: loss %g, error %g", f->method, f->steps_seen, step->loss, error);
    }
    double norm = json_number(golden, "grad_norm");
    if (!(fabs(step->grad_norm - norm) < TOLERANCE_BF16_GRAD_NORM * norm)) {
        fail_msg("%s: step %d: gradient norm %g, not %g", f->method, f->steps_seen, step->grad_norm,
                 norm);
    }
    f->steps_seen++;
    return PB_OK;
}

static double cosine(const float *a, const float *b, int64_t n)
{
    double dot = 0;
    double aa  = 0;
    double bb  = 0;
    for (int64_t i = 0; i < n; i++) {
        dot += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return dot / sqrt(aa * bb);
}

static void check_gradients(const fixture *f, pb_network *net, pb_method *m,
                            const golden_rows *rows)
{
    pb_safetensors *file;
    pb_batch batch;
    double sum               = 0.0;
    pb_batch_options packing = pb_network_batch_options(net, true);
    assert_ok(pb_safetensors_open(
        shared_path("golden/mixed/tiny-llama3/%s/grads.safetensors", f->method), &file));
    assert_ok(pb_batch_build(rows->samples, rows->count, &packing, &batch));
    assert_ok(waited_step(net, &batch, 1.0 / (double)batch.labels, 0, &sum));
    assert_int_equal(pb_safetensors_count(file), m->count);
    for (int64_t i = 0; i < m->count; i++) {
        const pb_trainable *t           = &m->trainables[i];
        const pb_named_tensor *expected = pb_safetensors_find(file, t->name);
        int64_t n                       = pb_tensor_count(&t->grad);
        if (expected == NULL) {
            fail_msg("no gradient of %s", t->name);
            return;
        }
        float *gradient = host_values(m->backend, &t->grad);
        double error    = golden_error(gradient, expected->tensor.data, n);
        double along    = cosine(gradient, expected->tensor.data, n);
        free(gradient);
        if (!(error < TOLERANCE_BF16_GRADIENT) || !(along > COSINE_BF16_GRADIENT)) {
            fail_msg("%s: gradient of %s: error %g, cosine %g", f->method, t->name, error, along);
        }
    }
    pb_batch_clear(&batch);
    pb_safetensors_close(file);
}

static void curve_is_near_that_of_autocast(void **state)
{
    fixture f = {.method = *state};
    golden_rows batches[3];
    pb_sample rows[16];
    int64_t count = 0;
    pb_backend *backend;
    pb_model *model;
    pb_weights *weights;
    pb_method *m;
    pb_network *net;
    json_t *data   = golden_json(shared_path("golden/data/tiny-llama3.json"));
    json_t *recipe = golden_json(shared_path("golden/peft/tiny-llama3/%s/golden.json", f.method));
    f.golden       = golden_json(shared_path("golden/mixed/tiny-llama3/%s/golden.json", f.method));
    for (size_t b = 0; b < 3; b++) {
        golden_rows_load(json_array_get(json_object_get(data, "batches"), b), &batches[b]);
        for (int64_t r = 0; r < batches[b].count; r++) {
            rows[count++] = batches[b].samples[r];
        }
    }
    backend = device_open(1);
    assert_ok(pb_backend_use_dtype(backend, PB_DTYPE_BF16));
    assert_ok(pb_model_open(shared_path("models/tiny-llama3"), NULL, 1, &model));
    assert_ok(pb_method_load(shared_path("golden/peft/tiny-llama3/%s/adapter_init", f.method), NULL,
                             model, backend, 1, &m));
    assert_ok(pb_weights_open(model, backend, pb_backend_border(backend), &weights));
    assert_ok(pb_network_create(weights, m, &net));
    check_gradients(&f, net, m, &batches[0]);

    const json_t *train = json_object_get(recipe, "train");
    pb_train_options options;
    assert_ok(pb_config_defaults(pb_train_fields, &options));
    options.learning_rate      = json_number(train, "lr");
    options.weight_decay       = json_number(train, "weight_decay");
    options.max_steps          = (int64_t)json_number(train, "steps");
    options.batch              = batches[0].count;
    options.epochs             = 1000;
    options.decay_all          = true;
    options.shuffle            = false;
    pb_train_data set          = {.train = rows, .train_count = count};
    pb_train_observer observer = {.context = &f, .step = check_step};
    pb_train_result result;
    assert_ok(pb_train_run(net, m, &options, 1, &set, &observer, &result));
    assert_int_equal(f.steps_seen, 12);
    pb_config_clear(pb_train_fields, &options);
    pb_network_destroy(net);
    pb_method_destroy(m);
    pb_weights_close(weights);
    pb_model_close(model);
    pb_backend_close(backend);
    for (size_t b = 0; b < 3; b++) {
        golden_rows_free(&batches[b]);
    }
    json_decref(data);
    json_decref(recipe);
    json_decref(f.golden);
    assert_int_equal(pb_memory_current(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"lora_r4", curve_is_near_that_of_autocast, NULL, NULL, "lora_r4"},
        {"ia3", curve_is_near_that_of_autocast, NULL, NULL, "ia3"},
        {"lntuning", curve_is_near_that_of_autocast, NULL, NULL, "lntuning"},
    };
    shared_directory();
    return cmocka_run_group_tests_name("golden_network_mixed", tests, NULL, NULL);
}
