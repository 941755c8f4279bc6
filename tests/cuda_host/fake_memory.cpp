// SPDX-License-Identifier: Apache-2.0
/* Memory of devices that do not exist. A block begins as NaN; between blocks lies what the address
 * sanitizer lets nobody touch. */
#include "fake_cuda_state.h"
#include "fiber.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

#if CUDA_HOST_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace fake_cuda
{

namespace
{

constexpr size_t RESERVED  = 64ULL << 30; /* addresses */
constexpr size_t ALIGNMENT = 256;         /* of blocks, and the least distance between them */
constexpr size_t PAGE      = 4096;
constexpr int NAN_BYTE     = 0xff;
constexpr size_t NAN_BYTES = 1 << 20; /* of the file below */

device_memory devices[MOST_DEVICES];
size_t limit = 8ULL << 30;
std::map<char *, size_t> pinned; /* host memory */

size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

void forbid(char *p, size_t bytes)
{
#if CUDA_HOST_ASAN
    __asan_poison_memory_region(p, bytes);
#else
    (void)p;
    (void)bytes;
#endif
}

void allow(char *p, size_t bytes)
{
#if CUDA_HOST_ASAN
    __asan_unpoison_memory_region(p, bytes);
#else
    (void)p;
    (void)bytes;
#endif
}

void protect(const device_memory &d, int rights)
{
    if (d.reach > 0 && mprotect(d.base, d.reach, rights) != 0) {
        misuse("the memory of a device cannot be protected");
    }
}

device_memory &open_memory(int device)
{
    device_memory &d = devices[device];

    if (d.base == nullptr) {
        void *p =
            mmap(nullptr, RESERVED, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) {
            misuse("no addresses for the memory of a device");
        }
        d.base = static_cast<char *>(p);
    }
    return d;
}

/* Whole pages of NaN, which large blocks begin as: they cost nothing until they are written. */
int nan_file()
{
    static int file = -1;

    if (file < 0) {
        std::vector<char> bytes(NAN_BYTES, static_cast<char>(NAN_BYTE));
        file = memfd_create("nan", MFD_CLOEXEC);
        if (file < 0 || write(file, bytes.data(), NAN_BYTES) != static_cast<ssize_t>(NAN_BYTES)) {
            misuse("no memory for what device memory begins as");
        }
    }
    return file;
}

/* The whole pages of a block; of a small one they are not worth a mapping. */
struct pages {
    char *first;
    size_t bytes;

    pages(char *p, size_t n)
    {
        size_t head = (PAGE - reinterpret_cast<uintptr_t>(p) % PAGE) % PAGE;

        first = p + head;
        bytes = n >= head + NAN_BYTES ? (n - head) / PAGE * PAGE : 0;
    }
};

void map(char *p, size_t bytes, int rights, int flags, int file)
{
    if (mmap(p, bytes, rights, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE | flags, file, 0) != p) {
        misuse("the memory of a device cannot be mapped");
    }
}

void fill_with_nan(char *p, size_t bytes)
{
    pages whole(p, bytes);

    for (size_t done = 0; done < whole.bytes; done += NAN_BYTES) {
        size_t n = std::min(whole.bytes - done, NAN_BYTES);
        map(whole.first + done, n, PROT_READ | PROT_WRITE, 0, nan_file());
    }
    if (whole.bytes == 0) {
        std::memset(p, NAN_BYTE, bytes);
    } else {
        char *end = whole.first + whole.bytes;
        std::memset(p, NAN_BYTE, static_cast<size_t>(whole.first - p));
        std::memset(end, NAN_BYTE, static_cast<size_t>(p + bytes - end));
    }
}

/* A long test does not hold what it has freed. */
void give_pages_back(const device_memory &d, char *p, size_t bytes)
{
    pages whole(p, bytes);

    if (whole.bytes > 0) {
        map(whole.first, whole.bytes, d.running > 0 ? PROT_READ | PROT_WRITE : PROT_NONE,
            MAP_ANONYMOUS, -1);
    }
}

/* The first gap that is large enough, at least ALIGNMENT after the previous block. */
char *gap_for(const device_memory &d, size_t bytes)
{
    char *at = d.base + ALIGNMENT;

    for (const auto &block : d.blocks) {
        if (at + bytes + ALIGNMENT <= block.first) {
            break;
        }
        at = block.first + round_up(block.second, ALIGNMENT) + ALIGNMENT;
    }
    return at;
}

void reach_to(device_memory &d, const char *end)
{
    size_t reach = round_up(static_cast<size_t>(end - d.base) + ALIGNMENT, PAGE);

    if (reach > d.reach) {
        forbid(d.base + d.reach, reach - d.reach);
        d.reach = reach;
    }
}

} // namespace

access::access(int device_number) : device(device_number)
{
    if (devices[device].running++ == 0) {
        protect(devices[device], PROT_READ | PROT_WRITE);
    }
}

access::~access()
{
    if (--devices[device].running == 0) {
        protect(devices[device], PROT_NONE);
    }
}

void *memory_take(int device, size_t bytes)
{
    device_memory &d = open_memory(device);

    if (bytes > limit || d.used > limit - bytes) {
        return nullptr;
    }
    char *at = gap_for(d, bytes);
    if (at + bytes + ALIGNMENT > d.base + RESERVED) {
        return nullptr;
    }
    reach_to(d, at + bytes);
    access now(device);
    allow(at, bytes);
    fill_with_nan(at, bytes);
    d.blocks[at] = bytes;
    d.used += bytes;
    counts.bytes += bytes;
    counts.live_blocks++;
    return at;
}

bool memory_release(int device, void *p)
{
    device_memory &d = devices[device];
    auto block       = d.blocks.find(static_cast<char *>(p));

    if (block == d.blocks.end()) {
        return false;
    }
    forbid(block->first, round_up(block->second, 8));
    give_pages_back(d, block->first, block->second);
    d.used -= block->second;
    counts.bytes -= block->second;
    counts.live_blocks--;
    d.blocks.erase(block);
    return true;
}

void memory_free(int device, size_t *left, size_t *total)
{
    *total = limit;
    *left  = limit > devices[device].used ? limit - devices[device].used : 0;
}

int device_of(const void *p, size_t bytes)
{
    const char *first = static_cast<const char *>(p);

    for (int i = 0; i < MOST_DEVICES; i++) {
        const device_memory &d = devices[i];
        if (d.base == nullptr || first < d.base || first >= d.base + RESERVED) {
            continue;
        }
        auto block = d.blocks.upper_bound(const_cast<char *>(first));
        if (block == d.blocks.begin()) {
            return -1;
        }
        --block;
        return first + bytes <= block->first + block->second ? i : -1;
    }
    return -1;
}

void memory_limit(size_t bytes)
{
    limit = bytes < RESERVED / 2 ? bytes : RESERVED / 2;
}

bool is_pinned(const void *p, size_t bytes)
{
    const char *first = static_cast<const char *>(p);
    auto block        = pinned.upper_bound(const_cast<char *>(first));

    if (block == pinned.begin()) {
        return false;
    }
    --block;
    return first + bytes <= block->first + block->second;
}

} // namespace fake_cuda

using fake_cuda::call;
using fake_cuda::counts;
using fake_cuda::current_device;
using fake_cuda::drain_device;
using fake_cuda::pinned;
using fake_cuda::result;

extern "C" {

/* --- the API -------------------------------------------------------------------------------------
 */

cudaError_t cudaMalloc(void **p, size_t bytes)
{
    call c(call::ALLOCATES);

    if (c.refused() != cudaSuccess) {
        return c.refused();
    }
    *p = bytes > 0 ? fake_cuda::memory_take(current_device, bytes) : nullptr;
    return result(*p == nullptr && bytes > 0 ? cudaErrorMemoryAllocation : cudaSuccess);
}

cudaError_t cudaFree(void *p)
{
    if (p == nullptr) {
        return cudaSuccess;
    }
    call c(call::RELEASES);
    int device = fake_cuda::device_of(p, 1);
    if (device < 0) {
        return result(cudaErrorInvalidValue);
    }
    drain_device(device);
    return result(fake_cuda::memory_release(device, p) ? c.refused() : cudaErrorInvalidValue);
}

cudaError_t cudaMemGetInfo(size_t *left, size_t *total)
{
    call c;

    if (c.refused() == cudaSuccess) {
        fake_cuda::memory_free(current_device, left, total);
    }
    return c.refused();
}

cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned)
{
    call c(call::ALLOCATES);

    if (c.refused() != cudaSuccess) {
        return c.refused();
    }
    if (posix_memalign(p, 512, bytes) != 0) {
        return result(cudaErrorMemoryAllocation);
    }
    pinned[static_cast<char *>(*p)] = bytes;
    counts.live_pinned++;
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **p, size_t bytes)
{
    return cudaHostAlloc(p, bytes, cudaHostAllocDefault);
}

cudaError_t cudaFreeHost(void *p)
{
    if (p == nullptr) {
        return cudaSuccess;
    }
    call c(call::RELEASES);
    drain_device(current_device);
    if (pinned.erase(static_cast<char *>(p)) == 0) {
        return result(cudaErrorInvalidValue);
    }
    counts.live_pinned--;
    std::free(p);
    return c.refused();
}

cudaError_t cudaHostRegister(void *p, size_t bytes, unsigned)
{
    call c(call::ALLOCATES);

    if (c.refused() != cudaSuccess) {
        return c.refused();
    }
    if (fake_cuda::is_pinned(p, 1)) {
        return result(cudaErrorHostMemoryAlreadyRegistered);
    }
    pinned[static_cast<char *>(p)] = bytes;
    counts.live_pinned++;
    return cudaSuccess;
}

cudaError_t cudaHostUnregister(void *p)
{
    call c(call::RELEASES);

    drain_device(current_device);
    if (pinned.erase(static_cast<char *>(p)) == 0) {
        return result(cudaErrorHostMemoryNotRegistered);
    }
    counts.live_pinned--;
    return c.refused();
}

void fake_cuda_memory(size_t bytes)
{
    fake_cuda::memory_limit(bytes);
}
}
