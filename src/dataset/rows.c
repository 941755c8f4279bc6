// SPDX-License-Identifier: Apache-2.0
/* Reading a split: records are cut from the file one by one, a chunk of them is parsed and built by
 * all threads and checked in file order, so that the result does not depend on the number of
 * threads. */
#include "columns.h"
#include "internal.h"
#include "reader.h"

#include "pb/digests.h"
#include "pb/hash.h"
#include "pb/memory.h"
#include "pb/utf8.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { CHUNK_ROWS = 512, CHUNK_BYTES = 4 << 20, MESSAGE_BYTES = 600 };

/* A row in flight. */
typedef struct slot {
    size_t begin, length; /* of its record in the chunk's bytes */
    int64_t row, line;
    bool cut;      /* false: no record could be cut; status and message give the reason */
    bool unscored; /* the answer is at fault */
    pb_status status;
    pb_string message;
    pb_string id;
    pb_row_texts texts;
} slot;

struct pb_rows {
    const pb_dataset *ds;
    pb_split split;
    int threads;
    const char *path;
    pb_reader *reader; /* NULL: rows are synthetic */
    pb_columns columns;
    pb_hash *hash; /* of synthetic texts */
    int64_t limit; /* 0: none */
    bool ended;
    char sha[PB_HASH_TEXT];
    pb_string bytes; /* of the chunk's records */
    slot *slots;     /* [CHUNK_ROWS] */
    int64_t used;
    pb_example *examples; /* of the chunk, and their correct answers */
    const char **references;
    int64_t samples; /* so far */
    pb_digests ids;
    pb_row_counts counts;
    char first[MESSAGE_BYTES]; /* what was wrong with the first bad row */
};

/* Puts the key's place before the message of a configuration that does not fit. */
static pb_status at_key(const pb_dataset *ds, pb_dataset_key key, pb_status status)
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
        return at_key(rows->ds, train ? PB_KEY_TRAIN_FILE : PB_KEY_TEST_FILE,
                      PB_FAIL(PB_ERR_CONFIG, "dataset.%s is empty; builder %s needs a file of rows",
                              train ? "train_file" : "test_file", rows->ds->ops->name));
    }
    pb_status status =
        pb_reader_open_as(rows->path, (pb_format)o->format, &o->header, &rows->reader);
    if (status != PB_OK) {
        status = at_key(rows->ds, PB_KEY_HEADER, status);
        if (status == PB_ERR_NOT_FOUND) {
            return PB_FAIL(status,
                           "data set %s: there is no file %s (dataset.%s); jobs/fetch_data.py "
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
        PB_TRY_GOTO(status, pb_columns_open(&ds->options, ds->protocol, &rows->columns), err_rows);
        PB_TRY_GOTO(status, open_file(rows), err_rows);
    } else {
        PB_TRY_GOTO(status, pb_hash_create(&rows->hash), err_rows);
    }
    *out = rows;
    return PB_OK;

err_rows:
    pb_rows_close(rows);
    return status;
}

void pb_rows_limit(pb_rows *rows, int64_t most)
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
    pb_digests_clear(&rows->ids);
    pb_reader_close(rows->reader);
    pb_columns_close(&rows->columns);
    pb_hash_destroy(rows->hash);
    pb_memory_free(rows);
}

/* Keeps the thread's error with the row; if memory runs out, the message is lost but not the
 * status. */
static void keep_error(slot *s, pb_status status)
{
    s->status         = status;
    s->message.length = 0;
    if (pb_string_puts(&s->message, pb_error_message()) != PB_OK) {
        s->status = PB_ERR_MEMORY;
    }
    pb_error_clear();
}

static bool is_bad_row(pb_status status)
{
    return status == PB_ERR_FORMAT || status == PB_ERR_NOT_FOUND;
}

/* Cuts the chunk's records. */
static pb_status cut_records(pb_rows *rows)
{
    rows->bytes.length = 0;
    while (rows->used < CHUNK_ROWS && rows->bytes.length < CHUNK_BYTES && !rows->ended) {
        slot *s  = &rows->slots[rows->used];
        bool has = false;
        if (rows->limit > 0 && rows->counts.rows == rows->limit) {
            rows->ended = true;
            break;
        }
        s->begin         = rows->bytes.length;
        s->status        = PB_OK;
        s->unscored      = false;
        s->id.length     = 0;
        pb_status status = pb_reader_next(rows->reader, &rows->bytes, &s->line, &has);
        if (status != PB_OK && !is_bad_row(status)) {
            return PB_FRAME(status);
        }
        if (status == PB_OK && !has) {
            rows->ended = true;
            break;
        }
        s->cut    = status == PB_OK;
        s->length = rows->bytes.length - s->begin;
        s->row    = rows->counts.rows++;
        rows->used++;
        if (status != PB_OK) {
            keep_error(s, status);
        }
    }
    return PB_OK;
}

/* The corrected protocol asks whether the answers can be scored. A placeholder for a missing label
 * is another fault. */
static pb_status check_answers(const pb_rows *rows, const slot *s)
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

static pb_status build(const pb_rows *rows, slot *s)
{
    const pb_dataset *ds = rows->ds;
    json_t *row          = NULL;

    pb_row_texts_empty(&s->texts);
    pb_status status = pb_reader_parse(rows->reader, rows->bytes.data + s->begin, s->length, &row);
    s->cut           = status == PB_OK;
    if (status == PB_OK && pb_reader_is_text(rows->reader)) {
        status = pb_columns_convert(&rows->columns, row);
    }
    if (status == PB_OK) {
        status = pb_row_id(&ds->options.id, row, &s->id);
    }
    if (status == PB_OK) {
        status = ds->ops->build(ds->builders[rows->split], row, &s->texts);
    }
    if (status == PB_OK) {
        status      = check_answers(rows, s);
        s->unscored = status != PB_OK;
    }
    json_decref(row);
    if (status != PB_OK) {
        pb_error_prefix(status, "%s:%" PRId64, rows->path, s->line);
    }
    return status;
}

static void build_chunk(pb_rows *rows)
{
#pragma omp parallel for schedule(dynamic, 16) num_threads(rows->threads)
    for (int64_t i = 0; i < rows->used; i++) {
        slot *s = &rows->slots[i];
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
        slot *s     = &rows->slots[rows->used];
        rows->ended = rows->limit > 0 && rows->counts.rows == rows->limit;
        pb_row_texts_empty(&s->texts);
        if (!rows->ended) {
            PB_TRY(ds->ops->generate(ds->builders[rows->split], rows->counts.rows, &s->texts,
                                     &rows->ended));
        }
        if (rows->ended) {
            break;
        }
        s->cut       = true;
        s->unscored  = false;
        s->status    = PB_OK;
        s->id.length = 0;
        s->row       = rows->counts.rows++;
        s->line      = s->row + 1;
        for (int64_t k = 0; k < s->texts.count; k++) {
            PB_TRY(pb_hash_update_text(rows->hash, s->texts.items[k].user.data));
            PB_TRY(pb_hash_update_text(rows->hash, s->texts.items[k].answer.data));
        }
    }
    return PB_OK;
}

/* Counts a fault; the fault of the first row left out is kept, with its place. */
static void PB_PRINTF(5, 6)
    count_fault(pb_rows *rows, const slot *s, pb_row_fault fault, bool bad, const char *format, ...)
{
    pb_row_counts *c = &rows->counts;
    va_list values;

    c->faults[fault]++;
    c->first[fault] = c->first[fault] == 0 ? s->line : c->first[fault];
    c->bad += bad;
    if (bad && *rows->first == '\0') {
        va_start(values, format);
        (void)vsnprintf(rows->first, sizeof rows->first, format, values);
        va_end(values);
        rows->first[pb_utf8_fit(rows->first, sizeof rows->first - 2)] = '\0';
    }
}

static const char *empty_column(const slot *s)
{
    for (int64_t k = 0; k < s->texts.count; k++) {
        if (s->texts.items[k].empty != NULL) {
            return s->texts.items[k].empty;
        }
    }
    return NULL;
}

/* Test splits of the hub with hidden labels have -1 everywhere. */
static bool lacks_label(const pb_rows *rows, const slot *s)
{
    return rows->split == PB_SPLIT_TEST && pb_dataset_labels(rows->ds)->count > 0 &&
           s->texts.count > 0 && s->texts.items[0].unlabelled;
}

/* *is_new is false for a row with the id of an earlier one. */
static pb_status note_id(pb_rows *rows, const slot *s, bool *is_new)
{
    pb_digest digest;

    *is_new = true;
    if (s->id.length == 0) {
        return PB_OK;
    }
    rows->counts.ids++;
    PB_TRY(pb_digest_of(s->id.data, s->id.length, &digest));
    return pb_digests_add(&rows->ids, &digest, is_new);
}

/* Counts the row's faults; *keep is false when it is left out. Under the paper protocol, rows that
 * the original accepts are counted and kept. */
static pb_status judge(pb_rows *rows, const slot *s, bool *keep)
{
    const char *path  = rows->path != NULL ? rows->path : rows->ds->options.name;
    const char *empty = empty_column(s);
    bool strict       = rows->ds->protocol == PB_PROTOCOL_CORRECTED;
    bool is_new       = true;

    *keep = s->status == PB_OK;
    if (!*keep) {
        pb_row_fault fault = s->unscored                     ? PB_ROW_ANSWER
                             : s->status == PB_ERR_NOT_FOUND ? PB_ROW_LABEL
                                                             : PB_ROW_COLUMN;
        count_fault(rows, s, s->cut ? fault : PB_ROW_UNREADABLE, true, "%s", s->message.data);
        return PB_OK;
    }
    PB_TRY(note_id(rows, s, &is_new));
    if (!is_new) {
        count_fault(rows, s, PB_ROW_DUPLICATE, strict,
                    "%s:%" PRId64
                    ": the id %.*s (dataset.id) was met before; remove one of the rows",
                    path, s->line, pb_utf8_fit(s->id.data, 80), s->id.data);
        *keep = !strict;
    } else if (strict && lacks_label(rows, s)) {
        count_fault(rows, s, PB_ROW_LABEL, true,
                    "%s:%" PRId64 ": the row has no label, and a test row without one cannot be "
                    "scored; take a split with labels, or leave the row out",
                    path, s->line);
        *keep = false;
    } else if (empty != NULL) {
        count_fault(rows, s, PB_ROW_EMPTY, strict,
                    "%s:%" PRId64 ": column \"%s\" is empty; fill it, or declare its type with a ? "
                    "(dataset.columns)",
                    path, s->line, empty);
        *keep = !strict;
    }
    return PB_OK;
}

/* The row's samples as examples; pointers into the list of references are set by the caller. */
static pb_status add_examples(pb_rows *rows, slot *s, int64_t *count, int64_t *references)
{
    if (s->id.length == 0) {
        PB_TRY(pb_string_printf(&s->id, "%" PRId64, s->row));
    }
    for (int64_t k = 0; k < s->texts.count; k++) {
        const pb_row_text *text = &s->texts.items[k];
        rows->counts.unlabelled += text->unlabelled;
        rows->counts.no_answer += !text->has_answer;
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
        slot *s   = &rows->slots[i];
        bool keep = false;
        if (s->status != PB_OK && !is_bad_row(s->status)) {
            return PB_FAIL(s->status, "%s",
                           s->message.length > 0 ? s->message.data : "out of memory");
        }
        PB_TRY(judge(rows, s, &keep));
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

static pb_status check_share(const pb_rows *rows, const char *faults)
{
    const pb_row_counts *c = &rows->counts;
    double share           = rows->ds->data.max_bad_share;

    if ((double)c->bad > share * (double)c->rows) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s; this is the first of %" PRId64 " bad rows of %" PRId64
                       " (%s), data.max_bad_share allows a share of %g",
                       rows->first, c->bad, c->rows, faults, share);
    }
    if (rows->samples == 0) {
        return PB_FAIL(PB_ERR_FORMAT, "%s: none of its %" PRId64 " rows can be used",
                       rows->path != NULL ? rows->path : rows->ds->options.name, c->rows);
    }
    return PB_OK;
}

/* A file that was not read to its end is still hashed as a whole. */
static pb_status hash_source(pb_rows *rows)
{
    if (rows->reader == NULL) {
        return pb_hash_finish(rows->hash, rows->sha);
    }
    PB_TRY(pb_reader_finish(rows->reader));
    rows->counts.bytes = pb_reader_bytes(rows->reader);
    memcpy(rows->sha, pb_reader_sha(rows->reader), sizeof rows->sha);
    return PB_OK;
}

static pb_status finish(pb_rows *rows)
{
    pb_string faults = {0};
    pb_status status;

    if (*rows->sha == '\0') {
        PB_TRY(hash_source(rows));
    }
    PB_TRY_GOTO(status, pb_string_puts(&faults, ""), out_faults);
    PB_TRY_GOTO(status, pb_row_counts_describe(&rows->counts, &faults), out_faults);
    PB_TRY_GOTO(status, check_share(rows, faults.data), out_faults);
out_faults:
    pb_string_clear(&faults);
    return status;
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
    return *count == 0 ? finish(rows) : PB_OK;
}

pb_rows_file pb_rows_get_file(const pb_rows *rows)
{
    if (rows->reader == NULL) {
        return (pb_rows_file){.path = "", .form = "", .compression = ""};
    }
    return (pb_rows_file){.path        = rows->path,
                          .form        = pb_reader_form(rows->reader),
                          .compression = pb_reader_compression(rows->reader),
                          .bytes       = pb_reader_bytes(rows->reader)};
}

pb_row_counts pb_rows_counts(const pb_rows *rows)
{
    return rows->counts;
}

const char *pb_rows_sha(const pb_rows *rows)
{
    return rows->sha;
}
