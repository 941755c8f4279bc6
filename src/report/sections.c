// SPDX-License-Identifier: Apache-2.0
/* The report for people: per model scores, costs, PSCP and paired tests, then what is missing. */
#include "betas.h"
#include "sections.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define LISTED_MAX 200 /* missing cells that are named one by one */

/* A number averaged over cells; it does not apply where no cell has one, such as the training speed
 * of a method that does not train. */
static pb_status add_measured(pb_table *table, const stats_mean *stat, int64_t cells, int digits)
{
    return stat->n == 0 && cells > 0 ? pb_table_add(table, PB_TABLE_NOTHING)
                                     : pb_table_add_number(table, stat->mean, digits);
}

static pb_status add_cost(pb_table *table, const char *method, const summary_cost *cost)
{
    PB_TRY(pb_table_add(table, "%s", method));
    PB_TRY(pb_table_add_number(table, cost->params.mean, 0));
    PB_TRY(pb_table_add_number(table, cost->flops_t.mean, 6));
    PB_TRY(pb_table_add_number(table, cost->memory_gb.mean, 4));
    PB_TRY(pb_table_add_number(table, cost->system_gb.mean, 4));
    PB_TRY(pb_table_add_number(table, cost->seconds_train.mean, 2));
    PB_TRY(add_measured(table, &cost->tokens_per_second, cost->memory_gb.n, 1));
    PB_TRY(pb_table_add_number(table, cost->energy_j[0][0].mean, 1));
    return pb_table_add(table, "%" PRId64, cost->memory_gb.n);
}

typedef pb_status (*add_method)(pb_table *table, const char *method, const summary_cost *cost);

/* A row for each method that was planned for the model. */
static pb_status add_methods(const summary *all, const pb_results *results, int64_t m,
                             add_method add, pb_table *table)
{
    for (int64_t t = 0; t < results->methods_count; t++) {
        const summary_cost *cost = summary_cost_at(all, results, m, t);
        if (cost->datasets_planned > 0) {
            PB_TRY(add(table, results->methods[t], cost));
        }
    }
    return PB_OK;
}

static pb_status add_costs(const summary *all, const pb_results *results, int64_t m, document *doc)
{
    static const char *const header[] = {"method",     "trainable", "TFLOP - base", "peak GB",
                                         "process GB", "train s",   "tokens/s",     "energy J",
                                         "cells",      NULL};

    PB_TRY(document_add(doc, DOCUMENT_SECTION, "costs",
                        "costs: means over cells; TFLOP of a forward pass over 512 tokens "
                        "from the shapes; the rest measured; peak GB accounted in training, "
                        "1e9 bytes"));
    PB_TRY(pb_table_begin(document_table(doc), header, 1));
    PB_TRY(add_methods(all, results, m, add_cost, document_table(doc)));
    return section_energy(results, m, doc);
}

/* A row for each component that any cell knows. */
static pb_status add_energy(pb_table *table, const char *method, const summary_cost *cost)
{
    static const char *const components[SUMMARY_COMPONENTS] = {"device", "package", "dram", "node"};

    for (int i = 0; i < SUMMARY_COMPONENTS; i++) {
        const stats_mean *parts = cost->energy_j[i];
        if (parts[0].n > 0) {
            PB_TRY(pb_table_add(table, "%s", method));
            PB_TRY(pb_table_add(table, "%s", components[i]));
            for (int p = 0; p < SUMMARY_PARTS; p++) {
                PB_TRY(pb_table_add_number(table, parts[p].mean, 1));
            }
            PB_TRY(pb_table_add(table, "%" PRId64, parts[0].n));
        }
    }
    return PB_OK;
}

static pb_status add_energies(const summary *all, const pb_results *results, int64_t m,
                              document *doc)
{
    static const char *const header[] = {"method",       "energy of", "cell J", "training J",
                                         "validation J", "test J",    "cells",  NULL};

    PB_TRY(document_add(doc, DOCUMENT_SECTION, "energy",
                        "energy: means over cells; what training, validation and test leave of "
                        "the cell's is setup; the node contains the other components"));
    pb_table *table = document_table(doc);
    PB_TRY(pb_table_begin(table, header, 2));
    PB_TRY(add_methods(all, results, m, add_energy, table));
    if (table->count == table->columns) {
        document_drop(doc); /* nothing is known */
    }
    return PB_OK;
}

/* The spread over seeds; a single seed has none. */
static pb_status add_spread(pb_table *table, const summary_cost *cost)
{
    char text[PB_TABLE_NUMBER];

    if (isnan(cost->pscp_std)) {
        return pb_table_add(table, "%s", cost->has_pscp ? PB_TABLE_NOTHING : PB_TABLE_UNKNOWN);
    }
    return pb_table_add(table, "± %s", pb_table_number(text, cost->pscp_std, 2, false));
}

static pb_status add_pscp(pb_table *table, const char *method, const summary_cost *cost)
{
    PB_TRY(pb_table_add(table, "%s", method));
    PB_TRY(pb_table_add_number(table, cost->has_pscp ? cost->pscp.pscp : NAN, 2));
    PB_TRY(add_spread(table, cost));
    PB_TRY(pb_table_add_number(table, cost->score, 2));
    PB_TRY(pb_table_add_number(table, cost->has_pscp ? cost->pscp.cost_p : NAN, 4));
    PB_TRY(pb_table_add_number(table, cost->has_pscp ? cost->pscp.cost_f : NAN, 4));
    PB_TRY(pb_table_add_number(table, cost->has_pscp ? cost->pscp.cost_m : NAN, 4));
    PB_TRY(pb_table_add_number(table, cost->params.mean, 0));
    PB_TRY(pb_table_add_number(table, cost->flops_t.mean, 6));
    PB_TRY(pb_table_add_number(table, cost->memory_gb.mean, 4));
    return pb_table_add(table, "%" PRId64 " of %" PRId64, cost->datasets, cost->datasets_planned);
}

/* The column with the score itself. */
static void mark_best_pscp(const summary *all, const pb_results *results, int64_t m,
                           pb_table *table)
{
    double best = -INFINITY;
    int64_t row = 1;

    for (int64_t t = 0; t < results->methods_count; t++) {
        const summary_cost *cost = summary_cost_at(all, results, m, t);
        best = cost->has_pscp && cost->pscp.pscp > best ? cost->pscp.pscp : best;
    }
    for (int64_t t = 0; t < results->methods_count; t++) {
        const summary_cost *cost = summary_cost_at(all, results, m, t);
        if (cost->has_pscp && cost->pscp.pscp == best) {
            table->marks[row * table->columns + 1] = PB_TABLE_BEST;
        }
        row += cost->datasets_planned > 0;
    }
}

static pb_status add_pscps(const summary *all, const pb_results *results, int64_t m, document *doc)
{
    static const char *const header[] = {"method", "PSCP", "std",   "P",      "cost_p",   "cost_f",
                                         "cost_m", "M_p",  "M_f T", "M_m GB", "datasets", NULL};
    const pb_pscp_params *p           = &all->params;

    PB_TRY(document_add(doc, DOCUMENT_SECTION, "pscp",
                        "PSCP = P (1 + M_p/%g)^-%g (1 + M_f/%g)^-%g (1 + M_m/%g)^-%g; std "
                        "over seeds",
                        p->c_p, p->beta_p, p->c_f, p->beta_f, p->c_m, p->beta_m));
    PB_TRY(pb_table_begin(document_table(doc), header, 1));
    PB_TRY(add_methods(all, results, m, add_pscp, document_table(doc)));
    mark_best_pscp(all, results, m, document_table(doc));
    for (int64_t t = 0; t < results->methods_count; t++) {
        const summary_cost *cost = summary_cost_at(all, results, m, t);
        if (cost->datasets_planned > 0 && cost->problem[0] != '\0') {
            PB_TRY(document_remark(doc, "no PSCP for %s: %s", results->methods[t], cost->problem));
        }
    }
    return PB_OK;
}

static pb_status add_betas(const summary *all, const pb_results *results, int64_t m, document *doc)
{
    pb_pscp_row *rows = NULL;
    int64_t count     = 0;

    PB_TRY(PB_ALLOC(rows, results->methods_count + 1));
    for (int64_t t = 0; t < results->methods_count; t++) {
        const summary_cost *cost = summary_cost_at(all, results, m, t);
        if (cost->has_pscp) {
            rows[count++] =
                (pb_pscp_row){.method = results->methods[t], .inputs = summary_pscp_inputs(cost)};
        }
    }
    pb_status status = count > 0 ? betas_sections(rows, count, &all->params, doc) : PB_OK;
    pb_memory_free(rows);
    return status;
}

/* Failed and invalid cells with their cause, all of them; missing ones by name. */
static pb_status add_incomplete(const summary *all, const pb_results *results, document *doc)
{
    int64_t listed = 0;

    PB_TRY(document_add(doc, DOCUMENT_LIST, NULL, "%s", ""));
    for (int64_t i = 0; i < results->count; i++) {
        const pb_record *r = &results->records[i];
        if (r->status == PB_OK && r->valid) {
            continue;
        }
        const char *cause = r->status != PB_OK ? r->message : r->reason;
        PB_TRY(document_remark(doc, "%s: %s/%s/%s/%" PRId64 ": %s",
                               r->status != PB_OK ? "failed" : "INVALID", r->key.model,
                               r->key.dataset, r->key.method, r->key.seed,
                               cause != NULL ? cause : "no reason given"));
    }
    for (int64_t i = 0; i < pb_results_positions(results) && listed < LISTED_MAX; i++) {
        if (results->state[i] == PB_CELL_MISSING) {
            pb_record_key key = pb_results_key(results, i);
            listed++;
            PB_TRY(document_remark(doc, "missing: %s/%s/%s/%" PRId64, key.model, key.dataset,
                                   key.method, key.seed));
        }
    }
    if (all->missing > listed) {
        PB_TRY(document_remark(doc, "missing: %" PRId64 " more", all->missing - listed));
    }
    return PB_OK;
}

static pb_status add_head(const summary *all, const pb_results *results, document *doc)
{
    char cells[PB_TABLE_NUMBER];

    PB_TRY(document_add(doc, DOCUMENT_NOTE, NULL,
                        "sweep %s, protocol %s: %s, %" PRId64 " done, %" PRId64 " failed, %" PRId64
                        " invalid, %" PRId64 " missing",
                        results->sweep != NULL ? results->sweep : PB_TABLE_UNKNOWN,
                        results->protocol != NULL ? results->protocol : PB_TABLE_UNKNOWN,
                        pb_table_count(cells, all->cells, "cell"), all->done, all->failed,
                        all->invalid, all->missing));
    return document_add(doc, DOCUMENT_NOTE, NULL,
                        "in all tables: " PB_TABLE_UNKNOWN " not known, " PB_TABLE_NOTHING
                        " does not apply");
}

/* What the variants were chosen by, and which. */
static pb_status add_choices(const pb_report_choices *choices, const pb_results *results,
                             document *doc)
{
    static const char *const header[] = {"model", "data set", "method",   "chosen",
                                         NULL,    "seeds",    "variants", NULL};
    const char *columns[8];
    bool score = choices->by == PB_REPORT_BEST_SCORE;

    if (choices->count == 0) {
        return document_add(doc, DOCUMENT_NOTE, NULL, "no method has variants to choose from");
    }
    PB_TRY(document_add(
        doc, DOCUMENT_SECTION, "chosen",
        "variants chosen by the mean %s over seeds%s; %" PRId64
        " cells of other variants are left out, %" PRId64 " of them failed",
        score ? "score" : "validation loss",
        score ? ": choosing on the test rows is a mistake, the scores below are too good; "
                "--best-by validation does not look at them"
              : "",
        choices->left_out, choices->left_out_failed));
    memcpy(columns, header, sizeof columns);
    columns[4] = score ? "score" : "loss";
    PB_TRY(pb_table_begin(document_table(doc), columns, 4));
    for (int64_t i = 0; i < choices->count; i++) {
        const pb_report_choice *c = &choices->items[i];
        pb_table *table           = document_table(doc);
        PB_TRY(pb_table_add(table, "%s", results->models[c->model]));
        PB_TRY(pb_table_add(table, "%s", results->datasets[c->dataset]));
        PB_TRY(pb_table_add(table, "%s", results->methods[c->method]));
        PB_TRY(pb_table_add(table, "%s", c->variant));
        PB_TRY(pb_table_add_number(table, c->value, score ? 2 : 4));
        PB_TRY(pb_table_add(table, "%" PRId64 " of %" PRId64, c->seeds, c->planned));
        PB_TRY(pb_table_add(table, "%" PRId64, c->variants));
    }
    return PB_OK;
}

pb_status sections_make(const summary *all, const pb_results *results,
                        const pb_report_options *options, document *out)
{
    PB_TRY(add_head(all, results, out));
    if (options->choices != NULL) {
        PB_TRY(add_choices(options->choices, results, out));
    }
    for (int64_t m = 0; m < results->models_count; m++) {
        PB_TRY(document_add(out, DOCUMENT_HEADING, NULL, "model %s", results->models[m]));
        PB_TRY(section_scores(all, results, m, out));
        PB_TRY(add_costs(all, results, m, out));
        PB_TRY(add_energies(all, results, m, out));
        PB_TRY(add_pscps(all, results, m, out));
        PB_TRY(options->betas ? add_betas(all, results, m, out) : PB_OK);
        PB_TRY(section_paired(all, results, m, options->pairs, out));
    }
    return add_incomplete(all, results, out);
}
