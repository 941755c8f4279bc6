// SPDX-License-Identifier: Apache-2.0
/* The older layouts of the shared tokenizers, without their tokenizer.json: its vectors hold for
 * them too. */
#include "../../support/support.h"

#include "pb/file.h"
#include "pb/memory.h"
#include "pb/tokenizer.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct layout {
    const char *folder;
    const char *files[3];
    const char *config; /* tokenizer_config.json; NULL: that of the folder */
    size_t least;       /* vectors that must agree */
} layout;

/* The tokenizer.json of Llama 2 is of the legacy kind, although its configuration says
 * otherwise. */
static const char legacy[] =
    "{\"legacy\": true, \"bos_token\": \"<s>\", \"eos_token\": \"</s>\", \"add_bos_token\": true}";

static const layout layouts[] = {
    {"llama2", {"tokenizer.model"}, legacy, 450},
    {"mistral-v0.3", {"tokenizer.model"}, NULL, 450},
    {"gemma-style", {"tokenizer.model"}, NULL, 450},
    {"qwen3", {"vocab.json", "merges.txt"}, NULL, 450},
    {"gpt2", {"vocab.json", "merges.txt"}, NULL, 350},
};

static char temporary[256];

static const char *in_temporary(const char *name)
{
    static char path[512];

    (void)snprintf(path, sizeof path, "%s/%s", temporary, name);
    return path;
}

static void make_folder(const layout *l)
{
    const char *base = getenv("TMPDIR");

    (void)snprintf(temporary, sizeof temporary, "%s/pb-layout-XXXXXX",
                   base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(temporary));
    for (size_t i = 0; i < 3 && l->files[i] != NULL; i++) {
        assert_int_equal(symlink(shared_path("tokenizers/%s/%s", l->folder, l->files[i]),
                                 in_temporary(l->files[i])),
                         0);
    }
    if (l->config == NULL) {
        assert_int_equal(symlink(shared_path("tokenizers/%s/tokenizer_config.json", l->folder),
                                 in_temporary("tokenizer_config.json")),
                         0);
    } else {
        FILE *file = fopen(in_temporary("tokenizer_config.json"), "w");
        assert_non_null(file);
        assert_true(fputs(l->config, file) >= 0);
        assert_int_equal(fclose(file), 0);
    }
}

static void remove_folder(void)
{
    static const char *const names[] = {"tokenizer.model", "vocab.json", "merges.txt",
                                        "tokenizer_config.json"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)unlink(in_temporary(names[i]));
    }
    assert_int_equal(rmdir(temporary), 0);
}

static void check_ids(const pb_tokenizer *t, const json_t *line, const char *key, bool special)
{
    const json_t *text = json_object_get(line, "text");
    const json_t *list = json_object_get(line, key);
    pb_ids ids         = {0};

    assert_ok(
        pb_tokenizer_encode(t, json_string_value(text), json_string_length(text), special, &ids));
    assert_int_equal(ids.count, json_array_size(list));
    for (int64_t i = 0; i < ids.count; i++) {
        assert_int_equal(ids.items[i], json_integer_value(json_array_get(list, (size_t)i)));
    }
    pb_ids_clear(&ids);
}

static void check_line(const pb_tokenizer *t, const json_t *line)
{
    const json_t *decoded = json_object_get(line, "decoded");
    pb_string text        = {0};
    pb_ids ids            = {0};

    check_ids(t, line, "ids", false);
    check_ids(t, line, "ids_special", true);
    const json_t *input = json_object_get(line, "text");
    assert_ok(
        pb_tokenizer_encode(t, json_string_value(input), json_string_length(input), false, &ids));
    assert_ok(pb_tokenizer_decode(t, ids.items, ids.count, false, &text));
    assert_int_equal(text.length, json_string_length(decoded));
    assert_memory_equal(text.length > 0 ? text.data : "", json_string_value(decoded), text.length);
    pb_ids_clear(&ids);
    pb_string_clear(&text);
}

static size_t check_file(const pb_tokenizer *t, const char *path)
{
    pb_string text = {0};
    size_t lines   = 0;

    assert_ok(pb_file_read(path, 0, &text));
    for (size_t at = 0; at < text.length; lines++) {
        size_t size  = (size_t)(strchrnul(text.data + at, '\n') - (text.data + at));
        json_t *line = json_loadb(text.data + at, size, JSON_ALLOW_NUL, NULL);
        assert_non_null(line);
        check_line(t, line);
        json_decref(line);
        at += size + 1;
    }
    pb_string_clear(&text);
    return lines;
}

static void test_the_vectors_hold_without_a_tokenizer_json(void **state)
{
    const layout *l = *state;
    pb_tokenizer *t = NULL;

    make_folder(l);
    assert_ok(pb_tokenizer_open(temporary, &t));
    size_t lines = check_file(t, shared_path("tokenizers/%s/vectors.jsonl", l->folder)) +
                   check_file(t, shared_path("tokenizers/%s/hard.jsonl", l->folder));
    assert_true(lines >= l->least);
    pb_tokenizer_close(t);
    remove_folder();
    assert_int_equal(pb_memory_current(), 0);
}

int main(void)
{
    struct CMUnitTest tests[sizeof layouts / sizeof *layouts];

    (void)shared_directory();
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        tests[i] = (struct CMUnitTest){
            .name          = layouts[i].folder,
            .test_func     = test_the_vectors_hold_without_a_tokenizer_json,
            .initial_state = (void *)(uintptr_t)&layouts[i],
        };
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
