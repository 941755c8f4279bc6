// SPDX-License-Identifier: Apache-2.0
/* Student's t by its finite series for whole degrees of freedom (Abramowitz and Stegun, 26.7.3 and
 * 26.7.4), McNemar's test by binomial sums, sign flips by tables of partial sums. */
#include "stats.h"

#include "pb/memory.h"
#include "pb/statistics.h"

#include <math.h>

#define PI 3.14159265358979323846

/* P(|T| <= sqrt(df) tan(angle)). */
static double t_within(double angle, int64_t df)
{
    double c     = cos(angle);
    double power = df % 2 == 0 ? 1 : c;
    double sum   = df == 1 ? 0 : power;

    for (int64_t k = df % 2 == 0 ? 2 : 3; k <= df - 2; k += 2) {
        power *= (double)(k - 1) / (double)k * c * c;
        sum += power;
    }
    return df % 2 == 0 ? sin(angle) * sum : 2 / PI * (angle + sin(angle) * sum);
}

double stats_t(int64_t df)
{
    double low  = 0;
    double high = PI / 2;

    for (int i = 0; i < 100; i++) {
        double middle = (low + high) / 2;
        if (t_within(middle, df) < PB_STATISTICS_LEVEL) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return sqrt((double)df) * tan(low);
}

double stats_mcnemar(int64_t only_a, int64_t only_b)
{
    int64_t n    = only_a + only_b;
    int64_t less = only_a < only_b ? only_a : only_b;
    double log_p = -(double)n * log(2); /* of the binomial probability of k */
    double tail  = 0;

    for (int64_t k = 0; k <= less; k++) {
        tail += exp(log_p);
        log_p += log((double)(n - k) / (double)(k + 1));
    }
    return tail < 0.5 ? 2 * tail : 1;
}

static void draw(pb_random stream, uint64_t index, uint32_t words[4])
{
    const uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), 0, 0};
    const uint32_t key[2]     = {(uint32_t)stream.key, (uint32_t)(stream.key >> 32)};

    pb_random_philox(counter, key, words);
}

/* The differences whose sign is flipped: sum Σ d - 2 Σ flipped d, and it counts when it is as far
 * from 0 as Σ d. Sums that differ by rounding alone are the same. */
typedef struct flips {
    const double *d; /* [count] none is 0 */
    int64_t count;
    double total, least;
} flips;

static bool counts(const flips *f, double flipped)
{
    return fabs(f->total - 2 * flipped) >= f->least;
}

/* All flips in Gray's order: one sign changes at a time. The last sign stays: flipping all of them
 * changes nothing. */
static double flip_all(const flips *f)
{
    int64_t ways   = (int64_t)1 << (f->count > 0 ? f->count - 1 : 0);
    int64_t hits   = 1;
    double flipped = 0;

    for (int64_t i = 1; i < ways; i++) {
        int at       = __builtin_ctzll((unsigned long long)i);
        bool flip_on = (((i ^ (i >> 1)) >> at) & 1) != 0;
        flipped += flip_on ? f->d[at] : -f->d[at];
        hits += counts(f, flipped);
    }
    return (double)hits / (double)ways;
}

enum { BLOCK = 128, NIBBLES = BLOCK / 4 }; /* differences whose flips are one draw of 4 words */

/* Adds to every flip's sum what it flips among `count` <= BLOCK differences. */
static void add_block(const double *d, int64_t count, int64_t block, double *sums)
{
    pb_random stream = pb_random_stream(STATS_SEED, PB_RANDOM_FLIPS, (uint64_t)block);
    double table[NIBBLES][16];

    for (int g = 0; g < NIBBLES; g++) {
        table[g][0] = 0;
        for (int mask = 1; mask < 16; mask++) {
            int64_t at     = 4 * g + __builtin_ctz((unsigned)mask);
            table[g][mask] = table[g][mask & (mask - 1)] + (at < count ? d[at] : 0);
        }
    }
    for (int64_t flip = 0; flip < STATS_FLIPS; flip++) {
        uint32_t words[4];
        draw(stream, (uint64_t)flip, words);
        for (int g = 0; g < NIBBLES; g++) {
            sums[flip] += table[g][words[g / 8] >> (4 * (g % 8)) & 15U];
        }
    }
}

static pb_status flip_random(const flips *f, double *p)
{
    double *sums = NULL;
    int64_t hits = 0;

    PB_TRY(PB_ALLOC(sums, STATS_FLIPS));
    for (int64_t first = 0; first < f->count; first += BLOCK) {
        int64_t left = f->count - first;
        add_block(f->d + first, left < BLOCK ? left : BLOCK, first / BLOCK, sums);
    }
    for (int64_t flip = 0; flip < STATS_FLIPS; flip++) {
        hits += counts(f, sums[flip]);
    }
    pb_memory_free(sums);
    *p = (1 + (double)hits) / (1 + (double)STATS_FLIPS);
    return PB_OK;
}

pb_status stats_sign_flip(const double *differences, int64_t count, double *p, bool *exact)
{
    double *d        = NULL;
    double size      = 0;
    flips f          = {0};
    pb_status status = PB_OK;

    PB_TRY(PB_ALLOC(d, count + 1));
    for (int64_t i = 0; i < count; i++) {
        if (differences[i] != 0) {
            d[f.count++] = differences[i];
            f.total += differences[i];
            size += fabs(differences[i]);
        }
    }
    f.d     = d;
    f.least = fabs(f.total) - 1e-9 * size;
    *exact  = f.count <= STATS_EXACT;
    if (*exact) {
        *p = flip_all(&f);
    } else {
        status = flip_random(&f, p);
    }
    pb_memory_free(d);
    return status;
}

/* In four sums, that the processor need not wait for one. */
double stats_weighted_sum(const double *weights, const double *x, int64_t count)
{
    double sums[4] = {0};
    int64_t i      = 0;

    for (; i + 4 <= count; i += 4) {
        for (int k = 0; k < 4; k++) {
            sums[k] += weights[i + k] * x[i + k];
        }
    }
    for (; i < count; i++) {
        sums[0] += weights[i] * x[i];
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

pb_status stats_holm(const double *p, int64_t count, double *adjusted)
{
    double *sorted = NULL;
    int64_t tests  = 0;

    PB_TRY(PB_ALLOC(sorted, count + 1));
    for (int64_t i = 0; i < count; i++) {
        if (!isnan(p[i])) {
            sorted[tests++] = p[i];
        }
    }
    pb_statistics_sort(sorted, tests);
    for (int64_t i = 0; i < count; i++) {
        adjusted[i] = isnan(p[i]) ? NAN : 0;
        for (int64_t k = 0; k < tests && sorted[k] <= p[i]; k++) {
            double here = (double)(tests - k) * sorted[k];
            adjusted[i] = here > adjusted[i] ? here : adjusted[i];
        }
        adjusted[i] = adjusted[i] > 1 ? 1 : adjusted[i];
    }
    pb_memory_free(sorted);
    return PB_OK;
}
