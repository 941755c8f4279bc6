// SPDX-License-Identifier: Apache-2.0
/* Finds and parses the files. The older layouts (vocab.json and merges.txt of GPT-2,
 * tokenizer.model of SentencePiece) are converted to the form of a tokenizer.json, so that only
 * that form has to be parsed. */
#include "source.h"

#include "compose.h"
#include "declared.h"

#include "pb/file.h"
#include "pb/json.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of the largest file read. */
#define MAX_FILE ((size_t)1 << 28)

/* Reads a file of the folder into the hash. */
static pb_status read_file(const char *directory, const char *name, pb_hash *hash, char **path,
                           pb_string *out)
{
    PB_TRY(pb_path_join(directory, name, path));
    PB_TRY(pb_file_read(*path, MAX_FILE, out));
    PB_TRY(pb_hash_update_text(hash, name));
    return PB_FRAME(pb_hash_update(hash, out->data, out->length));
}

static pb_status read_json(const char *directory, const char *name, pb_hash *hash, size_t flags,
                           char **path, json_t **out)
{
    pb_string text   = {0};
    pb_status status = PB_OK;

    PB_TRY_GOTO(status, read_file(directory, name, hash, path, &text), err_clear);
    PB_TRY_GOTO(status, pb_json_parse(*path, &text, JSON_ALLOW_NUL | flags, out), err_clear);

err_clear:
    pb_string_clear(&text);
    return status;
}

/* Its numbers do not matter here, and "no maximum length" is often written as 10^30, which fits no
 * integer type: they are read as real numbers. */
static pb_status read_optional(const char *directory, const char *name, pb_hash *hash, json_t **out)
{
    char *path       = NULL;
    bool exists      = false;
    pb_status status = PB_OK;

    PB_TRY(pb_path_has(directory, name, &exists));
    if (exists) {
        status = read_json(directory, name, hash, JSON_DECODE_INT_AS_REAL, &path, out);
        pb_memory_free(path);
    }
    return status;
}

/* One merge a line; the first line may name a version. */
static pb_status parse_merges(const char *path, const pb_string *text, json_t *out)
{
    size_t at    = 0;
    int64_t line = 0;

    while (at < text->length) {
        const char *begin = text->data + at;
        const char *stop  = memchr(begin, '\n', text->length - at);
        size_t length     = stop == NULL ? text->length - at : (size_t)(stop - begin);
        at += length + 1;
        line++;
        if (length > 0 && begin[length - 1] == '\r') {
            length--;
        }
        if (length == 0 || (length >= 9 && memcmp(begin, "#version:", 9) == 0)) {
            continue;
        }
        if (json_array_append_new(out, json_stringn(begin, length)) != 0) {
            return PB_FAIL(PB_ERR_FORMAT, "%s:%" PRId64 ": not valid UTF-8; fetch the file again",
                           path, line);
        }
    }
    return PB_OK;
}

static pb_status read_two_files(const char *directory, pb_hash *hash, text_source *out)
{
    char *merges_path = NULL;
    pb_string text    = {0};
    json_t *vocab     = NULL;
    json_t *merges    = json_array();
    pb_status status  = PB_OK;

    PB_TRY_GOTO(status, read_json(directory, "vocab.json", hash, 0, &out->path, &vocab), err_clear);
    PB_TRY_GOTO(status, read_file(directory, "merges.txt", hash, &merges_path, &text), err_clear);
    PB_TRY_GOTO(status, parse_merges(merges_path, &text, merges), err_clear);
    PB_TRY_GOTO(status, compose_two_files(out, vocab, merges, &out->root), err_clear);

err_clear:
    json_decref(vocab);
    json_decref(merges);
    pb_string_clear(&text);
    pb_memory_free(merges_path);
    return status;
}

/* Lines of base64 and a rank, as tiktoken has them: Llama 3's original folder holds them under the
 * name of a SentencePiece model. */
static bool is_tiktoken(const pb_string *bytes)
{
    static const char base64[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    size_t token = bytes->length > 0 ? strspn(bytes->data, base64) : 0;

    return token > 0 && token % 4 == 0 && bytes->data[token] == ' ' &&
           strspn(bytes->data + token + 1, "0123456789") > 0;
}

static pb_status check_sentencepiece(const pb_string *bytes)
{
    const char *instead = pb_file_failed_download(bytes->data, bytes->length);

    if (instead != NULL && bytes->length > 0) {
        return PB_FAIL(PB_ERR_FORMAT, "the file %s; download it again", instead);
    }
    if (is_tiktoken(bytes)) {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "the file holds ranks of tiktoken, not a SentencePiece model; put the "
                       "tokenizer.json of the checkpoint in Hugging Face layout beside it");
    }
    return PB_OK;
}

static pb_status read_sentencepiece(const char *directory, pb_hash *hash, text_source *out)
{
    pb_string bytes  = {0};
    sentencepiece sp = {0};
    pb_status status = PB_OK;

    PB_TRY_GOTO(status, read_file(directory, "tokenizer.model", hash, &out->path, &bytes),
                err_clear);
    PB_TRY_GOTO(status, check_sentencepiece(&bytes), err_path);
    PB_TRY_GOTO(status,
                sentencepiece_parse(bytes.data == NULL ? "" : bytes.data, bytes.length, &sp),
                err_path);
    PB_TRY_GOTO(status, compose_sentencepiece(out, &sp, &out->root), err_path);

err_path:
    status = pb_error_prefix(status, "%s", out->path);
err_clear:
    sentencepiece_clear(&sp);
    pb_string_clear(&bytes);
    return status;
}

/* Names files in another form. */
static pb_status fail_missing(const char *directory)
{
    static const struct {
        const char *pattern, *what;
    } forms[] = {
        {"tekken.json", "Mistral's own form"}, {"*.tiktoken", "of tiktoken"},
        {"vocab.txt", "of WordPiece"},         {"*.model", "a SentencePiece model of another name"},
        {"*.spm", "of SentencePiece"},         {"vocab.bpe", "GPT-2's first form"},
        {"merges.txt", "without vocab.json"},  {"*.gguf", "of llama.cpp"},
    };
    char *name       = NULL;
    size_t i         = 0;
    pb_status status = PB_OK;

    for (; pb_path_is_directory(directory) && i < sizeof forms / sizeof *forms && name == NULL;
         i++) {
        PB_TRY(pb_path_match(directory, forms[i].pattern, &name));
    }
    if (name == NULL) {
        return PB_FAIL(PB_ERR_NOT_FOUND,
                       "%s: no tokenizer.json there, nor vocab.json and merges.txt, nor "
                       "tokenizer.model; put a checkpoint's tokenizer.json into it",
                       directory);
    }
    status =
        PB_FAIL(PB_ERR_NOT_FOUND,
                "%s: no tokenizer.json there, but %s (%s), which is not read here; transformers "
                "makes a tokenizer.json where it can: "
                "AutoTokenizer.from_pretrained(\"%s\").save_pretrained(\"NEW\")",
                directory, name, forms[i - 1].what, directory);
    pb_memory_free(name);
    return status;
}

static pb_status read_main(const char *directory, pb_hash *hash, text_source *out, bool *composed)
{
    bool has_one   = false;
    bool has_vocab = false;
    bool has_model = false;

    PB_TRY(pb_path_has(directory, "tokenizer.json", &has_one));
    *composed = !has_one;
    if (has_one) {
        return read_json(directory, "tokenizer.json", hash, 0, &out->path, &out->root);
    }
    PB_TRY(pb_path_has(directory, "vocab.json", &has_vocab));
    if (has_vocab) {
        return read_two_files(directory, hash, out);
    }
    PB_TRY(pb_path_has(directory, "tokenizer.model", &has_model));
    if (has_model) {
        return read_sentencepiece(directory, hash, out);
    }
    return fail_missing(directory);
}

/* A separate file takes precedence over the key of the configuration, as in transformers. The
 * template changes no ids, so it is not part of the hash. */
static pb_status read_chat_template(const char *directory, text_source *out)
{
    static const char *const names[] = {"chat_template.jinja", "chat_template.json"};
    const json_t *own                = json_object_get(out->config, "chat_template");

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path       = NULL;
        pb_status status = PB_OK;
        PB_TRY(pb_path_join(directory, names[i], &path));
        if (pb_path_exists(path)) {
            out->chat_file = names[i];
            status         = pb_file_read(path, MAX_FILE, &out->chat_template);
        }
        pb_memory_free(path);
        if (status != PB_OK || out->chat_file != NULL) {
            return status;
        }
    }
    if (json_string_length(own) == 0 && json_array_size(own) == 0) {
        return PB_OK;
    }
    char *text = json_dumps(own, JSON_ENCODE_ANY);
    if (text == NULL) {
        return PB_FAIL(PB_ERR_MEMORY, "out of memory for the chat template of %s", directory);
    }
    out->chat_file   = "tokenizer_config.json";
    pb_status status = pb_string_puts(&out->chat_template, text);
    free(text);
    return status;
}

pb_status source_read(const char *directory, text_source *out)
{
    pb_hash *hash    = NULL;
    bool composed    = false;
    pb_status status = PB_OK;

    *out = (text_source){0};
    PB_TRY(pb_hash_create(&hash));
    PB_TRY_GOTO(status, read_optional(directory, "tokenizer_config.json", hash, &out->config),
                err_destroy);
    PB_TRY_GOTO(status, read_optional(directory, "special_tokens_map.json", hash, &out->map),
                err_destroy);
    PB_TRY_GOTO(status, read_chat_template(directory, out), err_destroy);
    PB_TRY_GOTO(status, declared_names(out), err_destroy);
    PB_TRY_GOTO(status, read_main(directory, hash, out, &composed), err_destroy);
    PB_TRY_GOTO(status, read_optional(directory, "added_tokens.json", hash, &out->added),
                err_destroy);
    status = declared_apply(out, composed);
    if (status != PB_OK) {
        status = pb_error_prefix(status, "%s", directory);
        goto err_destroy;
    }
    PB_TRY_GOTO(status, pb_hash_finish(hash, out->hash), err_destroy);

err_destroy:
    pb_hash_destroy(hash);
    if (status != PB_OK) {
        source_clear(out);
    }
    return status;
}

void source_clear(text_source *source)
{
    json_decref(source->root);
    json_decref(source->config);
    json_decref(source->map);
    json_decref(source->added);
    json_decref(source->names);
    pb_string_clear(&source->chat_template);
    pb_memory_free(source->path);
    *source = (text_source){0};
}
