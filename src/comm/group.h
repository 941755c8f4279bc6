// SPDX-License-Identifier: Apache-2.0
/* What front and implementations share: the common heads of the opaque objects. An implementation
 * puts a head first in its own struct and fills it; the front only reads it. */
#pragma once

#include "pb/comm.h"

struct pb_comm {
    const pb_comm_ops *ops;
    const char *library; /* version text, "" when there is none */
    int rank;
    int size;
    int node_rank;
    int node_size;
    int node_first;
};

struct pb_comm_window {
    const pb_comm_ops *ops;
    void *data;
    bool is_filler;
};

#define PB_ENTRY(name, source) extern const pb_comm_ops comm_##name;
#include "registry.def"
