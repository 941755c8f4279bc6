// SPDX-License-Identifier: Apache-2.0
/* The runtime without a device: work waits to be waited for, captures refuse, errors come when
 * asked for, and counts are right. */
#include "fake_cuda.h"
#include "planted.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

enum { VALUES = 4, BYTES = VALUES * sizeof(float) };

static void must(cudaError_t error)
{
    assert_string_equal(cudaGetErrorName(error), "cudaSuccess");
}

static float *pinned(float first)
{
    float *p = NULL;

    must(cudaHostAlloc((void **)&p, BYTES, cudaHostAllocDefault));
    for (int i = 0; i < VALUES; i++) {
        p[i] = first + (float)i;
    }
    return p;
}

/* A stream, device memory, and pinned memory for both ways. */
typedef struct world {
    cudaStream_t stream;
    float *device, *in, *out;
} world;

static world open_world(void)
{
    world w;

    (void)cudaGetLastError(); /* of the test before */
    must(cudaStreamCreateWithFlags(&w.stream, cudaStreamNonBlocking));
    must(cudaMalloc((void **)&w.device, BYTES));
    w.in  = pinned(1.0f);
    w.out = pinned(-9.0f);
    return w;
}

static void close_world(world w)
{
    must(cudaFree(w.device));
    must(cudaFreeHost(w.in));
    must(cudaFreeHost(w.out));
    must(cudaStreamDestroy(w.stream));
    fake_cuda_counts c = fake_cuda_count();
    assert_int_equal(c.live_blocks + c.live_pinned + c.live_streams + c.live_events + c.live_graphs,
                     0);
    assert_int_equal(c.bytes, 0);
}

static void there_and_back(world w)
{
    must(cudaMemcpyAsync(w.device, w.in, BYTES, cudaMemcpyHostToDevice, w.stream));
    must(cudaMemcpyAsync(w.out, w.device, BYTES, cudaMemcpyDeviceToHost, w.stream));
}

static void test_work_waits_for_a_wait(void **state)
{
    world w = open_world();

    (void)state;
    there_and_back(w);
    assert_true(w.out[0] == -9.0f);
    w.in[0] = 5.0f; /* too early: the copy has not read it */
    must(cudaStreamSynchronize(w.stream));
    assert_true(w.out[0] == 5.0f && w.out[3] == 4.0f);
    close_world(w);
}

static void test_an_event_runs_what_lies_before_it(void **state)
{
    world w = open_world();
    cudaEvent_t before;
    cudaEvent_t behind;
    float took = -1.0f;

    (void)state;
    must(cudaEventCreate(&before));
    must(cudaEventCreate(&behind));
    must(cudaEventRecord(before, w.stream));
    must(cudaMemcpyAsync(w.device, w.in, BYTES, cudaMemcpyHostToDevice, w.stream));
    must(cudaEventRecord(behind, w.stream));
    must(cudaMemcpyAsync(w.out, w.device, BYTES, cudaMemcpyDeviceToHost, w.stream));
    assert_int_equal(cudaEventElapsedTime(&took, before, behind), cudaErrorNotReady);
    assert_int_equal(cudaEventQuery(behind), cudaErrorNotReady);
    must(cudaEventSynchronize(behind));
    must(cudaEventQuery(behind));
    must(cudaEventElapsedTime(&took, before, behind));
    assert_true(took >= 0.0f);
    assert_true(w.out[0] == -9.0f);
    must(cudaStreamSynchronize(w.stream));
    assert_true(w.out[0] == 1.0f);
    must(cudaEventDestroy(before));
    must(cudaEventDestroy(behind));
    close_world(w);
}

static void test_polling_ends(void **state)
{
    world w     = open_world();
    int queries = 0;

    (void)state;
    there_and_back(w);
    while (cudaStreamQuery(w.stream) == cudaErrorNotReady) {
        queries++;
    }
    assert_int_equal(queries, 2);
    assert_true(w.out[0] == 1.0f);
    close_world(w);
}

static void test_a_stream_waits_for_an_event_of_another(void **state)
{
    world w = open_world();
    cudaStream_t other;
    cudaEvent_t event;

    (void)state;
    must(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
    must(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    must(cudaMemcpyAsync(w.device, w.in, BYTES, cudaMemcpyHostToDevice, w.stream));
    must(cudaEventRecord(event, w.stream));
    must(cudaStreamWaitEvent(other, event, 0));
    must(cudaMemcpyAsync(w.out, w.device, BYTES, cudaMemcpyDeviceToHost, other));
    must(cudaStreamSynchronize(other));
    assert_true(w.out[0] == 1.0f);
    must(cudaEventDestroy(event));
    must(cudaStreamDestroy(other));
    close_world(w);
}

static void test_a_graph_replays(void **state)
{
    world w = open_world();
    cudaGraph_t graph;
    cudaGraphExec_t exec;

    (void)state;
    must(cudaStreamBeginCapture(w.stream, cudaStreamCaptureModeThreadLocal));
    there_and_back(w);
    must(cudaStreamEndCapture(w.stream, &graph));
    must(cudaGraphInstantiate(&exec, graph, 0));
    must(cudaGraphDestroy(graph));
    must(cudaStreamSynchronize(w.stream));
    assert_true(w.out[0] == -9.0f);
    for (int i = 0; i < 3; i++) {
        w.in[0] = (float)(10 * i);
        must(cudaGraphLaunch(exec, w.stream));
        must(cudaStreamSynchronize(w.stream));
        assert_true(w.out[0] == (float)(10 * i));
    }
    must(cudaGraphExecDestroy(exec));
    close_world(w);
}

static cudaError_t allocate(world w)
{
    void *p = NULL;

    (void)w;
    return cudaMalloc(&p, 16);
}

static cudaError_t allocate_pinned(world w)
{
    void *p = NULL;

    (void)w;
    return cudaHostAlloc(&p, 16, cudaHostAllocDefault);
}

static cudaError_t wait_for_stream(world w)
{
    return cudaStreamSynchronize(w.stream);
}

static cudaError_t query_stream(world w)
{
    return cudaStreamQuery(w.stream);
}

static cudaError_t copy_at_once(world w)
{
    return cudaMemcpy(w.out, w.device, BYTES, cudaMemcpyDeviceToHost);
}

static void test_a_capture_refuses_and_is_spoiled(void **state)
{
    static cudaError_t (*const calls[])(world) = {allocate, allocate_pinned, wait_for_stream,
                                                  query_stream, copy_at_once};
    world w                                    = open_world();

    (void)state;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        cudaGraph_t graph = NULL;
        must(cudaStreamBeginCapture(w.stream, cudaStreamCaptureModeThreadLocal));
        there_and_back(w);
        assert_int_equal(calls[i](w), cudaErrorStreamCaptureUnsupported);
        assert_int_equal(cudaStreamEndCapture(w.stream, &graph), cudaErrorStreamCaptureInvalidated);
        assert_null(graph);
    }
    close_world(w);
}

static void test_the_call_that_is_asked_for_fails(void **state)
{
    world w = open_world();
    void *p = NULL;

    (void)state;
    fake_cuda_fail(2);
    must(cudaStreamSynchronize(w.stream));
    assert_int_equal(cudaStreamSynchronize(w.stream), cudaErrorUnknown);
    must(cudaStreamSynchronize(w.stream));
    assert_int_equal(cudaGetLastError(), cudaErrorUnknown);
    assert_int_equal(cudaGetLastError(), cudaSuccess);
    fake_cuda_fail(1);
    assert_int_equal(cudaMalloc(&p, 16), cudaErrorMemoryAllocation);
    must(cudaMalloc(&p, 16));
    fake_cuda_fail(1);
    assert_int_equal(cudaFree(p), cudaErrorUnknown);
    close_world(w); /* it was released all the same */
}

static void test_memory_runs_out(void **state)
{
    size_t left  = 0;
    size_t total = 0;
    void *first  = NULL;
    void *second = NULL;

    (void)state;
    fake_cuda_memory(1 << 20);
    must(cudaMalloc(&first, 600 << 10));
    must(cudaMemGetInfo(&left, &total));
    assert_int_equal(total, 1 << 20);
    assert_int_equal(left, (1 << 20) - (600 << 10));
    assert_int_equal(cudaMalloc(&second, 600 << 10), cudaErrorMemoryAllocation);
    must(cudaFree(first));
    must(cudaMalloc(&second, 600 << 10));
    must(cudaFree(second));
    assert_int_equal(cudaFree(second), cudaErrorInvalidValue);
    fake_cuda_memory((size_t)8 << 30);
}

static void test_devices_have_memory_and_streams_of_their_own(void **state)
{
    world w     = open_world();
    int count   = 0;
    void *other = NULL;

    (void)state;
    fake_cuda_devices(2);
    must(cudaGetDeviceCount(&count));
    assert_int_equal(count, 2);
    assert_int_equal(cudaSetDevice(2), cudaErrorInvalidDevice);
    must(cudaSetDevice(1));
    must(cudaMalloc(&other, BYTES));
    assert_int_equal(launch_planted(PLANTED_NOTHING, w.device, w.device, w.stream),
                     cudaErrorInvalidResourceHandle);
    assert_int_equal(cudaMemcpyAsync(other, w.device, BYTES, cudaMemcpyDeviceToDevice, w.stream),
                     cudaErrorInvalidValue);
    must(cudaFree(other));
    must(cudaSetDevice(0));
    fake_cuda_devices(0);
    assert_int_equal(cudaGetDeviceCount(&count), cudaErrorNoDevice);
    fake_cuda_devices(-1);
    assert_int_equal(cudaGetDeviceCount(&count), cudaErrorInsufficientDriver);
    must(cudaDriverGetVersion(&count));
    assert_int_equal(count, 0);
    fake_cuda_devices(1);
    close_world(w);
}

static void test_copies_are_checked(void **state)
{
    world w = open_world();

    (void)state;
    assert_int_equal(cudaMemcpyAsync(w.device, w.in, BYTES, cudaMemcpyDeviceToHost, w.stream),
                     cudaErrorInvalidValue);
    assert_int_equal(
        cudaMemcpy2DAsync(w.device, 4, w.in, 8, 8, 2, cudaMemcpyHostToDevice, w.stream),
        cudaErrorInvalidPitchValue);
    assert_int_equal(cudaMemsetAsync(w.device, 0, BYTES + 1, w.stream), cudaErrorInvalidValue);
    close_world(w);
}

static void test_calls_are_counted(void **state)
{
    world w                 = open_world();
    fake_cuda_counts before = fake_cuda_count();
    float *room             = NULL;

    (void)state;
    must(cudaMalloc((void **)&room, PLANTED_VALUES * sizeof(float)));
    must(cudaMemsetAsync(room, 0, PLANTED_VALUES * sizeof(float), w.stream));
    must(launch_planted(PLANTED_NOTHING, room, room, w.stream));
    there_and_back(w);
    must(cudaStreamSynchronize(w.stream));
    must(cudaStreamQuery(w.stream));
    fake_cuda_counts after = fake_cuda_count();
    assert_int_equal(after.allocations - before.allocations, 1);
    assert_int_equal(after.launches - before.launches, 1);
    assert_int_equal(after.copies - before.copies, 3);
    assert_int_equal(after.waits - before.waits, 1);
    assert_int_equal(after.queries - before.queries, 1);
    assert_int_equal(after.calls - before.calls, 7);
    must(cudaFree(room));
    close_world(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_work_waits_for_a_wait),
        cmocka_unit_test(test_an_event_runs_what_lies_before_it),
        cmocka_unit_test(test_polling_ends),
        cmocka_unit_test(test_a_stream_waits_for_an_event_of_another),
        cmocka_unit_test(test_a_graph_replays),
        cmocka_unit_test(test_a_capture_refuses_and_is_spoiled),
        cmocka_unit_test(test_the_call_that_is_asked_for_fails),
        cmocka_unit_test(test_memory_runs_out),
        cmocka_unit_test(test_devices_have_memory_and_streams_of_their_own),
        cmocka_unit_test(test_copies_are_checked),
        cmocka_unit_test(test_calls_are_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
