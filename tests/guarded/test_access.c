// SPDX-License-Identifier: Apache-2.0
/* The guard works: forbidden accesses of the host to backend memory end the process or are
 * refused. */
#include "device.h"

#include "pb/memory.h"
#include "pb/usage.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 1000 };

static pb_backend *opened(void)
{
    pb_backend *be = NULL;
    assert_ok(pb_backend_open("guarded", 0, 1, &be));
    return be;
}

typedef void (*action)(pb_backend *be, volatile float *x);

static void read_it(pb_backend *be, volatile float *x)
{
    (void)be;
    (void)x[3];
}

static void write_it(pb_backend *be, volatile float *x)
{
    (void)be;
    x[3] = 1.0f;
}

static void read_after_an_operation(pb_backend *be, volatile float *x)
{
    pb_tensor t = pb_tensor_1d((void *)(uintptr_t)x, PB_DTYPE_F32, N);
    if (pb_zero(be, &t) == PB_OK) {
        (void)x[3];
    }
}

static void read_a_list(pb_backend *be, volatile float *x)
{
    static const int32_t ids[] = {1, 2, 3, 4};
    pb_list list;
    (void)x;
    if (pb_page_begin(be, 0) == PB_OK && pb_page_list(be, "ids", ids, 4, 0, 5, &list) == PB_OK &&
        pb_page_end(be) == PB_OK) {
        (void)*(const volatile int32_t *)&list.data[3];
    }
}

/* The output of a child that does this to a block of N floats, and the signal that ends it. */
static int end_of(action act, char *said, size_t room)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        void *data = NULL;
        (void)dup2(ends[1], STDERR_FILENO);
        (void)signal(SIGSEGV, SIG_DFL); /* not the test framework's */
        pb_backend *be = opened();
        if (pb_backend_alloc(be, N * sizeof(float), &data) == PB_OK) {
            act(be, data);
        }
        _exit(0);
    }
    (void)close(ends[1]);
    size_t length = 0;
    ssize_t got   = 0;
    while ((got = read(ends[0], said + length, room - 1 - length)) > 0) {
        length += (size_t)got;
    }
    said[length] = '\0';
    (void)close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void direct_access_ends_the_process_and_names_the_block(void **state)
{
    (void)state;
    static const action acts[] = {read_it, write_it, read_after_an_operation, read_a_list};
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        char said[4096];
        assert_int_equal(end_of(acts[i], said, sizeof said), SIGSEGV);
        assert_non_null(strstr(said, "guarded: byte 12 of the block of "));
        assert_non_null(strstr(said, i < 3 ? "of 4000 bytes" : "of 16 bytes"));
    }
}

static void operands_in_host_memory_are_refused(void **state)
{
    (void)state;
    pb_backend *be = opened();
    float host[4]  = {1, 2, 3, 4};
    pb_tensor x    = pb_tensor_2d(host, PB_DTYPE_F32, 2, 2);
    pb_tensor y    = device_matrix(be, 2, 2, host);
    assert_error(pb_axpy(be, &y, 1.0f, &x), PB_ERR_ARGUMENT, "axpy: 16 bytes at");
    assert_error(pb_axpy(be, &x, 1.0f, &y), PB_ERR_ARGUMENT, "are not in backend memory");
    pb_tensor beyond = pb_tensor_2d(y.data, PB_DTYPE_F32, 2, 3);
    assert_error(pb_zero(be, &beyond), PB_ERR_ARGUMENT, "zero: 24 bytes at");
    assert_true(host_get(be, &y, 3) == 4.0f); /* copies accept either side */
    pb_backend_free(be, y.data);
    pb_backend_close(be);
}

/* Whether the next page has as many lists or none, of the same sizes or others. */
static void lists_and_plans_end_with_their_page(void **state)
{
    (void)state;
    static const int32_t ids[] = {1, 0, 1, 0};
    pb_segment segment         = {.rows = 2, .length = 2, .parent = -1};
    pb_forest forest           = {.segments = &segment, .count = 1, .rows = 2, .keys = 2};
    pb_attention_args args     = {
            .forest = &forest, .heads = 1, .kv_heads = 1, .head_dim = 2, .scale = 1.0f};
    pb_backend *be = opened();
    pb_tensor x    = device_matrix(be, 2, 2, (const float[]){1, 2, 3, 4});
    pb_tensor y    = device_matrix(be, 2, 2, NULL);
    pb_tensor lse  = device_matrix(be, 2, 1, NULL);
    pb_list old, now;
    pb_attention_plan old_plan, plan;
    assert_ok(pb_page_begin(be, 0));
    assert_ok(pb_page_list(be, "rows", ids, 2, 0, 2, &old));
    assert_ok(pb_page_plan(be, &args, &old_plan));
    assert_ok(pb_page_end(be));
    assert_ok(pb_gather(be, &y, &x, &old));
    assert_ok(pb_attention_forward(be, &y, &lse, &x, &x, &x, &old_plan));
    for (int page = 1; page < 20; page++) {
        assert_ok(pb_page_begin(be, (uint64_t)page));
        if (page % 3 != 0) {
            assert_ok(pb_page_list(be, "rows", ids, 2 + page % 2, 0, 2, &now));
            assert_ok(pb_page_plan(be, &args, &plan));
        }
        assert_ok(pb_page_end(be));
        assert_error(pb_gather(be, &y, &x, &old), PB_ERR_ARGUMENT, "are not in backend memory");
        assert_error(pb_attention_forward(be, &y, &lse, &x, &x, &x, &old_plan), PB_ERR_ARGUMENT,
                     "are not in backend memory");
    }
    pb_backend_free(be, x.data);
    pb_backend_free(be, y.data);
    pb_backend_free(be, lse.data);
    pb_backend_close(be);
}

static void numbers_come_late_and_once(void **state)
{
    (void)state;
    pb_backend *be         = opened();
    const double values[2] = {0.5, 7.0};
    double taken[2]        = {0};
    void *data             = NULL;
    assert_ok(pb_backend_alloc(be, sizeof values, &data));
    pb_tensor numbers    = pb_tensor_1d(data, PB_DTYPE_F64, 2);
    const pb_tensor host = pb_tensor_1d((void *)(uintptr_t)values, PB_DTYPE_F64, 2);
    assert_int_equal(pb_backend_lag(be), 1);
    assert_error(pb_take(be, 0, taken), PB_ERR_ARGUMENT, "slot 0 was not posted");
    assert_ok(pb_copy(be, &numbers, &host));
    assert_ok(pb_post(be, 0, &numbers));
    assert_ok(pb_zero(be, &numbers));
    assert_ok(pb_post(be, 1, &numbers));
    assert_ok(pb_take(be, 0, taken));
    assert_true(taken[0] == 0.5 && taken[1] == 7.0);
    assert_error(pb_take(be, 0, taken), PB_ERR_ARGUMENT, "slot 0 was not posted since");
    pb_backend_free(be, data);
    pb_backend_close(be);
}

static void its_memory_is_counted_apart_from_the_hosts(void **state)
{
    (void)state;
    pb_backend *be = opened();
    size_t host    = pb_memory_current();
    size_t now     = 1;
    size_t peak    = 1;
    void *data[2];
    assert_ok(pb_backend_alloc(be, 1000, &data[0]));
    assert_ok(pb_backend_alloc(be, 24, &data[1]));
    pb_backend_free(be, data[1]);
    pb_backend_memory(be, &now, &peak);
    assert_true(now == 1000 && peak == 1024);
    pb_backend_memory_peak_reset(be);
    pb_backend_memory(be, NULL, &peak);
    assert_int_equal(peak, 1000);
    pb_backend_free(be, data[0]);
    assert_int_equal(pb_memory_current(), host);
    pb_backend_close(be);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(direct_access_ends_the_process_and_names_the_block),
        cmocka_unit_test(operands_in_host_memory_are_refused),
        cmocka_unit_test(lists_and_plans_end_with_their_page),
        cmocka_unit_test(numbers_come_late_and_once),
        cmocka_unit_test(its_memory_is_counted_apart_from_the_hosts),
    };
    return cmocka_run_group_tests_name("guarded_access", tests, NULL, NULL);
}
