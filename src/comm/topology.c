// SPDX-License-Identifier: Apache-2.0
/* The node as hwloc sees it. */
#include "pb/topology.h"

#ifdef PB_HAVE_HWLOC
#include <hwloc.h>

static int64_t count_of(hwloc_topology_t topology, hwloc_obj_type_t type)
{
    int count = hwloc_get_nbobjs_by_type(topology, type);
    return count > 0 ? count : 0;
}
#endif

void pb_topology_get(pb_topology *out)
{
    *out = (pb_topology){0};
#ifdef PB_HAVE_HWLOC
    hwloc_topology_t topology = NULL;
    if (hwloc_topology_init(&topology) != 0) {
        return;
    }
    if (hwloc_topology_load(topology) == 0) {
        *out = (pb_topology){.sockets = count_of(topology, HWLOC_OBJ_PACKAGE),
                             .domains = count_of(topology, HWLOC_OBJ_NUMANODE),
                             .cores   = count_of(topology, HWLOC_OBJ_CORE),
                             .threads = count_of(topology, HWLOC_OBJ_PU)};
    }
    hwloc_topology_destroy(topology);
#endif
}
