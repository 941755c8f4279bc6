// SPDX-License-Identifier: Apache-2.0
/* The contents of the report: statistics worked out by hand, and nothing missing or failed is left
 * out. */
#include "sample.h"
#include "support.h"

#include "pb/report.h"
#include "pb/utf8.h"

#include <jansson.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct one_cell {
    const char *dataset, *method;
    int64_t seed;
    double score; /* NaN: failed */
} one_cell;

/* Two data sets, two methods, three seeds; lora on sst2 has one failed and one missing cell. */
static const one_cell cells[] = {
    {"rte", "none", 1, 50},  {"rte", "none", 2, 50},   {"rte", "none", 3, 50},
    {"sst2", "none", 1, 60}, {"sst2", "none", 2, 60},  {"sst2", "none", 3, 60},
    {"rte", "lora", 1, 70},  {"rte", "lora", 2, 72},   {"rte", "lora", 3, 74},
    {"sst2", "lora", 1, 90}, {"sst2", "lora", 2, NAN},
};
static const one_cell gone = {"sst2", "lora", 3, 0};

static void put(const char *directory, const one_cell *cell)
{
    pb_record r;

    assert_ok(sample_record("m", cell->dataset, cell->method, cell->seed, &r));
    r.score            = cell->score;
    r.score_low        = cell->score - 4;
    r.score_high       = cell->score + 3;
    r.trainable_params = cell->method[0] == 'n' ? 0 : 5000;
    r.flops_base_t     = 1;
    r.flops_forward_t  = cell->method[0] == 'n' ? 1 : 1.5;
    r.memory_peak_gb   = 2 + 0.5 * (double)cell->seed;
    if (isnan(cell->score)) {
        assert_ok(pb_record_fail(&r, PB_FAIL(PB_ERR_NUMERIC, "the loss is not finite")));
        pb_error_clear();
    }
    assert_ok(pb_shard_write(directory, &r));
    pb_record_clear(&r);
}

static void add(pb_plan *plan, const one_cell *cell)
{
    char hash[PB_HASH_TEXT];

    (void)snprintf(hash, sizeof hash, "%064lld", (long long)cell->seed);
    assert_ok(pb_plan_add(plan, "m", cell->dataset, cell->method, cell->seed, hash));
}

static void open_results(const char *directory, pb_results *out)
{
    pb_plan plan = {0};

    assert_ok(pb_record_set_text(&plan.name, "test"));
    assert_ok(pb_record_set_text(&plan.protocol, "corrected"));
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
        put(directory, &cells[i]);
        add(&plan, &cells[i]);
    }
    add(&plan, &gone);
    assert_ok(pb_plan_write(directory, &plan));
    pb_plan_clear(&plan);
    assert_ok(pb_results_open_directory(directory, out));
}

static void assert_near(double a, double b)
{
    assert_true(fabs(a - b) <= 1e-12 * fabs(b));
}

static void pscp_is_the_mean_over_data_sets_with_mean_costs(void **state)
{
    pb_results r      = {0};
    pb_results_pscp p = {0};

    (void)state;
    open_results(sample_directory(), &r);
    assert_ok(pb_report_pscp(&r, NULL, &p));
    /* none: P 55, no parameters, no extra operations, memory mean(2.5, 3, 3.5) = 3. */
    assert_near(p.score[0], 55);
    assert_near(p.cost_p[0], 1);
    assert_near(p.cost_f[0], 1);
    assert_near(p.cost_m[0], 94.0 / 97.0);
    assert_near(p.pscp[0], 55 * 94.0 / 97.0);
    assert_int_equal(p.datasets[0], 2);
    /* lora: P (72 + 90) / 2 = 81; memory of the four cells that count: (2.5 + 3 + 3.5 + 2.5) / 4.
     */
    assert_near(p.score[1], 81);
    assert_near(p.params[1], 5000);
    assert_near(p.flops_t[1], 0.5);
    assert_near(p.memory_gb[1], 2.875);
    assert_near(p.cost_f[1], 10.0 / 10.5);
    assert_near(p.pscp[1], 81 * p.cost_p[1] * p.cost_f[1] * p.cost_m[1]);
    assert_int_equal(p.datasets_planned[1], 2);
    assert_true(isnan(p.pscp_std[1])); /* one seed has every data set */
    /* none: 55 · 94 / (94 + M) with M 2.5, 3, 3.5. */
    double x[3] = {55 * 94 / 96.5, 55 * 94 / 97.0, 55 * 94 / 97.5};
    double mean = (x[0] + x[1] + x[2]) / 3;
    double sum  = (x[0] - mean) * (x[0] - mean) + (x[1] - mean) * (x[1] - mean) +
                 (x[2] - mean) * (x[2] - mean);
    assert_true(fabs(p.pscp_std[0] - sqrt(sum / 2)) < 1e-10);
    pb_report_pscp_clear(&p);
    pb_results_clear(&r);
}

static void text_names_what_is_incomplete(void **state)
{
    static const char *const says[] = {
        "sweep test, protocol corrected: 12 cells, 10 done, 1 failed, 0 invalid, 1 missing",
        "72.00 ±2.00", /* sample standard deviation of 70, 72, 74 */
        /* t 4.30265 · 2 / sqrt(3) is 4.96828; with 4 below and 3 above, the squares added. */
        "[65.62, 77.80]",
        "[86.00, 93.00]", /* for one seed: that over its rows */
        "[46.00, 53.00]", /* three equal seeds add nothing */
        "90.00 (1/3)",
        "failed: m/sst2/lora/2: the loss is not finite",
        "missing: m/sst2/lora/3",
        "cost_p",
        "2 of 2",
    };
    pb_results r   = {0};
    pb_string text = {0};

    (void)state;
    open_results(sample_directory(), &r);
    assert_ok(pb_report_text(&r, NULL, &text));
    for (size_t i = 0; i < sizeof says / sizeof *says; i++) {
        if (strstr(text.data, says[i]) == NULL) {
            print_error("\"%s\" is not in:\n%s\n", says[i], text.data);
            fail();
        }
    }
    pb_string_clear(&text);
    pb_results_clear(&r);
}

static void a_method_without_a_data_set_says_so(void **state)
{
    const char *directory = sample_directory();
    pb_results r          = {0};
    pb_string text        = {0};

    (void)state;
    put(directory, &cells[0]);
    put(directory, &cells[3]);
    put(directory, &cells[6]);
    assert_ok(pb_results_open_directory(directory, &r));
    assert_ok(pb_report_text(&r, NULL, &text));
    assert_non_null(strstr(text.data, "70.00 (1/2)"));
    assert_non_null(strstr(text.data, "missing: m/sst2/lora/1"));
    assert_non_null(strstr(text.data, "1 of 2"));
    pb_string_clear(&text);
    pb_results_clear(&r);
}

static void no_pscp_comes_with_its_reason(void **state)
{
    const char *directory   = sample_directory();
    const one_cell negative = {"rte", "lora", 1, -5};
    pb_results r            = {0};
    pb_results_pscp p       = {0};
    pb_string text          = {0};

    (void)state;
    put(directory, &negative);
    assert_ok(pb_results_open_directory(directory, &r));
    assert_ok(pb_report_pscp(&r, NULL, &p));
    assert_true(isnan(p.pscp[0]));
    assert_ok(pb_report_text(&r, NULL, &text));
    assert_non_null(strstr(text.data, "no PSCP for lora: pscp: score is -5"));
    pb_report_pscp_clear(&p);
    pb_string_clear(&text);
    pb_results_clear(&r);
}

static void invalid_cells_are_listed_and_not_ranked(void **state)
{
    const char *directory = sample_directory();
    pb_results r          = {0};
    pb_string text        = {0};
    pb_record bad;

    (void)state;
    put(directory, &cells[6]);
    assert_ok(sample_record("m", "rte", "lora", 2, &bad));
    bad.valid = false;
    assert_ok(pb_record_set_text(&bad.reason, "two runs differ"));
    assert_ok(pb_shard_write(directory, &bad));
    pb_record_clear(&bad);
    assert_ok(pb_results_open_directory(directory, &r));
    assert_ok(pb_report_text(&r, NULL, &text));
    assert_non_null(strstr(text.data, "INVALID: m/rte/lora/2: two runs differ"));
    assert_non_null(strstr(text.data, "70.00 (1/2)"));
    pb_string_clear(&text);
    pb_results_clear(&r);
}

static void json_is_json_and_has_the_same_numbers(void **state)
{
    pb_report_options how = {.pscp = pb_pscp_defaults()};
    pb_results r          = {0};
    pb_results_pscp p     = {0};
    pb_string text        = {0};
    json_error_t error;

    (void)state;
    how.pscp.beta_m = 2;
    open_results(sample_directory(), &r);
    assert_ok(pb_report_json(&r, &how, &text));
    assert_ok(pb_report_pscp(&r, &how, &p));
    json_t *root = json_loadb(text.data, text.length, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL) {
        print_error("%d:%d %s\n%s", error.line, error.column, error.text, text.data);
    }
    assert_non_null(root);
    json_t *lora = json_array_get(json_object_get(root, "pscp"), 1);
    assert_string_equal(json_string_value(json_object_get(lora, "method")), "lora");
    assert_true(json_number_value(json_object_get(lora, "pscp")) == p.pscp[1]);
    assert_true(json_is_null(json_object_get(lora, "pscp_std")));
    assert_int_equal(json_array_size(json_object_get(root, "scores")), 4);
    json_t *score = json_array_get(json_object_get(root, "scores"), 1); /* rte, lora */
    assert_near(json_number_value(json_object_get(score, "low")), 65.62161770636467);
    assert_near(json_number_value(json_object_get(score, "high")), 77.80377124667751);
    assert_near(json_number_value(json_object_get(score, "seeds_low")), 67.03172457649934);
    assert_near(json_number_value(json_object_get(score, "seeds_high")), 76.96827542350066);
    assert_near(json_number_value(json_object_get(score, "rows_low")), 68);
    assert_int_equal(json_array_size(json_object_get(root, "paired")), 2);
    json_t *pair = json_array_get(json_object_get(root, "paired"), 1);
    assert_string_equal(json_string_value(json_object_get(pair, "dataset")), "sst2");
    assert_string_equal(json_string_value(json_object_get(pair, "method")), "none");
    assert_string_equal(json_string_value(json_object_get(pair, "versus")), "lora");
    assert_int_equal(json_integer_value(json_object_get(pair, "seeds")), 1);
    assert_int_equal(json_integer_value(json_object_get(pair, "rows")), 3);
    assert_true(json_number_value(json_object_get(pair, "p")) == 1);
    assert_int_equal(json_array_size(json_object_get(root, "failed")), 1);
    assert_int_equal(json_array_size(json_object_get(root, "missing")), 1);
    json_decref(root);
    pb_report_pscp_clear(&p);
    pb_string_clear(&text);
    pb_results_clear(&r);
}

static void csv_has_one_line_per_number(void **state)
{
    pb_results r   = {0};
    pb_string text = {0};
    int lines      = 0;

    (void)state;
    open_results(sample_directory(), &r);
    assert_ok(pb_report_csv(&r, NULL, &text));
    for (const char *c = text.data; *c != '\0'; c++) {
        lines += *c == '\n';
    }
    /* Scores have their interval over rows and, above one seed, over seeds, and the share of rows
     * that were cut; a pair has three; costs are six and four parts of the energy of four. */
    assert_int_equal(lines, 1 + 2 * (12 + 4 * 4 + 8) + 3 * 3 + 2 + 2 * 3 + 4);
    assert_non_null(
        strstr(text.data, "\r\nscore,m,rte,lora,,accuracy,percent,72,2,65.62161770636"));
    assert_non_null(strstr(
        text.data, "\r\nscore_rows,m,rte,lora,,accuracy,percent,72,2,68,75,3,3,,m,rte,lora\r\n"));
    assert_non_null(
        strstr(text.data, "\r\nscore_seeds,m,rte,lora,,accuracy,percent,72,2,67.0317245764"));
    assert_non_null(strstr(
        text.data, "\r\nscore,m,sst2,lora,,accuracy,percent,90,,86,93,1,3,,m,sst2,lora\r\n"));
    assert_non_null(strstr(text.data, "\r\npaired,m,rte,none,lora,difference,percent,0,,0,0,3,3,"
                                      "sign_flip_exact,m,rte,none\r\n"));
    assert_non_null(strstr(
        text.data, "\r\npaired,m,rte,none,lora,p_holm,1,1,,,,3,3,sign_flip_exact,m,rte,none\r\n"));
    pb_string_clear(&text);
    pb_results_clear(&r);
}

/* Eight rows that the best method has right and one that has half of them; a third one is unlike.
 */
static void paired_tests_name_the_best_method(void **state)
{
    static const char *const methods[] = {"half", "best", "short"};
    const char *directory              = sample_directory();
    pb_report_options how              = {.pscp = pb_pscp_defaults()};
    pb_results r                       = {0};
    pb_string text                     = {0};

    (void)state;
    for (int t = 0; t < 3; t++) {
        pb_record one;
        assert_ok(sample_small("m", "rte", methods[t], 1, &one));
        one.score = t == 1 ? 100 : 50;
        for (int row = 0; row < (t == 2 ? 4 : 8); row++) {
            int right = t == 1 || row % 2 == 0;
            assert_ok(pb_record_add_prediction(&one, row, "x", "x", right, right));
        }
        assert_ok(pb_shard_write(directory, &one));
        pb_record_clear(&one);
    }
    assert_ok(pb_results_open_directory(directory, &r));
    assert_ok(pb_report_text(&r, NULL, &text)); /* McNemar of 4 and 0: 2 / 2^4 */
    assert_non_null(strstr(text.data, "\nrte      8     best  -50.00 (0.1250)      ?\n"));
    assert_non_null(
        strstr(text.data, "\nnot compared: rte: short and best: tested on different rows\n"));
    pb_string_clear(&text);
    how.pairs = PB_REPORT_PAIRS_ALL;
    assert_ok(pb_report_text(&r, &how, &text));
    assert_non_null(strstr(text.data, "\nrte      best  half  +50.00  ["));
    assert_non_null(strstr(text.data, "  0.1250  0.1250     8      1  McNemar\n"));
    assert_non_null(
        strstr(text.data, "\nnot compared: rte: half and short: tested on different rows\n"));
    pb_string_clear(&text);
    how.pairs = PB_REPORT_PAIRS_NONE;
    assert_ok(pb_report_text(&r, &how, &text));
    assert_null(strstr(text.data, "paired"));
    pb_string_clear(&text);
    assert_ok(pb_report_json(&r, &how, &text));
    assert_non_null(strstr(text.data, "\"paired\": []"));
    pb_string_clear(&text);
    assert_ok(pb_report_csv(&r, &how, &text));
    assert_null(strstr(text.data, "\r\npaired,"));
    pb_string_clear(&text);
    pb_results_clear(&r);
}

static void add_cell(const char *directory, pb_plan *plan, const char *model, const char *dataset,
                     double score, bool valid)
{
    pb_record r;

    assert_ok(sample_small(model, dataset, "lora", 1, &r));
    r.score = score;
    r.valid = valid;
    assert_ok(pb_shard_write(directory, &r));
    assert_ok(pb_plan_add(plan, model, dataset, "lora", 1, r.key.config_hash));
    pb_record_clear(&r);
}

/* Combinations that are not planned for a model do not appear in its tables; cells without a score
 * show their state. */
static void tables_have_what_was_planned(void **state)
{
    const char *directory = sample_directory();
    pb_plan plan          = {0};
    pb_results r          = {0};
    pb_string text        = {0};
    char hash[PB_HASH_TEXT];

    (void)state;
    add_cell(directory, &plan, "one", "rte", NAN, true);
    add_cell(directory, &plan, "one", "sst2", 50, false);
    add_cell(directory, &plan, "two", "cola", 60, true);
    (void)snprintf(hash, sizeof hash, "%064d", 1);
    assert_ok(pb_plan_add(&plan, "two", "cola", "random", 1, hash));
    assert_ok(pb_plan_write(directory, &plan));
    assert_ok(pb_results_open_directory(directory, &r));
    assert_ok(pb_report_text(&r, NULL, &text));
    const char *two = strstr(text.data, "model two");
    assert_non_null(two);
    assert_non_null(strstr(text.data, "\ndataset  metric       lora\nrte      accuracy        ?\n"
                                      "sst2     ?         invalid\nmean     -               ?\n"));
    assert_null(strstr(two, "\nrte "));
    assert_non_null(strstr(two, "\ndataset  metric     lora   random\n"
                                "cola     accuracy  60.00  missing\n"
                                "mean     -         60.00        ?\n"));
    assert_null(strstr(text.data, "paired")); /* no two methods have a cell that counts */
    pb_string_clear(&text);
    pb_results_clear(&r);
    pb_plan_clear(&plan);
}

/* The longest line of the part that begins with `from`, up to the next empty line, in characters;
 * *lines: how many there are in the table below its note. */
static int widest(const char *text, const char *from, int *lines)
{
    const char *at = strstr(text, from);
    int most       = 0;
    int here       = 0;

    assert_non_null(at);
    *lines = 0;
    at     = strstr(at, "\ndataset ");
    assert_non_null(at);
    for (at = at + 1; !(at[0] == '\n' && here == 0) && *at != '\0'; at++) {
        here += ((unsigned char)*at & 0xC0U) != 0x80U;
        if (*at == '\n') {
            most = here - 1 > most ? here - 1 : most;
            here = 0;
            *lines += 1;
        }
    }
    return most;
}

/* Except the list of failures, which has messages and is read by programs. */
static void assert_fits(const char *text, int64_t width)
{
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        size_t length = strcspn(line, "\n");
        if (strncmp(line, "failed: ", 8) != 0 && strncmp(line, "not compared: ", 14) != 0) {
            assert_true(pb_utf8_count(line, length) <= width);
            assert_true(length == 0 || line[length - 1] != ' ');
        }
    }
}

/* 27 data sets and 7 methods with 2 seeds: one block of 120 columns, or several narrow ones. */
static void many_data_sets_stay_readable(void **state)
{
    static const char *const methods[] = {"majority", "none",          "lora",  "ia3",
                                          "bitfit",   "prompt_tuning", "prefix"};
    const char *directory              = sample_directory();
    pb_report_options how              = {.pscp = pb_pscp_defaults()};
    pb_results r                       = {0};
    pb_string text                     = {0};
    int lines                          = 0;

    (void)state;
    for (int d = 0; d < 27; d++) {
        for (int t = 0; t < 7; t++) {
            char dataset[20];
            (void)snprintf(dataset, sizeof dataset, "dataset_%02d", d);
            for (int64_t seed = 1; seed <= 2 && (d != 3 || t != 4); seed++) {
                one_cell cell = {dataset, methods[t], seed,
                                 d == 5 && t == 5 ? (double)NAN : 50.0 + t};
                put(directory, &cell);
            }
        }
    }
    assert_ok(pb_results_open_directory(directory, &r));
    assert_ok(pb_report_text(&r, &how, &text));
    assert_true(widest(text.data, "scores: ", &lines) <= 120);
    assert_int_equal(lines, 29); /* header, data sets, mean */
    assert_true(widest(text.data, "95 % intervals", &lines) <= 120);
    assert_int_equal(lines, 28);
    assert_true(widest(text.data, "paired tests", &lines) <= 120);
    assert_non_null(strstr(text.data, "  failed\n"));
    assert_non_null(strstr(text.data, "\ndataset_03  accuracy        missing  "));
    assert_non_null(strstr(text.data, "\nmean        -         54.00 (26/27)"));
    pb_string_clear(&text);
    how.width = 60;
    assert_ok(pb_report_text(&r, &how, &text));
    assert_true(widest(text.data, "scores: ", &lines) <= 60);
    assert_int_equal(lines, 29);
    pb_string_clear(&text);
    static const int64_t more[] = {80, 100, 30, 45};
    how.pairs                   = PB_REPORT_PAIRS_NONE; /* which take some time */
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        how.width = more[i];
        assert_ok(pb_report_text(&r, &how, &text));
        assert_fits(text.data, how.width);
        pb_string_clear(&text);
    }
    how.width = 1; /* too narrow for any column: one at a time, names broken */
    assert_ok(pb_report_text(&r, &how, &text));
    assert_non_null(strstr(text.data, "54.00\n"));
    pb_string_clear(&text);
    pb_results_clear(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(pscp_is_the_mean_over_data_sets_with_mean_costs,
                                  returns_all_bytes),
        cmocka_unit_test_teardown(text_names_what_is_incomplete, returns_all_bytes),
        cmocka_unit_test_teardown(a_method_without_a_data_set_says_so, returns_all_bytes),
        cmocka_unit_test_teardown(no_pscp_comes_with_its_reason, returns_all_bytes),
        cmocka_unit_test_teardown(invalid_cells_are_listed_and_not_ranked, returns_all_bytes),
        cmocka_unit_test_teardown(json_is_json_and_has_the_same_numbers, returns_all_bytes),
        cmocka_unit_test_teardown(csv_has_one_line_per_number, returns_all_bytes),
        cmocka_unit_test_teardown(paired_tests_name_the_best_method, returns_all_bytes),
        cmocka_unit_test_teardown(tables_have_what_was_planned, returns_all_bytes),
        cmocka_unit_test_teardown(many_data_sets_stay_readable, returns_all_bytes),
    };
    return cmocka_run_group_tests_name("tables", tests, NULL, NULL);
}
