// SPDX-License-Identifier: Apache-2.0
/* Whole runs, of training and of generation, with threads and blocks executed forwards, backwards
 * and shuffled: the same bits. */
#include "fake_cuda.h"
#include "network_fixture.h"

#include "pb/memory.h"
#include "pb/train.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 2, BATCH = 3, NEW_TOKENS = 2 };

/* Heads of 64, which attention on tensor cores takes, two of them with the same keys. */
static const char wide_heads[] =
    "{\"architectures\": [\"Qwen3ForCausalLM\"], \"num_hidden_layers\": 2, \"hidden_size\": 32, "
    "\"num_attention_heads\": 2, \"num_key_value_heads\": 1, \"head_dim\": 64, "
    "\"intermediate_size\": 40, \"vocab_size\": 40, \"max_position_embeddings\": 64, "
    "\"rms_norm_eps\": 1e-5}";

static const char small[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"num_hidden_layers\": 1, \"hidden_size\": 16, "
    "\"num_attention_heads\": 2, \"num_key_value_heads\": 1, \"head_dim\": 8, "
    "\"intermediate_size\": 24, \"vocab_size\": 40, \"max_position_embeddings\": 64, "
    "\"rms_norm_eps\": 1e-5}";

/* The shape of the checkpoint tiny-llama3: blocks of several tiles, many narrow heads. */
static const char tiny_llama3[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"num_hidden_layers\": 2, \"hidden_size\": 128, "
    "\"num_attention_heads\": 8, \"num_key_value_heads\": 2, \"intermediate_size\": 192, "
    "\"vocab_size\": 512, \"max_position_embeddings\": 512, \"rms_norm_eps\": 1e-5, "
    "\"rope_theta\": 500000.0, \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0, "
    "\"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, "
    "\"original_max_position_embeddings\": 64}}";

typedef struct run_case {
    const char *model;
    method_case method;
    bool bf16;
} run_case;

typedef struct results {
    double loss[STEPS], norm[STEPS];
    double validation;
    float *values; /* of the method, at the end */
    int64_t count;
    int32_t ids[NEW_TOKENS];
    int64_t new_tokens;
} results;

static void open_model(const char *json, pb_model **model)
{
    pb_model_config config = {0};
    assert_ok(pb_model_config_parse(json, strlen(json), "test", &config));
    assert_ok(pb_model_open_random(&config, 7, 1, model));
}

static pb_status note_step(void *context, const pb_train_step *step)
{
    results *r              = context;
    r->loss[step->step - 1] = step->loss;
    r->norm[step->step - 1] = step->grad_norm;
    return PB_OK;
}

static void train(network_fixture *f, const network_rows *rows, results *r)
{
    pb_train_options options;
    pb_train_result result;
    pb_train_data data         = {rows->samples, BATCH, rows->samples + BATCH, 1};
    pb_train_observer observer = {.context = r, .step = note_step};
    assert_ok(pb_config_defaults(pb_train_fields, &options));
    options.max_steps     = STEPS;
    options.batch         = BATCH;
    options.learning_rate = 1e-2;
    options.warmup_ratio  = 0.0;
    assert_ok(pb_train_run(f->net, f->method, &options, 3, &data, &observer, &result));
    assert_int_equal(result.steps, STEPS);
    r->validation = result.best_loss;
    r->count      = f->method->parameters;
    r->values     = host_values(f->backend, &f->method->values);
}

static void generate(network_fixture *f, const network_rows *rows, results *r)
{
    pb_generate_options options = {.max_new_tokens = NEW_TOKENS, .batch = 1};
    pb_generated out            = {0};
    assert_ok(pb_network_generate(f->net, &rows->samples[0], 1, &options, &out));
    r->new_tokens = out.count;
    memcpy(r->ids, out.ids, (size_t)r->new_tokens * sizeof *r->ids);
    pb_memory_free(out.ids);
}

static void run(const run_case *c, results *r)
{
    network_fixture f = {0};
    network_rows rows;
    *r = (results){0};
    network_rows_fill(&rows);
    open_model(c->model, &f.model);
    assert_ok(network_open_on(&f, "cuda", c->bf16 ? PB_DTYPE_BF16 : PB_DTYPE_F32, &c->method));
    train(&f, &rows, r);
    generate(&f, &rows, r);
    network_fixture_close(&f);
}

static void check(const run_case *c)
{
    static const unsigned orders[] = {1, 17};
    results want;
    cuda_host_order(0);
    run(c, &want);
    assert_true(want.loss[0] > 0.0 && want.norm[0] > 0.0 && want.validation > 0.0);
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        results got;
        cuda_host_order(orders[i]);
        run(c, &got);
        assert_memory_equal(got.loss, want.loss, sizeof want.loss);
        assert_memory_equal(got.norm, want.norm, sizeof want.norm);
        assert_memory_equal(&got.validation, &want.validation, sizeof want.validation);
        assert_int_equal(got.count, want.count);
        assert_memory_equal(got.values, want.values, (size_t)want.count * sizeof *want.values);
        assert_int_equal(got.new_tokens, want.new_tokens);
        assert_memory_equal(got.ids, want.ids, sizeof want.ids);
        free(got.values);
    }
    cuda_host_order(0);
    free(want.values);
}

static void low_rank_runs_in_bf16_have_the_same_bits(void **state)
{
    (void)state;
    check(&(run_case){wide_heads, {"lora", "r = 8; dropout = 0.1;"}, true});
}

static void low_rank_runs_in_f32_have_the_same_bits(void **state)
{
    (void)state;
    check(&(run_case){wide_heads, {"lora", "r = 8; dropout = 0.0;"}, false});
}

/* Gradients of weights, embeddings and norms too. */
static void full_runs_in_bf16_have_the_same_bits(void **state)
{
    (void)state;
    check(&(run_case){wide_heads, {"full", ""}, true});
}

/* In BF16, where a run has conversions too. */
static void runs_of_every_method_have_the_same_bits(void **state)
{
    (void)state;
    for (int i = 0; i < method_case_count(); i++) {
        const method_case *c = method_case_at(i);
        if (method_case_is_first(i) && strcmp(c->method, "none") != 0) {
            check(&(run_case){small, *c, true});
        }
    }
}

static void low_rank_runs_of_tiny_llama3_have_the_same_bits(void **state)
{
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        check(&(run_case){tiny_llama3, {"lora", "r = 8; dropout = 0.1;"}, bf16 == 1});
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(low_rank_runs_in_bf16_have_the_same_bits),
        cmocka_unit_test(low_rank_runs_in_f32_have_the_same_bits),
        cmocka_unit_test(full_runs_in_bf16_have_the_same_bits),
        cmocka_unit_test(runs_of_every_method_have_the_same_bits),
        cmocka_unit_test(low_rank_runs_of_tiny_llama3_have_the_same_bits),
    };
    return cmocka_run_group_tests_name("cuda_host_order", tests, NULL, NULL);
}
