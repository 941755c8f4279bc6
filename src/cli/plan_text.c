// SPDX-License-Identifier: Apache-2.0
/* The plan for people: one screen, and a row for every cell where asked. */
#include "plan.h"

#include "pb/memory.h"
#include "pb/table.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum { COLUMNS = 10 };

/* "42 s", "12.3 min", "7.5 h". */
static const char *time_text(double seconds, char text[PB_TABLE_NUMBER])
{
    if (seconds < 100.0) {
        snprintf(text, PB_TABLE_NUMBER, "%.3g s", seconds);
    } else if (seconds < 6000.0) {
        snprintf(text, PB_TABLE_NUMBER, "%.3g min", seconds / 60.0);
    } else {
        double hours = seconds / 3600.0;
        snprintf(text, PB_TABLE_NUMBER, hours < 100.0 ? "%.3g h" : "%.0f h", hours);
    }
    return text;
}

/* Errors are listed below the table, each once for all its cells. */
static pb_status add_row(const plan *p, int64_t i, pb_table *table)
{
    const pb_sweep_foreseen *known = &p->forecast.cells[i];
    const pb_grid_cell *c          = known->cell;
    const pb_cell_prediction *q    = &known->prediction;

    PB_TRY(pb_table_add(table, "%s", c->model));
    PB_TRY(pb_table_add(table, "%s", c->dataset));
    PB_TRY(pb_table_add(table, "%s", c->method));
    PB_TRY(pb_table_add(table, "%" PRId64, c->seed));
    if (known->mistake >= 0) {
        PB_TRY(pb_table_add(table, "cannot run"));
        for (int k = 5; k < COLUMNS; k++) {
            PB_TRY(pb_table_add(table, PB_TABLE_UNKNOWN));
        }
        return PB_OK;
    }
    PB_TRY(pb_table_add(table, "%" PRId64, q->trainable_params));
    PB_TRY(pb_table_add_number(table, q->flops_forward_t, 6));
    PB_TRY(pb_table_add_number(table, q->flops_forward_t - q->flops_base_t, 6));
    PB_TRY(pb_table_add_number(table, known->memory_gb, 4));
    PB_TRY(pb_table_add_number(table, known->device_gb, 4));
    return pb_table_add_number(table, known->seconds, 1);
}

static pb_status write_cells(const plan *p, int64_t width, pb_string *out)
{
    static const char *const header[] = {"model",     "dataset",    "method", "seed",
                                         "trainable", "TFLOPs/512", "extra",  "memory GB",
                                         "device GB", "seconds",    NULL};
    pb_table table;
    pb_status status = PB_OK;

    PB_TRY_GOTO(status, pb_table_begin(&table, header, 3), out);
    for (int64_t i = 0; i < p->forecast.count; i++) {
        PB_TRY_GOTO(status, add_row(p, i, &table), out);
    }
    PB_TRY_GOTO(status, pb_table_print(&table, width, false, out), out);
    status = pb_string_puts(out, "\n");
out:
    pb_table_clear(&table);
    return status;
}

/* The names of the methods by their place on the axis; NULL where it has no cell. */
static pb_status list_methods(const plan *p, const char ***names, int64_t *count)
{
    const pb_sweep_forecast *f = &p->forecast;
    *count                     = 0;
    *names                     = NULL;
    for (int64_t i = 0; i < f->count; i++) {
        int64_t at = f->cells[i].cell->index[PB_AXIS_METHOD];
        *count     = at >= *count ? at + 1 : *count;
    }
    PB_TRY(PB_ALLOC(*names, *count + 1));
    for (int64_t i = 0; i < f->count; i++) {
        (*names)[f->cells[i].cell->index[PB_AXIS_METHOD]] = f->cells[i].cell->method;
    }
    return PB_OK;
}

static int64_t cells_of(const plan *p, int64_t first, int64_t end, int64_t method)
{
    int64_t count = 0;
    for (int64_t i = first; i < end; i++) {
        count += p->forecast.cells[i].cell->index[PB_AXIS_METHOD] == method;
    }
    return count;
}

static pb_status add_model(const plan *p, const char *const *methods, int64_t count, int64_t first,
                           int64_t *end, pb_table *table)
{
    char hours[PB_TABLE_NUMBER];
    plan_model m;
    *end = plan_next_model(p, first, &m);
    PB_TRY(pb_table_add(table, "%s", m.name));
    for (int64_t k = 0; k < count; k++) {
        if (methods[k] != NULL) {
            PB_TRY(pb_table_add(table, "%" PRId64, cells_of(p, first, *end, k)));
        }
    }
    PB_TRY(pb_table_add(table, "%" PRId64, m.cells));
    PB_TRY(pb_table_add(table, "%s", time_text(m.seconds, hours)));
    PB_TRY(pb_table_add_number(table, m.memory_gb, 2));
    return p->forecast.on_device ? pb_table_add_number(table, m.device_gb, 2) : PB_OK;
}

static pb_status fill_models(const plan *p, const char *const *methods, int64_t count,
                             pb_table *table)
{
    int64_t end = 0;
    PB_TRY(pb_table_add(table, "cells"));
    for (int64_t k = 0; k < count; k++) {
        if (methods[k] != NULL) {
            PB_TRY(pb_table_add(table, "%s", methods[k]));
        }
    }
    PB_TRY(pb_table_add(table, "all"));
    PB_TRY(pb_table_add(table, "time"));
    PB_TRY(pb_table_add(table, "memory GB"));
    if (p->forecast.on_device) {
        PB_TRY(pb_table_add(table, "device GB"));
    }
    for (int64_t first = 0; first < p->forecast.count; first = end) {
        PB_TRY(add_model(p, methods, count, first, &end, table));
    }
    return PB_OK;
}

static pb_status write_models(const plan *p, int64_t width, pb_string *out)
{
    const char **methods = NULL;
    int64_t count        = 0;
    int64_t shown        = 0;
    pb_table table       = {0};
    pb_status status;
    PB_TRY_GOTO(status, list_methods(p, &methods, &count), done);
    for (int64_t k = 0; k < count; k++) {
        shown += methods[k] != NULL;
    }
    pb_table_init(&table, shown + 4 + p->forecast.on_device, 1);
    PB_TRY_GOTO(status, fill_models(p, methods, count, &table), done);
    PB_TRY_GOTO(status, pb_table_print(&table, width, false, out), done);
    status = pb_string_puts(out, "\n");
done:
    pb_memory_free(methods);
    pb_table_clear(&table);
    return status;
}

static pb_status begin_line(const char *name, pb_string *out)
{
    return pb_string_printf(out, "%-10s ", name);
}

enum { INDENT = 11 };

static pb_status write_times(const plan *p, int64_t width, pb_string *out)
{
    char total[PB_TABLE_NUMBER], longest[PB_TABLE_NUMBER], least[PB_TABLE_NUMBER];
    const pb_sweep_forecast *f = &p->forecast;
    const pb_grid_cell *c      = f->count > 0 ? f->cells[p->largest_at].cell : NULL;
    double hours               = f->seconds / 3600.0;
    PB_TRY(begin_line("work", out));
    PB_TRY(pb_table_note(out, width, INDENT,
                         "%s of one process: %.4g %s-hours, %.4g node-hours with %" PRId64
                         " process%s on a node",
                         time_text(f->seconds, total), f->on_device ? hours : hours * f->threads,
                         f->on_device ? "GPU" : "core", hours / (double)p->per_node, p->per_node,
                         p->per_node == 1 ? "" : "es"));
    if (p->largest > 0) {
        PB_TRY(begin_line("largest", out));
        PB_TRY(pb_table_note(out, width, INDENT, "%s: %s/%s/%s/%" PRId64,
                             time_text(p->largest, longest), c->model, c->dataset, c->method,
                             c->seed));
    }
    for (int i = 0; i < PLAN_TIMES; i++) {
        if (i == 0 && p->counts[0] == p->counts[1]) {
            continue;
        }
        PB_TRY(begin_line("walltime", out));
        PB_TRY(pb_table_note(out, width, INDENT, "%s on %" PRId64 " process%s, at least %s",
                             time_text(p->times[i].seconds, total), p->counts[i],
                             p->counts[i] == 1 ? "" : "es", time_text(p->times[i].bound, least)));
    }
    return PB_OK;
}

static pb_status write_memory(const plan *p, int64_t width, pb_string *out)
{
    double most     = 0.0;
    int64_t on_node = p->per_node < p->processes ? p->per_node : p->processes;
    plan_model m;
    for (int64_t at = 0; at < p->forecast.count;) {
        at   = plan_next_model(p, at, &m);
        most = fmax(most, m.memory_gb);
    }
    double need = most * (double)on_node;
    PB_TRY(begin_line("memory", out));
    return pb_table_note(
        out, width, INDENT,
        "%.3g GB a process at most, %.3g GB with %" PRId64 " on a node; this one has %.3g GB%s",
        most, need, on_node, p->memory_gb, need > p->memory_gb ? ", which is TOO LITTLE" : "");
}

/* Rates that the fit found, others being free. */
static pb_status put_rates(const pb_rates *rates, pb_string *out)
{
    static const struct {
        const char *format;
        double unit;  /* units of work or of time that are shown */
        bool inverse; /* work per second, else time per unit */
    } kinds[PB_WORK_KINDS] = {{", training %.4g GFLOP/s", 1e9, true},
                              {", other passes %.4g GFLOP/s", 1e9, true},
                              {", %.3g ms a pass", 1e3, false},
                              {", generation reads %.3g GB/s of weights", 1e9, true},
                              {", %.3g ms a cell", 1e3, false}};
    for (int k = 0; k < PB_WORK_KINDS; k++) {
        double s = rates->seconds[k];
        if (s > 0.0) {
            PB_TRY(
                pb_string_printf(out, kinds[k].format,
                                 kinds[k].inverse ? 1.0 / (s * kinds[k].unit) : s * kinds[k].unit));
        }
    }
    return PB_OK;
}

static pb_status write_rate(const plan *p, int64_t width, pb_string *out)
{
    pb_string rates = {0};
    PB_TRY(begin_line("rate", out));
    if (p->from == NULL) {
        return pb_table_note(out, width, INDENT, "half of %.4g GFLOP/s, %s", p->forecast.gflops,
                             p->gflops > 0 ? "as stated (--gflops)"
                                           : "a square product measured here");
    }
    pb_status status = put_rates(&p->fit.rates, &rates);
    if (status == PB_OK) {
        status = pb_table_note(out, width, INDENT,
                               "fitted to %" PRId64 " cells of %s, whose seconds it misses by "
                               "%.0f %% (root mean square)%s",
                               p->fit.cells, p->from, 100.0 * p->fit.residual,
                               rates.data != NULL ? rates.data : "");
    }
    pb_string_clear(&rates);
    return status;
}

static pb_status write_sources(const plan *p, int64_t width, pb_string *out)
{
    char sets[PB_TABLE_NUMBER];
    PB_TRY(begin_line("disk", out));
    PB_TRY(pb_table_note(out, width, INDENT, "%.0f files, %.3g GB", p->files, p->bytes / 1e9));
    PB_TRY(write_rate(p, width, out));
    if (p->assumed > 0) {
        PB_TRY(begin_line("assumed", out));
        PB_TRY(pb_table_note(out, width, INDENT,
                             "rows and lengths of %s without files, from dataset.typical",
                             pb_table_count(sets, p->assumed, "data set")));
    }
    return PB_OK;
}

/* Suggests a process for each domain, whose memory and caches its threads share. */
static pb_status write_node(const plan *p, int64_t width, pb_string *out)
{
    char sockets[PB_TABLE_NUMBER], domains[PB_TABLE_NUMBER];
    const pb_topology *n = &p->node;
    int64_t parts        = n->domains > n->sockets ? n->domains : n->sockets;
    if (n->cores < 1) {
        return PB_OK;
    }
    PB_TRY(begin_line("node", out));
    if (p->forecast.on_device) {
        return pb_table_note(out, width, INDENT,
                             "%" PRId64 " cores here: one process for each GPU of a node",
                             n->cores);
    }
    if (parts < 2) {
        return pb_table_note(out, width, INDENT, "%" PRId64 " cores here, in one NUMA domain",
                             n->cores);
    }
    return pb_table_note(out, width, INDENT,
                         "%" PRId64 " cores here, in %s and %s: one process for each %s has "
                         "--threads %" PRId64,
                         n->cores, pb_table_count(sockets, n->sockets, "socket"),
                         pb_table_count(domains, n->domains, "NUMA domain"),
                         parts == n->domains ? "NUMA domain" : "socket", n->cores / parts);
}

static pb_status write_launch(const plan *p, pb_string *out)
{
    pb_string mpirun = {0};
    pb_string sbatch = {0};
    pb_status status = plan_launch(p, &mpirun, &sbatch);
    if (status == PB_OK) {
        status =
            pb_string_printf(out, "%-10s %s\n%-10s %s\n", "start", mpirun.data, "or", sbatch.data);
    }
    pb_string_clear(&mpirun);
    pb_string_clear(&sbatch);
    return status;
}

static pb_status write_mistakes(const plan *p, pb_string *out)
{
    char cells[PB_TABLE_NUMBER];
    for (int64_t i = 0; i < p->forecast.mistakes.count; i++) {
        const pb_mistake *m = &p->forecast.mistakes.items[i];
        PB_TRY(pb_string_printf(out, "cannot run: %s (%s)\n", m->text,
                                pb_table_count(cells, m->count, "cell")));
    }
    return p->forecast.mistakes.count > 0 ? pb_string_puts(out, "\n") : PB_OK;
}

pb_status plan_write_text(const plan *p, bool cells, int64_t width, pb_string *out)
{
    char count[PB_TABLE_NUMBER];
    if (cells) {
        PB_TRY(write_cells(p, width, out));
    }
    PB_TRY(write_mistakes(p, out));
    PB_TRY(pb_table_note(out, width, 0, "sweep %s: %s, %" PRId64 " cannot run", p->name,
                         pb_table_count(count, p->forecast.count, "cell"), p->forecast.bad));
    PB_TRY(write_models(p, width, out));
    PB_TRY(write_times(p, width, out));
    PB_TRY(write_memory(p, width, out));
    PB_TRY(write_sources(p, width, out));
    PB_TRY(write_node(p, width, out));
    PB_TRY(write_launch(p, out));
    return pb_table_note(out, width, 0,
                         "Times, memory and disk are modelled; the rest is counted.");
}
