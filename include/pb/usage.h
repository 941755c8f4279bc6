// SPDX-License-Identifier: Apache-2.0
/* Counters of a backend: work done, bytes of memory held. A cell resets both at its start, since it
 * borrows a backend that other cells used before. */
#pragma once

#include "pb/backend.h"

/* What the work is done for. */
typedef enum pb_work_part {
    PB_PART_OTHER,
    PB_PART_LAYERS,
    PB_PART_HEAD, /* vocabulary projection, choice of a token, loss */
    PB_PART_OPTIMIZER,
    PB_PART_COUNT
} pb_work_part;

/* Floating-point operations of the products (matmul, attention) since the last reset, 2 per
 * multiply-accumulate, and seconds spent in them when timing is on. */
typedef struct pb_backend_work {
    double matmul_flops, attention_flops;
    double matmul_seconds, attention_seconds; /* 0 unless timing is on */
    /* On the host alone: all seconds of a part, and those of its matmuls. */
    double part_seconds[PB_PART_COUNT], part_matmul_seconds[PB_PART_COUNT];
} pb_backend_work;

static inline double pb_backend_flops(pb_backend_work work)
{
    return work.matmul_flops + work.attention_flops;
}

/* What follows is done for this part. */
void pb_backend_part(pb_backend *be, pb_work_part part);

void pb_backend_work_reset(pb_backend *be, bool timing);
pb_backend_work pb_backend_work_get(pb_backend *be); /* waits for work that is timed */

/* Bytes of device memory: held now, and the most since the peak was reset. Both are 0 where the
 * backend's memory is the host's, which pb/memory.h counts. Either result may be NULL. */
void pb_backend_memory(const pb_backend *be, size_t *now, size_t *peak);
void pb_backend_memory_peak_reset(pb_backend *be);

/* Joules that the device has used since some moment in the past, when all queued work is done; only
 * differences mean something. NaN where that is not known: *why then says why, in words that stay
 * valid until the next call. */
double pb_backend_energy(pb_backend *be, const char **why);

/* What the device is and how it is set: name, memory, driver, clocks, power limit … A fact that
 * cannot be read is left out. */
pb_status pb_backend_facts(pb_backend *be, pb_backend_put *put, void *context) PB_MUST_USE;

/* The devices that the process sees of all backends, none of which is opened: "cuda:0" and a line
 * about it. PB_ERR_CONFIG where a backend finds none, with the reason. */
pb_status pb_backend_list(pb_backend_put *put, void *context) PB_MUST_USE;

/* As after opening: no work counted, no timing, nothing kept between calls. */
void pb_backend_reset(pb_backend *be);
