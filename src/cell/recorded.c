// SPDX-License-Identifier: Apache-2.0
/* Opens and runs a cell from its record. */
#include "pb/recorded.h"
#include "internal.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pb_recorded {
    const pb_record *record;
    char *model; /* its folder as recorded */
    pb_cell *cell;
    cell_search options;
    pb_train_search search;
    pb_train_place place; /* where the search ended the cell */
};

/* ---------------------------------------------------------------- places */

/* The longest end of a path that exists in a folder. */
static pb_status find_below(const char *folder, const char *path, char **out)
{
    for (const char *end = path; end != NULL; end = strchr(end, '/')) {
        end += strspn(end, "/");
        PB_TRY(pb_path_join(folder, end, out));
        if (*end != '\0' && pb_path_exists(*out)) {
            return PB_OK;
        }
        pb_memory_free(*out);
        *out = NULL;
    }
    return PB_OK;
}

/* A relative path begins where the program was started, then or now. */
static pb_status find_recorded(const pb_record *record, const char *path, char **out)
{
    const char *folder = pb_record_find_provenance(record, "directory");
    if (!pb_path_exists(path) && folder != NULL) {
        PB_TRY(pb_path_join(folder, path, out));
        if (pb_path_exists(*out)) {
            return PB_OK;
        }
        pb_memory_free(*out);
        *out = NULL;
    }
    return pb_path_exists(path) ? PB_TEXT(*out, path) : PB_OK;
}

/* Replaces the recorded path by where the file is. */
static pb_status place(const pb_record *record, const char *folder, const char *option, char **path)
{
    char *found = NULL;
    if (*path == NULL || **path == '\0') {
        return PB_OK; /* a data set without files */
    }
    PB_TRY(folder != NULL ? find_below(folder, *path, &found)
                          : find_recorded(record, *path, &found));
    if (found == NULL) {
        return PB_FAIL(PB_ERR_NOT_FOUND, "%s%s%s is not there; %s DIR names the folder it is in",
                       *path, folder != NULL ? " below " : "", folder != NULL ? folder : "",
                       option);
    }
    pb_memory_free(*path);
    *path = found;
    return PB_OK;
}

/* Where it is not there, the variable PB_PEFTBENCH_INFO may say where it is now. */
static pb_status place_info(const pb_record *record, char **path)
{
    char *found = NULL;
    if (*path != NULL && **path != '\0') {
        PB_TRY(find_recorded(record, *path, &found));
        PB_TRY(pb_record_set_text(path, found != NULL ? found : ""));
        pb_memory_free(found);
    }
    return PB_OK;
}

static pb_status place_all(const pb_recorded_places *places, pb_recorded *r)
{
    cell_options *o = &r->cell->plan->options;
    PB_TRY(PB_TEXT(r->model, o->model.path));
    if (places->model != NULL) {
        PB_TRY(pb_record_set_text(&o->model.path, places->model));
    }
    PB_TRY(place(r->record, NULL, "--model", &o->model.path));
    PB_TRY(place_info(r->record, &o->data.peftbench_info));
    PB_TRY(place(r->record, places->data, "--data", &o->dataset.train_file));
    return place(r->record, places->data, "--data", &o->dataset.test_file);
}

/* ---------------------------------------------------------------- opening */

/* What a search decided is in the reason of a cell that it stopped. */
static pb_status read_search(const pb_config *config, pb_recorded *r)
{
    const char *reason = r->record->reason != NULL ? r->record->reason : "";
    pb_train_place *p  = &r->place;
    if (!pb_config_has(config, "search")) {
        return PB_OK;
    }
    PB_TRY(pb_config_read(config, "search", cell_search_fields, NULL, &r->options));
    if (sscanf(reason,
               "stopped at %" SCNd64 " %% of its steps: validation loss %*g is number "
               "%" SCNd64 " of %" SCNd64,
               &p->rung, &p->place, &p->of) != 3) {
        *p = (pb_train_place){0};
    }
    r->search = (pb_train_search){.rungs   = r->options.rungs.items,
                                  .count   = r->options.rungs.count,
                                  .keep    = r->options.keep,
                                  .decided = p};
    return PB_OK;
}

static pb_status open_cell(pb_recorded *r)
{
    const pb_record *record = r->record;
    pb_cell_name name       = {.model   = record->key.model,
                               .dataset = record->key.dataset,
                               .method  = record->key.method,
                               .seed    = record->key.seed};
    pb_config *config       = NULL;
    pb_status status;
    while (pb_protocol_names[name.protocol] != NULL &&
           strcmp(pb_protocol_names[name.protocol], record->protocol) != 0) {
        name.protocol++;
    }
    if (pb_protocol_names[name.protocol] == NULL) {
        return PB_FAIL(PB_ERR_FORMAT, "the protocol \"%s\" of the record is not known",
                       record->protocol);
    }
    PB_TRY(pb_config_parse(record->config, "the recorded configuration", &config));
    PB_TRY_GOTO(status, read_search(config, r), err_config);
    PB_TRY(pb_cell_open_take(&name, config, NULL, &r->cell));
    if (r->search.count > 0 && strlen(r->options.group) == PB_HASH_TEXT - 1) {
        pb_cell_set_group(r->cell, r->options.group);
    }
    return pb_cell_check(r->cell);

err_config:
    pb_config_close(config);
    return status;
}

pb_status pb_recorded_open(const pb_record *record, const pb_recorded_places *places,
                           pb_recorded **out)
{
    pb_recorded *r = NULL;
    pb_status status;
    if (record->config == NULL || record->config[0] == '\0') {
        return PB_FAIL(PB_ERR_FORMAT, "the record has no configuration: %s",
                       record->status != PB_OK && record->message != NULL ? record->message
                                                                          : "it is not complete");
    }
    PB_TRY(PB_ALLOC(r, 1));
    r->record = record;
    PB_TRY_GOTO(status, open_cell(r), err_recorded);
    PB_TRY_GOTO(status, place_all(places, r), err_recorded);
    *out = r;
    return PB_OK;

err_recorded:
    pb_recorded_close(r);
    return status;
}

void pb_recorded_close(pb_recorded *r)
{
    if (r != NULL) {
        pb_cell_close(r->cell);
        pb_memory_free(r->model);
        pb_config_clear(cell_search_fields, &r->options);
        pb_memory_free(r);
    }
}

pb_status pb_recorded_setup(const pb_record *record, pb_cell_setup *out)
{
    const char *threads = pb_record_find_provenance(record, "threads");
    const char *dtype   = pb_record_find_provenance(record, "dtype");
    const char *backend = pb_record_find_provenance(record, "backend");
    if (threads == NULL || dtype == NULL || backend == NULL) {
        return PB_FAIL(PB_ERR_FORMAT, "the record does not say on which backend, with how many "
                                      "threads and in which type its cell was computed");
    }
    *out = (pb_cell_setup){.backend  = backend,
                           .threads  = (int)strtol(threads, NULL, 10),
                           .dtype    = strcmp(dtype, "bf16") == 0 ? PB_DTYPE_BF16 : PB_DTYPE_F32,
                           .products = pb_record_find_provenance(record, "products_choice"),
                           .graphs   = true};
    return PB_OK;
}

/* ---------------------------------------------------------------- running */

/* Everything that enters the hash beside the configuration and the inputs is as it was. */
static bool has_setup_of(const pb_record *record, const pb_record *now)
{
    static const char *const names[] = {"products", "threads", "dtype", "results_version"};
    bool equal                       = true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *then  = pb_record_find_provenance(record, names[i]);
        const char *today = pb_record_find_provenance(now, names[i]);
        equal             = equal && then != NULL && today != NULL && strcmp(then, today) == 0;
    }
    return equal;
}

static pb_status check(const pb_recorded *r, pb_cell_env *env, bool *same)
{
    char hash[PB_HASH_TEXT];
    pb_record now;
    PB_TRY(pb_cell_env_check_model(env, r->cell->name.model));
    PB_TRY(pb_error_prefix(pb_cell_check_record(env, r->cell, r->record),
                           "an input has changed since the cell was recorded"));
    PB_TRY(pb_cell_hash(env, r->cell, hash));
    pb_cell_set_hash(r->cell, hash);
    *same = strcmp(hash, r->record->key.config_hash) == 0;
    if (*same) {
        return PB_OK;
    }
    pb_record_init(&now);
    pb_status status = pb_cell_provenance(env, &now);
    if (status == PB_OK && has_setup_of(r->record, &now)) {
        status = PB_FAIL(PB_ERR_FORMAT,
                         "the record was changed after it was written: its configuration and "
                         "inputs give the hash %s, not its %s",
                         hash, r->record->key.config_hash);
    }
    pb_record_clear(&now);
    return status;
}

static pb_status keep(void *context, int64_t index, pb_record *record)
{
    (void)index;
    *(pb_record *)context = *record;
    *record               = (pb_record){0};
    return PB_OK;
}

/* Only the hash of the adapter is kept. */
static pb_status run_with_adapter(const pb_recorded *r, pb_cell_env *env, pb_record *out)
{
    const pb_cell *cell = r->cell;
    char *folder        = NULL;
    PB_TRY(pb_temporary_make("peftbench-replay", &folder));
    pb_status status = pb_cell_env_set_adapters(env, folder, r->model);
    status           = status == PB_OK ? pb_cell_run(env, &cell, 1, NULL, keep, out) : status;
    pb_temporary_remove(folder);
    pb_memory_free(folder);
    return status;
}

pb_status pb_recorded_run(pb_recorded *r, pb_cell_env *env, bool *same, pb_record *out)
{
    const pb_cell *cell = r->cell;
    PB_TRY(pb_cell_env_add_model(env, cell));
    PB_TRY(check(r, env, same));
    pb_cell_env_set_search(env, r->search.count > 0 ? &r->search : NULL);
    if (pb_record_find_provenance(r->record, PB_RECORD_ADAPTER) != NULL) {
        return run_with_adapter(r, env, out);
    }
    return pb_cell_run(env, &cell, 1, NULL, keep, out);
}
