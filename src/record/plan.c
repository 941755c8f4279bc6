// SPDX-License-Identifier: Apache-2.0
/* plan.json: the cells a directory is to hold, one object per cell, written once by the run. */
#include "pb/results.h"

#include "pb/file.h"
#include "pb/json.h"
#include "pb/memory.h"
#include "pb/utf8.h"

#include <jansson.h>

#include <inttypes.h>
#include <string.h>

#define PLAN_NAME  "plan.json"
#define MERGE_FORM "2" /* changes whenever the same shards would give a different merged file */
#define PLAN_BYTES ((size_t)1 << 30) /* 100,000 cells are about 20 MB */

/* Cells that follow one another share the names that they have in common. */
static pb_status share_name(const char *name, char *before, char **out)
{
    *out = before != NULL && strcmp(before, name) == 0 ? before : pb_memory_text(name);
    return *out != NULL ? PB_OK : PB_ERR_MEMORY;
}

static void free_own(char *name, const char *before)
{
    if (name != before) {
        pb_memory_free(name);
    }
}

static void clear_names(const pb_record_key *key, const pb_record_key *before)
{
    free_own(key->model, before->model);
    free_own(key->dataset, before->dataset);
    free_own(key->method, before->method);
}

void pb_plan_clear(pb_plan *plan)
{
    static const pb_record_key none;
    for (int64_t i = plan->count - 1; i >= 0; i--) {
        clear_names(&plan->cells[i], i > 0 ? &plan->cells[i - 1] : &none);
    }
    pb_memory_free(plan->cells);
    pb_memory_free(plan->name);
    pb_memory_free(plan->protocol);
    pb_memory_free(plan->command_line);
    memset(plan, 0, sizeof *plan);
}

pb_status pb_plan_add(pb_plan *plan, const char *model, const char *dataset, const char *method,
                      int64_t seed, const char *config_hash)
{
    pb_record_key key    = {.seed = seed};
    pb_record_key before = {0};
    pb_status status     = PB_OK;

    if (strlen(config_hash) >= sizeof key.config_hash) {
        return PB_FAIL(PB_ERR_ARGUMENT, "sweep: \"%.*s\" is not a SHA-256",
                       PB_FIT(config_hash, 80));
    }
    strcpy(key.config_hash, config_hash);
    PB_TRY(PB_GROW(plan->cells, plan->count + 1));
    before = plan->count > 0 ? plan->cells[plan->count - 1] : before;
    PB_TRY_GOTO(status, share_name(model, before.model, &key.model), err_key);
    PB_TRY_GOTO(status, share_name(dataset, before.dataset, &key.dataset), err_key);
    PB_TRY_GOTO(status, share_name(method, before.method, &key.method), err_key);
    plan->cells[plan->count] = key;
    plan->count += 1;
    return PB_OK;

err_key:
    clear_names(&key, &before);
    return status;
}

/* Names must be UTF-8, or they could not be matched again. */
static pb_status check_name(const char *name)
{
    pb_string shown = {0};
    size_t length   = strlen(name);

    if (pb_utf8_is_valid(name, length, NULL)) {
        return PB_OK;
    }
    pb_status status;
    PB_TRY_GOTO(status, pb_string_json(&shown, name, length), done);
    status = PB_FAIL(PB_ERR_CONFIG, "the name %s is not valid UTF-8; rename it", shown.data);
done:
    pb_string_clear(&shown);
    return status;
}

static const char *or_empty(const char *text)
{
    return text != NULL ? text : "";
}

static pb_status compose(const pb_plan *plan, pb_string *out)
{
    pb_json json = pb_json_begin(out, PB_JSON_INLINE, 0);

    PB_TRY(check_name(or_empty(plan->name)));
    PB_TRY(check_name(or_empty(plan->protocol)));
    pb_json_put_int(&json, "schema", PB_RESULTS_SCHEMA);
    pb_json_put_text(&json, "sweep", or_empty(plan->name));
    pb_json_put_text(&json, "protocol", or_empty(plan->protocol));
    pb_json_put_text(&json, "command_line", or_empty(plan->command_line));
    pb_json_put_array(&json, "cells", PB_JSON_LINES);
    for (int64_t i = 0; i < plan->count; i++) {
        const pb_record_key *key = &plan->cells[i];
        PB_TRY(check_name(key->model));
        PB_TRY(check_name(key->dataset));
        PB_TRY(check_name(key->method));
        pb_json_put_object(&json, NULL, PB_JSON_INLINE);
        pb_json_put_text(&json, "model", key->model);
        pb_json_put_text(&json, "dataset", key->dataset);
        pb_json_put_text(&json, "method", key->method);
        pb_json_put_int(&json, "seed", key->seed);
        pb_json_put_text(&json, "config_hash", key->config_hash);
        pb_json_end(&json);
    }
    pb_json_end(&json);
    return pb_json_finish(&json, "\n");
}

pb_status pb_plan_write(const char *directory, const pb_plan *plan)
{
    pb_string text   = {0};
    char *path       = NULL;
    pb_status status = PB_OK;

    PB_TRY_GOTO(status, compose(plan, &text), out);
    PB_TRY_GOTO(status, pb_path_make_directories(directory), out);
    PB_TRY_GOTO(status, pb_path_join(directory, PLAN_NAME, &path), out);
    PB_TRY_GOTO(status, pb_file_write_atomic(path, text.data, text.length), out);
out:
    pb_memory_free(path);
    pb_string_clear(&text);
    return status;
}

static pb_status put_shard(pb_hash *h, const pb_record_key *key, const char *checksum)
{
    PB_TRY(pb_hash_update_text(h, key->model));
    PB_TRY(pb_hash_update_text(h, key->dataset));
    PB_TRY(pb_hash_update_text(h, key->method));
    PB_TRY(pb_hash_update(h, &key->seed, sizeof key->seed));
    PB_TRY(pb_hash_update_text(h, key->config_hash));
    return pb_hash_update_text(h, checksum);
}

pb_status pb_plan_shards_hash(const pb_plan *plan, char (*checksums)[PB_HASH_TEXT],
                              char text[PB_HASH_TEXT])
{
    pb_hash *h = NULL;
    pb_status status;

    PB_TRY(pb_hash_create(&h));
    PB_TRY_GOTO(status, pb_hash_update_text(h, PB_VERSION " " MERGE_FORM), out);
    PB_TRY_GOTO(status, pb_hash_update_text(h, plan->name), out);
    PB_TRY_GOTO(status, pb_hash_update_text(h, plan->protocol), out);
    for (int64_t i = 0; i < plan->count; i++) {
        PB_TRY_GOTO(status, put_shard(h, &plan->cells[i], checksums[i]), out);
    }
    PB_TRY_GOTO(status, pb_hash_finish(h, text), out);
out:
    pb_hash_destroy(h);
    return status;
}

static pb_status member_text(const json_t *object, const char *name, const char **out)
{
    const json_t *member = json_object_get(object, name);

    if (!json_is_string(member)) {
        return PB_FAIL(PB_ERR_FORMAT, "\"%s\" is missing or not a string", name);
    }
    *out = json_string_value(member);
    return PB_OK;
}

static pb_status read_cell(const json_t *cell, pb_plan *plan)
{
    const char *model   = NULL;
    const char *dataset = NULL;
    const char *method  = NULL;
    const char *hash    = NULL;
    const json_t *seed  = json_object_get(cell, "seed");

    PB_TRY(member_text(cell, "model", &model));
    PB_TRY(member_text(cell, "dataset", &dataset));
    PB_TRY(member_text(cell, "method", &method));
    PB_TRY(member_text(cell, "config_hash", &hash));
    if (!json_is_integer(seed)) {
        return PB_FAIL(PB_ERR_FORMAT, "\"seed\" is missing or not an integer");
    }
    return pb_plan_add(plan, model, dataset, method, json_integer_value(seed), hash);
}

/* Reads one cell of the list, and moves on to what follows it. *regular: it is one. */
static pb_status take_cell(const char **at, const char *end, pb_plan *plan, bool *regular)
{
    json_error_t error;
    *at += strspn(*at, " \n");
    json_t *cell = json_loadb(*at, (size_t)(end - *at),
                              JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK, &error);
    *regular     = cell != NULL;
    if (cell == NULL) {
        return PB_OK;
    }
    pb_status status = read_cell(cell, plan);
    json_decref(cell);
    *at += error.position;
    *at += strspn(*at, " \n");
    return pb_error_prefix(status, "cell %" PRId64, plan->count);
}

/* Takes the cells out of the text, one by one: parsed as a whole, those of a large sweep would take
 * a thousand bytes each. A list that is not as `compose` writes it stays. */
static pb_status take_cells(pb_string *text, pb_plan *plan)
{
    static const char list[] = "\"cells\": [";
    char *first              = strstr(text->data != NULL ? text->data : "", list);
    if (first == NULL) {
        return PB_OK;
    }
    first += strlen(list);
    const char *end = text->data + text->length;
    const char *at  = first;
    bool regular    = true;
    do {
        PB_TRY(take_cell(&at, end, plan, &regular));
    } while (regular && *at++ == ',');
    if (!regular || at[-1] != ']') {
        pb_plan_clear(plan);
        return PB_OK;
    }
    memmove(first, at - 1, (size_t)(end - at) + 2);
    text->length -= (size_t)(at - 1 - first);
    return PB_OK;
}

static pb_status read_plan(const json_t *root, pb_plan *plan)
{
    const char *value  = NULL;
    const json_t *list = json_object_get(root, "cells");

    if (json_integer_value(json_object_get(root, "schema")) != PB_RESULTS_SCHEMA) {
        return PB_FAIL(PB_ERR_FORMAT, "\"schema\" is not %d", PB_RESULTS_SCHEMA);
    }
    PB_TRY(member_text(root, "sweep", &value));
    PB_TRY(pb_record_set_text(&plan->name, value));
    PB_TRY(member_text(root, "protocol", &value));
    PB_TRY(pb_record_set_text(&plan->protocol, value));
    PB_TRY(member_text(root, "command_line", &value));
    PB_TRY(pb_record_set_text(&plan->command_line, value));
    if (!json_is_array(list)) {
        return PB_FAIL(PB_ERR_FORMAT, "\"cells\" is missing or not a list");
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        PB_TRY(pb_error_prefix(read_cell(json_array_get(list, i), plan), "cell %zu", i));
    }
    return PB_OK;
}

static pb_status read_text(const char *path, pb_string *text, pb_plan *plan)
{
    json_t *root = NULL;
    PB_TRY(pb_error_prefix(take_cells(text, plan), "%s", path));
    PB_TRY(pb_json_parse(path, text, 0, &root));
    pb_status status = read_plan(root, plan);
    json_decref(root);
    return pb_error_prefix(status, "%s", path);
}

pb_status pb_plan_read(const char *directory, pb_plan *out)
{
    pb_plan plan     = {0};
    pb_string text   = {0};
    char *path       = NULL;
    pb_status status = PB_OK;

    PB_TRY(pb_path_join(directory, PLAN_NAME, &path));
    if (!pb_path_exists(path)) {
        status = PB_FAIL(PB_ERR_NOT_FOUND, "%s: no such file; `peftbench run` writes it", path);
        goto out;
    }
    PB_TRY_GOTO(status, pb_file_read(path, PLAN_BYTES, &text), out);
    PB_TRY_GOTO(status, read_text(path, &text, &plan), out);
    *out = plan;
    plan = (pb_plan){0};
out:
    pb_plan_clear(&plan);
    pb_string_clear(&text);
    pb_memory_free(path);
    return status;
}
