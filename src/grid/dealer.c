// SPDX-License-Identifier: Apache-2.0
/* Dealing out the gangs, often of one cell, by plain messages.
 *
 * Rank 0 keeps the list and works on gangs like any other rank: it answers wherever it checks for a
 * stop, between steps and batches, and while it is idle. The first gangs are dealt without a
 * message, one to each rank in order. Later a rank asks while its gang still runs, so that the
 * answer arrives in time, but as late as possible, because a gang reserved for a busy rank cannot
 * go to an idle one: when the rest of the gang takes about as long as rank 0 takes to answer.
 *
 * Every other rank ends with LEAVE, which gives back a gang it was dealt but has not begun; after
 * that no message is in flight between two ranks. Rank 0 leaves last. */
#include "internal.h"

#include "pb/clock.h"
#include "pb/log.h"
#include "pb/memory.h"
#include "pb/stop.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NONE = -1 };

/* Messages are polled at most this often: stops are checked in short loops too. */
#define SECONDS_BETWEEN_POLLS 1e-3

typedef enum message_kind {
    MESSAGE_ASK,
    MESSAGE_FINISHED, /* place of the cell, failed, seconds, text */
    MESSAGE_LEAVE,    /* gang that was not begun, or NONE; failed: a signal came */
    MESSAGE_DEAL,     /* gang, or NONE: no more; seconds: how long an answer takes */
} message_kind;

typedef struct message {
    int64_t kind, cell, failed;
    double seconds;
    char text[GRID_MESSAGE];
} message;

_Static_assert(sizeof(message) <= PB_COMM_MESSAGE_BYTES, "a message fits into one of the group");

static bool deals(const grid_dealer *d)
{
    return pb_comm_rank(d->comm) == 0;
}

pb_status grid_dealer_open(grid_dealer *d, pb_comm *comm, const pb_grid_cells *cells,
                           const grid_gangs *gangs)
{
    int64_t count = gangs->count;
    int64_t ranks = pb_comm_size(comm);
    int64_t rank  = pb_comm_rank(comm);

    *d = (grid_dealer){.comm    = comm,
                       .cells   = cells,
                       .gangs   = gangs,
                       .skipped = cells->count - gangs->cells,
                       .dealt   = gangs->first[ranks < count ? ranks : count],
                       .held    = rank < count ? rank : NONE,
                       .polled  = pb_clock_seconds()};
    if (rank != 0) {
        return PB_OK;
    }
    PB_TRY(grid_estimate_open(&d->estimate, cells, gangs));
    PB_TRY(PB_ALLOC(d->free, count));
    for (int64_t i = ranks; i < count; i++) {
        d->free[i] = true;
    }
    d->others = (int)ranks - 1;
    return PB_OK;
}

void grid_dealer_close(grid_dealer *d)
{
    grid_estimate_close(&d->estimate);
    pb_memory_free(d->free);
    d->free = NULL;
}

/* One line per cell, logged by rank 0, the only one to know how many are done. */
static void log_finished(const grid_dealer *d, const message *m, int rank)
{
    const pb_grid_cell *cell = &d->cells->items[d->gangs->todo[m->cell]];
    int64_t done             = d->skipped + d->finished;
    char where[32]           = "";

    if (pb_comm_size(d->comm) > 1) {
        (void)snprintf(where, sizeof where, ", rank %d", rank);
    }
    if (m->failed) {
        pb_log0_warn("cell %" PRId64 " of %" PRId64 " %s/%s/%s/%" PRId64 " failed, %.1f s%s: %s",
                     done, d->cells->count, cell->model, cell->dataset, cell->method, cell->seed,
                     m->seconds, where, m->text);
    } else {
        pb_log0_info("cell %" PRId64 " of %" PRId64 " %s/%s/%s/%" PRId64 " done, %.1f s%s", done,
                     d->cells->count, cell->model, cell->dataset, cell->method, cell->seed,
                     m->seconds, where);
    }
}

/* The next gang to deal, on rank 0; NONE after a signal to stop. */
static int64_t deal(grid_dealer *d)
{
    int64_t gang = d->ends ? NONE : grid_estimate_longest(&d->estimate, d->free);
    if (gang != NONE) {
        d->free[gang] = false;
        d->dealt += grid_gang_size(d->gangs, gang);
    }
    return gang;
}

static void take_back(grid_dealer *d, int64_t gang)
{
    if (gang != NONE) {
        d->free[gang] = true;
        grid_estimate_free(&d->estimate, gang);
        d->dealt -= grid_gang_size(d->gangs, gang);
    }
}

/* Seconds within which a question should be answered if rank 0 polls as often as before: the mean
 * length of the gap between two polls that a random moment falls into. */
static double answer_seconds(const grid_dealer *d)
{
    return d->gaps > 0.0 ? d->gap_squares / d->gaps : 0.0;
}

static pb_status answer(grid_dealer *d, int rank)
{
    message m = {.kind = MESSAGE_DEAL, .cell = deal(d), .seconds = answer_seconds(d)};
    return pb_comm_send(d->comm, rank, &m, sizeof m);
}

static void note_finished(grid_dealer *d, const message *m, int rank)
{
    d->finished++;
    d->failed += m->failed;
    grid_estimate_finished(&d->estimate, m->cell, m->seconds, m->failed != 0);
    log_finished(d, m, rank);
}

static pb_status handle(grid_dealer *d, const message *m, int rank)
{
    switch ((message_kind)m->kind) {
    case MESSAGE_ASK:
        return answer(d, rank);
    case MESSAGE_FINISHED:
        note_finished(d, m, rank);
        return PB_OK;
    case MESSAGE_LEAVE:
        d->others--;
        d->ends = d->ends || m->failed;
        take_back(d, m->cell);
        return PB_OK;
    case MESSAGE_DEAL:
        d->asked        = false;
        d->held         = m->cell;
        d->over         = m->cell == NONE;
        d->answer_takes = m->seconds;
        return PB_OK;
    }
    return PB_FAIL(PB_ERR_COMM, "rank %d sent a message of kind %" PRId64, rank, m->kind);
}

static pb_status receive(grid_dealer *d)
{
    message m;
    int from = NONE;

    do {
        PB_TRY(pb_comm_receive(d->comm, &m, sizeof m, &from));
        if (from != NONE) {
            m.text[sizeof m.text - 1] = '\0';
            PB_TRY(handle(d, &m, from));
        }
    } while (from != NONE);
    return PB_OK;
}

/* Nothing can be returned in the middle of a cell: the next call that can returns it. */
static void note_trouble(grid_dealer *d, pb_status status)
{
    if (status != PB_OK) {
        d->broken = true;
        (void)snprintf(d->trouble, sizeof d->trouble, "%s", pb_error_message());
        pb_error_clear();
    }
}

bool grid_dealer_poll(grid_dealer *d)
{
    double gap = pb_clock_seconds() - d->polled;

    if (d->broken || pb_comm_size(d->comm) == 1 || gap < SECONDS_BETWEEN_POLLS) {
        return !d->broken;
    }
    d->polled += gap;
    d->gaps += gap;
    d->gap_squares += gap * gap;
    note_trouble(d, receive(d));
    return !d->broken;
}

static pb_status check(const grid_dealer *d)
{
    return d->broken ? PB_FAIL(PB_ERR_COMM, "%s", d->trouble) : PB_OK;
}

static pb_status ask(grid_dealer *d)
{
    const message m = {.kind = MESSAGE_ASK, .cell = NONE};

    if (deals(d) || d->asked || d->over || d->held != NONE) {
        return PB_OK;
    }
    d->asked = true;
    return pb_comm_send(d->comm, 0, &m, sizeof m);
}

void grid_dealer_expect_end(grid_dealer *d, double seconds)
{
    if (!d->broken && seconds <= d->answer_takes) {
        note_trouble(d, ask(d));
    }
}

/* While the answer to a question is in flight. */
static pb_status await_answer(grid_dealer *d)
{
    pb_pause pause = {0};

    PB_TRY(check(d));
    PB_TRY(receive(d));
    while (d->asked) {
        pb_clock_pause(&pause);
        PB_TRY(receive(d));
    }
    return PB_OK;
}

pb_status grid_dealer_take(grid_dealer *d, int64_t *gang)
{
    pb_pause pause = {0};

    PB_TRY(check(d));
    if (!deals(d)) {
        PB_TRY(ask(d));
        PB_TRY(await_answer(d));
    } else if (d->held == NONE) {
        PB_TRY(receive(d));
        /* A leaving rank may still give a cell back. */
        while ((d->held = deal(d)) == NONE && d->others > 0) {
            d->ends = d->ends || pb_stop_signal() != NULL;
            d->idle(d->idle_context);
            pb_clock_pause(&pause);
            PB_TRY(receive(d));
        }
    }
    d->polled = pb_clock_seconds(); /* a wait is not a gap between two polls */
    *gang     = d->held;
    d->held   = NONE;
    return PB_OK;
}

void grid_dealer_put_back(grid_dealer *d, int64_t gang)
{
    d->held = gang;
}

pb_status grid_dealer_finished(grid_dealer *d, int64_t place, const pb_grid_outcome *outcome)
{
    message m = {.kind    = MESSAGE_FINISHED,
                 .cell    = place,
                 .failed  = outcome->failed,
                 .seconds = outcome->seconds};

    _Static_assert(sizeof m.text == sizeof outcome->message, "the text of an outcome fits");
    memcpy(m.text, outcome->message, sizeof m.text);
    PB_TRY(check(d));
    if (deals(d)) {
        note_finished(d, &m, 0);
        return PB_OK;
    }
    return pb_comm_send(d->comm, 0, &m, sizeof m);
}

pb_status grid_dealer_leave(grid_dealer *d)
{
    bool signalled = pb_stop_signal() != NULL;
    pb_pause pause = {0};

    PB_TRY(await_answer(d));
    message m = {.kind = MESSAGE_LEAVE, .cell = d->held, .failed = signalled};
    d->held   = NONE;
    if (!deals(d)) {
        return pb_comm_send(d->comm, 0, &m, sizeof m);
    }
    d->ends = d->ends || signalled;
    take_back(d, m.cell);
    while (d->others > 0) {
        PB_TRY(receive(d));
        d->idle(d->idle_context);
        pb_clock_pause(&pause);
    }
    return PB_OK;
}
