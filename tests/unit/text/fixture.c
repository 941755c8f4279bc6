// SPDX-License-Identifier: Apache-2.0
#include "fixture.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[256];

const char *fixture_folder(void)
{
    if (folder[0] == '\0') {
        const char *base = getenv("TMPDIR");
        (void)snprintf(folder, sizeof folder, "%s/pb-text-XXXXXX", base != NULL ? base : "/tmp");
        assert_non_null(mkdtemp(folder));
    }
    return folder;
}

static const char *path_of(const char *name)
{
    static char path[512];

    (void)snprintf(path, sizeof path, "%s/%s", fixture_folder(), name);
    return path;
}

void fixture_write(const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(path_of(name), "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

void fixture_delete(const char *name)
{
    (void)unlink(path_of(name));
}

int fixture_remove(void **state)
{
    static const char *const names[] = {
        "tokenizer.json",          "tokenizer_config.json", "vocab.json",       "merges.txt",
        "special_tokens_map.json", "tokenizer.model",       "added_tokens.json"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        fixture_delete(names[i]);
    }
    assert_int_equal(rmdir(fixture_folder()), 0);
    folder[0] = '\0';
    return returns_all_bytes(state);
}

pb_tokenizer *fixture_open(const char *json)
{
    pb_tokenizer *t = NULL;

    fixture_write("tokenizer.json", json, strlen(json));
    assert_ok(pb_tokenizer_open(fixture_folder(), &t));
    return t;
}

/* True if the first `upto` bytes of the list already contain the piece. */
static bool is_repeated(const char *list, size_t upto, const char *piece, size_t length)
{
    for (size_t at = 0; at < upto;) {
        size_t size = strcspn(list + at, "|");
        if (size == length && memcmp(list + at, piece, length) == 0) {
            return true;
        }
        at += size + 1;
    }
    return false;
}

/* True if the added tokens include this one. */
static bool is_added(const char *added, const char *piece, size_t length)
{
    char content[128];

    (void)snprintf(content, sizeof content, "\"content\": \"%.*s\"", (int)length, piece);
    return strstr(added, content) != NULL;
}

static void append_vocabulary(pb_string *json, const char *added, const char *pieces)
{
    int64_t id  = 1000;
    size_t size = strlen(pieces);

    for (size_t at = 0; at < size;) {
        size_t length = strcspn(pieces + at, "|");
        if (!is_repeated(pieces, at, pieces + at, length) &&
            !is_added(added, pieces + at, length)) {
            assert_ok(pb_string_puts(json, id > 1000 ? ", " : ""));
            assert_ok(pb_string_json(json, pieces + at, length));
            assert_ok(pb_string_printf(json, ": %" PRId64, id++));
        }
        at += length + 1;
    }
}

void fixture_check_pieces(const char *stages, const char *added, const char *text,
                          const char *expected)
{
    pb_string json  = {0};
    pb_string found = {0};
    pb_ids ids      = {0};

    assert_ok(pb_string_printf(&json,
                               "{\"added_tokens\": [%s], %s%s\"model\": {\"type\": \"BPE\", "
                               "\"ignore_merges\": true, \"merges\": [], \"vocab\": {",
                               added, stages, *stages != '\0' ? ", " : ""));
    append_vocabulary(&json, added, expected);
    assert_ok(pb_string_puts(&json, "}}}"));
    pb_tokenizer *t = fixture_open(json.data);
    assert_ok(pb_tokenizer_encode(t, text, strlen(text), false, &ids));
    for (int64_t i = 0; i < ids.count; i++) {
        assert_ok(pb_string_printf(&found, "%s%s", i > 0 ? "|" : "",
                                   pb_tokenizer_token(t, ids.items[i])));
    }
    assert_string_equal(found.data == NULL ? "" : found.data, expected);
    pb_ids_clear(&ids);
    pb_string_clear(&json);
    pb_string_clear(&found);
    pb_tokenizer_close(t);
}

void fixture_check_ids(const pb_tokenizer *t, const char *text, bool special, const char *expected)
{
    pb_string found = {0};
    pb_ids ids      = {0};

    assert_ok(pb_tokenizer_encode(t, text, strlen(text), special, &ids));
    for (int64_t i = 0; i < ids.count; i++) {
        assert_ok(pb_string_printf(&found, "%s%" PRId32, i > 0 ? " " : "", ids.items[i]));
    }
    assert_string_equal(found.data == NULL ? "" : found.data, expected);
    pb_ids_clear(&ids);
    pb_string_clear(&found);
}
