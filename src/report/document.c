// SPDX-License-Identifier: Apache-2.0
/* Building a document, and its form as text for a terminal. */
#include "document.h"

#include "pb/memory.h"

#include <stdarg.h>
#include <string.h>

void document_drop(document *doc)
{
    document_block *block = &doc->blocks[--doc->count];

    pb_memory_free(block->text);
    pb_table_clear(&block->table);
    pb_memory_free_texts(block->remarks, (size_t)block->count);
}

void document_clear(document *doc)
{
    while (doc->count > 0) {
        document_drop(doc);
    }
    pb_memory_free(doc->blocks);
    *doc = (document){0};
}

static pb_status format_text(const char *format, va_list list, char **out)
{
    pb_string text = {0};

    PB_TRY(pb_string_vprintf(&text, format, list));
    *out = text.data;
    return PB_OK;
}

pb_status document_add(document *doc, document_kind kind, const char *name, const char *format, ...)
{
    va_list list;

    PB_TRY(PB_GROW(doc->blocks, doc->count + 1));
    document_block *block = &doc->blocks[doc->count];
    *block                = (document_block){.kind = kind, .name = name};
    va_start(list, format);
    pb_status status = format_text(format, list, &block->text);
    va_end(list);
    doc->count += status == PB_OK;
    return PB_FRAME(status);
}

static document_block *last(const document *doc)
{
    PB_ASSERT(doc->count > 0);
    return &doc->blocks[doc->count - 1];
}

pb_table *document_table(const document *doc)
{
    return &last(doc)->table;
}

pb_status document_remark(document *doc, const char *format, ...)
{
    document_block *block = last(doc);
    va_list list;

    PB_TRY(PB_GROW(block->remarks, block->count + 1));
    va_start(list, format);
    pb_status status = format_text(format, list, &block->remarks[block->count]);
    va_end(list);
    block->count += status == PB_OK;
    return PB_FRAME(status);
}

/* Lines as they are, such as those of a failed cell. */
static pb_status put_list(const document_block *block, bool colour, pb_string *out)
{
    for (int64_t i = 0; i < block->count; i++) {
        PB_TRY(pb_string_puts(out, colour ? PB_TABLE_RED : ""));
        PB_TRY(pb_string_puts(out, block->remarks[i]));
        PB_TRY(pb_string_puts(out, colour ? PB_TABLE_RESET "\n" : "\n"));
    }
    return PB_OK;
}

static pb_status put_remarks(const document_block *block, int64_t width, pb_string *out)
{
    for (int64_t i = 0; i < block->count; i++) {
        PB_TRY(pb_table_note(out, width, 2, "%s", block->remarks[i]));
    }
    return PB_OK;
}

static pb_status put_section(const document_block *block, int64_t width, bool colour,
                             pb_string *out)
{
    PB_TRY(pb_table_note(out, width, 0, "%s", block->text));
    if (block->table.count > 0) {
        PB_TRY(pb_table_print(&block->table, width, colour, out));
    }
    PB_TRY(put_remarks(block, width, out));
    return pb_string_puts(out, "\n");
}

pb_status document_text(const document *doc, int64_t width, bool colour, pb_string *out)
{
    for (int64_t i = 0; i < doc->count; i++) {
        const document_block *block = &doc->blocks[i];
        switch (block->kind) {
        case DOCUMENT_HEADING:
            PB_TRY(pb_string_printf(out, "\n%s%s%s\n\n", colour ? PB_TABLE_BOLD : "", block->text,
                                    colour ? PB_TABLE_RESET : ""));
            break;
        case DOCUMENT_NOTE:
            PB_TRY(pb_table_note(out, width, 0, "%s", block->text));
            break;
        case DOCUMENT_SECTION:
            PB_TRY(put_section(block, width, colour, out));
            break;
        case DOCUMENT_LIST:
            PB_TRY(put_list(block, colour, out));
        }
    }
    return PB_OK;
}
