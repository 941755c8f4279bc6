// SPDX-License-Identifier: Apache-2.0
/* The innermost loop of products, compiled with contraction: a product and the sum it is added to
 * are rounded once where the processor can do that. */
#include "panel.h"

/* As many sums as registers hold beside two vectors of B and one of A. */
#if defined(__AVX512F__)
enum { LANES = 16, TILE_ROWS = 12 };
#elif defined(__AVX__)
enum { LANES = 8, TILE_ROWS = 6 };
#elif defined(__aarch64__)
enum { LANES = 4, TILE_ROWS = 12 };
#else
enum { LANES = 4, TILE_ROWS = 6 };
#endif

typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef float lanes_at __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define UNROLLED _Pragma("GCC unroll 12")
#endif

/* `rows` and `vectors` are constants where it is used. */
ALWAYS_INLINE void tile(int rows, int vectors, panel_rows a, const float *b, int64_t units,
                        float *sums)
{
    lanes s[TILE_ROWS][2] = {0};
    for (int64_t p = 0; p < units; p++) {
        const lanes b0 = *(const lanes_at *)b;
        const lanes b1 = *(const lanes_at *)(b + (vectors - 1) * LANES);
        UNROLLED
        for (int i = 0; i < rows; i++) {
            float x = a.data[i * a.row];
            s[i][0] += x * b0;
            if (vectors > 1) {
                s[i][1] += x * b1;
            }
        }
        a.data += a.term;
        b += PANEL_COLUMNS;
    }
    UNROLLED
    for (int i = 0; i < rows; i++) {
        *(lanes_at *)(sums + i * PANEL_COLUMNS) = s[i][0];
        if (vectors > 1) {
            *(lanes_at *)(sums + i * PANEL_COLUMNS + LANES) = s[i][1];
        }
    }
}

ALWAYS_INLINE void tile_of(int64_t rows, int vectors, panel_rows a, const float *b, int64_t units,
                           float *sums)
{
    switch (rows) {
#define TILE(n)                              \
    case n:                                  \
        tile(n, vectors, a, b, units, sums); \
        break;
        TILE(1)
        TILE(2)
        TILE(3)
        TILE(4)
        TILE(5)
#if defined(__AVX512F__) || defined(__aarch64__)
        TILE(6)
        TILE(7)
        TILE(8)
        TILE(9)
        TILE(10)
        TILE(11)
#endif
    default:
        tile(TILE_ROWS, vectors, a, b, units, sums);
    }
}

/* A is transposed or not: one of its strides is 1. */
ALWAYS_INLINE void tile_by(int64_t rows, int vectors, panel_rows a, const float *b, int64_t units,
                           float *sums)
{
    if (a.row == 1) {
        a.row = 1;
        tile_of(rows, vectors, a, b, units, sums);
    } else {
        a.term = 1;
        tile_of(rows, vectors, a, b, units, sums);
    }
}

void panel_sums(const panel_rows *a, const float *panel, int64_t units, int64_t rows,
                int64_t columns, float *sums)
{
    for (int64_t i = 0; i < rows; i += TILE_ROWS) {
        int64_t n     = rows - i < TILE_ROWS ? rows - i : TILE_ROWS;
        panel_rows at = {a->data + i * a->row, a->row, a->term};
        for (int64_t j = 0; j < columns; j += 2 * LANES) {
            float *to = sums + i * PANEL_COLUMNS + j;
            if (columns - j > LANES) {
                tile_by(n, 2, at, panel + j, units, to);
            } else {
                tile_by(n, 1, at, panel + j, units, to);
            }
        }
    }
}
