// SPDX-License-Identifier: Apache-2.0
/* The writer of JSON: the container of a member decides what separates it from the one before. */
#include "pb/json.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Keeps a failure; callers write only while there is none. */
static void note(pb_json *json, pb_status status)
{
    if (status != PB_OK) {
        json->status = PB_FRAME(status);
    }
}

static void put(pb_json *json, const char *text)
{
    if (json->status == PB_OK) {
        note(json, pb_string_puts(json->out, text));
    }
}

/* Starts the line of a member of the innermost container; `levels` is -1 for the line of its end.
 */
static void new_line(pb_json *json, int levels)
{
    for (int i = 0; i < json->depth; i++) {
        levels += json->open[i].layout == PB_JSON_LINES;
    }
    if (json->status == PB_OK) {
        note(json, pb_string_printf(json->out, "\n%*s", levels * json->indent, ""));
    }
}

/* The comma, the white space and the key before a value. */
static void begin_value(pb_json *json, const char *key)
{
    bool compact = false;

    if (json->depth > 0) {
        pb_json_layout layout = json->open[json->depth - 1].layout;
        bool *filled          = &json->open[json->depth - 1].filled;
        put(json, !*filled ? "" : layout == PB_JSON_INLINE ? ", " : ",");
        if (layout == PB_JSON_LINES) {
            new_line(json, 0);
        }
        *filled = true;
        compact = layout == PB_JSON_COMPACT;
    }
    if (key != NULL && json->status == PB_OK) {
        note(json, pb_string_json(json->out, key, strlen(key)));
        put(json, compact ? ":" : ": ");
    }
}

static void open_container(pb_json *json, const char *key, pb_json_layout layout, bool is_array)
{
    PB_ASSERT(json->depth < PB_JSON_DEPTH);
    begin_value(json, key);
    put(json, is_array ? "[" : "{");
    json->open[json->depth].layout = layout;
    json->open[json->depth].close  = is_array ? ']' : '}';
    json->open[json->depth].filled = false;
    json->depth++;
}

void pb_json_put_object(pb_json *json, const char *key, pb_json_layout layout)
{
    open_container(json, key, layout, false);
}

void pb_json_put_array(pb_json *json, const char *key, pb_json_layout layout)
{
    open_container(json, key, layout, true);
}

pb_json pb_json_begin(pb_string *out, pb_json_layout layout, int indent)
{
    pb_json json = {.out = out, .indent = indent};
    open_container(&json, NULL, layout, false);
    return json;
}

pb_json pb_json_begin_array(pb_string *out, pb_json_layout layout, int indent)
{
    pb_json json = {.out = out, .indent = indent};
    open_container(&json, NULL, layout, true);
    return json;
}

void pb_json_end(pb_json *json)
{
    PB_ASSERT(json->depth > 0);
    if (json->open[json->depth - 1].layout == PB_JSON_LINES && json->open[json->depth - 1].filled) {
        new_line(json, -1);
    }
    json->depth--;
    put(json, json->open[json->depth].close == ']' ? "]" : "}");
}

pb_status pb_json_finish(pb_json *json, const char *end)
{
    PB_ASSERT(json->depth == 1);
    pb_json_end(json);
    put(json, end);
    return json->status;
}

void pb_json_put_null(pb_json *json, const char *key)
{
    begin_value(json, key);
    put(json, "null");
}

void pb_json_put_bool(pb_json *json, const char *key, bool value)
{
    begin_value(json, key);
    put(json, value ? "true" : "false");
}

void pb_json_put_int(pb_json *json, const char *key, int64_t value)
{
    begin_value(json, key);
    if (json->status == PB_OK) {
        note(json, pb_string_printf(json->out, "%" PRId64, value));
    }
}

static void put_rounded(pb_json *json, const char *key, double value, int digits, bool fixed)
{
    begin_value(json, key);
    if (!isfinite(value)) {
        put(json, "null");
    } else if (json->status == PB_OK) {
        note(json, pb_string_printf(json->out, fixed ? "%.*f" : "%.*g", digits, value + 0.0));
    }
}

void pb_json_put_number(pb_json *json, const char *key, double value, int digits)
{
    put_rounded(json, key, value, digits, false);
}

void pb_json_put_fixed(pb_json *json, const char *key, double value, int decimals)
{
    put_rounded(json, key, value, decimals, true);
}

void pb_json_put_float(pb_json *json, const char *key, double value)
{
    char text[PB_NUMBER_BYTES];

    begin_value(json, key);
    put(json, pb_number_text(value, 1, text));
}

void pb_json_put_text(pb_json *json, const char *key, const char *text)
{
    if (text == NULL) {
        pb_json_put_null(json, key);
    } else {
        pb_json_put_bytes(json, key, text, strlen(text));
    }
}

void pb_json_put_bytes(pb_json *json, const char *key, const char *bytes, size_t length)
{
    begin_value(json, key);
    if (json->status == PB_OK) {
        note(json, pb_string_json(json->out, bytes, length));
    }
}

void pb_json_put_texts(pb_json *json, const char *key, char *const *texts, int64_t count)
{
    pb_json_put_array(json, key, PB_JSON_INLINE);
    for (int64_t i = 0; i < count; i++) {
        pb_json_put_text(json, NULL, texts[i]);
    }
    pb_json_end(json);
}
