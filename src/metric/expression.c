// SPDX-License-Identifier: Apache-2.0
/* A recursive descent over
 *     sum = term {(+|-) term}, term = factor {(*|/|//|%) factor}, factor = (+|-) factor | atom,
 *     atom = number | ( sum )
 * Values are doubles; // and % round towards minus infinity, as in Python. */
#include "expression.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 100, LITERAL_BYTES = 512 };

typedef struct parser {
    const char *at, *end;
    expression_grammar grammar;
    int depth;
    bool failed;
} parser;

static double parse_sum(parser *p);

static double fail(parser *p)
{
    p->failed = true;
    return 0;
}

static char peek(const parser *p)
{
    return p->at < p->end ? *p->at : '\0';
}

static void skip_space(parser *p)
{
    const char *spaces = p->grammar == EXPRESSION_PYTHON ? " \t\f" : " \t\f\n\r\v";

    while (p->at < p->end && *p->at != '\0' && strchr(spaces, *p->at) != NULL) {
        p->at++;
    }
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 99;
}

/* Copies decimal digits to out; Python allows one `_` between two. Returns how many digits. */
static size_t take_digits(parser *p, char *out, size_t *used)
{
    size_t count = 0;

    while (digit_value(peek(p)) < 10 && *used + 1 < LITERAL_BYTES) {
        out[(*used)++] = *p->at++;
        count++;
        if (p->grammar == EXPRESSION_PYTHON && peek(p) == '_' && p->at + 1 < p->end &&
            digit_value(p->at[1]) < 10) {
            p->at++;
        }
    }
    return count;
}

/* 0x10, 0o17, 0b11 */
static double parse_based(parser *p, int base)
{
    double value = 0;
    bool any     = false;

    for (p->at += 2; p->at < p->end; p->at++) {
        if (*p->at == '_' && p->at + 1 < p->end && digit_value(p->at[1]) < base) {
            continue;
        }
        if (digit_value(*p->at) >= base) {
            break;
        }
        value = value * base + digit_value(*p->at);
        any   = true;
    }
    return any ? value : fail(p);
}

static void take_exponent(parser *p, char *out, size_t *used)
{
    const char *mark = p->at;
    size_t before    = *used;

    out[(*used)++] = 'e';
    p->at++;
    if ((peek(p) == '+' || peek(p) == '-') && *used + 1 < LITERAL_BYTES) {
        out[(*used)++] = *p->at++;
    }
    if (take_digits(p, out, used) == 0) {
        p->at = mark;
        *used = before;
    }
}

static double parse_number(parser *p)
{
    bool python = p->grammar == EXPRESSION_PYTHON;
    char text[LITERAL_BYTES + 8];
    size_t used = 0, part = 0;
    bool is_float = false;

    if (python && peek(p) == '0' && p->at + 1 < p->end) {
        char base = (char)(p->at[1] | 0x20);
        if (base == 'x' || base == 'o' || base == 'b') {
            return parse_based(p, base == 'x' ? 16 : base == 'o' ? 8 : 2);
        }
    }
    size_t whole = take_digits(p, text, &used);
    if (peek(p) == '.') {
        text[used++] = *p->at++;
        part         = take_digits(p, text, &used);
        is_float     = true;
    }
    if (whole == 0 && part == 0) {
        return fail(p);
    }
    if (python && (peek(p) == 'e' || peek(p) == 'E')) {
        size_t before = used;
        take_exponent(p, text, &used);
        is_float = is_float || used > before;
    }
    text[used] = '\0';
    if (python && !is_float && whole > 1 && text[0] == '0' && strspn(text, "0") != whole) {
        return fail(p);
    }
    return strtod(text, NULL);
}

static double parse_atom(parser *p)
{
    skip_space(p);
    if (peek(p) != '(') {
        return parse_number(p);
    }
    p->at++;
    double value = parse_sum(p);
    skip_space(p);
    if (peek(p) != ')') {
        return fail(p);
    }
    p->at++;
    return value;
}

static double parse_factor(parser *p)
{
    skip_space(p);
    if (++p->depth > MAX_DEPTH) {
        p->depth--;
        return fail(p);
    }
    double value = 0;
    char sign    = peek(p);
    if (sign == '+' || sign == '-') {
        p->at++;
        value = sign == '-' ? -parse_factor(p) : parse_factor(p);
    } else {
        value = parse_atom(p);
    }
    p->depth--;
    return value;
}

static double floor_modulo(double a, double b)
{
    double r = fmod(a, b);
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

static double parse_term(parser *p)
{
    double value = parse_factor(p);

    for (;;) {
        skip_space(p);
        char operation = p->failed ? '\0' : peek(p);
        if (operation != '*' && operation != '/' && operation != '%') {
            return value;
        }
        p->at++;
        bool doubled = operation == '/' && peek(p) == '/';
        p->at += doubled;
        double right = parse_factor(p);
        if (operation == '*') {
            value *= right;
        } else if (right == 0) {
            return fail(p);
        } else if (operation == '%') {
            value = floor_modulo(value, right);
        } else {
            value = doubled ? floor(value / right) : value / right;
        }
    }
}

static double parse_sum(parser *p)
{
    double value = parse_term(p);

    for (;;) {
        skip_space(p);
        char operation = p->failed ? '\0' : peek(p);
        if (operation != '+' && operation != '-') {
            return value;
        }
        p->at++;
        double right = parse_term(p);
        value        = operation == '+' ? value + right : value - right;
    }
}

bool expression_value(expression_grammar grammar, const char *text, size_t length, double *out)
{
    parser p     = {.at = text, .end = text + length, .grammar = grammar};
    double value = parse_sum(&p);

    skip_space(&p);
    if (p.failed || p.at != p.end) {
        return false;
    }
    *out = value;
    return true;
}
