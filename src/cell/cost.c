// SPDX-License-Identifier: Apache-2.0
/* The expected cost of a cell, from its shapes and, if they were read, its rows. */
#include "internal.h"

#include <math.h>
#include <string.h>

/* Typical sizes, used before anything has been read: tokens of a prompt and of an answer that is a
 * label, rows, and bytes of a token. */
enum { GUESSED_TOKENS = 128, GUESSED_LABEL_TOKENS = 4, GUESSED_ROWS = 1000, BYTES_PER_TOKEN = 4 };

/* One split as the model sees it. */
typedef struct work {
    int64_t rows;
    double prompt, answer; /* tokens of a row, including the end of the answer */
} work;

static double tokens_of(double bytes)
{
    return ceil(bytes / BYTES_PER_TOKEN);
}

static double most_new_tokens(const cell_options *o)
{
    return (double)(o->eval.max_new_tokens > 0 ? o->eval.max_new_tokens
                                               : o->dataset.max_new_tokens);
}

/* The size of a split that was read, or a guess (NULL); answers have at most `most` tokens. */
static work work_of(const cell_options *o, const pb_cell_split *split, int64_t limit, double most)
{
    double cutoff = (double)o->data.cutoff_tokens;
    double answer = o->dataset.labels.count > 0 ? GUESSED_LABEL_TOKENS : most_new_tokens(o);
    work w = {.rows = limit > 0 ? limit : GUESSED_ROWS, .prompt = GUESSED_TOKENS, .answer = answer};
    if (split != NULL) {
        w = (work){.rows   = split->rows,
                   .prompt = tokens_of(split->prompt_bytes),
                   .answer = tokens_of(split->answer_bytes) + 1};
    }
    w.answer = fmin(w.answer, fmin(most, cutoff));
    w.prompt = fmin(w.prompt, cutoff - w.answer);
    return w;
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

/* Operations of one row: a forward pass, with the head at the answer only, and in training the
 * backward through the activations down to the lowest trained layer and the gradients at sites. */
static double row_flops(const pb_method *m, const work *w, bool training)
{
    const pb_model_config *c = pb_model_get_config(m->model);
    int64_t tokens           = (int64_t)(w->prompt + w->answer);
    bool virtual             = m->ops->virtual_rows != NULL;
    double n                 = (double)(tokens + (virtual ? m->ops->virtual_rows(m) : 0));
    double head              = 2.0 * (double)c->vocab * (double)c->width;
    double layers            = pb_method_flops(m, m->model, tokens) - n * head;
    double forward           = layers + w->answer * head;
    if (!training) {
        return forward;
    }
    double share    = 1.0 - (double)cell_lowest_layer(m) / (double)c->layers;
    double backward = layers * share + w->answer * head;
    return forward + backward + 2.0 * n * trained_at_sites(m);
}

/* Operations of training and testing, without validation. A test row passes once,
 * with its prompt and the generated answer, because earlier keys and values are kept. */
static double flops_of(const pb_method *m, const cell_options *o, const pb_cell_rows *rows)
{
    if (m->ops->baseline != NULL) {
        return 0.0; /* no model is run */
    }
    work train = work_of(o, rows != NULL ? &rows->train : NULL, o->data.train_rows, INFINITY);
    work test =
        work_of(o, rows != NULL ? &rows->test : NULL, o->data.test_rows, most_new_tokens(o));
    double steps = m->parameters > 0 ? (double)pb_train_steps(&o->train, train.rows) : 0.0;
    return steps * (double)(o->train.batch * o->train.accumulate) * row_flops(m, &train, true) +
           (double)test.rows * row_flops(m, &test, false);
}

/* Weights; value, gradient and two moments of every trainable parameter; activations that each
 * layer keeps of every row; and the chunk of the head. */
static double modelled_bytes(const pb_model *model, const pb_method *method, const cell_options *o)
{
    const pb_model_config *c = pb_model_get_config(model);
    double rows              = (double)o->train.batch * GUESSED_TOKENS;
    double kept = 2.0 * (double)c->width + 2.0 * (double)((c->heads + c->kv_heads) * c->head_dim) +
                  2.0 * (double)c->ff;
    double layers = (double)c->layers + 1.0; /* one more for buffers that all layers share */
    double floats = (double)(pb_model_parameters(model) + method->frozen_parameters) +
                    4.0 * (double)method->parameters + rows * kept * layers;
    return floats * sizeof(float);
}

/* Weights stay on the device from one cell to the next; the host only passes them on. */
static void put_memory(const pb_cell_env *env, const pb_method *m, const cell_options *o,
                       const pb_cell_rows *rows, pb_cell_prediction *out)
{
    const pb_model *model = m->model;
    double batch          = (double)o->train.batch;
    work w = work_of(o, rows != NULL ? &rows->train : NULL, o->data.train_rows, INFINITY);
    if (m->ops->baseline != NULL) {
        return; /* no model is run */
    }
    out->memory_gb  = modelled_bytes(model, m, o) / 1e9;
    out->weights_gb = sizeof(float) * (double)pb_model_parameters(model) / 1e9;
    if (env->on_device) {
        out->memory_gb  = cell_device_host_bytes(model) / 1e9;
        out->weights_gb = out->memory_gb;
        out->device_gb  = cell_device_bytes(model, m, env->setup.dtype,
                                            batch * (w.prompt + w.answer), batch * w.answer) /
                         1e9;
        out->device_weights_gb = cell_device_weights(model, env->setup.dtype) / 1e9;
    }
}

/* Rows that turn out too long for the cutoff may leave fewer steps. */
static pb_status check_steps(const pb_cell *cell, pb_method *method, const pb_cell_split *train)
{
    const cell_options *o = &cell->plan->options;
    int64_t held          = 0;
    PB_TRY(pb_split_validation(train->rows, o->data.validation_share, 0, NULL, &held));
    return method->parameters == 0
               ? PB_OK
               : pb_method_check_steps(method, cell->plan->config, "method",
                                       pb_train_steps(&o->train, train->rows - held));
}

static pb_status predict(const pb_cell_env *env, const pb_cell *cell, const pb_cell_rows *rows,
                         pb_cell_prediction *out)
{
    const env_model *model = env_find_model(env, cell->name.model);
    const cell_options *o  = &cell->plan->options;
    pb_method *method      = NULL;
    PB_TRY(pb_cell_check(cell));
    PB_TRY(pb_cell_env_check_model(env, cell->name.model));
    PB_TRY(cell_create_method(cell, model->model, NULL, &method));
    pb_status status = rows != NULL ? check_steps(cell, method, &rows->train) : PB_OK;
    if (status != PB_OK) {
        pb_method_destroy(method);
        return status;
    }
    double flops = flops_of(method, o, rows);
    *out         = (pb_cell_prediction){
                .model_params     = pb_model_parameters(method->model),
                .trainable_params = method->parameters,
                .flops_forward_t  = pb_method_flops(method, method->model, FLOPS_TOKENS) / 1e12,
                .flops_base_t     = pb_method_flops(NULL, method->model, FLOPS_TOKENS) / 1e12,
                .flops            = flops,
                .seconds          = flops / (0.5 * env->gemm_gflops * 1e9),
    };
    put_memory(env, method, o, rows, out);
    pb_method_destroy(method);
    return PB_OK;
}

pb_status pb_cell_predict(const pb_cell_env *env, const pb_cell *cell, const pb_cell_rows *rows,
                          pb_cell_prediction *out)
{
    static const pb_cell_rows guessed = {0};
    cell_plan *plan                   = cell->plan;
    const pb_cell_rows *key           = rows != NULL ? rows : &guessed;

    if (!plan->predicted || memcmp(&plan->rows, key, sizeof *key) != 0) {
        PB_TRY(predict(env, cell, rows, &plan->prediction));
        plan->rows      = *key;
        plan->predicted = true;
    }
    *out = plan->prediction;
    return PB_OK;
}
