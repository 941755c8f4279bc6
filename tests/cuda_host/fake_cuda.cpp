// SPDX-License-Identifier: Apache-2.0
/* A CUDA runtime without a device, linked in place of the library. Work is queued and runs only
 * when somebody waits for it, so that a missing wait changes results; a query runs one piece of it.
 * A stream that is captured refuses what CUDA refuses. */
#include "fake_cuda_state.h"

#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <vector>

using fake_cuda::access;
using fake_cuda::call;
using fake_cuda::counts;
using fake_cuda::current_device;
using fake_cuda::misuse;
using fake_cuda::push;
using fake_cuda::result;
using fake_cuda::work;

struct CUgraph_st {
    int device;
    std::vector<work> nodes;
};

struct CUgraphExec_st {
    CUgraph_st graph;
};

struct CUstream_st {
    int device;
    bool blocking; /* the standard stream waits for it */
    std::deque<work> queue;
    CUgraph_st *capture;
    bool spoiled; /* the capture, by a call that it does not allow */
};

struct CUevent_st {
    bool timed;
    CUstream_st *stream; /* where it was recorded last */
    CUgraph_st *captured;
    int64_t recorded, done;
    std::chrono::steady_clock::time_point at;
};

namespace fake_cuda
{

fake_cuda_counts counts;
thread_local int current_device;

namespace
{

struct runtime {
    std::recursive_mutex lock;
    int devices = 1;
    int64_t fail_at;    /* the number of a call; 0: none */
    const char *failed; /* the name of the call that was made to fail last */
    bool reports;       /* it, on stderr */
    bool is_open;
    std::vector<CUstream_st *> streams;
    CUstream_st standard[MOST_DEVICES];
};

/* Never destroyed: tests may release what they hold while the process ends. */
runtime &state()
{
    static runtime *the = new runtime();

    if (!the->is_open) {
        the->is_open       = true;
        const char *fail   = std::getenv("FAKE_CUDA_FAIL");
        const char *bytes  = std::getenv("FAKE_CUDA_MEMORY");
        const char *number = std::getenv("FAKE_CUDA_DEVICES");
        for (int i = 0; i < MOST_DEVICES; i++) {
            the->standard[i] = CUstream_st{i, true, {}, nullptr, false};
        }
        if (fail != nullptr) {
            fake_cuda_fail(std::strtoll(fail, nullptr, 10));
            the->reports = true;
        }
        if (bytes != nullptr) {
            fake_cuda_memory(std::strtoull(bytes, nullptr, 10));
        }
        if (number != nullptr) {
            fake_cuda_devices(static_cast<int>(std::strtol(number, nullptr, 10)));
        }
    }
    return *the;
}

thread_local cudaError_t last = cudaSuccess;

/* Every stream of the process, the standard ones included. */
template <typename F> void each_stream(F f)
{
    for (auto &stream : state().standard) {
        f(&stream);
    }
    for (auto *stream : state().streams) {
        f(stream);
    }
}

bool spoil_captures()
{
    bool any = false;

    each_stream([&](CUstream_st *s) {
        any = any || s->capture != nullptr;
        s->spoiled |= s->capture != nullptr;
    });
    return any;
}

void count_kind(call::kind kind)
{
    counts.calls++;
    counts.allocations += kind == call::ALLOCATES;
    counts.instances += kind == call::INSTANTIATES;
    counts.waits += kind == call::WAITS || kind == call::RELEASES;
    counts.queries += kind == call::QUERIES;
}

CUstream_st *stream_of(cudaStream_t stream)
{
    return stream == nullptr || stream == cudaStreamLegacy ? &state().standard[current_device]
                                                           : stream;
}

bool run_one(CUstream_st *s)
{
    if (s->queue.empty()) {
        return false;
    }
    work w = std::move(s->queue.front());
    s->queue.pop_front();
    w();
    return true;
}

void drain(CUstream_st *s)
{
    if (s->queue.empty()) {
        return;
    }
    access now(s->device);

    while (run_one(s)) {
    }
}

/* Runs the stream of the event up to the mark with this number. */
void drain_until(CUevent_st *e, int64_t number)
{
    if (e->done >= number) {
        return;
    }
    access now(e->stream->device);
    while (e->done < number && run_one(e->stream)) {
    }
    if (e->done < number) {
        misuse("a wait for an event whose mark is gone");
    }
}

} // namespace

call::call(kind k, const char *name) : lock(state().lock), error(cudaSuccess)
{
    runtime &r = state();

    count_kind(k);
    if (r.devices <= 0) {
        error = result(r.devices < 0 ? cudaErrorInsufficientDriver : cudaErrorNoDevice);
    } else if (k != PLAIN && k != COPIES && spoil_captures()) {
        error = result(cudaErrorStreamCaptureUnsupported);
    } else if (is_lost()) {
        error = result(cudaErrorIllegalAddress);
    } else if (r.fail_at > 0 && counts.calls == r.fail_at) {
        bool takes = k == ALLOCATES || k == INSTANTIATES;
        error      = result(takes ? cudaErrorMemoryAllocation : cudaErrorUnknown);
        r.failed   = name;
        if (r.reports) {
            std::fprintf(stderr, "fake_cuda: call %lld, %s, fails\n",
                         static_cast<long long>(r.fail_at), name);
        }
    }
}

cudaError_t result(cudaError_t code)
{
    if (code != cudaSuccess) {
        last = code;
    }
    return code;
}

[[noreturn]] void misuse(const char *format, ...)
{
    va_list list;

    va_start(list, format);
    std::fprintf(stderr, "fake_cuda: ");
    std::vfprintf(stderr, format, list);
    std::fprintf(stderr, "\n");
    va_end(list);
    std::abort();
}

cudaError_t push(cudaStream_t stream, work w)
{
    CUstream_st *s = stream_of(stream);

    if (s->capture != nullptr) {
        s->capture->nodes.push_back(std::move(w));
    } else {
        s->queue.push_back(std::move(w));
    }
    return cudaSuccess;
}

int stream_device(cudaStream_t stream)
{
    return stream_of(stream)->device;
}

void drain_blocking()
{
    each_stream([](CUstream_st *s) {
        if (s->device == current_device && s->blocking) {
            drain(s);
        }
    });
}

int device_count()
{
    return state().devices;
}

void drain_device(int device)
{
    each_stream([=](CUstream_st *s) {
        if (s->device == device) {
            drain(s);
        }
    });
}

} // namespace fake_cuda

using fake_cuda::drain;
using fake_cuda::drain_device;
using fake_cuda::drain_until;
using fake_cuda::state;
using fake_cuda::stream_of;

extern "C" {

/* --- streams ------------------------------------------------------------------------------------
 */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    call c;

    if (c.refused() != cudaSuccess) {
        return c.refused();
    }
    *stream = new CUstream_st{current_device, flags != cudaStreamNonBlocking, {}, nullptr, false};
    state().streams.push_back(*stream);
    counts.live_streams++;
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *stream)
{
    return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    call c;
    auto &all = state().streams;

    for (size_t i = 0; i < all.size(); i++) {
        if (all[i] == stream) {
            drain(stream);
            delete stream->capture;
            delete stream;
            all.erase(all.begin() + static_cast<long>(i));
            counts.live_streams--;
            return c.refused();
        }
    }
    return result(cudaErrorInvalidResourceHandle);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    call c(call::WAITS);

    if (c.refused() == cudaSuccess) {
        drain(stream_of(stream));
    }
    return c.refused();
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    call c(call::QUERIES);
    CUstream_st *s = stream_of(stream);

    if (c.refused() != cudaSuccess || s->queue.empty()) {
        return c.refused();
    }
    access now(s->device);
    (void)fake_cuda::run_one(s);
    return cudaErrorNotReady;
}

cudaError_t cudaDeviceSynchronize(void)
{
    call c(call::WAITS);

    if (c.refused() == cudaSuccess) {
        drain_device(current_device);
    }
    return c.refused();
}

/* --- events -------------------------------------------------------------------------------------
 */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    call c;

    if (c.refused() != cudaSuccess) {
        return c.refused();
    }
    *event          = new CUevent_st{};
    (*event)->timed = (flags & cudaEventDisableTiming) == 0;
    counts.live_events++;
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    call c;

    drain_until(event, event->recorded);
    delete event;
    counts.live_events--;
    return c.refused();
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    call c;

    if (c.refused() != cudaSuccess) {
        return c.refused();
    }
    CUstream_st *s  = stream_of(stream);
    event->captured = s->capture;
    if (s->capture != nullptr) {
        return cudaSuccess; /* orders captured work alone */
    }
    drain_until(event, event->recorded); /* one mark of an event at a time */
    event->stream  = s;
    int64_t number = ++event->recorded;
    return push(stream, [event, number] {
        event->done = number;
        event->at   = std::chrono::steady_clock::now();
    });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    call c(call::WAITS);

    if (c.refused() != cudaSuccess) {
        return c.refused();
    }
    if (event->captured != nullptr) {
        return result(cudaErrorCapturedEvent);
    }
    drain_until(event, event->recorded);
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    call c(call::QUERIES);

    if (c.refused() != cudaSuccess) {
        return c.refused();
    }
    if (event->captured != nullptr) {
        return result(cudaErrorCapturedEvent);
    }
    if (event->done >= event->recorded) {
        return cudaSuccess;
    }
    access now(event->stream->device);
    (void)fake_cuda::run_one(event->stream);
    return cudaErrorNotReady;
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to)
{
    call c;

    if (c.refused() != cudaSuccess) {
        return c.refused();
    }
    if (!from->timed || !to->timed || from->recorded == 0 || to->recorded == 0) {
        return result(cudaErrorInvalidResourceHandle);
    }
    if (from->done < from->recorded || to->done < to->recorded) {
        return result(cudaErrorNotReady);
    }
    *milliseconds = std::chrono::duration<float, std::milli>(to->at - from->at).count();
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    call c;
    CUgraph_st *capture = stream_of(stream)->capture;

    if (c.refused() != cudaSuccess) {
        return c.refused();
    }
    if (capture != event->captured) {
        return result(cudaErrorStreamCaptureIsolation);
    }
    int64_t number = event->recorded;
    return capture != nullptr ? cudaSuccess
                              : push(stream, [event, number] { drain_until(event, number); });
}

/* --- graphs -------------------------------------------------------------------------------------
 */

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode)
{
    call c;
    CUstream_st *s = stream_of(stream);

    if (c.refused() != cudaSuccess) {
        return c.refused();
    }
    if (s == &state().standard[s->device]) {
        return result(cudaErrorStreamCaptureUnsupported);
    }
    if (s->capture != nullptr) {
        return result(cudaErrorIllegalState);
    }
    s->capture = new CUgraph_st{s->device, {}};
    s->spoiled = false;
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus *status)
{
    call c;
    CUstream_st *s = stream_of(stream);

    *status = s->capture == nullptr ? cudaStreamCaptureStatusNone
              : s->spoiled          ? cudaStreamCaptureStatusInvalidated
                                    : cudaStreamCaptureStatusActive;
    return c.refused();
}

/* A capture ends in any case; it has no graph where a call has spoiled it. */
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    call c;
    CUstream_st *s = stream_of(stream);

    *graph = nullptr;
    if (s->capture == nullptr) {
        return result(cudaErrorIllegalState);
    }
    CUgraph_st *captured = s->capture;
    s->capture           = nullptr;
    if (c.refused() != cudaSuccess || s->spoiled) {
        delete captured;
        return result(s->spoiled ? cudaErrorStreamCaptureInvalidated : c.refused());
    }
    *graph = captured;
    counts.live_graphs++;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long)
{
    call c(call::INSTANTIATES);

    if (c.refused() != cudaSuccess) {
        return c.refused();
    }
    *exec = new CUgraphExec_st{*graph};
    counts.live_graphs++;
    return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t)
{
    call c;

    return c.refused();
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    call c;

    if (c.refused() != cudaSuccess) {
        return c.refused();
    }
    counts.graphs++;
    for (const work &node : exec->graph.nodes) {
        (void)push(stream, node);
    }
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    call c;

    delete exec;
    counts.live_graphs--;
    return c.refused();
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    call c;

    delete graph;
    counts.live_graphs--;
    return c.refused();
}

/* --- errors -------------------------------------------------------------------------------------
 */

cudaError_t cudaPeekAtLastError(void)
{
    return fake_cuda::last;
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t error = fake_cuda::last;

    fake_cuda::last = cudaSuccess;
    return error;
}

/* --- for tests ----------------------------------------------------------------------------------
 */

fake_cuda_counts fake_cuda_count(void)
{
    return counts;
}

void fake_cuda_fail(int64_t n)
{
    state().fail_at = n > 0 ? counts.calls + n : 0;
}

const char *fake_cuda_failed(void)
{
    return state().failed;
}

void fake_cuda_devices(int count)
{
    state().devices = count < fake_cuda::MOST_DEVICES ? count : fake_cuda::MOST_DEVICES;
}
}
