// SPDX-License-Identifier: Apache-2.0
/* Anonymous memory that processes of one node share. The creator sends the others its address; once
 * all have mapped it, the descriptor is closed, and the memory lives until the last process unmaps
 * it or dies: a kill leaves nothing behind. */
#pragma once

#include "pb/status.h"

#include <stddef.h>
#include <stdint.h>

/* Where another process of the node finds the memory. Plain bytes that can be sent. */
typedef struct node_memory_address {
    int64_t process;
    int64_t descriptor;
} node_memory_address;

/* `bytes` zeroed bytes at *data (page-aligned) and their address. */
pb_status node_memory_create(size_t bytes, void **data, node_memory_address *address) PB_MUST_USE;

/* The same bytes in another process. */
pb_status node_memory_attach(const node_memory_address *address, size_t bytes,
                             void **data) PB_MUST_USE;

/* The creator's, after all have attached. */
void node_memory_seal(const node_memory_address *address);

void node_memory_detach(void *data, size_t bytes); /* data may be NULL */
