// SPDX-License-Identifier: Apache-2.0
/* Failed calls of the runtime: an error that is returned, or a warning where nothing is lost. */
#include "cuda.h"

#include "pb/log.h"

#include <stdarg.h>
#include <stdio.h>

enum { MESSAGE = 512 };

cudaError_t cuda_lost(void)
{
    size_t unused[2];
    cudaError_t code = cudaMemGetInfo(&unused[0], &unused[1]); /* waits for nothing */
    (void)cudaGetLastError();
    return code;
}

/* Bytes that a block may have. */
static int most_shared(void)
{
    int device = 0;
    int bytes  = 0;
    if (cudaGetDevice(&device) == cudaSuccess) {
        (void)cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    }
    return bytes;
}

pb_status cuda_fail(cudaError_t code, const char *file, int line, const char *function,
                    const char *format, ...)
{
    char what[MESSAGE];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    (void)cudaGetLastError(); /* is reported here, and not again by the next launch */
    refused_launch refused = launch_refused();
    if (refused.kernel != NULL) {
        return pb_error_set(PB_ERR_UNSUPPORTED, file, line, function,
                            "cuda: %s: the kernel \"%s\" needs %zu bytes of shared memory per "
                            "block, the device allows %d",
                            what, refused.kernel, refused.shared, most_shared());
    }
    pb_status status = code == cudaErrorMemoryAllocation ? PB_ERR_MEMORY
                       : cuda_lost() != cudaSuccess      ? PB_ERR_DEVICE
                                                         : PB_ERR_LIBRARY;
    return pb_error_set(status, file, line, function, "cuda: %s: %s: %s", what,
                        cudaGetErrorName(code), cudaGetErrorString(code));
}

void cuda_drop(cudaError_t code, const char *what)
{
    if (code != cudaSuccess) {
        (void)cudaGetLastError(); /* is reported here, and not again by the next launch */
        pb_log_line(cuda_lost() != cudaSuccess ? PB_LOG_DEBUG : PB_LOG_WARN, false,
                    "cuda: %s: %s: %s", what, cudaGetErrorName(code), cudaGetErrorString(code));
    }
}
