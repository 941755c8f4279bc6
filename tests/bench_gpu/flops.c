// SPDX-License-Identifier: Apache-2.0
/* Operations of a training step, from its shapes. */
#include "flops.h"

double flops_counted(const pb_model *model, int64_t trained, const step_size *step)
{
    const pb_model_config *c = pb_model_get_config(model);
    double tokens            = (double)(step->rows * step->length);
    double labels            = (double)(step->rows * step->labels);
    double pairs             = 0.5 * tokens * (double)(step->length + 1);
    double forward           = 0.0;
    double first             = 0.0; /* q, k, v of layer 0 */
    for (int64_t i = 0; i < pb_model_site_count(model); i++) {
        const pb_site *site = pb_model_site_at(model, i);
        double size         = (double)(site->in * site->out);
        forward += site->site_class == PB_SITE_LINEAR ? size : 0.0;
        first += site->layer == 0 && site->kind <= PB_SITE_V ? size : 0.0;
    }
    return 2.0 * tokens * (2.0 * forward - first) + 4.0 * labels * (double)(c->vocab * c->width) +
           14.0 * pairs * (double)(c->heads * c->head_dim * c->layers) +
           6.0 * tokens * (double)trained;
}

double flops_by_parameters(const pb_model *model, const step_size *step)
{
    return 4.0 * (double)pb_model_parameters(model) * (double)(step->rows * step->length);
}
