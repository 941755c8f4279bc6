// SPDX-License-Identifier: Apache-2.0
/* Names, shapes and counts of the trainable tensors against what HF PEFT
 * trains, on the small checkpoints and at the shapes of real models. */
#include "golden.h"
#include "method_fixture.h"

#include "pb/memory.h"

#include <stdio.h>
#include <string.h>

static const char *const checkpoints[] = {"tiny-llama3", "stories260K"};

static const struct {
    const char *golden, *method, *options;
} goldens[] = {
    {"lora_r4", "lora", "r = 4;"},
    {"lora_r16", "lora", "r = 16;"},
    {"ia3", "ia3", ""},
    {"ia3_paper", "ia3", "feedforward_side = \"output\";"},
    {"lntuning", "lntuning", ""},
    {"bitfit", "bitfit", ""},
    {"prompt", "prompt", "num_virtual_tokens = 8;"},
    {"prefix", "prefix", "num_virtual_tokens = 4; projection = false;"},
    {"prefix_proj", "prefix", "num_virtual_tokens = 4; encoder_hidden_size = 16;"},
    {"ptuning_mlp", "ptuning", "num_virtual_tokens = 8; encoder_hidden_size = 16;"},
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
    for (size_t c = 0; c < 2; c++) {
        method_fixture f = {0};
        assert_ok(pb_backend_open("cpu", 0, 1, &f.backend));
        assert_ok(pb_model_open(shared_path("models/%s", checkpoints[c]), NULL, &f.model));
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
    {"ia3", "ia3", "", "ia3"},
    {"ia3_paper", "ia3", "feedforward_side = \"output\";", "ia3-paper"},
    {"lntuning", "lntuning", "", "lntuning"},
    {"prompt_100", "prompt", "", "prompt-tuning"},
    {"prefix_32_proj512", "prefix", "", "prefix-tuning"},
    {"prefix_32", "prefix", "projection = false;", NULL},
    {"ptuning_100_mlp768", "ptuning", "", "p-tuning"},
    {"bitfit", "bitfit", "", "bitfit"},
};

static void open_real_shape(const json_t *entry, method_fixture *f)
{
    const json_t *shape    = json_object_get(entry, "shape");
    const json_t *head_dim = json_object_get(shape, "head_dim");
    pb_model_config c      = method_fixture_config(false, false);
    c.width                = (int64_t)json_number(shape, "hidden_size");
    c.ff                   = (int64_t)json_number(shape, "intermediate_size");
    c.layers               = (int64_t)json_number(shape, "num_hidden_layers");
    c.heads                = (int64_t)json_number(shape, "num_attention_heads");
    c.kv_heads             = (int64_t)json_number(shape, "num_key_value_heads");
    c.head_dim             = head_dim != NULL ? json_integer_value(head_dim) : c.width / c.heads;
    c.vocab                = (int64_t)json_number(shape, "vocab_size");
    c.tied                 = json_is_true(json_object_get(shape, "tie_word_embeddings"));
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
        const char *type =
            json_string_value(json_object_get(json_object_get(entry, "shape"), "model_type"));
        if (strcmp(type, "llama") == 0 || strcmp(type, "mistral") == 0) {
            check_counts(name, entry);
            models++;
        }
    }
    assert_int_equal(models, 4);
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
    open_real_shape(entry, &f);
    double base = pb_method_flops(NULL, f.model, 512);
    assert_true(base == json_number(flops, "total"));
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
    check_flops("Llama-3-8B-Instruct", json_object_get(all, "Llama-3-8B-Instruct"));
    check_flops("Llama-3.2-1B", json_object_get(all, "Llama-3.2-1B"));
    json_decref(file);
}

static void method_files_give_the_published_counts(void **state)
{
    (void)state;
    json_t *file     = golden_json(shared_path("golden/param_counts.json"));
    json_t *entry    = json_object_get(json_object_get(file, "models"), "Llama-3-8B-Instruct");
    json_t *counts   = json_object_get(entry, "trainable");
    method_fixture f = {0};
    open_real_shape(entry, &f);
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        char path[1024];
        pb_config *config        = NULL;
        const pb_method_ops *ops = NULL;
        pb_method *m             = NULL;
        if (published[i].config == NULL) {
            continue;
        }
        snprintf(path, sizeof path, PB_SOURCE_DIR "/configs/method/%s.cfg", published[i].config);
        assert_ok(pb_config_open(path, &config));
        assert_ok(pb_method_find(published[i].method, &ops));
        assert_ok(pb_method_create(ops, config, "method", f.model, NULL, 1, &m));
        assert_int_equal(m->parameters, (int64_t)json_number(counts, published[i].count));
        pb_method_destroy(m);
        pb_config_close(config);
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
        cmocka_unit_test(method_files_give_the_published_counts),
    };
    shared_directory();
    return cmocka_run_group_tests_name("golden_method_trainables", tests, NULL, NULL);
}
