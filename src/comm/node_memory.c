// SPDX-License-Identifier: Apache-2.0
/* Shared memory by memfd: it has no name that could be left behind, and its size is bounded by the
 * node's memory, whereas /dev/shm is often limited to half of that, or to 64 MiB in a container.
 *
 * MPI_Win_allocate_shared is not used, because its failure is not collective: in Open MPI 4.1 the
 * rank that runs out of room returns an error and the others wait forever. */
#include "node_memory.h"

#include "pb/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* An empty mapping is not possible: zero bytes become one. */
static size_t mapped_bytes(size_t bytes)
{
    return bytes > 0 ? bytes : 1;
}

static pb_status map_shared(int descriptor, size_t bytes, void **data)
{
    void *mapped =
        mmap(NULL, mapped_bytes(bytes), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);

    if (mapped == MAP_FAILED) {
        return PB_FAIL(PB_ERR_MEMORY, "cannot map %zu shared bytes: %s", bytes, strerror(errno));
    }
    *data = mapped;
    return PB_OK;
}

pb_status node_memory_create(size_t bytes, void **data, node_memory_address *address)
{
    pb_status status;
    size_t available = pb_memory_from_system("/proc/meminfo", "MemAvailable");

    if (available != 0 && bytes > available) {
        return PB_FAIL(PB_ERR_MEMORY,
                       "shared memory of %zu bytes asked for, this node has %zu available; take a "
                       "smaller model or a node with more memory",
                       bytes, available);
    }
    int descriptor = memfd_create("peftbench", MFD_CLOEXEC);
    if (descriptor < 0) {
        return PB_FAIL(PB_ERR_MEMORY, "cannot create shared memory: %s", strerror(errno));
    }
    if (ftruncate(descriptor, (off_t)mapped_bytes(bytes)) != 0) {
        status = PB_FAIL(PB_ERR_MEMORY, "cannot give shared memory %zu bytes: %s", bytes,
                         strerror(errno));
        goto err_descriptor;
    }
    PB_TRY_GOTO(status, map_shared(descriptor, bytes, data), err_descriptor);
    *address = (node_memory_address){.process = getpid(), .descriptor = descriptor};
    return PB_OK;

err_descriptor:
    (void)close(descriptor);
    return status;
}

pb_status node_memory_attach(const node_memory_address *address, size_t bytes, void **data)
{
    char path[64];

    (void)snprintf(path, sizeof path, "/proc/%lld/fd/%lld", (long long)address->process,
                   (long long)address->descriptor);
    int descriptor = open(path, O_RDWR | O_CLOEXEC);
    if (descriptor < 0) {
        return PB_FAIL(PB_ERR_COMM,
                       "cannot share memory with process %lld of this node: %s; start the ranks of "
                       "a node in one container, or one rank per node",
                       (long long)address->process, strerror(errno));
    }
    pb_status status = map_shared(descriptor, bytes, data);
    (void)close(descriptor);
    return status;
}

void node_memory_seal(const node_memory_address *address)
{
    (void)close((int)address->descriptor);
}

void node_memory_detach(void *data, size_t bytes)
{
    if (data != NULL) {
        (void)munmap(data, mapped_bytes(bytes));
    }
}
