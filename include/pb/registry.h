// SPDX-License-Identifier: Apache-2.0
/* Tables found by name. Each extension point (comm, backend, method, dataset, metric) lists its
 * tables in src/<module>/registry.def, one line per entry:
 *
 *     PB_ENTRY(lora, lora.c)
 *
 * The first word names the symbol, method_lora; the second is the source, or the folder with a
 * CMakeLists.txt of its own, that defines it. From these lines come the declarations, the array in
 * registry.c, and the module's sources in CMake. */
#pragma once

#include "pb/status.h"

/* Entries begin with their name, a `const char *`; the last one is NULL, or has the name NULL. */
typedef struct pb_registry {
    const char *kind;    /* of an entry, for messages: "method" */
    const void *entries; /* an array of pointers to entries, */
    size_t stride;       /* or of entries of this many bytes each; 0: pointers */
    const char *also;    /* one more name that the caller accepts, for messages; may be NULL */
} pb_registry;

/* The name of entry `index`; NULL after the last. */
const char *pb_registry_name(const pb_registry *registry, size_t index);
/* *index = the entry of that name. PB_ERR_CONFIG, with the nearest name and all others, when there
 * is none. */
pb_status pb_registry_find(const pb_registry *registry, const char *name,
                           size_t *index) PB_MUST_USE;
