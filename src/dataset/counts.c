// SPDX-License-Identifier: Apache-2.0
/* What is reported about the rows of a file. */
#include "internal.h"

#include "pb/log.h"

#include <inttypes.h>

pb_status pb_row_counts_describe(const pb_row_counts *c, pb_string *out)
{
    static const char *const names[PB_ROW_FAULT_COUNT] = {
        [PB_ROW_UNREADABLE] = "unreadable",
        [PB_ROW_COLUMN]     = "with a wrong column",
        [PB_ROW_LABEL]      = "with a wrong label",
        [PB_ROW_ANSWER]     = "with an answer that cannot be scored",
        [PB_ROW_EMPTY]      = "with an empty text",
        [PB_ROW_DUPLICATE]  = "with the id of another",
    };
    const char *separator = "";

    for (int k = 0; k < PB_ROW_FAULT_COUNT; k++) {
        if (c->faults[k] > 0) {
            PB_TRY(pb_string_printf(out, "%s%" PRId64 " %s, first in line %" PRId64, separator,
                                    c->faults[k], names[k], c->first[k]));
            separator = "; ";
        }
    }
    return PB_OK;
}

static void warn(const pb_dataset *ds, pb_split split, const pb_row_counts *c, const char *faults)
{
    const char *path = split == PB_SPLIT_TRAIN ? ds->options.train_file : ds->options.test_file;
    const char *name = ds->options.name;
    int64_t faulty   = 0;

    for (int k = 0; k < PB_ROW_FAULT_COUNT; k++) {
        faulty += c->faults[k];
    }
    if (faulty > 0) {
        pb_log_warn("data set %s, %s: %" PRId64 " of %" PRId64 " rows left out, %" PRId64
                    " kept with a fault (%s); see peftbench data",
                    name, path, c->bad, c->rows, faulty - c->bad, faults);
    }
    if (ds->options.id.count > 0 && c->ids == 0) {
        pb_log_info("data set %s, %s: no row has %s (dataset.id), repeated rows are not noticed",
                    name, path, ds->options.id.items[0]);
    }
    if (c->unlabelled > 0 || c->no_answer > 0) {
        pb_log_warn("data set %s, %s: %" PRId64 " samples unlabelled, %" PRId64
                    " without an answer",
                    name, path, c->unlabelled, c->no_answer);
    }
    if (c->overlap > 0) {
        pb_log_warn(
            "data set %s, %s: the text%s of %" PRId64 " sample%s in the test file as well; %s",
            name, path, c->overlap == 1 ? "" : "s", c->overlap, c->overlap == 1 ? " is" : "s are",
            ds->protocol == PB_PROTOCOL_PAPER ? "the paper protocol keeps such samples"
                                              : "such samples are left out");
    }
}

void pb_row_counts_warn(const pb_dataset *ds, pb_split split, const pb_row_counts *counts)
{
    pb_string faults = {0};
    pb_status status;

    PB_TRY_GOTO(status, pb_string_puts(&faults, ""), out);
    PB_TRY_GOTO(status, pb_row_counts_describe(counts, &faults), out);
    warn(ds, split, counts, faults.data);
out:
    pb_string_clear(&faults);
    pb_ignore(status, "a warning that is lost changes no result");
}
