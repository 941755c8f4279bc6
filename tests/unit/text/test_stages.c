// SPDX-License-Identifier: Apache-2.0
/* Normalizers, pre-tokenizers, added tokens, post-processors and decoders, one at a time. */
#include "fixture.h"
#include "internal.h"

#include "pb/memory.h"

#include <string.h>

#define NORMALIZER(x)   "\"normalizer\": " x
#define PRETOKENIZER(x) "\"pre_tokenizer\": " x

static void test_unicode_forms(void **state)
{
    (void)state;
    fixture_check_pieces(NORMALIZER("{\"type\": \"NFC\"}"), "", "e\xcc\x81", "\xc3\xa9");
    fixture_check_pieces(NORMALIZER("{\"type\": \"NFC\"}"), "", "\xef\xac\x81", "\xef\xac\x81");
    /* A change in the middle leaves the text around it; marks join the character before them. */
    fixture_check_pieces(NORMALIZER("{\"type\": \"NFC\"}"), "",
                         "ab\u4e2de\u0323\u0301x\u1100\u1161\u11a8z",
                         "ab\u4e2d\u1eb9\u0301x\uac01z");
    /* U+0897 is a mark of Unicode 16, U+11938 a composition of 13: the library has neither. */
    fixture_check_pieces(NORMALIZER("{\"type\": \"NFC\"}"), "", "a\u0897\u0301\u0323e\u0301",
                         "a\u0897\u0323\u0301\u00e9");
    fixture_check_pieces(NORMALIZER("{\"type\": \"NFC\"}"), "", "\U00011935\U00011930",
                         "\U00011935\U00011930");
    fixture_check_pieces(NORMALIZER("{\"type\": \"NFKC\"}"), "", "\xef\xac\x81", "fi");
    fixture_check_pieces(NORMALIZER("{\"type\": \"NFKC\"}"), "", "a\xc2\xa0z", "a z");
    fixture_check_pieces(NORMALIZER("{\"type\": \"NFD\"}"), "", "\xc3\xa9", "e\xcc\x81");
    fixture_check_pieces(NORMALIZER("{\"type\": \"NFKD\"}"), "", "\xef\xac\x81\xc3\xa9",
                         "fie\xcc\x81");
}

static void test_lowercase_strip_prepend_and_replace(void **state)
{
    (void)state;
    fixture_check_pieces(NORMALIZER("{\"type\": \"Lowercase\"}"), "", "A\xc3\x89\xc4\xb0\xce\xa3",
                         "a\xc3\xa9i\xcc\x87\xcf\x83");
    fixture_check_pieces(
        NORMALIZER("{\"type\": \"Strip\", \"strip_left\": true, \"strip_right\": true}"), "",
        " \t\xe3\x80\x80x y\xc2\xa0\n", "x y");
    fixture_check_pieces(
        NORMALIZER("{\"type\": \"Strip\", \"strip_left\": false, \"strip_right\": true}"), "",
        " x ", " x");
    fixture_check_pieces(NORMALIZER("{\"type\": \"Strip\"}"), "", "  \n ", "");
    fixture_check_pieces(NORMALIZER("{\"type\": \"Prepend\", \"prepend\": \"_\"}"), "", "ab",
                         "_ab");
    fixture_check_pieces(NORMALIZER("{\"type\": \"Prepend\", \"prepend\": \"_\"}"), "", "", "");
    fixture_check_pieces(
        NORMALIZER(
            "{\"type\": \"Replace\", \"pattern\": {\"String\": \"ab\"}, \"content\": \"c\"}"),
        "", "ababxab", "ccxc");
    fixture_check_pieces(
        NORMALIZER(
            "{\"type\": \"Replace\", \"pattern\": {\"Regex\": \" {2,}\"}, \"content\": \" \"}"),
        "", "a   b  c d", "a b c d");
    fixture_check_pieces(
        NORMALIZER(
            "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Lowercase\"}, "
            "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", \"prepend\": "
            "\"A\"}]}]}"),
        "", "B", "Ab");
}

#define SPLIT(pattern, behavior, invert)                                                     \
    PRETOKENIZER("{\"type\": \"Split\", \"pattern\": " pattern ", \"behavior\": \"" behavior \
                 "\", \"invert\": " invert "}")

static void test_split_keeps_matches_where_the_behaviour_says(void **state)
{
    static const char text[] = "the-final--countdown";

    (void)state;
    fixture_check_pieces(SPLIT("{\"String\": \"-\"}", "Removed", "false"), "", text,
                         "the|final|countdown");
    fixture_check_pieces(SPLIT("{\"String\": \"-\"}", "Isolated", "false"), "", text,
                         "the|-|final|-|-|countdown");
    fixture_check_pieces(SPLIT("{\"String\": \"-\"}", "MergedWithPrevious", "false"), "", text,
                         "the-|final-|-|countdown");
    fixture_check_pieces(SPLIT("{\"String\": \"-\"}", "MergedWithNext", "false"), "", text,
                         "the|-final|-|-countdown");
    fixture_check_pieces(SPLIT("{\"String\": \"-\"}", "Contiguous", "false"), "", text,
                         "the|-|final|--|countdown");
    fixture_check_pieces(SPLIT("{\"Regex\": \"[a-z]+\"}", "Removed", "true"), "", text,
                         "the|final|countdown");
    fixture_check_pieces(SPLIT("{\"Regex\": \"\\\\w+|[^\\\\w\\\\s]+\"}", "Isolated", "false"), "",
                         "a_1 b--c", "a_1| |b|--|c");
}

static void test_regular_expressions_follow_oniguruma(void **state)
{
    (void)state;
    /* U+180E is not white space, U+0085 is. */
    fixture_check_pieces(SPLIT("{\"Regex\": \"\\\\s+\"}", "Isolated", "false"), "",
                         "a\xe1\xa0\x8e\xc2\x85z", "a\xe1\xa0\x8e|\xc2\x85|z");
    fixture_check_pieces(SPLIT("{\"Regex\": \"[^\\\\s]+\"}", "Isolated", "false"), "",
                         "a\xe1\xa0\x8e\xc2\x85z", "a\xe1\xa0\x8e|\xc2\x85|z");
    /* Marks are word characters. */
    fixture_check_pieces(SPLIT("{\"Regex\": \"\\\\w+\"}", "Isolated", "false"), "", "-e\xcc\x81-",
                         "-|e\xcc\x81|-");
    /* One half is one too, but not inside a class. */
    fixture_check_pieces(SPLIT("{\"Regex\": \"\\\\w+\"}", "Isolated", "false"), "", "-a\u00bd-",
                         "-|a\u00bd|-");
    fixture_check_pieces(SPLIT("{\"Regex\": \"[\\\\w]+\"}", "Isolated", "false"), "", "-a\u00bd-",
                         "-|a|\u00bd-");
    /* Letters, digits and marks that are newer than most libraries: versions 15.0 and 16. */
    fixture_check_pieces(SPLIT("{\"Regex\": \"\\\\p{Nd}|\\\\p{Lu}\"}", "Isolated", "false"), "",
                         "a\U00011f50b\u1c89c\U00010d40d", "a|\U00011f50|b|\u1c89|c|\U00010d40|d");
    fixture_check_pieces(SPLIT("{\"Regex\": \"\\\\P{L}+\"}", "Isolated", "false"), "",
                         "a\U000105c0-\U000105c0", "a\U000105c0|-|\U000105c0");
    /* ^ matches at the start of every line. */
    fixture_check_pieces(SPLIT("{\"Regex\": \"^b\"}", "Isolated", "false"), "", "ab\nbb",
                         "ab\n|b|b");
    /* The long s is an s without case. */
    fixture_check_pieces(SPLIT("{\"Regex\": \"(?i:'s)\"}", "Isolated", "false"), "",
                         "it'\xc5\xbf ok", "it|'\xc5\xbf| ok");
}

static void test_other_pretokenizers(void **state)
{
    (void)state;
    fixture_check_pieces(PRETOKENIZER("{\"type\": \"Digits\", \"individual_digits\": true}"), "",
                         "ab12\xc2\xbd", "ab|1|2|\xc2\xbd");
    fixture_check_pieces(PRETOKENIZER("{\"type\": \"Digits\", \"individual_digits\": false}"), "",
                         "ab12c", "ab|12|c");
    fixture_check_pieces(PRETOKENIZER("{\"type\": \"Punctuation\"}"), "", "a,b$\xe2\x80\x94",
                         "a|,|b|$|\xe2\x80\x94");
    fixture_check_pieces(PRETOKENIZER("{\"type\": \"Punctuation\", \"behavior\": \"Contiguous\"}"),
                         "", "a,.b", "a|,.|b");
    fixture_check_pieces(PRETOKENIZER("{\"type\": \"Whitespace\"}"), "", " how's it ?",
                         "how|'|s|it|?");
    /* A zero-width joiner is part of a word. */
    fixture_check_pieces(PRETOKENIZER("{\"type\": \"Whitespace\"}"), "",
                         "a\u200db! \u200d \u2014\u2014c", "a\u200db|!|\u200d|\u2014\u2014|c");
    /* Punctuation of Unicode 8: U+2E4F came later, U+166D was punctuation then. */
    fixture_check_pieces(PRETOKENIZER("{\"type\": \"Punctuation\"}"), "", "a\u2e4fb\u166dc",
                         "a\u2e4fb|\u166d|c");
    fixture_check_pieces(PRETOKENIZER("{\"type\": \"WhitespaceSplit\"}"), "", " how's\tit ?",
                         "how's|it|?");
    fixture_check_pieces(
        PRETOKENIZER(
            "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"WhitespaceSplit\"}, "
            "{\"type\": \"Punctuation\"}]}"),
        "", "a, b", "a|,|b");
}

static void test_byte_level_pieces_are_bytes(void **state)
{
    (void)state;
    fixture_check_pieces(PRETOKENIZER("{\"type\": \"ByteLevel\", \"add_prefix_space\": false}"), "",
                         "I'm 12 \xc3\xa9\n\n x",
                         "I|'m|\xc4\xa0"
                         "12|\xc4\xa0\xc3\x83\xc2\xa9|\xc4\x8a\xc4\x8a|\xc4\xa0x");
    fixture_check_pieces(PRETOKENIZER("{\"type\": \"ByteLevel\", \"add_prefix_space\": true}"), "",
                         "a",
                         "\xc4\xa0"
                         "a");
    fixture_check_pieces(PRETOKENIZER("{\"type\": \"ByteLevel\", \"add_prefix_space\": true, "
                                      "\"use_regex\": false}"),
                         "", " a b",
                         "\xc4\xa0"
                         "a\xc4\xa0"
                         "b");
}

#define METASPACE(scheme, split)                                                                   \
    PRETOKENIZER("{\"type\": \"Metaspace\", \"replacement\": \"_\", \"prepend_scheme\": \"" scheme \
                 "\", \"split\": " split "}")

static void test_metaspace_schemes(void **state)
{
    static const char added[] = "{\"id\": 1, \"content\": \"<x>\", \"special\": true}";

    (void)state;
    fixture_check_pieces(METASPACE("always", "true"), "", "a b  c", "_a|_b|_|_c");
    fixture_check_pieces(METASPACE("always", "false"), "", "a b", "_a_b");
    fixture_check_pieces(METASPACE("never", "true"), "", "a b", "a|_b");
    fixture_check_pieces(METASPACE("first", "false"), "", " a", "_a");
    fixture_check_pieces(METASPACE("first", "false"), added, "a<x>b", "_a|<x>|b");
    fixture_check_pieces(METASPACE("always", "false"), added, "a<x>b", "_a|<x>|_b");
    fixture_check_pieces(METASPACE("first", "false"), added, "<x>b", "<x>|b");
}

static void test_added_tokens_are_found_leftmost_and_longest(void **state)
{
    (void)state;
    fixture_check_pieces("",
                         "{\"id\": 1, \"content\": \"ab\", \"special\": true}, "
                         "{\"id\": 2, \"content\": \"abcd\", \"special\": true}, "
                         "{\"id\": 3, \"content\": \"cx\", \"special\": true}",
                         "abcxabcdab", "ab|cx|abcd|ab");
}

static void test_added_tokens_take_space_and_respect_words(void **state)
{
    (void)state;
    fixture_check_pieces("", "{\"id\": 1, \"content\": \"<m>\", \"lstrip\": true}", "a \n<m> b",
                         "a|<m>| b");
    fixture_check_pieces("", "{\"id\": 1, \"content\": \"<m>\", \"rstrip\": true}", "a <m> \tb",
                         "a |<m>|b");
    fixture_check_pieces("", "{\"id\": 1, \"content\": \"ing\", \"single_word\": true}",
                         "-ing going ing", "-|ing| going |ing");
}

/* This does not decide where a text begins after characters were removed from its start. */
static void test_a_prefix_of_the_first_piece_needs_the_start(void **state)
{
    static const char *const normalizers[] = {
        "{\"type\": \"Strip\"}",
        "{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"a+\"}, \"content\": \"b\"}",
        "{\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}, \"content\": \"\"}"};

    (void)state;
    for (size_t i = 0; i < sizeof normalizers / sizeof *normalizers; i++) {
        pb_string json  = {0};
        pb_tokenizer *t = NULL;
        assert_ok(
            pb_string_printf(&json,
                             "{\"normalizer\": %s, \"pre_tokenizer\": {\"type\": \"Metaspace\", "
                             "\"replacement\": \"_\", \"prepend_scheme\": \"first\"}, \"model\": "
                             "{\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": []}}",
                             normalizers[i]));
        fixture_write("tokenizer.json", json.data, json.length);
        assert_error(pb_tokenizer_open(fixture_folder(), &t), PB_ERR_UNSUPPORTED,
                     "prepend_scheme \"first\" beside the normalizer");
        pb_string_clear(&json);
    }
}

/* White space taken by one token is not available to the next. */
static void test_space_is_taken_once(void **state)
{
    (void)state;
    fixture_check_pieces("", "{\"id\": 1, \"content\": \" \", \"lstrip\": true, \"rstrip\": true}",
                         "a   b ", "a| |b| ");
    fixture_check_pieces("",
                         "{\"id\": 1, \"content\": \"<m>\", \"rstrip\": true}, {\"id\": 2, "
                         "\"content\": \" \", \"lstrip\": true}",
                         "a<m>  b ", "a|<m>|b| ");
}

static void test_normalized_added_tokens_are_decoded_as_found(void **state)
{
    pb_tokenizer *t = fixture_open(
        "{\"added_tokens\": [{\"id\": 1, \"content\": \"XyZ\", \"normalized\": true}, {\"id\": 2, "
        "\"content\": \"QQ\", \"normalized\": false}], \"normalizer\": {\"type\": \"Lowercase\"}, "
        "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": []}}");
    pb_string text = {0};

    (void)state;
    fixture_check_ids(t, "axyzQQXYZ", false, "0 1 2 1");
    assert_ok(pb_tokenizer_decode(t, (const int32_t[]){0, 1, 2}, 3, false, &text));
    assert_string_equal(text.data, "a xyz QQ");
    assert_string_equal(pb_tokenizer_token(t, 1), "XyZ");
    pb_string_clear(&text);
    pb_tokenizer_close(t);
}

static void test_normalized_added_tokens_are_found_after_the_normalizer(void **state)
{
    static const char lower[] = NORMALIZER("{\"type\": \"Lowercase\"}");

    (void)state;
    fixture_check_pieces(lower, "{\"id\": 1, \"content\": \"Foo\", \"normalized\": true}",
                         "a FOO b", "a |Foo| b");
    fixture_check_pieces(lower, "{\"id\": 1, \"content\": \"Foo\", \"normalized\": false}",
                         "FOO Foo", "foo |Foo");
}

static void test_encode_plain_reads_special_tokens_as_text(void **state)
{
    pb_tokenizer *t = fixture_open(
        "{\"added_tokens\": [{\"id\": 5, \"content\": \"<s>\", \"special\": true}, {\"id\": 6, "
        "\"content\": \"ss\", \"special\": false}], \"model\": {\"type\": \"BPE\", \"merges\": [], "
        "\"vocab\": {\"<\": 0, \"s\": 1, \">\": 2}}}");
    pb_ids ids                      = {0};
    static const int32_t expected[] = {0, 1, 2, 6};

    (void)state;
    fixture_check_ids(t, "<s>ss", false, "5 6");
    assert_ok(tokenizer_encode_mixed(t, "<s>ss", 5, (text_plain){0, 5}, false, &ids));
    assert_int_equal(ids.count, 4);
    assert_memory_equal(ids.items, expected, sizeof expected);
    assert_true(added_of(&t->added, 5)->special);
    assert_false(added_of(&t->added, 6)->special);
    assert_null(added_of(&t->added, 0));
    pb_ids_clear(&ids);
    pb_tokenizer_close(t);
}

static void test_post_processors_put_special_tokens_around(void **state)
{
    pb_tokenizer *t = fixture_open(
        "{\"added_tokens\": [{\"id\": 1, \"content\": \"<s>\", \"special\": true}, {\"id\": 2, "
        "\"content\": \"</s>\", \"special\": true}], \"post_processor\": {\"type\": \"Sequence\", "
        "\"processors\": [{\"type\": \"ByteLevel\"}, {\"type\": \"TemplateProcessing\", "
        "\"single\": "
        "[{\"SpecialToken\": {\"id\": \"B\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", "
        "\"type_id\": 0}}, {\"SpecialToken\": {\"id\": \"E\", \"type_id\": 0}}], \"pair\": [], "
        "\"special_tokens\": {\"B\": {\"id\": \"B\", \"ids\": [1], \"tokens\": [\"<s>\"]}, \"E\": "
        "{\"id\": \"E\", \"ids\": [2, 2], \"tokens\": [\"</s>\", \"</s>\"]}}}]}, \"model\": "
        "{\"type\": "
        "\"BPE\", \"merges\": [], \"vocab\": {\"a\": 0}}}");

    (void)state;
    fixture_check_ids(t, "a", true, "1 0 2 2");
    fixture_check_ids(t, "", true, "1 2 2");
    fixture_check_ids(t, "a", false, "0");
    pb_tokenizer_close(t);
}

/* Decodes "ids" of a tokenizer whose tokens are listed with "|" between. */
static void check_decoder(const char *decoder, const char *tokens, const char *expected)
{
    pb_string json = {0};
    pb_string text = {0};
    int32_t ids[32];
    int64_t count = 0;

    assert_ok(pb_string_printf(&json,
                               "{\"decoder\": %s, \"model\": {\"type\": \"BPE\", \"merges\": "
                               "[], \"vocab\": {",
                               decoder));
    for (const char *at = tokens; *at != '\0';) {
        size_t length = strcspn(at, "|");
        assert_ok(pb_string_puts(&json, count > 0 ? ", " : ""));
        assert_ok(pb_string_json(&json, at, length));
        assert_ok(pb_string_printf(&json, ": %d", (int)count));
        ids[count] = (int32_t)count;
        count++;
        at += length + (at[length] == '|');
    }
    assert_ok(pb_string_puts(&json, "}}}"));
    pb_tokenizer *t = fixture_open(json.data);
    assert_ok(pb_tokenizer_decode(t, ids, count, false, &text));
    assert_string_equal(text.data, expected);
    pb_tokenizer_close(t);
    pb_string_clear(&json);
    pb_string_clear(&text);
}

static void test_decoders(void **state)
{
    (void)state;
    check_decoder("null", "a|b", "a b");
    check_decoder("{\"type\": \"Fuse\"}", "a|b", "ab");
    check_decoder("{\"type\": \"Replace\", \"pattern\": {\"String\": \"_\"}, \"content\": \" \"}",
                  "_a|b_c", " ab c");
    check_decoder("{\"type\": \"ByteFallback\"}", "<0xC3>|<0xA9>|x|<0xE2>|<0x82>|y",
                  "\xc3\xa9x\xef\xbf\xbd\xef\xbf\xbdy");
    check_decoder("{\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 1}",
                  "  a  | b", " a b");
    check_decoder("{\"type\": \"ByteLevel\"}",
                  "\xc4\xa0"
                  "a|\xc3\x83|\xc2\xa9|\xc3\xa2|\xc4\xa4|z",
                  " a\xc3\xa9\xef\xbf\xbdz");
    check_decoder(
        "{\"type\": \"Metaspace\", \"replacement\": \"_\", \"prepend_scheme\": \"always\"}",
        "_a|_b|c_", "a bc ");
    check_decoder(
        "{\"type\": \"Metaspace\", \"replacement\": \"_\", \"prepend_scheme\": \"never\"}", "_a|_b",
        " a b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unicode_forms),
        cmocka_unit_test(test_lowercase_strip_prepend_and_replace),
        cmocka_unit_test(test_split_keeps_matches_where_the_behaviour_says),
        cmocka_unit_test(test_regular_expressions_follow_oniguruma),
        cmocka_unit_test(test_other_pretokenizers),
        cmocka_unit_test(test_byte_level_pieces_are_bytes),
        cmocka_unit_test(test_metaspace_schemes),
        cmocka_unit_test(test_added_tokens_are_found_leftmost_and_longest),
        cmocka_unit_test(test_added_tokens_take_space_and_respect_words),
        cmocka_unit_test(test_a_prefix_of_the_first_piece_needs_the_start),
        cmocka_unit_test(test_space_is_taken_once),
        cmocka_unit_test(test_normalized_added_tokens_are_decoded_as_found),
        cmocka_unit_test(test_normalized_added_tokens_are_found_after_the_normalizer),
        cmocka_unit_test(test_encode_plain_reads_special_tokens_as_text),
        cmocka_unit_test(test_post_processors_put_special_tokens_around),
        cmocka_unit_test(test_decoders),
    };
    return cmocka_run_group_tests(tests, NULL, fixture_remove);
}
