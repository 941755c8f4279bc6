// SPDX-License-Identifier: Apache-2.0
/* Dropout of a piece, with the words of pb_random_u32: each piece computes its own blocks of
 * Philox4x32-10. */
#pragma once

#include "map.cuh"

enum { WORDS = 4, ROUNDS = 10, BLOCKS = PIECE / WORDS + 1 };

/* What pb_random_stream(seed, PB_RANDOM_DROPOUT, salt) takes as key. */
#define DROPOUT_KEY (UINT64_C(0x70656674) << 32 | 2)

static __device__ __forceinline__ void philox(uint32_t out[WORDS], uint64_t low, uint64_t high,
                                              uint64_t key)
{
    uint32_t c0 = (uint32_t)low;
    uint32_t c1 = (uint32_t)(low >> 32);
    uint32_t c2 = (uint32_t)high;
    uint32_t c3 = (uint32_t)(high >> 32);
    uint32_t k0 = (uint32_t)key;
    uint32_t k1 = (uint32_t)(key >> 32);
    UNROLL
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
        c0          = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1          = (uint32_t)p1;
        c2          = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3          = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* What a thread draws with: a mask whose pass has been read. */
struct drop_draw {
    uint64_t key; /* of the stream */
    uint32_t threshold;
    float factor;

    __device__ __forceinline__ drop_draw(const drop_mask &mask)
        : key(0), threshold(mask.threshold), factor(mask.factor)
    {
        if (threshold != 0) {
            uint32_t words[WORDS];
            philox(words, mask.seed, *mask.pass * mask.stride + mask.salt, DROPOUT_KEY);
            key = (uint64_t)words[1] << 32 | words[0];
        }
    }
};

/* Words index … index + PIECE - 1 of the stream. They begin inside a block where a row of `columns`
 * is not a multiple of four; moves by one and by two keep the indices of registers fixed. */
static __device__ __forceinline__ void piece_words(uint32_t words[BLOCKS * WORDS], uint64_t index,
                                                   uint64_t key)
{
    unsigned skip = (unsigned)(index % WORDS);
    philox(words, index / WORDS, 0, key);
    philox(words + WORDS, index / WORDS + 1, 0, key);
    if (skip == 0) {
        return;
    }
    philox(words + 2 * WORDS, index / WORDS + 2, 0, key);
    UNROLL
    for (int i = 0; i + 1 < BLOCKS * WORDS; i++) {
        words[i] = (skip & 1) != 0 ? words[i + 1] : words[i];
    }
    UNROLL
    for (int i = 0; i + 2 < BLOCKS * WORDS; i++) {
        words[i] = (skip & 2) != 0 ? words[i + 2] : words[i];
    }
}

/* The mask selects, it does not multiply: NaN and infinity are dropped like any other value. */
static __device__ __forceinline__ void drop_piece(piece *p, const drop_draw &draw, int64_t row,
                                                  int64_t column, int64_t columns)
{
    uint32_t words[BLOCKS * WORDS];
    piece_words(words, (uint64_t)(row * columns + column), draw.key);
    UNROLL
    for (int i = 0; i < PIECE; i++) {
        float kept = p->v[i] * draw.factor;
        p->v[i]    = words[i] >= draw.threshold ? kept : 0.0f;
    }
}
