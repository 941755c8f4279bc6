// SPDX-License-Identifier: Apache-2.0
/* Builder `template`: texts from the configuration alone.
 *
 * user = the non-empty ones of [instruction, line 1, line 2, …], joined with one line feed; answer
 * = the answer pattern, or the entries of a list. Nothing is stripped, escaped or lower-cased. */
#include "template.h"
#include "builders.h"

#include "pb/memory.h"

void row_template_close(pb_row_builder *b)
{
    if (b == NULL) {
        return;
    }
    for (int64_t i = 0; i < b->line_count; i++) {
        row_pattern_close(&b->lines[i]);
    }
    pb_memory_free(b->lines);
    row_pattern_close(&b->answer);
    columns_close(&b->columns);
    pb_memory_free(b);
}

static pb_status open_lines(pb_row_builder *b, const char *key, const pb_config_list *lines)
{
    PB_TRY(PB_ALLOC(b->lines, lines->count));
    for (int64_t i = 0; i < lines->count; i++) {
        PB_TRY(dataset_at(b->options, key, i,
                          row_pattern_open(key, lines->items[i], &b->columns, &b->lines[i])));
        b->line_count = i + 1;
    }
    return PB_OK;
}

static pb_status open_answer(pb_row_builder *b)
{
    const pb_dataset_options *o = b->options;

    if (*o->answers != '\0') {
        return dataset_at(o, "answers", -1,
                          columns_need(&b->columns, "dataset.answers", o->answers, COLUMN_STRINGS,
                                       COLUMN_STRINGS_TEXT, &b->answers));
    }
    return dataset_at(o, "answer", -1,
                      row_pattern_open("answer", o->answer, &b->columns, &b->answer));
}

pb_status row_template_open(const pb_dataset_options *options, pb_protocol protocol, pb_split split,
                            const char *instruction, pb_row_builder **out)
{
    pb_status status;
    pb_row_builder *b = NULL;
    bool paper        = protocol == PB_PROTOCOL_PAPER && options->paper_lines.count > 0;

    PB_TRY(PB_ALLOC(b, 1));
    b->options     = options;
    b->instruction = instruction;
    b->together    = protocol == PB_PROTOCOL_CORRECTED && split == PB_SPLIT_TEST;
    PB_TRY_GOTO(status, columns_open(options, protocol, &b->columns), err_builder);
    PB_TRY_GOTO(status,
                open_lines(b, paper ? "paper_lines" : "lines",
                           paper ? &options->paper_lines : &options->lines),
                err_builder);
    PB_TRY_GOTO(status, open_answer(b), err_builder);
    *out = b;
    return PB_OK;

err_builder:
    row_template_close(b);
    return status;
}

static pb_status write_message(const pb_row_builder *b, const json_t *row, pb_row_text *text)
{
    bool has_null = false;

    PB_TRY(pb_string_puts(&text->user, b->instruction));
    for (int64_t i = 0; i < b->line_count; i++) {
        size_t before = text->user.length;
        if (before > 0) {
            PB_TRY(pb_string_puts(&text->user, "\n"));
        }
        size_t start = text->user.length;
        text->body   = i == 0 ? start : text->body;
        PB_TRY(row_pattern_write(&b->lines[i], &b->columns, row, text, &text->user, &has_null));
        if (text->user.length == start && start > before) {
            text->user.length       = before;
            text->user.data[before] = '\0';
        }
    }
    text->body = text->body < text->user.length ? text->body : text->user.length;
    return PB_OK;
}

pb_status row_template_write(const pb_row_builder *b, const json_t *row, pb_row_texts *out)
{
    bool has_null     = false;
    pb_row_text *text = NULL;

    PB_TRY(pb_row_texts_add(out, &text));
    PB_TRY(write_message(b, row, text));
    text->has_inputs = b->options->inputs;
    if (b->answers != NULL) {
        return answers_write(b->answers, b->options->no_answers, b->together, row, out);
    }
    PB_TRY(row_pattern_write(&b->answer, &b->columns, row, text, &text->answer, &has_null));
    text->has_answer = !has_null;
    return PB_OK;
}

static pb_status template_build(const pb_row_builder *b, const json_t *row, pb_row_texts *out)
{
    PB_TRY(columns_check(&b->columns, row));
    return row_template_write(b, row, out);
}

const pb_dataset_builder builder_template = {
    .name  = "template",
    .open  = row_template_open,
    .close = row_template_close,
    .build = template_build,
};
