// SPDX-License-Identifier: Apache-2.0
/* What is left to do, by predicted costs that finished cells correct: the seconds of a unit of cost
 * are those of the finished cells of the same method or, while these took less than a second, of
 * all. The longest gang of the current model comes first; without any correction that is the order
 * of the cells. So methods without a correction of their own need no comparison: they wait in a
 * heap by their next gang, and with thousands of them the next cell is still found in a moment. */
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

/* ---------------------------------------------------------------- the heap */

static bool is_earlier(const grid_estimate *e, int64_t a, int64_t b)
{
    return e->methods[e->queue[a]].next < e->methods[e->queue[b]].next;
}

static void exchange(grid_estimate *e, int64_t a, int64_t b)
{
    int64_t moved                 = e->queue[a];
    e->queue[a]                   = e->queue[b];
    e->queue[b]                   = moved;
    e->methods[e->queue[a]].place = a;
    e->methods[e->queue[b]].place = b;
}

/* Restores the order around a place whose method has another next gang. */
static void settle(grid_estimate *e, int64_t at)
{
    for (; at > 0 && is_earlier(e, at, (at - 1) / 2); at = (at - 1) / 2) {
        exchange(e, at, (at - 1) / 2);
    }
    for (;;) {
        int64_t least = at;
        for (int64_t child = 2 * at + 1; child <= 2 * at + 2 && child < e->queued; child++) {
            least = is_earlier(e, child, least) ? child : least;
        }
        if (least == at) {
            return;
        }
        exchange(e, at, least);
        at = least;
    }
}

static void enqueue(grid_estimate *e, int64_t method)
{
    e->queue[e->queued]      = method;
    e->methods[method].place = e->queued++;
    settle(e, e->queued - 1);
}

static void dequeue(grid_estimate *e, int64_t method)
{
    int64_t at = e->methods[method].place;
    exchange(e, at, --e->queued);
    e->methods[method].place = END;
    if (at < e->queued) {
        settle(e, at);
    }
}

/* ---------------------------------------------------------------- the estimate */

static void compare_from_now_on(grid_estimate *e, int64_t method)
{
    e->methods[method].compared      = true;
    e->compared[e->compared_count++] = method;
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
    PB_TRY_GOTO(status, PB_ALLOC(e->queue, e->count + 1), err_estimate);
    PB_TRY_GOTO(status, PB_ALLOC(e->compared, e->count + 1), err_estimate);
    for (int64_t m = 0; m < e->count; m++) {
        e->methods[m].next  = END;
        e->methods[m].place = END;
    }
    for (int64_t i = 0; i < gangs->cells; i++) {
        method_of(e, cell_at(e, i))->left += cell_at(e, i)->cost;
    }
    for (int64_t g = gangs->count - 1; g >= 0; g--) {
        grid_method *m = method_of(e, first_cell(e, g));
        e->after[g]    = m->next;
        m->next        = g;
    }
    for (int64_t m = 0; m < e->count; m++) {
        if (gangs->count < gangs->cells) { /* the sum of a gang may be in another order */
            compare_from_now_on(e, m);
        } else if (e->methods[m].next != END) {
            enqueue(e, m);
        }
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
    pb_memory_free(e->queue);
    pb_memory_free(e->compared);
    *e = (grid_estimate){0};
}

/* Passes over gangs that are not free; END: the method has no more. */
static int64_t next_free(const grid_estimate *e, grid_method *m, const bool *free)
{
    while (m->next != END && !free[m->next]) {
        m->next = e->after[m->next];
    }
    return m->next;
}

/* The first free gang of the methods in the heap. */
static int64_t first_queued(grid_estimate *e, const bool *free)
{
    while (e->queued > 0) {
        grid_method *m = &e->methods[e->queue[0]];
        int64_t before = m->next;
        if (next_free(e, m, free) == before) {
            return before;
        }
        if (m->next == END) {
            dequeue(e, e->queue[0]);
        } else {
            settle(e, 0);
        }
    }
    return END;
}

static bool comes_before(const grid_estimate *e, int64_t a, int64_t b)
{
    int64_t models[] = {first_cell(e, a)->index[PB_AXIS_MODEL],
                        first_cell(e, b)->index[PB_AXIS_MODEL]};
    double seconds[] = {gang_seconds(e, a), gang_seconds(e, b)};
    if (models[0] != models[1]) {
        return models[0] < models[1];
    }
    return seconds[0] > seconds[1] || (seconds[0] == seconds[1] && a < b);
}

int64_t grid_estimate_longest(grid_estimate *e, const bool *free)
{
    int64_t best = first_queued(e, free);
    for (int64_t k = 0; k < e->compared_count; k++) {
        int64_t gang = next_free(e, &e->methods[e->compared[k]], free);
        if (gang != END && (best == END || comes_before(e, gang, best))) {
            best = gang;
        }
    }
    return best;
}

void grid_estimate_free(grid_estimate *e, int64_t gang)
{
    int64_t method = first_cell(e, gang)->index[PB_AXIS_METHOD];
    grid_method *m = &e->methods[method];
    m->next        = m->next == END || gang < m->next ? gang : m->next;
    if (m->place != END) {
        settle(e, m->place);
    } else if (!m->compared) {
        enqueue(e, method);
    }
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
    if (m->seconds >= SECONDS_BELIEVED && !m->compared) {
        if (m->place != END) {
            dequeue(e, cell->index[PB_AXIS_METHOD]);
        }
        compare_from_now_on(e, cell->index[PB_AXIS_METHOD]);
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
