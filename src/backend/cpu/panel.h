// SPDX-License-Identifier: Apache-2.0
/* Products by kernels of this program: B is copied into panels of PANEL_COLUMNS columns, which many
 * rows of A are then multiplied with. Every element of a product is one chain of multiply-adds over
 * its terms in order, so its bits depend on nothing else: not on the other rows and columns, nor on
 * how a product is cut.
 *
 * A panel is made of units of four bytes, [units, PANEL_COLUMNS]: a unit is a term in F32, or a
 * pair of terms in BF16 for AMX. */
#pragma once

#include "pb/tensor.h"

enum {
    PANEL_ROWS    = 12,
    PANEL_COLUMNS = 32,
    PANEL_UNITS   = 768, /* most of one run through a panel */
    AMX_ROWS      = 32,
    AMX_UNITS     = 16 /* units of a panel are a multiple of it */
};

/* op(B), of which parts are packed. */
typedef struct panel_source {
    const void *data;
    int64_t stride;
    pb_dtype dtype;
    bool transposed;
    bool rounds;   /* to BF16 */
    bool pairs;    /* of BF16 */
    int64_t terms; /* beyond them, and beyond the last column, there are zeros */
} panel_source;

/* Units first … of `columns` columns from `column` on, panel behind panel. */
void panel_pack(const panel_source *b, int64_t first, int64_t units, int64_t column,
                int64_t columns, float *panels);

/* Fetches what is packed next, in `parts` calls. */
void panel_prefetch(const panel_source *b, int64_t first, int64_t terms, int64_t column,
                    int64_t columns, int64_t part, int64_t parts);

/* op(A): element (i, p) is at i · row + p · term; one of them is 1. */
typedef struct panel_rows {
    const float *data;
    int64_t row, term;
} panel_rows;

/* sums [rows ≤ PANEL_ROWS, PANEL_COLUMNS], `columns` of them at least. */
void panel_sums(const panel_rows *a, const float *panel, int64_t units, int64_t rows,
                int64_t columns, float *sums);

/* This process may use AMX for BF16, and was compiled with it. */
bool panel_amx_is_here(void);
/* A thread uses it from begin to end. */
void panel_amx_begin(void);
void panel_amx_end(void);
/* sums [AMX_ROWS, PANEL_COLUMNS] of rows of BF16, `stride` apart. */
void panel_amx_sums(const uint16_t *a, int64_t stride, const float *panel, int64_t units,
                    float *sums);
