// SPDX-License-Identifier: Apache-2.0
/* The model: order of merges, unknown characters, byte fallback, and the two ways of merging
 * against a plain one; names of special tokens; several threads on one tokenizer. */
#include "fixture.h"

#include "pb/memory.h"
#include "pb/random.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define MODEL(options, vocab, merges)                                                              \
    "{\"model\": {\"type\": \"BPE\", " options "\"vocab\": {" vocab "}, \"merges\": [" merges "]}" \
    "}"

static void test_the_lowest_rank_is_merged_first_then_the_leftmost(void **state)
{
    static const char vocab[] = "\"a\": 0, \"b\": 1, \"c\": 2, \"bc\": 3, \"ab\": 4, \"aa\": 5";
    pb_string json            = {0};

    (void)state;
    assert_ok(pb_string_printf(&json, MODEL("", "%s", "\"b c\", \"a b\", \"a a\""), vocab));
    pb_tokenizer *t = fixture_open(json.data);
    fixture_check_ids(t, "abc", false, "0 3");
    fixture_check_ids(t, "aab", false, "0 4");
    fixture_check_ids(t, "aaa", false, "5 0");
    fixture_check_ids(t, "aaaaa", false, "5 5 0");
    fixture_check_ids(t, "", false, "");
    pb_tokenizer_close(t);
    pb_string_clear(&json);
}

static void test_merges_as_strings_and_as_pairs_are_the_same(void **state)
{
    pb_tokenizer *t = fixture_open(MODEL("", "\"a\": 0, \" \": 1, \"a \": 2", "[\"a\", \" \"]"));

    (void)state;
    fixture_check_ids(t, "a a", false, "2 0");
    pb_tokenizer_close(t);
    t = fixture_open(MODEL("", "\"a\": 0, \"b\": 1, \"ab\": 2", "\"a b\""));
    fixture_check_ids(t, "aba", false, "2 0");
    pb_tokenizer_close(t);
}

static void test_ignore_merges_takes_a_whole_piece_that_is_a_token(void **state)
{
    /* "abc" cannot be reached by merges. */
    static const char vocab[] = "\"a\": 0, \"b\": 1, \"c\": 2, \"abc\": 3";
    pb_string json            = {0};

    (void)state;
    assert_ok(pb_string_printf(&json, MODEL("\"ignore_merges\": true, ", "%s", ""), vocab));
    pb_tokenizer *t = fixture_open(json.data);
    fixture_check_ids(t, "abc", false, "3");
    fixture_check_ids(t, "abca", false, "0 1 2 0");
    pb_tokenizer_close(t);
    pb_string_clear(&json);
    assert_ok(pb_string_printf(&json, MODEL("", "%s", ""), vocab));
    t = fixture_open(json.data);
    fixture_check_ids(t, "abc", false, "0 1 2");
    pb_tokenizer_close(t);
    pb_string_clear(&json);
}

static void test_unknown_characters(void **state)
{
    pb_tokenizer *t = fixture_open(
        MODEL("\"unk_token\": \"u\", \"fuse_unk\": false, ", "\"a\": 0, \"u\": 1", ""));

    (void)state;
    fixture_check_ids(t, "axya", false, "0 1 1 0");
    pb_tokenizer_close(t);
    t = fixture_open(MODEL("\"unk_token\": \"u\", \"fuse_unk\": true, ", "\"a\": 0, \"u\": 1", ""));
    fixture_check_ids(t, "axyax", false, "0 1 0 1");
    pb_tokenizer_close(t);
    t = fixture_open(MODEL("\"unk_token\": null, ", "\"a\": 0", ""));
    fixture_check_ids(t, "axya", false, "0 0");
    pb_tokenizer_close(t);
}

static void test_byte_fallback_needs_all_bytes_of_a_character(void **state)
{
    pb_tokenizer *t =
        fixture_open(MODEL("\"unk_token\": \"u\", \"byte_fallback\": true, ",
                           "\"a\": 0, \"u\": 1, \"<0xC3>\": 2, \"<0xA9>\": 3, \"<0xE2>\": 4", ""));

    (void)state;
    fixture_check_ids(t, "a\xc3\xa9", false, "0 2 3");
    fixture_check_ids(t,
                      "\xe2\x82\xac"
                      "a",
                      false, "1 0");
    pb_tokenizer_close(t);
}

/* The simple way: scan for the lowest rank, merge, repeat. Tokens are texts over "abc" here. */
static int64_t merge_plainly(char (*symbols)[16], int64_t count, char (*left)[8], char (*right)[8],
                             int64_t merges)
{
    for (;;) {
        int64_t best_rank = merges;
        int64_t best      = -1;
        for (int64_t i = 0; i + 1 < count; i++) {
            for (int64_t m = 0; m < best_rank; m++) {
                if (strcmp(symbols[i], left[m]) == 0 && strcmp(symbols[i + 1], right[m]) == 0) {
                    best_rank = m;
                    best      = i;
                }
            }
        }
        if (best < 0) {
            return count;
        }
        size_t length = strlen(symbols[best]);
        memmove(symbols[best] + length, symbols[best + 1], strlen(symbols[best + 1]) + 1);
        count--;
        memmove(symbols + best + 1, symbols + best + 2,
                (size_t)(count - best - 1) * sizeof *symbols);
    }
}

enum { MERGES = 24, LONGEST = 160 };

static void test_short_and_long_pieces_merge_like_the_plain_way(void **state)
{
    static const char parts[][8] = {"a", "b", "c", "ab", "bc", "aa", "ca", "abc", "bca"};
    static char left[MERGES][8];
    static char right[MERGES][8];
    static char symbols[LONGEST + 1][16];
    pb_random stream  = pb_random_stream(7, PB_RANDOM_TEST, 0);
    uint64_t draw     = 0;
    int64_t merges    = 0;
    int64_t tokens    = 9;
    pb_string vocab   = {0};
    pb_string listing = {0};
    pb_string json    = {0};

    (void)state;
    for (size_t i = 0; i < 9; i++) {
        assert_ok(pb_string_printf(&vocab, "%s\"%s\": %zu", i > 0 ? ", " : "", parts[i], i));
    }
    while (merges < MERGES) {
        const char *l = parts[pb_random_below(stream, draw++, 9)];
        const char *r = parts[pb_random_below(stream, draw++, 9)];
        char joined[24];
        bool known = false;
        (void)snprintf(joined, sizeof joined, "\"%s%s\"", l, r);
        for (int64_t m = 0; m < merges; m++) {
            known = known || (strcmp(left[m], l) == 0 && strcmp(right[m], r) == 0);
        }
        if (known || strlen(l) + strlen(r) > 6) {
            continue;
        }
        if (strstr(vocab.data, joined) == NULL) {
            assert_ok(pb_string_printf(&vocab, ", %s: %d", joined, (int)tokens++));
        }
        assert_ok(pb_string_printf(&listing, "%s\"%s %s\"", merges > 0 ? ", " : "", l, r));
        (void)strcpy(left[merges], l);
        (void)strcpy(right[merges++], r);
    }
    assert_ok(pb_string_printf(&json, MODEL("", "%s", "%s"), vocab.data, listing.data));
    pb_tokenizer *t = fixture_open(json.data);
    for (int round = 0; round < 300; round++) {
        char text[LONGEST + 1] = {0};
        pb_ids ids             = {0};
        int64_t length         = 1 + (int64_t)pb_random_below(stream, draw++, LONGEST);
        for (int64_t i = 0; i < length; i++) {
            text[i] = (char)('a' + pb_random_below(stream, draw++, 3));
            (void)snprintf(symbols[i], sizeof symbols[i], "%c", text[i]);
        }
        int64_t count = merge_plainly(symbols, length, left, right, MERGES);
        assert_ok(pb_tokenizer_encode(t, text, (size_t)length, false, &ids));
        assert_int_equal(ids.count, count);
        for (int64_t i = 0; i < count; i++) {
            assert_string_equal(pb_tokenizer_token(t, ids.items[i]), symbols[i]);
        }
        pb_ids_clear(&ids);
    }
    pb_tokenizer_close(t);
    pb_string_clear(&vocab);
    pb_string_clear(&listing);
    pb_string_clear(&json);
}

static void test_vocab_and_merges_in_two_files(void **state)
{
    static const char vocab[]  = "{\"a\": 0, \"b\": 1, \"ab\": 2, \"<|end|>\": 3, \"\xc4\xa0\": 4}";
    static const char merges[] = "#version: 0.2\na b\n";
    static const char config[] = "{\"eos_token\": \"<|end|>\", \"model_max_length\": "
                                 "1000000000000000019884624838656}";
    pb_tokenizer *t            = NULL;

    (void)state;
    fixture_delete("tokenizer.json");
    fixture_write("vocab.json", vocab, strlen(vocab));
    fixture_write("merges.txt", merges, strlen(merges));
    fixture_write("tokenizer_config.json", config, strlen(config));
    assert_ok(pb_tokenizer_open(fixture_folder(), &t));
    fixture_check_ids(t, "ab a<|end|>", true, "2 4 0 3");
    assert_int_equal(pb_tokenizer_eos(t), 3);
    assert_int_equal(pb_tokenizer_bos(t), -1);
    assert_int_equal(pb_tokenizer_size(t), 5);
    pb_tokenizer_close(t);
    fixture_delete("vocab.json");
    fixture_delete("merges.txt");
    fixture_delete("tokenizer_config.json");
}

static void test_special_tokens_by_name(void **state)
{
    static const char json[] = "{\"added_tokens\": [{\"id\": 1, \"content\": \"<s>\", \"special\": "
                               "true}], \"model\": {\"type\": \"BPE\", \"merges\": [], \"vocab\": "
                               "{\"a\": 0}}}";
    static const char map[]  = "{\"bos_token\": {\"content\": \"<s>\", \"lstrip\": false}, "
                               "\"eos_token\": \"<s>\"}";
    static const char config[]   = "{\"eos_token\": \"a\", \"pad_token\": \"[PAD]\", "
                                   "\"additional_special_tokens\": [\"<s>\", \"<absent>\"]}";
    static const char mistyped[] = "{\"eos_token\": 7}";
    char hash[65];
    int32_t id      = -1;
    pb_tokenizer *t = NULL;

    (void)state;
    fixture_write("special_tokens_map.json", map, strlen(map));
    t = fixture_open(json);
    assert_int_equal(pb_tokenizer_bos(t), 1);
    assert_int_equal(pb_tokenizer_eos(t), 1);
    assert_int_equal(strlen(pb_tokenizer_hash(t)), 64);
    (void)strcpy(hash, pb_tokenizer_hash(t));
    pb_tokenizer_close(t);

    /* Without added_tokens_decoder the map counts; the others get the next free ids. */
    fixture_write("tokenizer_config.json", config, strlen(config));
    t = fixture_open(json);
    assert_int_equal(pb_tokenizer_bos(t), 1);
    assert_int_equal(pb_tokenizer_eos(t), 1);
    assert_int_equal(pb_tokenizer_pad(t), 2);
    assert_int_equal(pb_tokenizer_additional(t)->count, 2);
    assert_int_equal(pb_tokenizer_additional(t)->items[1], 3);
    assert_true(strcmp(hash, pb_tokenizer_hash(t)) != 0);
    assert_true(pb_tokenizer_id(t, "a", &id));
    assert_int_equal(id, 0);
    assert_false(pb_tokenizer_id(t, "b", &id));
    assert_null(pb_tokenizer_token(t, 4));
    assert_null(pb_tokenizer_token(t, -1));
    pb_tokenizer_close(t);

    fixture_delete("special_tokens_map.json");
    fixture_write("tokenizer_config.json", mistyped, strlen(mistyped));
    assert_error(pb_tokenizer_open(fixture_folder(), &t), PB_ERR_FORMAT,
                 "tokenizer_config.json: eos_token: a string or an object is expected");
    fixture_delete("tokenizer_config.json");
}

static void test_bad_text_and_bad_ids_are_errors_and_leave_the_output(void **state)
{
    pb_tokenizer *t       = fixture_open(MODEL("", "\"a\": 0", ""));
    pb_ids ids            = {0};
    pb_string text        = {0};
    const int32_t wrong[] = {0, -1};
    const int32_t above[] = {0, 7, 0};

    (void)state;
    assert_ok(pb_tokenizer_encode(t, "a", 1, false, &ids));
    assert_error(pb_tokenizer_encode(t, "aa\xff", 3, false, &ids), PB_ERR_FORMAT,
                 "not valid UTF-8 at byte 2");
    assert_int_equal(ids.count, 1);
    assert_error(pb_tokenizer_decode(t, wrong, 2, false, &text), PB_ERR_ARGUMENT, "negative");
    assert_int_equal(text.length, 0);
    assert_ok(pb_tokenizer_decode(t, above, 3, false, &text));
    assert_string_equal(text.data, "a a");
    pb_ids_clear(&ids);
    pb_string_clear(&text);
    pb_tokenizer_close(t);
}

typedef struct job {
    const pb_tokenizer *t;
    int64_t sum;
    pb_status status;
} job;

static void *encode_often(void *argument)
{
    job *j     = argument;
    pb_ids ids = {0};

    for (int i = 0; i < 500 && j->status == PB_OK; i++) {
        char text[64];
        int length = snprintf(text, sizeof text, "abab%d aab abba bab", i);
        ids.count  = 0;
        j->status  = pb_tokenizer_encode(j->t, text, (size_t)length, false, &ids);
        for (int64_t k = 0; k < ids.count; k++) {
            j->sum += ids.items[k] * (k + 1);
        }
    }
    pb_ids_clear(&ids);
    return NULL;
}

static void test_threads_share_a_tokenizer(void **state)
{
    enum { THREADS = 4 };
    pb_tokenizer *t =
        fixture_open(MODEL("", "\"a\": 0, \"b\": 1, \"ab\": 2, \"ba\": 3, \"abab\": 4",
                           "\"a b\", \"b a\", \"ab ab\""));
    pthread_t threads[THREADS];
    job jobs[THREADS];
    job alone = {.t = t};

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        jobs[i] = (job){.t = t};
        assert_int_equal(pthread_create(&threads[i], NULL, encode_often, &jobs[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    (void)encode_often(&alone);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(jobs[i].status, PB_OK);
        assert_int_equal(jobs[i].sum, alone.sum);
    }
    assert_true(alone.sum > 0);
    pb_tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_lowest_rank_is_merged_first_then_the_leftmost),
        cmocka_unit_test(test_merges_as_strings_and_as_pairs_are_the_same),
        cmocka_unit_test(test_ignore_merges_takes_a_whole_piece_that_is_a_token),
        cmocka_unit_test(test_unknown_characters),
        cmocka_unit_test(test_byte_fallback_needs_all_bytes_of_a_character),
        cmocka_unit_test(test_short_and_long_pieces_merge_like_the_plain_way),
        cmocka_unit_test(test_vocab_and_merges_in_two_files),
        cmocka_unit_test(test_special_tokens_by_name),
        cmocka_unit_test(test_bad_text_and_bad_ids_are_errors_and_leave_the_output),
        cmocka_unit_test(test_threads_share_a_tokenizer),
    };
    return cmocka_run_group_tests(tests, NULL, fixture_remove);
}
