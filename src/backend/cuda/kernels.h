// SPDX-License-Identifier: Apache-2.0
/* The launchers of the kernels: one section per .cu file.
 *
 * Plain pointers into device memory, sizes, and the stream last. A launcher checks nothing but
 * what selects a kernel; its C side (the .c file beside it) translates tensors and reports errors.
 * Comments give shapes and types; "act" is the type that `element` arguments name. Nothing waits:
 * the result is that of the launch. */
#pragma once

#include <cuda_runtime_api.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What lies in device memory, where a kernel takes more than one type; F16 as a frozen weight. */
enum element { ELEMENT_F32, ELEMENT_BF16, ELEMENT_F16 };

/* A matrix, whose row i begins `stride` · i elements behind the first; with a list, stride ·
 * list[i]. */
typedef struct view {
    void *data;
    int64_t stride;
    const int32_t *list; /* may be NULL */
    enum element element;
} view;

#ifdef __cplusplus
}
#endif
