// SPDX-License-Identifier: Apache-2.0
/* The matchers that replace regular expressions, against PCRE2 with the same expression; and words
 * that are cached or cut out of a longer piece, against words that are merged separately. */
#include "fixture.h"

#include "pattern.h"
#include "unicode.h"

#include "pb/memory.h"
#include "pb/random.h"
#include "pb/utf8.h"

#include <stdio.h>
#include <string.h>

static const char *const expressions[] = {
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
};

enum { EXPRESSIONS = sizeof expressions / sizeof *expressions };

/* Both ways give the same matches. */
static void check_matches(const text_pattern *fast, text_scratch *scratch, const char *text,
                          size_t length)
{
    text_pattern plain = *fast;
    plain.word         = NULL;
    matches a          = matches_of(fast, scratch, text, length);
    matches b          = matches_of(&plain, scratch, text, length);
    bool more          = true;

    while (more) {
        bool other = false;
        assert_ok(matches_next(&a, &more));
        assert_ok(matches_next(&b, &other));
        assert_int_equal(more, other);
        if (more && (a.begin != b.begin || a.end != b.end)) {
            fail_msg("\"%.*s\": [%zu, %zu) by hand, [%zu, %zu) by PCRE2", (int)length, text,
                     a.begin, a.end, b.begin, b.end);
        }
    }
}

/* A character of a kind that the expressions tell apart. */
static int32_t draw_character(pb_random stream, uint64_t *draw)
{
    static const int32_t some[] = {' ',    ' ',    '\n',   '\r',    '\t',    '\'',    's',    'S',
                                   'T',    'r',    'E',    'l',     'L',     'v',     'm',    'd',
                                   'x',    '7',    '8',    '.',     '(',     0x17f,   0x85,   0xa0,
                                   0x2028, 0x3000, 0x180e, 0x200b,  0xe9,    0x301,   0x4e2d, 0xbd,
                                   0x661,  0x2167, 0x2014, 0x1f600, 0x1d2cc, 0x105c0, 0x1c89, 0};
    const uint64_t count        = sizeof some / sizeof *some;

    return some[pb_random_below(stream, (*draw)++, count)];
}

static void test_matchers_equal_their_expressions_on_random_text(void **state)
{
    pb_random stream      = pb_random_stream(5, PB_RANDOM_TEST, 1);
    uint64_t draw         = 0;
    text_scratch *scratch = NULL;

    (void)state;
    assert_ok(scratch_create(0, &scratch));
    for (size_t i = 0; i < EXPRESSIONS; i++) {
        text_pattern p = {0};
        assert_ok(pattern_regex(expressions[i], strlen(expressions[i]), "test", &p));
        assert_non_null(p.word);
        for (int round = 0; round < 40000; round++) {
            char text[64];
            size_t length = 0;
            size_t count  = (size_t)pb_random_below(stream, draw++, 14) + 1;
            for (size_t k = 0; k < count; k++) {
                length += pb_utf8_encode(draw_character(stream, &draw), text + length);
            }
            check_matches(&p, scratch, text, length);
        }
        pattern_clear(&p);
    }
    scratch_destroy(scratch);
}

static void test_matchers_equal_their_expressions_on_every_character(void **state)
{
    text_scratch *scratch = NULL;

    (void)state;
    assert_ok(scratch_create(0, &scratch));
    for (size_t i = 0; i < EXPRESSIONS; i++) {
        text_pattern p = {0};
        assert_ok(pattern_regex(expressions[i], strlen(expressions[i]), "test", &p));
        for (int32_t code = 0; code < 0x110000; code++) {
            char text[16]  = "a";
            size_t length  = 1;
            bool surrogate = code >= 0xd800 && code < 0xe000;
            length += surrogate ? 0 : pb_utf8_encode(code, text + length);
            text[length++] = ' ';
            length += surrogate ? 0 : pb_utf8_encode(code, text + length);
            check_matches(&p, scratch, text, length);
        }
        pattern_clear(&p);
    }
    scratch_destroy(scratch);
}

static void test_other_expressions_have_no_matcher(void **state)
{
    static const char *const others[] = {"", "\\p{L}+", " ?\\p{L}+"};

    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_null(word_find(others[i], strlen(others[i])));
    }
    assert_null(word_find(expressions[0], strlen(expressions[0]) - 1));
}

/* Merges of "a" and "b" with word starts. */
static const char model[] =
    "\"model\": {\"type\": \"BPE\", \"unk_token\": \"u\", \"fuse_unk\": true, \"vocab\": {\"u\": "
    "0, "
    "\"a\": 1, \"b\": 2, \"\u2581\": 3, \"\u2581\u2581\": 4, \"\u2581a\": 5, \"ab\": 6, "
    "\"\u2581ab\": 7, \"aa\": 8, \"b\u2581\": 9}, \"merges\": [%s\"\u2581 \u2581\", \"\u2581 a\", "
    "\"a b\", \"\u2581 ab\", \"\u2581a b\", \"a a\"]}}";

static pb_tokenizer *open_model(const char *merges)
{
    pb_string json  = {0};
    pb_tokenizer *t = NULL;

    assert_ok(pb_string_puts(&json, "{"));
    assert_ok(pb_string_printf(&json, model, merges));
    t = fixture_open(json.data);
    pb_string_clear(&json);
    return t;
}

static void test_words_are_cut_only_where_no_merge_joins_them(void **state)
{
    static const char text[] = "\u2581ab\u2581\u2581ab\u2581zz\u2581b\u2581\u2581\u2581";
    pb_tokenizer *t          = open_model("");

    (void)state;
    fixture_check_ids(t, text, false, "7 4 6 3 0 3 2 4 3");
    pb_tokenizer_close(t);
    t = open_model("\"b \u2581\", ");
    fixture_check_ids(t, text, false, "5 9 5 9 0 3 9 4");
    pb_tokenizer_close(t);
}

static void test_remembered_words_are_those_merged_anew(void **state)
{
    static const char *const parts[] = {"a", "b", "ab", "\u2581", "z"};
    pb_random stream                 = pb_random_stream(6, PB_RANDOM_TEST, 2);
    pb_tokenizer *t                  = open_model("");
    uint64_t draw                    = 0;

    (void)state;
    for (int round = 0; round < 3000; round++) {
        pb_string text = {0};
        pb_ids warm    = {0};
        pb_ids cold    = {0};
        for (uint64_t i = pb_random_below(stream, draw++, 60) + 1; i > 0; i--) {
            assert_ok(pb_string_puts(&text, parts[pb_random_below(stream, draw++, 5)]));
        }
        assert_ok(pb_tokenizer_encode(t, text.data, text.length, false, &warm));
        if (round % 10 == 0) {
            pb_tokenizer_trim(t);
            assert_ok(pb_tokenizer_encode(t, text.data, text.length, false, &cold));
            assert_int_equal(warm.count, cold.count);
            assert_memory_equal(warm.items, cold.items, (size_t)warm.count * sizeof *warm.items);
        }
        pb_ids_clear(&warm);
        pb_ids_clear(&cold);
        pb_string_clear(&text);
    }
    pb_tokenizer_close(t);
}

/* Rows on several threads give the same results as alone; the first bad one is named. */
static void test_rows_are_encoded_side_by_side(void **state)
{
    enum { ROWS = 200 };
    pb_tokenizer *t = open_model("");
    const char *texts[ROWS];
    size_t lengths[ROWS];
    pb_ids ids[ROWS] = {{0}};

    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        texts[i]   = "ab\u2581ab\u2581\u2581ab\u2581z\u2581b\u2581ab\u2581aab";
        lengths[i] = i % 7 == 0 ? 0 : i % 3 == 0 ? 2 : strlen(texts[i]);
    }
    for (int threads = 0; threads < 5; threads++) {
        assert_ok(pb_tokenizer_encode_rows(t, texts, lengths, ROWS, false, threads, ids));
        for (size_t i = 0; i < ROWS; i++) {
            pb_ids alone = {0};
            assert_ok(pb_tokenizer_encode(t, texts[i], lengths[i], false, &alone));
            assert_int_equal(alone.count, ids[i].count);
            for (int64_t k = 0; k < alone.count; k++) {
                assert_int_equal(alone.items[k], ids[i].items[k]);
            }
            pb_ids_clear(&alone);
            pb_ids_clear(&ids[i]);
        }
    }
    texts[150]   = "\xff";
    texts[90]    = "a\xff";
    lengths[150] = 1;
    lengths[90]  = 2;
    assert_error(pb_tokenizer_encode_rows(t, texts, lengths, ROWS, false, 3, ids), PB_ERR_FORMAT,
                 "text 90 of 200: tokenizer: the text is not valid UTF-8 at byte 1");
    for (size_t i = 0; i < ROWS; i++) {
        assert_int_equal(ids[i].count, 0);
    }
    assert_ok(pb_tokenizer_encode_rows(t, texts, lengths, 0, false, 3, ids));
    pb_tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matchers_equal_their_expressions_on_random_text),
        cmocka_unit_test(test_matchers_equal_their_expressions_on_every_character),
        cmocka_unit_test(test_other_expressions_have_no_matcher),
        cmocka_unit_test(test_words_are_cut_only_where_no_merge_joins_them),
        cmocka_unit_test(test_remembered_words_are_those_merged_anew),
        cmocka_unit_test(test_rows_are_encoded_side_by_side),
    };
    return cmocka_run_group_tests(tests, NULL, fixture_remove);
}
