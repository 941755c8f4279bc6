// SPDX-License-Identifier: Apache-2.0
/* Normalizers: a text is rewritten as a whole before it is cut into pieces. A step without effect
 * does not copy the text. */
#include "normal_form.h"
#include "step.h"
#include "unicode.h"
#include "unicode_versions.h"

#include "pb/memory.h"
#include "pb/utf8.h"

#include <string.h>

static pb_status run_form(text_form form, text_scratch *w)
{
    pb_string *out = scratch_spare(w);
    bool changed   = false;

    PB_TRY(form_apply(form, w->text, w->length, out, &changed));
    if (changed) {
        scratch_adopt(w, out);
    }
    return PB_OK;
}

static pb_status run_nfc(const text_step *step, text_scratch *w)
{
    (void)step;
    return run_form(FORM_NFC, w);
}

static pb_status run_nfkc(const text_step *step, text_scratch *w)
{
    (void)step;
    return run_form(FORM_NFKC, w);
}

static pb_status run_nfd(const text_step *step, text_scratch *w)
{
    (void)step;
    return run_form(FORM_NFD, w);
}

static pb_status run_nfkd(const text_step *step, text_scratch *w)
{
    (void)step;
    return run_form(FORM_NFKD, w);
}

/* Character by character, without context. U+0130 is the only one that becomes two characters. */
static pb_status run_lowercase(const text_step *step, text_scratch *w)
{
    pb_string *out = scratch_spare(w);

    (void)step;
    for (size_t at = 0, size = 0; at < w->length; at += size) {
        char bytes[4];
        int32_t code = pb_utf8_decode(w->text + at, &size);
        if (code == 0x130) {
            PB_TRY(pb_string_puts(out, "i\xcc\x87"));
        } else {
            size_t n = pb_utf8_encode(unicode_lower(code), bytes);
            PB_TRY(pb_string_append(out, bytes, n));
        }
    }
    scratch_adopt(w, out);
    return PB_OK;
}

static pb_status parse_strip(const json_t *node, const char *place, text_step *step)
{
    PB_TRY(json_bool(node, place, "strip_left", true, &step->left));
    return PB_FRAME(json_bool(node, place, "strip_right", true, &step->right));
}

static pb_status run_strip(const text_step *step, text_scratch *w)
{
    size_t size = 0;

    while (step->left && w->length > 0 && unicode_is_space(pb_utf8_decode(w->text, &size))) {
        w->text += size;
        w->length -= size;
    }
    while (step->right && w->length > 0) {
        size_t at = pb_utf8_before(w->text, w->length);
        if (!unicode_is_space(pb_utf8_decode(w->text + at, &size))) {
            break;
        }
        w->length = at;
    }
    return PB_OK;
}

static pb_status parse_replace(const json_t *node, const char *place, text_step *step)
{
    PB_TRY(pattern_parse(node, place, &step->pattern));
    if (pattern_may_be_empty(&step->pattern)) {
        /* HF doubles the prefix of the first character when the text is cut later. */
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "%s.pattern: an expression that may match nothing is not supported; use a "
                       "tokenizer without it",
                       place);
    }
    return PB_FRAME(step_content(node, place, "content", step));
}

static pb_status run_replace(const text_step *step, text_scratch *w)
{
    pb_string *out = scratch_spare(w);
    bool changed   = false;

    PB_TRY(pattern_replace(&step->pattern, w, w->text, w->length, step->content,
                           step->content_length, out, &changed));
    if (changed) {
        scratch_adopt(w, out);
    }
    return PB_OK;
}

static pb_status parse_prepend(const json_t *node, const char *place, text_step *step)
{
    return step_content(node, place, "prepend", step);
}

static pb_status run_prepend(const text_step *step, text_scratch *w)
{
    if (w->length == 0) {
        return PB_OK;
    }
    pb_string *out = scratch_spare(w);
    PB_TRY(pb_string_append(out, step->content, step->content_length));
    PB_TRY(pb_string_append(out, w->text, w->length));
    scratch_adopt(w, out);
    return PB_OK;
}

static const step_kind kinds[] = {
    {"NFC", "", NULL, run_nfc},
    {"NFKC", "", NULL, run_nfkc},
    {"NFD", "", NULL, run_nfd},
    {"NFKD", "", NULL, run_nfkd},
    {"Lowercase", "", NULL, run_lowercase},
    {"Strip", "strip_left strip_right", parse_strip, run_strip},
    {"Replace", "pattern content", parse_replace, run_replace},
    {"Prepend", "prepend", parse_prepend, run_prepend},
};

const text_stage stage_normalizer = {"normalizer", "normalizers", kinds,
                                     sizeof kinds / sizeof *kinds};
