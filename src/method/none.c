// SPDX-License-Identifier: Apache-2.0
/* No method: the frozen model as it is. The baseline of every comparison, and the null
 * implementation of the table. */
#include "internal.h"

static pb_status plan(pb_method *m)
{
    (void)m;
    return PB_OK;
}

const pb_method_ops method_none = {
    .name = "none",
    .help = "the frozen model without training",
    .plan = plan,
};
