// SPDX-License-Identifier: Apache-2.0
/* The one place where whole JSON texts are parsed, so that all of them are refused for the same
 * reasons in the same words. */
#include "pb/json.h"
#include "pb/file.h"

#include <jansson.h>

#include <string.h>

const char *pb_json_kind(const json_t *node)
{
    if (node == NULL) {
        return "nothing";
    }
    switch (json_typeof(node)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number";
    case JSON_NULL:
        return "null";
    default:
        return "true or false";
    }
}

const char *pb_json_problem(const char *text)
{
    return strstr(text, "JSON_ALLOW_NUL") != NULL ? "a string contains \\u0000; remove it" : text;
}

pb_status pb_json_parse(const char *path, const pb_string *text, size_t flags, json_t **out)
{
    json_error_t error;
    json_t *root = json_loadb(text->data != NULL ? text->data : "", text->length,
                              JSON_REJECT_DUPLICATES | flags, &error);

    const char *instead = pb_file_failed_download(text->data, text->length);

    if (root == NULL && instead != NULL) {
        return PB_FAIL(PB_ERR_FORMAT, "%s:%d:%d: invalid JSON: the file %s; download it again",
                       path, error.line, error.column, instead);
    }
    if (root == NULL) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s:%d:%d: invalid JSON: %s; correct the file or copy it again", path,
                       error.line, error.column, pb_json_problem(error.text));
    }
    if (!json_is_object(root)) {
        json_decref(root);
        return PB_FAIL(PB_ERR_FORMAT, "%s: not a JSON object; correct the file or copy it again",
                       path);
    }
    *out = root;
    return PB_OK;
}

pb_status pb_json_file_read(const char *path, size_t max_bytes, json_t **out)
{
    pb_string text = {0};

    PB_TRY(pb_file_read(path, max_bytes, &text));
    pb_status status = pb_json_parse(path, &text, 0, out);
    pb_string_clear(&text);
    return status;
}
