// SPDX-License-Identifier: Apache-2.0
/* PSCP, the score of a method for its quality and its cost (arXiv 2511.21285):
 *
 *     PSCP = P (1 + M_p/C_p)^-β_p (1 + M_f/C_f)^-β_f (1 + M_m/C_m)^-β_m
 *
 * P is the mean score in percent, M_p trainable parameters, M_f forward TFLOP beyond the base model
 * (512 tokens), M_m peak training memory in GB (1e9 bytes). */
#pragma once

#include "pb/config.h"
#include "pb/status.h"

#include <stdint.h>

typedef struct pb_pscp_params {
    double beta_p, beta_f, beta_m; /* exponents, at least 0 */
    double c_p, c_f, c_m;          /* parameters, TFLOP, GB; above 0 */
} pb_pscp_params;

typedef struct pb_pscp_inputs {
    double score, params, flops_t, memory_gb; /* P, M_p, M_f, M_m; none below 0 */
} pb_pscp_inputs;

typedef struct pb_pscp_result {
    double pscp, cost_p, cost_f, cost_m; /* the costs are factors in 0 … 1, 1 is free */
} pb_pscp_result;

/* The constants with defaults and help; their ranges are pb_pscp_check's. */
extern const pb_config_field pb_pscp_fields[];
pb_pscp_params pb_pscp_defaults(void);

/* PB_ERR_NUMERIC, naming the value, when one is negative or not finite, or a constant is 0. */
pb_status pb_pscp(const pb_pscp_inputs *inputs, const pb_pscp_params *params,
                  pb_pscp_result *result) PB_MUST_USE;

/* Checks the constants alone: PB_ERR_USAGE when one is out of range. */
pb_status pb_pscp_check(const pb_pscp_params *params) PB_MUST_USE;

typedef struct pb_pscp_row {
    char *method;
    pb_pscp_inputs inputs;
} pb_pscp_row;

/* Reads a CSV file (RFC 4180) with the columns method, score, params, flops_t, memory_gb in any
 * order; other columns are ignored. Errors name file:line and column. */
pb_status pb_pscp_read(const char *path, pb_pscp_row **rows, int64_t *count) PB_MUST_USE;
void pb_pscp_rows_free(pb_pscp_row *rows, int64_t count);
