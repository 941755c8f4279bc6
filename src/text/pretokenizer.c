// SPDX-License-Identifier: Apache-2.0
/* Pre-tokenizers: the text is cut into pieces, each step cutting the pieces of the previous one.
 * Matches determine the cuts; a behaviour decides on which side of a cut the match stays. ByteLevel
 * leaves the bytes unchanged: the model knows that its pieces are bytes. */
#include "step.h"
#include "unicode.h"

#include "pb/utf8.h"

#include <string.h>

/* A cutter collects the pieces of one span: parts are given from left to right. */
typedef struct cutter {
    text_scratch *w;
    text_span span; /* being cut */
    split_behavior behavior;
    bool invert;
    bool matched; /* the previous part was a match */
    bool open;    /* the last piece may still grow */
    size_t floor; /* pieces of other spans */
} cutter;

static pb_status push_piece(cutter *c, size_t begin, size_t end)
{
    if (begin == end) {
        return PB_OK;
    }
    bool first = c->span.first && begin == c->span.begin;
    return spans_push(&c->w->other, (text_span){begin, end, -1, first});
}

/* Merging with the next keeps a match open until the next part that is not a match. */
static pb_status cut_part(cutter *c, size_t begin, size_t end, bool match)
{
    text_spans *pieces = &c->w->other;
    bool before        = c->matched;

    if (begin == end && !match) {
        return PB_OK;
    }
    match      = match != c->invert;
    c->matched = match;
    bool joins = (c->behavior == SPLIT_CONTIGUOUS && match == before) ||
                 (c->behavior == SPLIT_WITH_PREVIOUS && match && !before) ||
                 (c->behavior == SPLIT_WITH_NEXT && !match && before);
    if (joins && pieces->count > c->floor) {
        pieces->items[pieces->count - 1].end = end;
        return PB_OK;
    }
    return match && c->behavior == SPLIT_REMOVED ? PB_OK : push_piece(c, begin, end);
}

static cutter cutter_of(const text_step *step, text_scratch *w, text_span span)
{
    return (cutter){.w        = w,
                    .span     = span,
                    .behavior = step->behavior,
                    .invert   = step->invert,
                    .floor    = w->other.count};
}

static pb_status cut_by_pattern(const text_step *step, text_scratch *w, text_span span)
{
    cutter c    = cutter_of(step, w, span);
    matches m   = matches_of(&step->pattern, w, w->text + span.begin, span.end - span.begin);
    size_t done = 0;
    bool found  = false;

    PB_TRY(matches_next(&m, &found));
    while (found) {
        PB_TRY(cut_part(&c, span.begin + done, span.begin + m.begin, false));
        PB_TRY(cut_part(&c, span.begin + m.begin, span.begin + m.end, true));
        done = m.end;
        PB_TRY(matches_next(&m, &found));
    }
    return cut_part(&c, span.begin + done, span.end, false);
}

/* Every match is a piece, and the matches leave no gap. */
static pb_status cut_into_words(const text_step *step, text_scratch *w, text_span span)
{
    const char *text = w->text + span.begin;
    size_t length    = span.end - span.begin;

    for (size_t at = 0, end = 0; at < length; at = end) {
        end             = step->pattern.word(text, length, at);
        text_span piece = {span.begin + at, span.begin + end, -1, span.first && at == 0};
        PB_TRY(spans_push(&w->other, piece));
    }
    return PB_OK;
}

static pb_status run_split(const text_step *step, text_scratch *w)
{
    bool words = step->pattern.word != NULL && step->behavior == SPLIT_ISOLATED;

    for (size_t i = 0; i < w->spans.count; i++) {
        text_span span = w->spans.items[i];
        PB_TRY(words ? cut_into_words(step, w, span) : cut_by_pattern(step, w, span));
    }
    scratch_swap_spans(w);
    return PB_OK;
}

/* Every character of a class is a separate match. */
static pb_status cut_by_class(const text_step *step, text_scratch *w, bool (*is_member)(int32_t))
{
    for (size_t i = 0; i < w->spans.count; i++) {
        text_span span = w->spans.items[i];
        cutter c       = cutter_of(step, w, span);
        size_t done    = span.begin;
        for (size_t at = span.begin, size = 0; at < span.end; at += size) {
            if (is_member(pb_utf8_decode(w->text + at, &size))) {
                PB_TRY(cut_part(&c, done, at, false));
                PB_TRY(cut_part(&c, at, at + size, true));
                done = at + size;
            }
        }
        PB_TRY(cut_part(&c, done, span.end, false));
    }
    scratch_swap_spans(w);
    return PB_OK;
}

static pb_status parse_behavior(const json_t *node, const char *place, text_step *step)
{
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};
    json_text text                   = {0};

    PB_TRY(json_text_or_none(node, place, "behavior", &text));
    step->behavior = SPLIT_ISOLATED;
    for (size_t i = 0; text.data != NULL && i < sizeof names / sizeof *names; i++) {
        if (strcmp(text.data, names[i]) == 0) {
            step->behavior = (split_behavior)i;
            return PB_OK;
        }
    }
    if (text.data != NULL) {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "%s.behavior: \"%.*s\" is not supported (known: Removed, Isolated, "
                       "MergedWithPrevious, MergedWithNext, Contiguous)",
                       place, PB_FIT(text.data, 60));
    }
    return PB_OK;
}

static pb_status parse_split(const json_t *node, const char *place, text_step *step)
{
    PB_TRY(pattern_parse(node, place, &step->pattern));
    PB_TRY(parse_behavior(node, place, step));
    return PB_FRAME(json_bool(node, place, "invert", false, &step->invert));
}

static pb_status parse_digits(const json_t *node, const char *place, text_step *step)
{
    bool individual = false;

    PB_TRY(json_bool(node, place, "individual_digits", false, &individual));
    step->behavior = individual ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS;
    return PB_OK;
}

static pb_status run_digits(const text_step *step, text_scratch *w)
{
    return cut_by_class(step, w, unicode_is_number);
}

static pb_status run_punctuation(const text_step *step, text_scratch *w)
{
    return cut_by_class(step, w, unicode_is_punctuation);
}

/* 0: white space, 1: word characters, 2: others. */
static int sort_of_character(int32_t code)
{
    return unicode_is_space(code) ? 0 : unicode_is_word(code) ? 1 : 2;
}

/* Runs of word characters and runs of other signs stay, white space is removed. */
static pb_status run_whitespace(const text_step *step, text_scratch *w)
{
    (void)step;
    for (size_t i = 0; i < w->spans.count; i++) {
        text_span span = w->spans.items[i];
        cutter c       = {.w = w, .span = span, .floor = w->other.count};
        size_t begin   = span.begin;
        int before     = 0;
        for (size_t at = span.begin, size = 0; at < span.end; at += size) {
            int sort = sort_of_character(pb_utf8_decode(w->text + at, &size));
            if (sort != before) {
                PB_TRY(before != 0 ? push_piece(&c, begin, at) : PB_OK);
                begin = at;
            }
            before = sort;
        }
        PB_TRY(before != 0 ? push_piece(&c, begin, span.end) : PB_OK);
    }
    scratch_swap_spans(w);
    return PB_OK;
}

static pb_status parse_whitespace_split(const json_t *node, const char *place, text_step *step)
{
    (void)node;
    (void)place;
    step->behavior = SPLIT_REMOVED;
    return PB_OK;
}

static pb_status run_whitespace_split(const text_step *step, text_scratch *w)
{
    return cut_by_class(step, w, unicode_is_space);
}

static pb_status parse_byte_level(const json_t *node, const char *place, text_step *step)
{
    PB_TRY(json_bool(node, place, "add_prefix_space", true, &step->left));
    PB_TRY(json_bool(node, place, "use_regex", true, &step->split));
    step->behavior = SPLIT_ISOLATED;
    return pattern_regex(word_gpt2, strlen(word_gpt2), place, &step->pattern);
}

/* Copies all pieces into a spare buffer, each with `prefix` in front unless it begins with it;
 * `only_first`: only the piece at the start of the text gets it. */
static pb_status prefix_pieces(text_scratch *w, const char *prefix, size_t length, bool only_first)
{
    pb_string *out = scratch_spare(w);

    for (size_t i = 0; i < w->spans.count; i++) {
        text_span *span  = &w->spans.items[i];
        const char *text = w->text + span->begin;
        size_t size      = span->end - span->begin;
        size_t begin     = out->length;
        if (!(size >= length && memcmp(text, prefix, length) == 0) &&
            (!only_first || span->first)) {
            PB_TRY(pb_string_append(out, prefix, length));
        }
        PB_TRY(pb_string_append(out, text, size));
        span->begin = begin;
        span->end   = out->length;
    }
    scratch_adopt(w, out);
    return PB_OK;
}

static pb_status run_byte_level(const text_step *step, text_scratch *w)
{
    if (step->left) {
        PB_TRY(prefix_pieces(w, " ", 1, false));
    }
    return step->split ? run_split(step, w) : PB_OK;
}

static pb_status parse_scheme(const json_t *node, const char *place, text_step *step)
{
    json_text scheme      = {0};
    bool add_prefix_space = true;

    PB_TRY(json_bool(node, place, "add_prefix_space", true, &add_prefix_space));
    PB_TRY(json_text_or_none(node, place, "prepend_scheme", &scheme));
    step->prepend = add_prefix_space ? PREPEND_ALWAYS : PREPEND_NEVER;
    if (scheme.data == NULL) {
        return PB_OK;
    }
    if (strcmp(scheme.data, "always") == 0) {
        step->prepend = PREPEND_ALWAYS;
    } else if (strcmp(scheme.data, "first") == 0) {
        step->prepend = PREPEND_FIRST;
    } else if (strcmp(scheme.data, "never") == 0) {
        step->prepend = PREPEND_NEVER;
    } else {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "%s.prepend_scheme: \"%.*s\" is not supported (known: always, first, never)",
                       place, PB_FIT(scheme.data, 60));
    }
    if (!add_prefix_space && step->prepend != PREPEND_NEVER) {
        return PB_FAIL(PB_ERR_FORMAT, "%s: add_prefix_space is false and prepend_scheme \"%s\"",
                       place, scheme.data);
    }
    return PB_OK;
}

/* The pattern is the replacement character: pieces begin with it when they are split. */
static pb_status parse_metaspace(const json_t *node, const char *place, text_step *step)
{
    PB_TRY(step_replacement(node, place, step));
    PB_TRY(parse_scheme(node, place, step));
    PB_TRY(json_bool(node, place, "split", true, &step->split));
    step->behavior = SPLIT_WITH_NEXT;
    return pattern_literal(step->content, step->content_length, &step->pattern);
}

/* Spaces of all pieces become the replacement. */
static pb_status replace_spaces(const text_step *step, text_scratch *w)
{
    pb_string *out = scratch_spare(w);

    for (size_t i = 0; i < w->spans.count; i++) {
        text_span *span = &w->spans.items[i];
        size_t begin    = out->length;
        size_t at       = span->begin;
        while (at < span->end) {
            const char *space = memchr(w->text + at, ' ', span->end - at);
            size_t end        = space == NULL ? span->end : (size_t)(space - w->text);
            PB_TRY(pb_string_append(out, w->text + at, end - at));
            if (space != NULL) {
                PB_TRY(pb_string_append(out, step->content, step->content_length));
                end++;
            }
            at = end;
        }
        span->begin = begin;
        span->end   = out->length;
    }
    scratch_adopt(w, out);
    return PB_OK;
}

static pb_status run_metaspace(const text_step *step, text_scratch *w)
{
    PB_TRY(replace_spaces(step, w));
    if (step->prepend != PREPEND_NEVER) {
        PB_TRY(
            prefix_pieces(w, step->content, step->content_length, step->prepend == PREPEND_FIRST));
    }
    return step->split ? run_split(step, w) : PB_OK;
}

static const step_kind kinds[] = {
    {"Split", "pattern behavior invert", parse_split, run_split},
    {"ByteLevel", "add_prefix_space trim_offsets use_regex", parse_byte_level, run_byte_level},
    {"Metaspace", "replacement prepend_scheme split add_prefix_space str_rep", parse_metaspace,
     run_metaspace},
    {"Digits", "individual_digits", parse_digits, run_digits},
    {"Punctuation", "behavior", parse_behavior, run_punctuation},
    {"Whitespace", "", NULL, run_whitespace},
    {"WhitespaceSplit", "", parse_whitespace_split, run_whitespace_split},
};

const text_stage stage_pretokenizer = {"pre_tokenizer", "pretokenizers", kinds,
                                       sizeof kinds / sizeof *kinds};

/* Strip and Replace, but for one character by others. */
static bool takes_off(const text_step *step)
{
    const text_pattern *p = &step->pattern;

    if (strcmp(step->kind->name, "Strip") == 0) {
        return step->left;
    }
    return strcmp(step->kind->name, "Replace") == 0 &&
           (p->code != NULL || p->length == 0 || pb_utf8_size(p->literal[0]) != p->length ||
            step->content_length == 0);
}

pb_status steps_check_start(const text_steps *normalizer, const text_steps *pretokenizer)
{
    bool first = false;

    for (size_t i = 0; i < pretokenizer->count; i++) {
        const text_step *step = &pretokenizer->items[i];
        first = first || (step->kind->run == run_metaspace && step->prepend == PREPEND_FIRST);
    }
    for (size_t i = 0; first && i < normalizer->count; i++) {
        if (takes_off(&normalizer->items[i])) {
            return PB_FAIL(
                PB_ERR_UNSUPPORTED,
                "pre_tokenizer: prepend_scheme \"first\" beside the normalizer %s is not "
                "supported; use a tokenizer without one of them",
                normalizer->items[i].kind->name);
        }
    }
    return PB_OK;
}

pb_status steps_are_bytes(const text_steps *steps, bool *out)
{
    *out = false;
    for (size_t i = 0; i < steps->count; i++) {
        if (*out) {
            return PB_FAIL(PB_ERR_UNSUPPORTED,
                           "pre_tokenizer: a step after ByteLevel (%s) is not supported; use a "
                           "tokenizer whose last step is ByteLevel",
                           steps->items[i].kind->name);
        }
        *out = strcmp(steps->items[i].kind->name, "ByteLevel") == 0;
    }
    return PB_OK;
}
