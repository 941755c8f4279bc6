// SPDX-License-Identifier: Apache-2.0
/* Results as JSON lines, and their table. */
#include "bench_gpu.h"

#include "pb/clock.h"
#include "pb/json.h"

#include <jansson.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A part's side ---------------------------------------------------------------------------------
 */

static pb_json begin_line(const bench *b, const char *what, const char *sizes, pb_string *line)
{
    pb_json json = pb_json_begin(line, PB_JSON_INLINE, 0);
    pb_json_put_int(&json, "part", b->part);
    pb_json_put_text(&json, "name", bench_part_at(b->part)->name);
    pb_json_put_text(&json, "what", what);
    pb_json_put_text(&json, "sizes", sizes);
    return json;
}

static void end_line(const bench *b, pb_json *json, pb_string *line)
{
    pb_json_put_text(json, "command", b->command);
    if (pb_json_finish(json, "\n") == PB_OK) {
        fputs(line->data, stdout);
        fflush(stdout);
    }
    pb_string_clear(line);
}

void put_figure(const bench *b, const char *what, const char *sizes, double value, const char *unit)
{
    pb_string line = {0};
    pb_json json   = begin_line(b, what, sizes, &line);
    pb_json_put_number(&json, "value", value, 6);
    pb_json_put_text(&json, "unit", unit);
    end_line(b, &json, &line);
}

static void put_note(const bench *b, const char *what, const char *sizes, const char *result,
                     const char *note)
{
    pb_string line = {0};
    pb_json json   = begin_line(b, what, sizes, &line);
    pb_json_put_text(&json, "result", result);
    pb_json_put_text(&json, "note", note);
    end_line(b, &json, &line);
}

void put_text(const bench *b, const char *what, const char *text)
{
    put_note(b, what, "", "", text);
}

void put_verdict(const bench *b, const char *what, const char *sizes, bool holds, const char *note)
{
    put_note(b, what, sizes, holds ? "yes" : "no", note);
}

void put_failure(const bench *b, const char *what, const char *sizes, pb_status status)
{
    const char *message = pb_error_message();
    put_note(b, what, sizes, "failed", *message != '\0' ? message : pb_status_sentence(status));
    pb_error_clear();
}

bool time_is_left(const bench *b, const char *what, const char *sizes)
{
    static bool said;
    if (pb_clock_seconds() < b->end) {
        return true;
    }
    if (!said) {
        put_note(b, what, sizes, "left out", "from here on: the time of the part is spent");
    }
    said = true;
    return false;
}

/* The reader's side -----------------------------------------------------------------------------
 */

struct report {
    FILE *file;
    json_t **lines;
    size_t count, capacity;
    int problems;
};

report *report_open(const char *path)
{
    report *r = calloc(1, sizeof *r);
    if (r != NULL) {
        r->file = fopen(path, "w");
    }
    if (r != NULL && r->file == NULL) {
        free(r);
        return NULL;
    }
    return r;
}

void report_close(report *r)
{
    for (size_t i = 0; i < r->count; i++) {
        json_decref(r->lines[i]);
    }
    free(r->lines);
    fclose(r->file);
    free(r);
}

static const char *text_of(const json_t *line, const char *key)
{
    const char *text = json_string_value(json_object_get(line, key));
    return text != NULL ? text : "";
}

static void print_line(const json_t *line)
{
    const json_t *value = json_object_get(line, "value");
    printf("%2d %-10s %-36s %-40s ", (int)json_integer_value(json_object_get(line, "part")),
           text_of(line, "name"), text_of(line, "what"), text_of(line, "sizes"));
    if (value != NULL) {
        printf("%12.6g %s\n", json_is_number(value) ? json_number_value(value) : (double)NAN,
               text_of(line, "unit"));
    } else {
        printf("%s%s%s\n", text_of(line, "result"), *text_of(line, "result") != '\0' ? " " : "",
               text_of(line, "note"));
    }
}

static void keep(report *r, json_t *line)
{
    if (r->count == r->capacity) {
        size_t capacity = r->capacity > 0 ? 2 * r->capacity : 256;
        json_t **lines  = realloc(r->lines, capacity * sizeof(json_t *));
        if (lines == NULL) {
            json_decref(line);
            return;
        }
        r->lines    = lines;
        r->capacity = capacity;
    }
    r->lines[r->count++] = line;
}

void report_line(report *r, const char *text)
{
    json_t *line = json_loads(text, 0, NULL);
    if (line == NULL) {
        fprintf(stderr, "%s", text); /* of a library */
        return;
    }
    const char *result = text_of(line, "result");
    r->problems += strcmp(result, "no") == 0 || strcmp(result, "failed") == 0;
    fputs(text, r->file);
    fflush(r->file);
    print_line(line);
    fflush(stdout);
    keep(r, line);
}

int report_problems(const report *r)
{
    return r->problems;
}

void report_table(const report *r)
{
    printf("\n%2s %-10s %-36s %-40s %12s\n", "", "part", "what", "sizes", "result");
    for (size_t i = 0; i < r->count; i++) {
        print_line(r->lines[i]);
    }
    printf("\n%zu results, %d of them \"no\" or \"failed\"\n", r->count, r->problems);
}
