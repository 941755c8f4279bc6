// SPDX-License-Identifier: Apache-2.0
/* Paths as text (join, directory, ${NAME}) and the directories they name. */
#include "file_private.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

pb_status pb_path_join(const char *directory, const char *name, char **out)
{
    pb_string path = {0};
    size_t length  = strlen(directory);

    if (name[0] == '/' || length == 0) {
        PB_TRY(pb_string_puts(&path, name));
    } else {
        const char *between = directory[length - 1] == '/' ? "" : "/";
        PB_TRY(pb_string_printf(&path, "%s%s%s", directory, between, name));
    }
    *out = path.data;
    return PB_OK;
}

pb_status pb_path_directory(const char *path, char **out)
{
    pb_string directory = {0};
    size_t end          = strlen(path);

    while (end > 1 && path[end - 1] == '/') {
        end--; /* slashes after the last name */
    }
    while (end > 0 && path[end - 1] != '/') {
        end--; /* the last name */
    }
    while (end > 1 && path[end - 1] == '/') {
        end--; /* slashes before it, except the root */
    }
    PB_TRY(end == 0 ? pb_string_puts(&directory, ".") : pb_string_append(&directory, path, end));
    *out = directory.data;
    return PB_OK;
}

bool pb_path_exists(const char *path)
{
    struct stat about;

    return stat(path, &about) == 0;
}

pb_status pb_path_has(const char *directory, const char *name, bool *out)
{
    char *path = NULL;

    PB_TRY(pb_path_join(directory, name, &path));
    *out = pb_path_exists(path);
    pb_memory_free(path);
    return PB_OK;
}

bool pb_path_is_taken(const char *path)
{
    struct stat about;

    return lstat(path, &about) == 0;
}

bool pb_path_is_directory(const char *path)
{
    struct stat about;

    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

/* The new entry is synced into its parent, so that files written into it later cannot be lost with
 * it. A failure is not fatal: the files themselves are synced. */
static void sync_parent(const char *path)
{
    char *parent = NULL;

    if (pb_path_directory(path, &parent) != PB_OK || pb_path_sync_directory(parent) != PB_OK) {
        pb_error_clear();
    }
    pb_memory_free(parent);
}

/* What exists in place of a directory that could not be created. */
static const char *obstacle(const char *path)
{
    struct stat about;

    return lstat(path, &about) == 0 && S_ISLNK(about.st_mode)
               ? "a symbolic link of that name does not lead to a directory"
               : "a file of that name is in the way";
}

/* Another process may create the same directory at the same moment: that is success. */
static pb_status make_one(const char *path)
{
    if (pb_path_is_directory(path)) {
        return PB_OK;
    }
    if (mkdir(path, 0777) == 0) {
        sync_parent(path);
        return PB_OK;
    }
    int reason = errno;
    if (reason == EEXIST && pb_path_is_directory(path)) {
        return PB_OK;
    }
    return PB_FAIL(PB_ERR_IO, "cannot make directory %s: %s; choose another path", path,
                   reason == EEXIST ? obstacle(path) : strerror(reason));
}

pb_status pb_path_make_directories(const char *path)
{
    pb_status status = PB_OK;

    if (path[0] == '\0') {
        return PB_FAIL(PB_ERR_ARGUMENT, "the path of a directory is empty");
    }
    char *partial = NULL;
    PB_TRY(PB_TEXT(partial, path));
    for (char *slash = strchr(partial + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        PB_TRY_GOTO(status, make_one(partial), out_partial);
        *slash = '/';
    }
    PB_TRY_GOTO(status, make_one(partial), out_partial);
out_partial:
    pb_memory_free(partial);
    return status;
}

/* Appends the value of the variable named from `name` for `length` bytes. */
static pb_status append_variable(pb_string *expanded, const char *path, const char *name,
                                 size_t length)
{
    pb_status status;
    pb_string variable = {0};

    PB_TRY(pb_string_append(&variable, name, length));
    const char *value = getenv(variable.data);
    if (value == NULL) {
        status = PB_FAIL(PB_ERR_CONFIG,
                         "%s: the environment variable %s is not set; export it or write the path "
                         "in full",
                         path, variable.data);
    } else {
        status = pb_string_puts(expanded, value);
    }
    pb_string_clear(&variable);
    return status;
}

pb_status pb_path_expand(const char *path, char **out)
{
    pb_status status;
    pb_string expanded = {0};
    const char *rest   = path;

    for (const char *mark = strstr(rest, "${"); mark != NULL; mark = strstr(rest, "${")) {
        const char *name = mark + 2;
        const char *end  = strchr(name, '}');
        if (end == NULL || end == name) {
            status = PB_FAIL(PB_ERR_CONFIG, "%s: \"${\" needs a name and a closing \"}\"", path);
            goto err_expanded;
        }
        PB_TRY_GOTO(status, pb_string_append(&expanded, rest, (size_t)(mark - rest)), err_expanded);
        PB_TRY_GOTO(status, append_variable(&expanded, path, name, (size_t)(end - name)),
                    err_expanded);
        rest = end + 1;
    }
    PB_TRY_GOTO(status, pb_string_puts(&expanded, rest), err_expanded);
    *out = expanded.data;
    return PB_OK;

err_expanded:
    pb_string_clear(&expanded);
    return status;
}

static pb_status append_name(char ***names, size_t *count, const char *name)
{
    PB_TRY(PB_GROW(*names, *count + 1));
    PB_TRY(PB_TEXT((*names)[*count], name));
    (*count)++;
    return PB_OK;
}

pb_status pb_path_list(const char *directory, const char *suffix, char ***names, size_t *count)
{
    pb_status status = PB_OK;
    char **list      = NULL;
    size_t used      = 0;

    DIR *stream = opendir(directory);
    if (stream == NULL) {
        return PB_FAIL(errno == ENOENT ? PB_ERR_NOT_FOUND : PB_ERR_IO,
                       "cannot list directory %s: %s", directory, strerror(errno));
    }
    for (;;) {
        errno                      = 0;
        const struct dirent *entry = readdir(stream);
        if (entry == NULL && errno != 0) {
            status = PB_FAIL(PB_ERR_IO, "cannot list directory %s: %s", directory, strerror(errno));
            goto err_list;
        }
        if (entry == NULL) {
            break;
        }
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
            (suffix != NULL && !pb_string_ends(name, suffix))) {
            continue;
        }
        PB_TRY_GOTO(status, append_name(&list, &used, name), err_list);
    }
    pb_string_sort((const char **)list, used);
    *names = list;
    *count = used;
    goto out_stream;

err_list:
    pb_memory_free_texts(list, used);
out_stream:
    (void)closedir(stream);
    return status;
}

pb_status pb_path_match(const char *directory, const char *pattern, char **name)
{
    char **names     = NULL;
    size_t count     = 0;
    pb_status status = PB_OK;

    *name = NULL;
    PB_TRY(pb_path_list(directory, NULL, &names, &count));
    for (size_t i = 0; i < count && *name == NULL && status == PB_OK; i++) {
        if (fnmatch(pattern, names[i], 0) == 0) {
            status = PB_TEXT(*name, names[i]);
        }
    }
    pb_memory_free_texts(names, count);
    return status;
}

pb_status pb_path_each(const char *directory, const char *suffix, pb_path_take take, void *context)
{
    char **names     = NULL;
    size_t count     = 0;
    pb_status status = PB_OK;

    PB_TRY(pb_path_list(directory, suffix, &names, &count));
    for (size_t i = 0; i < count && status == PB_OK; i++) {
        char *path = NULL;
        status     = pb_path_join(directory, names[i], &path);
        if (status == PB_OK) {
            status = take(context, path, names[i]);
        }
        pb_memory_free(path);
    }
    pb_memory_free_texts(names, count);
    return status;
}
