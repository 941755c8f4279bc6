// SPDX-License-Identifier: Apache-2.0
/* The backends of this build, best last: "auto" takes the last one that opens. A new backend adds
 * one line here. */
#include "internal.h"

static const pb_backend_ops *const registry[] = {
    &pb_backend_cpu,
    NULL,
};

const pb_backend_ops *const *pb_backend_registry(void)
{
    return registry;
}
