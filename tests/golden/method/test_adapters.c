// SPDX-License-Identifier: Apache-2.0
/* Adapters that HF PEFT wrote: loaded, saved again and loaded once more, they keep every bit;
 * unsupported ones are refused by name. */
#include "golden.h"
#include "method_fixture.h"

#include "pb/adapter.h"
#include "pb/file.h"
#include "pb/memory.h"

#include <stdio.h>

static const char *const checkpoints[] = {"tiny-llama3", "stories260K", "tiny-qwen3", "tiny-gemma3",
                                          "tiny-mistral"};

static const char *const methods[] = {"lora_r4",   "lora_r16",    "dora_r8",     "ia3",
                                      "ia3_paper", "lntuning",    "bitfit",      "prompt",
                                      "prefix",    "prefix_proj", "ptuning_mlp", "ptuning_lstm"};
static const char *const further[] = {"hra", "adalora", "vera"}; /* only on the first checkpoint */
static const char *const stages[]  = {"init", "final"};

/* Checks that the tensors of two adapter folders are the same. */
static void assert_same_files(const char *a, const char *b)
{
    char path[2][1200];
    pb_safetensors *file[2];
    snprintf(path[0], sizeof path[0], "%s/adapter_model.safetensors", a);
    snprintf(path[1], sizeof path[1], "%s/adapter_model.safetensors", b);
    assert_ok(pb_safetensors_open(path[0], &file[0]));
    assert_ok(pb_safetensors_open(path[1], &file[1]));
    assert_int_equal(pb_safetensors_count(file[0]), pb_safetensors_count(file[1]));
    for (int64_t i = 0; i < pb_safetensors_count(file[0]); i++) {
        const pb_named_tensor *x = pb_safetensors_at(file[0], i);
        const pb_named_tensor *y = pb_safetensors_find(file[1], x->name);
        if (y == NULL) {
            fail_msg("%s: %s is missing", b, x->name);
            return;
        }
        assert_true(pb_tensor_same_shape(&x->tensor, &y->tensor));
        assert_memory_equal(x->tensor.data, y->tensor.data, pb_tensor_bytes(&x->tensor));
    }
    pb_safetensors_close(file[0]);
    pb_safetensors_close(file[1]);
}

static void check_bits(const method_fixture *f, const char *checkpoint, const char *method,
                       const char *stage)
{
    char folder[512];
    pb_method *m = NULL, *back = NULL;
    pb_string text = {0}, again = {0};
    const char *golden = shared_path("golden/peft/%s/%s/adapter_%s", checkpoint, method, stage);
    method_fixture_folder(folder, sizeof folder);
    assert_ok(pb_method_load(golden, NULL, f->model, f->backend, 1, &m));
    assert_ok(pb_method_save(m, folder));
    assert_same_files(golden, folder);
    assert_ok(pb_method_load(folder, NULL, f->model, f->backend, 1, &back));
    assert_true(host_equal(f->backend, &m->values, &back->values));
    assert_ok(method_describe(m, &text));
    assert_ok(method_describe(back, &again));
    assert_string_equal(text.data, again.data);
    pb_string_clear(&text);
    pb_string_clear(&again);
    pb_method_destroy(back);
    pb_method_destroy(m);
    method_fixture_remove(folder);
}

static void adapters_of_peft_keep_every_bit(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof checkpoints / sizeof *checkpoints; c++) {
        method_fixture f = {0};
        f.backend        = device_open(1);
        assert_ok(pb_model_open(shared_path("models/%s", checkpoints[c]), NULL, 1, &f.model));
        for (size_t i = 0; i < 2 * sizeof methods / sizeof *methods; i++) {
            check_bits(&f, checkpoints[c], methods[i / 2], stages[i % 2]);
        }
        for (size_t i = 0; c == 0 && i < 2 * sizeof further / sizeof *further; i++) {
            check_bits(&f, checkpoints[0], further[i / 2], stages[i % 2]);
        }
        method_fixture_close(&f);
    }
}

/* The encoder's values, saved, give the rows that HF saved. */
static void encoders_make_the_saved_output(void **state)
{
    (void)state;
    static const char *const encoded[] = {"prefix_proj", "ptuning_mlp", "ptuning_lstm"};
    method_fixture f                   = {0};
    f.backend                          = device_open(1);
    assert_ok(pb_model_open(shared_path("models/tiny-llama3"), NULL, 1, &f.model));
    for (size_t i = 0; i < 2 * sizeof encoded / sizeof *encoded; i++) {
        pb_method *m         = NULL;
        pb_safetensors *file = NULL;
        const char *folder =
            shared_path("golden/peft/tiny-llama3/%s/adapter_%s", encoded[i / 2], stages[i % 2]);
        assert_ok(pb_method_load(folder,
                                 shared_path("golden/peft/tiny-llama3/%s/trainable_%s.safetensors",
                                             encoded[i / 2], stages[i % 2]),
                                 f.model, f.backend, 1, &m));
        assert_ok(pb_safetensors_open(
            shared_path("golden/peft/tiny-llama3/%s/adapter_%s/adapter_model.safetensors",
                        encoded[i / 2], stages[i % 2]),
            &file));
        pb_tensor expected = pb_safetensors_find(file, "prompt_embeddings")->tensor;
        pb_tensor rows     = device_matrix(f.backend, expected.shape[0], expected.shape[1], NULL);
        assert_ok(m->ops->rows_forward != NULL ? m->ops->rows_forward(m, &rows)
                                               : m->ops->keys_forward(m, &rows));
        assert_true(golden_tensor_error(f.backend, &rows, expected.data) < 1e-5);
        pb_backend_free(f.backend, rows.data);
        pb_safetensors_close(file);
        pb_method_destroy(m);
    }
    method_fixture_close(&f);
}

/* So a file that names only their seed is enough. */
static void factors_of_vera_are_those_that_torch_draws(void **state)
{
    (void)state;
    method_fixture f = {0};
    pb_method *saved = NULL;
    assert_ok(pb_backend_open("cpu", 0, 1, &f.backend));
    assert_ok(pb_model_open(shared_path("models/tiny-llama3"), NULL, 1, &f.model));
    assert_ok(pb_method_load(shared_path("golden/peft/tiny-llama3/vera/adapter_init"), NULL,
                             f.model, f.backend, 1, &saved));
    pb_method *drawn = method_fixture_make(&f, "vera", "r = 16; save_projection = false;", 9);
    assert_int_equal(saved->frozen_parameters, drawn->frozen_parameters);
    assert_true(saved->frozen_parameters > 0);
    assert_memory_equal(saved->frozen.data, drawn->frozen.data, pb_tensor_bytes(&saved->frozen));
    pb_method_destroy(drawn);
    pb_method_destroy(saved);
    method_fixture_close(&f);
}

static void unsupported_adapters_of_peft_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        pb_status status;
        const char *text;
    } cases[] = {
        {"loha", PB_ERR_UNSUPPORTED, "LOHA"},
        {"fourierft", PB_ERR_UNSUPPORTED, "FOURIERFT"},
    };
    method_fixture f = {0};
    f.backend        = device_open(1);
    assert_ok(pb_model_open(shared_path("models/tiny-llama3"), NULL, 1, &f.model));
    pb_method *m = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_error(
            pb_method_load(shared_path("golden/peft/tiny-llama3/%s/adapter_init", cases[i].method),
                           NULL, f.model, f.backend, 1, &m),
            cases[i].status, cases[i].text);
    }
    /* the output of an encoder alone is like any other rows */
    assert_ok(pb_method_load(shared_path("golden/peft/tiny-llama3/ptuning_lstm/adapter_init"), NULL,
                             f.model, f.backend, 1, &m));
    assert_string_equal(m->trainables[0].name, "prompt_embeddings");
    pb_method_destroy(m);
    m = NULL;
    /* an adapter of another model */
    assert_error(pb_method_load(shared_path("golden/peft/stories260K/lora_r4/adapter_init"), NULL,
                                f.model, f.backend, 1, &m),
                 PB_ERR_SHAPE, "is [4, 64], this model and method need [4, 128]");
    method_fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adapters_of_peft_keep_every_bit),
        cmocka_unit_test(encoders_make_the_saved_output),
        cmocka_unit_test(factors_of_vera_are_those_that_torch_draws),
        cmocka_unit_test(unsupported_adapters_of_peft_are_refused),
    };
    shared_directory();
    return cmocka_run_group_tests_name("golden_method_adapters", tests, NULL, NULL);
}
