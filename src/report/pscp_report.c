// SPDX-License-Identifier: Apache-2.0
/* The PSCP of the rows of a table, without results. */
#include "betas.h"

#include "pb/report.h"

#include <inttypes.h>

static pb_status add_rows(const pb_pscp_row *rows, int64_t count, const pb_pscp_params *params,
                          pb_table *table)
{
    static const char *const header[] = {"method", "PSCP", "cost_p", "cost_f", "cost_m", NULL};

    PB_TRY(pb_table_begin(table, header, 1));
    for (int64_t i = 0; i < count; i++) {
        pb_pscp_result r = {0};
        PB_TRY(pb_error_prefix(pb_pscp(&rows[i].inputs, params, &r), "method %s", rows[i].method));
        PB_TRY(pb_table_add(table, "%s", rows[i].method));
        PB_TRY(pb_table_add_number(table, r.pscp, 2));
        PB_TRY(pb_table_add_number(table, r.cost_p, 4));
        PB_TRY(pb_table_add_number(table, r.cost_f, 4));
        PB_TRY(pb_table_add_number(table, r.cost_m, 4));
    }
    return PB_OK;
}

static pb_status fill(const pb_pscp_row *rows, int64_t count, const pb_report_options *how,
                      document *doc)
{
    const pb_pscp_params *p = &how->pscp;

    PB_TRY(document_add(doc, DOCUMENT_SECTION, "pscp",
                        "PSCP at beta_p %g, beta_f %g, beta_m %g; each cost is a factor", p->beta_p,
                        p->beta_f, p->beta_m));
    PB_TRY(add_rows(rows, count, p, document_table(doc)));
    return how->betas ? betas_sections(rows, count, p, doc) : PB_OK;
}

pb_status pb_report_rows(const pb_pscp_row *rows, int64_t count, const pb_report_options *options,
                         pb_report_form form, pb_string *out)
{
    document doc = {0};
    pb_status status;

    PB_TRY_GOTO(status, fill(rows, count, options, &doc), out);
    status = form == PB_REPORT_FORM_TEXT && !options->betas
                 ? pb_table_print(&doc.blocks[0].table, options->width, options->colour, out)
                 : document_write(&doc, options, form, out);
out:
    document_clear(&doc);
    return status;
}
