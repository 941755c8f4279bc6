// SPDX-License-Identifier: Apache-2.0
/* The layouts without a tokenizer.json: SentencePiece's tokenizer.model, and vocab.json with
 * merges.txt. Small files made here, their settings, and the effects of damage. */
#include "fixture.h"

#include "pb/memory.h"
#include "pb/random.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };
enum { UNIGRAM = 1, BPE };

/* A message under construction. */
static void put_number(pb_string *out, uint64_t value)
{
    do {
        char byte = (char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        assert_ok(pb_string_append(out, &byte, 1));
        value >>= 7;
    } while (value > 0);
}

static void put_integer(pb_string *out, uint64_t field, uint64_t value)
{
    put_number(out, field << 3);
    put_number(out, value);
}

static void put_bytes(pb_string *out, uint64_t field, const char *bytes, size_t size)
{
    put_number(out, field << 3 | 2);
    put_number(out, size);
    assert_ok(pb_string_append(out, bytes, size));
}

static void put_piece(pb_string *out, const char *text, float score, int type)
{
    pb_string piece = {0};

    put_bytes(&piece, 1, text, strlen(text));
    put_number(&piece, 2 << 3 | 5);
    assert_ok(pb_string_append(&piece, (const char *)&score, sizeof score));
    if (type != NORMAL) { /* the default is not written */
        put_integer(&piece, 3, (uint64_t)type);
    }
    put_bytes(out, 1, piece.data, piece.length);
    pb_string_clear(&piece);
}

static void put_message(pb_string *out, uint64_t field, pb_string *message)
{
    put_bytes(out, field, message->length > 0 ? message->data : "", message->length);
    pb_string_clear(message);
}

/* A test's changes to the model. */
typedef struct settings {
    uint64_t type;
    bool byte_fallback, no_prefix, keep_spaces, no_escape, suffix;
    const char *rules;
    const char *piece; /* one more, with the score and type below */
    float score;
    int piece_type;
} settings;

static pb_string make_model(const settings *s)
{
    static const char *const texts[] = {"a",        "b",   "c",  "\u2581", "ab",
                                        "\u2581ab", "abc", "bc", "\u00e9"};
    pb_string model                  = {0};
    pb_string trainer                = {0};
    pb_string normalizer             = {0};

    put_piece(&model, "<unk>", 0, UNKNOWN);
    put_piece(&model, "<s>", 0, CONTROL);
    put_piece(&model, "</s>", 0, CONTROL);
    put_piece(&model, "[x]", 0, USER_DEFINED);
    put_piece(&model, "<0x0A>", 0, BYTE);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) { /* ids 5 to 13 */
        put_piece(&model, texts[i], -(float)i, NORMAL);
    }
    if (s->piece != NULL) {
        put_piece(&model, s->piece, s->score, s->piece_type == 0 ? NORMAL : s->piece_type);
    }
    put_integer(&trainer, 3, s->type == 0 ? BPE : s->type);
    put_integer(&trainer, 24, s->suffix);
    put_integer(&trainer, 35, s->byte_fallback);
    put_message(&model, 2, &trainer);
    put_bytes(&normalizer, 1, "nmt_nfkc", 8);
    if (s->rules != NULL) {
        put_bytes(&normalizer, 2, s->rules, strlen(s->rules));
    }
    put_integer(&normalizer, 3, !s->no_prefix);
    put_integer(&normalizer, 4, !s->keep_spaces);
    put_integer(&normalizer, 5, !s->no_escape);
    put_message(&model, 3, &normalizer);
    put_bytes(&model, 4, "self-test", 9); /* a field that does not matter */
    return model;
}

static pb_status open_model(const settings *s, pb_tokenizer **out)
{
    pb_string model = make_model(s);

    fixture_write("tokenizer.model", model.data, model.length);
    pb_string_clear(&model);
    return pb_tokenizer_open(fixture_folder(), out);
}

static void check_model(const settings *s, const char *text, bool special, const char *expected)
{
    pb_tokenizer *t = NULL;

    assert_ok(open_model(s, &t));
    fixture_check_ids(t, text, special, expected);
    pb_tokenizer_close(t);
}

static int setup(void **state)
{
    (void)state;
    fixture_write("tokenizer_config.json", "{}", 2);
    return 0;
}

static void write_config(const char *text)
{
    fixture_write("tokenizer_config.json", text, strlen(text));
}

static void test_a_model_is_read_with_its_settings(void **state)
{
    (void)state;
    check_model(&(settings){0}, "ab", false, "10");
    check_model(&(settings){0}, "  ab   c ", false, "10 8 7");
    check_model(&(settings){0}, "", true, "1");
    check_model(&(settings){.keep_spaces = true}, " ab", false, "8 10");
    check_model(&(settings){.no_prefix = true}, "ab", true, "1 9");
    check_model(&(settings){.no_prefix = true}, "zz\n", false, "0");
    check_model(&(settings){.no_prefix = true, .byte_fallback = true}, "zz\n", false, "4 0");
    check_model(&(settings){0}, "ab[x]c<s>", false, "10 3 8 7 1");
    /* "abc" as a whole has a higher score than "bc", but "ab" is merged first. */
    check_model(&(settings){.no_prefix = true}, "abc", false, "11");
    check_model(&(settings){.no_prefix = true, .piece = "cc", .score = 5}, "accc", false, "5 14 7");
}

static void test_the_configuration_adds_to_a_model(void **state)
{
    (void)state;
    write_config("{\"legacy\": false, \"add_bos_token\": false, \"add_eos_token\": true, "
                 "\"eos_token\": \"</s>\"}");
    check_model(&(settings){.keep_spaces = true}, "ab[x]c ab", true, "10 3 7 10 2");
    write_config("{\"add_prefix_space\": false}");
    check_model(&(settings){0}, "ab", false, "9");
    write_config("{\"added_tokens_decoder\": {\"3\": {\"content\": \"[x]\", \"rstrip\": true, "
                 "\"normalized\": false}, \"14\": {\"content\": \"<end>\", \"special\": true}}}");
    check_model(&(settings){0}, "[x]  c<end>", false, "3 8 7 14");
    write_config("{}");
    fixture_write("added_tokens.json", "{\"<more>\": 14}", 14);
    /* Such a token is searched for in normalised text, where a word start precedes it. */
    check_model(&(settings){0}, "c <more>", false, "8 7 14");
    fixture_delete("added_tokens.json");
}

typedef struct refusal {
    settings settings;
    pb_status status;
    const char *message;
} refusal;

static const refusal refusals[] = {
    {{.type = UNIGRAM}, PB_ERR_UNSUPPORTED, "trainer_spec.model_type: Unigram"},
    {{.type = 9}, PB_ERR_UNSUPPORTED, "trainer_spec.model_type: ? (9)"},
    {{.suffix = true}, PB_ERR_UNSUPPORTED, "treat_whitespace_as_suffix"},
    {{.no_escape = true}, PB_ERR_UNSUPPORTED, "escape_whitespaces"},
    {{.rules = "x"},
     PB_ERR_UNSUPPORTED,
     "normalizer_spec: the rules \"nmt_nfkc\" are not supported"},
    {{.piece = ""}, PB_ERR_FORMAT, "piece 14: a text of 1 to 1024 bytes"},
    {{.piece = "\xff"}, PB_ERR_FORMAT, "piece 14: a text of 1 to 1024 bytes"},
    {{.piece = "ab"}, PB_ERR_FORMAT, "piece 14: \"ab\" occurs twice"},
    {{.piece = "x", .score = INFINITY}, PB_ERR_FORMAT, "piece 14: its score is not finite"},
    {{.piece = "x", .piece_type = UNUSED},
     PB_ERR_UNSUPPORTED,
     "piece 14: pieces of the type UNUSED"},
    {{.piece = "x", .piece_type = 77}, PB_ERR_FORMAT, "piece 14: its type"},
};

static void test_what_is_not_supported_is_refused_by_name(void **state)
{
    (void)state;
    write_config("{}");
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        pb_tokenizer *t = NULL;
        assert_error(open_model(&refusals[i].settings, &t), refusals[i].status,
                     refusals[i].message);
        assert_error(open_model(&refusals[i].settings, &t), refusals[i].status, "tokenizer.model");
        assert_null(t);
    }
}

static void test_broken_messages_are_errors(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *message;
    } files[] = {
        {"", 0, "it holds no pieces"},
        {"\x12\x00", 2, "it holds no pieces"},
        {"\x0a", 1, "inside a number"},
        {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 11, "longer than the rest"},
        {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12, "more than ten bytes"},
        {"\x0a\x05zz", 4, "longer than the rest"},
        {"\x0a\x00\x0a\x00", 4, "a piece without text"},
        {"\x0a\x03\x0a\x09x", 5, "longer than the rest"},
        {"\x08\x07", 2, "a message is expected"},
        {"\x08\x03\x12\x00", 4, "a message is expected"},
        {"\x0b\x00", 2, "a field of unknown type"},
        {"\x0d\x00", 2, "inside a field"},
        {"\x0a\x03\x0a\x01x", 5, "model_type: Unigram"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        pb_tokenizer *t = NULL;
        fixture_write("tokenizer.model", files[i].bytes, files[i].size);
        pb_status status = pb_tokenizer_open(fixture_folder(), &t);
        assert_true(status == PB_ERR_FORMAT || status == PB_ERR_UNSUPPORTED);
        if (strstr(pb_error_message(), files[i].message) == NULL) {
            fail_msg("file %zu: %s", i, pb_error_message());
        }
        pb_error_clear();
    }
}

static void test_other_forms_are_named(void **state)
{
    static const struct {
        const char *name, *text, *message;
    } files[] = {
        {"tokenizer.model", "IQ== 0\nIg== 1\n", "ranks of tiktoken"},
        {"tokenizer.model", "<!DOCTYPE html>", "holds an HTML page"},
        {"tekken.json", "{}", "but tekken.json (Mistral's own form)"},
        {"qwen.tiktoken", "IQ== 0\n", "but qwen.tiktoken"},
        {"vocab.txt", "a\n", "but vocab.txt (of WordPiece)"},
        {"spiece.model", "x", "AutoTokenizer.from_pretrained("},
        {"merges.txt", "a b\n", "merges.txt (without vocab.json)"},
    };

    (void)state;
    fixture_delete("tokenizer.model");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        pb_tokenizer *t = NULL;
        fixture_write(files[i].name, files[i].text, strlen(files[i].text));
        assert_true(pb_tokenizer_open(fixture_folder(), &t) != PB_OK);
        if (strstr(pb_error_message(), files[i].message) == NULL) {
            fail_msg("\"%s\" is not in \"%s\"", files[i].message, pb_error_message());
        }
        pb_error_clear();
        fixture_delete(files[i].name);
    }
}

static void test_classes_of_two_files(void **state)
{
    static const char vocab[]  = "{\"a\": 0, \"b\": 1, \"ab\": 2, \"1\": 3, \"11\": 4, \"<e>\": 5}";
    static const char merges[] = "#version: 0.2\na b\n1 1\n";
    pb_tokenizer *t            = NULL;

    (void)state;
    fixture_delete("tokenizer.model");
    fixture_write("vocab.json", vocab, sizeof vocab - 1);
    fixture_write("merges.txt", merges, sizeof merges - 1);
    write_config("{\"tokenizer_class\": \"GPT2TokenizerFast\", \"eos_token\": \"<e>\"}");
    assert_ok(pb_tokenizer_open(fixture_folder(), &t));
    fixture_check_ids(t, "ab11<e>", false, "2 4 5");
    pb_tokenizer_close(t);
    write_config("{\"tokenizer_class\": \"Qwen2Tokenizer\", \"eos_token\": \"<e>\"}");
    assert_ok(pb_tokenizer_open(fixture_folder(), &t));
    fixture_check_ids(t, "ab11<e>", false, "2 3 3 5"); /* its expression matches digits only */
    pb_tokenizer_close(t);
    t = NULL;
    write_config("{\"tokenizer_class\": \"RobertaTokenizer\"}");
    assert_error(pb_tokenizer_open(fixture_folder(), &t), PB_ERR_UNSUPPORTED,
                 "tokenizer_class \"RobertaTokenizer\"");
    write_config("{\"added_tokens_decoder\": {\"x\": {\"content\": \"y\"}}}");
    assert_error(pb_tokenizer_open(fixture_folder(), &t), PB_ERR_FORMAT, "added_tokens_decoder");
    write_config("{}");
    fixture_write("added_tokens.json", "{\"<e>\": 2.5}", 12);
    assert_error(pb_tokenizer_open(fixture_folder(), &t), PB_ERR_FORMAT, "added_tokens.json");
    fixture_delete("added_tokens.json");
    fixture_delete("vocab.json");
    fixture_delete("merges.txt");
}

/* Opens a possible tokenizer, and uses it if it is valid. */
static bool try_tokenizer(void)
{
    static const char text[] = " abc [x]<s>  ab\n11 \xe4\xb8\xad \u2581\u2581";
    pb_tokenizer *t          = NULL;
    pb_ids ids               = {0};
    pb_string back           = {0};

    if (pb_tokenizer_open(fixture_folder(), &t) != PB_OK) {
        assert_true(strlen(pb_error_message()) > 10);
        pb_error_clear();
        return false;
    }
    assert_ok(pb_tokenizer_encode(t, text, strlen(text), true, &ids));
    assert_ok(pb_tokenizer_decode(t, ids.items, ids.count, false, &back));
    pb_ids_clear(&ids);
    pb_string_clear(&back);
    pb_tokenizer_close(t);
    return true;
}

/* Damages a file 400 times: bytes changed, parts dropped or doubled. */
static int damage_file(const char *name, const char *bytes, size_t size, uint64_t seed)
{
    pb_random stream = pb_random_stream(12, PB_RANDOM_TEST, seed);
    uint64_t draw    = 0;
    size_t held      = pb_memory_current();
    int opened       = 0;

    for (int round = 0; round < 400; round++) {
        char copy[2048];
        size_t length = size;
        assert_true(2 * size < sizeof copy);
        memcpy(copy, bytes, size);
        for (uint64_t i = pb_random_below(stream, draw++, 3) + 1; i > 0 && length > 1; i--) {
            size_t at    = (size_t)pb_random_below(stream, draw++, length);
            size_t count = (size_t)pb_random_below(stream, draw++, 12) + 1;
            count        = count < length - at ? count : length - at;
            switch (pb_random_below(stream, draw++, 4)) {
            case 0:
                memmove(copy + at, copy + at + count, length - at - count);
                length -= count;
                break;
            case 1:
                memmove(copy + at + count, copy + at, length - at);
                length += count;
                break;
            case 2:
                copy[at] = (char)(copy[at] ^ 1 << pb_random_below(stream, draw++, 8));
                break;
            default:
                copy[at] = (char)pb_random_below(stream, draw++, 256);
                break;
            }
        }
        fixture_write(name, copy, length);
        pb_memory_peak_reset();
        opened += try_tokenizer();
        assert_int_equal(pb_memory_current(), held);
        assert_true(pb_memory_peak() < 4 * 1024 * 1024);
    }
    fixture_write(name, bytes, size);
    assert_true(try_tokenizer());
    return opened;
}

static void test_random_damage_to_a_model_never_crashes(void **state)
{
    pb_string model = make_model(&(settings){.byte_fallback = true});

    (void)state;
    write_config("{\"bos_token\": \"<s>\"}");
    int opened = damage_file("tokenizer.model", model.data, model.length, 1);
    assert_true(opened > 0 && opened < 395);
    for (size_t size = 0; size < model.length; size++) {
        fixture_write("tokenizer.model", model.data, size);
        (void)try_tokenizer();
    }
    fixture_delete("tokenizer.model");
    pb_string_clear(&model);
}

static void test_random_damage_to_two_files_never_crashes(void **state)
{
    static const char vocab[] =
        "{\"a\": 0, \"b\": 1, \"c\": 2, \"ab\": 3, \"abc\": 4, \"\u0120\": 5, "
        "\"\u0120ab\": 6, \"1\": 7, \"11\": 8, \"<e>\": 9, \"\u010a\": 10}";
    static const char merges[] = "#version: 0.2\na b\nab c\n\u0120 ab\n1 1\n";
    static const char config[] = "{\"tokenizer_class\": \"Qwen2Tokenizer\", \"eos_token\": "
                                 "\"<e>\", \"added_tokens_decoder\": "
                                 "{\"9\": {\"content\": \"<e>\", \"special\": true}}}";

    (void)state;
    fixture_write("vocab.json", vocab, sizeof vocab - 1);
    fixture_write("merges.txt", merges, sizeof merges - 1);
    write_config(config);
    assert_true(try_tokenizer());
    int opened = damage_file("vocab.json", vocab, sizeof vocab - 1, 2);
    assert_true(opened > 0 && opened < 395);
    opened = damage_file("merges.txt", merges, sizeof merges - 1, 3);
    assert_true(opened > 0 && opened < 395);
    opened = damage_file("tokenizer_config.json", config, sizeof config - 1, 4);
    assert_true(opened > 0 && opened < 395);
    fixture_delete("vocab.json");
    fixture_delete("merges.txt");
}

/* Every allocation fails in turn. */
static void test_failing_allocations_are_errors(void **state)
{
    bool opened      = false;
    pb_tokenizer *ok = NULL;

    (void)state;
    write_config("{}");
    assert_ok(open_model(&(settings){0}, &ok)); /* writes the file */
    pb_tokenizer_close(ok);
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
        cmocka_unit_test(test_a_model_is_read_with_its_settings),
        cmocka_unit_test(test_the_configuration_adds_to_a_model),
        cmocka_unit_test(test_what_is_not_supported_is_refused_by_name),
        cmocka_unit_test(test_broken_messages_are_errors),
        cmocka_unit_test(test_other_forms_are_named),
        cmocka_unit_test(test_classes_of_two_files),
        cmocka_unit_test(test_random_damage_to_a_model_never_crashes),
        cmocka_unit_test(test_random_damage_to_two_files_never_crashes),
        cmocka_unit_test(test_failing_allocations_are_errors),
    };
    return cmocka_run_group_tests(tests, setup, fixture_remove);
}
