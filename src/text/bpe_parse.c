// SPDX-License-Identifier: Apache-2.0
/* Reading the model: options, the table of merges, and which tokens a whole piece may be looked
 * up as. */
#include "bpe.h"

#include "unicode.h"

#include "pb/memory.h"
#include "pb/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* One merge: two tokens of the vocabulary, and their concatenation, which must be one too. */
static pb_status read_merge(const text_bpe *bpe, size_t index, json_text left, json_text right,
                            pb_string *joined, text_merge *out)
{
    int32_t left_id  = lexicon_find(bpe->vocabulary, left.data, left.length);
    int32_t right_id = lexicon_find(bpe->vocabulary, right.data, right.length);

    if (left_id < 0 || right_id < 0) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "model.merges[%zu]: the token \"%.*s\" is not in model.vocab; fetch the "
                       "tokenizer again",
                       index, PB_FIT(left_id < 0 ? left.data : right.data, 60));
    }
    joined->length = 0;
    PB_TRY(pb_string_append(joined, left.data, left.length));
    PB_TRY(pb_string_append(joined, right.data, right.length));
    out->id = lexicon_find(bpe->vocabulary, joined->data, joined->length);
    if (out->id < 0) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "model.merges[%zu]: the merged token \"%.*s\" is not in model.vocab; fetch "
                       "the tokenizer again",
                       index, PB_FIT(joined->data, 60));
    }
    out->key  = (uint64_t)(uint32_t)left_id << 32 | (uint32_t)right_id;
    out->rank = (uint32_t)index;
    return PB_OK;
}

/* A merge is "left right" or ["left", "right"]. `copy` holds the parts of the former. */
static pb_status split_merge(const json_t *node, size_t index, pb_string *copy, json_text *left,
                             json_text *right)
{
    if (json_is_array(node)) {
        const json_t *a = json_array_get(node, 0);
        const json_t *b = json_array_get(node, 1);
        if (json_array_size(node) != 2 || !json_is_string(a) || !json_is_string(b)) {
            return PB_FAIL(PB_ERR_FORMAT, "model.merges[%zu]: two strings are expected", index);
        }
        *left  = (json_text){json_string_value(a), json_string_length(a)};
        *right = (json_text){json_string_value(b), json_string_length(b)};
        return PB_OK;
    }
    if (!json_is_string(node)) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "model.merges[%zu]: a string or two strings are expected, found %s", index,
                       pb_json_kind(node));
    }
    copy->length = 0;
    PB_TRY(pb_string_append(copy, json_string_value(node), json_string_length(node)));
    char *space = memchr(copy->data, ' ', copy->length);
    if (space == NULL || memchr(space + 1, ' ', copy->length - (space + 1 - copy->data)) != NULL) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "model.merges[%zu]: two tokens and one space are expected, found \"%.*s\"",
                       index, PB_FIT(copy->data, 60));
    }
    *space = '\0';
    *left  = (json_text){copy->data, (size_t)(space - copy->data)};
    *right = (json_text){space + 1, copy->length - left->length - 1};
    return PB_OK;
}

/* True when the merge joins another character to a following U+2581. */
static bool joins_words(json_text left, json_text right)
{
    static const char start[] = WORD_START;
    const size_t size         = sizeof start - 1;

    return right.length >= size && memcmp(right.data, start, size) == 0 &&
           !(left.length >= size && memcmp(left.data + left.length - size, start, size) == 0);
}

static pb_status create_merges(text_bpe *bpe, size_t count)
{
    size_t slots = 16;

    if (count > UINT32_MAX / 4) {
        return PB_FAIL(PB_ERR_UNSUPPORTED, "model.merges: %zu merges are too many", count);
    }
    while (slots < 2 * count) {
        slots *= 2;
    }
    PB_TRY(PB_ALLOC(bpe->merges, slots));
    for (size_t i = 0; i < slots; i++) {
        bpe->merges[i].key = NO_MERGE;
    }
    bpe->merge_mask = (uint32_t)(slots - 1);
    return PB_OK;
}

/* If a pair has two merges, the later one counts, as in HF. */
static pb_status read_merges(const json_t *model, text_bpe *bpe)
{
    pb_string copy   = {0};
    pb_string joined = {0};
    json_t *list     = NULL;
    pb_status status = PB_OK;

    PB_TRY_GOTO(status, text_json_array(model, "model", "merges", &list), err_clear);
    if (list == NULL) {
        status = PB_FAIL(PB_ERR_FORMAT, "model.merges: an array is expected, found nothing");
        goto err_clear;
    }
    PB_TRY_GOTO(status, create_merges(bpe, json_array_size(list)), err_clear);
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_text left   = {0};
        json_text right  = {0};
        text_merge merge = {0};
        PB_TRY_GOTO(status, split_merge(json_array_get(list, i), i, &copy, &left, &right),
                    err_clear);
        PB_TRY_GOTO(status, read_merge(bpe, i, left, right, &joined, &merge), err_clear);
        bpe->splits_words = bpe->splits_words && !joins_words(left, right);
        uint32_t slot     = bpe_hash(merge.key) & bpe->merge_mask;
        while (bpe->merges[slot].key != NO_MERGE && bpe->merges[slot].key != merge.key) {
            slot = (slot + 1) & bpe->merge_mask;
        }
        bpe->merges[slot] = merge;
    }

err_clear:
    pb_string_clear(&copy);
    pb_string_clear(&joined);
    return status;
}

/* Options that are null or empty change nothing; anything else is not supported. */
static pb_status refuse_affixes(const json_t *model)
{
    static const char *const keys[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    const json_t *dropout           = json_object_get(model, "dropout");

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        json_text text = {0};
        PB_TRY(json_text_or_none(model, "model", keys[i], &text));
        if (text.length > 0) {
            return PB_FAIL(PB_ERR_UNSUPPORTED,
                           "model.%s: \"%.*s\" is not supported; use a tokenizer without it",
                           keys[i], PB_FIT(text.data, 60));
        }
    }
    if (dropout != NULL && !json_is_null(dropout) && json_number_value(dropout) != 0.0) {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "model.dropout: the ids would be random; set it to null");
    }
    return PB_OK;
}

static pb_status read_options(const json_t *model, text_bpe *bpe)
{
    json_text unk = {0};

    PB_TRY(json_only(model, "model",
                     "type dropout unk_token continuing_subword_prefix end_of_word_suffix "
                     "fuse_unk byte_fallback ignore_merges vocab merges"));
    PB_TRY(refuse_affixes(model));
    PB_TRY(json_bool(model, "model", "fuse_unk", false, &bpe->fuse_unk));
    PB_TRY(json_bool(model, "model", "byte_fallback", false, &bpe->byte_fallback));
    PB_TRY(json_bool(model, "model", "ignore_merges", false, &bpe->ignore_merges));
    PB_TRY(json_text_or_none(model, "model", "unk_token", &unk));
    bpe->unk = unk.data == NULL ? -1 : lexicon_find(bpe->vocabulary, unk.data, unk.length);
    if (unk.data != NULL && bpe->unk < 0) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "model.unk_token: \"%.*s\" is not in model.vocab; fetch the tokenizer again",
                       PB_FIT(unk.data, 60));
    }
    return PB_OK;
}

/* The ids of single bytes. */
static pb_status find_bytes(text_bpe *bpe)
{
    for (int b = 0; b < 256; b++) {
        char text[8];
        size_t length    = bpe->by_bytes ? pb_utf8_encode(byte_to_char((uint8_t)b), text)
                                         : (size_t)snprintf(text, sizeof text, "<0x%02X>", b);
        bpe->byte_ids[b] = lexicon_find(bpe->vocabulary, text, length);
        if (bpe->by_bytes && bpe->byte_fallback && bpe->byte_ids[b] < 0) {
            return PB_FAIL(PB_ERR_UNSUPPORTED,
                           "model.byte_fallback: not supported beside a ByteLevel pre-tokenizer "
                           "when the vocabulary lacks bytes");
        }
    }
    return PB_OK;
}

/* The vocabulary by bytes; tokens with a character that stands for no byte cannot occur. */
static pb_status create_raw(text_bpe *bpe)
{
    const text_lexicon *v = bpe->vocabulary;
    pb_string bytes       = {0};
    pb_status status      = PB_OK;

    PB_TRY(lexicon_create(&bpe->raw, v->size, (int64_t)v->mask, v->used));
    for (int64_t id = 0; id < v->size; id++) {
        size_t length    = 0;
        const char *text = lexicon_text(v, id, &length);
        int32_t byte     = 0;
        bytes.length     = 0;
        for (size_t at = 0, size = 0; text != NULL && byte >= 0 && at < length; at += size) {
            byte   = char_to_byte(pb_utf8_decode(text + at, &size));
            char c = (char)byte;
            PB_TRY_GOTO(status, pb_string_append(&bytes, &c, byte >= 0), err_clear);
        }
        if (text != NULL && byte >= 0 && length > 0) {
            (void)lexicon_put(&bpe->raw, (int32_t)id, bytes.data, bytes.length);
        }
    }
    bpe->pieces = &bpe->raw;

err_clear:
    pb_string_clear(&bytes);
    return status;
}

/* A token that its own merges make from its text may be taken for a whole piece at once. */
static pb_status find_whole(text_bpe *bpe, text_scratch *scratch)
{
    pb_ids ids       = {0};
    pb_status status = PB_OK;
    bool *whole      = NULL;

    PB_TRY(PB_ALLOC(whole, bpe->vocabulary->size));
    for (int64_t id = 0; id < bpe->vocabulary->size; id++) {
        size_t length    = 0;
        const char *text = lexicon_text(bpe->pieces, id, &length);
        ids.count        = 0;
        if (text == NULL || length == 0) {
            continue;
        }
        if (!bpe->ignore_merges) {
            PB_TRY_GOTO(status, bpe_merge(bpe, scratch, text, length, &ids), err_clear);
        }
        whole[id] = bpe->ignore_merges || (ids.count == 1 && ids.items[0] == id);
    }
    bpe->whole = whole;
    whole      = NULL;

err_clear:
    pb_ids_clear(&ids);
    pb_memory_free(whole);
    return status;
}

pb_status bpe_parse(const json_t *model, const text_lexicon *vocabulary, bool by_bytes,
                    text_scratch *scratch, text_bpe *out)
{
    pb_status status = PB_OK;

    *out = (text_bpe){.vocabulary = vocabulary, .pieces = vocabulary, .by_bytes = by_bytes};
    PB_TRY_GOTO(status, read_options(model, out), err_clear);
    /* The start of a word must be a token, so that a pending unknown one ends there. */
    out->splits_words = !by_bytes && !out->ignore_merges &&
                        lexicon_find(vocabulary, WORD_START, strlen(WORD_START)) >= 0;
    PB_TRY_GOTO(status, read_merges(model, out), err_clear);
    PB_TRY_GOTO(status, find_bytes(out), err_clear);
    if (by_bytes) {
        PB_TRY_GOTO(status, create_raw(out), err_clear);
    }
    PB_TRY_GOTO(status, find_whole(out, scratch), err_clear);
    return PB_OK;

err_clear:
    bpe_clear(out);
    return status;
}

void bpe_clear(text_bpe *bpe)
{
    lexicon_clear(&bpe->raw);
    pb_memory_free(bpe->whole);
    pb_memory_free(bpe->merges);
    bpe->whole  = NULL;
    bpe->merges = NULL;
}
