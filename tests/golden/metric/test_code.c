// SPDX-License-Identifier: Apache-2.0
/* CodeBLEU against the package's values: pairs with every intermediate value, pairs of real code,
 * and the corpora of the three code sets in both protocols. */
#include "codebleu/flow.h"
#include "codebleu/strip.h"
#include "codebleu/codebleu.h"
#include "metric_value.h"
#include "shapes.h"
#include "support.h"

#include "pb/memory.h"
#include "pb/metric.h"

#include <jansson.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE 1e-9 /* absolute */

static const char *const protocols[] = {
    [PB_PROTOCOL_CORRECTED] = "corrected", [PB_PROTOCOL_PAPER] = "paper"};

static json_t *load(const char *name)
{
    json_error_t error;
    json_t *root = json_load_file(shared_path("golden/protocol/metrics/%s.json", name), 0, &error);
    if (root == NULL) {
        fail_msg("%s: %s", name, error.text);
    }
    return root;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    assert_non_null(text);
    return text;
}

static void compare(const char *place, const char *what, double got, const json_t *wanted)
{
    if (json_is_null(wanted) ? !isnan(got)
                             : !(fabs(got - json_number_value(wanted)) <= TOLERANCE)) {
        fail_msg("%s %s: %.17g, expected %.17g", place, what, got, json_number_value(wanted));
    }
}

static void compare_scores(const char *place, const json_t *wanted, const code_scores *s)
{
    const struct {
        const char *name;
        double value;
    } all[] = {{"codebleu", s->codebleu},
               {"ngram_match_score", s->ngram},
               {"weighted_ngram_match_score", s->weighted_ngram},
               {"syntax_match_score", s->syntax},
               {"dataflow_match_score", s->dataflow}};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const json_t *value = json_object_get(wanted, all[i].name);
        if (value != NULL) { /* the corrected ones contain only the differences */
            compare(place, all[i].name, all[i].value, value);
        }
    }
    assert_non_null(json_object_get(wanted, "codebleu"));
}

static void compare_pair(const char *place, const char *what, const double *sums, int matches,
                         int total, const json_t *wanted)
{
    assert_int_equal(json_array_size(wanted), 2);
    compare(place, what, sums[matches], json_array_get(wanted, 0));
    compare(place, what, sums[total], json_array_get(wanted, 1));
}

static void compare_counts(const char *place, const json_t *wanted, const double *sums)
{
    const json_t *plain    = json_object_get(wanted, "bleu_counts");
    const json_t *weighted = json_object_get(wanted, "wbleu_counts");

    assert_int_equal(json_array_size(plain), CODE_ORDERS);
    assert_int_equal(json_array_size(weighted), CODE_ORDERS);
    for (int i = 0; i < CODE_ORDERS; i++) {
        int match = i == 0 ? CODE_WEIGHTED_MATCHES : CODE_MATCHES + i;
        compare_pair(place, "n-grams", sums, CODE_MATCHES + i, CODE_CANDIDATES + i,
                     json_array_get(plain, (size_t)i));
        compare_pair(place, "weighted n-grams", sums, match, CODE_REFERENCES + i,
                     json_array_get(weighted, (size_t)i));
    }
    compare(place, "ref_len", sums[CODE_REFERENCE_TOKENS], json_object_get(wanted, "ref_len"));
    compare(place, "hyp_len", sums[CODE_CANDIDATE_TOKENS], json_object_get(wanted, "hyp_len"));
    compare_pair(place, "syntax", sums, CODE_SUBTREE_MATCHES, CODE_SUBTREES,
                 json_object_get(wanted, "syntax"));
    compare_pair(place, "dataflow", sums, CODE_EDGE_MATCHES, CODE_EDGES,
                 json_object_get(wanted, "dataflow"));
}

/* Counts and scores of a single pair. */
static void check_pair(const char *place, const json_t *pair, const json_t *counts)
{
    double sums[CODE_SUMS];

    assert_ok(code_count(text_of(pair, "prediction"), text_of(pair, "reference"), sums));
    compare_counts(place, counts, sums);
    for (int protocol = 0; protocol < 2; protocol++) {
        code_scores scores = code_scores_of((pb_protocol)protocol, sums);
        compare_scores(place, json_object_get(pair, protocols[protocol]), &scores);
    }
}

static void check_variable(const char *place, int32_t got, const json_t *wanted)
{
    char name[32];
    (void)snprintf(name, sizeof name, "var_%d", (int)got);
    if (strcmp(name, json_string_value(wanted)) != 0) {
        fail_msg("%s: %s, expected %s", place, name, json_string_value(wanted));
    }
}

static void check_edges(const char *place, const pb_interned *edges, const code_flow *flow,
                        const json_t *wanted)
{
    static const char *const relations[] = {
        [CODE_COMES_FROM] = "comesFrom", [CODE_COMPUTED_FROM] = "computedFrom"};

    assert_int_equal(json_array_size(wanted), flow->count);
    for (int64_t i = 0; i < flow->count; i++) {
        int64_t count         = 0;
        const int32_t *list   = pb_interned_list(edges, flow->edges[i], &count);
        const json_t *edge    = json_array_get(wanted, (size_t)i);
        const json_t *parents = json_array_get(edge, 2);
        check_variable(place, list[0], json_array_get(edge, 0));
        assert_string_equal(relations[list[1]], json_string_value(json_array_get(edge, 1)));
        assert_int_equal(json_array_size(parents), count - 2);
        for (int64_t k = 2; k < count; k++) {
            check_variable(place, list[k], json_array_get(parents, (size_t)k - 2));
        }
    }
}

/* The stages of one text: without comments, as a tree (NULL: not given), as edges. */
static void check_text(const char *place, const char *text, const char *stripped, const char *sexp,
                       const json_t *edges)
{
    pb_string out = {0}, printed = {0};
    code_shapes shapes = {0};
    pb_interned table  = {0};
    code_tree tree     = {0};
    code_flow flow     = {0};
    char *trimmed      = NULL;
    bool failed        = false;

    assert_ok(pb_metric_post(PB_PROTOCOL_CORRECTED, true, text, &trimmed));
    assert_ok(code_strip(trimmed, strlen(trimmed), &out, &failed));
    assert_string_equal(out.data, stripped);
    assert_ok(code_tree_parse(out.data, out.length, &shapes, &tree));
    assert_ok(shapes_print(&shapes, tree.nodes[0].shape, &printed));
    if (sexp != NULL && strcmp(printed.data, sexp) != 0) {
        fail_msg("%s:\n%s\nexpected:\n%s", place, printed.data, sexp);
    }
    assert_ok(code_flow_find(&tree, out.data, out.length, &table, &flow));
    check_edges(place, &table, &flow, edges);
    code_flow_clear(&flow);
    pb_interned_clear(&table);
    code_tree_clear(&tree);
    code_shapes_clear(&shapes);
    pb_string_clear(&printed);
    pb_string_clear(&out);
    pb_memory_free(trimmed);
}

static void single_pairs_agree_in_every_value_on_the_way(void **state)
{
    (void)state;
    json_t *root        = load("codebleu_pairs");
    const json_t *pairs = json_object_get(root, "pairs");

    assert_true(json_array_size(pairs) >= 48);
    for (size_t i = 0; i < json_array_size(pairs); i++) {
        const json_t *pair  = json_array_get(pairs, i);
        const json_t *debug = json_object_get(pair, "debug");
        const json_t *way   = json_array_get(json_object_get(debug, "pairs"), 0);
        const char *id      = text_of(pair, "id");
        check_pair(id, pair, debug);
        check_text(id, text_of(pair, "reference"), text_of(way, "ref_stripped"),
                   text_of(way, "ref_sexp"), json_object_get(way, "ref_dfg"));
        check_text(id, text_of(pair, "prediction"), text_of(way, "cand_stripped"), NULL,
                   json_object_get(way, "cand_dfg"));
    }
    json_decref(root);
    assert_int_equal(pb_memory_current(), 0);
}

static void pairs_of_real_code_agree(void **state)
{
    (void)state;
    json_t *root        = load("codebleu_real");
    const json_t *pairs = json_object_get(root, "pairs");

    assert_true(json_array_size(pairs) >= 200);
    for (size_t i = 0; i < json_array_size(pairs); i++) {
        const json_t *pair = json_array_get(pairs, i);
        char place[64];
        (void)snprintf(place, sizeof place, "pair %zu", i);
        check_pair(place, pair, json_object_get(pair, "counts"));
    }
    json_decref(root);
    assert_int_equal(pb_memory_current(), 0);
}

static void check_result(const char *place, const json_t *wanted, const pb_metric_result *result)
{
    const char *name = NULL;
    json_t *value    = NULL;

    assert_string_equal(result->main_name, "codebleu");
    json_object_foreach((json_t *)(uintptr_t)wanted, name, value)
    {
        double got = strcmp(name, "main") == 0 ? result->main : metric_value(result, name);
        compare(place, name, got, value);
    }
}

static void check_corpus(const char *place, const json_t *entry, pb_protocol protocol)
{
    const json_t *items      = json_object_get(entry, "items");
    size_t n                 = json_array_size(items);
    const char **predictions = calloc(n, sizeof *predictions);
    const char **references  = calloc(n, sizeof *references);
    double sums[CODE_SUMS]   = {0};
    pb_metric_result result  = {0};

    for (size_t i = 0; i < n; i++) {
        predictions[i] = text_of(json_array_get(items, i), "predict");
        references[i]  = text_of(json_array_get(items, i), "label");
    }
    pb_metric_input input = {.protocol    = protocol,
                             .predictions = predictions,
                             .references  = references,
                             .rows        = (int64_t)n};
    assert_ok(pb_metric_score("codebleu", &input, &result));
    check_result(place, json_object_get(entry, protocols[protocol]), &result);
    for (size_t i = 0; i < n; i++) {
        double one[CODE_SUMS];
        assert_ok(code_count(result.predictions[i], result.references[i], one));
        assert_true(result.row_values[i] ==
                    (result.invalid[i] ? 0 : code_main(protocol, one, CODE_SUMS)));
        for (int k = 0; k < CODE_SUMS; k++) {
            sums[k] += one[k];
        }
    }
    assert_true(fabs(code_main(protocol, sums, CODE_SUMS) - result.main) <= TOLERANCE);
    if (protocol == PB_PROTOCOL_PAPER) {
        compare(place, "table", result.main * 100, json_object_get(entry, "paper_table_value"));
        compare_counts(place, json_object_get(entry, "counts"), sums);
    }
    pb_metric_result_clear(&result);
    free(predictions);
    free(references);
}

static void code_sets_score_as_the_golden_cases_in_both_protocols(void **state)
{
    static const char *const sets[] = {"conala", "codealpacapy", "apps"};
    (void)state;

    for (size_t k = 0; k < sizeof sets / sizeof *sets; k++) {
        json_t *root        = load(sets[k]);
        const json_t *cases = json_object_get(root, "cases");
        assert_true(json_array_size(cases) >= 11);
        for (size_t i = 0; i < json_array_size(cases); i++) {
            const json_t *entry = json_array_get(cases, i);
            for (int protocol = 0; protocol < 2; protocol++) {
                char place[128];
                (void)snprintf(place, sizeof place, "%s/%s/%s", sets[k], text_of(entry, "id"),
                               protocols[protocol]);
                check_corpus(place, entry, (pb_protocol)protocol);
            }
        }
        json_decref(root);
    }
    assert_int_equal(pb_memory_current(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_pairs_agree_in_every_value_on_the_way),
        cmocka_unit_test(pairs_of_real_code_agree),
        cmocka_unit_test(code_sets_score_as_the_golden_cases_in_both_protocols),
    };
    (void)shared_directory();
    need(pb_metric_require("codebleu", &(const pb_metric *){NULL}));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
