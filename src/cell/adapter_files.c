// SPDX-License-Identifier: Apache-2.0
/* The adapter of a cell, kept in the layout of Hugging Face PEFT. */
#include "running.h"

#include "pb/adapter.h"
#include "pb/file.h"
#include "pb/memory.h"
#include "pb/results.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

pb_status pb_cell_env_set_adapters(pb_cell_env *env, const char *folder, const char *base)
{
    env->adapters_base = base;
    pb_memory_free(env->adapters);
    return PB_TEXT(env->adapters, folder);
}

/* FOLDER/<model>/<dataset>/<method>/<seed> */
static pb_status find_folder(const pb_cell_env *env, const pb_cell_name *name, pb_string *out)
{
    const char *const parts[] = {name->model, name->dataset, name->method};
    PB_TRY(pb_string_puts(out, env->adapters));
    for (int i = 0; i < 3; i++) {
        PB_TRY(pb_string_puts(out, "/"));
        PB_TRY(pb_results_escape(parts[i], out));
    }
    return pb_string_printf(out, "/%" PRId64, name->seed);
}

/* Other methods have nothing that could be loaded as an adapter. */
static bool has_adapter(const pb_method_ops *ops)
{
    return ops->peft_type != NULL;
}

pb_status pb_cell_lacks_adapter(const pb_cell_env *env, const pb_cell *cell, bool *out)
{
    pb_string folder = {0};
    pb_status status;
    *out = false;
    if (env->adapters == NULL || cell->plan->status != PB_OK ||
        !has_adapter(cell->plan->options.method)) {
        return PB_OK;
    }
    PB_TRY_GOTO(status, find_folder(env, &cell->name, &folder), done);
    PB_TRY_GOTO(status, pb_string_puts(&folder, "/adapter_config.json"), done);
    *out = !pb_path_exists(folder.data);
done:
    pb_string_clear(&folder);
    return status;
}

/* What `sha256sum *` prints for the files of a folder, and their bytes. */
typedef struct listing {
    pb_string lines;
    int64_t bytes;
} listing;

static pb_status list_file(void *context, const char *path, const char *name)
{
    listing *list = context;
    char hash[PB_HASH_TEXT];
    struct stat about;
    PB_TRY(pb_hash_file(path, hash));
    if (stat(path, &about) != 0) {
        return PB_FAIL(PB_ERR_IO, "cannot stat %s: %s", path, strerror(errno));
    }
    list->bytes += (int64_t)about.st_size;
    return pb_string_printf(&list->lines, "%s  %s\n", hash, name);
}

static pb_status record_files(const char *folder, pb_record *record)
{
    listing list = {0};
    char hash[PB_HASH_TEXT];
    pb_status status;
    PB_TRY_GOTO(status, pb_path_each(folder, NULL, list_file, &list), done);
    PB_TRY_GOTO(status, pb_hash_bytes(list.lines.data, list.lines.length, hash), done);
    PB_TRY_GOTO(status, pb_record_add_provenance(record, PB_RECORD_ADAPTER, hash), done);
    record->adapter_bytes = list.bytes;
done:
    pb_string_clear(&list.lines);
    return status;
}

pb_status running_keep_adapter(running *r)
{
    pb_string folder = {0};
    pb_status status;
    if (r->cell->own.save != NULL) {
        return pb_method_save(r->method, r->cell->own.save);
    }
    if (r->env->adapters == NULL || !has_adapter(r->method->ops)) {
        return PB_OK;
    }
    r->method->base = r->env->adapters_base;
    PB_TRY_GOTO(status, find_folder(r->env, &r->cell->name, &folder), done);
    PB_TRY_GOTO(status, pb_method_save(r->method, folder.data), done);
    PB_TRY_GOTO(status, record_files(folder.data, r->record), done);
done:
    pb_string_clear(&folder);
    return pb_error_prefix(status, "the adapter cannot be kept");
}
