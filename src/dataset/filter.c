// SPDX-License-Identifier: Apache-2.0
/* Filters of patterns: {column:filter}. */
#include "filter.h"

#include "pb/python.h"
#include "pb/registry.h"

#include <stdio.h>
#include <string.h>

/* Two line feeds before a non-empty text. */
static pb_status paragraph(const char *text, size_t length, pb_string *out)
{
    if (length == 0) {
        return PB_OK;
    }
    PB_TRY(pb_string_puts(out, "\n\n"));
    return pb_string_append(out, text, length);
}

enum { CHOICES = 5, SIGN_BYTES = 16 };

typedef struct choice {
    const char *text;
    size_t length;
} choice;

/* Choices a to e of one text: `first` begins it, `next` (with %c for the letter) comes before each
 * other one at its first occurrence, `last` ends it. */
static bool cut_choices(const char *text, size_t length, const char *const signs[3],
                        choice out[CHOICES])
{
    size_t first = strlen(signs[0]);
    size_t last  = strlen(signs[2]);
    char sign[SIGN_BYTES];

    if (length < first + last || memcmp(text, signs[0], first) != 0 ||
        memcmp(text + length - last, signs[2], last) != 0) {
        return false;
    }
    const char *p   = text + first;
    const char *end = text + length - last;
    for (int k = 0; k < CHOICES; k++) {
        const char *stop = end;
        size_t size      = 0;
        if (k + 1 < CHOICES) {
            size = (size_t)snprintf(sign, sizeof sign, "%s%c ) ", signs[1], 'b' + k);
            stop = memmem(p, (size_t)(end - p), sign, size);
        }
        if (stop == NULL) {
            return false;
        }
        out[k] = (choice){.text = p, .length = (size_t)(stop - p)};
        pb_str_strip(&out[k].text, &out[k].length);
        p = stop + size;
    }
    return true;
}

/* MathQA's options, "a ) 1 , b ) 2 …" or "['a ) 1', 'b ) 2', …]", as lines below "Choices:"; a text
 * in neither form follows "Options: " unchanged. */
static pb_status choices(const char *text, size_t length, pb_string *out)
{
    static const char *const plain[3]  = {"a ) ", " , ", ""};
    static const char *const listed[3] = {"['a ) ", "', '", "']"};
    choice cut[CHOICES];

    if (!cut_choices(text, length, plain, cut) && !cut_choices(text, length, listed, cut)) {
        PB_TRY(pb_string_puts(out, "Options: "));
        return pb_string_append(out, text, length);
    }
    PB_TRY(pb_string_puts(out, "Choices:"));
    for (int k = 0; k < CHOICES; k++) {
        PB_TRY(pb_string_printf(out, "\n%c: ", 'a' + k));
        PB_TRY(pb_string_append(out, cut[k].text, cut[k].length));
    }
    return PB_OK;
}

static const row_filter filters[] = {
    {"capitalize", pb_str_capitalize}, {"choices", choices}, {"join", NULL},
    {"paragraph", paragraph},          {NULL, NULL},
};

static const pb_registry registry = {
    .kind = "filter", .entries = filters, .stride = sizeof *filters};

pb_status row_filter_find(const char *name, const row_filter **out)
{
    size_t index;

    PB_TRY(pb_registry_find(&registry, name, &index));
    *out = &filters[index];
    return PB_OK;
}
