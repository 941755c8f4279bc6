// SPDX-License-Identifier: Apache-2.0
/* What follows from a forecast: times, memory by model, disk, and the lines that start the sweep.
 */
#include "plan.h"

#include "pb/memory.h"
#include "pb/processors.h"
#include "pb/usage.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

/* A shard of the demo, measured: bytes of every one, of a training step, of a test row. The merged
 * file has all of them once more. */
static const double SHARD_BYTES = 36e3, STEP_BYTES = 40.0, ROW_BYTES = 250.0;
/* Of a row in a file of tokens, beside its tokens. */
static const double TOKEN_ROW_BYTES = 60.0;
enum { FILES_OF_A_SWEEP = 4 }; /* plan, lock, merged file and its checksum */

/* A job asks for a quarter more than its makespan, and for a day at most: grid.sbatch goes on. */
static const double RESERVE = 1.25, DAY = 86400.0;

static double token_bytes(const pb_cell_split *s)
{
    return (double)s->rows * (sizeof(int32_t) * (s->prompt + s->answer) + TOKEN_ROW_BYTES);
}

/* Files of tokens are made once for a model and a data set, whose cells are not all adjacent. */
static pb_status add_disk(plan *p)
{
    const pb_sweep_forecast *f = &p->forecast;
    bool *seen                 = NULL;
    int64_t sets               = 0;
    int64_t models             = 0;
    for (int64_t i = 0; i < f->count; i++) {
        const int64_t *at = f->cells[i].cell->index;
        sets              = at[PB_AXIS_DATASET] >= sets ? at[PB_AXIS_DATASET] + 1 : sets;
        models            = at[PB_AXIS_MODEL] >= models ? at[PB_AXIS_MODEL] + 1 : models;
    }
    PB_TRY(PB_ALLOC(seen, sets * (models + 1) + 1));
    p->files = FILES_OF_A_SWEEP + (double)f->count;
    for (int64_t i = 0; i < f->count; i++) {
        const pb_sweep_foreseen *c = &f->cells[i];
        int64_t set                = c->cell->index[PB_AXIS_DATASET];
        bool *once                 = &seen[set];
        bool *pair                 = &seen[(c->cell->index[PB_AXIS_MODEL] + 1) * sets + set];
        p->bytes += 2.0 * (SHARD_BYTES + STEP_BYTES * (double)c->prediction.steps +
                           ROW_BYTES * (double)c->rows.test.rows);
        if (!*pair && c->mistake < 0) {
            p->files += 2.0;
            p->bytes += token_bytes(&c->rows.train) + token_bytes(&c->rows.test);
        }
        p->assumed += !*once && c->rows.source == PB_ROWS_ASSUMED;
        p->counted += !*once && c->rows.source == PB_ROWS_TOKENS;
        *pair = *once = true;
    }
    pb_memory_free(seen);
    return PB_OK;
}

static double node_memory(void)
{
    return (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / 1e9;
}

static pb_status count_device(void *context, const char *name, const char *about)
{
    (void)name, (void)about;
    ++*(int64_t *)context;
    return PB_OK;
}

/* Where this machine has no device, as many as jobs/slurm/gpu.sbatch asks for. */
static int64_t devices_of_node(void)
{
    enum { USUAL = 4 };
    int64_t count = 0;
    if (pb_backend_list(count_device, &count) != PB_OK) {
        pb_error_clear();
    }
    return count > 0 ? count : USUAL;
}

pb_status plan_sum_up(plan *p)
{
    const pb_sweep_forecast *f = &p->forecast;
    pb_processors here;
    pb_processors_get(&here);
    pb_topology_get(&p->node);
    int64_t cores = p->node.cores > 0 ? p->node.cores : here.online;
    p->per_node   = cores > f->threads ? cores / f->threads : 1;
    p->per_node   = f->on_device ? devices_of_node() : p->per_node;
    p->memory_gb  = node_memory();
    for (int64_t i = 0; i < f->count; i++) {
        if (f->cells[i].seconds > p->largest) {
            p->largest    = f->cells[i].seconds;
            p->largest_at = i;
        }
    }
    p->counts[0] = p->processes > 1 ? p->processes / 2 : 1;
    p->counts[1] = p->processes;
    p->counts[2] = 2 * p->processes;
    for (int i = 0; i < PLAN_TIMES; i++) {
        PB_TRY(pb_sweep_forecast_makespan(f, p->counts[i], &p->times[i]));
    }
    return add_disk(p);
}

int64_t plan_next_model(const plan *p, int64_t at, plan_model *out)
{
    const pb_sweep_forecast *f = &p->forecast;
    int64_t model              = f->cells[at].cell->index[PB_AXIS_MODEL];
    *out                       = (plan_model){.name = f->cells[at].cell->model};
    for (; at < f->count && f->cells[at].cell->index[PB_AXIS_MODEL] == model; at++) {
        const pb_sweep_foreseen *c = &f->cells[at];
        out->cells++;
        out->seconds += c->seconds;
        out->memory_gb = fmax(out->memory_gb, c->memory_gb);
        out->device_gb = fmax(out->device_gb, c->device_gb);
    }
    return at;
}

/* A process with all cores of a NUMA domain or a socket is kept there. */
static const char *plan_mapping(const plan *p, char text[64])
{
    const pb_topology *n = &p->node;
    int threads          = p->forecast.threads;
    if (n->domains > 1 && threads * n->domains == n->cores) {
        snprintf(text, 64, "ppr:1:numa:PE=%d", threads);
    } else if (n->sockets > 1 && threads * n->sockets == n->cores) {
        snprintf(text, 64, "ppr:1:package:PE=%d", threads);
    } else {
        snprintf(text, 64, "slot:PE=%d", threads);
    }
    return text;
}

pb_status plan_launch(const plan *p, pb_string *mpirun, pb_string *sbatch)
{
    int threads      = p->forecast.threads;
    int64_t on_node  = p->per_node < p->processes ? p->per_node : p->processes;
    int64_t nodes    = (p->processes + on_node - 1) / on_node;
    int64_t minutes  = (int64_t)ceil(fmin(RESERVE * p->times[1].seconds + 600.0, DAY) / 60.0);
    const char *gpus = p->forecast.on_device ? " --device cuda" : "";
    char mapping[64];
    PB_TRY(pb_string_printf(
        mpirun, "mpirun -n %" PRId64 " --map-by %s --bind-to core peftbench run %s --threads %d%s",
        p->processes, plan_mapping(p, mapping), p->grid, threads, gpus));
    PB_TRY(pb_string_printf(sbatch, "sbatch --nodes=%" PRId64 " --ntasks-per-node=%" PRId64, nodes,
                            on_node));
    if (p->forecast.on_device) {
        PB_TRY(pb_string_printf(sbatch, " --gpus-per-node=%" PRId64, on_node));
    }
    return pb_string_printf(
        sbatch, " --cpus-per-task=%d --time=%" PRId64 ":%02" PRId64 ":00 jobs/slurm/%s.sbatch %s",
        threads, minutes / 60, minutes % 60, p->forecast.on_device ? "gpu" : "grid", p->grid);
}

const char *plan_rate(const plan *p)
{
    return p->from != NULL ? "fitted" : p->gflops > 0 ? "stated" : "measured";
}
