// SPDX-License-Identifier: Apache-2.0
/* The counts behind the MFU against those worked out by hand for an 8B Llama. */
#include "flops.h"
#include "shapes.h"
#include "support.h"

#include "pb/method.h"

#include <math.h>

static const step_size two_rows = {.rows = 2, .length = 4096, .labels = 4095};

static void assert_near(double value, double expected, double distance)
{
    if (!(fabs(value - expected) <= distance)) {
        fail_msg("%.6f, not %.6f", value, expected);
    }
}

static pb_model *open_shape(const char *name)
{
    pb_model_config config;
    pb_model *model = NULL;
    assert_ok(bench_shape(name, &config));
    assert_ok(pb_model_open_shape(&config, &model));
    return model;
}

static int64_t trained_by_lora(const pb_model *model)
{
    static const char text[] = "method = { name = \"lora\"; r = 16; targets = \"all-linear\"; };";
    const pb_method_ops *ops = NULL;
    pb_config *config        = NULL;
    pb_method *method        = NULL;
    assert_ok(pb_config_parse(text, "text", &config));
    assert_ok(pb_method_find_in(config, "method", &ops));
    assert_ok(pb_method_create(ops, config, "method", model, NULL, 1, &method));
    int64_t count = method->parameters;
    pb_method_destroy(method);
    pb_config_close(config);
    return count;
}

/* TFLOP: linears 114.35 forward and 113.94 for dx, head 17.21, attention 8.80 and 21.99, low-rank
 * parts 2.06. */
static void test_a_step_of_8b_needs_278_tflop(void **state)
{
    (void)state;
    pb_model *model = open_shape("llama-3-8b");
    double tflop    = flops_counted(model, trained_by_lora(model), &two_rows) * 1e-12;
    assert_near(tflop, 278.3, 0.06);
    pb_model_close(model);
}

/* 4 · 8.03e9 · 8192 */
static void test_the_published_formula_says_263_tflop(void **state)
{
    (void)state;
    pb_model *model = open_shape("llama-3-8b");
    assert_near(flops_by_parameters(model, &two_rows) * 1e-12, 263.1, 0.06);
    pb_model_close(model);
}

/* One layer by hand: 2 tokens, both labels; width 4, 2 heads of 2, 1 key head, 6 wide, 8 ids. */
static void test_every_term_counts(void **state)
{
    (void)state;
    const step_size step = {.rows = 1, .length = 2, .labels = 2};
    pb_model *model = open_shape("layers=1,width=4,heads=2,kv_heads=1,head_dim=2,ff=6,vocab=8");
    double linears  = 4 * 4 + 4 * 2 + 4 * 2 + 4 * 4 + 3 * 4 * 6;
    double first    = 4 * 4 + 4 * 2 + 4 * 2;
    double frozen   = 2.0 * 2 * linears + 2.0 * 2 * (linears - first);
    double head     = 2 * 2.0 * 2 * 8 * 4;
    double pairs    = 3.0; /* the second token sees two */
    double expected = frozen + head + 7 * 2.0 * pairs * 2 * 2 + 3 * 2.0 * 2 * 10;
    assert_near(flops_counted(model, 10, &step), expected, 1e-9);
    pb_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_step_of_8b_needs_278_tflop),
        cmocka_unit_test(test_the_published_formula_says_263_tflop),
        cmocka_unit_test(test_every_term_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
