// SPDX-License-Identifier: Apache-2.0
/* Scores as tables of data sets × methods; what was not planned for a model has no row or
 * column. */
#include "text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* Adds the cell of one score to the table. */
typedef pb_status (*add_cell)(pb_table *table, const pb_results *results,
                              const summary_score *score);

const char *part_without_score(const summary_score *score)
{
    if (score->planned == 0) {
        return PB_TABLE_NOTHING;
    }
    if (score->done > 0) {
        return PB_TABLE_UNKNOWN; /* a metric of the paper protocol may be NaN */
    }
    if (score->failed > 0) {
        return "failed";
    }
    return score->invalid > 0 ? "invalid" : "missing";
}

/* "53.10 ±1.20", with "(2/3)" where seeds are missing or failed and "(1)" where fewer were planned
 * than for others. */
static pb_status add_score(pb_table *table, const pb_results *results, const summary_score *score)
{
    char mean[PB_TABLE_NUMBER];
    char spread[40] = "";
    char seeds[60]  = "";

    if (score->score.n == 0) {
        return pb_table_add(table, "%s", part_without_score(score));
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

pb_status part_add_interval(pb_table *table, double low, double high, bool sign)
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
               ? pb_table_add(table, "%s", part_without_score(score))
               : part_add_interval(table, score->whole.low, score->whole.high, false);
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

bool part_has_column(const summary *all, const pb_results *results, int64_t m, int64_t t)
{
    return summary_cost_at(all, results, m, t)->datasets_planned > 0;
}

bool part_has_row(const summary *all, const pb_results *results, int64_t m, int64_t d)
{
    for (int64_t t = 0; t < results->methods_count; t++) {
        if (summary_score_at(all, results, m, d, t)->planned > 0) {
            return true;
        }
    }
    return false;
}

pb_status part_begin(const summary *all, const pb_results *results, int64_t m, const char *second,
                     pb_table *table)
{
    int64_t methods = 0;

    for (int64_t t = 0; t < results->methods_count; t++) {
        methods += part_has_column(all, results, m, t);
    }
    pb_table_init(table, 2 + methods, 2);
    PB_TRY(pb_table_add(table, "dataset"));
    PB_TRY(pb_table_add(table, "%s", second));
    for (int64_t t = 0; t < results->methods_count; t++) {
        if (part_has_column(all, results, m, t)) {
            PB_TRY(pb_table_add(table, "%s", results->methods[t]));
        }
    }
    return PB_OK;
}

static pb_status add_rows(pb_table *table, const summary *all, const pb_results *results, int64_t m,
                          add_cell add)
{
    for (int64_t d = 0; d < results->datasets_count; d++) {
        if (!part_has_row(all, results, m, d)) {
            continue;
        }
        PB_TRY(pb_table_add(table, "%s", results->datasets[d]));
        PB_TRY(pb_table_add(table, "%s", metric_of(all, results, m, d)));
        for (int64_t t = 0; t < results->methods_count; t++) {
            if (part_has_column(all, results, m, t)) {
                PB_TRY(add(table, results, summary_score_at(all, results, m, d, t)));
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
        if (part_has_column(all, results, m, t)) {
            PB_TRY(add_mean(table, summary_cost_at(all, results, m, t), most));
        }
    }
    return PB_OK;
}

static pb_status print_table(const summary *all, const pb_results *results, int64_t m, add_cell add,
                             int64_t width, pb_string *out)
{
    pb_table table;
    pb_status status = PB_OK;

    PB_TRY_GOTO(status, part_begin(all, results, m, "metric", &table), out);
    PB_TRY_GOTO(status, add_rows(&table, all, results, m, add), out);
    if (add == add_score) {
        PB_TRY_GOTO(status, add_means(&table, all, results, m), out);
    }
    PB_TRY_GOTO(status, pb_table_print(&table, width, out), out);
    PB_TRY_GOTO(status, pb_string_puts(out, "\n"), out);
out:
    pb_table_clear(&table);
    return status;
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
static pb_status print_truncated(const summary *all, const pb_results *results, int64_t m,
                                 int64_t width, pb_string *out)
{
    char share[PB_TABLE_NUMBER];
    pb_string list   = {0};
    pb_status status = PB_OK;

    for (int64_t d = 0; d < results->datasets_count && status == PB_OK; d++) {
        double most = 0;
        for (int64_t t = 0; t < results->methods_count; t++) {
            most = fmax(most, summary_score_at(all, results, m, d, t)->truncated_share);
        }
        if (most > 0) {
            status = pb_string_printf(&list, "%s%s %s %%", list.length > 0 ? ", " : "",
                                      results->datasets[d],
                                      pb_table_number(share, 100 * most, 1, false));
        }
    }
    if (status == PB_OK && list.length > 0) {
        status = pb_table_note(out, width, 0, "rows that data.cutoff_tokens cut: %s", list.data);
        status = status == PB_OK ? pb_string_puts(out, "\n") : status;
    }
    pb_string_clear(&list);
    return status;
}

pb_status part_scores(const summary *all, const pb_results *results, int64_t model, int64_t width,
                      pb_string *out)
{
    char seeds[PB_TABLE_NUMBER];

    PB_TRY(pb_table_note(out, width, 0,
                         "scores: main metric times 100, mean ± sample standard deviation over %s; "
                         "(k/n): k of n",
                         pb_table_count(seeds, results->seeds_count, "seed")));
    PB_TRY(print_table(all, results, model, add_score, width, out));
    PB_TRY(print_truncated(all, results, model, width, out));
    if (!has_intervals(all, results, model)) {
        return PB_OK;
    }
    PB_TRY(pb_table_note(out, width, 0,
                         "95 %% intervals of the scores: over test rows and seeds; of a single "
                         "seed, over test rows"));
    return print_table(all, results, model, add_interval, width, out);
}
