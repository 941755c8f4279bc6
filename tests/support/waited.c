// SPDX-License-Identifier: Apache-2.0
/* See waited.h. */
#include "waited.h"

static pb_status number_open(pb_backend *be, pb_tensor *number)
{
    void *data = NULL;
    PB_TRY(pb_backend_alloc(be, sizeof(double), &data));
    *number = pb_tensor_1d(data, PB_DTYPE_F64, 1);
    return PB_OK;
}

static pb_status take(pb_backend *be, const pb_tensor *numbers, double *values)
{
    PB_TRY(pb_post(be, 0, numbers));
    return pb_take(be, 0, values);
}

pb_status waited_loss(pb_network *net, const pb_batch *batch, double *sum, double *losses)
{
    pb_backend *be   = pb_network_backend(net);
    pb_tensor number = {0};
    pb_status status;
    PB_TRY_GOTO(status, number_open(be, &number), done);
    PB_TRY_GOTO(status, pb_network_loss(net, batch, false, &number), done);
    PB_TRY_GOTO(status, take(be, &number, sum), done);
    if (losses != NULL) {
        PB_TRY_GOTO(status, take(be, pb_network_losses(net), losses), done);
    }
done:
    pb_backend_free(be, number.data);
    return status;
}

pb_status waited_step(pb_network *net, const pb_batch *batch, double grad_scale, uint64_t pass,
                      double *sum)
{
    pb_backend *be   = pb_network_backend(net);
    pb_tensor number = {0};
    pb_status status;
    PB_TRY_GOTO(status, number_open(be, &number), done);
    PB_TRY_GOTO(status, pb_network_step(net, batch, grad_scale, pass, &number), done);
    PB_TRY_GOTO(status, take(be, &number, sum), done);
done:
    pb_backend_free(be, number.data);
    return status;
}

pb_status waited_penalty(pb_method *m, double *value)
{
    pb_tensor number = {0};
    pb_status status;
    PB_TRY_GOTO(status, number_open(m->backend, &number), done);
    PB_TRY_GOTO(status, pb_method_penalty(m, true, &number), done);
    PB_TRY_GOTO(status, take(m->backend, &number, value), done);
done:
    pb_backend_free(m->backend, number.data);
    return status;
}

pb_status waited_squares(pb_backend *be, const pb_tensor *x, double *sum)
{
    pb_tensor number = {0};
    pb_status status;
    PB_TRY_GOTO(status, number_open(be, &number), done);
    PB_TRY_GOTO(status, pb_sum_squares(be, &number, x), done);
    PB_TRY_GOTO(status, take(be, &number, sum), done);
done:
    pb_backend_free(be, number.data);
    return status;
}
