// SPDX-License-Identifier: Apache-2.0
/* Opening a sweep. Processes agree on every step that may fail on one of them alone before they
 * take the next collective step. */
#include "internal.h"

#include "pb/clock.h"
#include "pb/device.h"
#include "pb/memory.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Options win over the group `run`. */
static pb_status open_environment(pb_sweep *s)
{
    const pb_sweep_options *options = &s->options;
    const pb_grid_run_options *run  = pb_grid_get_run(s->grid);
    pb_cell_setup setup             = {.threads = (int)run->threads,
                                       .dtype   = run->dtype == 1 ? PB_DTYPE_BF16 : PB_DTYPE_F32};
    char place[512];
    if (options->has_threads) {
        setup.threads = (int)options->threads;
    }
    if (options->dtype != NULL) {
        setup.dtype = strcmp(options->dtype, "bf16") == 0 ? PB_DTYPE_BF16 : PB_DTYPE_F32;
    }
    const char *device = options->device != NULL ? options->device : run->device;
    pb_status status   = pb_device_parse(device, &setup.backend, &setup.device);
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

static pb_status add_model(pb_sweep *s, const char *name, const pb_config *config, depth how)
{
    return how == LOADED ? pb_cell_env_add_model(s->env, name, config)
                         : pb_cell_env_add_shape(s->env, name, config, how == SHAPES_AND_WEIGHTS);
}

/* By the order of the grid file, before costs are known: all cells of a model share the group of
 * its first one. */
static pb_status open_models(pb_sweep *s, depth how)
{
    pb_grid_cells cells = {0};
    pb_status status    = pb_grid_expand(s->grid, NULL, NULL, &cells);
    PB_TRY_GOTO(status, pb_comm_agree(s->comm, status), done);
    for (int64_t i = 0; i < cells.count && status == PB_OK; i++) {
        if (i > 0 && strcmp(cells.items[i].model, cells.items[i - 1].model) == 0) {
            continue;
        }
        pb_config *config = NULL;
        status = pb_comm_agree(s->comm, pb_grid_cell_config(s->grid, &cells.items[i], &config));
        if (status == PB_OK) {
            status = add_model(s, cells.items[i].model, config, how);
        }
        pb_config_close(config);
    }
done:
    pb_grid_cells_clear(&cells);
    return status;
}

pb_status sweep_load_models(pb_sweep *s)
{
    return open_models(s, LOADED);
}

static pb_cell make_cell(const pb_grid_cell *c, const pb_config *config)
{
    return (pb_cell){
        .model    = c->model,
        .dataset  = c->dataset,
        .method   = c->method,
        .seed     = c->seed,
        .protocol = c->protocol,
        .config   = config,
    };
}

static double predict(void *context, const pb_grid *grid, const pb_grid_cell *cell)
{
    pb_config *config = NULL;
    double cost       = 1.0;
    if (pb_grid_cell_config(grid, cell, &config) == PB_OK) {
        pb_cell c = make_cell(cell, config);
        cost      = pb_cell_cost(context, &c);
    }
    pb_error_clear();
    pb_config_close(config);
    return cost;
}

static pb_status expand(pb_sweep *s)
{
    PB_TRY(pb_grid_expand(s->grid, predict, s->env, &s->cells));
    PB_TRY(PB_ALLOC(s->configs, s->cells.count));
    for (int64_t i = 0; i < s->cells.count; i++) {
        PB_TRY(pb_grid_cell_config(s->grid, &s->cells.items[i], &s->configs[i]));
    }
    return PB_OK;
}

/* The grid file; where there is none, the message lists the available grids. */
static pb_status open_grid(const char *path, const char *const *sets, int64_t count, pb_grid **out)
{
    pb_grid_files files = {0};
    pb_string known     = {0};
    pb_status status    = PB_OK;

    if (access(path, F_OK) == 0 || errno != ENOENT) {
        return pb_grid_open(path, sets, count, out);
    }
    PB_TRY_GOTO(status, pb_grid_list_files("grid", "configs", &files), done);
    for (int64_t i = 0; i < files.count; i++) {
        PB_TRY_GOTO(status,
                    pb_string_printf(&known, "%s%s", i > 0 ? ", " : "", files.items[i].path), done);
    }
    status = PB_FAIL(PB_ERR_CONFIG, "cannot open %s: No such file or directory; there are: %s",
                     path, known.data != NULL ? known.data : "no grids");
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
    PB_TRY(alike_check_configuration(s));
    PB_TRY(open_environment(s));
    PB_TRY(open_models(s, options->needs_weights ? SHAPES_AND_WEIGHTS : SHAPES));
    return pb_comm_agree(s->comm, expand(s));
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
    for (int64_t i = 0; s->configs != NULL && i < s->cells.count; i++) {
        pb_config_close(s->configs[i]);
    }
    pb_memory_free(s->configs);
    pb_memory_free(s->hashes);
    pb_grid_cells_clear(&s->cells);
    pb_cell_env_close(s->env);
    pb_grid_close(s->grid);
    pb_memory_free(s);
}

const char *pb_sweep_name(const pb_sweep *s)
{
    return pb_grid_get_sweep(s->grid)->name;
}

pb_cell sweep_cell(const pb_sweep *s, int64_t index)
{
    pb_cell cell = make_cell(&s->cells.items[index], s->configs[index]);
    cell.hash    = s->hashes != NULL ? s->hashes[index] : NULL;
    return cell;
}

static pb_status hash_all(pb_sweep *s)
{
    for (int64_t i = 0; i < s->cells.count; i++) {
        pb_cell cell = sweep_cell(s, i);
        PB_TRY(pb_cell_hash(s->env, &cell, s->hashes[i]));
    }
    return PB_OK;
}

pb_status sweep_hash(pb_sweep *s)
{
    PB_TRY(alike_check_inputs(s));
    pb_status status = PB_ALLOC(s->hashes, s->cells.count);
    if (status == PB_OK && pb_comm_rank(s->comm) == 0) {
        status = hash_all(s);
    }
    PB_TRY(pb_comm_agree(s->comm, status));
    PB_TRY(pb_cell_env_share_files(s->env));
    return pb_comm_broadcast(s->comm, s->hashes, (size_t)s->cells.count * sizeof *s->hashes, 0);
}
