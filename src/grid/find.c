// SPDX-License-Identifier: Apache-2.0
/* The file of a name of an axis, and the message for a name that has none. */
#include "pb/file.h"
#include "pb/grid.h"
#include "pb/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUFFIX ".cfg"

/* Folders in which names of an axis are looked for, in order. */
typedef struct folders {
    char **items;
    int64_t count;
} folders;

static void clear_folders(folders *list)
{
    for (int64_t i = 0; i < list->count; i++) {
        pb_memory_free(list->items[i]);
    }
    pb_memory_free(list->items);
    *list = (folders){0};
}

/* Adds "<base>/<axis>". */
static pb_status add_folder(folders *list, const char *base, size_t length, const char *axis)
{
    pb_string path = {0};
    char **items   = pb_memory_resize(list->items, (size_t)list->count + 1, sizeof(*items));
    if (items == NULL) {
        return PB_ERR_MEMORY;
    }
    list->items      = items;
    pb_status status = pb_string_printf(&path, "%.*s/%s", (int)length, base, axis);
    if (status != PB_OK) {
        pb_string_clear(&path);
        return status;
    }
    items[list->count++] = path.data;
    return PB_OK;
}

static pb_status find_folders(const char *axis, const char *first, const char *last, folders *out)
{
    const char *rest = getenv("PB_CONFIGS");
    pb_status status = first != NULL ? add_folder(out, first, strlen(first), axis) : PB_OK;
    while (status == PB_OK && rest != NULL && *rest != '\0') {
        size_t length = strcspn(rest, ":");
        if (length > 0) {
            status = add_folder(out, rest, length, axis);
        }
        rest += length + (rest[length] == ':');
    }
    return status == PB_OK && last != NULL ? add_folder(out, last, strlen(last), axis) : status;
}

/* The nearest name among the files of all folders, into text; false when there is none. */
static bool nearest_file(const folders *list, const char *name, char *text, size_t size)
{
    bool found = false;
    for (int64_t f = 0; f < list->count && !found; f++) {
        char **names           = NULL;
        size_t count           = 0;
        const char **candidate = NULL;
        if (pb_path_list(list->items[f], SUFFIX, &names, &count) != PB_OK) {
            pb_error_clear();
            continue;
        }
        candidate = pb_memory_new(count + 1, sizeof *candidate);
        for (size_t i = 0; candidate != NULL && i < count; i++) {
            names[i][strlen(names[i]) - strlen(SUFFIX)] = '\0';
            candidate[i]                                = names[i];
        }
        const char *near = candidate != NULL ? pb_string_nearest(name, candidate) : NULL;
        if (near != NULL) {
            snprintf(text, size, "%s", near);
            found = true;
        }
        pb_memory_free(candidate);
        pb_path_list_free(names, count);
    }
    return found;
}

static pb_status fail_missing(const char *place, const char *axis, const char *name,
                              const folders *list)
{
    char near[256];
    pb_string tried  = {0};
    pb_status status = PB_OK;
    for (int64_t i = 0; i < list->count && status == PB_OK; i++) {
        status =
            pb_string_printf(&tried, "%s%s/%s" SUFFIX, i > 0 ? ", " : "", list->items[i], name);
    }
    if (status == PB_OK) {
        bool found = nearest_file(list, name, near, sizeof near);
        status     = PB_FAIL(PB_ERR_CONFIG,
                             "%s: %s \"%s\" has no file%s%s%s (looked for %s; PB_CONFIGS may list "
                                 "more folders)",
                             place, axis, name, found ? "; did you mean \"" : "", found ? near : "",
                         found ? "\"?" : "", tried.data);
    }
    pb_string_clear(&tried);
    return status;
}

pb_status pb_grid_find_file(const char *place, const char *axis, const char *name,
                            const char *first, const char *last, char **out)
{
    folders list     = {0};
    pb_status status = find_folders(axis, first, last, &list);
    char *path       = NULL;
    for (int64_t i = 0; i < list.count && status == PB_OK && path == NULL; i++) {
        pb_string text = {0};
        status         = pb_string_printf(&text, "%s/%s" SUFFIX, list.items[i], name);
        if (status == PB_OK && pb_path_exists(text.data)) {
            path = text.data;
        } else {
            pb_string_clear(&text);
        }
    }
    if (status == PB_OK && path == NULL) {
        status = fail_missing(place, axis, name, &list);
    }
    clear_folders(&list);
    *out = path;
    return status;
}
