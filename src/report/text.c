// SPDX-License-Identifier: Apache-2.0
/* The report in the forms of a document. */
#include "sections.h"

typedef pb_status (*write_form)(const document *doc, const pb_report_options *how, pb_string *out);

static pb_status write_report(const pb_results *results, const pb_report_options *options,
                              write_form write, pb_string *out)
{
    pb_report_options how = {.pscp = pb_pscp_defaults()};
    document doc          = {0};
    summary all           = {0};
    pb_status status;

    how       = options != NULL ? *options : how;
    how.width = how.width > 0 ? how.width : PB_TABLE_WIDTH;
    PB_TRY(summary_make(results, &how, &all));
    PB_TRY_GOTO(status, sections_make(&all, results, &how, &doc), out);
    PB_TRY_GOTO(status, write(&doc, &how, out), out);
out:
    document_clear(&doc);
    summary_clear(&all);
    return status;
}

static pb_status as_text(const document *doc, const pb_report_options *how, pb_string *out)
{
    return document_text(doc, how->width, how->colour, out);
}

static pb_status as_markdown(const document *doc, const pb_report_options *how, pb_string *out)
{
    (void)how;
    return document_markdown(doc, out);
}

static pb_status as_latex(const document *doc, const pb_report_options *how, pb_string *out)
{
    (void)how;
    return document_latex(doc, out);
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
