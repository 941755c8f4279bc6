// SPDX-License-Identifier: Apache-2.0
/* The report as text for people: per model scores, costs, PSCP and paired tests, then what is not
 * there. */
#include "text.h"

#include <inttypes.h>
#include <math.h>

#define LISTED_MAX 200 /* missing cells that are named one by one */

static pb_status add_number(grid_text *table, double value, const char *unknown, int digits)
{
    if (isnan(value)) {
        return grid_text_add(table, "%s", unknown);
    }
    return grid_text_add(table, "%.*f", digits, value);
}

static pb_status add_header(grid_text *table, const char *const *names)
{
    for (; *names != NULL; names++) {
        PB_TRY(grid_text_add(table, "%s", *names));
    }
    return PB_OK;
}

static pb_status add_cost(grid_text *table, const char *method, const summary_cost *cost)
{
    PB_TRY(grid_text_add(table, "%s", method));
    PB_TRY(add_number(table, cost->params.mean, "?", 0));
    PB_TRY(add_number(table, cost->flops_t.mean, "?", 6));
    PB_TRY(add_number(table, cost->memory_gb.mean, "?", 4));
    PB_TRY(add_number(table, cost->system_gb.mean, "?", 4));
    PB_TRY(add_number(table, cost->seconds_train.mean, "?", 2));
    PB_TRY(add_number(table, cost->tokens_per_second.mean, "?", 1));
    PB_TRY(add_number(table, cost->energy_j.mean, "n/a", 1));
    return grid_text_add(table, "%" PRId64, cost->memory_gb.n);
}

static pb_status print_costs(const summary *all, const pb_results *results, int64_t m,
                             int64_t width, pb_string *out)
{
    static const char *const header[] = {"method",     "trainable", "TFLOP - base", "peak GB",
                                         "process GB", "train s",   "tokens/s",     "energy J",
                                         "cells",      NULL};
    grid_text table;
    pb_status status = PB_OK;

    grid_text_init(&table, 9, 1);
    PB_TRY_GOTO(
        status,
        pb_string_puts(out,
                       "costs: means over cells; TFLOP of a forward pass over 512 "
                       "tokens from the shapes; the rest measured; peak GB accounted in training, "
                       "1e9 bytes\n"),
        out);
    PB_TRY_GOTO(status, add_header(&table, header), out);
    for (int64_t t = 0; t < results->methods_count; t++) {
        const summary_cost *cost = summary_cost_at(all, results, m, t);
        if (cost->datasets_planned > 0) {
            PB_TRY_GOTO(status, add_cost(&table, results->methods[t], cost), out);
        }
    }
    PB_TRY_GOTO(status, grid_text_print(&table, width, out), out);
    PB_TRY_GOTO(status, pb_string_puts(out, "\n"), out);
out:
    grid_text_clear(&table);
    return status;
}

static pb_status add_pscp(grid_text *table, const char *method, const summary_cost *cost)
{
    PB_TRY(grid_text_add(table, "%s", method));
    PB_TRY(add_number(table, cost->has_pscp ? cost->pscp.pscp : NAN, "none", 2));
    PB_TRY(isnan(cost->pscp_std) ? grid_text_add(table, "%s", "")
                                 : grid_text_add(table, "± %.2f", cost->pscp_std));
    PB_TRY(add_number(table, cost->score, "?", 2));
    PB_TRY(add_number(table, cost->has_pscp ? cost->pscp.cost_p : NAN, "?", 4));
    PB_TRY(add_number(table, cost->has_pscp ? cost->pscp.cost_f : NAN, "?", 4));
    PB_TRY(add_number(table, cost->has_pscp ? cost->pscp.cost_m : NAN, "?", 4));
    PB_TRY(add_number(table, cost->params.mean, "?", 0));
    PB_TRY(add_number(table, cost->flops_t.mean, "?", 6));
    PB_TRY(add_number(table, cost->memory_gb.mean, "?", 4));
    return grid_text_add(table, "%" PRId64 " of %" PRId64, cost->datasets, cost->datasets_planned);
}

static pb_status print_pscp(const summary *all, const pb_results *results, int64_t m, int64_t width,
                            pb_string *out)
{
    static const char *const header[] = {"method", "PSCP", "std",   "P",      "cost_p",   "cost_f",
                                         "cost_m", "M_p",  "M_f T", "M_m GB", "datasets", NULL};
    const pb_pscp_params *p           = &all->params;
    grid_text table;
    pb_status status = PB_OK;

    grid_text_init(&table, 11, 1);
    PB_TRY_GOTO(status,
                pb_string_printf(out,
                                 "PSCP = P (1 + M_p/%g)^-%g (1 + M_f/%g)^-%g (1 + M_m/%g)^-%g; std "
                                 "over seeds\n",
                                 p->c_p, p->beta_p, p->c_f, p->beta_f, p->c_m, p->beta_m),
                out);
    PB_TRY_GOTO(status, add_header(&table, header), out);
    for (int64_t t = 0; t < results->methods_count; t++) {
        const summary_cost *cost = summary_cost_at(all, results, m, t);
        if (cost->datasets_planned > 0) {
            PB_TRY_GOTO(status, add_pscp(&table, results->methods[t], cost), out);
        }
    }
    PB_TRY_GOTO(status, grid_text_print(&table, width, out), out);
    for (int64_t t = 0; t < results->methods_count; t++) {
        const summary_cost *cost = summary_cost_at(all, results, m, t);
        if (cost->datasets_planned > 0 && cost->problem[0] != '\0') {
            PB_TRY_GOTO(
                status,
                pb_string_printf(out, "no PSCP for %s: %s\n", results->methods[t], cost->problem),
                out);
        }
    }
    PB_TRY_GOTO(status, pb_string_puts(out, "\n"), out);
out:
    grid_text_clear(&table);
    return status;
}

/* Failed and invalid cells with their cause, all of them; missing ones by name. */
static pb_status print_incomplete(const summary *all, const pb_results *results, pb_string *out)
{
    int64_t listed = 0;

    for (int64_t i = 0; i < results->count; i++) {
        const pb_record *r = &results->records[i];
        if (r->status == PB_OK && r->valid) {
            continue;
        }
        const char *cause = r->status != PB_OK ? r->message : r->reason;
        PB_TRY(pb_string_printf(out, "%s: %s/%s/%s/%" PRId64 ": %s\n",
                                r->status != PB_OK ? "failed" : "INVALID", r->key.model,
                                r->key.dataset, r->key.method, r->key.seed,
                                cause != NULL ? cause : "no reason given"));
    }
    for (int64_t m = 0; m < results->models_count; m++) {
        for (int64_t d = 0; d < results->datasets_count; d++) {
            for (int64_t t = 0; t < results->methods_count; t++) {
                for (int64_t s = 0; s < results->seeds_count; s++) {
                    int64_t at = pb_results_index(results, m, d, t, s);
                    if (results->state[at] != PB_CELL_MISSING || listed >= LISTED_MAX) {
                        continue;
                    }
                    listed++;
                    PB_TRY(pb_string_printf(out, "missing: %s/%s/%s/%" PRId64 "\n",
                                            results->models[m], results->datasets[d],
                                            results->methods[t], results->seeds[s]));
                }
            }
        }
    }
    if (all->missing > listed) {
        PB_TRY(pb_string_printf(out, "missing: %" PRId64 " more\n", all->missing - listed));
    }
    return PB_OK;
}

static pb_status print_all(const summary *all, const pb_results *results,
                           const pb_report_options *options, pb_string *out)
{
    PB_TRY(pb_string_printf(out,
                            "sweep %s, protocol %s: %" PRId64 " cells, %" PRId64 " done, %" PRId64
                            " failed, %" PRId64 " invalid, %" PRId64 " missing\n\n",
                            results->sweep != NULL ? results->sweep : "(no name)",
                            results->protocol != NULL ? results->protocol : "(none)", all->cells,
                            all->done, all->failed, all->invalid, all->missing));
    for (int64_t m = 0; m < results->models_count; m++) {
        PB_TRY(pb_string_printf(out, "model %s\n\n", results->models[m]));
        PB_TRY(part_scores(all, results, m, options->width, out));
        PB_TRY(print_costs(all, results, m, options->width, out));
        PB_TRY(print_pscp(all, results, m, options->width, out));
        PB_TRY(part_paired(all, results, m, options, out));
    }
    return print_incomplete(all, results, out);
}

pb_status pb_report_text(const pb_results *results, const pb_report_options *options,
                         pb_string *out)
{
    pb_report_options how = {.pscp = pb_pscp_defaults()};
    summary all           = {0};

    how       = options != NULL ? *options : how;
    how.width = how.width > 0 ? how.width : PB_REPORT_WIDTH;
    PB_TRY(summary_make(results, &how, &all));
    pb_status status = print_all(&all, results, &how, out);
    summary_clear(&all);
    return status;
}
