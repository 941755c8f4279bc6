// SPDX-License-Identifier: Apache-2.0
/* The template `none` and the rules of rendering that need no real tokenizer. */
#include "fixture.h"

#include "pb/memory.h"
#include "pb/template.h"

#include <string.h>

static const char json[] =
    "{\"added_tokens\": [{\"id\": 10, \"content\": \"<s>\", \"special\": true}, {\"id\": 11, "
    "\"content\": \"</s>\", \"special\": true}, {\"id\": 12, \"content\": \"<|im_start|>\", "
    "\"special\": true}, {\"id\": 13, \"content\": \"<|im_end|>\", \"special\": true}], "
    "\"decoder\": {\"type\": \"Fuse\"}, \"model\": {\"type\": \"BPE\", \"unk_token\": \"u\", "
    "\"vocab\": {\"u\": 0, \"a\": 1, \"b\": 2, \"\\n\": 3, \"b\\n\": 4, \"<\": 5, \"s\": 6, \">\": "
    "7}, "
    "\"merges\": [[\"b\", \"\\n\"]]}}";

static const pb_template *template_of(const char *name)
{
    const pb_template *tpl = NULL;
    assert_ok(pb_template_find(name, &tpl));
    return tpl;
}

static pb_tokenizer *open_with(const char *config)
{
    fixture_write("tokenizer_config.json", config, strlen(config));
    pb_tokenizer *t = fixture_open(json);
    fixture_delete("tokenizer_config.json");
    return t;
}

static void assert_ids(const pb_ids *ids, const int32_t *expected, size_t count)
{
    assert_int_equal(ids->count, count);
    assert_memory_equal(ids->items, expected, count * sizeof *expected);
}

static void test_none_is_begin_text_line_feed_answer_end(void **state)
{
    pb_tokenizer *t           = open_with("{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}");
    const pb_template *none   = template_of("none");
    static const int32_t ab[] = {10, 1, 4, 1, 11};
    pb_rendered r             = {0};
    pb_ids stops              = {0};

    (void)state;
    assert_ok(pb_template_render(none, t, "ab", "a", false, &r));
    assert_ids(&r.ids, ab, 5);
    assert_int_equal(r.prompt_length, 3);
    assert_int_equal(r.user_begin, 1);
    assert_int_equal(r.user_end, 3); /* "b" and the line feed are one token */
    pb_rendered_clear(&r);
    assert_ok(pb_template_render(none, t, "ab", NULL, false, &r));
    assert_ids(&r.ids, ab, 3);
    pb_rendered_clear(&r);
    assert_ok(pb_template_stop_ids(none, t, &stops));
    assert_ids(&stops, &(int32_t){11}, 1);
    pb_ids_clear(&stops);
    pb_tokenizer_close(t);
}

static void test_none_does_without_begin_but_not_without_end(void **state)
{
    pb_tokenizer *t         = open_with("{\"eos_token\": \"</s>\"}");
    const pb_template *none = template_of("none");
    pb_rendered r           = {0};
    pb_ids stops            = {0};

    (void)state;
    assert_ok(pb_template_render(none, t, "a", NULL, true, &r));
    assert_ids(&r.ids, (const int32_t[]){1, 3}, 2);
    pb_rendered_clear(&r);
    pb_tokenizer_close(t);
    t = open_with("{}");
    assert_error(pb_template_render(none, t, "a", "b", true, &r), PB_ERR_CONFIG,
                 "not name an eos_token");
    assert_error(pb_template_stop_ids(none, t, &stops), PB_ERR_CONFIG, "no token that ends");
    pb_tokenizer_close(t);
}

static void test_markers_in_corrected_texts_are_text(void **state)
{
    pb_tokenizer *t           = open_with("{\"eos_token\": \"</s>\"}");
    const pb_template *chatml = template_of("chatml");
    pb_rendered r             = {0};
    int64_t marks             = 0;

    (void)state;
    assert_ok(pb_template_render(chatml, t, "<s>", "<s>", false, &r));
    for (int64_t i = 0; i < r.ids.count; i++) {
        marks += r.ids.items[i] == 10;
    }
    assert_int_equal(marks, 2);
    pb_rendered_clear(&r);
    assert_ok(pb_template_render(chatml, t, "<s>", "<s>", true, &r));
    assert_ids(&(pb_ids){.items = r.ids.items + r.user_begin, .count = r.user_end - r.user_begin},
               (const int32_t[]){5, 6, 7}, 3);
    assert_ids(
        &(pb_ids){.items = r.ids.items + r.prompt_length, .count = r.ids.count - r.prompt_length},
        (const int32_t[]){5, 6, 7, 13, 3}, 5);
    assert_int_equal(r.ids.items[0], 12);
    pb_rendered_clear(&r);
    pb_tokenizer_close(t);
}

static void test_names_and_lookup_agree(void **state)
{
    (void)state;
    const pb_template *tpl = NULL;
    assert_error(pb_template_find("llama", &tpl), PB_ERR_CONFIG,
                 "unknown chat template \"llama\"; did you mean \"llama3\"? Known: auto, ");
    for (size_t i = 0; pb_template_at(i) != NULL; i++) {
        assert_ptr_equal(template_of(pb_template_name(pb_template_at(i))), pb_template_at(i));
    }
}

static void test_text_form_spells_special_tokens_and_thoughts(void **state)
{
    pb_tokenizer *t  = open_with("{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}");
    pb_string prompt = {0};
    pb_string answer = {0};

    (void)state;
    assert_ok(pb_template_text(template_of("mistral"), t, "u", "v", true, &prompt, &answer));
    assert_string_equal(prompt.data, "<s>[INST] u[/INST]");
    assert_string_equal(answer.data, " v</s>");
    pb_string_clear(&prompt);
    pb_string_clear(&answer);
    assert_ok(pb_template_text(template_of("qwen3"), t, "{{idx}} {{idx}}",
                               "<think>\nx\n</think>\n\n<think>\n\n</think>\n\n\n\ny", false,
                               &prompt, &answer));
    assert_string_equal(prompt.data,
                        "<|im_start|>user\n0 {{idx}}<|im_end|>\n<|im_start|>assistant\n"
                        "<think>\n\n</think>\n\n");
    assert_string_equal(answer.data, "y<|im_end|>\n");
    pb_string_clear(&prompt);
    assert_ok(pb_template_text(template_of("qwen3"), t, "{{idx}}", NULL, true, &prompt, NULL));
    assert_non_null(strstr(prompt.data, "{{idx}}"));
    pb_string_clear(&prompt);
    pb_string_clear(&answer);
    pb_tokenizer_close(t);
}

static void test_paper_truncation_of_nothing_is_nothing(void **state)
{
    int64_t prompt = -1;
    int64_t answer = -1;

    (void)state;
    pb_template_truncate_paper(0, 0, 0, &prompt, &answer);
    assert_int_equal(prompt, 0);
    assert_int_equal(answer, 0);
    pb_template_truncate_paper(10, 10, 0, &prompt, &answer);
    assert_int_equal(prompt + answer, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none_is_begin_text_line_feed_answer_end),
        cmocka_unit_test(test_none_does_without_begin_but_not_without_end),
        cmocka_unit_test(test_markers_in_corrected_texts_are_text),
        cmocka_unit_test(test_names_and_lookup_agree),
        cmocka_unit_test(test_text_form_spells_special_tokens_and_thoughts),
        cmocka_unit_test(test_paper_truncation_of_nothing_is_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, fixture_remove);
}
