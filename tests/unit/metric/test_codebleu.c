// SPDX-License-Identifier: Apache-2.0
/* CodeBLEU: the counts of each part, trees of the metric's grammar, and malicious texts. */
#include "codebleu/flow.h"
#include "codebleu/codebleu.h"
#include "shapes.h"
#include "support.h"

#include "pb/clock.h"
#include "pb/memory.h"
#include "pb/metric.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* `count` times the text. */
static char *repeat(const char *text, size_t count)
{
    size_t length = strlen(text);
    char *out     = malloc(count * length + 1);

    for (size_t i = 0; i < count; i++) {
        memcpy(out + i * length, text, length);
    }
    out[count * length] = '\0';
    return out;
}

static char *join(char *a, char *b)
{
    char *out = malloc(strlen(a) + strlen(b) + 1);

    strcpy(out, a);
    strcat(out, b);
    free(a);
    free(b);
    return out;
}

static int64_t edges_of(const char *text)
{
    double sums[CODE_SUMS];
    assert_ok(code_count(text, text, sums));
    assert_true(sums[CODE_EDGE_MATCHES] == sums[CODE_EDGES]);
    return (int64_t)sums[CODE_EDGES];
}

static double main_of(pb_protocol protocol, const char *candidate, const char *reference)
{
    double sums[CODE_SUMS];
    assert_ok(code_count(candidate, reference, sums));
    return code_main(protocol, sums, CODE_SUMS);
}

static void the_same_text_with_keywords_and_flow_scores_one(void **state)
{
    const char *text = "def add(a, b):\n    total = a + b\n    return total and a";
    (void)state;
    assert_true(fabs(main_of(PB_PROTOCOL_PAPER, text, text) - 1) < 1e-15);
    assert_true(fabs(main_of(PB_PROTOCOL_CORRECTED, text, text) - 1) < 1e-15);
}

static void new_names_change_the_words_and_not_the_structure(void **state)
{
    double sums[CODE_SUMS];
    (void)state;
    assert_ok(code_count("for k in z:\n    w = k", "for i in x:\n    y = i", sums));
    assert_true(sums[CODE_SUBTREE_MATCHES] == sums[CODE_SUBTREES]);
    assert_true(sums[CODE_EDGE_MATCHES] == sums[CODE_EDGES]);
    assert_true(sums[CODE_EDGES] > 0);
    assert_true(sums[CODE_MATCHES] < sums[CODE_CANDIDATES]);
}

static void an_empty_prediction_is_a_quarter_on_paper_and_nothing_corrected(void **state)
{
    (void)state;
    assert_true(main_of(PB_PROTOCOL_PAPER, "", "y = x") == 0.25);
    assert_true(main_of(PB_PROTOCOL_CORRECTED, "", "y = x") == 0);
}

static void references_without_flow_leave_three_parts(void **state)
{
    double sums[CODE_SUMS];
    (void)state;
    assert_ok(code_count("pass", "pass", sums));
    code_scores s = code_scores_of(PB_PROTOCOL_CORRECTED, sums);
    assert_true(isnan(s.dataflow));
    assert_true(fabs(s.codebleu - (s.ngram + s.weighted_ngram + s.syntax) / 3) < 1e-15);
    assert_true(code_main(PB_PROTOCOL_PAPER, sums, CODE_SUMS) > 0);
}

static void sums_of_pairs_score_as_their_corpus(void **state)
{
    const char *predictions[] = {"y = x + 1", "", "for a in b: c = a"};
    const char *references[]  = {"y = x + 2", "return 0", "for a in b: c = a"};
    double sums[CODE_SUMS]    = {0};
    pb_metric_result r        = {0};
    pb_metric_input input     = {.protocol    = PB_PROTOCOL_CORRECTED,
                                 .predictions = predictions,
                                 .references  = references,
                                 .rows        = 3};
    (void)state;
    assert_ok(pb_metric_score("codebleu", &input, &r));
    for (int i = 0; i < 3; i++) {
        double one[CODE_SUMS];
        assert_ok(code_count(predictions[i], references[i], one));
        assert_true(r.row_values[i] == code_main(PB_PROTOCOL_CORRECTED, one, CODE_SUMS));
        for (int k = 0; k < CODE_SUMS; k++) {
            sums[k] += one[k];
        }
    }
    assert_true(r.main == code_main(PB_PROTOCOL_CORRECTED, sums, CODE_SUMS));
    assert_true(!r.correct[0] && !r.correct[1] && r.correct[2]);
    assert_true(!r.invalid[0] && r.invalid[1] && !r.invalid[2]);
    pb_metric_result_clear(&r);
}

static void print_tree(const char *text, int32_t *nodes, int32_t *subtrees, pb_string *out)
{
    code_shapes shapes = {0};
    code_tree tree     = {0};

    assert_ok(code_tree_parse(text, strlen(text), &shapes, &tree));
    assert_ok(shapes_print(&shapes, tree.nodes[0].shape, out));
    *nodes    = tree.count;
    *subtrees = 0;
    for (int32_t i = 0; i < tree.count; i++) {
        *subtrees += tree.nodes[i].shape >= 0;
    }
    code_tree_clear(&tree);
    code_shapes_clear(&shapes);
}

static void check_tree(const char *text, const char *wanted, int32_t nodes, int32_t subtrees)
{
    pb_string out = {0};
    int32_t found_nodes, found_subtrees;

    print_tree(text, &found_nodes, &found_subtrees, &out);
    assert_string_equal(out.data, wanted);
    assert_int_equal(found_nodes, nodes);
    assert_int_equal(found_subtrees, subtrees);
    pb_string_clear(&out);
}

static void trees_are_those_of_the_grammar_that_the_metric_is_defined_with(void **state)
{
    (void)state;
    check_tree("a not in b",
               "(module (expression_statement (comparison_operator (identifier) (identifier))))", 7,
               3);
    check_tree("'\\0\\d\\x00'",
               "(module (expression_statement (string (string_start) (string_content "
               "(escape_sequence)) (string_end))))",
               7, 4);
    check_tree("x = ", "(module (ERROR (identifier)))", 4, 2);
    check_tree("f(a", "(module (ERROR (identifier) (identifier)))", 5, 2);
}

static void a_string_that_is_split_like_the_other_side_ends_the_flow(void **state)
{
    (void)state;
    assert_true(edges_of("y = x\na.b = c.d") > 0);
    assert_int_equal(edges_of("y = x\na.b = 'c'"), 0);
    assert_true(edges_of("y = x\na.b = c('c')") > 0);
}

static char *nested_loops(int depth)
{
    char *text = malloc((size_t)depth * ((size_t)depth + 20) + 20);
    size_t end = 0;

    for (int i = 0; i < depth; i++) {
        memset(text + end, ' ', (size_t)i);
        end += (size_t)i;
        end += (size_t)sprintf(text + end, "for a in b:\n");
    }
    memset(text + end, ' ', (size_t)depth);
    strcpy(text + end + depth, "c = a");
    return text;
}

static void loops_in_loops_take_no_exponential_time(void **state)
{
    char *text = nested_loops(60);
    (void)state;
    assert_true(edges_of(text) > 100);
    free(text);
}

static void deep_and_long_texts_end(void **state)
{
    char *texts[] = {
        join(repeat("(", 20000), repeat(")", 20000)),
        repeat("[", 100000),
        repeat("-", 100000),
        join(repeat("f(", 20000), repeat(")", 20000)),
        join(repeat("a.", 50000), repeat("b", 1)),
        repeat("if x: x = x\n", 5000),
        repeat("'", 100001),
        repeat("\xF0\x9F\x98\x80 ", 20000),
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        double sums[CODE_SUMS];
        assert_ok(code_count(texts[i], texts[i], sums));
        assert_true(sums[CODE_SUBTREE_MATCHES] == sums[CODE_SUBTREES]);
        free(texts[i]);
    }
    assert_int_equal(pb_memory_current(), 0);
}

/* An edge for each name on the left, each with all names on the right: their product is beyond the
 * step limit. Without it this takes minutes and gigabytes. */
static void a_wide_assignment_ends_without_edges(void **state)
{
    char *left = repeat("a,", 200000), *right = repeat("b,", 100000);
    double sums[CODE_SUMS];

    (void)state;
    left[strlen(left) - 1] = '=';
    char *text             = join(left, right);
    double start           = pb_clock_seconds();
    assert_ok(code_count("x = y", text, sums));
    print_message("a wide assignment: %.3f s\n", pb_clock_seconds() - start);
    assert_true(sums[CODE_SUBTREES] > 0 && sums[CODE_EDGES] == 0);
    free(text);
    assert_int_equal(pb_memory_current(), 0);
}

static void a_text_beyond_the_limit_is_refused_by_row(void **state)
{
    char *text                = repeat("x\n", CODE_TEXT_LIMIT / 2 + 1);
    const char *predictions[] = {"x", text};
    const char *references[]  = {"x", "x"};
    pb_metric_result r        = {0};
    pb_metric_input input     = {.predictions = predictions, .references = references, .rows = 2};
    (void)state;
    assert_error(pb_metric_score("codebleu", &input, &r), PB_ERR_UNSUPPORTED, "row 1");
    free(text);
    assert_int_equal(pb_memory_current(), 0);
}

static void all_memory_comes_back_when_there_is_none(void **state)
{
    const char *text = "def f(a, b=[c for c in d]):\n    for i in a:\n        while b:\n"
                       "            if i: x, y = a, 'é'\n            else: x += f\"{y}\"\n"
                       "    return x not in y # é\n";
    int failures     = 0;
    (void)state;
    for (size_t limit = 64; limit < 1 << 17; limit += limit / 64 + 8) {
        double sums[CODE_SUMS];
        pb_memory_limit(limit);
        pb_status status = code_count(text, text, sums);
        pb_memory_limit(0);
        assert_true(status == PB_OK || status == PB_ERR_MEMORY);
        failures += status != PB_OK;
        assert_int_equal(pb_memory_current(), 0);
    }
    pb_error_clear();
    assert_true(failures > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_text_with_keywords_and_flow_scores_one),
        cmocka_unit_test(new_names_change_the_words_and_not_the_structure),
        cmocka_unit_test(an_empty_prediction_is_a_quarter_on_paper_and_nothing_corrected),
        cmocka_unit_test(references_without_flow_leave_three_parts),
        cmocka_unit_test(sums_of_pairs_score_as_their_corpus),
        cmocka_unit_test(trees_are_those_of_the_grammar_that_the_metric_is_defined_with),
        cmocka_unit_test(a_string_that_is_split_like_the_other_side_ends_the_flow),
        cmocka_unit_test(loops_in_loops_take_no_exponential_time),
        cmocka_unit_test(deep_and_long_texts_end),
        cmocka_unit_test(a_wide_assignment_ends_without_edges),
        cmocka_unit_test(a_text_beyond_the_limit_is_refused_by_row),
        cmocka_unit_test(all_memory_comes_back_when_there_is_none),
    };
    need(pb_metric_require("codebleu", &(const pb_metric *){NULL}));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
