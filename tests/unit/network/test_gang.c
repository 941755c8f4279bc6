// SPDX-License-Identifier: Apache-2.0
/* Gangs: networks that step together have the bits that they have alone. */
#include "network_fixture.h"
#include "products.h"
#include "waited.h"

#include "pb/gang.h"
#include "pb/memory.h"
#include "pb/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 5 };

/* Widths that no vector or tile divides; norms on heads; one product for queries, keys and values;
 * windows and norms on the outputs of blocks. */
static const char *const models[] = {
    "{\"architectures\": [\"LlamaForCausalLM\"], \"num_hidden_layers\": 3, \"hidden_size\": 20, "
    "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"head_dim\": 6, "
    "\"intermediate_size\": 23, \"vocab_size\": 41, \"max_position_embeddings\": 128, "
    "\"rms_norm_eps\": 1e-5, \"attention_bias\": true, \"mlp_bias\": true}",
    "{\"architectures\": [\"Qwen3ForCausalLM\"], \"num_hidden_layers\": 2, \"hidden_size\": 16, "
    "\"num_attention_heads\": 2, \"num_key_value_heads\": 1, \"head_dim\": 4, "
    "\"intermediate_size\": 9, \"vocab_size\": 40, \"max_position_embeddings\": 128, "
    "\"rms_norm_eps\": 1e-6, \"tie_word_embeddings\": true}",
    "{\"architectures\": [\"Phi3ForCausalLM\"], \"num_hidden_layers\": 2, \"hidden_size\": 16, "
    "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"intermediate_size\": 24, "
    "\"vocab_size\": 40, \"max_position_embeddings\": 128, \"rms_norm_eps\": 1e-5, "
    "\"original_max_position_embeddings\": 128, \"bos_token_id\": 1, \"eos_token_id\": 2, "
    "\"pad_token_id\": 2}",
    "{\"architectures\": [\"Gemma3ForCausalLM\"], \"num_hidden_layers\": 3, \"hidden_size\": 16, "
    "\"num_attention_heads\": 2, \"num_key_value_heads\": 1, \"head_dim\": 8, "
    "\"intermediate_size\": 24, \"vocab_size\": 40, \"max_position_embeddings\": 128, "
    "\"hidden_activation\": \"gelu_pytorch_tanh\", \"rms_norm_eps\": 1e-6, "
    "\"sliding_window\": 8, \"sliding_window_pattern\": 2, \"query_pre_attn_scalar\": 8}",
};

enum { MODELS = sizeof models / sizeof *models };

/* A model and up to MOST networks on it. */
typedef struct gang_fixture {
    pb_backend *backend;
    pb_model *model;
    pb_weights *weights;
    pb_method *methods[MOST];
    pb_network *nets[MOST];
    network_rows rows;
    int64_t count;
    int64_t products; /* of the last step together, where they are counted */
} gang_fixture;

static void open_base(gang_fixture *f, const char *json)
{
    pb_model_config config = {0};
    *f                     = (gang_fixture){.backend = device_open(2)};
    assert_ok(pb_model_config_parse(json, strlen(json), "fixture", &config));
    assert_ok(pb_model_open_random(&config, 7, 1, &f->model));
    assert_ok(pb_weights_open(f->model, f->backend, pb_backend_border(f->backend), &f->weights));
    network_rows_fill(&f->rows);
}

/* False where the method does not fit the model. */
static bool add_network(gang_fixture *f, const method_case *c)
{
    char text[512];
    pb_config *options       = NULL;
    const pb_method_ops *ops = NULL;
    pb_method **m            = &f->methods[f->count];
    assert_true(snprintf(text, sizeof text, "method = { %s };", c->options) < (int)sizeof text);
    assert_ok(pb_config_parse(text, "test", &options));
    assert_ok(pb_method_find(c->method, &ops));
    pb_status status =
        pb_method_create(ops, options, "method", f->model, f->backend, 5 + (uint64_t)f->count, m);
    pb_config_close(options);
    if (status != PB_OK) {
        pb_error_clear();
        return false;
    }
    float *values    = host_values(f->backend, &(*m)->values);
    pb_random stream = pb_random_stream(3, PB_RANDOM_TEST, 300 + (uint64_t)f->count);
    for (int64_t i = 0; i < (*m)->parameters; i++) {
        values[i] += (float)(0.2 * pb_random_normal(stream, (uint64_t)i));
    }
    host_write(f->backend, &(*m)->values, values);
    free(values);
    assert_ok(pb_method_values_changed(*m));
    assert_ok(pb_network_create(f->weights, *m, &f->nets[f->count]));
    f->count++;
    return true;
}

static void close_base(gang_fixture *f)
{
    for (int64_t i = 0; i < f->count; i++) {
        pb_network_destroy(f->nets[i]);
        pb_method_destroy(f->methods[i]);
    }
    pb_weights_close(f->weights);
    pb_model_close(f->model);
    pb_backend_close(f->backend);
}

static void close_fixture(gang_fixture *f)
{
    close_base(f);
    assert_int_equal(pb_memory_current(), 0);
}

/* The rows of a member: each has other ones, and another number of them. */
static pb_batch pack(const gang_fixture *f, int64_t member)
{
    static const int64_t first[MOST] = {0, 3, 2, 1, 2};
    static const int64_t count[MOST] = {6, 1, 3, 2, 4};
    pb_batch batch;
    pb_batch_options options = pb_network_batch_options(f->nets[member], true);
    assert_ok(pb_batch_build(f->rows.samples + first[member], count[member], &options, &batch));
    return batch;
}

/* The loss and the gradients of a member. */
typedef struct outcome {
    double loss;
    float *grads;
} outcome;

static void zero_grads(gang_fixture *f, int64_t member)
{
    if (f->methods[member]->parameters > 0) {
        assert_ok(pb_zero(f->backend, &f->methods[member]->grads));
    }
}

static outcome alone(gang_fixture *f, int64_t member, uint64_t pass)
{
    pb_batch batch = pack(f, member);
    outcome o      = {0};
    zero_grads(f, member);
    assert_ok(waited_step(f->nets[member], &batch, 1.0 + 0.1 * (double)member, pass, &o.loss));
    o.grads = host_values(f->backend, &f->methods[member]->grads);
    pb_batch_clear(&batch);
    return o;
}

/* A step of members first …; compares them with `expected`. */
static void step_together(gang_fixture *f, pb_gang *gang, int64_t first, uint64_t pass,
                          const outcome *expected, const char *what)
{
    pb_gang_part parts[MOST];
    pb_batch batches[MOST];
    pb_tensor sums[MOST];
    void *data = NULL;
    double losses[MOST];
    assert_ok(pb_backend_alloc(f->backend, MOST * sizeof(double), &data));
    pb_tensor all = pb_tensor_1d(data, PB_DTYPE_F64, f->count);
    assert_ok(pb_zero(f->backend, &all));
    for (int64_t i = first; i < f->count; i++) {
        zero_grads(f, i);
        batches[i] = pack(f, i);
        sums[i]    = pb_tensor_rows(&all, i, 1);
        parts[i]   = (pb_gang_part){.net        = f->nets[i],
                                    .batch      = &batches[i],
                                    .grad_scale = 1.0 + 0.1 * (double)i,
                                    .sum        = &sums[i]};
    }
    assert_ok(pb_gang_reserve(gang, parts + first, f->count - first));
    size_t held = pb_memory_current();
    (void)products_take_count();
    assert_ok(pb_gang_step(gang, parts + first, f->count - first, pass));
    f->products = products_take_count();
    assert_int_equal(pb_memory_current(), held);
    assert_ok(pb_post(f->backend, 0, &all));
    assert_ok(pb_take(f->backend, 0, losses));
    for (int64_t i = first; i < f->count; i++) {
        pb_method *m = f->methods[i];
        float *grads = host_values(f->backend, &m->grads);
        if (memcmp(&losses[i], &expected[i].loss, sizeof(double)) != 0) {
            fail_msg("%s, member %d of %d (%s): loss %.17g, alone %.17g", what, (int)i,
                     (int)f->count, m->ops->name, losses[i], expected[i].loss);
        }
        for (int64_t k = 0; k < m->parameters; k++) {
            if (memcmp(&grads[k], &expected[i].grads[k], sizeof(float)) != 0) {
                fail_msg("%s, member %d of %d (%s): gradient %d is %.9g, alone %.9g", what, (int)i,
                         (int)f->count, m->ops->name, (int)k, (double)grads[k],
                         (double)expected[i].grads[k]);
            }
        }
        free(grads);
        pb_batch_clear(&batches[i]);
    }
    pb_backend_free(f->backend, data);
}

/* Members that end one after the other, against each alone; leaves the count of all together. */
static void compare(gang_fixture *f, const char *what)
{
    outcome expected[MOST];
    pb_gang *gang = NULL;
    for (int64_t i = 0; i < f->count; i++) {
        expected[i] = alone(f, i, 4);
    }
    assert_ok(pb_gang_create(f->nets, f->count, &gang));
    for (int64_t left = f->count - 1; left >= 0; left--) { /* those before have ended */
        step_together(f, gang, left, 4, expected, what);
    }
    pb_gang_destroy(gang);
    for (int64_t i = 0; i < f->count; i++) {
        free(expected[i].grads);
    }
}

/* Gangs of `size` methods, from each case on, each `stride` cases after the one before. */
static void compare_gangs(const char *json, int64_t size, int step, int stride)
{
    for (int first = 0; first < method_case_count(); first += step * method_case_step()) {
        gang_fixture f;
        open_base(&f, json);
        for (int i = 0; f.count < size && i < method_case_count(); i++) {
            (void)add_network(&f, method_case_at((first + i * stride) % method_case_count()));
        }
        if (f.count > 0) { /* else the model has no place for the method */
            compare(&f, method_case_text(method_case_at(first)));
        }
        close_fixture(&f);
    }
}

static void a_gang_of_one_has_the_bits_of_its_member(void **state)
{
    (void)state;
    compare_gangs(models[0], 1, 1, 0);
}

static void two_methods_have_the_bits_that_they_have_alone(void **state)
{
    (void)state;
    for (int m = 0; m < MODELS; m++) {
        compare_gangs(models[m], 2, m == 0 ? 1 : 5, 7);
    }
}

static void a_method_twice_has_the_bits_that_each_has_alone(void **state)
{
    (void)state;
    compare_gangs(models[0], 2, 1, 0);
}

static void four_methods_have_the_bits_that_they_have_alone(void **state)
{
    (void)state;
    for (int m = 0; m < MODELS; m++) {
        compare_gangs(models[m], 4, 5, 7);
    }
}

/* Each member has dropout masks of its own. Where parts ride, two do so in the forward pass only,
 * two in both directions, and the last does not. */
static const method_case like[] = {
    {"lora", "r = 8; dropout = 0.3;"}, {"lora", "r = 16; dropout = 0.1;"},
    {"lora", "r = 8; dropout = 0.0;"}, {"lora", "r = 16; dropout = 0.0;"},
    {"lora", "r = 3; dropout = 0.0;"},
};
/* Some neighbours share, and some cannot. */
static const method_case unlike[] = {
    {"lora", "r = 3; dropout = 0.3;"},
    {"ia3", ""},
    {"prompt", "num_virtual_tokens = 3; init = \"normal\";"},
    {"bitfit", ""},
    {"full", ""},
};

static void compare_products(const char *json, const method_case *cases, int64_t count,
                             products_rows rows)
{
    gang_fixture f;
    open_base(&f, json);
    products_replace(f.backend, rows);
    for (int64_t i = 0; i < count; i++) {
        assert_true(add_network(&f, &cases[i]));
    }
    compare(&f, json);
    int64_t apart = f.products;
    products_share(f.backend);
    compare(&f, json);
    int64_t most_at_head = rows == PRODUCTS_ALIKE ? 2 * (count - 1) : -1; /* what it can save */
    assert_true(apart - f.products > most_at_head);
    assert_true(rows == PRODUCTS_ALIKE || f.products == apart);
    close_fixture(&f);
}

static void products_are_shared_where_rows_are_alike(void **state)
{
    (void)state;
    compare_products(models[0], like, sizeof like / sizeof *like, PRODUCTS_ALIKE);
    compare_products(models[3], unlike, sizeof unlike / sizeof *unlike, PRODUCTS_ALIKE);
}

static void products_stay_apart_where_rows_depend_on_their_number(void **state)
{
    (void)state;
    compare_products(models[0], like, sizeof like / sizeof *like, PRODUCTS_DEPEND);
    compare_products(models[3], unlike, sizeof unlike / sizeof *unlike, PRODUCTS_DEPEND);
}

static void what_cannot_step_together_is_refused(void **state)
{
    (void)state;
    gang_fixture f;
    gang_fixture other;
    pb_gang *gang = NULL;
    open_base(&f, models[0]);
    open_base(&other, models[0]);
    assert_true(add_network(&f, &(method_case){"lora", ""}));
    assert_true(add_network(&f, &(method_case){"ia3", ""}));
    assert_true(add_network(&other, &(method_case){"ia3", ""}));
    pb_network *mixed[] = {f.nets[0], other.nets[0]};
    assert_error(pb_gang_create(mixed, 2, &gang), PB_ERR_ARGUMENT, "share their weights");
    assert_ok(pb_network_merge(f.nets[1]));
    assert_error(pb_gang_create(f.nets, 2, &gang), PB_ERR_ARGUMENT, "merged");
    assert_ok(pb_gang_create(f.nets, 1, &gang));
    pb_batch batch    = pack(&f, 0);
    pb_gang_part part = {.net = f.nets[1], .batch = &batch, .grad_scale = 1.0};
    assert_error(pb_gang_reserve(gang, &part, 1), PB_ERR_ARGUMENT, "no member");
    assert_error(pb_gang_reserve(gang, &part, 0), PB_ERR_ARGUMENT, "at least one part");
    pb_batch_clear(&batch);
    pb_gang_destroy(gang);
    close_base(&other);
    close_fixture(&f);
}

static void a_dynamic_rope_is_for_no_gang(void **state)
{
    (void)state;
    pb_model_config config = {.rope = {.type = PB_ROPE_DYNAMIC}};
    assert_false(pb_gang_possible(&config));
    config.rope.type = PB_ROPE_LLAMA3;
    assert_true(pb_gang_possible(&config));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gang_of_one_has_the_bits_of_its_member),
        cmocka_unit_test(two_methods_have_the_bits_that_they_have_alone),
        cmocka_unit_test(a_method_twice_has_the_bits_that_each_has_alone),
        cmocka_unit_test(four_methods_have_the_bits_that_they_have_alone),
        cmocka_unit_test(products_are_shared_where_rows_are_alike),
        cmocka_unit_test(products_stay_apart_where_rows_depend_on_their_number),
        cmocka_unit_test(what_cannot_step_together_is_refused),
        cmocka_unit_test(a_dynamic_rope_is_for_no_gang),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
