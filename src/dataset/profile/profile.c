// SPDX-License-Identifier: Apache-2.0
/* Rows stream through; a chunk of them is measured by all threads and counted in file order. */
#include "pb/profile.h"

#include "pb/memory.h"
#include "pb/utf8.h"

#include <inttypes.h>
#include <string.h>

/* One sample in flight. */
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

typedef struct reading {
    const pb_dataset *ds;
    const pb_profile_options *options;
    const pb_profile *test; /* NULL: not compared */
} reading;

static pb_status count_tokens(const reading *r, const pb_example *example, slot *s)
{
    bool strict     = pb_dataset_protocol(r->ds) == PB_PROTOCOL_CORRECTED;
    int64_t cutoff  = r->options->data->cutoff_tokens;
    pb_rendered all = {0}, cut = {0};
    size_t dropped = 0;
    bool fits      = true;

    PB_TRY(pb_template_render(r->options->tpl, r->options->tokenizer, example->user,
                              example->answer, strict, &all));
    s->prompt_tokens = all.prompt_length;
    s->answer_tokens = all.ids.count - all.prompt_length;
    pb_rendered_clear(&all);
    if (strict && s->prompt_tokens + s->answer_tokens > cutoff) {
        PB_TRY(pb_template_render_within(r->options->tpl, r->options->tokenizer, example->user,
                                         example->answer, cutoff, &cut, &dropped, &fits));
        pb_rendered_clear(&cut);
    }
    s->too_long = !fits;
    return PB_OK;
}

static pb_status measure(const reading *r, const pb_example *example, slot *s)
{
    s->too_long          = false;
    s->prompt_characters = pb_utf8_count(example->user, strlen(example->user));
    s->answer_characters = pb_utf8_count(example->answer, strlen(example->answer));
    PB_TRY(pb_digest_of(example->body, strlen(example->body), &s->text));
    PB_TRY(pb_digest_of(example->answer, strlen(example->answer), &s->answer));
    return r->options->tokenizer != NULL ? count_tokens(r, example, s) : PB_OK;
}

static pb_status measure_chunk(const reading *r, const pb_example *examples, int64_t count,
                               chunk *c)
{
    PB_TRY(PB_GROW(c->slots, count));
    c->capacity = count > c->capacity ? count : c->capacity;
#pragma omp parallel for schedule(dynamic, 8) num_threads(r->options->threads)
    for (int64_t i = 0; i < count; i++) {
        slot *s   = &c->slots[i];
        s->status = measure(r, &examples[i], s);
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

static pb_status keep_example(const reading *r, const pb_example *example, pb_profile *s)
{
    bool strict = pb_dataset_protocol(r->ds) == PB_PROTOCOL_CORRECTED;

    PB_TRY(PB_GROW(s->examples, s->example_count + 1));
    pb_profile_example *e = &s->examples[s->example_count++];
    *e                    = (pb_profile_example){.row = example->row, .line = example->line};
    PB_TRY(pb_string_puts(&e->user, example->user));
    PB_TRY(pb_string_puts(&e->answer, example->answer));
    if (r->options->tokenizer == NULL) {
        return PB_OK;
    }
    return pb_template_text(r->options->tpl, r->options->tokenizer, example->user, example->answer,
                            strict, &e->prompt, &e->completion);
}

static pb_status count_sample(const reading *r, const pb_example *example, const slot *m,
                              pb_profile *s)
{
    int64_t tokens = m->prompt_tokens + m->answer_tokens;
    int32_t before = s->texts.count, number = 0;

    if (m->status != PB_OK) {
        return PB_FAIL(m->status, "%s:%" PRId64 ": %s", s->file.path, example->line,
                       m->message.length > 0 ? m->message.data : "out of memory");
    }
    s->samples++;
    PB_TRY(pb_interned_add(&s->texts, &m->text, sizeof m->text, &number));
    s->repeated += s->texts.count == before;
    s->counts.overlap +=
        s->compared && pb_interned_find(&r->test->texts, &m->text, sizeof m->text) >= 0;
    PB_TRY(pb_profile_answers_add(&s->answers, &m->answer, example->answer));
    PB_TRY(pb_profile_lengths_add(&s->prompt_characters, m->prompt_characters));
    PB_TRY(pb_profile_lengths_add(&s->answer_characters, m->answer_characters));
    if (r->options->tokenizer != NULL) {
        PB_TRY(pb_profile_lengths_add(&s->prompt_tokens, m->prompt_tokens));
        PB_TRY(pb_profile_lengths_add(&s->answer_tokens, m->answer_tokens));
        PB_TRY(pb_profile_lengths_add(&s->row_tokens, tokens));
        s->over_cutoff += tokens > r->options->data->cutoff_tokens;
        s->too_long += m->too_long;
    }
    return s->example_count < r->options->examples ? keep_example(r, example, s) : PB_OK;
}

/* The last chunk's failure, when all rows were read and judged, is a finding. */
static pb_status take_problem(pb_status status, const pb_rows *rows, pb_profile *s)
{
    if (status != PB_ERR_FORMAT || *pb_rows_sha(rows) == '\0') {
        return PB_FRAME(status);
    }
    PB_TRY(pb_string_puts(&s->problem, pb_error_message()));
    pb_error_clear();
    return PB_OK;
}

/* A run with this model would refuse the split. */
static pb_status judge_lengths(const reading *r, pb_profile *s)
{
    const pb_data_options *o = r->options->data;

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

static pb_status read_rows(const reading *r, pb_rows *rows, chunk *c, pb_profile *s)
{
    const pb_example *examples = NULL;
    int64_t count              = 0;

    do {
        pb_status status = pb_rows_next(rows, &examples, &count);
        if (status != PB_OK) {
            PB_TRY(take_problem(status, rows, s));
            count = 0;
        }
        PB_TRY(measure_chunk(r, examples, count, c));
        for (int64_t i = 0; i < count; i++) {
            PB_TRY(count_sample(r, &examples[i], &c->slots[i], s));
        }
    } while (count > 0);
    int64_t overlap   = s->counts.overlap;
    s->counts         = pb_rows_counts(rows);
    s->counts.overlap = overlap;
    s->file           = pb_rows_get_file(rows);
    memcpy(s->sha, pb_rows_sha(rows), sizeof s->sha);
    return judge_lengths(r, s);
}

pb_status pb_profile_split(const pb_dataset *ds, pb_split split, const pb_profile_options *options,
                           const pb_profile *test, pb_profile *out)
{
    const reading r = {.ds = ds, .options = options, .test = test};
    pb_rows *rows   = NULL;
    chunk c         = {0};

    out->split    = split;
    out->compared = test != NULL;
    PB_TRY(pb_rows_open(ds, split, options->threads, &rows));
    out->file        = pb_rows_get_file(rows);
    pb_status status = read_rows(&r, rows, &c, out);
    clear_chunk(&c);
    pb_rows_close(rows);
    return status;
}

void pb_profile_clear(pb_profile *s)
{
    for (int64_t i = 0; i < s->example_count; i++) {
        pb_string_clear(&s->examples[i].user);
        pb_string_clear(&s->examples[i].answer);
        pb_string_clear(&s->examples[i].prompt);
        pb_string_clear(&s->examples[i].completion);
    }
    pb_memory_free(s->examples);
    pb_profile_lengths_clear(&s->prompt_characters);
    pb_profile_lengths_clear(&s->answer_characters);
    pb_profile_lengths_clear(&s->prompt_tokens);
    pb_profile_lengths_clear(&s->answer_tokens);
    pb_profile_lengths_clear(&s->row_tokens);
    pb_profile_answers_clear(&s->answers);
    pb_interned_clear(&s->texts);
    pb_string_clear(&s->problem);
}
