// SPDX-License-Identifier: Apache-2.0
/* Prepares a text for libconfig. libconfig 1.5 silently truncates integers above 32 bits, reads "."
 * as 0, ends strings at \x00, accepts an unclosed comment, ends the process when an included file
 * is a directory, and leaks a string where its grammar expects none. So this pass checks numbers,
 * makes every integer 64-bit, keeps the strings out of the text, expands includes, and records
 * where each line came from. */
#include "node.h"

#include "pb/file.h"
#include "pb/memory.h"
#include "pb/utf8.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_INCLUDE_DEPTH 8
#define MAX_NESTING       32
#define MAX_FILE_BYTES    (1u << 20)

typedef struct scanner {
    pb_config *config;
    node_origin *origin;
    const char *at, *end; /* rest of the text; *end is NUL */
    int line;
    int depth;   /* of includes */
    int nesting; /* open brackets */
    bool includes;
    bool after_text; /* a text that follows continues the last one, as in C */
    text_source *out;
} scanner;

#define FAIL_HERE(sc, format, ...)        \
    PB_FAIL(PB_ERR_CONFIG, "%s: " format, \
            place_text((sc)->origin, (sc)->line, (char[PLACE_SIZE]){0}), __VA_ARGS__)

void config_source_clear(text_source *source)
{
    pb_string_clear(&source->text);
    pb_string_clear(&source->texts);
    pb_memory_free(source->lines);
    *source = (text_source){0};
}

static pb_status begin_line(scanner *sc)
{
    text_source *out = sc->out;
    PB_TRY(PB_GROW(out->lines, out->count + 1));
    out->lines[out->count++] = (config_source_line){.origin = sc->origin, .line = sc->line};
    return PB_OK;
}

static pb_status copy(scanner *sc, size_t length)
{
    PB_TRY(pb_string_append(&sc->out->text, sc->at, length));
    sc->at += length;
    return PB_OK;
}

/* A newline of the text; a source without line numbers (a `--set`) keeps line 0. */
static pb_status newline(scanner *sc)
{
    PB_TRY(copy(sc, 1));
    sc->line += sc->line > 0;
    return begin_line(sc);
}

static pb_status scan_escape(scanner *sc)
{
    static const char letters[] = "nrtf\\\"";
    static const char values[]  = "\n\r\t\f\\\"";
    const char *letter          = strchr(letters, sc->at[1]);
    char value                  = 0;
    size_t length               = 2;

    if (sc->at[1] == '\0') {
        sc->at++; /* the end of the file: the text has no closing quote */
        return PB_OK;
    }
    if (letter != NULL) {
        value = values[letter - letters];
    } else if (sc->at[1] == 'x') {
        const char digits[] = {sc->at[2], sc->at[2] != '\0' ? sc->at[3] : '\0', '\0'};
        if (!isxdigit((unsigned char)digits[0]) || !isxdigit((unsigned char)digits[1])) {
            return FAIL_HERE(sc, "two hexadecimal digits follow %s in a string", "\\x");
        }
        value  = (char)strtoul(digits, NULL, 16);
        length = 4;
        if (value == '\0') {
            return FAIL_HERE(sc, "a string cannot hold %s", "\\x00");
        }
    } else {
        return FAIL_HERE(sc, "\"\\%.*s\" is not an escape; write \\\\ for a backslash",
                         (int)pb_utf8_size(sc->at[1]), sc->at + 1);
    }
    sc->at += length;
    return pb_string_append(&sc->out->texts, &value, 1);
}

/* The characters of a text up to its closing quote. */
static pb_status scan_characters(scanner *sc)
{
    while (sc->at < sc->end && *sc->at != '"') {
        size_t length = strcspn(sc->at, "\"\\\n");
        PB_TRY(pb_string_append(&sc->out->texts, sc->at, length));
        sc->at += length;
        if (*sc->at == '\n') {
            PB_TRY(pb_string_append(&sc->out->texts, sc->at, 1));
            PB_TRY(newline(sc));
        } else if (*sc->at == '\\') {
            PB_TRY(scan_escape(sc));
        }
    }
    return PB_OK;
}

static pb_status scan_string(scanner *sc)
{
    pb_string *texts = &sc->out->texts;
    bool goes_on     = sc->after_text;
    int first        = sc->line;

    texts->length -= goes_on; /* the NUL of the last one */
    size_t begin = texts->length;
    sc->at++;
    PB_TRY(scan_characters(sc));
    if (sc->at == sc->end) {
        sc->line = first;
        return FAIL_HERE(sc, "a string that begins here has no closing %s", "\"");
    }
    sc->at++;
    PB_TRY(pb_string_append(texts, "", 1));
    sc->after_text = true;
    return goes_on ? PB_OK : pb_string_printf(&sc->out->text, " 0x%zx ", begin);
}

static pb_status scan_comment(scanner *sc)
{
    int first         = sc->line;
    sc->out->comments = true;
    if (sc->at[1] != '*') {
        sc->at += strcspn(sc->at, "\n");
        return PB_OK;
    }
    sc->at += 2;
    while (strncmp(sc->at, "*/", 2) != 0) {
        if (sc->at == sc->end) {
            sc->line = first;
            return FAIL_HERE(sc, "a comment that begins here has no closing %s", "*/");
        }
        if (*sc->at == '\n') {
            PB_TRY(newline(sc));
        } else {
            sc->at++;
        }
    }
    sc->at += 2;
    return PB_OK;
}

/* The characters that make up one number, exponent signs included. */
static size_t number_length(const char *text)
{
    size_t n = strspn(text, "+-");
    while (isalnum((unsigned char)text[n]) || text[n] == '.' ||
           ((text[n] == '+' || text[n] == '-') && n > 0 && strchr("eE", text[n - 1]) != NULL)) {
        n++;
    }
    return n;
}

static pb_status scan_number(scanner *sc)
{
    char token[64];
    size_t length = number_length(sc->at);
    if (length >= sizeof token) {
        return FAIL_HERE(sc, "the number %.*s… is too long", PB_FIT(sc->at, 20));
    }
    memcpy(token, sc->at, length);
    token[length] = '\0';
    if (strpbrk(token, "xX") != NULL) {
        return FAIL_HERE(sc, "%s: numbers are written in decimal digits", token);
    }
    size_t sign   = token[0] == '+' || token[0] == '-';
    size_t digits = strspn(token + sign, "0123456789");
    bool integer =
        digits > 0 && (token[sign + digits] == '\0' || strcmp(token + sign + digits, "L") == 0 ||
                       strcmp(token + sign + digits, "LL") == 0);
    char *rest = NULL;
    errno      = 0;
    if (integer) {
        (void)strtoll(token, &rest, 10);
        if (errno == ERANGE) {
            return FAIL_HERE(sc, "the integer %s does not fit 64 bits", token);
        }
        PB_TRY(pb_string_append(&sc->out->text, token, sign + digits));
        PB_TRY(pb_string_puts(&sc->out->text, "L"));
        sc->at += length;
        return PB_OK;
    }
    double value = strtod(token, &rest);
    if (rest == token || *rest != '\0' || isalpha((unsigned char)token[sign])) {
        return FAIL_HERE(sc, "\"%s\" is not a number; put text in \"quotes\"", token);
    }
    if (!isfinite(value)) {
        return FAIL_HERE(sc, "the number %s is not finite", token);
    }
    return copy(sc, length);
}

static pb_status scan_text(scanner *sc);

/* True for a relative path that stays below its directory. */
static bool stays_below(const char *path)
{
    if (*path == '/' || *path == '\0') {
        return false;
    }
    while (*path != '\0') {
        size_t length = strcspn(path, "/");
        if (length == 2 && memcmp(path, "..", 2) == 0) {
            return false;
        }
        path += length + (path[length] == '/');
    }
    return true;
}

static pb_status scan_file(scanner *sc, const char *name)
{
    char *path       = NULL;
    char *directory  = NULL;
    pb_string text   = {0};
    scanner inner    = *sc;
    pb_status status = PB_OK;
    PB_TRY(pb_path_join(sc->origin->directory, name, &path));
    PB_TRY_GOTO(status, pb_path_directory(path, &directory), done);
    status = pb_file_read(path, MAX_FILE_BYTES, &text);
    if (status != PB_OK) {
        pb_error_prefix(status, "%s:%d: @include", sc->origin->label, sc->line);
        goto done;
    }
    inner.at    = text.data == NULL ? "" : text.data;
    inner.end   = inner.at + text.length;
    inner.line  = 1;
    inner.depth = sc->depth + 1;
    PB_TRY_GOTO(status, config_origin(sc->config, path, directory, &inner.origin), done);
    PB_TRY_GOTO(status, scan_text(&inner), done);
    sc->nesting    = inner.nesting;
    sc->after_text = inner.after_text;
done:
    pb_string_clear(&text);
    pb_memory_free(directory);
    pb_memory_free(path);
    return status;
}

static pb_status scan_include(scanner *sc)
{
    if (!sc->includes || strncmp(sc->at, "@include", 8) != 0) {
        return FAIL_HERE(sc, "\"@\" has no meaning here%s",
                         sc->includes ? "; @include \"FILE\"" : "");
    }
    const char *name = sc->at + 8;
    name += strspn(name, " \t");
    const char *last = *name == '"' ? strpbrk(name + 1, "\"\n\\") : NULL;
    if (last == NULL || *last != '"' || last - name > 4000) {
        return FAIL_HERE(sc, "an include is written @include %s", "\"FILE\"");
    }
    if (sc->depth == MAX_INCLUDE_DEPTH) {
        return FAIL_HERE(sc, "files include each other more than %d deep", MAX_INCLUDE_DEPTH);
    }
    pb_string path   = {0};
    pb_status status = pb_string_append(&path, name + 1, (size_t)(last - name - 1));
    if (status == PB_OK && !stays_below(path.length == 0 ? "" : path.data)) {
        status = FAIL_HERE(sc,
                           "@include \"%s\": a file must lie in the including file's folder or "
                           "below, without \"..\"",
                           path.length == 0 ? "" : path.data);
    }
    if (status != PB_OK) {
        goto done;
    }
    PB_TRY_GOTO(status, pb_string_puts(&sc->out->text, "\n"), done);
    PB_TRY_GOTO(status, scan_file(sc, path.data), done);
    PB_TRY_GOTO(status, pb_string_puts(&sc->out->text, "\n"), done);
    PB_TRY_GOTO(status, begin_line(sc), done);
    sc->at = last + 1;
done:
    pb_string_clear(&path);
    return status;
}

static pb_status scan_bracket(scanner *sc)
{
    sc->nesting += strchr("({[", *sc->at) != NULL ? 1 : -1;
    if (sc->nesting > MAX_NESTING) {
        return FAIL_HERE(sc, "groups and lists are nested more than %d deep", MAX_NESTING);
    }
    return copy(sc, 1);
}

static bool is_name(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '*';
}

static pb_status scan_token(scanner *sc)
{
    char c = *sc->at;
    if (c == '\n') {
        return newline(sc);
    }
    if (c == '#' || (c == '/' && (sc->at[1] == '/' || sc->at[1] == '*'))) {
        return scan_comment(sc);
    }
    if (c == '"') {
        return scan_string(sc);
    }
    if (c == '@') {
        return scan_include(sc);
    }
    sc->after_text = sc->after_text && isspace((unsigned char)c);
    if (strchr("(){}[]", c) != NULL) {
        return scan_bracket(sc);
    }
    if (isdigit((unsigned char)c) || c == '.' || c == '+' || c == '-') {
        return scan_number(sc);
    }
    size_t length = 0;
    while (is_name(sc->at[length])) {
        length++;
    }
    return copy(sc, length > 0 ? length : 1);
}

static pb_status scan_text(scanner *sc)
{
    size_t bad = 0;
    PB_TRY(begin_line(sc));
    size_t size = (size_t)(sc->end - sc->at);
    if (!pb_utf8_is_valid(sc->at, size, &bad) || memchr(sc->at, '\0', size) != NULL) {
        const char *nul = memchr(sc->at, '\0', size);
        size_t where    = nul != NULL ? (size_t)(nul - sc->at) : bad;
        for (size_t i = 0; i < where && sc->line > 0; i++) {
            sc->line += sc->at[i] == '\n';
        }
        return FAIL_HERE(sc, "this is not UTF-8 text (byte 0x%02x)",
                         (unsigned)(unsigned char)sc->at[where]);
    }
    while (sc->at < sc->end) {
        PB_TRY(scan_token(sc));
    }
    return PB_OK;
}

pb_status config_source_scan(pb_config *config, node_origin *origin, const char *text, size_t size,
                             bool includes, text_source *out)
{
    scanner sc       = {.config   = config,
                        .origin   = origin,
                        .at       = text,
                        .end      = text + size,
                        .line     = includes ? 1 : 0,
                        .includes = includes,
                        .out      = out};
    pb_status status = scan_text(&sc);
    if (status != PB_OK) {
        config_source_clear(out);
    }
    return status;
}
