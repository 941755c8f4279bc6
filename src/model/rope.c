// SPDX-License-Identifier: Apache-2.0
/* The table of rotary positions (Su et al., "RoFormer", arXiv 2104.09864).
 *
 *     angle(p, i) = p · f_i,  f_i = theta^(-2i/E),  i < E/2
 *
 * rope type llama3 stretches the long waves: with wave length w = 2π/f and the old context n,
 *     w > n/low:   f / factor
 *     w < n/high:  f
 *     between:     (1 - s) f / factor + s f,  s = (n/w - low) / (high - low) */
#include "model_private.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <math.h>

#define TWO_PI 6.283185307179586476925286766559

static double frequency(const pb_model_config *c, int64_t i)
{
    double f = pow(c->rope_theta, -2.0 * (double)i / (double)c->head_dim);
    if (c->rope_type == PB_ROPE_DEFAULT) {
        return f;
    }
    double wave = TWO_PI / f;
    double old  = (double)c->rope_original_positions;
    if (wave > old / c->rope_low_freq) {
        return f / c->rope_factor;
    }
    if (wave < old / c->rope_high_freq) {
        return f;
    }
    double s = (old / wave - c->rope_low_freq) / (c->rope_high_freq - c->rope_low_freq);
    return (1.0 - s) * f / c->rope_factor + s * f;
}

pb_status pb_model_rope_table(const pb_model_config *config, int64_t positions, float *table)
{
    int64_t half = config->head_dim / 2;
    double *f    = NULL;
    if (positions < 0 || config->head_dim % 2 != 0) {
        return PB_FAIL(PB_ERR_ARGUMENT,
                       "rope table: %" PRId64 " positions, width of a head %" PRId64, positions,
                       config->head_dim);
    }
    PB_TRY(PB_ALLOC(f, half));
    for (int64_t i = 0; i < half; i++) {
        f[i] = frequency(config, i);
    }
    for (int64_t p = 0; p < positions; p++) {
        float *row = table + p * config->head_dim;
        for (int64_t i = 0; i < half; i++) {
            row[i]        = (float)cos((double)p * f[i]);
            row[half + i] = (float)sin((double)p * f[i]);
        }
    }
    pb_memory_free(f);
    return PB_OK;
}
