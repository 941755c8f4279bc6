// SPDX-License-Identifier: Apache-2.0
/* The devices that the process sees, and what they are, for records and for people. */
#include "cuda.h"

#include "pb/utf8.h"

#include <stdio.h>

enum { VALUE = 384 };

/* Codes by which the runtime reports no device for this process, and the remedy. */
typedef struct absence {
    cudaError_t code;
    const char *remedy;
} absence;

static const absence absences[] = {
    {cudaErrorStubLibrary,
     "; the libcuda.so.1 that was loaded is the toolkit's stub, not a driver: "
     "take its folder out of LD_LIBRARY_PATH"},
    {cudaErrorDevicesUnavailable,
     "; another process has it, or its compute mode is Prohibited: see "
     "nvidia-smi -q -d COMPUTE"},
    {cudaErrorSystemNotReady,
     "; see whether the driver's services run, such as nvidia-fabricmanager"},
    {cudaErrorSystemDriverMismatch, "; load the driver again, or restart the machine"},
    {cudaErrorCompatNotSupportedOnDevice, "; take the folder of the compatibility libraries out of "
                                          "LD_LIBRARY_PATH"},
    {cudaErrorMpsConnectionFailed, "; see whether the MPS server runs"},
    {cudaErrorInitializationError, ""},
};

pb_status cuda_usable(cudaError_t code, const char *call)
{
    for (size_t i = 0; i < sizeof absences / sizeof *absences; i++) {
        if (code == absences[i].code) {
            (void)cudaGetLastError();
            return PB_FAIL(PB_ERR_CONFIG, "cuda: no device can be used: %s: %s%s",
                           cudaGetErrorName(code), cudaGetErrorString(code), absences[i].remedy);
        }
    }
    CUDA_CHECK(code, "%s", call);
    return PB_OK;
}

pb_status cuda_count(int *count)
{
    int driver       = 0;
    cudaError_t code = cudaGetDeviceCount(count);
    if (code == cudaErrorNoDevice) {
        (void)cudaGetLastError();
        return PB_FAIL(PB_ERR_CONFIG, "cuda: the driver shows no device");
    }
    if (code == cudaErrorInsufficientDriver) {
        (void)cudaGetLastError();
        (void)cudaDriverGetVersion(&driver);
        return driver == 0
                   ? PB_FAIL(PB_ERR_CONFIG, "cuda: this machine has no NVIDIA driver")
                   : PB_FAIL(PB_ERR_CONFIG,
                             "cuda: the driver is for CUDA %d.%d and too old for this program, "
                             "which needs %d.%d",
                             driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000,
                             CUDART_VERSION % 1000 / 10);
    }
    PB_TRY(cuda_usable(code, "cudaGetDeviceCount"));
    return *count > 0 ? PB_OK : PB_FAIL(PB_ERR_CONFIG, "cuda: the driver shows no device");
}

static pb_status put_number(pb_backend_put *put, void *context, const char *name, int number)
{
    char text[VALUE];
    (void)snprintf(text, sizeof text, "%d", number);
    return put(context, name, text);
}

pb_status cuda_facts(pb_backend *be, pb_backend_put *put, void *context)
{
    const cuda *c = cuda_of(be);
    char text[VALUE];
    PB_TRY(put(context, "gpu", c->properties.name));
    PB_TRY(put_number(put, context, "gpu_number", c->device));
    (void)snprintf(text, sizeof text, "%d.%d", c->properties.major, c->properties.minor);
    PB_TRY(put(context, "compute_capability", text));
    PB_TRY(put_number(put, context, "multiprocessors", c->properties.multiProcessorCount));
    (void)snprintf(text, sizeof text, "%.3f", (double)c->properties.totalGlobalMem / 1e9);
    PB_TRY(put(context, "gpu_memory_gb", text));
    PB_TRY(put(context, "cublaslt", cuda_products_name(c)));
    return cuda_nvml_facts(c, put, context);
}

/* "13.0" */
static pb_status driver_text(char *text, size_t size)
{
    int version = 0;
    CUDA_TRY(cudaDriverGetVersion(&version));
    (void)snprintf(text, size, "%d.%d", version / 1000, version % 1000 / 10);
    return PB_OK;
}

pb_status cuda_list(pb_backend_put *put, void *context)
{
    int count = 0;
    char driver[32];
    PB_TRY(cuda_count(&count));
    PB_TRY(driver_text(driver, sizeof driver));
    for (int i = 0; i < count; i++) {
        char name[32], text[VALUE];
        struct cudaDeviceProp p;
        CUDA_TRY(cudaGetDeviceProperties(&p, i));
        (void)snprintf(name, sizeof name, "cuda:%d", i);
        (void)snprintf(text, sizeof text,
                       "%.*s, compute capability %d.%d, %d multiprocessors, %.1f GB, driver for "
                       "CUDA %s",
                       PB_FIT(p.name, 128), p.major, p.minor, p.multiProcessorCount,
                       (double)p.totalGlobalMem / 1e9, driver);
        PB_TRY(put(context, name, text));
    }
    return PB_OK;
}
