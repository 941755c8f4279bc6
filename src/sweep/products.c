// SPDX-License-Identifier: Apache-2.0
/* The choice of libraries for products, kept in the folder of the results: resumed runs, and runs
 * that begin at the same time, compute as the first one did. */
#include "internal.h"

#include "pb/file.h"
#include "pb/json.h"
#include "pb/log.h"
#include "pb/memory.h"

#include <jansson.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_BYTES = 1 << 16 };

static const char KEY[] = "products";

static pb_status read_choice(const char *path, char text[PB_PRODUCTS_SIZE])
{
    json_t *root = NULL;
    PB_TRY(pb_json_file_read(path, MOST_BYTES, &root));
    const char *value = json_string_value(json_object_get(root, KEY));
    bool fits         = value != NULL && strlen(value) < PB_PRODUCTS_SIZE;
    (void)snprintf(text, PB_PRODUCTS_SIZE, "%s", fits ? value : "");
    json_decref(root);
    return fits ? PB_OK
                : PB_FAIL(PB_ERR_FORMAT,
                          "%s: has no choice of \"%s\"; remove it, and one is measured again", path,
                          KEY);
}

/* A file that is there stays as it is: another run was first. Without hard links the last run
 * wins. */
static pb_status keep(const char *temporary, const char *path, const pb_string *text)
{
    FILE *file = NULL;
    PB_TRY(pb_file_temporary_stream(temporary, &file));
    bool written = fwrite(text->data, 1, text->length, file) == text->length;
    if (fclose(file) != 0 || !written) {
        (void)unlink(temporary);
        return PB_FAIL(PB_ERR_IO, "cannot write %s: %s%s", path, strerror(errno),
                       pb_file_remedy(errno));
    }
    if (link(temporary, path) == 0 || errno == EEXIST) {
        (void)unlink(temporary);
        return PB_OK;
    }
    return pb_file_commit(temporary, path);
}

static pb_status write_choice(const char *path, const char *choice)
{
    pb_string text  = {0};
    char *temporary = NULL;
    pb_json json    = pb_json_begin(&text, PB_JSON_INLINE, 0);
    pb_status status;
    pb_json_put_text(&json, KEY, choice);
    PB_TRY_GOTO(status, pb_json_finish(&json, "\n"), done);
    PB_TRY_GOTO(status, pb_file_temporary_create(path, &temporary), done);
    PB_TRY_GOTO(status, keep(temporary, path, &text), done);
done:
    pb_memory_free(temporary);
    pb_string_clear(&text);
    return status;
}

/* Of the file, which is written first if it is missing; on rank 0. */
static pb_status first_choice(const pb_sweep *s, const char *path, char text[PB_PRODUCTS_SIZE])
{
    char *directory = NULL;
    if (!pb_path_exists(path)) {
        PB_TRY(pb_cell_env_measure_products(s->env, text));
        pb_log_info("products: %s, as measured; kept in %s", text, path);
        PB_TRY(pb_path_directory(path, &directory));
        pb_status status = pb_path_make_directories(directory);
        pb_memory_free(directory);
        PB_TRY(status);
        PB_TRY(write_choice(path, text));
    }
    return read_choice(path, text);
}

static pb_status take_kept(const pb_sweep *s, const char *path)
{
    char text[PB_PRODUCTS_SIZE] = "";
    pb_status status            = PB_OK;
    if (pb_comm_rank(s->comm) == 0) {
        status = first_choice(s, path, text);
    }
    PB_TRY(pb_comm_agree(s->comm, status));
    PB_TRY(pb_comm_broadcast(s->comm, text, sizeof text, 0));
    status = pb_cell_env_use_products(s->env, text);
    return status == PB_OK ? PB_OK : pb_error_prefix(status, "%s", path);
}

static pb_status file_path(const pb_sweep *s, char **out)
{
    const char *name = sweep_dtype(s) == PB_DTYPE_BF16 ? "products-bf16.json" : "products-f32.json";
    char *directory  = NULL;
    PB_TRY(folder_path(s, &directory));
    pb_status status = pb_path_join(directory, name, out);
    pb_memory_free(directory);
    return status;
}

pb_status products_settle(const pb_sweep *s)
{
    const char *typed = s->options.products;
    const char *set   = typed != NULL ? typed : pb_grid_get_run(s->grid)->products;
    const char *usual = getenv("PB_PRODUCTS");
    char *path        = NULL;
    set               = *set == '\0' && usual != NULL ? usual : set;
    if ((*set != '\0' && strcmp(set, "auto") != 0) || !pb_cell_env_on_host(s->env)) {
        return pb_cell_env_use_products(s->env, *set != '\0' ? set : "auto");
    }
    PB_TRY(pb_comm_agree(s->comm, file_path(s, &path)));
    pb_status status = take_kept(s, path);
    pb_memory_free(path);
    return status;
}
