// SPDX-License-Identifier: Apache-2.0
/* CSV tables: the report as one long table, and the cells as a wide one. Numbers are printed so
 * that they read back the same; unknown values are empty. */
#include "csv.h"
#include "paired.h"
#include "quantities.h"

#include "pb/variant.h"

#include <inttypes.h>
#include <math.h>

enum { TEXTS = 7 }; /* table,model,dataset,method,versus,quantity,unit */

/* What follows the texts of a line. */
typedef struct csv_numbers {
    double value, std, low, high;
    int64_t n, of;
    const char *note;
} csv_numbers;

static pb_status csv_number(pb_string *out, double value)
{
    PB_TRY(pb_string_puts(out, ","));
    /* -0 + 0 is 0 */
    return isnan(value) ? PB_OK : pb_string_printf(out, "%.17g", value + 0.0);
}

/* Every line ends in columns for variants: the names of model, data set and method without
 * settings, and the settings. */
typedef struct csv_lines {
    pb_string *out;
    pb_results_settings settings;
} csv_lines;

static pb_status end_header(csv_lines *lines)
{
    PB_TRY(pb_string_puts(lines->out, ",model_base,dataset_base,method_base"));
    for (int64_t k = 0; k < lines->settings.count; k++) {
        PB_TRY(pb_string_puts(lines->out, ","));
        PB_TRY(csv_put(lines->out, lines->settings.items[k].column));
    }
    return pb_string_puts(lines->out, "\r\n");
}

static pb_status put_slice(csv_lines *lines, const char *text, int length)
{
    pb_string slice  = {0};
    pb_status status = pb_string_printf(&slice, "%.*s", length, text);

    if (status == PB_OK) {
        status = csv_put(lines->out, slice.data);
    }
    pb_string_clear(&slice);
    return status;
}

/* `names`: model, data set, method. */
static pb_status end_line(csv_lines *lines, const char *const *names)
{
    for (int i = 0; i < 3; i++) {
        PB_TRY(pb_string_puts(lines->out, ","));
        PB_TRY(put_slice(lines, names[i], pb_variant_base(names[i])));
    }
    for (int64_t k = 0; k < lines->settings.count; k++) {
        const pb_results_setting *setting = &lines->settings.items[k];
        pb_variant_setting s              = {.value = ""};
        bool found                        = pb_variant_find(names[setting->axis], setting->key, &s);
        if (setting->numeric) {
            PB_TRY(csv_number(lines->out, found ? pb_variant_number(&s) : NAN));
        } else {
            PB_TRY(pb_string_puts(lines->out, ","));
            PB_TRY(put_slice(lines, found ? s.value : "", found ? s.value_length : 0));
        }
    }
    return pb_string_puts(lines->out, "\r\n");
}

static pb_status csv_line(csv_lines *lines, const char *const texts[TEXTS],
                          const csv_numbers *numbers)
{
    const double values[] = {numbers->value, numbers->std, numbers->low, numbers->high};
    pb_string *out        = lines->out;

    for (int i = 0; i < TEXTS; i++) {
        PB_TRY(pb_string_puts(out, i == 0 ? "" : ","));
        PB_TRY(csv_put(out, texts[i]));
    }
    for (int i = 0; i < 4; i++) {
        PB_TRY(csv_number(out, values[i]));
    }
    PB_TRY(pb_string_printf(out, ",%" PRId64 ",%" PRId64 ",", numbers->n, numbers->of));
    PB_TRY(csv_put(out, numbers->note));
    return end_line(lines, texts + 1);
}

/* The score with its whole interval, then the parts of the interval where known. */
static pb_status csv_score(csv_lines *lines, const char *const texts[TEXTS], const summary_score *s)
{
    const char *parts[TEXTS] = {texts[0], texts[1], texts[2], texts[3],
                                texts[4], texts[5], texts[6]};
    csv_numbers numbers      = {.value = s->score.mean,
                                .std   = s->score.std,
                                .low   = s->whole.low,
                                .high  = s->whole.high,
                                .n     = s->score.n,
                                .of    = s->planned,
                                .note  = ""};

    PB_TRY(csv_line(lines, texts, &numbers));
    for (int i = 0; i < 2; i++) {
        const summary_range *range = i == 0 ? &s->rows : &s->seeds;
        parts[0]                   = i == 0 ? "score_rows" : "score_seeds";
        numbers.low                = range->low;
        numbers.high               = range->high;
        if (!isnan(range->low)) {
            PB_TRY(csv_line(lines, parts, &numbers));
        }
    }
    return PB_OK;
}

static pb_status csv_quantity(csv_lines *lines, const char *const texts[TEXTS], const quantity *q,
                              int64_t of, const char *note)
{
    return csv_line(lines, texts,
                    &(csv_numbers){.value = q->value,
                                   .std   = q->std,
                                   .low   = NAN,
                                   .high  = NAN,
                                   .n     = q->n,
                                   .of    = of,
                                   .note  = note});
}

/* The share of truncated rows, if any. */
static pb_status csv_truncated(csv_lines *lines, const char *const texts[TEXTS],
                               const summary_score *s)
{
    const char *place[TEXTS] = {"rows", texts[1], texts[2], texts[3], "", "truncated_share", "1"};

    const quantity share = {.value = s->truncated_share, .std = NAN, .n = s->score.n};

    return s->truncated_share > 0 ? csv_quantity(lines, place, &share, s->planned, "") : PB_OK;
}

static pb_status csv_method(const summary *all, const pb_results *results, int64_t m, int64_t t,
                            csv_lines *lines)
{
    const summary_cost *cost = summary_cost_at(all, results, m, t);
    const char *model        = results->models[m];
    const char *method       = results->methods[t];
    int64_t planned          = 0;
    quantity costs[COSTS];
    quantity terms[TERMS];

    for (int64_t d = 0; d < results->datasets_count; d++) {
        const summary_score *s   = summary_score_at(all, results, m, d, t);
        const char *texts[TEXTS] = {"score",   model,    results->datasets[d], method, "",
                                    s->metric, "percent"};
        planned += s->planned;
        if (s->planned > 0) {
            PB_TRY(csv_score(lines, texts, s));
            PB_TRY(csv_truncated(lines, texts, s));
        }
    }
    if (planned == 0) {
        return PB_OK;
    }
    cost_quantities(cost, costs);
    pscp_quantities(cost, terms);
    for (int i = 0; i < COSTS; i++) {
        const char *texts[TEXTS] = {"cost", model, "", method, "", costs[i].name, costs[i].unit};
        PB_TRY(csv_quantity(lines, texts, &costs[i], planned, ""));
    }
    for (int i = 0; i < TERMS; i++) {
        const char *texts[TEXTS] = {"pscp", model, "", method, "", terms[i].name, terms[i].unit};
        PB_TRY(csv_quantity(lines, texts, &terms[i], i < 5 ? cost->datasets_planned : planned,
                            i == 0 ? cost->problem : ""));
    }
    return PB_OK;
}

/* Three lines per pair: the difference, p, and p after Holm; or one line with the reason why it was
 * not compared. */
static pb_status csv_pair(const pb_results *results, int64_t m, int64_t d, const paired *pair,
                          csv_lines *lines)
{
    static const char *const names[] = {"difference", "p", "p_holm"};
    const double values[]            = {pair->difference, pair->p, pair->p_holm};
    bool compared                    = pair->problem[0] == '\0';

    for (int i = 0; i < (compared ? 3 : 1); i++) {
        const char *texts[TEXTS] = {"paired",
                                    results->models[m],
                                    results->datasets[d],
                                    results->methods[pair->a],
                                    results->methods[pair->b],
                                    names[i],
                                    i == 0 ? "percent" : "1"};
        csv_numbers numbers      = {.value = values[i],
                                    .std   = NAN,
                                    .low   = i == 0 ? pair->low : NAN,
                                    .high  = i == 0 ? pair->high : NAN,
                                    .n     = pair->rows,
                                    .of    = pair->rows,
                                    .note  = compared ? pair->test : pair->problem};
        PB_TRY(csv_line(lines, texts, &numbers));
    }
    return PB_OK;
}

static pb_status csv_paired(const pb_results *results, int64_t m, int64_t d, csv_lines *lines)
{
    paired_list list = {0};
    pb_status status = PB_OK;

    PB_TRY(paired_make(results, m, d, &list));
    for (int64_t i = 0; i < list.count && status == PB_OK; i++) {
        status = csv_pair(results, m, d, &list.pairs[i], lines);
    }
    paired_clear(&list);
    return status;
}

static pb_status csv_all(const summary *all, const pb_results *results, bool pairs,
                         csv_lines *lines)
{
    PB_TRY(pb_string_puts(
        lines->out,
        "table,model,dataset,method,versus,quantity,unit,value,std,low,high,n,of,note"));
    PB_TRY(end_header(lines));
    for (int64_t m = 0; m < results->models_count; m++) {
        for (int64_t t = 0; t < results->methods_count; t++) {
            PB_TRY(csv_method(all, results, m, t, lines));
        }
        for (int64_t d = 0; pairs && d < results->datasets_count; d++) {
            PB_TRY(csv_paired(results, m, d, lines));
        }
    }
    return PB_OK;
}

/* The variants that stand for their methods. */
static pb_status csv_choices(const pb_report_choices *choices, const pb_results *results,
                             csv_lines *lines)
{
    bool score = choices->by == PB_REPORT_BEST_SCORE;

    for (int64_t i = 0; i < choices->count; i++) {
        const pb_report_choice *c = &choices->items[i];
        const char *texts[TEXTS]  = {"chosen",
                                     results->models[c->model],
                                     results->datasets[c->dataset],
                                     results->methods[c->method],
                                     c->variant,
                                    score ? "score" : "validation_loss",
                                    score ? "percent" : "nat/token"};
        const quantity chosen     = {.value = c->value, .std = NAN, .n = c->seeds};
        PB_TRY(csv_quantity(lines, texts, &chosen, c->planned, ""));
    }
    return PB_OK;
}

pb_status pb_report_csv(const pb_results *results, const pb_report_options *options, pb_string *out)
{
    csv_lines lines = {.out = out};
    summary all     = {0};
    bool pairs      = options == NULL || options->pairs != PB_REPORT_PAIRS_NONE;
    pb_status status;

    PB_TRY_GOTO(status, pb_results_settings_find(results, &lines.settings), done);
    PB_TRY_GOTO(status, summary_make(results, options, &all), done);
    PB_TRY_GOTO(status, csv_all(&all, results, pairs, &lines), done);
    if (options != NULL && options->choices != NULL) {
        status = csv_choices(options->choices, results, &lines);
    }
done:
    summary_clear(&all);
    pb_results_settings_clear(&lines.settings);
    return status;
}

static pb_status csv_cell(csv_lines *lines, const char *state, pb_record_key key,
                          const pb_record *r)
{
    const char *names[] = {key.model, key.dataset, key.method};
    pb_string *out      = lines->out;
    const char *cause   = r == NULL ? "" : r->status != PB_OK ? r->message : r->reason;

    PB_TRY(csv_put(out, key.model));
    PB_TRY(pb_string_puts(out, ","));
    PB_TRY(csv_put(out, key.dataset));
    PB_TRY(pb_string_puts(out, ","));
    PB_TRY(csv_put(out, key.method));
    PB_TRY(pb_string_printf(out, ",%" PRId64 ",%s,", key.seed, state));
    PB_TRY(csv_put(out, r != NULL && r->metric_name != NULL ? r->metric_name : ""));
    for (int i = 0; pb_record_number_name(i, NULL) != NULL; i++) {
        PB_TRY(csv_number(out, r != NULL ? pb_record_number(r, i) : NAN));
    }
    PB_TRY(pb_string_puts(out, ","));
    PB_TRY(csv_put(out, cause != NULL ? cause : ""));
    return end_line(lines, names);
}

pb_status pb_report_csv_cells(const pb_results *results, const pb_report_options *options,
                              pb_string *out)
{
    static const char *const states[] = {"missing", "done", "failed", "invalid"};

    csv_lines lines  = {.out = out};
    pb_status status = PB_OK;

    (void)options;
    PB_TRY(pb_string_puts(out, "model,dataset,method,seed,state,metric"));
    for (int i = 0; pb_record_number_name(i, NULL) != NULL; i++) {
        PB_TRY(pb_string_printf(out, ",%s", pb_record_number_name(i, NULL)));
    }
    PB_TRY(pb_string_puts(out, ",cause"));
    PB_TRY(pb_results_settings_find(results, &lines.settings));
    status = end_header(&lines);
    for (int64_t i = 0; i < pb_results_positions(results) && status == PB_OK; i++) {
        if (results->state[i] != PB_CELL_EXCLUDED) {
            const pb_record *r = results->grid[i] >= 0 ? &results->records[results->grid[i]] : NULL;
            /* The axis has the method; the record also has the variant that was chosen. */
            status = csv_cell(&lines, states[results->state[i]],
                              r != NULL ? r->key : pb_results_key(results, i), r);
        }
    }
    pb_results_settings_clear(&lines.settings);
    return status;
}
