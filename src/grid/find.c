// SPDX-License-Identifier: Apache-2.0
/* Finds the file of a name of an axis; composes the message for a name without one. */
#include "pb/file.h"
#include "pb/grid.h"
#include "pb/memory.h"
#include "pb/string.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SUFFIX ".cfg"

/* The folders to search for names of an axis, in order. */
typedef struct folders {
    char **items;
    int64_t count;
} folders;

static void clear_folders(folders *list)
{
    pb_memory_free_texts(list->items, (size_t)list->count);
    *list = (folders){0};
}

/* Adds "<base>/<axis>". */
static pb_status add_folder(folders *list, const char *base, size_t length, const char *axis)
{
    pb_string path = {0};
    PB_TRY(PB_GROW(list->items, list->count + 1));
    PB_TRY(pb_string_printf(&path, "%.*s/%s", (int)length, base, axis));
    list->items[list->count++] = path.data;
    return PB_OK;
}

pb_status pb_grid_own_configs(pb_string *out)
{
    static const char *const places[] = {"../share/peftbench/configs", "../../../configs"};
    char program[4096];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    char *slash    = NULL;

    if (length > 0) {
        program[length] = '\0';
        slash           = strrchr(program, '/');
    }
    for (size_t i = 0; slash != NULL && i < sizeof places / sizeof *places; i++) {
        pb_string_clear(out);
        PB_TRY(pb_string_printf(out, "%.*s/%s", (int)(slash - program), program, places[i]));
        if (pb_path_is_directory(out->data)) {
            return PB_OK;
        }
    }
    pb_string_clear(out);
    return PB_OK;
}

static pb_status find_folders(const char *axis, const char *first, folders *out)
{
    const char *rest = getenv("PB_CONFIGS");
    pb_string own    = {0};
    pb_status status = PB_OK;
    if (first != NULL) {
        PB_TRY(add_folder(out, first, strlen(first), axis));
    }
    while (rest != NULL && *rest != '\0') {
        size_t length = strcspn(rest, ":");
        if (length > 0) {
            PB_TRY(add_folder(out, rest, length, axis));
        }
        rest += length + (rest[length] == ':');
    }
    PB_TRY_GOTO(status, pb_grid_own_configs(&own), done);
    if (own.length > 0) {
        PB_TRY_GOTO(status, add_folder(out, own.data, own.length, axis), done);
    }
done:
    pb_string_clear(&own);
    return status;
}

static bool is_listed(const pb_grid_files *files, const char *name)
{
    for (int64_t i = 0; i < files->count; i++) {
        if (strcmp(files->items[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Takes over the name of a file in a folder, which loses its suffix. */
static pb_status add_file(pb_grid_files *files, const char *folder, char *name)
{
    pb_string path = {0};
    PB_TRY(PB_GROW(files->items, files->count + 1));
    PB_TRY(pb_string_printf(&path, "%s/%s", folder, name));
    name[strlen(name) - strlen(SUFFIX)] = '\0';
    char *copy                          = is_listed(files, name) ? NULL : pb_memory_text(name);
    if (copy == NULL) {
        pb_string_clear(&path);
        return is_listed(files, name) ? PB_OK : PB_ERR_MEMORY;
    }
    files->items[files->count++] = (pb_grid_file){.name = copy, .path = path.data};
    return PB_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const pb_grid_file *)a)->name, ((const pb_grid_file *)b)->name);
}

/* A missing folder has no names. */
static pb_status list_files(const folders *list, pb_grid_files *out)
{
    pb_status status = PB_OK;
    for (int64_t f = 0; f < list->count && status == PB_OK; f++) {
        char **names = NULL;
        size_t count = 0;
        if (pb_path_list(list->items[f], SUFFIX, &names, &count) != PB_OK) {
            pb_error_clear();
            continue;
        }
        for (size_t i = 0; i < count && status == PB_OK; i++) {
            status = add_file(out, list->items[f], names[i]);
        }
        pb_memory_free_texts(names, count);
    }
    if (status == PB_OK && out->count > 1) {
        qsort(out->items, (size_t)out->count, sizeof *out->items, by_name);
    }
    return status;
}

void pb_grid_files_clear(pb_grid_files *files)
{
    for (int64_t i = 0; i < files->count; i++) {
        pb_memory_free(files->items[i].name);
        pb_memory_free(files->items[i].path);
    }
    pb_memory_free(files->items);
    *files = (pb_grid_files){0};
}

pb_status pb_grid_list_files(const char *axis, const char *first, pb_grid_files *out)
{
    folders list        = {0};
    pb_grid_files files = {0};
    pb_status status    = find_folders(axis, first, &list);
    if (status == PB_OK) {
        status = list_files(&list, &files);
    }
    clear_folders(&list);
    if (status != PB_OK) {
        pb_grid_files_clear(&files);
        return status;
    }
    *out = files;
    return PB_OK;
}

/* The names of all folders, for a message. */
static pb_status hint_files(const folders *list, const char *name, char hint[PB_HINT_BYTES])
{
    pb_grid_files files = {0};
    const char **names  = NULL;
    pb_status status;
    PB_TRY_GOTO(status, list_files(list, &files), done);
    PB_TRY_GOTO(status, PB_ALLOC(names, files.count + 1), done);
    for (int64_t i = 0; i < files.count; i++) {
        names[i] = files.items[i].name;
    }
    pb_string_hint(hint, name, names);
done:
    pb_memory_free(names);
    pb_grid_files_clear(&files);
    return status;
}

static pb_status fail_missing(const char *place, const char *axis, const char *name,
                              const folders *list)
{
    char hint[PB_HINT_BYTES] = "";
    pb_string tried          = {0};
    pb_status status;
    PB_TRY_GOTO(status, hint_files(list, name, hint), done);
    for (int64_t i = 0; i < list->count; i++) {
        PB_TRY_GOTO(
            status,
            pb_string_printf(&tried, "%s%s/%s" SUFFIX, i > 0 ? ", " : "", list->items[i], name),
            done);
    }
    status =
        PB_FAIL(PB_ERR_CONFIG,
                "%s: %s \"%s\" has no file%s (looked for %s; PB_CONFIGS may list more folders)",
                place, axis, name, hint, tried.data);
done:
    pb_string_clear(&tried);
    return status;
}

pb_status pb_grid_find_file(const char *place, const char *axis, const char *name,
                            const char *first, char **out)
{
    folders list     = {0};
    pb_status status = find_folders(axis, first, &list);
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
