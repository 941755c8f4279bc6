// SPDX-License-Identifier: Apache-2.0
/* The table of rotary positions (Su et al., "RoFormer", arXiv 2104.09864).
 *
 *     angle(p, i) = p · f_i,  f_i = theta^(-2i/E),  i < E/2
 *
 * with a factor k and the old context n, the types of scaling change f_i, whose wave is w = 2π/f:
 *
 *   linear   f / k
 *   llama3   w > n/low: f / k;  w < n/high: f;  between: (1 - s) f / k + s f,
 *            s = (n/w - low) / (high - low)
 *   yarn     (1 - r_i) f + r_i f / k, r_i rising from 0 to 1 between the dimensions whose waves
 *            turn beta_fast and beta_slow times in n; cosine and sine times attention_factor
 *
 *   dynamic  f of theta (k·m/n - k + 1)^(E/(E-2)) for rows of m > n positions, the model's own (as
 *            transformers does: the longest row counts for all)
 */
#include "model_private.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <math.h>

#define TWO_PI 6.283185307179586476925286766559

static double llama3(const pb_rope_config *r, double f)
{
    double wave = TWO_PI / f;
    double old  = (double)r->original_positions;
    if (wave > old / r->low_freq) {
        return f / r->factor;
    }
    if (wave < old / r->high_freq) {
        return f;
    }
    double s = (old / wave - r->low_freq) / (r->high_freq - r->low_freq);
    return (1.0 - s) * f / r->factor + s * f;
}

/* The dimension whose wave turns `turns` times within the old context, a fraction. */
static double turning_dimension(const pb_rope_config *r, int64_t head_dim, double turns)
{
    return (double)head_dim * log((double)r->original_positions / (turns * TWO_PI)) /
           (2.0 * log(r->theta));
}

static double yarn(const pb_rope_config *r, int64_t head_dim, int64_t i, double f)
{
    double low  = turning_dimension(r, head_dim, r->beta_fast);
    double high = turning_dimension(r, head_dim, r->beta_slow);
    low         = fmax(r->truncate ? floor(low) : low, 0.0);
    high        = fmin(r->truncate ? ceil(high) : high, (double)(head_dim - 1));
    high        = high == low ? high + 0.001 : high;
    double ramp = fmin(fmax(((double)i - low) / (high - low), 0.0), 1.0);
    return (1.0 - ramp) * f + ramp * f / r->factor;
}

/* theta, as dynamic scaling changes it for rows of `positions`. */
static double base(const pb_rope_config *r, int64_t head_dim, int64_t positions)
{
    double own = (double)r->original_positions;
    if (r->type != PB_ROPE_DYNAMIC || positions <= r->original_positions || head_dim <= 2) {
        return r->theta;
    }
    double stretch = r->factor * (double)positions / own - (r->factor - 1.0);
    return r->theta * pow(stretch, (double)head_dim / (double)(head_dim - 2));
}

static double frequency(const pb_rope_config *r, int64_t head_dim, int64_t positions, int64_t i)
{
    double f = pow(base(r, head_dim, positions), -2.0 * (double)i / (double)head_dim);
    switch (r->type) {
    case PB_ROPE_LINEAR:
        return f / r->factor;
    case PB_ROPE_LLAMA3:
        return llama3(r, f);
    case PB_ROPE_YARN:
        return yarn(r, head_dim, i, f);
    case PB_ROPE_DYNAMIC:
    case PB_ROPE_DEFAULT:
        break;
    }
    return f;
}

pb_status pb_model_rope_table(const pb_rope_config *rope, int64_t head_dim, int64_t positions,
                              float *table)
{
    int64_t half = head_dim / 2;
    double *f    = NULL;
    if (positions < 0 || head_dim % 2 != 0) {
        return PB_FAIL(PB_ERR_ARGUMENT,
                       "rope table: %" PRId64 " positions, width of a head %" PRId64, positions,
                       head_dim);
    }
    PB_TRY(PB_ALLOC(f, half));
    for (int64_t i = 0; i < half; i++) {
        f[i] = frequency(rope, head_dim, positions, i);
    }
    for (int64_t p = 0; p < positions; p++) {
        float *row = table + p * head_dim;
        for (int64_t i = 0; i < half; i++) {
            row[i]        = (float)(rope->attention_factor * cos((double)p * f[i]));
            row[half + i] = (float)(rope->attention_factor * sin((double)p * f[i]));
        }
    }
    pb_memory_free(f);
    return PB_OK;
}
