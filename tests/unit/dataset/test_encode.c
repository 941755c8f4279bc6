// SPDX-License-Identifier: Apache-2.0
/* Examples as token rows: packing, labels, truncation counts. The template here is one id per byte,
 * "<user>" and "answer$", so that every id can be written down. */
#include "fixture.h"

#include "pb/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pb_status append(pb_ids *ids, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        int32_t id = (unsigned char)text[i];
        PB_TRY(pb_ids_extend(ids, &id, 1));
    }
    return PB_OK;
}

static pb_status render(const char *user, size_t user_length, const char *answer, pb_rendered *out)
{
    PB_TRY(append(&out->ids, "<", 1));
    PB_TRY(append(&out->ids, user, user_length));
    PB_TRY(append(&out->ids, ">", 1));
    out->prompt_length = out->ids.count;
    PB_TRY(append(&out->ids, answer, strlen(answer)));
    return append(&out->ids, "$", 1);
}

/* The stand-ins for the module `text`. */

pb_status pb_template_render(const pb_template *tpl, const pb_tokenizer *t, const char *user,
                             const char *answer, bool corrected, pb_rendered *out)
{
    (void)tpl;
    (void)t;
    assert_false(corrected);
    if (strstr(user, "refuse") != NULL) {
        return PB_FAIL(PB_ERR_UNSUPPORTED, "refused");
    }
    return render(user, strlen(user), answer, out);
}

pb_status pb_template_render_within(const pb_template *tpl, const pb_tokenizer *t, const char *user,
                                    const char *answer, int64_t cutoff, pb_rendered *out,
                                    size_t *dropped, bool *fits)
{
    int64_t room = cutoff - 3 - (int64_t)strlen(answer);
    size_t kept  = room < 0 ? 0 : (size_t)room < strlen(user) ? (size_t)room : strlen(user);

    (void)tpl;
    (void)t;
    *dropped = strlen(user) - kept;
    *fits    = room >= 0;
    return render(user, kept, answer, out);
}

void pb_rendered_truncate_paper(pb_rendered *r, int64_t cutoff)
{
    r->ids.count     = r->ids.count < cutoff ? r->ids.count : cutoff;
    r->prompt_length = r->prompt_length < cutoff ? r->prompt_length : cutoff;
}

void pb_rendered_clear(pb_rendered *r)
{
    pb_ids_clear(&r->ids);
    *r = (pb_rendered){0};
}

pb_status pb_tokenizer_decode(const pb_tokenizer *t, const int32_t *ids, int64_t count,
                              bool skip_special, pb_string *out)
{
    (void)t;
    assert_true(skip_special);
    for (int64_t i = 0; i < count; i++) {
        char byte = (char)ids[i];
        PB_TRY(pb_string_append(out, &byte, byte != '$'));
    }
    return PB_OK;
}

static const char rows[] = ROW("a", "b", "0") ROW("abcdefgh", "i", "1") ROW("x", "", "1");

static pb_dataset *open_rows(pb_protocol protocol)
{
    pb_dataset *ds = NULL;

    fixture_write("train.jsonl", rows, sizeof rows - 1);
    fixture_write("test.jsonl", rows, sizeof rows - 1);
    assert_ok(fixture_dataset(fixture_options, protocol, NULL, &ds));
    return ds;
}

static void assert_row(const pb_encoded_set *set, int64_t index, const char *text,
                       int64_t prompt_length)
{
    pb_sample sample = pb_encoded_sample(set, index);
    pb_sample prompt = pb_encoded_prompt(set, index);

    assert_int_equal(sample.length, strlen(text));
    assert_int_equal(prompt.length, prompt_length);
    assert_ptr_equal(prompt.ids, sample.ids);
    assert_null(prompt.labels);
    for (int64_t t = 0; t < sample.length; t++) {
        assert_int_equal(sample.ids[t], text[t]);
        assert_int_equal(sample.labels[t], t < prompt_length ? PB_LABEL_NONE : text[t]);
    }
}

static void rows_are_packed_and_only_answers_have_labels(void **state)
{
    pb_dataset *ds     = open_rows(PB_PROTOCOL_CORRECTED);
    pb_encoded_set set = {0};

    (void)state;
    assert_ok(pb_dataset_encode(ds, PB_SPLIT_TRAIN, NULL, NULL, 100, &set));
    assert_int_equal(set.count, 3);
    assert_int_equal(set.truncated, 0);
    assert_row(&set, 0, "<Q\na\nb>yes$", 7);
    assert_row(&set, 1, "<Q\nabcdefgh\ni>no$", 14);
    assert_row(&set, 2, "<Q\nx>no$", 5);
    assert_int_equal(set.total, 11 + 17 + 8);
    pb_encoded_clear(&set);
    pb_dataset_close(ds);
}

static void corrected_cuts_the_user_text_and_drops_training_rows_without_room(void **state)
{
    pb_dataset *ds     = open_rows(PB_PROTOCOL_CORRECTED);
    pb_encoded_set set = {0};
    pb_string text     = {0};

    (void)state;
    assert_ok(pb_dataset_encode(ds, PB_SPLIT_TRAIN, NULL, NULL, 10, &set));
    assert_int_equal(set.truncated, 2);
    assert_row(&set, 0, "<Q\na\n>yes$", 6);
    assert_row(&set, 1, "<Q\nabc>no$", 7);
    pb_encoded_clear(&set);

    assert_ok(pb_dataset_encode(ds, PB_SPLIT_TRAIN, NULL, NULL, 5, &set));
    assert_int_equal(set.count, 2);
    assert_int_equal(set.too_long, 1);
    assert_int_equal(set.examples[0], 1);
    assert_row(&set, 0, "<>no$", 2);
    pb_encoded_clear(&set);

    assert_ok(pb_dataset_encode(ds, PB_SPLIT_TEST, NULL, NULL, 5, &set));
    assert_int_equal(set.count, 3);
    assert_int_equal(set.too_long, 1);
    assert_ok(pb_encoded_reference(ds, &set, NULL, 0, &text));
    assert_string_equal(text.data, "yes");
    pb_string_clear(&text);
    pb_encoded_clear(&set);

    assert_error(pb_dataset_encode(ds, PB_SPLIT_TRAIN, NULL, NULL, 4, &set), PB_ERR_FORMAT,
                 "none of 3 rows fits data.cutoff_tokens = 4");
    assert_null(set.ids);
    pb_dataset_close(ds);
}

static void paper_cuts_the_reference_too(void **state)
{
    pb_dataset *ds     = open_rows(PB_PROTOCOL_PAPER);
    pb_encoded_set set = {0};
    pb_string text     = {0};

    (void)state;
    assert_ok(pb_dataset_encode(ds, PB_SPLIT_TEST, NULL, NULL, 9, &set));
    assert_int_equal(set.truncated, 2);
    assert_row(&set, 0, "<Q\na\nb>ye", 7);
    assert_row(&set, 1, "<Q\nabcdef", 9);
    assert_ok(pb_encoded_reference(ds, &set, NULL, 0, &text));
    assert_string_equal(text.data, "ye");
    text.length = 0;
    assert_ok(pb_encoded_reference(ds, &set, NULL, 2, &text));
    assert_string_equal(text.data, "no");
    pb_string_clear(&text);
    pb_encoded_clear(&set);
    pb_dataset_close(ds);
}

static void a_failing_template_leaves_nothing_behind(void **state)
{
    static const char refused[] = ROW("a", "b", "0") ROW("refuse", "b", "0");
    pb_dataset *ds              = NULL;
    pb_encoded_set set          = {0};

    (void)state;
    fixture_write("train.jsonl", refused, sizeof refused - 1);
    fixture_write("test.jsonl", rows, sizeof rows - 1);
    assert_ok(fixture_dataset(fixture_options, PB_PROTOCOL_PAPER, NULL, &ds));
    assert_error(pb_dataset_encode(ds, PB_SPLIT_TRAIN, NULL, NULL, 100, &set), PB_ERR_UNSUPPORTED,
                 "refused");
    assert_null(set.ids);
    pb_dataset_close(ds);
}

static void made_up_token_rows_follow_from_the_seed_alone(void **state)
{
    pb_encoded_set a = {0}, b = {0}, c = {0};

    (void)state;
    assert_ok(pb_encoded_synthetic(5, 7, 2, 11, 3, &a));
    assert_ok(pb_encoded_synthetic(5, 7, 2, 11, 3, &b));
    assert_ok(pb_encoded_synthetic(5, 7, 2, 11, 4, &c));
    assert_int_equal(a.total, 45);
    assert_memory_equal(a.ids, b.ids, 45 * sizeof *a.ids);
    assert_memory_not_equal(a.ids, c.ids, 45 * sizeof *a.ids);
    for (int64_t t = 0; t < a.total; t++) {
        assert_in_range(a.ids[t], 0, 10);
        assert_int_equal(a.labels[t], t % 9 < 7 ? PB_LABEL_NONE : a.ids[t]);
    }
    pb_encoded_clear(&a);
    pb_encoded_clear(&b);
    pb_encoded_clear(&c);
    assert_error(pb_encoded_synthetic(0, 7, 2, 11, 3, &a), PB_ERR_ARGUMENT, "0 rows");
}

static int set_up(void **state)
{
    (void)state;
    fixture_open();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_close();
    assert_int_equal(pb_memory_current(), 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_packed_and_only_answers_have_labels),
        cmocka_unit_test(corrected_cuts_the_user_text_and_drops_training_rows_without_room),
        cmocka_unit_test(paper_cuts_the_reference_too),
        cmocka_unit_test(a_failing_template_leaves_nothing_behind),
        cmocka_unit_test(made_up_token_rows_follow_from_the_seed_alone),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
