// SPDX-License-Identifier: Apache-2.0
/* The report as one JSON object. Numbers are printed so that they read back the same; unknown
 * values are null. */
#include "paired.h"
#include "quantities.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static pb_status json_text(pb_string *out, const char *name, const char *text)
{
    const char *value = text != NULL ? text : "";

    PB_TRY(pb_string_printf(out, "\"%s\": ", name));
    return pb_string_json(out, value, strlen(value));
}

static pb_status json_number(pb_string *out, const char *name, double value)
{
    return isfinite(value) ? pb_string_printf(out, "\"%s\": %.17g", name, value + 0.0)
                           : pb_string_printf(out, "\"%s\": null", name);
}

/* With a comma before either. */
static pb_status json_range(pb_string *out, const char *low, const char *high,
                            const summary_range *range)
{
    PB_TRY(pb_string_puts(out, ", "));
    PB_TRY(json_number(out, low, range->low));
    PB_TRY(pb_string_puts(out, ", "));
    return json_number(out, high, range->high);
}

/* "model": …, "dataset": …, "method": …; dataset NULL: left out. */
static pb_status json_place(pb_string *out, bool *first, const char *model, const char *dataset,
                            const char *method)
{
    PB_TRY(pb_string_puts(out, *first ? "\n  {" : ",\n  {"));
    *first = false;
    PB_TRY(json_text(out, "model", model));
    if (dataset != NULL) {
        PB_TRY(pb_string_puts(out, ", "));
        PB_TRY(json_text(out, "dataset", dataset));
    }
    PB_TRY(pb_string_puts(out, ", "));
    return json_text(out, "method", method);
}

static pb_status json_scores(const summary *all, const pb_results *results, pb_string *out)
{
    bool first = true;

    for (int64_t m = 0; m < results->models_count; m++) {
        for (int64_t d = 0; d < results->datasets_count; d++) {
            for (int64_t t = 0; t < results->methods_count; t++) {
                const summary_score *s = summary_score_at(all, results, m, d, t);
                if (s->planned == 0) {
                    continue;
                }
                PB_TRY(json_place(out, &first, results->models[m], results->datasets[d],
                                  results->methods[t]));
                PB_TRY(pb_string_puts(out, ", "));
                PB_TRY(json_text(out, "metric", s->metric));
                PB_TRY(pb_string_puts(out, ", "));
                PB_TRY(json_number(out, "mean", s->score.mean));
                PB_TRY(pb_string_puts(out, ", "));
                PB_TRY(json_number(out, "std", s->score.std));
                PB_TRY(json_range(out, "low", "high", &s->whole));
                PB_TRY(json_range(out, "rows_low", "rows_high", &s->rows));
                PB_TRY(json_range(out, "seeds_low", "seeds_high", &s->seeds));
                PB_TRY(pb_string_puts(out, ", "));
                PB_TRY(json_number(out, "truncated_share", s->truncated_share));
                PB_TRY(pb_string_printf(out,
                                        ", \"seeds\": %" PRId64 ", \"planned\": %" PRId64
                                        ", \"failed\": %" PRId64 ", \"invalid\": %" PRId64
                                        ", \"missing\": %" PRId64 "}",
                                        s->score.n, s->planned, s->failed, s->invalid, s->missing));
            }
        }
    }
    return PB_OK;
}

static pb_status json_quantities(pb_string *out, const quantity *list, int count)
{
    for (int i = 0; i < count; i++) {
        PB_TRY(pb_string_puts(out, ", "));
        PB_TRY(json_number(out, list[i].name, list[i].value));
    }
    return PB_OK;
}

/* One object per (model, method): costs, or PSCP and its terms. */
static pb_status json_methods(const summary *all, const pb_results *results, bool terms,
                              pb_string *out)
{
    bool first = true;

    for (int64_t m = 0; m < results->models_count; m++) {
        for (int64_t t = 0; t < results->methods_count; t++) {
            const summary_cost *cost = summary_cost_at(all, results, m, t);
            quantity costs[COSTS];
            quantity pscp[TERMS];
            if (cost->datasets_planned == 0) {
                continue;
            }
            cost_quantities(cost, costs);
            pscp_quantities(cost, pscp);
            PB_TRY(json_place(out, &first, results->models[m], NULL, results->methods[t]));
            PB_TRY(json_quantities(out, terms ? pscp : costs, terms ? TERMS : COSTS));
            if (terms) {
                PB_TRY(pb_string_puts(out, ", "));
                PB_TRY(json_number(out, "pscp_std", cost->pscp_std));
                PB_TRY(pb_string_printf(
                    out, ", \"datasets\": %" PRId64 ", \"datasets_planned\": %" PRId64 ", ",
                    cost->datasets, cost->datasets_planned));
                PB_TRY(json_text(out, "problem", cost->problem));
            } else {
                PB_TRY(pb_string_printf(out, ", \"cells\": %" PRId64, cost->memory_gb.n));
            }
            PB_TRY(pb_string_puts(out, "}"));
        }
    }
    return PB_OK;
}

static pb_status json_pair(const pb_results *results, int64_t m, int64_t d, const paired *pair,
                           bool *first, pb_string *out)
{
    const summary_range range = {pair->low, pair->high};

    PB_TRY(json_place(out, first, results->models[m], results->datasets[d],
                      results->methods[pair->a]));
    PB_TRY(pb_string_puts(out, ", "));
    PB_TRY(json_text(out, "versus", results->methods[pair->b]));
    PB_TRY(pb_string_puts(out, ", "));
    PB_TRY(json_number(out, "difference", pair->difference));
    PB_TRY(json_range(out, "low", "high", &range));
    PB_TRY(pb_string_puts(out, ", "));
    PB_TRY(json_number(out, "p", pair->p));
    PB_TRY(pb_string_puts(out, ", "));
    PB_TRY(json_number(out, "p_holm", pair->p_holm));
    PB_TRY(pb_string_printf(out, ", \"rows\": %" PRId64 ", \"seeds\": %" PRId64 ", ", pair->rows,
                            pair->seeds));
    PB_TRY(json_text(out, "test", pair->test));
    PB_TRY(pb_string_puts(out, ", "));
    PB_TRY(json_text(out, "problem", pair->problem));
    return pb_string_puts(out, "}");
}

static pb_status json_paired(const pb_results *results, pb_string *out)
{
    bool first = true;

    for (int64_t m = 0; m < results->models_count; m++) {
        for (int64_t d = 0; d < results->datasets_count; d++) {
            paired_list list = {0};
            pb_status status = PB_OK;
            PB_TRY(paired_make(results, m, d, &list));
            for (int64_t i = 0; i < list.count && status == PB_OK; i++) {
                status = json_pair(results, m, d, &list.pairs[i], &first, out);
            }
            paired_clear(&list);
            PB_TRY(status);
        }
    }
    return PB_OK;
}

static pb_status json_incomplete(const pb_results *results, bool failed, pb_string *out)
{
    bool first = true;

    for (int64_t i = 0; i < results->count; i++) {
        const pb_record *r = &results->records[i];
        if (failed ? r->status == PB_OK : (r->status != PB_OK || r->valid)) {
            continue;
        }
        PB_TRY(json_place(out, &first, r->key.model, r->key.dataset, r->key.method));
        PB_TRY(pb_string_printf(out, ", \"seed\": %" PRId64 ", ", r->key.seed));
        PB_TRY(json_text(out, failed ? "message" : "reason", failed ? r->message : r->reason));
        PB_TRY(pb_string_puts(out, "}"));
    }
    return PB_OK;
}

static pb_status json_missing(const pb_results *results, pb_string *out)
{
    bool first = true;

    for (int64_t m = 0; m < results->models_count; m++) {
        for (int64_t d = 0; d < results->datasets_count; d++) {
            for (int64_t t = 0; t < results->methods_count; t++) {
                for (int64_t s = 0; s < results->seeds_count; s++) {
                    if (results->state[pb_results_index(results, m, d, t, s)] != PB_CELL_MISSING) {
                        continue;
                    }
                    PB_TRY(json_place(out, &first, results->models[m], results->datasets[d],
                                      results->methods[t]));
                    PB_TRY(pb_string_printf(out, ", \"seed\": %" PRId64 "}", results->seeds[s]));
                }
            }
        }
    }
    return PB_OK;
}

static pb_status json_constants(pb_string *out, const pb_pscp_params *p)
{
    return pb_string_printf(out,
                            "\"constants\": {\"beta_p\": %.17g, \"beta_f\": %.17g, \"beta_m\": "
                            "%.17g, \"c_p\": %.17g, \"c_f\": %.17g, \"c_m\": %.17g}",
                            p->beta_p, p->beta_f, p->beta_m, p->c_p, p->c_f, p->c_m);
}

static pb_status json_all(const summary *all, const pb_results *results,
                          const pb_report_options *options, pb_string *out)
{
    bool pairs = options == NULL || options->pairs != PB_REPORT_PAIRS_NONE;

    PB_TRY(pb_string_puts(out, "{"));
    if (options != NULL && options->path != NULL) {
        PB_TRY(json_text(out, "path", options->path));
        PB_TRY(pb_string_puts(out, ",\n "));
    }
    PB_TRY(json_text(out, "sweep", results->sweep));
    PB_TRY(pb_string_puts(out, ", "));
    PB_TRY(json_text(out, "protocol", results->protocol));
    PB_TRY(pb_string_printf(out,
                            ",\n \"cells\": {\"planned\": %" PRId64 ", \"done\": %" PRId64
                            ", \"failed\": %" PRId64 ", \"invalid\": %" PRId64
                            ", \"missing\": %" PRId64 "},\n \"scores\": [",
                            all->cells, all->done, all->failed, all->invalid, all->missing));
    PB_TRY(json_scores(all, results, out));
    PB_TRY(pb_string_puts(out, "],\n \"costs\": ["));
    PB_TRY(json_methods(all, results, false, out));
    PB_TRY(pb_string_puts(out, "],\n "));
    PB_TRY(json_constants(out, &all->params));
    PB_TRY(pb_string_puts(out, ",\n \"pscp\": ["));
    PB_TRY(json_methods(all, results, true, out));
    PB_TRY(pb_string_puts(out, "],\n \"paired\": ["));
    PB_TRY(pairs ? json_paired(results, out) : PB_OK);
    PB_TRY(pb_string_puts(out, "],\n \"failed\": ["));
    PB_TRY(json_incomplete(results, true, out));
    PB_TRY(pb_string_puts(out, "],\n \"invalid\": ["));
    PB_TRY(json_incomplete(results, false, out));
    PB_TRY(pb_string_puts(out, "],\n \"missing\": ["));
    PB_TRY(json_missing(results, out));
    return pb_string_puts(out, "]}\n");
}

pb_status pb_report_json(const pb_results *results, const pb_report_options *options,
                         pb_string *out)
{
    summary all = {0};

    PB_TRY(summary_make(results, options, &all));
    pb_status status = json_all(&all, results, options, out);
    summary_clear(&all);
    return status;
}
