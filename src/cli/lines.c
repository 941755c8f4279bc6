// SPDX-License-Identifier: Apache-2.0
/* Standard input line by line. */
#include "lines.h"

#include "pb/cli.h"
#include "pb/json.h"
#include "pb/string.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { MAX_LINE_BYTES = 64 << 20 };

/* The next line of standard input without its line feed; *more is false at the end. */
static pb_status read_line(pb_string *line, bool *more)
{
    char block[4096];
    size_t size = 0;
    int c       = 0;

    line->length = 0;
    *more        = false;
    while ((c = getc_unlocked(stdin)) != EOF) {
        *more = true;
        if (c == '\n') {
            break;
        }
        block[size++] = (char)c;
        if (size == sizeof block) {
            if (line->length + size > MAX_LINE_BYTES) {
                return PB_FAIL(PB_ERR_FORMAT,
                               "the line is longer than the %d bytes allowed; does the input have "
                               "line ends?",
                               MAX_LINE_BYTES);
            }
            PB_TRY(pb_string_append(line, block, size));
            size = 0;
        }
    }
    PB_TRY(pb_string_append(line, block, size));
    if (ferror(stdin)) {
        return PB_FAIL(PB_ERR_IO, "standard input could not be read");
    }
    return PB_OK;
}

static pb_status take_line(const pb_string *line, int64_t number, const char *form, size_t flags,
                           lines_taker take, void *context)
{
    json_error_t error;
    json_t *row = json_loadb(line->data, line->length, JSON_REJECT_DUPLICATES | flags, &error);

    if (row == NULL) {
        const char *text = line->data + strspn(line->data, " \t");
        const char *hint = *text == '['   ? "; jq -c '.[]' makes lines of an array"
                           : *text == '{' ? "; write every object on its own line (jq -c .)"
                                          : "";
        return PB_FAIL(PB_ERR_FORMAT, "not valid JSON: %s%s", pb_json_problem(error.text), hint);
    }
    if (json_is_array(row)) {
        json_decref(row);
        return PB_FAIL(PB_ERR_FORMAT,
                       "a line must be %s, not an array; jq -c '.[]' makes "
                       "lines of one",
                       form);
    }
    pb_status status = take(context, row, number);
    json_decref(row);
    return status;
}

pb_status lines_each(const char *form, size_t flags, lines_taker take, void *context)
{
    pb_string line   = {0};
    pb_status status = PB_OK;
    bool more        = true;

    for (int64_t number = 1; more && status == PB_OK && pb_cli_is_heard(); number++) {
        status     = read_line(&line, &more);
        bool empty = status == PB_OK && (!more || line.length == strspn(line.data, " \t\r"));
        if (status == PB_OK && !empty) {
            status = take_line(&line, number, form, flags, take, context);
        }
        if (status != PB_OK) {
            pb_error_prefix(status, "standard input:%" PRId64, number);
        }
    }
    pb_string_clear(&line);
    return status;
}
