// SPDX-License-Identifier: Apache-2.0
/* A search over variants: the cells that it compares are one gang, and their results belong
 * together. What one of them computes depends on the others, and so does its hash. */
#include "internal.h"

#include "pb/interned.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <string.h>

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

/* Numbers the groups from 1 in the order of the grid. */
static pb_status number_groups(pb_sweep *s)
{
    pb_interned keys = {0};
    pb_string key    = {0};
    pb_status status = PB_OK;
    for (int64_t i = 0; i < s->cells.count; i++) {
        int32_t number = 0;
        key.length     = 0;
        PB_TRY_GOTO(status, pb_grid_search_key(&s->cells.items[i], &key), out);
        PB_TRY_GOTO(status, pb_interned_add(&keys, key.data, key.length, &number), out);
        s->cells.items[i].group = number + 1;
    }
    s->groups = keys.count;
    status    = PB_ALLOC(s->group_places, s->groups + 1);
out:
    pb_string_clear(&key);
    pb_interned_clear(&keys);
    return status;
}

enum { END = -1 };

/* Gives the members of a group its hash. A cell without company has no group. */
static pb_status open_group(pb_grid_cell *cells, int64_t first, const int64_t *next,
                            const char *settings)
{
    pb_string text = {0};
    char hash[PB_HASH_TEXT];
    if (next[first] == END) {
        cells[first].group = 0;
        return PB_OK;
    }
    pb_status status = pb_string_puts(&text, settings);
    for (int64_t i = first; i != END && status == PB_OK; i = next[i]) {
        status = put_member(&cells[i], &text);
    }
    if (status == PB_OK) {
        status = pb_hash_bytes(text.data, text.length, hash);
    }
    pb_string_clear(&text);
    for (int64_t i = first; i != END && status == PB_OK; i = next[i]) {
        pb_cell_set_group(cells[i].cell, hash);
    }
    return status;
}

static pb_status open_groups(pb_sweep *s)
{
    int64_t *next      = NULL; /* [cells] of the same group */
    int64_t *first     = s->group_places;
    pb_string settings = {0};
    pb_status status;
    PB_TRY_GOTO(status, search_text(s, &settings), out);
    PB_TRY_GOTO(status, PB_ALLOC(next, s->cells.count), out);
    for (int64_t g = 0; g <= s->groups; g++) {
        first[g] = END;
    }
    for (int64_t i = s->cells.count - 1; i >= 0; i--) {
        int64_t group = s->cells.items[i].group;
        next[i]       = first[group];
        first[group]  = i;
    }
    for (int64_t g = 1; g <= s->groups && status == PB_OK; g++) {
        status = open_group(s->cells.items, first[g], next, settings.data);
    }
out:
    pb_memory_free(next);
    pb_string_clear(&settings);
    return status;
}

pb_status search_open(pb_sweep *s)
{
    const pb_grid_search *search = pb_grid_get_search(s->grid);
    if (search == NULL) {
        return PB_OK;
    }
    s->search = (pb_train_search){
        .rungs = search->rungs.items, .count = search->rungs.count, .keep = search->keep};
    PB_TRY(number_groups(s));
    return open_groups(s);
}

void search_form(const pb_sweep *s, const int64_t *todo, int64_t count, int64_t *leads)
{
    for (int64_t i = count - 1; i >= 0; i--) {
        s->group_places[s->cells.items[todo[i]].group] = i;
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t group = s->cells.items[todo[i]].group;
        leads[i]      = group > 0 ? s->group_places[group] : i;
    }
}

void search_complete(const pb_sweep *s, folder *f)
{
    int64_t *lacks = s->group_places;
    if (lacks == NULL) { /* no search */
        return;
    }
    memset(lacks, 0, (size_t)(s->groups + 1) * sizeof *lacks);
    for (int64_t i = 0; i < s->cells.count; i++) {
        int64_t group = s->cells.items[i].group;
        lacks[group] |= group > 0 && !f->done[i];
    }
    for (int64_t i = 0; i < s->cells.count; i++) {
        f->done[i] = f->done[i] && !lacks[s->cells.items[i].group];
    }
}
