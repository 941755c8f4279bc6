// SPDX-License-Identifier: Apache-2.0
/* The data set of a cell: its sizes before the run, and its rows as tokens of the model. */
#include "running.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

static pb_status open_sets(pb_cell_env *env, const env_model *model,
                           const pb_cell_observer *observer, int64_t cutoff_tokens, cell_data *d)
{
    const pb_dataset_options *o = pb_dataset_get_options(d->dataset);
    pb_encode_options encode    = {.tpl           = model->chat,
                                   .tokenizer     = model->tokenizer,
                                   .cutoff_tokens = cutoff_tokens,
                                   .threads       = env->setup.threads,
                                   .cache         = env->cache,
                                   .stop          = observer != NULL ? observer->stop : NULL,
                                   .stop_context  = observer != NULL ? observer->context : NULL};

    char train_sha[PB_HASH_TEXT], test_sha[PB_HASH_TEXT];

    PB_TRY(env_file_hash(env, o->train_file, train_sha));
    PB_TRY(env_file_hash(env, o->test_file, test_sha));
    encode.file_sha[PB_SPLIT_TRAIN] = train_sha;
    encode.file_sha[PB_SPLIT_TEST]  = test_sha;
    PB_TRY(pb_encoded_open(d->dataset, PB_SPLIT_TEST, &encode, NULL, &d->test_set));
    return pb_encoded_open(d->dataset, PB_SPLIT_TRAIN, &encode, &d->test_set, &d->train_set);
}

/* Scores of truncated rows mean little: if most rows are cut, the cutoff is an error. */
static pb_status check_cut(const char *name, const pb_data_options *o, const pb_encoded_set *set,
                           bool train)
{
    int64_t cut  = set->truncated + set->too_long;
    int64_t rows = set->count + (train ? set->too_long : 0);

    if ((double)cut <= o->max_truncated_share * (double)rows) {
        return PB_OK;
    }
    return PB_FAIL(PB_ERR_CONFIG,
                   "data set %s: %" PRId64 " of %" PRId64 " %s rows are longer than "
                   "data.cutoff_tokens = %" PRId64 " and were cut, more than the share of %g that "
                   "data.max_truncated_share allows; raise data.cutoff_tokens (peftbench data %s "
                   "--model DIR shows the lengths) or that share",
                   name, cut, rows, train ? "training" : "test", o->cutoff_tokens,
                   o->max_truncated_share, name);
}

pb_status cell_data_open(pb_cell_env *env, const pb_cell *cell, const env_model *model,
                         const pb_cell_observer *observer, cell_data *out)
{
    const pb_data_options *o = &cell->plan->options.data;
    cell_data data           = {0};

    PB_TRY(cell_open_dataset(cell, &data.dataset));
    pb_status status = open_sets(env, model, observer, o->cutoff_tokens, &data);
    /* The tokenizer's cache would count as memory of the cell, but only in the process that
     * tokenised the rows. */
    pb_tokenizer_trim(model->tokenizer);
    if (status == PB_OK) {
        status = check_cut(cell->name.dataset, o, &data.test_set, false);
    }
    if (status == PB_OK) {
        status = check_cut(cell->name.dataset, o, &data.train_set, true);
    }
    if (status != PB_OK) {
        cell_data_close(&data);
        return PB_FRAME(status);
    }
    *out = data;
    return PB_OK;
}

void cell_data_close(cell_data *data)
{
    pb_encoded_close(&data->train_set);
    pb_encoded_close(&data->test_set);
    pb_dataset_close(data->dataset);
    *data = (cell_data){0};
}

pb_status pb_cell_prepare(pb_cell_env *env, const pb_cell *cell, const pb_cell_observer *observer)
{
    const env_model *model = env_find_model(env, cell->name.model);
    cell_data data         = {0};

    if (env->cache == NULL || model == NULL || model->status != PB_OK) {
        return PB_OK;
    }
    PB_TRY(pb_cell_check(cell));
    PB_TRY(cell_data_open(env, cell, model, observer, &data));
    cell_data_close(&data);
    return PB_OK;
}

const char *const pb_rows_source_names[] = {"guessed", "assumed", "bytes", "tokens"};

/* Where there is no tokenizer. */
enum { BYTES_PER_TOKEN = 4 };

static pb_status measure_split(const pb_dataset *dataset, pb_split split, pb_cell_split *out)
{
    const pb_example *examples = NULL;
    pb_rows *rows              = NULL;
    int64_t total = 0, count = 0;
    double prompts = 0.0, answers = 0.0, shared = 0.0;
    pb_status status;

    PB_TRY(pb_rows_open(dataset, split, 1, &rows));
    do {
        PB_TRY_GOTO(status, pb_rows_next(rows, &examples, &count), out_rows);
        for (int64_t i = 0; i < count; i++) {
            prompts += (double)strlen(examples[i].user);
            answers += (double)strlen(examples[i].answer);
            shared += (double)(examples[i].body - examples[i].user);
        }
        total += count;
    } while (count > 0);
    double tokens = (double)total * BYTES_PER_TOKEN;
    *out          = (pb_cell_split){.rows   = total,
                                    .prompt = prompts / tokens,
                                    .answer = answers / tokens + 1.0,
                                    .shared = shared / tokens};
out_rows:
    pb_rows_close(rows);
    return status;
}

static int64_t limited(int64_t rows, int64_t limit)
{
    return limit > 0 && limit < rows ? limit : rows;
}

/* What the configuration states of a data set without files; *known: it does. */
static pb_status assume_rows(const pb_cell *cell, pb_cell_rows *out, bool *known)
{
    const cell_options *o  = &cell->plan->options;
    const cell_typical *t  = &o->typical;
    const char *train_file = o->dataset.train_file;
    *known                 = *train_file != '\0' && access(train_file, F_OK) != 0 &&
             access(o->dataset.test_file, F_OK) != 0 &&
             pb_config_has(cell->plan->config, "dataset.typical");
    if (!*known) {
        return PB_OK;
    }
    if (t->train_rows < 1 || t->test_rows < 1 || t->tokens < 1 || t->answer_tokens < 1) {
        return pb_config_at(cell->plan->config, "dataset", "typical", -1,
                            PB_FAIL(PB_ERR_CONFIG,
                                    "dataset.typical needs all of train_rows, test_rows, tokens "
                                    "and answer_tokens"));
    }
    double shared   = (double)(strlen(o->dataset.instruction) / BYTES_PER_TOKEN);
    pb_cell_split s = {.prompt = (double)t->tokens, .answer = (double)t->answer_tokens};
    s.shared        = shared < s.prompt ? shared : s.prompt;
    *out            = (pb_cell_rows){.train = s, .test = s, .source = PB_ROWS_ASSUMED};
    out->train.rows = limited(t->train_rows, o->data.train_rows);
    out->test.rows  = limited(t->test_rows, o->data.test_rows);
    return PB_OK;
}

pb_status pb_cell_check_data(const pb_cell *cell, bool assume, pb_cell_rows *out)
{
    pb_dataset *dataset = NULL;
    bool known          = false;
    pb_status status;
    PB_TRY(pb_cell_check(cell));
    if (assume) {
        PB_TRY(assume_rows(cell, out, &known));
    }
    if (known) {
        return PB_OK;
    }
    PB_TRY(cell_open_dataset(cell, &dataset));
    *out = (pb_cell_rows){.source = PB_ROWS_BYTES};
    PB_TRY_GOTO(status, measure_split(dataset, PB_SPLIT_TRAIN, &out->train), out_dataset);
    PB_TRY_GOTO(status, measure_split(dataset, PB_SPLIT_TEST, &out->test), out_dataset);
out_dataset:
    pb_dataset_close(dataset);
    return status;
}

/* Sums over the rows that were tokenised. */
typedef struct counted {
    double rows, prompt, answer, shared; /* shared: by all rows */
    double prompt_bytes, answer_bytes;
    pb_rendered last;
} counted;

static int64_t common_prefix(const pb_rendered *a, const pb_rendered *b)
{
    int64_t most = a->prompt_length < b->prompt_length ? a->prompt_length : b->prompt_length;
    int64_t n    = 0;
    while (n < most && a->ids.items[n] == b->ids.items[n]) {
        n++;
    }
    return n;
}

static pb_status count_row(const env_model *m, const pb_example *e, bool corrected, counted *c)
{
    pb_rendered r = {0};
    PB_TRY(pb_template_render(m->chat, m->tokenizer, e->user, e->answer, corrected, &r));
    double shared = c->rows > 0.0 ? (double)common_prefix(&c->last, &r) : INFINITY;
    c->shared     = c->rows > 0.0 ? fmin(c->shared, shared) : shared;
    c->rows += 1.0;
    c->prompt += (double)r.prompt_length;
    c->answer += (double)(r.ids.count - r.prompt_length);
    c->prompt_bytes += (double)strlen(e->user);
    c->answer_bytes += (double)strlen(e->answer);
    pb_rendered_clear(&c->last);
    c->last = r;
    return PB_OK;
}

/* Tokenises rows spread over the first few hundred: neighbours often have a text in common, which
 * rows of a shuffled batch have not. */
static pb_status count_split(const env_model *m, const pb_dataset *dataset, pb_split split,
                             pb_cell_split *out)
{
    enum { ROWS = 32 };
    bool corrected             = pb_dataset_protocol(dataset) == PB_PROTOCOL_CORRECTED;
    const pb_example *examples = NULL;
    pb_rows *rows              = NULL;
    int64_t count              = 0;
    counted c                  = {0};
    pb_status status;
    PB_TRY(pb_rows_open(dataset, split, 1, &rows));
    PB_TRY_GOTO(status, pb_rows_next(rows, &examples, &count), out_rows);
    int64_t step = count > ROWS ? count / ROWS : 1;
    for (int64_t i = 0; i < count; i += step) {
        PB_TRY_GOTO(status, count_row(m, &examples[i], corrected, &c), out_rows);
    }
    if (c.rows > 0.0 && c.prompt_bytes > 0.0) {
        double longer = out->prompt * BYTES_PER_TOKEN / (c.prompt_bytes / c.rows);
        double more   = c.answer_bytes > 0.0
                            ? (out->answer - 1.0) * BYTES_PER_TOKEN / (c.answer_bytes / c.rows)
                            : 1.0;
        out->prompt   = longer * c.prompt / c.rows;
        out->answer   = more * c.answer / c.rows;
        out->shared   = c.rows > 1.0 ? c.shared : 0.0;
    }
out_rows:
    pb_rendered_clear(&c.last);
    pb_rows_close(rows);
    return status;
}

pb_status pb_cell_count_tokens(const pb_cell_env *env, const pb_cell *cell, pb_cell_rows *rows)
{
    const env_model *m  = env_find_model(env, cell->name.model);
    pb_dataset *dataset = NULL;
    pb_status status;
    if (rows->source != PB_ROWS_BYTES || m == NULL || m->tokenizer == NULL) {
        return PB_OK;
    }
    PB_TRY(cell_open_dataset(cell, &dataset));
    PB_TRY_GOTO(status, count_split(m, dataset, PB_SPLIT_TRAIN, &rows->train), out_dataset);
    PB_TRY_GOTO(status, count_split(m, dataset, PB_SPLIT_TEST, &rows->test), out_dataset);
    rows->source = PB_ROWS_TOKENS;
out_dataset:
    pb_tokenizer_trim(m->tokenizer);
    pb_dataset_close(dataset);
    return status;
}
