// SPDX-License-Identifier: Apache-2.0
/* What the devices that do not exist say of themselves, and the texts of errors. */
#include "fake_cuda_state.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

using fake_cuda::call;
using fake_cuda::current_device;
using fake_cuda::result;

namespace
{

size_t from_environment(const char *name, size_t otherwise)
{
    const char *text = std::getenv(name);
    return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

/* "n": this process loses its device at the n-th call; "n@r": if it is rank r. */
int64_t from_rank(const char *name)
{
    const char *text = std::getenv(name);
    const char *rank = text != nullptr ? std::strchr(text, '@') : nullptr;
    const char *own  = std::getenv("OMPI_COMM_WORLD_RANK");
    bool mine        = rank == nullptr || (own != nullptr && std::strcmp(rank + 1, own) == 0);
    return text != nullptr && mine ? std::strtoll(text, nullptr, 10) : 0;
}

/* Each process sees devices of its own, from the number of its rank on. */
const int first_device =
    std::getenv("FAKE_CUDA_OWN") != nullptr && std::getenv("OMPI_COMM_WORLD_RANK") != nullptr
        ? std::atoi(std::getenv("OMPI_COMM_WORLD_RANK"))
        : 0;

/* Why the device of this machine cannot be used: "stub", "old driver", "busy", "old device". */
bool in_trouble(const char *which)
{
    const char *trouble = std::getenv("FAKE_CUDA_TROUBLE");
    return trouble != nullptr && std::strcmp(trouble, which) == 0;
}

int64_t lose_at     = from_rank("FAKE_CUDA_LOSE"); /* the number of a call; 0: none */
size_t shared_bytes = from_environment("FAKE_CUDA_SHARED", 227 << 10);

struct described {
    cudaError_t code;
    const char *name, *text;
};

const described errors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration",
     "invalid configuration argument"},
    {cudaErrorInvalidPitchValue, "cudaErrorInvalidPitchValue", "invalid pitch argument"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorIllegalState, "cudaErrorIllegalState",
     "the operation cannot be performed in the present state"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorHostMemoryAlreadyRegistered, "cudaErrorHostMemoryAlreadyRegistered",
     "part or all of the requested memory range is already mapped"},
    {cudaErrorHostMemoryNotRegistered, "cudaErrorHostMemoryNotRegistered",
     "pointer does not correspond to a registered memory region"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureIsolation, "cudaErrorStreamCaptureIsolation",
     "dependency created on uncaptured work in another stream"},
    {cudaErrorCapturedEvent, "cudaErrorCapturedEvent",
     "operation not permitted on an event last recorded in a capturing stream"},
    {cudaErrorStubLibrary, "cudaErrorStubLibrary", "CUDA driver is a stub library"},
    {cudaErrorDevicesUnavailable, "cudaErrorDevicesUnavailable",
     "CUDA-capable device(s) is/are busy or unavailable"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress",
     "an illegal memory access was encountered"},
    {cudaErrorUnknown, "cudaErrorUnknown", "unknown error"},
};

const described *find(cudaError_t code)
{
    for (const described &e : errors) {
        if (e.code == code) {
            return &e;
        }
    }
    return nullptr;
}

/* A small sibling of the H100: few multiprocessors, so that grids made to fill them stay small. */
bool attribute_of(cudaDeviceAttr attribute, int *value)
{
    switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor:
        *value = in_trouble("old device") ? 7 : 9;
        return true;
    case cudaDevAttrComputeCapabilityMinor:
        *value = 0;
        return true;
    case cudaDevAttrMultiProcessorCount:
        *value = 4;
        return true;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *value = static_cast<int>(fake_cuda::most_shared());
        return true;
    case cudaDevAttrMaxThreadsPerBlock:
        *value = 1024;
        return true;
    case cudaDevAttrWarpSize:
        *value = 32;
        return true;
    case cudaDevAttrL2CacheSize:
        *value = 50 << 20;
        return true;
    default:
        return false;
    }
}

bool is_device(int device)
{
    return device >= 0 && device < fake_cuda::device_count();
}

} // namespace

size_t fake_cuda::most_shared()
{
    return shared_bytes;
}

bool fake_cuda::is_lost()
{
    return lose_at > 0 && counts.calls >= lose_at;
}

extern "C" {

void fake_cuda_lose(int64_t n)
{
    lose_at = n > 0 ? fake_cuda::counts.calls + n : 0;
}

void fake_cuda_shared(size_t bytes)
{
    shared_bytes = bytes;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = fake_cuda::device_count() < 0 ? 0
               : in_trouble("old driver")    ? 11040
                                             : CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    call c;

    if (c.refused() != cudaSuccess || in_trouble("stub") || in_trouble("old driver")) {
        return c.refused() != cudaSuccess ? c.refused()
               : in_trouble("stub")       ? result(cudaErrorStubLibrary)
                                          : result(cudaErrorInsufficientDriver);
    }
    *count = fake_cuda::device_count();
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    call c;

    if (c.refused() != cudaSuccess || !is_device(device)) {
        return c.refused() != cudaSuccess ? c.refused() : result(cudaErrorInvalidDevice);
    }
    if (in_trouble("busy")) {
        return result(cudaErrorDevicesUnavailable);
    }
    current_device = device;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device)
{
    call c;

    *device = current_device;
    return c.refused();
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device)
{
    call c;

    if (c.refused() != cudaSuccess || !is_device(device)) {
        return c.refused() != cudaSuccess ? c.refused() : result(cudaErrorInvalidDevice);
    }
    return attribute_of(attribute, value) ? cudaSuccess : result(cudaErrorInvalidValue);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device)
{
    call c;

    if (c.refused() != cudaSuccess || !is_device(device)) {
        return c.refused() != cudaSuccess ? c.refused() : result(cudaErrorInvalidDevice);
    }
    size_t left = 0;
    std::memset(properties, 0, sizeof *properties);
    std::snprintf(properties->name, sizeof properties->name, "no device");
    fake_cuda::memory_free(device, &left, &properties->totalGlobalMem);
    (void)attribute_of(cudaDevAttrComputeCapabilityMajor, &properties->major);
    (void)attribute_of(cudaDevAttrMultiProcessorCount, &properties->multiProcessorCount);
    (void)attribute_of(cudaDevAttrMaxThreadsPerBlock, &properties->maxThreadsPerBlock);
    (void)attribute_of(cudaDevAttrWarpSize, &properties->warpSize);
    (void)attribute_of(cudaDevAttrL2CacheSize, &properties->l2CacheSize);
    std::snprintf(properties->uuid.bytes, sizeof properties->uuid.bytes, "device %d",
                  first_device + device);
    properties->sharedMemPerBlockOptin = fake_cuda::most_shared();
    return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *text, int length, int device)
{
    call c;

    if (c.refused() != cudaSuccess || !is_device(device)) {
        return c.refused() != cudaSuccess ? c.refused() : result(cudaErrorInvalidDevice);
    }
    std::snprintf(text, static_cast<size_t>(length), "0000:%02X:00.0", first_device + device + 1);
    return cudaSuccess;
}

const char *cudaGetErrorName(cudaError_t code)
{
    return find(code) != nullptr ? find(code)->name : "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t code)
{
    return find(code) != nullptr ? find(code)->text : "unrecognized error code";
}
}
