// SPDX-License-Identifier: Apache-2.0
/* Decoders: the pieces are the tokens of the ids, contiguous in the current text; each step writes
 * the next list of tokens. */
#include "step.h"
#include "unicode.h"

#include "pb/utf8.h"

#include <string.h>

/* A token of the current text. */
typedef struct token {
    const char *text;
    size_t length;
} token;

static token token_at(const text_scratch *w, size_t index)
{
    text_span span = w->spans.items[index];
    return (token){w->text + span.begin, span.end - span.begin};
}

/* Ends the token that was appended to `out` from `begin` on. */
static pb_status end_token(text_scratch *w, const pb_string *out, size_t begin)
{
    return spans_push(&w->other, (text_span){begin, out->length, -1, false});
}

static void finish(text_scratch *w, const pb_string *out)
{
    scratch_adopt(w, out);
    scratch_swap_spans(w);
}

static pb_status parse_replace(const json_t *node, const char *place, text_step *step)
{
    PB_TRY(pattern_parse(node, place, &step->pattern));
    return PB_FRAME(step_content(node, place, "content", step));
}

static pb_status run_replace(const text_step *step, text_scratch *w)
{
    pb_string *out = scratch_spare(w);

    for (size_t i = 0; i < w->spans.count; i++) {
        token t      = token_at(w, i);
        size_t begin = out->length;
        bool changed = false;
        PB_TRY(pattern_replace(&step->pattern, w, t.text, t.length, step->content,
                               step->content_length, out, &changed));
        if (!changed) {
            PB_TRY(pb_string_append(out, t.text, t.length));
        }
        PB_TRY(end_token(w, out, begin));
    }
    finish(w, out);
    return PB_OK;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte denoted by a token like "<0x41>", -1 for other tokens. */
static int byte_of(token t)
{
    if (t.length != 6 || memcmp(t.text, "<0x", 3) != 0 || t.text[5] != '>') {
        return -1;
    }
    int high = hex_digit(t.text[3]);
    int low  = hex_digit(t.text[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* Ends a run of bytes appended from `begin` on: one token when they are valid UTF-8, else one
 * U+FFFD per byte. */
static pb_status end_bytes(text_scratch *w, pb_string *out, size_t begin)
{
    size_t count = out->length - begin;

    if (count == 0) {
        return PB_OK;
    }
    if (!pb_utf8_is_valid(out->data + begin, count, NULL)) {
        out->length = begin;
        for (size_t i = 0; i < count; i++) {
            PB_TRY(pb_string_puts(out, "\xef\xbf\xbd"));
        }
    }
    return end_token(w, out, begin);
}

static pb_status run_byte_fallback(const text_step *step, text_scratch *w)
{
    pb_string *out = scratch_spare(w);
    size_t begin   = 0;

    (void)step;
    for (size_t i = 0; i < w->spans.count; i++) {
        token t  = token_at(w, i);
        int byte = byte_of(t);
        if (byte >= 0) {
            char c = (char)byte;
            PB_TRY(pb_string_append(out, &c, 1));
            continue;
        }
        PB_TRY(end_bytes(w, out, begin));
        begin = out->length;
        PB_TRY(pb_string_append(out, t.text, t.length));
        PB_TRY(end_token(w, out, begin));
        begin = out->length;
    }
    PB_TRY(end_bytes(w, out, begin));
    finish(w, out);
    return PB_OK;
}

/* The tokens are contiguous: one span over all of them is their concatenation. */
static pb_status run_fuse(const text_step *step, text_scratch *w)
{
    (void)step;
    PB_TRY(spans_push(&w->other, (text_span){0, w->length, -1, false}));
    scratch_swap_spans(w);
    return PB_OK;
}

static pb_status parse_strip(const json_t *node, const char *place, text_step *step)
{
    PB_TRY(step_content(node, place, "content", step));
    PB_TRY(text_json_integer(node, place, "start", 0, &step->start));
    PB_TRY(text_json_integer(node, place, "stop", 0, &step->stop));
    if (step->content_length == 0 || pb_utf8_size(step->content[0]) != step->content_length) {
        return PB_FAIL(PB_ERR_FORMAT, "%s.content: one character is expected, found \"%.*s\"",
                       place, PB_FIT(step->content, 60));
    }
    if (step->start < 0 || step->stop < 0) {
        return PB_FAIL(PB_ERR_FORMAT, "%s: start and stop may not be negative", place);
    }
    return PB_OK;
}

static pb_status run_strip(const text_step *step, text_scratch *w)
{
    pb_string *out = scratch_spare(w);
    size_t n       = step->content_length;

    for (size_t i = 0; i < w->spans.count; i++) {
        token t      = token_at(w, i);
        size_t begin = out->length;
        for (int64_t cut = 0; cut < step->start && t.length >= n; cut++) {
            if (memcmp(t.text, step->content, n) != 0) {
                break;
            }
            t.text += n;
            t.length -= n;
        }
        for (int64_t cut = 0; cut < step->stop && t.length >= n; cut++) {
            if (memcmp(t.text + t.length - n, step->content, n) != 0) {
                break;
            }
            t.length -= n;
        }
        PB_TRY(pb_string_append(out, t.text, t.length));
        PB_TRY(end_token(w, out, begin));
    }
    finish(w, out);
    return PB_OK;
}

/* Appends the bytes that the characters of a token denote; false when one denotes none. */
static pb_status append_bytes(token t, pb_string *out, bool *all)
{
    *all = true;
    for (size_t at = 0, size = 0; at < t.length; at += size) {
        int32_t byte = char_to_byte(pb_utf8_decode(t.text + at, &size));
        char c       = (char)byte;
        *all         = byte >= 0;
        if (!*all) {
            return PB_OK;
        }
        PB_TRY(pb_string_append(out, &c, 1));
    }
    return PB_OK;
}

/* All tokens become one. A token with a character outside the byte alphabet stays as it is. */
static pb_status run_byte_level(const text_step *step, text_scratch *w)
{
    pb_string *bytes = scratch_spare(w);

    (void)step;
    for (size_t i = 0; i < w->spans.count; i++) {
        token t      = token_at(w, i);
        size_t begin = bytes->length;
        bool all     = false;
        PB_TRY(append_bytes(t, bytes, &all));
        if (!all) {
            bytes->length = begin;
            PB_TRY(pb_string_append(bytes, t.text, t.length));
        }
    }
    scratch_adopt(w, bytes);
    pb_string *out = scratch_spare(w);
    PB_TRY(pb_string_utf8(out, w->text, w->length));
    PB_TRY(end_token(w, out, 0));
    finish(w, out);
    return PB_OK;
}

static pb_status parse_metaspace(const json_t *node, const char *place, text_step *step)
{
    json_text scheme      = {0};
    bool add_prefix_space = true;

    PB_TRY(step_replacement(node, place, step));
    PB_TRY(json_bool(node, place, "add_prefix_space", true, &add_prefix_space));
    PB_TRY(json_text_or_none(node, place, "prepend_scheme", &scheme));
    step->prepend = PREPEND_ALWAYS;
    if (scheme.data == NULL ? !add_prefix_space : strcmp(scheme.data, "never") == 0) {
        step->prepend = PREPEND_NEVER;
    }
    return PB_OK;
}

/* The replacement becomes a space; in the first token it is removed if encoding had added one. */
static pb_status run_metaspace(const text_step *step, text_scratch *w)
{
    pb_string *out = scratch_spare(w);

    for (size_t i = 0; i < w->spans.count; i++) {
        token t      = token_at(w, i);
        size_t begin = out->length;
        for (size_t at = 0; at < t.length;) {
            size_t size = pb_utf8_size(t.text[at]);
            if (size != step->content_length || memcmp(t.text + at, step->content, size) != 0) {
                PB_TRY(pb_string_append(out, t.text + at, size));
            } else if (i > 0 || step->prepend == PREPEND_NEVER) {
                PB_TRY(pb_string_puts(out, " "));
            }
            at += size;
        }
        PB_TRY(end_token(w, out, begin));
    }
    finish(w, out);
    return PB_OK;
}

static const step_kind kinds[] = {
    {"Replace", "pattern content", parse_replace, run_replace},
    {"ByteFallback", "", NULL, run_byte_fallback},
    {"Fuse", "", NULL, run_fuse},
    {"Strip", "content start stop", parse_strip, run_strip},
    {"ByteLevel", "add_prefix_space trim_offsets use_regex", NULL, run_byte_level},
    {"Metaspace", "replacement prepend_scheme split add_prefix_space str_rep", parse_metaspace,
     run_metaspace},
};

const text_stage stage_decoder = {"decoder", "decoders", kinds, sizeof kinds / sizeof *kinds};
