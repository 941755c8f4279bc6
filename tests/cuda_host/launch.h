// SPDX-License-Identifier: Apache-2.0
/* What tests of launchers share: arrays in device memory, random numbers, and the three orders in
 * which threads and blocks run. Everything fails the test that calls it. */
#pragma once

#include "kernels.h"

#include "pb/random.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

/* A copy of `bytes` of the host's in device memory; zeros if host is NULL. */
void *device_new(const void *host, size_t bytes);
void device_read(void *host, const void *device, size_t bytes);
void device_write(void *device, const void *host, size_t bytes);
void device_free(void *device);

/* n numbers of any type, with values in F32: what `element` keeps of them. */
void *device_elements(float *values, int64_t n, enum element element);
void device_floats(float *values, const void *device, int64_t n, enum element element);

/* Drops with probability p, by the words of device_stream. */
drop_mask device_mask(double p);
pb_random device_stream(void);

/* Uniform in -range … range. */
void random_floats(float *values, int64_t n, float range, unsigned seed);

/* Calls run(context, result) with `bytes` of result in every order, which must all be the same;
 * `result` is theirs. */
void in_all_orders(void (*run)(const void *context, void *result), const void *context,
                   void *result, size_t bytes);
