// SPDX-License-Identifier: Apache-2.0
/* Texts of a record: owned copies, valid UTF-8 for files, and names as one path component, one to
 * one. */
#include "text.h"

#include "pb/memory.h"
#include "pb/record.h"
#include "pb/results.h"
#include "pb/utf8.h"

#include <string.h>

pb_status pb_record_set_text(char **text, const char *value)
{
    char *copy = NULL;

    if (value != NULL) {
        PB_TRY(PB_TEXT(copy, value));
    }
    pb_memory_free(*text);
    *text = copy;
    return PB_OK;
}

pb_status text_utf8(const char *text, char **out, int64_t *escaped)
{
    pb_string clean = {0};
    const char *at  = text != NULL ? text : "";
    size_t left     = strlen(at);
    size_t bad      = 0;
    pb_status status;

    while (!pb_utf8_is_valid(at, left, &bad)) {
        PB_TRY_GOTO(status, pb_string_append(&clean, at, bad), err_clean);
        PB_TRY_GOTO(status, pb_string_printf(&clean, "\\x%02X", (unsigned char)at[bad]), err_clean);
        at += bad + 1;
        left -= bad + 1;
        if (escaped != NULL) {
            *escaped += 1;
        }
    }
    PB_TRY_GOTO(status, pb_string_append(&clean, at, left), err_clean);
    PB_TRY_GOTO(status, pb_string_puts(&clean, ""), err_clean);
    if (clean.data == NULL) {
        return pb_record_set_text(out, "");
    }
    *out = clean.data;
    return PB_OK;

err_clean:
    pb_string_clear(&clean);
    return status;
}

/* Letters, digits and "-.+" are kept, except a leading dot, and so is a "_" between two other
 * characters: "__" then separates names. Everything else is %HH, the empty name is %00. */
pb_status pb_results_escape(const char *name, pb_string *out)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.+";

    if (name[0] == '\0') {
        return pb_string_puts(out, "%00");
    }
    for (const char *c = name; *c != '\0'; c++) {
        bool keep = strchr(plain, *c) != NULL && !(c == name && *c == '.');
        if (*c == '_') {
            keep = c != name && c[1] != '\0' && c[-1] != '_';
        }
        if (keep) {
            PB_TRY(pb_string_append(out, c, 1));
        } else {
            PB_TRY(pb_string_printf(out, "%%%02X", (unsigned char)*c));
        }
    }
    return PB_OK;
}
