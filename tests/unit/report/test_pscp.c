// SPDX-License-Identifier: Apache-2.0
/* The PSCP formula on hand-made cases, and the reader of its CSV table. */
#include "support.h"

#include "pb/file.h"
#include "pb/memory.h"
#include "pb/pscp.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char table_path[64];

static int make_path(void **state)
{
    (void)state;
    (void)snprintf(table_path, sizeof table_path, "/tmp/pb_pscp_%d.csv", (int)getpid());
    return 0;
}

static int remove_path(void **state)
{
    (void)state;
    (void)unlink(table_path);
    return pb_memory_current() == 0 ? 0 : -1;
}

static void at_the_constants_every_cost_halves_the_score(void **state)
{
    pb_pscp_params params = pb_pscp_defaults();
    pb_pscp_inputs inputs = {.score = 80, .params = 5e8, .flops_t = 10, .memory_gb = 94};
    pb_pscp_result result = {0};

    (void)state;
    assert_ok(pb_pscp(&inputs, &params, &result));
    assert_true(result.cost_p == 0.5 && result.cost_f == 0.5 && result.cost_m == 0.5);
    assert_true(result.pscp == 10);
    params.beta_f = 0;
    params.beta_m = 2;
    assert_ok(pb_pscp(&inputs, &params, &result));
    assert_true(result.cost_f == 1 && result.cost_m == 0.25);
    assert_true(result.pscp == 10);
}

static void values_out_of_range_are_errors_that_name_them(void **state)
{
    const pb_pscp_inputs good = {.score = 80, .params = 1, .flops_t = 1, .memory_gb = 1};
    pb_pscp_params params     = pb_pscp_defaults();
    pb_pscp_result result     = {.pscp = -1};
    pb_pscp_inputs inputs     = good;

    (void)state;
    inputs.score = -1;
    assert_error(pb_pscp(&inputs, &params, &result), PB_ERR_NUMERIC, "score");
    inputs         = good;
    inputs.flops_t = -0.5;
    assert_error(pb_pscp(&inputs, &params, &result), PB_ERR_NUMERIC, "flops_t");
    inputs           = good;
    inputs.memory_gb = INFINITY;
    assert_error(pb_pscp(&inputs, &params, &result), PB_ERR_NUMERIC, "memory_gb");
    inputs.memory_gb = NAN;
    assert_error(pb_pscp(&inputs, &params, &result), PB_ERR_NUMERIC, "memory_gb");
    inputs     = good;
    params.c_f = 0;
    assert_error(pb_pscp(&inputs, &params, &result), PB_ERR_NUMERIC, "c_f");
    assert_error(pb_pscp_check(&params), PB_ERR_USAGE, "c_f");
    params        = pb_pscp_defaults();
    params.beta_m = -1;
    assert_error(pb_pscp_check(&params), PB_ERR_USAGE, "beta_m");
    assert_true(result.pscp == -1); /* untouched by failures */
}

static pb_status read_text(const char *text, pb_pscp_row **rows, int64_t *count)
{
    PB_TRY(pb_file_write_atomic(table_path, text, strlen(text)));
    return pb_pscp_read(table_path, rows, count);
}

static void csv_is_read_as_rfc_4180_says(void **state)
{
    pb_pscp_row *rows = NULL;
    int64_t count     = 0;

    (void)state;
    assert_ok(read_text("\xEF\xBB\xBFnote,memory_gb,flops_t,params,score,method\r\n"
                        "\"a, \"\"b\"\"\nc\",2,0.5,1e3,80.5,\"lora, \"\"r\"\" 8\"\r\n"
                        "\r\n"
                        ",3,0,10,70,ü",
                        &rows, &count));
    assert_int_equal(count, 2);
    assert_string_equal(rows[0].method, "lora, \"r\" 8");
    assert_true(rows[0].inputs.score == 80.5 && rows[0].inputs.params == 1000);
    assert_true(rows[0].inputs.flops_t == 0.5 && rows[0].inputs.memory_gb == 2);
    assert_string_equal(rows[1].method, "ü");
    pb_pscp_rows_free(rows, count);
}

#define HEADER "method,score,params,flops_t,memory_gb\n"

static void mistakes_in_a_table_name_line_and_column(void **state)
{
    static const char *const bad[][2] = {
        {"", "empty"},
        {"\n\n", "empty"},
        {HEADER, "no row"},
        {"method,score,params,memory_gb\na,1,2,3\n", ":1: column flops_t is missing"},
        {"method,score,params,flops_t,memory_gb,score\na,1,2,3,4,5\n", "\"score\" occurs twice"},
        {HEADER "a,1,2,3\n", ":2: 4 fields, but the header has 5"},
        {HEADER "a,1,2,3,4,5\n", ":2: 6 fields"},
        {HEADER "a,1,2,3,4\nb,1,x,3,4\n", ":3: column params: \"x\" is not a number"},
        {HEADER "a,1,2,3,\n", ":2: column memory_gb: \"\" is not a number"},
        {HEADER "a,1,2,3,nan\n", ":2: column memory_gb: \"nan\" is not a number"},
        {HEADER "a,1,2,3,1e999\n", ":2: column memory_gb"},
        {HEADER "a,1,2,-3,4\n", ":2: column flops_t: -3 is negative"},
        {HEADER "a,1 ,2,3,4\n", ":2: column score"},
        {HEADER ",1,2,3,4\n", ":2: column method: it is empty"},
        {HEADER "\"a,1,2,3,4\n", ":2: a quoted field is not closed"},
        {HEADER "\"a\"b,1,2,3,4\n", ":2: text after a closing quote"},
        {HEADER "a\"b,1,2,3,4\n", ":2: a quote inside"},
        {HEADER "a,1,2,3,4\rb,1,2,3,4\n", ":2: a carriage return"},
        {HEADER "\xFF,1,2,3,4\n", ":2: a field is not valid UTF-8"},
        {HEADER "a,1,2,3,4\n\"b\nc\",1,2,3,4\n", ":3: column method: a line end or control"},
        {HEADER "a\x1b[31m,1,2,3,4\n", ":2: column method: a line end or control character (0x1b)"},
        {HEADER "a,1,2,3,4\nb,1,2,3,4\na,5,6,7,8\n",
         ":4: column method: \"a\" is in line 2 already"},
        {HEADER "a,1e308,2,3,4\n", ":2: column score: 1e+308 is above 1e+15"},
        {HEADER "a,1,0x10,3,4\n", ":2: column params: \"0x10\" is not a number"},
    };
    pb_pscp_row *rows = NULL;
    int64_t count     = 0;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        pb_status status = read_text(bad[i][0], &rows, &count);
        assert_true(status == PB_ERR_FORMAT || status == PB_ERR_NUMERIC);
        assert_error(status, status, bad[i][1]);
    }
    assert_null(rows);
    assert_error(pb_pscp_read("/nowhere.csv", &rows, &count), PB_ERR_NOT_FOUND, "/nowhere.csv");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_the_constants_every_cost_halves_the_score),
        cmocka_unit_test(values_out_of_range_are_errors_that_name_them),
        cmocka_unit_test(csv_is_read_as_rfc_4180_says),
        cmocka_unit_test(mistakes_in_a_table_name_line_and_column),
    };
    return cmocka_run_group_tests_name("pscp", tests, make_path, remove_path);
}
