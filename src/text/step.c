// SPDX-License-Identifier: Apache-2.0
/* Reading a stage into a flat list of steps. Nested sequences run in order, so flattening them
 * changes nothing. */
#include "step.h"

#include "pb/memory.h"
#include "pb/utf8.h"

#include <string.h>

enum { MAX_DEPTH = 8, MAX_STEPS = 256 };

void steps_clear(text_steps *steps)
{
    for (size_t i = 0; i < steps->count; i++) {
        pattern_clear(&steps->items[i].pattern);
        pb_memory_free(steps->items[i].content);
    }
    pb_memory_free(steps->items);
    *steps = (text_steps){0};
}

/* Room for one more step, zeroed. */
static pb_status add_step(text_steps *steps, const char *place, text_step **out)
{
    if (steps->count == MAX_STEPS) {
        return PB_FAIL(PB_ERR_UNSUPPORTED, "%s: more than %d steps are not supported", place,
                       MAX_STEPS);
    }
    PB_TRY(PB_GROW(steps->items, steps->count + 1));
    *out  = &steps->items[steps->count++];
    **out = (text_step){0};
    return PB_OK;
}

static const step_kind *find_kind(const text_stage *stage, const char *name)
{
    for (size_t i = 0; i < stage->count; i++) {
        if (strcmp(stage->kinds[i].name, name) == 0) {
            return &stage->kinds[i];
        }
    }
    return NULL;
}

static pb_status fail_type(const text_stage *stage, const char *place, const char *type)
{
    pb_string known = {0};
    pb_status status;

    PB_TRY_GOTO(status, pb_string_puts(&known, ""), done);
    for (size_t i = 0; i < stage->count; i++) {
        PB_TRY_GOTO(status, pb_string_printf(&known, "%s, ", stage->kinds[i].name), done);
    }
    status = PB_FAIL(PB_ERR_UNSUPPORTED,
                     "%s: the type \"%.*s\" is not supported (known: %sSequence); use a tokenizer "
                     "without it",
                     place, PB_FIT(type, 60), known.data);
done:
    pb_string_clear(&known);
    return status;
}

static pb_status parse_step(const text_stage *stage, const json_t *node, const char *place,
                            const char *type, text_steps *out)
{
    char keys[160];
    text_step *step       = NULL;
    const step_kind *kind = find_kind(stage, type);

    if (kind == NULL) {
        return fail_type(stage, place, type);
    }
    (void)snprintf(keys, sizeof keys, "type %s", kind->keys);
    PB_TRY(json_only(node, place, keys));
    PB_TRY(add_step(out, place, &step));
    step->kind = kind;
    if (kind->parse != NULL) {
        PB_TRY(kind->parse(node, place, step));
    }
    return PB_OK;
}

static pb_status parse_node(const text_stage *stage, const json_t *node, const char *place,
                            int depth, text_steps *out)
{
    char inner[PLACE_SIZE];
    json_text type = {0};
    json_t *list   = NULL;

    PB_TRY(json_type_of(node, place, &type));
    if (strcmp(type.data, "Sequence") != 0) {
        return parse_step(stage, node, place, type.data, out);
    }
    if (depth == MAX_DEPTH) {
        return PB_FAIL(PB_ERR_UNSUPPORTED, "%s: sequences nested more than %d deep", place,
                       MAX_DEPTH);
    }
    PB_TRY(text_json_array(node, place, stage->list_key, &list));
    if (list == NULL) {
        return PB_FAIL(PB_ERR_FORMAT, "%s.%s: an array is expected, found nothing", place,
                       stage->list_key);
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        (void)snprintf(inner, sizeof inner, "%.*s.%s[%zu]", PB_FIT(place, 120), stage->list_key, i);
        PB_TRY(parse_node(stage, json_array_get(list, i), inner, depth + 1, out));
    }
    return PB_OK;
}

pb_status steps_parse(const text_stage *stage, const json_t *root, text_steps *out)
{
    const json_t *node = json_object_get(root, stage->name);

    *out = (text_steps){0};
    if (node == NULL || json_is_null(node)) {
        return PB_OK;
    }
    pb_status status = parse_node(stage, node, stage->name, 0, out);
    if (status != PB_OK) {
        steps_clear(out);
    }
    return status;
}

pb_status steps_run(const text_steps *steps, text_scratch *w)
{
    for (size_t i = 0; i < steps->count; i++) {
        PB_TRY(steps->items[i].kind->run(&steps->items[i], w));
    }
    return PB_OK;
}

pb_status step_content(const json_t *node, const char *place, const char *key, text_step *step)
{
    json_text text = {0};

    PB_TRY(json_text_of(node, place, key, &text));
    PB_TRY(PB_ALLOC(step->content, text.length + 1));
    memcpy(step->content, text.data, text.length);
    step->content_length = text.length;
    return PB_OK;
}

pb_status step_replacement(const json_t *node, const char *place, text_step *step)
{
    PB_TRY(step_content(node, place, "replacement", step));
    if (step->content_length == 0 || pb_utf8_size(step->content[0]) != step->content_length) {
        return PB_FAIL(PB_ERR_FORMAT, "%s.replacement: one character is expected, found \"%.*s\"",
                       place, PB_FIT(step->content, 60));
    }
    return PB_OK;
}
