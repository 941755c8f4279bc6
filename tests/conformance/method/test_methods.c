// SPDX-License-Identifier: Apache-2.0
/* The same checks over every registered method: a repeatable plan, gradients
 * that start at zero, paired slots, and every backward against central
 * differences of its forward. */
#include "method_fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Loss differences are sums in double of F32 results: with this step their
 * rounding and the third derivative are both below a thousandth of the largest
 * gradient of a tensor. */
static const double step      = 4e-3;
static const double tolerance = 3e-3;

/* Options that reach every branch; several entries per method. */
static const struct {
    const char *method, *options;
} cases[] = {
    {"none", ""},
    {"full", ""},
    {"lora", "r = 3; alpha = 6.0; dropout = 0.0;"},
    {"lora", "r = 20; rslora = true; dropout = 0.3; targets = [\"q_proj\", "
             "\"up_proj\"];"},
    {"ia3", ""},
    {"ia3", "feedforward_side = \"output\";"},
    {"lntuning", ""},
    {"bitfit", ""},
    {"prompt", "num_virtual_tokens = 3; init = \"normal\";"},
    {"prompt", "num_virtual_tokens = 3; init = \"vocabulary\";"},
    {"prefix", "num_virtual_tokens = 3; projection = false;"},
    {"prefix", "num_virtual_tokens = 3; projection = true; encoder_hidden_size = 5;"},
    {"ptuning", "num_virtual_tokens = 3; encoder = \"mlp\"; encoder_hidden_size = 5;"},
    {"ptuning", "num_virtual_tokens = 4; encoder = \"lstm\"; encoder_hidden_size = 3;"},
    {"ptuning", "num_virtual_tokens = 3; encoder = \"none\";"},
    {"bn_adapter", "size = 3; activation = \"tanh\";"},
    {"bn_adapter", "placement = \"pfeiffer\"; activation = \"silu\"; reduction_factor = 4;"},
    {"svft", "pattern = \"plain\"; targets = [\"k_proj\"];"},
    {"svft", "off_diagonals = 3; targets = [\"k_proj\", \"o_proj\", \"up_proj\", \"down_proj\"];"},
    {"svft", "pattern = \"random\"; targets = [\"k_proj\", \"down_proj\"];"},
    {"svft", "pattern = \"top_k\"; off_diagonals = 99; targets = [\"o_proj\"];"},
};

enum { CASES = sizeof cases / sizeof cases[0], ROWS = 5 };

static void every_registered_method_has_a_case(void **state)
{
    (void)state;
    for (const pb_method_ops *const *ops = pb_method_registry(); *ops != NULL; ops++) {
        bool found =
            (*ops)->baseline != NULL; /* baselines have no tensors; see unit_method_baseline */
        for (int i = 0; i < CASES; i++) {
            found = found || strcmp(cases[i].method, (*ops)->name) == 0;
        }
        if (!found) {
            fail_msg("no case for method %s", (*ops)->name);
        }
        assert_non_null((*ops)->help);
    }
}

#define BOTH(a, b) assert_true((ops->a != NULL) == (ops->b != NULL))

static void slots_come_in_pairs(void **state)
{
    (void)state;
    for (const pb_method_ops *const *entry = pb_method_registry(); *entry != NULL; entry++) {
        const pb_method_ops *ops = *entry;
        assert_non_null(ops->plan);
        BOTH(linear_input_forward, linear_input_backward);
        BOTH(linear_output_forward, linear_output_backward);
        BOTH(rows_forward, rows_backward);
        BOTH(rows_forward, virtual_rows);
        BOTH(keys_forward, keys_backward);
        BOTH(keys_forward, virtual_keys);
        BOTH(adapter_config_write, adapter_config_read);
        BOTH(adapter_config_write, peft_type);
        assert_true(ops->adapter_keys == NULL || ops->peft_type != NULL);
        bool at_sites = ops->bind != NULL || ops->linear_input_forward != NULL ||
                        ops->linear_output_forward != NULL;
        assert_true(at_sites == (ops->acts != NULL));
        assert_true(ops->kept_width == NULL || ops->linear_output_forward != NULL);
        assert_true(ops->baseline == NULL || (!at_sites && ops->rows_forward == NULL &&
                                              ops->keys_forward == NULL && ops->peft_type == NULL));
        assert_true((ops->fields != NULL) == (ops->options_size > 0));
    }
}

static void plan_and_values_repeat(void **state)
{
    (void)state;
    method_fixture f;
    method_fixture_open(&f, false, false);
    for (int i = 0; i < CASES; i++) {
        pb_method *a = method_fixture_make(&f, cases[i].method, cases[i].options, 5);
        pb_method *b = method_fixture_make(&f, cases[i].method, cases[i].options, 5);
        pb_method *c = method_fixture_make(&f, cases[i].method, cases[i].options, 6);
        assert_int_equal(a->count, b->count);
        int64_t total = 0;
        bool random =
            strcmp(cases[i].options, "num_virtual_tokens = 3; init = \"vocabulary\";") == 0;
        for (int64_t t = 0; t < a->count; t++) {
            const pb_trainable *x = &a->trainables[t];
            const pb_trainable *y = &b->trainables[t];
            assert_string_equal(x->name, y->name);
            assert_true(pb_tensor_same_shape(&x->value, &y->value));
            assert_true(host_equal(f.backend, &x->value, &y->value));
            assert_true(pb_tensor_is_none(&x->grad) == x->frozen);
            if (x->frozen) {
                continue;
            }
            assert_ptr_equal(x->value.data, (float *)a->values.data + total);
            assert_ptr_equal(x->grad.data, (float *)a->grads.data + total);
            total += pb_tensor_count(&x->value);
            random = random || x->init == PB_INIT_NORMAL || x->init == PB_INIT_UNIFORM;
        }
        assert_int_equal(total, a->parameters);
        float *grads = host_values(f.backend, &a->grads);
        for (int64_t p = 0; p < a->parameters; p++) {
            assert_true(grads[p] == 0.0f);
        }
        free(grads);
        if (a->parameters > 0) { /* another seed gives other values where chance decides */
            assert_true(host_equal(f.backend, &a->values, &c->values) != random);
        }
        pb_method_destroy(a);
        pb_method_destroy(b);
        pb_method_destroy(c);
    }
    method_fixture_close(&f);
}

static void bound_sites_are_those_that_act(void **state)
{
    (void)state;
    method_fixture f;
    method_fixture_open(&f, false, false);
    for (int i = 0; i < CASES; i++) {
        pb_method *m = method_fixture_make(&f, cases[i].method, cases[i].options, 5);
        pb_binding bindings[64];
        memset(bindings, 0, sizeof bindings);
        if (m->ops->bind != NULL) {
            assert_ok(m->ops->bind(m, bindings));
        }
        for (int64_t s = 0; s < pb_model_site_count(f.model); s++) {
            const pb_site *site = pb_model_site_at(f.model, s);
            unsigned acts       = m->ops->acts != NULL ? m->ops->acts(m, site) : 0;
            const pb_binding *b = &bindings[s];
            assert_true(((acts & PB_ACTS_BOUND) != 0) ==
                        (!pb_tensor_is_none(&b->dweight) || !pb_tensor_is_none(&b->dbias)));
            assert_true(pb_tensor_is_none(&b->weight) == pb_tensor_is_none(&b->dweight));
            assert_true(pb_tensor_is_none(&b->bias) == pb_tensor_is_none(&b->dbias));
            assert_true((acts & PB_ACTS_ON_INPUT) == 0 || m->ops->linear_input_forward != NULL);
            assert_true((acts & PB_ACTS_ON_OUTPUT) == 0 || m->ops->linear_output_forward != NULL);
        }
        pb_method_destroy(m);
    }
    method_fixture_close(&f);
}

/* A slot under test: its forward turns `in` into `out`, and loss = Σ weights ⊙
 * out. */
typedef struct probe {
    pb_method *m;
    const pb_site *site; /* NULL: rows or keys */
    bool on_input;
    pb_tensor x, base, weights, out; /* base: y before the method */
    pb_tensor kept, room;
    pb_site_context ctx;
} probe;

static float *random_floats(int64_t count, uint64_t salt)
{
    float *x         = calloc((size_t)count + 1, sizeof *x);
    pb_random stream = pb_random_stream(3, PB_RANDOM_TEST, salt);
    assert_non_null(x);
    for (int64_t i = 0; i < count; i++) {
        x[i] = (float)pb_random_normal(stream, (uint64_t)i);
    }
    return x;
}

/* The same in backend memory. */
static pb_tensor random_matrix(pb_backend *be, int64_t rows, int64_t columns, uint64_t salt)
{
    float *x    = random_floats(rows * columns, salt);
    pb_tensor t = device_matrix(be, rows, columns, x);
    free(x);
    return t;
}

static void probe_open(probe *p, pb_method *m, const pb_site *site, bool on_input)
{
    const pb_model_config *c = pb_model_get_config(m->model);
    pb_backend *be           = m->backend;
    int64_t rows = ROWS, in = 0, width = 0, kept = 0, scratch = 0;
    if (site == NULL) {
        bool is_rows = m->ops->rows_forward != NULL;
        rows         = is_rows ? m->ops->virtual_rows(m) : m->ops->virtual_keys(m);
        width        = is_rows ? c->width : c->layers * 2 * c->kv_heads * c->head_dim;
    } else {
        in      = site->in;
        width   = on_input ? site->in : site->out;
        kept    = m->ops->kept_width != NULL ? m->ops->kept_width(m, site) : 0;
        scratch = m->ops->scratch_width != NULL ? m->ops->scratch_width(m, site) : 0;
    }
    *p = (probe){
        .m        = m,
        .site     = site,
        .on_input = on_input,
        .x        = random_matrix(be, rows, in, 1),
        .base     = random_matrix(be, rows, width, 2),
        .weights  = random_matrix(be, rows, width, 3),
        .out      = random_matrix(be, rows, width, 4),
        .kept     = random_matrix(be, rows, kept, 5),
        /* wider than asked for, as when another site needs more */
        .room = random_matrix(be, rows, 2 * scratch + 6, 6),
        .ctx  = {.training = true, .pass = 3, .scratch = &p->room},
    };
}

static void probe_close(probe *p)
{
    const pb_tensor *all[] = {&p->x, &p->base, &p->weights, &p->out, &p->kept, &p->room};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        pb_backend_free(p->m->backend, all[i]->data);
    }
}

static double loss(probe *p)
{
    const pb_method_ops *ops = p->m->ops;
    pb_backend *be           = p->m->backend;
    double sum               = 0.0;
    assert_ok(pb_copy(be, &p->out, &p->base));
    if (p->site == NULL) {
        assert_ok(ops->rows_forward != NULL ? ops->rows_forward(p->m, &p->out)
                                            : ops->keys_forward(p->m, &p->out));
    } else if (p->on_input) {
        assert_ok(ops->linear_input_forward(p->m, p->site, &p->ctx, &p->out, &p->x));
    } else {
        assert_ok(ops->linear_output_forward(p->m, p->site, &p->ctx, &p->out, &p->x, &p->kept));
    }
    float *out     = host_values(be, &p->out);
    float *weights = host_values(be, &p->weights);
    for (int64_t i = 0; i < pb_tensor_count(&p->out); i++) {
        sum += (double)out[i] * (double)weights[i];
    }
    free(weights);
    free(out);
    return sum;
}

/* Gradient by `values`, against `analytic` less `offset`. */
static void check_gradient(probe *p, const char *what, const pb_tensor *values,
                           const pb_tensor *analytic, double offset)
{
    pb_backend *be = p->m->backend;
    double error = 0.0, largest = 1e-3;
    for (int64_t i = 0; i < pb_tensor_count(values); i++) {
        float saved       = host_get(be, values, i);
        volatile float up = saved + (float)step, down = saved - (float)step;
        host_set(be, values, i, up);
        double above = loss(p);
        host_set(be, values, i, down);
        double below = loss(p);
        host_set(be, values, i, saved);
        double numeric = (above - below) / ((double)up - (double)down);
        error          = fmax(error, fabs(numeric - ((double)host_get(be, analytic, i) - offset)));
        largest        = fmax(largest, fabs(numeric));
    }
    if (!(error <= tolerance * largest)) {
        fail_msg("%s %s %s: error %g of %g", p->m->ops->name,
                 p->site != NULL ? p->site->name : "before the tokens", what, error, largest);
    }
}

/* dy: `weights` on entry, the gradient by the base output (or, on the input side, by x) on return;
 * dx (NULL: not wanted) starts at one, since the slot adds to it. */
static void run_backward(probe *p, pb_tensor *dy, pb_tensor *dx)
{
    const pb_method_ops *ops = p->m->ops;
    pb_tensor none           = {0};
    assert_ok(pb_copy(p->m->backend, dy, &p->weights));
    (void)loss(p); /* fills what is kept */
    if (p->site == NULL) {
        assert_ok(ops->rows_backward != NULL ? ops->rows_backward(p->m, dy)
                                             : ops->keys_backward(p->m, dy));
    } else if (p->on_input) {
        assert_ok(ops->linear_input_backward(p->m, p->site, &p->ctx, dy, &p->x));
    } else {
        assert_ok(ops->linear_output_backward(p->m, p->site, &p->ctx, dy, dx != NULL ? dx : &none,
                                              &p->x, &p->kept));
    }
}

static void check_slot(pb_method *m, const pb_site *site, bool on_input)
{
    pb_backend *be = m->backend;
    probe p;
    probe_open(&p, m, site, on_input);
    pb_tensor dy = random_matrix(be, p.out.shape[0], p.out.shape[1], 7);
    pb_tensor dx = device_matrix(be, p.x.shape[0], p.x.shape[1], NULL);
    for (int64_t i = 0; i < pb_tensor_count(&dx); i++) {
        host_set(be, &dx, i, 1.0f);
    }
    assert_ok(pb_zero(be, &m->grads));
    run_backward(&p, &dy, &dx);
    for (int64_t t = 0; t < m->count; t++) {
        const pb_trainable *w = &m->trainables[t];
        if (!w->frozen) {
            check_gradient(&p, w->name, &w->value, &w->grad, 0.0);
        }
    }
    if (on_input) {
        check_gradient(&p, "x", &p.x, &dy, 0.0);
    } else if (site != NULL) {
        check_gradient(&p, "y", &p.base, &dy, 0.0);
        check_gradient(&p, "x", &p.x, &dx, 1.0);
    }

    /* A second backward adds the same again, also where the gradient by x is not wanted. */
    float *once = host_values(be, &m->grads);
    run_backward(&p, &dy, NULL);
    float *twice = host_values(be, &m->grads);
    for (int64_t i = 0; i < m->parameters; i++) {
        assert_true(fabsf(twice[i] - 2.0f * once[i]) <= 1e-5f * (1.0f + fabsf(once[i])));
    }
    free(twice);
    free(once);
    pb_backend_free(be, dx.data);
    pb_backend_free(be, dy.data);
    probe_close(&p);
}

static void backward_is_the_derivative_of_forward(void **state)
{
    (void)state;
    method_fixture f;
    int slots = 0;
    method_fixture_open(&f, false, false);
    for (int i = 0; i < CASES; i++) {
        pb_method *m = method_fixture_make(&f, cases[i].method, cases[i].options, 5);
        if (m->ops->rows_forward != NULL || m->ops->keys_forward != NULL) {
            method_fixture_scatter(m, (uint64_t)i, 0.7);
            check_slot(m, NULL, false);
            slots++;
        }
        for (int64_t s = 0; m->ops->acts != NULL && s < pb_model_site_count(f.model); s++) {
            const pb_site *site = pb_model_site_at(f.model, s);
            unsigned acts       = m->ops->acts(m, site);
            if ((acts & (PB_ACTS_ON_INPUT | PB_ACTS_ON_OUTPUT)) == 0 || site->layer > 0) {
                continue;
            }
            method_fixture_scatter(m, (uint64_t)s, 0.7);
            check_slot(m, site, (acts & PB_ACTS_ON_INPUT) != 0);
            slots++;
        }
        pb_method_destroy(m);
    }
    assert_int_equal(slots, 7 + (3 + 2) + (3 + 3) + (2 + 1) +
                                (1 + 4 + 2 + 1)); /* … lora, ia3, bn_adapter, svft */
    method_fixture_close(&f);
}

/* The mask of a pass is its own; in evaluation nothing is dropped. */
static void dropout_acts_in_training_alone(void **state)
{
    (void)state;
    method_fixture f;
    method_fixture_open(&f, false, false);
    pb_method *m        = method_fixture_make(&f, "lora", "dropout = 0.5;", 5);
    pb_method *dry      = method_fixture_make(&f, "lora", "dropout = 0.0;", 5);
    const pb_site *site = pb_model_site(f.model, PB_SITE_K, 0);
    probe p, q;
    method_fixture_scatter(m, 1, 0.7);
    method_fixture_scatter(dry, 1, 0.7);
    assert_true(m->ops->drops(m));
    assert_false(m->ops->drops(dry));
    probe_open(&p, m, site, false);
    probe_open(&q, dry, site, false);
    double first = loss(&p);
    assert_true(loss(&p) == first);
    p.ctx.pass = 4;
    assert_true(loss(&p) != first);
    p.ctx.training = false;
    assert_true(loss(&p) == loss(&q));
    probe_close(&p);
    probe_close(&q);
    pb_method_destroy(dry);
    pb_method_destroy(m);
    method_fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_registered_method_has_a_case),
        cmocka_unit_test(slots_come_in_pairs),
        cmocka_unit_test(plan_and_values_repeat),
        cmocka_unit_test(bound_sites_are_those_that_act),
        cmocka_unit_test(backward_is_the_derivative_of_forward),
        cmocka_unit_test(dropout_acts_in_training_alone),
    };
    return cmocka_run_group_tests_name("conformance_method", tests, NULL, NULL);
}
