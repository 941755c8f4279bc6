// SPDX-License-Identifier: Apache-2.0
/* What tests set and read of the CUDA runtime without a device (fake_cuda.cpp) and of the execution
 * of kernels on the CPU (cuda_host.cpp). Environment variables set the same for whole programs:
 * CUDA_HOST_ORDER, FAKE_CUDA_FAIL, FAKE_CUDA_LOSE, FAKE_CUDA_MEMORY, FAKE_CUDA_SHARED,
 * FAKE_CUDA_DEVICES; FAKE_CUDA_TROUBLE names why no device can be used; FAKE_CUDA_OWN gives each
 * rank devices of its own; FAKE_CUBLASLT is that of fake_cublaslt.cpp. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Calls since the start of the process; what is live now. */
typedef struct fake_cuda_counts {
    int64_t calls;       /* that can fail */
    int64_t allocations; /* of device memory and of pinned host memory */
    int64_t waits;       /* for a stream, an event or a device, in any call that waits */
    int64_t queries;     /* whether a stream or an event is complete */
    int64_t launches;    /* kernels and products, those of graphs included */
    int64_t copies;      /* and fills, those of graphs included */
    int64_t instances;   /* of graphs that were captured, whose memory is no allocation */
    int64_t graphs;      /* launched */
    int64_t live_blocks, live_pinned, live_streams, live_events, live_graphs, live_handles;
    size_t bytes; /* of device memory, all devices */
} fake_cuda_counts;

fake_cuda_counts fake_cuda_count(void);

/* Lets the n-th call from now on fail, 1 the next one; 0: none. A call that releases something has
 * released it all the same. */
void fake_cuda_fail(int64_t n);

/* The name of the call that was made to fail last, "launch" for a kernel; NULL: none was. */
const char *fake_cuda_failed(void);

/* Lets the n-th call from now on and all later ones fail with cudaErrorIllegalAddress, as after an
 * error that destroys the context; 0: that never happened. */
void fake_cuda_lose(int64_t n);

/* The memory of every device in bytes, at most 32 GiB; 8 GiB at first. */
void fake_cuda_memory(size_t bytes);

/* The shared memory that a block may have, in bytes: 227 KiB at first, the least of any device that
 * the backend takes is 99 KiB. */
void fake_cuda_shared(size_t bytes);

/* How many there are, 0 … 8; 1 at first. -1: there is no driver. */
void fake_cuda_devices(int count);

/* The order of threads and blocks: 0 as they come, 1 backwards, else shuffled by this seed. */
void cuda_host_order(unsigned seed);

#ifdef __cplusplus
}
#endif
