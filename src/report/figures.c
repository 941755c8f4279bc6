// SPDX-License-Identifier: Apache-2.0
/* The figures of one model that need no curves. */
#include "betas.h"
#include "figure.h"

#include "pb/table.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Everything that a figure of a model is made of. */
typedef struct source {
    const summary *all;
    const pb_results *results;
    int64_t model;
} source;

static const summary_cost *cost_of(const source *s, int64_t method)
{
    return summary_cost_at(s->all, s->results, s->model, method);
}

/* A row per planned method, with PSCP and its interval over seeds. */
static pb_status make_pscp(const source *s, figure *f)
{
    figure_series *series = NULL;
    char text[2][PB_TABLE_NUMBER];

    PB_TRY(
        figure_begin(f, FIGURE_BARS, "PSCP", NULL, "PSCP; lines are 95 %% intervals over seeds"));
    for (int64_t t = 0; t < s->results->methods_count; t++) {
        const summary_cost *cost = cost_of(s, t);
        if (cost->datasets_planned == 0) {
            continue;
        }
        PB_TRY(figure_add(f, s->results->methods[t], t, &series));
        if (!cost->has_pscp) {
            PB_TRY(pb_string_puts(&series->value, "not known"));
            continue;
        }
        double half = isnan(cost->pscp_std) ? NAN
                                            : stats_t(cost->pscp_seeds - 1) * cost->pscp_std /
                                                  sqrt((double)cost->pscp_seeds);
        double pscp = cost->pscp.pscp;
        PB_TRY(figure_point_add(
            series,
            (figure_point){pscp, 0, isnan(half) ? half : fmax(pscp - half, 0), pscp + half}));
        PB_TRY(pb_string_printf(&series->value, isnan(half) ? "%s" : "%s ±%s",
                                pb_table_number(text[0], pscp, 2, false),
                                pb_table_number(text[1], half, 2, false)));
    }
    return PB_OK;
}

/* No other method is at least as good in quality, memory and time, and better in one. */
static bool is_on_front(const source *s, int64_t method)
{
    const summary_cost *own = cost_of(s, method);

    for (int64_t t = 0; t < s->results->methods_count; t++) {
        const summary_cost *c = cost_of(s, t);
        bool as_good          = c->datasets > 0 && c->score >= own->score &&
                       c->memory_gb.mean <= own->memory_gb.mean &&
                       c->seconds_train.mean <= own->seconds_train.mean;
        bool better = c->score > own->score || c->memory_gb.mean < own->memory_gb.mean ||
                      c->seconds_train.mean < own->seconds_train.mean;
        if (as_good && better) {
            return false;
        }
    }
    return true;
}

static double third_of(const summary_cost *cost, bool over_memory)
{
    return over_memory ? cost->seconds_train.mean : cost->memory_gb.mean;
}

/* Quality over memory with time as the area of the points, or the other way round. */
static pb_status make_front(const source *s, bool over_memory, figure *f)
{
    figure_series *series = NULL;
    double largest        = 0;

    PB_TRY(figure_begin(f, FIGURE_POINTS,
                        over_memory ? "peak memory in training, GB" : "training, s",
                        "mean score, percent",
                        "quality over %s, area: %s; filled and bold: on the Pareto front of "
                        "quality, memory and time",
                        over_memory ? "memory" : "time", over_memory ? "time" : "memory"));
    for (int64_t t = 0; t < s->results->methods_count; t++) {
        largest = fmax(largest, third_of(cost_of(s, t), over_memory));
    }
    for (int64_t t = 0; t < s->results->methods_count && f->count < FIGURE_SERIES_MAX; t++) {
        const summary_cost *cost = cost_of(s, t);
        double x                 = over_memory ? cost->memory_gb.mean : cost->seconds_train.mean;
        double third             = third_of(cost, over_memory);
        if (cost->datasets == 0 || isnan(x) || isnan(cost->score)) {
            continue;
        }
        PB_TRY(figure_add(f, s->results->methods[t], t, &series));
        PB_TRY(figure_point_add(series, (figure_point){x, cost->score, NAN, NAN}));
        PB_TRY(pb_string_printf(&series->value, "score %.2f, %.4g GB, %.4g s", cost->score,
                                cost->memory_gb.mean, cost->seconds_train.mean));
        series->area   = largest > 0 && third > 0 ? third / largest : 0;
        series->strong = is_on_front(s, t);
    }
    return PB_OK;
}

/* A dot per data set and seed: the score less the mean of its seeds. */
static pb_status add_deviations(const source *s, int64_t t, figure_series *series)
{
    const pb_results *r = s->results;
    double squares      = 0;
    int64_t n           = 0;
    int64_t sets        = 0;

    for (int64_t d = 0; d < r->datasets_count; d++) {
        const summary_score *score = summary_score_at(s->all, r, s->model, d, t);
        if (score->score.n < 2) {
            continue;
        }
        sets++;
        for (int64_t k = 0; k < r->seeds_count; k++) {
            int64_t at = r->grid[pb_results_index(r, s->model, d, t, k)];
            if (at >= 0 && r->records[at].status == PB_OK && r->records[at].valid &&
                isfinite(r->records[at].score)) {
                double x = r->records[at].score - score->score.mean;
                PB_TRY(figure_point_add(series, (figure_point){x, 0, NAN, NAN}));
                squares += x * x;
                n++;
            }
        }
    }
    return n > 0 ? pb_string_printf(&series->value, "std %.2f", sqrt(squares / (double)(n - sets)))
                 : pb_string_puts(&series->value, "not known");
}

static pb_status make_stability(const source *s, figure *f)
{
    figure_series *series = NULL;

    PB_TRY(figure_begin(f, FIGURE_DOTS, "score less its mean over seeds, percent", NULL,
                        "stability over seeds: a dot per data set and seed; std within data sets"));
    for (int64_t t = 0; t < s->results->methods_count; t++) {
        if (cost_of(s, t)->datasets_planned > 0) {
            PB_TRY(figure_add(f, s->results->methods[t], t, &series));
            PB_TRY(add_deviations(s, t, series));
        }
    }
    return PB_OK;
}

/* PSCP over one exponent, or over all of them together. */
static pb_status make_beta(const source *s, int axis, figure *f)
{
    enum { STEPS = 32 };
    figure_series *series = NULL;

    PB_TRY(figure_begin(f, FIGURE_LINES, betas_names[axis], "PSCP",
                        "PSCP over %s: lines that cross are methods that swap their places",
                        betas_names[axis]));
    f->here = betas_of(&s->all->params, axis);
    f->here = f->here <= BETAS_MAX ? f->here : NAN;
    for (int64_t t = 0; t < s->results->methods_count && f->count < FIGURE_SERIES_MAX; t++) {
        const summary_cost *cost    = cost_of(s, t);
        const pb_pscp_inputs inputs = summary_pscp_inputs(cost);
        if (!cost->has_pscp) {
            continue;
        }
        PB_TRY(figure_add(f, s->results->methods[t], t, &series));
        for (int i = 0; i <= STEPS; i++) {
            double beta           = BETAS_MAX * i / STEPS;
            pb_pscp_params params = betas_with(&s->all->params, axis, beta);
            pb_pscp_result result = {0};
            PB_TRY(pb_pscp(&inputs, &params, &result));
            PB_TRY(figure_point_add(series, (figure_point){beta, result.pscp, NAN, NAN}));
            if (i % 8 == 4) {
                PB_TRY(figure_mark_add(series, (figure_point){beta, result.pscp, NAN, NAN}));
            }
        }
    }
    return PB_OK;
}

static bool has_points(const figure *f)
{
    int64_t points = 0;

    for (int64_t i = 0; i < f->count; i++) {
        points += f->series[i].count;
    }
    return points > 0;
}

static pb_status make(const source *s, int index, figure *f)
{
    switch (index) {
    case 0:
        return make_pscp(s, f);
    case 1:
        return make_front(s, true, f);
    case 2:
        return make_front(s, false, f);
    case 3:
        return make_stability(s, f);
    default:
        return make_beta(s, index - 4, f);
    }
}

pb_status figures_of_model(const summary *all, const pb_results *results, int64_t model,
                           figure_show show, void *context)
{
    static const char *const names[] = {"pscp",   "memory", "time",   "stability",
                                        "beta-p", "beta-f", "beta-m", "beta-all"};
    const source s                   = {.all = all, .results = results, .model = model};

    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++) {
        figure f         = {0};
        pb_status status = make(&s, i, &f);
        if (status == PB_OK && has_points(&f)) {
            status = show(context, names[i], &f);
        }
        figure_clear(&f);
        PB_TRY(status);
    }
    return PB_OK;
}
