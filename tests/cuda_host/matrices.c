// SPDX-License-Identifier: Apache-2.0
#include "matrices.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const layout layouts[] = {
    {1, 1, 0, 0},  {3, 7, 0, 0},    {5, 64, 0, 0},  {9, 64, 8, 0},   {9, 64, 3, 0}, {6, 24, 8, 4},
    {4, 72, 0, 8}, {33, 100, 5, 1}, {2, 264, 0, 0}, {1, 2056, 7, 0}, {7, 8, 0, 0},  {130, 17, 0, 0},
};
const int layout_count = sizeof layouts / sizeof layouts[0];

extent extent_of(layout l)
{
    return (extent){l.rows, l.columns, l.columns};
}

matrix matrix_new(layout l, enum element element, float range, unsigned seed)
{
    int64_t stride = l.columns + l.gap;
    matrix m       = {.l = l, .count = l.shift + l.rows * stride};
    size_t size    = element == ELEMENT_F32 ? sizeof(float) : sizeof(uint16_t);
    m.values       = calloc((size_t)m.count + 1, sizeof *m.values);
    m.before       = calloc((size_t)m.count + 1, sizeof *m.before);
    assert_non_null(m.values);
    assert_non_null(m.before);
    random_floats(m.values, m.count, range, seed);
    m.block = device_elements(m.values, m.count, element);
    memcpy(m.before, m.values, (size_t)m.count * sizeof *m.before);
    m.v = (view){(char *)m.block + (size_t)l.shift * size, stride, NULL, element};
    return m;
}

void matrix_read(matrix *m)
{
    int64_t stride = m->l.columns + m->l.gap;
    device_floats(m->values, m->block, m->count, m->v.element);
    for (int64_t i = 0; i < m->count; i++) {
        if (i < m->l.shift || (i - m->l.shift) % stride >= m->l.columns) {
            assert_memory_equal(&m->values[i], &m->before[i], sizeof *m->values);
        }
    }
}

void matrix_free(matrix *m)
{
    device_free(m->block);
    free(m->values);
    free(m->before);
}

void matrix_dense(const matrix *m, float *out)
{
    for (int64_t i = 0; i < m->l.rows; i++) {
        memcpy(out + i * m->l.columns, matrix_at(m, i, 0), (size_t)m->l.columns * sizeof *out);
    }
}

/* Half a unit in the last place of BF16 is 2^-9 of the value; a sum in F32 may tip it over. */
void assert_near(double got, double want, enum element element, double scale)
{
    double allowed = 2e-6 * (fabs(want) + scale) + (element == ELEMENT_BF16 ? fabs(want) / 256 : 0);
    if (!(fabs(got - want) <= allowed)) {
        fail_msg("%.9g, not %.9g; allowed is %.3g", got, want, allowed);
    }
}
