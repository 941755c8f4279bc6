// SPDX-License-Identifier: Apache-2.0
/* Matrices of tests of launchers: any type, gaps between rows, any alignment. */
#pragma once

#include "launch.h"

/* A shape, and how its matrices lie in memory. */
typedef struct layout {
    int64_t rows, columns;
    int64_t gap;   /* elements between rows */
    int64_t shift; /* elements before the first row */
} layout;

typedef struct matrix {
    layout l;
    int64_t count; /* all elements, gaps included */
    float *values; /* of the host, all of them */
    float *before; /* as they were made */
    void *block;
    view v;
} matrix;

/* Random numbers in -range … range, which its type holds exactly. */
matrix matrix_new(layout l, enum element element, float range, unsigned seed);
/* Values from the device; what is not an element must be as it was. */
void matrix_read(matrix *m);
void matrix_free(matrix *m);

static inline float *matrix_at(const matrix *m, int64_t row, int64_t column)
{
    return m->values + m->l.shift + row * (m->l.columns + m->l.gap) + column;
}
static inline float matrix_before(const matrix *m, int64_t row, int64_t column)
{
    return m->before[matrix_at(m, row, column) - m->values];
}

/* All elements, row by row, to `out`. */
void matrix_dense(const matrix *m, float *out);

/* Whether a result of that type is as near as its rounding allows. */
void assert_near(double got, double want, enum element element, double scale);

extent extent_of(layout l);

/* Sizes that fill no block, layouts that no 16 bytes divide, and plain ones. */
extern const layout layouts[];
extern const int layout_count;
