// SPDX-License-Identifier: Apache-2.0
/* Every mismatch of the weights of a checkpoint and its configuration is named. */
#include "tensor_list.h"

#include <math.h>
#include <stdio.h>

static void a_missing_tensor_is_named(void **state)
{
    (void)state;
    static const char *const names[] = {
        "model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight",
        "model.layers.0.post_attention_layernorm.weight", "model.norm.weight", "lm_head.weight"};
    pb_model_config config = fixture_config();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        tensor_list list;
        const char *path = fixture_model("missing", &config);
        list_open(&list, path);
        list_remove(&list, names[i]);
        list_write(&list, path);
        expect_open_fails(path, PB_ERR_NOT_FOUND, names[i], "missing");
    }
}

static void a_tensor_that_belongs_to_nothing_is_named(void **state)
{
    (void)state;
    static const char *const names[] = {
        "model.layers.1.self_attn.q_proj.weight", "model.layers.0.self_attn.q_proj.bias",
        "model.layers.0.self_attn.q_norm.weight", "v_head.weight", "embed_tokens_2.bias"};
    pb_model_config config = fixture_config();
    float values[8]        = {0};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        tensor_list list;
        const char *path = fixture_model("extra", &config);
        list_open(&list, path);
        list.items[list.count++] =
            (pb_named_tensor){names[i], pb_tensor_1d(values, PB_DTYPE_F32, 8)};
        list_write(&list, path);
        expect_open_fails(path, PB_ERR_UNSUPPORTED, names[i], "config.json");
    }
}

static void a_wrong_shape_is_named_with_both_shapes(void **state)
{
    (void)state;
    pb_model_config config = fixture_config();
    tensor_list list;
    const char *path = fixture_model("shape", &config);
    list_open(&list, path);
    pb_tensor *up = &list_find(&list, "model.layers.0.mlp.up_proj.weight")->tensor;
    *up           = pb_tensor_2d(up->data, PB_DTYPE_F32, 8, 12); /* transposed */
    list_write(&list, path);
    expect_open_fails(path, PB_ERR_SHAPE, "mlp.up_proj.weight has shape [8, 12]", "[12, 8]");

    path = fixture_model("ndim", &config);
    list_open(&list, path);
    pb_tensor *norm = &list_find(&list, "model.norm.weight")->tensor;
    *norm           = pb_tensor_2d(norm->data, PB_DTYPE_F32, 8, 1);
    list_write(&list, path);
    expect_open_fails(path, PB_ERR_SHAPE, "model.norm.weight has shape [8, 1]", "[8]");
}

static void a_wrong_dtype_is_named(void **state)
{
    (void)state;
    pb_model_config config = fixture_config();
    tensor_list list;
    const char *path = fixture_model("dtype", &config);
    list_open(&list, path);
    list_find(&list, "model.norm.weight")->tensor.dtype = PB_DTYPE_I32;
    list_write(&list, path);
    expect_open_fails(path, PB_ERR_UNSUPPORTED, "model.norm.weight", "I32");
}

static void values_that_are_not_finite_are_named_by_tensor_and_index(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    pb_model_config config   = fixture_config();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tensor_list list;
        float values[12 * 8] = {0};
        values[11]           = 3.4e38f; /* finite */
        values[77]           = bad[i];
        const char *path     = fixture_model("nan", &config);
        list_open(&list, path);
        list_find(&list, "model.layers.0.mlp.gate_proj.weight")->tensor.data = values;
        list_write(&list, path);
        expect_open_fails(path, PB_ERR_NUMERIC, "mlp.gate_proj.weight", "value 77");
    }
}

static void what_is_no_checkpoint_is_refused(void **state)
{
    (void)state;
    pb_model_config config = fixture_config();
    const char *path       = fixture_model("without", &config);
    assert_int_equal(remove(fixture_path("without/model.safetensors")), 0);
    expect_open_fails(path, PB_ERR_NOT_FOUND, "model.safetensors", "index.json");
    assert_int_equal(remove(fixture_path("without/config.json")), 0);
    expect_open_fails(path, PB_ERR_NOT_FOUND, "config.json", "");
    expect_open_fails(fixture_path("nowhere"), PB_ERR_NOT_FOUND, "config.json", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_missing_tensor_is_named),
        cmocka_unit_test(a_tensor_that_belongs_to_nothing_is_named),
        cmocka_unit_test(a_wrong_shape_is_named_with_both_shapes),
        cmocka_unit_test(a_wrong_dtype_is_named),
        cmocka_unit_test(values_that_are_not_finite_are_named_by_tensor_and_index),
        cmocka_unit_test(what_is_no_checkpoint_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, fixture_finish);
}
