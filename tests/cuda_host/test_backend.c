// SPDX-License-Identifier: Apache-2.0
/* The host side of the backend: choice of the device, copies, pages, numbers that come late, memory
 * that runs out, and calls that fail. */
#include "device.h"
#include "fake_cuda.h"

#include "pb/memory.h"
#include "pb/usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pb_backend *opened(void)
{
    pb_backend *be = NULL;
    assert_ok(pb_backend_open("cuda", 0, 1, &be));
    return be;
}

/* The devices --------------------------------------------------------------------------------- */

static pb_status find_number(void *context, const char *name, const char *value)
{
    if (strcmp(name, "gpu_number") == 0) {
        *(int *)context = atoi(value);
    }
    return PB_OK;
}

static void ranks_share_out_the_devices(void **state)
{
    (void)state;
    pb_backend *be = NULL;
    pb_device_id ids[7];
    fake_cuda_devices(3);
    for (int rank = 0; rank < 7; rank++) {
        int number = -1;
        assert_ok(pb_backend_open("cuda", -1 - rank, 1, &be));
        assert_ok(pb_backend_facts(be, find_number, &number));
        assert_int_equal(number, rank % 3);
        ids[rank] = pb_backend_device_id(be);
        assert_int_equal(rank > 0 && memcmp(&ids[rank], &ids[rank - 1], sizeof *ids) == 0, false);
        assert_memory_equal(&ids[rank], &ids[rank % 3], sizeof *ids);
        pb_backend_close(be);
    }
    assert_ok(pb_backend_open("cuda", 2, 1, &be));
    pb_backend_close(be);
    assert_error(pb_backend_open("cuda", 3, 1, &be), PB_ERR_CONFIG,
                 "no such device: 3; the driver shows 3: cuda:0 to cuda:2");
    fake_cuda_devices(1);
    assert_error(pb_backend_open("cuda", 1, 1, &be), PB_ERR_CONFIG, "shows 1: cuda:0");
}

static void without_a_device_auto_takes_the_cpu(void **state)
{
    (void)state;
    pb_backend *be = NULL;
    for (int count = 0; count >= -1; count--) {
        fake_cuda_devices(count);
        assert_error(pb_backend_open("cuda", 0, 1, &be), PB_ERR_CONFIG,
                     count == 0 ? "the driver shows no device" : "has no NVIDIA driver");
        assert_ok(pb_backend_open("auto", -1, 1, &be));
        assert_string_equal(pb_backend_name(be), "cpu");
        pb_backend_close(be);
    }
    fake_cuda_devices(1);
    assert_ok(pb_backend_open("auto", -1, 1, &be));
    assert_string_equal(pb_backend_name(be), "cuda");
    pb_backend_close(be);
}

/* Copies -------------------------------------------------------------------------------------- */

/* To the device and back, by rows that are `gap` apart on the host and 2 · gap on the device. */
static void copy_both_ways(pb_backend *be, int64_t rows, int64_t columns, int64_t gap,
                           pb_dtype type)
{
    size_t host_size = (size_t)(rows * (columns + gap));
    float *from      = malloc(host_size * sizeof *from);
    float *to        = malloc(host_size * sizeof *to);
    void *data       = NULL;
    assert_true(from != NULL && to != NULL);
    for (size_t i = 0; i < host_size; i++) {
        from[i] = (float)(i % 251) - 125.0f; /* exact in BF16 */
        to[i]   = 0.5f;
    }
    assert_ok(
        pb_backend_alloc(be, (size_t)(rows * (columns + 2 * gap)) * pb_dtype_size(type), &data));
    pb_tensor source = pb_tensor_2d(from, PB_DTYPE_F32, rows, columns);
    pb_tensor target = pb_tensor_2d(to, PB_DTYPE_F32, rows, columns);
    pb_tensor device = pb_tensor_2d(data, type, rows, columns);
    source.stride = target.stride = columns + gap;
    device.stride                 = columns + 2 * gap;
    assert_ok(pb_copy(be, &device, &source));
    for (int64_t i = 0; i < rows; i++) { /* the copy no longer reads it */
        memset(from + i * source.stride, 0, (size_t)columns * sizeof *from);
    }
    assert_ok(pb_copy(be, &target, &device));
    for (size_t i = 0; i < host_size; i++) {
        bool inside = (int64_t)i % (columns + gap) < columns;
        assert_true(to[i] == (inside ? (float)(i % 251) - 125.0f : 0.5f));
    }
    pb_backend_free(be, data);
    free(from);
    free(to);
}

static void tensors_go_to_the_device_and_back(void **state)
{
    (void)state;
    static const pb_dtype types[] = {PB_DTYPE_F32, PB_DTYPE_BF16};
    pb_backend *be                = opened();
    for (int t = 0; t < 2; t++) {
        copy_both_ways(be, 1, 1, 0, types[t]);
        copy_both_ways(be, 7, 5, 3, types[t]);
        copy_both_ways(be, 300, 1001, 0, types[t]);
        copy_both_ways(be, 300, 1001, 7, types[t]);
    }
    /* Several pieces of the largest buffers, of whole rows and of parts of one. */
    copy_both_ways(be, 1, (100 << 20) / 4 + 1, 0, PB_DTYPE_F32);
    copy_both_ways(be, 17, (8 << 20) / 4 + 1, 1, PB_DTYPE_F32);
    pb_backend_close(be);
}

static void both_sides_may_be_host_memory(void **state)
{
    (void)state;
    pb_backend *be      = opened();
    float values[2][3]  = {{1.0f, -2.0f, 0.1f}, {4.0f, 5.0f, 6.0f}};
    uint16_t wanted[2]  = {0x3f80, 0x4080}; /* 1 and 4 */
    uint16_t rounded[2] = {0, 0};
    float back[2]       = {0.0f, 0.0f};
    pb_tensor all       = pb_tensor_2d(values, PB_DTYPE_F32, 2, 3);
    pb_tensor first     = pb_tensor_columns(&all, 0, 1);
    pb_tensor narrow    = pb_tensor_2d(rounded, PB_DTYPE_BF16, 2, 1);
    pb_tensor wide      = pb_tensor_2d(back, PB_DTYPE_F32, 2, 1);
    assert_ok(pb_copy(be, &narrow, &first));
    assert_memory_equal(rounded, wanted, sizeof wanted);
    assert_ok(pb_copy(be, &wide, &narrow));
    assert_true(back[0] == 1.0f && back[1] == 4.0f);
    pb_backend_close(be);
}

/* Pages --------------------------------------------------------------------------------------- */

enum { LONG = 700000 }; /* a list that is larger than a page at first */

/* What a list holds on the device. */
static void assert_list(pb_backend *be, const pb_list *list, const int32_t *want)
{
    int32_t *got   = malloc(((size_t)list->count + 1) * sizeof *got);
    pb_tensor from = pb_tensor_1d((void *)(uintptr_t)list->data, PB_DTYPE_I32, list->count);
    pb_tensor to   = pb_tensor_1d(got, PB_DTYPE_I32, list->count);
    assert_non_null(got);
    assert_ok(pb_copy(be, &to, &from));
    assert_memory_equal(got, want, (size_t)list->count * sizeof *got);
    free(got);
}

static int32_t *numbers(int64_t count, int32_t first)
{
    int32_t *n = malloc((size_t)count * sizeof *n);
    assert_non_null(n);
    for (int64_t i = 0; i < count; i++) {
        n[i] = first + (int32_t)i;
    }
    return n;
}

static void a_page_grows_and_keeps_its_lists(void **state)
{
    (void)state;
    pb_backend *be         = opened();
    int32_t *values        = numbers(LONG, 5);
    const int32_t *address = NULL;
    pb_list first, second, third;
    for (int page = 0; page < 12; page++) {
        fake_cuda_counts before = fake_cuda_count();
        assert_ok(pb_page_begin(be, (uint64_t)page));
        assert_ok(pb_page_list(be, "first", values + page, 10, 0, LONG + 5, &first));
        assert_ok(pb_page_list(be, "second", values, LONG, 0, LONG + 5, &second));
        assert_ok(pb_page_list(be, "third", values + 2 * page, 1000, 0, LONG + 5, &third));
        assert_ok(pb_page_end(be));
        if (page == 0) {
            assert_ok(pb_backend_reserve(be, &(pb_reserve_args){0}));
        } else {
            assert_int_equal(fake_cuda_count().allocations, before.allocations);
            assert_true(page == 1 || first.data == address);
            address = first.data;
        }
        assert_list(be, &first, values + page);
        assert_list(be, &second, values);
        assert_list(be, &third, values + 2 * page);
    }
    free(values);
    pb_backend_close(be);
}

enum { ROWS = 6, WIDTH = 8, TABLE = 50 };

/* Row i is i everywhere. */
static pb_tensor make_table(pb_backend *be)
{
    float values[TABLE * WIDTH];
    for (int i = 0; i < TABLE * WIDTH; i++) {
        values[i] = (float)(i / WIDTH);
    }
    return device_matrix(be, TABLE, WIDTH, values);
}

/* Looks up rows `first` … by a list of the page. */
static pb_status look_up(pb_backend *be, pb_tensor *y, const pb_tensor *table, int32_t first)
{
    int32_t ids[ROWS];
    pb_list list;
    for (int i = 0; i < ROWS; i++) {
        ids[i] = first + i;
    }
    PB_TRY(pb_page_begin(be, 0));
    PB_TRY(pb_page_list(be, "ids", ids, ROWS, 0, TABLE, &list));
    PB_TRY(pb_page_end(be));
    memset(ids, 0xff, sizeof ids); /* a page has its own */
    return pb_embedding_forward(be, y, table, &list, 1.0f);
}

static void pages_may_run_ahead_of_the_device(void **state)
{
    (void)state;
    enum { AHEAD = 20 };
    pb_backend *be  = opened();
    pb_tensor table = make_table(be);
    pb_tensor y     = device_matrix(be, AHEAD * ROWS, WIDTH, NULL);
    for (int i = 0; i < AHEAD; i++) {
        pb_tensor part = pb_tensor_rows(&y, (int64_t)i * ROWS, ROWS);
        assert_ok(look_up(be, &part, &table, i));
    }
    float *got = host_values(be, &y);
    for (int i = 0; i < AHEAD * ROWS * WIDTH; i++) {
        assert_true(got[i] == (float)(i / (ROWS * WIDTH) + i / WIDTH % ROWS));
    }
    free(got);
    pb_backend_free(be, y.data);
    pb_backend_free(be, table.data);
    pb_backend_close(be);
}

/* A step as training makes it: a page, work, a post, and the numbers of the step before. */
static void a_step_waits_for_the_numbers_of_the_one_before_alone(void **state)
{
    (void)state;
    enum { STEPS = 30 };
    pb_backend *be  = opened();
    pb_tensor table = make_table(be);
    pb_tensor y     = device_matrix(be, ROWS, WIDTH, NULL);
    void *data      = NULL;
    double taken    = 0.0;
    assert_int_equal(pb_backend_lag(be), 1);
    assert_ok(pb_backend_alloc(be, sizeof(double), &data));
    pb_tensor number = pb_tensor_1d(data, PB_DTYPE_F64, 1);
    assert_ok(pb_page_begin(be, 0));
    assert_ok(pb_page_end(be));
    assert_ok(pb_backend_reserve(be, &(pb_reserve_args){0}));
    fake_cuda_counts before = fake_cuda_count();
    for (int step = 0; step < STEPS; step++) {
        assert_ok(look_up(be, &y, &table, step));
        assert_ok(pb_sum_squares(be, &number, &y));
        assert_ok(pb_post(be, step % PB_SLOTS, &number));
        if (step > 0) {
            double want = 0.0;
            for (int i = 0; i < ROWS; i++) {
                want += WIDTH * (double)((step - 1 + i) * (step - 1 + i));
            }
            assert_ok(pb_take(be, (step - 1) % PB_SLOTS, &taken));
            assert_true(taken == want);
        }
    }
    fake_cuda_counts after = fake_cuda_count();
    assert_int_equal(after.allocations, before.allocations);
    assert_int_equal(after.queries, before.queries);
    assert_int_equal(after.waits - before.waits, STEPS - 1); /* one for each number taken */
    pb_backend_free(be, data);
    pb_backend_free(be, y.data);
    pb_backend_free(be, table.data);
    pb_backend_close(be);
}

/* Failures ------------------------------------------------------------------------------------ */

static void lack_of_memory_says_who_holds_it(void **state)
{
    (void)state;
    void *held = NULL;
    void *data = NULL;
    fake_cuda_memory((size_t)128 << 20);
    pb_backend *be = opened();
    assert_ok(pb_backend_alloc(be, 20000000, &held));
    assert_error(pb_backend_alloc(be, 120000000, &data), PB_ERR_MEMORY,
                 "cuda: device 0 has no 0.120 GB for tensors; this process holds");
    assert_null(data);
    assert_error(pb_backend_alloc(be, 120000000, &data), PB_ERR_MEMORY, "tensors 0.020 GB");
    assert_error(pb_backend_alloc(be, 120000000, &data), PB_ERR_MEMORY, "of 0.134 GB are free");
    assert_ok(pb_backend_alloc(be, 1000, &data)); /* nothing is broken */
    pb_backend_free(be, data);
    pb_backend_free(be, held);
    pb_backend_close(be);
    fake_cuda_memory((size_t)8 << 30);
}

static pb_status use(pb_backend *be, void *values[2], double *taken)
{
    float host[TABLE * WIDTH] = {0};
    pb_tensor from            = pb_tensor_2d(host, PB_DTYPE_F32, TABLE, WIDTH);
    PB_TRY(pb_backend_alloc(be, sizeof host, &values[0]));
    PB_TRY(pb_backend_alloc(be, sizeof host, &values[1]));
    pb_tensor table  = pb_tensor_2d(values[0], PB_DTYPE_F32, TABLE, WIDTH);
    pb_tensor y      = pb_tensor_2d(values[1], PB_DTYPE_F32, ROWS, WIDTH);
    pb_tensor number = pb_tensor_1d((float *)values[1] + ROWS * WIDTH, PB_DTYPE_F64, 1);
    pb_tensor part   = pb_tensor_2d(host, PB_DTYPE_F32, ROWS, WIDTH);
    PB_TRY(pb_copy(be, &table, &from));
    PB_TRY(look_up(be, &y, &table, 3));
    PB_TRY(pb_backend_reserve(be, &(pb_reserve_args){.factor = 1000}));
    PB_TRY(pb_sum_squares(be, &number, &y));
    PB_TRY(pb_post(be, 0, &number));
    PB_TRY(pb_take(be, 0, taken));
    PB_TRY(pb_copy(be, &part, &y));
    return pb_sync(be);
}

static pb_status open_and_use(void)
{
    void *values[2] = {NULL};
    double taken    = 0.0;
    pb_backend *be  = NULL;
    PB_TRY(pb_backend_open("cuda", 0, 1, &be));
    pb_status status = use(be, values, &taken);
    pb_backend_free(be, values[0]);
    pb_backend_free(be, values[1]);
    pb_backend_close(be);
    return status;
}

/* Every call fails from some point on: the message has CUDA's text, and once the calls work again,
 * as in a new process, nothing is left of it. */
static void a_lost_context_is_distinguished_from_a_failed_call(void **state)
{
    (void)state;
    int64_t first = fake_cuda_count().calls;
    int64_t lost  = 0;
    assert_ok(open_and_use());
    int64_t calls = fake_cuda_count().calls - first;
    for (int64_t n = 1; n <= calls; n++) {
        fake_cuda_lose(n);
        pb_status status = open_and_use();
        fake_cuda_lose(0);
        assert_int_equal(status == PB_OK || status == PB_ERR_DEVICE || status == PB_ERR_CONFIG,
                         true);
        if (status == PB_ERR_DEVICE) {
            assert_non_null(
                strstr(pb_error_message(),
                       "cudaErrorIllegalAddress: an illegal memory access was encountered"));
            lost++;
        }
        pb_error_clear();
    }
    assert_true(lost > 30);
    assert_ok(open_and_use());
}

static void every_call_may_fail(void **state)
{
    (void)state;
    size_t memory  = pb_memory_current();
    int64_t first  = fake_cuda_count().calls;
    int64_t failed = 0;
    assert_ok(open_and_use());
    int64_t calls = fake_cuda_count().calls - first;
    assert_true(calls > 30);
    for (int64_t n = 1; n <= calls; n++) {
        fake_cuda_fail(n);
        pb_status status = open_and_use();
        fake_cuda_fail(0);
        if (status != PB_OK) {
            assert_true(status == PB_ERR_LIBRARY || status == PB_ERR_MEMORY);
            assert_ptr_equal(strstr(pb_error_message(), "cuda: "), pb_error_message());
            pb_error_clear();
            failed++;
        }
        fake_cuda_counts left = fake_cuda_count();
        assert_int_equal(left.live_blocks + left.live_pinned + left.live_streams +
                             left.live_events + left.live_handles,
                         0);
        assert_int_equal(pb_memory_current(), memory);
        assert_ok(open_and_use()); /* the next one works */
    }
    assert_true(failed > calls / 2); /* the others release something */
}

/* The calls of products with 17 … 16 + `kinds` rows. */
static int64_t calls_of(pb_backend *be, void *memory, int kinds)
{
    enum { SIZE = 16, MOST = 1024 };
    int64_t before = fake_cuda_count().calls;
    float *data    = memory;
    for (int64_t m = 17; m <= 16 + kinds; m++) {
        pb_tensor c = pb_tensor_2d(data, PB_DTYPE_F32, m, SIZE);
        pb_tensor a = pb_tensor_2d(data + MOST * SIZE, PB_DTYPE_F32, m, SIZE);
        pb_tensor b = pb_tensor_2d(data + 2 * MOST * SIZE, PB_DTYPE_F32, SIZE, SIZE);
        assert_ok(pb_matmul(be, &c, &a, &b, &(pb_matmul_args){.transpose_b = true, .alpha = 1.0f}));
    }
    return fake_cuda_count().calls - before;
}

/* What decoding needs: the heuristic is asked once for each number of rows, not in every step. */
static void products_of_many_numbers_of_rows_are_kept(void **state)
{
    enum { FEW = 600, MANY = 1000 };
    (void)state;
    void *memory   = NULL;
    pb_backend *be = opened();
    assert_ok(pb_backend_alloc(be, sizeof(float) * 3 * 1024 * 16, &memory));
    int64_t first = calls_of(be, memory, 1);
    int64_t again = calls_of(be, memory, 1);
    assert_true(again < first);
    assert_true(calls_of(be, memory, FEW) > FEW * again);
    assert_int_equal(calls_of(be, memory, FEW), FEW * again);
    assert_true(calls_of(be, memory, MANY) > MANY * again);
    assert_true(calls_of(be, memory, 1) > again); /* forgotten with all others */
    assert_int_equal(calls_of(be, memory, 1), again);
    pb_backend_free(be, memory);
    pb_backend_close(be);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_share_out_the_devices),
        cmocka_unit_test(without_a_device_auto_takes_the_cpu),
        cmocka_unit_test(tensors_go_to_the_device_and_back),
        cmocka_unit_test(both_sides_may_be_host_memory),
        cmocka_unit_test(a_page_grows_and_keeps_its_lists),
        cmocka_unit_test(pages_may_run_ahead_of_the_device),
        cmocka_unit_test(a_step_waits_for_the_numbers_of_the_one_before_alone),
        cmocka_unit_test(lack_of_memory_says_who_holds_it),
        cmocka_unit_test(every_call_may_fail),
        cmocka_unit_test(products_of_many_numbers_of_rows_are_kept),
        cmocka_unit_test(a_lost_context_is_distinguished_from_a_failed_call),
    };
    return cmocka_run_group_tests_name("cuda_host_backend", tests, NULL, NULL);
}
