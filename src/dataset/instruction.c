// SPDX-License-Identifier: Apache-2.0
/* The original's texts are not part of this project: under the paper protocol they are read from
 * its dataset_info.json and compared with the ids that the data set's configuration carries. */
#include "instruction.h"
#include "columns.h"

#include "pb/json.h"
#include "pb/memory.h"
#include "pb/utf8.h"

#include <jansson.h>

#include <stdlib.h>
#include <string.h>

enum { ID_DIGITS = 10, MAX_INFO_BYTES = 16 << 20 };

static pb_status open_info(const char *path, const char *set, json_t **out)
{
    if (*path == '\0') {
        path = getenv("PB_PEFTBENCH_INFO");
    }
    if (path == NULL || *path == '\0') {
        return PB_FAIL(PB_ERR_CONFIG,
                       "data set %s under protocol \"paper\" needs PEFT-Bench's own "
                       "data/dataset_info.json: give its path in data.peftbench_info or in the "
                       "environment variable PB_PEFTBENCH_INFO",
                       set);
    }
    return PB_FRAME(pb_json_file_read(path, MAX_INFO_BYTES, out));
}

static pb_status check_id(const char *key, const char *text, const char *id)
{
    char sha[PB_HASH_TEXT];
    size_t digits = strlen(id);

    if (digits < ID_DIGITS || digits >= PB_HASH_TEXT) {
        return PB_FAIL(PB_ERR_CONFIG, "dataset.instruction_sha \"%s\" has not 10 … 64 digits", id);
    }
    PB_TRY(pb_hash_bytes(text, strlen(text), sha));
    if (strncmp(sha, id, digits) != 0) {
        return PB_FAIL(PB_ERR_CONFIG,
                       "the instruction \"%s\" of dataset_info.json has the SHA-256 %.*s…, the "
                       "data set's configuration expects %.*s…; use the file of the version that "
                       "the configuration describes",
                       key, PB_FIT(sha, 10), PB_FIT(id, 10));
    }
    return PB_OK;
}

pb_status instruction_read(const pb_dataset_options *options, pb_protocol protocol, pb_split split,
                           const char *info_path, char **out)
{
    bool test          = split == PB_SPLIT_TEST;
    bool own           = test && *options->instruction_test_sha != '\0';
    const char *id     = own ? options->instruction_test_sha : options->instruction_sha;
    const char *id_key = own ? "instruction_test_sha" : "instruction_sha";
    const char *first  = *options->paper_key != '\0' ? options->paper_key : options->name;
    json_t *info       = NULL;
    pb_string key      = {0};
    pb_status status;

    if (protocol == PB_PROTOCOL_CORRECTED || *id == '\0') {
        return PB_TEXT(*out, options->instruction);
    }
    if (test && *options->paper_test_key != '\0') {
        PB_TRY(pb_string_puts(&key, options->paper_test_key));
    } else {
        PB_TRY(pb_string_printf(&key, "%s%s", first, test ? "_eval" : ""));
    }
    PB_TRY_GOTO(status, dataset_at(options, id_key, -1, open_info(info_path, options->name, &info)),
                out_key);
    const json_t *entry = json_object_get(info, key.data);
    const json_t *value = json_object_get(entry, "instruction");
    if (entry == NULL || (value != NULL && !json_is_string(value) && !json_is_null(value))) {
        status = PB_FAIL(PB_ERR_FORMAT,
                         "dataset_info.json has no entry \"%s\" with a string \"instruction\"",
                         key.data);
        goto out_info;
    }
    const char *text = json_is_string(value) ? json_string_value(value) : "";
    PB_TRY_GOTO(status, dataset_at(options, id_key, -1, check_id(key.data, text, id)), out_info);
    status = PB_TEXT(*out, text);
out_info:
    json_decref(info);
out_key:
    pb_string_clear(&key);
    return status;
}
