// SPDX-License-Identifier: Apache-2.0
/* Every vector of the shared tokenizers: ids without and with special tokens, and decoded text, as
 * the Hugging Face library computes them. */
#include "../../support/support.h"

#include "pb/file.h"
#include "pb/memory.h"
#include "pb/tokenizer.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { SHOWN = 5 };

/* Mismatches are counted, and the first few are shown. */
typedef struct tally {
    const char *place;
    int64_t lines, wrong;
} tally;

static void report(tally *t, const char *what, const char *text)
{
    if (t->wrong++ < SHOWN) {
        print_error("%s:%" PRId64 ": %s of \"%.80s\"\n", t->place, t->lines, what, text);
    }
}

static bool same_ids(const pb_ids *ids, const json_t *expected)
{
    if (!json_is_array(expected) || (size_t)ids->count != json_array_size(expected)) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(expected); i++) {
        if (ids->items[i] != json_integer_value(json_array_get(expected, i))) {
            return false;
        }
    }
    return true;
}

/* `skip`: "decoded" leaves special tokens out. */
static void check_line(const pb_tokenizer *t, const json_t *line, const char *ids_key, bool skip,
                       tally *sum)
{
    const json_t *text     = json_object_get(line, "text");
    const json_t *decoded  = json_object_get(line, "decoded");
    const json_t *expected = json_object_get(line, ids_key);
    const json_t *special  = json_object_get(line, "ids_special");
    const char *data       = json_string_value(text);
    size_t length          = json_string_length(text);
    pb_ids ids             = {0};
    pb_string back         = {0};

    assert_ok(pb_tokenizer_encode(t, data, length, false, &ids));
    if (!same_ids(&ids, expected)) {
        report(sum, ids_key, data);
    }
    assert_ok(pb_tokenizer_decode(t, ids.items, ids.count, skip, &back));
    if (decoded != NULL && (back.length != json_string_length(decoded) ||
                            memcmp(back.data, json_string_value(decoded), back.length) != 0)) {
        report(sum, "decoded text", data);
    }
    ids.count = 0;
    assert_ok(pb_tokenizer_encode(t, data, length, true, &ids));
    if (special != NULL && !same_ids(&ids, special)) {
        report(sum, "ids_special", data);
    }
    pb_ids_clear(&ids);
    pb_string_clear(&back);
}

static void check_file(const pb_tokenizer *t, const char *path, int64_t minimum)
{
    pb_string text = {0};
    tally sum      = {.place = path};

    assert_ok(pb_file_read(path, 0, &text));
    for (size_t at = 0; at < text.length;) {
        const char *begin = text.data + at;
        size_t size       = (size_t)(strchrnul(begin, '\n') - begin);
        json_t *line      = json_loadb(begin, size, JSON_ALLOW_NUL, NULL);
        assert_non_null(line);
        sum.lines++;
        check_line(t, line, "ids", false, &sum);
        json_decref(line);
        at += size + 1;
    }
    pb_string_clear(&text);
    print_message("%s: %" PRId64 " lines, %" PRId64 " mismatches\n", path, sum.lines, sum.wrong);
    assert_int_equal(sum.wrong, 0);
    assert_true(sum.lines >= minimum);
}

/* vectors.jsonl, hard.jsonl, and the ids of chat.jsonl, of one folder. */
static void test_all_vectors_of_a_tokenizer_agree(void **state)
{
    const char *name = *state;
    pb_tokenizer *t  = NULL;

    assert_ok(pb_tokenizer_open(shared_path("tokenizers/%s", name), &t));
    check_file(t, shared_path("tokenizers/%s/vectors.jsonl", name), 300);
    check_file(t, shared_path("tokenizers/%s/hard.jsonl", name), 50);
    const char *chat = shared_path("tokenizers/%s/chat.jsonl", name);
    if (pb_path_exists(chat)) {
        check_file(t, chat, 1);
    }
    pb_tokenizer_close(t);
    assert_int_equal(pb_memory_current(), 0);
}

/* The 220 strings that accompany the checkpoint of stories260K. */
static void test_tokenizer_of_stories260k_agrees(void **state)
{
    static const char *const files[] = {"stories260K", "llama2xs"};

    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        pb_tokenizer *t = NULL;
        json_error_t error;
        tally sum    = {.place = files[i]};
        json_t *list = json_load_file(shared_path("models/%s/tokenizer_golden.json", files[i]),
                                      JSON_ALLOW_NUL, &error);
        assert_non_null(list);
        assert_ok(pb_tokenizer_open(shared_path("models/%s", files[i]), &t));
        for (size_t k = 0; k < json_array_size(list); k++) {
            json_t *line = json_array_get(list, k);
            sum.lines++;
            json_object_set(line, "decoded", json_object_get(line, "decoded_from_tokenizer_json"));
            check_line(t, line, "tokenizer_json", true, &sum);
        }
        assert_true(sum.lines >= 220);
        assert_int_equal(sum.wrong, 0);
        pb_tokenizer_close(t);
        json_decref(list);
    }
}

#define VECTORS(folder)                                                     \
    {                                                                       \
        .name = folder, .test_func = test_all_vectors_of_a_tokenizer_agree, \
        .initial_state = (void *)(uintptr_t)folder,                         \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        VECTORS("stories260k"),
        VECTORS("bytebpe-1k"),
        VECTORS("gemma-style"),
        VECTORS("llama2"),
        VECTORS("phi-3-mini"),
        VECTORS("mistral-v0.3"),
        VECTORS("llama3"),
        VECTORS("qwen3"),
        VECTORS("gpt2"),
        VECTORS("smollm2-resaved"),
        cmocka_unit_test(test_tokenizer_of_stories260k_agrees),
    };
    (void)shared_directory();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
