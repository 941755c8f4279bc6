// SPDX-License-Identifier: Apache-2.0
/* Compilation and matching of patterns. Expressions are matched with Unicode properties, `^` and
 * `$` at line ends, and only U+000A as a line end, as Oniguruma's Ruby syntax has it. */
#include "pattern.h"

#include "regex_syntax.h"
#include "unicode.h"

#include "pb/memory.h"
#include "pb/utf8.h"

#include <string.h>

pb_status pattern_literal(const char *text, size_t length, text_pattern *out)
{
    *out = (text_pattern){.length = length};
    PB_TRY(PB_ALLOC(out->literal, length + 1));
    memcpy(out->literal, text, length);
    return PB_OK;
}

static pb_status compile(const pb_string *regex, const char *place, text_pattern *out)
{
    int error         = 0;
    PCRE2_SIZE offset = 0;
    PCRE2_UCHAR8 text[160];

    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (context == NULL) {
        return PB_FAIL(PB_ERR_MEMORY, "%s: out of memory for the expression", place);
    }
    (void)pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    out->code = pcre2_compile((PCRE2_SPTR8)regex->data, regex->length,
                              PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                              &error, &offset, context);
    pcre2_compile_context_free(context);
    if (out->code == NULL) {
        (void)pcre2_get_error_message(error, text, sizeof text);
        return PB_FAIL(PB_ERR_FORMAT, "%s: the regular expression is not valid: %s (near byte %zu)",
                       place, (const char *)text, (size_t)offset);
    }
    out->jit = pcre2_jit_compile(out->code, PCRE2_JIT_COMPLETE) == 0;
    return PB_OK;
}

pb_status pattern_regex(const char *regex, size_t length, const char *place, text_pattern *out)
{
    pb_string rewritten = {0};
    pb_status status    = PB_OK;

    *out = (text_pattern){0};
    PB_TRY_GOTO(status, regex_rewrite(regex, length, place, &rewritten), err_clear);
    PB_TRY_GOTO(status, compile(&rewritten, place, out), err_clear);
    out->word = word_find(regex, length);

err_clear:
    pb_string_clear(&rewritten);
    return status;
}

pb_status pattern_parse(const json_t *object, const char *place, text_pattern *out)
{
    char inner[PLACE_SIZE + 16];
    json_text text     = {0};
    const json_t *node = json_object_get(object, "pattern");

    (void)snprintf(inner, sizeof inner, "%s.pattern", place);
    PB_TRY(json_only(node, inner, "String Regex"));
    if (json_object_size(node) != 1) {
        return PB_FAIL(PB_ERR_FORMAT, "%s: either String or Regex is expected", inner);
    }
    if (json_object_get(node, "String") != NULL) {
        PB_TRY(json_text_of(node, inner, "String", &text));
        PB_TRY(pattern_literal(text.data, text.length, out));
        return PB_OK;
    }
    PB_TRY(json_text_of(node, inner, "Regex", &text));
    return PB_FRAME(pattern_regex(text.data, text.length, inner, out));
}

void pattern_clear(text_pattern *pattern)
{
    pcre2_code_free(pattern->code);
    pb_memory_free(pattern->literal);
    *pattern = (text_pattern){0};
}

bool pattern_may_be_empty(const text_pattern *pattern)
{
    uint32_t may = 0;

    return pattern->code != NULL &&
           (pcre2_pattern_info(pattern->code, PCRE2_INFO_MATCHEMPTY, &may) != 0 || may != 0);
}

matches matches_of(const text_pattern *pattern, text_scratch *scratch, const char *text,
                   size_t length)
{
    return (matches){.pattern  = pattern,
                     .scratch  = scratch,
                     .text     = text,
                     .length   = length,
                     .last_end = SIZE_MAX};
}

/* The first match of the expression at or after m->from. */
static pb_status search(matches *m, bool *found)
{
    const text_pattern *p = m->pattern;
    PCRE2_SPTR8 subject   = (PCRE2_SPTR8)m->text;
    int result            = 0;

    if (p->jit) {
        result = pcre2_jit_match(p->code, subject, m->length, m->from, 0, m->scratch->match,
                                 m->scratch->context);
    } else {
        result = pcre2_match(p->code, subject, m->length, m->from, PCRE2_NO_UTF_CHECK,
                             m->scratch->match, m->scratch->context);
    }
    *found = result >= 0;
    if (result < 0 && result != PCRE2_ERROR_NOMATCH) {
        PCRE2_UCHAR8 text[160];
        (void)pcre2_get_error_message(result, text, sizeof text);
        return PB_FAIL(PB_ERR_LIBRARY,
                       "tokenizer: matching its regular expression failed: %s (text of %zu bytes, "
                       "at byte %zu)",
                       (const char *)text, m->length, m->from);
    }
    if (*found) {
        const PCRE2_SIZE *range = pcre2_get_ovector_pointer(m->scratch->match);
        m->begin                = range[0];
        m->end                  = range[1];
    }
    return PB_OK;
}

static bool search_literal(matches *m)
{
    const text_pattern *p = m->pattern;
    const char *at        = NULL;

    if (p->length == 0) {
        return false;
    }
    at = memmem(m->text + m->from, m->length - m->from, p->literal, p->length);
    if (at == NULL) {
        return false;
    }
    m->begin = (size_t)(at - m->text);
    m->end   = m->begin + p->length;
    m->from  = m->end;
    return true;
}

pb_status matches_next(matches *m, bool *found)
{
    *found = false;
    if (m->pattern->code == NULL) {
        *found = search_literal(m);
        return PB_OK;
    }
    if (m->pattern->word != NULL) {
        *found = m->from < m->length;
        if (*found) {
            m->begin = m->from;
            m->end   = m->pattern->word(m->text, m->length, m->begin);
            m->from  = m->end;
        }
        return PB_OK;
    }
    while (m->from <= m->length) {
        PB_TRY(search(m, found));
        if (!*found) {
            return PB_OK;
        }
        if (m->end > m->begin || m->end != m->last_end) {
            m->from     = m->end;
            m->last_end = m->end;
            return PB_OK;
        }
        *found  = false;
        m->from = m->end < m->length ? m->end + pb_utf8_size(m->text[m->end]) : m->length + 1;
    }
    return PB_OK;
}

pb_status pattern_replace(const text_pattern *pattern, text_scratch *scratch, const char *text,
                          size_t length, const char *content, size_t content_length, pb_string *out,
                          bool *changed)
{
    matches m   = matches_of(pattern, scratch, text, length);
    size_t done = 0;
    bool found  = false;

    *changed = false;
    PB_TRY(matches_next(&m, &found));
    while (found) {
        *changed = true;
        PB_TRY(pb_string_append(out, text + done, m.begin - done));
        PB_TRY(pb_string_append(out, content, content_length));
        done = m.end;
        PB_TRY(matches_next(&m, &found));
    }
    if (*changed) {
        PB_TRY(pb_string_append(out, text + done, length - done));
    }
    return PB_OK;
}
