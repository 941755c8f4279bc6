// SPDX-License-Identifier: Apache-2.0
/* The stages of each layout, and the special tokens that its own files name. */
#include "compose.h"

#include "pb/utf8.h"

#include <string.h>

/* Qwen's expression. */
static const char qwen2_regex[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

static pb_status no_memory(void)
{
    return PB_FAIL(PB_ERR_MEMORY, "out of memory for the tokens of a tokenizer");
}

/* The text of a named special token, NULL when none is named. */
static const char *name_of(const text_source *source, const char *key)
{
    const json_t *value = json_object_get(source->names, key);
    return json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);
}

static bool setting(const text_source *source, const char *key, bool fallback)
{
    const json_t *value = json_object_get(source->config, key);
    return json_is_boolean(value) ? json_is_true(value) : fallback;
}

/* GPT2Tokenizer or Qwen2Tokenizer, with or without the suffix "Fast". */
static pb_status find_class(const text_source *source, bool *qwen2)
{
    const char *class = json_string_value(json_object_get(source->config, "tokenizer_class"));

    *qwen2 = class != NULL && strncmp(class, "Qwen2Tokenizer", 14) == 0;
    if (class != NULL && !*qwen2 && strncmp(class, "GPT2Tokenizer", 13) != 0) {
        return PB_FAIL(
            PB_ERR_UNSUPPORTED,
            "tokenizer_config.json: tokenizer_class \"%.*s\" with vocab.json and "
            "merges.txt is not supported (known: GPT2Tokenizer, Qwen2Tokenizer); put the "
            "tokenizer.json of this model beside them",
            PB_FIT(class, 60));
    }
    return PB_OK;
}

pb_status compose_two_files(const text_source *source, json_t *vocab, json_t *merges, json_t **root)
{
    json_t *before = NULL;
    bool space     = setting(source, "add_prefix_space", false);
    bool qwen2     = false;

    PB_TRY(find_class(source, &qwen2));
    before = json_pack("{s:s, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", space,
                       "use_regex", !qwen2);
    if (qwen2) {
        before = json_pack("{s:s, s:[{s:s, s:{s:s}, s:s, s:b}, o]}", "type", "Sequence",
                           "pretokenizers", "type", "Split", "pattern", "Regex", qwen2_regex,
                           "behavior", "Isolated", "invert", false, before);
    }
    *root = json_pack("{s:[], s:o?, s:o, s:{s:s}, s:{s:s, s:O, s:O}}", "added_tokens", "normalizer",
                      qwen2 ? json_pack("{s:s}", "type", "NFC") : NULL, "pre_tokenizer", before,
                      "decoder", "type", "ByteLevel", "model", "type", "BPE", "vocab", vocab,
                      "merges", merges);
    return *root == NULL ? no_memory() : PB_OK;
}

/* A space is U+2581 in the vocabulary; `prepend`: one is put before each stretch between added
 * tokens. */
static json_t *make_normalizer(const sentencepiece *sp, bool prepend)
{
    json_t *list = json_array();

    if (sp->remove_spaces) {
        (void)json_array_append_new(list,
                                    json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern",
                                              "Regex", "\\A +|[ ▁]+\\z", "content", ""));
        (void)json_array_append_new(list, json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace",
                                                    "pattern", "Regex", " {2,}", "content", " "));
    }
    if (prepend) {
        (void)json_array_append_new(list,
                                    json_pack("{s:s, s:s}", "type", "Prepend", "prepend", "▁"));
    }
    (void)json_array_append_new(list, json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern",
                                                "String", " ", "content", "▁"));
    return json_pack("{s:s, s:o}", "type", "Sequence", "normalizers", list);
}

static json_t *make_decoder(bool prefix)
{
    json_t *list = json_pack("[{s:s, s:{s:s}, s:s}, {s:s}, {s:s}]", "type", "Replace", "pattern",
                             "String", "▁", "content", " ", "type", "ByteFallback", "type", "Fuse");
    if (prefix) {
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip",
                                                    "content", " ", "start", 1, "stop", 0));
    }
    return json_pack("{s:s, s:o}", "type", "Sequence", "decoders", list);
}

/* Adds a special token to a template where the configuration wants and the vocabulary has it. */
static void put_special(const json_t *vocab, const char *content, json_t *single, json_t *tokens)
{
    const json_t *id = json_object_get(vocab, content);

    if (json_is_integer(id)) {
        (void)json_array_append_new(single, json_pack("{s:{s:s}}", "SpecialToken", "id", content));
        (void)json_object_set_new(
            tokens, content,
            json_pack("{s:s, s:[I]}", "id", content, "ids", json_integer_value(id)));
    }
}

static json_t *make_template(const text_source *source, const json_t *vocab)
{
    const char *bos = name_of(source, "bos_token");
    const char *eos = name_of(source, "eos_token");
    json_t *single  = json_array();
    json_t *tokens  = json_object();

    if (setting(source, "add_bos_token", true)) {
        put_special(vocab, bos == NULL ? "<s>" : bos, single, tokens);
    }
    (void)json_array_append_new(single, json_pack("{s:{s:s}}", "Sequence", "id", "A"));
    if (setting(source, "add_eos_token", false)) {
        put_special(vocab, eos == NULL ? "</s>" : eos, single, tokens);
    }
    return json_pack("{s:s, s:o, s:o}", "type", "TemplateProcessing", "single", single,
                     "special_tokens", tokens);
}

/* Text → id of all pieces, and the tokens among them that are found as a whole. */
static pb_status make_vocabulary(const sentencepiece *sp, json_t *vocab, json_t *added)
{
    for (size_t i = 0; i < sp->count; i++) {
        const text_piece *p = &sp->pieces[i];
        char text[PIECE_LIMIT + 1];
        memcpy(text, p->text, p->length);
        text[p->length] = '\0';
        if (json_object_get(vocab, text) != NULL) {
            return PB_FAIL(PB_ERR_FORMAT, "piece %zu: \"%.*s\" occurs twice; fetch the file again",
                           i, PB_FIT(text, 60));
        }
        if (json_object_set_new(vocab, text, json_integer((json_int_t)i)) != 0) {
            return no_memory();
        }
        if (p->type != PIECE_NORMAL && p->type != PIECE_BYTE) {
            json_t *token = json_pack("{s:I, s:s, s:b, s:b}", "id", (json_int_t)i, "content", text,
                                      "special", p->type != PIECE_USER_DEFINED, "normalized", 0);
            if (json_array_append_new(added, token) != 0) {
                return no_memory();
            }
        }
    }
    return PB_OK;
}

pb_status compose_sentencepiece(const text_source *source, const sentencepiece *sp, json_t **root)
{
    json_t *vocab         = json_object();
    json_t *merges        = json_array();
    json_t *added         = json_array();
    json_t *before        = NULL;
    const text_piece *unk = &sp->pieces[sp->unknown];
    bool prefix           = sp->dummy_prefix && setting(source, "add_prefix_space", true);
    bool legacy           = setting(source, "legacy", true);
    pb_status status      = PB_OK;

    PB_TRY_GOTO(status, make_vocabulary(sp, vocab, added), err_release);
    PB_TRY_GOTO(status, compose_merges(sp, merges), err_release);
    if (prefix && !legacy) {
        before = json_pack("{s:s, s:s, s:s, s:b}", "type", "Metaspace", "replacement", "▁",
                           "prepend_scheme", "first", "split", false);
    }
    *root  = json_pack("{s:O, s:o, s:o?, s:o, s:o, s:{s:s, s:O, s:O, s:s%, s:b, s:b}}",
                       "added_tokens", added, "normalizer", make_normalizer(sp, prefix && legacy),
                       "pre_tokenizer", before, "post_processor", make_template(source, vocab),
                       "decoder", make_decoder(prefix), "model", "type", "BPE", "vocab", vocab,
                       "merges", merges, "unk_token", unk->text, unk->length, "fuse_unk", true,
                       "byte_fallback", sp->byte_fallback);
    status = *root == NULL ? no_memory() : PB_OK;

err_release:
    json_decref(vocab);
    json_decref(merges);
    json_decref(added);
    return status;
}
