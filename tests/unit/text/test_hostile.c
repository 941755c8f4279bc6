// SPDX-License-Identifier: Apache-2.0
/* Broken tokenizer files: each known kind of damage has its message, and random damage neither
 * crashes nor leaks nor allocates more than the file justifies. */
#include "fixture.h"
#include "internal.h"

#include "pb/memory.h"
#include "pb/random.h"
#include "pb/utf8.h"

#include <stdio.h>
#include <string.h>

static const char valid[] =
    "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": [{\"id\": "
    "8, "
    "\"content\": \"<s>\", \"single_word\": false, \"lstrip\": false, \"rstrip\": true, "
    "\"normalized\": false, \"special\": true}, {\"id\": 9, \"content\": \"x y\", \"normalized\": "
    "true}], \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}, "
    "{\"type\": \"Prepend\", \"prepend\": \"_\"}, {\"type\": \"Replace\", \"pattern\": "
    "{\"String\": "
    "\" \"}, \"content\": \"_\"}]}, \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": "
    "[{\"type\": \"Split\", \"pattern\": {\"Regex\": "
    "\"\\\\p{L}+|[^\\\\s\\\\p{L}]+|\\\\s+(?!\\\\S)\"}, "
    "\"behavior\": \"Isolated\", \"invert\": false}, {\"type\": \"Digits\", \"individual_digits\": "
    "true}]}, \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": "
    "[{\"SpecialToken\": "
    "{\"id\": \"<s>\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}], "
    "\"special_tokens\": {\"<s>\": {\"id\": \"<s>\", \"ids\": [8], \"tokens\": [\"<s>\"]}}}, "
    "\"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", \"pattern\": "
    "{\"String\": \"_\"}, \"content\": \" \"}, {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}, "
    "{\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}]}, \"model\": {\"type\": "
    "\"BPE\", \"dropout\": null, \"unk_token\": \"u\", \"fuse_unk\": true, \"byte_fallback\": "
    "true, "
    "\"vocab\": {\"u\": 0, \"a\": 1, \"b\": 2, \"_\": 3, \"ab\": 4, \"_ab\": 5, \"<0x0A>\": 6, "
    "\"1\": 7}, \"merges\": [\"a b\", [\"_\", \"ab\"]]}}";

/* The valid file with one text replaced. */
static void write_damaged(const char *from, const char *to)
{
    pb_string json = {0};
    const char *at = strstr(valid, from);

    assert_non_null(at);
    assert_ok(pb_string_append(&json, valid, (size_t)(at - valid)));
    assert_ok(pb_string_puts(&json, to));
    assert_ok(pb_string_puts(&json, at + strlen(from)));
    fixture_write("tokenizer.json", json.data, json.length);
    pb_string_clear(&json);
}

typedef struct damage {
    const char *from, *to;
    pb_status status;
    const char *message;
} damage;

static const damage damages[] = {
    {"{\"version\"", "[{\"version\"", PB_ERR_FORMAT, "invalid JSON"},
    {"\"1.0\"", "\"1.\xff\"", PB_ERR_FORMAT, "invalid JSON"},
    {"\"BPE\"", "\"Unigram\"", PB_ERR_UNSUPPORTED, "model.type: \"Unigram\" is not supported"},
    {"\"BPE\"", "\"WordPiece\"", PB_ERR_UNSUPPORTED, "model.type: \"WordPiece\" is not supported"},
    {"\"BPE\"", "7", PB_ERR_FORMAT, "model.type: a string is expected, found an integer"},
    {"\"model\": {\"type\"", "\"model\": 3, \"m\": {\"type\"", PB_ERR_UNSUPPORTED, "the key \"m\""},
    {"\"merges\": [", "\"merges\": {}, \"m\": [", PB_ERR_UNSUPPORTED, "model: the key \"m\""},
    {"\"vocab\": {", "\"vocab\": [], \"v\": {", PB_ERR_FORMAT, "\"vocab\" (an object)"},
    {"\"a b\"", "\"a z\"", PB_ERR_FORMAT, "model.merges[0]: the token \"z\" is not in model.vocab"},
    {"\"a b\"", "\"b a\"", PB_ERR_FORMAT, "model.merges[0]: the merged token \"ba\""},
    {"\"a b\"", "\"ab\"", PB_ERR_FORMAT, "model.merges[0]: two tokens and one space"},
    {"\"a b\"", "\"a b c\"", PB_ERR_FORMAT, "model.merges[0]: two tokens and one space"},
    {"[\"_\", \"ab\"]", "[\"_\"]", PB_ERR_FORMAT, "model.merges[1]: two strings"},
    {"[\"_\", \"ab\"]", "[\"_\", 4]", PB_ERR_FORMAT, "model.merges[1]: two strings"},
    {"[\"_\", \"ab\"]", "null", PB_ERR_FORMAT, "model.merges[1]: a string or two strings"},
    {"\"ab\": 4", "\"ab\": 3", PB_ERR_FORMAT, "the id 3 belongs to \"_\" already"},
    {"\"ab\": 4", "\"ab\": -4", PB_ERR_FORMAT, "model.vocab[\"ab\"]: an id from 0"},
    {"\"ab\": 4", "\"ab\": 4.5", PB_ERR_FORMAT, "model.vocab[\"ab\"]: an id from 0"},
    {"\"ab\": 4", "\"ab\": \"4\"", PB_ERR_FORMAT, "model.vocab[\"ab\"]: an id from 0"},
    {"\"ab\": 4", "\"ab\": 2147483646", PB_ERR_FORMAT, "the highest id is 2147483646"},
    {"\"ab\": 4", "\"ab\": 99999999999", PB_ERR_FORMAT, "model.vocab[\"ab\"]: an id from 0"},
    {"\"ab\": 4", "\"a\": 4", PB_ERR_FORMAT, "duplicate object key"},
    {"\"unk_token\": \"u\"", "\"unk_token\": \"w\"", PB_ERR_FORMAT, "model.unk_token: \"w\""},
    {"\"dropout\": null", "\"dropout\": 0.1", PB_ERR_UNSUPPORTED, "model.dropout"},
    {"\"fuse_unk\": true", "\"fuse_unk\": \"yes\"", PB_ERR_FORMAT,
     "model.fuse_unk: true or false is expected, found a string"},
    {"\"fuse_unk\": true", "\"end_of_word_suffix\": \"</w>\"", PB_ERR_UNSUPPORTED,
     "model.end_of_word_suffix"},
    {"\"id\": 8", "\"id\": 1", PB_ERR_FORMAT,
     "added_tokens[0]: the id 1 of \"<s>\" belongs to \"a\""},
    {"\"id\": 8", "\"id\": -1", PB_ERR_FORMAT, "added_tokens[0].id"},
    {"\"id\": 8", "\"id\": 1000000000", PB_ERR_FORMAT, "the highest id is 1000000000"},
    {"\"id\": 9", "\"id\": 8", PB_ERR_FORMAT, "added_tokens[1]: the id 8 of \"x y\""},
    {"\"x y\"", "\"<s>\"", PB_ERR_FORMAT, "added_tokens[1]: \"<s>\" occurs twice"},
    {"\"x y\"", "\"a\"", PB_ERR_FORMAT,
     "added_tokens[1]: \"a\" has id 9 here and 1 in model.vocab"},
    {"\"x y\", \"normalized\": true}",
     "\"x y\", \"normalized\": true}, {\"id\": 10, \"content\": \"x_y\", \"normalized\": true}",
     PB_ERR_UNSUPPORTED, "added_tokens[2]: its normalised text is also that of added_tokens[1]"},
    {"\"x y\"", "\"\"", PB_ERR_FORMAT, "added_tokens[1].content"},
    {"\"content\": \"x y\"", "\"text\": \"x y\"", PB_ERR_UNSUPPORTED, "added_tokens[1]: the key"},
    {"\"rstrip\": true", "\"rstrip\": 1", PB_ERR_FORMAT, "added_tokens[0].rstrip: true or false"},
    {"\"NFC\"", "\"Precompiled\"", PB_ERR_UNSUPPORTED,
     "normalizer.normalizers[0]: the type \"Precompiled\" is not supported"},
    {"{\"type\": \"NFC\"}", "5", PB_ERR_FORMAT, "normalizer.normalizers[0]: an object is expected"},
    {"\"prepend\": \"_\"", "\"prepend\": 1", PB_ERR_FORMAT,
     "normalizer.normalizers[1].prepend: a string is expected"},
    {"{\"String\": \" \"}", "{\"Regex\": \"x*\"}", PB_ERR_UNSUPPORTED,
     "normalizer.normalizers[2].pattern: an expression that may match nothing"},
    {"\"normalizers\"", "\"normalisers\"", PB_ERR_FORMAT, "normalizer.normalizers: an array"},
    {"\"Isolated\"", "\"Merged\"", PB_ERR_UNSUPPORTED, "pretokenizers[0].behavior: \"Merged\""},
    {"\"Regex\"", "\"Rgx\"", PB_ERR_UNSUPPORTED, "pretokenizers[0].pattern: the key \"Rgx\""},
    {"\\\\p{L}+|", "\\\\p{L}+|(", PB_ERR_FORMAT, "the regular expression is not valid"},
    {"\\\\p{L}+|", "\\\\p{Q}+|", PB_ERR_FORMAT, "the regular expression is not valid"},
    {"\\\\p{L}+|", "[a[b]]|", PB_ERR_UNSUPPORTED, "a character class inside of another"},
    {"\\\\p{L}+|", "[a&&b]|", PB_ERR_UNSUPPORTED, "the intersection of character classes"},
    {"\\\\p{L}+|", "\\\\h+|", PB_ERR_UNSUPPORTED, "\\h in a regular expression"},
    {"\\\\p{L}+|", "(?m:.)|", PB_ERR_UNSUPPORTED, "a group of this kind"},
    {"\\\\p{L}+|", "a{2}+|", PB_ERR_UNSUPPORTED, "a repeated quantifier"},
    {"\\\\p{L}+|", "[\\\\S]|", PB_ERR_UNSUPPORTED, "a negated escape"},
    {"\"Digits\", \"individual_digits\": true", "\"BertPreTokenizer\"", PB_ERR_UNSUPPORTED,
     "pre_tokenizer.pretokenizers[1]: the type \"BertPreTokenizer\""},
    {"\\\\p{L}+|", "[\\\\P{L}]|", PB_ERR_UNSUPPORTED, "a negated escape"},
    {"\\\\p{L}+|", "\\\\p{^L}|", PB_ERR_UNSUPPORTED, "a property of this kind"},
    {"\"individual_digits\": true", "\"individual\": true", PB_ERR_UNSUPPORTED,
     "the key \"individual\" is not supported"},
    {"\"type\": \"Split\"", "\"type\": \"ByteLevel\"", PB_ERR_UNSUPPORTED, "the key \"pattern\""},
    {"\"TemplateProcessing\"", "\"BertProcessing\"", PB_ERR_UNSUPPORTED,
     "post_processor: the type \"BertProcessing\""},
    {"\"ids\": [8]", "\"ids\": [88]", PB_ERR_FORMAT, "ids[0] of \"<s>\" is not an id"},
    {"\"special_tokens\": {\"<s>\"", "\"special_tokens\": {\"<t>\"", PB_ERR_FORMAT,
     "post_processor.single[0]: \"<s>\" is not in special_tokens"},
    {"{\"Sequence\": {\"id\": \"A\"", "{\"Sequence\": {\"id\": \"B\"", PB_ERR_UNSUPPORTED,
     "post_processor.single[1]: a template of one text A"},
    {"\"Fuse\"", "\"CTC\"", PB_ERR_UNSUPPORTED, "decoder.decoders[2]: the type \"CTC\""},
    {"\"content\": \" \", \"start\": 1", "\"content\": \"  \", \"start\": 1", PB_ERR_FORMAT,
     "decoder.decoders[3].content: one character"},
    {"\"start\": 1", "\"start\": -1", PB_ERR_FORMAT, "decoder.decoders[3]: start and stop"},
};

static void test_every_known_damage_has_its_message(void **state)
{
    pb_tokenizer *t = fixture_open(valid);

    (void)state;
    fixture_check_ids(t, "ab <s> 1\n", true, "8 3 4 3 8 3 7 6");
    pb_tokenizer_close(t);
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        t = NULL;
        write_damaged(damages[i].from, damages[i].to);
        assert_error(pb_tokenizer_open(fixture_folder(), &t), damages[i].status,
                     damages[i].message);
        assert_null(t);
        assert_error(pb_tokenizer_open(fixture_folder(), &t), damages[i].status, "tokenizer.json");
        assert_int_equal(pb_memory_current(), 0);
    }
}

static void test_missing_files_are_named(void **state)
{
    pb_tokenizer *t = NULL;

    (void)state;
    fixture_delete("tokenizer.json");
    assert_error(pb_tokenizer_open(fixture_folder(), &t), PB_ERR_NOT_FOUND, "no tokenizer.json");
    assert_error(pb_tokenizer_open("/no/such/folder", &t), PB_ERR_NOT_FOUND, "/no/such/folder");
}

static void test_every_truncation_is_an_error(void **state)
{
    pb_tokenizer *t = NULL;

    (void)state;
    for (size_t size = 0; size + 1 < sizeof valid - 1; size += 7) {
        fixture_write("tokenizer.json", valid, size);
        assert_error(pb_tokenizer_open(fixture_folder(), &t), PB_ERR_FORMAT, "invalid JSON");
    }
}

static void test_deep_nesting_is_an_error(void **state)
{
    pb_string json  = {0};
    pb_tokenizer *t = NULL;

    (void)state;
    for (int i = 0; i < 5000; i++) {
        assert_ok(pb_string_puts(&json, "{\"model\":"));
    }
    fixture_write("tokenizer.json", json.data, json.length);
    assert_error(pb_tokenizer_open(fixture_folder(), &t), PB_ERR_FORMAT, "invalid JSON");
    pb_string_clear(&json);

    assert_ok(pb_string_puts(&json,
                             "{\"model\": {\"type\": \"BPE\", \"vocab\": {}, \"merges\": []}, "
                             "\"normalizer\": "));
    for (int i = 0; i < 200; i++) {
        assert_ok(pb_string_puts(&json, "{\"type\": \"Sequence\", \"normalizers\": ["));
    }
    for (int i = 0; i < 200; i++) {
        assert_ok(pb_string_puts(&json, "]}"));
    }
    assert_ok(pb_string_puts(&json, "}"));
    fixture_write("tokenizer.json", json.data, json.length);
    assert_error(pb_tokenizer_open(fixture_folder(), &t), PB_ERR_UNSUPPORTED, "nested more than");
    pb_string_clear(&json);
}

/* Opens a possible tokenizer, and uses it if it is valid. */
static bool try_tokenizer(void)
{
    static const char text[] = " ab<s>  x y \xc3\xa9\n11 \xe4\xb8\xad";
    pb_tokenizer *t          = NULL;
    pb_ids ids               = {0};
    pb_string back           = {0};

    if (pb_tokenizer_open(fixture_folder(), &t) != PB_OK) {
        assert_true(strlen(pb_error_message()) > 10);
        pb_error_clear();
        return false;
    }
    assert_ok(pb_tokenizer_encode(t, text, strlen(text), true, &ids));
    assert_ok(
        tokenizer_encode_mixed(t, text, strlen(text), (text_plain){0, strlen(text)}, false, &ids));
    assert_ok(pb_tokenizer_decode(t, ids.items, ids.count, false, &back));
    assert_true(pb_utf8_is_valid(back.data == NULL ? "" : back.data, back.length, NULL));
    pb_ids_clear(&ids);
    pb_string_clear(&back);
    pb_tokenizer_close(t);
    return true;
}

static void test_random_damage_never_crashes(void **state)
{
    static const char spice[] = "{}[]\",:0123456789-eEtrufalsn\\ \xff\x00\xc3";
    pb_random stream          = pb_random_stream(11, PB_RANDOM_TEST, 1);
    uint64_t draw             = 0;
    int opened                = 0;
    char copy[sizeof valid];

    (void)state;
    for (int round = 0; round < 1500; round++) {
        uint64_t changes = 1 + pb_random_below(stream, draw++, 3);
        size_t size      = sizeof valid - 1;
        memcpy(copy, valid, sizeof valid);
        for (uint64_t i = 0; i < changes; i++) {
            size_t at = (size_t)pb_random_below(stream, draw++, size);
            if (pb_random_below(stream, draw++, 3) == 0) {
                size_t count = (size_t)pb_random_below(stream, draw++, 12) + 1;
                count        = count < size - at ? count : size - at;
                memmove(copy + at, copy + at + count, size - at - count);
                size -= count;
            } else {
                copy[at] = spice[pb_random_below(stream, draw++, sizeof spice - 1)];
            }
        }
        fixture_write("tokenizer.json", copy, size);
        pb_memory_peak_reset();
        opened += try_tokenizer();
        assert_int_equal(pb_memory_current(), 0);
        assert_true(pb_memory_peak() < 4 * 1024 * 1024);
    }
    assert_true(opened > 10 && opened < 1400);
}

/* Every allocation fails in turn. */
static void test_failing_allocations_are_errors(void **state)
{
    bool opened = false;

    (void)state;
    fixture_write("tokenizer.json", valid, sizeof valid - 1);
    for (size_t limit = 64; !opened && limit < ((size_t)1 << 20); limit += 512) {
        pb_tokenizer *t = NULL;
        pb_memory_limit(limit);
        pb_status status = pb_tokenizer_open(fixture_folder(), &t);
        pb_memory_limit(0);
        opened = status == PB_OK;
        assert_true(opened || status == PB_ERR_MEMORY);
        pb_error_clear();
        pb_tokenizer_close(t);
        assert_int_equal(pb_memory_current(), 0);
    }
    assert_true(opened);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_known_damage_has_its_message),
        cmocka_unit_test(test_missing_files_are_named),
        cmocka_unit_test(test_every_truncation_is_an_error),
        cmocka_unit_test(test_deep_nesting_is_an_error),
        cmocka_unit_test(test_random_damage_never_crashes),
        cmocka_unit_test(test_failing_allocations_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, fixture_remove);
}
