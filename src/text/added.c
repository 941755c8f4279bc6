// SPDX-License-Identifier: Apache-2.0
/* Reads added tokens into two tries and finds them: leftmost first, then longest. */
#include "added.h"

#include "unicode.h"

#include "pb/memory.h"
#include "pb/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static pb_status add_node(text_trie *trie, uint8_t byte, int32_t sibling, int32_t *out)
{
    PB_TRY(PB_GROW(trie->nodes, trie->count + 1));
    *out                      = (int32_t)trie->count++;
    trie->nodes[*out].byte    = byte;
    trie->nodes[*out].child   = -1;
    trie->nodes[*out].sibling = sibling;
    trie->nodes[*out].token   = -1;
    return PB_OK;
}

static int32_t find_child(const text_trie *trie, int32_t node, uint8_t byte)
{
    int32_t child = trie->nodes[node].child;

    while (child >= 0 && trie->nodes[child].byte != byte) {
        child = trie->nodes[child].sibling;
    }
    return child;
}

/* A text that another token already has is refused: which one is meant cannot be known. */
static pb_status trie_put(text_trie *trie, const char *text, size_t length, int32_t token)
{
    int32_t node = -1;

    for (size_t i = 0; i < length; i++) {
        uint8_t byte = (uint8_t)text[i];
        int32_t next = node < 0 ? trie->roots[byte] : find_child(trie, node, byte);
        if (next < 0) {
            PB_TRY(add_node(trie, byte, node < 0 ? -1 : trie->nodes[node].child, &next));
            if (node < 0) {
                trie->roots[byte] = next;
            } else {
                trie->nodes[node].child = next;
            }
        }
        node = next;
    }
    if (node >= 0 && trie->nodes[node].token >= 0) {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "added_tokens[%" PRId32 "]: its normalised text is also that of "
                       "added_tokens[%" PRId32 "]; use a tokenizer without one of them",
                       token, trie->nodes[node].token);
    }
    if (node >= 0) {
        trie->nodes[node].token = token;
    }
    return PB_OK;
}

/* The longest token that begins at `at`: its index and its end, -1 when there is none. */
static int32_t trie_longest(const text_trie *trie, const char *text, size_t length, size_t at,
                            size_t *end)
{
    int32_t node  = trie->roots[(uint8_t)text[at]];
    int32_t token = -1;

    while (node >= 0) {
        at++;
        if (trie->nodes[node].token >= 0) {
            token = trie->nodes[node].token;
            *end  = at;
        }
        node = at < length ? find_child(trie, node, (uint8_t)text[at]) : -1;
    }
    return token;
}

static bool is_single_word(const char *text, size_t length, size_t begin, size_t end)
{
    size_t size = 0;

    if (begin > 0 && unicode_is_word(pb_utf8_decode(text + pb_utf8_before(text, begin), &size))) {
        return false;
    }
    return end == length || !unicode_is_word(pb_utf8_decode(text + end, &size));
}

static size_t space_before(const char *text, size_t at)
{
    while (at > 0) {
        size_t size   = 0;
        size_t before = pb_utf8_before(text, at);
        if (!unicode_is_space(pb_utf8_decode(text + before, &size))) {
            break;
        }
        at = before;
    }
    return at;
}

static size_t space_after(const char *text, size_t length, size_t at)
{
    size_t size = 0;

    while (at < length && unicode_is_space(pb_utf8_decode(text + at, &size))) {
        at += size;
    }
    return at;
}

/* As in HF, the search continues after the match itself, not after the white space that it absorbs,
 * so a token of white space may be found inside the absorbed part. */
pb_status added_find(const text_added *added, const text_trie *trie, const char *text,
                     size_t length, text_plain plain, text_spans *out)
{
    size_t done = 0;

    for (size_t at = 0; trie->count > 0 && at < length;) {
        if (trie->roots[(uint8_t)text[at]] < 0) {
            at++;
            continue;
        }
        size_t begin  = at;
        size_t end    = at;
        int32_t index = trie_longest(trie, text, length, at, &end);
        if (index < 0) {
            at++;
            continue;
        }
        const added_token *token = &added->tokens[index];
        at                       = end;
        if (token->special && begin < plain.end && end > plain.begin) {
            continue;
        }
        if (token->single_word && !is_single_word(text, length, begin, end)) {
            continue;
        }
        if (token->left) {
            size_t space = space_before(text, begin);
            begin        = space > done ? space : done;
        }
        if (token->right) {
            end = space_after(text, length, end);
        }
        if (token->left && begin >= end) {
            continue; /* the previous token absorbed all of it */
        }
        if (done < begin) {
            PB_TRY(spans_push(out, (text_span){done, begin, -1, done == 0}));
        }
        PB_TRY(spans_push(out, (text_span){begin, end, token->id, begin == 0}));
        done = end;
    }
    if (done < length) {
        PB_TRY(spans_push(out, (text_span){done, length, -1, done == 0}));
    }
    return PB_OK;
}

/* The array of added tokens; NULL when absent. */
static pb_status get_list(const json_t *root, json_t **out)
{
    return text_json_array(root, "tokenizer", "added_tokens", out);
}

pb_status added_measure(const json_t *root, int64_t *highest, int64_t *count, size_t *bytes)
{
    json_t *list = NULL;

    PB_TRY(get_list(root, &list));
    *highest = -1;
    *count   = (int64_t)json_array_size(list);
    *bytes   = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        char place[PLACE_SIZE];
        json_text content  = {0};
        int64_t id         = 0;
        const json_t *node = json_array_get(list, i);
        (void)snprintf(place, sizeof place, "added_tokens[%zu]", i);
        PB_TRY(json_only(node, place, "id content single_word lstrip rstrip normalized special"));
        PB_TRY(text_json_integer(node, place, "id", -1, &id));
        PB_TRY(json_text_of(node, place, "content", &content));
        if (id < 0 || id >= INT32_MAX) {
            return PB_FAIL(PB_ERR_FORMAT, "%s.id: an id from 0 to 2^31 - 2 is expected", place);
        }
        if (content.length == 0) {
            return PB_FAIL(PB_ERR_FORMAT, "%s.content: the text of the token is empty", place);
        }
        *bytes += content.length;
        *highest = id > *highest ? id : *highest;
    }
    return PB_OK;
}

/* Two tokens with the same id or text could not be distinguished later. */
static pb_status check_unique(const text_added *added, const text_lexicon *vocabulary,
                              json_text content, int64_t id, const char *place)
{
    int32_t known     = lexicon_find(vocabulary, content.data, content.length);
    const char *owner = lexicon_text(vocabulary, id, NULL);

    if (known >= 0 && known != id) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s: \"%.*s\" has id %" PRId64 " here and %" PRId32
                       " in model.vocab; fetch the tokenizer again",
                       place, PB_FIT(content.data, 60), id, known);
    }
    if (known < 0 && owner == NULL) {
        owner = lexicon_text(&added->texts, id, NULL);
    }
    if (known < 0 && owner != NULL) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s: the id %" PRId64 " of \"%.*s\" belongs to \"%.*s\" already; fetch the "
                       "tokenizer again",
                       place, id, PB_FIT(content.data, 60), PB_FIT(owner, 60));
    }
    if (lexicon_find(&added->texts, content.data, content.length) >= 0) {
        return PB_FAIL(PB_ERR_FORMAT, "%s: \"%.*s\" occurs twice; fetch the tokenizer again", place,
                       PB_FIT(content.data, 60));
    }
    return PB_OK;
}

static pb_status read_token(const json_t *node, const char *place, const text_lexicon *vocabulary,
                            text_added *added)
{
    json_text content  = {0};
    int64_t id         = 0;
    added_token *token = &added->tokens[added->count];

    PB_TRY(text_json_integer(node, place, "id", -1, &id));
    PB_TRY(json_text_of(node, place, "content", &content));
    PB_TRY(check_unique(added, vocabulary, content, id, place));
    token->id = (int32_t)id;
    PB_TRY(json_bool(node, place, "special", false, &token->special));
    PB_TRY(json_bool(node, place, "single_word", false, &token->single_word));
    PB_TRY(json_bool(node, place, "lstrip", false, &token->left));
    PB_TRY(json_bool(node, place, "rstrip", false, &token->right));
    PB_TRY(json_bool(node, place, "normalized", !token->special, &token->normalized));
    (void)lexicon_put(&added->texts, token->id, content.data, content.length);
    added->count++;
    return PB_OK;
}

/* A token found in normalised text is searched for in its own normalised form. */
static pb_status enter_token(const text_steps *normalizer, text_scratch *scratch, text_added *added,
                             size_t index)
{
    size_t length    = 0;
    const char *text = lexicon_text(&added->texts, added->tokens[index].id, &length);

    added_token *token = &added->tokens[index];

    if (!token->normalized) {
        return trie_put(&added->raw, text, length, (int32_t)index);
    }
    scratch_set(scratch, text, length);
    PB_TRY(steps_run(normalizer, scratch));
    if (scratch->length != length || memcmp(scratch->text, text, length) != 0) {
        PB_TRY(PB_ALLOC(token->normal, scratch->length + 1));
        memcpy(token->normal, scratch->text, scratch->length);
        token->normal_length = scratch->length;
    }
    return trie_put(&added->after, scratch->text, scratch->length, (int32_t)index);
}

pb_status added_parse(const json_t *root, int64_t size, const text_lexicon *vocabulary,
                      const text_steps *normalizer, text_scratch *scratch, text_added *out)
{
    json_t *list     = NULL;
    int64_t highest  = 0;
    int64_t count    = 0;
    size_t bytes     = 0;
    pb_status status = PB_OK;

    *out = (text_added){0};
    for (int b = 0; b < 256; b++) {
        out->raw.roots[b]   = -1;
        out->after.roots[b] = -1;
    }
    PB_TRY(get_list(root, &list));
    PB_TRY(added_measure(root, &highest, &count, &bytes));
    PB_TRY_GOTO(status, lexicon_create(&out->texts, size, count, bytes), err_clear);
    PB_TRY_GOTO(status, PB_ALLOC(out->tokens, count), err_clear);
    for (size_t i = 0; i < (size_t)count; i++) {
        char place[PLACE_SIZE];
        (void)snprintf(place, sizeof place, "added_tokens[%zu]", i);
        PB_TRY_GOTO(status, read_token(json_array_get(list, i), place, vocabulary, out), err_clear);
        PB_TRY_GOTO(status, enter_token(normalizer, scratch, out, i), err_clear);
    }
    return PB_OK;

err_clear:
    added_clear(out);
    return status;
}

const added_token *added_of(const text_added *added, int64_t id)
{
    if (lexicon_text(&added->texts, id, NULL) == NULL) {
        return NULL;
    }
    size_t i = 0;
    while (added->tokens[i].id != id) {
        i++;
    }
    return &added->tokens[i];
}

void added_clear(text_added *added)
{
    for (size_t i = 0; i < added->count; i++) {
        pb_memory_free(added->tokens[i].normal);
    }
    pb_memory_free(added->tokens);
    pb_memory_free(added->raw.nodes);
    pb_memory_free(added->after.nodes);
    lexicon_clear(&added->texts);
    *added = (text_added){0};
}
