// SPDX-License-Identifier: Apache-2.0
/* The report as one HTML page that needs nothing else: style, figures as SVG, tables, and the data
 * as JSON. It is complete without a script; the script sorts, filters and hides. */
#include "figure.h"
#include "markup.h"
#include "page.h"
#include "sections.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct page {
    const summary *all;
    const pb_results *results;
    pb_string *out;
    int64_t figures; /* numbered through the page */
    int64_t model;   /* that the page is at; -1: none yet */
} page;

static pb_status put_lines(pb_string *out, const char *const *lines)
{
    for (; *lines != NULL; lines++) {
        PB_TRY(pb_string_puts(out, *lines));
    }
    return PB_OK;
}

static pb_status put_element(pb_string *out, const char *tag, const char *text)
{
    PB_TRY(pb_string_printf(out, "<%s>", tag));
    PB_TRY(markup_put(out, text));
    return pb_string_printf(out, "</%.*s>\n", (int)strcspn(tag, " "), tag);
}

/* ---------------------------------------------------------------- tables */

/* The shade of a score: 0 … 1. */
static double heat_of(const char *text)
{
    double value = strtod(text, NULL) / 100;

    return value < 0 ? 0 : value > 1 ? 1 : value;
}

/* Why a cell of the scores has none: the cause of its first cell that failed. */
static const char *why(const page *p, const pb_table *table, int64_t at)
{
    const char *dataset = table->cells[at - at % table->columns];
    const char *method  = table->cells[at % table->columns];

    for (int64_t i = 0; i < p->results->count; i++) {
        const pb_record *r = &p->results->records[i];
        const char *cause  = r->status != PB_OK ? r->message : r->reason;
        if ((r->status != PB_OK || !r->valid) && cause != NULL &&
            strcmp(r->key.dataset, dataset) == 0 && strcmp(r->key.method, method) == 0 &&
            strcmp(r->key.model, p->results->models[p->model]) == 0) {
            return cause;
        }
    }
    return "see the list of failed and missing cells";
}

static pb_status put_link(const page *p, const pb_table *table, int64_t at)
{
    PB_TRY(pb_string_puts(p->out, "<a href=\"#incomplete\" title=\""));
    PB_TRY(markup_put(p->out, why(p, table, at)));
    return pb_string_puts(p->out, "\">");
}

static pb_status put_cell(const page *p, const document_block *block, int64_t at)
{
    pb_string *out        = p->out;
    const pb_table *table = &block->table;
    bool name             = at % table->columns < table->left;
    bool bad              = table->marks[at] == PB_TABLE_BAD;
    bool best             = table->marks[at] == PB_TABLE_BEST;
    bool is_score         = !name && block->name != NULL && strcmp(block->name, "scores") == 0;
    const char *tag       = at % table->columns == 0 ? "th" : "td";

    PB_TRY(pb_string_printf(out, "<%s%s class=\"%s%s%s\"", tag,
                            tag[1] == 'h' ? " scope=\"row\"" : "", name ? "name" : "",
                            is_score ? " heat" : "", bad ? " bad" : ""));
    PB_TRY(is_score && !bad
               ? pb_string_printf(out, " style=\"--v:%.3f\">", heat_of(table->cells[at]))
               : pb_string_puts(out, ">"));
    PB_TRY(bad ? put_link(p, table, at) : pb_string_puts(out, best ? "<strong>" : ""));
    PB_TRY(markup_put(out, table->cells[at]));
    PB_TRY(pb_string_puts(out, best ? "</strong>" : bad ? "</a>" : ""));
    return pb_string_printf(out, "</%s>", tag);
}

static const char *title_of(const document_block *block)
{
    static const char *const titles[][2] = {
        {"scores", "Scores"},         {"truncated", "Rows that were cut"},
        {"intervals", "Intervals"},   {"costs", "Costs"},
        {"energy", "Energy"},         {"pscp", "PSCP"},
        {"betas", "Other exponents"}, {"swaps", "Stability of ranks"},
        {"paired", "Paired tests"},   {"machines", "Machines and versions"}};

    for (size_t i = 0; i < sizeof titles / sizeof *titles; i++) {
        if (strcmp(titles[i][0], block->name) == 0) {
            return titles[i][1];
        }
    }
    return block->name;
}

/* The long names of variants may break after a setting. */
static pb_status put_breakable(pb_string *out, const char *text)
{
    pb_string part   = {0};
    pb_status status = PB_OK;

    while (*text != '\0' && status == PB_OK) {
        size_t length = strcspn(text, ",{");
        length += text[length] != '\0';
        status = pb_string_append(&part, text, length);
        status = status == PB_OK ? markup_put(out, part.data) : status;
        text += length;
        status = status == PB_OK ? pb_string_puts(out, *text != '\0' ? "<wbr>" : "") : status;
        pb_string_clear(&part);
    }
    return status;
}

static pb_status put_table(const page *p, const document_block *block)
{
    pb_string *out        = p->out;
    const pb_table *table = &block->table;
    int64_t columns       = table->columns;

    PB_TRY(pb_string_printf(out,
                            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" "
                            "aria-label=\"%s\"><table><thead><tr>",
                            title_of(block)));
    for (int64_t c = 0; c < columns; c++) {
        PB_TRY(pb_string_printf(out, "<th scope=\"col\"%s>",
                                c < table->left ? " class=\"name\"" : ""));
        PB_TRY(put_breakable(out, table->cells[c]));
        PB_TRY(pb_string_puts(out, "</th>"));
    }
    PB_TRY(pb_string_puts(out, "</tr></thead><tbody>\n"));
    for (int64_t row = columns; row + columns <= table->count; row += columns) {
        PB_TRY(pb_string_puts(out, "<tr>"));
        for (int64_t c = 0; c < columns; c++) {
            PB_TRY(put_cell(p, block, row + c));
        }
        PB_TRY(pb_string_puts(out, "</tr>\n"));
    }
    return pb_string_puts(out, "</tbody></table></div>\n");
}

static pb_status put_remarks(const document_block *block, pb_string *out)
{
    if (block->count == 0) {
        return PB_OK;
    }
    PB_TRY(pb_string_puts(out, "<ul class=\"list\">\n"));
    for (int64_t i = 0; i < block->count; i++) {
        PB_TRY(put_element(out, "li", block->remarks[i]));
    }
    return pb_string_puts(out, "</ul>\n");
}

/* ---------------------------------------------------------------- figures */

static pb_status show_figure(void *context, const char *name, const figure *f)
{
    page *p = context;

    PB_TRY(pb_string_printf(p->out, "<figure class=\"%s\"><figcaption>", name));
    PB_TRY(markup_put(p->out, f->title.data));
    PB_TRY(pb_string_puts(p->out, "</figcaption>"));
    PB_TRY(figure_svg(f, p->figures++, p->out));
    return pb_string_puts(p->out, "</figure>\n");
}

static pb_status put_key(const page *p)
{
    const pb_results *r = p->results;

    PB_TRY(pb_string_puts(p->out, "<ul class=\"key\" aria-label=\"methods in the figures\">"));
    for (int64_t t = 0; t < r->methods_count && t < FIGURE_SERIES_MAX; t++) {
        if (section_has_column(p->all, r, p->model, t)) {
            PB_TRY(pb_string_printf(p->out, "<li data-style=\"%" PRId64 "\">", t));
            PB_TRY(figure_svg_key(t, p->out));
            PB_TRY(markup_put(p->out, r->methods[t]));
            PB_TRY(pb_string_puts(p->out, "</li>"));
        }
    }
    PB_TRY(pb_string_puts(p->out, "</ul>\n"));
    if (r->methods_count > FIGURE_SERIES_MAX) {
        PB_TRY(pb_string_printf(p->out,
                                "<p>Figures with lines or points show the first %d of %" PRId64
                                " methods; the tables have all.</p>\n",
                                FIGURE_SERIES_MAX, r->methods_count));
    }
    return PB_OK;
}

static pb_status put_figures(page *p)
{
    PB_TRY(pb_string_puts(p->out, "<div class=\"figures\">\n"));
    PB_TRY(figures_of_model(p->all, p->results, p->model, show_figure, p));
    return pb_string_puts(p->out, "</div>\n");
}

/* Folded where they would fill screens. */
static pb_status put_curves(page *p)
{
    enum { OPEN_MAX = 6 };
    const pb_results *r = p->results;

    PB_TRY(pb_string_printf(p->out,
                            "<details%s><summary>Learning curves and memory</summary>\n<div "
                            "class=\"figures\">\n",
                            r->models_count * r->datasets_count <= OPEN_MAX ? " open" : ""));
    for (int64_t d = 0; d < r->datasets_count; d++) {
        PB_TRY(figures_of_curves(r, p->model, d, show_figure, p));
    }
    return pb_string_puts(p->out, "</div></details>\n");
}

static pb_status end_model(page *p)
{
    if (p->model < 0) {
        return PB_OK;
    }
    PB_TRY(put_curves(p));
    return pb_string_puts(p->out, "</section>\n");
}

/* ---------------------------------------------------------------- the page */

static pb_status put_block(page *p, const document_block *block)
{
    switch (block->kind) {
    case DOCUMENT_HEADING:
        PB_TRY(end_model(p));
        p->model++;
        PB_TRY(pb_string_printf(p->out, "<section id=\"model-%" PRId64 "\">", p->model));
        PB_TRY(put_element(p->out, "h2", block->text));
        return put_key(p);
    case DOCUMENT_NOTE:
        return put_element(p->out, "p", block->text);
    case DOCUMENT_LIST:
        PB_TRY(end_model(p));
        PB_TRY(pb_string_puts(p->out, "<section id=\"incomplete\"><h2>Failed, invalid and missing "
                                      "cells</h2>\n"));
        PB_TRY(block->count > 0 ? put_remarks(block, p->out) : put_element(p->out, "p", "none"));
        return pb_string_puts(p->out, "</section>\n");
    case DOCUMENT_SECTION:
        break;
    }
    PB_TRY(put_element(p->out, "h3", title_of(block)));
    PB_TRY(put_element(p->out, "p class=\"note\"", block->text));
    if (block->table.count > 0) {
        PB_TRY(put_table(p, block));
    }
    PB_TRY(put_remarks(block, p->out));
    return strcmp(block->name, "scores") == 0 ? put_figures(p) : PB_OK;
}

static pb_status put_head(const page *p)
{
    const pb_results *r = p->results;
    const char *sweep   = r->sweep != NULL && *r->sweep != '\0' ? r->sweep : "results";

    PB_TRY(pb_string_puts(p->out,
                          "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
                          "<meta name=\"viewport\" content=\"width=device-width, "
                          "initial-scale=1\">\n<meta http-equiv=\"Content-Security-Policy\" "
                          "content=\"default-src 'none'; style-src 'unsafe-inline'; script-src "
                          "'unsafe-inline'\">\n"));
    PB_TRY(put_element(p->out, "title", sweep));
    PB_TRY(pb_string_puts(p->out, "<style>\n"));
    PB_TRY(put_lines(p->out, page_style));
    PB_TRY(pb_string_puts(p->out, "</style></head><body>\n<header>"));
    PB_TRY(put_element(p->out, "h1", sweep));
    PB_TRY(pb_string_puts(p->out, "<nav aria-label=\"parts of the page\">"));
    for (int64_t m = 0; m < r->models_count; m++) {
        PB_TRY(pb_string_printf(p->out, "<a href=\"#model-%" PRId64 "\">", m));
        PB_TRY(markup_put(p->out, r->models[m]));
        PB_TRY(pb_string_puts(p->out, "</a>"));
    }
    return pb_string_puts(p->out, "<a href=\"#incomplete\">failed and missing cells</a></nav>"
                                  "</header>\n<main>\n");
}

static pb_status put_machines(page *p)
{
    document doc     = {0};
    pb_status status = section_machines(p->results, &doc);

    if (status == PB_OK) {
        status = put_block(p, &doc.blocks[0]);
    }
    document_clear(&doc);
    return status;
}

/* JSON inside an element ends where "<" could begin another one. */
static pb_status put_data(const page *p, const pb_report_options *how)
{
    pb_string json   = {0};
    pb_status status = pb_report_json(p->results, how, &json);

    for (size_t i = 0; i < json.length && status == PB_OK; i++) {
        status = json.data[i] == '<' ? pb_string_puts(p->out, "\\u003c")
                                     : pb_string_append(p->out, json.data + i, 1);
    }
    pb_string_clear(&json);
    return status;
}

pb_status page_write(const document *doc, const summary *all, const pb_results *results,
                     const pb_report_options *how, pb_string *out)
{
    page p = {.all = all, .results = results, .out = out, .model = -1};

    PB_TRY(put_head(&p));
    for (int64_t i = 0; i < doc->count; i++) {
        PB_TRY(put_block(&p, &doc->blocks[i]));
    }
    PB_TRY(put_machines(&p));
    PB_TRY(pb_string_puts(out, "</main>\n<script type=\"application/json\" id=\"data\">\n"));
    PB_TRY(put_data(&p, how));
    PB_TRY(pb_string_puts(out, "</script>\n<script>\n"));
    PB_TRY(put_lines(out, page_script));
    return pb_string_puts(out, "</script></body></html>\n");
}
