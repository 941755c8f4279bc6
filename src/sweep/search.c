// SPDX-License-Identifier: Apache-2.0
/* A search over variants: the cells that it compares are one gang, and their results belong
 * together. What one of them computes depends on the others, and so does its hash. */
#include "internal.h"

#include "pb/memory.h"

#include <inttypes.h>

static pb_status put_member(const pb_grid_cell *c, pb_string *out)
{
    pb_status status = pb_cell_text(c->cell, out);
    if (status != PB_OK && status != PB_ERR_MEMORY) { /* reported later */
        pb_error_clear();
        status = pb_string_puts(out, "a configuration that cannot be read\n");
    }
    return status;
}

pb_status search_text(const pb_sweep *s, pb_string *out)
{
    const pb_train_search *search = &s->search;
    PB_TRY(pb_string_printf(out, "search keep = %.17g, rungs =", search->keep));
    for (int64_t i = 0; i < search->count; i++) {
        PB_TRY(pb_string_printf(out, " %" PRId64, search->rungs[i]));
    }
    return pb_string_puts(out, "\n");
}

/* One past the cells of the model and data set of cell `first`, in the order of the grid. */
static int64_t block_end(const pb_grid_cells *cells, int64_t first)
{
    const int64_t *index = cells->items[first].index;
    int64_t end          = first + 1;
    while (end < cells->count && cells->items[end].index[PB_AXIS_MODEL] == index[PB_AXIS_MODEL] &&
           cells->items[end].index[PB_AXIS_DATASET] == index[PB_AXIS_DATASET]) {
        end++;
    }
    return end;
}

/* The group of cell `first`. */
static pb_status open_group(const pb_sweep *s, int64_t first)
{
    const pb_grid_cell *cells = s->cells.items;
    int64_t end               = block_end(&s->cells, first);
    pb_string text            = {0};
    char hash[PB_HASH_TEXT];
    int64_t members  = 0;
    pb_status status = search_text(s, &text);
    for (int64_t i = first; i < end && status == PB_OK; i++) {
        if (pb_grid_same_search(&cells[first], &cells[i])) {
            members++;
            status = put_member(&cells[i], &text);
        }
    }
    if (status == PB_OK) {
        status = pb_hash_bytes(text.data, text.length, hash);
    }
    pb_string_clear(&text);
    PB_TRY(status);
    for (int64_t i = first; i < end && members > 1; i++) {
        if (pb_grid_same_search(&cells[first], &cells[i])) {
            pb_cell_set_group(cells[i].cell, hash);
        }
    }
    return PB_OK;
}

pb_status search_open(pb_sweep *s)
{
    const pb_grid_search *search = pb_grid_get_search(s->grid);
    if (search == NULL) {
        return PB_OK;
    }
    s->search = (pb_train_search){
        .rungs = search->rungs.items, .count = search->rungs.count, .keep = search->keep};
    for (int64_t i = 0; i < s->cells.count; i++) {
        if (!pb_cell_same_group(s->cells.items[i].cell, s->cells.items[i].cell)) {
            PB_TRY(open_group(s, i));
        }
    }
    return PB_OK;
}

void search_form(const pb_sweep *s, const int64_t *todo, int64_t count, int64_t *leads)
{
    for (int64_t i = 0; i < count; i++) {
        for (int64_t k = i + 1; k < count && leads[i] == i; k++) {
            if (pb_cell_same_group(s->cells.items[todo[i]].cell, s->cells.items[todo[k]].cell)) {
                leads[k] = i;
            }
        }
    }
}

void search_complete(const pb_sweep *s, folder *f)
{
    for (int64_t i = 0; i < s->cells.count; i++) {
        const pb_cell *cell = s->cells.items[i].cell;
        if (f->done[i] || !pb_cell_same_group(cell, cell)) {
            continue;
        }
        for (int64_t k = 0; k < s->cells.count; k++) {
            f->done[k] = f->done[k] && !pb_cell_same_group(cell, s->cells.items[k].cell);
        }
    }
}
