// SPDX-License-Identifier: Apache-2.0
/* A whole JSON file, parsed, with duplicate keys refused. */
#pragma once

#include "pb/status.h"

#include <jansson.h>

/* The root must be an object. Messages name the file, line and column. The caller drops it with
 * json_decref. */
pb_status pb_json_file_read(const char *path, size_t max_bytes, json_t **out) PB_MUST_USE;
