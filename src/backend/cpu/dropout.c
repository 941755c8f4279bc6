// SPDX-License-Identifier: Apache-2.0
/* Dropout: element (row, column) stays when word row · columns + column of the stream is at least
 * p · 2^32, and is divided by 1 - p. The words are those of pb_random_u32, computed for
 * many blocks of Philox4x32-10 side by side. */
#include "cpu.h"

#include <math.h>

enum {
    BLOCKS = 64, /* side by side at most: their words stay in the first-level cache */
    WORDS  = 4 * BLOCKS,
    ROUNDS = 10
};

/* One round on every block. */
static void mix(uint32_t *restrict c0, uint32_t *restrict c1, uint32_t *restrict c2,
                uint32_t *restrict c3, uint32_t k0, uint32_t k1, int64_t blocks)
{
    for (int64_t b = 0; b < blocks; b++) {
        uint64_t p0 = (uint64_t)c0[b] * UINT32_C(0xD2511F53);
        uint64_t p1 = (uint64_t)c2[b] * UINT32_C(0xCD9E8D57);
        c0[b]       = (uint32_t)(p1 >> 32) ^ c1[b] ^ k0;
        c1[b]       = (uint32_t)p1;
        c2[b]       = (uint32_t)(p0 >> 32) ^ c3[b] ^ k1;
        c3[b]       = (uint32_t)p0;
    }
}

/* Words 4 · first … of the stream, 4 · blocks of them. */
static void make_words(pb_random stream, uint64_t first, int64_t blocks, uint32_t out[WORDS])
{
    uint32_t c0[BLOCKS];
    uint32_t c1[BLOCKS];
    uint32_t c2[BLOCKS];
    uint32_t c3[BLOCKS];
    uint32_t k0 = (uint32_t)stream.key;
    uint32_t k1 = (uint32_t)(stream.key >> 32);
    for (int64_t b = 0; b < blocks; b++) {
        c0[b] = (uint32_t)(first + (uint64_t)b);
        c1[b] = (uint32_t)((first + (uint64_t)b) >> 32);
        c2[b] = 0;
        c3[b] = 0;
    }
    for (int round = 0; round < ROUNDS; round++) {
        mix(c0, c1, c2, c3, k0, k1, blocks);
        k0 += UINT32_C(0x9E3779B9);
        k1 += UINT32_C(0xBB67AE85);
    }
    for (int64_t b = 0; b < blocks; b++) {
        out[4 * b]     = c0[b];
        out[4 * b + 1] = c1[b];
        out[4 * b + 2] = c2[b];
        out[4 * b + 3] = c3[b];
    }
}

/* NaN and infinity are dropped like any other value: the mask selects, it does not multiply. */
static void drop_row(float *y, const float *x, int64_t n, uint64_t index, uint32_t threshold,
                     float factor, pb_random stream)
{
    uint32_t words[WORDS];
    int64_t skip =
        (int64_t)(index % 4); /* words of the first block that belong to the row before */
    for (int64_t i = 0; i < n;) {
        int64_t width = WORDS - skip < n - i ? WORDS - skip : n - i;
        make_words(stream, (index + (uint64_t)i) / 4, (skip + width + 3) / 4, words);
#pragma omp simd
        for (int64_t j = 0; j < width; j++) {
            float kept = x[i + j] * factor;
            y[i + j]   = words[skip + j] >= threshold ? kept : 0.0f;
        }
        i += width;
        skip = 0;
    }
}

pb_status cpu_dropout(pb_backend *be, pb_tensor *y, const pb_tensor *x, double p,
                      const pb_mask *mask)
{
    pb_random stream =
        pb_random_stream(mask->seed, PB_RANDOM_DROPOUT, be->pass * mask->stride + mask->salt);
    /* The same choice as pb_random_uniform(stream, index) >= p. */
    double limit       = ceil(p * 0x1p32);
    uint32_t threshold = limit < 0x1p32 ? (uint32_t)limit : UINT32_MAX;
    float factor       = (float)(1.0 / (1.0 - p));
    int64_t columns    = x->shape[1];
#pragma omp parallel for num_threads(be->threads) if (pb_tensor_count(x) > CPU_PARALLEL_MIN)
    for (int64_t i = 0; i < x->shape[0]; i++) {
        drop_row(cpu_row(y, i), cpu_row(x, i), columns, (uint64_t)(i * columns), threshold, factor,
                 stream);
    }
    return PB_OK;
}
