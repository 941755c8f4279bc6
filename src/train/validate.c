// SPDX-License-Identifier: Apache-2.0
/* Losses without training: the mean over rows, in batches. */
#include "internal.h"

#include <inttypes.h>

bool wants_stop(const pb_train_observer *o)
{
    return o != NULL && o->stop != NULL && o->stop(o->context);
}

pb_status mean_loss(pb_network *net, const pb_sample *rows, int64_t count, int64_t batch,
                    pb_validation_mean mean, const pb_train_observer *observer, pb_batch *packed,
                    pb_tensor *sum, double *loss)
{
    pb_batch_options packing = pb_network_batch_options(net, false);
    pb_backend *be           = pb_network_backend(net);
    double weight            = 0.0;
    double total             = 0.0;
    PB_TRY(pb_zero(be, sum));
    for (int64_t first = 0; first < count; first += batch) {
        int64_t n = count - first < batch ? count - first : batch;
        if (wants_stop(observer)) {
            return PB_FAIL(PB_STOPPED, "stopped before validation row %" PRId64 " of %" PRId64,
                           first + 1, count);
        }
        PB_TRY(pb_batch_rebuild(rows + first, n, &packing, packed));
        if (packed->labels > 0) {
            PB_TRY(pb_network_loss(net, packed, mean == PB_MEAN_ROWS, sum));
            weight += mean == PB_MEAN_ROWS ? (double)n : (double)packed->labels;
        }
    }
    if (weight == 0.0) {
        return PB_FAIL(PB_ERR_ARGUMENT, "none of the %" PRId64 " rows has a label token", count);
    }
    PB_TRY(pb_post(be, 0, sum));
    PB_TRY(pb_take(be, 0, &total));
    *loss = total / weight;
    return PB_OK;
}

pb_status pb_train_loss(pb_network *net, const pb_sample *rows, int64_t count, int64_t batch,
                        pb_validation_mean mean, double *loss)
{
    pb_batch packed = {0};
    pb_tensor sum   = {0};
    pb_status status;
    PB_TRY_GOTO(status, pb_backend_vector(pb_network_backend(net), PB_DTYPE_F64, 1, &sum), done);
    PB_TRY_GOTO(status, mean_loss(net, rows, count, batch, mean, NULL, &packed, &sum, loss), done);
done:
    pb_batch_clear(&packed);
    pb_backend_free(pb_network_backend(net), sum.data);
    return status;
}
