// SPDX-License-Identifier: Apache-2.0
/* Accounted host memory: every allocation of the program goes through here, so that current and
 * peak bytes are known and "all bytes returned" can be tested. Blocks are zeroed and aligned to 64
 * bytes.
 *
 *     float *x = NULL;
 *     PB_TRY(PB_ALLOC(x, rows * width));
 *     ...
 *     pb_memory_free(x);
 */
#pragma once

#include "pb/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `count` items of `size` bytes, zeroed; a count of zero gives a unique pointer. NULL on failure or
 * overflow, with the error record set to PB_ERR_MEMORY and the bytes requested. */
void *pb_memory_new(size_t count, size_t size);

/* Grows or shrinks a block (NULL is an empty one), new bytes zeroed. On failure NULL; the old block
 * stays. */
void *pb_memory_resize(void *block, size_t count, size_t size);

/* Makes room for `count` items of `size` bytes in the block at *pointer. A block that is too small
 * at least doubles (above 1 MiB it grows by that much or by a 64th, in pages that are moved, not
 * copied), new bytes zeroed, so that appending items one by one takes linear time; on failure it is
 * unchanged. Use PB_GROW. */
pb_status pb_memory_grow(void *pointer, size_t count, size_t size) PB_MUST_USE;

/* Accepts NULL. */
void pb_memory_free(void *block);

/* A copy of the text, NULL on failure. */
char *pb_memory_text(const char *text);

/* Frees each of the texts and their array; accepts NULL. */
void pb_memory_free_texts(char **texts, size_t count);

/* Bytes now held, and the most held since the last reset; bytes of headers are not counted.
 * Process-wide, safe from any thread. */
size_t pb_memory_current(void);
size_t pb_memory_peak(void);
void pb_memory_peak_reset(void);
/* Restores an earlier value of pb_memory_peak, after work that should not count. */
void pb_memory_peak_restore(size_t peak);

/* Number of allocations since the process began, for tests of loops that must not allocate. */
size_t pb_memory_allocations(void);

/* Counts bytes obtained elsewhere (a mapping, a shared window): negative when they are returned. */
void pb_memory_account(int64_t bytes);

/* Allocations beyond this many current bytes fail (0: no limit). For tests of failure paths, and a
 * cap. */
void pb_memory_limit(size_t bytes);

/* Bytes from a line "NAME: N kB" of a file of the system, such as MemAvailable of /proc/meminfo; 0
 * where unknown. */
size_t pb_memory_from_system(const char *path, const char *name);
/* The largest resident set ofthe process so far (bytes), from the system; 0 where unknown. */
size_t pb_memory_resident_peak(void);
/* Lowers it to the current resident set; false where the system does not allow that. */
bool pb_memory_resident_peak_reset(void);

/* Makes room for `count` items in *pointer (NULL is an empty block); evaluates to a pb_status. */
#define PB_GROW(pointer, count) pb_memory_grow(&(pointer), (size_t)(count), sizeof *(pointer))

/* Allocates `count` items of *pointer; evaluates to a pb_status. */
#define PB_ALLOC(pointer, count)                                                     \
    (((pointer) = pb_memory_new((size_t)(count), sizeof *(pointer))) != NULL ? PB_OK \
                                                                             : PB_ERR_MEMORY)

/* Makes *pointer a copy of a text; evaluates to a pb_status. */
#define PB_TEXT(pointer, text) (((pointer) = pb_memory_text(text)) != NULL ? PB_OK : PB_ERR_MEMORY)
