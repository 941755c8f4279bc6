// SPDX-License-Identifier: Apache-2.0
/* The pipeline: added tokens are taken out, the rest is normalised, cut into pieces and merged;
 * decoding runs the decoder over the tokens. Reading the file is in tokenizer_open.c. */
#include "internal.h"

#include "pb/memory.h"
#include "pb/utf8.h"

#include <inttypes.h>
#include <string.h>

/* The pool is the only part of a tokenizer that changes, under its lock; to callers the tokenizer
 * is const. */
pb_status tokenizer_borrow(const pb_tokenizer *t, text_scratch **out)
{
    pb_tokenizer *owner = (pb_tokenizer *)t;

    (void)pthread_mutex_lock(&owner->lock);
    text_scratch *w = owner->pool;
    if (w != NULL) {
        owner->pool = w->next;
    }
    (void)pthread_mutex_unlock(&owner->lock);
    if (w == NULL) {
        PB_TRY(scratch_create(t->size, &w));
    }
    w->next   = NULL;
    w->pinned = SCRATCH_OUTSIDE;
    w->holder = SCRATCH_OUTSIDE;
    *out      = w;
    return PB_OK;
}

void tokenizer_return(const pb_tokenizer *t, text_scratch *w)
{
    pb_tokenizer *owner = (pb_tokenizer *)t;

    (void)pthread_mutex_lock(&owner->lock);
    w->next     = owner->pool;
    owner->pool = w;
    (void)pthread_mutex_unlock(&owner->lock);
}

void pb_tokenizer_trim(const pb_tokenizer *t)
{
    pb_tokenizer *owner = (pb_tokenizer *)t;

    if (t == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&owner->lock);
    while (owner->pool != NULL) {
        text_scratch *w = owner->pool;
        owner->pool     = w->next;
        scratch_destroy(w);
    }
    (void)pthread_mutex_unlock(&owner->lock);
}

/* A normalised stretch without added tokens: pieces, then ids. */
static pb_status encode_stretch(const pb_tokenizer *t, text_scratch *w, bool first, pb_ids *out)
{
    w->spans.count = 0;
    w->other.count = 0;
    PB_TRY(spans_push(&w->spans, (text_span){0, w->length, -1, first}));
    PB_TRY(steps_run(&t->pretokenizer, w));
    return bpe_encode(&t->bpe, w, out);
}

/* A stretch of the given text: normalised, then searched for the added tokens that are written in
 * normalised form. They cannot be declared plain text by position, since a normaliser moves
 * positions; with `plain` no special one is recognised. */
static pb_status encode_raw_stretch(const pb_tokenizer *t, text_scratch *w, const char *text,
                                    size_t length, bool first, bool plain, pb_ids *out)
{
    scratch_set(w, text, length);
    PB_TRY(steps_run(&t->normalizer, w));
    if (w->length == 0) {
        return PB_OK;
    }
    if (t->added.after.count == 0) {
        return encode_stretch(t, w, first, out);
    }
    const char *normalised = w->text;
    int holder             = w->holder;
    text_plain range       = {0, plain ? SIZE_MAX : 0};

    w->normalised.count = 0;
    PB_TRY(added_find(&t->added, &t->added.after, w->text, w->length, range, &w->normalised));
    w->pinned = holder;
    for (size_t i = 0; i < w->normalised.count; i++) {
        text_span span = w->normalised.items[i];
        if (span.id >= 0) {
            PB_TRY(pb_ids_append(out, span.id));
            continue;
        }
        scratch_set(w, normalised + span.begin, span.end - span.begin);
        PB_TRY(encode_stretch(t, w, first && span.first, out));
    }
    w->pinned = SCRATCH_OUTSIDE;
    return PB_OK;
}

static pb_status encode_text(const pb_tokenizer *t, text_scratch *w, const char *text,
                             size_t length, text_plain plain, pb_ids *out)
{
    w->raw.count = 0;
    PB_TRY(added_find(&t->added, &t->added.raw, text, length, plain, &w->raw));
    for (size_t i = 0; i < w->raw.count; i++) {
        text_span span = w->raw.items[i];
        if (span.id >= 0) {
            PB_TRY(pb_ids_append(out, span.id));
            continue;
        }
        bool in_plain = span.begin < plain.end && span.end > plain.begin;
        PB_TRY(encode_raw_stretch(t, w, text + span.begin, span.end - span.begin, span.first,
                                  in_plain, out));
    }
    return PB_OK;
}

pb_status tokenizer_encode_mixed(const pb_tokenizer *t, const char *text, size_t length,
                                 text_plain plain, bool special, pb_ids *out)
{
    text_scratch *w  = NULL;
    size_t bad       = 0;
    int64_t count    = out->count;
    pb_status status = PB_OK;

    if (!pb_utf8_is_valid(text, length, &bad)) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "tokenizer: the text is not valid UTF-8 at byte %zu of %zu; convert it", bad,
                       length);
    }
    PB_TRY(tokenizer_borrow(t, &w));
    if (special) {
        PB_TRY_GOTO(status, pb_ids_extend(out, t->post.before.items, t->post.before.count),
                    err_return);
    }
    PB_TRY_GOTO(status, encode_text(t, w, text, length, plain, out), err_return);
    if (special) {
        PB_TRY_GOTO(status, pb_ids_extend(out, t->post.behind.items, t->post.behind.count),
                    err_return);
    }

err_return:
    tokenizer_return(t, w);
    if (status != PB_OK) {
        out->count = count;
    }
    return status;
}

pb_status pb_tokenizer_encode(const pb_tokenizer *t, const char *text, size_t length, bool special,
                              pb_ids *out)
{
    return tokenizer_encode_mixed(t, text, length, (text_plain){0, 0}, special, out);
}

/* The text of a token, which may hold U+0000. */
static const char *token_text(const pb_tokenizer *t, int32_t id, size_t *length)
{
    const char *text = lexicon_text(&t->added.texts, id, length);
    return text != NULL ? text : lexicon_text(&t->vocabulary, id, length);
}

/* The text that a token is decoded from; NULL when it has none or is skipped. */
static const char *decoded_text(const pb_tokenizer *t, int32_t id, bool skip_special,
                                size_t *length)
{
    const added_token *token = added_of(&t->added, id);

    if (token != NULL && skip_special && token->special) {
        return NULL;
    }
    if (token != NULL && token->normal != NULL) {
        *length = token->normal_length;
        return token->normal;
    }
    return token_text(t, id, length);
}

/* The tokens in a row; without a decoder they are separated by a space. */
static pb_status decode_tokens(const pb_tokenizer *t, text_scratch *w, const int32_t *ids,
                               int64_t count, bool skip_special)
{
    pb_string *text = scratch_spare(w);

    w->spans.count = 0;
    w->other.count = 0;
    for (int64_t i = 0; i < count; i++) {
        size_t length     = 0;
        const char *token = decoded_text(t, ids[i], skip_special, &length);
        if (ids[i] < 0) {
            return PB_FAIL(PB_ERR_ARGUMENT,
                           "tokenizer: id %" PRId32 " at place %" PRId64
                           " is negative; ids begin at 0",
                           ids[i], i);
        }
        if (token == NULL) {
            continue;
        }
        if (!t->has_decoder && w->spans.count > 0) {
            PB_TRY(pb_string_puts(text, " "));
        }
        size_t begin = text->length;
        PB_TRY(pb_string_append(text, token, length));
        PB_TRY(spans_push(&w->spans, (text_span){begin, text->length, -1, false}));
    }
    scratch_adopt(w, text);
    return t->has_decoder ? steps_run(&t->decoder, w) : PB_OK;
}

pb_status pb_tokenizer_decode(const pb_tokenizer *t, const int32_t *ids, int64_t count,
                              bool skip_special, pb_string *out)
{
    text_scratch *w  = NULL;
    pb_status status = PB_OK;

    PB_TRY(tokenizer_borrow(t, &w));
    PB_TRY_GOTO(status, decode_tokens(t, w, ids, count, skip_special), err_return);
    PB_TRY_GOTO(status, pb_string_append(out, w->text, w->length), err_return);

err_return:
    tokenizer_return(t, w);
    return status;
}

int64_t pb_tokenizer_size(const pb_tokenizer *t)
{
    return t->size;
}

bool pb_tokenizer_id(const pb_tokenizer *t, const char *token, int32_t *id)
{
    int32_t found = lexicon_find(&t->added.texts, token, strlen(token));

    if (found < 0) {
        found = lexicon_find(&t->vocabulary, token, strlen(token));
    }
    if (found >= 0) {
        *id = found;
    }
    return found >= 0;
}

const char *pb_tokenizer_token(const pb_tokenizer *t, int32_t id)
{
    return token_text(t, id, NULL);
}

int32_t pb_tokenizer_bos(const pb_tokenizer *t)
{
    return t->bos;
}

int32_t pb_tokenizer_eos(const pb_tokenizer *t)
{
    return t->eos;
}

int32_t pb_tokenizer_pad(const pb_tokenizer *t)
{
    return t->pad;
}

const pb_ids *pb_tokenizer_additional(const pb_tokenizer *t)
{
    return &t->additional;
}

const char *pb_tokenizer_chat_template(const pb_tokenizer *t, const char **file)
{
    *file = t->chat_file;
    return t->chat_template.data;
}

const char *pb_tokenizer_hash(const pb_tokenizer *t)
{
    return t->hash;
}
