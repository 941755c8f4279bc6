// SPDX-License-Identifier: Apache-2.0
/* A conversation with a script in a process of its own: a line of JSON to its standard input, a
 * line of JSON from its standard output. */
#pragma once

#include "bench_gpu.h"

#include "pb/string.h"

#include <jansson.h>

typedef struct script script;

/* bench_peer.py, as the command line names it and its interpreter. It ends with this process. */
pb_status script_open(const bench *b, script **out) PB_MUST_USE;
/* A value to be freed with json_decref. PB_ERR_IO where the script has ended, with its exit code.
 */
pb_status script_ask(script *s, const pb_string *line, json_t **answer) PB_MUST_USE;
void script_close(script *s); /* accepts NULL */
