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
#include <unistd.h>

static pb_json begin_line(const bench *b, const char *what, const char *sizes, pb_string *line)
{
    pb_json json = pb_json_begin(line, PB_JSON_INLINE, 0);
    pb_json_put_int(&json, "part", b->part);
    pb_json_put_text(&json, "name", bench_part_at(b->part)->name);
    pb_json_put_text(&json, "what", what);
    pb_json_put_text(&json, "sizes", sizes);
    return json;
}

static pb_json figure_line(const bench *b, const char *what, const char *sizes, double value,
                           const char *unit, pb_string *line)
{
    pb_json json = begin_line(b, what, sizes, line);
    pb_json_put_number(&json, "value", value, 6);
    pb_json_put_text(&json, "unit", unit);
    return json;
}

static pb_json note_line(const bench *b, const char *what, const char *sizes, const char *result,
                         const char *note, pb_string *line)
{
    pb_json json = begin_line(b, what, sizes, line);
    pb_json_put_text(&json, "result", result);
    pb_json_put_text(&json, "note", note);
    return json;
}

/* A part's side ---------------------------------------------------------------------------------
 */

static void print_line(pb_json *json, pb_string *line)
{
    if (pb_json_finish(json, "\n") == PB_OK) {
        fputs(line->data, stdout);
        fflush(stdout);
    }
    pb_string_clear(line);
}

static void end_line(const bench *b, pb_json *json, pb_string *line)
{
    pb_json_put_text(json, "command", b->command);
    print_line(json, line);
}

void put_goal(const bench *b, const char *what, const char *sizes, double value, const char *unit,
              const char *goal)
{
    pb_string line = {0};
    pb_json json   = figure_line(b, what, sizes, value, unit, &line);
    if (goal != NULL) {
        pb_json_put_text(&json, "goal", goal);
    }
    end_line(b, &json, &line);
}

void put_figure(const bench *b, const char *what, const char *sizes, double value, const char *unit)
{
    put_goal(b, what, sizes, value, unit, NULL);
}

static void put_note(const bench *b, const char *what, const char *sizes, const char *result,
                     const char *note)
{
    pb_string line = {0};
    pb_json json   = note_line(b, what, sizes, result, note, &line);
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
    if ((status == PB_ERR_LIBRARY || status == PB_ERR_DEVICE) && strcmp(b->backend, "cpu") != 0) {
        _exit(EXIT_NEXT_ITEM);
    }
}

static int64_t items;

void item_at(const char *what, const char *sizes)
{
    pb_string line = {0};
    pb_json json   = pb_json_begin(&line, PB_JSON_INLINE, 0);
    pb_json_put_int(&json, "item", items);
    pb_json_put_text(&json, "what", what);
    pb_json_put_text(&json, "sizes", sizes);
    print_line(&json, &line);
}

bool time_is_left(const bench *b)
{
    return pb_clock_seconds() < b->end;
}

bool item_begin(const bench *b, const char *what, const char *sizes)
{
    static bool said;
    items++;
    if (items <= b->done || said) {
        return false;
    }
    said = !time_is_left(b);
    if (said) {
        put_note(b, what, sizes, "left out", "from here on: the time of the part is spent");
        return false;
    }
    item_at(what, sizes);
    return true;
}

/* The reader's side -----------------------------------------------------------------------------
 */

struct report {
    FILE *file;
    json_t **lines;
    size_t count, capacity;
    int problems;
};

static void write_line(report *r, const char *text)
{
    fputs(text, r->file);
    fflush(r->file);
}

/* Distinguishes the lines of several runs in one file. */
static void write_start(report *r, int argc, char **argv)
{
    char now[32];
    pb_string line = {0};
    pb_json json   = pb_json_begin(&line, PB_JSON_INLINE, 0);
    pb_clock_iso8601(pb_clock_unix(), now, sizeof now);
    pb_json_put_text(&json, "started", now);
    pb_json_put_array(&json, "arguments", PB_JSON_INLINE);
    for (int i = 0; i < argc; i++) {
        pb_json_put_text(&json, NULL, argv[i]);
    }
    pb_json_end(&json);
    if (pb_json_finish(&json, "\n") == PB_OK) {
        write_line(r, line.data);
    }
    pb_string_clear(&line);
}

report *report_open(const char *path, int argc, char **argv)
{
    report *r = calloc(1, sizeof *r);
    if (r != NULL) {
        r->file = fopen(path, "a");
    }
    if (r != NULL && r->file == NULL) {
        free(r);
        return NULL;
    }
    if (r != NULL) {
        write_start(r, argc, argv);
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

static void show(const json_t *line)
{
    const json_t *value = json_object_get(line, "value");
    const char *result  = text_of(line, "result");
    const char *goal    = text_of(line, "goal");
    printf("%2d %-10s %-36s %-52s ", (int)json_integer_value(json_object_get(line, "part")),
           text_of(line, "name"), text_of(line, "what"), text_of(line, "sizes"));
    if (value != NULL) {
        printf("%12.6g %s%s%s\n", json_is_number(value) ? json_number_value(value) : (double)NAN,
               text_of(line, "unit"), *goal != '\0' ? "  goal: " : "", goal);
    } else {
        printf("%s%s%s\n", result, *result != '\0' ? " " : "", text_of(line, "note"));
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

/* A result: into the file, onto the screen, and kept for the table. */
static void take_result(report *r, const char *text, json_t *line)
{
    const char *result = text_of(line, "result");
    r->problems += strcmp(result, "no") == 0 || strcmp(result, "failed") == 0;
    write_line(r, text);
    show(line);
    fflush(stdout);
    keep(r, line);
}

/* What a library or a tool said: into the file too. */
static void take_words(report *r, const bench *b, const char *text)
{
    pb_string line = {0};
    pb_json json   = pb_json_begin(&line, PB_JSON_INLINE, 0);
    fputs(text, stderr);
    pb_json_put_int(&json, "part", b->part);
    pb_json_put_bytes(&json, "said", text, strcspn(text, "\n"));
    if (pb_json_finish(&json, "\n") == PB_OK) {
        write_line(r, line.data);
    }
    pb_string_clear(&line);
}

void report_line(report *r, const bench *b, const char *text, running_item *item)
{
    json_t *line         = json_loads(text, 0, NULL);
    const json_t *number = json_object_get(line, "item");
    if (line == NULL) {
        take_words(r, b, text);
    } else if (number == NULL) {
        take_result(r, text, line);
    } else {
        item->number = json_integer_value(number);
        item->since  = pb_clock_seconds();
        (void)snprintf(item->what, sizeof item->what, "%s", text_of(line, "what"));
        (void)snprintf(item->sizes, sizeof item->sizes, "%s", text_of(line, "sizes"));
        json_decref(line);
    }
}

static void finish_own(report *r, const bench *b, pb_json *json, pb_string *text)
{
    pb_json_put_text(json, "command", b->command);
    if (pb_json_finish(json, "\n") == PB_OK) {
        take_result(r, text->data, json_loads(text->data, 0, NULL));
    }
    pb_string_clear(text);
}

void report_failure(report *r, const bench *b, const running_item *item, const char *note)
{
    pb_string text = {0};
    bool begun     = *item->what != '\0';
    pb_json json   = note_line(b, begun ? item->what : "whole part", begun ? item->sizes : "",
                               "failed", note, &text);
    finish_own(r, b, &json, &text);
}

void report_seconds(report *r, const bench *b, double seconds, double limit)
{
    char most[BENCH_TEXT];
    pb_string text = {0};
    (void)snprintf(most, sizeof most, "at most %.4g s", limit);
    pb_json json = figure_line(b, "whole part", most, seconds, "s", &text);
    finish_own(r, b, &json, &text);
}

int report_problems(const report *r)
{
    return r->problems;
}

void report_table(const report *r)
{
    printf("\n%2s %-10s %-36s %-52s %12s\n", "", "part", "what", "sizes", "result");
    for (size_t i = 0; i < r->count; i++) {
        show(r->lines[i]);
    }
    printf("\n%zu results, %d of them \"no\" or \"failed\"\n", r->count, r->problems);
}
