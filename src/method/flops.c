// SPDX-License-Identifier: Apache-2.0
/* Forward operations of an adapted model, counted from shapes. */
#include "pb/method.h"

double pb_method_flops(const pb_method *m, const pb_model *model, int64_t tokens)
{
    const pb_model_config *c = pb_model_get_config(model);
    bool rows                = m != NULL && m->ops->virtual_rows != NULL;
    bool keys                = m != NULL && m->ops->virtual_keys != NULL;
    double n                 = (double)(tokens + (rows ? m->ops->virtual_rows(m) : 0));
    double k                 = n + (double)(keys ? m->ops->virtual_keys(m) : 0);
    double products          = (double)c->vocab * (double)c->width;
    for (int64_t i = 0; i < pb_model_site_count(model); i++) {
        const pb_site *site = pb_model_site_at(model, i);
        if (site->site_class == PB_SITE_LINEAR) {
            products += (double)site->in * (double)site->out;
        }
    }
    double attention = 4.0 * n * k * (double)(c->head_dim * c->heads * c->layers);
    double own = m != NULL && m->ops->extra_flops != NULL ? m->ops->extra_flops(m, tokens) : 0.0;
    return 2.0 * n * products + attention + own;
}
