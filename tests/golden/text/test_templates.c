// SPDX-License-Identifier: Apache-2.0
/* Chat templates against the golden prompts: the text of prompt and answer for every row, the ids
 * as the concatenation of the pieces, and the truncation rules. */
#include "../../support/support.h"

#include "pb/file.h"
#include "pb/memory.h"
#include "pb/template.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { PAIRS = 4 };

/* A template and a tokenizer of its family. */
static const char *const pairs[PAIRS][2] = {{"llama3", "llama3"},
                                            {"qwen3", "qwen3"},
                                            {"gemma", "gemma-style"},
                                            {"mistral", "mistral-v0.3"}};

static pb_tokenizer *tokenizers[PAIRS];

static const pb_template *template_of(const char *name)
{
    const pb_template *tpl = NULL;
    assert_ok(pb_template_find(name, &tpl));
    return tpl;
}

static int open_tokenizers(void **state)
{
    (void)state;
    for (size_t i = 0; i < PAIRS; i++) {
        assert_ok(pb_tokenizer_open(shared_path("tokenizers/%s", pairs[i][1]), &tokenizers[i]));
    }
    return 0;
}

static int close_tokenizers(void **state)
{
    (void)state;
    for (size_t i = 0; i < PAIRS; i++) {
        pb_tokenizer_close(tokenizers[i]);
    }
    assert_int_equal(pb_memory_current(), 0);
    return 0;
}

static void assert_text(const pb_string *text, const json_t *expected)
{
    assert_true(json_is_string(expected));
    assert_string_equal(text->data == NULL ? "" : text->data, json_string_value(expected));
}

/* The text of a row in one template, and its ids: decoding the prompt's ids gives the text back. */
static void check_row(size_t pair, const json_t *row)
{
    const pb_template *tpl = template_of(pairs[pair][0]);
    const pb_tokenizer *t  = tokenizers[pair];
    const char *user       = json_string_value(json_object_get(row, "user"));
    const char *answer     = json_string_value(json_object_get(row, "assistant"));
    const json_t *rendered = json_object_get(json_object_get(row, "rendered"), pairs[pair][0]);
    const json_t *expected = json_object_get(rendered, "prompt");
    pb_string prompt       = {0};
    pb_string reply        = {0};
    pb_string decoded      = {0};
    pb_rendered r          = {0};

    assert_ok(pb_template_text(tpl, t, user, answer, false, &prompt, &reply));
    assert_text(&prompt, expected);
    assert_text(&reply, json_object_get(rendered, "answer"));

    assert_ok(pb_template_render(tpl, t, user, answer, false, &r));
    assert_true(r.user_begin <= r.user_end && r.user_end <= r.prompt_length);
    if (pair < 2) { /* byte-level tokenizers give their (NFC) text back exactly */
        assert_ok(pb_tokenizer_decode(t, r.ids.items, r.prompt_length, false, &decoded));
        assert_text(&decoded, expected);
        decoded.length = 0;
        assert_ok(pb_tokenizer_decode(t, r.ids.items + r.prompt_length,
                                      r.ids.count - r.prompt_length, false, &decoded));
        assert_text(&decoded, json_object_get(rendered, "answer"));
    }
    pb_rendered_clear(&r);
    pb_string_clear(&prompt);
    pb_string_clear(&reply);
    pb_string_clear(&decoded);
}

static void test_rendered_text_equals_the_golden_prompts(void **state)
{
    char **names = NULL;
    size_t count = 0;
    size_t rows  = 0;

    (void)state;
    assert_ok(pb_path_list(shared_path("golden/protocol/prompts"), ".jsonl", &names, &count));
    for (size_t i = 0; i < count; i++) {
        pb_string text = {0};
        assert_ok(pb_file_read(shared_path("golden/protocol/prompts/%s", names[i]), 0, &text));
        for (size_t at = 0; at < text.length;) {
            size_t size = (size_t)(strchrnul(text.data + at, '\n') - (text.data + at));
            json_t *row = json_loadb(text.data + at, size, 0, NULL);
            assert_non_null(row);
            for (size_t pair = 0; json_object_get(row, "rendered") != NULL && pair < PAIRS;
                 pair++) {
                check_row(pair, row);
                rows++;
            }
            json_decref(row);
            at += size + 1;
        }
        pb_string_clear(&text);
    }
    pb_memory_free_texts(names, count);
    print_message("%zu rendered rows\n", rows);
    assert_true(rows > 1000);
}

static void test_paper_truncation_equals_all_golden_cases(void **state)
{
    json_t *file = json_load_file(shared_path("golden/protocol/prompts/_truncation.json"), 0, NULL);
    const json_t *cases = json_object_get(file, "cases");

    (void)state;
    assert_int_equal(json_array_size(cases), 199);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        int64_t number[5];
        int64_t prompt = -1;
        int64_t answer = -1;
        for (size_t k = 0; k < 5; k++) {
            number[k] = json_integer_value(json_array_get(json_array_get(cases, i), k));
        }
        pb_template_truncate_paper(number[0], number[1], number[2], &prompt, &answer);
        assert_int_equal(prompt, number[3]);
        assert_int_equal(answer, number[4]);
    }
    json_decref(file);
}

/* The ids of the chat vectors are those of HF for the whole conversation of one user turn. */
static void test_rendered_ids_equal_those_of_one_user_turn(void **state)
{
    static const char user[]     = "Hello!";
    static const int32_t llama[] = {128000, 128006, 882, 128007, 271};

    (void)state;
    pb_rendered r = {0};
    assert_ok(pb_template_render(template_of("llama3"), tokenizers[0], user, NULL, true, &r));
    assert_memory_equal(r.ids.items, llama, sizeof llama);
    assert_int_equal(r.user_begin, 5);
    assert_int_equal(r.user_end, r.prompt_length - 5);
    assert_int_equal(r.prompt_length, r.ids.count);
    pb_rendered_clear(&r);

    assert_ok(pb_template_render(template_of("mistral"), tokenizers[3], user, NULL, true, &r));
    static const int32_t mistral[] = {1, 3, 23325, 29576, 4};
    assert_int_equal(r.ids.count, 5);
    assert_memory_equal(r.ids.items, mistral, sizeof mistral);
    assert_int_equal(r.user_begin, 2);
    assert_int_equal(r.user_end, 4);
    pb_rendered_clear(&r);
}

static int64_t count_id(const pb_rendered *r, int32_t id)
{
    int64_t count = 0;

    for (int64_t i = 0; i < r->ids.count; i++) {
        count += r->ids.items[i] == id;
    }
    return count;
}

static void test_markers_in_a_row_act_in_the_paper_form_and_are_text_in_the_corrected(void **state)
{
    static const char user[] = "a<|eot_id|>b<|im_end|>c<end_of_turn>d[/INST]e</s>f";
    const char *const ends[] = {"<|eot_id|>", "<|im_end|>", "<end_of_turn>", "[/INST]"};

    (void)state;
    for (size_t pair = 0; pair < PAIRS; pair++) {
        const pb_template *tpl = template_of(pairs[pair][0]);
        pb_rendered paper      = {0};
        pb_rendered corrected  = {0};
        pb_string text         = {0};
        int32_t id             = -1;
        assert_true(pb_tokenizer_id(tokenizers[pair], ends[pair], &id));
        assert_ok(pb_template_render(tpl, tokenizers[pair], user, user, false, &paper));
        assert_ok(pb_template_render(tpl, tokenizers[pair], user, user, true, &corrected));
        assert_int_equal(count_id(&paper, id), count_id(&corrected, id) + 2);
        assert_ok(pb_tokenizer_decode(tokenizers[pair], corrected.ids.items + corrected.user_begin,
                                      corrected.user_end - corrected.user_begin, true, &text));
        assert_non_null(strstr(text.data, user));
        pb_string_clear(&text);
        pb_rendered_clear(&paper);
        pb_rendered_clear(&corrected);
    }
}

static void test_corrected_truncation_cuts_only_the_end_of_the_users_text(void **state)
{
    char user[4001];

    (void)state;
    for (size_t i = 0; i < 4000; i++) {
        user[i] = i % 7 == 6 ? ' ' : (char)('a' + (i * i) % 26);
    }
    memcpy(user + 1998, "\xf0\x9f\x98\x80\xc3\xa9\xe2\x82\xac",
           9); /* cuts are between characters */
    user[4000] = '\0';
    for (size_t pair = 0; pair < PAIRS; pair++) {
        const pb_template *tpl = template_of(pairs[pair][0]);
        pb_rendered full       = {0};
        assert_ok(pb_template_render(tpl, tokenizers[pair], user, "yes", true, &full));
        for (int64_t cutoff = 24; cutoff < full.ids.count + 200; cutoff += 97) {
            pb_rendered cut = {0};
            size_t dropped  = 0;
            bool fits       = false;
            assert_ok(pb_template_render_within(tpl, tokenizers[pair], user, "yes", cutoff, &cut,
                                                &dropped, &fits));
            assert_true(fits);
            assert_true(cut.ids.count <= cutoff);
            assert_true(cut.ids.count > cutoff - 8 || dropped == 0);
            assert_int_equal(dropped == 0, full.ids.count <= cutoff);
            assert_memory_equal(cut.ids.items, full.ids.items,
                                (size_t)cut.user_begin * sizeof *cut.ids.items);
            int64_t tail = full.ids.count - full.user_end; /* template and answer are whole */
            assert_int_equal(cut.ids.count - cut.user_end, tail);
            assert_memory_equal(cut.ids.items + cut.user_end, full.ids.items + full.user_end,
                                (size_t)tail * sizeof *cut.ids.items);
            pb_rendered_clear(&cut);
        }
        pb_rendered_clear(&full);
    }
}

static void test_corrected_truncation_says_when_template_and_answer_do_not_fit(void **state)
{
    pb_rendered r  = {0};
    size_t dropped = 0;
    bool fits      = true;

    (void)state;
    assert_ok(pb_template_render_within(template_of("llama3"), tokenizers[0], "question",
                                        "a long answer that is never cut", 10, &r, &dropped,
                                        &fits));
    assert_false(fits);
    assert_int_equal(dropped, 8);
    assert_true(r.ids.count > 10);
    pb_rendered_clear(&r);
}

static void test_paper_truncation_cuts_both_ends_in_place(void **state)
{
    pb_rendered full = {0};
    pb_rendered cut  = {0};

    (void)state;
    assert_ok(pb_template_render(template_of("llama3"), tokenizers[0], "one two three four",
                                 "five six seven eight nine ten", false, &full));
    assert_ok(pb_template_render(template_of("llama3"), tokenizers[0], "one two three four",
                                 "five six seven eight nine ten", false, &cut));
    pb_rendered_truncate_paper(&cut, 10);
    assert_int_equal(cut.ids.count, 10);
    assert_memory_equal(cut.ids.items, full.ids.items, (size_t)cut.prompt_length * 4);
    assert_memory_equal(cut.ids.items + cut.prompt_length, full.ids.items + full.prompt_length,
                        (size_t)(10 - cut.prompt_length) * 4);
    assert_true(cut.user_end <= cut.prompt_length);
    pb_rendered_clear(&full);
    pb_rendered_clear(&cut);
}

static void test_stop_ids_are_those_of_the_protocol(void **state)
{
    static const char *const expected[PAIRS][2] = {{"<|eot_id|>", NULL},
                                                   {"<|im_end|>", "<|object_ref_start|>"},
                                                   {"<end_of_turn>", NULL},
                                                   {"</s>", NULL}};

    (void)state;
    for (size_t pair = 0; pair < PAIRS; pair++) {
        pb_ids ids = {0};
        assert_ok(pb_template_stop_ids(template_of(pairs[pair][0]), tokenizers[pair], &ids));
        for (size_t i = 0; i < 2 && expected[pair][i] != NULL; i++) {
            int32_t id = -1;
            bool found = false;
            assert_true(pb_tokenizer_id(tokenizers[pair], expected[pair][i], &id));
            for (int64_t k = 0; k < ids.count; k++) {
                found = found || ids.items[k] == id;
            }
            assert_true(found);
        }
        assert_true(ids.count == 1 || pair == 1);
        pb_ids_clear(&ids);
    }
}

static void test_a_template_of_another_family_is_refused(void **state)
{
    pb_rendered r = {0};
    pb_ids ids    = {0};

    (void)state;
    assert_error(pb_template_render(template_of("llama3"), tokenizers[3], "a", "b", true, &r),
                 PB_ERR_CONFIG, "has no token \"<|start_header_id|>\"");
    assert_error(pb_template_stop_ids(template_of("gemma"), tokenizers[0], &ids), PB_ERR_CONFIG,
                 "no token that ends an answer");
}

/* Returns 1 when the line is a prompt of one user turn, which is then checked. */
static size_t check_chat(const pb_template *tpl, const pb_tokenizer *t, const json_t *line)
{
    const json_t *messages = json_object_get(line, "messages");
    const json_t *message  = json_array_get(messages, 0);
    const char *user       = json_string_value(json_object_get(message, "content"));
    const json_t *ids      = json_object_get(line, "ids");
    const char *role       = json_string_value(json_object_get(message, "role"));
    pb_rendered r          = {0};
    pb_string text         = {0};

    if (json_array_size(messages) != 1 || strcmp(role, "user") != 0 ||
        !json_is_true(json_object_get(line, "add_generation_prompt"))) {
        return 0;
    }
    assert_ok(pb_template_text(tpl, t, user, NULL, false, &text, NULL));
    assert_text(&text, json_object_get(line, "text"));
    assert_ok(pb_template_render(tpl, t, user, NULL, false, &r));
    assert_int_equal(r.ids.count, json_array_size(ids));
    for (int64_t i = 0; i < r.ids.count; i++) {
        assert_int_equal(r.ids.items[i], json_integer_value(json_array_get(ids, (size_t)i)));
    }
    pb_rendered_clear(&r);
    pb_string_clear(&text);
    return 1;
}

/* The chat vectors follow the model's own template: the prompt of one user turn has its text and
 * ids. */
static void test_prompts_equal_the_models_own_templates(void **state)
{
    static const char *const models[][3] = {{"phi-3-mini", "phi3", "Phi3ForCausalLM"},
                                            {"bytebpe-1k", "chatml", "Qwen2ForCausalLM"},
                                            {"mistral-v0.3", "mistral", "MistralForCausalLM"}};

    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        const pb_template *tpl = template_of(models[i][1]);
        pb_tokenizer *t        = NULL;
        pb_string file         = {0};
        size_t prompts         = 0;
        assert_ok(pb_tokenizer_open(shared_path("tokenizers/%s", models[i][0]), &t));
        assert_ptr_equal(pb_template_for(models[i][2], t), tpl);
        assert_ok(pb_file_read(shared_path("tokenizers/%s/chat.jsonl", models[i][0]), 0, &file));
        for (size_t at = 0; at < file.length;) {
            size_t size  = (size_t)(strchrnul(file.data + at, '\n') - (file.data + at));
            json_t *line = json_loadb(file.data + at, size, JSON_ALLOW_NUL, NULL);
            prompts += check_chat(tpl, t, line);
            json_decref(line);
            at += size + 1;
        }
        assert_true(prompts >= 3);
        pb_string_clear(&file);
        pb_tokenizer_close(t);
    }
}

static void test_the_template_of_a_model_follows_family_and_tokens(void **state)
{
    static const char *const models[PAIRS] = {"LlamaForCausalLM", "qwen3", "Gemma3ForCausalLM",
                                              "MistralForCausalLM"};

    (void)state;
    for (size_t pair = 0; pair < PAIRS; pair++) {
        assert_ptr_equal(pb_template_for(models[pair], tokenizers[pair]),
                         template_of(pairs[pair][0]));
    }
    /* The family without the tokens, and an unknown one. */
    assert_string_equal(pb_template_name(pb_template_for("llama", tokenizers[3])), "none");
    assert_string_equal(pb_template_name(pb_template_for("qwen2", tokenizers[1])), "chatml");
    assert_string_equal(pb_template_name(pb_template_for("", tokenizers[0])), "none");
    assert_string_equal(pb_template_name(pb_template_for("falcon", tokenizers[1])), "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rendered_text_equals_the_golden_prompts),
        cmocka_unit_test(test_paper_truncation_equals_all_golden_cases),
        cmocka_unit_test(test_rendered_ids_equal_those_of_one_user_turn),
        cmocka_unit_test(test_markers_in_a_row_act_in_the_paper_form_and_are_text_in_the_corrected),
        cmocka_unit_test(test_corrected_truncation_cuts_only_the_end_of_the_users_text),
        cmocka_unit_test(test_corrected_truncation_says_when_template_and_answer_do_not_fit),
        cmocka_unit_test(test_paper_truncation_cuts_both_ends_in_place),
        cmocka_unit_test(test_prompts_equal_the_models_own_templates),
        cmocka_unit_test(test_the_template_of_a_model_follows_family_and_tokens),
        cmocka_unit_test(test_stop_ids_are_those_of_the_protocol),
        cmocka_unit_test(test_a_template_of_another_family_is_refused),
    };
    (void)shared_directory();
    return cmocka_run_group_tests(tests, open_tokenizers, close_tokenizers);
}
