// SPDX-License-Identifier: Apache-2.0
/* What the command data found, for people. Texts of a file are shown without their control
 * characters. */
#include "data.h"

#include <inttypes.h>
#include <string.h>

/* Bytes of a text that are shown, and of an answer in a table. */
enum { SHOWN_BYTES = 2000, CELL_BYTES = 60 };

/* The text in one line of a table. */
static pb_status put_cell(const char *text, int width, pb_string *out)
{
    char shown[CELL_BYTES];
    size_t left  = pb_string_printable(text, shown, sizeof shown);
    int64_t used = 0;

    for (char *p = shown; *p != '\0'; p++) {
        *p = *p == '\n' || *p == '\t' ? ' ' : *p;
        used += ((unsigned char)*p & 0xc0) != 0x80;
    }
    const char *shape = *shown == '\0' ? "(empty)" : shown;
    used              = *shown == '\0' ? 7 : used + (left > 0 ? 1 : 0);
    int64_t padding   = width > used ? width - used : 0;
    return pb_string_printf(out, "%s%s%*s", shape, left > 0 ? "…" : "", (int)padding, "");
}

/* Every line of the text behind a bar, so that it cannot pass for a line of the summary. */
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
        return pb_string_puts(out, "  faults              none\n");
    }
    PB_TRY(pb_string_printf(
        out, "  faults              %" PRId64 " rows, %" PRId64 " of them left out\n", faulty,
        c->bad));
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

static pb_status put_answers(const data_job *job, const data_split *s, pb_string *out)
{
    const pb_config_list *labels     = pb_dataset_labels(job->ds);
    const data_answer *top[DATA_TOP] = {0};
    int64_t rest                     = s->samples;

    PB_TRY(pb_string_printf(out, "  different answers   %zu\n", s->answers.count));
    for (int64_t k = 0; k < labels->count; k++) {
        int64_t count = data_answers_count(&s->answers, labels->items[k]);
        PB_TRY(pb_string_puts(out, "    "));
        PB_TRY(put_cell(labels->items[k], 28, out));
        PB_TRY(put_share(count, s->samples, out));
        rest -= count;
    }
    if (labels->count > 0 && rest == 0) {
        return PB_OK;
    }
    int64_t count = data_answers_top(&s->answers, top);
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

static pb_status put_lengths(const char *name, data_lengths *l, pb_string *out)
{
    if (l->count == 0) {
        return PB_OK;
    }
    PB_TRY(pb_string_printf(out, "    %-18s %7" PRId64, name, l->minimum));
    for (int i = 0; i < DATA_QUANTILES; i++) {
        PB_TRY(pb_string_printf(out, " %7" PRId64, data_lengths_quantile(l, data_shares[i])));
    }
    return pb_string_printf(out, " %7" PRId64 " %9.1f\n", l->maximum, l->sum / (double)l->count);
}

static pb_status put_all_lengths(const data_job *job, data_split *s, pb_string *out)
{
    PB_TRY(pb_string_printf(out, "  %-20s %7s", "lengths", "min"));
    for (int i = 0; i < DATA_QUANTILES; i++) {
        PB_TRY(pb_string_printf(out, "  %3.0f %%", data_shares[i]));
        PB_TRY(pb_string_puts(out, " "));
    }
    PB_TRY(pb_string_printf(out, "%7s %9s\n", "max", "mean"));
    PB_TRY(put_lengths("prompt characters", &s->prompt_characters, out));
    PB_TRY(put_lengths("answer characters", &s->answer_characters, out));
    if (job->model.tokenizer == NULL) {
        return PB_OK;
    }
    PB_TRY(put_lengths("prompt tokens", &s->prompt_tokens, out));
    PB_TRY(put_lengths("answer tokens", &s->answer_tokens, out));
    PB_TRY(put_lengths("row tokens", &s->row_tokens, out));
    PB_TRY(pb_string_printf(out,
                            "  over the cutoff     %" PRId64 " of %" PRId64
                            " rows have more than %" PRId64 " tokens",
                            s->over_cutoff, s->samples, job->data.cutoff_tokens));
    PB_TRY(
        s->too_long > 0
            ? pb_string_printf(out, ", %" PRId64 " of them without the user's text\n", s->too_long)
            : pb_string_puts(out, "\n"));
    return s->prepared ? pb_string_printf(out,
                                          "  token cache         %s, %" PRId64 " rows, %" PRId64
                                          " tokens\n",
                                          s->was_cached ? "found" : "made", s->kept, s->tokens)
                       : PB_OK;
}

static pb_status put_overlap(const data_job *job, const data_split *s, pb_string *out)
{
    bool strict = pb_dataset_protocol(job->ds) == PB_PROTOCOL_CORRECTED;

    PB_TRY(pb_string_printf(
        out, "  repeated texts      %" PRId64 " samples have the text of an earlier one\n",
        s->repeated));
    if (!s->compared) {
        return PB_OK;
    }
    return pb_string_printf(
        out, "  overlap             %" PRId64 " samples have a text of the test file%s\n",
        s->counts.overlap,
        s->counts.overlap == 0 ? ""
        : strict               ? "; training leaves them out"
                               : "; the paper's protocol trains on them");
}

static pb_status put_examples(const data_job *job, const data_split *s, pb_string *out)
{
    for (int64_t i = 0; i < s->example_count; i++) {
        const data_example *e = &s->examples[i];
        PB_TRY(pb_string_printf(out, "  example %" PRId64 ", row %" PRId64 ", line %" PRId64 "\n",
                                i + 1, e->row, e->line));
        if (job->model.tokenizer != NULL) {
            PB_TRY(put_block("prompt", &e->prompt, out));
            PB_TRY(put_block("answer", &e->completion, out));
        } else {
            PB_TRY(put_block("user", &e->user, out));
            PB_TRY(put_block("answer", &e->answer, out));
        }
    }
    return PB_OK;
}

static pb_status put_split(const data_job *job, data_split *s, pb_string *out)
{
    const pb_row_counts *c = &s->counts;
    bool has_file          = *s->file.path != '\0';

    PB_TRY(pb_string_printf(out, "\n%s\n", data_split_name(s->split)));
    PB_TRY(pb_string_printf(out, "  file                %s\n", has_file ? s->file.path : "none"));
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
    const pb_dataset_options *o = pb_dataset_get_options(job->ds);

    PB_TRY(pb_string_puts(out, "data set              "));
    PB_TRY(put_cell(o->name, 0, out));
    PB_TRY(pb_string_printf(out, ", task %s, metric %s, protocol %s\n", o->task, o->metric,
                            pb_protocol_names[pb_dataset_protocol(job->ds)]));
    if (job->model.tokenizer != NULL) {
        PB_TRY(
            pb_string_printf(out, "template              %s\n", pb_template_name(job->model.tpl)));
    }
    for (int k = 0; k < PB_SPLIT_COUNT; k++) {
        if (job->wanted[k]) {
            PB_TRY(put_split(job, &job->splits[k], out));
        }
    }
    return PB_OK;
}
