// SPDX-License-Identifier: Apache-2.0
/* Whether oneDNN multiplies BF16 factors: where the processor has instructions for them that are
 * faster than products of F32. They are half as fast on some processors that have them, so it is
 * measured; a margin keeps processes that measure at the same time from deciding differently. */
#include "cpu.h"
#include "kernels.h"
#include "onednn.h"

#include "pb/memory.h"

#include <math.h>
#include <stdio.h>

enum { M = 192, N = 512, K = 512, TRIALS = 4 };

static const double WELL_AHEAD = 1.3;

/* Seconds of one product on one thread, without those in which other work had the processor: the
 * best of some. */
static pb_status best_seconds(cpu *c, pb_tensor t[3], double *best)
{
    *best = 0.0;
    for (int i = 0; i <= TRIALS; i++) {
        double begin = kernels_thread_seconds();
        PB_TRY(cpu_matmul(&c->base, &t[0], &t[1], &t[2],
                          &(pb_matmul_args){.transpose_b = true, .alpha = 1.0f}));
        double seconds = kernels_thread_seconds() - begin;
        *best          = i == 1 || (i > 1 && seconds < *best) ? seconds : *best; /* 0 warms up */
    }
    return PB_OK;
}

/* How often faster, 0 where a result is wrong: sums of F32 differ by their rounding alone. */
static pb_status compare(cpu *c, onednn *library, double *ratio)
{
    enum { FACTORS = (M + N) * K, ALL = FACTORS + 2 * M * N };
    const double largest = K * (25.0 / 9.0); /* of a sum of products */
    float *numbers       = NULL;
    double seconds[2]    = {0.0};
    pb_status status     = PB_OK;
    int threads          = c->base.threads;
    PB_TRY(PB_ALLOC(numbers, ALL));
    float *sums   = numbers + FACTORS;
    pb_tensor t[] = {pb_tensor_2d(sums, PB_DTYPE_F32, M, N),
                     pb_tensor_2d(numbers, PB_DTYPE_F32, M, K),
                     pb_tensor_2d(numbers + M * K, PB_DTYPE_F32, N, K)};
    for (int i = 0; i < FACTORS; i++) {
        numbers[i] = (float)(i % 11 - 5) / 3.0f;
    }
    c->base.threads = 1;
    PB_TRY_GOTO(status, best_seconds(c, t, &seconds[0]), done);
    t[0].data = sums + M * N;
    c->narrow = library;
    PB_TRY_GOTO(status, best_seconds(c, t, &seconds[1]), done);
    *ratio = seconds[0] / seconds[1];
    for (int i = 0; i < M * N; i++) {
        bool right = fabs((double)sums[i] - (double)sums[M * N + i]) < 1e-5 * largest;
        *ratio     = right ? *ratio : 0.0;
    }
done:
    c->narrow       = NULL;
    c->base.threads = threads;
    pb_memory_free(numbers);
    return status;
}

pb_status cpu_use_dtype(pb_backend *be, pb_dtype dtype)
{
    cpu *c          = (cpu *)be;
    onednn *library = NULL;
    double ratio    = 0.0;
    onednn_close(c->narrow);
    c->narrow                  = NULL;
    be->describe[c->described] = '\0';
    if (dtype != PB_DTYPE_BF16) {
        return PB_OK;
    }
    PB_TRY(onednn_open(&library));
    if (library == NULL) {
        return PB_OK;
    }
    pb_status status = compare(c, library, &ratio);
    if (status == PB_OK && ratio == 0.0) {
        (void)snprintf(be->warning, sizeof be->warning,
                       "BF16 products by %s are wrong on this processor and not used",
                       onednn_name());
    }
    if (status != PB_OK || ratio < WELL_AHEAD) {
        onednn_close(library);
        return status;
    }
    c->narrow = library;
    (void)snprintf(be->describe + c->described, sizeof be->describe - c->described,
                   ", BF16 products by %s", onednn_name());
    return PB_OK;
}
