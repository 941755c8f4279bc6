// SPDX-License-Identifier: Apache-2.0
/* A document as Markdown with the tables of GitHub. Texts of files cannot change its structure:
 * what Markdown or HTML would interpret is escaped, and a line end becomes a blank. */
#include "document.h"

#include <ctype.h>
#include <string.h>

/* An underscore inside a word, as in prompt_tuning, is no emphasis. */
static bool is_inside_word(const char *text, const char *at)
{
    return at > text && isalnum((unsigned char)at[-1]) && isalnum((unsigned char)at[1]);
}

static pb_status put_text(pb_string *out, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '<' || *c == '&') {
            PB_TRY(pb_string_puts(out, *c == '<' ? "&lt;" : "&amp;"));
            continue;
        }
        bool special = strchr("\\`*[]|~", *c) != NULL || (*c == '_' && !is_inside_word(text, c));
        PB_TRY(pb_string_puts(out, special ? "\\" : ""));
        PB_TRY(pb_string_append(out, iscntrl((unsigned char)*c) ? " " : c, 1));
    }
    return PB_OK;
}

static pb_status put_row(const pb_table *table, int64_t row, pb_string *out)
{
    PB_TRY(pb_string_puts(out, "|"));
    for (int64_t c = 0; c < table->columns; c++) {
        const char *strong = table->marks[row + c] == PB_TABLE_BEST ? "**" : "";
        PB_TRY(pb_string_printf(out, " %s", strong));
        PB_TRY(put_text(out, table->cells[row + c]));
        PB_TRY(pb_string_printf(out, "%s |", strong));
    }
    return pb_string_puts(out, "\n");
}

static pb_status put_table(const pb_table *table, pb_string *out)
{
    for (int64_t row = 0; row + table->columns <= table->count; row += table->columns) {
        PB_TRY(put_row(table, row, out));
        for (int64_t c = 0; row == 0 && c < table->columns; c++) {
            PB_TRY(pb_string_puts(out, c < table->left ? "|---" : "|---:"));
        }
        PB_TRY(pb_string_puts(out, row == 0 ? "|\n" : ""));
    }
    return pb_string_puts(out, "\n");
}

static pb_status put_block(const document_block *block, pb_string *out)
{
    if (block->text[0] != '\0') {
        PB_TRY(pb_string_puts(out, block->kind == DOCUMENT_HEADING ? "## " : ""));
        PB_TRY(put_text(out, block->text));
        PB_TRY(pb_string_puts(out, "\n\n"));
    }
    if (block->table.count > 0) {
        PB_TRY(put_table(&block->table, out));
    }
    for (int64_t i = 0; i < block->count; i++) {
        PB_TRY(pb_string_puts(out, "- "));
        PB_TRY(put_text(out, block->remarks[i]));
        PB_TRY(pb_string_puts(out, i + 1 < block->count ? "\n" : "\n\n"));
    }
    return PB_OK;
}

pb_status document_markdown(const document *doc, pb_string *out)
{
    for (int64_t i = 0; i < doc->count; i++) {
        PB_TRY(put_block(&doc->blocks[i], out));
    }
    if (out->length > 1 && out->data[out->length - 2] == '\n') {
        out->data[--out->length] = '\0'; /* one line end at the end */
    }
    return PB_OK;
}
