// SPDX-License-Identifier: Apache-2.0
/* The shards of a folder: what its packs hold, and beside them the files of one cell each. */
#include "pack.h"
#include "shard.h"

#include "pb/file.h"
#include "pb/interned.h"
#include "pb/log.h"
#include "pb/memory.h"
#include "pb/mistakes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* A record of a pack. */
typedef struct entry {
    int64_t line, at, size, number, round;
    int32_t pack, name;
    bool cut; /* it was set aside, or another one counts */
} entry;

/* Damage between records: its cells are unknown. */
typedef struct region {
    pack_gap gap;
    int32_t pack;
} region;

/* How far a pack was read. */
typedef struct progress {
    ino_t file;
    int64_t from, after; /* offset after the last whole record, and its number */
} progress;

struct pb_shards {
    char *directory, *folder;
    char **packs;   /* paths */
    int64_t *ends;  /* [packs] bytes when they were read */
    progress *read; /* [packs] */
    size_t packs_count, current;
    pb_interned names;
    int64_t *latest; /* [names] the entry that counts */
    entry *entries;
    int64_t count;
    region *regions;
    int64_t regions_count;
    int64_t round; /* the highest */
};

static pb_status add_record(void *context, const pack_record *record)
{
    pb_shards *s   = context;
    entry e        = {.line   = record->line,
                      .at     = record->at,
                      .size   = record->size,
                      .number = record->number,
                      .round  = record->round,
                      .pack   = (int32_t)s->current};
    int32_t before = s->names.count;
    PB_TRY(PB_GROW(s->entries, s->count + 1));
    PB_TRY(pb_interned_add(&s->names, record->name, strlen(record->name), &e.name));
    PB_TRY(PB_GROW(s->latest, s->names.count));
    if (e.name == before || s->entries[s->latest[e.name]].round <= e.round) {
        s->latest[e.name] = s->count;
    }
    s->round               = e.round > s->round ? e.round : s->round;
    s->entries[s->count++] = e;
    return PB_OK;
}

static pb_status add_region(void *context, const pack_gap *gap)
{
    pb_shards *s = context;
    PB_TRY(PB_GROW(s->regions, s->regions_count + 1));
    s->regions[s->regions_count++] = (region){.gap = *gap, .pack = (int32_t)s->current};
    return PB_OK;
}

/* A record that a living process is writing is not worth a word. */
static void note_tail(const char *path, const pack_gap *tail)
{
    if (tail->to > tail->from && pb_file_lock_look(path) != PB_FILE_LOCK_HELD) {
        pb_log_warn("%s ends inside a record, %" PRId64 " bytes after record %" PRId64
                    ": its process was killed, or the file was cut; `peftbench run` runs its cell",
                    path, tail->to - tail->from, tail->after);
    }
}

/* Reads on in a pack; *again: it is another file now. */
static pb_status read_pack(pb_shards *s, size_t pack, pack_gap *tail, bool *again)
{
    const pack_visitor visitor = {.record = add_record, .damage = add_region, .context = s};
    progress *read             = &s->read[pack];
    struct stat about          = {0};
    int fd                     = -1;
    pb_status status           = PB_OK;

    PB_TRY(pb_file_open(s->packs[pack], &fd));
    *again = fstat(fd, &about) != 0 || about.st_size < read->from ||
             (read->from > 0 && about.st_ino != read->file);
    if (!*again) {
        s->current = pack;
        PB_TRY_GOTO(status, pack_walk(fd, s->packs[pack], read->from, read->after, &visitor, tail),
                    out);
        *read         = (progress){.file = about.st_ino, .from = tail->from, .after = tail->after};
        s->ends[pack] = tail->to;
    }
out:
    (void)close(fd);
    return status;
}

static pb_status add_pack(void *context, const char *path, const char *name)
{
    pb_shards *s  = context;
    pack_gap tail = {0};
    bool again    = false;

    (void)name;
    PB_TRY(PB_GROW(s->packs, s->packs_count + 1));
    PB_TRY(PB_TEXT(s->packs[s->packs_count], path));
    s->packs_count++;
    PB_TRY(PB_GROW(s->ends, s->packs_count));
    PB_TRY(PB_GROW(s->read, s->packs_count));
    s->read[s->packs_count - 1] = (progress){0};
    PB_TRY(read_pack(s, s->packs_count - 1, &tail, &again));
    note_tail(path, &tail);
    return PB_OK;
}

pb_status pb_shards_open(const char *directory, pb_shards **out)
{
    pb_shards *s = NULL;
    pb_status status;

    PB_TRY(PB_ALLOC(s, 1));
    PB_TRY_GOTO(status, PB_TEXT(s->directory, directory), err);
    PB_TRY_GOTO(status, pb_path_join(directory, "shards", &s->folder), err);
    if (pb_path_is_directory(s->folder)) {
        PB_TRY_GOTO(status, pb_path_each(s->folder, ".pack", add_pack, s), err);
    }
    *out = s;
    return PB_OK;

err:
    pb_shards_close(s);
    return status;
}

void pb_shards_close(pb_shards *s)
{
    if (s != NULL) {
        pb_memory_free_texts(s->packs, s->packs_count);
        pb_interned_clear(&s->names);
        pb_memory_free(s->latest);
        pb_memory_free(s->entries);
        pb_memory_free(s->regions);
        pb_memory_free(s->ends);
        pb_memory_free(s->read);
        pb_memory_free(s->directory);
        pb_memory_free(s->folder);
        pb_memory_free(s);
    }
}

static pb_status add_new(void *context, const char *path, const char *name)
{
    const pb_shards *s = context;
    for (size_t i = 0; i < s->packs_count; i++) {
        if (strcmp(s->packs[i], path) == 0) {
            return PB_OK;
        }
    }
    return add_pack(context, path, name);
}

pb_status pb_shards_update(pb_shards **shards)
{
    pb_shards *s     = *shards;
    pb_shards *whole = NULL;
    bool again       = false;
    for (size_t i = 0; i < s->packs_count && !again; i++) {
        pack_gap tail = {0};
        PB_TRY(read_pack(s, i, &tail, &again));
    }
    if (again) { /* a pack was mended: what is known of it is not true any more */
        PB_TRY(pb_shards_open(s->directory, &whole));
        pb_shards_close(s);
        *shards = whole;
        return PB_OK;
    }
    return pb_path_is_directory(s->folder) ? pb_path_each(s->folder, ".pack", add_new, s) : PB_OK;
}

int64_t pb_shards_round(const pb_shards *s)
{
    return s->round;
}

int64_t pb_shards_packed(const pb_shards *s)
{
    return s->names.count;
}

/* ---------------------------------------------------------------- reading */

/* "DIR/shards/0001.pack, record 17 (name)". */
static pb_status label_of(const pb_shards *s, const entry *e, pb_string *out)
{
    size_t length    = 0;
    const char *name = pb_interned_bytes(&s->names, e->name, &length);
    return pb_string_printf(out, "%s, record %" PRId64 " (%.*s)", s->packs[e->pack], e->number,
                            (int)length, name);
}

/* Reads an entry; a damaged one is PB_ERR_FORMAT. `key`: NULL, or the cell it must be of. */
static pb_status read_entry(const pb_shards *s, const entry *e, const pb_record_key *key,
                            pb_record_parts parts, pb_record *out)
{
    pb_record_source *source = NULL;
    pb_string label          = {0};
    pb_record record         = {0};
    pb_status status;

    PB_TRY_GOTO(status, label_of(s, e, &label), out);
    PB_TRY_GOTO(status, source_open_part(s->packs[e->pack], e->at, e->size, label.data, &source),
                out);
    PB_TRY_GOTO(status, shard_take(source, parts, &record), out);
    if (key != NULL) {
        status = shard_check_key(label.data, key, &record);
    }
    if (status != PB_OK) {
        pb_record_clear(&record);
        goto out;
    }
    *out = record;
out:
    pb_string_clear(&label);
    return status;
}

static pb_status examine(const pb_shards *s, const entry *e, const pb_record_key *key,
                         pb_record_parts parts, pb_record *out, pb_shard_state *state,
                         char **damage)
{
    *damage          = NULL;
    pb_status status = read_entry(s, e, key, parts, out);
    if (status == PB_ERR_FORMAT) {
        *state = PB_SHARD_DAMAGED;
        return pb_mistake_keep(status, damage);
    }
    PB_TRY(status);
    *state = out->status == PB_OK ? PB_SHARD_DONE : PB_SHARD_FAILED;
    return PB_OK;
}

pb_status pb_shards_read(const pb_shards *s, int64_t index, pb_record_parts parts, pb_record *out,
                         pb_shard_state *state, char **damage)
{
    return examine(s, &s->entries[s->latest[index]], NULL, parts, out, state, damage);
}

/* NULL: no pack has the cell. */
static pb_status find_entry(const pb_shards *s, const pb_record_key *key, entry **out)
{
    pb_string name = {0};
    *out           = NULL;
    PB_TRY(shard_name(key, &name));
    int32_t number = pb_interned_find(&s->names, name.data, name.length);
    pb_string_clear(&name);
    if (number >= 0 && !s->entries[s->latest[number]].cut) {
        *out = &s->entries[s->latest[number]];
    }
    return PB_OK;
}

/* A cell may have both kinds when its sweep has changed its size: a finished one counts. */
pb_status pb_shards_find(const pb_shards *s, const pb_record_key *key, pb_record_parts parts,
                         pb_record *out, pb_shard_state *state, char **damage)
{
    pb_record single     = {0};
    pb_shard_state other = PB_SHARD_MISSING;
    char *other_damage   = NULL;
    entry *e             = NULL;
    PB_TRY(find_entry(s, key, &e));
    if (e == NULL) {
        return pb_shard_find(s->directory, key, parts, out, state, damage);
    }
    PB_TRY(examine(s, e, key, parts, out, state, damage));
    if (*state == PB_SHARD_DONE) {
        return PB_OK;
    }
    PB_TRY(pb_shard_find(s->directory, key, parts, &single, &other, &other_damage));
    pb_memory_free(other_damage);
    if (other != PB_SHARD_DONE) {
        pb_record_clear(&single);
        return PB_OK;
    }
    pb_memory_free(*damage);
    pb_record_clear(out);
    *damage = NULL;
    *out    = single;
    *state  = other;
    return PB_OK;
}

pb_status pb_shards_count_others(const pb_shards *s, const pb_plan *plan, int64_t *count)
{
    pb_interned files = {0};
    char **names      = NULL;
    size_t all        = 0;
    int32_t number    = 0;
    int64_t others    = s->names.count;
    pb_string name    = {0};
    pb_status status  = PB_OK;

    if (pb_path_is_directory(s->folder)) {
        PB_TRY_GOTO(status, pb_path_list(s->folder, ".h5", &names, &all), out);
    }
    for (size_t i = 0; i < all; i++) {
        PB_TRY_GOTO(status,
                    pb_interned_add(&files, names[i], strlen(names[i]) - strlen(".h5"), &number),
                    out);
    }
    others += (int64_t)all;
    for (int64_t i = 0; others > 0 && i < plan->count; i++) {
        name.length = 0;
        PB_TRY_GOTO(status, shard_name(&plan->cells[i], &name), out);
        others -= pb_interned_find(&files, name.data, name.length) >= 0;
        others -= pb_interned_find(&s->names, name.data, name.length) >= 0;
    }
    *count = others;
out:
    pb_string_clear(&name);
    pb_memory_free_texts(names, all);
    pb_interned_clear(&files);
    return status;
}

/* ---------------------------------------------------------------- damage */

int64_t pb_shards_damaged(const pb_shards *s)
{
    return s->regions_count;
}

pb_status pb_shards_damage(const pb_shards *s, int64_t index, pb_string *out)
{
    const region *r = &s->regions[index];
    return pb_string_printf(out,
                            "%s was changed after it was written: bytes %" PRId64 " to %" PRId64
                            ", after record %" PRId64 ", are no record",
                            s->packs[r->pack], r->gap.from, r->gap.to, r->gap.after);
}

/* Copies bytes of a pack to a file of their own. */
static pb_status keep_bytes(const char *pack, int64_t from, int64_t to, char **out)
{
    pb_string bytes = {0};
    pb_string name  = {0};
    char *path      = NULL;
    pb_status status;
    PB_TRY_GOTO(status, pb_string_printf(&name, "%s.%" PRId64, pack, from), done);
    path = name.data;
    name = (pb_string){0};
    PB_TRY_GOTO(status, shard_damaged_path(path, &name), done);
    PB_TRY_GOTO(status, pb_file_read_part(pack, from, (size_t)(to - from), &bytes), done);
    PB_TRY_GOTO(status, pb_file_write_atomic(name.data, bytes.data, bytes.length), done);
    *out = name.data;
    name = (pb_string){0};
done:
    pb_memory_free(path);
    pb_string_clear(&name);
    pb_string_clear(&bytes);
    return status;
}

pb_status pb_shards_set_aside(pb_shards *s, const pb_record_key *key, char **out)
{
    entry *e = NULL;
    PB_TRY(find_entry(s, key, &e));
    if (e == NULL) {
        return pb_shard_set_aside(s->directory, key, out);
    }
    PB_TRY(keep_bytes(s->packs[e->pack], e->line, e->at + e->size, out));
    e->cut = true;
    return PB_OK;
}

/* Writes the records of a pack that are not cut. */
static pb_status copy_records(const pb_shards *s, int32_t pack, FILE *to)
{
    for (int64_t i = 0; i < s->count; i++) {
        const entry *e  = &s->entries[i];
        pb_string bytes = {0};
        if (e->pack != pack || e->cut) {
            continue;
        }
        PB_TRY(pb_file_read_part(s->packs[pack], e->line, (size_t)(e->at + e->size - e->line),
                                 &bytes));
        size_t written = fwrite(bytes.data, 1, bytes.length, to);
        bool whole     = written == bytes.length;
        pb_string_clear(&bytes);
        if (!whole) {
            return PB_FAIL(PB_ERR_IO, "cannot write %s again: %s%s", s->packs[pack],
                           strerror(errno), pb_file_remedy(errno));
        }
    }
    return PB_OK;
}

/* Replaces a pack by its whole records. */
static pb_status write_again(const pb_shards *s, int32_t pack)
{
    char *temporary = NULL;
    FILE *stream    = NULL;
    pb_status status;
    PB_TRY(pb_file_temporary_create(s->packs[pack], &temporary));
    PB_TRY_GOTO(status, pb_file_temporary_stream(temporary, &stream), err);
    status = copy_records(s, pack, stream);
    if (fclose(stream) != 0 && status == PB_OK) {
        status = PB_FAIL(PB_ERR_IO, "cannot write %s again: %s%s", s->packs[pack], strerror(errno),
                         pb_file_remedy(errno));
    }
    PB_TRY_GOTO(status, status, err);
    status = pb_file_commit(temporary, s->packs[pack]);
    pb_memory_free(temporary);
    return status;
err:
    (void)unlink(temporary);
    pb_memory_free(temporary);
    return status;
}

/* Takes the lock of its writer; *fd < 0 where another process writes, or has written since the pack
 * was read. */
static pb_status lock_pack(const pb_shards *s, int32_t pack, int *fd)
{
    struct stat about;
    PB_TRY(pb_file_open(s->packs[pack], fd));
    bool busy = flock(*fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (busy || fstat(*fd, &about) != 0 || about.st_size != s->ends[pack]) {
        (void)close(*fd);
        *fd = -1;
    }
    return PB_OK;
}

static pb_status mend_pack(pb_shards *s, int32_t pack)
{
    int fd           = -1;
    pb_status status = PB_OK;
    PB_TRY(lock_pack(s, pack, &fd));
    if (fd < 0) {
        pb_log_warn("%s is damaged and stays so, since another process writes to it",
                    s->packs[pack]);
        return PB_OK;
    }
    for (int64_t i = 0; i < s->regions_count; i++) {
        pb_string text = {0};
        char *kept     = NULL;
        if (s->regions[i].pack != pack) {
            continue;
        }
        PB_TRY_GOTO(status, pb_shards_damage(s, i, &text), done);
        status = keep_bytes(s->packs[pack], s->regions[i].gap.from, s->regions[i].gap.to, &kept);
        if (status == PB_OK) {
            pb_log_warn("%s; they are kept as %s, and their cells are run again", text.data, kept);
        }
        pb_string_clear(&text);
        pb_memory_free(kept);
        PB_TRY_GOTO(status, status, done);
    }
    status = write_again(s, pack);
done:
    (void)close(fd);
    return status;
}

pb_status pb_shards_mend(pb_shards *s)
{
    bool *damaged    = NULL;
    pb_status status = PB_OK;
    PB_TRY(PB_ALLOC(damaged, s->packs_count + 1));
    for (int64_t i = 0; i < s->count; i++) {
        damaged[s->entries[i].pack] |= s->entries[i].cut;
    }
    for (int64_t i = 0; i < s->regions_count; i++) {
        damaged[s->regions[i].pack] = true;
    }
    for (size_t i = 0; i < s->packs_count && status == PB_OK; i++) {
        status = damaged[i] ? mend_pack(s, (int32_t)i) : PB_OK;
    }
    pb_memory_free(damaged);
    return status;
}
