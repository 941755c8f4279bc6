// SPDX-License-Identifier: Apache-2.0
/* JSON: texts whose root is an object are parsed with duplicate keys refused, and texts are written
 * member by member.
 *
 *     pb_json json = pb_json_begin(&text, PB_JSON_LINES, 1);
 *     pb_json_put_text(&json, "name", name);
 *     pb_json_put_int(&json, "rows", rows);
 *     PB_TRY(pb_json_finish(&json, "\n"));
 */
#pragma once

#include "pb/status.h"
#include "pb/string.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_t; /* jansson's */

/* jansson's message for an invalid text, reworded where it names its own flags. */
const char *pb_json_problem(const char *text);

/* "an object", "a string" and so on; NULL is "nothing". */
const char *pb_json_kind(const struct json_t *node);

/* A whole file of at most `max_bytes`. Messages of both readers name file, line and column; the
 * caller drops the object with json_decref. */
pb_status pb_json_file_read(const char *path, size_t max_bytes, struct json_t **out) PB_MUST_USE;

/* A text that was read from `path`; `flags` of jansson are added. */
pb_status pb_json_parse(const char *path, const pb_string *text, size_t flags,
                        struct json_t **out) PB_MUST_USE;

/* White space of an object or an array. */
typedef enum pb_json_layout {
    PB_JSON_COMPACT, /* none */
    PB_JSON_INLINE,  /* a space after each comma and colon */
    PB_JSON_LINES,   /* each member on a line of its own */
} pb_json_layout;

enum { PB_JSON_DEPTH = 16, PB_JSON_EXACT = 17 };

typedef struct pb_json {
    pb_string *out;
    pb_status status; /* the first failure, which can only be out of memory; nothing is written
                         after it */
    int indent;       /* spaces for each PB_JSON_LINES that a member is in */
    int depth;
    struct {
        pb_json_layout layout;
        char close;
        bool filled;
    } open[PB_JSON_DEPTH];
} pb_json;

/* Append to `out` a text whose root is an object, or an array. */
pb_json pb_json_begin(pb_string *out, pb_json_layout layout, int indent);
pb_json pb_json_begin_array(pb_string *out, pb_json_layout layout, int indent);

/* The members that follow, up to pb_json_end, are inside. `key` is NULL in an array, here
 * and below. */
void pb_json_put_object(pb_json *json, const char *key, pb_json_layout layout);
void pb_json_put_array(pb_json *json, const char *key, pb_json_layout layout);
void pb_json_end(pb_json *json);

/* Closes the root and ends the text with `end`, usually a line feed; the status tells whether all
 * of it was written. */
pb_status pb_json_finish(pb_json *json, const char *end) PB_MUST_USE;

void pb_json_put_null(pb_json *json, const char *key);
void pb_json_put_bool(pb_json *json, const char *key, bool value);
void pb_json_put_int(pb_json *json, const char *key, int64_t value);
/* Significant digits, of which PB_JSON_EXACT read back as the same number, or decimals. null where
 * the number is not finite; minus zero is 0. */
void pb_json_put_number(pb_json *json, const char *key, double value, int digits);
void pb_json_put_fixed(pb_json *json, const char *key, double value, int decimals);
/* As pb_number_text writes it, for readers that distinguish 1.0 from 1. Finite. */
void pb_json_put_float(pb_json *json, const char *key, double value);
/* As pb_string_json quotes it; null where `text` is NULL. */
void pb_json_put_text(pb_json *json, const char *key, const char *text);
void pb_json_put_bytes(pb_json *json, const char *key, const char *bytes, size_t length);
/* An array of them. */
void pb_json_put_texts(pb_json *json, const char *key, char *const *texts, int64_t count);
