// SPDX-License-Identifier: Apache-2.0
/* Products of BF16 factors, and on a device BF16 between operations, against the values of HF PEFT
 * in F64 and F32: the loss and the gradients of the first batch, by method and family. */
#include "device.h"
#include "golden.h"
#include "method_fixture.h"
#include "waited.h"

#include "pb/adapter.h"
#include "pb/file.h"
#include "pb/memory.h"

#include <math.h>
#include <stdlib.h>

static const char *const checkpoints[] = {"tiny-llama3", "tiny-qwen3", "tiny-gemma3",
                                          "tiny-mistral"};

/* An operation that rounds to BF16 has a relative error of up to 4e-3; a gradient goes through some
 * fifty of them, whose errors are independent: about 3e-2 together. */
#define TOLERANCE_RMS 0.05

/* Sums over the gradients of all trainables. */
typedef struct comparison {
    double dot, own, golden;
} comparison;

static void compare(const pb_method *m, const char *folder, comparison *all)
{
    char path[1300];
    pb_safetensors *file;
    snprintf(path, sizeof path, "%s/grads.safetensors", folder);
    assert_ok(pb_safetensors_open(path, &file));
    for (int64_t i = 0; i < m->count; i++) {
        const pb_trainable *t           = &m->trainables[i];
        const pb_named_tensor *expected = pb_safetensors_find(file, t->name);
        if (t->frozen) {
            continue;
        }
        if (expected == NULL) {
            fail_msg("%s has no gradient of %s", path, t->name);
        }
        const float *golden = expected->tensor.data;
        float *own          = host_values(m->backend, &t->grad);
        for (int64_t j = 0; j < pb_tensor_count(&t->grad); j++) {
            all->dot += (double)own[j] * (double)golden[j];
            all->own += (double)own[j] * (double)own[j];
            all->golden += (double)golden[j] * (double)golden[j];
        }
        free(own);
    }
    pb_safetensors_close(file);
}

static void load_method(const char *folder, const pb_model *model, pb_backend *be, pb_method **out)
{
    char adapter[1300];
    char encoder[1300];
    snprintf(adapter, sizeof adapter, "%s/adapter_init", folder);
    snprintf(encoder, sizeof encoder, "%s/trainable_init.safetensors", folder);
    const char *given = pb_path_exists(encoder) ? encoder : NULL;
    assert_ok(pb_method_load(adapter, given, model, be, 1, out));
}

static void check(const char *checkpoint, const char *method)
{
    char folder[1200];
    pb_backend *be = device_open(1);
    pb_model *model;
    pb_weights *weights;
    pb_method *m;
    pb_network *net;
    pb_batch batch;
    golden_rows rows;
    double sum     = 0.0;
    double penalty = 0.0;
    comparison all = {0};
    json_t *data   = golden_json(shared_path("golden/data/%s.json", checkpoint));
    snprintf(folder, sizeof folder, "%s", shared_path("golden/peft/%s/%s", checkpoint, method));
    json_t *golden = golden_json(shared_path("golden/peft/%s/%s/golden.json", checkpoint, method));
    golden_rows_load(json_array_get(json_object_get(data, "batches"), 0), &rows);
    assert_ok(pb_backend_use_dtype(be, PB_DTYPE_BF16));
    assert_ok(pb_model_open(shared_path("models/%s", checkpoint), NULL, 1, &model));
    load_method(folder, model, be, &m);
    assert_ok(pb_weights_open(model, be, pb_backend_border(be), &weights));
    assert_ok(pb_network_create(weights, m, &net));
    pb_batch_options packing = pb_network_batch_options(net, true);
    assert_ok(pb_batch_build(rows.samples, rows.count, &packing, &batch));
    assert_ok(pb_zero(be, &m->grads));
    assert_ok(waited_step(net, &batch, 1.0 / (double)batch.labels, 0, &sum));
    assert_ok(waited_penalty(m, &penalty));
    compare(m, folder, &all);
    double error =
        sum / (double)batch.labels + penalty - json_number(golden, "loss_batch0_init_f64");
    double rms = sqrt(fmax(all.own + all.golden - 2.0 * all.dot, 0.0) / all.golden);
    print_message("%s %s: loss %+.2e, gradients %.2e\n", checkpoint, method, error, rms);
    if (!(fabs(error) < TOLERANCE_BF16_LOSS) || !(rms < TOLERANCE_RMS)) {
        fail_msg("%s %s: error %g of the loss, %g of the gradients", checkpoint, method, error,
                 rms);
    }
    pb_batch_clear(&batch);
    pb_network_destroy(net);
    pb_method_destroy(m);
    pb_weights_close(weights);
    pb_model_close(model);
    pb_backend_close(be);
    golden_rows_free(&rows);
    json_decref(golden);
    json_decref(data);
    assert_int_equal(pb_memory_current(), 0);
}

static void every_family(void **state)
{
    for (size_t i = 0; i < sizeof checkpoints / sizeof *checkpoints; i++) {
        check(checkpoints[i], *state);
    }
}

#define METHOD(name)                                          \
    {                                                         \
#name "_is_near_f64", every_family, NULL, NULL, #name \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        METHOD(lora_r4), METHOD(dora_r8), METHOD(ia3),         METHOD(lntuning),    METHOD(bitfit),
        METHOD(prompt),  METHOD(prefix),  METHOD(prefix_proj), METHOD(ptuning_mlp),
    };
    shared_directory();
    return cmocka_run_group_tests_name("golden_network_bf16", tests, NULL, NULL);
}
