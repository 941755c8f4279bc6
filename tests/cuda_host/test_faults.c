// SPDX-License-Identifier: Apache-2.0
/* Every planted fault is found: by a message that ends the process, by the sanitizers, or by a
 * result that is not a number or changes with the order of threads and blocks. */
#include "fake_cuda.h"
#include "planted.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

enum { BYTES = PLANTED_VALUES * sizeof(float), TEXT = 1 << 16 };

typedef struct memory {
    float *x, *y; /* of the device */
    float *host;  /* pinned */
} memory;

static void must(cudaError_t error)
{
    if (error != cudaSuccess) {
        (void)fprintf(stderr, "%s\n", cudaGetErrorName(error));
        abort();
    }
}

static memory take_memory(void)
{
    memory m;

    must(cudaMalloc((void **)&m.x, BYTES));
    must(cudaMalloc((void **)&m.y, BYTES));
    must(cudaHostAlloc((void **)&m.host, BYTES, cudaHostAllocDefault));
    for (int i = 0; i < PLANTED_VALUES; i++) {
        m.host[i] = (float)(i + 1);
    }
    must(cudaMemcpyAsync(m.x, m.host, BYTES, cudaMemcpyHostToDevice, NULL));
    must(cudaMemsetAsync(m.y, 0, BYTES, NULL));
    return m;
}

static void release_memory(memory m)
{
    must(cudaFree(m.x));
    must(cudaFree(m.y));
    must(cudaFreeHost(m.host));
}

/* What the kernel makes of 1, 2, 3 … in this order of threads and blocks. */
static void run(enum planted which, unsigned order, float out[PLANTED_VALUES])
{
    memory m = take_memory();

    cuda_host_order(order);
    must(launch_planted(which, m.y, m.x, NULL));
    must(cudaMemcpyAsync(m.host, m.y, BYTES, cudaMemcpyDeviceToHost, NULL));
    must(cudaStreamSynchronize(NULL));
    memcpy(out, m.host, BYTES);
    release_memory(m);
    cuda_host_order(0);
}

/* Runs it in a process of its own; returns how that ended, with what it wrote in `text`. */
static int status_of(void (*action)(int), int argument, char text[TEXT])
{
    int ends[2];
    size_t used = 0;
    ssize_t read_now;
    int status = 0;

    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        (void)dup2(ends[1], STDERR_FILENO);
        (void)signal(SIGSEGV, SIG_DFL);
        (void)signal(SIGBUS, SIG_DFL);
        action(argument);
        _exit(0);
    }
    assert_true(child > 0);
    (void)close(ends[1]);
    while (used < TEXT - 1 && (read_now = read(ends[0], text + used, TEXT - 1 - used)) > 0) {
        used += (size_t)read_now;
    }
    text[used] = '\0';
    (void)close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void run_planted(int which)
{
    float out[PLANTED_VALUES];

    run((enum planted)which, 0, out);
}

static void ends_with(void (*action)(int), int argument, const char *message)
{
    static char text[TEXT];
    int status = status_of(action, argument, text);

    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    if (strstr(text, message) == NULL) {
        fail_msg("no \"%s\" in: %s", message, text);
    }
}

/* Sound code ---------------------------------------------------------------------------------- */

static void test_a_sound_kernel_has_one_result(void **state)
{
    static const unsigned orders[] = {0, 1, 2, 77};
    float out[PLANTED_VALUES];

    (void)state;
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        run(PLANTED_NOTHING, orders[i], out);
        for (int j = 0; j < PLANTED_VALUES; j++) {
            int block = j / PLANTED_THREADS * PLANTED_THREADS;
            assert_true(out[j] == (float)(block + PLANTED_THREADS - j % PLANTED_THREADS));
        }
    }
}

/* What the order shows ------------------------------------------------------------------------ */

static bool differs(enum planted which, unsigned order)
{
    float first[PLANTED_VALUES];
    float second[PLANTED_VALUES];

    run(which, 0, first);
    run(which, order, second);
    return memcmp(first, second, sizeof first) != 0;
}

static void test_a_missing_barrier_is_seen_in_every_other_order(void **state)
{
    (void)state;
    assert_true(differs(PLANTED_NO_BARRIER, 1));
    assert_true(differs(PLANTED_NO_BARRIER, 2));
    assert_true(differs(PLANTED_NO_WARP_BARRIER, 1));
    assert_true(differs(PLANTED_NO_WARP_BARRIER, 2));
}

static void test_blocks_that_depend_on_each_other_are_seen(void **state)
{
    (void)state;
    assert_true(differs(PLANTED_BLOCK_ORDER, 1));
}

/* What is not a number ------------------------------------------------------------------------ */

static int count_nan(enum planted which)
{
    float out[PLANTED_VALUES];
    int found = 0;

    run(which, 0, out);
    for (int i = 0; i < PLANTED_VALUES; i++) {
        found += isnan(out[i]);
    }
    return found;
}

static void test_a_copy_that_is_not_waited_for_is_not_there(void **state)
{
    (void)state;
    assert_int_equal(count_nan(PLANTED_NO_COPY_WAIT), PLANTED_VALUES);
}

static void test_shared_memory_that_nobody_wrote_is_not_a_number(void **state)
{
    (void)state;
    assert_int_equal(count_nan(PLANTED_SHARED_UNWRITTEN), PLANTED_BLOCKS);
}

static void test_new_device_memory_is_not_a_number(void **state)
{
    float *device = NULL;
    float host    = 0.0f;

    (void)state;
    must(cudaMalloc((void **)&device, sizeof *device));
    must(cudaMemcpy(&host, device, sizeof host, cudaMemcpyDeviceToHost));
    assert_true(isnan(host));
    must(cudaFree(device));
}

/* What ends the process ----------------------------------------------------------------------- */

static void test_threads_that_do_not_meet_are_named(void **state)
{
    (void)state;
    ends_with(
        run_planted, PLANTED_EARLY_RETURN,
        "kernel planted, block 0 0 0, thread 0: waits at __syncthreads, which thread 40 does not "
        "reach: it returned");
    ends_with(run_planted, PLANTED_LANE_RETURN,
              "waits at __shfl_xor_sync, which thread 20 does not reach: it returned");
    ends_with(run_planted, PLANTED_TWO_COLLECTIVES,
              "thread 16: is at __ballot_sync, other lanes of its warp at __shfl_xor_sync");
    ends_with(run_planted, PLANTED_BARRIER_SHUFFLE,
              "thread 0: waits at __shfl_xor_sync, while thread 16 waits at __syncthreads");
    ends_with(run_planted, PLANTED_HALF_MASK, "__shfl_xor_sync with the mask 0000ffff");
}

static void test_what_an_asynchronous_copy_must_keep(void **state)
{
    (void)state;
    ends_with(run_planted, PLANTED_COPY_LEFT, "it ends with asynchronous copies");
    ends_with(run_planted, PLANTED_MISALIGNED_COPY,
              "cp.async with an address that is no multiple of 16");
    ends_with(run_planted, PLANTED_MISALIGNED_ROW,
              "ldmatrix with an address that is no multiple of 16");
}

static void test_the_sanitizers_watch_kernels(void **state)
{
    (void)state;
    if (!SANITIZED) {
        skip();
    }
    ends_with(run_planted, PLANTED_SHARED_OVERRUN, "heap-buffer-overflow");
    ends_with(run_planted, PLANTED_GLOBAL_OVERRUN, "use-after-poison");
    ends_with(run_planted, PLANTED_MISALIGNED, "misaligned address");
}

static void small_stack(int bytes)
{
    char text[16];

    (void)snprintf(text, sizeof text, "%d", bytes);
    (void)setenv("CUDA_HOST_STACK", text, 1);
    run_planted(PLANTED_DEEP_STACK);
}

/* The first test: a process keeps the stacks that it has made. */
static void test_a_stack_that_is_too_small_is_named(void **state)
{
    static char text[TEXT];

    (void)state;
    /* 300,000 bytes and a few frames leave less than is kept free. */
    ends_with(small_stack, 303104, "the stack of a thread is too small");
    assert_int_equal(status_of(small_stack, 1 << 20, text), 0);
}

static void read_device(int on_host)
{
    memory m = take_memory();

    must(cudaStreamSynchronize(NULL));
    (void)fprintf(stderr, "%g\n",
                  (double)(on_host != 0 ? *(volatile float *)m.host : *(volatile float *)m.x));
}

static void test_the_host_cannot_touch_device_memory(void **state)
{
    static char text[TEXT];

    (void)state;
    assert_int_equal(status_of(read_device, 1, text), 0);
    int status = status_of(read_device, 0, text);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void copy_from(int pinned)
{
    memory m = take_memory();
    float on_stack[PLANTED_VALUES];

    memset(on_stack, 0, sizeof on_stack);
    must(
        cudaMemcpyAsync(m.x, pinned != 0 ? m.host : on_stack, BYTES, cudaMemcpyHostToDevice, NULL));
    must(cudaStreamSynchronize(NULL));
}

static void test_an_asynchronous_copy_wants_pinned_memory(void **state)
{
    static char text[TEXT];

    (void)state;
    assert_int_equal(status_of(copy_from, 1, text), 0);
    ends_with(copy_from, 0, "with memory that is not pinned");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stack_that_is_too_small_is_named),
        cmocka_unit_test(test_a_sound_kernel_has_one_result),
        cmocka_unit_test(test_a_missing_barrier_is_seen_in_every_other_order),
        cmocka_unit_test(test_blocks_that_depend_on_each_other_are_seen),
        cmocka_unit_test(test_a_copy_that_is_not_waited_for_is_not_there),
        cmocka_unit_test(test_shared_memory_that_nobody_wrote_is_not_a_number),
        cmocka_unit_test(test_new_device_memory_is_not_a_number),
        cmocka_unit_test(test_threads_that_do_not_meet_are_named),
        cmocka_unit_test(test_what_an_asynchronous_copy_must_keep),
        cmocka_unit_test(test_the_sanitizers_watch_kernels),
        cmocka_unit_test(test_the_host_cannot_touch_device_memory),
        cmocka_unit_test(test_an_asynchronous_copy_wants_pinned_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
