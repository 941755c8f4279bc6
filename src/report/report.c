// SPDX-License-Identifier: Apache-2.0
/* PSCP as arrays, for the merged file. */
#include "summary.h"

#include "pb/memory.h"

#include <math.h>
#include <string.h>

void pb_report_pscp_clear(pb_results_pscp *pscp)
{
    pb_memory_free(pscp->pscp);
    pb_memory_free(pscp->score);
    pb_memory_free(pscp->cost_p);
    pb_memory_free(pscp->cost_f);
    pb_memory_free(pscp->cost_m);
    pb_memory_free(pscp->params);
    pb_memory_free(pscp->flops_t);
    pb_memory_free(pscp->memory_gb);
    pb_memory_free(pscp->pscp_std);
    pb_memory_free(pscp->datasets);
    pb_memory_free(pscp->datasets_planned);
    memset(pscp, 0, sizeof *pscp);
}

static pb_status allocate(pb_results_pscp *pscp, int64_t count)
{
    double **arrays[] = {&pscp->pscp,    &pscp->score,     &pscp->cost_p,
                         &pscp->cost_f,  &pscp->cost_m,    &pscp->params,
                         &pscp->flops_t, &pscp->memory_gb, &pscp->pscp_std};

    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        PB_TRY(PB_ALLOC(*arrays[i], count));
    }
    PB_TRY(PB_ALLOC(pscp->datasets, count));
    return PB_ALLOC(pscp->datasets_planned, count);
}

static void fill(const summary_cost *cost, int64_t i, pb_results_pscp *out)
{
    out->pscp[i]             = cost->has_pscp ? cost->pscp.pscp : NAN;
    out->cost_p[i]           = cost->has_pscp ? cost->pscp.cost_p : NAN;
    out->cost_f[i]           = cost->has_pscp ? cost->pscp.cost_f : NAN;
    out->cost_m[i]           = cost->has_pscp ? cost->pscp.cost_m : NAN;
    out->pscp_std[i]         = cost->pscp_std;
    out->score[i]            = cost->score;
    out->params[i]           = cost->params.mean;
    out->flops_t[i]          = cost->flops_t.mean;
    out->memory_gb[i]        = cost->memory_gb.mean;
    out->datasets[i]         = cost->datasets;
    out->datasets_planned[i] = cost->datasets_planned;
}

pb_status pb_report_pscp(const pb_results *results, const pb_report_options *options,
                         pb_results_pscp *out)
{
    int64_t count        = results->models_count * results->methods_count;
    pb_results_pscp made = {0};
    summary all          = {0};
    pb_status status     = PB_OK;

    PB_TRY(summary_make(results, options, &all));
    PB_TRY_GOTO(status, allocate(&made, count + 1), err);
    for (int64_t i = 0; i < count; i++) {
        fill(&all.costs[i], i, &made);
    }
    made.beta_p = all.params.beta_p;
    made.beta_f = all.params.beta_f;
    made.beta_m = all.params.beta_m;
    made.c_p    = all.params.c_p;
    made.c_f    = all.params.c_f;
    made.c_m    = all.params.c_m;
    summary_clear(&all);
    *out = made;
    return PB_OK;

err:
    summary_clear(&all);
    pb_report_pscp_clear(&made);
    return status;
}
