// SPDX-License-Identifier: Apache-2.0
/* Results as a whole, and gathering them from the shards of a directory. Curves stay on disk. */
#include "gather.h"

#include "pb/file.h"
#include "pb/memory.h"
#include "pb/stop.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void pb_results_clear(pb_results *results)
{
    for (int64_t i = 0; i < results->count; i++) {
        pb_record_clear(&results->records[i]);
    }
    results_texts_clear(results);
    pb_memory_free(results->records);
    pb_memory_free_texts(results->models, (size_t)results->models_count);
    pb_memory_free_texts(results->datasets, (size_t)results->datasets_count);
    pb_memory_free_texts(results->methods, (size_t)results->methods_count);
    pb_memory_free_texts(results->damaged, (size_t)results->damaged_count);
    pb_memory_free(results->seeds);
    axes_index_clear(results);
    pb_memory_free(results->grid);
    pb_memory_free(results->state);
    pb_memory_free(results->sweep);
    pb_memory_free(results->protocol);
    pb_memory_free(results->command_line);
    pb_memory_free(results->created);
    pb_memory_free(results->program);
    memset(results, 0, sizeof *results);
}

pb_status results_take(pb_results *results, pb_record *record)
{
    pb_status status = results_share(results, record);
    if (status == PB_OK) {
        status = PB_GROW(results->records, results->count + 1);
    }
    if (status != PB_OK) {
        pb_record_clear(record);
        return status;
    }
    results->records[results->count] = *record;
    results->count += 1;
    return PB_OK;
}

static int compare_records(const void *a, const void *b)
{
    return pb_record_key_compare(&((const pb_record *)a)->key, &((const pb_record *)b)->key);
}

pb_status results_drop_repeated(pb_results *results)
{
    int64_t kept = 0;

    if (results->count == 0) {
        return PB_OK;
    }
    qsort(results->records, (size_t)results->count, sizeof *results->records, compare_records);
    for (int64_t i = 0; i < results->count; i++) {
        pb_record *record = &results->records[i];
        pb_record *before = kept > 0 ? &results->records[kept - 1] : NULL;

        if (before == NULL || pb_record_key_compare(&before->key, &record->key) != 0) {
            pb_record moved          = *record;
            results->records[i]      = (pb_record){0};
            results->records[kept++] = moved;
            continue;
        }
        if (strcmp(before->key.config_hash, record->key.config_hash) != 0) {
            return PB_FAIL(PB_ERR_ARGUMENT,
                           "cell %s/%s/%s/%" PRId64 " is in %s and in %s with different "
                           "configurations; read them one at a time, or, in a results folder, "
                           "beside the plan.json that `peftbench run` writes",
                           record->key.model, record->key.dataset, record->key.method,
                           record->key.seed, before->source_file, record->source_file);
        }
        /* A finished record takes precedence over a failed one. */
        if (before->status != PB_OK && record->status == PB_OK) {
            pb_record_clear(before);
            *before             = *record;
            results->records[i] = (pb_record){0};
        } else {
            pb_record_clear(record);
        }
        results->repeated++;
    }
    results->count = kept;
    return PB_OK;
}

/* The protocol and the axes, where no plan gives them: those of the records, sorted. */
static pb_status axes_of_records(pb_results *results)
{
    for (int64_t i = 0; i < results->count; i++) {
        const pb_record *record = &results->records[i];
        PB_TRY(axes_add(results, &record->key));
        if (results->protocol == NULL) {
            PB_TRY(pb_record_set_text(&results->protocol, record->protocol));
        }
    }
    axes_sort(results);
    return PB_OK;
}

/* Adds what was found in place of a shard; takes over record and damage, also on failure. */
static pb_status take_found(pb_results *results, pb_shard_state state, pb_record *record,
                            char *damage)
{
    if (state == PB_SHARD_MISSING) {
        return PB_OK;
    }
    if (state != PB_SHARD_DAMAGED) {
        return results_take(results, record);
    }
    pb_status status = PB_GROW(results->damaged, results->damaged_count + 1);
    if (status != PB_OK) {
        pb_memory_free(damage);
        return status;
    }
    results->damaged[results->damaged_count] = damage;
    results->damaged_count += 1;
    return PB_OK;
}

/* Reads the shards that the plan asks for, in the configuration it asks for. */
static pb_status read_shards(const pb_shards *shards, const pb_plan *plan, pb_record_parts parts,
                             char (*checksums)[PB_HASH_TEXT], pb_results *out)
{
    for (int64_t i = 0; i < plan->count; i++) {
        const pb_record_key *key = &plan->cells[i];
        pb_shard_state state     = PB_SHARD_MISSING;
        pb_record record         = {0};
        char *damage             = NULL;

        PB_TRY(pb_stop_check());
        PB_TRY(axes_add(out, key));
        PB_TRY(pb_shards_find(shards, key, parts, &record, &state, &damage));
        memcpy(checksums[i], record.source_hash, PB_HASH_TEXT);
        PB_TRY(take_found(out, state, &record, damage));
    }
    return pb_plan_shards_hash(plan, checksums, out->shards);
}

static pb_status read_planned(const pb_shards *shards, const pb_plan *plan, pb_record_parts parts,
                              pb_results *out)
{
    char(*checksums)[PB_HASH_TEXT] = NULL;

    PB_TRY(PB_ALLOC(checksums, plan->count + 1));
    pb_status status = read_shards(shards, plan, parts, checksums, out);
    pb_memory_free(checksums);
    PB_TRY(status);
    PB_TRY(pb_shards_count_others(shards, plan, &out->stale));
    PB_TRY(pb_record_set_text(&out->sweep, plan->name));
    PB_TRY(pb_record_set_text(&out->protocol, plan->protocol));
    PB_TRY(pb_record_set_text(&out->command_line, plan->command_line));
    PB_TRY(axes_grid(out, PB_CELL_EXCLUDED));
    for (int64_t i = 0; i < plan->count; i++) {
        out->state[axes_find(out, &plan->cells[i])] = PB_CELL_MISSING;
    }
    return axes_enter(out);
}

static pb_status read_unplanned(const char *folder, char *const *names, size_t count,
                                const pb_shards *shards, pb_record_parts parts, pb_results *out)
{
    for (int64_t i = 0; i < pb_shards_packed(shards); i++) {
        pb_shard_state state = PB_SHARD_MISSING;
        pb_record record     = {0};
        char *damage         = NULL;

        PB_TRY(pb_stop_check());
        PB_TRY(pb_shards_read(shards, i, parts, &record, &state, &damage));
        PB_TRY(take_found(out, state, &record, damage));
    }
    for (size_t i = 0; i < count; i++) {
        pb_shard_state state = PB_SHARD_MISSING;
        pb_record record     = {0};
        char *damage         = NULL;
        char *path           = NULL;

        PB_TRY(pb_stop_check());
        PB_TRY(pb_path_join(folder, names[i], &path));
        pb_status status = pb_shard_examine(path, parts, &record, &state, &damage);
        pb_memory_free(path);
        PB_TRY(status);
        PB_TRY(take_found(out, state, &record, damage));
    }
    PB_TRY(results_drop_repeated(out));
    PB_TRY(axes_of_records(out));
    PB_TRY(axes_grid(out, PB_CELL_MISSING));
    return axes_enter(out);
}

/* Damage to packs that hides the cells it hit. */
static pb_status add_damage(const pb_shards *shards, pb_results *out)
{
    for (int64_t i = 0; i < pb_shards_damaged(shards); i++) {
        pb_string text = {0};
        PB_TRY(pb_shards_damage(shards, i, &text));
        PB_TRY(take_found(out, PB_SHARD_DAMAGED, NULL, text.data));
    }
    return PB_OK;
}

pb_status pb_results_open_directory(const char *directory, pb_results *out)
{
    return pb_results_open_parts(directory, PB_RECORD_NUMBERS, out);
}

pb_status pb_results_open_parts(const char *directory, pb_record_parts parts, pb_results *out)
{
    pb_results results = {0};
    pb_plan plan       = {0};
    pb_shards *packs   = NULL;
    char *folder       = NULL;
    char **names       = NULL;
    size_t count       = 0;
    bool planned       = true;
    bool shards        = false;
    pb_status status   = PB_OK;

    if (!pb_path_is_directory(directory)) {
        return PB_FAIL(PB_ERR_NOT_FOUND, "%s: no such directory", directory);
    }
    PB_TRY_GOTO(status, pb_path_join(directory, "shards", &folder), out);
    shards = pb_path_is_directory(folder);
    if (shards) {
        PB_TRY_GOTO(status, pb_path_list(folder, ".h5", &names, &count), out);
    } else if (pb_path_is_taken(folder)) {
        status =
            PB_FAIL(PB_ERR_IO, "%s is neither a directory nor a link to one; restore it", folder);
        goto out;
    }
    status = pb_plan_read(directory, &plan);
    if (status == PB_ERR_NOT_FOUND) {
        pb_error_clear();
        planned = false;
        status  = PB_OK;
    }
    if (status != PB_OK) {
        goto out;
    }
    if (!planned && !shards) {
        status =
            PB_FAIL(PB_ERR_NOT_FOUND,
                    "%s: neither plan.json nor shards; it is not a results directory", directory);
        goto out;
    }
    PB_TRY_GOTO(status, pb_shards_open(directory, &packs), out);
    PB_TRY_GOTO(status,
                planned ? read_planned(packs, &plan, parts, &results)
                        : read_unplanned(folder, names, count, packs, parts, &results),
                out);
    PB_TRY_GOTO(status, add_damage(packs, &results), out);
    *out    = results;
    results = (pb_results){0};
out:
    pb_shards_close(packs);
    pb_results_clear(&results);
    pb_memory_free_texts(names, count);
    pb_memory_free(folder);
    pb_plan_clear(&plan);
    return status;
}
