// SPDX-License-Identifier: Apache-2.0
/* Measuring a split for the command data: rows stream through, a chunk of them is measured by all
 * threads and counted in file order. */
#include "data.h"

#include "pb/memory.h"
#include "pb/model.h"
#include "pb/utf8.h"

#include <inttypes.h>
#include <string.h>

/* One sample on its way. */
typedef struct slot {
    pb_digest text, answer;
    int64_t prompt_characters, answer_characters;
    int64_t prompt_tokens, answer_tokens;
    bool too_long;
    pb_status status;
    pb_string message;
} slot;

typedef struct chunk {
    slot *slots; /* [capacity] */
    int64_t capacity;
} chunk;

const char *data_split_name(pb_split split)
{
    return split == PB_SPLIT_TRAIN ? "train" : "test";
}

pb_status data_model_open(const char *directory, const char *tpl, data_model *out)
{
    bool by_model           = strcmp(tpl, "auto") == 0;
    pb_model_config *config = NULL;
    data_model model        = {0};
    pb_status status;

    status = pb_template_find(by_model ? "none" : tpl, &model.tpl);
    if (status != PB_OK) {
        return pb_error_prefix(status, "--template");
    }
    PB_TRY(pb_tokenizer_open(directory, &model.tokenizer));
    if (by_model) {
        PB_TRY_GOTO(status, PB_ALLOC(config, 1), err_tokenizer);
        status = pb_model_config_read(directory, config);
        if (status != PB_OK) {
            pb_error_prefix(status, "--template auto needs the model's config.json (or name one)");
            goto err_tokenizer;
        }
        model.tpl = pb_template_for(pb_model_architecture(config), model.tokenizer);
        status    = pb_template_warn(pb_model_architecture(config), model.tokenizer, directory);
        PB_TRY_GOTO(status, status, err_tokenizer);
        pb_memory_free(config);
    }
    *out = model;
    return PB_OK;

err_tokenizer:
    pb_memory_free(config);
    pb_tokenizer_close(model.tokenizer);
    return status;
}

static pb_status count_tokens(const data_job *job, const pb_example *example, slot *s)
{
    bool strict     = pb_dataset_protocol(job->ds) == PB_PROTOCOL_CORRECTED;
    int64_t cutoff  = job->data.cutoff_tokens;
    pb_rendered all = {0}, cut = {0};
    size_t dropped = 0;
    bool fits      = true;

    PB_TRY(pb_template_render(job->model.tpl, job->model.tokenizer, example->user, example->answer,
                              strict, &all));
    s->prompt_tokens = all.prompt_length;
    s->answer_tokens = all.ids.count - all.prompt_length;
    pb_rendered_clear(&all);
    if (strict && s->prompt_tokens + s->answer_tokens > cutoff) {
        PB_TRY(pb_template_render_within(job->model.tpl, job->model.tokenizer, example->user,
                                         example->answer, cutoff, &cut, &dropped, &fits));
        pb_rendered_clear(&cut);
    }
    s->too_long = !fits;
    return PB_OK;
}

static pb_status measure(const data_job *job, const pb_example *example, slot *s)
{
    s->too_long          = false;
    s->prompt_characters = pb_utf8_count(example->user, strlen(example->user));
    s->answer_characters = pb_utf8_count(example->answer, strlen(example->answer));
    PB_TRY(pb_digest_of(example->body, strlen(example->body), &s->text));
    PB_TRY(pb_digest_of(example->answer, strlen(example->answer), &s->answer));
    return job->model.tokenizer != NULL ? count_tokens(job, example, s) : PB_OK;
}

static pb_status measure_chunk(const data_job *job, const pb_example *examples, int64_t count,
                               chunk *c)
{
    PB_TRY(PB_GROW(c->slots, count));
    c->capacity = count > c->capacity ? count : c->capacity;
#pragma omp parallel for schedule(dynamic, 8) num_threads(job->threads)
    for (int64_t i = 0; i < count; i++) {
        slot *s   = &c->slots[i];
        s->status = measure(job, &examples[i], s);
        if (s->status != PB_OK) {
            s->message.length = 0;
            if (pb_string_puts(&s->message, pb_error_message()) != PB_OK) {
                s->status = PB_ERR_MEMORY;
            }
            pb_error_clear();
        }
    }
    return PB_OK;
}

static void clear_chunk(chunk *c)
{
    for (int64_t i = 0; i < c->capacity; i++) {
        pb_string_clear(&c->slots[i].message);
    }
    pb_memory_free(c->slots);
}

static pb_status keep_example(const data_job *job, const pb_example *example, data_split *s)
{
    bool strict = pb_dataset_protocol(job->ds) == PB_PROTOCOL_CORRECTED;

    PB_TRY(PB_GROW(s->examples, s->example_count + 1));
    data_example *e = &s->examples[s->example_count++];
    *e              = (data_example){.row = example->row, .line = example->line};
    PB_TRY(pb_string_puts(&e->user, example->user));
    PB_TRY(pb_string_puts(&e->answer, example->answer));
    if (job->model.tokenizer == NULL) {
        return PB_OK;
    }
    return pb_template_text(job->model.tpl, job->model.tokenizer, example->user, example->answer,
                            strict, &e->prompt, &e->completion);
}

static pb_status count_sample(const data_job *job, const pb_example *example, const slot *m,
                              data_split *s)
{
    const data_split *test = &job->splits[PB_SPLIT_TEST];
    int64_t tokens         = m->prompt_tokens + m->answer_tokens;
    bool is_new            = true;

    if (m->status != PB_OK) {
        return PB_FAIL(m->status, "%s:%" PRId64 ": %s", s->file.path, example->line,
                       m->message.length > 0 ? m->message.data : "out of memory");
    }
    s->samples++;
    PB_TRY(pb_digests_add(&s->texts, &m->text, &is_new));
    s->repeated += !is_new;
    s->counts.overlap += s->compared && pb_digests_has(&test->texts, &m->text);
    PB_TRY(data_answers_add(&s->answers, &m->answer, example->answer));
    PB_TRY(data_lengths_add(&s->prompt_characters, m->prompt_characters));
    PB_TRY(data_lengths_add(&s->answer_characters, m->answer_characters));
    if (job->model.tokenizer != NULL) {
        PB_TRY(data_lengths_add(&s->prompt_tokens, m->prompt_tokens));
        PB_TRY(data_lengths_add(&s->answer_tokens, m->answer_tokens));
        PB_TRY(data_lengths_add(&s->row_tokens, tokens));
        s->over_cutoff += tokens > job->data.cutoff_tokens;
        s->too_long += m->too_long;
    }
    return s->example_count < job->examples ? keep_example(job, example, s) : PB_OK;
}

/* The last chunk's failure, when all rows were read and judged, is a finding. */
static pb_status take_problem(pb_status status, const pb_rows *rows, data_split *s)
{
    if (status != PB_ERR_FORMAT || *pb_rows_sha(rows) == '\0') {
        return PB_FRAME(status);
    }
    PB_TRY(pb_string_puts(&s->problem, pb_error_message()));
    pb_error_clear();
    return PB_OK;
}

/* A run with this model would refuse the split. */
static pb_status judge_lengths(const data_job *job, data_split *s)
{
    const pb_data_options *o = &job->data;

    if ((double)s->over_cutoff <= o->max_truncated_share * (double)s->samples ||
        s->problem.length > 0) {
        return PB_OK;
    }
    return pb_string_printf(&s->problem,
                            "%s: %" PRId64 " of %" PRId64 " samples are longer than "
                            "data.cutoff_tokens = %" PRId64 ", more than the share of %g that "
                            "data.max_truncated_share allows; raise data.cutoff_tokens, or that "
                            "share",
                            s->file.path, s->over_cutoff, s->samples, o->cutoff_tokens,
                            o->max_truncated_share);
}

static pb_status read_rows(const data_job *job, pb_rows *rows, chunk *c, data_split *s)
{
    const pb_example *examples = NULL;
    int64_t count              = 0;

    do {
        pb_status status = pb_rows_next(rows, &examples, &count);
        if (status != PB_OK) {
            PB_TRY(take_problem(status, rows, s));
            count = 0;
        }
        PB_TRY(measure_chunk(job, examples, count, c));
        for (int64_t i = 0; i < count; i++) {
            PB_TRY(count_sample(job, &examples[i], &c->slots[i], s));
        }
    } while (count > 0);
    int64_t overlap   = s->counts.overlap;
    s->counts         = pb_rows_counts(rows);
    s->counts.overlap = overlap;
    s->file           = pb_rows_get_file(rows);
    memcpy(s->sha, pb_rows_sha(rows), sizeof s->sha);
    return judge_lengths(job, s);
}

pb_status data_measure(data_job *job, pb_split split)
{
    data_split *s = &job->splits[split];
    pb_rows *rows = NULL;
    chunk c       = {0};

    s->split    = split;
    s->compared = split == PB_SPLIT_TRAIN && *job->splits[PB_SPLIT_TEST].sha != '\0';
    PB_TRY(pb_rows_open(job->ds, split, job->threads, &rows));
    s->file          = pb_rows_get_file(rows);
    pb_status status = read_rows(job, rows, &c, s);
    clear_chunk(&c);
    pb_rows_close(rows);
    return status;
}

void data_split_clear(data_split *s)
{
    for (int64_t i = 0; i < s->example_count; i++) {
        pb_string_clear(&s->examples[i].user);
        pb_string_clear(&s->examples[i].answer);
        pb_string_clear(&s->examples[i].prompt);
        pb_string_clear(&s->examples[i].completion);
    }
    pb_memory_free(s->examples);
    data_lengths_clear(&s->prompt_characters);
    data_lengths_clear(&s->answer_characters);
    data_lengths_clear(&s->prompt_tokens);
    data_lengths_clear(&s->answer_tokens);
    data_lengths_clear(&s->row_tokens);
    data_answers_clear(&s->answers);
    pb_digests_clear(&s->texts);
    pb_string_clear(&s->problem);
}
