// SPDX-License-Identifier: Apache-2.0
/* PSCP under other exponents: how far the order of methods depends on them. */
#pragma once

#include "document.h"

#include "pb/pscp.h"

enum { BETAS_AXES = 4 }; /* beta_p, beta_f, beta_m, all three together */
#define BETAS_MAX 4.0    /* of the exponents that are shown */

extern const char *const betas_names[BETAS_AXES];
/* The constants with the exponent of the axis replaced. */
pb_pscp_params betas_with(const pb_pscp_params *params, int axis, double beta);
/* The exponent of the axis; NaN for all together unless they are equal. */
double betas_of(const pb_pscp_params *params, int axis);

/* Two sections: the PSCP at the given exponents, with one of them 0.5 or 2, and with all of them 2,
 * 3 and 4, as in the paper's tables; and where two methods swap their places, which is exact: the
 * logarithm of PSCP is linear in an exponent. Rows with a score of 0 have no place. */
pb_status betas_sections(const pb_pscp_row *rows, int64_t count, const pb_pscp_params *params,
                         document *doc) PB_MUST_USE;
