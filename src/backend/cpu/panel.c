// SPDX-License-Identifier: Apache-2.0
/* Packing: rows of a B that is not transposed are copied piece by piece; a transposed one is turned
 * in squares that stay in registers. */
#include "panel.h"

#include "simd.h"

#include <string.h>

enum {
    SIDE = 8,  /* of a square */
    RUN  = 64, /* units of its rows that are taken at once */
    LINE = 64  /* bytes */
};

static const void *at(const panel_source *b, int64_t row, int64_t column)
{
    return (const char *)b->data + (size_t)(row * b->stride + column) * pb_dtype_size(b->dtype);
}

/* n values; with pairs in BF16, else in F32. */
static void take(const panel_source *b, void *to, const void *from, int64_t n)
{
    if (b->pairs) {
        pb_floats_to_bf16(to, from, b->dtype, n);
        return;
    }
    pb_floats_to_f32(to, from, b->dtype, n);
    if (b->rounds) {
        pb_floats_round_bf16(to, n);
    }
}

/* Values that are packed as they are. */
static bool is_plain(const panel_source *b)
{
    return b->dtype == PB_DTYPE_F32 && !b->rounds && !b->pairs;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* `columns` ≤ PANEL_COLUMNS units, each of two rows. */
static void pair_rows(const panel_source *b, int64_t unit, int64_t column, int64_t columns,
                      float *to)
{
    uint16_t rows[2][PANEL_COLUMNS] = {{0}};
    const uint16_t *restrict low    = rows[0];
    const uint16_t *restrict high   = rows[1];
    uint32_t units[PANEL_COLUMNS];
    if (b->dtype == PB_DTYPE_BF16 && columns == PANEL_COLUMNS && 2 * unit + 1 < b->terms) {
        low  = at(b, 2 * unit, column);
        high = at(b, 2 * unit + 1, column);
    } else {
        for (int64_t r = 0; r < least(2, b->terms - 2 * unit); r++) {
            take(b, rows[r], at(b, 2 * unit + r, column), columns);
        }
    }
    for (int j = 0; j < PANEL_COLUMNS; j++) {
        units[j] = (uint32_t)low[j] | (uint32_t)high[j] << 16;
    }
    memcpy(to, units, sizeof units);
}

static void pack_plain(const panel_source *b, int64_t first, int64_t units, int64_t column,
                       int64_t columns, float *panels)
{
    bool copies = is_plain(b);
    for (int64_t u = 0; u < units; u++) {
        for (int64_t j = 0; j < columns; j += PANEL_COLUMNS) {
            float *to = panels + j * units + u * PANEL_COLUMNS;
            int64_t n = least(columns - j, PANEL_COLUMNS);
            if (b->pairs) {
                pair_rows(b, first + u, column + j, n, to);
            } else if (copies && n == PANEL_COLUMNS) {
                memcpy(to, at(b, first + u, column + j), PANEL_COLUMNS * sizeof *to);
            } else {
                take(b, to, at(b, first + u, column + j), n);
                memset(to + n, 0, (size_t)(PANEL_COLUMNS - n) * sizeof *to);
            }
        }
    }
}

/* to [SIDE rows, PANEL_COLUMNS apart] = from [SIDE rows, `stride` apart] transposed. */
static void turn(float *to, const float *from, int64_t stride)
{
    v8 r[SIDE];
    for (int i = 0; i < SIDE; i++) {
        r[i] = V8_AT(from + i * stride);
    }
    for (int i = 0; i < 4; i++) {
        const v8 x = r[i];
        const v8 y = r[i + 4];
        r[i]       = __builtin_shufflevector(x, y, 0, 1, 2, 3, 8, 9, 10, 11);
        r[i + 4]   = __builtin_shufflevector(x, y, 4, 5, 6, 7, 12, 13, 14, 15);
    }
    for (int i = 0; i < SIDE; i += i % 2 == 0 ? 1 : 3) {
        const v8 x = r[i];
        const v8 y = r[i + 2];
        r[i]       = __builtin_shufflevector(x, y, 0, 1, 8, 9, 4, 5, 12, 13);
        r[i + 2]   = __builtin_shufflevector(x, y, 2, 3, 10, 11, 6, 7, 14, 15);
    }
    for (int i = 0; i < SIDE; i += 2) {
        const v8 x = r[i];
        const v8 y = r[i + 1];
        r[i]       = __builtin_shufflevector(x, y, 0, 8, 2, 10, 4, 12, 6, 14);
        r[i + 1]   = __builtin_shufflevector(x, y, 1, 9, 3, 11, 5, 13, 7, 15);
    }
    for (int i = 0; i < SIDE; i++) {
        V8_PUT(to + i * PANEL_COLUMNS, r[i]);
    }
}

/* How many of the units are in memory as they are packed. */
static int64_t units_in_place(const panel_source *b, int64_t first, int64_t units)
{
    if (b->pairs && b->dtype == PB_DTYPE_BF16 && b->stride % 2 == 0 &&
        (uintptr_t)b->data % 4 == 0) {
        return least(units, b->terms / 2 - first);
    }
    return is_plain(b) ? units : 0;
}

/* SIDE columns from `column` on, of which `columns` are there. */
static void pack_turned(const panel_source *b, int64_t first, int64_t units, int64_t column,
                        int64_t columns, float *to)
{
    int64_t each           = b->pairs ? 2 : 1;
    int64_t whole          = columns == SIDE ? units_in_place(b, first, units) : 0;
    float rows[SIDE * RUN] = {0};
    int64_t u              = 0;
    for (; u + SIDE <= whole; u += SIDE) {
        turn(to + u * PANEL_COLUMNS, at(b, column, each * (first + u)), b->stride / each);
    }
    for (; u < units; u += RUN) {
        int64_t n    = least(units - u, RUN);
        int64_t term = each * (first + u);
        int64_t have = least(each * n, b->terms - term);
        for (int64_t r = 0; r < columns; r++) {
            if (have < each * n) {
                memset(rows + r * RUN, 0, RUN * sizeof *rows);
            }
            take(b, rows + r * RUN, at(b, column + r, term), have > 0 ? have : 0);
        }
        int64_t q = 0;
        for (; q + SIDE <= n; q += SIDE) {
            turn(to + (u + q) * PANEL_COLUMNS, rows + q, RUN);
        }
        for (; q < n; q++) {
            for (int64_t r = 0; r < SIDE; r++) {
                to[(u + q) * PANEL_COLUMNS + r] = rows[r * RUN + q];
            }
        }
    }
}

void panel_pack(const panel_source *b, int64_t first, int64_t units, int64_t column,
                int64_t columns, float *panels)
{
    if (!b->transposed) {
        pack_plain(b, first, units, column, columns, panels);
        return;
    }
    for (int64_t j = 0; j < columns || j % PANEL_COLUMNS != 0; j += SIDE) {
        pack_turned(b, first, units, column + j, least(columns - j, SIDE),
                    panels + j / PANEL_COLUMNS * PANEL_COLUMNS * units + j % PANEL_COLUMNS);
    }
}

void panel_prefetch(const panel_source *b, int64_t first, int64_t terms, int64_t column,
                    int64_t columns, int64_t part, int64_t parts)
{
    int64_t rows  = b->transposed ? columns : terms;
    size_t bytes  = (size_t)(b->transposed ? terms : columns) * pb_dtype_size(b->dtype);
    int64_t begin = rows * part / parts;
    for (int64_t r = begin; r < rows * (part + 1) / parts; r++) {
        const char *row = b->transposed ? at(b, column + r, first) : at(b, first + r, column);
        for (size_t i = 0; i < bytes; i += LINE) {
            __builtin_prefetch(row + i, 0, 2);
        }
    }
}
