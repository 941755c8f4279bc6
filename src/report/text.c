// SPDX-License-Identifier: Apache-2.0
/* The report in the forms of a document. */
#include "sections.h"

typedef struct report {
    const pb_results *results;
    pb_report_options how;
    summary all;
    document doc;
} report;

pb_status document_write(const document *doc, const pb_report_options *options, pb_report_form form,
                         pb_string *out)
{
    switch (form) {
    case PB_REPORT_FORM_MARKDOWN:
        return document_markdown(doc, out);
    case PB_REPORT_FORM_LATEX:
        return document_latex(doc, out);
    case PB_REPORT_FORM_TEXT:
        break;
    }
    return document_text(doc, options->width, options->colour, out);
}

typedef pb_status (*write_form)(const report *r, pb_string *out);

static pb_status write_report(const pb_results *results, const pb_report_options *options,
                              write_form write, pb_string *out)
{
    report r = {.results = results, .how = {.pscp = pb_pscp_defaults()}};
    pb_status status;

    r.how       = options != NULL ? *options : r.how;
    r.how.width = r.how.width > 0 ? r.how.width : PB_TABLE_WIDTH;
    PB_TRY(summary_make(results, &r.how, &r.all));
    PB_TRY_GOTO(status, sections_make(&r.all, results, &r.how, &r.doc), out);
    PB_TRY_GOTO(status, write(&r, out), out);
out:
    document_clear(&r.doc);
    summary_clear(&r.all);
    return status;
}

static pb_status as_text(const report *r, pb_string *out)
{
    return document_write(&r->doc, &r->how, PB_REPORT_FORM_TEXT, out);
}

static pb_status as_markdown(const report *r, pb_string *out)
{
    return document_write(&r->doc, &r->how, PB_REPORT_FORM_MARKDOWN, out);
}

static pb_status as_latex(const report *r, pb_string *out)
{
    return document_write(&r->doc, &r->how, PB_REPORT_FORM_LATEX, out);
}

static pb_status as_html(const report *r, pb_string *out)
{
    return page_write(&r->doc, &r->all, r->results, &r->how, out);
}

pb_status pb_report_text(const pb_results *results, const pb_report_options *options,
                         pb_string *out)
{
    return write_report(results, options, as_text, out);
}

pb_status pb_report_markdown(const pb_results *results, const pb_report_options *options,
                             pb_string *out)
{
    return write_report(results, options, as_markdown, out);
}

pb_status pb_report_latex(const pb_results *results, const pb_report_options *options,
                          pb_string *out)
{
    return write_report(results, options, as_latex, out);
}

pb_status pb_report_html(const pb_results *results, const pb_report_options *options,
                         pb_string *out)
{
    pb_report_options how = {.pscp = pb_pscp_defaults()};

    how       = options != NULL ? *options : how;
    how.betas = true;
    return write_report(results, &how, as_html, out);
}
