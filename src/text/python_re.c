// SPDX-License-Identifier: Apache-2.0
/* Expressions of Python's module re, rewritten for PCRE2: special characters are passed on, classes
 * are spelled out as Python defines them, and all others escaped, so that nothing has a meaning to
 * PCRE2 that it does not have in Python (verbs, [:classes:], special groups). What Python refuses
 * and PCRE2 would accept is refused here: a repetition of nothing, of an anchor, or of a
 * repetition.
 *
 * Where a match can turn back, after a repetition and before an alternative, the rewritten
 * expression has a callout; a set counts these as the steps of its matches. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "pb/python.h"

#include "pb/interned.h"
#include "pb/memory.h"
#include "pb/utf8.h"

#include <pcre2.h>

#include <stdlib.h>
#include <string.h>

/* Of one match, as PCRE2 counts them; of all matches of a set, as callouts count them. */
enum { MATCH_STEPS = 1000000, SET_STEPS = 50000000 };
enum { MAX_HEAP_KIB = 64 << 10, SHOWN_BYTES = 80 };

#define CALLOUT "(?C)"

/* An expression, and what is put before it when it is matched. */
typedef struct expression {
    const char *before, *regex; /* messages show `regex` */
} expression;

/* What precedes the current place, as far as a repetition cares. */
typedef enum preceding { BEFORE_NOTHING, BEFORE_ITEM, BEFORE_REPETITION } preceding;

typedef struct translation {
    const expression *e;
    const char *text; /* the whole expression */
    const char *p;
    int64_t depth; /* open groups */
    preceding before;
    pb_string *out;
} translation;

static pb_status refuse(const translation *t, const char *why)
{
    size_t at     = (size_t)(t->p - t->text);
    size_t before = strlen(t->e->before);
    size_t length = strlen(t->e->regex);
    at            = at < before ? 0 : at - before < length ? at - before : length;
    return PB_FAIL(PB_ERR_FORMAT, "the regular expression \"%.*s\" %s (byte %zu)",
                   PB_FIT(t->e->regex, SHOWN_BYTES), why, at);
}

/* Passes on the character at t->p as itself and advances. */
static pb_status put_literal(translation *t)
{
    size_t bytes = 1;

    if (strchr("\\^$.|?*+()[]{}-:=", *t->p) != NULL) {
        PB_TRY(pb_string_puts(t->out, "\\"));
    } else {
        (void)pb_str_next(t->p, strnlen(t->p, 4), &bytes);
    }
    PB_TRY(pb_string_append(t->out, t->p, bytes));
    t->p += bytes;
    return PB_OK;
}

#define WORD  "\\p{L}\\p{N}_"
#define SPACE "\\x09-\\x0d\\x1c-\\x20\\x{85}\\p{Z}"

typedef struct escape {
    char letter;
    const char *set;   /* inside of [ ]; NULL: not there */
    const char *alone; /* outside; NULL: as inside */
    bool is_class;     /* stands for several characters: no end of a range */
    bool is_anchor;    /* matches a place, which cannot be repeated */
} escape;

static const escape escapes[] = {
    {'d', "\\p{Nd}", NULL, true, false},
    {'D', "\\P{Nd}", NULL, true, false},
    {'w', WORD, "[" WORD "]", true, false},
    {'W', NULL, "[^" WORD "]", true, false},
    {'s', SPACE, "[" SPACE "]", true, false},
    {'S', NULL, "[^" SPACE "]", true, false},
    {'A', NULL, "\\A", false, true},
    {'Z', NULL, "\\z", false, true},
    {'b', "\\x08", "(?:(?<=[" WORD "])(?![" WORD "])|(?<![" WORD "])(?=[" WORD "]))", false, true},
    {'B', NULL, "(?:(?<=[" WORD "])(?=[" WORD "])|(?<![" WORD "])(?![" WORD "]))", false, true},
    {'a', "\\x07", NULL, false, false},
    {'f', "\\x0c", NULL, false, false},
    {'n', "\\x0a", NULL, false, false},
    {'r', "\\x0d", NULL, false, false},
    {'t', "\\x09", NULL, false, false},
    {'v', "\\x0b", NULL, false, false},
};

/* A backslash and what it is before; *is_class as in `escape`. */
static pb_status put_escape(translation *t, bool in_set, bool *is_class)
{
    char c      = t->p[1];
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

    if (c == '\0') {
        return refuse(t, "ends in a backslash");
    }
    t->before = BEFORE_ITEM;
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
        const escape *e  = &escapes[i];
        const char *text = !in_set && e->alone != NULL ? e->alone : e->set;
        if (e->letter == c && text != NULL) {
            t->before = e->is_anchor && !in_set ? BEFORE_NOTHING : BEFORE_ITEM;
            *is_class = e->is_class;
            t->p += 2;
            return pb_string_puts(t->out, text);
        }
    }
    if (letter) {
        return refuse(t, "has a backslash before a letter or digit that is not supported here");
    }
    t->p++;
    return put_literal(t);
}

static pb_status put_member(translation *t, bool *is_class)
{
    *is_class = false;
    return *t->p == '\\' ? put_escape(t, true, is_class) : put_literal(t);
}

/* "[…]": a leading ] belongs to the set, and so does a leading or trailing -. */
static pb_status put_set(translation *t)
{
    bool first     = true;
    bool is_class  = false;
    bool end_class = false;

    t->p++;
    PB_TRY(pb_string_puts(t->out, "["));
    if (*t->p == '^') {
        PB_TRY(pb_string_puts(t->out, "^"));
        t->p++;
    }
    for (; *t->p != ']' || first; first = false) {
        if (*t->p == '\0') {
            return refuse(t, "has a [ without its ]");
        }
        PB_TRY(put_member(t, &is_class));
        if (t->p[0] == '-' && t->p[1] != ']' && t->p[1] != '\0') {
            PB_TRY(pb_string_puts(t->out, "-"));
            t->p++;
            PB_TRY(put_member(t, &end_class));
            if (is_class || end_class) {
                return refuse(t, "has a range with a class as its end");
            }
        }
    }
    t->p++;
    t->before = BEFORE_ITEM;
    return pb_string_puts(t->out, "]");
}

/* The end of "{m}", "{m,}", "{,n}", "{m,n}" or "{,}" at p, NULL when it is none of these: then the
 * brace is a character. */
static const char *counted(const char *p)
{
    const char *lower = p + 1;
    const char *comma = lower + strspn(lower, "0123456789");
    const char *upper = comma + (*comma == ',');
    const char *end   = *comma == ',' ? upper + strspn(upper, "0123456789") : comma;

    return *end == '}' && end > lower ? end + 1 : NULL;
}

static pb_status put_repetition(translation *t)
{
    const char *end = *t->p == '{' ? counted(t->p) : t->p + 1;

    if (end == NULL) {
        t->before = BEFORE_ITEM;
        return put_literal(t);
    }
    if (t->before != BEFORE_ITEM) {
        return refuse(t, t->before == BEFORE_NOTHING ? "repeats nothing" : "repeats a repetition");
    }
    bool open = t->p[0] == '{' && t->p[1] == ',';
    PB_TRY(pb_string_puts(t->out, open ? "{0" : ""));
    t->p += open;
    PB_TRY(pb_string_append(t->out, t->p, (size_t)(end - t->p)));
    t->p      = end;
    t->before = BEFORE_REPETITION;
    if (*t->p == '?' || *t->p == '+') {
        PB_TRY(pb_string_append(t->out, t->p, 1));
        t->p++;
    }
    return pb_string_puts(t->out, CALLOUT);
}

/* The groups that capture nothing which could be asked for, and those that only look. */
static pb_status put_group(translation *t)
{
    static const char *const openings[] = {"(?:", "(?=", "(?!", "(?<=", "(?<!", NULL};
    const char *opening                 = "(?:";
    size_t bytes                        = 1;

    if (strncmp(t->p, "(?P<", 4) == 0 && strchr(t->p, '>') != NULL) {
        bytes = (size_t)(strchr(t->p, '>') - t->p) + 1;
    } else if (t->p[1] == '?') {
        int i = 0;
        while (openings[i] != NULL && strncmp(t->p, openings[i], strlen(openings[i])) != 0) {
            i++;
        }
        if (openings[i] == NULL) {
            return refuse(t, "begins a group with a (? that is not supported here");
        }
        opening = openings[i];
        bytes   = strlen(opening);
    }
    t->p += bytes;
    t->depth++;
    t->before = BEFORE_NOTHING;
    return pb_string_printf(t->out, "%s" CALLOUT, opening);
}

static pb_status put_next(translation *t)
{
    char c        = *t->p;
    bool is_class = false;

    switch (c) {
    case '\\':
        return put_escape(t, false, &is_class);
    case '[':
        return put_set(t);
    case '(':
        return put_group(t);
    case '*':
    case '+':
    case '?':
    case '{':
        return put_repetition(t);
    case ')':
        if (t->depth-- == 0) {
            return refuse(t, "has a ) without its (");
        }
        break;
    case '^':
    case '$':
    case '|':
    case '.':
        break;
    default:
        t->before = BEFORE_ITEM;
        return put_literal(t);
    }
    t->before = c == ')' || c == '.' ? BEFORE_ITEM : BEFORE_NOTHING;
    t->p++;
    PB_TRY(pb_string_append(t->out, &c, 1));
    return c == '|' ? pb_string_puts(t->out, CALLOUT) : PB_OK;
}

/* `text`: that of the whole expression. */
static pb_status translate(const expression *e, const char *text, pb_string *out)
{
    translation t = {.e = e, .text = text, .p = text, .out = out};

    PB_TRY(pb_string_puts(out, ""));
    while (*t.p != '\0') {
        PB_TRY(put_next(&t));
    }
    return t.depth > 0 ? refuse(&t, "has a ( without its )") : PB_OK;
}

static pb_status fail_code(const expression *e, int code)
{
    PCRE2_UCHAR8 text[160];
    const char *remedy = code == PCRE2_ERROR_MATCHLIMIT ? "; nest no repetitions in it" : "";

    (void)pcre2_get_error_message(code, text, sizeof text);
    if (code == PCRE2_ERROR_CALLOUT) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "the regular expression \"%.*s\": with those before it, more than %d steps; "
                       "give fewer or simpler ones",
                       PB_FIT(e->regex, SHOWN_BYTES), SET_STEPS);
    }
    return PB_FAIL(code == PCRE2_ERROR_NOMEMORY ? PB_ERR_MEMORY : PB_ERR_FORMAT,
                   "the regular expression \"%.*s\": %s%s", PB_FIT(e->regex, SHOWN_BYTES),
                   (const char *)text, remedy);
}

static pb_status compile_rewritten(const expression *e, const pb_string *rewritten,
                                   pcre2_code **out)
{
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    int error                      = PCRE2_ERROR_NOMEMORY;
    PCRE2_SIZE offset              = 0;

    if (context != NULL) {
        (void)pcre2_set_newline(context, PCRE2_NEWLINE_LF);
        *out = pcre2_compile((PCRE2_SPTR8)rewritten->data, rewritten->length, PCRE2_UTF, &error,
                             &offset, context);
    }
    pcre2_compile_context_free(context);
    return *out != NULL ? PB_OK : fail_code(e, error);
}

static pb_status compile(const expression *e, const char *text, pcre2_code **out)
{
    pb_string rewritten = {0};
    pb_status status;

    *out = NULL;
    PB_TRY_GOTO(status, translate(e, text, &rewritten), out_rewritten);
    status = compile_rewritten(e, &rewritten, out);
out_rewritten:
    pb_string_clear(&rewritten);
    return status;
}

static int count_step(pcre2_callout_block *block, void *steps)
{
    int64_t *left = steps;

    (void)block;
    return (*left)-- > 0 ? 0 : PCRE2_ERROR_CALLOUT;
}

/* *steps: those that are left; NULL: not counted. */
static pb_status match(const expression *e, const pcre2_code *code, const char *text, size_t at,
                       uint32_t options, int64_t *steps, bool *found, size_t *end)
{
    pcre2_match_context *context = pcre2_match_context_create(NULL);
    pcre2_match_data *data       = pcre2_match_data_create_from_pattern(code, NULL);
    int result                   = PCRE2_ERROR_NOMEMORY;

    *found = false;
    if (context != NULL && data != NULL) {
        (void)pcre2_set_match_limit(context, MATCH_STEPS);
        (void)pcre2_set_heap_limit(context, MAX_HEAP_KIB);
        (void)pcre2_set_callout(context, steps != NULL ? count_step : NULL, steps);
        result = pcre2_match(code, (PCRE2_SPTR8)text, strlen(text), at,
                             options | PCRE2_ANCHORED | PCRE2_NO_UTF_CHECK, data, context);
    }
    if (result >= 0) {
        *found = true;
        *end   = pcre2_get_ovector_pointer(data)[1];
    }
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    return result >= 0 || result == PCRE2_ERROR_NOMATCH ? PB_OK : fail_code(e, result);
}

pb_status pb_re_match_at(const char *regex, const char *text, size_t at, bool *found, size_t *end)
{
    expression e     = {.before = "", .regex = regex};
    pcre2_code *code = NULL;

    *found = false;
    PB_TRY(compile(&e, regex, &code));
    pb_status status = match(&e, code, text, at, 0, NULL, found, end);
    pcre2_code_free(code);
    return status;
}

/* Sets ---------------------------------------------------------------------------------------- */

struct pb_re_set {
    pb_interned texts;  /* of whole expressions */
    pcre2_code **codes; /* [texts.count] */
    int64_t steps;      /* that are left */
};

pb_status pb_re_set_create(pb_re_set **out)
{
    pb_re_set *set = NULL;

    PB_TRY(PB_ALLOC(set, 1));
    set->steps = SET_STEPS;
    *out       = set;
    return PB_OK;
}

void pb_re_set_destroy(pb_re_set *set)
{
    if (set == NULL) {
        return;
    }
    for (int32_t i = 0; i < set->texts.count; i++) {
        pcre2_code_free(set->codes[i]);
    }
    pb_interned_clear(&set->texts);
    pb_memory_free(set->codes);
    pb_memory_free(set);
}

/* *code = that of the expression, compiled when it is asked for the first time. */
static pb_status code_of(pb_re_set *set, const expression *e, const pb_string *text,
                         const pcre2_code **code)
{
    int32_t number = pb_interned_find(&set->texts, text->data, text->length);

    if (number < 0) {
        pcre2_code *made = NULL;
        PB_TRY(PB_GROW(set->codes, set->texts.count + 1));
        PB_TRY(compile(e, text->data, &made));
        pb_status status = pb_interned_add(&set->texts, text->data, text->length, &number);
        if (status != PB_OK) {
            pcre2_code_free(made);
            return status;
        }
        set->codes[number] = made;
    }
    *code = set->codes[number];
    return PB_OK;
}

pb_status pb_re_fullmatch(pb_re_set *set, const char *before, const char *regex, const char *after,
                          const char *text, bool *found)
{
    expression e           = {.before = before, .regex = regex};
    pb_string whole        = {0};
    const pcre2_code *code = NULL;
    size_t end             = 0;
    pb_status status;

    *found = false;
    PB_TRY_GOTO(status, pb_string_printf(&whole, "%s%s%s", before, regex, after), out_whole);
    PB_TRY_GOTO(status, code_of(set, &e, &whole, &code), out_whole);
    status = match(&e, code, text, 0, PCRE2_ENDANCHORED, &set->steps, found, &end);
out_whole:
    pb_string_clear(&whole);
    return status;
}
