// SPDX-License-Identifier: Apache-2.0
/* Opening a backend by name, its memory, and the count of its work. The checked fronts of the
 * operations are in operations.c and attention.c. */
#include "internal.h"

#include "pb/log.h"

#include <string.h>

/* The names for an error message: "cpu, cuda". */
static void names_text(char *text, size_t size)
{
    text[0] = '\0';
    for (const pb_backend_ops *const *ops = pb_backend_registry(); *ops != NULL; ops++) {
        size_t used = strlen(text);
        if (used + strlen((*ops)->name) + 3 < size) {
            strcpy(text + used, used > 0 ? ", " : "");
            strcat(text, (*ops)->name);
        }
    }
}

/* The last table of the registry that opens; the first error is that of the reference. */
static pb_status open_best(int device, int threads, pb_backend **out)
{
    const pb_backend_ops *const *all = pb_backend_registry();
    int count                        = 0;
    while (all[count] != NULL) {
        count++;
    }
    for (int i = count - 1; i > 0; i--) {
        if (all[i]->open(device, threads, out) == PB_OK) {
            return PB_OK;
        }
        pb_log_debug("backend %s is not available: %s", all[i]->name, pb_error_message());
        pb_error_clear();
    }
    PB_TRY(all[0]->open(device, threads, out));
    return PB_OK;
}

pb_status pb_backend_open(const char *name, int device, int threads, pb_backend **out)
{
    char known[128];

    if (name == NULL || out == NULL) {
        return PB_FAIL(PB_ERR_ARGUMENT, "backend open: no name or no place for the result");
    }
    *out = NULL;
    if (strcmp(name, "auto") == 0) {
        return open_best(device, threads, out);
    }
    for (const pb_backend_ops *const *ops = pb_backend_registry(); *ops != NULL; ops++) {
        if (strcmp((*ops)->name, name) == 0) {
            PB_TRY((*ops)->open(device, threads, out));
            return PB_OK;
        }
    }
    names_text(known, sizeof known);
    return PB_FAIL(PB_ERR_NOT_FOUND, "backend \"%s\" is not in this build; there are: auto, %s",
                   name, known);
}

void pb_backend_close(pb_backend *be)
{
    if (be != NULL) {
        be->ops->close(be);
    }
}

const char *pb_backend_name(const pb_backend *be)
{
    return be->ops->name;
}

int pb_backend_threads(const pb_backend *be)
{
    return be->threads;
}

const char *pb_backend_describe(const pb_backend *be)
{
    return be->describe;
}

void pb_backend_warn(const pb_backend *be)
{
    if (be->warning[0] != '\0') {
        pb_log0_warn("%s", be->warning);
    }
}

void pb_backend_work_reset(pb_backend *be, bool timing)
{
    be->timing = timing;
    be->work   = (pb_backend_work){0};
}

pb_backend_work pb_backend_work_get(const pb_backend *be)
{
    return be->work;
}

pb_status pb_backend_alloc(pb_backend *be, size_t bytes, void **data)
{
    *data = NULL;
    PB_TRY(be->ops->alloc(be, bytes, data));
    return PB_OK;
}

void pb_backend_free(pb_backend *be, void *data)
{
    if (data != NULL) {
        be->ops->free(be, data);
    }
}

pb_status pb_sync(pb_backend *be)
{
    PB_TRY(be->ops->sync(be));
    return PB_OK;
}
