// SPDX-License-Identifier: Apache-2.0
/* Compressed bytes for tests. The functions return false without the library. */
#pragma once

#include "pb/string.h"

#include <stdbool.h>

/* Appends one gzip member, or one zstd frame with its checksum. */
bool pack_gzip(const char *bytes, size_t size, pb_string *out);
bool pack_zstd(const char *bytes, size_t size, pb_string *out);
