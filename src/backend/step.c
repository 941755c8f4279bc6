// SPDX-License-Identifier: Apache-2.0
/* The checked front of pages and of the numbers that come back; plans are in plan.c. */
#include "check.h"

pb_status pb_page_begin(pb_backend *be, uint64_t pass)
{
    be->pass  = pass;
    be->plans = 0;
    if (be->ops->page_begin != NULL) {
        PB_TRY(be->ops->page_begin(be));
    }
    return PB_OK;
}

pb_status pb_page_list(pb_backend *be, const char *name, const int32_t *host, int64_t count,
                       int64_t first, int64_t limit, pb_list *out)
{
    pb_list list = {.count = count, .first = first, .limit = limit};

    PB_TRY(check_indices(name, host, count, first, limit));
    PB_TRY(be->ops->page_list(be, host, &list));
    *out = list;
    return PB_OK;
}

/* To a page all numbers of 32 bits are alike. */
pb_status pb_page_floats(pb_backend *be, const float *host, int64_t count, pb_tensor *out)
{
    pb_list list = {.count = count};

    PB_TRY(be->ops->page_list(be, (const int32_t *)(const void *)host, &list));
    *out = pb_tensor_1d((void *)(uintptr_t)list.data, PB_DTYPE_F32, count);
    return PB_OK;
}

pb_status pb_list_open(pb_backend *be, const char *name, const int32_t *host, int64_t count,
                       int64_t first, int64_t limit, pb_list *out)
{
    void *data = NULL;
    pb_status status;

    PB_TRY(check_indices(name, host, count, first, limit));
    PB_TRY(pb_backend_alloc(be, (size_t)count * sizeof *host, &data));
    pb_tensor from = pb_tensor_1d((void *)(uintptr_t)host, PB_DTYPE_I32, count);
    pb_tensor to   = pb_tensor_1d(data, PB_DTYPE_I32, count);
    PB_TRY_GOTO(status, pb_copy(be, &to, &from), err_data);
    *out = (pb_list){.data = data, .count = count, .first = first, .limit = limit};
    return PB_OK;
err_data:
    pb_backend_free(be, data);
    return status;
}

void pb_list_close(pb_backend *be, pb_list *list)
{
    pb_backend_free(be, (void *)(uintptr_t)list->data);
    *list = (pb_list){0};
}

pb_status pb_page_end(pb_backend *be)
{
    if (be->ops->page_end != NULL) {
        PB_TRY(be->ops->page_end(be));
    }
    return PB_OK;
}

/* Recorded operations are not timed one by one. */
pb_status pb_repeat(pb_backend *be, const void *key, size_t bytes, pb_repeated *run, void *context)
{
    if (be->ops->repeat == NULL || be->plain || be->timing) {
        return PB_FRAME(run(context));
    }
    return PB_FRAME(be->ops->repeat(be, key, bytes, run, context));
}

int pb_backend_lag(const pb_backend *be)
{
    return be->lag;
}

static pb_status check_slot(const char *op, int slot)
{
    if (slot < 0 || slot >= PB_SLOTS) {
        return PB_FAIL(PB_ERR_ARGUMENT, "%s: slot %d does not exist, there are %d", op, slot,
                       PB_SLOTS);
    }
    return PB_OK;
}

pb_status pb_post(pb_backend *be, int slot, const pb_tensor *numbers)
{
    PB_TRY(check_slot("post", slot));
    PB_TRY(check_numbers("post", "numbers", numbers, ANY));
    PB_TRY(be->ops->post(be, slot, numbers));
    be->posted[slot] = true;
    return PB_OK;
}

pb_status pb_take(pb_backend *be, int slot, double *values)
{
    PB_TRY(check_slot("take", slot));
    if (!be->posted[slot]) {
        return PB_FAIL(PB_ERR_ARGUMENT, "take: slot %d was not posted since it was taken", slot);
    }
    be->posted[slot] = false;
    return PB_FRAME(be->ops->take(be, slot, values));
}
