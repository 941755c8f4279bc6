// SPDX-License-Identifier: Apache-2.0
/* A build without tree-sitter, through its stand-in: the metric is known, and refused before
 * anything runs, with the remedy. */
#include "support.h"

#include "pb/metric.h"

static void codebleu_is_refused_with_the_way_to_get_it(void **state)
{
    const char *texts[]     = {"x"};
    pb_metric_result r      = {0};
    pb_metric_input input   = {.predictions = texts, .references = texts, .rows = 1};
    const pb_metric *metric = NULL;
    (void)state;
    assert_ok(pb_metric_find("codebleu", &metric));
    assert_error(pb_metric_require("codebleu", &metric), PB_ERR_CONFIG, "jobs/fetch_treesitter.py");
    assert_error(pb_metric_score("codebleu", &input, &r), PB_ERR_CONFIG, "without tree-sitter");
    assert_string_equal(pb_metric_parser(), "absent");
    assert_ok(pb_metric_require("exact_match", &metric));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codebleu_is_refused_with_the_way_to_get_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
