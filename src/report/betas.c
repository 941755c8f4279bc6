// SPDX-License-Identifier: Apache-2.0
#include "betas.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

enum { SWAPS_MAX = 40 }; /* that are listed */

const char *const betas_names[BETAS_AXES] = {"beta_p", "beta_f", "beta_m", "all betas"};

pb_pscp_params betas_with(const pb_pscp_params *params, int axis, double beta)
{
    pb_pscp_params made = *params;

    made.beta_p = axis == 0 || axis == 3 ? beta : made.beta_p;
    made.beta_f = axis == 1 || axis == 3 ? beta : made.beta_f;
    made.beta_m = axis == 2 || axis == 3 ? beta : made.beta_m;
    return made;
}

double betas_of(const pb_pscp_params *params, int axis)
{
    bool equal = params->beta_p == params->beta_f && params->beta_f == params->beta_m;

    return axis == 0   ? params->beta_p
           : axis == 1 ? params->beta_f
           : axis == 2 ? params->beta_m
           : equal     ? params->beta_p
                       : NAN;
}

static double pscp_of(const pb_pscp_row *row, const pb_pscp_params *params)
{
    pb_pscp_result result = {0};

    if (pb_pscp(&row->inputs, params, &result) != PB_OK) {
        pb_error_clear(); /* an input is unknown */
        return NAN;
    }
    return result.pscp;
}

static pb_status add_row(const pb_pscp_row *rows, int64_t count, const pb_pscp_params *params,
                         pb_table *table)
{
    double best = -INFINITY;

    for (int64_t i = 0; i < count; i++) {
        best = fmax(best, pscp_of(&rows[i], params));
    }
    PB_TRY(pb_table_add(table, "%g", params->beta_p));
    PB_TRY(pb_table_add(table, "%g", params->beta_f));
    PB_TRY(pb_table_add(table, "%g", params->beta_m));
    for (int64_t i = 0; i < count; i++) {
        double pscp = pscp_of(&rows[i], params);
        PB_TRY(pb_table_add_number(table, pscp, 2));
        if (pscp == best) {
            pb_table_mark_last(table, PB_TABLE_BEST);
        }
    }
    return PB_OK;
}

static pb_status add_exponents(const pb_pscp_row *rows, int64_t count, const pb_pscp_params *params,
                               document *doc)
{
    static const double single[] = {0.5, 2}, all[] = {2, 3, 4};

    PB_TRY(document_add(doc, DOCUMENT_SECTION, "betas", "PSCP under other exponents"));
    pb_table *table = document_table(doc);
    pb_table_init(table, 3 + count, 3);
    for (int axis = 0; axis < 3; axis++) {
        PB_TRY(pb_table_add(table, "%s", betas_names[axis]));
    }
    for (int64_t i = 0; i < count; i++) {
        PB_TRY(pb_table_add(table, "%s", rows[i].method));
    }
    PB_TRY(add_row(rows, count, params, table));
    for (int i = 0; i < 6; i++) {
        pb_pscp_params changed = betas_with(params, i % 3, single[i / 3]);
        PB_TRY(add_row(rows, count, &changed, table));
    }
    for (int i = 0; i < 3; i++) {
        pb_pscp_params changed = betas_with(params, 3, all[i]);
        PB_TRY(add_row(rows, count, &changed, table));
    }
    return PB_OK;
}

/* At `beta` of the axis, `above` falls below `below`. */
typedef struct swap {
    int axis;
    double beta, distance; /* from the exponents in use */
    const char *above, *below;
} swap;

/* Where log PSCP of a and b are equal on the axis: both fall linearly. */
static bool find_swap(const pb_pscp_row *a, const pb_pscp_row *b, const pb_pscp_params *params,
                      int axis, swap *out)
{
    const pb_pscp_params at0 = betas_with(params, axis, 0), at1 = betas_with(params, axis, 1);
    double ahead = log(pscp_of(a, &at0)) - log(pscp_of(b, &at0));
    double later = log(pscp_of(a, &at1)) - log(pscp_of(b, &at1));
    double beta  = ahead / (ahead - later);
    double now   = betas_of(params, axis);

    if (!isfinite(beta) || beta <= 0 || beta > BETAS_MAX) {
        return false;
    }
    *out = (swap){.axis     = axis,
                  .beta     = beta,
                  .distance = fabs(beta - (isnan(now) ? 1 : now)),
                  .above    = ahead > 0 ? a->method : b->method,
                  .below    = ahead > 0 ? b->method : a->method};
    return true;
}

static int compare_swaps(const void *a, const void *b)
{
    const swap *x = a, *y = b;

    int nearer = (x->distance > y->distance) - (x->distance < y->distance);

    return nearer != 0 ? nearer : x->axis - y->axis;
}

static pb_status find_swaps(const pb_pscp_row *rows, int64_t count, const pb_pscp_params *params,
                            swap **out, int64_t *found)
{
    for (int64_t i = 0; i < count; i++) {
        for (int64_t j = i + 1; j < count; j++) {
            for (int axis = 0; axis < BETAS_AXES; axis++) {
                PB_TRY(PB_GROW(*out, *found + 1));
                *found += find_swap(&rows[i], &rows[j], params, axis, &(*out)[*found]);
            }
        }
    }
    if (*found > 0) {
        qsort(*out, (size_t)*found, sizeof **out, compare_swaps);
    }
    return PB_OK;
}

static pb_status add_swaps(const swap *swaps, int64_t count, document *doc)
{
    static const char *const header[] = {"exponent", "above before", "above after", "at", NULL};

    PB_TRY(document_add(doc, DOCUMENT_SECTION, "swaps",
                        "where two methods swap their places by PSCP as one exponent grows to %g, "
                        "nearest to the exponents in use first",
                        BETAS_MAX));
    if (count == 0) {
        return document_remark(doc, "no two methods swap their places");
    }
    PB_TRY(pb_table_begin(document_table(doc), header, 3));
    for (int64_t i = 0; i < count && i < SWAPS_MAX; i++) {
        PB_TRY(pb_table_add(document_table(doc), "%s", betas_names[swaps[i].axis]));
        PB_TRY(pb_table_add(document_table(doc), "%s", swaps[i].above));
        PB_TRY(pb_table_add(document_table(doc), "%s", swaps[i].below));
        PB_TRY(pb_table_add_number(document_table(doc), swaps[i].beta, 3));
    }
    return count > SWAPS_MAX ? document_remark(doc, "%" PRId64 " more", count - SWAPS_MAX) : PB_OK;
}

pb_status betas_sections(const pb_pscp_row *rows, int64_t count, const pb_pscp_params *params,
                         document *doc)
{
    swap *swaps   = NULL;
    int64_t found = 0;
    pb_status status;

    PB_TRY(add_exponents(rows, count, params, doc));
    PB_TRY_GOTO(status, find_swaps(rows, count, params, &swaps, &found), out);
    PB_TRY_GOTO(status, add_swaps(swaps, found, doc), out);
out:
    pb_memory_free(swaps);
    return status;
}
