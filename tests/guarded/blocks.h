// SPDX-License-Identifier: Apache-2.0
/* Memory that nothing may touch unless it is opened: every block is a separate mapping without
 * access. A fault in one is reported by block and byte, and ends the process as faults do. */
#pragma once

#include "pb/status.h"

#include <stdbool.h>
#include <stddef.h>

/* Zeroed bytes, at the start of a page. */
pb_status block_new(size_t bytes, void **data);
size_t block_free(void *data); /* the bytes of the block */

/* Faults are reported from now on. Must be called again after another handler was installed. */
void block_watch(void);

/* [begin, begin + bytes) is inside a block. */
bool block_has(const void *begin, size_t bytes);

/* Access to the pages of a range inside a block: PROT_NONE, PROT_READ, … */
void block_protect(const void *begin, size_t bytes, int protection);
