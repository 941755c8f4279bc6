// SPDX-License-Identifier: Apache-2.0
/* JSON texts whose root is an object, parsed with duplicate keys refused. Messages name file, line
 * and column. The caller drops the object with json_decref. */
#pragma once

#include "pb/status.h"
#include "pb/string.h"

#include <stddef.h>

struct json_t; /* jansson's */

/* jansson's words for what is wrong with a text, or clearer ones where it speaks of its own flags.
 */
const char *pb_json_problem(const char *text);

/* A whole file of at most `max_bytes`. */
pb_status pb_json_file_read(const char *path, size_t max_bytes, struct json_t **out) PB_MUST_USE;

/* A text that was read from `path`; `flags` of jansson are added. */
pb_status pb_json_parse(const char *path, const pb_string *text, size_t flags,
                        struct json_t **out) PB_MUST_USE;
