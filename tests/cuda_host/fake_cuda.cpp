// SPDX-License-Identifier: Apache-2.0
/* A CUDA runtime without a device, linked in place of cudart, for tests of the host logic. Work is
 * queued and runs only when somebody waits for it, so that a missing wait is seen; device memory
 * cannot be touched by the host while no work runs; asynchronous copies want pinned memory; a
 * stream in capture refuses what CUDA refuses. */
#include "cuda_host.h"

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <sys/mman.h>
#include <vector>

using work = std::function<void()>;

struct CUgraph_st {
    std::vector<work> nodes;
};
struct CUgraphExec_st {
    std::vector<work> nodes;
};
struct CUstream_st {
    std::deque<work> queue;
    CUgraph_st *capture = nullptr;
};
struct CUevent_st {
    CUstream_st *stream = nullptr;
    long recorded = 0, done = 0;
};

namespace
{

constexpr size_t ARENA = 1ull << 30, GAP = 256;
char *arena;
size_t used;
int depth; /* of running work */
std::map<char *, size_t> blocks, pinned;
std::vector<CUstream_st *> streams;
CUstream_st standard;
cudaError_t last = cudaSuccess;
long calls, fail_at = -1;

void open_device()
{
    if (arena == nullptr) {
        arena = (char *)mmap(nullptr, ARENA, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                             -1, 0);
        const char *text = std::getenv("FAKE_CUDA_FAIL");
        fail_at          = text != nullptr ? std::atol(text) : -1;
    }
    if (depth++ == 0 && used > 0) {
        mprotect(arena, used, PROT_READ | PROT_WRITE);
    }
}
void close_device()
{
    if (--depth == 0 && used > 0) {
        mprotect(arena, used, PROT_NONE);
    }
}
struct on_device {
    on_device()
    {
        open_device();
    }
    ~on_device()
    {
        close_device();
    }
};

cudaError_t result(cudaError_t e)
{
    if (e != cudaSuccess) {
        last = e;
    }
    return e;
}
#define CALL()                           \
    {                                    \
        on_device init;                  \
    }                                    \
    if (++calls == fail_at) {            \
        return result(cudaErrorUnknown); \
    }

bool is_device(const void *p)
{
    return (char *)p >= arena && (char *)p < arena + ARENA;
}
bool is_pinned(const void *p)
{
    auto at = pinned.upper_bound((char *)p);
    return at != pinned.begin() && (--at, (char *)p < at->first + at->second);
}
void check_copy(const void *to, const void *from)
{
    for (const void *p : {to, from}) {
        if (!is_device(p) && !is_pinned(p)) {
            std::fprintf(stderr, "fake_cuda: asynchronous copy with memory that is not pinned\n");
            std::abort();
        }
    }
}
CUstream_st *of(cudaStream_t s)
{
    return s != nullptr ? s : &standard;
}

void drain(CUstream_st *s)
{
    while (!s->queue.empty()) {
        work w = std::move(s->queue.front());
        s->queue.pop_front();
        w();
    }
}
void drain_until(CUevent_st *e, long number)
{
    while (e->done < number) {
        if (e->stream == nullptr || e->stream->queue.empty()) {
            std::fprintf(stderr, "fake_cuda: wait for work that does not exist\n");
            std::abort();
        }
        work w = std::move(e->stream->queue.front());
        e->stream->queue.pop_front();
        w();
    }
}
void drain_all()
{
    drain(&standard);
    for (auto *s : streams) {
        drain(s);
    }
}
bool any_capture()
{
    for (auto *s : streams) {
        if (s->capture != nullptr) {
            return true;
        }
    }
    return standard.capture != nullptr;
}

cudaError_t push(cudaStream_t stream, work w)
{
    CUstream_st *s = of(stream);
    work run       = [w = std::move(w)] {
        on_device access;
        w();
    };
    if (s->capture != nullptr) {
        s->capture->nodes.push_back(std::move(run));
    } else {
        s->queue.push_back(std::move(run));
    }
    return cudaSuccess;
}
} // namespace

namespace cuda_host
{
cudaError_t enqueue(cudaStream_t stream, std::function<void()> w)
{
    CALL();
    return result(push(stream, std::move(w)));
}
} // namespace cuda_host

extern "C" {
cudaError_t cudaGetDeviceCount(int *n)
{
    CALL();
    *n = 1;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int d)
{
    CALL();
    return result(d == 0 ? cudaSuccess : cudaErrorInvalidDevice);
}
cudaError_t cudaMalloc(void **p, size_t bytes)
{
    CALL();
    if (any_capture()) {
        return result(cudaErrorStreamCaptureUnsupported);
    }
    char *at = arena + GAP; /* the first gap that is wide enough */
    for (const auto &b : blocks) {
        if (at + bytes + GAP <= b.first) {
            break;
        }
        at = arena + ((size_t)(b.first - arena) + b.second + 2 * GAP - 1) / GAP * GAP;
    }
    if (at + bytes > arena + ARENA) {
        return result(cudaErrorMemoryAllocation);
    }
    *p         = at;
    blocks[at] = bytes;
    size_t end = ((size_t)(at - arena) + bytes + 4095) / 4096 * 4096;
    used       = end > used ? end : used;
    on_device access;
    std::memset(*p, 0xff, bytes); /* undefined contents are NaN */
    return cudaSuccess;
}
cudaError_t cudaFree(void *p)
{
    CALL();
    if (p == nullptr) {
        return cudaSuccess;
    }
    drain_all();
    if (blocks.erase((char *)p) == 0) {
        return result(cudaErrorInvalidValue);
    }
    if (blocks.empty()) {
        used = 0;
    }
    return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int *version)
{
    CALL();
    *version = CUDART_VERSION;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device)
{
    CALL();
    if (device != 0) {
        return result(cudaErrorInvalidDevice);
    }
    *properties = {};
    std::snprintf(properties->name, sizeof properties->name, "fake device");
    properties->major               = 9;
    properties->multiProcessorCount = 4;
    properties->totalGlobalMem      = ARENA;
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t *f, size_t *t)
{
    CALL();
    *t = ARENA;
    *f = ARENA - used;
    return cudaSuccess;
}
cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned)
{
    CALL();
    *p                 = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
    pinned[(char *)*p] = bytes;
    return cudaSuccess;
}
cudaError_t cudaFreeHost(void *p)
{
    CALL();
    if (p == nullptr) {
        return cudaSuccess;
    }
    drain_all();
    pinned.erase((char *)p);
    std::free(p);
    return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream)
{
    CALL();
    check_copy(to, from);
    return result(push(stream, [=] { std::memcpy(to, from, bytes); }));
}
cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                              size_t width, size_t height, cudaMemcpyKind, cudaStream_t stream)
{
    CALL();
    if (width > to_pitch || width > from_pitch) {
        return result(cudaErrorInvalidPitchValue);
    }
    check_copy(to, from);
    return result(push(stream, [=] {
        for (size_t row = 0; row < height; row++) {
            std::memcpy((char *)to + row * to_pitch, (const char *)from + row * from_pitch, width);
        }
    }));
}
cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t stream)
{
    CALL();
    return result(push(stream, [=] { std::memset(p, value, bytes); }));
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned)
{
    CALL();
    *s = new CUstream_st;
    streams.push_back(*s);
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    CALL();
    drain(s);
    for (auto &x : streams) {
        if (x == s) {
            x = streams.back();
            streams.pop_back();
            break;
        }
    }
    delete s;
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    CALL();
    if (of(s)->capture != nullptr) {
        return result(cudaErrorStreamCaptureUnsupported);
    }
    drain(of(s));
    return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize(void)
{
    CALL();
    drain_all();
    return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned)
{
    CALL();
    *e = new CUevent_st;
    return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t *e)
{
    return cudaEventCreateWithFlags(e, 0);
}
cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to)
{
    CALL();
    if (from->done < from->recorded || to->done < to->recorded) {
        return result(cudaErrorNotReady);
    }
    *milliseconds = 1.0f;
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    CALL();
    if (e->done < e->recorded) {
        drain_until(e, e->recorded);
    }
    delete e;
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s)
{
    CALL();
    e->stream = of(s);
    long n    = ++e->recorded;
    return result(push(s, [=] { e->done = n; }));
}
cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
    CALL();
    drain_until(e, e->recorded);
    return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t e)
{
    CALL();
    return e->done < e->recorded ? cudaErrorNotReady : cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned)
{
    CALL();
    long n = e->recorded;
    return result(push(s, [=] { drain_until(e, n); }));
}
cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode)
{
    CALL();
    s->capture = new CUgraph_st;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *g)
{
    CALL();
    *g         = s->capture;
    s->capture = nullptr;
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *x, cudaGraph_t g, unsigned long long)
{
    CALL();
    *x = new CUgraphExec_st{g->nodes};
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t x, cudaStream_t s)
{
    CALL();
    for (auto &n : x->nodes) {
        of(s)->queue.push_back(n);
    }
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t x)
{
    CALL();
    drain_all();
    delete x;
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t g)
{
    CALL();
    delete g;
    return cudaSuccess;
}
cudaError_t cudaGetLastError(void)
{
    cudaError_t e = last;
    last          = cudaSuccess;
    return e;
}
const char *cudaGetErrorName(cudaError_t e)
{
    return e == cudaSuccess                 ? "cudaSuccess"
           : e == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation"
           : e == cudaErrorInvalidValue     ? "cudaErrorInvalidValue"
           : e == cudaErrorUnknown          ? "cudaErrorUnknown"
                                            : "cudaError";
}
const char *cudaGetErrorString(cudaError_t e)
{
    return e == cudaSuccess ? "no error" : "an error of the fake runtime";
}

/* cuBLASLt: column-major, as the library. */
struct fake_layout {
    cudaDataType_t type;
    uint64_t rows, columns;
    int64_t ld;
};
struct fake_desc {
    int32_t ta = CUBLAS_OP_N, tb = CUBLAS_OP_N;
    uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    const void *bias  = nullptr;
};
cublasStatus_t cublasLtCreate(cublasLtHandle_t *h)
{
    *h = (cublasLtHandle_t) new char;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t h)
{
    delete (char *)h;
    return CUBLAS_STATUS_SUCCESS;
}
size_t cublasLtGetVersion(void)
{
    return 130000;
}
const char *cublasLtGetStatusString(cublasStatus_t)
{
    return "a status of the fake library";
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *l, cudaDataType t, uint64_t r,
                                          uint64_t c, int64_t ld)
{
    *l = (cublasLtMatrixLayout_t) new fake_layout{t, r, c, ld};
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l)
{
    delete (fake_layout *)l;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *d, cublasComputeType_t,
                                        cudaDataType_t)
{
    *d = (cublasLtMatmulDesc_t) new fake_desc;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d)
{
    delete (fake_desc *)d;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d,
                                              cublasLtMatmulDescAttributes_t a, const void *p,
                                              size_t n)
{
    fake_desc *f = (fake_desc *)d;
    switch (a) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
        std::memcpy(&f->ta, p, n);
        return CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATMUL_DESC_TRANSB:
        std::memcpy(&f->tb, p, n);
        return CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        std::memcpy(&f->epilogue, p, n);
        return CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        std::memcpy(&f->bias, p, n);
        return CUBLAS_STATUS_SUCCESS;
    default:
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *p)
{
    *p = (cublasLtMatmulPreference_t) new char;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p)
{
    delete (char *)p;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t,
                                                    cublasLtMatmulPreferenceAttributes_t,
                                                    const void *, size_t)
{
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatmulPreference_t, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[], int *found)
{
    *found = wanted > 0 ? 1 : 0;
    if (wanted > 0) {
        std::memset(results, 0, sizeof *results);
        results[0].state = CUBLAS_STATUS_SUCCESS;
    }
    return CUBLAS_STATUS_SUCCESS;
}
static float read_as(const void *p, cudaDataType_t t, int64_t i)
{
    return t == CUDA_R_16BF ? __bfloat162float(((const __nv_bfloat16 *)p)[i])
                            : ((const float *)p)[i];
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t d, const void *alpha,
                              const void *A, cublasLtMatrixLayout_t la, const void *B,
                              cublasLtMatrixLayout_t lb, const void *beta, const void *C,
                              cublasLtMatrixLayout_t lc, void *D, cublasLtMatrixLayout_t ld,
                              const cublasLtMatmulAlgo_t *, void *, size_t, cudaStream_t stream)
{
    fake_desc f   = *(fake_desc *)d;
    fake_layout a = *(fake_layout *)la, b = *(fake_layout *)lb, c = *(fake_layout *)lc,
                o = *(fake_layout *)ld;
    float x = *(const float *)alpha, y = *(const float *)beta;
    uint64_t k = f.ta == CUBLAS_OP_N ? a.columns : a.rows;
    if (k != (f.tb == CUBLAS_OP_N ? b.rows : b.columns) ||
        o.rows != (f.ta == CUBLAS_OP_N ? a.rows : a.columns) ||
        o.columns != (f.tb == CUBLAS_OP_N ? b.columns : b.rows)) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    if ((uintptr_t)A % 16 != 0 || (uintptr_t)B % 16 != 0 || (uintptr_t)D % 16 != 0) {
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    push(stream, [=] {
        for (uint64_t j = 0; j < o.columns; j++)
            for (uint64_t i = 0; i < o.rows; i++) {
                float sum = 0;
                for (uint64_t p = 0; p < k; p++)
                    sum += read_as(A, a.type,
                                   f.ta == CUBLAS_OP_N ? (int64_t)(p * (uint64_t)a.ld + i)
                                                       : (int64_t)(i * (uint64_t)a.ld + p)) *
                           read_as(B, b.type,
                                   f.tb == CUBLAS_OP_N ? (int64_t)(j * (uint64_t)b.ld + p)
                                                       : (int64_t)(p * (uint64_t)b.ld + j));
                float v = x * sum +
                          (y != 0 ? y * read_as(C, c.type, (int64_t)(j * (uint64_t)c.ld + i)) : 0);
                if (f.epilogue == CUBLASLT_EPILOGUE_BIAS)
                    v += read_as(f.bias, o.type, (int64_t)i);
                int64_t at = (int64_t)(j * (uint64_t)o.ld + i);
                if (o.type == CUDA_R_16BF)
                    ((__nv_bfloat16 *)D)[at] = __float2bfloat16_rn(v);
                else
                    ((float *)D)[at] = v;
            }
    });
    return CUBLAS_STATUS_SUCCESS;
}
}
