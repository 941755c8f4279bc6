// SPDX-License-Identifier: Apache-2.0
/* Finding the cells that have results in a folder. */
#include "claims.h"
#include "internal.h"

#include "pb/log.h"
#include "pb/memory.h"
#include "pb/stop.h"
#include "pb/table.h"

#include <inttypes.h>
#include <string.h>

/* Frees `damage`, the reason. */
static pb_status set_aside(pb_shards *shards, const pb_record_key *key, char *damage)
{
    char *kept = NULL;
    pb_status status;

    PB_TRY_GOTO(status, pb_shards_set_aside(shards, key, &kept), done);
    pb_log0_warn("%s; it is kept as %s, and its cell is run again", damage, kept);
done:
    pb_memory_free(kept);
    pb_memory_free(damage);
    return status;
}

/* A record whose inputs differ from those in its configuration hash is not a result of this cell: a
 * finished one becomes damaged, with the reason, and a failed one counts as missing. */
static pb_status check_record(const pb_sweep *s, int64_t index, const pb_record *record,
                              pb_shard_state *state, char **damage)
{
    const pb_record_key *key = &record->key;
    if (*state != PB_SHARD_DONE && *state != PB_SHARD_FAILED) {
        return PB_OK;
    }
    pb_status status = pb_cell_check_record(s->env, s->cells.items[index].cell, record);
    if (status != PB_ERR_FORMAT) {
        return status;
    }
    if (*state == PB_SHARD_FAILED) {
        pb_error_clear();
        *state = PB_SHARD_MISSING;
        return PB_OK;
    }
    if (record->source_size > 0) { /* in a pack */
        pb_error_prefix(status, "%s: cell %s/%s/%s/%" PRId64 " was made from other inputs",
                        record->source_file, key->model, key->dataset, key->method, key->seed);
    } else {
        pb_error_prefix(status, "%s was made from other inputs", record->source_file);
    }
    *state = PB_SHARD_DAMAGED;
    return pb_mistake_keep(status, damage);
}

/* A cell without a result that took its process down too often has failed. */
static pb_status look_at_attempts(const pb_sweep *s, folder *f, int64_t i, pb_shard_state *state,
                                  char checksum[PB_HASH_TEXT])
{
    const pb_record_key *key = &f->plan.cells[i];
    int64_t number           = f->numbers[i];
    attempts_verdict verdict = ATTEMPTS_NONE;
    pb_record record         = {0};
    char *damage             = NULL;
    bool over = *state == PB_SHARD_DONE || (*state == PB_SHARD_FAILED && !s->options.retry_failed);
    if (over || (f->shared && claims_is_held(f->claims, i))) {
        return PB_OK;
    }
    PB_TRY(attempts_judge(s, f->path, key, s->cells.items[number].cell, &verdict));
    f->alone[number] = verdict == ATTEMPTS_SOME;
    if (verdict != ATTEMPTS_ALL) {
        return PB_OK;
    }
    PB_TRY(pb_shard_find(f->path, key, PB_RECORD_HEAD, &record, state, &damage));
    memcpy(checksum, record.source_hash, PB_HASH_TEXT);
    pb_log0_warn("cell %s/%s/%s/%" PRId64 ": %s", key->model, key->dataset, key->method, key->seed,
                 record.message);
    pb_record_clear(&record);
    pb_memory_free(damage);
    return PB_OK;
}

static pb_status has_checkpoints(const folder *f, bool *out)
{
    char *path = NULL;
    PB_TRY(pb_path_join(f->path, "checkpoints", &path));
    *out = pb_path_is_directory(path);
    pb_memory_free(path);
    return PB_OK;
}

/* The checksums of the folder and failed [cells] are filled. */
static pb_status find_shards(const pb_sweep *s, folder *f, pb_shards *shards, bool *failed)
{
    char(*checksums)[PB_HASH_TEXT] = f->checksums;
    bool fresh                     = s->options.fresh;
    bool saved                     = false;
    PB_TRY(has_checkpoints(f, &saved));
    for (int64_t i = 0; i < f->plan.count; i++) {
        const pb_record_key *key = &f->plan.cells[i];
        pb_shard_state state     = PB_SHARD_MISSING;
        pb_record record         = {0};
        char *damage             = NULL;
        PB_TRY(pb_stop_check());
        PB_TRY(pb_shards_find(shards, key, PB_RECORD_HEAD, &record, &state, &damage));
        memcpy(checksums[i], record.source_hash, PB_HASH_TEXT);
        PB_TRY(look_at_attempts(s, f, i, &state, checksums[i]));
        pb_status status = check_record(s, f->numbers[i], &record, &state, &damage);
        pb_record_clear(&record);
        PB_TRY(status);
        if (state == PB_SHARD_DAMAGED) {
            PB_TRY(set_aside(shards, key, damage));
        }
        failed[f->numbers[i]] = state == PB_SHARD_FAILED && !s->options.retry_failed && !fresh;
        bool over = fresh || state == PB_SHARD_DONE; /* a kill may come before its removal */
        if (saved && over && !(f->shared && claims_is_held(f->claims, i))) {
            PB_TRY(pb_cell_remove_checkpoint(f->path, s->cells.items[f->numbers[i]].cell));
        }
        f->done[f->numbers[i]] = failed[f->numbers[i]] || (state == PB_SHARD_DONE && !fresh);
    }
    search_complete(s, f);
    for (int64_t i = 0; i < f->plan.count; i++) {
        f->failed += failed[i] && f->done[i];
    }
    PB_TRY(pb_plan_shards_hash(&f->plan, checksums, f->shards));
    return pb_shards_mend(shards);
}

static pb_status warn_of_others(const folder *f, const pb_shards *all)
{
    int64_t others = 0;
    PB_TRY(pb_shards_count_others(all, &f->plan, &others));
    if (others > 0) {
        char shards[PB_TABLE_NUMBER];
        pb_log0_warn("%s in %s of other cells, or of a configuration or version other than this "
                     "sweep's: kept and left out",
                     pb_table_count(shards, others, "shard"), f->path);
    }
    return PB_OK;
}

/* They finished before adapters were kept, or the adapters were removed. */
static pb_status warn_of_lacking(const pb_sweep *s, const folder *f)
{
    int64_t lacking = 0;
    for (int64_t i = 0; i < s->cells.count; i++) {
        bool lacks = false;
        if (f->done[i] && s->search.count == 0) { /* a search stops cells that never have one */
            PB_TRY(pb_cell_lacks_adapter(s->env, s->cells.items[i].cell, &lacks));
        }
        lacking += lacks;
    }
    if (lacking > 0) {
        char cells[PB_TABLE_NUMBER];
        pb_log0_warn(
            "%s finished or failed without keeping an adapter; --fresh runs all cells again",
            pb_table_count(cells, lacking, "cell"));
    }
    return PB_OK;
}

pb_status done_find(const pb_sweep *s, folder *f)
{
    bool *failed      = NULL;
    pb_shards *shards = NULL;
    pb_status status;
    PB_TRY_GOTO(status, PB_ALLOC(f->checksums, f->plan.count + 1), done);
    PB_TRY_GOTO(status, PB_ALLOC(failed, f->plan.count + 1), done);
    PB_TRY_GOTO(status, attempts_collect(f), done);
    PB_TRY_GOTO(status, pb_shards_open(f->path, &shards), done);
    f->round = pb_shards_round(shards) + 1;
    PB_TRY_GOTO(status, find_shards(s, f, shards, failed), done);
    PB_TRY_GOTO(status, warn_of_lacking(s, f), done);
    PB_TRY_GOTO(status, warn_of_others(f, shards), done);
done:
    pb_shards_close(shards);
    pb_memory_free(failed);
    if (status == PB_STOPPED) {
        pb_error_prefix(status, "looking for finished cells, which are all kept");
    }
    return status;
}
