// SPDX-License-Identifier: Apache-2.0
/* What the command data found, as one JSON object. */
#include "data.h"

#include <inttypes.h>
#include <string.h>

const char *const data_fault_keys[PB_ROW_FAULT_COUNT] = {
    [PB_ROW_UNREADABLE] = "unreadable", [PB_ROW_COLUMN] = "column",
    [PB_ROW_LABEL] = "label",           [PB_ROW_ANSWER] = "answer",
    [PB_ROW_EMPTY] = "empty",           [PB_ROW_DUPLICATE] = "duplicate"};

static pb_status put_text(const char *key, const char *text, pb_string *out)
{
    PB_TRY(pb_string_printf(out, "\"%s\": ", key));
    PB_TRY(pb_string_json(out, text, strlen(text)));
    return pb_string_puts(out, ", ");
}

static pb_status put_string(const char *key, const pb_string *text, pb_string *out)
{
    PB_TRY(pb_string_printf(out, "\"%s\": ", key));
    return pb_string_json(out, text->data != NULL ? text->data : "", text->length);
}

static pb_status put_int(const char *key, int64_t value, pb_string *out)
{
    return pb_string_printf(out, "\"%s\": %" PRId64 ", ", key, value);
}

static pb_status put_lengths(const char *key, data_lengths *l, pb_string *out)
{
    PB_TRY(pb_string_printf(out, ", \"%s\": ", key));
    if (l->count == 0) {
        return pb_string_puts(out, "null");
    }
    PB_TRY(pb_string_printf(out, "{\"min\": %" PRId64, l->minimum));
    for (int i = 0; i < DATA_QUANTILES; i++) {
        PB_TRY(pb_string_printf(out, ", \"p%g\": %" PRId64, data_shares[i],
                                data_lengths_quantile(l, data_shares[i])));
    }
    return pb_string_printf(out, ", \"max\": %" PRId64 ", \"mean\": %.17g}", l->maximum,
                            l->sum / (double)l->count);
}

static pb_status put_faults(const pb_row_counts *c, pb_string *out)
{
    PB_TRY(pb_string_puts(out, "\"faults\": {"));
    for (int k = 0; k < PB_ROW_FAULT_COUNT; k++) {
        PB_TRY(pb_string_printf(out,
                                "%s\"%s\": {\"rows\": %" PRId64 ", \"first_line\": %" PRId64 "}",
                                k > 0 ? ", " : "", data_fault_keys[k], c->faults[k], c->first[k]));
    }
    return pb_string_puts(out, "}, ");
}

static pb_status put_answers(const data_job *job, const data_split *s, pb_string *out)
{
    const pb_config_list *labels     = pb_dataset_labels(job->ds);
    const data_answer *top[DATA_TOP] = {0};

    PB_TRY(pb_string_printf(out, "\"different_answers\": %zu, \"labels\": {", s->answers.count));
    for (int64_t k = 0; k < labels->count; k++) {
        PB_TRY(pb_string_puts(out, k > 0 ? ", " : ""));
        PB_TRY(pb_string_json(out, labels->items[k], strlen(labels->items[k])));
        PB_TRY(
            pb_string_printf(out, ": %" PRId64, data_answers_count(&s->answers, labels->items[k])));
    }
    PB_TRY(pb_string_puts(out, "}, \"top_answers\": ["));
    int64_t count = data_answers_top(&s->answers, top);
    for (int64_t k = 0; k < count; k++) {
        PB_TRY(pb_string_puts(out, k > 0 ? ", {\"answer\": " : "{\"answer\": "));
        PB_TRY(pb_string_json(out, top[k]->text, strlen(top[k]->text)));
        PB_TRY(pb_string_printf(out, ", \"count\": %" PRId64 "}", top[k]->count));
    }
    return pb_string_puts(out, "]");
}

static pb_status put_tokens(const data_job *job, data_split *s, pb_string *out)
{
    if (job->model.tokenizer == NULL) {
        return PB_OK;
    }
    PB_TRY(put_lengths("prompt_tokens", &s->prompt_tokens, out));
    PB_TRY(put_lengths("answer_tokens", &s->answer_tokens, out));
    PB_TRY(put_lengths("row_tokens", &s->row_tokens, out));
    PB_TRY(pb_string_printf(out, ", \"over_cutoff\": %" PRId64 ", \"too_long\": %" PRId64,
                            s->over_cutoff, s->too_long));
    return s->prepared ? pb_string_printf(out,
                                          ", \"cache\": {\"found\": %s, \"rows\": %" PRId64
                                          ", \"tokens\": %" PRId64 "}",
                                          s->was_cached ? "true" : "false", s->kept, s->tokens)
                       : PB_OK;
}

static pb_status put_examples(const data_job *job, const data_split *s, pb_string *out)
{
    PB_TRY(pb_string_puts(out, ", \"examples\": ["));
    for (int64_t i = 0; i < s->example_count; i++) {
        const data_example *e = &s->examples[i];
        PB_TRY(pb_string_printf(out, "%s{\"row\": %" PRId64 ", \"line\": %" PRId64 ", ",
                                i > 0 ? ", " : "", e->row, e->line));
        PB_TRY(put_string("user", &e->user, out));
        PB_TRY(pb_string_puts(out, ", "));
        PB_TRY(put_string("answer", &e->answer, out));
        if (job->model.tokenizer != NULL) {
            PB_TRY(pb_string_puts(out, ", "));
            PB_TRY(put_string("prompt_text", &e->prompt, out));
            PB_TRY(pb_string_puts(out, ", "));
            PB_TRY(put_string("answer_text", &e->completion, out));
        }
        PB_TRY(pb_string_puts(out, "}"));
    }
    return pb_string_puts(out, "]");
}

static pb_status put_split(const data_job *job, data_split *s, pb_string *out)
{
    const pb_row_counts *c = &s->counts;

    PB_TRY(pb_string_printf(out, ", \"%s\": {", data_split_name(s->split)));
    PB_TRY(put_text("file", s->file.path, out));
    PB_TRY(put_text("form", s->file.form, out));
    PB_TRY(put_text("compression", s->file.compression, out));
    PB_TRY(put_int("bytes", s->file.bytes, out));
    PB_TRY(put_text("sha256", s->sha, out));
    PB_TRY(put_int("rows", c->rows, out));
    PB_TRY(put_int("samples", s->samples, out));
    PB_TRY(put_faults(c, out));
    PB_TRY(put_int("left_out", c->bad, out));
    PB_TRY(put_int("unlabelled", c->unlabelled, out));
    PB_TRY(put_int("without_answer", c->no_answer, out));
    PB_TRY(put_int("repeated_texts", s->repeated, out));
    if (s->compared) {
        PB_TRY(put_int("overlap_with_test", c->overlap, out));
    }
    PB_TRY(put_answers(job, s, out));
    PB_TRY(put_lengths("prompt_characters", &s->prompt_characters, out));
    PB_TRY(put_lengths("answer_characters", &s->answer_characters, out));
    PB_TRY(put_tokens(job, s, out));
    PB_TRY(put_examples(job, s, out));
    if (s->problem.length > 0) {
        PB_TRY(pb_string_puts(out, ", "));
        PB_TRY(put_string("problem", &s->problem, out));
    }
    return pb_string_puts(out, "}");
}

pb_status data_json(data_job *job, pb_string *out)
{
    const pb_dataset_options *o = pb_dataset_get_options(job->ds);

    PB_TRY(pb_string_puts(out, "{"));
    PB_TRY(put_text("dataset", o->name, out));
    PB_TRY(put_text("task", o->task, out));
    PB_TRY(put_text("metric", o->metric, out));
    if (job->model.tokenizer != NULL) {
        PB_TRY(put_text("template", pb_template_name(job->model.tpl), out));
        PB_TRY(put_text("tokenizer_sha256", pb_tokenizer_hash(job->model.tokenizer), out));
        PB_TRY(put_int("cutoff_tokens", job->data.cutoff_tokens, out));
    }
    PB_TRY(pb_string_printf(out, "\"protocol\": \"%s\"",
                            pb_protocol_names[pb_dataset_protocol(job->ds)]));
    for (int k = 0; k < PB_SPLIT_COUNT; k++) {
        if (job->wanted[k]) {
            PB_TRY(put_split(job, &job->splits[k], out));
        }
    }
    return pb_string_puts(out, "}\n");
}
