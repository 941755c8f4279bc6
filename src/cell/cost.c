// SPDX-License-Identifier: Apache-2.0
/* A first guess of what a cell costs, from its configuration alone; recorded cells will know
 * better. */
#include "internal.h"

#include <string.h>

/* Typical length of a row where nothing has been read yet. */
enum { GUESSED_TOKENS = 128, GUESSED_ROWS = 1000 };

static double cost_of(const env_model *model, const cell_options *o)
{
    double per_row   = pb_model_flops(pb_model_get_config(model->model), GUESSED_TOKENS);
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
    if (cell_options_read(cell->config, &options) == PB_OK) {
        cost = cost_of(model, &options);
        cell_options_clear(&options);
    }
    pb_error_clear();
    return cost;
}
