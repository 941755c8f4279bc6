// SPDX-License-Identifier: Apache-2.0
/* The backend that a test runs over, and mirrors of its memory on the host. Tests reach backend
 * memory only through these: nothing else is guaranteed to be readable. Every helper fails the test
 * when it cannot do its work. */
#pragma once

#include "support.h"

#include "pb/backend.h"

/* $PB_TEST_BACKEND, else "cpu". */
const char *device_name(void);
/* With products as $PB_TEST_PRODUCTS has them, if it is set. */
pb_backend *device_open(int threads);
/* Whether a registered backend finds no device on this machine; reported on stderr. */
bool device_is_absent(const char *backend);
/* Skips the test unless the memory of that backend is the host's, which a test can limit. */
void device_skip_unless_host(void);

/* An F32 matrix in backend memory; `values` [rows, columns] NULL: zeros. Give .data to
 * pb_backend_free. */
pb_tensor device_matrix(pb_backend *be, int64_t rows, int64_t columns, const float *values);

/* All values of an F32 tensor, densely; free() them. */
float *host_values(pb_backend *be, const pb_tensor *t);
/* The same, into the caller's array. */
void host_read(pb_backend *be, const pb_tensor *t, float *values);
void host_write(pb_backend *be, const pb_tensor *t, const float *values);
/* Value `index` of a contiguous F32 tensor. */
float host_get(pb_backend *be, const pb_tensor *t, int64_t index);
void host_set(pb_backend *be, const pb_tensor *t, int64_t index, float value);
/* Both tensors have these bits. */
bool host_equal(pb_backend *be, const pb_tensor *a, const pb_tensor *b);
