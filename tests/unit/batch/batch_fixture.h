// SPDX-License-Identifier: Apache-2.0
/* Samples and batches of the tests of packing. */
#pragma once

#include "support.h"

#include "pb/batch.h"
#include "pb/memory.h"

enum { LENGTH = 48 };

/* Ids 0, 1, 2 … with other ids from `from` on, so that samples share exactly `from` ids. */
static inline void count_up(int32_t *ids, int64_t length, int64_t from, int32_t other)
{
    for (int64_t t = 0; t < length; t++) {
        ids[t] = (int32_t)(t < from ? t : t + other);
    }
}

static inline pb_batch build(const pb_sample *samples, int64_t count, pb_batch_options options)
{
    pb_batch batch;
    assert_ok(pb_batch_build(samples, count, &options, &batch));
    return batch;
}

static inline void close_batch(pb_batch *batch)
{
    pb_batch_clear(batch);
    assert_int_equal(batch->forest.rows, 0);
    assert_null(batch->ids);
    assert_int_equal(pb_memory_current(), 0);
}
