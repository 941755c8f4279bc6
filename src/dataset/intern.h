// SPDX-License-Identifier: Apache-2.0
/* Texts stored once each, identified by number. */
#pragma once

#include "pb/string.h"

#include <stdint.h>

/* Zero-initialised is empty. */
typedef struct interner {
    pb_string block;  /* the texts, each with its NUL */
    int64_t *offsets; /* [count] into the block */
    int32_t *slots;   /* [capacity] number + 1, 0: free; capacity is a power of two */
    int64_t count, capacity;
} interner;

/* *number is the number of the text, which is added when new. */
pb_status intern(interner *texts, const char *text, int32_t *number) PB_MUST_USE;
void interner_clear(interner *texts); /* accepts a zeroed one */
