// SPDX-License-Identifier: Apache-2.0
/* The configurations of two sweeps. A record has its configuration as text, a key per line inside
 * its groups; here every key has its whole name. */
#include "compare.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <string.h>

enum { LISTED_MAX = 60 };

typedef struct setting {
    char *key, *value; /* owned */
} setting;

typedef struct settings {
    setting *items;
    int64_t count;
} settings;

typedef struct difference {
    char *key, *values[2]; /* owned */
    int64_t cells;
} difference;

typedef struct differences {
    difference *items;
    int64_t count;
} differences;

static void clear_settings(settings *s)
{
    for (int64_t i = 0; i < s->count; i++) {
        pb_memory_free(s->items[i].key);
        pb_memory_free(s->items[i].value);
    }
    pb_memory_free(s->items);
    *s = (settings){0};
}

/* Adds PREFIX.key, with the text up to the end of its line. */
static pb_status take(settings *s, const pb_string *prefix, const char *line, size_t name,
                      size_t length)
{
    pb_string key   = {0};
    pb_string value = {0};
    size_t equals   = name + strspn(line + name, " =");
    pb_status status;

    PB_TRY_GOTO(status, PB_GROW(s->items, s->count + 1), out);
    PB_TRY_GOTO(
        status,
        pb_string_printf(&key, "%s%.*s", prefix->length > 0 ? prefix->data : "", (int)name, line),
        out);
    length -= length > equals && line[length - 1] == ';';
    PB_TRY_GOTO(status,
                pb_string_append(&value, line + equals, length > equals ? length - equals : 0),
                out);
    PB_TRY_GOTO(status, pb_string_puts(&value, ""), out);
    s->items[s->count++] = (setting){.key = key.data, .value = value.data};
    return PB_OK;
out:
    pb_string_clear(&key);
    pb_string_clear(&value);
    return status;
}

/* "a.b." becomes "a." */
static void leave_group(pb_string *prefix)
{
    if (prefix->length > 0) {
        prefix->data[--prefix->length] = '\0';
    }
    while (prefix->length > 0 && prefix->data[prefix->length - 1] != '.') {
        prefix->data[--prefix->length] = '\0';
    }
}

static pb_status read_settings(const char *text, settings *out)
{
    pb_string prefix = {0};
    pb_status status = PB_OK;

    while (text != NULL && *text != '\0' && status == PB_OK) {
        const char *line = text + strspn(text, " \t");
        size_t length    = strcspn(line, "\n");
        size_t name      = strcspn(line, " =\n");
        if (line[0] == '}') {
            leave_group(&prefix);
        } else if (length > 0 && line[length - 1] == '{') {
            status = pb_string_printf(&prefix, "%.*s.", (int)name, line);
        } else if (length > 0) {
            status = take(out, &prefix, line, name, length);
        }
        text = line + length + (line[length] == '\n');
    }
    pb_string_clear(&prefix);
    return status;
}

static const char *value_of(const settings *s, const char *key)
{
    for (int64_t i = 0; i < s->count; i++) {
        if (strcmp(s->items[i].key, key) == 0) {
            return s->items[i].value;
        }
    }
    return PB_TABLE_NOTHING;
}

static pb_status count_difference(differences *d, const char *key, const char *a, const char *b)
{
    for (int64_t i = 0; i < d->count; i++) {
        difference *one = &d->items[i];
        if (strcmp(one->key, key) == 0 && strcmp(one->values[0], a) == 0 &&
            strcmp(one->values[1], b) == 0) {
            one->cells++;
            return PB_OK;
        }
    }
    PB_TRY(PB_GROW(d->items, d->count + 1));
    difference *added = &d->items[d->count++];
    added->cells      = 1;
    PB_TRY(PB_TEXT(added->key, key));
    PB_TRY(PB_TEXT(added->values[0], a));
    return PB_TEXT(added->values[1], b);
}

static pb_status compare_texts(const char *a, const char *b, differences *d)
{
    settings both[2] = {0};
    pb_status status;

    PB_TRY_GOTO(status, read_settings(a, &both[0]), out);
    PB_TRY_GOTO(status, read_settings(b, &both[1]), out);
    for (int side = 0; side < 2; side++) {
        for (int64_t i = 0; i < both[side].count; i++) {
            const char *key      = both[side].items[i].key;
            const char *value[2] = {value_of(&both[0], key), value_of(&both[1], key)};
            bool listed          = side == 1 && strcmp(value[0], PB_TABLE_NOTHING) != 0;
            if (!listed && strcmp(value[0], value[1]) != 0) {
                PB_TRY_GOTO(status, count_difference(d, key, value[0], value[1]), out);
            }
        }
    }
out:
    clear_settings(&both[0]);
    clear_settings(&both[1]);
    return status;
}

static pb_status compare_configs(const pb_record *a, const pb_record *b, differences *d)
{
    char *texts[2] = {NULL, NULL};
    pb_status status;

    PB_TRY_GOTO(status, pb_record_config_read(a, &texts[0]), out);
    PB_TRY_GOTO(status, pb_record_config_read(b, &texts[1]), out);
    if (strcmp(texts[0], texts[1]) != 0) {
        status = compare_texts(texts[0], texts[1], d);
    }
out:
    pb_memory_free(texts[0]);
    pb_memory_free(texts[1]);
    return status;
}

static pb_status compare_records(const pb_record *a, const pb_record *b, differences *d)
{
    PB_TRY(compare_configs(a, b, d));
    const char *hashes[][3] = {{"model files", a->model_hash, b->model_hash},
                               {"tokenizer files", a->tokenizer_hash, b->tokenizer_hash},
                               {"rows", a->data_hash, b->data_hash}};
    for (size_t i = 0; i < sizeof hashes / sizeof *hashes; i++) {
        if (hashes[i][1] != NULL && hashes[i][2] != NULL &&
            strcmp(hashes[i][1], hashes[i][2]) != 0) {
            PB_TRY(count_difference(d, hashes[i][0], hashes[i][1], hashes[i][2]));
        }
    }
    return PB_OK;
}

static pb_status show(const differences *d, document *doc)
{
    static const char *const header[] = {"key", "A", "B", "cells", NULL};

    PB_TRY(document_add(doc, DOCUMENT_SECTION, "settings",
                        "settings and inputs that differ, of the cells that both have"));
    if (d->count == 0) {
        return document_remark(doc, "no difference");
    }
    PB_TRY(pb_table_begin(document_table(doc), header, 3));
    for (int64_t i = 0; i < d->count && i < LISTED_MAX; i++) {
        PB_TRY(pb_table_add(document_table(doc), "%s", d->items[i].key));
        PB_TRY(pb_table_add(document_table(doc), "%s", d->items[i].values[0]));
        PB_TRY(pb_table_add(document_table(doc), "%s", d->items[i].values[1]));
        PB_TRY(pb_table_add(document_table(doc), "%" PRId64, d->items[i].cells));
    }
    return d->count > LISTED_MAX ? document_remark(doc, "%" PRId64 " more", d->count - LISTED_MAX)
                                 : PB_OK;
}

pb_status compare_settings(const record_pairs *pairs, document *doc)
{
    differences d    = {0};
    pb_status status = PB_OK;

    for (int64_t i = 0; i < pairs->count && status == PB_OK; i++) {
        status = compare_records(pairs->items[i].a, pairs->items[i].b, &d);
    }
    if (status == PB_OK) {
        status = show(&d, doc);
    }
    for (int64_t i = 0; i < d.count; i++) {
        pb_memory_free(d.items[i].key);
        pb_memory_free(d.items[i].values[0]);
        pb_memory_free(d.items[i].values[1]);
    }
    pb_memory_free(d.items);
    return status;
}
