// SPDX-License-Identifier: Apache-2.0
/* What the parts of the runtime without a device share. */
#pragma once

#include "fake_cuda.h"

#include <cuda_runtime_api.h>

#include <functional>
#include <map>
#include <mutex>

namespace fake_cuda
{

using work = std::function<void()>;

constexpr int MOST_DEVICES = 8;

/* Device memory: one range of addresses per device, which nobody can touch but the work of that
 * device while it runs. */
struct device_memory {
    char *base;
    size_t reach; /* bytes from the base on that blocks have lain in, whole pages */
    size_t used;
    std::map<char *, size_t> blocks;
    int running; /* depth of the work that runs */
};

/* A call of the API: one at a time, counted, and failed where a test asks for it. */
class call
{
  public:
    enum kind { PLAIN, ALLOCATES, INSTANTIATES, RELEASES, WAITS, QUERIES, COPIES };

    /* By default the name is that of the function that makes it. */
    explicit call(kind k = PLAIN, const char *name = __builtin_FUNCTION());
    /* Why it is refused: no driver, an injected failure, or a capture that does not allow it. A
     * call that releases does so before it returns this. */
    cudaError_t refused() const
    {
        return error;
    }

  private:
    std::lock_guard<std::recursive_mutex> lock;
    cudaError_t error;
};

extern fake_cuda_counts counts;
extern thread_local int current_device;
int device_count();   /* -1: no driver */
size_t most_shared(); /* bytes of a block */
bool is_lost();       /* every call fails */

/* Keeps it for cudaGetLastError. */
cudaError_t result(cudaError_t code);

/* Ends the process: what the code under test must not do. */
[[noreturn]] void misuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Queues work of a stream, or adds it to the graph that is captured. */
cudaError_t push(cudaStream_t stream, work w);

/* Whether all bytes lie in one live block of a device, or in one of pinned memory. */
int device_of(const void *p, size_t bytes); /* -1: in none */
bool is_pinned(const void *p, size_t bytes);

/* While one lives, the work of a device may touch its memory. */
class access
{
  public:
    explicit access(int device);
    ~access();
    access(const access &)            = delete;
    access &operator=(const access &) = delete;

  private:
    int device;
};

/* NULL: less is free. */
void *memory_take(int device, size_t bytes);
bool memory_release(int device, void *p);
void memory_free(int device, size_t *left, size_t *total);

int stream_device(cudaStream_t stream);

/* Runs all work of a device; of the current one, what the standard stream waits for. */
void drain_device(int device);
void drain_blocking();

} // namespace fake_cuda
