// SPDX-License-Identifier: Apache-2.0
/* Builder `template`: texts from the configuration alone.
 *
 * user = the non-empty ones of [instruction, line 1, line 2, …], joined with one line feed; answer
 * = the answer pattern. Nothing is stripped, escaped or lower-cased. */
#include "builders.h"
#include "pattern.h"

#include "pb/memory.h"

struct pb_row_builder {
    pb_columns columns;
    const char *instruction;
    pb_row_pattern *lines;
    int64_t line_count;
    pb_row_pattern answer;
};

static void template_close(pb_row_builder *b)
{
    if (b == NULL) {
        return;
    }
    for (int64_t i = 0; i < b->line_count; i++) {
        pb_row_pattern_close(&b->lines[i]);
    }
    pb_memory_free(b->lines);
    pb_row_pattern_close(&b->answer);
    pb_columns_close(&b->columns);
    pb_memory_free(b);
}

static pb_status template_open(const pb_dataset_options *options, pb_protocol protocol,
                               pb_split split, const char *instruction, pb_row_builder **out)
{
    pb_status status;
    pb_row_builder *b           = NULL;
    bool paper                  = protocol == PB_PROTOCOL_PAPER && options->paper_lines.count > 0;
    const pb_config_list *lines = paper ? &options->paper_lines : &options->lines;
    const char *key             = paper ? "paper_lines" : "lines";

    (void)split;
    PB_TRY(PB_ALLOC(b, 1));
    b->instruction = instruction;
    PB_TRY_GOTO(status, pb_columns_open(options, protocol, &b->columns), err_builder);
    PB_TRY_GOTO(status, PB_ALLOC(b->lines, lines->count), err_builder);
    for (int64_t i = 0; i < lines->count; i++) {
        PB_TRY_GOTO(
            status,
            pb_dataset_at(options, key, i,
                          pb_row_pattern_open(key, lines->items[i], &b->columns, &b->lines[i])),
            err_builder);
        b->line_count = i + 1;
    }
    PB_TRY_GOTO(
        status,
        pb_dataset_at(options, "answer", -1,
                      pb_row_pattern_open("answer", options->answer, &b->columns, &b->answer)),
        err_builder);
    *out = b;
    return PB_OK;

err_builder:
    template_close(b);
    return status;
}

static pb_status template_build(const pb_row_builder *b, const json_t *row, pb_row_texts *out)
{
    bool has_null     = false;
    pb_row_text *text = NULL;

    PB_TRY(pb_columns_check(&b->columns, row));
    PB_TRY(pb_row_texts_add(out, &text));
    PB_TRY(pb_string_puts(&text->user, b->instruction));
    for (int64_t i = 0; i < b->line_count; i++) {
        size_t before = text->user.length;
        if (before > 0) {
            PB_TRY(pb_string_puts(&text->user, "\n"));
        }
        size_t start = text->user.length;
        text->body   = i == 0 ? start : text->body;
        PB_TRY(pb_row_pattern_write(&b->lines[i], &b->columns, row, text, &text->user, &has_null));
        if (text->user.length == start && start > before) {
            text->user.length       = before;
            text->user.data[before] = '\0';
        }
    }
    text->body = text->body < text->user.length ? text->body : text->user.length;
    PB_TRY(pb_row_pattern_write(&b->answer, &b->columns, row, text, &text->answer, &has_null));
    text->has_answer = !has_null;
    return PB_OK;
}

const pb_dataset_builder pb_builder_template = {
    .name  = "template",
    .open  = template_open,
    .close = template_close,
    .build = template_build,
};
