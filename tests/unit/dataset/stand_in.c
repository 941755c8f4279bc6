// SPDX-License-Identifier: Apache-2.0
#include "stand_in.h"

#include <string.h>

const char *stand_in_name      = "bytes";
const char *stand_in_end       = "$";
const char *stand_in_tokenizer = "bytes";

const char stand_in_rows[] = ROW("a", "b", "0") ROW("abcdefgh", "i", "1") ROW("x", "", "1");

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
    return append(&out->ids, stand_in_end, 1);
}

/* The stand-ins for the module `text`. */

pb_status pb_template_render(const pb_template *tpl, const pb_tokenizer *t, const char *user,
                             const char *answer, bool corrected, pb_rendered *out)
{
    (void)tpl;
    (void)t;
    (void)corrected; /* the cache looks at the first rows without a cutoff */
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

const char *pb_template_name(const pb_template *tpl)
{
    (void)tpl;
    return stand_in_name;
}

const char *pb_tokenizer_hash(const pb_tokenizer *t)
{
    (void)t;
    return stand_in_tokenizer;
}

pb_dataset *stand_in_dataset(pb_protocol protocol)
{
    pb_dataset *ds = NULL;

    fixture_write("train.jsonl", stand_in_rows, strlen(stand_in_rows));
    fixture_write("test.jsonl", stand_in_rows, strlen(stand_in_rows));
    assert_ok(fixture_dataset(fixture_options, protocol, NULL, &ds));
    return ds;
}

void stand_in_assert_row(const pb_encoded_set *set, int64_t index, const char *text,
                         int64_t prompt_length)
{
    pb_sample sample = pb_encoded_sample(set, index);
    pb_sample prompt = pb_encoded_prompt(set, index);

    assert_int_equal(sample.length, strlen(text));
    assert_int_equal(prompt.length, prompt_length);
    assert_ptr_equal(prompt.ids, sample.ids);
    assert_false(pb_sample_has_labels(&prompt));
    for (int64_t t = 0; t < sample.length; t++) {
        assert_int_equal(sample.ids[t], text[t]);
        if (t > 0) {
            assert_int_equal(pb_sample_label(&sample, t),
                             t < prompt_length ? PB_LABEL_NONE : text[t]);
        }
    }
}
