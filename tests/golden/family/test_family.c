// SPDX-License-Identifier: Apache-2.0
/* Families and rope types not covered by the downloaded checkpoints of the golden files, against
 * values that make_golden.py computed with transformers and PEFT: the bare model, and LoRA on every
 * linear layer. */
#include "golden.h"
#include "method_fixture.h"
#include "waited.h"

#include "pb/file.h"
#include "pb/memory.h"
#include "pb/network.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct fixture {
    method_fixture base;
    pb_network *net;
    pb_method *adapter; /* NULL: the bare model */
    pb_safetensors *golden;
    pb_batch batch;
    char folder[600];
} fixture;

static const pb_tensor *golden(const fixture *f, const char *prefix, const char *name)
{
    char full[200];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const pb_named_tensor *found = pb_safetensors_find(f->golden, full);
    if (found == NULL) {
        fail_msg("%s: no tensor %s", f->folder, full);
    }
    return &found->tensor;
}

static void open_adapter(fixture *f)
{
    bool fused = pb_model_site(f->base.model, PB_SITE_QKV, 0) != NULL;
    f->adapter = method_fixture_make(
        &f->base, "lora",
        fused
            ? "r = 3; alpha = 5.0; dropout = 0.0; targets = [ \"qkv_proj\", \"o_proj\", "
              "\"gate_up_proj\", \"down_proj\" ];"
            : "r = 3; alpha = 5.0; dropout = 0.0; targets = [ \"q_proj\", \"k_proj\", \"v_proj\", "
              "\"o_proj\", \"gate_proj\", \"up_proj\", \"down_proj\" ];",
        1);
    for (int64_t i = 0; i < f->adapter->count; i++) {
        pb_trainable *t = &f->adapter->trainables[i];
        assert_ok(pb_copy(f->base.backend, &t->value, golden(f, "lora.", t->name)));
    }
}

static void open_fixture(const char *name, bool adapted, fixture *f)
{
    *f = (fixture){0};
    snprintf(f->folder, sizeof f->folder, PB_SOURCE_DIR "/tests/golden/family/%s", name);
    char path[700];
    snprintf(path, sizeof path, "%s/golden.safetensors", f->folder);
    f->base.backend = device_open(1);
    assert_ok(pb_safetensors_open(path, &f->golden));
    /* The folder has two files of tensors: the model is the one of the usual name. */
    assert_ok(pb_model_open(f->folder, NULL, 1, &f->base.model));
    if (adapted) {
        open_adapter(f);
    }
    assert_ok(pb_weights_open(f->base.model, f->base.backend, pb_backend_border(f->base.backend),
                              &f->base.weights));
    assert_ok(pb_network_create(f->base.weights, f->adapter, &f->net));
    const pb_tensor *ids     = golden(f, "", "ids");
    pb_sample sample         = {.ids = ids->data, .labels = ids->data, .length = ids->shape[0]};
    pb_batch_options packing = pb_network_batch_options(f->net, false);
    packing.trim             = false;
    assert_ok(pb_batch_build(&sample, 1, &packing, &f->batch));
}

static void close_fixture(fixture *f)
{
    pb_batch_clear(&f->batch);
    pb_network_destroy(f->net);
    pb_method_destroy(f->adapter);
    pb_safetensors_close(f->golden);
    method_fixture_close(&f->base);
}

static void check_logits(fixture *f, const char *name)
{
    const pb_tensor *expected = golden(f, "", name);
    int64_t length            = expected->shape[0];
    int32_t wanted[64];
    for (int64_t t = 0; t < length; t++) {
        wanted[t] = (int32_t)t;
    }
    float *logits = calloc((size_t)pb_tensor_count(expected), sizeof *logits);
    assert_ok(pb_network_logits(f->net, &f->batch, wanted, length, logits, NULL));
    double error = golden_error(logits, expected->data, pb_tensor_count(expected));
    if (!(error < TOLERANCE_LOGITS)) {
        fail_msg("%s: %s: error %g", f->folder, name, error);
    }
    free(logits);
}

static void bare_model(void **state)
{
    fixture f;
    double losses[64];
    double sum = 0.0;
    open_fixture(*state, false, &f);
    check_logits(&f, "logits");
    const pb_tensor *nll = golden(&f, "", "nll");
    assert_int_equal(f.batch.labels, pb_tensor_count(nll));
    assert_ok(waited_loss(f.net, &f.batch, &sum, losses));
    for (int64_t n = 0; n < f.batch.labels; n++) {
        assert_true(fabs(losses[n] - (double)((const float *)nll->data)[n]) < 10 * TOLERANCE_LOSS);
    }
    close_fixture(&f);
}

static void adapted_model(void **state)
{
    fixture f;
    double sum = 0.0;
    open_fixture(*state, true, &f);
    check_logits(&f, "lora.logits");
    assert_ok(pb_zero(f.base.backend, &f.adapter->grads));
    assert_ok(waited_step(f.net, &f.batch, 1.0 / (double)f.batch.labels, 0, &sum));
    const float *loss = golden(&f, "", "lora.loss")->data;
    assert_true(fabs(sum / (double)f.batch.labels - (double)*loss) < TOLERANCE_LOSS);
    for (int64_t i = 0; i < f.adapter->count; i++) {
        const pb_trainable *t     = &f.adapter->trainables[i];
        const pb_tensor *expected = golden(&f, "lora.grad.", t->name);
        double error              = golden_tensor_error(f.base.backend, &t->grad, expected->data);
        if (!(error < TOLERANCE_GRADIENT)) {
            fail_msg("%s: gradient of %s: error %g", f.folder, t->name, error);
        }
    }
    close_fixture(&f);
}

/* A cache gives the same as the whole pass, including windows, both ropes and norms of heads. */
static void generation_follows_the_logits(void **state)
{
    fixture f;
    open_fixture(*state, false, &f);
    enum { PROMPT = 20, NEW = 12 };
    int64_t vocab = pb_model_get_config(f.base.model)->vocab;
    int32_t ids[PROMPT + NEW];
    float *logits = calloc((size_t)vocab, sizeof *logits);
    memcpy(ids, golden(&f, "", "ids")->data, PROMPT * sizeof *ids);
    pb_sample prompt            = {.ids = ids, .length = PROMPT};
    pb_generate_options options = {.max_new_tokens = NEW, .batch = 1};
    pb_generated got;
    assert_ok(pb_network_generate(f.net, &prompt, 1, &options, &got));
    assert_int_equal(got.count, NEW);
    for (int n = 0; n < NEW; n++) {
        pb_batch batch;
        pb_sample whole          = {.ids = ids, .length = PROMPT + n};
        pb_batch_options packing = {0};
        int32_t last             = PROMPT + n - 1;
        int32_t best             = 0;
        assert_ok(pb_batch_build(&whole, 1, &packing, &batch));
        assert_ok(pb_network_logits(f.net, &batch, &last, 1, logits, NULL));
        pb_batch_clear(&batch);
        for (int32_t v = 1; v < vocab; v++) {
            best = logits[v] > logits[best] ? v : best;
        }
        assert_int_equal(got.ids[n], best);
        ids[PROMPT + n] = best;
    }
    pb_memory_free(got.ids);
    free(logits);
    close_fixture(&f);
}

/* A written configuration reads back unchanged. */
static void saved_model_reads_alike(void **state)
{
    fixture f;
    char folder[512];
    pb_tensor weights[256];
    pb_tensor biases[256];
    pb_model_config again = {0};
    open_fixture(*state, false, &f);
    method_fixture_folder(folder, sizeof folder);
    for (int64_t i = 0; i < pb_model_site_count(f.base.model); i++) {
        weights[i] = pb_model_site_at(f.base.model, i)->weight;
        biases[i]  = pb_model_site_at(f.base.model, i)->bias;
    }
    const pb_model_config *config = pb_model_get_config(f.base.model);
    assert_ok(pb_model_save(folder, config, NULL, weights, biases));
    assert_ok(pb_model_config_read(folder, &again));
    assert_memory_equal(config, &again, sizeof again);
    method_fixture_remove(folder);
    close_fixture(&f);
}

/* The language part of Gemma3ForConditionalGeneration: its keys are in text_config, its tensors
 * have a prefix, beside those of the vision tower. */
static void check_part(const fixture *f, const char *json, const char *body)
{
    char folder[512];
    char path[700];
    char names[128][160];
    pb_named_tensor list[128];
    pb_model *part   = NULL;
    int64_t count    = 0;
    float pixels[4]  = {0};
    list[count++]    = (pb_named_tensor){"vision_tower.embeddings.weight",
                                         pb_tensor_2d(pixels, PB_DTYPE_F32, 2, 2)};
    list[count++]    = (pb_named_tensor){"multi_modal_projector.norm.weight",
                                         pb_tensor_1d(pixels, PB_DTYPE_F32, 4)};
    pb_string config = {0};
    method_fixture_folder(folder, sizeof folder);
    for (int64_t i = 0; i < pb_model_site_count(f->base.model); i++) {
        const pb_site *site = pb_model_site_at(f->base.model, i);
        if (site->has_weight) {
            snprintf(names[i], sizeof names[i], "%s%s.weight", body,
                     site->hf_name + strlen("model."));
            list[count++] = (pb_named_tensor){names[i], site->weight};
        }
    }
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    assert_ok(pb_safetensors_write(path, list, count, "pt"));
    assert_ok(
        pb_string_printf(&config,
                         "{\"architectures\": [\"Gemma3ForConditionalGeneration\"],"
                         "\"model_type\": \"gemma3\", \"vision_config\": {\"hidden_size\": 2},"
                         "\"image_token_index\": 7, \"eos_token_id\": [1, 9],"
                         "\"text_config\": %s}",
                         json));
    snprintf(path, sizeof path, "%s/config.json", folder);
    assert_ok(pb_file_write_atomic(path, config.data, config.length));
    assert_ok(pb_model_open(folder, NULL, 1, &part));
    assert_int_equal(pb_model_get_config(part)->eos_count, 2);
    assert_int_equal(pb_model_site_count(part), pb_model_site_count(f->base.model));
    assert_string_equal(pb_model_site(part, PB_SITE_K, 1)->hf_name,
                        "model.language_model.layers.1.self_attn.k_proj");
    assert_string_equal(pb_model_site(part, PB_SITE_FINAL_NORM, 0)->hf_name,
                        "model.language_model.norm");
    assert_string_equal(pb_model_site(part, PB_SITE_HEAD, 0)->hf_name, "lm_head");
    for (int64_t i = 0; i < pb_model_site_count(part); i++) {
        const pb_tensor *a = &pb_model_site_at(part, i)->weight;
        const pb_tensor *b = &pb_model_site_at(f->base.model, i)->weight;
        assert_true(pb_tensor_same_shape(a, b));
        assert_memory_equal(a->data, b->data, pb_tensor_bytes(a));
    }
    pb_model_close(part);
    pb_string_clear(&config);
    method_fixture_remove(folder);
}

static void the_language_part_of_a_larger_model_is_found(void **state)
{
    fixture f;
    char path[700];
    pb_string json = {0};
    (void)state;
    open_fixture("gemma3-linear", false, &f);
    snprintf(path, sizeof path, "%s/config.json", f.folder);
    assert_ok(pb_file_read(path, 1 << 16, &json));
    check_part(&f, json.data, "language_model.model.");
    check_part(&f, json.data, "model.language_model.");
    pb_string_clear(&json);
    close_fixture(&f);
}

static pb_status logits_of(const fixture *f, int64_t length)
{
    static int32_t ids[128];
    static float logits[64];
    pb_batch batch;
    pb_sample sample         = {.ids = ids, .length = length};
    pb_batch_options packing = {0};
    int32_t last             = (int32_t)length - 1;
    assert_ok(pb_batch_build(&sample, 1, &packing, &batch));
    pb_status status = pb_network_logits(f->net, &batch, &last, 1, logits, NULL);
    pb_batch_clear(&batch);
    return status;
}

/* Earlier, longer rows change nothing: the tables are those of the current length. */
static void a_dynamic_rope_has_no_memory(void **state)
{
    fixture f;
    (void)state;
    open_fixture("llama-dynamic-long", false, &f);
    check_logits(&f, "logits");
    assert_ok(logits_of(&f, 90));
    check_logits(&f, "logits");
    assert_ok(logits_of(&f, 7));
    assert_ok(logits_of(&f, 15));
    check_logits(&f, "logits");
    close_fixture(&f);
}

static void what_nobody_else_reads_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *of, *more, *word;
    } cases[] = {
        {"Mistral",
         "\"sliding_window\": 4, \"layer_types\": [\"full_attention\", "
         "\"sliding_attention\"]",
         "layer_types differ"},
        {"Gemma3", "\"sliding_window\": null", "sliding_window is null"},
        {"Gemma3", "\"rope_parameters\": {\"rope_type\": \"default\"}", "lacks full_attention"},
        {"Phi3", "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.0}", "only default"},
        {"Llama", "\"use_sliding_window\": \"yes\"", "use_sliding_window"},
        {"Qwen2", "\"layer_types\": [\"full_attention\"]", "list of 2 names"},
        {"Qwen2", "\"layer_types\": [\"full_attention\", \"chunked_attention\"]", "entry 1"},
        {"Llama", "\"layer_types\": [\"full_attention\", \"sliding_attention\"]", "has none"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char json[700];
        pb_model_config config;
        int length = snprintf(json, sizeof json,
                              "{\"architectures\": [\"%sForCausalLM\"], \"num_hidden_layers\": 2, "
                              "\"hidden_size\": 8, \"num_attention_heads\": 2, "
                              "\"num_key_value_heads\": 1, \"head_dim\": 4, \"vocab_size\": 16, "
                              "\"intermediate_size\": 8, \"max_position_embeddings\": 16, "
                              "\"rms_norm_eps\": 1e-5, %s}",
                              cases[i].of, cases[i].more);
        assert_true(pb_model_config_parse(json, (size_t)length, "config.json", &config) != PB_OK);
        assert_non_null(strstr(pb_error_message(), cases[i].word));
        pb_error_clear();
    }
}

/* Beyond the model's own positions a cache holds keys of other frequencies, in transformers too. */
#define CASE_WITHOUT_CACHE(name)                                 \
    {"logits_" name, bare_model, NULL, NULL, name},              \
        {"lora_" name, adapted_model, NULL, NULL, name},         \
    {                                                            \
        "saved_" name, saved_model_reads_alike, NULL, NULL, name \
    }

#define CASE(name)                                                        \
    {"logits_" name, bare_model, NULL, NULL, name},                       \
        {"lora_" name, adapted_model, NULL, NULL, name},                  \
        {"cache_" name, generation_follows_the_logits, NULL, NULL, name}, \
    {                                                                     \
        "saved_" name, saved_model_reads_alike, NULL, NULL, name          \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE("phi3"),
        CASE("qwen2-windows"),
        CASE("qwen3-bias"),
        CASE("llama-linear"),
        CASE("llama-dynamic"),
        CASE("llama-yarn"),
        CASE("qwen3-yarn"),
        CASE("gemma3-linear"),
        cmocka_unit_test(the_language_part_of_a_larger_model_is_found),
        cmocka_unit_test(a_dynamic_rope_has_no_memory),
        CASE_WITHOUT_CACHE("llama-dynamic-long"),
        cmocka_unit_test(what_nobody_else_reads_is_refused),
    };
    return cmocka_run_group_tests_name("golden_family", tests, NULL, NULL);
}
