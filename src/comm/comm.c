// SPDX-License-Identifier: Apache-2.0
/* The front: checks arguments once and calls the slot; and the agreement on a status, which is
 * composed from a reduction and a broadcast. */
#include "group.h"

#include "pb/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_BYTES = 2048 };

void pb_comm_close(pb_comm *comm)
{
    if (comm != NULL) {
        comm->ops->close(comm);
    }
}

void pb_comm_abort(pb_comm *comm, int code)
{
    comm->ops->abort(comm, code);
}

const char *pb_comm_name(const pb_comm *comm)
{
    return comm->ops->name;
}

const char *pb_comm_library(const pb_comm *comm)
{
    return comm->library;
}

int pb_comm_rank(const pb_comm *comm)
{
    return comm->rank;
}

int pb_comm_size(const pb_comm *comm)
{
    return comm->size;
}

int pb_comm_node_rank(const pb_comm *comm)
{
    return comm->node_rank;
}

int pb_comm_node_size(const pb_comm *comm)
{
    return comm->node_size;
}

int pb_comm_node_first(const pb_comm *comm)
{
    return comm->node_first;
}

pb_status pb_comm_barrier(pb_comm *comm)
{
    return PB_FRAME(comm->ops->barrier(comm));
}

pb_status pb_comm_broadcast(pb_comm *comm, void *bytes, size_t size, int root)
{
    if (root < 0 || root >= comm->size) {
        return PB_FAIL(PB_ERR_ARGUMENT, "broadcast from rank %d of a group of %d", root,
                       comm->size);
    }
    if (size > 0) {
        PB_TRY(comm->ops->broadcast(comm, bytes, size, root));
    }
    return PB_OK;
}

static pb_status check_count(int count)
{
    if (count < 0) {
        return PB_FAIL(PB_ERR_ARGUMENT, "reduction of %d values", count);
    }
    return PB_OK;
}

pb_status pb_comm_reduce_max(pb_comm *comm, int64_t *values, int count)
{
    PB_TRY(check_count(count));
    return PB_FRAME(comm->ops->reduce_max(comm, values, count));
}

pb_status pb_comm_reduce_sum(pb_comm *comm, int64_t *values, int count)
{
    PB_TRY(check_count(count));
    return PB_FRAME(comm->ops->reduce_sum(comm, values, count));
}

/* The largest claim wins: an error before an early stop before success, then the lowest rank. The
 * claim carries severity, rank and code, so that one maximum settles all three. */
static int64_t claim_of(const pb_comm *comm, pb_status status)
{
    int64_t severity = status == PB_OK ? 0 : status == PB_STOPPED ? 1 : 2;

    if (severity == 0) {
        return 0;
    }
    return severity << 48 | (int64_t)(comm->size - comm->rank) << 8 | (int64_t)status;
}

pb_status pb_comm_agree(pb_comm *comm, pb_status status)
{
    _Static_assert(PB_STATUS_COUNT <= 256, "a status fits into the low byte of a claim");
    char message[MESSAGE_BYTES] = "";
    int64_t claim               = claim_of(comm, status);

    PB_TRY(comm->ops->reduce_max(comm, &claim, 1));
    if (claim == 0) {
        return PB_OK;
    }
    pb_status worst = (pb_status)(claim & 0xFF);
    int speaker     = comm->size - (int)(claim >> 8 & INT32_MAX);
    if (comm->rank == speaker) {
        const char *own = pb_error_message();
        (void)snprintf(message, sizeof message, "%s",
                       own[0] != '\0' ? own : pb_status_sentence(worst));
    }
    PB_TRY(comm->ops->broadcast(comm, message, sizeof message, speaker));
    if (comm->rank == speaker) {
        return status;
    }
    /* The record is replaced below; a message that equals the speaker's is reported once. */
    if (status != PB_OK && status != PB_STOPPED && strcmp(pb_error_message(), message) != 0) {
        pb_log_error("%s", pb_error_message());
    }
    return PB_FAIL(worst, "rank %d: %s", speaker, message);
}

static pb_status check_message(size_t size)
{
    if (size == 0 || size > PB_COMM_MESSAGE_BYTES) {
        return PB_FAIL(PB_ERR_ARGUMENT, "a message of %zu bytes; 1 … %d are possible", size,
                       PB_COMM_MESSAGE_BYTES);
    }
    return PB_OK;
}

static pb_status check_rank(const pb_comm *comm, int to)
{
    if (to < 0 || to >= comm->size) {
        return PB_FAIL(PB_ERR_ARGUMENT, "a message to rank %d of a group of %d", to, comm->size);
    }
    return PB_OK;
}

pb_status pb_comm_send(pb_comm *comm, int to, const void *bytes, size_t size)
{
    PB_TRY(check_message(size));
    PB_TRY(check_rank(comm, to));
    return PB_FRAME(comm->ops->send(comm, to, bytes, size));
}

pb_status pb_comm_receive(pb_comm *comm, void *bytes, size_t size, int *from)
{
    *from = -1;
    PB_TRY(check_message(size));
    return PB_FRAME(comm->ops->receive(comm, bytes, size, from));
}

pb_status pb_comm_post(pb_comm *comm, int to, const pb_comm_letter *letter)
{
    PB_TRY(check_rank(comm, to));
    return PB_FRAME(comm->ops->post(comm, to, letter));
}

pb_status pb_comm_fetch(pb_comm *comm, void **bytes, size_t *size, int *from)
{
    *bytes = NULL;
    *size  = 0;
    *from  = -1;
    return PB_FRAME(comm->ops->fetch(comm, bytes, size, from));
}

pb_status pb_comm_window_create(pb_comm *comm, size_t bytes, pb_comm_window **out)
{
    if (bytes > (size_t)PTRDIFF_MAX / 2) {
        return PB_FAIL(PB_ERR_ARGUMENT, "a shared window of %zu bytes", bytes);
    }
    return PB_FRAME(comm->ops->window_create(comm, bytes, out));
}

void pb_comm_window_destroy(pb_comm_window *window)
{
    if (window != NULL) {
        window->ops->window_destroy(window);
    }
}

void *pb_comm_window_data(const pb_comm_window *window)
{
    return window->data;
}

bool pb_comm_window_is_filler(const pb_comm_window *window)
{
    return window->is_filler;
}
