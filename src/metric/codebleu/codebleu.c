// SPDX-License-Identifier: Apache-2.0
/* CodeBLEU of Python: n-grams, n-grams with weights, subtrees and data flow, a quarter each.
 *
 * Paper: as the package codebleu 0.7.0 computes it on lower-cased text; a data flow of 0 counts as
 * 1. Corrected: on the text as it is; a data flow of 0 is 0, and where the references have no data
 * flow, the other three count a third each. The short reference length of the weighted part and the
 * columns that count bytes are kept, so that values compare with the package's. */
#include "codebleu.h"
#include "flow.h"
#include "metrics.h"
#include "ngram.h"
#include "strip.h"

#include "pb/memory.h"
#include "pb/python.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const double smoothing = 0.1; /* instead of no match of an order */

/* The reference length that the package's weighted part counts per pair, whatever it is. */
static const double weighted_reference_tokens = 2;

/* One text without comments. */
typedef struct parsed {
    pb_string text;
    code_tree tree;
    code_flow flow;
} parsed;

static void parsed_clear(parsed *p)
{
    pb_string_clear(&p->text);
    code_tree_clear(&p->tree);
    code_flow_clear(&p->flow);
}

static pb_status parse(const char *text, size_t length, code_shapes *shapes, pb_interned *edges,
                       parsed *out)
{
    bool failed = false;

    PB_TRY(code_strip(text, length, &out->text, &failed));
    PB_TRY(code_tree_parse(out->text.data, out->text.length, shapes, &out->tree));
    return code_flow_find(&out->tree, out->text.data, out->text.length, edges, &out->flow);
}

/* Subtrees of the reference that the candidate has, regardless of how often. */
static pb_status count_subtrees(const parsed *candidate, const parsed *reference, int32_t shapes,
                                double *sums)
{
    bool *has = NULL;

    PB_TRY(PB_ALLOC(has, shapes));
    for (int32_t i = 0; i < candidate->tree.count; i++) {
        if (candidate->tree.nodes[i].shape >= 0) {
            has[candidate->tree.nodes[i].shape] = true;
        }
    }
    for (int32_t i = 0; i < reference->tree.count; i++) {
        int32_t shape = reference->tree.nodes[i].shape;
        sums[CODE_SUBTREES] += shape >= 0;
        sums[CODE_SUBTREE_MATCHES] += shape >= 0 && has[shape];
    }
    pb_memory_free(has);
    return PB_OK;
}

/* Edges of the reference, each matched by one of the candidate's. */
static pb_status count_edges(const parsed *candidate, const parsed *reference, int32_t edges,
                             double *sums)
{
    int64_t *left = NULL;

    PB_TRY(PB_ALLOC(left, edges));
    for (int64_t i = 0; i < candidate->flow.count; i++) {
        left[candidate->flow.edges[i]]++;
    }
    for (int64_t i = 0; i < reference->flow.count; i++) {
        int32_t edge = reference->flow.edges[i];
        if (left[edge] > 0) {
            left[edge]--;
            sums[CODE_EDGE_MATCHES]++;
        }
    }
    sums[CODE_EDGES] = (double)reference->flow.count;
    pb_memory_free(left);
    return PB_OK;
}

pb_status code_count(const char *candidate, const char *reference, double sums[CODE_SUMS])
{
    code_shapes shapes = {0};
    pb_interned edges  = {0};
    parsed c = {0}, r = {0};
    size_t candidate_length = strlen(candidate), reference_length = strlen(reference);
    pb_status status;

    memset(sums, 0, CODE_SUMS * sizeof *sums);
    PB_TRY(code_count_ngrams(candidate, reference, sums));
    pb_str_strip(&candidate, &candidate_length);
    pb_str_strip(&reference, &reference_length);
    PB_TRY_GOTO(status, parse(reference, reference_length, &shapes, &edges, &r), done);
    PB_TRY_GOTO(status, parse(candidate, candidate_length, &shapes, &edges, &c), done);
    PB_TRY_GOTO(status, count_subtrees(&c, &r, shapes.shapes.count, sums), done);
    PB_TRY_GOTO(status, count_edges(&c, &r, edges.count, sums), done);
done:
    parsed_clear(&c);
    parsed_clear(&r);
    code_shapes_clear(&shapes);
    pb_interned_clear(&edges);
    return status;
}

/* The brevity penalty times the geometric mean of the shares. */
static double bleu(const double *matches, const double *totals, double candidate_tokens,
                   double reference_tokens)
{
    double sum = 0;

    if (matches[0] == 0 || candidate_tokens == 0) {
        return 0;
    }
    for (int i = 0; i < CODE_ORDERS; i++) {
        sum += log((matches[i] == 0 ? smoothing : matches[i]) / totals[i]) / CODE_ORDERS;
    }
    double penalty =
        candidate_tokens > reference_tokens ? 1 : exp(1 - reference_tokens / candidate_tokens);
    return penalty * exp(sum);
}

static double share(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

code_scores code_scores_of(pb_protocol protocol, const double sums[CODE_SUMS])
{
    double recalled[CODE_ORDERS];
    code_scores s = {0};
    bool has_flow = sums[CODE_EDGES] > 0;

    memcpy(recalled, sums + CODE_MATCHES, sizeof recalled);
    recalled[0] = sums[CODE_WEIGHTED_MATCHES];
    s.ngram     = bleu(sums + CODE_MATCHES, sums + CODE_CANDIDATES, sums[CODE_CANDIDATE_TOKENS],
                       sums[CODE_REFERENCE_TOKENS]);
    s.weighted_ngram = bleu(recalled, sums + CODE_REFERENCES, sums[CODE_CANDIDATE_TOKENS],
                            weighted_reference_tokens * sums[CODE_PAIRS]);
    s.syntax         = share(sums[CODE_SUBTREE_MATCHES], sums[CODE_SUBTREES]);
    s.dataflow       = share(sums[CODE_EDGE_MATCHES], sums[CODE_EDGES]);
    double three     = s.ngram + s.weighted_ngram + s.syntax;
    if (protocol == PB_PROTOCOL_PAPER) {
        s.codebleu = (three + (s.dataflow > 0 ? s.dataflow : 1)) / 4;
    } else if (has_flow) {
        s.codebleu = (three + s.dataflow) / 4;
    } else {
        s.codebleu = three / 3;
        s.dataflow = (double)NAN;
    }
    return s;
}

double code_main(pb_protocol protocol, const double *sums, int64_t width)
{
    (void)width;
    return code_scores_of(protocol, sums).codebleu;
}

static pb_status put_scores(pb_metric_result *result, const code_scores *s)
{
    result->main      = s->codebleu;
    result->main_name = "codebleu";
    PB_TRY(metric_add(result, "codebleu", s->codebleu, false));
    PB_TRY(metric_add(result, "ngram_match_score", s->ngram, false));
    PB_TRY(metric_add(result, "weighted_ngram_match_score", s->weighted_ngram, false));
    PB_TRY(metric_add(result, "syntax_match_score", s->syntax, false));
    if (isnan(s->dataflow)) {
        return PB_OK; /* the references have none */
    }
    return metric_add(result, "dataflow_match_score", s->dataflow, false);
}

static pb_status score_codebleu(const pb_metric_input *input, char *const *labels,
                                pb_metric_result *result, pb_metric_parts *parts)
{
    double all[CODE_SUMS] = {0};

    (void)labels;
    PB_TRY(metric_make_parts(parts, result->rows, CODE_SUMS));
    for (int64_t i = 0; i < result->rows; i++) {
        double *sums     = parts->dense + i * CODE_SUMS;
        pb_status status = code_count(result->predictions[i], result->references[i], sums);
        if (status != PB_OK) {
            return metric_at_row(input, i, status);
        }
        for (int k = 0; k < CODE_SUMS; k++) {
            all[k] += sums[k];
        }
        result->correct[i] = strcmp(result->predictions[i], result->references[i]) == 0;
        result->invalid[i] = result->predictions[i][0] == '\0' && !result->correct[i];
        result->row_values[i] =
            result->invalid[i] ? 0 : code_main(input->protocol, sums, CODE_SUMS);
    }
    code_scores scores = code_scores_of(input->protocol, all);
    return put_scores(result, &scores);
}

const char *pb_metric_parser(void)
{
    return code_tree_library();
}

const pb_metric metric_codebleu = {
    .name        = "codebleu",
    .about       = "CodeBLEU of Python code; needs tree-sitter",
    .differences = "on lower-cased texts, a dataflow of 0 counts as 1 → on the texts as they "
                   "are, and without the term where the references have no dataflow",
    .keeps_case  = true,
    .fills_row_values = true,
    .available        = code_tree_available,
    .score            = score_codebleu,
    .main_of          = code_main,
};
