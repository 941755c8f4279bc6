// SPDX-License-Identifier: Apache-2.0
/* A first guess of what a cell costs, from its configuration alone; recorded cells will know
 * better. */
#include "internal.h"

#include <string.h>

/* Typical length of a row where nothing has been read yet. */
enum { GUESSED_TOKENS = 128, GUESSED_ROWS = 1000 };

static double cost_of(const env_model *model, const cell_options *o)
{
    double per_row   = pb_method_flops(NULL, model->model, GUESSED_TOKENS);
    int64_t rows     = o->data.train_rows > 0 ? o->data.train_rows : GUESSED_ROWS;
    int64_t tests    = o->data.test_rows > 0 ? o->data.test_rows : GUESSED_ROWS;
    double steps     = (double)pb_train_steps(&o->train, rows);
    double trained   = o->method == NULL || strcmp(o->method->name, "none") == 0
                           ? 0.0
                           : steps * (double)o->train.batch * 3.0;
    double generated = (double)tests * (1.0 + (double)o->dataset.max_new_tokens / GUESSED_TOKENS);
    return per_row * (trained + generated);
}

double pb_cell_cost(pb_cell_env *env, const pb_cell *cell)
{
    const env_model *model = env_find_model(env, cell->model);
    cell_options options   = {0};
    double cost            = 1.0;
    if (model == NULL || model->model == NULL) {
        return cost;
    }
    if (cell_options_read(cell, &options) == PB_OK) {
        cost = cost_of(model, &options);
        cell_options_clear(&options);
    }
    pb_error_clear();
    return cost;
}

/* Weights, value, gradient and two moments of every trainable parameter, what a layer keeps of
 * every row, and the head's chunk. */
static double modelled_bytes(const pb_model *model, const pb_method *method, const cell_options *o)
{
    const pb_model_config *c = pb_model_get_config(model);
    double rows              = (double)o->train.batch * GUESSED_TOKENS;
    double kept = 2.0 * (double)c->width + 2.0 * (double)((c->heads + c->kv_heads) * c->head_dim) +
                  2.0 * (double)c->ff;
    double layers = (double)c->layers + 1.0; /* one more for what all layers share */
    double floats = (double)pb_model_parameters(model) + 4.0 * (double)method->parameters +
                    rows * kept * layers;
    return floats * sizeof(float);
}

static pb_status predict(pb_cell_env *env, const pb_cell *cell, cell_options *o,
                         pb_cell_prediction *out)
{
    const env_model *m = env_find_model(env, cell->model);
    pb_method *method  = NULL;
    if (m == NULL || m->status != PB_OK) {
        return PB_FAIL(m != NULL ? m->status : PB_ERR_INTERNAL, "model %s: %s", cell->model,
                       m != NULL ? m->message : "not opened");
    }
    PB_TRY(pb_method_create_take(o->method, &o->method_options, cell->config, "method", m->model,
                                 NULL, (uint64_t)cell->seed, &method));
    *out = (pb_cell_prediction){
        .model_params     = pb_model_parameters(m->model),
        .trainable_params = method->parameters,
        .flops_forward_t  = pb_method_flops(method, m->model, FLOPS_TOKENS) / 1e12,
        .flops_base_t     = pb_method_flops(NULL, m->model, FLOPS_TOKENS) / 1e12,
        .memory_gb        = modelled_bytes(m->model, method, o) / 1e9,
        .seconds          = cost_of(m, o) / (0.5 * env->gemm_gflops * 1e9),
    };
    pb_method_destroy(method);
    return PB_OK;
}

pb_status pb_cell_predict(pb_cell_env *env, const pb_cell *cell, pb_cell_prediction *out)
{
    cell_options options = {0};
    PB_TRY(cell_options_read(cell, &options));
    pb_status status = predict(env, cell, &options, out);
    cell_options_clear(&options);
    return status;
}

pb_status pb_cell_check_data(const pb_cell *cell, int64_t *train_rows, int64_t *test_rows)
{
    cell_options options = {0};
    pb_dataset *dataset  = NULL;
    PB_TRY(cell_options_read(cell, &options));
    pb_status status = cell_options_open_dataset(&options, cell, &dataset);
    cell_options_clear(&options);
    PB_TRY(status);
    *train_rows = pb_dataset_count(dataset, PB_SPLIT_TRAIN);
    *test_rows  = pb_dataset_count(dataset, PB_SPLIT_TEST);
    pb_dataset_close(dataset);
    return PB_OK;
}
