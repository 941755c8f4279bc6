// SPDX-License-Identifier: Apache-2.0
/* What the report says to people, before it has a form: blocks in the order of reading. Every
 * format (text, Markdown, LaTeX, HTML) writes the same blocks.
 *
 *     PB_TRY(document_add(doc, DOCUMENT_SECTION, "costs", "costs: means over cells"));
 *     PB_TRY(pb_table_begin(document_table(doc), header, 1));     then its cells
 *     PB_TRY(document_remark(doc, "no cell of %s is done", method)); */
#pragma once

#include "pb/report.h"
#include "pb/table.h"

typedef enum document_kind {
    DOCUMENT_HEADING,
    DOCUMENT_NOTE,    /* a paragraph */
    DOCUMENT_SECTION, /* a caption, its table if it has cells, remarks below it */
    DOCUMENT_LIST     /* remarks alone */
} document_kind;

typedef struct document_block {
    document_kind kind;
    const char *name; /* of a section: "scores" */
    char *text;       /* of a heading or note, the caption of a section; "" of a list */
    pb_table table;
    char **remarks; /* [count] a line each; may hold line ends of their texts */
    int64_t count;
} document_block;

typedef struct document {
    document_block *blocks;
    int64_t count;
} document;

void document_clear(document *doc); /* accepts a zeroed one */

pb_status document_add(document *doc, document_kind kind, const char *name, const char *format,
                       ...) PB_MUST_USE PB_PRINTF(4, 5);
/* These concern the block that was added last. */
pb_table *document_table(const document *doc);
pb_status document_remark(document *doc, const char *format, ...) PB_MUST_USE PB_PRINTF(2, 3);
void document_drop(document *doc);

/* Appends the document in a form; `width` and `colour` of the options count for the text. */
pb_status document_write(const document *doc, const pb_report_options *options, pb_report_form form,
                         pb_string *out) PB_MUST_USE;

pb_status document_text(const document *doc, int64_t width, bool colour,
                        pb_string *out) PB_MUST_USE;
/* Tables of GitHub's Markdown. */
pb_status document_markdown(const document *doc, pb_string *out) PB_MUST_USE;
/* To be included: needs booktabs, graphicx and longtable. */
pb_status document_latex(const document *doc, pb_string *out) PB_MUST_USE;
