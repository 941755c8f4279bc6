// SPDX-License-Identifier: Apache-2.0
/* Dealing out the gangs, often of one cell, by plain messages.
 *
 * Rank 0 keeps the list and works on gangs like any other rank: it answers wherever it checks for a
 * stop, between steps and batches, and while it is idle. The first gangs are dealt without a
 * question, one to each rank in order. Later a rank asks while its gang still runs, so that the
 * answer arrives in time, but as late as possible, because a gang reserved for a busy rank cannot
 * go to an idle one: when the rest of the gang takes about as long as rank 0 takes to answer.
 *
 * When no gang is left, a rank may be dealt one that another rank runs, to help with it: it says
 * when it is READY, its leader hears of it by JOIN, and OVER ends its help. Rank 0 sends OVER when
 * the leader says so, has finished, or leaves.
 *
 * While there is nothing to deal to a rank, its question waits for an answer as long as another
 * rank may give a gang back or lose a helper; NONE is the answer when no gang is led any more, or
 * to a rank that has to leave and says so by WITHDRAW. A rank that gets a signal reports it to rank
 * 0, which passes it on to all by STOP.
 *
 * Every other rank ends with LEAVE, which gives back a gang it was dealt but has not begun, and
 * waits for BYE; after that no message is in flight between two ranks. Rank 0 leaves last. */
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

/* A rank whose pauses have grown to so many seconds is idle. */
#define IDLE_PAUSE 5e-3

/* Messages are polled at most this often: stops are checked in short loops too. */
#define SECONDS_BETWEEN_POLLS 1e-3

typedef enum message_kind {
    MESSAGE_ASK,      /* failed: not for help */
    MESSAGE_FINISHED, /* place of the cell, failed, seconds, text */
    MESSAGE_LEAVE,    /* gang that was not begun, or NONE; failed: a signal came */
    MESSAGE_DEAL,     /* gang, or NONE: no more; its leader; seconds: how long an answer takes */
    MESSAGE_READY,    /* gang that is helped */
    MESSAGE_JOIN,     /* gang, and in `leader` the rank that helps */
    MESSAGE_ALONE,    /* gang that needs no more help */
    MESSAGE_OVER,     /* gang that was helped */
    MESSAGE_WITHDRAW, /* no answer is waited for */
    MESSAGE_STOP,     /* a signal came */
    MESSAGE_BYE,
} message_kind;

typedef struct message {
    int64_t kind, cell, failed, leader;
    double seconds;
    char text[GRID_MESSAGE];
} message;

_Static_assert(sizeof(message) <= PB_COMM_MESSAGE_BYTES, "a message fits into one of the group");

static bool deals(const grid_dealer *d)
{
    return pb_comm_rank(d->comm) == 0;
}

pb_status grid_dealer_open(grid_dealer *d, pb_comm *comm, const pb_grid_cells *cells,
                           const grid_gangs *gangs, const pb_grid_job *job)
{
    *d = (grid_dealer){.comm     = comm,
                       .cells    = cells,
                       .gangs    = gangs,
                       .job      = job,
                       .skipped  = cells->count - gangs->cells,
                       .held     = {.gang = NONE, .leader = NONE},
                       .current  = {.gang = NONE, .leader = NONE},
                       .released = NONE,
                       .polled   = pb_clock_seconds()};
    PB_TRY(PB_ALLOC(d->joined, pb_comm_size(comm)));
    if (!deals(d)) {
        d->asked = true;
        return PB_OK;
    }
    PB_TRY(PB_ALLOC(d->peers, pb_comm_size(comm)));
    PB_TRY(grid_help_open(&d->help, gangs->count, pb_comm_size(comm)));
    PB_TRY(grid_estimate_open(&d->estimate, cells, gangs));
    PB_TRY(PB_ALLOC(d->free, gangs->count));
    for (int64_t i = 0; i < gangs->count; i++) {
        d->free[i] = true;
    }
    d->others = pb_comm_size(comm) - 1;
    return PB_OK;
}

void grid_dealer_close(grid_dealer *d)
{
    grid_estimate_close(&d->estimate);
    grid_help_close(&d->help);
    pb_memory_free(d->joined);
    d->joined = NULL;
    pb_memory_free(d->peers);
    d->peers = NULL;
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

/* Whether this group may run the gang; the cells of any other count as passed. */
static bool take(grid_dealer *d, int64_t gang)
{
    const pb_grid_job *job = d->job;
    int64_t first          = d->gangs->first[gang];
    int64_t count          = grid_gang_size(d->gangs, gang);
    pb_grid_turn turn =
        job->take == NULL ? PB_GRID_OURS : job->take(job->context, d->gangs->todo + first, count);
    if (turn == PB_GRID_OURS) {
        d->dealt += count;
        return true;
    }
    d->passed += count;
    d->skipped += turn == PB_GRID_DONE ? count : 0;
    for (int64_t i = 0; i < count; i++) {
        grid_estimate_finished(&d->estimate, first + i, 0.0, false);
    }
    return false;
}

/* The free gang that takes longest and that this group may run. */
static int64_t next_gang(grid_dealer *d)
{
    int64_t gang = NONE;
    do {
        gang = grid_estimate_longest(&d->estimate, d->free);
        if (gang != NONE) {
            d->free[gang] = false;
        }
    } while (gang != NONE && !take(d, gang));
    return gang;
}

/* The next gang to deal, on rank 0, or to help with; NONE after a signal to stop. */
static grid_deal deal(grid_dealer *d, int rank, bool helpless)
{
    int64_t gang = d->stopped ? NONE : next_gang(d);
    grid_help_stop(&d->help, rank);
    if (gang != NONE) {
        grid_help_lead(&d->help, gang, rank);
    } else if (!d->stopped && !helpless) {
        gang = grid_help_choose(&d->help, rank);
        return (grid_deal){.gang = gang, .leader = gang != NONE ? d->help.runs[gang].leader : NONE};
    }
    return (grid_deal){.gang = gang, .leader = NONE};
}

static void take_back(grid_dealer *d, int64_t gang)
{
    if (gang != NONE) {
        d->free[gang] = true;
        grid_help_lead(&d->help, gang, NONE);
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

static pb_status send_deal(grid_dealer *d, int rank, const grid_deal *next)
{
    const message m      = {.kind    = MESSAGE_DEAL,
                            .cell    = next->gang,
                            .leader  = next->leader,
                            .seconds = answer_seconds(d)};
    d->peers[rank].waits = false;
    return pb_comm_send(d->comm, rank, &m, sizeof m);
}

static pb_status answer(grid_dealer *d, int rank, bool helpless)
{
    const grid_deal next = deal(d, rank, helpless);
    d->peers[rank]       = (grid_peer){.waits = true, .helpless = helpless};
    bool later           = next.gang == NONE && d->help.led > 0 && !d->stopped;
    return later ? PB_OK : send_deal(d, rank, &next);
}

static pb_status answer_waiting(grid_dealer *d)
{
    d->help.changed = false;
    for (int rank = 1; rank < d->help.ranks; rank++) {
        PB_TRY(d->peers[rank].waits ? answer(d, rank, d->peers[rank].helpless) : PB_OK);
    }
    return PB_OK;
}

pb_status grid_dealer_begin(grid_dealer *d)
{
    if (!deals(d)) {
        return PB_OK;
    }
    d->held = deal(d, 0, false);
    for (int rank = 1; rank < pb_comm_size(d->comm); rank++) {
        PB_TRY(answer(d, rank, false));
    }
    return PB_OK;
}

static pb_status handle(grid_dealer *d, const message *m, int rank);

/* Rank 0 may lead or help too. */
static pb_status notify(grid_dealer *d, int to, message_kind kind, int64_t gang, int helper)
{
    const message m = {.kind = kind, .cell = gang, .leader = helper};
    if (to == pb_comm_rank(d->comm)) {
        return handle(d, &m, to);
    }
    return pb_comm_send(d->comm, to, &m, sizeof m);
}

/* Releases those that help with a gang. */
static pb_status end_help(grid_dealer *d, int64_t gang)
{
    for (int rank = 0; rank < d->help.ranks; rank++) {
        if (d->help.helped[rank] == gang) {
            grid_help_stop(&d->help, rank);
            PB_TRY(notify(d, rank, MESSAGE_OVER, gang, NONE));
        }
    }
    return PB_OK;
}

static pb_status end_lead(grid_dealer *d, int64_t gang)
{
    grid_help_lead(&d->help, gang, NONE);
    return end_help(d, gang);
}

/* What the rank has not finished, it does not go on with. */
static pb_status end_leads(grid_dealer *d, int rank)
{
    for (int64_t gang = 0; gang < d->gangs->count; gang++) {
        if (d->help.runs[gang].leader == rank) {
            PB_TRY(end_lead(d, gang));
        }
    }
    return PB_OK;
}

/* The gang of the cell at a place. */
static int64_t gang_at(const grid_gangs *gangs, int64_t place)
{
    int64_t low = 0, high = gangs->count - 1;
    while (low < high) {
        int64_t middle = (low + high + 1) / 2;
        if (gangs->first[middle] <= place) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

static pb_status note_finished(grid_dealer *d, const message *m, int rank)
{
    d->finished++;
    d->failed += m->failed;
    if (d->job->over != NULL) {
        d->job->over(d->job->context, d->gangs->todo[m->cell]);
    }
    grid_estimate_finished(&d->estimate, m->cell, m->seconds, m->failed != 0);
    log_finished(d, m, rank);
    return end_lead(d, gang_at(d->gangs, m->cell));
}

/* Every rank stops what it is doing, and nothing more is dealt. */
static pb_status stop_all(grid_dealer *d)
{
    bool before = d->stopped;
    d->stopped = d->help.changed = true;
    for (int rank = 1; rank < d->help.ranks && !before; rank++) {
        PB_TRY(d->peers[rank].left ? PB_OK : notify(d, rank, MESSAGE_STOP, NONE, NONE));
    }
    return PB_OK;
}

static pb_status note_left(grid_dealer *d, const message *m, int rank)
{
    d->others--;
    d->peers[rank].left = true;
    PB_TRY(m->failed ? stop_all(d) : PB_OK);
    take_back(d, m->cell);
    grid_help_stop(&d->help, rank);
    PB_TRY(end_leads(d, rank));
    return notify(d, rank, MESSAGE_BYE, NONE, NONE);
}

/* Those that came too late, to a gang that has ended, are released by rank 0. */
static void note_joined(grid_dealer *d, int64_t gang, int rank)
{
    int kept = 0;
    for (int i = 0; i < d->joined_count; i++) {
        if (d->joined[i].gang == d->current.gang || d->joined[i].gang == d->held.gang) {
            d->joined[kept++] = d->joined[i];
        }
    }
    d->joined_count              = kept;
    d->joined[d->joined_count++] = (grid_deal){.gang = gang, .leader = rank};
}

static pb_status handle(grid_dealer *d, const message *m, int rank)
{
    static const grid_deal nothing = {.gang = NONE, .leader = NONE};

    switch ((message_kind)m->kind) {
    case MESSAGE_ASK:
        return answer(d, rank, m->failed != 0);
    case MESSAGE_FINISHED:
        return note_finished(d, m, rank);
    case MESSAGE_LEAVE:
        return note_left(d, m, rank);
    case MESSAGE_DEAL:
        d->asked        = false;
        d->released     = NONE;
        d->held         = (grid_deal){.gang = m->cell, .leader = (int)m->leader};
        d->over         = m->cell == NONE;
        d->answer_takes = m->seconds;
        return PB_OK;
    case MESSAGE_READY: /* OVER may be on its way */
        return d->help.helped[rank] != m->cell
                   ? PB_OK
                   : notify(d, d->help.runs[m->cell].leader, MESSAGE_JOIN, m->cell, rank);
    case MESSAGE_JOIN:
        note_joined(d, m->cell, (int)m->leader);
        return PB_OK;
    case MESSAGE_ALONE:
        d->help.runs[m->cell].parts = 1;
        return end_help(d, m->cell);
    case MESSAGE_OVER:
        d->released = m->cell;
        return PB_OK;
    case MESSAGE_WITHDRAW:
        return d->peers[rank].waits ? send_deal(d, rank, &nothing) : PB_OK;
    case MESSAGE_STOP:
        d->stopped = d->stopped || !deals(d);
        return deals(d) ? stop_all(d) : PB_OK;
    case MESSAGE_BYE:
        d->left = true;
        return PB_OK;
    }
    return PB_FAIL(PB_ERR_COMM, "rank %d sent a message of kind %" PRId64, rank, m->kind);
}

static pb_status receive(grid_dealer *d)
{
    message m;
    int from = NONE;

    if (!d->told && pb_stop_signal() != NULL) {
        d->told = true;
        PB_TRY(notify(d, 0, MESSAGE_STOP, NONE, NONE));
    }
    do {
        PB_TRY(pb_comm_receive(d->comm, &m, sizeof m, &from));
        if (from != NONE) {
            m.text[sizeof m.text - 1] = '\0';
            PB_TRY(handle(d, &m, from));
        }
    } while (from != NONE);
    return deals(d) && d->help.changed ? answer_waiting(d) : PB_OK;
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
    const message m = {.kind = MESSAGE_ASK, .cell = NONE, .failed = d->helpless};

    if (deals(d) || d->asked || d->over || d->held.gang != NONE) {
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
        if (pause.seconds >= IDLE_PAUSE) {
            d->idle(d->idle_context);
        }
        PB_TRY(receive(d));
    }
    return PB_OK;
}

pb_status grid_dealer_take(grid_dealer *d, grid_deal *next)
{
    pb_pause pause = {0};

    d->current = (grid_deal){.gang = NONE, .leader = NONE};
    PB_TRY(check(d));
    if (!deals(d)) {
        PB_TRY(ask(d));
        PB_TRY(await_answer(d));
    } else if (d->held.gang == NONE) {
        PB_TRY(receive(d));
        d->released = NONE;
        while ((d->held = deal(d, 0, d->helpless)).gang == NONE && d->help.led > 0) {
            d->idle(d->idle_context);
            pb_clock_pause(&pause);
            PB_TRY(receive(d));
        }
    }
    d->polled  = pb_clock_seconds(); /* a wait is not a gap between two polls */
    *next      = d->held;
    d->current = d->held;
    d->held    = (grid_deal){.gang = NONE, .leader = NONE};
    return PB_OK;
}

void grid_dealer_put_back(grid_dealer *d)
{
    d->held    = d->current;
    d->current = (grid_deal){.gang = NONE, .leader = NONE};
}

pb_status grid_dealer_ready(grid_dealer *d)
{
    PB_TRY(check(d));
    return notify(d, 0, MESSAGE_READY, d->current.gang, NONE);
}

int grid_dealer_joined(grid_dealer *d)
{
    for (int i = 0; i < d->joined_count; i++) {
        if (d->joined[i].gang == d->current.gang) {
            int rank     = d->joined[i].leader;
            d->joined[i] = d->joined[--d->joined_count];
            return rank;
        }
    }
    return NONE;
}

void grid_dealer_alone(grid_dealer *d)
{
    if (!d->broken && pb_comm_size(d->comm) > 1 && d->current.gang != NONE) {
        note_trouble(d, notify(d, 0, MESSAGE_ALONE, d->current.gang, NONE));
    }
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
        return note_finished(d, &m, 0);
    }
    return pb_comm_send(d->comm, 0, &m, sizeof m);
}

pb_status grid_dealer_leave(grid_dealer *d)
{
    pb_pause pause = {0};

    if (d->asked && !deals(d)) {
        PB_TRY(notify(d, 0, MESSAGE_WITHDRAW, NONE, NONE));
    }
    PB_TRY(await_answer(d));
    const message m = {.kind   = MESSAGE_LEAVE,
                       .cell   = d->held.leader == NONE ? d->held.gang : NONE,
                       .failed = pb_stop_signal() != NULL};
    d->told         = d->told || !deals(d); /* nothing follows this message */
    d->held         = (grid_deal){.gang = NONE, .leader = NONE};
    d->current      = d->held;
    if (!deals(d)) {
        PB_TRY(pb_comm_send(d->comm, 0, &m, sizeof m));
        while (!d->left) {
            pb_clock_pause(&pause);
            PB_TRY(receive(d));
        }
        return PB_OK;
    }
    take_back(d, m.cell);
    grid_help_stop(&d->help, 0);
    PB_TRY(end_leads(d, 0));
    while (d->others > 0) {
        PB_TRY(receive(d));
        d->idle(d->idle_context);
        pb_clock_pause(&pause);
    }
    return PB_OK;
}
