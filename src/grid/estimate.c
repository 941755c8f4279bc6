// SPDX-License-Identifier: Apache-2.0
/* What is left to do, by predicted costs that finished cells correct: the seconds of a unit of cost
 * are those of the finished cells of the same method or, while these took less than a second, of
 * all. The longest gang of the current model comes first; without any correction that is the order
 * of the cells. */
#include "internal.h"

#include "pb/memory.h"

#include <math.h>

/* Shorter sums of times say little. */
static const double SECONDS_BELIEVED = 1.0;

enum { END = -1 };

static const pb_grid_cell *cell_at(const grid_estimate *e, int64_t place)
{
    return &e->cells->items[e->gangs->todo[place]];
}

static const pb_grid_cell *first_cell(const grid_estimate *e, int64_t gang)
{
    return cell_at(e, e->gangs->first[gang]);
}

static grid_method *method_of(const grid_estimate *e, const pb_grid_cell *cell)
{
    return &e->methods[cell->index[PB_AXIS_METHOD]];
}

/* Seconds of a unit of cost; 1 while nothing is known. */
static double factor_of(const grid_estimate *e, const grid_method *m)
{
    if (m->seconds >= SECONDS_BELIEVED) {
        return m->seconds / m->cost;
    }
    return e->seconds >= SECONDS_BELIEVED ? e->seconds / e->cost : 1.0;
}

/* The members of a gang may have different methods. */
static double gang_seconds(const grid_estimate *e, int64_t gang)
{
    double seconds = 0.0;
    for (int64_t i = e->gangs->first[gang]; i < e->gangs->first[gang + 1]; i++) {
        const pb_grid_cell *cell = cell_at(e, i);
        seconds += factor_of(e, method_of(e, cell)) * cell->cost;
    }
    return seconds;
}

pb_status grid_estimate_open(grid_estimate *e, const pb_grid_cells *cells, const grid_gangs *gangs)
{
    pb_status status = PB_OK;
    *e               = (grid_estimate){.cells = cells, .gangs = gangs};
    for (int64_t i = 0; i < gangs->cells; i++) {
        int64_t method = cell_at(e, i)->index[PB_AXIS_METHOD];
        e->count       = method >= e->count ? method + 1 : e->count;
    }
    PB_TRY_GOTO(status, PB_ALLOC(e->methods, e->count + 1), err_estimate);
    PB_TRY_GOTO(status, PB_ALLOC(e->after, gangs->count + 1), err_estimate);
    for (int64_t m = 0; m < e->count; m++) {
        e->methods[m].next = END;
    }
    for (int64_t i = 0; i < gangs->cells; i++) {
        method_of(e, cell_at(e, i))->left += cell_at(e, i)->cost;
    }
    for (int64_t g = gangs->count - 1; g >= 0; g--) {
        grid_method *m = method_of(e, first_cell(e, g));
        e->after[g]    = m->next;
        m->next        = g;
    }
    return PB_OK;

err_estimate:
    grid_estimate_close(e);
    return status;
}

void grid_estimate_close(grid_estimate *e)
{
    pb_memory_free(e->methods);
    pb_memory_free(e->after);
    *e = (grid_estimate){0};
}

int64_t grid_estimate_longest(grid_estimate *e, const bool *free)
{
    int64_t best        = END;
    int64_t best_model  = 0;
    double best_seconds = 0.0;
    for (int64_t k = 0; k < e->count; k++) {
        grid_method *m = &e->methods[k];
        while (m->next != END && !free[m->next]) {
            m->next = e->after[m->next];
        }
        if (m->next == END) {
            continue;
        }
        int64_t model  = first_cell(e, m->next)->index[PB_AXIS_MODEL];
        double seconds = gang_seconds(e, m->next);
        bool longer    = seconds > best_seconds || (seconds == best_seconds && m->next < best);
        if (best == END || model < best_model || (model == best_model && longer)) {
            best         = m->next;
            best_model   = model;
            best_seconds = seconds;
        }
    }
    return best;
}

void grid_estimate_free(grid_estimate *e, int64_t gang)
{
    grid_method *m = method_of(e, first_cell(e, gang));
    m->next        = m->next == END || gang < m->next ? gang : m->next;
}

void grid_estimate_finished(grid_estimate *e, int64_t place, double seconds, bool failed)
{
    const pb_grid_cell *cell = cell_at(e, place);
    grid_method *m           = method_of(e, cell);
    m->left -= cell->cost;
    if (!failed && seconds > 0.0) {
        m->cost += cell->cost;
        m->seconds += seconds;
        e->cost += cell->cost;
        e->seconds += seconds;
    }
}

double grid_estimate_left(const grid_estimate *e)
{
    double seconds = 0.0;
    for (int64_t k = 0; k < e->count; k++) {
        seconds += factor_of(e, &e->methods[k]) * fmax(e->methods[k].left, 0.0);
    }
    return e->seconds > 0.0 ? seconds : INFINITY;
}
