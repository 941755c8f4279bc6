// SPDX-License-Identifier: Apache-2.0
/* Declared tokens are put one after the other into a table by text, in the order in which
 * transformers adds them, since that order gives the free ids. */
#include "declared.h"

#include "pb/log.h"
#include "pb/memory.h"
#include "pb/string.h"
#include "pb/utf8.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG "tokenizer_config.json"
#define MAP    "special_tokens_map.json"
#define ADDED  "added_tokens.json"

typedef struct table {
    const json_t *vocab;
    json_t *tokens;  /* text → token as in tokenizer.json */
    int64_t highest; /* id of a token, -1: none */
    bool holes;      /* tokenizer.json has gaps in its ids, so the next free one is uncertain */
} table;

/* The table ------------------------------------------------------------------------------------ */

static bool is_known(const table *t, const char *text)
{
    return json_object_get(t->vocab, text) != NULL || json_object_get(t->tokens, text) != NULL;
}

/* The id that a text has or gets. */
static int64_t id_for(const table *t, const char *text)
{
    const json_t *known = json_object_get(t->vocab, text);
    int64_t count       = (int64_t)json_object_size(t->vocab);

    if (!json_is_integer(known)) {
        known = json_object_get(json_object_get(t->tokens, text), "id");
    }
    if (json_is_integer(known)) {
        return json_integer_value(known);
    }
    return t->highest >= count ? t->highest + 1 : count;
}

/* The text with an id; NULL when there is none. */
static const char *text_at(const table *t, int64_t id)
{
    const char *text = NULL;
    json_t *value    = NULL;

    json_object_foreach(t->tokens, text, value)
    {
        if (json_integer_value(json_object_get(value, "id")) == id) {
            return text;
        }
    }
    json_object_foreach((json_t *)(uintptr_t)t->vocab, text, value)
    {
        if (json_is_integer(value) && json_integer_value(value) == id) {
            return text;
        }
    }
    return NULL;
}

/* `id` is the one given in `place`, `own` the one that the text has or gets. */
static pb_status fail_id(const table *t, const char *text, const char *place, int64_t id,
                         int64_t own)
{
    const char *owner = text_at(t, id);

    if (is_known(t, text)) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s: \"%.*s\" has the id %" PRId64 " there, but %" PRId64
                       " by the other files of this tokenizer; fetch them again, all from one "
                       "checkpoint",
                       place, PB_FIT(text, 60), id, own);
    }
    if (owner != NULL) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s: the id %" PRId64 " of \"%.*s\" belongs to \"%.*s\" already (the next "
                       "free id is %" PRId64 "); fetch the files again, all from one checkpoint",
                       place, id, PB_FIT(text, 60), PB_FIT(owner, 60), own);
    }
    return PB_FAIL(PB_ERR_FORMAT,
                   "%s: \"%.*s\" has the id %" PRId64 " there, but the next free id, which "
                   "transformers gives it, is %" PRId64 "; declare the tokens between them, or "
                   "fetch the files again, all from one checkpoint",
                   place, PB_FIT(text, 60), id, own);
}

/* The default of "normalized": true for tokens that are not special. It is fixed when the token is
 * declared, so a token that becomes special later keeps it. */
static pb_status settle_normalized(json_t *token)
{
    const json_t *normalized = json_object_get(token, "normalized");
    bool special             = json_is_true(json_object_get(token, "special"));

    if (normalized != NULL && !json_is_null(normalized)) {
        return PB_OK;
    }
    return declared_take(token, "normalized", json_boolean(!special));
}

static pb_status make_special(json_t *token)
{
    return declared_take(token, "special", json_true());
}

/* Adds the token, or replaces the options of the one with its text; a special token stays special,
 * since the library never forgets it. `declared`: its id, -1 when no file gives one. `token` is an
 * object with options; its "__type" is ignored here. */
static pb_status put(table *t, const char *text, int64_t declared, json_t *token, const char *place)
{
    const json_t *before = json_object_get(t->tokens, text);
    int64_t id           = id_for(t, text);

    if (declared >= 0 && declared != id) {
        return fail_id(t, text, place, declared, id);
    }
    PB_TRY(settle_normalized(token));
    if (json_is_true(json_object_get(before, "special"))) {
        PB_TRY(make_special(token));
    }
    (void)json_object_del(token, "__type");
    PB_TRY(declared_take(token, "id", json_integer(id)));
    PB_TRY(declared_take(token, "content", json_string(text)));
    t->highest = id > t->highest ? id : t->highest;
    return declared_set(t->tokens, text, token);
}

/* Puts a token with a copy of its options, or with those of a token that is `special` or not.
 * Tokens that the names make special are special, whatever their options. */
static pb_status put_copy(const text_source *source, table *t, const char *text, int64_t declared,
                          json_t *options, bool special, const char *place)
{
    json_t *token = json_is_object(options)
                        ? json_copy(options)
                        : json_pack("{s:b, s:b}", "special", special, "normalized", !special);
    pb_status status;

    if (token == NULL) {
        return declared_no_memory();
    }
    if (declared_is_named(source, text, true)) {
        PB_TRY_GOTO(status, make_special(token), out);
    }
    PB_TRY_GOTO(status, put(t, text, declared, token, place), out);
out:
    json_decref(token);
    return status;
}

/* Tokens with ids ------------------------------------------------------------------------------ */

/* Those of tokenizer.json itself, with their ids. Malformed entries are left to the parser, which
 * reports them. */
static pb_status put_own(json_t *list, table *t)
{
    size_t i      = 0;
    json_t *token = NULL;

    json_array_foreach(list, i, token)
    {
        const char *text = json_string_value(json_object_get(token, "content"));
        json_int_t id    = json_integer_value(json_object_get(token, "id"));
        if (text == NULL || !json_is_integer(json_object_get(token, "id")) || id < 0 ||
            json_object_get(t->tokens, text) != NULL) {
            return PB_OK;
        }
        if (!t->holes && !is_known(t, text) && id_for(t, text) != id) {
            pb_log0_warn("tokenizer.json: the id %" PRId64 " of \"%.*s\" is used as it stands, but "
                         "transformers, which numbers added tokens without holes, gives %" PRId64,
                         (int64_t)id, PB_FIT(text, 60), id_for(t, text));
            t->holes = true;
        }
        PB_TRY(declared_set(t->tokens, text, token));
        t->highest = id > t->highest ? id : t->highest;
    }
    return PB_OK;
}

typedef struct entry {
    int64_t id;
    const char *text;
    json_t *token; /* its options, NULL: none are given */
} entry;

static int by_id(const void *a, const void *b)
{
    const entry *x = a;
    const entry *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static pb_status read_decoder(json_t *decoder, entry *entries, size_t *count)
{
    const char *key = NULL;
    json_t *value   = NULL;

    json_object_foreach(decoder, key, value)
    {
        char *end        = NULL;
        const char *text = json_string_value(json_object_get(value, "content"));
        long long id     = strtoll(key, &end, 10);
        if (text == NULL || *text == '\0' || end == key || *end != '\0' || id < 0 ||
            id >= INT32_MAX) {
            return PB_FAIL(PB_ERR_FORMAT,
                           CONFIG ": added_tokens_decoder: an id with a token is expected, found "
                                  "\"%.*s\"; fetch the file again",
                           PB_FIT(key, 60));
        }
        entries[(*count)++] = (entry){id, text, value};
    }
    return PB_OK;
}

/* added_tokens.json: text → id. Its numbers were read as real ones. */
static pb_status read_added(json_t *added, entry *entries, size_t *count)
{
    const char *text = NULL;
    json_t *value    = NULL;

    json_object_foreach(added, text, value)
    {
        double id = json_is_real(value) ? json_real_value(value) : -1.0;
        if (!(id >= 0.0 && id < INT32_MAX) || (double)(int32_t)id != id || *text == '\0') {
            return PB_FAIL(PB_ERR_FORMAT,
                           ADDED ": \"%.*s\": an id is expected; fetch the file again",
                           PB_FIT(text, 60));
        }
        entries[(*count)++] = (entry){(int64_t)id, text, NULL};
    }
    return PB_OK;
}

static pb_status put_entries(const text_source *source, const entry *entries, size_t count,
                             const char *place, table *t)
{
    for (size_t i = 0; i < count; i++) {
        const entry *e = &entries[i];
        bool special   = declared_is_named(source, e->text, false) ||
                       declared_lists(declared_list(source), e->text);
        PB_TRY(put_copy(source, t, e->text, e->id, e->token, special, place));
    }
    return PB_OK;
}

/* Where the decoder decides, the older file must agree with it. */
static pb_status check_added(const table *t, const entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const entry *e = &entries[i];
        int64_t id     = id_for(t, e->text);
        if (!is_known(t, e->text)) {
            pb_log0_warn(ADDED ": \"%.*s\" is not in added_tokens_decoder of " CONFIG ", which "
                               "alone counts: it is not a token, as in transformers",
                         PB_FIT(e->text, 60));
        } else if (id != e->id) {
            return fail_id(t, e->text, ADDED, e->id, id);
        }
    }
    return PB_OK;
}

/* The older file's tokens by id. Those of tokenizer.json keep their options, but named ones become
 * special. */
static pb_status put_older(const text_source *source, entry *entries, size_t count, bool composed,
                           table *t)
{
    const char *text = NULL;
    json_t *token    = NULL;

    if (count > 1) {
        qsort(entries, count, sizeof *entries, by_id);
    }
    for (size_t i = 0; i < count; i++) {
        bool own   = !composed && json_object_get(t->tokens, entries[i].text) != NULL;
        int64_t id = own ? id_for(t, entries[i].text) : entries[i].id;
        if (id != entries[i].id) {
            return fail_id(t, entries[i].text, ADDED, entries[i].id, id);
        }
        if (!own) {
            PB_TRY(put_entries(source, &entries[i], 1, ADDED, t));
        }
    }
    json_object_foreach(t->tokens, text, token)
    {
        if (!composed && declared_is_named(source, text, true)) {
            PB_TRY(settle_normalized(token));
            PB_TRY(make_special(token));
        }
    }
    return PB_OK;
}

static pb_status put_numbered(const text_source *source, bool composed, table *t)
{
    json_t *decoder  = json_object_get(source->config, "added_tokens_decoder");
    entry *entries   = NULL;
    size_t first     = 0;
    size_t count     = 0;
    pb_status status = PB_OK;

    if (declared_has_decoder(source) && !json_is_object(decoder)) {
        return PB_FAIL(PB_ERR_FORMAT,
                       CONFIG ": added_tokens_decoder: an object is expected, found %s",
                       pb_json_kind(decoder));
    }
    PB_TRY(PB_ALLOC(entries, json_object_size(decoder) + json_object_size(source->added) + 1));
    PB_TRY_GOTO(status, read_decoder(decoder, entries, &first), out_entries);
    count = first;
    PB_TRY_GOTO(status, read_added(source->added, entries, &count), out_entries);
    if (!declared_has_decoder(source)) {
        status = put_older(source, entries, count, composed, t);
        goto out_entries;
    }
    if (first > 1) {
        qsort(entries, first, sizeof *entries, by_id);
    }
    PB_TRY_GOTO(status, put_entries(source, entries, first, CONFIG ": added_tokens_decoder", t),
                out_entries);
    status = check_added(t, entries + first, count - first);
out_entries:
    pb_memory_free(entries);
    return status;
}

/* Tokens by name ------------------------------------------------------------------------------- */

typedef struct naming {
    const text_source *source;
    table *table;
    json_t *known;  /* texts that were declared before: their names add nothing */
    json_t *added;  /* text → declarations that were added: a second equal one adds nothing */
    pb_string free; /* for the warning: texts with the ids that they get */
    size_t free_count;
} naming;

enum { FREE_SHOWN = 6 };

static pb_status note_free(naming *n, const char *key, const char *text)
{
    if (n->table->holes) {
        return PB_FAIL(
            PB_ERR_FORMAT,
            "%s names \"%.*s\", which no file gives an id, and the ids in tokenizer.json "
            "have holes; declare its id in added_tokens_decoder of " CONFIG,
            key, PB_FIT(text, 60));
    }
    if (n->free_count++ >= FREE_SHOWN) {
        return PB_OK;
    }
    return pb_string_printf(&n->free, "%s\"%.*s\" %" PRId64, n->free_count > 1 ? ", " : "",
                            PB_FIT(text, 60), id_for(n->table, text));
}

static void warn_of_free(const naming *n)
{
    if (n->free_count > 0) {
        pb_log0_warn("special tokens that no file gives an id get the next free ones, as in "
                     "transformers: %s%s; the model's embedding needs rows for them",
                     n->free.data, n->free_count > FREE_SHOWN ? ", …" : "");
    }
}

static pb_status note_added(naming *n, const char *text, json_t *value, bool *again)
{
    json_t *list = json_object_get(n->added, text);
    size_t i     = 0;
    json_t *item = NULL;

    *again = false;
    if (list == NULL) {
        return declared_take(n->added, text, json_pack("[O]", value));
    }
    json_array_foreach(list, i, item)
    {
        *again = *again || json_equal(item, value);
    }
    return *again || json_array_append(list, value) == 0 ? PB_OK : declared_no_memory();
}

/* A named token that is not yet declared. A plain text is a special token. Where a text and an
 * object declare the same token, the options of the later one count. */
static pb_status put_name(naming *n, const char *key, json_t *value)
{
    const char *text = NULL;
    bool again       = false;

    PB_TRY(declared_text(n->source, key, value, &text));
    if (text == NULL || json_object_get(n->known, text) != NULL) {
        return PB_OK;
    }
    PB_TRY(note_added(n, text, value, &again));
    if (again) {
        return PB_OK;
    }
    if (!is_known(n->table, text)) {
        PB_TRY(note_free(n, key, text));
    }
    return put_copy(n->source, n->table, text, -1, value, true, key);
}

/* Names of the model's own: objects among them come first, as in transformers. */
static pb_status put_own_names(naming *n, bool objects)
{
    const char *key = NULL;
    json_t *value   = NULL;

    json_object_foreach(n->source->names, key, value)
    {
        if (declared_is_own(key, value) && json_is_object(value) == objects) {
            PB_TRY(put_name(n, key, value));
        }
    }
    return PB_OK;
}

static pb_status put_names(naming *n)
{
    json_t *extra   = json_object_get(n->source->names, "extra_special_tokens");
    const char *key = NULL;
    json_t *value   = NULL;
    size_t i        = 0;

    for (size_t k = 0; k < STANDARD_NAMES; k++) {
        PB_TRY(put_name(n, declared_standard[k],
                        json_object_get(n->source->names, declared_standard[k])));
    }
    PB_TRY(put_own_names(n, true));
    PB_TRY(put_own_names(n, false));
    if (json_is_object(extra)) {
        json_object_foreach(extra, key, value)
        {
            PB_TRY(put_name(n, key, value));
        }
    }
    json_array_foreach(declared_list(n->source), i, value)
    {
        PB_TRY(put_name(n, "extra_special_tokens", value));
    }
    return PB_OK;
}

/* The whole ------------------------------------------------------------------------------------ */

static void warn_of(const table *t, const json_t *value, const char *file, const char *key)
{
    const json_t *own = json_is_object(value) ? json_object_get(value, "content") : value;
    const char *text  = json_string_value(own);

    if (text != NULL && *text != '\0' && !is_known(t, text)) {
        pb_log0_warn("%s: %s names \"%.*s\", but other declarations take precedence: it is not a "
                     "token, as in transformers",
                     file, key, PB_FIT(text, 60));
    }
}

/* Declarations in files that do not count. */
static void warn_of_unused(const text_source *source, const table *t)
{
    const json_t *files[]           = {source->config, source->map};
    static const char *const name[] = {CONFIG, MAP};

    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        const char *key = NULL;
        json_t *value   = NULL;
        json_object_foreach((json_t *)(uintptr_t)files[f], key, value)
        {
            size_t i     = 0;
            json_t *item = NULL;
            if (declared_is_name(key)) {
                warn_of(t, value, name[f], key);
            }
            json_array_foreach(strstr(key, "_special_tokens") != NULL ? value : NULL, i, item)
            {
                warn_of(t, item, name[f], key);
            }
        }
    }
}

static pb_status collect(const text_source *source, const table *t)
{
    json_t *list     = json_array();
    const char *text = NULL;
    json_t *token    = NULL;

    json_object_foreach(t->tokens, text, token)
    {
        if (json_array_append(list, token) != 0) {
            json_decref(list);
            return declared_no_memory();
        }
    }
    return declared_take(source->root, "added_tokens", list);
}

pb_status declared_apply(text_source *source, bool composed)
{
    json_t *own     = json_object_get(source->root, "added_tokens");
    const json_t *m = json_object_get(source->root, "model");
    table t  = {.vocab = json_object_get(m, "vocab"), .tokens = json_object(), .highest = -1};
    naming n = {.source = source, .table = &t};
    pb_status status = PB_OK;

    if (!json_is_object(t.vocab) || (own != NULL && !json_is_array(own) && !json_is_null(own))) {
        json_decref(t.tokens);
        return PB_OK; /* the parser reports the cause */
    }
    if (t.tokens == NULL) {
        return declared_no_memory();
    }
    PB_TRY_GOTO(status, put_own(own, &t), out_tokens);
    if (json_object_size(t.tokens) != json_array_size(own)) {
        goto out_tokens; /* malformed, or a text twice: the parser reports it */
    }
    PB_TRY_GOTO(status, put_numbered(source, composed, &t), out_tokens);
    n.known = json_copy(t.tokens);
    n.added = json_object();
    if (n.known == NULL || n.added == NULL) {
        status = declared_no_memory();
        goto out_known;
    }
    PB_TRY_GOTO(status, put_names(&n), out_known);
    warn_of_free(&n);
    warn_of_unused(source, &t);
    PB_TRY_GOTO(status, collect(source, &t), out_known);
out_known:
    pb_string_clear(&n.free);
    json_decref(n.added);
    json_decref(n.known);
out_tokens:
    json_decref(t.tokens);
    return status;
}
