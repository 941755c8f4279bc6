// SPDX-License-Identifier: Apache-2.0
/* Unaligned words of a text in native byte order: for hashing and comparing, never for storing. */
#pragma once

#include <stdint.h>
#include <string.h>

static inline uint64_t load64(const char *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

static inline uint32_t load32(const char *p)
{
    uint32_t x;
    memcpy(&x, p, sizeof x);
    return x;
}
