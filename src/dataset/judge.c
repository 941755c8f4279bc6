// SPDX-License-Identifier: Apache-2.0
/* Which rows are left out, and whether there are too many of them. */
#include "judge.h"

#include "pb/utf8.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

bool judge_is_bad_row(pb_status status)
{
    return status == PB_ERR_FORMAT || status == PB_ERR_NOT_FOUND;
}

/* Counts a fault; the fault of the first row left out is kept, with its place. */
static void PB_PRINTF(5, 6) count_fault(row_judge *j, const row_slot *s, pb_row_fault fault,
                                        bool bad, const char *format, ...)
{
    pb_row_counts *c = &j->counts;
    va_list values;

    c->faults[fault]++;
    c->first[fault] = c->first[fault] == 0 ? s->line : c->first[fault];
    c->bad += bad;
    if (bad && *j->first == '\0') {
        va_start(values, format);
        (void)vsnprintf(j->first, sizeof j->first, format, values);
        va_end(values);
        j->first[pb_utf8_fit(j->first, sizeof j->first - 2)] = '\0';
    }
}

static const char *empty_column(const row_slot *s)
{
    for (int64_t k = 0; k < s->texts.count; k++) {
        if (s->texts.items[k].empty != NULL) {
            return s->texts.items[k].empty;
        }
    }
    return NULL;
}

/* Test splits of the hub with hidden labels have -1 everywhere. */
static bool lacks_label(const row_judge *j, const row_slot *s)
{
    return j->split == PB_SPLIT_TEST && pb_dataset_labels(j->ds)->count > 0 && s->texts.count > 0 &&
           s->texts.items[0].unlabelled;
}

/* *is_new is false for a row with the id of an earlier one. */
static pb_status note_id(row_judge *j, const row_slot *s, bool *is_new)
{
    pb_digest digest;
    int32_t before = j->ids.count, number = 0;

    *is_new = true;
    if (s->id.length == 0) {
        return PB_OK;
    }
    j->counts.ids++;
    PB_TRY(pb_digest_of(s->id.data, s->id.length, &digest));
    PB_TRY(pb_interned_add(&j->ids, &digest, sizeof digest, &number));
    *is_new = j->ids.count > before;
    return PB_OK;
}

pb_status judge_row(row_judge *j, const row_slot *s, bool *keep)
{
    const char *path  = j->name;
    const char *empty = empty_column(s);
    bool strict       = j->ds->protocol == PB_PROTOCOL_CORRECTED;
    bool is_new       = true;

    *keep = s->status == PB_OK;
    if (!*keep) {
        pb_row_fault fault = s->unscored                     ? PB_ROW_ANSWER
                             : s->status == PB_ERR_NOT_FOUND ? PB_ROW_LABEL
                                                             : PB_ROW_COLUMN;
        count_fault(j, s, s->cut ? fault : PB_ROW_UNREADABLE, true, "%s", s->message.data);
        return PB_OK;
    }
    PB_TRY(note_id(j, s, &is_new));
    if (!is_new) {
        count_fault(j, s, PB_ROW_DUPLICATE, strict,
                    "%s:%" PRId64
                    ": an earlier row has the id %.*s (dataset.id); remove one of them",
                    path, s->line, PB_FIT(s->id.data, 80));
        *keep = !strict;
    } else if (strict && lacks_label(j, s)) {
        count_fault(j, s, PB_ROW_LABEL, true,
                    "%s:%" PRId64 ": the row has no label, and a test row without one cannot be "
                    "scored; take a split with labels, or leave the row out",
                    path, s->line);
        *keep = false;
    } else if (empty != NULL) {
        count_fault(j, s, PB_ROW_EMPTY, strict,
                    "%s:%" PRId64 ": column \"%s\" is empty; fill it, or declare its type with a ? "
                    "(dataset.columns)",
                    path, s->line, empty);
        *keep = !strict;
    }
    return PB_OK;
}

static pb_status check_share(const row_judge *j, const char *faults)
{
    const pb_row_counts *c = &j->counts;
    double share           = j->ds->data.max_bad_share;

    if ((double)c->bad > share * (double)c->rows) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s; this is the first of %" PRId64 " bad rows of %" PRId64
                       " (%s), data.max_bad_share allows a share of %g",
                       j->first, c->bad, c->rows, faults, share);
    }
    return PB_OK;
}

pb_status judge_end(const row_judge *j, int64_t samples)
{
    pb_string faults = {0};
    pb_status status;

    PB_TRY_GOTO(status, pb_string_puts(&faults, ""), out_faults);
    PB_TRY_GOTO(status, pb_row_counts_describe(&j->counts, &faults), out_faults);
    PB_TRY_GOTO(status, check_share(j, faults.data), out_faults);
    if (samples == 0) {
        status = PB_FAIL(PB_ERR_FORMAT, "%s: none of its %" PRId64 " rows can be used", j->name,
                         j->counts.rows);
    }
out_faults:
    pb_string_clear(&faults);
    return status;
}
