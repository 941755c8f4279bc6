// SPDX-License-Identifier: Apache-2.0
/* Opening a sweep. Everything that may fail on one process alone is agreed on before the next
 * collective step. */
#include "sweep.h"

#include "alike.h"

#include "pb/memory.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Options of the command line that were typed win over the group `run`. */
static pb_status open_environment(const pb_cli *cli, sweep *s)
{
    const pb_grid_run_options *run = pb_grid_get_run(s->grid);
    pb_cell_setup setup            = {.threads = (int)run->threads,
                                      .dtype   = run->dtype == 1 ? PB_DTYPE_BF16 : PB_DTYPE_F32};
    const char *device             = run->device;
    char place[512];
    if (pb_cli_given(cli, "threads")) {
        setup.threads = (int)pb_cli_int(cli, "threads");
    }
    if (pb_cli_given(cli, "device")) {
        device = pb_cli_text(cli, "device");
    }
    if (pb_cli_given(cli, "dtype")) {
        setup.dtype = pb_cli_dtype(cli);
    }
    pb_status status = pb_cli_parse_device(device, &setup.backend, &setup.device);
    if (status != PB_OK) {
        if (pb_cli_given(cli, "device")) {
            pb_error_prefix(status, "%s: --device", cli->command->name);
        } else {
            pb_error_prefix(status, "%s: run.device",
                            pb_grid_where(s->grid, "run.device", place, sizeof place));
        }
    }
    PB_TRY(pb_comm_agree(cli->comm, status));
    return pb_cell_env_open(&setup, cli->comm, &s->env);
}

typedef enum depth { SHAPES, SHAPES_AND_WEIGHTS, LOADED } depth;

static pb_status add_model(sweep *s, const char *name, const pb_config *config, depth how)
{
    return how == LOADED ? pb_cell_env_add_model(s->env, name, config)
                         : pb_cell_env_add_shape(s->env, name, config, how == SHAPES_AND_WEIGHTS);
}

/* By the order of the grid file, before costs are known: all cells of a model share the group of
 * its first one. */
static pb_status open_models(const pb_cli *cli, depth how, sweep *s)
{
    pb_grid_cells cells = {0};
    pb_status status    = pb_grid_expand(s->grid, NULL, NULL, &cells);
    PB_TRY_GOTO(status, pb_comm_agree(cli->comm, status), done);
    for (int64_t i = 0; i < cells.count && status == PB_OK; i++) {
        if (i > 0 && strcmp(cells.items[i].model, cells.items[i - 1].model) == 0) {
            continue;
        }
        pb_config *config = NULL;
        status = pb_comm_agree(cli->comm, pb_grid_cell_config(s->grid, &cells.items[i], &config));
        if (status == PB_OK) {
            status = add_model(s, cells.items[i].model, config, how);
        }
        pb_config_close(config);
    }
done:
    pb_grid_cells_clear(&cells);
    return status;
}

pb_status sweep_load_models(const pb_cli *cli, sweep *s)
{
    return open_models(cli, LOADED, s);
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

static pb_status expand(sweep *s)
{
    PB_TRY(pb_grid_expand(s->grid, predict, s->env, &s->cells));
    PB_TRY(PB_ALLOC(s->configs, s->cells.count));
    for (int64_t i = 0; i < s->cells.count; i++) {
        PB_TRY(pb_grid_cell_config(s->grid, &s->cells.items[i], &s->configs[i]));
    }
    return PB_OK;
}

/* The grid file; of a name without a file, the grids that there are. */
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

static pb_status open_all(const pb_cli *cli, bool weights, sweep *s)
{
    int64_t count           = 0;
    const char *const *sets = pb_cli_list(cli, "set", &count);
    PB_TRY(pb_comm_agree(cli->comm, open_grid(pb_cli_argument(cli, 0), sets, count, &s->grid)));
    PB_TRY(alike_check_configuration(cli, s));
    PB_TRY(open_environment(cli, s));
    PB_TRY(open_models(cli, weights ? SHAPES_AND_WEIGHTS : SHAPES, s));
    return pb_comm_agree(cli->comm, expand(s));
}

pb_status sweep_open(const pb_cli *cli, bool weights, sweep *out)
{
    memset(out, 0, sizeof *out);
    pb_status status = open_all(cli, weights, out);
    if (status != PB_OK) {
        sweep_close(out);
        return PB_FRAME(status);
    }
    return PB_OK;
}

void sweep_close(sweep *s)
{
    for (int64_t i = 0; s->configs != NULL && i < s->cells.count; i++) {
        pb_config_close(s->configs[i]);
    }
    pb_memory_free(s->configs);
    pb_memory_free(s->hashes);
    pb_grid_cells_clear(&s->cells);
    pb_cell_env_close(s->env);
    pb_grid_close(s->grid);
    memset(s, 0, sizeof *s);
}

pb_cell sweep_cell(const sweep *s, int64_t index)
{
    pb_cell cell = make_cell(&s->cells.items[index], s->configs[index]);
    cell.hash    = s->hashes != NULL ? s->hashes[index] : NULL;
    return cell;
}

static pb_status hash_all(sweep *s)
{
    for (int64_t i = 0; i < s->cells.count; i++) {
        pb_cell cell = sweep_cell(s, i);
        PB_TRY(pb_cell_hash(s->env, &cell, s->hashes[i]));
    }
    return PB_OK;
}

pb_status sweep_hash(const pb_cli *cli, sweep *s)
{
    PB_TRY(alike_check_inputs(cli, s));
    pb_status status = PB_ALLOC(s->hashes, s->cells.count);
    if (status == PB_OK && pb_comm_rank(cli->comm) == 0) {
        status = hash_all(s);
    }
    PB_TRY(pb_comm_agree(cli->comm, status));
    PB_TRY(pb_cell_env_share_files(s->env));
    return pb_comm_broadcast(cli->comm, s->hashes, (size_t)s->cells.count * sizeof *s->hashes, 0);
}

pb_status sweep_check_record(const sweep *s, int64_t index, const char *directory,
                             const pb_record *record, pb_shard_state *state, char **damage)
{
    char *path = NULL;
    if (*state != PB_SHARD_DONE && *state != PB_SHARD_FAILED) {
        return PB_OK;
    }
    pb_cell cell     = sweep_cell(s, index);
    pb_status status = pb_cell_check_record(s->env, &cell, record);
    if (status != PB_ERR_FORMAT) {
        return status;
    }
    if (*state == PB_SHARD_FAILED) {
        pb_error_clear();
        *state = PB_SHARD_MISSING;
        return PB_OK;
    }
    PB_TRY(pb_shard_path(directory, &record->key, &path));
    pb_error_prefix(status, "%s is of other inputs", path);
    pb_memory_free(path);
    *damage = pb_memory_text(pb_error_message());
    pb_error_clear();
    *state = PB_SHARD_DAMAGED;
    return *damage != NULL ? PB_OK : PB_ERR_MEMORY;
}
