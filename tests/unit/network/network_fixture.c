// SPDX-License-Identifier: Apache-2.0
/* See network_fixture.h. */
#include "network_fixture.h"
#include "waited.h"

#include "pb/memory.h"
#include "pb/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pb_model_config small_config(bool biases)
{
    pb_model_config config = {0};
    char json[1024];
    int length = snprintf(json, sizeof json,
                          "{\"architectures\": [\"LlamaForCausalLM\"], \"num_hidden_layers\": 3, "
                          "\"hidden_size\": 16, \"num_attention_heads\": 4, "
                          "\"num_key_value_heads\": 2, \"head_dim\": 4, "
                          "\"intermediate_size\": 24, \"vocab_size\": %d, "
                          "\"max_position_embeddings\": 128, \"rms_norm_eps\": 1e-5, "
                          "\"attention_bias\": %s, \"mlp_bias\": %s}",
                          NETWORK_VOCAB, biases ? "true" : "false", biases ? "true" : "false");
    assert_int_equal(pb_model_config_parse(json, (size_t)length, "fixture", &config), PB_OK);
    return config;
}

static void add_noise(float *x, int64_t n, double scale, uint64_t salt)
{
    pb_random stream = pb_random_stream(3, PB_RANDOM_TEST, salt);
    for (int64_t i = 0; i < n; i++) {
        x[i] += (float)(scale * pb_random_normal(stream, (uint64_t)i));
    }
}

/* The weights of a random model are private memory; its initial ones are so small that the network
 * would be nearly linear. */
static void roughen(const pb_model *model)
{
    for (int64_t i = 0; i < pb_model_site_count(model); i++) {
        const pb_site *site = pb_model_site_at(model, i);
        if (site->kind == PB_SITE_HEAD && pb_model_get_config(model)->tied) {
            continue;
        }
        add_noise(site->weight.data, pb_tensor_count(&site->weight), 0.25, 100 + (uint64_t)i);
        if (!pb_tensor_is_none(&site->bias)) {
            add_noise(site->bias.data, pb_tensor_count(&site->bias), 0.25, 200 + (uint64_t)i);
        }
    }
}

static pb_status make_method(network_fixture *f, const method_case *c)
{
    char text[512];
    pb_config *options       = NULL;
    const pb_method_ops *ops = NULL;
    assert_true(snprintf(text, sizeof text, "method = { %s };", c->options) < (int)sizeof text);
    assert_ok(pb_config_parse(text, "test", &options));
    assert_ok(pb_method_find(c->method, &ops));
    pb_status status =
        pb_method_create(ops, options, "method", f->model, f->backend, 5, &f->method);
    pb_config_close(options);
    return status;
}

static void create_method(network_fixture *f, const method_case *c)
{
    assert_ok(make_method(f, c));
    float *values = host_values(f->backend, &f->method->values);
    add_noise(values, f->method->parameters, 0.2, 300);
    host_write(f->backend, &f->method->values, values);
    free(values);
    assert_ok(pb_method_values_changed(f->method));
}

void network_fixture_open(network_fixture *f, const method_case *c, bool biases, int threads)
{
    pb_model_config config = small_config(biases);
    *f                     = (network_fixture){0};
    f->backend             = device_open(threads);
    assert_ok(pb_model_open_random(&config, 7, 1, &f->model));
    roughen(f->model);
    assert_ok(pb_weights_open(f->model, f->backend, pb_backend_border(f->backend), &f->weights));
    if (c != NULL) {
        create_method(f, c);
    }
    assert_ok(pb_network_create(f->weights, f->method, &f->net));
}

void network_fixture_open_beside(network_fixture *f, const network_fixture *base,
                                 const method_case *c)
{
    *f =
        (network_fixture){.backend = base->backend, .model = base->model, .weights = base->weights};
    create_method(f, c);
    assert_ok(pb_network_create(f->weights, f->method, &f->net));
}

void network_small_model(pb_model **out)
{
    static const char json[] =
        "{\"architectures\": [\"LlamaForCausalLM\"], \"num_hidden_layers\": 1, \"hidden_size\": "
        "16, "
        "\"num_attention_heads\": 2, \"num_key_value_heads\": 1, \"head_dim\": 8, "
        "\"intermediate_size\": 24, \"vocab_size\": 40, \"max_position_embeddings\": 64, "
        "\"rms_norm_eps\": 1e-5}";
    pb_model_config config = {0};
    assert_ok(pb_model_config_parse(json, sizeof json - 1, "test", &config));
    assert_ok(pb_model_open_random(&config, 7, 1, out));
}

pb_status network_open_on(network_fixture *f, const char *backend, pb_dtype dtype,
                          const method_case *c)
{
    PB_TRY(pb_backend_open(backend, 0, 1, &f->backend));
    PB_TRY(pb_backend_use_dtype(f->backend, dtype));
    PB_TRY(pb_weights_open(f->model, f->backend, pb_backend_border(f->backend), &f->weights));
    PB_TRY(make_method(f, c));
    return pb_network_create(f->weights, f->method, &f->net);
}

void network_fixture_close_beside(network_fixture *f)
{
    pb_network_destroy(f->net);
    pb_method_destroy(f->method);
}

void network_fixture_close(network_fixture *f)
{
    pb_network_destroy(f->net);
    pb_method_destroy(f->method);
    pb_weights_close(f->weights);
    pb_model_close(f->model);
    pb_backend_close(f->backend);
    assert_int_equal(pb_memory_current(), 0);
}

static void fill_row(network_rows *rows, int row, int64_t shared, int64_t length)
{
    pb_random common = pb_random_stream(1, PB_RANDOM_TEST, 0);
    pb_random own    = pb_random_stream(1, PB_RANDOM_TEST, 1 + (uint64_t)row);
    for (int64_t t = 0; t < length; t++) {
        pb_random from       = t < shared ? common : own;
        rows->ids[row][t]    = (int32_t)pb_random_below(from, (uint64_t)t, NETWORK_VOCAB);
        rows->labels[row][t] = PB_LABEL_NONE;
    }
    rows->samples[row] =
        (pb_sample){.ids = rows->ids[row], .labels = rows->labels[row], .length = length};
}

/* Labels from `from` on: the ids themselves, moved by `shift`. */
static void label_row(network_rows *rows, int row, int64_t from, int32_t shift)
{
    for (int64_t t = from; t < rows->samples[row].length; t++) {
        rows->labels[row][t] = (rows->ids[row][t] + shift) % NETWORK_VOCAB;
    }
}

void network_rows_fill(network_rows *rows)
{
    memset(rows, 0, sizeof *rows);
    fill_row(rows, 0, 19, 25);
    fill_row(rows, 1, 19, 28);
    fill_row(rows, 2, 10, 17);
    fill_row(rows, 3, 0, 12);
    fill_row(rows, 4, 19, 25);
    fill_row(rows, 5, 19, 19);
    memcpy(rows->ids[4], rows->ids[0], sizeof rows->ids[0]);
    label_row(rows, 0, 20, 0);
    label_row(rows, 1, 17, 0);
    label_row(rows, 2, 14, 0);
    label_row(rows, 3, 1, 0);
    label_row(rows, 4, 21, 1);
    label_row(rows, 5, 15, 2);
    rows->labels[1][5]  = 3; /* inside the part that all share */
    rows->labels[1][27] = PB_LABEL_NONE;
    rows->labels[2][16] = PB_LABEL_NONE;
    rows->labels[2][15] = PB_LABEL_NONE;
}

pb_batch network_pack(const network_fixture *f, const pb_sample *samples, int64_t count,
                      bool training)
{
    pb_batch batch;
    pb_batch_options options = pb_network_batch_options(f->net, training);
    assert_ok(pb_batch_build(samples, count, &options, &batch));
    return batch;
}

double network_step(network_fixture *f, const pb_batch *batch, uint64_t pass)
{
    double loss = 0.0;
    if (f->method->parameters > 0) {
        assert_ok(pb_zero(f->backend, &f->method->grads));
    }
    assert_ok(waited_step(f->net, batch, 1.0, pass, &loss));
    return loss;
}

size_t network_bytes_wanted(void)
{
    size_t asked     = 0;
    size_t held      = 0;
    const char *text = strstr(pb_error_message(), "memory: ");
    if (text == NULL || sscanf(text, "memory: %zu bytes asked for, %zu held", &asked, &held) != 2) {
        return 0;
    }
    return asked + held;
}
