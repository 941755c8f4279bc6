// SPDX-License-Identifier: Apache-2.0
/* Names, shapes and counts of the trainable tensors against those of HF PEFT, on the small
 * checkpoints and at the shapes of real models. */
#include "golden.h"
#include "method_fixture.h"

#include "pb/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const checkpoints[] = {"tiny-llama3", "stories260K", "tiny-qwen3", "tiny-gemma3",
                                          "tiny-mistral"};

static const struct {
    const char *golden, *method, *options;
} goldens[] = {
    {"lora_r4", "lora", "r = 4;"},
    {"lora_r16", "lora", "r = 16;"},
    {"dora_r8", "dora", "r = 8;"},
    {"ia3", "ia3", ""},
    {"ia3_paper", "ia3", "feedforward_side = \"output\";"},
    {"lntuning", "lntuning", ""},
    {"bitfit", "bitfit", ""},
    {"prompt", "prompt", "num_virtual_tokens = 8;"},
    {"prefix", "prefix", "num_virtual_tokens = 4; projection = false;"},
    {"prefix_proj", "prefix", "num_virtual_tokens = 4; encoder_hidden_size = 16;"},
    {"ptuning_mlp", "ptuning", "num_virtual_tokens = 8; encoder_hidden_size = 16;"},
    {"ptuning_lstm", "ptuning",
     "num_virtual_tokens = 8; encoder = \"lstm\"; encoder_hidden_size = 16;"},
};

static void check_list(const pb_method *m, const json_t *expected)
{
    const char *name;
    json_t *shape;
    assert_int_equal(m->count, json_object_size(expected));
    json_object_foreach((json_t *)expected, name, shape)
    {
        const pb_trainable *t = method_fixture_find(m, name);
        if (t == NULL) {
            fail_msg("%s does not train %s", m->ops->name, name);
            return;
        }
        assert_int_equal(t->ndim, json_array_size(shape));
        for (int i = 0; i < t->ndim; i++) {
            assert_int_equal(t->shape[i], json_integer_value(json_array_get(shape, (size_t)i)));
        }
    }
}

static void trainables_are_those_of_peft(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof checkpoints / sizeof *checkpoints; c++) {
        method_fixture f = {0};
        f.backend        = device_open(1);
        assert_ok(pb_model_open(shared_path("models/%s", checkpoints[c]), NULL, 1, &f.model));
        for (size_t i = 0; i < sizeof goldens / sizeof *goldens; i++) {
            json_t *golden = golden_json(
                shared_path("golden/peft/%s/%s/golden.json", checkpoints[c], goldens[i].golden));
            pb_method *m = method_fixture_make(&f, goldens[i].method, goldens[i].options, 1);
            check_list(m, json_object_get(golden, "trainable_tensors"));
            assert_int_equal(m->parameters, (int64_t)json_number(golden, "trainable_parameters"));
            pb_method_destroy(m);
            json_decref(golden);
        }
        method_fixture_close(&f);
    }
}

/* Defaults and configs/method/ are PEFT-Bench's settings; the published counts
 * follow from them. */
static const struct {
    const char *count, *method, *options, *config;
} published[] = {
    {"lora_r16", "lora", "", "lora"},
    {"lora_r16", "lora", "lora_plus_ratio = 16.0;", "lora-plus"},
    {"dora_r16", "dora", "", "dora"},
    {"ia3", "ia3", "", "ia3"},
    {"ia3_paper", "ia3", "feedforward_side = \"output\";", "ia3-paper"},
    {"lntuning", "lntuning", "", "lntuning"},
    {"prompt_100", "prompt", "", "prompt-tuning"},
    {"prefix_32_proj512", "prefix", "", "prefix-tuning"},
    {"prefix_32", "prefix", "projection = false;", NULL},
    {"ptuning_100_mlp768", "ptuning", "", "p-tuning"},
    {"ptuning_100_lstm768", "ptuning", "encoder = \"lstm\";", "p-tuning-lstm"},
    {"bitfit", "bitfit", "", "bitfit"},
};

static void open_real_shape(const json_t *entry, method_fixture *f)
{
    pb_model_config c = golden_shape(entry);
    assert_ok(pb_model_open_shape(&c, &f->model));
}

static void check_counts(const char *model, const json_t *entry)
{
    const json_t *counts = json_object_get(entry, "trainable");
    method_fixture f     = {0};
    open_real_shape(entry, &f);
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        pb_method *m = method_fixture_make(&f, published[i].method, published[i].options, 1);
        if (m->parameters != (int64_t)json_number(counts, published[i].count)) {
            fail_msg("%s %s: %lld parameters", model, published[i].count, (long long)m->parameters);
        }
        pb_method_destroy(m);
    }
    pb_method *full = method_fixture_make(&f, "full", "", 1);
    assert_int_equal(full->parameters, (int64_t)json_number(entry, "base_parameters"));
    pb_method_destroy(full);
    method_fixture_close(&f);
}

static void counts_are_those_of_peft_at_real_shapes(void **state)
{
    (void)state;
    json_t *file = golden_json(shared_path("golden/param_counts.json"));
    int models   = 0;
    const char *name;
    json_t *entry;
    json_object_foreach(json_object_get(file, "models"), name, entry)
    {
        check_counts(name, entry);
        models++;
    }
    assert_int_equal(models, 6);
    json_decref(file);
}

/* Forward operations beyond the base model's, of 512 tokens. */
static const struct {
    const char *extra, *method, *options;
} costs[] = {
    {"lora_r16_unmerged", "lora", ""},
    {"ia3", "ia3", ""},
    {"ia3_paper", "ia3", "feedforward_side = \"output\";"},
    {"lntuning", "lntuning", ""},
    {"prompt_100_and_ptuning_100_inference", "prompt", ""},
    {"prompt_100_and_ptuning_100_inference", "ptuning", ""},
    {"prefix_32_inference", "prefix", ""},
};

static void check_flops(const char *model, const json_t *entry)
{
    const json_t *flops = json_object_get(json_object_get(entry, "forward_flops"), "512");
    const json_t *extra = json_object_get(flops, "extra");
    method_fixture f    = {0};
    const char *tokens;
    json_t *count;
    open_real_shape(entry, &f);
    double base = pb_method_flops(NULL, f.model, 512);
    json_object_foreach(json_object_get(entry, "forward_flops"), tokens, count)
    {
        assert_true(pb_method_flops(NULL, f.model, strtol(tokens, NULL, 10)) ==
                    json_number(count, "total"));
    }
    for (size_t i = 0; i < sizeof costs / sizeof *costs; i++) {
        pb_method *m = method_fixture_make(&f, costs[i].method, costs[i].options, 1);
        double more  = pb_method_flops(m, f.model, 512) - base;
        if (more != json_number(extra, costs[i].extra)) {
            fail_msg("%s %s: %.0f more FLOPs", model, costs[i].extra, more);
        }
        pb_method_destroy(m);
    }
    method_fixture_close(&f);
}

static void flops_are_those_counted_from_real_shapes(void **state)
{
    (void)state;
    json_t *file = golden_json(shared_path("golden/param_counts.json"));
    json_t *all  = json_object_get(file, "models");
    int models   = 0;
    const char *name;
    json_t *entry;
    json_object_foreach(all, name, entry)
    {
        if (json_object_get(json_object_get(entry, "forward_flops"), "512") != NULL) {
            check_flops(name, entry);
            models++;
        }
    }
    assert_true(models >= 5);
    json_decref(file);
}

static pb_method *of_file(const pb_model *model, const char *name)
{
    char path[1024];
    pb_config *config        = NULL;
    const pb_method_ops *ops = NULL;
    pb_method *m             = NULL;
    snprintf(path, sizeof path, PB_SOURCE_DIR "/configs/method/%s.cfg", name);
    assert_ok(pb_config_open(path, &config));
    assert_ok(pb_method_find_in(config, "method", &ops));
    assert_ok(pb_method_create(ops, config, "method", model, NULL, 1, &m));
    pb_config_close(config);
    return m;
}

/* From the formulas at Llama-3-8B: parameters, and products of one token beyond the base model's.
 */
static const struct {
    const char *config;
    int64_t count, products;
} counted[] = {
    {"hra", 32 * 2 * 4096 * 32, 2 * 32 * 2 * 4096 * 32},
    {"svft", 32 * (3 * 4096 - 2 + 3 * 1024 - 2),
     32 * (4096 * 8192 + 1024 * 5120 + 3 * 4096 - 2 + 3 * 1024 - 2)},
    {"bn-adapter", 32 * 2 * (2 * 4096 * 256 + 256 + 4096), 32 * 2 * 2 * 4096 * 256},
};

static void method_files_give_the_expected_counts(void **state)
{
    (void)state;
    json_t *file     = golden_json(shared_path("golden/param_counts.json"));
    json_t *entry    = json_object_get(json_object_get(file, "models"), "Llama-3-8B-Instruct");
    json_t *counts   = json_object_get(entry, "trainable");
    method_fixture f = {0};
    open_real_shape(entry, &f);
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        if (published[i].config != NULL) {
            pb_method *m = of_file(f.model, published[i].config);
            assert_int_equal(m->parameters, (int64_t)json_number(counts, published[i].count));
            pb_method_destroy(m);
        }
    }
    for (size_t i = 0; i < sizeof counted / sizeof *counted; i++) {
        pb_method *m = of_file(f.model, counted[i].config);
        double more  = pb_method_flops(m, f.model, 512) - pb_method_flops(NULL, f.model, 512);
        assert_int_equal(m->parameters, counted[i].count);
        assert_true(more == 2.0 * 512.0 * (double)counted[i].products);
        pb_method_destroy(m);
    }
    method_fixture_close(&f);
    json_decref(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trainables_are_those_of_peft),
        cmocka_unit_test(counts_are_those_of_peft_at_real_shapes),
        cmocka_unit_test(flops_are_those_counted_from_real_shapes),
        cmocka_unit_test(method_files_give_the_expected_counts),
    };
    shared_directory();
    return cmocka_run_group_tests_name("golden_method_trainables", tests, NULL, NULL);
}
