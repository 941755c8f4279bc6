// SPDX-License-Identifier: Apache-2.0
/* Reads config.json and the index of sharded checkpoints. */
#include "json_file.h"

#include "pb/file.h"

pb_status pb_json_file_read(const char *path, size_t max_bytes, json_t **out)
{
    pb_string text = {0};
    json_error_t error;
    PB_TRY(pb_file_read(path, max_bytes, &text));
    json_t *root =
        json_loadb(text.data != NULL ? text.data : "", text.length, JSON_REJECT_DUPLICATES, &error);
    pb_string_clear(&text);
    if (root == NULL) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s:%d:%d: invalid JSON: %s; correct the file or copy it again", path,
                       error.line, error.column, error.text);
    }
    if (!json_is_object(root)) {
        json_decref(root);
        return PB_FAIL(PB_ERR_FORMAT, "%s: holds no JSON object; correct the file or copy it again",
                       path);
    }
    *out = root;
    return PB_OK;
}
