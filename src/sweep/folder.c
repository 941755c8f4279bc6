// SPDX-License-Identifier: Apache-2.0
/* The folder of a run: its path, its lock, the jobs that work in it, and the plan that `status` and
 * `merge` read. */
#include "claims.h"
#include "internal.h"

#include "pb/file.h"
#include "pb/log.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pb_status put_path(const pb_sweep *s, pb_string *out)
{
    const char *given = s->options.output;
    const char *set   = pb_grid_get_run(s->grid)->output;
    if (given != NULL) {
        return pb_string_puts(out, given);
    }
    if (*set != '\0') {
        return pb_string_puts(out, set);
    }
    return pb_string_printf(out, "results/%s", pb_sweep_name(s));
}

pb_status folder_path(const pb_sweep *s, char **out)
{
    pb_string path = {0};
    PB_TRY(put_path(s, &path));
    *out = path.data;
    return PB_OK;
}

/* The command as typed, from the system; only the grid file if the system does not provide it. */
static pb_status command_line(const pb_sweep *s, pb_string *out)
{
    pb_string raw    = {0};
    pb_status status = pb_file_read("/proc/self/cmdline", 0, &raw);
    if (status != PB_OK) {
        pb_error_clear();
        return pb_string_puts(out, s->options.grid);
    }
    for (size_t at = 0; at < raw.length && status == PB_OK; at += strlen(raw.data + at) + 1) {
        status = pb_string_printf(out, "%s%s", at > 0 ? " " : "", raw.data + at);
    }
    pb_string_clear(&raw);
    return status;
}

static int compare_axes(const void *a, const void *b)
{
    const pb_grid_cell *x = a, *y = b;

    for (int axis = 0; axis < PB_AXIS_FILES; axis++) {
        if (x->index[axis] != y->index[axis]) {
            return x->index[axis] < y->index[axis] ? -1 : 1;
        }
    }
    return (x->seed_index > y->seed_index) - (x->seed_index < y->seed_index);
}

/* Cells run longest first; results are in the order of the grid file. */
static pb_status plan_cells(const pb_sweep *s, folder *f)
{
    const pb_grid_cells *cells = &s->cells;
    pb_grid_cell *sorted       = NULL;
    pb_status status           = PB_OK;

    PB_TRY(PB_ALLOC(f->numbers, cells->count));
    PB_TRY(PB_ALLOC(sorted, cells->count));
    memcpy(sorted, cells->items, (size_t)cells->count * sizeof *sorted);
    qsort(sorted, (size_t)cells->count, sizeof *sorted, compare_axes);
    for (int64_t i = 0; i < cells->count && status == PB_OK; i++) {
        const pb_grid_cell *c = &sorted[i];
        f->numbers[i]         = c->number;
        status                = pb_plan_add(&f->plan, c->model, c->dataset, c->method, c->seed,
                                            pb_cell_get_hash(c->cell));
    }
    pb_memory_free(sorted);
    return status;
}

static pb_status make_plan(const pb_sweep *s, folder *f)
{
    pb_string command = {0};
    pb_plan *plan     = &f->plan;
    pb_status status  = command_line(s, &command);
    if (status == PB_OK) {
        status = pb_record_set_text(&plan->command_line, command.data);
    }
    pb_string_clear(&command);
    PB_TRY(status);
    PB_TRY(pb_record_set_text(&plan->name, pb_sweep_name(s)));
    PB_TRY(pb_record_set_text(&plan->protocol,
                              pb_protocol_names[pb_grid_get_sweep(s->grid)->protocol]));
    return plan_cells(s, f);
}

pb_status folder_count_others(folder *f, size_t *count)
{
    char **others = NULL;
    PB_TRY(jobs_others(f->jobs, &others, count));
    pb_memory_free_texts(others, *count);
    f->only = *count == 0;
    if (*count > 0 || f->lock == NULL) {
        return PB_OK;
    }
    PB_TRY(jobs_clear(f->jobs));
    return claims_clear(f->claims);
}

static const pb_grid_cell *first_cell(const pb_sweep *s, const folder *f)
{
    return &s->cells.items[f->numbers[0]];
}

static pb_status join(const pb_sweep *s, folder *f)
{
    pb_string cell   = {0};
    size_t count     = 0;
    pb_status status = f->plan.count > 0 ? alike_cell_text(first_cell(s, f), &cell) : PB_OK;
    if (status == PB_OK) {
        status = jobs_join(f->path, pb_comm_size(s->comm), pb_grid_get_run(s->grid)->claim_seconds,
                           cell.data != NULL ? cell.data : "", &f->jobs);
    }
    pb_string_clear(&cell);
    PB_TRY(status);
    (void)snprintf(f->job, sizeof f->job, "%s", jobs_name(f->jobs));
    PB_TRY(claims_open(s, f, &f->claims));
    PB_TRY(folder_count_others(f, &count));
    f->shared = count > 0;
    return PB_OK;
}

static bool same_cell(const pb_record_key *a, const pb_record_key *b)
{
    return strcmp(a->model, b->model) == 0 && strcmp(a->dataset, b->dataset) == 0 &&
           strcmp(a->method, b->method) == 0 && a->seed == b->seed &&
           strcmp(a->config_hash, b->config_hash) == 0;
}

#define REMEDY                                                                                \
    "jobs that share a folder need the same grid and settings: wait for that job to end, or " \
    "choose another folder"

/* The first cell of the two plans that differs; NULL: one of the other plan. */
static pb_status refuse_cell(const pb_record_key *key, const char *who)
{
    if (key == NULL) {
        return PB_FAIL(PB_ERR_CONFIG, "%s, which has more cells; " REMEDY, who);
    }
    return PB_FAIL(PB_ERR_CONFIG,
                   "%s, which lacks cell %s/%s/%s/%" PRId64
                   " or has it with other settings, threads or input files; " REMEDY,
                   who, key->model, key->dataset, key->method, key->seed);
}

/* The plan of the folder lacks the cell, or has it in another configuration. */
static pb_status refuse(const pb_sweep *s, folder *f, int64_t place)
{
    char **others = NULL;
    size_t count  = 0;
    pb_string who = {0}, own = {0}, there = {0};
    pb_status status;
    PB_TRY_GOTO(status, jobs_others(f->jobs, &others, &count), out);
    PB_TRY_GOTO(status, pb_string_printf(&who, "%s: this run differs from ", f->path), out);
    PB_TRY_GOTO(status,
                count > 0 ? jobs_describe(f->jobs, others[0], &who)
                          : pb_string_puts(&who, "another job"),
                out);
    PB_TRY_GOTO(status, count > 0 ? jobs_cell(f->jobs, others[0], &there) : PB_OK, out);
    PB_TRY_GOTO(status, alike_cell_text(first_cell(s, f), &own), out);
    if (there.length > 0 && strcmp(own.data, there.data) != 0) {
        status = alike_fail(own.data, there.data, who.data, REMEDY);
        goto out;
    }
    status = refuse_cell(place < f->plan.count ? &f->plan.cells[place] : NULL, who.data);
out:
    pb_memory_free_texts(others, count);
    pb_string_clear(&who);
    pb_string_clear(&own);
    pb_string_clear(&there);
    return status;
}

/* Another job has written the plan, and works by it. */
static pb_status check_plan(const pb_sweep *s, folder *f)
{
    pb_plan there    = {0};
    int64_t same     = 0;
    pb_status status = pb_plan_read(f->path, &there);
    if (status == PB_ERR_MEMORY) {
        return PB_FRAME(status);
    }
    if (status != PB_OK) { /* lost, or that of another version */
        pb_error_clear();
        return pb_plan_write(f->path, &f->plan);
    }
    while (same < there.count && same < f->plan.count &&
           same_cell(&there.cells[same], &f->plan.cells[same])) {
        same++;
    }
    bool alike = same == there.count && same == f->plan.count;
    pb_plan_clear(&there);
    return alike ? PB_OK : refuse(s, f, same);
}

static pb_status open_first(const pb_sweep *s, folder *f)
{
    PB_TRY(pb_path_make_directories(f->path));
    PB_TRY(folder_lock(s, f, pb_grid_get_run(s->grid)->claim_seconds));
    PB_TRY(make_plan(s, f));
    PB_TRY(join(s, f));
    if (f->shared) {
        return check_plan(s, f);
    }
    if (f->lock != NULL) {
        PB_TRY(lock_clean(f->path, pb_sweep_name(s)));
    }
    return pb_plan_write(f->path, &f->plan);
}

pb_status folder_lock(const pb_sweep *s, folder *f, double seconds)
{
    if (f->lockless) {
        return PB_OK;
    }
    PB_TRY(lock_take(f->path, pb_sweep_name(s), seconds, &f->lock));
    f->lockless = f->lock == NULL;
    return PB_OK;
}

void folder_unlock(folder *f)
{
    pb_file_lock_release(f->lock);
    f->lock = NULL;
}

pb_status folder_open(const pb_sweep *s, folder *out)
{
    pb_status status;

    *out = (folder){0};
    PB_TRY(folder_path(s, &out->path));
    PB_TRY_GOTO(status, PB_ALLOC(out->done, s->cells.count), err_folder);
    PB_TRY_GOTO(status, PB_ALLOC(out->alone, s->cells.count), err_folder);
    if (pb_comm_rank(s->comm) == 0) {
        PB_TRY_GOTO(status, open_first(s, out), err_folder);
    }
    return PB_OK;

err_folder:
    folder_close(out);
    return status;
}

/* Folders for cells that run, unless some are left. */
static void remove_empty(const char *directory)
{
    static const char *const names[] = {"attempts", "checkpoints", "claims", "jobs"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = NULL;
        if (pb_path_join(directory, names[i], &path) != PB_OK) {
            pb_error_clear();
            continue;
        }
        (void)rmdir(path);
        pb_memory_free(path);
    }
}

void folder_close(folder *f)
{
    claims_close(f->claims);
    jobs_leave(f->jobs);
    if (f->last && f->only) {
        remove_empty(f->path);
    }
    pb_ignore(pb_shard_writer_close(f->writer), "results of the last second may be lost");
    pb_plan_clear(&f->plan);
    pb_memory_free(f->done);
    pb_memory_free(f->alone);
    pb_memory_free(f->numbers);
    pb_memory_free(f->checksums);
    pb_shards_close(f->all);
    pb_memory_free(f->path);
    folder_unlock(f);
    *f = (folder){0};
}
