// SPDX-License-Identifier: Apache-2.0
/* The rules of a sweep: entries of `exclude`, and the `when` of `override`. A value that is on no
 * axis is an error: a rule with a typing mistake would silently do nothing. */
#include "internal.h"

#include "pb/memory.h"
#include "pb/string.h"
#include "pb/variant.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const pb_config_field pb_grid_match_fields[] = {
    PB_FIELD_TEXT_LIST(grid_match, model, "", "names on this axis, of variants too; absent: all"),
    PB_FIELD_TEXT_LIST(grid_match, dataset, "", "names on this axis, of variants too; absent: all"),
    PB_FIELD_TEXT_LIST(grid_match, method, "", "names on this axis, of variants too; absent: all"),
    PB_FIELD_INT_LIST(grid_match, seed, "", 0, 9007199254740992, "seeds; absent: all"),
    PB_FIELD_END,
};

void grid_matches_clear(grid_matches *matches)
{
    for (int64_t i = 0; i < matches->count; i++) {
        pb_config_clear(pb_grid_match_fields, &matches->items[i]);
    }
    pb_memory_free(matches->items);
    *matches = (grid_matches){0};
}

static const pb_config_list *names_of(const grid_match *match, int axis)
{
    const pb_config_list *const lists[] = {&match->model, &match->dataset, &match->method};
    return lists[axis];
}

/* An axis replaced by --set may be narrower than the rules of the file. */
static bool is_narrowed(const pb_grid *grid, const char *axis_key)
{
    char key[128], place[GRID_PLACE];
    snprintf(key, sizeof key, "sweep.%s", axis_key);
    pb_config_where(grid->config, key, place, sizeof place);
    return pb_string_begins(place, "--set");
}

static pb_status check_names(const pb_grid *grid, const char *group, const grid_match *match,
                             int axis)
{
    const grid_axis *have      = &grid->axes[axis];
    const pb_config_list *list = names_of(match, axis);
    const char *word           = grid_axis_words[axis];
    char key[128], place[GRID_PLACE];
    snprintf(key, sizeof key, "%s.%s", group, word);
    pb_config_where(grid->config, key, place, sizeof place);
    if (list->count == 0 && pb_config_has(grid->config, key)) {
        return PB_FAIL(PB_ERR_CONFIG, "%s: %s is empty; leave it out to mean all", place, word);
    }
    for (int64_t i = 0; i < list->count; i++) {
        bool found = false;
        for (int64_t k = 0; k < have->count; k++) {
            found = found || pb_variant_is_of(have->items[k].name, list->items[i]);
        }
        if (found || is_narrowed(grid, grid_axis_keys[axis])) {
            continue;
        }
        const char **names = NULL;
        PB_TRY(PB_ALLOC(names, have->count + 1));
        for (int64_t k = 0; k < have->count; k++) {
            names[k] = have->items[k].name;
        }
        char hint[PB_HINT_BYTES];
        pb_string_hint(hint, list->items[i], names);
        pb_memory_free(names);
        return PB_FAIL(PB_ERR_CONFIG, "%s: %s \"%s\" is not in sweep.%s%s", place, word,
                       list->items[i], grid_axis_keys[axis], hint);
    }
    return PB_OK;
}

static pb_status check_seeds(const pb_grid *grid, const char *group, const grid_match *match)
{
    char key[128], place[GRID_PLACE];
    snprintf(key, sizeof key, "%s.seed", group);
    pb_config_where(grid->config, key, place, sizeof place);
    if (match->seed.count == 0 && pb_config_has(grid->config, key)) {
        return PB_FAIL(PB_ERR_CONFIG, "%s: seed is empty; leave it out to mean all", place);
    }
    for (int64_t i = 0; i < match->seed.count; i++) {
        bool found = false;
        for (int64_t k = 0; k < grid->sweep.seeds.count; k++) {
            found = found || match->seed.items[i] == grid->sweep.seeds.items[k];
        }
        if (!found && !is_narrowed(grid, "seeds")) {
            return PB_FAIL(PB_ERR_CONFIG, "%s: seed %" PRId64 " is not in sweep.seeds", place,
                           match->seed.items[i]);
        }
    }
    return PB_OK;
}

/* One rule, appended to `matches`. */
static pb_status read_match(pb_grid *grid, const char *group, grid_matches *matches)
{
    char place[GRID_PLACE];
    grid_match *match = &matches->items[matches->count];
    if (pb_config_length(grid->config, group) == 0) {
        return PB_FAIL(PB_ERR_CONFIG, "%s: this does not name a model, dataset, method or seed",
                       pb_config_where(grid->config, group, place, sizeof place));
    }
    PB_TRY(pb_config_read(grid->config, group, pb_grid_match_fields, NULL, match));
    matches->count++;
    for (int axis = 0; axis < PB_AXIS_FILES; axis++) {
        PB_TRY(check_names(grid, group, match, axis));
    }
    return PB_FRAME(check_seeds(grid, group, match));
}

static pb_status read_override(pb_grid *grid, int64_t index)
{
    static const pb_config_field none[]   = {PB_FIELD_END};
    static const char *const parts[]      = {"when", "set", NULL};
    static const char *const wanted_for[] = {"when = { model = \"…\"; }",
                                             "set = { train = { … }; }"};
    char nothing                          = 0;
    char group[64], part[96], place[GRID_PLACE];
    snprintf(group, sizeof group, "sweep.override.[%" PRId64 "]", index);
    PB_TRY(pb_config_read(grid->config, group, none, parts, &nothing));
    for (int i = 0; i < 2; i++) {
        snprintf(part, sizeof part, "%s.%s", group, parts[i]);
        if (!pb_config_has(grid->config, part)) {
            return PB_FAIL(PB_ERR_CONFIG, "%s: override has no \"%s\"; it needs %s;",
                           pb_config_where(grid->config, group, place, sizeof place), parts[i],
                           wanted_for[i]);
        }
    }
    PB_TRY(grid_check_groups(grid->config, part, grid_cell_groups));
    snprintf(part, sizeof part, "%s.when", group);
    return read_match(grid, part, &grid->overrides);
}

pb_status grid_matches_read(pb_grid *grid)
{
    char group[64];
    int64_t count = 0;
    PB_TRY(pb_config_groups(grid->config, "sweep.exclude", &count));
    PB_TRY(PB_ALLOC(grid->excludes.items, count));
    for (int64_t i = 0; i < count; i++) {
        snprintf(group, sizeof group, "sweep.exclude.[%" PRId64 "]", i);
        PB_TRY(read_match(grid, group, &grid->excludes));
    }
    PB_TRY(pb_config_groups(grid->config, "sweep.override", &count));
    PB_TRY(PB_ALLOC(grid->overrides.items, count));
    for (int64_t i = 0; i < count; i++) {
        PB_TRY(read_override(grid, i));
    }
    return PB_OK;
}

static bool holds_name(const pb_config_list *list, const char *name)
{
    for (int64_t i = 0; i < list->count; i++) {
        if (pb_variant_is_of(name, list->items[i])) {
            return true;
        }
    }
    return list->count == 0;
}

bool grid_match_cell(const grid_match *match, const pb_grid_cell *cell)
{
    bool seed = match->seed.count == 0;
    for (int64_t i = 0; i < match->seed.count; i++) {
        seed = seed || match->seed.items[i] == cell->seed;
    }
    return seed && holds_name(&match->model, cell->model) &&
           holds_name(&match->dataset, cell->dataset) && holds_name(&match->method, cell->method);
}
