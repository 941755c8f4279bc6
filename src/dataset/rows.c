// SPDX-License-Identifier: Apache-2.0
/* Reading a split: records are cut from the file one by one, a chunk of them is parsed and built by
 * all threads and checked in file order, so that the result does not depend on the number of
 * threads. */
#include "columns.h"
#include "judge.h"
#include "reader.h"

#include "pb/hash.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { CHUNK_ROWS = 512, CHUNK_BYTES = 4 << 20 };

struct pb_rows {
    const pb_dataset *ds;
    pb_split split;
    int threads;
    const char *path;
    dataset_reader *reader; /* NULL: rows are synthetic */
    dataset_columns columns;
    pb_hash *hash; /* of synthetic texts */
    int64_t limit; /* 0: none */
    bool ended;
    char sha[PB_HASH_TEXT];
    pb_string bytes; /* of the chunk's records */
    row_slot *slots; /* [CHUNK_ROWS] */
    int64_t used;
    pb_example *examples; /* of the chunk, and their correct answers */
    const char **references;
    int64_t samples; /* so far */
    row_judge judge;
};

/* Puts the key's place before the message of a configuration that does not fit. */
static pb_status at_key(const pb_dataset *ds, dataset_key key, pb_status status)
{
    if (status == PB_ERR_CONFIG && ds->places[key] != NULL) {
        pb_error_prefix(status, "%s", ds->places[key]);
    }
    return status;
}

static pb_status open_file(pb_rows *rows)
{
    const pb_dataset_options *o = &rows->ds->options;
    bool train                  = rows->split == PB_SPLIT_TRAIN;

    rows->path = train ? o->train_file : o->test_file;
    if (*rows->path == '\0') {
        return at_key(rows->ds, train ? KEY_TRAIN_FILE : KEY_TEST_FILE,
                      PB_FAIL(PB_ERR_CONFIG, "dataset.%s is empty; builder %s needs a file of rows",
                              train ? "train_file" : "test_file", rows->ds->ops->name));
    }
    pb_status status =
        reader_open(rows->path, (dataset_format)o->format, &o->header, &rows->reader);
    if (status != PB_OK) {
        status = at_key(rows->ds, KEY_HEADER, status);
        if (status == PB_ERR_NOT_FOUND) {
            return PB_FAIL(status,
                           "data set %s: no such file: %s (dataset.%s); jobs/fetch_data.py "
                           "fetches the sets of PEFT-Bench into the folder PB_DATA",
                           o->name, rows->path, train ? "train_file" : "test_file");
        }
        pb_error_prefix(status, "data set %s", o->name);
        return PB_FRAME(status);
    }
    return PB_OK;
}

pb_status pb_rows_open(const pb_dataset *ds, pb_split split, int threads, pb_rows **out)
{
    pb_rows *rows = NULL;
    pb_status status;

    PB_TRY(PB_ALLOC(rows, 1));
    rows->ds      = ds;
    rows->split   = split;
    rows->threads = threads > 0 ? threads : 1;
    rows->limit   = split == PB_SPLIT_TRAIN ? ds->data.train_rows : ds->data.test_rows;
    PB_TRY_GOTO(status, PB_ALLOC(rows->slots, CHUNK_ROWS), err_rows);
    if (ds->ops->build != NULL) {
        PB_TRY_GOTO(status, columns_open(&ds->options, ds->protocol, &rows->columns), err_rows);
        PB_TRY_GOTO(status, open_file(rows), err_rows);
    } else {
        PB_TRY_GOTO(status, pb_hash_create(&rows->hash), err_rows);
    }
    rows->judge = (row_judge){
        .ds = ds, .split = split, .name = rows->path != NULL ? rows->path : ds->options.name};
    *out = rows;
    return PB_OK;

err_rows:
    pb_rows_close(rows);
    return status;
}

void rows_limit(pb_rows *rows, int64_t most)
{
    rows->limit = rows->limit == 0 || most < rows->limit ? most : rows->limit;
}

void pb_rows_close(pb_rows *rows)
{
    if (rows == NULL) {
        return;
    }
    for (int64_t i = 0; rows->slots != NULL && i < CHUNK_ROWS; i++) {
        pb_string_clear(&rows->slots[i].message);
        pb_string_clear(&rows->slots[i].id);
        pb_row_texts_clear(&rows->slots[i].texts);
    }
    pb_memory_free(rows->slots);
    pb_memory_free(rows->examples);
    pb_memory_free(rows->references);
    pb_string_clear(&rows->bytes);
    pb_interned_clear(&rows->judge.ids);
    reader_close(rows->reader);
    columns_close(&rows->columns);
    pb_hash_destroy(rows->hash);
    pb_memory_free(rows);
}

/* Keeps the thread's error with the row; if memory runs out, the message is lost but not the
 * status. */
static void keep_error(row_slot *s, pb_status status)
{
    s->status         = status;
    s->message.length = 0;
    if (pb_string_puts(&s->message, pb_error_message()) != PB_OK) {
        s->status = PB_ERR_MEMORY;
    }
    pb_error_clear();
}

/* Cuts the chunk's records. */
static pb_status cut_records(pb_rows *rows)
{
    rows->bytes.length = 0;
    while (rows->used < CHUNK_ROWS && rows->bytes.length < CHUNK_BYTES && !rows->ended) {
        row_slot *s = &rows->slots[rows->used];
        bool has    = false;
        if (rows->limit > 0 && rows->judge.counts.rows == rows->limit) {
            rows->ended = true;
            break;
        }
        s->begin         = rows->bytes.length;
        s->status        = PB_OK;
        s->unscored      = false;
        s->id.length     = 0;
        pb_status status = reader_next(rows->reader, &rows->bytes, &s->line, &has);
        if (status != PB_OK && !judge_is_bad_row(status)) {
            return PB_FRAME(status);
        }
        if (status == PB_OK && !has) {
            rows->ended = true;
            break;
        }
        s->cut    = status == PB_OK;
        s->length = rows->bytes.length - s->begin;
        s->row    = rows->judge.counts.rows++;
        rows->used++;
        if (status != PB_OK) {
            keep_error(s, status);
        }
    }
    return PB_OK;
}

/* The corrected protocol asks whether the answers can be scored. A placeholder for a missing label
 * is another fault. */
static pb_status check_answers(const pb_rows *rows, const row_slot *s)
{
    const pb_dataset *ds = rows->ds;
    bool labels          = pb_dataset_labels(ds)->count > 0;

    if (ds->check == NULL || ds->protocol == PB_PROTOCOL_PAPER) {
        return PB_OK;
    }
    for (int64_t k = 0; k < s->texts.count; k++) {
        const pb_row_text *text = &s->texts.items[k];
        if (text->unlabelled ? !labels && rows->split == PB_SPLIT_TEST
                             : text->has_answer || rows->split == PB_SPLIT_TEST) {
            PB_TRY(ds->check(ds, text->unlabelled ? NULL : text->answer.data));
        }
    }
    return PB_OK;
}

static pb_status build(const pb_rows *rows, row_slot *s)
{
    const pb_dataset *ds = rows->ds;
    json_t *row          = NULL;
    pb_status status;

    pb_row_texts_empty(&s->texts);
    s->cut = false;
    PB_TRY_GOTO(status, reader_parse(rows->reader, rows->bytes.data + s->begin, s->length, &row),
                out);
    s->cut = true;
    if (reader_is_text(rows->reader)) {
        PB_TRY_GOTO(status, columns_convert(&rows->columns, row), out);
    }
    PB_TRY_GOTO(status, row_id(&ds->options.id, row, &s->id), out);
    PB_TRY_GOTO(status, ds->ops->build(ds->builders[rows->split], row, &s->texts), out);
    s->unscored = true;
    PB_TRY_GOTO(status, check_answers(rows, s), out);
    s->unscored = false;
out:
    json_decref(row);
    return pb_error_prefix(status, "%s:%" PRId64, rows->path, s->line);
}

static void build_chunk(pb_rows *rows)
{
#pragma omp parallel for schedule(dynamic, 16) num_threads(rows->threads)
    for (int64_t i = 0; i < rows->used; i++) {
        row_slot *s = &rows->slots[i];
        if (s->cut) {
            pb_status status = build(rows, s);
            if (status != PB_OK) {
                keep_error(s, status);
            }
        }
    }
}

/* Rows without a file; the hash is over the texts. */
static pb_status generate_chunk(pb_rows *rows)
{
    const pb_dataset *ds = rows->ds;

    for (; rows->used < CHUNK_ROWS && !rows->ended; rows->used++) {
        row_slot *s = &rows->slots[rows->used];
        rows->ended = rows->limit > 0 && rows->judge.counts.rows == rows->limit;
        pb_row_texts_empty(&s->texts);
        if (!rows->ended) {
            PB_TRY(ds->ops->generate(ds->builders[rows->split], rows->judge.counts.rows, &s->texts,
                                     &rows->ended));
        }
        if (rows->ended) {
            break;
        }
        s->cut       = true;
        s->unscored  = false;
        s->status    = PB_OK;
        s->id.length = 0;
        s->row       = rows->judge.counts.rows++;
        s->line      = s->row + 1;
        for (int64_t k = 0; k < s->texts.count; k++) {
            PB_TRY(pb_hash_update_text(rows->hash, s->texts.items[k].user.data));
            PB_TRY(pb_hash_update_text(rows->hash, s->texts.items[k].answer.data));
        }
    }
    return PB_OK;
}

/* The row's samples as examples; pointers into the list of references are set by the caller. */
static pb_status add_examples(pb_rows *rows, row_slot *s, int64_t *count, int64_t *references)
{
    if (s->id.length == 0) {
        PB_TRY(pb_string_printf(&s->id, "%" PRId64, s->row));
    }
    for (int64_t k = 0; k < s->texts.count; k++) {
        const pb_row_text *text = &s->texts.items[k];
        rows->judge.counts.unlabelled += text->unlabelled;
        rows->judge.counts.no_answer += !text->has_answer;
        if (!text->has_answer && rows->split == PB_SPLIT_TRAIN) {
            continue;
        }
        PB_TRY(PB_GROW(rows->examples, *count + 1));
        PB_TRY(PB_GROW(rows->references, *references + 1 + text->reference_count));
        rows->examples[(*count)++] = (pb_example){
            .user            = text->user.data,
            .body            = text->user.data + text->body,
            .answer          = text->answer.data,
            .inputs          = text->has_inputs ? text->user.data + text->body : NULL,
            .targets         = text->has_inputs ? text->answer.data : NULL,
            .id              = s->id.data,
            .reference_count = 1 + text->reference_count,
            .row             = s->row,
            .line            = s->line,
        };
        rows->references[(*references)++] = text->answer.data;
        const char *next                  = text->references.data;
        for (int64_t r = 0; r < text->reference_count; r++) {
            rows->references[(*references)++] = next;
            next += strlen(next) + 1;
        }
    }
    return PB_OK;
}

static pb_status collect(pb_rows *rows, int64_t *count)
{
    int64_t references = 0;

    *count = 0;
    for (int64_t i = 0; i < rows->used; i++) {
        row_slot *s = &rows->slots[i];
        bool keep   = false;
        if (s->status != PB_OK && !judge_is_bad_row(s->status)) {
            return PB_FAIL(s->status, "%s",
                           s->message.length > 0 ? s->message.data : "out of memory");
        }
        PB_TRY(judge_row(&rows->judge, s, &keep));
        if (keep) {
            PB_TRY(add_examples(rows, s, count, &references));
        }
    }
    references = 0;
    for (int64_t i = 0; i < *count; i++) {
        rows->examples[i].references = rows->references + references;
        references += rows->examples[i].reference_count;
    }
    rows->samples += *count;
    return PB_OK;
}

/* A file that was not read to its end is still hashed as a whole. */
static pb_status hash_source(pb_rows *rows)
{
    if (rows->reader == NULL) {
        return pb_hash_finish(rows->hash, rows->sha);
    }
    PB_TRY(reader_finish(rows->reader));
    rows->judge.counts.bytes = reader_bytes(rows->reader);
    memcpy(rows->sha, reader_sha(rows->reader), sizeof rows->sha);
    return PB_OK;
}

pb_status pb_rows_next(pb_rows *rows, const pb_example **examples, int64_t *count)
{
    *count = 0;
    while (*count == 0 && !rows->ended) {
        rows->used = 0;
        if (rows->reader != NULL) {
            PB_TRY(cut_records(rows));
            build_chunk(rows);
        } else {
            PB_TRY(generate_chunk(rows));
        }
        PB_TRY(collect(rows, count));
    }
    *examples = rows->examples;
    if (*count > 0) {
        return PB_OK;
    }
    if (*rows->sha == '\0') {
        PB_TRY(hash_source(rows));
    }
    return judge_end(&rows->judge, rows->samples);
}

pb_rows_file pb_rows_get_file(const pb_rows *rows)
{
    if (rows->reader == NULL) {
        return (pb_rows_file){.path = "", .form = "", .compression = ""};
    }
    return (pb_rows_file){.path        = rows->path,
                          .form        = reader_form(rows->reader),
                          .compression = reader_compression(rows->reader),
                          .bytes       = reader_bytes(rows->reader)};
}

pb_row_counts pb_rows_counts(const pb_rows *rows)
{
    return rows->judge.counts;
}

const char *pb_rows_sha(const pb_rows *rows)
{
    return rows->sha;
}
