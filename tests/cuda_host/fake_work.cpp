// SPDX-License-Identifier: Apache-2.0
/* Kernels, copies and fills of the runtime without a device: what a device checks is checked, and
 * the work is queued. */
#include "cuda_host.h"
#include "fake_cuda_state.h"

#include <cstring>

using fake_cuda::access;
using fake_cuda::call;
using fake_cuda::counts;
using fake_cuda::current_device;
using fake_cuda::misuse;
using fake_cuda::push;
using fake_cuda::result;

/* --- kernels ------------------------------------------------------------------------------------
 */

namespace
{

constexpr unsigned MOST_THREADS   = 1024;
constexpr unsigned MOST_BLOCKS_YZ = 65535;

cudaError_t check_shape(const cuda_host::launch_shape &s)
{
    uint64_t threads = static_cast<uint64_t>(s.block.x) * s.block.y * s.block.z;
    bool grid_fits   = s.grid.x - 1 < 0x7fffffffu && s.grid.y - 1 < MOST_BLOCKS_YZ &&
                     s.grid.z - 1 < MOST_BLOCKS_YZ;

    if (!grid_fits || threads == 0 || threads > MOST_THREADS || s.block.z > 64) {
        return cudaErrorInvalidConfiguration;
    }
    return s.shared_bytes > fake_cuda::most_shared() ? cudaErrorInvalidValue : cudaSuccess;
}

} // namespace

cudaError_t cuda_host::launch(const launch_shape &shape, cudaStream_t stream,
                              std::function<void()> thread)
{
    call c;
    cudaError_t error = c.refused();

    if (error == cudaSuccess) {
        error = check_shape(shape);
    }
    if (error == cudaSuccess && fake_cuda::stream_device(stream) != current_device) {
        error = cudaErrorInvalidResourceHandle;
    }
    if (error != cudaSuccess) {
        return result(error);
    }
    error = push(stream, [shape, thread = std::move(thread)] {
        counts.launches++;
        run_grid(shape, thread);
    });
    return error == cudaSuccess ? cudaGetLastError() : error; /* as after a launch on a device */
}

/* --- copies -------------------------------------------------------------------------------------
 */

namespace
{

struct rectangle {
    size_t pitch, width, height;

    size_t bytes() const
    {
        return height == 0 ? 0 : (height - 1) * pitch + width;
    }
};

/* Where memory lies: a device, or the host. */
struct sides {
    int to, from; /* -1: host */
};

bool direction_fits(cudaMemcpyKind kind, sides s)
{
    switch (kind) {
    case cudaMemcpyHostToHost:
        return s.to < 0 && s.from < 0;
    case cudaMemcpyHostToDevice:
        return s.to >= 0 && s.from < 0;
    case cudaMemcpyDeviceToHost:
        return s.to < 0 && s.from >= 0;
    case cudaMemcpyDeviceToDevice:
        return s.to >= 0 && s.from >= 0;
    default:
        return true;
    }
}

void copy_rows(void *to, size_t to_pitch, const void *from, const rectangle &r)
{
    counts.copies++;
    for (size_t i = 0; i < r.height; i++) {
        std::memcpy(static_cast<char *>(to) + i * to_pitch,
                    static_cast<const char *>(from) + i * r.pitch, r.width);
    }
}

cudaError_t check_copy(const void *to, size_t to_pitch, const void *from, const rectangle &r,
                       cudaMemcpyKind kind, bool pinned_only)
{
    rectangle target{to_pitch, r.width, r.height};
    sides s{fake_cuda::device_of(to, target.bytes()), fake_cuda::device_of(from, r.bytes())};

    if (r.width > r.pitch || r.width > to_pitch) {
        return cudaErrorInvalidPitchValue;
    }
    if (!direction_fits(kind, s) || (s.to >= 0 && s.from >= 0 && s.to != s.from)) {
        return cudaErrorInvalidValue;
    }
    if (pinned_only && ((s.to < 0 && !fake_cuda::is_pinned(to, target.bytes())) ||
                        (s.from < 0 && !fake_cuda::is_pinned(from, r.bytes())))) {
        misuse("an asynchronous copy of %zu bytes with memory that is not pinned", r.bytes());
    }
    return cudaSuccess;
}

cudaError_t copy_later(void *to, size_t to_pitch, const void *from, const rectangle &r,
                       cudaMemcpyKind kind, cudaStream_t stream,
                       const char *name = __builtin_FUNCTION())
{
    call c(call::COPIES, name);
    cudaError_t error = c.refused();

    if (error != cudaSuccess || r.bytes() == 0) {
        return error;
    }
    error = check_copy(to, to_pitch, from, r, kind, true);
    if (error != cudaSuccess) {
        return result(error);
    }
    return push(stream, [=] { copy_rows(to, to_pitch, from, r); });
}

/* After all work of the standard stream and of those that it waits for. */
cudaError_t copy_now(void *to, size_t to_pitch, const void *from, const rectangle &r,
                     cudaMemcpyKind kind)
{
    call c(call::WAITS);
    cudaError_t error = c.refused();

    if (error != cudaSuccess || r.bytes() == 0) {
        return error;
    }
    error = check_copy(to, to_pitch, from, r, kind, false);
    if (error != cudaSuccess) {
        return result(error);
    }
    fake_cuda::drain_blocking();
    int device = fake_cuda::device_of(to, 1);
    access now(device >= 0 ? device : current_device);
    access other(fake_cuda::device_of(from, 1) >= 0 ? fake_cuda::device_of(from, 1)
                                                    : current_device);
    copy_rows(to, to_pitch, from, r);
    return cudaSuccess;
}

cudaError_t fill(void *p, int value, size_t bytes, cudaStream_t stream)
{
    if (fake_cuda::device_of(p, bytes) < 0) {
        return result(cudaErrorInvalidValue);
    }
    return push(stream, [=] {
        counts.copies++;
        std::memset(p, value, bytes);
    });
}

} // namespace

extern "C" {

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    return copy_later(to, bytes, from, rectangle{bytes, bytes, 1}, kind, stream);
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t pitch,
                              size_t width, size_t height, cudaMemcpyKind kind, cudaStream_t stream)
{
    return copy_later(to, to_pitch, from, rectangle{pitch, width, height}, kind, stream);
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind)
{
    return copy_now(to, bytes, from, rectangle{bytes, bytes, 1}, kind);
}

cudaError_t cudaMemcpy2D(void *to, size_t to_pitch, const void *from, size_t pitch, size_t width,
                         size_t height, cudaMemcpyKind kind)
{
    return copy_now(to, to_pitch, from, rectangle{pitch, width, height}, kind);
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t stream)
{
    call c(call::COPIES);

    return c.refused() != cudaSuccess || bytes == 0 ? c.refused() : fill(p, value, bytes, stream);
}

cudaError_t cudaMemset(void *p, int value, size_t bytes)
{
    return cudaMemsetAsync(p, value, bytes, nullptr);
}
}
