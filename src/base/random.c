// SPDX-License-Identifier: Apache-2.0
/* Philox4x32-10 and the draws based on it. Item i of a stream's u32 is word i mod 4 of block i div
 * 4, so that a loop over many items can compute a block once with pb_random_philox. Counter word 2
 * separates the kinds of draw: two kinds at the same index are independent. */
#include "pb/random.h"

#include <math.h>

enum { ROUNDS = 10 };

enum { KIND_U32, KIND_NORMAL, KIND_BELOW };

void pb_random_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0];
    uint32_t c1 = counter[1];
    uint32_t c2 = counter[2];
    uint32_t c3 = counter[3];
    uint32_t k0 = key[0];
    uint32_t k1 = key[1];

    for (int i = 0; i < ROUNDS; i++) {
        uint64_t p0 = UINT64_C(0xD2511F53) * c0;
        uint64_t p1 = UINT64_C(0xCD9E8D57) * c2;
        c0          = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1          = (uint32_t)p1;
        c2          = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3          = (uint32_t)p0;
        k0 += UINT32_C(0x9E3779B9); /* golden ratio */
        k1 += UINT32_C(0xBB67AE85); /* sqrt(3) - 1 */
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

pb_random pb_random_stream(uint64_t seed, pb_random_purpose purpose, uint64_t salt)
{
    const uint32_t counter[4] = {(uint32_t)seed, (uint32_t)(seed >> 32), (uint32_t)salt,
                                 (uint32_t)(salt >> 32)};
    const uint32_t key[2]     = {(uint32_t)purpose, UINT32_C(0x70656674)};
    uint32_t out[4];

    pb_random_philox(counter, key, out);
    return (pb_random){.key = (uint64_t)out[1] << 32 | out[0]};
}

static void block(pb_random stream, uint64_t index, uint32_t kind, uint32_t out[4])
{
    const uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), kind, 0};
    const uint32_t key[2]     = {(uint32_t)stream.key, (uint32_t)(stream.key >> 32)};

    pb_random_philox(counter, key, out);
}

uint32_t pb_random_u32(pb_random stream, uint64_t index)
{
    uint32_t out[4];

    block(stream, index / 4, KIND_U32, out);
    return out[index % 4];
}

double pb_random_uniform(pb_random stream, uint64_t index)
{
    return (double)pb_random_u32(stream, index) * 0x1p-32;
}

/* 53 bits of two words, in (0, 1]: never zero, so its logarithm is finite. */
static double open_unit(uint32_t high, uint32_t low)
{
    uint64_t bits = ((uint64_t)high << 32 | low) >> 11;

    return (double)(bits + 1) * 0x1p-53;
}

double pb_random_normal(pb_random stream, uint64_t index)
{
    const double two_pi = 6.283185307179586476925286766559;
    uint32_t out[4];

    block(stream, index, KIND_NORMAL, out);
    double radius = sqrt(-2.0 * log(open_unit(out[0], out[1])));
    return radius * cos(two_pi * open_unit(out[2], out[3]));
}

uint64_t pb_random_below(pb_random stream, uint64_t index, uint64_t n)
{
    uint32_t out[4];

    /* floor(x n / 2^64) for a 64-bit x, by its two halves. */
    block(stream, index, KIND_BELOW, out);
    return ((uint64_t)out[0] * n + ((uint64_t)out[1] * n >> 32)) >> 32;
}
