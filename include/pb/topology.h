// SPDX-License-Identifier: Apache-2.0
/* What this node is made of, where the program was built with hwloc: for choosing how many
 * processes to start on it. */
#pragma once

#include <stdint.h>

/* Numbers of the whole node; 0: unknown. */
typedef struct pb_topology {
    int64_t sockets, domains; /* packages; NUMA domains */
    int64_t cores, threads;   /* threads: processors as the system counts them */
} pb_topology;

void pb_topology_get(pb_topology *out);
