// SPDX-License-Identifier: Apache-2.0
/* The expected cost of a cell: its work, the time of it, and memory. */
#include "internal.h"

#include <string.h>

/* Numbers in the keys and values of a batch of test rows and of all that they may generate. */
static double cache_size(const pb_model_config *c, const cell_options *o, const pb_cell_split *test)
{
    double rows   = (double)(o->eval.batch < test->rows ? o->eval.batch : test->rows);
    double tokens = test->prompt + cell_most_new_tokens(o);
    bool cached   = o->eval.scoring == SCORING_GENERATION;
    return cached ? 2.0 * rows * tokens * (double)(c->layers * c->kv_heads * c->head_dim) : 0.0;
}

/* Weights; value, gradient and two moments of every trainable parameter; the activations that each
 * layer keeps of `rows` rows, whose memory the test does not give back, and what the test caches.
 */
static double modelled_bytes(const pb_model *model, const pb_method *method, const cell_options *o,
                             double rows, const pb_cell_split *test)
{
    const pb_model_config *c = pb_model_get_config(model);
    double kept = 2.0 * (double)c->width + 2.0 * (double)((c->heads + c->kv_heads) * c->head_dim) +
                  2.0 * (double)c->ff;
    double layers = (double)c->layers + 1.0; /* one more for buffers that all layers share */
    double floats = (double)(pb_model_parameters(model) + method->frozen_parameters) +
                    4.0 * (double)method->parameters + rows * kept * layers +
                    cache_size(c, o, test);
    return floats * sizeof(float);
}

/* Of a training that is split, the host keeps the gradients of all parts of a step. */
static double split_bytes(const pb_method *method, const pb_train_options *o)
{
    double parts = o->split > 1 ? (double)(o->split * o->accumulate) : 0.0;
    return parts * (double)method->parameters * sizeof(float);
}

/* Weights stay on the device from one cell to the next; the host only passes them on. */
static void put_memory(const pb_cell_env *env, const pb_method *m, const cell_options *o,
                       const pb_cell_rows *rows, int64_t held, pb_cell_prediction *out)
{
    const pb_model *model = m->model;
    int64_t most          = rows->train.rows - held;
    double batch          = (double)(o->train.batch < most ? o->train.batch : most);
    if (m->ops->baseline != NULL) {
        return; /* no model is run */
    }
    double tokens   = batch * (rows->train.prompt + rows->train.answer);
    double split    = split_bytes(m, &o->train) / 1e9;
    out->memory_gb  = modelled_bytes(model, m, o, tokens, &rows->test) / 1e9 + split;
    out->weights_gb = sizeof(float) * (double)pb_model_parameters(model) / 1e9;
    if (env->on_device) {
        out->weights_gb = cell_device_host_bytes(model) / 1e9;
        out->memory_gb  = out->weights_gb + split;
        double cache    = cache_size(pb_model_get_config(model), o, &rows->test) *
                       (double)pb_dtype_size(env->setup.dtype);
        out->device_gb =
            (cell_device_bytes(model, m, env->setup.dtype, tokens, batch * rows->train.answer) +
             cache) /
            1e9;
        out->device_weights_gb = cell_device_weights(model, env->setup.dtype) / 1e9;
    }
}

/* Rows that turn out too long for the cutoff may leave fewer steps. */
static pb_status check_steps(const pb_cell *cell, pb_method *method, const pb_cell_split *train,
                             int64_t held)
{
    return method->parameters == 0
               ? PB_OK
               : pb_method_check_steps(
                     method, cell->plan->config, "method",
                     pb_train_steps(&cell->plan->options.train, train->rows - held));
}

/* Rows of the training file that are kept for validation. */
static pb_status count_held(const cell_options *o, const pb_cell_rows *rows, int64_t *held)
{
    return pb_split_validation(rows->train.rows, o->data.validation_share, 0, NULL, held);
}

static pb_status measure(const pb_cell_env *env, const pb_cell *cell, const pb_cell_rows *known,
                         pb_method *method, pb_cell_prediction *out)
{
    const cell_options *o = &cell->plan->options;
    const pb_model *model = method->model;
    pb_cell_rows rows     = cell_rows_of(o, known);
    double bytes = (double)pb_model_parameters(model) * (double)pb_dtype_size(env->setup.dtype);
    int64_t held = 0;
    pb_cell_prediction p = {
        .model_params     = pb_model_parameters(model),
        .trainable_params = method->parameters,
        .flops_forward_t  = pb_method_flops(method, model, FLOPS_TOKENS) / 1e12,
        .flops_base_t     = pb_method_flops(NULL, model, FLOPS_TOKENS) / 1e12,
    };
    PB_TRY(count_held(o, &rows, &held));
    if (known != NULL) {
        PB_TRY(check_steps(cell, method, &rows.train, held));
    }
    p.steps   = method->parameters > 0 ? pb_train_steps(&o->train, rows.train.rows - held) : 0;
    p.work    = cell_work(method, o, &rows, held, bytes);
    p.seconds = pb_rates_seconds(&env->rates, &p.work);
    put_memory(env, method, o, &rows, held, &p);
    *out = p;
    return PB_OK;
}

static pb_status predict(const pb_cell_env *env, const pb_cell *cell, const pb_cell_rows *rows,
                         pb_cell_prediction *out)
{
    const env_model *model = env_find_model(env, cell->name.model);
    pb_method *method      = NULL;
    PB_TRY(pb_cell_check(cell));
    PB_TRY(pb_cell_env_check_model(env, cell->name.model));
    PB_TRY(cell_create_method(cell, model->model, NULL, &method));
    pb_status status = measure(env, cell, rows, method, out);
    pb_method_destroy(method);
    return status;
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
