// SPDX-License-Identifier: Apache-2.0
/* The front of the methods: lookup, options, targets, plans, initial values,
 * merging. */
#include "method_fixture.h"

#include "pb/adapter.h"
#include "pb/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void unknown_method_names_the_nearest(void **state)
{
    (void)state;
    const pb_method_ops *ops = NULL;
    assert_error(pb_method_find("lorra", &ops), PB_ERR_CONFIG, "did you mean \"lora\"");
    assert_error(pb_method_find("qqqqqqqqqqqq", &ops), PB_ERR_CONFIG, "known: none, full");
    assert_null(ops);
}

static void bad_options_are_named(void **state)
{
    (void)state;
    method_fixture f;
    pb_method *m = NULL;
    method_fixture_open(&f, false, false);
    assert_error(method_fixture_try(&f, "lora", "rank = 8;", 1, &m), PB_ERR_CONFIG, "rank");
    assert_error(method_fixture_try(&f, "lora", "r = 0;", 1, &m), PB_ERR_CONFIG, "r");
    assert_error(method_fixture_try(&f, "none", "r = 1;", 1, &m), PB_ERR_CONFIG, "r");
    assert_error(method_fixture_try(&f, "svft", "\npattern = \"top_k\";", 1, &m), PB_ERR_CONFIG,
                 "test:2: svft: top_k compares left and right singular vectors, which are not "
                 "equally long in model.layers.0.self_attn.k_proj, 8 by 16");
    assert_error(method_fixture_try(&f, "lora", "targets = [\"k_proj\", \"qproj\"];", 1, &m),
                 PB_ERR_CONFIG, "target \"qproj\" matches no module");
    assert_error(method_fixture_try(&f, "lora", "targets = [\"proj\"];", 1, &m), PB_ERR_CONFIG,
                 "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj");
    assert_error(method_fixture_try(&f, "lntuning", "targets = [\"layernorm\"];", 1, &m),
                 PB_ERR_CONFIG, "input_layernorm, post_attention_layernorm, norm");
    assert_error(method_fixture_try(&f, "bitfit", "targets = [];", 1, &m), PB_ERR_CONFIG,
                 "targets");
    assert_error(method_fixture_try(&f, "lora", "targets = [\"k_proj\",\n\"qproj\"];", 1, &m),
                 PB_ERR_CONFIG, "test:2: lora: target \"qproj\"");
    assert_error(method_fixture_try(&f, "ia3",
                                    "targets = [\"k_proj\", \"up_proj\"];\n"
                                    "feedforward = [\"up_proj\", \"down_proj\"];",
                                    1, &m),
                 PB_ERR_CONFIG, "test:2: ia3: feedforward \"down_proj\" is not among the targets");
    assert_error(method_fixture_try(&f, "ia3", "targets = [\"k_proj\"];", 1, &m), PB_ERR_CONFIG,
                 "feedforward \"down_proj\"");
    assert_null(m);
    method_fixture_close(&f);
}

static void a_target_may_carry_its_path(void **state)
{
    (void)state;
    method_fixture f;
    method_fixture_open(&f, false, false);
    pb_method *m = method_fixture_make(&f, "lora", "targets = [\"layers.1.self_attn.q_proj\"];", 1);
    assert_int_equal(m->count, 2);
    assert_string_equal(m->trainables[0].name,
                        "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight");
    pb_method_destroy(m);
    method_fixture_close(&f);
}

/* A tensor of a method has the values of one of the model, which is the host's. */
static bool has_values(pb_backend *be, const pb_tensor *t, const pb_tensor *of_model)
{
    float *values = host_values(be, t);
    bool same =
        memcmp(values, of_model->data, (size_t)pb_tensor_count(of_model) * sizeof *values) == 0;
    free(values);
    return same;
}

static void full_trains_every_weight_once(void **state)
{
    (void)state;
    for (int tied = 0; tied < 2; tied++) {
        method_fixture f;
        method_fixture_open(&f, tied != 0, true);
        pb_method *m = method_fixture_make(&f, "full", "", 1);
        assert_int_equal(m->parameters, pb_model_parameters(f.model));
        assert_true((method_fixture_find(m, "lm_head.weight") == NULL) == (tied != 0));
        assert_non_null(method_fixture_find(m, "model.layers.1.mlp.down_proj.bias"));
        pb_binding bindings[64];
        assert_true(pb_model_site_count(f.model) <= 64);
        memset(bindings, 0, sizeof bindings);
        assert_ok(m->ops->bind(m, bindings));
        int32_t head      = pb_model_site(f.model, PB_SITE_HEAD, 0)->index;
        int32_t embedding = pb_model_site(f.model, PB_SITE_EMBEDDING, 0)->index;
        assert_true((bindings[head].dweight.data == bindings[embedding].dweight.data) ==
                    (tied != 0));
        const pb_site *q = pb_model_site(f.model, PB_SITE_Q, 1);
        assert_true(has_values(f.backend, &bindings[q->index].weight, &q->weight));
        pb_method_destroy(m);
        method_fixture_close(&f);
    }
}

static void decay_spares_biases_and_norms(void **state)
{
    (void)state;
    method_fixture f;
    method_fixture_open(&f, false, true);
    pb_method *m = method_fixture_make(&f, "full", "", 1);
    assert_false(method_fixture_find(m, "model.norm.weight")->decay);
    assert_false(method_fixture_find(m, "model.layers.0.input_layernorm.weight")->decay);
    assert_false(method_fixture_find(m, "model.layers.0.self_attn.q_proj.bias")->decay);
    assert_true(method_fixture_find(m, "model.layers.0.self_attn.q_proj.weight")->decay);
    assert_true(method_fixture_find(m, "model.embed_tokens.weight")->decay);
    pb_method_destroy(m);
    m = method_fixture_make(&f, "lntuning", "", 1);
    for (int64_t i = 0; i < m->count; i++) {
        assert_false(m->trainables[i].decay);
    }
    pb_method_destroy(m);
    m = method_fixture_make(&f, "prefix", "", 1);
    assert_false(method_fixture_find(m, "prompt_encoder.transform.0.bias")->decay);
    assert_true(method_fixture_find(m, "prompt_encoder.transform.0.weight")->decay);
    pb_method_destroy(m);
    method_fixture_close(&f);
}

/* Standard deviation and largest size of a tensor's values. */
static double spread(const pb_method *m, int64_t index, double *largest)
{
    const pb_tensor *value = &m->trainables[index].value;
    float *x               = host_values(m->backend, value);
    int64_t n              = pb_tensor_count(value);
    double sum             = 0.0;
    *largest               = 0.0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
        *largest = fmax(*largest, fabs((double)x[i]));
    }
    free(x);
    return sqrt(sum / (double)n);
}

static void initial_values_follow_their_laws(void **state)
{
    (void)state;
    method_fixture f;
    double largest;
    method_fixture_open(&f, false, true);
    pb_method *m = method_fixture_make(&f, "lora", "r = 64;", 1);
    double s     = spread(m, 0, &largest); /* U(±1/4): deviation 1/(4 sqrt 3) */
    assert_true(largest <= 0.25 && largest > 0.24 && fabs(s - 0.25 / sqrt(3.0)) < 0.01);
    assert_true(spread(m, 1, &largest) == 0.0);
    pb_method_destroy(m);
    m = method_fixture_make(&f, "prompt", "num_virtual_tokens = 200; init = \"normal\";", 1);
    assert_true(fabs(spread(m, 0, &largest) - 1.0) < 0.05 && largest > 2.5);
    pb_method_destroy(m);
    m = method_fixture_make(&f, "ia3", "", 1);
    for (int64_t i = 0; i < m->parameters; i++) {
        assert_true(host_get(f.backend, &m->values, i) == 1.0f);
    }
    pb_method_destroy(m);
    m                   = method_fixture_make(&f, "bitfit", "", 1); /* the model has biases */
    const pb_site *site = pb_model_site(f.model, PB_SITE_Q, 0);
    assert_true(has_values(f.backend, &m->trainables[0].value, &site->bias));
    pb_method_destroy(m);
    method_fixture_close(&f);
}

static void prompt_starts_from_distinct_vocabulary_rows(void **state)
{
    (void)state;
    method_fixture f;
    method_fixture_open(&f, false, false);
    const float *table = pb_model_site(f.model, PB_SITE_EMBEDDING, 0)->weight.data;
    int first[2][40];
    for (uint64_t seed = 0; seed < 2; seed++) {
        bool used[40] = {false};
        pb_method *m  = method_fixture_make(&f, "prompt", "num_virtual_tokens = 50;", seed);
        float *rows   = host_values(f.backend, &m->trainables[0].value);
        for (int r = 0; r < 50; r++) { /* 40 ids, then again from the start */
            int id = 0;
            while (id < 40 && memcmp(rows + r * 16, table + id * 16, 16 * sizeof *rows) != 0) {
                id++;
            }
            assert_true(id < 40);
            if (r < 40) {
                assert_false(used[id]);
                used[id]       = true;
                first[seed][r] = id;
            } else {
                assert_int_equal(id, first[seed][r - 40]);
            }
        }
        free(rows);
        pb_method_destroy(m);
    }
    assert_true(memcmp(first[0], first[1], sizeof first[0]) != 0);
    method_fixture_close(&f);
}

static void a_model_without_weights_is_only_planned(void **state)
{
    (void)state;
    pb_model_config config = method_fixture_config(true, true);
    method_fixture f       = {0};
    f.backend              = device_open(1);
    assert_ok(pb_model_open_shape(&config, &f.model));
    for (const pb_method_ops *const *ops = pb_method_registry(); *ops != NULL; ops++) {
        pb_method *m = method_fixture_make(&f, (*ops)->name, "", 1);
        assert_true(pb_tensor_is_none(&m->values) && pb_tensor_is_none(&m->grads));
        if (m->count > 0) {
            assert_error(pb_method_save(m, "unused"), PB_ERR_ARGUMENT, "only planned");
        }
        if (strcmp((*ops)->name, "full") == 0) {
            assert_int_equal(m->parameters, pb_model_parameters(f.model));
        }
        pb_method_destroy(m);
    }
    method_fixture_close(&f);
}

static void only_methods_that_read_no_weights_get_values_without_them(void **state)
{
    (void)state;
    pb_model_config config = method_fixture_config(true, true);
    method_fixture f       = {0};
    f.backend              = device_open(1);
    assert_ok(pb_model_open_shape(&config, &f.model));
    pb_method *full = method_fixture_make(&f, "full", "", 1);
    assert_error(pb_method_give_values(full, f.backend), PB_ERR_UNSUPPORTED, "starts from weights");
    pb_method_destroy(full);
    pb_method *lora = method_fixture_make(&f, "lora", "", 1);
    assert_ok(pb_method_give_values(lora, f.backend));
    assert_false(pb_tensor_is_none(&lora->values) || pb_tensor_is_none(&lora->grads));
    assert_error(pb_method_give_values(lora, f.backend), PB_ERR_ARGUMENT, "already");
    pb_method_destroy(lora);
    method_fixture_close(&f);
}

static void described_options_read_back(void **state)
{
    (void)state;
    method_fixture f;
    pb_string text = {0}, again = {0};
    method_fixture_open(&f, false, false);
    pb_method *m = method_fixture_make(
        &f, "lora", "r = 3; alpha = 0.1; rslora = true; targets = [\"q_proj\"];", 1);
    assert_ok(method_describe(m, &text));
    assert_non_null(strstr(text.data, "name = \"lora\""));
    pb_method_destroy(m);
    m = method_fixture_make(&f, "lora", text.data, 1);
    assert_ok(method_describe(m, &again));
    assert_string_equal(text.data, again.data);
    pb_method_destroy(m);
    pb_string_clear(&text);
    pb_string_clear(&again);
    method_fixture_close(&f);
}

/* The merged weight and bias give the same as the method's computation at its site. */
static void check_merge(const char *name, const char *options, pb_site_kind kind)
{
    enum { MOST = 24 };
    method_fixture f;
    method_fixture_open(&f, false, true);
    pb_method *m = method_fixture_make(&f, name, options, 1);
    method_fixture_scatter(m, 3, 0.5);
    const pb_site *site = pb_model_site(f.model, kind, 1);
    pb_backend *be      = f.backend;
    float x[MOST];
    for (int i = 0; i < MOST; i++) {
        x[i] = (float)(i % 7) - 2.5f;
    }
    pb_tensor weight    = device_matrix(be, site->out, site->in, site->weight.data);
    pb_tensor bias_row  = device_matrix(be, 1, site->out, site->bias.data);
    pb_tensor bias      = pb_tensor_1d(bias_row.data, PB_DTYPE_F32, site->out);
    pb_tensor tx        = device_matrix(be, 1, site->in, x);
    pb_tensor room      = device_matrix(be, 1, site->in, NULL);
    pb_tensor ts        = tx;
    pb_tensor ty        = device_matrix(be, 1, site->out, NULL);
    pb_tensor te        = device_matrix(be, 1, site->out, NULL);
    pb_tensor kept      = device_matrix(be, 1, MOST, NULL);
    pb_tensor scratch   = device_matrix(be, 1, 2 * MOST, NULL);
    pb_site_context ctx = {.scratch = &scratch};
    pb_matmul_args args = {.transpose_b = true, .alpha = 1.0f};
    unsigned acts       = m->ops->acts(m, site);

    if ((acts & PB_ACTS_ON_INPUT) != 0) {
        ts = room;
        assert_ok(m->ops->linear_input_forward(m, site, &ctx, &ts, &tx));
    }
    assert_ok(pb_matmul(be, &te, &ts, &weight, &args));
    assert_ok(pb_bias_forward(be, &te, &bias));
    if ((acts & PB_ACTS_ON_OUTPUT) != 0) {
        pb_tensor tk = pb_tensor_2d(kept.data, PB_DTYPE_F32, 1, m->ops->kept_width(m, site));
        assert_ok(m->ops->linear_output_forward(m, site, &ctx, &te, &ts, &tk));
    }
    if ((acts & PB_ACTS_LOW_RANK) != 0) {
        pb_low_rank part = m->ops->low_rank(m, site);
        pb_tensor tk     = pb_tensor_2d(kept.data, PB_DTYPE_F32, 1, part.a.shape[0]);
        part.dropout     = 0.0;
        assert_ok(pb_low_rank_forward(be, &te, &ts, &part, &tk, &scratch));
    }
    assert_ok(pb_method_merge(m, site, &weight, &bias));
    assert_ok(pb_matmul(be, &ty, &tx, &weight, &args));
    assert_ok(pb_bias_forward(be, &ty, &bias));
    float largest = 1.0f; /* F32 rounds the terms of a sum as these large outputs are rounded */
    for (int64_t i = 0; i < site->out; i++) {
        largest = fmaxf(largest, fabsf(host_get(be, &te, i)));
    }
    for (int64_t i = 0; i < site->out; i++) {
        assert_true(fabsf(host_get(be, &ty, i) - host_get(be, &te, i)) < 1e-6f * largest);
    }
    const pb_tensor *all[] = {&weight, &bias_row, &tx, &room, &ty, &te, &kept, &scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        pb_backend_free(be, all[i]->data);
    }
    pb_method_destroy(m);
    method_fixture_close(&f);
}

static void merged_weights_compute_the_same(void **state)
{
    (void)state;
    check_merge("lora", "r = 3;", PB_SITE_K);
    check_merge("lora", "r = 3; rslora = true;", PB_SITE_DOWN);
    check_merge("dora", "r = 3;", PB_SITE_K);
    check_merge("dora", "r = 3; rslora = true;", PB_SITE_DOWN);
    check_merge("ia3", "", PB_SITE_K);
    check_merge("ia3", "", PB_SITE_DOWN);
    check_merge("ia3", "feedforward_side = \"output\";", PB_SITE_DOWN);
    check_merge("hra", "r = 4;", PB_SITE_Q);
    check_merge("hra", "r = 3; targets = [\"down_proj\"];", PB_SITE_DOWN);
    check_merge("svft", "off_diagonals = 2;", PB_SITE_K);
    check_merge("svft", "pattern = \"random\"; targets = [\"down_proj\"];", PB_SITE_DOWN);
    check_merge("ia3", "", PB_SITE_Q); /* not a target: unchanged */
}

/* Per token; the modules are k, v (16 to 8) and down (24 to 16) of three layers. */
static void flops_of_adapters_follow_from_their_shapes(void **state)
{
    (void)state;
    enum { TOKENS = 7, MODULES = 9, IN_AND_OUT = 3 * (24 + 24 + 40), OUT = 3 * (8 + 8 + 16) };
    static const struct {
        const char *method, *options;
        double each;
    } cases[] = {
        {"lora", "r = 3;", 2.0 * 3 * IN_AND_OUT},
        {"lora", "r = 3; rank_pattern = [\"down_proj=1\"];", 2.0 * (3 * IN_AND_OUT - 2 * 3 * 40)},
        {"dora", "r = 3;", 2.0 * 3 * IN_AND_OUT + 2.0 * OUT},
        {"adalora", "init_r = 3; target_r = 2;", 2.0 * 3 * IN_AND_OUT + 3.0 * MODULES},
        {"vera", "r = 5;", 2.0 * 5 * IN_AND_OUT + 5.0 * MODULES + 2.0 * OUT},
    };
    method_fixture f;
    method_fixture_open(&f, false, false);
    double base = pb_method_flops(NULL, f.model, TOKENS);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pb_method *m = method_fixture_make(&f, cases[i].method, cases[i].options, 1);
        assert_true(pb_method_flops(m, f.model, TOKENS) - base == cases[i].each * TOKENS);
        pb_method_destroy(m);
    }
    method_fixture_close(&f);
}

static void merge_refuses_what_has_no_place(void **state)
{
    (void)state;
    method_fixture f;
    method_fixture_open(&f, false, false);
    const pb_site *q = pb_model_site(f.model, PB_SITE_Q, 0);
    float w[16 * 16];
    pb_tensor weight = pb_tensor_2d(w, PB_DTYPE_F32, 16, 16), none = {0};
    pb_method *m = method_fixture_make(&f, "prompt", "", 1);
    assert_error(pb_method_merge(m, q, &weight, &none), PB_ERR_UNSUPPORTED, "before the tokens");
    pb_method_destroy(m);
    m = method_fixture_make(&f, "bn_adapter", "", 1);
    assert_error(pb_method_merge(m, pb_model_site(f.model, PB_SITE_O, 0), &weight, &none),
                 PB_ERR_UNSUPPORTED, "bn_adapter cannot be merged");
    pb_method_destroy(m);
    method_fixture_close(&f);
}

/* Positions of svft in the first o_proj, as indices into its 16 · 16 elements. */
static float *svft_places(const pb_method *m, bool taken[256])
{
    const pb_trainable *at = &m->trainables[3];
    float *pairs           = host_values(m->backend, &at->value);
    int before             = -1;
    assert_int_equal(at->shape[0], 16 * 3 - 2);
    memset(taken, 0, 256 * sizeof *taken);
    for (int64_t i = 0; i < at->shape[0]; i++) {
        int place = (int)pairs[2 * i] * 16 + (int)pairs[2 * i + 1];
        assert_in_range(place, before + 1, 255);
        taken[place] = true;
        before       = place;
    }
    return pairs;
}

static void svft_takes_positions_at_random_or_of_the_largest_products(void **state)
{
    (void)state;
    method_fixture f;
    bool taken[256];
    method_fixture_open(&f, false, false);
    pb_method *m =
        method_fixture_make(&f, "svft", "pattern = \"top_k\"; targets = [\"o_proj\"];", 1);
    float *u    = host_values(f.backend, &m->trainables[1].value);
    float *vt   = host_values(f.backend, &m->trainables[2].value);
    double most = 0.0, least = INFINITY;
    free(svft_places(m, taken));
    for (int place = 0; place < 256; place++) {
        double product = 0.0;
        for (int k = 0; k < 16; k++) {
            product += (double)u[k * 16 + place / 16] * (double)vt[(place % 16) * 16 + k];
        }
        most  = taken[place] ? most : fmax(most, fabs(product));
        least = taken[place] ? fmin(least, fabs(product)) : least;
    }
    assert_true(least >= most - 1e-6);
    free(vt);
    free(u);
    pb_method_destroy(m);

    pb_method *a =
        method_fixture_make(&f, "svft", "pattern = \"random\"; targets = [\"o_proj\"];", 1);
    pb_method *b =
        method_fixture_make(&f, "svft", "pattern = \"random\"; targets = [\"o_proj\"];", 2);
    float *one = svft_places(a, taken);
    float *two = svft_places(b, taken);
    assert_memory_not_equal(one, two, 2 * 46 * sizeof *one);
    free(two);
    free(one);
    pb_method_destroy(b);
    pb_method_destroy(a);
    method_fixture_close(&f);
}

static void declaring_nonsense_is_refused(void **state)
{
    (void)state;
    method_fixture f;
    method_fixture_open(&f, false, false);
    pb_method *m   = method_fixture_make(&f, "none", "", 1);
    pb_trainable t = {.name = "a", .ndim = 1, .shape = {3}};
    assert_ok(pb_method_declare(m, &t, NULL));
    assert_error(pb_method_declare(m, &t, NULL), PB_ERR_ARGUMENT, "declared twice");
    pb_trainable huge = {.name = "b", .ndim = 2, .shape = {INT64_MAX / 2, 4}};
    assert_error(pb_method_declare(m, &huge, NULL), PB_ERR_ARGUMENT, "b");
    pb_trainable empty = {.name = "c", .ndim = 1};
    assert_error(pb_method_declare(m, &empty, NULL), PB_ERR_ARGUMENT, "dimension 0 is 0");
    assert_int_equal(m->parameters, 3);
    pb_method_destroy(m);
    method_fixture_close(&f);
}

static void every_failed_allocation_is_survived(void **state)
{
    (void)state;
    method_fixture f;
    method_fixture_open(&f, false, false);
    for (const pb_method_ops *const *ops = pb_method_registry(); *ops != NULL; ops++) {
        size_t before = pb_memory_current();
        size_t room   = 64;
        pb_method *m  = NULL;
        while (m == NULL) {
            pb_memory_limit(before + room);
            pb_status status = pb_method_create(*ops, NULL, "", f.model, f.backend, 1, &m);
            pb_memory_limit(0);
            assert_true((status == PB_OK) == (m != NULL));
            if (status != PB_OK) {
                assert_error(status, PB_ERR_MEMORY, "");
                assert_int_equal(pb_memory_current(), before);
            }
            room += room / 4;
        }
        pb_method_destroy(m);
    }
    method_fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_method_names_the_nearest),
        cmocka_unit_test(bad_options_are_named),
        cmocka_unit_test(a_target_may_carry_its_path),
        cmocka_unit_test(full_trains_every_weight_once),
        cmocka_unit_test(decay_spares_biases_and_norms),
        cmocka_unit_test(initial_values_follow_their_laws),
        cmocka_unit_test(prompt_starts_from_distinct_vocabulary_rows),
        cmocka_unit_test(a_model_without_weights_is_only_planned),
        cmocka_unit_test(only_methods_that_read_no_weights_get_values_without_them),
        cmocka_unit_test(described_options_read_back),
        cmocka_unit_test(merged_weights_compute_the_same),
        cmocka_unit_test(flops_of_adapters_follow_from_their_shapes),
        cmocka_unit_test(merge_refuses_what_has_no_place),
        cmocka_unit_test(svft_takes_positions_at_random_or_of_the_largest_products),
        cmocka_unit_test(declaring_nonsense_is_refused),
        cmocka_unit_test(every_failed_allocation_is_survived),
    };
    return cmocka_run_group_tests_name("unit_method_method", tests, NULL, NULL);
}
