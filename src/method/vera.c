// SPDX-License-Identifier: Apache-2.0
/* VeRA (Kopiczko et al., "VeRA: Vector-based random matrix adaptation", ICLR 2024).
 *
 *     y = W x + b ⊙ (B (d ⊙ (A drop(x)))),   d [r], b [out]
 *
 * A [r, largest in] and B [largest out, r] are random, frozen and the same at all modules, which
 * use their first columns and rows. They are what torch draws with the seed projection_prng_key, as
 * in HF PEFT: uniform with a variance of 2 / columns. d starts as d_initial, b as zero. */
#include "low_rank.h"

#include "pb/memory.h"
#include "pb/permutation.h"

#include <math.h>

typedef struct vera_options {
    method_targets where;
    int64_t r;
    double d_initial, dropout;
    int64_t projection_prng_key;
    bool save_projection;
} vera_options;

static const pb_config_field fields[] = {
    PB_FIELD_INT(vera_options, r, 256, 1, 65536, "", "width of the adapter"),
    PB_FIELD_FLOAT(vera_options, d_initial, 0.1, -1e6, 1e6, "", "first value of d"),
    PB_FIELD_FLOAT(vera_options, dropout, 0, 0, 0.999, "",
                   "probability of dropping an input of A in training"),
    PB_FIELD_INT(vera_options, projection_prng_key, 0, 0, 4294967295.0, "",
                 "seed of A and B, whatever the seed of the run"),
    PB_FIELD_BOOL(vera_options, save_projection, true,
                  "save A and B with the adapter, not their seed alone"),
    TARGET_FIELDS("k_proj v_proj down_proj",
                  "linear modules to adapt, by the end of their path; \"" ALL_LINEAR
                  "\": all of a layer"),
    PB_FIELD_END,
};

static const char adapter_keys[] =
    "bias d_initial fan_in_fan_out init_weights layers_pattern layers_to_transform "
    "projection_prng_key r save_projection target_modules vera_dropout";

static pb_status plan_site(pb_method *m, const pb_site *site)
{
    const vera_options *o = m->options;
    pb_trainable d = {.ndim = 1, .shape = {o->r}, .init = PB_INIT_CONSTANT, .scale = o->d_initial};
    pb_trainable b = {.ndim = 1, .shape = {site->out}, .init = PB_INIT_ZERO};
    PB_TRY(trainable_name(&d, "base_model.model.%s.vera_lambda_d", site->hf_name));
    PB_TRY(trainable_name(&b, "base_model.model.%s.vera_lambda_b", site->hf_name));
    PB_TRY(pb_method_declare(m, &d, NULL));
    return pb_method_declare(m, &b, NULL);
}

/* A and B come last, when the largest module is known. */
static pb_status plan(pb_method *m)
{
    const vera_options *o = m->options;
    int64_t in = 0, out = 0;
    PB_TRY(method_plan_sites(m, PB_SITE_LINEAR, plan_site));
    for (int64_t i = 0; i < pb_model_site_count(m->model); i++) {
        const pb_site *site = pb_model_site_at(m->model, i);
        if (m->sites[i] >= 0) {
            in  = site->in > in ? site->in : in;
            out = site->out > out ? site->out : out;
        }
    }
    pb_trainable a = {.name    = "base_model.vera_A",
                      .ndim    = 2,
                      .shape   = {o->r, in},
                      .frozen  = true,
                      .derived = !o->save_projection};
    pb_trainable b = {.name    = "base_model.vera_B",
                      .ndim    = 2,
                      .shape   = {out, o->r},
                      .frozen  = true,
                      .derived = !o->save_projection};
    PB_TRY(pb_method_declare(m, &a, NULL));
    return pb_method_declare(m, &b, NULL);
}

/* Kaiming's uniform distribution for the gain of a ReLU, after `skip` numbers. */
static pb_status fill(pb_method *m, pb_trainable *t, int64_t skip)
{
    const vera_options *o = m->options;
    int64_t count         = pb_tensor_count(&t->value);
    float bound           = (float)(sqrt(3.0) * (sqrt(2.0) / sqrt((double)t->shape[1])));
    float *host           = NULL;
    PB_TRY(PB_ALLOC(host, count));
    pb_uniform_torch((uint64_t)o->projection_prng_key, skip, -bound, bound, count, host);
    pb_tensor from   = pb_tensor_1d(host, PB_DTYPE_F32, count);
    pb_tensor to     = method_flat(&t->value);
    pb_status status = pb_copy(m->backend, &to, &from);
    pb_memory_free(host);
    return status;
}

static pb_status initialise(pb_method *m)
{
    pb_trainable *a = &m->trainables[m->count - 2];
    PB_TRY(fill(m, a, 0));
    return fill(m, a + 1, pb_tensor_count(&a->value));
}

static pb_low_rank at(const pb_method *m, const pb_site *site)
{
    const pb_trainable *d      = site_trainable(m, site, 0);
    const pb_trainable *b      = site_trainable(m, site, 1);
    const pb_trainable *shared = &m->trainables[m->count - 2];
    return (pb_low_rank){
        .a       = pb_tensor_columns(&shared[0].value, 0, site->in),
        .b       = pb_tensor_rows(&shared[1].value, 0, site->out),
        .inner   = d->value,
        .dinner  = d->grad,
        .outer   = b->value,
        .douter  = b->grad,
        .scale   = 1.0f,
        .dropout = ((const vera_options *)m->options)->dropout,
        .mask    = low_rank_mask(m, site),
    };
}

static bool drops(const pb_method *m)
{
    return ((const vera_options *)m->options)->dropout > 0.0;
}

/* Both products, and one operation per element for d and for b, twice with the addition to y. */
static double extra_flops(const pb_method *m, int64_t tokens)
{
    double r    = (double)((const vera_options *)m->options)->r;
    double each = 0.0;
    for (int64_t i = 0; i < pb_model_site_count(m->model); i++) {
        const pb_site *site = pb_model_site_at(m->model, i);
        if (m->sites[site->index] >= 0) {
            each += 2.0 * r * (double)(site->in + site->out) + r + 2.0 * (double)site->out;
        }
    }
    return each * (double)tokens;
}

static void config_write(const pb_method *m, pb_json *json)
{
    const vera_options *o = m->options;
    pb_json_put_int(json, "r", o->r);
    pb_json_put_number(json, "d_initial", o->d_initial, PB_JSON_EXACT);
    adapter_write_dropout(o->dropout, "vera_dropout", json);
    pb_json_put_int(json, "projection_prng_key", o->projection_prng_key);
    pb_json_put_bool(json, "save_projection", o->save_projection);
    pb_json_put_text(json, "bias", "none");
    pb_json_put_bool(json, "fan_in_fan_out", false);
    targets_write(m, json);
}

/* torch takes any integer, and its generator the lower 32 bits. */
static pb_status key_read(vera_options *o, const pb_adapter_config *c)
{
    const json_t *key = json_object_get(c->json, "projection_prng_key");
    if (key == NULL) {
        return PB_OK;
    }
    if (!json_is_integer(key)) {
        return PB_FAIL(PB_ERR_FORMAT, "%s: projection_prng_key must be an integer", c->path);
    }
    o->projection_prng_key = (int64_t)((uint64_t)json_integer_value(key) & UINT32_MAX);
    return PB_OK;
}

static pb_status config_read(void *options, const pb_adapter_config *c)
{
    static const char *const refused[] = {"bias", "fan_in_fan_out", NULL};
    vera_options *o                    = options;
    PB_TRY(adapter_refuse(c, refused));
    PB_TRY(adapter_int(c, "r", 1, &o->r));
    PB_TRY(adapter_number(c, "d_initial", &o->d_initial));
    PB_TRY(adapter_dropout(c, "vera_dropout", &o->dropout));
    PB_TRY(key_read(o, c));
    PB_TRY(adapter_bool(c, "save_projection", &o->save_projection));
    return targets_read(c, &o->where);
}

const pb_method_ops method_vera = {
    .name                 = "vera",
    .help                 = "trained vectors around random, shared low-rank factors",
    .options_size         = sizeof(vera_options),
    .fields               = fields,
    .plan                 = plan,
    .initialise           = initialise,
    .acts                 = acts_low_rank,
    .low_rank             = at,
    .drops                = drops,
    .extra_flops          = extra_flops,
    .peft_type            = "VERA",
    .adapter_keys         = adapter_keys,
    .adapter_config_write = config_write,
    .adapter_config_read  = config_read,
};
