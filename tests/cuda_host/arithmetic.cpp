// SPDX-License-Identifier: Apache-2.0
/* Products without sanitizers. */
#include "arithmetic.h"

#include <cstring>

namespace cuda_host
{

namespace
{

constexpr int ROWS = 16, COLUMNS = 8, INNER = 16, SLOT = 64;

float bf16_of(const unsigned char *p)
{
    uint16_t half;
    float value;

    std::memcpy(&half, p, sizeof half);
    uint32_t bits = static_cast<uint32_t>(half) << 16;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

} // namespace

/* With g = lane / 4 and t = lane % 4: a[0] holds A[g][2t, 2t + 1], a[1] A[g + 8][2t, 2t + 1],
 * a[2] A[g][2t + 8, 2t + 9], a[3] A[g + 8][2t + 8, 2t + 9]; b[0] B[2t, 2t + 1][g], b[1] B[2t + 8,
 * 2t + 9][g]; d[0], d[1] D[g][2t, 2t + 1], d[2], d[3] D[g + 8][2t, 2t + 1]. */
void tile_product_of(const unsigned char *in, unsigned char *out)
{
    float a[ROWS][INNER];
    float b[INNER][COLUMNS];

    for (int lane = 0; lane < 32; lane++) {
        int g = lane / 4;
        int t = lane % 4;
        for (int i = 0; i < 2; i++) {
            const unsigned char *slot = in + SLOT * lane + 2 * i;
            a[g][2 * t + i]           = bf16_of(slot);
            a[g + 8][2 * t + i]       = bf16_of(slot + 4);
            a[g][2 * t + 8 + i]       = bf16_of(slot + 8);
            a[g + 8][2 * t + 8 + i]   = bf16_of(slot + 12);
            b[2 * t + i][g]           = bf16_of(slot + 16);
            b[2 * t + 8 + i][g]       = bf16_of(slot + 20);
        }
    }
    for (int row = 0; row < ROWS; row++) {
        float sums[COLUMNS];
        int pair = row / 8 * 8; /* bytes of the row's pair in the sums of a lane */
        for (int t = 0; t < 4; t++) {
            std::memcpy(sums + 2 * t, in + SLOT * (4 * (row % 8) + t) + 24 + pair, 8);
        }
        for (int k = 0; k < INNER; k++) {
            for (int j = 0; j < COLUMNS; j++) {
                sums[j] += a[row][k] * b[k][j];
            }
        }
        for (int t = 0; t < 4; t++) {
            std::memcpy(out + SLOT * (4 * (row % 8) + t) + pair, sums + 2 * t, 8);
        }
    }
}

void row_product(float *sums, const float *a, const float *b, int64_t k, int64_t n)
{
    for (int64_t i = 0; i < k; i++) {
        for (int64_t j = 0; j < n; j++) {
            sums[j] += a[i] * b[i * n + j];
        }
    }
}

} // namespace cuda_host
