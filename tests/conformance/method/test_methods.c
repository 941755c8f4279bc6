// SPDX-License-Identifier: Apache-2.0
/* The same checks over every registered method: slots that belong together, a repeatable plan,
 * gradients that are added to, and saved files. test_gradients.c checks the gradients
 * themselves. */
#include "method_fixture.h"
#include "methods.h"

#include "pb/adapter.h"
#include "pb/file.h"
#include "pb/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROWS = 5 };

static pb_method *make(const method_fixture *f, const method_case *c, uint64_t seed)
{
    return method_fixture_make(f, c->method, c->options, seed);
}

#define BOTH(a, b) assert_true((ops->a != NULL) == (ops->b != NULL))

static void slots_come_in_pairs(void **state)
{
    (void)state;
    for (const pb_method_ops *const *entry = pb_method_registry(); *entry != NULL; entry++) {
        const pb_method_ops *ops = *entry;
        assert_non_null(ops->help);
        assert_non_null(ops->plan);
        BOTH(linear_input_forward, linear_input_backward);
        BOTH(linear_output_forward, linear_output_backward);
        BOTH(rows_forward, rows_backward);
        BOTH(rows_forward, virtual_rows);
        BOTH(keys_forward, keys_backward);
        BOTH(keys_forward, virtual_keys);
        BOTH(adapter_config_write, adapter_config_read);
        BOTH(adapter_config_write, peft_type);
        bool hooks = ops->linear_input_forward != NULL || ops->linear_output_forward != NULL;
        assert_true(ops->peft_type != NULL ||
                    (ops->adapter_keys == NULL && ops->claims == NULL && ops->saved_form == NULL));
        assert_true(hooks || (ops->scratch_width == NULL && ops->merge == NULL));
        bool at_sites = ops->bind != NULL || ops->low_rank != NULL || hooks;
        assert_true(at_sites == (ops->acts != NULL));
        assert_true(ops->kept_width == NULL || ops->linear_output_forward != NULL);
        assert_true(ops->baseline == NULL || (!at_sites && ops->rows_forward == NULL &&
                                              ops->keys_forward == NULL && ops->peft_type == NULL));
        assert_true((ops->fields != NULL) == (ops->options_size > 0));
    }
}

/* Of methods that share a type, at least one lists the keys of its files, and each identifies its
 * own files. */
static void methods_that_share_a_type_claim_their_files(void **state)
{
    (void)state;
    const pb_method_ops *const *all = pb_method_registry();
    for (size_t m = 0; all[m] != NULL; m++) {
        int sharing = 0, listed = 0;
        for (size_t k = 0; all[m]->peft_type != NULL && all[k] != NULL; k++) {
            if (all[k]->peft_type != NULL && strcmp(all[k]->peft_type, all[m]->peft_type) == 0) {
                sharing++;
                listed += all[k]->adapter_keys != NULL;
            }
        }
        assert_true(sharing == 0 || listed >= 1);
        assert_true(sharing < 2 || all[m]->claims != NULL);
    }
}

static void plan_and_values_repeat(void **state)
{
    (void)state;
    method_fixture f;
    method_fixture_open(&f, false, false);
    for (int i = 0; i < method_case_count(); i++) {
        pb_method *a = make(&f, method_case_at(i), 5);
        pb_method *b = make(&f, method_case_at(i), 5);
        pb_method *c = make(&f, method_case_at(i), 6);
        assert_int_equal(a->count, b->count);
        int64_t total = 0;
        bool random   = false;
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
        /* Another seed gives different values where they are random. */
        if (a->parameters > 0 && (random || a->ops->initialise == NULL)) {
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
    for (int i = 0; i < method_case_count(); i++) {
        pb_method *m         = make(&f, method_case_at(i), 5);
        pb_binding *bindings = calloc((size_t)pb_model_site_count(f.model), sizeof *bindings);
        assert_non_null(bindings);
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
        free(bindings);
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

static bool is_low_rank(const pb_method *m, const pb_site *site)
{
    return site != NULL && (m->ops->acts(m, site) & PB_ACTS_LOW_RANK) != 0;
}

/* As the network has it computed. */
static pb_low_rank part_of(const probe *p)
{
    pb_low_rank part = p->m->ops->low_rank(p->m, p->site);
    part.dropout     = p->ctx.training ? part.dropout : 0.0;
    return part;
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
    } else if (is_low_rank(m, site)) {
        pb_low_rank part = m->ops->low_rank(m, site);
        in               = site->in;
        width            = site->out;
        kept             = part.a.shape[0];
        scratch          = pb_low_rank_room(&part);
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
        /* wider than required, as when another site needs more */
        .room = random_matrix(be, rows, 2 * scratch + 6, 6),
        .ctx  = {.training = true, .scratch = &p->room},
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
    } else if (is_low_rank(p->m, p->site)) {
        pb_low_rank part = part_of(p);
        assert_ok(pb_low_rank_forward(be, &p->out, &p->x, &part, &p->kept, &p->room));
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

/* dy: `weights` on entry, the gradient of the base output (or, on the input side, of x) on return;
 * dx (NULL: not wanted) is added to. */
static void run_backward(probe *p, pb_tensor *dy, pb_tensor *dx)
{
    const pb_method_ops *ops = p->m->ops;
    pb_tensor none           = {0};
    assert_ok(pb_copy(p->m->backend, dy, &p->weights));
    (void)loss(p); /* fills the kept values */
    if (p->site == NULL) {
        assert_ok(ops->rows_backward != NULL ? ops->rows_backward(p->m, dy)
                                             : ops->keys_backward(p->m, dy));
    } else if (is_low_rank(p->m, p->site)) {
        pb_low_rank part = part_of(p);
        assert_ok(pb_low_rank_backward(p->m->backend, dx != NULL ? dx : &none, dy, &p->x, &part,
                                       &p->kept, &p->room, true));
    } else if (p->on_input) {
        assert_ok(ops->linear_input_backward(p->m, p->site, &p->ctx, dy, &p->x));
    } else {
        assert_ok(ops->linear_output_backward(p->m, p->site, &p->ctx, dy, dx != NULL ? dx : &none,
                                              &p->x, &p->kept));
    }
}

/* Each backward adds the same to the gradients and to dx, also when dx is not wanted. */
static void check_slot(pb_method *m, const pb_site *site, bool on_input)
{
    pb_backend *be = m->backend;
    probe p;
    probe_open(&p, m, site, on_input);
    pb_tensor dy   = random_matrix(be, p.out.shape[0], p.out.shape[1], 7);
    pb_tensor dx   = device_matrix(be, p.x.shape[0], p.x.shape[1], NULL);
    pb_tensor more = device_matrix(be, p.x.shape[0], p.x.shape[1], NULL);
    double size    = 0;
    for (int64_t i = 0; i < pb_tensor_count(&more); i++) {
        host_set(be, &more, i, 1.0f);
    }
    assert_ok(pb_zero(be, &m->grads));
    run_backward(&p, &dy, &dx);
    float *once = host_values(be, &m->grads);
    run_backward(&p, &dy, NULL);
    run_backward(&p, &dy, &more);
    float *thrice = host_values(be, &m->grads);
    for (int64_t i = 0; i < m->parameters; i++) {
        assert_true(fabsf(thrice[i] - 3.0f * once[i]) <= 1e-5f * (1.0f + fabsf(once[i])));
        size += fabs((double)once[i]);
    }
    assert_true(size > 0);
    for (int64_t i = 0; site != NULL && !on_input && i < pb_tensor_count(&dx); i++) {
        float before = host_get(be, &dx, i);
        float after  = host_get(be, &more, i);
        assert_true(fabsf(after - 1.0f - before) <= 1e-5f * (1.0f + fabsf(before)));
    }
    free(thrice);
    free(once);
    pb_backend_free(be, more.data);
    pb_backend_free(be, dx.data);
    pb_backend_free(be, dy.data);
    probe_close(&p);
}

static int check_site(pb_method *m, const pb_site *site)
{
    static const unsigned sides[] = {PB_ACTS_ON_INPUT, PB_ACTS_ON_OUTPUT, PB_ACTS_LOW_RANK};
    unsigned acts                 = m->ops->acts(m, site);
    int slots                     = 0;
    for (int side = 0; side < 3; side++) {
        if ((acts & sides[side]) != 0) {
            method_fixture_scatter(m, (uint64_t)site->index, 0.7);
            check_slot(m, site, side == 0);
            slots++;
        }
    }
    return slots;
}

static void a_backward_adds_to_the_gradients(void **state)
{
    (void)state;
    method_fixture f;
    method_fixture_open(&f, false, false);
    for (int i = 0; i < method_case_count(); i++) {
        pb_method *m             = make(&f, method_case_at(i), 5);
        const pb_method_ops *ops = m->ops;
        bool before_tokens       = ops->rows_forward != NULL || ops->keys_forward != NULL;
        int slots                = 0;
        if (before_tokens) {
            method_fixture_scatter(m, (uint64_t)i, 0.7);
            check_slot(m, NULL, false);
            slots++;
        }
        for (int64_t s = 0; ops->acts != NULL && s < pb_model_site_count(f.model); s++) {
            slots += check_site(m, pb_model_site_at(f.model, s));
        }
        bool at_sites = ops->linear_input_forward != NULL || ops->linear_output_forward != NULL ||
                        ops->low_rank != NULL;
        assert_true((slots > 0) == (before_tokens || at_sites));
        pb_method_destroy(m);
    }
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
    assert_ok(pb_page_begin(f.backend, 4));
    assert_ok(pb_page_end(f.backend));
    assert_true(loss(&p) != first);
    p.ctx.training = false;
    assert_true(loss(&p) == loss(&q));
    probe_close(&p);
    probe_close(&q);
    pb_method_destroy(dry);
    pb_method_destroy(m);
    method_fixture_close(&f);
}

static bool has_file(const char *folder, const char *name)
{
    char *path = NULL;
    assert_ok(pb_path_join(folder, name, &path));
    bool there = access(path, F_OK) == 0;
    pb_memory_free(path);
    return there;
}

/* An adapter with a peft_type, a checkpoint with bound weights; nothing else can be saved. */
static void what_is_saved_loads_with_the_same_bits(void **state)
{
    (void)state;
    for (int i = 0; i < method_case_count(); i++) {
        method_fixture f;
        char folder[512];
        pb_method *back = NULL;
        method_fixture_open(&f, false, false);
        method_fixture_folder(folder, sizeof folder);
        pb_method *m = make(&f, method_case_at(i), 4);
        method_fixture_scatter(m, (uint64_t)i, 0.5);
        if (m->ops->peft_type == NULL) {
            bool bound       = m->ops->bind != NULL && m->count > 0;
            pb_status status = pb_method_save(m, folder);
            assert_int_equal(status, bound ? PB_OK : PB_ERR_UNSUPPORTED);
            assert_true(has_file(folder, "model.safetensors") == bound);
        } else {
            assert_ok(pb_method_save(m, folder));
            bool encoded = strstr(m->trainables[0].name, "prompt_encoder") != NULL;
            assert_true(has_file(folder, "encoder.safetensors") == encoded);
            assert_ok(pb_method_load(folder, NULL, f.model, f.backend, 9, &back));
            method_fixture_same(m, back);
        }
        pb_method_destroy(back);
        pb_method_destroy(m);
        method_fixture_remove(folder);
        method_fixture_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_come_in_pairs),
        cmocka_unit_test(methods_that_share_a_type_claim_their_files),
        cmocka_unit_test(plan_and_values_repeat),
        cmocka_unit_test(bound_sites_are_those_that_act),
        cmocka_unit_test(a_backward_adds_to_the_gradients),
        cmocka_unit_test(dropout_acts_in_training_alone),
        cmocka_unit_test(what_is_saved_loads_with_the_same_bits),
    };
    return cmocka_run_group_tests_name("conformance_method", tests, NULL, NULL);
}
