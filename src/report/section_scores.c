// SPDX-License-Identifier: Apache-2.0
/* Scores as tables of data sets × methods; what was not planned for a model has no row or
 * column. */
#include "sections.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* Adds the cell of one score to the table. */
typedef pb_status (*add_cell)(pb_table *table, const pb_results *results,
                              const summary_score *score);

pb_status section_add_without(pb_table *table, const summary_score *score)
{
    const char *shown = score->planned == 0  ? PB_TABLE_NOTHING
                        : score->done > 0    ? PB_TABLE_UNKNOWN /* as in the paper protocol */
                        : score->failed > 0  ? "failed"
                        : score->invalid > 0 ? "invalid"
                                             : "missing";

    PB_TRY(pb_table_add(table, "%s", shown));
    if (score->planned > 0) {
        pb_table_mark_last(table, PB_TABLE_BAD);
    }
    return PB_OK;
}

/* "53.10 ±1.20", with "(2/3)" where seeds are missing or failed and "(1)" where fewer were planned
 * than for others. */
static pb_status add_score(pb_table *table, const pb_results *results, const summary_score *score)
{
    char mean[PB_TABLE_NUMBER];
    char spread[40] = "";
    char seeds[60]  = "";

    if (score->score.n == 0) {
        return section_add_without(table, score);
    }
    if (!isnan(score->score.std)) {
        (void)snprintf(spread, sizeof spread, " ±%.2f", score->score.std);
    }
    if (score->score.n < score->planned) {
        (void)snprintf(seeds, sizeof seeds, " (%" PRId64 "/%" PRId64 ")", score->score.n,
                       score->planned);
    } else if (score->planned < results->seeds_count) {
        (void)snprintf(seeds, sizeof seeds, " (%" PRId64 ")", score->planned);
    }
    return pb_table_add(table, "%s%s%s", pb_table_number(mean, score->score.mean, 2, false), spread,
                        seeds);
}

pb_status section_add_interval(pb_table *table, double low, double high, bool sign)
{
    char texts[2][PB_TABLE_NUMBER];

    return isnan(low) ? pb_table_add(table, PB_TABLE_UNKNOWN)
                      : pb_table_add(table, "[%s, %s]", pb_table_number(texts[0], low, 2, sign),
                                     pb_table_number(texts[1], high, 2, sign));
}

static pb_status add_interval(pb_table *table, const pb_results *results,
                              const summary_score *score)
{
    (void)results;
    return score->score.n == 0
               ? section_add_without(table, score)
               : section_add_interval(table, score->whole.low, score->whole.high, false);
}

/* "61.20", and "(5/6)" where it is not over all data sets that the model's table has. */
static pb_status add_mean(pb_table *table, const summary_cost *cost, int64_t of)
{
    char mean[PB_TABLE_NUMBER];

    if (cost->datasets > 0 && cost->datasets < of) {
        return pb_table_add(table, "%s (%" PRId64 "/%" PRId64 ")",
                            pb_table_number(mean, cost->score, 2, false), cost->datasets, of);
    }
    return pb_table_add_number(table, cost->datasets > 0 ? cost->score : NAN, 2);
}

/* The metric of a data set: what its finished cells say. */
static const char *metric_of(const summary *all, const pb_results *results, int64_t m, int64_t d)
{
    for (int64_t t = 0; t < results->methods_count; t++) {
        const summary_score *score = summary_score_at(all, results, m, d, t);
        if (score->metric[0] != '\0') {
            return score->metric;
        }
    }
    return PB_TABLE_UNKNOWN;
}

bool section_has_column(const summary *all, const pb_results *results, int64_t m, int64_t t)
{
    return summary_cost_at(all, results, m, t)->datasets_planned > 0;
}

bool section_has_row(const summary *all, const pb_results *results, int64_t m, int64_t d)
{
    for (int64_t t = 0; t < results->methods_count; t++) {
        if (summary_score_at(all, results, m, d, t)->planned > 0) {
            return true;
        }
    }
    return false;
}

pb_status section_begin(const summary *all, const pb_results *results, int64_t m,
                        const char *second, pb_table *table)
{
    int64_t methods = 0;

    for (int64_t t = 0; t < results->methods_count; t++) {
        methods += section_has_column(all, results, m, t);
    }
    pb_table_init(table, 2 + methods, 2);
    PB_TRY(pb_table_add(table, "dataset"));
    PB_TRY(pb_table_add(table, "%s", second));
    for (int64_t t = 0; t < results->methods_count; t++) {
        if (section_has_column(all, results, m, t)) {
            PB_TRY(pb_table_add(table, "%s", results->methods[t]));
        }
    }
    return PB_OK;
}

static void mark_best(pb_table *table, const summary *all, const pb_results *results, int64_t m,
                      int64_t d, int64_t t)
{
    int64_t best = summary_best(all, results, m, d);

    if (best >= 0 && summary_score_at(all, results, m, d, t)->score.mean ==
                         summary_score_at(all, results, m, d, best)->score.mean) {
        pb_table_mark_last(table, PB_TABLE_BEST);
    }
}

static pb_status add_rows(pb_table *table, const summary *all, const pb_results *results, int64_t m,
                          add_cell add)
{
    for (int64_t d = 0; d < results->datasets_count; d++) {
        if (!section_has_row(all, results, m, d)) {
            continue;
        }
        PB_TRY(pb_table_add(table, "%s", results->datasets[d]));
        PB_TRY(pb_table_add(table, "%s", metric_of(all, results, m, d)));
        for (int64_t t = 0; t < results->methods_count; t++) {
            if (section_has_column(all, results, m, t)) {
                PB_TRY(add(table, results, summary_score_at(all, results, m, d, t)));
                mark_best(table, all, results, m, d, t);
            }
        }
    }
    return PB_OK;
}

static pb_status add_means(pb_table *table, const summary *all, const pb_results *results,
                           int64_t m)
{
    int64_t most = 0;

    for (int64_t t = 0; t < results->methods_count; t++) {
        int64_t planned = summary_cost_at(all, results, m, t)->datasets_planned;
        most            = planned > most ? planned : most;
    }
    PB_TRY(pb_table_add(table, "mean"));
    PB_TRY(pb_table_add(table, PB_TABLE_NOTHING));
    for (int64_t t = 0; t < results->methods_count; t++) {
        if (section_has_column(all, results, m, t)) {
            PB_TRY(add_mean(table, summary_cost_at(all, results, m, t), most));
        }
    }
    return PB_OK;
}

static pb_status fill_table(const summary *all, const pb_results *results, int64_t m, add_cell add,
                            pb_table *table)
{
    PB_TRY(section_begin(all, results, m, "metric", table));
    PB_TRY(add_rows(table, all, results, m, add));
    return add == add_score ? add_means(table, all, results, m) : PB_OK;
}

static bool has_intervals(const summary *all, const pb_results *results, int64_t m)
{
    for (int64_t d = 0; d < results->datasets_count; d++) {
        for (int64_t t = 0; t < results->methods_count; t++) {
            if (!isnan(summary_score_at(all, results, m, d, t)->whole.low)) {
                return true;
            }
        }
    }
    return false;
}

/* The data sets with truncated rows, with the largest share among the methods. */
static pb_status list_truncated(const summary *all, const pb_results *results, int64_t m,
                                pb_string *out)
{
    char share[PB_TABLE_NUMBER];

    for (int64_t d = 0; d < results->datasets_count; d++) {
        double most = 0;
        for (int64_t t = 0; t < results->methods_count; t++) {
            most = fmax(most, summary_score_at(all, results, m, d, t)->truncated_share);
        }
        if (most > 0) {
            PB_TRY(pb_string_printf(out, "%s%s %s %%", out->length > 0 ? ", " : "",
                                    results->datasets[d],
                                    pb_table_number(share, 100 * most, 1, false)));
        }
    }
    return PB_OK;
}

static pb_status add_truncated(const summary *all, const pb_results *results, int64_t m,
                               document *doc)
{
    pb_string list   = {0};
    pb_status status = list_truncated(all, results, m, &list);

    if (status == PB_OK && list.length > 0) {
        status = document_add(doc, DOCUMENT_SECTION, "truncated",
                              "rows that data.cutoff_tokens cut: %s", list.data);
    }
    pb_string_clear(&list);
    return status;
}

pb_status section_scores(const summary *all, const pb_results *results, int64_t model,
                         document *doc)
{
    char seeds[PB_TABLE_NUMBER];

    PB_TRY(document_add(doc, DOCUMENT_SECTION, "scores",
                        "scores: main metric times 100, mean ± sample standard deviation over %s; "
                        "(k/n): k of n",
                        pb_table_count(seeds, results->seeds_count, "seed")));
    PB_TRY(fill_table(all, results, model, add_score, document_table(doc)));
    PB_TRY(add_truncated(all, results, model, doc));
    if (!has_intervals(all, results, model)) {
        return PB_OK;
    }
    PB_TRY(document_add(doc, DOCUMENT_SECTION, "intervals",
                        "95 %% intervals of the scores: over test rows and seeds; of a single "
                        "seed, over test rows"));
    return fill_table(all, results, model, add_interval, document_table(doc));
}
