// SPDX-License-Identifier: Apache-2.0
/* Counters of a backend: work done, bytes of memory held. A cell resets both at its start, since it
 * borrows a backend that other cells used before. */
#pragma once

#include "pb/backend.h"

/* Floating-point operations of the products (matmul, attention) since the last reset, 2 per
 * multiply-accumulate, and seconds spent in them when timing is on. */
typedef struct pb_backend_work {
    double matmul_flops, attention_flops;
    double matmul_seconds, attention_seconds; /* 0 unless timing is on */
} pb_backend_work;

void pb_backend_work_reset(pb_backend *be, bool timing);
pb_backend_work pb_backend_work_get(pb_backend *be); /* waits for work that is timed */

/* Bytes of device memory: held now, and the most since the peak was reset. Both are 0 where the
 * backend's memory is the host's, which pb/memory.h counts. Either result may be NULL. */
void pb_backend_memory(const pb_backend *be, size_t *now, size_t *peak);
void pb_backend_memory_peak_reset(pb_backend *be);

/* As after opening: no work counted, no timing, nothing kept between calls. */
void pb_backend_reset(pb_backend *be);
