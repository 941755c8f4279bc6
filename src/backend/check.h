// SPDX-License-Identifier: Apache-2.0
/* Argument checks of the fronts. Each failure names the operation, the tensor and both shapes. */
#pragma once

#include "internal.h"

enum { ANY = -1 };

/* A 2-D F32 tensor [rows, columns]; ANY leaves a size open. */
pb_status check_matrix(const char *op, const char *name, const pb_tensor *t, int64_t rows,
                       int64_t columns) PB_MUST_USE;

/* The same for what passes between operations: F32, or the type that the backend declares. */
pb_status check_rows(const pb_backend *be, const char *op, const char *name, const pb_tensor *t,
                     int64_t rows, int64_t columns) PB_MUST_USE;

/* The same for frozen weights, which may be F32, BF16 or F16. */
pb_status check_weight(const char *op, const char *name, const pb_tensor *t, int64_t rows,
                       int64_t columns) PB_MUST_USE;

/* n contiguous F32 elements. */
pb_status check_vector(const char *op, const char *name, const pb_tensor *t, int64_t n) PB_MUST_USE;

/* F32 of any shape, and of the shape of `like` where that is not NULL. */
pb_status check_like(const char *op, const char *name, const pb_tensor *t,
                     const pb_tensor *like) PB_MUST_USE;

/* The same for what passes between operations. */
pb_status check_rows_like(const pb_backend *be, const char *op, const char *name,
                          const pb_tensor *t, const pb_tensor *like) PB_MUST_USE;

/* n contiguous F64 numbers; ANY: any number of them. */
pb_status check_numbers(const char *op, const char *name, const pb_tensor *t,
                        int64_t n) PB_MUST_USE;

/* Host indices [count] within first … limit - 1. */
pb_status check_indices(const char *name, const int32_t *indices, int64_t count, int64_t first,
                        int64_t limit) PB_MUST_USE;

/* A list of `count` numbers that were checked against these bounds, or narrower ones. */
pb_status check_list(const char *op, const char *name, const pb_list *list, int64_t count,
                     int64_t first, int64_t limit) PB_MUST_USE;
