// SPDX-License-Identifier: Apache-2.0
/* The report for programs: one long CSV table, and JSON. Numbers are printed so that they read back
 * the same; what is not known is empty in CSV and null in JSON. */
#include "csv.h"
#include "summary.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* One quantity of a (model, method) with its unit. */
typedef struct quantity {
    const char *name, *unit;
    double value, std;
    int64_t n;
} quantity;

enum { COSTS = 7, TERMS = 8 };

static void cost_quantities(const summary_cost *c, quantity out[COSTS])
{
    const quantity all[COSTS] = {
        {"trainable_params", "1", c->params.mean, NAN, c->params.n},
        {"flops_minus_base", "TFLOP", c->flops_t.mean, NAN, c->flops_t.n},
        {"memory_peak", "GB", c->memory_gb.mean, c->memory_gb.std, c->memory_gb.n},
        {"memory_system_peak", "GB", c->system_gb.mean, c->system_gb.std, c->system_gb.n},
        {"seconds_train", "s", c->seconds_train.mean, c->seconds_train.std, c->seconds_train.n},
        {"tokens_per_second", "token/s", c->tokens_per_second.mean, c->tokens_per_second.std,
         c->tokens_per_second.n},
        {"energy", "J", c->energy_j.mean, c->energy_j.std, c->energy_j.n},
    };
    memcpy(out, all, sizeof all);
}

static void pscp_quantities(const summary_cost *c, quantity out[TERMS])
{
    double none               = c->has_pscp ? 0 : NAN; /* added: turns all terms into NaN */
    const quantity all[TERMS] = {
        {"pscp", "1", c->pscp.pscp + none, c->pscp_std, c->datasets},
        {"score", "percent", c->score, NAN, c->datasets},
        {"cost_p", "1", c->pscp.cost_p + none, NAN, c->datasets},
        {"cost_f", "1", c->pscp.cost_f + none, NAN, c->datasets},
        {"cost_m", "1", c->pscp.cost_m + none, NAN, c->datasets},
        {"params", "1", c->params.mean, NAN, c->params.n},
        {"flops_t", "TFLOP", c->flops_t.mean, NAN, c->flops_t.n},
        {"memory_gb", "GB", c->memory_gb.mean, NAN, c->memory_gb.n},
    };
    memcpy(out, all, sizeof all);
}

static pb_status csv_number(pb_string *out, double value)
{
    PB_TRY(pb_string_puts(out, ","));
    return isnan(value) ? PB_OK : pb_string_printf(out, "%.17g", value);
}

/* table,model,dataset,method,quantity,unit,value,std,n,of */
static pb_status csv_line(pb_string *out, const char *const texts[6], double value, double std,
                          int64_t n, int64_t of)
{
    for (int i = 0; i < 6; i++) {
        PB_TRY(pb_string_puts(out, i == 0 ? "" : ","));
        PB_TRY(csv_put(out, texts[i]));
    }
    PB_TRY(csv_number(out, value));
    PB_TRY(csv_number(out, std));
    return pb_string_printf(out, ",%" PRId64 ",%" PRId64 "\r\n", n, of);
}

static pb_status csv_method(const summary *all, const pb_results *results, int64_t m, int64_t t,
                            pb_string *out)
{
    const summary_cost *cost = summary_cost_at(all, results, m, t);
    const char *model        = results->models[m];
    const char *method       = results->methods[t];
    int64_t planned          = 0;
    quantity costs[COSTS];
    quantity terms[TERMS];

    for (int64_t d = 0; d < results->datasets_count; d++) {
        const summary_score *s = summary_score_at(all, results, m, d, t);
        const char *texts[6] = {"score", model, results->datasets[d], method, s->metric, "percent"};
        planned += s->planned;
        if (s->planned > 0) {
            PB_TRY(csv_line(out, texts, s->score.mean, s->score.std, s->score.n, s->planned));
        }
    }
    if (planned == 0) {
        return PB_OK;
    }
    cost_quantities(cost, costs);
    pscp_quantities(cost, terms);
    for (int i = 0; i < COSTS; i++) {
        const char *texts[6] = {"cost", model, "", method, costs[i].name, costs[i].unit};
        PB_TRY(csv_line(out, texts, costs[i].value, costs[i].std, costs[i].n, planned));
    }
    for (int i = 0; i < TERMS; i++) {
        const char *texts[6] = {"pscp", model, "", method, terms[i].name, terms[i].unit};
        PB_TRY(csv_line(out, texts, terms[i].value, terms[i].std, terms[i].n,
                        i < 5 ? cost->datasets_planned : planned));
    }
    return PB_OK;
}

static pb_status csv_all(const summary *all, const pb_results *results, pb_string *out)
{
    PB_TRY(pb_string_puts(out, "table,model,dataset,method,quantity,unit,value,std,n,of\r\n"));
    for (int64_t m = 0; m < results->models_count; m++) {
        for (int64_t t = 0; t < results->methods_count; t++) {
            PB_TRY(csv_method(all, results, m, t, out));
        }
    }
    return PB_OK;
}

pb_status pb_report_csv(const pb_results *results, const pb_report_options *options, pb_string *out)
{
    summary all = {0};

    PB_TRY(summary_make(results, options, &all));
    pb_status status = csv_all(&all, results, out);
    summary_clear(&all);
    return status;
}

static pb_status json_text(pb_string *out, const char *name, const char *text)
{
    const char *value = text != NULL ? text : "";

    PB_TRY(pb_string_printf(out, "\"%s\": ", name));
    return pb_string_json(out, value, strlen(value));
}

static pb_status json_number(pb_string *out, const char *name, double value)
{
    return isfinite(value) ? pb_string_printf(out, "\"%s\": %.17g", name, value)
                           : pb_string_printf(out, "\"%s\": null", name);
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

static pb_status json_all(const summary *all, const pb_results *results, pb_string *out)
{
    PB_TRY(pb_string_puts(out, "{"));
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
    pb_status status = json_all(&all, results, out);
    summary_clear(&all);
    return status;
}
