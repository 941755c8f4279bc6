// SPDX-License-Identifier: Apache-2.0
/* The generators behind the permutations and numbers: numpy's PCG64 (XSL-RR 128/64, O'Neill 2014,
 * seeded by SeedSequence) and torch's MT19937 (Matsumoto & Nishimura 1998). */
#include "pb/permutation.h"

#include <stdbool.h>

__extension__ typedef unsigned __int128 u128;

typedef struct pcg64 {
    u128 state, increment;
    uint32_t kept; /* the high half of the last 64-bit draw */
    bool has_kept;
} pcg64;

static uint32_t hash_mix(uint32_t value, uint32_t *h, uint32_t multiplier)
{
    value ^= *h;
    *h *= multiplier;
    value *= *h;
    return value ^ (value >> 16);
}

/* numpy's SeedSequence(seed).generate_state(8, uint32). */
static void seed_sequence(uint64_t seed, uint32_t out[8])
{
    uint32_t pool[4] = {(uint32_t)seed, (uint32_t)(seed >> 32), 0, 0};
    uint32_t h       = 0x43b0d7e5u;

    for (int k = 0; k < 4; k++) {
        pool[k] = hash_mix(pool[k], &h, 0x931e8875u);
    }
    for (int a = 0; a < 4; a++) {
        for (int b = 0; b < 4; b++) {
            if (a != b) {
                uint32_t mixed = hash_mix(pool[a], &h, 0x931e8875u);
                uint32_t r     = 0xca01f9ddu * pool[b] - 0x4973f715u * mixed;
                pool[b]        = r ^ (r >> 16);
            }
        }
    }
    h = 0x8b51f9ddu;
    for (int k = 0; k < 8; k++) {
        out[k] = hash_mix(pool[k % 4], &h, 0x58f38dedu);
    }
}

static void pcg64_step(pcg64 *g)
{
    const u128 multiplier = ((u128)2549297995355413924u << 64) | 4865540595714422341u;
    g->state              = g->state * multiplier + g->increment;
}

static void pcg64_seed(pcg64 *g, uint64_t seed)
{
    uint32_t words[8];
    uint64_t w[4];

    seed_sequence(seed, words);
    for (int i = 0; i < 4; i++) {
        w[i] = words[2 * i] | (uint64_t)words[2 * i + 1] << 32;
    }
    *g           = (pcg64){0};
    g->increment = ((((u128)w[2] << 64) | w[3]) << 1) | 1;
    pcg64_step(g);
    g->state += ((u128)w[0] << 64) | w[1];
    pcg64_step(g);
}

static uint64_t pcg64_next64(pcg64 *g)
{
    pcg64_step(g);
    uint64_t x    = (uint64_t)(g->state >> 64) ^ (uint64_t)g->state;
    unsigned turn = (unsigned)(g->state >> 122);
    return x >> turn | x << (-turn & 63);
}

static uint32_t pcg64_next32(pcg64 *g)
{
    if (g->has_kept) {
        g->has_kept = false;
        return g->kept;
    }
    uint64_t x  = pcg64_next64(g);
    g->kept     = (uint32_t)(x >> 32);
    g->has_kept = true;
    return (uint32_t)x;
}

/* Uniform in 0 … limit by masked rejection. */
static uint64_t pcg64_bounded(pcg64 *g, uint64_t limit)
{
    uint64_t mask = limit;
    uint64_t x    = 0;

    for (unsigned shift = 1; shift < 64; shift *= 2) {
        mask |= mask >> shift;
    }
    if (limit == 0) {
        return 0;
    }
    do {
        x = (limit > UINT32_MAX ? pcg64_next64(g) : pcg64_next32(g)) & mask;
    } while (x > limit);
    return x;
}

static void fill_identity(int64_t n, int64_t *order)
{
    for (int64_t i = 0; i < n; i++) {
        order[i] = i;
    }
}

static void swap(int64_t *order, int64_t i, int64_t j)
{
    int64_t kept = order[i];
    order[i]     = order[j];
    order[j]     = kept;
}

void pb_permutation_numpy(int64_t n, uint64_t seed, int64_t *order)
{
    pcg64 g;

    pcg64_seed(&g, seed);
    fill_identity(n, order);
    for (int64_t i = n - 1; i > 0; i--) {
        swap(order, i, (int64_t)pcg64_bounded(&g, (uint64_t)i));
    }
}

enum { MT_WORDS = 624, MT_SHIFT = 397 };

typedef struct mt19937 {
    uint32_t words[MT_WORDS];
    int next;
} mt19937;

static void mt_seed(mt19937 *g, uint32_t seed)
{
    g->words[0] = seed;
    for (uint32_t i = 1; i < MT_WORDS; i++) {
        uint32_t before = g->words[i - 1];
        g->words[i]     = 1812433253u * (before ^ (before >> 30)) + i;
    }
    g->next = MT_WORDS;
}

static void mt_refill(mt19937 *g)
{
    for (int i = 0; i < MT_WORDS; i++) {
        uint32_t y  = (g->words[i] & 0x80000000u) | (g->words[(i + 1) % MT_WORDS] & 0x7fffffffu);
        g->words[i] = g->words[(i + MT_SHIFT) % MT_WORDS] ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfu : 0);
    }
    g->next = 0;
}

static uint32_t mt_next(mt19937 *g)
{
    if (g->next == MT_WORDS) {
        mt_refill(g);
    }
    uint32_t y = g->words[g->next++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

void pb_permutation_torch(int64_t n, uint64_t seed, int64_t *order)
{
    mt19937 g;

    mt_seed(&g, (uint32_t)seed);
    fill_identity(n, order);
    for (int64_t i = 0; i < n - 1; i++) {
        swap(order, i, i + (int64_t)(mt_next(&g) % (uint64_t)(n - i)));
    }
}

void pb_uniform_torch(uint64_t seed, int64_t skip, float low, float high, int64_t n, float *out)
{
    mt19937 g;

    mt_seed(&g, (uint32_t)seed);
    for (int64_t i = 0; i < skip; i++) {
        (void)mt_next(&g);
    }
    for (int64_t i = 0; i < n; i++) { /* 24 bits, as many as a float holds */
        double x = (double)(mt_next(&g) & 0xffffffu) / 0x1p24;
        out[i]   = (float)(x * (double)(high - low) + (double)low);
    }
}
