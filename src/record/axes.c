// SPDX-License-Identifier: Apache-2.0
/* The axes of results, and the grid over them. A grid position is
 * ((model · datasets + dataset) · methods + method) · seeds + seed. */
#include "axes.h"

#include "pb/interned.h"
#include "pb/memory.h"
#include "pb/utf8.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define GRID_MAX ((int64_t)1 << 27) /* positions; beyond, the files have nothing in common */

/* The numbers of the names, by axis; the last axis has the seeds. */
struct pb_results_index {
    pb_interned names[4];
};

enum { SEEDS = 3 };

void axes_index_clear(pb_results *results)
{
    for (int axis = 0; axis <= SEEDS && results->index != NULL; axis++) {
        pb_interned_clear(&results->index->names[axis]);
    }
    pb_memory_free(results->index);
    results->index = NULL;
}

static int64_t text_index(const pb_results *results, int axis, const char *name)
{
    return pb_interned_find(&results->index->names[axis], name, strlen(name));
}

/* Numbers a name; `known`: it had a number. */
static pb_status number(pb_results *results, int axis, const void *bytes, size_t length,
                        bool *known)
{
    int32_t before = 0;
    int32_t place  = 0;
    if (results->index == NULL) {
        PB_TRY(PB_ALLOC(results->index, 1));
    }
    before = results->index->names[axis].count;
    PB_TRY(pb_interned_add(&results->index->names[axis], bytes, length, &place));
    *known = place < before;
    return PB_OK;
}

static pb_status text_add(pb_results *results, int axis, char ***names, int64_t *count,
                          const char *name)
{
    bool known = false;
    PB_TRY(number(results, axis, name, strlen(name), &known));
    if (known) {
        return PB_OK;
    }
    PB_TRY(PB_GROW(*names, *count + 1));
    (*names)[*count] = NULL;
    PB_TRY(pb_record_set_text(&(*names)[*count], name));
    *count += 1;
    return PB_OK;
}

pb_status axes_add(pb_results *results, const pb_record_key *key)
{
    bool known = false;
    PB_TRY(text_add(results, 0, &results->models, &results->models_count, key->model));
    PB_TRY(text_add(results, 1, &results->datasets, &results->datasets_count, key->dataset));
    PB_TRY(text_add(results, 2, &results->methods, &results->methods_count, key->method));
    PB_TRY(number(results, SEEDS, &key->seed, sizeof key->seed, &known));
    if (!known) {
        PB_TRY(PB_GROW(results->seeds, results->seeds_count + 1));
        results->seeds[results->seeds_count++] = key->seed;
    }
    return PB_OK;
}

/* Numbers the names in the order of the axes. Those of an axis that was read from a file may repeat
 * one: PB_ERR_FORMAT. */
static pb_status number_axes(pb_results *results)
{
    static const char *const axes[] = {"model", "dataset", "method"};
    char *const *names[]            = {results->models, results->datasets, results->methods};
    int64_t counts[] = {results->models_count, results->datasets_count, results->methods_count};
    bool known       = false;

    axes_index_clear(results);
    PB_TRY(PB_ALLOC(results->index, 1));
    for (int axis = 0; axis < SEEDS; axis++) {
        for (int64_t i = 0; i < counts[axis]; i++) {
            PB_TRY(number(results, axis, names[axis][i], strlen(names[axis][i]), &known));
            if (known) {
                return PB_FAIL(PB_ERR_FORMAT, "axis %s names %.*s twice", axes[axis],
                               PB_FIT(names[axis][i], 80));
            }
        }
    }
    for (int64_t i = 0; i < results->seeds_count; i++) {
        PB_TRY(number(results, SEEDS, &results->seeds[i], sizeof *results->seeds, &known));
        if (known) {
            return PB_FAIL(PB_ERR_FORMAT, "axis seed has %" PRId64 " twice", results->seeds[i]);
        }
    }
    return PB_OK;
}

static int compare_seeds(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

void axes_sort(pb_results *results)
{
    pb_string_sort((const char **)results->models, (size_t)results->models_count);
    pb_string_sort((const char **)results->datasets, (size_t)results->datasets_count);
    pb_string_sort((const char **)results->methods, (size_t)results->methods_count);
    if (results->seeds_count > 1) {
        qsort(results->seeds, (size_t)results->seeds_count, sizeof *results->seeds, compare_seeds);
    }
}

int64_t pb_results_index(const pb_results *results, int64_t model, int64_t dataset, int64_t method,
                         int64_t seed)
{
    return ((model * results->datasets_count + dataset) * results->methods_count + method) *
               results->seeds_count +
           seed;
}

int64_t pb_results_positions(const pb_results *results)
{
    return pb_results_index(results, results->models_count, 0, 0, 0); /* one past the last */
}

pb_record_key pb_results_key(const pb_results *results, int64_t position)
{
    int64_t t = position / results->seeds_count;
    int64_t d = t / results->methods_count;

    return (pb_record_key){.model   = results->models[d / results->datasets_count],
                           .dataset = results->datasets[d % results->datasets_count],
                           .method  = results->methods[t % results->methods_count],
                           .seed    = results->seeds[position % results->seeds_count]};
}

int64_t pb_results_count(const pb_results *results, pb_cell_state state)
{
    int64_t count = 0;
    for (int64_t i = 0; i < pb_results_positions(results); i++) {
        count += results->state[i] == state;
    }
    return count;
}

int64_t axes_find(const pb_results *results, const pb_record_key *key)
{
    int64_t m = text_index(results, 0, key->model);
    int64_t d = text_index(results, 1, key->dataset);
    int64_t t = text_index(results, 2, key->method);
    int64_t s = pb_interned_find(&results->index->names[SEEDS], &key->seed, sizeof key->seed);

    return m < 0 || d < 0 || t < 0 || s < 0 ? -1 : pb_results_index(results, m, d, t, s);
}

pb_status axes_grid(pb_results *results, pb_cell_state initial)
{
    double cells = (double)results->models_count * (double)results->datasets_count *
                   (double)results->methods_count * (double)results->seeds_count;

    if (cells > (double)GRID_MAX) {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "results: the axes span %.0f cells (%" PRId64 " models, %" PRId64
                       " data sets, %" PRId64 " methods, %" PRId64
                       " seeds); give files of one sweep",
                       cells, results->models_count, results->datasets_count,
                       results->methods_count, results->seeds_count);
    }
    int64_t count = (int64_t)cells;
    PB_TRY(number_axes(results));
    PB_TRY(PB_ALLOC(results->grid, count + 1));
    PB_TRY(PB_ALLOC(results->state, count + 1));
    for (int64_t i = 0; i < count; i++) {
        results->grid[i]  = -1;
        results->state[i] = (int8_t)initial;
    }
    return PB_OK;
}

/* A position of the grid and the record that belongs there. */
typedef struct placed {
    int64_t position, from;
} placed;

static int compare_placed(const void *a, const void *b)
{
    int64_t x = ((const placed *)a)->position;
    int64_t y = ((const placed *)b)->position;

    return (x > y) - (x < y);
}

/* Puts the records into this order, in place: from a record that is held, each takes the place of
 * the one before it. */
static void arrange(pb_record *records, placed *order, int64_t count)
{
    for (int64_t first = 0; first < count; first++) {
        pb_record held = records[first];
        int64_t at     = first;
        while (order[at].from != first) {
            int64_t from   = order[at].from;
            records[at]    = records[from];
            order[at].from = at;
            at             = from;
        }
        records[at]    = held;
        order[at].from = at;
    }
}

static pb_cell_state state_of(const pb_record *record)
{
    if (record->status != PB_OK) {
        return PB_CELL_FAILED;
    }
    return record->valid ? PB_CELL_DONE : PB_CELL_INVALID;
}

pb_status axes_enter(pb_results *results)
{
    placed *order = NULL;

    PB_TRY(PB_ALLOC(order, results->count + 1));
    for (int64_t i = 0; i < results->count; i++) {
        order[i] = (placed){.position = axes_find(results, &results->records[i].key), .from = i};
    }
    qsort(order, (size_t)results->count, sizeof *order, compare_placed);
    arrange(results->records, order, results->count);
    for (int64_t i = 0; i < results->count; i++) {
        results->grid[order[i].position]  = i;
        results->state[order[i].position] = (int8_t)state_of(&results->records[i]);
    }
    pb_memory_free(order);
    return PB_OK;
}
