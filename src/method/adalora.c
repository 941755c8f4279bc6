// SPDX-License-Identifier: Apache-2.0
/* AdaLoRA (Zhang et al., "AdaLoRA: Adaptive budget allocation for parameter-efficient fine-tuning",
 * ICLR 2023), as HF PEFT computes it.
 *
 *     y = W x + s B (E ⊙ (A drop(x))),   A [init_r, in], B [out, init_r], E [init_r],
 *     s = alpha / (init_r + 1e-5)
 *
 * The loss has a penalty of orth_reg_weight · mean over all A and B of ‖A Aᵀ - I‖, ‖Bᵀ B - I‖.
 * adalora_budget.c leaves out rows during training. A and B start as N(0, 0.02²), E as zero. */
#include "adalora.h"

#include "lora.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const pb_config_field fields[] = {
    PB_FIELD_INT(adalora_options, init_r, 12, 1, 65536, "", "width at the start"),
    PB_FIELD_INT(adalora_options, target_r, 8, 1, 65536, "", "mean width at the end"),
    PB_FIELD_FLOAT(adalora_options, alpha, 16, 1e-6, 1e6, "", "numerator of the scale"),
    PB_FIELD_FLOAT(adalora_options, dropout, 0.05, 0, 0.999, "",
                   "probability of dropping an input of A in training"),
    PB_FIELD_INT(adalora_options, tinit, 0, 0, 1e9, "steps", "before the budget falls"),
    PB_FIELD_INT(adalora_options, tfinal, 0, 0, 1e9, "steps", "at the end, at the final budget"),
    PB_FIELD_INT(adalora_options, delta_t, 1, 1, 1e9, "steps", "from one allocation to the next"),
    PB_FIELD_INT(adalora_options, total_step, 0, 0, 1e9, "steps",
                 "of the schedule; 0: those of the run"),
    PB_FIELD_FLOAT(adalora_options, beta1, 0.85, 1e-9, 0.999999999, "",
                   "decay of the average of the sensitivity"),
    PB_FIELD_FLOAT(adalora_options, beta2, 0.85, 1e-9, 0.999999999, "",
                   "decay of the average of its deviation"),
    PB_FIELD_FLOAT(adalora_options, orth_reg_weight, 0.5, 0, 1e6, "", "weight of the penalty"),
    TARGET_FIELDS("k_proj v_proj down_proj",
                  "linear modules to adapt, by the end of their path; \"" ALL_LINEAR
                  "\": all of a layer"),
    PB_FIELD_TEXT_LIST(adalora_options, rank_pattern, "",
                       "\"path=1101…\": rows that are left of a module, in a pruned adapter"),
    PB_FIELD_END,
};

/* The rows that the pattern says are left; all where it does not name the module. */
static pb_status read_pattern(const pb_method *m, const pb_site *site, char *left)
{
    const adalora_options *o = m->options;
    size_t length            = strlen(site->hf_name);
    memset(left, '1', (size_t)o->init_r);
    for (int64_t i = 0; i < o->rank_pattern.count; i++) {
        const char *entry = o->rank_pattern.items[i];
        if (strncmp(entry, site->hf_name, length) != 0 || entry[length] != '=') {
            continue;
        }
        const char *bits = entry + length + 1;
        if (strlen(bits) != (size_t)o->init_r || strspn(bits, "01") != (size_t)o->init_r) {
            return method_at(m, "rank_pattern", i,
                             PB_FAIL(PB_ERR_CONFIG,
                                     "adalora: rank_pattern of %s is not one of %" PRId64 " rows",
                                     site->hf_name, o->init_r));
        }
        memcpy(left, bits, (size_t)o->init_r);
    }
    return PB_OK;
}

static pb_status declare(pb_method *m, const pb_site *site, const char *name, int64_t rows,
                         int64_t columns, pb_init_kind init)
{
    pb_trainable t = {.ndim = 2, .shape = {rows, columns}, .init = init, .scale = 0.02};
    PB_TRY(trainable_name(&t, "base_model.model.%s.%s", site->hf_name, name));
    return pb_method_declare(m, &t, NULL);
}

static pb_status plan_site(pb_method *m, const pb_site *site)
{
    const adalora_options *o = m->options;
    adalora_state *state     = m->state;
    int64_t r                = 0;
    PB_TRY(PB_ALLOC(state->left[site->index], o->init_r + 1));
    state->modules++;
    PB_TRY(read_pattern(m, site, state->left[site->index]));
    for (int64_t i = 0; i < o->init_r; i++) {
        r += state->left[site->index][i] == '1';
    }
    if (r == 0) {
        m->sites[site->index] = -1;
        return PB_OK;
    }
    PB_TRY(declare(m, site, "lora_A", r, site->in, PB_INIT_NORMAL));
    PB_TRY(declare(m, site, "lora_B", site->out, r, PB_INIT_NORMAL));
    return declare(m, site, "lora_E", r, 1, PB_INIT_ZERO);
}

/* After planning: rows of a module that is not adapted would be dropped in silence. */
static pb_status check_pattern(const pb_method *m)
{
    const adalora_options *o   = m->options;
    const adalora_state *state = m->state;
    for (int64_t i = 0; i < o->rank_pattern.count; i++) {
        const char *entry = o->rank_pattern.items[i];
        size_t length     = strcspn(entry, "=");
        bool named        = false;
        for (int64_t s = 0; s < pb_model_site_count(m->model) && !named; s++) {
            const char *path = pb_model_site_at(m->model, s)->hf_name;
            named            = state->left[s] != NULL && strlen(path) == length &&
                    strncmp(entry, path, length) == 0;
        }
        if (!named) {
            return method_at(m, "rank_pattern", i,
                             PB_FAIL(PB_ERR_CONFIG,
                                     "adalora: rank_pattern names %.*s, which is not a target; "
                                     "add it to the targets, or leave it out",
                                     (int)length, entry));
        }
    }
    return PB_OK;
}

static pb_status plan(pb_method *m)
{
    const adalora_options *o = m->options;
    adalora_state *state     = NULL;
    PB_TRY(PB_ALLOC(state, 1));
    m->state     = state;
    state->total = o->total_step;
    if (o->target_r > o->init_r) {
        return method_at(m, "target_r", -1,
                         PB_FAIL(PB_ERR_CONFIG, "adalora: target_r is above init_r"));
    }
    if (o->total_step > 0) {
        PB_TRY(adalora_check_steps(m, o->total_step));
    }
    PB_TRY(patterns_check_unique(m, "rank_pattern", &o->rank_pattern));
    PB_TRY(PB_ALLOC(state->left, pb_model_site_count(m->model)));
    PB_TRY(method_plan_sites(m, PB_SITE_LINEAR, plan_site));
    PB_TRY(check_pattern(m));
    if (m->backend == NULL) {
        return PB_OK;
    }
    int64_t matrices = 2 * state->modules;
    int64_t floats   = o->init_r * o->init_r;
    size_t doubles   = (size_t)matrices * sizeof(double);
    PB_TRY(PB_ALLOC(state->host, o->init_r));
    PB_TRY(pb_backend_alloc(m->backend, doubles + (size_t)floats * sizeof(float), &state->block));
    state->norms = pb_tensor_1d(state->block, PB_DTYPE_F64, matrices);
    state->gram  = (float *)((double *)state->block + matrices);
    return PB_OK;
}

static void destroy(pb_method *m)
{
    adalora_state *state = m->state;
    if (state == NULL) {
        return;
    }
    for (int64_t i = 0; state->left != NULL && i < pb_model_site_count(m->model); i++) {
        pb_memory_free(state->left[i]);
    }
    pb_backend_free(m->backend, state->block);
    pb_backend_free(m->backend, state->averages);
    pb_memory_free(state->left);
    pb_memory_free(state->host);
    pb_memory_free(state);
}

/* At a site ----------------------------------------------------------------------------------- */

static pb_low_rank at(const pb_method *m, const pb_site *site)
{
    const adalora_options *o = m->options;
    const pb_trainable *a    = site_trainable(m, site, A);
    const pb_trainable *b    = site_trainable(m, site, B);
    const pb_trainable *e    = site_trainable(m, site, E);
    return (pb_low_rank){
        .a       = a->value,
        .da      = a->grad,
        .b       = b->value,
        .db      = b->grad,
        .inner   = method_flat(&e->value),
        .dinner  = method_flat(&e->grad),
        .scale   = (float)(o->alpha / ((double)o->init_r + 1e-5)),
        .dropout = o->dropout,
        .mask    = low_rank_mask(m, site),
    };
}

static bool drops(const pb_method *m)
{
    return ((const adalora_options *)m->options)->dropout > 0.0;
}

static double extra_flops(const pb_method *m, int64_t tokens)
{
    double each = 0.0;
    for (int64_t i = 0; i < m->count; i += TENSORS) {
        const pb_trainable *t = &m->trainables[i];
        double r              = (double)t[A].shape[0];
        each += 2.0 * r * (double)(t[A].shape[1] + t[B].shape[0]) + r;
    }
    return each * (double)tokens;
}

/* The penalty --------------------------------------------------------------------------------- */

/* Adds to the gradient of a tensor, from what its Gram matrix has become. */
static pb_status penalty_backward(pb_method *m, pb_trainable *t, const pb_tensor *gram, bool is_b)
{
    const pb_matmul_args args = {.alpha = 1.0f, .beta = 1.0f};
    return is_b ? pb_matmul(m->backend, &t->grad, &t->value, gram, &args)
                : pb_matmul(m->backend, &t->grad, gram, &t->value, &args);
}

static pb_status penalty(pb_method *m, bool gradient, pb_tensor *sum)
{
    const adalora_options *o = m->options;
    adalora_state *state     = m->state;
    int64_t matrices         = 2 * (m->count / TENSORS);
    double weight            = o->orth_reg_weight / (double)(2 * state->modules);
    pb_tensor norms          = pb_tensor_rows(&state->norms, 0, matrices);
    for (int64_t i = 0; i < matrices; i++) {
        bool is_b       = i % 2 != 0;
        pb_trainable *t = &m->trainables[i / 2 * TENSORS + i % 2];
        int64_t r       = t->shape[is_b ? 1 : 0];
        pb_tensor gram  = pb_tensor_2d(state->gram, PB_DTYPE_F32, r, r);
        pb_tensor norm  = pb_tensor_rows(&norms, i, 1);
        PB_TRY(
            pb_matmul(m->backend, &gram, &t->value, &t->value,
                      &(pb_matmul_args){.transpose_a = is_b, .transpose_b = !is_b, .alpha = 1.0f}));
        PB_TRY(pb_identity_distance(m->backend, &norm, &gram, weight));
        PB_TRY(gradient ? penalty_backward(m, t, &gram, is_b) : PB_OK);
    }
    return pb_loss_sum(m->backend, sum, &norms, 1.0, weight);
}

/* The adapter --------------------------------------------------------------------------------- */

/* left [r]: a row whose E is zero after an allocation computes nothing, so the file lacks it. */
static pb_status rows_left(const pb_method *m, const pb_site *site, bool *left)
{
    const adalora_state *state = m->state;
    int64_t r                  = adalora_rank(m, site);
    pb_tensor host             = pb_tensor_2d(state->host, PB_DTYPE_F32, r, 1);
    PB_TRY(pb_copy(m->backend, &host, &site_trainable(m, site, E)->value));
    for (int64_t k = 0; k < r; k++) {
        left[k] = !state->cut || state->host[k] != 0.0f;
    }
    return PB_OK;
}

/* Keeps the rows that are left, or for B the columns. */
static void cut(pb_tensor *host, bool columns, const bool *left)
{
    float *data  = host->data;
    int64_t rows = host->shape[0], width = host->shape[1], used = 0, kept = 0;
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < width; j++) {
            if (left[columns ? j : i]) {
                data[used++] = data[i * width + j];
            }
        }
    }
    for (int64_t k = 0; k < (columns ? width : rows); k++) {
        kept += left[k];
    }
    *host = columns ? pb_tensor_2d(data, PB_DTYPE_F32, rows, kept)
                    : pb_tensor_2d(data, PB_DTYPE_F32, kept, width);
}

static pb_status saved_form(pb_method *m, int64_t index, pb_tensor *host)
{
    int64_t s = 0;
    while (m->sites[s] != index / TENSORS * TENSORS) {
        s++;
    }
    bool *left = NULL;
    PB_TRY(PB_ALLOC(left, m->trainables[index / TENSORS * TENSORS].shape[0]));
    pb_status status = rows_left(m, pb_model_site_at(m->model, s), left);
    if (status == PB_OK) {
        cut(host, index % TENSORS == B, left);
    }
    pb_memory_free(left);
    return status;
}

static pb_status put_rows(const pb_method *m, const pb_site *site, bool *left, pb_json *json)
{
    const adalora_options *o   = m->options;
    const adalora_state *state = m->state;
    const char *before         = state->left[site->index];
    pb_string key              = {0};
    if (adalora_rank(m, site) > 0) {
        PB_TRY(rows_left(m, site, left));
    }
    PB_TRY(pb_string_printf(&key, "%s.lora_E", site->hf_name));
    pb_json_put_array(json, key.data, PB_JSON_INLINE);
    for (int64_t i = 0, k = 0; i < o->init_r; i++) {
        pb_json_put_bool(json, NULL, before[i] == '1' && left[k]);
        k += before[i] == '1';
    }
    pb_json_end(json);
    pb_string_clear(&key);
    return PB_OK;
}

static pb_status put_pattern(const pb_method *m, pb_json *json)
{
    const adalora_options *o   = m->options;
    const adalora_state *state = m->state;
    bool *left                 = NULL;
    pb_status status           = PB_OK;
    if (!state->cut && o->rank_pattern.count == 0) {
        pb_json_put_null(json, "rank_pattern");
        return PB_OK;
    }
    PB_TRY(PB_ALLOC(left, o->init_r + 1));
    pb_json_put_object(json, "rank_pattern", PB_JSON_LINES);
    for (int64_t s = 0; s < pb_model_site_count(m->model) && status == PB_OK; s++) {
        if (state->left[s] != NULL) {
            status = put_rows(m, pb_model_site_at(m->model, s), left, json);
        }
    }
    pb_json_end(json);
    pb_memory_free(left);
    return status;
}

static const char adapter_keys[] =
    LORA_ADAPTER_KEYS " beta1 beta2 deltaT init_r orth_reg_weight target_r tfinal tinit total_step";

static void config_write(const pb_method *m, pb_json *json)
{
    const adalora_options *o   = m->options;
    const adalora_state *state = m->state;
    int64_t total              = state->total > 0 ? state->total : o->tinit + o->tfinal + 1;
    pb_json_put_int(json, "init_r", o->init_r);
    pb_json_put_int(json, "target_r", o->target_r);
    pb_json_put_number(json, "lora_alpha", o->alpha, PB_JSON_EXACT);
    adapter_write_dropout(o->dropout, "lora_dropout", json);
    pb_json_put_int(json, "tinit", o->tinit);
    pb_json_put_int(json, "tfinal", o->tfinal);
    pb_json_put_int(json, "deltaT", o->delta_t);
    pb_json_put_int(json, "total_step", total); /* HF PEFT refuses 0 */
    pb_json_put_number(json, "beta1", o->beta1, PB_JSON_EXACT);
    pb_json_put_number(json, "beta2", o->beta2, PB_JSON_EXACT);
    pb_json_put_number(json, "orth_reg_weight", o->orth_reg_weight, PB_JSON_EXACT);
    pb_json_put_bool(json, "use_dora", false);
    pb_json_put_text(json, "bias", "none");
    pb_json_put_bool(json, "fan_in_fan_out", false);
    if (json->status == PB_OK) {
        json->status = put_pattern(m, json);
    }
    targets_write(m, json);
}

/* "model.layers.0.mlp.down_proj.lora_E": [true, …], as "model.layers.0.mlp.down_proj=1…". */
static pb_status entry_read(const pb_adapter_config *c, const char *key, const char *name,
                            const json_t *rows, pb_string *entry)
{
    const char *end = strstr(name, ".lora_E");
    size_t length   = end != NULL ? (size_t)(end - name) : strlen(name);
    PB_TRY(pb_string_append(entry, name, length));
    PB_TRY(pb_string_puts(entry, "="));
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        if (!json_is_boolean(row)) {
            break;
        }
        PB_TRY(pb_string_puts(entry, json_is_true(row) ? "1" : "0"));
    }
    if (!json_is_array(rows) || entry->length != length + 1 + json_array_size(rows)) {
        return PB_FAIL(PB_ERR_FORMAT, "%s: %s must hold lists of true and false", c->path, key);
    }
    return PB_OK;
}

static pb_status pattern_read(const pb_adapter_config *c, pb_config_list *out)
{
    PB_TRY(patterns_read_each(c, "rank_pattern", "lists of true and false", entry_read, out));
    pb_string_sort((const char **)out->items, (size_t)out->count);
    return PB_OK;
}

static pb_status config_read(void *options, const pb_adapter_config *c)
{
    static const char *const refused[] = {"use_dora",
                                          "bias",
                                          "lora_bias",
                                          "fan_in_fan_out",
                                          "layer_replication",
                                          "target_parameters",
                                          "trainable_token_indices",
                                          NULL};
    adalora_options *o                 = options;
    o->alpha                           = 8.0; /* HF's defaults */
    o->dropout                         = 0.0;
    PB_TRY(adapter_refuse(c, refused));
    PB_TRY(adapter_int(c, "init_r", 1, &o->init_r));
    PB_TRY(adapter_int(c, "target_r", 1, &o->target_r));
    PB_TRY(adapter_number(c, "lora_alpha", &o->alpha));
    PB_TRY(adapter_dropout(c, "lora_dropout", &o->dropout));
    PB_TRY(adapter_int(c, "tinit", 0, &o->tinit));
    PB_TRY(adapter_int(c, "tfinal", 0, &o->tfinal));
    PB_TRY(adapter_int(c, "deltaT", 1, &o->delta_t));
    PB_TRY(adapter_int(c, "total_step", 1, &o->total_step));
    PB_TRY(adapter_number(c, "beta1", &o->beta1));
    PB_TRY(adapter_number(c, "beta2", &o->beta2));
    PB_TRY(adapter_number(c, "orth_reg_weight", &o->orth_reg_weight));
    if (!(o->alpha > 0.0)) {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "%s: lora_alpha is %g; only a scale above 0 is supported", c->path,
                       o->alpha);
    }
    if (!(o->beta1 > 0.0 && o->beta1 < 1.0 && o->beta2 > 0.0 && o->beta2 < 1.0) ||
        o->orth_reg_weight < 0.0) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s: beta1 and beta2 must be between 0 and 1, orth_reg_weight at least 0",
                       c->path);
    }
    PB_TRY(pattern_read(c, &o->rank_pattern));
    return targets_read(c, &o->where);
}

const pb_method_ops method_adalora = {
    .name                 = "adalora",
    .help                 = "low-rank updates that share a shrinking budget of rows",
    .options_size         = sizeof(adalora_options),
    .fields               = fields,
    .plan                 = plan,
    .destroy              = destroy,
    .penalty              = penalty,
    .check_steps          = adalora_check_steps,
    .begin_steps          = adalora_begin_steps,
    .after_step           = adalora_after_step,
    .archive              = adalora_archive,
    .acts                 = acts_low_rank,
    .low_rank             = at,
    .drops                = drops,
    .extra_flops          = extra_flops,
    .peft_type            = "ADALORA",
    .adapter_keys         = adapter_keys,
    .adapter_config_write = config_write,
    .adapter_config_read  = config_read,
    .saved_form           = saved_form,
};
