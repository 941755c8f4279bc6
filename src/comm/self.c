// SPDX-License-Identifier: Apache-2.0
/* A group of one process: the null implementation. Nothing to wait for, nothing to send; a window
 * is a block of memory. */
#include "group.h"

#include "pb/memory.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct self_counter {
    pb_comm_counter head;
    int64_t next;
} self_counter;

static pb_status self_open(int *argc, char ***argv, pb_comm **out)
{
    pb_comm *comm = NULL;

    (void)argc;
    (void)argv;
    PB_TRY(PB_ALLOC(comm, 1));
    *comm = (pb_comm){.ops = &pb_comm_self, .library = "", .size = 1, .node_size = 1};
    *out  = comm;
    return PB_OK;
}

static void self_close(pb_comm *comm)
{
    pb_memory_free(comm);
}

static void self_abort(pb_comm *comm, int code)
{
    (void)comm;
    (void)fflush(NULL);
    _Exit(code);
}

static pb_status self_barrier(pb_comm *comm)
{
    (void)comm;
    return PB_OK;
}

static pb_status self_broadcast(pb_comm *comm, void *bytes, size_t size, int root)
{
    (void)comm;
    (void)bytes;
    (void)size;
    (void)root;
    return PB_OK;
}

static pb_status self_reduce(pb_comm *comm, int64_t *values, int count)
{
    (void)comm;
    (void)values;
    (void)count;
    return PB_OK;
}

static pb_status self_counter_create(pb_comm *comm, pb_comm_counter **out)
{
    self_counter *counter = NULL;

    PB_TRY(PB_ALLOC(counter, 1));
    counter->head.ops = comm->ops;
    *out              = &counter->head;
    return PB_OK;
}

static void self_counter_destroy(pb_comm_counter *counter)
{
    pb_memory_free(counter);
}

static pb_status self_counter_next(pb_comm_counter *counter, int64_t *value)
{
    self_counter *own = (self_counter *)counter;

    *value = own->next++;
    return PB_OK;
}

static pb_status self_window_create(pb_comm *comm, size_t bytes, pb_comm_window **out)
{
    pb_comm_window *window = NULL;

    PB_TRY(PB_ALLOC(window, 1));
    *window =
        (pb_comm_window){.ops = comm->ops, .data = pb_memory_new(bytes, 1), .is_filler = true};
    if (window->data == NULL) {
        pb_memory_free(window);
        return PB_ERR_MEMORY;
    }
    *out = window;
    return PB_OK;
}

static void self_window_destroy(pb_comm_window *window)
{
    pb_memory_free(window->data);
    pb_memory_free(window);
}

const pb_comm_ops pb_comm_self = {
    .name            = "self",
    .open            = self_open,
    .close           = self_close,
    .abort           = self_abort,
    .barrier         = self_barrier,
    .broadcast       = self_broadcast,
    .reduce_max      = self_reduce,
    .reduce_sum      = self_reduce,
    .counter_create  = self_counter_create,
    .counter_destroy = self_counter_destroy,
    .counter_next    = self_counter_next,
    .window_create   = self_window_create,
    .window_destroy  = self_window_destroy,
};
