// SPDX-License-Identifier: Apache-2.0
/* Lists and numbers: lists stay where the caller has them, and a post copies at once. */
#include "cpu.h"

#include <string.h>

pb_status cpu_page_list(pb_backend *be, const int32_t *host, pb_list *list)
{
    (void)be;
    list->data = host;
    return PB_OK;
}

pb_status cpu_post(pb_backend *be, int slot, const pb_tensor *numbers)
{
    cpu *c       = (cpu *)be;
    size_t bytes = pb_tensor_bytes(numbers);
    void *to     = NULL;
    PB_TRY(cpu_block_take(&c->posted[slot], bytes, &to));
    if (bytes > 0) {
        memcpy(to, numbers->data, bytes);
    }
    c->posted_count[slot] = numbers->shape[0];
    return PB_OK;
}

pb_status cpu_take(pb_backend *be, int slot, double *values)
{
    const cpu *c = (const cpu *)be;
    if (c->posted_count[slot] > 0) {
        memcpy(values, c->posted[slot].data, (size_t)c->posted_count[slot] * sizeof *values);
    }
    return PB_OK;
}
