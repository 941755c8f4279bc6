// SPDX-License-Identifier: Apache-2.0
/* Kernels with faults, and one without, for the tests of what finds them. */
#pragma once

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

enum planted {
    PLANTED_NOTHING,          /* reverses through shared memory */
    PLANTED_NO_BARRIER,       /* the same without the barrier */
    PLANTED_NO_WARP_BARRIER,  /* the same within a warp */
    PLANTED_BLOCK_ORDER,      /* a result of one block in another */
    PLANTED_EARLY_RETURN,     /* from some threads, before a barrier */
    PLANTED_LANE_RETURN,      /* from some lanes, before a collective */
    PLANTED_TWO_COLLECTIVES,  /* half a warp at one, half at another */
    PLANTED_BARRIER_SHUFFLE,  /* half a warp at the barrier */
    PLANTED_HALF_MASK,        /* a collective of half a warp */
    PLANTED_NO_COPY_WAIT,     /* reads what an asynchronous copy brings before it waits */
    PLANTED_COPY_LEFT,        /* ends without a wait */
    PLANTED_SHARED_OVERRUN,   /* by one element */
    PLANTED_SHARED_UNWRITTEN, /* reads what nobody wrote */
    PLANTED_GLOBAL_OVERRUN,   /* by one element of the block of device memory */
    PLANTED_MISALIGNED,       /* 16 bytes at an address that is a multiple of 4 */
    PLANTED_MISALIGNED_COPY,  /* the same asynchronously */
    PLANTED_MISALIGNED_ROW,   /* the same by ldmatrix */
    PLANTED_DEEP_STACK        /* 300 kB of a thread's own */
};

enum { PLANTED_THREADS = 64, PLANTED_BLOCKS = 3, PLANTED_VALUES = 192 };

/* x, y [PLANTED_VALUES] */
cudaError_t launch_planted(enum planted which, float *y, const float *x, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
