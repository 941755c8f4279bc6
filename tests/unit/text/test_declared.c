// SPDX-License-Identifier: Apache-2.0
/* Tokens that are declared beside tokenizer.json. The expected ids and texts are those of
 * AutoTokenizer (transformers 5.24, tokenizers 0.23) for the same folders. */
#include "fixture.h"

#include "pb/memory.h"

#include <stdio.h>
#include <string.h>

#define TOKEN(id, text)                                                                        \
    "{\"id\": " #id ", \"content\": \"" text "\", \"single_word\": false, \"lstrip\": false, " \
    "\"rstrip\": false, \"normalized\": false, \"special\": true}"

/* Characters as tokens, and one special token. */
static const char tokenizer[] =
    "{\"added_tokens\": [" TOKEN(7, "<s>") "], \"decoder\": {\"type\": \"Fuse\"}, \"model\": "
                                           "{\"type\": \"BPE\", \"merges\": [], \"vocab\": {\"a\": "
                                           "0, \"b\": 1, \" \": 2, \"<\": 3, "
                                           "\"x\": 4, \">\": 5, \"y\": 6}}}";

static const char sample[] = "a <x> b <s> <y>xx ya y";

typedef struct folder {
    const char *what;
    const char *config, *added, *map; /* contents of the files, NULL: no file */
    const char *ids, *without_special;
    int32_t named[3]; /* bos, eos, pad */
} folder;

static const folder folders[] = {
    {"nothing is declared",
     NULL,
     NULL,
     NULL,
     "0 2 3 4 5 2 1 2 7 2 3 6 5 4 4 2 6 0 2 6",
     "a <x> b  <y>xx ya y",
     {-1, -1, -1}},
    {"the decoder adds",
     "{\"added_tokens_decoder\": {\"7\": {\"content\": \"<s>\", \"special\": true}, \"8\": "
     "{\"content\": \"<x>\", \"special\": true}}}",
     NULL,
     NULL,
     "0 2 8 2 1 2 7 2 3 6 5 4 4 2 6 0 2 6",
     "a  b  <y>xx ya y",
     {-1, -1, -1}},
    {"in any order",
     "{\"added_tokens_decoder\": {\"9\": {\"content\": \"<y>\"}, \"8\": {\"content\": \"<x>\", "
     "\"special\": true}}}",
     NULL,
     NULL,
     "0 2 8 2 1 2 7 2 9 4 4 2 6 0 2 6",
     "a  b  <y>xx ya y",
     {-1, -1, -1}},
    {"not special",
     "{\"added_tokens_decoder\": {\"8\": {\"content\": \"<x>\"}}}",
     NULL,
     NULL,
     "0 2 8 2 1 2 7 2 3 6 5 4 4 2 6 0 2 6",
     "a <x> b  <y>xx ya y",
     {-1, -1, -1}},
    {"with options",
     "{\"added_tokens_decoder\": {\"8\": {\"content\": \"<x>\", \"rstrip\": true, \"special\": "
     "true}, \"9\": {\"content\": \"<y>\", \"lstrip\": true}}}",
     NULL,
     NULL,
     "0 2 8 1 2 7 9 4 4 2 6 0 2 6",
     "a b <y>xx ya y",
     {-1, -1, -1}},
    {"single words",
     "{\"added_tokens_decoder\": {\"8\": {\"content\": \"ya\", \"single_word\": true}, \"9\": "
     "{\"content\": \"<y\", \"single_word\": true}}}",
     NULL,
     NULL,
     "0 2 3 4 5 2 1 2 7 2 9 5 4 4 2 8 2 6",
     "a <x> b  <y>xx ya y",
     {-1, -1, -1}},
    {"options of the decoder win",
     "{\"added_tokens_decoder\": {\"7\": {\"content\": \"<s>\", \"lstrip\": true, \"rstrip\": "
     "true, \"special\": true}}}",
     NULL,
     NULL,
     "0 2 3 4 5 2 1 7 3 6 5 4 4 2 6 0 2 6",
     "a <x> b<y>xx ya y",
     {-1, -1, -1}},
    {"so does its special",
     "{\"added_tokens_decoder\": {\"7\": {\"content\": \"<s>\", \"special\": false}}}",
     NULL,
     NULL,
     "0 2 3 4 5 2 1 2 7 2 3 6 5 4 4 2 6 0 2 6",
     "a <x> b  <y>xx ya y",
     {-1, -1, -1}},
    {"but a name makes special",
     "{\"pad_token\": \"<s>\", \"added_tokens_decoder\": {\"7\": {\"content\": \"<s>\", "
     "\"special\": false}}}",
     NULL,
     NULL,
     "0 2 3 4 5 2 1 2 7 2 3 6 5 4 4 2 6 0 2 6",
     "a <x> b  <y>xx ya y",
     {-1, -1, 7}},
    {"a list does not",
     "{\"additional_special_tokens\": [\"<x>\"], \"added_tokens_decoder\": {\"8\": {\"content\": "
     "\"<x>\", \"special\": false}}}",
     NULL,
     NULL,
     "0 2 8 2 1 2 7 2 3 6 5 4 4 2 6 0 2 6",
     "a <x> b  <y>xx ya y",
     {-1, -1, -1}},
    {"a token of the vocabulary",
     "{\"added_tokens_decoder\": {\"6\": {\"content\": \"y\", \"rstrip\": true}}}",
     NULL,
     NULL,
     "0 2 3 4 5 2 1 2 7 2 3 6 5 4 4 2 6 0 2 6",
     "a <x> b  <y>xx ya y",
     {-1, -1, -1}},
    {"added_tokens.json",
     NULL,
     "{\"<x>\": 8, \"<y>\": 9}",
     NULL,
     "0 2 8 2 1 2 7 2 9 4 4 2 6 0 2 6",
     "a <x> b  <y>xx ya y",
     {-1, -1, -1}},
    {"in any order there",
     "{}",
     "{\"<y>\": 9, \"<x>\": 8}",
     NULL,
     "0 2 8 2 1 2 7 2 9 4 4 2 6 0 2 6",
     "a <x> b  <y>xx ya y",
     {-1, -1, -1}},
    {"special by name",
     "{\"pad_token\": \"<x>\"}",
     "{\"<x>\": 8, \"<y>\": 9}",
     NULL,
     "0 2 8 2 1 2 7 2 9 4 4 2 6 0 2 6",
     "a  b  <y>xx ya y",
     {-1, -1, 8}},
    {"special by list",
     "{\"additional_special_tokens\": [\"<y>\"]}",
     "{\"<x>\": 8, \"<y>\": 9}",
     NULL,
     "0 2 8 2 1 2 7 2 9 4 4 2 6 0 2 6",
     "a <x> b  xx ya y",
     {-1, -1, -1}},
    {"what tokenizer.json has",
     "{}",
     "{\"<s>\": 7, \"<x>\": 8}",
     NULL,
     "0 2 8 2 1 2 7 2 3 6 5 4 4 2 6 0 2 6",
     "a <x> b  <y>xx ya y",
     {-1, -1, -1}},
    {"the decoder hides it",
     "{\"added_tokens_decoder\": {}}",
     "{\"<x>\": 8}",
     NULL,
     "0 2 3 4 5 2 1 2 7 2 3 6 5 4 4 2 6 0 2 6",
     "a <x> b  <y>xx ya y",
     {-1, -1, -1}},
    {"additional tokens",
     "{\"additional_special_tokens\": [\"<x>\", \"<y>\"]}",
     NULL,
     NULL,
     "0 2 8 2 1 2 7 2 9 4 4 2 6 0 2 6",
     "a  b  xx ya y",
     {-1, -1, -1}},
    {"additional objects",
     "{\"additional_special_tokens\": [{\"__type\": \"AddedToken\", \"content\": \"<x>\", "
     "\"rstrip\": true, \"special\": true}, \"<y>\"]}",
     NULL,
     NULL,
     "0 2 8 1 2 7 2 9 4 4 2 6 0 2 6",
     "a b  xx ya y",
     {-1, -1, -1}},
    {"that are not special",
     "{\"additional_special_tokens\": [{\"__type\": \"AddedToken\", \"content\": \"<x>\", "
     "\"special\": false}]}",
     NULL,
     NULL,
     "0 2 8 2 1 2 7 2 3 6 5 4 4 2 6 0 2 6",
     "a <x> b  <y>xx ya y",
     {-1, -1, -1}},
    {"extra tokens",
     "{\"extra_special_tokens\": [\"<x>\", \"<y>\"]}",
     NULL,
     NULL,
     "0 2 8 2 1 2 7 2 9 4 4 2 6 0 2 6",
     "a  b  xx ya y",
     {-1, -1, -1}},
    {"extra names",
     "{\"extra_special_tokens\": {\"x_token\": \"<x>\", \"other\": \"<y>\"}}",
     NULL,
     NULL,
     "0 2 8 2 1 2 7 2 9 4 4 2 6 0 2 6",
     "a  b  xx ya y",
     {-1, -1, -1}},
    {"extra named objects",
     "{\"extra_special_tokens\": {\"x_token\": {\"__type\": \"AddedToken\", \"content\": \"<x>\", "
     "\"lstrip\": true}}}",
     NULL,
     NULL,
     "0 8 2 1 2 7 2 3 6 5 4 4 2 6 0 2 6",
     "a b  <y>xx ya y",
     {-1, -1, -1}},
    {"extra before additional",
     "{\"additional_special_tokens\": [\"<x>\"], \"extra_special_tokens\": [\"<y>\"]}",
     NULL,
     NULL,
     "0 2 3 4 5 2 1 2 7 2 8 4 4 2 6 0 2 6",
     "a <x> b  xx ya y",
     {-1, -1, -1}},
    {"extra names and additional",
     "{\"additional_special_tokens\": [\"<x>\"], \"extra_special_tokens\": {\"y_token\": \"<y>\"}}",
     NULL,
     NULL,
     "0 2 9 2 1 2 7 2 8 4 4 2 6 0 2 6",
     "a  b  xx ya y",
     {-1, -1, -1}},
    {"a name of the model",
     "{\"image_token\": \"<x>\"}",
     NULL,
     NULL,
     "0 2 8 2 1 2 7 2 3 6 5 4 4 2 6 0 2 6",
     "a  b  <y>xx ya y",
     {-1, -1, -1}},
    {"an object as such",
     "{\"image_token\": {\"__type\": \"AddedToken\", \"content\": \"<x>\", \"rstrip\": true}, "
     "\"video_token\": \"<y>\"}",
     NULL,
     NULL,
     "0 2 8 1 2 7 2 9 4 4 2 6 0 2 6",
     "a b  xx ya y",
     {-1, -1, -1}},
    {"objects come first",
     "{\"video_token\": \"<y>\", \"image_token\": {\"__type\": \"AddedToken\", \"content\": "
     "\"<x>\"}}",
     NULL,
     NULL,
     "0 2 8 2 1 2 7 2 9 4 4 2 6 0 2 6",
     "a  b  xx ya y",
     {-1, -1, -1}},
    {"no token: a flag",
     "{\"add_bos_token\": true, \"chat_token\": 3}",
     NULL,
     NULL,
     "0 2 3 4 5 2 1 2 7 2 3 6 5 4 4 2 6 0 2 6",
     "a <x> b  <y>xx ya y",
     {-1, -1, -1}},
    {"the standard names in their order",
     "{\"mask_token\": \"<x>\", \"pad_token\": \"<y>\"}",
     NULL,
     NULL,
     "0 2 9 2 1 2 7 2 8 4 4 2 6 0 2 6",
     "a  b  xx ya y",
     {-1, -1, 8}},
    {"all of them",
     "{\"mask_token\": \"xa\", \"cls_token\": \"xb\", \"pad_token\": \"xx\", \"sep_token\": "
     "\"ya\", \"unk_token\": \"yb\", \"eos_token\": \"<x>\", \"bos_token\": \"<y>\"}",
     NULL,
     NULL,
     "0 2 9 2 1 2 7 2 8 12 2 11 2 6",
     "a  b    y",
     {8, 9, 12}},
    {"names after the decoder",
     "{\"pad_token\": \"<x>\", \"added_tokens_decoder\": {\"8\": {\"content\": \"<y>\"}}}",
     NULL,
     NULL,
     "0 2 9 2 1 2 7 2 8 4 4 2 6 0 2 6",
     "a  b  <y>xx ya y",
     {-1, -1, 9}},
    {"lists after names",
     "{\"additional_special_tokens\": [\"<x>\"], \"pad_token\": \"<y>\"}",
     NULL,
     NULL,
     "0 2 9 2 1 2 7 2 8 4 4 2 6 0 2 6",
     "a  b  xx ya y",
     {-1, -1, 8}},
    {"one text twice",
     "{\"additional_special_tokens\": [\"<x>\", \"<x>\", \"<y>\"], \"pad_token\": \"<x>\"}",
     NULL,
     NULL,
     "0 2 8 2 1 2 7 2 9 4 4 2 6 0 2 6",
     "a  b  xx ya y",
     {-1, -1, 8}},
    {"a name as an object",
     "{\"pad_token\": {\"__type\": \"AddedToken\", \"content\": \"<x>\", \"lstrip\": true}}",
     NULL,
     NULL,
     "0 8 2 1 2 7 2 3 6 5 4 4 2 6 0 2 6",
     "a b  <y>xx ya y",
     {-1, -1, 8}},
    {"options of a known name do not count",
     "{\"bos_token\": {\"__type\": \"AddedToken\", \"content\": \"<s>\", \"rstrip\": true}}",
     NULL,
     NULL,
     "0 2 3 4 5 2 1 2 7 2 3 6 5 4 4 2 6 0 2 6",
     "a <x> b  <y>xx ya y",
     {7, -1, -1}},
    {"a name in the vocabulary",
     "{\"pad_token\": \"y\"}",
     NULL,
     NULL,
     "0 2 3 4 5 2 1 2 7 2 3 6 5 4 4 2 6 0 2 6",
     "a <x> b  <>xx a ",
     {-1, -1, 6}},
    {"null and empty names",
     "{\"pad_token\": null, \"eos_token\": \"\"}",
     NULL,
     NULL,
     "0 2 3 4 5 2 1 2 7 2 3 6 5 4 4 2 6 0 2 6",
     "a <x> b  <y>xx ya y",
     {-1, -1, -1}},
    {"the map alone",
     NULL,
     NULL,
     "{\"pad_token\": \"<y>\", \"additional_special_tokens\": [\"<x>\"]}",
     "0 2 9 2 1 2 7 2 8 4 4 2 6 0 2 6",
     "a  b  xx ya y",
     {-1, -1, 8}},
    {"the map as objects",
     "{}",
     NULL,
     "{\"pad_token\": {\"content\": \"<x>\", \"lstrip\": true, \"special\": false}}",
     "0 8 2 1 2 7 2 3 6 5 4 4 2 6 0 2 6",
     "a b  <y>xx ya y",
     {-1, -1, 8}},
    {"the map wins",
     "{\"pad_token\": \"<x>\"}",
     NULL,
     "{\"pad_token\": \"<y>\"}",
     "0 2 3 4 5 2 1 2 7 2 8 4 4 2 6 0 2 6",
     "a <x> b  xx ya y",
     {-1, -1, 8}},
    {"even with null",
     "{\"pad_token\": \"<x>\"}",
     NULL,
     "{\"pad_token\": null}",
     "0 2 3 4 5 2 1 2 7 2 3 6 5 4 4 2 6 0 2 6",
     "a <x> b  <y>xx ya y",
     {-1, -1, -1}},
    {"lists of the configuration win",
     "{\"additional_special_tokens\": [\"<x>\"]}",
     NULL,
     "{\"additional_special_tokens\": [\"<y>\"]}",
     "0 2 8 2 1 2 7 2 3 6 5 4 4 2 6 0 2 6",
     "a  b  <y>xx ya y",
     {-1, -1, -1}},
    {"extra lists are joined",
     "{\"extra_special_tokens\": [\"<x>\"]}",
     NULL,
     "{\"extra_special_tokens\": [\"<y>\"]}",
     "0 2 8 2 1 2 7 2 9 4 4 2 6 0 2 6",
     "a  b  xx ya y",
     {-1, -1, -1}},
    {"extra names of the map",
     "{}",
     NULL,
     "{\"extra_special_tokens\": {\"x_token\": \"<x>\"}}",
     "0 2 8 2 1 2 7 2 3 6 5 4 4 2 6 0 2 6",
     "a  b  <y>xx ya y",
     {-1, -1, -1}},
    {"the decoder hides the map",
     "{\"added_tokens_decoder\": {}}",
     NULL,
     "{\"pad_token\": \"<y>\", \"additional_special_tokens\": [\"<x>\"]}",
     "0 2 3 4 5 2 1 2 7 2 3 6 5 4 4 2 6 0 2 6",
     "a <x> b  <y>xx ya y",
     {-1, -1, -1}},
    {"a special token inside of one that is not",
     "{\"unk_token\": {\"__type\": \"AddedToken\", \"content\": \"x\"}, \"added_tokens_decoder\": "
     "{\"8\": {\"content\": \"<x>\"}}}",
     NULL,
     NULL,
     "0 2 3 4 5 2 1 2 7 2 3 6 5 4 4 2 6 0 2 6",
     "a <> b  <y> ya y",
     {-1, -1, -1}},
    {"one token by two texts and an object",
     "{\"added_tokens_decoder\": {}, \"eos_token\": \"<y>\", \"pad_token\": {\"__type\": "
     "\"AddedToken\", \"content\": \"<y>\", \"lstrip\": true}, \"image_token\": \"<y>\"}",
     NULL,
     NULL,
     "0 2 3 4 5 2 1 2 7 8 4 4 2 6 0 2 6",
     "a <x> b xx ya y",
     {-1, 8, 8}},
    {"numbered by the older file, named by an object",
     "{\"mask_token\": {\"__type\": \"AddedToken\", \"content\": \"x\"}}",
     "{\"<x>\": 8, \"x\": 4}",
     NULL,
     "0 2 8 2 1 2 7 2 3 6 5 4 4 2 6 0 2 6",
     "a <x> b  <y> ya y",
     {-1, -1, -1}},
    {"numbered by the older file, named by a text",
     "{\"mask_token\": \"x\"}",
     "{\"<x>\": 8, \"x\": 4}",
     NULL,
     "0 2 3 4 5 2 1 2 7 2 3 6 5 4 4 2 6 0 2 6",
     "a <> b  <y> ya y",
     {-1, -1, -1}},
    {"the whole",
     "{\"additional_special_tokens\": [\"<y>\"], \"pad_token\": \"xx\"}",
     "{\"<x>\": 8}",
     "{\"bos_token\": \"<s>\"}",
     "0 2 8 2 1 2 7 2 10 9 2 6 0 2 6",
     "a <x> b   ya y",
     {7, -1, 9}},
};

static void write_or_delete(const char *name, const char *text)
{
    fixture_delete(name);
    if (text != NULL) {
        fixture_write(name, text, strlen(text));
    }
}

static void write_folder(const char *config, const char *added, const char *map)
{
    fixture_write("tokenizer.json", tokenizer, sizeof tokenizer - 1);
    write_or_delete("tokenizer_config.json", config);
    write_or_delete("added_tokens.json", added);
    write_or_delete("special_tokens_map.json", map);
}

static void test_declared_tokens_are_read_as_autotokenizer_reads_them(void **state)
{
    size_t held = pb_memory_current();

    (void)state;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        const folder *f = &folders[i];
        pb_tokenizer *t = NULL;
        pb_ids ids      = {0};
        pb_string back  = {0};
        print_message("%s\n", f->what);
        write_folder(f->config, f->added, f->map);
        assert_ok(pb_tokenizer_open(fixture_folder(), &t));
        fixture_check_ids(t, sample, false, f->ids);
        assert_ok(pb_tokenizer_encode(t, sample, strlen(sample), false, &ids));
        assert_ok(pb_tokenizer_decode(t, ids.items, ids.count, true, &back));
        assert_string_equal(back.data, f->without_special);
        assert_int_equal(pb_tokenizer_bos(t), f->named[0]);
        assert_int_equal(pb_tokenizer_eos(t), f->named[1]);
        assert_int_equal(pb_tokenizer_pad(t), f->named[2]);
        pb_string_clear(&back);
        pb_ids_clear(&ids);
        pb_tokenizer_close(t);
        assert_int_equal(pb_memory_current(), held);
    }
}

static void test_declarations_that_contradict_each_other_are_refused_with_both_ids(void **state)
{
    static const struct {
        const char *config, *added, *message;
    } cases[] = {
        {"{\"added_tokens_decoder\": {\"8\": {\"content\": \"<s>\"}}}", NULL,
         "added_tokens_decoder: \"<s>\" has the id 8 there, but 7"},
        {"{\"added_tokens_decoder\": {\"6\": {\"content\": \"a\"}}}", NULL,
         "added_tokens_decoder: \"a\" has the id 6 there, but 0"},
        {"{\"added_tokens_decoder\": {\"9\": {\"content\": \"<x>\"}}}", NULL,
         "added_tokens_decoder: \"<x>\" has the id 9 there, but the next free id, which "
         "transformers gives it, is 8"},
        {"{\"added_tokens_decoder\": {\"7\": {\"content\": \"<x>\"}}}", NULL,
         "added_tokens_decoder: the id 7 of \"<x>\" belongs to \"<s>\" already (the next free id "
         "is "
         "8)"},
        {"{\"added_tokens_decoder\": {\"8\": {\"content\": \"<x>\"}, \"9\": {\"content\": "
         "\"<x>\"}}}",
         NULL, "\"<x>\" has the id 9 there, but 8"},
        {NULL, "{\"<s>\": 8}", "added_tokens.json: \"<s>\" has the id 8 there, but 7"},
        {NULL, "{\"<x>\": 7}", "added_tokens.json: the id 7 of \"<x>\" belongs to \"<s>\""},
        {NULL, "{\"<x>\": 80}", "added_tokens.json: \"<x>\" has the id 80 there"},
        {"{\"added_tokens_decoder\": {\"8\": {\"content\": \"<x>\"}}}", "{\"<x>\": 9}",
         "added_tokens.json: \"<x>\" has the id 9 there, but 8"},
        {"{\"added_tokens_decoder\": [1]}", NULL, "added_tokens_decoder: an object is expected"},
        {"{\"added_tokens_decoder\": {\"8\": \"<x>\"}}", NULL, "an id with a token is expected"},
        {"{\"added_tokens_decoder\": {\"-1\": {\"content\": \"<x>\"}}}", NULL, "found \"-1\""},
        {"{\"added_tokens_decoder\": {\"8\": {\"content\": \"<x>\", \"strip\": true}}}", NULL,
         "the key \"strip\" is not supported"},
        {"{\"pad_token\": 3}", NULL, "tokenizer_config.json: pad_token: a string or an object"},
        {"{\"additional_special_tokens\": [3]}", NULL,
         "extra_special_tokens: a string or an object"},
        {NULL, "{\"<x>\": \"8\"}", "added_tokens.json: \"<x>\": an id is expected"},
    };
    size_t held = pb_memory_current();

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pb_tokenizer *t = NULL;
        write_folder(cases[i].config, cases[i].added, NULL);
        pb_status status = pb_tokenizer_open(fixture_folder(), &t);
        assert_true(status == PB_ERR_FORMAT || status == PB_ERR_UNSUPPORTED);
        if (strstr(pb_error_message(), cases[i].message) == NULL) {
            fail_msg("\"%s\" is not in \"%s\"", cases[i].message, pb_error_message());
        }
        assert_int_equal(pb_memory_current(), held);
    }
}

/* The next free id is unknown then: the library renumbers such tokens. */
static void test_free_ids_need_a_tokenizer_without_holes(void **state)
{
    static const char holes[] =
        "{\"added_tokens\": [" TOKEN(9, "<s>") "], \"model\": {\"type\": "
                                               "\"BPE\", \"merges\": [], \"vocab\": {\"a\": 0}}}";
    static const char config[] = "{\"pad_token\": \"<x>\"}";
    pb_tokenizer *t            = NULL;

    (void)state;
    write_folder(NULL, NULL, NULL);
    t = fixture_open(holes);
    fixture_check_ids(t, "a<s>", false, "0 9");
    pb_tokenizer_close(t);
    t = NULL;
    fixture_write("tokenizer_config.json", config, sizeof config - 1);
    assert_error(pb_tokenizer_open(fixture_folder(), &t), PB_ERR_FORMAT,
                 "pad_token names \"<x>\", which no file gives an id");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_declared_tokens_are_read_as_autotokenizer_reads_them),
        cmocka_unit_test(test_declarations_that_contradict_each_other_are_refused_with_both_ids),
        cmocka_unit_test(test_free_ids_need_a_tokenizer_without_holes),
    };
    return cmocka_run_group_tests_name("declared", tests, NULL, fixture_remove);
}
