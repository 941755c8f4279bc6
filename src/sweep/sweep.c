// SPDX-License-Identifier: Apache-2.0
/* Opens a sweep. After every step that may fail on a single process, the processes agree before the
 * next collective step. */
#include "internal.h"

#include "pb/clock.h"
#include "pb/device.h"
#include "pb/memory.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

pb_dtype sweep_dtype(const pb_sweep *s)
{
    const char *typed = s->options.dtype;
    bool bf16 = typed != NULL ? strcmp(typed, "bf16") == 0 : pb_grid_get_run(s->grid)->dtype == 1;
    return bf16 ? PB_DTYPE_BF16 : PB_DTYPE_F32;
}

/* Options override the group `run`. */
static pb_status open_environment(pb_sweep *s)
{
    const pb_sweep_options *options = &s->options;
    const pb_grid_run_options *run  = pb_grid_get_run(s->grid);
    pb_cell_setup setup             = {.gflops  = options->gflops,
                                       .rates   = options->rates,
                                       .threads = (int)run->threads,
                                       .graphs  = run->graphs,
                                       .dtype   = sweep_dtype(s)};
    char place[512];
    if (options->has_threads) {
        setup.threads = (int)options->threads;
    }
    const char *device = options->device != NULL ? options->device : run->device;
    pb_status status =
        pb_device_parse(device, pb_comm_node_rank(s->comm), &setup.backend, &setup.device);
    if (status != PB_OK && options->device != NULL) {
        pb_error_prefix(status, "--device");
    } else if (status != PB_OK) {
        pb_error_prefix(status, "%s: run.device",
                        pb_grid_where(s->grid, "run.device", place, sizeof place));
    }
    PB_TRY(pb_comm_agree(s->comm, status));
    return pb_cell_env_open(&setup, s->comm, &s->env);
}

typedef enum depth { SHAPES, SHAPES_AND_WEIGHTS, LOADED } depth;

static pb_status add_model(pb_sweep *s, const pb_cell *cell, depth how)
{
    return how == LOADED ? pb_cell_env_add_model(s->env, cell)
                         : pb_cell_env_add_shape(s->env, cell, how == SHAPES_AND_WEIGHTS);
}

/* Cells are ordered by model, both before and after their costs are known. */
static pb_status open_models(pb_sweep *s, depth how)
{
    int64_t last = -1;
    for (int64_t i = 0; i < s->cells.count; i++) {
        const pb_grid_cell *c = &s->cells.items[i];
        if (c->index[PB_AXIS_MODEL] != last) {
            PB_TRY(add_model(s, c->cell, how));
            last = c->index[PB_AXIS_MODEL];
        }
    }
    return PB_OK;
}

pb_status sweep_load_models(pb_sweep *s)
{
    return open_models(s, LOADED);
}

static pb_status open_cell(const pb_grid *grid, const pb_cell *last, pb_grid_cell *c)
{
    const pb_cell_name name = {.model    = c->model,
                               .dataset  = c->dataset,
                               .method   = c->method,
                               .seed     = c->seed,
                               .protocol = c->protocol};
    pb_config *config       = NULL;
    PB_TRY(pb_grid_cell_config(grid, c, &config));
    return pb_cell_open_take(&name, config, last, &c->cell);
}

/* Cells that differ only in their seed are read once. */
static pb_status open_cells(pb_sweep *s)
{
    PB_TRY(pb_grid_expand(s->grid, &s->cells));
    for (int64_t i = 0; i < s->cells.count; i++) {
        pb_grid_cell *c = &s->cells.items[i];
        if (i > 0 && c->configuration == c[-1].configuration) {
            PB_TRY(pb_cell_open_seed(c[-1].cell, c->seed, &c->cell));
        } else {
            PB_TRY(open_cell(s->grid, i > 0 ? c[-1].cell : NULL, c));
        }
    }
    return PB_OK;
}

/* A cell without a prediction fails early; its place does not matter. */
static pb_status order_cells(pb_sweep *s)
{
    for (int64_t i = 0; i < s->cells.count; i++) {
        pb_grid_cell *c      = &s->cells.items[i];
        pb_cell_prediction p = {0};
        pb_status status     = pb_cell_predict(s->env, c->cell, NULL, &p);
        if (status == PB_ERR_MEMORY) {
            return PB_FRAME(status);
        }
        pb_error_clear();
        c->cost = p.work.amount[PB_WORK_TRAIN] + p.work.amount[PB_WORK_FORWARD];
    }
    pb_grid_order(&s->cells);
    return PB_OK;
}

/* Opens a grid by its path or, where no file is there, by its name, as `list grids` shows it; the
 * message of a failure lists the available grids. */
static pb_status open_grid(const char *path, const char *const *sets, int64_t count, pb_grid **out)
{
    pb_grid_files files = {0};
    pb_string known     = {0};
    pb_status status    = PB_OK;

    bool there = access(path, F_OK) == 0 || errno != ENOENT;
    if (there && !pb_path_is_directory(path)) {
        return pb_grid_open(path, sets, count, out);
    }
    PB_TRY_GOTO(status, pb_grid_list_files("grid", "configs", &files), done);
    for (int64_t i = 0; i < files.count; i++) {
        if (strcmp(files.items[i].name, path) == 0) {
            status = pb_grid_open(files.items[i].path, sets, count, out);
            goto done;
        }
        PB_TRY_GOTO(status,
                    pb_string_printf(&known, "%s%s", i > 0 ? ", " : "", files.items[i].path), done);
    }
    status = there ? pb_grid_open(path, sets, count, out)
                   : PB_FAIL(PB_ERR_CONFIG,
                             "cannot open %s: No such file or directory; the grids are: %s", path,
                             known.data != NULL ? known.data : "none");
done:
    pb_string_clear(&known);
    pb_grid_files_clear(&files);
    return status;
}

static pb_status open_all(pb_sweep *s)
{
    const pb_sweep_options *options = &s->options;
    PB_TRY(pb_comm_agree(s->comm,
                         open_grid(options->grid, options->sets, options->set_count, &s->grid)));
    PB_TRY(pb_comm_agree(s->comm, open_cells(s)));
    PB_TRY(pb_comm_agree(s->comm, search_open(s)));
    PB_TRY(alike_check_configuration(s));
    PB_TRY(open_environment(s));
    pb_cell_env_set_search(s->env, s->search.count > 0 ? &s->search : NULL);
    PB_TRY(open_models(s, options->needs_weights ? SHAPES_AND_WEIGHTS : SHAPES));
    return pb_comm_agree(s->comm, order_cells(s));
}

pb_status pb_sweep_open(const pb_sweep_options *options, pb_comm *comm, pb_sweep **out)
{
    double began = pb_clock_seconds();
    pb_sweep *s  = NULL;
    pb_status status;

    PB_TRY_GOTO(status, pb_comm_agree(comm, PB_ALLOC(s, 1)), err_sweep);
    *s = (pb_sweep){.options = *options, .comm = comm, .began = began};
    PB_TRY_GOTO(status, open_all(s), err_sweep);
    *out = s;
    return PB_OK;

err_sweep:
    pb_sweep_close(s);
    return status;
}

void pb_sweep_close(pb_sweep *s)
{
    if (s == NULL) {
        return;
    }
    for (int64_t i = 0; i < s->cells.count; i++) {
        pb_cell_close(s->cells.items[i].cell);
    }
    pb_grid_cells_clear(&s->cells);
    pb_memory_free(s->group_places);
    pb_cell_env_close(s->env);
    pb_grid_close(s->grid);
    pb_memory_free(s);
}

const char *pb_sweep_name(const pb_sweep *s)
{
    return pb_grid_get_sweep(s->grid)->name;
}

static pb_status hash_all(const pb_sweep *s, char (*hashes)[PB_HASH_TEXT])
{
    for (int64_t i = 0; i < s->cells.count; i++) {
        PB_TRY(pb_cell_hash(s->env, s->cells.items[i].cell, hashes[i]));
    }
    return PB_OK;
}

pb_status sweep_hash(pb_sweep *s)
{
    char(*hashes)[PB_HASH_TEXT] = NULL;
    size_t bytes                = (size_t)s->cells.count * sizeof *hashes;
    PB_TRY(alike_check_inputs(s));
    pb_status status = PB_ALLOC(hashes, s->cells.count);
    if (status == PB_OK && pb_comm_rank(s->comm) == 0) {
        status = hash_all(s, hashes);
    }
    PB_TRY_GOTO(status, pb_comm_agree(s->comm, status), out);
    PB_TRY_GOTO(status, pb_cell_env_share_files(s->env), out);
    PB_TRY_GOTO(status, pb_comm_broadcast(s->comm, hashes, bytes, 0), out);
    for (int64_t i = 0; i < s->cells.count; i++) {
        pb_cell_set_hash(s->cells.items[i].cell, hashes[i]);
    }
out:
    pb_memory_free(hashes);
    return status;
}
