// SPDX-License-Identifier: Apache-2.0
/* JSON lines: a line is one object. The parsing of an object serves JSON arrays too. */
#include "forms.h"

#include "pb/json.h"

static pb_status json_lines_next(dataset_reader *r, pb_string *out, int64_t *line, bool *has)
{
    return lines_next(r, true, out, line, has);
}

/* The remedy for an object that spans several lines, the first of which is little more than a
 * bracket. */
static const char *begins_object(const char *text, size_t length)
{
    bool open = false, closed = false;

    for (size_t i = 0; i < length; i++) {
        open   = open || text[i] == '{';
        closed = closed || text[i] == '}';
    }
    return open && !closed ? "; if the object goes on in the next lines, put each on one line "
                             "(jq -c .)"
                           : "";
}

pb_status json_row(const char *what, const char *text, size_t length, json_t **row)
{
    json_error_t error;

    PB_TRY(text_check(what, text, length));
    json_t *value = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (value == NULL) {
        return PB_FAIL(PB_ERR_FORMAT, "invalid JSON at byte %d: %s%s", error.position,
                       pb_json_problem(error.text), begins_object(text, length));
    }
    if (!json_is_object(value)) {
        json_decref(value);
        return PB_FAIL(PB_ERR_FORMAT, "the %s is not a JSON object", what);
    }
    *row = value;
    return PB_OK;
}

static pb_status json_lines_parse(const dataset_reader *r, const char *text, size_t length,
                                  json_t **row)
{
    (void)r;
    return json_row("line", text, length, row);
}

const row_form form_json_lines = {
    .name  = "JSON lines",
    .next  = json_lines_next,
    .parse = json_lines_parse,
};
