// SPDX-License-Identifier: Apache-2.0
/* Which rows are trained on, and in which order: the permutations of the original's tools. */
#include "pb/batch.h"
#include "pb/permutation.h"

#include <inttypes.h>
#include <math.h>

pb_status pb_split_validation(int64_t n, double share, uint64_t seed, int64_t *order,
                              int64_t *n_validation)
{
    if (n < 0 || !(share >= 0 && share <= 1)) {
        return PB_FAIL(PB_ERR_ARGUMENT, "split: %" PRId64 " rows, validation share %g", n, share);
    }
    int64_t held = (int64_t)ceil(share * (double)n);
    if (n > 0 && held >= n) {
        return PB_FAIL(PB_ERR_CONFIG,
                       "data.validation_share %g of %" PRId64 " training rows leaves none to train "
                       "on; take more rows or a smaller share",
                       share, n);
    }
    if (order != NULL) {
        pb_permutation_numpy(n, seed, order);
    }
    *n_validation = held;
    return PB_OK;
}

pb_status pb_epoch_order(int64_t n, uint64_t seed, int64_t *order)
{
    if (n < 0 || n > UINT32_MAX) {
        return PB_FAIL(PB_ERR_ARGUMENT, "epoch order: %" PRId64 " rows are not 0 … 2^32 - 1", n);
    }
    pb_permutation_torch(n, seed, order);
    return PB_OK;
}
