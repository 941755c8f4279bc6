// SPDX-License-Identifier: Apache-2.0
#include "claims.h"

#include "claim.h"

#include "pb/clock.h"
#include "pb/log.h"
#include "pb/memory.h"
#include "pb/stop.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FOLDER "claims"

/* Baselines of one claim. */
enum { BASELINES = 32, END = -1 };

/* The cells of one claim, by their places in the plan. */
typedef struct unit {
    int64_t first, last;
    int64_t left; /* of them not done */
    bool held;
} unit;

struct claims {
    const pb_sweep *sweep;
    folder *folder;
    int64_t *places; /* [cells] of the sweep's cells in the plan */
    int64_t *units;  /* [cells] by place */
    int64_t *next;   /* [cells] by place: the next one of the unit */
    unit *items;
    int64_t count;
    bool failed;
    pb_status status;
    char message[512];
};

static const pb_cell *cell_at(const claims *c, int64_t place)
{
    return c->sweep->cells.items[c->folder->numbers[place]].cell;
}

static int64_t group_at(const claims *c, int64_t place)
{
    return c->sweep->cells.items[c->folder->numbers[place]].group;
}

static bool is_done(const claims *c, int64_t place)
{
    return c->folder->done[c->folder->numbers[place]];
}

/* ---------------------------------------------------------------- units */

static bool is_short(const pb_cell *cell)
{
    return pb_cell_is_baseline(cell) && !pb_cell_same_group(cell, cell);
}

/* The unit that the cell belongs to, among those so far; `units`: of the groups of a search. END:
 * it begins one. */
static int64_t find_unit(const claims *c, int64_t place, const int64_t *units)
{
    const pb_cell *cell = cell_at(c, place);
    int64_t group       = group_at(c, place);
    if (group > 0) {
        return units[group];
    }
    if (c->count == 0 || !is_short(cell)) {
        return END;
    }
    const unit *last = &c->items[c->count - 1];
    bool joins       = last->last == place - 1 && place - last->first < BASELINES &&
                 is_short(cell_at(c, last->first));
    return joins ? c->count - 1 : END;
}

static void form_units(claims *c)
{
    int64_t *units = c->sweep->group_places;
    for (int64_t g = 1; g <= c->sweep->groups; g++) {
        units[g] = END;
    }
    for (int64_t place = 0; place < c->folder->plan.count; place++) {
        int64_t u = find_unit(c, place, units);
        if (u == END) {
            u           = c->count++;
            c->items[u] = (unit){.first = place, .last = place};
            if (group_at(c, place) > 0) {
                units[group_at(c, place)] = u;
            }
        } else {
            c->next[c->items[u].last] = place;
            c->items[u].last          = place;
        }
        c->places[c->folder->numbers[place]] = place;
        c->next[place]                       = END;
        c->units[place]                      = u;
    }
}

pb_status claims_open(const pb_sweep *s, folder *f, claims **out)
{
    int64_t count = f->plan.count + 1;
    char *path    = NULL;
    claims *c     = NULL;
    pb_status status;
    PB_TRY_GOTO(status, PB_ALLOC(c, 1), fail);
    *c = (claims){.sweep = s, .folder = f};
    PB_TRY_GOTO(status, PB_ALLOC(c->places, count), fail);
    PB_TRY_GOTO(status, PB_ALLOC(c->units, count), fail);
    PB_TRY_GOTO(status, PB_ALLOC(c->next, count), fail);
    PB_TRY_GOTO(status, PB_ALLOC(c->items, count), fail);
    PB_TRY_GOTO(status, pb_path_join(f->path, FOLDER, &path), fail);
    PB_TRY_GOTO(status, pb_path_make_directories(path), fail);
    form_units(c);
    pb_memory_free(path);
    *out = c;
    return PB_OK;
fail:
    pb_memory_free(path);
    claims_close(c);
    return status;
}

static bool is_searched(const claims *c, const unit *u)
{
    return group_at(c, u->first) > 0;
}

/* A group that lacks results is run as a whole: when it has all of them, they are new. */
static void forget_parts(claims *c, const unit *u)
{
    bool lacks = false;
    for (int64_t place = u->first; place != END; place = c->next[place]) {
        lacks = lacks || c->folder->checksums[place][0] == '\0';
    }
    for (int64_t place = u->first; place != END && lacks; place = c->next[place]) {
        c->folder->checksums[place][0] = '\0';
    }
}

void claims_begin(claims *c)
{
    for (int64_t place = 0; place < c->folder->plan.count; place++) {
        c->items[c->units[place]].left += !is_done(c, place);
    }
    for (int64_t u = 0; u < c->count; u++) {
        if (is_searched(c, &c->items[u])) {
            forget_parts(c, &c->items[u]);
        }
    }
}

/* ---------------------------------------------------------------- one claim */

static pb_status path_of(const claims *c, const unit *u, char **out)
{
    return pb_cell_path(c->folder->path, FOLDER, cell_at(c, u->first), "", out);
}

static pb_status look_at_claim(const claims *c, const unit *u, jobs_state *out)
{
    char *path = NULL;
    PB_TRY(path_of(c, u, &path));
    pb_status status = claim_look(c->folder->jobs, path, out);
    pb_memory_free(path);
    return status;
}

static void give_back(claims *c, unit *u)
{
    char *path = NULL;
    if (!u->held) {
        return;
    }
    u->held = false;
    if (path_of(c, u, &path) == PB_OK) {
        (void)unlink(path);
    } else {
        pb_error_clear();
    }
    pb_memory_free(path);
}

void claims_release(claims *c)
{
    for (int64_t u = 0; u < c->count; u++) {
        give_back(c, &c->items[u]);
    }
}

void claims_close(claims *c)
{
    if (c == NULL) {
        return;
    }
    claims_release(c);
    pb_memory_free(c->places);
    pb_memory_free(c->units);
    pb_memory_free(c->next);
    pb_memory_free(c->items);
    pb_memory_free(c);
}

/* ---------------------------------------------------------------- results of other jobs */

/* Whether a cell has a result that was not there when this job planned, and whether it has failed.
 */
static pb_status find_result(const folder *f, int64_t place, bool *done, bool *failed)
{
    pb_shard_state state = PB_SHARD_MISSING;
    pb_record record     = {0};
    char *damage         = NULL;
    PB_TRY(pb_shards_find(f->all, &f->plan.cells[place], PB_RECORD_HEAD, &record, &state, &damage));
    *failed = state == PB_SHARD_FAILED;
    *done =
        (*failed || state == PB_SHARD_DONE) && strcmp(record.source_hash, f->checksums[place]) != 0;
    *failed = *failed && *done;
    pb_record_clear(&record);
    pb_memory_free(damage);
    return PB_OK;
}

static pb_status look_at_cell(claims *c, int64_t place, bool *done, bool marks)
{
    folder *f      = c->folder;
    int64_t number = f->numbers[place];
    bool failed    = false;
    *done          = f->done[number];
    if (*done) {
        return PB_OK;
    }
    PB_TRY(find_result(f, place, done, &failed));
    if (*done && marks) {
        f->done[number] = true;
        f->failed += failed;
        c->items[c->units[place]].left--;
    }
    return PB_OK;
}

static pb_status look_at_cells(claims *c, const unit *u, bool *all, bool marks)
{
    *all = true;
    for (int64_t place = u->first; place != END && (*all || marks); place = c->next[place]) {
        bool done = false;
        PB_TRY(look_at_cell(c, place, &done, marks));
        *all = *all && done;
    }
    return PB_OK;
}

/* A searched group has all its results or none. */
static pb_status look_at_unit(claims *c, const unit *u)
{
    folder *f = c->folder;
    bool all  = true;
    f->shared = f->shared || !jobs_are_alone(f->jobs);
    if (!f->shared) {
        return PB_OK;
    }
    PB_TRY(f->all == NULL ? pb_shards_open(f->path, &f->all) : pb_shards_update(&f->all));
    if (is_searched(c, u)) {
        PB_TRY(look_at_cells(c, u, &all, false));
    }
    return all ? look_at_cells(c, u, &all, true) : PB_OK;
}

/* What the job that is gone left of its attempts. */
static pb_status judge(claims *c, const unit *u, const char *from)
{
    folder *f = c->folder;
    PB_TRY(attempts_collect(f));
    for (int64_t place = u->first; place != END; place = c->next[place]) {
        int64_t number           = f->numbers[place];
        attempts_verdict verdict = ATTEMPTS_NONE;
        if (!f->done[number]) {
            PB_TRY(attempts_judge(c->sweep, f->path, &f->plan.cells[place], cell_at(c, place),
                                  &verdict));
            f->alone[number] = f->alone[number] || verdict == ATTEMPTS_SOME;
        }
    }
    const pb_record_key *key = &f->plan.cells[u->first];
    pb_log0_info("cell %s/%s/%s/%" PRId64
                 " was claimed by job %s, which is gone, and is taken over",
                 key->model, key->dataset, key->method, key->seed, from);
    return PB_OK;
}

/* The unit is this job's, with something left to do. */
static pb_status take_unit(claims *c, unit *u, bool *mine)
{
    char from[JOBS_NAME];
    char *path       = NULL;
    pb_status status = PB_OK;
    *mine            = u->held;
    if (*mine) {
        return PB_OK;
    }
    PB_TRY(path_of(c, u, &path));
    PB_TRY_GOTO(status, claim_take(c->folder->jobs, path, mine, from), out);
    u->held = *mine;
    if (*mine && *from != '\0') {
        PB_TRY_GOTO(status, judge(c, u, from), out);
    }
    PB_TRY_GOTO(status, *mine ? look_at_unit(c, u) : PB_OK, out);
    if (u->left == 0) {
        give_back(c, u);
        *mine = false;
    }
out:
    pb_memory_free(path);
    return status;
}

static unit *unit_of(const claims *c, int64_t number)
{
    return &c->items[c->units[c->places[number]]];
}

static int64_t count_done(const claims *c, const int64_t *numbers, int64_t count)
{
    int64_t done = 0;
    for (int64_t i = 0; i < count; i++) {
        done += c->folder->done[numbers[i]];
    }
    return done;
}

/* All cells of the gang, or none. */
static pb_status take(claims *c, const int64_t *numbers, int64_t count, bool *ours)
{
    const folder *f = c->folder;
    bool gang       = count > 1 && c->sweep->search.count == 0;
    *ours           = true;
    for (int64_t i = 0; i < count && *ours; i++) {
        PB_TRY(take_unit(c, unit_of(c, numbers[i]), ours));
        *ours = *ours && !f->done[numbers[i]] && !(gang && f->alone[numbers[i]]);
    }
    for (int64_t i = 0; i < count && count > 1 && !*ours; i++) {
        give_back(c, unit_of(c, numbers[i]));
    }
    return PB_OK;
}

pb_grid_turn claims_take(void *context, const int64_t *numbers, int64_t count)
{
    claims *c        = context;
    bool ours        = false;
    pb_status status = PB_OK;
    if (!c->failed && jobs_is_evicted(c->folder->jobs)) {
        status =
            PB_FAIL(PB_ERR_IO,
                    "%s: other jobs took this one for gone, since its heartbeat came too late, "
                    "and run its cells; the same command joins them again (a larger "
                    "run.claim_seconds waits longer)",
                    c->folder->path);
    } else if (!c->failed) {
        status = take(c, numbers, count, &ours);
    }
    if (status != PB_OK) {
        c->failed = true;
        c->status = status;
        (void)snprintf(c->message, sizeof c->message, "%s", pb_error_message());
        pb_error_clear();
    }
    if (c->failed) {
        return PB_GRID_THEIRS;
    }
    return ours                                     ? PB_GRID_OURS
           : count_done(c, numbers, count) == count ? PB_GRID_DONE
                                                    : PB_GRID_THEIRS;
}

pb_status claims_check(const claims *c)
{
    return c->failed ? PB_FAIL(c->status, "%s", c->message) : PB_OK;
}

void claims_over(void *context, int64_t number)
{
    claims *c = context;
    unit *u   = unit_of(c, number);
    if (c->folder->alone[number]) {
        attempts_forget(c->folder->path, c->sweep->cells.items[number].cell);
    }
    c->folder->done[number] = true;
    u->left--;
    if (u->left == 0) {
        give_back(c, u);
    }
}

/* ---------------------------------------------------------------- the end */

static pb_status look(claims *c, bool *more, int64_t *elsewhere, bool *unknown)
{
    *more      = false;
    *unknown   = false;
    *elsewhere = 0;
    for (int64_t i = 0; i < c->count && !*more; i++) {
        unit *u          = &c->items[i];
        jobs_state state = JOBS_GONE;
        if (u->left == 0) {
            continue;
        }
        PB_TRY(look_at_claim(c, u, &state)); /* first: it goes after its cells have results */
        PB_TRY(look_at_unit(c, u));
        *elsewhere += u->left;
        *more    = u->left > 0 && state == JOBS_GONE;
        *unknown = *unknown || (u->left > 0 && state == JOBS_SILENT);
    }
    return PB_OK;
}

pb_status claims_look(claims *c, bool *more, int64_t *elsewhere)
{
    bool unknown = false;
    return look(c, more, elsewhere, &unknown);
}

pb_status claims_settle(claims *c, bool *more, int64_t *elsewhere)
{
    const struct timespec pause = {.tv_nsec = 200000000};
    bool unknown                = false;
    claims_release(c);
    for (bool first = true;; first = false) {
        PB_TRY(pb_stop_check());
        PB_TRY(look(c, more, elsewhere, &unknown));
        if (*more || !unknown) {
            return PB_OK;
        }
        if (first) {
            pb_log0_info("%" PRId64 " cells are claimed by jobs on other nodes: waiting for their "
                         "heartbeats",
                         *elsewhere);
        }
        (void)nanosleep(&pause, NULL);
    }
}

bool claims_is_held(const claims *c, int64_t place)
{
    jobs_state state = JOBS_GONE;
    pb_ignore(look_at_claim(c, &c->items[c->units[place]], &state), "the cell counts as free");
    return state != JOBS_GONE;
}

static pb_status remove_claim(void *context, const char *path, const char *name)
{
    struct stat about;
    (void)context, (void)name;
    if (lstat(path, &about) == 0 && !S_ISDIR(about.st_mode)) {
        (void)unlink(path);
    }
    return PB_OK;
}

pb_status claims_clear(const claims *c)
{
    char *path = NULL;
    PB_TRY(pb_path_join(c->folder->path, FOLDER, &path));
    pb_status status = pb_path_each(path, NULL, remove_claim, NULL);
    pb_memory_free(path);
    return status;
}
