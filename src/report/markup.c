// SPDX-License-Identifier: Apache-2.0
#include "markup.h"

#include "pb/width.h"

#include <string.h>

/* As long as it takes; `size` bytes of the text. */
static pb_status put_bytes(pb_string *out, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const char *c  = text + i;
        const char *as = *c == '<'                                ? "&lt;"
                         : *c == '>'                              ? "&gt;"
                         : *c == '&'                              ? "&amp;"
                         : *c == '"'                              ? "&quot;"
                         : *c == '\''                             ? "&#39;"
                         : *c == '\n'                             ? " "
                         : (unsigned char)*c < 0x20 || *c == 0x7f ? "\xEF\xBF\xBD"
                                                                  : NULL;
        PB_TRY(as != NULL ? pb_string_puts(out, as) : pb_string_append(out, c, 1));
    }
    return PB_OK;
}

pb_status markup_put(pb_string *out, const char *text)
{
    pb_string valid  = {0};
    pb_status status = pb_string_utf8(&valid, text, strlen(text));

    if (status == PB_OK && valid.length > 0) {
        status = put_bytes(out, valid.data, valid.length);
    }
    pb_string_clear(&valid);
    return status;
}

pb_status markup_put_short(pb_string *out, const char *text, int64_t columns)
{
    pb_string head = {0};
    int64_t used   = 0;
    size_t at      = 0;

    if (pb_width(text) <= columns) {
        return markup_put(out, text);
    }
    while (text[at] != '\0') {
        int width   = 0;
        size_t size = pb_width_next(text + at, &width);
        used += width;
        if (used > columns - 1) {
            break;
        }
        at += size;
    }
    pb_status status = pb_string_append(&head, text, at);
    if (status == PB_OK && head.data != NULL) {
        status = markup_put(out, head.data);
    }
    pb_string_clear(&head);
    return status == PB_OK ? pb_string_puts(out, "…") : status;
}
