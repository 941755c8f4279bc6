// SPDX-License-Identifier: Apache-2.0
/* Views share memory and keep their stride; 16-bit floats convert exactly, over all 65536 values.
 */
#include "pb/tensor.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

static void dtypes_have_the_names_and_sizes_of_safetensors(void **state)
{
    (void)state;
    assert_string_equal(pb_dtype_name(PB_DTYPE_F32), "F32");
    assert_string_equal(pb_dtype_name(PB_DTYPE_BF16), "BF16");
    assert_string_equal(pb_dtype_name(PB_DTYPE_F16), "F16");
    assert_string_equal(pb_dtype_name(PB_DTYPE_I32), "I32");
    assert_int_equal(pb_dtype_size(PB_DTYPE_F32), 4);
    assert_int_equal(pb_dtype_size(PB_DTYPE_BF16), 2);
    assert_int_equal(pb_dtype_size(PB_DTYPE_F16), 2);
    assert_int_equal(pb_dtype_size(PB_DTYPE_I32), 4);
    assert_int_equal(pb_dtype_size(PB_DTYPE_COUNT), 0);
    assert_string_equal(pb_dtype_name(PB_DTYPE_COUNT), "unknown");
}

static void a_zeroed_tensor_is_none(void **state)
{
    (void)state;
    pb_tensor none = {0};
    assert_true(pb_tensor_is_none(&none));
    assert_true(pb_tensor_is_none(NULL));
    assert_int_equal(pb_tensor_count(&none), 0);
    assert_int_equal(pb_tensor_bytes(&none), 0);
    pb_tensor some = pb_tensor_1d(NULL, PB_DTYPE_F32, 3);
    assert_false(pb_tensor_is_none(&some));
}

static void rows_and_columns_are_views_of_the_same_memory(void **state)
{
    (void)state;
    float x[4 * 5];
    for (int i = 0; i < 20; i++) {
        x[i] = (float)i;
    }
    pb_tensor t    = pb_tensor_2d(x, PB_DTYPE_F32, 4, 5);
    pb_tensor rows = pb_tensor_rows(&t, 1, 2);
    assert_ptr_equal(rows.data, x + 5);
    assert_int_equal(rows.shape[0], 2);
    assert_int_equal(rows.shape[1], 5);
    assert_true(pb_tensor_is_contiguous(&rows));

    pb_tensor columns = pb_tensor_columns(&rows, 2, 3);
    assert_ptr_equal(columns.data, x + 7);
    assert_int_equal(columns.shape[0], 2);
    assert_int_equal(columns.shape[1], 3);
    assert_int_equal(columns.stride, 5);
    assert_false(pb_tensor_is_contiguous(&columns));
    assert_int_equal(pb_tensor_count(&columns), 6);
    assert_int_equal(pb_tensor_bytes(&columns), 24);

    pb_tensor last = pb_tensor_rows(&columns, 1, 1);
    assert_ptr_equal(last.data, x + 12);
    assert_true(pb_tensor_is_contiguous(&last));
}

static void a_view_of_16_bit_values_advances_by_two_bytes(void **state)
{
    (void)state;
    uint16_t x[6] = {0};
    pb_tensor t   = pb_tensor_2d(x, PB_DTYPE_BF16, 3, 2);
    pb_tensor row = pb_tensor_rows(&t, 2, 1);
    assert_ptr_equal(row.data, x + 4);
    pb_tensor empty = pb_tensor_2d(NULL, PB_DTYPE_F32, 3, 2);
    pb_tensor part  = pb_tensor_rows(&empty, 1, 2);
    assert_null(part.data);
}

static void shapes_compare_and_print(void **state)
{
    (void)state;
    char text[32];
    char tiny[4];
    pb_tensor a = pb_tensor_2d(NULL, PB_DTYPE_F32, 2, 3);
    pb_tensor b = pb_tensor_2d(NULL, PB_DTYPE_BF16, 2, 3);
    pb_tensor c = pb_tensor_1d(NULL, PB_DTYPE_F32, 6);
    assert_true(pb_tensor_same_shape(&a, &b));
    assert_false(pb_tensor_same_shape(&a, &c));
    assert_string_equal(pb_tensor_shape_text(&a, text, sizeof text), "[2, 3]");
    assert_string_equal(pb_tensor_shape_text(&c, text, sizeof text), "[6]");
    assert_string_equal(pb_tensor_shape_text(&a, tiny, sizeof tiny), "[2,");
    assert_int_equal(pb_tensor_width(&a), 3);
    assert_int_equal(pb_tensor_width(&c), 1);
    pb_tensor zero = pb_tensor_2d(NULL, PB_DTYPE_F32, 0, 3);
    assert_int_equal(pb_tensor_count(&zero), 0);
    assert_true(pb_tensor_is_contiguous(&zero));
}

static void every_bf16_value_survives_the_way_through_f32(void **state)
{
    (void)state;
    for (uint32_t x = 0; x < 65536; x++) {
        float value = pb_bf16_to_f32((uint16_t)x);
        if (isnan(value)) {
            assert_true(isnan(pb_bf16_to_f32(pb_f32_to_bf16(value))));
        } else {
            assert_int_equal(pb_f32_to_bf16(value), x);
        }
    }
}

/* The definition of binary16, by powers of two in double. */
static double f16_by_definition(uint32_t x)
{
    double sign     = (x & 0x8000u) != 0 ? -1.0 : 1.0;
    int exponent    = (int)((x >> 10) & 0x1fu);
    double fraction = (double)(x & 0x3ffu);
    if (exponent == 0) {
        return sign * ldexp(fraction, -24);
    }
    return sign * ldexp(1024.0 + fraction, exponent - 25);
}

static void every_f16_value_converts_exactly(void **state)
{
    (void)state;
    for (uint32_t x = 0; x < 65536; x++) {
        float value = pb_f16_to_f32((uint16_t)x);
        if ((x & 0x7c00u) == 0x7c00u) {
            assert_true((x & 0x3ffu) != 0 ? isnan(value) : isinf(value));
            assert_int_equal(signbit(value) != 0, (x & 0x8000u) != 0);
        } else {
            assert_true((double)value == f16_by_definition(x));
            assert_int_equal(signbit(value) != 0, (x & 0x8000u) != 0);
        }
    }
}

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Known values of OCP FP8 E4M3: the largest, one, the smallest normal and subnormal, signs, NaN. */
static void f8_e4m3_has_its_known_values(void **state)
{
    static const uint8_t bits[]    = {0x7e, 0x38, 0x08, 0x01, 0x00, 0xb8, 0xfe, 0x07};
    static const double expected[] = {448.0, 1.0,  0.015625, 0.001953125,
                                      0.0,   -1.0, -448.0,   0.013671875};
    float got[8];
    float nan[2];
    (void)state;
    pb_floats_to_f32(got, bits, PB_DTYPE_F8_E4M3, 8);
    for (int i = 0; i < 8; i++) {
        assert_true((double)got[i] == expected[i]);
    }
    pb_floats_to_f32(nan, (const uint8_t[]){0x7f, 0xff}, PB_DTYPE_F8_E4M3, 2);
    assert_true(isnan(nan[0]) && isnan(nan[1]));
}

/* Runs of every length give the same as single values. */
static void runs_convert_as_single_values_do(void **state)
{
    static uint16_t bits[65536];
    static float got[65536];
    (void)state;
    for (int i = 0; i < 65536; i++) {
        bits[i] = (uint16_t)i;
    }
    for (int type = PB_DTYPE_BF16; type <= PB_DTYPE_F16; type++) {
        pb_floats_to_f32(got, bits + 3, (pb_dtype)type, 65536 - 3);
        for (int i = 3; i < 65536; i++) {
            float one = type == PB_DTYPE_BF16 ? pb_bf16_to_f32(bits[i]) : pb_f16_to_f32(bits[i]);
            assert_true(isnan(one) ? isnan(got[i - 3])
                                   : memcmp(&one, &got[i - 3], sizeof one) == 0);
        }
    }
}

static void f32_rounds_to_the_nearest_even_bf16(void **state)
{
    (void)state;
    assert_int_equal(pb_f32_to_bf16(from_bits(0x3f800000u)), 0x3f80);
    assert_int_equal(pb_f32_to_bf16(from_bits(0x3f807fffu)), 0x3f80); /* below the middle */
    assert_int_equal(pb_f32_to_bf16(from_bits(0x3f808000u)), 0x3f80); /* the middle, even below */
    assert_int_equal(pb_f32_to_bf16(from_bits(0x3f818000u)), 0x3f82); /* the middle, even above */
    assert_int_equal(pb_f32_to_bf16(from_bits(0x3f808001u)), 0x3f81);
    assert_int_equal(pb_f32_to_bf16(from_bits(0xbf808001u)), 0xbf81);
    assert_int_equal(pb_f32_to_bf16(from_bits(0x7f7fffffu)), 0x7f80); /* overflows to infinity */
    assert_int_equal(pb_f32_to_bf16(INFINITY), 0x7f80);
    assert_int_equal(pb_f32_to_bf16(-INFINITY), 0xff80);
}

/* From every type, in more than one run of the conversion. */
static void runs_round_to_bf16_as_single_values_do(void **state)
{
    enum { N = 1000 };
    float wide[N];
    float of_half[N];
    uint16_t half[N];
    uint16_t got[N];
    (void)state;
    for (uint32_t i = 0; i < N; i++) {
        wide[i] = from_bits(i * 4294967u);
        half[i] = (uint16_t)(i * 65u);
    }
    pb_floats_to_bf16(got, wide, PB_DTYPE_F32, N);
    for (int i = 0; i < N; i++) {
        assert_int_equal(got[i], pb_f32_to_bf16(wide[i]));
    }
    pb_floats_to_f32(of_half, half, PB_DTYPE_F16, N);
    pb_floats_to_bf16(got, half, PB_DTYPE_F16, N);
    for (int i = 0; i < N; i++) {
        assert_true(got[i] == pb_f32_to_bf16(of_half[i]) || isnan(of_half[i]));
    }
    pb_floats_to_bf16(got, half, PB_DTYPE_BF16, N);
    assert_memory_equal(got, half, sizeof got);
}

static void nan_stays_nan(void **state)
{
    (void)state;
    /* The payload is in the half that is dropped. */
    assert_true(isnan(pb_bf16_to_f32(pb_f32_to_bf16(from_bits(0x7f800001u)))));
    assert_true(isnan(pb_bf16_to_f32(pb_f32_to_bf16(from_bits(0xffffffffu)))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dtypes_have_the_names_and_sizes_of_safetensors),
        cmocka_unit_test(a_zeroed_tensor_is_none),
        cmocka_unit_test(rows_and_columns_are_views_of_the_same_memory),
        cmocka_unit_test(a_view_of_16_bit_values_advances_by_two_bytes),
        cmocka_unit_test(shapes_compare_and_print),
        cmocka_unit_test(every_bf16_value_survives_the_way_through_f32),
        cmocka_unit_test(every_f16_value_converts_exactly),
        cmocka_unit_test(f8_e4m3_has_its_known_values),
        cmocka_unit_test(runs_convert_as_single_values_do),
        cmocka_unit_test(f32_rounds_to_the_nearest_even_bf16),
        cmocka_unit_test(runs_round_to_bf16_as_single_values_do),
        cmocka_unit_test(nan_stays_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
