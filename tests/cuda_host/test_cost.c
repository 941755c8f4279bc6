// SPDX-License-Identifier: Apache-2.0
/* The bytes that the plan foresees on a device, against those that the backend holds before the
 * first step, for every method that trains, models of two kinds and both types: never fewer, at
 * most a quarter more. */
#include "internal.h"

#include "methods.h"
#include "support.h"

#include "pb/memory.h"
#include "pb/network.h"
#include "pb/usage.h"

#include <stdio.h>
#include <string.h>

enum { ROWS = 6, LENGTH = 80, LABELS = 6, VOCAB = 500 };

/* Of the trainer: two moments and the best values so far. */
enum { TRAINER_VALUES = 3 };

static const char *const models[] = {
    "\"architectures\": [\"LlamaForCausalLM\"], \"num_hidden_layers\": 4, "
    "\"num_key_value_heads\": 2, \"intermediate_size\": 320",
    "\"architectures\": [\"Qwen3ForCausalLM\"], \"num_hidden_layers\": 4, "
    "\"num_key_value_heads\": 4, \"intermediate_size\": 192, \"tie_word_embeddings\": true",
};

static pb_model *open_model(const char *keys)
{
    char json[1024];
    pb_model_config config = {0};
    pb_model *model        = NULL;
    int length =
        snprintf(json, sizeof json,
                 "{%s, \"hidden_size\": 128, \"num_attention_heads\": 4, \"head_dim\": 32, "
                 "\"vocab_size\": %d, \"max_position_embeddings\": 256, "
                 "\"rms_norm_eps\": 1e-5}",
                 keys, VOCAB);
    assert_ok(pb_model_config_parse(json, (size_t)length, "test", &config));
    assert_ok(pb_model_open_random(&config, 7, 1, &model));
    return model;
}

static pb_method *create(const method_case *m, const pb_model *model, pb_backend *be)
{
    pb_config *options       = NULL;
    const pb_method_ops *ops = NULL;
    pb_method *method        = NULL;
    char text[512];
    (void)snprintf(text, sizeof text, "method = { %s };", m->options);
    assert_ok(pb_config_parse(text, "test", &options));
    assert_ok(pb_method_find(m->method, &ops));
    assert_ok(pb_method_create(ops, options, "method", model, be, 5, &method));
    pb_config_close(options);
    return method;
}

/* Rows that share nothing, each with its labels at the end. */
static pb_batch pack(const pb_network *net)
{
    static int32_t ids[ROWS][LENGTH], labels[ROWS][LENGTH];
    pb_sample samples[ROWS];
    pb_batch batch           = {0};
    pb_batch_options packing = pb_network_batch_options(net, true);
    for (int r = 0; r < ROWS; r++) {
        for (int i = 0; i < LENGTH; i++) {
            ids[r][i]    = (r * LENGTH + i) % VOCAB;
            labels[r][i] = i < LENGTH - LABELS ? -100 : ids[r][i];
        }
        samples[r] = (pb_sample){.ids = ids[r], .labels = labels[r], .length = LENGTH};
    }
    assert_ok(pb_batch_build(samples, ROWS, &packing, &batch));
    return batch;
}

static void check(const method_case *m, pb_model *model, pb_dtype dtype)
{
    pb_backend *be      = NULL;
    pb_weights *weights = NULL;
    pb_network *net     = NULL;
    size_t held         = 0;
    assert_ok(pb_backend_open("cuda", 0, 1, &be));
    assert_ok(pb_backend_use_dtype(be, dtype));
    assert_ok(pb_weights_open(model, be, pb_backend_border(be), &weights));
    pb_method *method = create(m, model, be);
    assert_ok(pb_network_create(weights, method, &net));
    pb_batch batch = pack(net);
    assert_ok(pb_network_reserve(net, &batch));
    assert_ok(method->ops->begin_steps != NULL ? method->ops->begin_steps(method) : PB_OK);
    pb_backend_memory(be, &held, NULL);
    double all   = (double)held + TRAINER_VALUES * sizeof(float) * (double)method->parameters;
    double told  = cell_device_bytes(model, method, dtype, ROWS * LENGTH, ROWS * LABELS);
    double fixed = 32 << 20; /* the workspace */
    double ratio = (told - fixed) / (all - fixed);
    if (method->parameters > 0 && !(ratio >= 1.0 && ratio <= 1.25)) {
        fail_msg("%s, %s: %.0f bytes are foreseen, %.0f are held: %.3f", method_case_text(m),
                 pb_dtype_name(dtype), told, all, ratio);
    }
    pb_batch_clear(&batch);
    pb_network_destroy(net);
    pb_method_destroy(method);
    pb_weights_close(weights);
    pb_backend_close(be);
}

static void what_is_held_was_foreseen(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        pb_model *model = open_model(models[i]);
        for (int m = 0; m < method_case_count(); m++) {
            check(method_case_at(m), model, PB_DTYPE_F32);
            check(method_case_at(m), model, PB_DTYPE_BF16);
        }
        pb_model_close(model);
    }
    assert_int_equal(pb_memory_current(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_held_was_foreseen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
