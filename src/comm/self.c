// SPDX-License-Identifier: Apache-2.0
/* A group of one process: the null implementation. There is nothing to wait for; messages to
 * oneself go through a queue; a window is a block of memory. */
#include "group.h"

#include "pb/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct self_message {
    struct self_message *next;
    size_t size;
    void *bytes;
} self_message;

typedef struct self_comm {
    pb_comm head;
    self_message *messages, *letters; /* sent and not received yet */
} self_comm;

static pb_status self_open(int *argc, char ***argv, pb_comm **out)
{
    self_comm *own = NULL;

    (void)argc;
    (void)argv;
    PB_TRY(PB_ALLOC(own, 1));
    own->head = (pb_comm){.ops = &comm_self, .library = "", .size = 1, .node_size = 1};
    *out      = &own->head;
    return PB_OK;
}

/* Removes the first one, and returns its bytes. */
static void *remove_first(self_message **list)
{
    self_message *message = *list;
    void *bytes           = message->bytes;

    *list = message->next;
    pb_memory_free(message);
    return bytes;
}

static void remove_all(self_message **list)
{
    while (*list != NULL) {
        pb_memory_free(remove_first(list));
    }
}

static void self_close(pb_comm *comm)
{
    self_comm *own = (self_comm *)comm;

    remove_all(&own->messages);
    remove_all(&own->letters);
    pb_memory_free(own);
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

static pb_status add_last(self_message **list, const pb_comm_letter *letter)
{
    self_message *message = NULL;
    unsigned char *bytes  = NULL;
    pb_status status;

    PB_TRY(PB_ALLOC(message, 1));
    message->size = letter->head_size + letter->body_size;
    PB_TRY_GOTO(status, PB_ALLOC(bytes, message->size), err_message);
    memcpy(bytes, letter->head, letter->head_size);
    if (letter->body_size > 0) {
        memcpy(bytes + letter->head_size, letter->body, letter->body_size);
    }
    message->bytes = bytes;
    while (*list != NULL) {
        list = &(*list)->next;
    }
    *list = message;
    return PB_OK;

err_message:
    pb_memory_free(message);
    return status;
}

static pb_status self_send(pb_comm *comm, int to, const void *bytes, size_t size)
{
    (void)to;
    return add_last(&((self_comm *)comm)->messages,
                    &(pb_comm_letter){.head = bytes, .head_size = size});
}

static pb_status self_receive(pb_comm *comm, void *bytes, size_t size, int *from)
{
    self_comm *own        = (self_comm *)comm;
    self_message *message = own->messages;

    if (message == NULL) {
        return PB_OK;
    }
    if (message->size != size) {
        return PB_FAIL(PB_ERR_COMM, "a message of %zu bytes came where one of %zu was expected",
                       message->size, size);
    }
    memcpy(bytes, message->bytes, size);
    pb_memory_free(remove_first(&own->messages));
    *from = 0;
    return PB_OK;
}

static pb_status self_post(pb_comm *comm, int to, const pb_comm_letter *letter)
{
    (void)to;
    return add_last(&((self_comm *)comm)->letters, letter);
}

static pb_status self_fetch(pb_comm *comm, void **bytes, size_t *size, int *from)
{
    self_comm *own = (self_comm *)comm;

    if (own->letters == NULL) {
        return PB_OK;
    }
    *size  = own->letters->size;
    *bytes = remove_first(&own->letters);
    *from  = 0;
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

const pb_comm_ops comm_self = {
    .name           = "self",
    .open           = self_open,
    .close          = self_close,
    .abort          = self_abort,
    .barrier        = self_barrier,
    .broadcast      = self_broadcast,
    .reduce_max     = self_reduce,
    .reduce_sum     = self_reduce,
    .send           = self_send,
    .receive        = self_receive,
    .post           = self_post,
    .fetch          = self_fetch,
    .window_create  = self_window_create,
    .window_destroy = self_window_destroy,
};
