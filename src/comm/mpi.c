// SPDX-License-Identifier: Apache-2.0
/* A group of processes by MPI 3: collectives and plain messages, nothing one-sided. Ranks that
 * reach a collective early sleep until all are there (`meet`), so the blocking call that follows is
 * short. Shared bytes are memory of the node's lowest rank, mapped by the node's other ranks. */
#include "group.h"
#include "node_memory.h"

#include "pb/clock.h"
#include "pb/log.h"
#include "pb/memory.h"

#include <mpi.h>

#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 1 << 30, MESSAGE_TAG = 1, LETTER_TAG = 2 };

/* Letters are counted in these, as MPI 3 counts in int. */
enum { LETTER_UNIT = 64 };

/* A message in flight, whose bytes the library may read until the request completes, or a spare
 * slot. Enough slots for questions and answers exist from the start: memory allocated per message
 * would count towards the work in between. */
typedef struct mpi_message {
    struct mpi_message *next;
    MPI_Request request;
    unsigned char bytes[PB_COMM_MESSAGE_BYTES];
} mpi_message;

/* A letter in flight: its size, then its bytes, then nothing up to a whole unit. */
typedef struct mpi_letter {
    struct mpi_letter *next;
    MPI_Request request;
    unsigned char *bytes;
} mpi_letter;

typedef struct mpi_comm {
    pb_comm head;
    MPI_Comm world; /* our own copy: messages of other libraries cannot be mistaken for ours */
    MPI_Comm node;
    mpi_message *sent; /* not known to be complete */
    mpi_message *spare;
    mpi_letter *posted;
    MPI_Datatype unit; /* of letters */
    char library[MPI_MAX_LIBRARY_VERSION_STRING];
} mpi_comm;

typedef struct mpi_window {
    pb_comm_window head;
    size_t bytes;
    int64_t accounted; /* bytes counted on this rank */
} mpi_window;

static pb_status status_of(int code, const char *call, int line, const char *function)
{
    char text[MPI_MAX_ERROR_STRING] = "no text for this error";
    int length                      = 0;

    if (code == MPI_SUCCESS) {
        return PB_OK;
    }
    (void)MPI_Error_string(code, text, &length);
    return pb_error_set(PB_ERR_COMM, __FILE__, line, function, "%.*s failed: %s",
                        (int)strcspn(call, "("), call, text);
}

/* STATUS_OF turns an MPI call into a status whose message names the call; TRY_MPI returns it on
 * failure. */
#define STATUS_OF(call) status_of((call), #call, __LINE__, __func__)

#define TRY_MPI(call)                         \
    do {                                      \
        pb_status mpi_try_ = STATUS_OF(call); \
        if (mpi_try_ != PB_OK) {              \
            return mpi_try_;                  \
        }                                     \
    } while (0)

static pb_status start_library(int *argc, char ***argv)
{
    int initialized = 0;
    int provided    = MPI_THREAD_SINGLE;

    TRY_MPI(MPI_Initialized(&initialized));
    if (initialized) {
        return PB_FAIL(PB_ERR_COMM, "the process group was opened before in this process");
    }
    TRY_MPI(MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided));
    TRY_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    TRY_MPI(MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN));
    if (provided < MPI_THREAD_FUNNELED) {
        return PB_FAIL(PB_ERR_COMM, "this MPI library cannot be used beside threads; build it with "
                                    "MPI_THREAD_FUNNELED");
    }
    return PB_OK;
}

static pb_status connect(mpi_comm *own)
{
    int length = 0;

    TRY_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &own->world));
    TRY_MPI(MPI_Comm_set_errhandler(own->world, MPI_ERRORS_RETURN));
    TRY_MPI(MPI_Comm_rank(own->world, &own->head.rank));
    TRY_MPI(MPI_Comm_size(own->world, &own->head.size));
    TRY_MPI(MPI_Comm_split_type(own->world, MPI_COMM_TYPE_SHARED, own->head.rank, MPI_INFO_NULL,
                                &own->node));
    TRY_MPI(MPI_Comm_set_errhandler(own->node, MPI_ERRORS_RETURN));
    TRY_MPI(MPI_Comm_rank(own->node, &own->head.node_rank));
    TRY_MPI(MPI_Comm_size(own->node, &own->head.node_size));
    own->head.node_first = own->head.rank;
    TRY_MPI(MPI_Bcast(&own->head.node_first, 1, MPI_INT, 0, own->node));
    TRY_MPI(MPI_Type_contiguous(LETTER_UNIT, MPI_BYTE, &own->unit));
    TRY_MPI(MPI_Type_commit(&own->unit));
    TRY_MPI(MPI_Get_library_version(own->library, &length));
    own->library[strcspn(own->library, "\r\n")] = '\0';
    return PB_OK;
}

/* For calls whose failure can only be logged: in close and destroy. */
static void warn_failure(pb_status status)
{
    pb_ignore(status, "closing the process group");
}

/* Releases the slots of messages that have been sent. */
static pb_status collect_sent(mpi_comm *own)
{
    mpi_message **link = &own->sent;

    while (*link != NULL) {
        mpi_message *message = *link;
        int done             = 0;
        TRY_MPI(MPI_Test(&message->request, &done, MPI_STATUS_IGNORE));
        if (done) {
            *link         = message->next;
            message->next = own->spare;
            own->spare    = message;
        } else {
            link = &message->next;
        }
    }
    return PB_OK;
}

static void free_letter(mpi_letter *letter)
{
    pb_memory_free(letter->bytes);
    pb_memory_free(letter);
}

static pb_status collect_posted(mpi_comm *own)
{
    mpi_letter **link = &own->posted;

    while (*link != NULL) {
        mpi_letter *letter = *link;
        int done           = 0;
        TRY_MPI(MPI_Test(&letter->request, &done, MPI_STATUS_IGNORE));
        if (done) {
            *link = letter->next;
            free_letter(letter);
        } else {
            link = &letter->next;
        }
    }
    return PB_OK;
}

/* Waits for every rank, asleep between polls: the library itself waits at full speed, and a rank
 * may wait for hours while others work. A quick meeting does not pause. */
static pb_status meet(mpi_comm *own)
{
    MPI_Request request = MPI_REQUEST_NULL;
    pb_pause pause      = {0};
    int done            = 0;

    TRY_MPI(MPI_Ibarrier(own->world, &request));
    TRY_MPI(MPI_Test(&request, &done, MPI_STATUS_IGNORE));
    while (!done) {
        pb_clock_pause(&pause);
        TRY_MPI(MPI_Test(&request, &done, MPI_STATUS_IGNORE));
    }
    return collect_sent(own);
}

static pb_status add_spare(mpi_comm *own)
{
    mpi_message *message = NULL;

    PB_TRY(PB_ALLOC(message, 1));
    message->next = own->spare;
    own->spare    = message;
    return PB_OK;
}

static void free_messages(mpi_message **list)
{
    while (*list != NULL) {
        mpi_message *message = *list;
        *list                = message->next;
        pb_memory_free(message);
    }
}

static void disconnect(mpi_comm *own)
{
    if (own->node != MPI_COMM_NULL) {
        warn_failure(STATUS_OF(MPI_Comm_free(&own->node)));
    }
    if (own->world != MPI_COMM_NULL) {
        warn_failure(STATUS_OF(MPI_Comm_free(&own->world)));
    }
    if (own->unit != MPI_DATATYPE_NULL) {
        warn_failure(STATUS_OF(MPI_Type_free(&own->unit)));
    }
    warn_failure(STATUS_OF(MPI_Finalize()));
    free_messages(&own->sent); /* only now is it certain that nobody reads them */
    free_messages(&own->spare);
    while (own->posted != NULL) {
        mpi_letter *letter = own->posted;
        own->posted        = letter->next;
        free_letter(letter);
    }
    pb_memory_free(own);
}

static void mpi_close(pb_comm *comm)
{
    mpi_comm *own = (mpi_comm *)comm;

    warn_failure(meet(own));
    disconnect(own);
}

static pb_status mpi_open(int *argc, char ***argv, pb_comm **out)
{
    pb_status status;
    mpi_comm *own = NULL;

    PB_TRY(PB_ALLOC(own, 1));
    own->head.ops     = &comm_mpi;
    own->head.library = own->library;
    own->world        = MPI_COMM_NULL;
    own->node         = MPI_COMM_NULL;
    own->unit         = MPI_DATATYPE_NULL;
    PB_TRY_GOTO(status, start_library(argc, argv), err_memory);
    PB_TRY_GOTO(status, connect(own), err_library);
    for (int i = 0; i < 2 * own->head.size + 8; i++) {
        PB_TRY_GOTO(status, add_spare(own), err_library);
    }
    *out = &own->head;
    return PB_OK;

err_library:
    disconnect(own);
    return status;
err_memory:
    pb_memory_free(own);
    return status;
}

static void mpi_abort(pb_comm *comm, int code)
{
    mpi_comm *own = (mpi_comm *)comm;

    (void)fflush(NULL);
    (void)MPI_Abort(own->world, code);
    _Exit(code);
}

/* The fences order this process's loads and stores of shared windows around the barrier. */
static pb_status mpi_barrier(pb_comm *comm)
{
    mpi_comm *own = (mpi_comm *)comm;

    atomic_thread_fence(memory_order_seq_cst);
    PB_TRY(meet(own));
    atomic_thread_fence(memory_order_seq_cst);
    return PB_OK;
}

/* MPI 3 counts in int: larger blocks travel in chunks. */
static pb_status mpi_broadcast(pb_comm *comm, void *bytes, size_t size, int root)
{
    mpi_comm *own = (mpi_comm *)comm;
    char *at      = bytes;

    PB_TRY(meet(own));
    while (size > 0) {
        size_t chunk = size < CHUNK_BYTES ? size : CHUNK_BYTES;
        TRY_MPI(MPI_Bcast(at, (int)chunk, MPI_BYTE, root, own->world));
        at += chunk;
        size -= chunk;
    }
    return PB_OK;
}

static pb_status mpi_reduce_max(pb_comm *comm, int64_t *values, int count)
{
    mpi_comm *own = (mpi_comm *)comm;

    PB_TRY(meet(own));
    TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, values, count, MPI_INT64_T, MPI_MAX, own->world));
    return PB_OK;
}

static pb_status mpi_reduce_sum(pb_comm *comm, int64_t *values, int count)
{
    mpi_comm *own = (mpi_comm *)comm;

    PB_TRY(meet(own));
    TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, values, count, MPI_INT64_T, MPI_SUM, own->world));
    return PB_OK;
}

static pb_status mpi_send(pb_comm *comm, int to, const void *bytes, size_t size)
{
    mpi_comm *own = (mpi_comm *)comm;

    PB_TRY(collect_sent(own));
    if (own->spare == NULL) {
        PB_TRY(add_spare(own));
    }
    mpi_message *message = own->spare;
    memcpy(message->bytes, bytes, size);
    TRY_MPI(MPI_Isend(message->bytes, (int)size, MPI_BYTE, to, MESSAGE_TAG, own->world,
                      &message->request));
    own->spare    = message->next;
    message->next = own->sent;
    own->sent     = message;
    return PB_OK;
}

static pb_status mpi_receive(pb_comm *comm, void *bytes, size_t size, int *from)
{
    mpi_comm *own     = (mpi_comm *)comm;
    MPI_Status status = {0};
    int arrived       = 0;
    int length        = 0;

    PB_TRY(collect_sent(own));
    TRY_MPI(MPI_Iprobe(MPI_ANY_SOURCE, MESSAGE_TAG, own->world, &arrived, &status));
    if (!arrived) {
        return PB_OK;
    }
    TRY_MPI(MPI_Get_count(&status, MPI_BYTE, &length));
    if ((size_t)length != size) {
        return PB_FAIL(PB_ERR_COMM, "a message of %d bytes came where one of %zu was expected",
                       length, size);
    }
    TRY_MPI(MPI_Recv(bytes, length, MPI_BYTE, status.MPI_SOURCE, MESSAGE_TAG, own->world,
                     MPI_STATUS_IGNORE));
    *from = status.MPI_SOURCE;
    return PB_OK;
}

static pb_status seal_letter(mpi_letter *letter, const pb_comm_letter *of, int *units)
{
    uint64_t size = of->head_size + of->body_size;
    size_t count  = (size + sizeof size + LETTER_UNIT - 1) / LETTER_UNIT;

    if (count > INT_MAX) {
        return PB_FAIL(PB_ERR_ARGUMENT, "a letter of %" PRIu64 " bytes is too long", size);
    }
    PB_TRY(PB_ALLOC(letter->bytes, count * LETTER_UNIT));
    unsigned char *at = letter->bytes;
    memcpy(at, &size, sizeof size);
    memcpy(at + sizeof size, of->head, of->head_size);
    if (of->body_size > 0) {
        memcpy(at + sizeof size + of->head_size, of->body, of->body_size);
    }
    *units = (int)count;
    return PB_OK;
}

static pb_status mpi_post(pb_comm *comm, int to, const pb_comm_letter *of)
{
    mpi_comm *own      = (mpi_comm *)comm;
    mpi_letter *letter = NULL;
    int units          = 0;
    pb_status status;

    PB_TRY(collect_posted(own));
    PB_TRY(PB_ALLOC(letter, 1));
    PB_TRY_GOTO(status, seal_letter(letter, of, &units), err_letter);
    PB_TRY_GOTO(status,
                STATUS_OF(MPI_Isend(letter->bytes, units, own->unit, to, LETTER_TAG, own->world,
                                    &letter->request)),
                err_letter);
    letter->next = own->posted;
    own->posted  = letter;
    return PB_OK;

err_letter:
    free_letter(letter);
    return status;
}

/* The bytes of a letter without its size in front. */
static pb_status open_letter(const unsigned char *sealed, size_t room, void **bytes, size_t *size)
{
    uint64_t length     = 0;
    unsigned char *open = NULL;

    memcpy(&length, sealed, sizeof length);
    if (length > room - sizeof length) {
        return PB_FAIL(PB_ERR_COMM, "a letter of %zu bytes names a length of %" PRIu64, room,
                       length);
    }
    PB_TRY(PB_ALLOC(open, length + 1));
    memcpy(open, sealed + sizeof length, length);
    *bytes = open;
    *size  = length;
    return PB_OK;
}

static pb_status mpi_fetch(pb_comm *comm, void **bytes, size_t *size, int *from)
{
    mpi_comm *own         = (mpi_comm *)comm;
    MPI_Message message   = MPI_MESSAGE_NULL;
    MPI_Status status     = {0};
    unsigned char *sealed = NULL;
    int arrived           = 0;
    int units             = 0;
    pb_status result;

    PB_TRY(collect_posted(own));
    TRY_MPI(MPI_Improbe(MPI_ANY_SOURCE, LETTER_TAG, own->world, &arrived, &message, &status));
    if (!arrived) {
        return PB_OK;
    }
    TRY_MPI(MPI_Get_count(&status, own->unit, &units));
    PB_TRY(PB_ALLOC(sealed, (int64_t)units * LETTER_UNIT));
    PB_TRY_GOTO(result, STATUS_OF(MPI_Mrecv(sealed, units, own->unit, &message, MPI_STATUS_IGNORE)),
                done);
    PB_TRY_GOTO(result, open_letter(sealed, (size_t)units * LETTER_UNIT, bytes, size), done);
    *from = status.MPI_SOURCE;
done:
    pb_memory_free(sealed);
    return result;
}

/* Ranks agree after each local step, so that none waits for one that gave up. */
static pb_status share(mpi_comm *own, mpi_window *window, size_t bytes)
{
    pb_status status            = PB_OK;
    node_memory_address address = {0};

    if (window->head.is_filler) {
        status = node_memory_create(bytes, &window->head.data, &address);
    }
    bool created = window->head.is_filler && status == PB_OK;
    PB_TRY_GOTO(status, pb_comm_agree(&own->head, status), out_created);
    status = STATUS_OF(MPI_Bcast(&address, (int)sizeof address, MPI_BYTE, 0, own->node));
    if (status == PB_OK && !window->head.is_filler) {
        status = node_memory_attach(&address, bytes, &window->head.data);
    }
    status = pb_comm_agree(&own->head, status);
out_created:
    if (created) {
        node_memory_seal(&address);
    }
    return status;
}

static pb_status mpi_window_create(pb_comm *comm, size_t bytes, pb_comm_window **out)
{
    pb_status status;
    mpi_window *window = NULL;

    PB_TRY_GOTO(status, pb_comm_agree(comm, PB_ALLOC(window, 1)), err_memory);
    window->head  = (pb_comm_window){.ops = comm->ops, .is_filler = comm->node_rank == 0};
    window->bytes = bytes;
    PB_TRY_GOTO(status, share((mpi_comm *)comm, window, bytes), err_memory);
    window->accounted = window->head.is_filler ? (int64_t)bytes : 0;
    pb_memory_account(window->accounted);
    *out = &window->head;
    return PB_OK;

err_memory:
    if (window != NULL) {
        node_memory_detach(window->head.data, bytes);
    }
    pb_memory_free(window);
    return status;
}

static void mpi_window_destroy(pb_comm_window *window)
{
    mpi_window *own = (mpi_window *)window;

    node_memory_detach(own->head.data, own->bytes);
    pb_memory_account(-own->accounted);
    pb_memory_free(own);
}

const pb_comm_ops comm_mpi = {
    .name           = "mpi",
    .open           = mpi_open,
    .close          = mpi_close,
    .abort          = mpi_abort,
    .barrier        = mpi_barrier,
    .broadcast      = mpi_broadcast,
    .reduce_max     = mpi_reduce_max,
    .reduce_sum     = mpi_reduce_sum,
    .send           = mpi_send,
    .receive        = mpi_receive,
    .post           = mpi_post,
    .fetch          = mpi_fetch,
    .window_create  = mpi_window_create,
    .window_destroy = mpi_window_destroy,
};
