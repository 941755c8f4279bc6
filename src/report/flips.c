// SPDX-License-Identifier: Apache-2.0
/* Flipping sign i changes the sum by 2 d_i, and the distribution of the sum under all flips is the
 * same for |d| and symmetric. So with F = Σ |d_i| over the flipped signs,
 *
 *     p = min(1, 2 P(F ≤ room)),    room = (Σ |d| - |Σ d|) / 2.
 *
 * P is computed in one of three ways:
 * - few differences: all subsets, as two sorted lists of the sums of half of them (Horowitz and
 *   Sahni, "Computing partitions with applications to the knapsack problem", 1974);
 * - whole multiples of one number, as right and wrong answers of several seeds are: m equal ones
 *   flip a binomial number, and the sums of few binomials are convolved;
 * - else importance sampling. Signs are flipped with probability q_i = 1 / (1 + exp(2 t |d_i|)),
 *   t such that the mean of F is room, so that about half of the flips count, however small p is.
 *   Each counts with the ratio of the two probabilities, exp(Σ log cosh(t |d_i|) - t Σ |d| + 2 t F)
 *   (Siegmund, "Importance sampling in the Monte Carlo study of sequential tests", 1976). The
 *   observed signs count as one more flip, as in Harrison, "Conservative hypothesis tests and
 *   confidence intervals using importance sampling", 2012. The relative error of p is about 2 %. */
#include "flips.h"

#include "stats.h"

#include "pb/memory.h"
#include "pb/random.h"

#include <float.h>
#include <math.h>

enum { MOST_UNITS = 64, MOST_WORK = 1 << 24, TOGETHER = 16, NEWTON_STEPS = 200 };

/* Sums that differ by less than this share of Σ |d| are equal but for rounding. */
static const double same = 1e-9;

/* Takes the values that are not 0, scaled so that the largest is 1; returns Σ |d|. */
static double take_sizes(const double *differences, int64_t count, flips *t)
{
    double largest = 0, total = 0, size = 0;

    for (int64_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs(differences[i]));
    }
    for (int64_t i = 0; i < count; i++) {
        double d = largest > 0 ? differences[i] / largest : 0;
        if (d != 0) {
            t->sizes[t->count++] = fabs(d);
            total += d;
            size += fabs(d);
        }
    }
    t->room = (size - fabs(total)) / 2;
    return size;
}

/* The sums of all subsets, sorted. `spare` and the result have room for 2^count. */
static double *subset_sums(const double *sizes, int64_t count, double *sums, double *spare)
{
    int64_t length = 1;

    sums[0] = 0;
    for (int64_t i = 0; i < count; i++) {
        for (int64_t a = 0, b = 0; a + b < 2 * length;) {
            bool take_a  = a < length && sums[a] <= sums[b] + sizes[i];
            spare[a + b] = take_a ? sums[a] : sums[b] + sizes[i];
            a += take_a;
            b += !take_a;
        }
        double *filled = spare;
        spare          = sums;
        sums           = filled;
        length *= 2;
    }
    return sums;
}

/* Counts the pairs, one sum from each half, that fit. */
static pb_status enumerate(const flips *t, double room, double *share)
{
    int64_t left = t->count / 2, right = t->count - left;
    int64_t width = (int64_t)1 << right;
    double *lists = NULL;
    double hits   = 0;

    PB_TRY(PB_ALLOC(lists, 4 * width));
    const double *a = subset_sums(t->sizes, left, lists, lists + width);
    const double *b = subset_sums(t->sizes + left, right, lists + 2 * width, lists + 3 * width);
    int64_t fit     = width;
    for (int64_t i = 0; i < (int64_t)1 << left; i++) {
        while (fit > 0 && a[i] + b[fit - 1] > room) {
            fit--;
        }
        hits += (double)fit;
    }
    pb_memory_free(lists);
    *share = ldexp(hits, -(int)t->count);
    return PB_OK;
}

/* The smallest number of units in the largest size such that all sizes are whole numbers of units;
 * 0 when there is none up to MOST_UNITS. */
static int64_t find_units(const flips *t)
{
    for (int64_t units = 1; units <= MOST_UNITS; units++) {
        bool whole = true;
        for (int64_t i = 0; i < t->count && whole; i++) {
            double k = t->sizes[i] * (double)units;
            whole    = fabs(k - round(k)) < same && round(k) > 0;
        }
        if (whole) {
            return units;
        }
    }
    return 0;
}

/* `most` + 1 probabilities of sums of flipped units, to which m differences of k units are added;
 * `spare` has the same length. */
static void add_binomial(int64_t k, int64_t m, int64_t most, double *sums, double *spare)
{
    for (int64_t f = 0; f <= most; f++) {
        spare[f] = 0;
    }
    double log_ways = 0;
    for (int64_t j = 0; j <= m && j * k <= most; j++) {
        double share = exp(log_ways - (double)m * log(2));
        for (int64_t f = 0; f + j * k <= most; f++) {
            spare[f + j * k] += share * sums[f];
        }
        log_ways += log((double)(m - j) / (double)(j + 1));
    }
}

/* *known is false when the sizes have no common unit, or too many units. */
static pb_status convolve(const flips *t, double room, double *share, bool *known)
{
    int64_t counts[MOST_UNITS + 1] = {0};
    int64_t units                  = find_units(t);
    int64_t most = (int64_t)floor(room * (double)units), work = 0;
    double *sums = NULL;

    for (int64_t i = 0; i < t->count; i++) {
        counts[llround(t->sizes[i] * (double)units)]++;
    }
    for (int64_t k = 1; k <= units; k++) {
        int64_t terms = counts[k] < most / k ? counts[k] : most / k;
        work += counts[k] > 0 ? (terms + 2) * (most + 1) : 0;
    }
    *known = units > 0 && work <= MOST_WORK;
    if (!*known) {
        return PB_OK;
    }
    PB_TRY(PB_ALLOC(sums, 2 * (most + 1)));
    double *from = sums, *to = sums + most + 1;
    from[0] = 1;
    for (int64_t k = 1; k <= units; k++) {
        if (counts[k] > 0) {
            add_binomial(k, counts[k], most, from, to);
            double *filled = to;
            to             = from;
            from           = filled;
        }
    }
    *share = 0;
    for (int64_t f = 0; f <= most; f++) {
        *share += from[f];
    }
    pb_memory_free(sums);
    return PB_OK;
}

static double log_cosh(double x)
{
    return x + log1p(exp(-2 * x)) - log(2);
}

/* t, by Newton's steps for Σ |d| (1 - tanh(t |d|)) = 2 room: convex and falling, so the steps
 * approach from below and never overshoot. Where even the smallest |d| does not fit, t stays
 * finite. */
static void find_tilt(flips *t, double size)
{
    double smallest = 1;

    for (int64_t i = 0; i < t->count; i++) {
        smallest = fmin(smallest, t->sizes[i]);
    }
    double wanted = fmax(2 * t->room, smallest);
    double excess = size - wanted;
    for (int step = 0; step < NEWTON_STEPS && excess > 1e-3 * wanted; step++) {
        double slope = 0, sum = 0;
        for (int64_t i = 0; i < t->count; i++) {
            double d = t->sizes[i], h = tanh(t->tilt * d);
            sum += d * (2 / (1 + exp(2 * t->tilt * d)));
            slope += d * d * (1 - h * h);
        }
        excess = sum - wanted;
        t->tilt += excess > 0 ? excess / slope : 0;
    }
}

static pb_status prepare(flips *t, double size)
{
    PB_TRY(PB_ALLOC(t->below, t->count));
    find_tilt(t, size);
    t->log_weight = -t->tilt * size;
    for (int64_t i = 0; i < t->count; i++) {
        double x    = t->tilt * t->sizes[i];
        t->below[i] = (uint32_t)fmin(0x1p32 / (1 + exp(2 * x)), 0x1p31);
        t->log_weight += log_cosh(x);
    }
    t->sum = exp(t->log_weight + 2 * t->tilt * t->room); /* of the observed signs */
    t->room += same * size / 2;
    return PB_OK;
}

static double bounded(double p)
{
    return p > 1 ? 1 : p > DBL_MIN ? p : DBL_MIN;
}

static pb_status open_test(const double *differences, int64_t count, flips *t)
{
    double share = 0.5;

    PB_TRY(PB_ALLOC(t->sizes, count + 1));
    double size = take_sizes(differences, count, t);
    double room = t->room + same * size / 2;
    t->exact    = true;
    if (2 * room < size && t->count <= FLIPS_ENUMERATED) {
        PB_TRY(enumerate(t, room, &share));
    } else if (2 * room < size) {
        PB_TRY(convolve(t, room, &share, &t->exact));
    }
    t->p = bounded(2 * share);
    return t->exact ? PB_OK : prepare(t, size);
}

pb_status flips_open(const double *differences, int64_t count, flips *out)
{
    flips t          = {0};
    pb_status status = open_test(differences, count, &t);

    if (status != PB_OK || t.exact) {
        pb_memory_free(t.sizes);
        t.sizes = NULL;
    }
    if (status != PB_OK) {
        pb_memory_free(t.below);
        return status;
    }
    *out = t;
    return PB_OK;
}

static void draw_words(int64_t flip, int64_t count, uint32_t *words)
{
    pb_random stream = pb_random_stream(STATS_SEED, PB_RANDOM_FLIPS, (uint64_t)flip);
    uint32_t key[2]  = {(uint32_t)stream.key, (uint32_t)(stream.key >> 32)};

    for (int64_t block = 0; 4 * block < count; block++) {
        uint32_t counter[4] = {(uint32_t)block, (uint32_t)((uint64_t)block >> 32), 0, 0};
        pb_random_philox(counter, key, words + 4 * block);
    }
}

static void count_flips(flips *t, const uint32_t *words, int64_t most)
{
    for (int64_t k = 0; k < TOGETHER; k++) {
        double f = stats_sum_below(words + k * most, t->below, t->sizes, t->count);
        t->sum += f <= t->room ? exp(t->log_weight + 2 * t->tilt * f) : 0;
    }
}

pb_status flips_draw(flips *tests, int64_t count)
{
    uint32_t *words = NULL;
    int64_t most    = 0;

    for (int64_t i = 0; i < count; i++) {
        most = tests[i].sizes != NULL && tests[i].count > most ? tests[i].count : most;
    }
    most = (most + 3) / 4 * 4;
    if (most == 0) {
        return PB_OK;
    }
    PB_TRY(PB_ALLOC(words, TOGETHER * most));
    for (int64_t first = 0; first < FLIPS_DRAWN; first += TOGETHER) {
        for (int64_t k = 0; k < TOGETHER; k++) {
            draw_words(first + k, most, words + k * most);
        }
        for (int64_t i = 0; i < count; i++) {
            if (tests[i].sizes != NULL) {
                count_flips(&tests[i], words, most);
            }
        }
    }
    for (int64_t i = 0; i < count; i++) {
        flips *t = &tests[i];
        t->p     = t->sizes != NULL ? bounded(2 * t->sum / (1 + FLIPS_DRAWN)) : t->p;
    }
    pb_memory_free(words);
    return PB_OK;
}

void flips_close(flips *test)
{
    pb_memory_free(test->sizes);
    pb_memory_free(test->below);
    *test = (flips){0};
}
