// SPDX-License-Identifier: Apache-2.0
/* Means, spreads and PSCP. The order of all sums is the order of the grid. */
#include "summary.h"

#include "pb/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The record of a cell that counts, or NULL. */
static const pb_record *counted(const pb_results *results, int64_t m, int64_t d, int64_t t,
                                int64_t s)
{
    int64_t at = pb_results_index(results, m, d, t, s);

    return results->state[at] == PB_CELL_DONE ? &results->records[results->grid[at]] : NULL;
}

static void count_states(const pb_results *results, int64_t m, int64_t d, int64_t t,
                         summary_score *score)
{
    score->metric = "";
    for (int64_t s = 0; s < results->seeds_count; s++) {
        const pb_record *record = counted(results, m, d, t, s);
        int8_t state            = results->state[pb_results_index(results, m, d, t, s)];

        score->planned += state != PB_CELL_EXCLUDED;
        score->done += state == PB_CELL_DONE;
        score->failed += state == PB_CELL_FAILED;
        score->invalid += state == PB_CELL_INVALID;
        score->missing += state == PB_CELL_MISSING;
        if (record != NULL && record->metric_name != NULL && score->metric[0] == '\0') {
            score->metric = record->metric_name;
        }
    }
}

/* Truncated rows as a share of all rows trained on or tested. */
static double truncated_share(const pb_record *r)
{
    bool known =
        r->rows_truncated >= 0 && r->rows_train >= 0 && r->rows_validation >= 0 && r->rows_test > 0;

    return known ? (double)r->rows_truncated /
                       (double)(r->rows_train + r->rows_validation + r->rows_test)
                 : NAN;
}

static void make_scores(const pb_results *results, double *values, summary *out)
{
    summary_score *score = out->scores;
    double *lows         = values + results->seeds_count;
    double *highs        = lows + results->seeds_count;

    for (int64_t m = 0; m < results->models_count; m++) {
        for (int64_t d = 0; d < results->datasets_count; d++) {
            for (int64_t t = 0; t < results->methods_count; t++, score++) {
                count_states(results, m, d, t, score);
                for (int64_t s = 0; s < results->seeds_count; s++) {
                    const pb_record *record = counted(results, m, d, t, s);
                    bool known              = record != NULL && !isnan(record->score);
                    values[s]               = known ? record->score : NAN;
                    lows[s]                 = known ? record->score_low : NAN;
                    highs[s]                = known ? record->score_high : NAN;
                }
                score->score = stats_mean_of(values, results->seeds_count);
                summary_intervals(lows, highs, results->seeds_count, score);
                for (int64_t s = 0; s < results->seeds_count; s++) {
                    const pb_record *record = counted(results, m, d, t, s);
                    values[s]               = record != NULL ? truncated_share(record) : NAN;
                }
                score->truncated_share = stats_mean_of(values, results->seeds_count).mean;
                out->cells += score->planned;
                out->done += score->done;
                out->failed += score->failed;
                out->invalid += score->invalid;
                out->missing += score->missing;
            }
        }
    }
}

typedef double (*cell_value)(const pb_record *record);

static double value_params(const pb_record *r)
{
    return r->trainable_params < 0 ? NAN : (double)r->trainable_params;
}

static double value_flops(const pb_record *r)
{
    return r->flops_forward_t - r->flops_base_t;
}

#define MEMBER(name)                               \
    static double value_##name(const pb_record *r) \
    {                                              \
        return r->name;                            \
    }

MEMBER(memory_peak_gb)
MEMBER(memory_system_peak_gb)
MEMBER(seconds_train)
MEMBER(tokens_per_second)
MEMBER(memory_mean_gb)
MEMBER(memory_p99_gb)
MEMBER(mfu)
MEMBER(mfu_validation)
MEMBER(mfu_test)

static double value_adapter(const pb_record *r)
{
    return r->adapter_bytes < 0 ? (double)NAN : (double)r->adapter_bytes;
}

#define ENERGY(of)                    \
    MEMBER(energy_##of##j)            \
    MEMBER(energy_##of##train_j)      \
    MEMBER(energy_##of##validation_j) \
    MEMBER(energy_##of##test_j)

ENERGY()
ENERGY(package_)
ENERGY(dram_)
ENERGY(node_)

#define PARTS(of)                                                                          \
    {                                                                                      \
        value_energy_##of##j, value_energy_##of##train_j, value_energy_##of##validation_j, \
            value_energy_##of##test_j                                                      \
    }

static const cell_value energies[SUMMARY_COMPONENTS][SUMMARY_PARTS] = {PARTS(), PARTS(package_),
                                                                       PARTS(dram_), PARTS(node_)};

/* Statistics of one quantity over the data sets of a method, for one seed or all (-1). */
static stats_mean over_cells(const pb_results *results, int64_t m, int64_t t, int64_t seed,
                             cell_value value, double *values)
{
    int64_t count = 0;

    for (int64_t d = 0; d < results->datasets_count; d++) {
        for (int64_t s = 0; s < results->seeds_count; s++) {
            const pb_record *record = counted(results, m, d, t, s);
            if (record != NULL && (seed < 0 || seed == s)) {
                values[count++] = value(record);
            }
        }
    }
    return stats_mean_of(values, count);
}

/* PSCP of single seeds, for those that have a score on every data set that entered the mean. */
static void seed_spread(const pb_results *results, int64_t m, int64_t t, double *values,
                        const summary *all, summary_cost *cost)
{
    double *pscp = values + results->datasets_count * results->seeds_count;
    int64_t n    = 0;

    for (int64_t s = 0; s < results->seeds_count; s++) {
        double sum            = 0;
        int64_t have          = 0;
        pb_pscp_result result = {0};

        for (int64_t d = 0; d < results->datasets_count; d++) {
            const pb_record *record = counted(results, m, d, t, s);
            if (record != NULL && !isnan(record->score)) {
                sum += record->score;
                have++;
            }
        }
        if (have == 0 || have != cost->datasets) {
            continue;
        }
        pb_pscp_inputs inputs = {
            .score     = sum / (double)have,
            .params    = cost->params.mean,
            .flops_t   = cost->flops_t.mean,
            .memory_gb = over_cells(results, m, t, s, value_memory_peak_gb, values).mean,
        };
        if (pb_pscp(&inputs, &all->params, &result) == PB_OK) {
            pscp[n++] = result.pscp;
        } else {
            pb_error_clear();
        }
    }
    cost->pscp_std   = stats_mean_of(pscp, n).std;
    cost->pscp_seeds = n;
}

pb_pscp_inputs summary_pscp_inputs(const summary_cost *cost)
{
    return (pb_pscp_inputs){.score     = cost->score,
                            .params    = cost->params.mean,
                            .flops_t   = cost->flops_t.mean,
                            .memory_gb = cost->memory_gb.mean};
}

static void make_pscp(const pb_results *results, int64_t m, int64_t t, double *values,
                      const summary *all, summary_cost *cost)
{
    pb_pscp_inputs inputs = summary_pscp_inputs(cost);

    cost->pscp_std = NAN;
    if (cost->datasets == 0) {
        (void)snprintf(cost->problem, sizeof cost->problem, "no finished cell");
        return;
    }
    if (pb_pscp(&inputs, &all->params, &cost->pscp) != PB_OK) {
        (void)snprintf(cost->problem, sizeof cost->problem, "%s", pb_error_message());
        pb_error_clear();
        return;
    }
    cost->has_pscp = true;
    seed_spread(results, m, t, values, all, cost);
}

static void make_costs(const pb_results *results, double *values, summary *out)
{
    for (int64_t m = 0; m < results->models_count; m++) {
        for (int64_t t = 0; t < results->methods_count; t++) {
            summary_cost *cost = &out->costs[m * results->methods_count + t];
            double sum         = 0;

            for (int64_t d = 0; d < results->datasets_count; d++) {
                const summary_score *score = summary_score_at(out, results, m, d, t);
                cost->datasets_planned += score->planned > 0;
                if (score->score.n > 0) {
                    sum += score->score.mean;
                    cost->datasets++;
                }
            }
            cost->score     = cost->datasets > 0 ? sum / (double)cost->datasets : NAN;
            cost->params    = over_cells(results, m, t, -1, value_params, values);
            cost->flops_t   = over_cells(results, m, t, -1, value_flops, values);
            cost->memory_gb = over_cells(results, m, t, -1, value_memory_peak_gb, values);
            cost->system_gb = over_cells(results, m, t, -1, value_memory_system_peak_gb, values);
            cost->seconds_train = over_cells(results, m, t, -1, value_seconds_train, values);
            cost->tokens_per_second =
                over_cells(results, m, t, -1, value_tokens_per_second, values);
            cost->memory_mean_gb = over_cells(results, m, t, -1, value_memory_mean_gb, values);
            cost->memory_p99_gb  = over_cells(results, m, t, -1, value_memory_p99_gb, values);
            cost->adapter_bytes  = over_cells(results, m, t, -1, value_adapter, values);
            cost->mfu            = over_cells(results, m, t, -1, value_mfu, values);
            cost->mfu_validation = over_cells(results, m, t, -1, value_mfu_validation, values);
            cost->mfu_test       = over_cells(results, m, t, -1, value_mfu_test, values);
            for (int i = 0; i < SUMMARY_COMPONENTS; i++) {
                for (int p = 0; p < SUMMARY_PARTS; p++) {
                    cost->energy_j[i][p] = over_cells(results, m, t, -1, energies[i][p], values);
                }
            }
            make_pscp(results, m, t, values, out, cost);
        }
    }
}

pb_status summary_make(const pb_results *results, const pb_report_options *options, summary *out)
{
    summary made     = {0};
    double *values   = NULL;
    int64_t costs    = results->models_count * results->methods_count;
    pb_status status = PB_OK;

    made.params = options != NULL ? options->pscp : pb_pscp_defaults();
    PB_TRY_GOTO(status, PB_ALLOC(made.scores, costs * results->datasets_count + 1), err);
    PB_TRY_GOTO(status, PB_ALLOC(made.costs, costs + 1), err);
    /* Values of the cells of one method, followed by one value per seed; or three per seed. */
    PB_TRY_GOTO(status, PB_ALLOC(values, (results->datasets_count + 3) * results->seeds_count + 1),
                err);
    make_scores(results, values, &made);
    make_costs(results, values, &made);
    pb_memory_free(values);
    *out = made;
    return PB_OK;

err:
    summary_clear(&made);
    return status;
}

void summary_clear(summary *s)
{
    pb_memory_free(s->scores);
    pb_memory_free(s->costs);
    memset(s, 0, sizeof *s);
}

const summary_score *summary_score_at(const summary *s, const pb_results *results, int64_t model,
                                      int64_t dataset, int64_t method)
{
    return &s->scores[(model * results->datasets_count + dataset) * results->methods_count +
                      method];
}

const summary_cost *summary_cost_at(const summary *s, const pb_results *results, int64_t model,
                                    int64_t method)
{
    return &s->costs[model * results->methods_count + method];
}

int64_t summary_best(const summary *s, const pb_results *results, int64_t model, int64_t dataset)
{
    int64_t best = -1;
    double most  = 0;

    for (int64_t t = 0; t < results->methods_count; t++) {
        const stats_mean *score = &summary_score_at(s, results, model, dataset, t)->score;
        if (score->n > 0 && (best < 0 || score->mean > most)) {
            best = t;
            most = score->mean;
        }
    }
    return best;
}
