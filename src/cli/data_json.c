// SPDX-License-Identifier: Apache-2.0
/* The findings of the command data, as one JSON object. */
#include "data.h"

#include "pb/json.h"

#include <stdio.h>

const double data_shares[DATA_QUANTILES] = {5, 25, 50, 75, 95, 99};

const char *const data_fault_keys[PB_ROW_FAULT_COUNT] = {
    [PB_ROW_UNREADABLE] = "unreadable", [PB_ROW_COLUMN] = "column",
    [PB_ROW_LABEL] = "label",           [PB_ROW_ANSWER] = "answer",
    [PB_ROW_EMPTY] = "empty",           [PB_ROW_DUPLICATE] = "duplicate"};

const char *data_split_name(pb_split split)
{
    return split == PB_SPLIT_TRAIN ? "train" : "test";
}

static void put_string(const char *key, const pb_string *text, pb_json *json)
{
    pb_json_put_bytes(json, key, text->data, text->length);
}

static void put_lengths(const char *key, pb_profile_lengths *l, pb_json *json)
{
    char name[16];

    if (l->count == 0) {
        pb_json_put_null(json, key);
        return;
    }
    pb_json_put_object(json, key, PB_JSON_INLINE);
    pb_json_put_int(json, "min", l->minimum);
    for (int i = 0; i < DATA_QUANTILES; i++) {
        (void)snprintf(name, sizeof name, "p%g", data_shares[i]);
        pb_json_put_int(json, name, pb_profile_lengths_quantile(l, data_shares[i]));
    }
    pb_json_put_int(json, "max", l->maximum);
    pb_json_put_number(json, "mean", l->sum / (double)l->count, PB_JSON_EXACT);
    pb_json_end(json);
}

static void put_faults(const pb_row_counts *c, pb_json *json)
{
    pb_json_put_object(json, "faults", PB_JSON_INLINE);
    for (int k = 0; k < PB_ROW_FAULT_COUNT; k++) {
        pb_json_put_object(json, data_fault_keys[k], PB_JSON_INLINE);
        pb_json_put_int(json, "rows", c->faults[k]);
        pb_json_put_int(json, "first_line", c->first[k]);
        pb_json_end(json);
    }
    pb_json_end(json);
}

static void put_answers(const data_job *job, const pb_profile *s, pb_json *json)
{
    const pb_config_list *labels                 = pb_dataset_labels(job->ds);
    const pb_profile_answer *top[PB_PROFILE_TOP] = {0};

    pb_json_put_int(json, "different_answers", s->answers.digests.count);
    pb_json_put_object(json, "labels", PB_JSON_INLINE);
    for (int64_t k = 0; k < labels->count; k++) {
        pb_json_put_int(json, labels->items[k],
                        pb_profile_answers_count(&s->answers, labels->items[k]));
    }
    pb_json_end(json);
    pb_json_put_array(json, "top_answers", PB_JSON_INLINE);
    int64_t count = pb_profile_answers_top(&s->answers, top);
    for (int64_t k = 0; k < count; k++) {
        pb_json_put_object(json, NULL, PB_JSON_INLINE);
        pb_json_put_text(json, "answer", top[k]->text);
        pb_json_put_int(json, "count", top[k]->count);
        pb_json_end(json);
    }
    pb_json_end(json);
}

static void put_tokens(const data_job *job, pb_profile *s, pb_json *json)
{
    if (job->tokenizer == NULL) {
        return;
    }
    put_lengths("prompt_tokens", &s->prompt_tokens, json);
    put_lengths("answer_tokens", &s->answer_tokens, json);
    put_lengths("row_tokens", &s->row_tokens, json);
    pb_json_put_int(json, "over_cutoff", s->over_cutoff);
    pb_json_put_int(json, "too_long", s->too_long);
    const data_tokens *t = &job->tokens[s->split];
    if (t->prepared) {
        pb_json_put_object(json, "cache", PB_JSON_INLINE);
        pb_json_put_bool(json, "found", t->was_cached);
        pb_json_put_int(json, "rows", t->rows);
        pb_json_put_int(json, "tokens", t->tokens);
        pb_json_end(json);
    }
}

static void put_examples(const data_job *job, const pb_profile *s, pb_json *json)
{
    pb_json_put_array(json, "examples", PB_JSON_INLINE);
    for (int64_t i = 0; i < s->example_count; i++) {
        const pb_profile_example *e = &s->examples[i];
        pb_json_put_object(json, NULL, PB_JSON_INLINE);
        pb_json_put_int(json, "row", e->row);
        pb_json_put_int(json, "line", e->line);
        put_string("user", &e->user, json);
        put_string("answer", &e->answer, json);
        if (job->tokenizer != NULL) {
            put_string("prompt_text", &e->prompt, json);
            put_string("answer_text", &e->completion, json);
        }
        pb_json_end(json);
    }
    pb_json_end(json);
}

static void put_split(const data_job *job, pb_profile *s, pb_json *json)
{
    const pb_row_counts *c = &s->counts;

    pb_json_put_object(json, data_split_name(s->split), PB_JSON_INLINE);
    pb_json_put_text(json, "file", s->file.path);
    pb_json_put_text(json, "form", s->file.form);
    pb_json_put_text(json, "compression", s->file.compression);
    pb_json_put_int(json, "bytes", s->file.bytes);
    pb_json_put_text(json, "sha256", s->sha);
    pb_json_put_int(json, "rows", c->rows);
    pb_json_put_int(json, "samples", s->samples);
    put_faults(c, json);
    pb_json_put_int(json, "left_out", c->bad);
    pb_json_put_int(json, "unlabelled", c->unlabelled);
    pb_json_put_int(json, "without_answer", c->no_answer);
    pb_json_put_int(json, "repeated_texts", s->repeated);
    if (s->compared) {
        pb_json_put_int(json, "overlap_with_test", c->overlap);
    }
    put_answers(job, s, json);
    put_lengths("prompt_characters", &s->prompt_characters, json);
    put_lengths("answer_characters", &s->answer_characters, json);
    put_tokens(job, s, json);
    put_examples(job, s, json);
    if (s->problem.length > 0) {
        put_string("problem", &s->problem, json);
    }
    pb_json_end(json);
}

pb_status data_json(data_job *job, pb_string *out)
{
    const pb_dataset_options *o = pb_dataset_get_options(job->ds);
    pb_json json                = pb_json_begin(out, PB_JSON_INLINE, 0);

    pb_json_put_text(&json, "dataset", o->name);
    pb_json_put_text(&json, "task", o->task);
    pb_json_put_text(&json, "metric", o->metric);
    if (job->tokenizer != NULL) {
        pb_json_put_text(&json, "template", pb_template_name(job->tpl));
        pb_json_put_text(&json, "tokenizer_sha256", pb_tokenizer_hash(job->tokenizer));
        pb_json_put_int(&json, "cutoff_tokens", job->data.cutoff_tokens);
    }
    pb_json_put_text(&json, "protocol", pb_protocol_names[pb_dataset_protocol(job->ds)]);
    for (int k = 0; k < PB_SPLIT_COUNT; k++) {
        if (job->wanted[k]) {
            put_split(job, &job->splits[k], &json);
        }
    }
    return pb_json_finish(&json, "\n");
}
