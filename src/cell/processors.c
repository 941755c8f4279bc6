// SPDX-License-Identifier: Apache-2.0
/* Detects more threads than processors in a group: every process has its own mask, and the
 * processes of a node share the processors that their masks have in common. Rank 0 warns once. */
#include "internal.h"

#include "pb/log.h"
#include "pb/memory.h"
#include "pb/processors.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* What all ranks know: columns with one number per rank. */
enum { ONLINE, ALLOWED, GRANTED, MASK, HOST, COLUMNS };

typedef struct table {
    int64_t *values; /* [COLUMNS, ranks] */
    int ranks, threads;
} table;

static int64_t at(const table *t, int column, int rank)
{
    return t->values[column * t->ranks + rank];
}

static pb_processors processors_of(const table *t, int rank)
{
    return (pb_processors){.online  = at(t, ONLINE, rank),
                           .allowed = at(t, ALLOWED, rank),
                           .granted = at(t, GRANTED, rank),
                           .mask    = at(t, MASK, rank)};
}

static int64_t host_number(void)
{
    char name[256] = "";
    uint64_t hash  = 14695981039346656037u;
    gethostname(name, sizeof name - 1);
    for (const char *c = name; *c != '\0'; c++) {
        hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    }
    return (int64_t)(hash >> 1);
}

static pb_status gather(const pb_cell_env *env, table *t)
{
    pb_processors p;
    int rank = pb_comm_rank(env->comm);
    pb_processors_get(&p);
    t->values[ONLINE * t->ranks + rank]  = p.online;
    t->values[ALLOWED * t->ranks + rank] = p.allowed;
    t->values[GRANTED * t->ranks + rank] = p.granted;
    t->values[MASK * t->ranks + rank]    = p.mask;
    t->values[HOST * t->ranks + rank]    = host_number();
    return pb_comm_reduce_sum(env->comm, t->values, COLUMNS * t->ranks);
}

/* "rank 1", "ranks 1, 3, 4 and 5 more". */
static pb_status put_ranks(const table *t, int first, int64_t count, pb_string *out)
{
    enum { SHOWN = 3 };
    int64_t shown = 0;
    PB_TRY(pb_string_puts(out, count == 1 ? "rank" : "ranks"));
    for (int rank = first; rank < t->ranks && shown < SHOWN; rank++) {
        pb_processors p = processors_of(t, rank);
        if (pb_processors_usable(&p) < t->threads) {
            PB_TRY(pb_string_printf(out, "%s %d", shown > 0 ? "," : "", rank));
            shown++;
        }
    }
    return count > shown ? pb_string_printf(out, " and %" PRId64 " more", count - shown) : PB_OK;
}

/* Warns about ranks that have fewer processors than threads on their own. */
static pb_status warn_of_ranks(const table *t, int first, int64_t count)
{
    pb_string who    = {0};
    pb_string advice = {0};
    pb_processors p  = processors_of(t, first);
    int64_t usable   = pb_processors_usable(&p);
    pb_status status = PB_OK;
    if (t->ranks > 1 && count < t->ranks) {
        status = put_ranks(t, first, count, &who);
    } else {
        status = pb_string_puts(&who, t->ranks > 1 ? "every process" : "this process");
    }
    if (status == PB_OK) {
        status = pb_processors_advise(&p, pb_processors_launcher(), t->threads, &advice);
    }
    if (status == PB_OK) {
        pb_log0_warn("%s: %d threads share %" PRId64 " processor%s and wait for each other: %s",
                     who.data, t->threads, usable, usable == 1 ? "" : "s", advice.data);
    }
    pb_string_clear(&who);
    pb_string_clear(&advice);
    return status;
}

/* The processors that the ranks of rank's host may use together, and the number of these ranks. Two
 * masks are equal or, with the masks that launchers set, disjoint. */
static int64_t host_processors(const table *t, int rank, int64_t *ranks)
{
    int64_t sum = 0;
    *ranks      = 0;
    for (int other = 0; other < t->ranks; other++) {
        bool again = false;
        if (at(t, HOST, other) != at(t, HOST, rank)) {
            continue;
        }
        for (int before = 0; before < other && !again; before++) {
            again = at(t, HOST, before) == at(t, HOST, other) &&
                    at(t, MASK, before) == at(t, MASK, other);
        }
        pb_processors p = processors_of(t, other);
        sum += again ? 0 : pb_processors_usable(&p);
        (*ranks)++;
    }
    return sum < at(t, ONLINE, rank) ? sum : at(t, ONLINE, rank);
}

static bool is_first_of_host(const table *t, int rank)
{
    int first = 0;
    while (at(t, HOST, first) != at(t, HOST, rank)) {
        first++;
    }
    return first == rank;
}

/* Masks, not the node or a limit of time, leave too little. */
static bool is_bound(const table *t, int rank, int64_t have)
{
    pb_processors p = processors_of(t, rank);
    return have < p.online && p.granted >= p.allowed;
}

/* Warns about processes that have enough processors on their own, but not together. */
static pb_status warn_of_host(const table *t)
{
    for (int rank = 0; rank < t->ranks; rank++) {
        int64_t ranks    = 0;
        pb_string advice = {0};
        if (!is_first_of_host(t, rank)) {
            continue;
        }
        int64_t have = host_processors(t, rank, &ranks);
        if (ranks * t->threads <= have) {
            continue;
        }
        PB_TRY(is_bound(t, rank, have)
                   ? pb_processors_advise_spread(pb_processors_launcher(), t->threads, &advice)
                   : pb_string_puts(&advice, "start fewer processes, or give each fewer threads"));
        pb_log0_warn("%" PRId64 " processes of %d thread%s share %" PRId64 " of %" PRId64
                     " processor%s of a node: %s",
                     ranks, t->threads, t->threads == 1 ? "" : "s", have, at(t, ONLINE, rank),
                     at(t, ONLINE, rank) == 1 ? "" : "s", advice.data);
        pb_string_clear(&advice);
        return PB_OK;
    }
    return PB_OK;
}

static pb_status report(const table *t)
{
    int64_t count = 0;
    int first     = 0;
    for (int rank = t->ranks - 1; rank >= 0; rank--) {
        pb_processors p = processors_of(t, rank);
        if (pb_processors_usable(&p) < t->threads) {
            first = rank;
            count++;
        }
    }
    if (count > 0) {
        return warn_of_ranks(t, first, count);
    }
    return warn_of_host(t);
}

pb_status env_report_processors(const pb_cell_env *env, bool open)
{
    if (open) {
        pb_processors_report_open(env->setup.threads);
    }
    table t          = {.ranks = pb_comm_size(env->comm), .threads = env->setup.threads};
    pb_status status = PB_ALLOC(t.values, (size_t)COLUMNS * (size_t)t.ranks);
    PB_TRY(pb_comm_agree(env->comm, status));
    status = gather(env, &t);
    if (status == PB_OK && pb_comm_rank(env->comm) == 0) {
        status = report(&t);
    }
    pb_memory_free(t.values);
    return status;
}
