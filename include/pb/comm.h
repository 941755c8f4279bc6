// SPDX-License-Identifier: Apache-2.0
/* A group of processes: `mpi` (the only home of mpi.h) or `self` (one process, no library call).
 *
 * comm_open picks mpi when the process was started by an MPI launcher, self otherwise.
 * Communicators use MPI_ERRORS_RETURN; a status other than PB_OK from here means that the group is
 * broken. All calls marked collective must be made by every rank in the same order; early ranks
 * sleep until the last one arrives. */
#pragma once

#include "pb/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct pb_comm pb_comm;

/* A window of shared bytes per node. Opaque, owned by the creator. */
typedef struct pb_comm_window pb_comm_window;

/* The largest message between two ranks. */
#define PB_COMM_MESSAGE_BYTES 512

/* Bytes of any size, in two parts that are laid end to end. */
typedef struct pb_comm_letter {
    const void *head, *body;
    size_t head_size, body_size;
} pb_comm_letter;

typedef struct pb_comm_ops {
    const char *name;
    /* required */
    pb_status (*open)(int *argc, char ***argv, pb_comm **out);
    void (*close)(pb_comm *comm);
    void (*abort)(pb_comm *comm, int code); /* ends every process of the group; does not return */
    pb_status (*barrier)(pb_comm *comm);
    pb_status (*broadcast)(pb_comm *comm, void *bytes, size_t size, int root);
    pb_status (*reduce_max)(pb_comm *comm, int64_t *values, int count); /* in place, everywhere */
    pb_status (*reduce_sum)(pb_comm *comm, int64_t *values, int count);
    pb_status (*send)(pb_comm *comm, int to, const void *bytes, size_t size);
    pb_status (*receive)(pb_comm *comm, void *bytes, size_t size, int *from);
    pb_status (*post)(pb_comm *comm, int to, const pb_comm_letter *letter);
    pb_status (*fetch)(pb_comm *comm, void **bytes, size_t *size, int *from);
    pb_status (*window_create)(pb_comm *comm, size_t bytes, pb_comm_window **out);
    void (*window_destroy)(pb_comm_window *window);
} pb_comm_ops;

const pb_comm_ops *const *pb_comm_registry(void); /* NULL-terminated */
/* Unknown: an error that names the nearest. */
pb_status pb_comm_find(const char *name, const pb_comm_ops **out) PB_MUST_USE;

/* Opens the group that the environment variable PB_COMM names, if it is set. argc/argv may be NULL.
 * Called once per process. */
pb_status pb_comm_open(int *argc, char ***argv, pb_comm **out) PB_MUST_USE;
void pb_comm_close(pb_comm *comm); /* collective; accepts NULL */
void pb_comm_abort(pb_comm *comm, int code);

const char *pb_comm_name(const pb_comm *comm);
const char *pb_comm_library(const pb_comm *comm); /* version text of the library, "" for self */
int pb_comm_rank(const pb_comm *comm);
int pb_comm_size(const pb_comm *comm);
int pb_comm_node_rank(const pb_comm *comm); /* among the ranks of this node */
int pb_comm_node_size(const pb_comm *comm);
int pb_comm_node_first(const pb_comm *comm); /* the lowest rank on this node */

pb_status pb_comm_barrier(pb_comm *comm) PB_MUST_USE; /* collective */
pb_status pb_comm_broadcast(pb_comm *comm, void *bytes, size_t size,
                            int root) PB_MUST_USE; /* collective; any size */
pb_status pb_comm_reduce_max(pb_comm *comm, int64_t *values,
                             int count) PB_MUST_USE; /* collective */
pb_status pb_comm_reduce_sum(pb_comm *comm, int64_t *values,
                             int count) PB_MUST_USE; /* collective */

/* Gives every rank the same status: that of the lowest rank with an error, else PB_STOPPED if any
 * rank stopped, else PB_OK. The other ranks' error records take over that rank's message, with the
 * rank named. Call it before any collective that follows a local step that may fail. Collective. */
pb_status pb_comm_agree(pb_comm *comm, pb_status status) PB_MUST_USE;

/* Plain messages between two ranks. Neither call waits: a send copies the bytes and returns, a
 * receive takes the next message that has arrived from any rank, or reports that there is none
 * (*from = -1). Messages from one rank to another arrive in order. Both sides name the same size,
 * at most PB_COMM_MESSAGE_BYTES; a message of another size is PB_ERR_COMM. A rank may send to
 * itself. Messages make progress only while both ranks call into the group. */
pb_status pb_comm_send(pb_comm *comm, int to, const void *bytes, size_t size) PB_MUST_USE;
pb_status pb_comm_receive(pb_comm *comm, void *bytes, size_t size, int *from) PB_MUST_USE;

/* The same for bytes of any size. Letters and messages do not overtake letters and messages of
 * their own kind from the same rank. fetch returns the next letter of any rank in memory that the
 * caller frees, or NULL. */
pb_status pb_comm_post(pb_comm *comm, int to, const pb_comm_letter *letter) PB_MUST_USE;
pb_status pb_comm_fetch(pb_comm *comm, void **bytes, size_t *size, int *from) PB_MUST_USE;

/* Zeroed memory shared by all ranks of a node, at least 64-byte aligned. The rank for which
 * `filler` is true (one per node) fills it; the others may read it after a barrier. It is accounted
 * on the filler. create is collective; destroy is local: the last user frees the memory. */
pb_status pb_comm_window_create(pb_comm *comm, size_t bytes, pb_comm_window **out) PB_MUST_USE;
void pb_comm_window_destroy(pb_comm_window *window); /* accepts NULL */
void *pb_comm_window_data(const pb_comm_window *window);
bool pb_comm_window_is_filler(const pb_comm_window *window);
