// SPDX-License-Identifier: Apache-2.0
/* Rows by index: types, strides, targets that occur often, ids that are left alone. */
#include "launch.h"

#include "pb/tensor.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = 1 << 19, VOCAB = 37, GAP = 5 };

typedef struct scatter_case {
    int64_t rows, columns;
    enum element y, x;
    int32_t ids[2500];
} scatter_case;

static float x_values[MOST], y_values[MOST];

static int64_t stride_of(const scatter_case *c)
{
    return c->columns + GAP;
}

/* result: y [VOCAB, columns] with its gaps, as floats. */
static void run_scatter(const void *context, void *result)
{
    const scatter_case *c = context;
    int64_t stride        = stride_of(c);
    random_floats(x_values, c->rows * stride, 1.0f, 3);
    random_floats(y_values, VOCAB * stride, 1.0f, 5);
    void *x   = device_elements(x_values, c->rows * stride, c->x);
    void *y   = device_elements(y_values, VOCAB * stride, c->y);
    void *ids = device_new(c->ids, (size_t)c->rows * sizeof *c->ids);
    assert_int_equal(launch_scatter_add((view){y, stride, NULL, c->y},
                                        (view){x, stride, NULL, c->x}, ids, c->rows, c->columns,
                                        0.75f, NULL),
                     cudaSuccess);
    device_floats(result, y, VOCAB * stride, c->y);
    device_free(ids);
    device_free(y);
    device_free(x);
}

/* In order in F32, rounded once. */
static void naive_scatter(const scatter_case *c)
{
    int64_t stride = stride_of(c);
    for (int64_t i = 0; i < c->rows; i++) {
        for (int64_t j = 0; c->ids[i] >= 0 && j < c->columns; j++) {
            float more = 0.75f * x_values[i * stride + j];
            y_values[c->ids[i] * stride + j] += more;
        }
    }
    for (int64_t i = 0; c->y == ELEMENT_BF16 && i < VOCAB * stride; i++) {
        y_values[i] = pb_bf16_to_f32(pb_f32_to_bf16(y_values[i]));
    }
}

static void rows_are_added_in_the_order_of_the_list(void **state)
{
    static const int64_t shapes[][2]     = {{1, 1},   {3, 7},    {40, 33},  {9, 1030},
                                            {70, 64}, {1025, 3}, {2500, 2}, {0, 4}};
    static const enum element types[][2] = {{ELEMENT_F32, ELEMENT_F32},
                                            {ELEMENT_F32, ELEMENT_BF16},
                                            {ELEMENT_BF16, ELEMENT_F32},
                                            {ELEMENT_BF16, ELEMENT_BF16}};
    static float result[MOST];
    static scatter_case c;
    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        size_t most = shapes[s][0] > 1000 ? 1 : sizeof types / sizeof types[0];
        for (size_t t = 0; t < most; t++) {
            c = (scatter_case){
                .rows = shapes[s][0], .columns = shapes[s][1], .y = types[t][0], .x = types[t][1]};
            for (int64_t i = 0; i < c.rows; i++) { /* half of them the same */
                c.ids[i] = i % 5 == 3 ? -1 : i % 2 == 0 ? 11 : (int32_t)(i * 7 % VOCAB);
            }
            size_t bytes = (size_t)(VOCAB * stride_of(&c)) * sizeof *result;
            in_all_orders(run_scatter, &c, result, bytes);
            naive_scatter(&c);
            assert_memory_equal(result, y_values, bytes);
        }
    }
}

static void the_embedding_takes_tables_of_all_types(void **state)
{
    enum { ROWS = 6, COLUMNS = 1030, STRIDE = COLUMNS + GAP };
    static const int32_t ids[ROWS] = {4, -1, 0, VOCAB - 1, 4, -1};
    static float result[ROWS * STRIDE];
    (void)state;
    for (enum element type = ELEMENT_F32; type <= ELEMENT_F16; type++) {
        random_floats(x_values, VOCAB * STRIDE, 1.0f, 7);
        random_floats(y_values, ROWS * STRIDE, 1.0f, 9);
        void *table = device_elements(x_values, VOCAB * STRIDE, type);
        void *y     = device_elements(y_values, ROWS * STRIDE, ELEMENT_F32);
        void *list  = device_new(ids, sizeof ids);
        assert_int_equal(launch_embedding_forward((view){y, STRIDE, NULL, ELEMENT_F32},
                                                  (view){table, STRIDE, NULL, type}, list, ROWS,
                                                  COLUMNS, 8.25f, NULL),
                         cudaSuccess);
        device_floats(result, y, ROWS * STRIDE, ELEMENT_F32);
        for (int64_t i = 0; i < ROWS; i++) {
            for (int64_t j = 0; ids[i] >= 0 && j < COLUMNS; j++) {
                y_values[i * STRIDE + j] = 8.25f * x_values[ids[i] * STRIDE + j];
            }
        }
        assert_memory_equal(result, y_values, sizeof result);
        device_free(list);
        device_free(y);
        device_free(table);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_added_in_the_order_of_the_list),
        cmocka_unit_test(the_embedding_takes_tables_of_all_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
