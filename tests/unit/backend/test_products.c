// SPDX-License-Identifier: Apache-2.0
/* The product front: which library is picked from what was measured, the text of a choice, and
 * products by every library of this machine. */
#include "products.h"
#include "support.h"

#include "pb/backend.h"
#include "pb/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void the_fastest_is_picked_if_it_is_well_ahead(void **state)
{
    static const struct row {
        product_trial trials[PRODUCT_LIBRARIES];
        bool any;
        product_library best;
    } rows[] = {
        {{{1.0, true}, {0.9, true}}, true, BY_BLAS},
        {{{1.0, true}, {0.7, true}}, true, BY_F32},
        {{{1.0, true}, {0.7, true}, {0.5, true}}, true, BY_BF16},
        {{{1.0, true}, {0.7, true}, {0.5, false}}, true, BY_F32}, /* wrong is not fast */
        {{{1.0, true}, {0.7, true}, {0.6, true}}, true, BY_F32},  /* only well ahead of CBLAS */
        {{{1.0, true}, {0.0, false}}, true, BY_BLAS},
        {{{1.0, false}, {2.0, true}}, true, BY_F32}, /* slow, but right */
        {{{1.0, false}, {0.5, false}}, false, BY_BLAS},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        product_library best = PRODUCT_LIBRARIES;
        assert_int_equal(products_pick(rows[i].trials, &best), rows[i].any);
        assert_int_equal(best, rows[i].best);
    }
}

static void a_choice_is_read_as_it_was_written(void **state)
{
    static const char *const bad[] = {
        "",  "nt=bf nn=bf",        "nt=bf nn=bf tn=bx", "auto",
        "b", "nt=bf nn=bf tn=bf ", "nt=b nn=bf tn=bf",  "nt=bf nn=bf tn=bff"};
    products p = products_all(BY_BLAS);
    products again;
    char text[PRODUCTS_TEXT];
    (void)state;
    p.by[FORM_NT][SHAPE_FEW]  = BY_F32;
    p.by[FORM_TN][SHAPE_FULL] = BY_BF16;
    p.by[FORM_TN][SHAPE_FEW]  = BY_OWN;
    p.by[FORM_NN][SHAPE_FEW]  = BY_AMX;
    products_write(&p, text);
    assert_string_equal(text, "nt=bf nn=ba tn=hp");
    assert_true(products_read(text, &again));
    assert_memory_equal(&again, &p, sizeof p);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(products_read(bad[i], &again));
    }
}

static void a_class_is_found_by_transposition_and_rows(void **state)
{
    products p = products_all(BY_BLAS);
    (void)state;
    p.by[FORM_NN][SHAPE_FEW] = BY_F32;
    assert_int_equal(products_by(&p, false, false, 32), BY_F32);
    assert_int_equal(products_by(&p, false, false, 33), BY_BLAS);
    assert_int_equal(products_by(&p, false, true, 32), BY_BLAS);
    assert_int_equal(products_by(&p, true, false, 32), BY_BLAS);
}

enum { SIDE = 300, ALL = SIDE * SIDE };

typedef struct matrices {
    float a[ALL], b[ALL], c[ALL], first[ALL];
    uint16_t narrow_b[ALL]; /* b as BF16 */
} matrices;

static void multiply(pb_backend *be, matrices *x, const int64_t *s, const pb_matmul_args *args,
                     pb_dtype type_of_b)
{
    bool ta     = args->transpose_a;
    bool tb     = args->transpose_b;
    pb_tensor a = pb_tensor_2d(x->a, PB_DTYPE_F32, ta ? s[2] : s[0], ta ? s[0] : s[2]);
    void *in_b = type_of_b == PB_DTYPE_F32 ? (void *)x->b : x->narrow_b;
    pb_tensor b = pb_tensor_2d(in_b, type_of_b, tb ? s[1] : s[2], tb ? s[2] : s[1]);
    pb_tensor c = pb_tensor_2d(x->c, PB_DTYPE_F32, s[0], s[1]);
    for (int64_t i = 0; i < s[0] * s[1]; i++) {
        x->c[i] = args->beta == 0.0f ? NAN : 1.0f;
    }
    assert_ok(pb_matmul(be, &c, &a, &b, args));
}

static pb_backend *open_with(const char *choice, pb_dtype dtype, int threads)
{
    pb_backend *be = NULL;
    assert_ok(pb_backend_open("cpu", 0, threads, &be));
    assert_ok(pb_backend_use_dtype(be, dtype));
    assert_ok(pb_backend_use_products(be, choice));
    assert_string_equal(pb_backend_products(be), choice);
    return be;
}

static double plain(const matrices *x, const int64_t *s, const pb_matmul_args *args, int64_t i,
                    int64_t j)
{
    double sum = 0.0;
    for (int64_t p = 0; p < s[2]; p++) {
        sum += (double)x->a[args->transpose_a ? p * s[0] + i : i * s[2] + p] *
               (double)x->b[args->transpose_b ? j * s[2] + p : p * s[1] + j];
    }
    return (double)args->alpha * sum + (double)args->beta;
}

/* Factors are small integers over a power of two: BF16 holds them exactly. */
static matrices *make_matrices(void)
{
    matrices *x      = calloc(1, sizeof *x);
    pb_random stream = pb_random_stream(3, PB_RANDOM_TEST, 0);
    assert_non_null(x);
    for (uint64_t i = 0; i < ALL; i++) {
        x->a[i] = (float)((int)(pb_random_uniform(stream, i) * 31.0) - 15) / 8.0f;
        x->b[i] = (float)((int)(pb_random_uniform(stream, i + ALL) * 31.0) - 15) / 8.0f;
    }
    pb_floats_to_bf16(x->narrow_b, x->b, PB_DTYPE_F32, ALL);
    return x;
}

static void check_library(const char *choice, pb_dtype dtype)
{
    static const int64_t sizes[][3] = {
        {5, 37, 19}, {32, 300, 64}, {33, 17, 128}, {300, 299, 96}, {43, 50, 1703}};
    static const float scales[][2] = {{1.0f, 0.0f}, {1.0f, 1.0f}, {0.5f, 0.25f}};
    enum { SIZES = sizeof sizes / sizeof *sizes, FORMS = 3, SCALES = 3 };
    matrices *x       = make_matrices();
    pb_backend *three = open_with(choice, dtype, 3);
    pb_backend *one   = open_with(choice, dtype, 1);
    for (int k = 0; k < SIZES * SCALES * FORMS; k++) {
        const int64_t *s         = sizes[k % SIZES];
        const pb_matmul_args how = {.transpose_a = k / (SIZES * SCALES) == 2,
                                    .transpose_b = k / (SIZES * SCALES) == 0,
                                    .alpha       = scales[k / SIZES % SCALES][0],
                                    .beta        = scales[k / SIZES % SCALES][1]};
        multiply(three, x, s, &how, PB_DTYPE_F32);
        memcpy(x->first, x->c, sizeof x->c);
        multiply(one, x, s, &how, k % 2 == 0 ? PB_DTYPE_F32 : PB_DTYPE_BF16);
        assert_memory_equal(x->c, x->first, (size_t)(s[0] * s[1]) * sizeof(float));
        for (int64_t i = 0; i < s[0] * s[1]; i += 97) {
            double expected = plain(x, s, &how, i / s[1], i % s[1]);
            assert_float_equal(x->c[i], expected, 1e-3);
        }
    }
    pb_backend_close(one);
    pb_backend_close(three);
    free(x);
}

/* Factors that no sum is exact for. */
static void check_rows(const char *choice, pb_dtype dtype)
{
    static const int64_t sizes[][3] = {
        {5, 70, 1100}, {6, 70, 1100}, {18, 70, 1100}, {75, 70, 1100}};
    matrices *x    = make_matrices();
    pb_backend *be = open_with(choice, dtype, 2);
    for (int i = 0; i < ALL; i++) {
        x->a[i] = sinf((float)i);
        x->b[i] = cosf((float)i);
    }
    for (int k = 0; k < 8; k++) {
        const int64_t *s         = sizes[k / 2];
        const pb_matmul_args how = {.transpose_b = k % 2 == 0, .alpha = 0.3f, .beta = 0.7f};
        size_t bytes             = 5 * 70 * sizeof(float);
        multiply(be, x, s, &how, PB_DTYPE_F32);
        assert_true(k < 2 || memcmp(x->c, x->first + k % 2 * 5 * 70, bytes) == 0);
        memcpy(x->first + k % 2 * 5 * 70, x->c, bytes);
    }
    pb_backend_close(be);
    free(x);
}

/* As for a recorded choice; without what it needs that is an error that names the remedy. */
static bool is_here(const char *choice, pb_dtype dtype, const char *needs)
{
    pb_backend *be = NULL;
    assert_ok(pb_backend_open("cpu", 0, 1, &be));
    assert_ok(pb_backend_use_dtype(be, dtype));
    pb_status status = pb_backend_use_products(be, choice);
    if (status != PB_OK) {
        assert_int_equal(status, PB_ERR_CONFIG);
        assert_non_null(strstr(pb_error_message(), needs));
        assert_non_null(strstr(pb_error_message(), "\"blas\""));
        assert_string_equal(pb_backend_products(be), "nt=bb nn=bb tn=bb");
        pb_error_clear();
    }
    pb_backend_close(be);
    return status == PB_OK;
}

static void own_kernels_multiply_right_and_rows_do_not_depend_on_others(void **state)
{
    (void)state;
    check_library("nt=pp nn=pp tn=pp", PB_DTYPE_F32);
    check_library("nt=pp nn=pp tn=pp", PB_DTYPE_BF16);
    check_rows("nt=pp nn=pp tn=pp", PB_DTYPE_F32);
    if (is_here("nt=aa nn=aa tn=pp", PB_DTYPE_BF16, "needs AMX")) {
        check_library("nt=aa nn=aa tn=aa", PB_DTYPE_BF16);
        check_rows("nt=aa nn=aa tn=aa", PB_DTYPE_BF16);
    }
}

static void every_library_multiplies_alike_on_any_threads(void **state)
{
    (void)state;
    check_library("nt=bb nn=bb tn=bb", PB_DTYPE_F32);
    if (!is_here("nt=ff nn=ff tn=ff", PB_DTYPE_F32, "needs oneDNN")) {
        skip();
    }
    check_library("nt=ff nn=ff tn=ff", PB_DTYPE_F32);
    check_library("nt=fb nn=bf tn=fb", PB_DTYPE_BF16);
    if (is_here("nt=hh nn=hh tn=hh", PB_DTYPE_BF16, "needs oneDNN")) {
        check_library("nt=hh nn=fh tn=hb", PB_DTYPE_BF16);
    }
}

static void a_choice_that_does_not_fit_is_refused(void **state)
{
    static const char *const bad[][2] = {{"fast", "expected auto, blas"},
                                         {"nt=hb nn=bb tn=bb", "only with dtype bf16"},
                                         {"nt=ab nn=bb tn=bb", "only with dtype bf16"}};
    pb_backend *be                    = NULL;
    (void)state;
    assert_ok(pb_backend_open("cpu", 0, 1, &be));
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pb_backend_use_products(be, bad[i][0]), PB_ERR_CONFIG);
        assert_non_null(strstr(pb_error_message(), bad[i][1]));
        pb_error_clear();
    }
    pb_backend_close(be);
}

static void a_measured_choice_can_be_taken_again(void **state)
{
    static const pb_dtype types[] = {PB_DTYPE_F32, PB_DTYPE_BF16};
    char choice[PB_PRODUCTS_SIZE];
    char described[256];
    (void)state;
    for (int i = 0; i < 2; i++) {
        pb_backend *be = NULL;
        assert_ok(pb_backend_open("cpu", 0, 1, &be));
        assert_ok(pb_backend_use_dtype(be, types[i]));
        assert_ok(pb_backend_use_products(be, "auto"));
        (void)snprintf(choice, sizeof choice, "%s", pb_backend_products(be));
        (void)snprintf(described, sizeof described, "%s", pb_backend_describe(be));
        assert_ok(pb_backend_use_products(be, "blas"));
        assert_string_equal(pb_backend_products(be), "nt=bb nn=bb tn=bb");
        assert_ok(pb_backend_use_products(be, choice));
        assert_string_equal(pb_backend_describe(be), described);
        pb_backend_close(be);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fastest_is_picked_if_it_is_well_ahead),
        cmocka_unit_test(a_choice_is_read_as_it_was_written),
        cmocka_unit_test(a_class_is_found_by_transposition_and_rows),
        cmocka_unit_test(every_library_multiplies_alike_on_any_threads),
        cmocka_unit_test(own_kernels_multiply_right_and_rows_do_not_depend_on_others),
        cmocka_unit_test(a_choice_that_does_not_fit_is_refused),
        cmocka_unit_test(a_measured_choice_can_be_taken_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
