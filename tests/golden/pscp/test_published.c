// SPDX-License-Identifier: Apache-2.0
/* PSCP against the golden list (1e-12 relative, its own tolerance) and against the published
 * tables (0.01, what two printed decimals allow). */
#include "support.h"

#include "csv.h"

#include "pb/file.h"
#include "pb/memory.h"
#include "pb/pscp.h"

#include <jansson.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A number, or one of the texts for values that JSON cannot represent. */
static double number_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    if (json_is_string(value)) {
        return strcmp(json_string_value(value), "Infinity") == 0 ? INFINITY : NAN;
    }
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static pb_status compute(const json_t *in, pb_pscp_result *out)
{
    pb_pscp_inputs inputs = {.score     = number_of(in, "P"),
                             .params    = number_of(in, "params"),
                             .flops_t   = number_of(in, "flops_delta_T"),
                             .memory_gb = number_of(in, "memory_gb")};
    pb_pscp_params params = {.beta_p = number_of(in, "b_p"),
                             .beta_f = number_of(in, "b_f"),
                             .beta_m = number_of(in, "b_m"),
                             .c_p    = number_of(in, "c_p"),
                             .c_f    = number_of(in, "c_f"),
                             .c_m    = number_of(in, "c_m")};

    return pb_pscp(&inputs, &params, out);
}

static void assert_relative(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance * fabs(b))) {
        print_error("%.17g is not %.17g\n", a, b);
        fail();
    }
}

static json_t *load_golden(void)
{
    json_error_t error;
    json_t *root = json_load_file(shared_path("golden/protocol/pscp.json"), 0, &error);

    if (root == NULL) {
        print_error("pscp.json:%d: %s\n", error.line, error.text);
    }
    assert_non_null(root);
    return root;
}

static void check_list(const char *name, size_t at_least)
{
    json_t *root     = load_golden();
    json_t *list     = json_object_get(root, name);
    double tolerance = json_number_value(json_object_get(root, "tolerance_rel"));

    assert_true(json_array_size(list) >= at_least);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry   = json_array_get(list, i);
        const json_t *out     = json_object_get(entry, "out");
        pb_pscp_result result = {0};

        assert_ok(compute(json_object_get(entry, "in"), &result));
        assert_relative(result.cost_p, number_of(out, "cost_p"), tolerance);
        assert_relative(result.cost_f, number_of(out, "cost_f"), tolerance);
        assert_relative(result.cost_m, number_of(out, "cost_m"), tolerance);
        assert_relative(result.pscp, number_of(out, "pscp"), tolerance);
    }
    json_decref(root);
}

static void the_published_inputs_of_the_golden_list_match(void **state)
{
    (void)state;
    check_list("published", 70);
}

static void the_random_inputs_of_the_golden_list_match(void **state)
{
    (void)state;
    check_list("random", 50);
}

static void everything_the_golden_list_calls_an_error_is_one(void **state)
{
    json_t *root = load_golden();
    json_t *list = json_object_get(root, "errors");

    (void)state;
    assert_true(json_array_size(list) >= 14);
    for (size_t i = 0; i < json_array_size(list); i++) {
        pb_pscp_result result = {0};
        assert_error(compute(json_object_get(json_array_get(list, i), "in"), &result),
                     PB_ERR_NUMERIC, "pscp:");
    }
    json_decref(root);
}

static void load_table(const char *name, csv_table *out)
{
    const char *path = shared_path("protocol/tables/%s", name);
    pb_string text   = {0};

    assert_ok(pb_file_read(path, 0, &text));
    assert_ok(csv_parse(path, text.data, text.length, out));
    pb_string_clear(&text);
}

static double cell(const csv_table *table, int64_t row, const char *column)
{
    int64_t at = csv_column(table, column);

    assert_true(at >= 0);
    return strtod(table->rows[row].fields[at], NULL);
}

static pb_pscp_result published(const csv_table *inputs, int64_t row, const pb_pscp_params *params)
{
    pb_pscp_inputs in     = {.score     = cell(inputs, row, "p_avg"),
                             .params    = cell(inputs, row, "trainable_params"),
                             .flops_t   = cell(inputs, row, "flops_minus_base_t"),
                             .memory_gb = cell(inputs, row, "memory_gb")};
    pb_pscp_result result = {0};

    assert_ok(pb_pscp(&in, params, &result));
    return result;
}

static void assert_printed(double value, double printed)
{
    if (!(fabs(value - printed) <= 0.01)) {
        print_error("%.6f was printed as %.2f\n", value, printed);
        fail();
    }
}

static void table_3_comes_out_with_all_exponents_1(void **state)
{
    pb_pscp_params params = pb_pscp_defaults();
    csv_table inputs      = {0};
    csv_table table       = {0};

    (void)state;
    load_table("pscp_inputs.csv", &inputs);
    load_table("pscp_v1_table3.csv", &table);
    assert_int_equal(table.count, 7);
    for (int64_t r = 1; r < table.count; r++) {
        assert_string_equal(table.rows[r].fields[0], inputs.rows[r].fields[0]);
        pb_pscp_result result = published(&inputs, r, &params);
        assert_printed(result.pscp, cell(&table, r, "pscp"));
        assert_printed(result.cost_p, cell(&table, r, "cost_p"));
        assert_printed(result.cost_f, cell(&table, r, "cost_f"));
        assert_printed(result.cost_m, cell(&table, r, "cost_m"));
    }
    csv_clear(&inputs);
    csv_clear(&table);
}

/* Tables 9 and 10: one row per choice of exponents, one column per method. */
static void check_exponents(const char *name, int64_t rows)
{
    csv_table inputs = {0};
    csv_table table  = {0};

    load_table("pscp_inputs.csv", &inputs);
    load_table(name, &table);
    assert_int_equal(table.count, rows + 1);
    for (int64_t r = 1; r < table.count; r++) {
        pb_pscp_params params = pb_pscp_defaults();
        params.beta_p         = cell(&table, r, "beta_p");
        params.beta_f         = cell(&table, r, "beta_f");
        params.beta_m         = cell(&table, r, "beta_m");
        for (int64_t m = 1; m < inputs.count; m++) {
            const char *method = inputs.rows[m].fields[0];
            const char *column = strcmp(method, "bitfit") == 0 ? "bitfit_computed" : method;
            assert_printed(published(&inputs, m, &params).pscp, cell(&table, r, column));
        }
    }
    csv_clear(&inputs);
    csv_clear(&table);
}

static void table_9_comes_out_with_one_exponent_changed(void **state)
{
    (void)state;
    check_exponents("pscp_v1_table9.csv", 6);
}

static void table_10_comes_out_with_all_exponents_changed(void **state)
{
    (void)state;
    check_exponents("pscp_v1_table10.csv", 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_inputs_of_the_golden_list_match),
        cmocka_unit_test(the_random_inputs_of_the_golden_list_match),
        cmocka_unit_test(everything_the_golden_list_calls_an_error_is_one),
        cmocka_unit_test(table_3_comes_out_with_all_exponents_1),
        cmocka_unit_test(table_9_comes_out_with_one_exponent_changed),
        cmocka_unit_test(table_10_comes_out_with_all_exponents_changed),
    };
    (void)shared_directory();
    return cmocka_run_group_tests_name("published", tests, NULL, NULL);
}
