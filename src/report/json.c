// SPDX-License-Identifier: Apache-2.0
/* The report as one JSON object. Numbers are printed so that they read back the same; unknown
 * values are null. */
#include "paired.h"
#include "quantities.h"

#include "pb/json.h"
#include "pb/variant.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void put_number(pb_json *json, const char *key, double value)
{
    pb_json_put_number(json, key, value, PB_JSON_EXACT);
}

/* A text that is not there is empty. */
static void put_text(pb_json *json, const char *key, const char *text)
{
    pb_json_put_text(json, key, text != NULL ? text : "");
}

static void put_range(pb_json *json, const char *low, const char *high, const summary_range *range)
{
    put_number(json, low, range->low);
    put_number(json, high, range->high);
}

/* Opens the object of a place in the grid; dataset NULL: of a method on all of them. */
static void put_place(pb_json *json, const char *model, const char *dataset, const char *method)
{
    pb_json_put_object(json, NULL, PB_JSON_INLINE);
    put_text(json, "model", model);
    if (dataset != NULL) {
        put_text(json, "dataset", dataset);
    }
    put_text(json, "method", method);
}

/* Opens the object of a cell. */
static void put_key(pb_json *json, const pb_record_key *key)
{
    put_place(json, key->model, key->dataset, key->method);
    pb_json_put_int(json, "seed", key->seed);
}

static void put_scores(const summary *all, const pb_results *results, pb_json *json)
{
    pb_json_put_array(json, "scores", PB_JSON_LINES);
    for (int64_t m = 0; m < results->models_count; m++) {
        for (int64_t d = 0; d < results->datasets_count; d++) {
            for (int64_t t = 0; t < results->methods_count; t++) {
                const summary_score *s = summary_score_at(all, results, m, d, t);
                if (s->planned == 0) {
                    continue;
                }
                put_place(json, results->models[m], results->datasets[d], results->methods[t]);
                put_text(json, "metric", s->metric);
                put_number(json, "mean", s->score.mean);
                put_number(json, "std", s->score.std);
                put_range(json, "low", "high", &s->whole);
                put_range(json, "rows_low", "rows_high", &s->rows);
                put_range(json, "seeds_low", "seeds_high", &s->seeds);
                put_number(json, "truncated_share", s->truncated_share);
                pb_json_put_int(json, "seeds", s->score.n);
                pb_json_put_int(json, "planned", s->planned);
                pb_json_put_int(json, "failed", s->failed);
                pb_json_put_int(json, "invalid", s->invalid);
                pb_json_put_int(json, "missing", s->missing);
                pb_json_end(json);
            }
        }
    }
    pb_json_end(json);
}

static void put_quantities(pb_json *json, const quantity *list, int count)
{
    for (int i = 0; i < count; i++) {
        put_number(json, list[i].name, list[i].value);
    }
}

/* One object per (model, method): costs, or PSCP and its terms. */
static void put_methods(const summary *all, const pb_results *results, bool terms, pb_json *json)
{
    pb_json_put_array(json, terms ? "pscp" : "costs", PB_JSON_LINES);
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
            put_place(json, results->models[m], NULL, results->methods[t]);
            if (terms) {
                put_quantities(json, pscp, TERMS);
                put_number(json, "pscp_std", cost->pscp_std);
                pb_json_put_int(json, "datasets", cost->datasets);
                pb_json_put_int(json, "datasets_planned", cost->datasets_planned);
                put_text(json, "problem", cost->problem);
            } else {
                put_quantities(json, costs, COSTS);
                pb_json_put_int(json, "cells", cost->memory_gb.n);
            }
            pb_json_end(json);
        }
    }
    pb_json_end(json);
}

static void put_pair(const pb_results *results, int64_t m, int64_t d, const paired *pair,
                     pb_json *json)
{
    const summary_range range = {pair->low, pair->high};

    put_place(json, results->models[m], results->datasets[d], results->methods[pair->a]);
    put_text(json, "versus", results->methods[pair->b]);
    put_number(json, "difference", pair->difference);
    put_range(json, "low", "high", &range);
    put_number(json, "p", pair->p);
    put_number(json, "p_holm", pair->p_holm);
    pb_json_put_int(json, "rows", pair->rows);
    pb_json_put_int(json, "seeds", pair->seeds);
    put_text(json, "test", pair->test);
    put_text(json, "problem", pair->problem);
    pb_json_end(json);
}

static pb_status put_paired(const pb_results *results, bool wanted, pb_json *json)
{
    pb_json_put_array(json, "paired", PB_JSON_LINES);
    for (int64_t m = 0; m < results->models_count && wanted; m++) {
        for (int64_t d = 0; d < results->datasets_count; d++) {
            paired_list list = {0};
            PB_TRY(paired_make(results, m, d, &list));
            for (int64_t i = 0; i < list.count; i++) {
                put_pair(results, m, d, &list.pairs[i], json);
            }
            paired_clear(&list);
        }
    }
    pb_json_end(json);
    return PB_OK;
}

static void put_incomplete(const pb_results *results, bool failed, pb_json *json)
{
    pb_json_put_array(json, failed ? "failed" : "invalid", PB_JSON_LINES);
    for (int64_t i = 0; i < results->count; i++) {
        const pb_record *r = &results->records[i];
        if (failed ? r->status == PB_OK : (r->status != PB_OK || r->valid)) {
            continue;
        }
        put_key(json, &r->key);
        put_text(json, failed ? "message" : "reason", failed ? r->message : r->reason);
        pb_json_end(json);
    }
    pb_json_end(json);
}

static void put_missing(const pb_results *results, pb_json *json)
{
    pb_json_put_array(json, "missing", PB_JSON_LINES);
    for (int64_t i = 0; i < pb_results_positions(results); i++) {
        if (results->state[i] == PB_CELL_MISSING) {
            pb_record_key key = pb_results_key(results, i);
            put_key(json, &key);
            pb_json_end(json);
        }
    }
    pb_json_end(json);
}

/* The names of variants taken apart: settings that are numbers as such, others as texts. */
static void put_variant(pb_json *json, const char *axis, const char *name)
{
    const char *at = NULL;
    pb_variant_setting s;
    char key[256], value[256];

    pb_json_put_object(json, NULL, PB_JSON_INLINE);
    pb_json_put_text(json, "axis", axis);
    pb_json_put_text(json, "name", name);
    (void)snprintf(value, sizeof value, "%.*s", pb_variant_base(name), name);
    pb_json_put_text(json, "base", value);
    pb_json_put_object(json, "settings", PB_JSON_INLINE);
    while (pb_variant_next(name, &at, &s)) {
        double number = pb_variant_number(&s);
        (void)snprintf(key, sizeof key, "%.*s", s.key_length, s.key);
        (void)snprintf(value, sizeof value, "%.*s", s.value_length, s.value);
        if (isnan(number)) {
            pb_json_put_text(json, key, value);
        } else {
            put_number(json, key, number);
        }
    }
    pb_json_end(json);
    pb_json_end(json);
}

static void put_variants(const pb_results *results, pb_json *json)
{
    static const char *const axes[] = {"model", "dataset", "method"};
    char *const *const names[]      = {results->models, results->datasets, results->methods};
    const int64_t counts[]          = {results->models_count, results->datasets_count,
                                       results->methods_count};

    pb_json_put_array(json, "variants", PB_JSON_LINES);
    for (int axis = 0; axis < 3; axis++) {
        for (int64_t i = 0; i < counts[axis]; i++) {
            if (pb_variant_base(names[axis][i]) < (int)strlen(names[axis][i])) {
                put_variant(json, axes[axis], names[axis][i]);
            }
        }
    }
    pb_json_end(json);
}

/* What the variants were chosen by, and which. */
static void put_choices(const pb_report_choices *choices, const pb_results *results, pb_json *json)
{
    put_text(json, "best_by", choices->by == PB_REPORT_BEST_SCORE ? "score" : "validation");
    pb_json_put_int(json, "left_out", choices->left_out);
    pb_json_put_int(json, "left_out_failed", choices->left_out_failed);
    pb_json_put_array(json, "chosen", PB_JSON_LINES);
    for (int64_t i = 0; i < choices->count; i++) {
        const pb_report_choice *c = &choices->items[i];
        put_place(json, results->models[c->model], results->datasets[c->dataset],
                  results->methods[c->method]);
        put_text(json, "variant", c->variant);
        put_number(json, "value", c->value);
        pb_json_put_int(json, "seeds", c->seeds);
        pb_json_put_int(json, "planned", c->planned);
        pb_json_put_int(json, "variants", c->variants);
        pb_json_end(json);
    }
    pb_json_end(json);
}

static void put_constants(pb_json *json, const pb_pscp_params *p)
{
    pb_json_put_object(json, "constants", PB_JSON_INLINE);
    put_number(json, "beta_p", p->beta_p);
    put_number(json, "beta_f", p->beta_f);
    put_number(json, "beta_m", p->beta_m);
    put_number(json, "c_p", p->c_p);
    put_number(json, "c_f", p->c_f);
    put_number(json, "c_m", p->c_m);
    pb_json_end(json);
}

static void put_cells(pb_json *json, const summary *all)
{
    pb_json_put_object(json, "cells", PB_JSON_INLINE);
    pb_json_put_int(json, "planned", all->cells);
    pb_json_put_int(json, "done", all->done);
    pb_json_put_int(json, "failed", all->failed);
    pb_json_put_int(json, "invalid", all->invalid);
    pb_json_put_int(json, "missing", all->missing);
    pb_json_end(json);
}

static pb_status put_all(const summary *all, const pb_results *results,
                         const pb_report_options *options, pb_string *out)
{
    pb_json json = pb_json_begin(out, PB_JSON_LINES, 1);

    if (options != NULL && options->path != NULL) {
        put_text(&json, "path", options->path);
    }
    put_text(&json, "sweep", results->sweep);
    put_text(&json, "protocol", results->protocol);
    put_cells(&json, all);
    put_variants(results, &json);
    if (options != NULL && options->choices != NULL) {
        put_choices(options->choices, results, &json);
    }
    put_scores(all, results, &json);
    put_methods(all, results, false, &json);
    put_constants(&json, &all->params);
    put_methods(all, results, true, &json);
    PB_TRY(put_paired(results, options == NULL || options->pairs != PB_REPORT_PAIRS_NONE, &json));
    put_incomplete(results, true, &json);
    put_incomplete(results, false, &json);
    put_missing(results, &json);
    return pb_json_finish(&json, "\n");
}

pb_status pb_report_json(const pb_results *results, const pb_report_options *options,
                         pb_string *out)
{
    summary all = {0};

    PB_TRY(summary_make(results, options, &all));
    pb_status status = put_all(&all, results, options, out);
    summary_clear(&all);
    return status;
}
