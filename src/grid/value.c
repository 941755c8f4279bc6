// SPDX-License-Identifier: Apache-2.0
/* A value of an axis: its name, and its configuration file, which is found and read. */
#include "internal.h"

#include "pb/file.h"
#include "pb/memory.h"
#include "pb/string.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

const char *const grid_axis_words[] = {"model", "dataset", "method", NULL};
const char *const grid_axis_keys[]  = {"models", "datasets", "methods", NULL};

#define SUFFIX ".cfg"

static bool ends_in_suffix(const char *text)
{
    return pb_string_ends(text, SUFFIX) && strcmp(text, SUFFIX) != 0;
}

/* A value that is a path: relative to the grid file, or to the working directory when it comes from
 * a set. */
static pb_status path_of_file(const pb_grid *grid, const char *key, const char *value, char **out)
{
    char from[64];
    char *base       = NULL;
    char *expanded   = NULL;
    pb_status status = PB_OK;
    snprintf(from, sizeof from, "sweep.%s", key);
    PB_TRY(pb_path_expand(value, &expanded));
    if (pb_config_has(grid->sets, from)) {
        *out = expanded;
        return PB_OK;
    }
    PB_TRY_GOTO(status, pb_path_directory(pb_config_path(grid->config), &base), done);
    status = pb_path_join(base, expanded, out);
done:
    pb_memory_free(base);
    pb_memory_free(expanded);
    return status;
}

/* A value that is a name: beside the grid file, then where pb_grid_find_file looks. */
static pb_status path_of_name(const pb_grid *grid, const char *place, const char *axis,
                              const char *name, char **out)
{
    char *base     = NULL;
    pb_string near = {0};
    PB_TRY(pb_path_directory(pb_config_path(grid->config), &base));
    pb_status status;
    PB_TRY_GOTO(status, pb_string_printf(&near, "%s/..", base), done);
    PB_TRY_GOTO(status, pb_grid_find_file(place, axis, name, near.data, out), done);
done:
    pb_string_clear(&near);
    pb_memory_free(base);
    return status;
}

/* Names are parts of paths in the result file. */
static bool is_name(const char *name)
{
    bool good = *name != '\0' && *name != '.' && strlen(name) <= 100;
    for (; *name != '\0'; name++) {
        good = good && (isalnum((unsigned char)*name) || strchr("._-", *name) != NULL);
    }
    return good;
}

/* The name of a value: itself, or the last part of a path without its suffix. */
static pb_status name_of(const char *place, const char *axis, const char *value, char **out)
{
    const char *last = strrchr(value, '/');
    bool is_file     = ends_in_suffix(value);
    char *name       = NULL;
    PB_TRY(PB_TEXT(name, is_file && last != NULL ? last + 1 : value));
    if (is_file) {
        name[strlen(name) - strlen(SUFFIX)] = '\0';
    }
    if (!is_name(name)) {
        pb_memory_free(name);
        return PB_FAIL(
            PB_ERR_CONFIG,
            "%s: %s \"%s\" is not a name (1 to 100 letters, digits, \".\", \"_\", \"-\") and "
            "not a path that ends in " SUFFIX,
            place, axis, value);
    }
    *out = name;
    return PB_OK;
}

/* The file holds the group of its axis, and groups that it sets for its cells. */
static pb_status check_file(const pb_config *config, const char *axis)
{
    const char *const allowed[] = {axis, "train", "data", "eval", NULL};
    PB_TRY(grid_check_groups(config, "", allowed));
    if (!pb_config_has(config, axis)) {
        return PB_FAIL(PB_ERR_CONFIG, "%s: group %s is missing; it is written %s = { … };",
                       pb_config_path(config), axis, axis);
    }
    return PB_OK;
}

void grid_value_close(grid_value *value)
{
    pb_memory_free(value->name);
    pb_config_close(value->borrows ? NULL : value->file);
    pb_config_close(value->settings);
    *value = (grid_value){0};
}

pb_status grid_value_open(const pb_grid *grid, pb_grid_axis_kind kind, const char *place,
                          const char *value, grid_value *out)
{
    const char *word = grid_axis_words[kind];
    grid_value made  = {0};
    char *path       = NULL;
    pb_status status = PB_OK;
    PB_TRY(name_of(place, word, value, &made.name));
    if (ends_in_suffix(value)) {
        status = path_of_file(grid, grid_axis_keys[kind], value, &path);
        if (status == PB_OK && !pb_path_exists(path)) {
            status =
                PB_FAIL(PB_ERR_CONFIG, "%s: %s \"%s\": no such file: %s", place, word, value, path);
        }
    } else {
        status = path_of_name(grid, place, word, value, &path);
    }
    if (status != PB_OK) {
        goto done;
    }
    PB_TRY_GOTO(status, grid_file_open(path, &made.file), done);
    PB_TRY_GOTO(status, check_file(made.file, word), done);
    *out = made;
    made = (grid_value){0};
done:
    pb_memory_free(path);
    grid_value_close(&made);
    return status;
}

pb_status grid_value_add_take(pb_grid *grid, pb_grid_axis_kind kind, const char *place,
                              grid_value *value)
{
    grid_axis *axis  = &grid->axes[kind];
    pb_status status = PB_GROW(axis->items, axis->count + 1);
    for (int64_t i = 0; i < axis->count && status == PB_OK; i++) {
        if (strcmp(axis->items[i].name, value->name) == 0) {
            status = PB_FAIL(PB_ERR_CONFIG, "%s: %s \"%s\" is listed twice", place,
                             grid_axis_words[kind], value->name);
        }
    }
    if (status != PB_OK) {
        grid_value_close(value);
        return status;
    }
    axis->items[axis->count++] = *value;
    *value                     = (grid_value){0};
    return PB_OK;
}
