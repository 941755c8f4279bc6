// SPDX-License-Identifier: Apache-2.0
/* For a single text every supported post-processor comes down to two lists of ids, so only these
 * are kept: ByteLevel only moves offsets, a template surrounds one text with special tokens, and a
 * sequence nests templates. */
#include "postprocessor.h"

#include "pb/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Appends the ids of a template's special token. */
static pb_status append_special(const json_t *template, const char *place, const json_t *piece,
                                int64_t size, pb_ids *out)
{
    json_text name        = {0};
    json_t *ids           = NULL;
    const json_t *tokens  = json_object_get(template, "special_tokens");
    const json_t *special = NULL;

    PB_TRY(json_text_of(piece, place, "id", &name));
    special = json_object_get(tokens, name.data);
    if (!json_is_object(special)) {
        return PB_FAIL(PB_ERR_FORMAT, "%s: \"%.*s\" is not in special_tokens of the template",
                       place, PB_FIT(name.data, 60));
    }
    PB_TRY(text_json_array(special, place, "ids", &ids));
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const json_t *id = json_array_get(ids, i);
        int64_t value    = json_is_integer(id) ? (int64_t)json_integer_value(id) : -1;
        if (value < 0 || value >= size) {
            return PB_FAIL(PB_ERR_FORMAT,
                           "%s: ids[%zu] of \"%.*s\" is not an id of this tokenizer (0 to %" PRId64
                           ")",
                           place, i, PB_FIT(name.data, 60), size - 1);
        }
        PB_TRY(pb_ids_append(out, (int32_t)value));
    }
    return PB_OK;
}

/* Reads the pieces of "single" into the ids before and after the text. */
static pb_status read_single(const json_t *node, const char *place, int64_t size, pb_ids *before,
                             pb_ids *behind)
{
    json_t *single = NULL;
    size_t texts   = 0;

    PB_TRY(text_json_array(node, place, "single", &single));
    for (size_t i = 0; i < json_array_size(single); i++) {
        char inner[PLACE_SIZE + 32];
        const json_t *piece   = json_array_get(single, i);
        const json_t *special = json_object_get(piece, "SpecialToken");
        const json_t *text    = json_object_get(piece, "Sequence");
        json_text name        = {0};
        (void)snprintf(inner, sizeof inner, "%s.single[%zu]", place, i);
        if (special != NULL) {
            PB_TRY(append_special(node, inner, special, size, texts == 0 ? before : behind));
            continue;
        }
        if (text == NULL) {
            return PB_FAIL(PB_ERR_UNSUPPORTED,
                           "%s: SpecialToken or Sequence is expected; other pieces are not "
                           "supported",
                           inner);
        }
        PB_TRY(json_text_of(text, inner, "id", &name));
        texts++;
        if (strcmp(name.data, "A") != 0 || texts > 1) {
            return PB_FAIL(PB_ERR_UNSUPPORTED, "%s: a template of one text A is expected", inner);
        }
    }
    if (texts != 1) {
        return PB_FAIL(PB_ERR_UNSUPPORTED, "%s.single: the text A is missing", place);
    }
    return PB_OK;
}

/* A later template encloses the earlier ones. */
static pb_status read_template(const json_t *node, const char *place, int64_t size,
                               postprocessor *out)
{
    pb_ids before    = {0};
    pb_ids behind    = {0};
    pb_status status = PB_OK;

    PB_TRY_GOTO(status, json_only(node, place, "type single pair special_tokens"), err_clear);
    PB_TRY_GOTO(status, read_single(node, place, size, &before, &behind), err_clear);
    PB_TRY_GOTO(status, pb_ids_extend(&before, out->before.items, out->before.count), err_clear);
    PB_TRY_GOTO(status, pb_ids_extend(&out->behind, behind.items, behind.count), err_clear);
    pb_ids_clear(&out->before);
    out->before = before;
    before      = (pb_ids){0};

err_clear:
    pb_ids_clear(&before);
    pb_ids_clear(&behind);
    return status;
}

enum { MAX_DEPTH = 8 };

static pb_status read_node(const json_t *node, const char *place, int depth, int64_t size,
                           postprocessor *out)
{
    json_text type = {0};
    json_t *list   = NULL;

    PB_TRY(json_type_of(node, place, &type));
    if (strcmp(type.data, "ByteLevel") == 0) {
        return json_only(node, place, "type add_prefix_space trim_offsets use_regex");
    }
    if (strcmp(type.data, "TemplateProcessing") == 0) {
        return read_template(node, place, size, out);
    }
    if (strcmp(type.data, "Sequence") != 0 || depth == MAX_DEPTH) {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "%s: the type \"%.*s\" is not supported here (known: TemplateProcessing, "
                       "ByteLevel, Sequence); use a tokenizer without it",
                       place, PB_FIT(type.data, 60));
    }
    PB_TRY(json_only(node, place, "type processors"));
    PB_TRY(text_json_array(node, place, "processors", &list));
    for (size_t i = 0; i < json_array_size(list); i++) {
        char inner[PLACE_SIZE];
        (void)snprintf(inner, sizeof inner, "%.*s.processors[%zu]", PB_FIT(place, 120), i);
        PB_TRY(read_node(json_array_get(list, i), inner, depth + 1, size, out));
    }
    return PB_OK;
}

pb_status postprocessor_parse(const json_t *root, int64_t size, postprocessor *out)
{
    const json_t *node = json_object_get(root, "post_processor");

    *out = (postprocessor){0};
    if (node == NULL || json_is_null(node)) {
        return PB_OK;
    }
    pb_status status = read_node(node, "post_processor", 0, size, out);
    if (status != PB_OK) {
        postprocessor_clear(out);
    }
    return status;
}

void postprocessor_clear(postprocessor *p)
{
    pb_ids_clear(&p->before);
    pb_ids_clear(&p->behind);
}
