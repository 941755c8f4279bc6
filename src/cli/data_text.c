// SPDX-License-Identifier: Apache-2.0
/* The findings of the command data, for people. Texts of a file are shown without their control
 * characters. */
#include "data.h"

#include "pb/table.h"
#include "pb/utf8.h"

#include <inttypes.h>
#include <string.h>

/* Bytes of a text that are shown, and of an answer in a table. */
enum { SHOWN_BYTES = 2000, CELL_BYTES = 60 };

/* The text in one line of a table. */
static pb_status put_cell(const char *text, int width, pb_string *out)
{
    char shown[CELL_BYTES];
    size_t left = pb_string_printable(text, shown, sizeof shown);

    for (char *p = shown; *p != '\0'; p++) {
        *p = *p == '\n' || *p == '\t' ? ' ' : *p;
    }
    const char *shape = *shown == '\0' ? "(empty)" : shown;
    int64_t used      = pb_utf8_count(shape, strlen(shape)) + (left > 0 ? 1 : 0);
    int64_t padding   = width > used ? width - used : 0;
    return pb_string_printf(out, "%s%s%*s", shape, left > 0 ? "…" : "", (int)padding, "");
}

/* Every line of the text after a bar, so that it cannot be mistaken for a line of the summary. */
static pb_status put_block(const char *title, const pb_string *text, pb_string *out)
{
    char shown[SHOWN_BYTES];
    size_t left = pb_string_printable(text->data != NULL ? text->data : "", shown, sizeof shown);

    PB_TRY(pb_string_printf(out, "    %s\n", title));
    for (char *line = shown; line != NULL;) {
        char *end = strchr(line, '\n');
        if (end != NULL) {
            *end = '\0';
        }
        PB_TRY(pb_string_printf(out, "      | %s\n", line));
        line = end != NULL ? end + 1 : NULL;
    }
    return left > 0 ? pb_string_printf(out, "      … %zu more bytes\n", left) : PB_OK;
}

static pb_status put_faults(const pb_row_counts *c, pb_string *out)
{
    static const char *const words[PB_ROW_FAULT_COUNT] = {
        [PB_ROW_UNREADABLE] = "unreadable", [PB_ROW_COLUMN] = "wrong column",
        [PB_ROW_LABEL] = "wrong label",     [PB_ROW_ANSWER] = "unscorable answer",
        [PB_ROW_EMPTY] = "empty text",      [PB_ROW_DUPLICATE] = "id of another row",
    };
    int64_t faulty = 0;

    for (int k = 0; k < PB_ROW_FAULT_COUNT; k++) {
        faulty += c->faults[k];
    }
    if (faulty == 0) {
        return pb_string_puts(out, "  faults              0 rows\n");
    }
    char rows[PB_TABLE_NUMBER];
    PB_TRY(pb_string_printf(out, "  faults              %s, %" PRId64 " left out\n",
                            pb_table_count(rows, faulty, "row"), c->bad));
    for (int k = 0; k < PB_ROW_FAULT_COUNT; k++) {
        if (c->faults[k] > 0) {
            PB_TRY(pb_string_printf(out, "    %-17s %" PRId64 ", first in line %" PRId64 "\n",
                                    words[k], c->faults[k], c->first[k]));
        }
    }
    return PB_OK;
}

static pb_status put_share(int64_t count, int64_t all, pb_string *out)
{
    return pb_string_printf(out, " %10" PRId64 "  %5.1f %%\n", count,
                            all > 0 ? 100.0 * (double)count / (double)all : 0.0);
}

static pb_status put_answers(const data_job *job, const pb_profile *s, pb_string *out)
{
    const pb_config_list *labels                 = pb_dataset_labels(job->ds);
    const pb_profile_answer *top[PB_PROFILE_TOP] = {0};
    int64_t rest                                 = s->samples;

    PB_TRY(pb_string_printf(out, "  distinct answers    %" PRId32 "\n", s->answers.digests.count));
    for (int64_t k = 0; k < labels->count; k++) {
        int64_t count = pb_profile_answers_count(&s->answers, labels->items[k]);
        PB_TRY(pb_string_puts(out, "    "));
        PB_TRY(put_cell(labels->items[k], 28, out));
        PB_TRY(put_share(count, s->samples, out));
        rest -= count;
    }
    if (labels->count > 0 && rest == 0) {
        return PB_OK;
    }
    int64_t count = pb_profile_answers_top(&s->answers, top);
    if (count > 0) {
        PB_TRY(pb_string_puts(out, "  most frequent\n"));
    }
    for (int64_t k = 0; k < count; k++) {
        PB_TRY(pb_string_puts(out, "    "));
        PB_TRY(put_cell(top[k]->text, 28, out));
        PB_TRY(put_share(top[k]->count, s->samples, out));
    }
    return PB_OK;
}

static pb_status add_lengths(const char *name, pb_profile_lengths *l, pb_table *table)
{
    if (l->count == 0) {
        return PB_OK;
    }
    PB_TRY(pb_table_add(table, "  %s", name));
    PB_TRY(pb_table_add(table, "%" PRId64, l->minimum));
    for (int i = 0; i < DATA_QUANTILES; i++) {
        PB_TRY(pb_table_add(table, "%" PRId64, pb_profile_lengths_quantile(l, data_shares[i])));
    }
    PB_TRY(pb_table_add(table, "%" PRId64, l->maximum));
    return pb_table_add_number(table, l->sum / (double)l->count, 1);
}

static pb_status add_all_lengths(const data_job *job, pb_profile *s, pb_table *table)
{
    PB_TRY(pb_table_add(table, "lengths"));
    PB_TRY(pb_table_add(table, "min"));
    for (int i = 0; i < DATA_QUANTILES; i++) {
        PB_TRY(pb_table_add(table, "%.0f %%", data_shares[i]));
    }
    PB_TRY(pb_table_add(table, "max"));
    PB_TRY(pb_table_add(table, "mean"));
    PB_TRY(add_lengths("prompt characters", &s->prompt_characters, table));
    PB_TRY(add_lengths("answer characters", &s->answer_characters, table));
    if (job->tokenizer == NULL) {
        return PB_OK;
    }
    PB_TRY(add_lengths("prompt tokens", &s->prompt_tokens, table));
    PB_TRY(add_lengths("answer tokens", &s->answer_tokens, table));
    return add_lengths("row tokens", &s->row_tokens, table);
}

/* Indented like the lines around it. */
static pb_status put_lengths(const data_job *job, pb_profile *s, pb_string *out)
{
    enum { INDENT = 2 };
    pb_string text = {0};
    pb_table table;
    pb_status status = PB_OK;

    pb_table_init(&table, DATA_QUANTILES + 4, 1);
    PB_TRY_GOTO(status, add_all_lengths(job, s, &table), out);
    PB_TRY_GOTO(status, pb_table_print(&table, job->width - INDENT, false, &text), out);
    for (const char *line = text.data; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        PB_TRY_GOTO(
            status,
            pb_string_printf(out, "%*s%.*s\n", length > 0 ? INDENT : 0, "", (int)length, line),
            out);
        line += length + 1;
    }
out:
    pb_string_clear(&text);
    pb_table_clear(&table);
    return status;
}

static pb_status put_all_lengths(const data_job *job, pb_profile *s, pb_string *out)
{
    const data_tokens *t = &job->tokens[s->split];
    char rows[PB_TABLE_NUMBER], tokens[PB_TABLE_NUMBER];

    PB_TRY(put_lengths(job, s, out));
    if (job->tokenizer == NULL) {
        return PB_OK;
    }
    PB_TRY(pb_string_printf(out, "  over the cutoff     %" PRId64 " of %s, longer than %s",
                            s->over_cutoff, pb_table_count(rows, s->samples, "row"),
                            pb_table_count(tokens, job->data.cutoff_tokens, "token")));
    PB_TRY(
        s->too_long > 0
            ? pb_string_printf(out, ", %" PRId64 " of them without the user's text\n", s->too_long)
            : pb_string_puts(out, "\n"));
    return t->prepared ? pb_string_printf(out, "  token cache         %s, %s, %s\n",
                                          t->was_cached ? "found" : "made",
                                          pb_table_count(rows, t->rows, "row"),
                                          pb_table_count(tokens, t->tokens, "token"))
                       : PB_OK;
}

static pb_status put_overlap(const data_job *job, const pb_profile *s, pb_string *out)
{
    enum { INDENT = 22 };
    bool strict = pb_dataset_protocol(job->ds) == PB_PROTOCOL_CORRECTED;
    char samples[PB_TABLE_NUMBER];

    PB_TRY(pb_string_puts(out, "  repeated texts      "));
    PB_TRY(pb_table_note(out, job->width, INDENT, "%s with the text of an earlier one",
                         pb_table_count(samples, s->repeated, "sample")));
    if (!s->compared) {
        return PB_OK;
    }
    PB_TRY(pb_string_puts(out, "  overlap             "));
    return pb_table_note(out, job->width, INDENT, "%s with a text of the test file%s",
                         pb_table_count(samples, s->counts.overlap, "sample"),
                         s->counts.overlap == 0 ? ""
                         : strict               ? "; training leaves them out"
                                                : "; the paper's protocol trains on them");
}

static pb_status put_examples(const data_job *job, const pb_profile *s, pb_string *out)
{
    for (int64_t i = 0; i < s->example_count; i++) {
        const pb_profile_example *e = &s->examples[i];
        PB_TRY(pb_string_printf(out, "  example %" PRId64 ", row %" PRId64 ", line %" PRId64 "\n",
                                i + 1, e->row, e->line));
        if (job->tokenizer != NULL) {
            PB_TRY(put_block("prompt", &e->prompt, out));
            PB_TRY(put_block("answer", &e->completion, out));
        } else {
            PB_TRY(put_block("user", &e->user, out));
            PB_TRY(put_block("answer", &e->answer, out));
        }
    }
    return PB_OK;
}

static pb_status put_split(const data_job *job, pb_profile *s, pb_string *out)
{
    const pb_row_counts *c = &s->counts;
    bool has_file          = *s->file.path != '\0';

    PB_TRY(pb_string_printf(out, "\n%s\n", data_split_name(s->split)));
    PB_TRY(pb_string_printf(out, "  file                %s\n",
                            has_file ? s->file.path : PB_TABLE_NOTHING));
    if (has_file) {
        PB_TRY(pb_string_printf(out, "  form                %s%s%s, %" PRId64 " bytes\n",
                                s->file.form, *s->file.compression != '\0' ? ", " : "",
                                s->file.compression, s->file.bytes));
    }
    PB_TRY(pb_string_printf(out, "  sha256              %s\n", s->sha));
    PB_TRY(pb_string_printf(out, "  rows                %" PRId64 "\n", c->rows));
    PB_TRY(pb_string_printf(out, "  samples             %" PRId64 "\n", s->samples));
    PB_TRY(put_faults(c, out));
    PB_TRY(pb_string_printf(out, "  unlabelled          %" PRId64 "\n", c->unlabelled));
    PB_TRY(pb_string_printf(out, "  without an answer   %" PRId64 "\n", c->no_answer));
    PB_TRY(put_overlap(job, s, out));
    PB_TRY(put_answers(job, s, out));
    PB_TRY(put_all_lengths(job, s, out));
    return put_examples(job, s, out);
}

pb_status data_text(data_job *job, pb_string *out)
{
    static const char head[]    = "data set              ";
    const pb_dataset_options *o = pb_dataset_get_options(job->ds);
    pb_string name              = {0};
    pb_status status            = PB_OK;

    PB_TRY(pb_string_puts(out, head));
    PB_TRY_GOTO(status, put_cell(o->name, 0, &name), out);
    PB_TRY_GOTO(status,
                pb_table_note(out, job->width, (int64_t)sizeof head - 1,
                              "%s, task %s, metric %s, protocol %s", name.data, o->task, o->metric,
                              pb_protocol_names[pb_dataset_protocol(job->ds)]),
                out);
    if (job->tokenizer != NULL) {
        PB_TRY_GOTO(status,
                    pb_string_printf(out, "template              %s\n", pb_template_name(job->tpl)),
                    out);
    }
    for (int k = 0; k < PB_SPLIT_COUNT; k++) {
        if (job->wanted[k]) {
            PB_TRY_GOTO(status, put_split(job, &job->splits[k], out), out);
        }
    }
out:
    pb_string_clear(&name);
    return status;
}
