// SPDX-License-Identifier: Apache-2.0
/* The folder of a run: its path, its lock, and the plan that `status` and `merge` read. */
#include "internal.h"

#include "pb/file.h"
#include "pb/log.h"
#include "pb/memory.h"

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

static pb_status write_plan(const pb_sweep *s, folder *f)
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
    PB_TRY(plan_cells(s, f));
    return pb_plan_write(f->path, plan);
}

static pb_status open_first(const pb_sweep *s, folder *f)
{
    PB_TRY(pb_path_make_directories(f->path));
    PB_TRY(lock_take(f->path, pb_sweep_name(s), &f->lock));
    return write_plan(s, f);
}

pb_status folder_open(const pb_sweep *s, folder *out)
{
    folder f = {0};
    pb_status status;

    PB_TRY(folder_path(s, &f.path));
    PB_TRY_GOTO(status, PB_ALLOC(f.done, s->cells.count), err_folder);
    PB_TRY_GOTO(status, PB_ALLOC(f.alone, s->cells.count), err_folder);
    if (pb_comm_rank(s->comm) == 0) {
        PB_TRY_GOTO(status, open_first(s, &f), err_folder);
    }
    *out = f;
    return PB_OK;

err_folder:
    folder_close(&f);
    return status;
}

/* Folders for cells that run, unless some are left. */
static void remove_empty(const char *directory)
{
    static const char *const names[] = {"attempts", "checkpoints"};
    for (int i = 0; i < 2; i++) {
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
    if (f->numbers != NULL) { /* rank 0 */
        remove_empty(f->path);
    }
    pb_ignore(pb_shard_writer_close(f->writer), "results of the last second may be lost");
    pb_plan_clear(&f->plan);
    pb_memory_free(f->done);
    pb_memory_free(f->alone);
    pb_memory_free(f->numbers);
    pb_memory_free(f->path);
    pb_file_lock_release(f->lock);
    *f = (folder){0};
}
