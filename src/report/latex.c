// SPDX-License-Identifier: Apache-2.0
/* A document as LaTeX with the rules of booktabs, to be included in a paper. A table that is wider
 * than the line is scaled down; one with more rows than a page holds breaks across pages. */
#include "document.h"

#include <ctype.h>
#include <string.h>

enum { PAGE_ROWS = 45 };

typedef struct escape {
    const char *from, *to;
} escape;

static const escape escapes[] = {
    {"beta_p", "$\\beta_p$"},
    {"beta_f", "$\\beta_f$"},
    {"beta_m", "$\\beta_m$"},
    {"\\", "\\textbackslash{}"},
    {"{", "\\{"},
    {"}", "\\}"},
    {"$", "\\$"},
    {"&", "\\&"},
    {"#", "\\#"},
    {"_", "\\_"},
    {"%", "\\%"},
    {"~", "\\textasciitilde{}"},
    {"^", "\\textasciicircum{}"},
    {"<", "$<$"},
    {">", "$>$"},
    {"|", "$|$"},
    {"\"", "''"},
    {"±", "$\\pm$"},
    {"…", "\\ldots{}"},
    {"β", "$\\beta$"},
};

/* An exponent, such as ^-0.5; its length, 0: none. */
static size_t exponent(const char *text)
{
    return *text == '^' && (text[1] == '-' || isdigit((unsigned char)text[1]))
               ? 2 + strspn(text + 2, "0123456789.")
               : 0;
}

/* A minus, not a hyphen. */
static bool is_minus(const char *text, const char *at)
{
    return *at == '-' && isdigit((unsigned char)at[1]) &&
           (at == text || strchr(" [(", at[-1]) != NULL);
}

/* Appends one character; returns how many bytes it has. */
static pb_status put_next(const char *text, const char *at, size_t *length, pb_string *out)
{
    *length = exponent(at);
    if (*length > 0) {
        return pb_string_printf(out, "$^{%.*s}$", (int)*length - 1, at + 1);
    }
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
        if (pb_string_begins(at, escapes[i].from)) {
            *length = strlen(escapes[i].from);
            return pb_string_puts(out, escapes[i].to);
        }
    }
    *length = 1;
    if (is_minus(text, at)) {
        return pb_string_puts(out, "$-$");
    }
    return pb_string_append(out, iscntrl((unsigned char)*at) ? " " : at, 1);
}

static pb_status put_text(pb_string *out, const char *text)
{
    size_t length = 0;

    for (const char *at = text; *at != '\0'; at += length) {
        PB_TRY(put_next(text, at, &length, out));
    }
    return PB_OK;
}

static pb_status put_row(const pb_table *table, int64_t row, pb_string *out)
{
    for (int64_t c = 0; c < table->columns; c++) {
        bool best = table->marks[row + c] == PB_TABLE_BEST;
        PB_TRY(pb_string_puts(out, c > 0 ? " & " : "  "));
        PB_TRY(pb_string_puts(out, best ? "\\textbf{" : ""));
        PB_TRY(put_text(out, table->cells[row + c]));
        PB_TRY(pb_string_puts(out, best ? "}" : ""));
    }
    return pb_string_puts(out, " \\\\\n");
}

/* "@{}lrr@{}" */
static pb_status put_columns(const pb_table *table, pb_string *out)
{
    PB_TRY(pb_string_puts(out, "{@{}"));
    for (int64_t c = 0; c < table->columns; c++) {
        PB_TRY(pb_string_puts(out, c < table->left ? "l" : "r"));
    }
    return pb_string_puts(out, "@{}}\n");
}

static pb_status put_header(const pb_table *table, const char *end, pb_string *out)
{
    PB_TRY(pb_string_puts(out, "  \\toprule\n"));
    PB_TRY(put_row(table, 0, out));
    return pb_string_printf(out, "  \\midrule%s\n", end);
}

static pb_status put_rows(const pb_table *table, pb_string *out)
{
    int64_t step = table->columns;

    for (int64_t row = step; row + step <= table->count; row += step) {
        PB_TRY(put_row(table, row, out));
    }
    return pb_string_puts(out, "  \\bottomrule\n");
}

/* "tab:scores-2": the second table of this name. */
static pb_status put_caption(const document *doc, int64_t index, const char *end, pb_string *out)
{
    const document_block *block = &doc->blocks[index];
    int same                    = 0;

    for (int64_t i = 0; i <= index; i++) {
        const char *name = doc->blocks[i].name;
        same += name != NULL && strcmp(name, block->name) == 0;
    }
    PB_TRY(pb_string_puts(out, "\\caption{"));
    PB_TRY(put_text(out, block->text));
    return pb_string_printf(out, "}\\label{tab:%s-%d}%s\n", block->name, same, end);
}

static pb_status put_table(const document *doc, int64_t index, pb_string *out)
{
    const pb_table *table = &doc->blocks[index].table;

    if (table->count / table->columns > PAGE_ROWS) {
        PB_TRY(pb_string_puts(out,
                              "{\\footnotesize\\setlength{\\tabcolsep}{3pt}\n\\begin{longtable}"));
        PB_TRY(put_columns(table, out));
        PB_TRY(put_caption(doc, index, "\\\\", out));
        PB_TRY(put_header(table, "\\endfirsthead", out));
        PB_TRY(put_header(table, "\\endhead", out));
        PB_TRY(put_rows(table, out));
        return pb_string_puts(out, "\\end{longtable}}\n");
    }
    PB_TRY(pb_string_puts(out, "\\begin{table}[htbp]\n\\centering\\small\n"));
    PB_TRY(put_caption(doc, index, "", out));
    PB_TRY(pb_string_puts(
        out, "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%\n"));
    PB_TRY(pb_string_puts(out, "\\begin{tabular}"));
    PB_TRY(put_columns(table, out));
    PB_TRY(put_header(table, "", out));
    PB_TRY(put_rows(table, out));
    return pb_string_puts(out, "\\end{tabular}}\n\\end{table}\n");
}

static pb_status put_remarks(const document_block *block, pb_string *out)
{
    PB_TRY(pb_string_puts(out, block->count > 0 ? "\\begin{itemize}\n" : ""));
    for (int64_t i = 0; i < block->count; i++) {
        PB_TRY(pb_string_puts(out, "  \\item "));
        PB_TRY(put_text(out, block->remarks[i]));
        PB_TRY(pb_string_puts(out, "\n"));
    }
    return pb_string_puts(out, block->count > 0 ? "\\end{itemize}\n" : "");
}

static pb_status put_block(const document *doc, int64_t index, pb_string *out)
{
    const document_block *block = &doc->blocks[index];

    if (block->table.count > 0) {
        PB_TRY(put_table(doc, index, out));
    } else if (block->text[0] != '\0') {
        PB_TRY(pb_string_puts(out, block->kind == DOCUMENT_HEADING ? "\\subsection*{" : ""));
        PB_TRY(put_text(out, block->text));
        PB_TRY(pb_string_puts(out, block->kind == DOCUMENT_HEADING ? "}\n" : "\n"));
    }
    PB_TRY(put_remarks(block, out));
    return pb_string_puts(out, "\n");
}

pb_status document_latex(const document *doc, pb_string *out)
{
    PB_TRY(pb_string_puts(out, "% In the preamble: \\usepackage{booktabs,graphicx,longtable}\n\n"));
    for (int64_t i = 0; i < doc->count; i++) {
        PB_TRY(put_block(doc, i, out));
    }
    return PB_OK;
}
