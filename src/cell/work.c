// SPDX-License-Identifier: Apache-2.0
/* The work of a cell, from its shapes and, if they were read, its rows. */
#include "internal.h"

#include "pb/network.h"

#include <math.h>

/* Typical sizes, used before anything has been read: tokens of a prompt and of an answer that is a
 * label, and rows. */
enum { GUESSED_TOKENS = 128, GUESSED_LABEL_TOKENS = 4, GUESSED_ROWS = 1000 };

double cell_most_new_tokens(const cell_options *o)
{
    return (double)(o->eval.max_new_tokens > 0 ? o->eval.max_new_tokens
                                               : o->dataset.max_new_tokens);
}

static pb_cell_split guess(const cell_options *o, int64_t limit)
{
    bool labels = o->dataset.labels.count > 0;
    return (pb_cell_split){.rows   = limit > 0 ? limit : GUESSED_ROWS,
                           .prompt = GUESSED_TOKENS,
                           .answer = labels ? GUESSED_LABEL_TOKENS : cell_most_new_tokens(o)};
}

/* What the cutoff leaves, with answers of `most` tokens at most. */
static pb_cell_split cut(const cell_options *o, pb_cell_split s, double most)
{
    double cutoff = (double)o->data.cutoff_tokens;
    s.answer      = fmin(s.answer, fmin(most, cutoff));
    s.prompt      = fmin(s.prompt, cutoff - s.answer);
    s.shared      = fmin(s.shared, s.prompt);
    return s;
}

pb_cell_rows cell_rows_of(const cell_options *o, const pb_cell_rows *rows)
{
    pb_cell_rows r = rows != NULL ? *rows
                                  : (pb_cell_rows){.train = guess(o, o->data.train_rows),
                                                   .test  = guess(o, o->data.test_rows)};
    r.train        = cut(o, r.train, INFINITY);
    r.test         = cut(o, r.test, cell_most_new_tokens(o));
    return r;
}

/* Trained numbers that are multiplied by every token. Tensors with a row per vocabulary entry are
 * used at label positions only, and encoders of virtual rows and keys see no tokens. */
static double trained_at_sites(const pb_method *m)
{
    int64_t vocab  = pb_model_get_config(m->model)->vocab;
    double numbers = 0.0;
    for (int64_t i = 0; m->ops->acts != NULL && i < m->count; i++) {
        const pb_trainable *t = &m->trainables[i];
        double size           = t->shape[0] != vocab ? 1.0 : 0.0;
        for (int d = 0; d < t->ndim; d++) {
            size *= (double)t->shape[d];
        }
        numbers += size;
    }
    return numbers;
}

static double head_flops(const pb_model_config *c)
{
    return 2.0 * (double)c->vocab * (double)c->width;
}

/* The last layer has keys and values of all rows, the rest of it acts on `outputs` of `rows` rows:
 * the share of all layers' work that is done. */
static double layers_share(const pb_model_config *c, double outputs, double rows)
{
    double keys = 2.0 * (double)(c->kv_heads * c->head_dim);
    double all  = keys + 2.0 * (double)(c->heads * c->head_dim) + 3.0 * (double)c->ff;
    return 1.0 - (1.0 - outputs / rows) * (1.0 - keys / all) / (double)c->layers;
}

/* Mean rows that a sample adds to a batch, virtual ones included. */
typedef struct sample {
    double rows;    /* that are computed */
    double layers;  /* FLOP of the layers over them */
    double outputs; /* rows that the head sees */
} sample;

/* Of `tokens` tokens the first `shared` are computed once for a batch. A row sees those before it:
 * the half of the square that pb_method_flops counts. */
static sample sample_of(const pb_method *m, double tokens, double shared, double batch,
                        double outputs)
{
    const pb_model_config *c = pb_model_get_config(m->model);
    double before            = m->ops->virtual_rows != NULL ? (double)m->ops->virtual_rows(m) : 0.0;
    double keys              = m->ops->virtual_keys != NULL ? (double)m->ops->virtual_keys(m) : 0.0;
    double whole             = fmax(rint(tokens), 1.0) + before;
    double length            = tokens + before;
    double once              = (shared < PB_SHARE_MIN ? 0.0 : shared) + before;
    double rows              = length - once + once / batch;
    double pair              = 4.0 * (double)(c->head_dim * c->heads * c->layers);
    double seen =
        (length - once) * ((length + once) / 2.0 + keys) + once / batch * (once / 2.0 + keys);
    double products = pb_method_flops(m, m->model, (int64_t)(whole - before)) -
                      whole * head_flops(c) - pair * whole * (whole + keys);
    double layers = products * rows / whole + pair * seen;
    return (sample){.rows    = rows,
                    .layers  = layers * layers_share(c, fmin(outputs, rows), rows),
                    .outputs = outputs};
}

/* A prefix cannot be shared where dropout acts. */
static double train_flops(const pb_method *m, const cell_options *o, const pb_cell_split *s)
{
    const pb_model_config *c = pb_model_get_config(m->model);
    bool drops               = m->ops->drops != NULL && m->ops->drops(m);
    double batch             = drops ? 1.0 : (double)o->train.batch;
    sample x     = sample_of(m, s->prompt + s->answer, drops ? 0.0 : s->shared, batch, s->answer);
    double share = 1.0 - (double)cell_lowest_layer(m) / (double)c->layers;
    double done  = layers_share(c, fmin(x.outputs, x.rows), x.rows);
    double head  = 2.0 * x.outputs * head_flops(c);
    double gradients = 2.0 * x.rows * trained_at_sites(m) * done;
    return x.layers * (1.0 + share) + head + gradients;
}

static double forward_flops(const pb_method *m, const pb_cell_split *s, double batch,
                            double outputs)
{
    const pb_model_config *c = pb_model_get_config(m->model);
    sample x                 = sample_of(m, s->prompt, s->shared, batch, outputs);
    return x.layers + outputs * head_flops(c);
}

/* One token more, after all others. */
static double token_flops(const pb_method *m, const pb_cell_split *s)
{
    double tokens = fmax(rint(s->prompt + s->answer), 1.0);
    return pb_method_flops(m, m->model, (int64_t)tokens) / tokens;
}

static double batches(double rows, int64_t batch)
{
    return ceil(rows / (double)batch);
}

static int64_t validations(const pb_train_options *o, int64_t steps)
{
    int64_t count = o->evaluate_share > 0.0 ? (int64_t)ceil(1.0 / o->evaluate_share) : 1;
    return steps < 1 ? 1 : count < steps ? count : steps;
}

double cell_later_passes(const cell_eval_options *o, bool labels, double more)
{
    bool drafts = labels && (cell_without(o) & 1U << PB_SAVING_DRAFTS) == 0;
    return drafts ? fmin(more, 1.0) : more;
}

/* The answer is generated, or every class is compared. */
static void add_test(const pb_method *m, const cell_options *o, const pb_cell_split *s,
                     double bytes, pb_work *w)
{
    double rows   = (double)s->rows;
    double passes = batches(rows, o->eval.batch);
    double more   = s->answer - 1.0;
    if (o->eval.scoring == SCORING_LIKELIHOOD) {
        double classes = (double)o->dataset.labels.count;
        w->amount[PB_WORK_FORWARD] += rows * (forward_flops(m, s, (double)o->eval.batch, 1.0) +
                                              classes * more * token_flops(m, s));
        w->amount[PB_WORK_PASSES] += passes;
        return;
    }
    w->amount[PB_WORK_FORWARD] +=
        rows * (forward_flops(m, s, (double)o->eval.batch, 1.0) + more * token_flops(m, s));
    double later = cell_later_passes(&o->eval, o->dataset.labels.count > 0, more);
    w->amount[PB_WORK_PASSES] += passes * (1.0 + later);
    w->amount[PB_WORK_READ] += passes * later * bytes;
}

pb_work cell_work(const pb_method *m, const cell_options *o, const pb_cell_rows *rows, int64_t held,
                  double bytes)
{
    pb_work w     = {.amount = {[PB_WORK_CELLS] = 1.0}};
    int64_t count = rows->train.rows - held;
    int64_t steps = m->parameters > 0 ? pb_train_steps(&o->train, count) : 0;
    if (m->ops->baseline != NULL) {
        return w; /* no model is run */
    }
    double batch           = (double)o->train.batch;
    double passes          = (double)steps * (double)o->train.accumulate;
    double epochs          = passes / batches((double)count, o->train.batch);
    double again           = (double)validations(&o->train, steps) * (double)held;
    pb_cell_split labelled = rows->train;
    labelled.prompt += labelled.answer;
    w.amount[PB_WORK_TRAIN]   = epochs * (double)count * train_flops(m, o, &rows->train);
    w.amount[PB_WORK_FORWARD] = again * forward_flops(m, &labelled, batch, rows->train.answer);
    w.amount[PB_WORK_PASSES]  = passes + batches(again, o->train.batch);
    add_test(m, o, &rows->test, bytes, &w);
    return w;
}
