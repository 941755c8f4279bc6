// SPDX-License-Identifier: Apache-2.0
/* The PSCP formula and its checks. A negative base of a power, a NaN or a zero constant would give
 * a meaningless number, so each is an error. */
#include "pb/pscp.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define CONSTANT(member, value, help_) \
    PB_FIELD_FLOAT(pb_pscp_params, member, value, -DBL_MAX, DBL_MAX, "", help_)

const pb_config_field pb_pscp_fields[] = {
    CONSTANT(beta_p, 1, "exponent of the cost of parameters"),
    CONSTANT(beta_f, 1, "exponent of the cost of operations"),
    CONSTANT(beta_m, 1, "exponent of the cost of memory"),
    CONSTANT(c_p, 5e8, "constant of parameters"),
    CONSTANT(c_f, 10, "constant of operations in TFLOP"),
    CONSTANT(c_m, 94, "constant of memory in GB"),
    PB_FIELD_END,
};

pb_pscp_params pb_pscp_defaults(void)
{
    pb_pscp_params params = {0};
    for (const pb_config_field *field = pb_pscp_fields; field->key != NULL; field++) {
        memcpy((char *)&params + field->offset, &field->number, sizeof field->number);
    }
    return params;
}

static pb_status check(const char *name, double value, bool above_zero)
{
    if (!isfinite(value)) {
        return PB_FAIL(PB_ERR_NUMERIC, "pscp: %s is %g; it must be a finite number", name, value);
    }
    if (value < 0 || (above_zero && value == 0)) {
        return PB_FAIL(PB_ERR_NUMERIC, "pscp: %s is %g; it must be %s 0", name, value,
                       above_zero ? "above" : "at least");
    }
    return PB_OK;
}

static pb_status check_constants(const pb_pscp_params *params)
{
    PB_TRY(check("beta_p", params->beta_p, false));
    PB_TRY(check("beta_f", params->beta_f, false));
    PB_TRY(check("beta_m", params->beta_m, false));
    PB_TRY(check("c_p", params->c_p, true));
    PB_TRY(check("c_f", params->c_f, true));
    return check("c_m", params->c_m, true);
}

pb_status pb_pscp_check(const pb_pscp_params *params)
{
    char cause[200];

    if (check_constants(params) == PB_OK) {
        return PB_OK;
    }
    (void)snprintf(cause, sizeof cause, "%s", pb_error_message());
    return PB_FAIL(PB_ERR_USAGE, "%s", cause);
}

pb_status pb_pscp(const pb_pscp_inputs *inputs, const pb_pscp_params *params,
                  pb_pscp_result *result)
{
    PB_TRY(check("score", inputs->score, false));
    PB_TRY(check("params", inputs->params, false));
    PB_TRY(check("flops_t, the difference to the base model,", inputs->flops_t, false));
    PB_TRY(check("memory_gb", inputs->memory_gb, false));
    PB_TRY(check_constants(params));

    pb_pscp_result out = {
        .cost_p = pow(1 + inputs->params / params->c_p, -params->beta_p),
        .cost_f = pow(1 + inputs->flops_t / params->c_f, -params->beta_f),
        .cost_m = pow(1 + inputs->memory_gb / params->c_m, -params->beta_m),
    };
    out.pscp = inputs->score * out.cost_p * out.cost_f * out.cost_m;
    *result  = out;
    return PB_OK;
}
