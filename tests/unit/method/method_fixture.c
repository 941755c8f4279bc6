// SPDX-License-Identifier: Apache-2.0
/* See method_fixture.h. */
#include "method_fixture.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

pb_model_config method_fixture_config(bool tied, bool biases)
{
    pb_model_config config = {0};
    char json[1024];
    int length =
        snprintf(json, sizeof json,
                 "{\"architectures\": [\"LlamaForCausalLM\"], \"num_hidden_layers\": 3, "
                 "\"hidden_size\": 16, \"num_attention_heads\": 4, "
                 "\"num_key_value_heads\": 2, \"head_dim\": 4, "
                 "\"intermediate_size\": 24, \"vocab_size\": 40, "
                 "\"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-5, "
                 "\"tie_word_embeddings\": %s, \"attention_bias\": %s, \"mlp_bias\": %s}",
                 tied ? "true" : "false", biases ? "true" : "false", biases ? "true" : "false");
    assert_int_equal(pb_model_config_parse(json, (size_t)length, "fixture", &config), PB_OK);
    return config;
}

void method_fixture_open(method_fixture *f, bool tied, bool biases)
{
    pb_model_config config = method_fixture_config(tied, biases);
    *f                     = (method_fixture){0};
    f->backend             = device_open(1);
    assert_ok(pb_model_open_random(&config, 7, 1, &f->model));
    assert_ok(pb_weights_open(f->model, f->backend, pb_backend_border(f->backend), &f->weights));
}

void method_fixture_close(method_fixture *f)
{
    pb_weights_close(f->weights);
    pb_model_close(f->model);
    pb_backend_close(f->backend);
    assert_int_equal(pb_memory_current(), 0);
}

pb_status method_fixture_try(const method_fixture *f, const char *name, const char *options,
                             uint64_t seed, pb_method **out)
{
    char text[512];
    pb_config *config        = NULL;
    const pb_method_ops *ops = NULL;
    assert_true(snprintf(text, sizeof text, "method = { %s };", options) < (int)sizeof text);
    assert_ok(pb_config_parse(text, "test", &config));
    assert_ok(pb_method_find(name, &ops));
    pb_status status = pb_method_create(ops, config, "method", f->model, f->backend, seed, out);
    pb_config_close(config);
    return status;
}

pb_method *method_fixture_make(const method_fixture *f, const char *name, const char *options,
                               uint64_t seed)
{
    pb_method *m = NULL;
    assert_ok(method_fixture_try(f, name, options, seed, &m));
    assert_ok(pb_method_attach(m, f->weights));
    return m;
}

void method_fixture_scatter(pb_method *m, uint64_t salt, double scale)
{
    pb_random stream = pb_random_stream(11, PB_RANDOM_TEST, salt);
    float *values    = host_values(m->backend, &m->values);
    for (int64_t i = 0; i < m->parameters; i++) {
        values[i] = (float)(scale * pb_random_normal(stream, (uint64_t)i));
    }
    host_write(m->backend, &m->values, values);
    free(values);
    assert_ok(pb_method_values_changed(m));
}

const pb_trainable *method_fixture_find(const pb_method *m, const char *name)
{
    for (int64_t i = 0; i < m->count; i++) {
        if (strcmp(m->trainables[i].name, name) == 0) {
            return &m->trainables[i];
        }
    }
    return NULL;
}

void method_fixture_same(const pb_method *a, const pb_method *b)
{
    assert_ptr_equal(a->ops, b->ops);
    assert_int_equal(a->count, b->count);
    for (int64_t i = 0; i < a->count; i++) {
        const pb_trainable *u = &a->trainables[i];
        const pb_trainable *v = method_fixture_find(b, u->name);
        assert_non_null(v);
        assert_true(pb_tensor_same_shape(&u->value, &v->value));
        assert_true(host_equal(a->backend, &u->value, &v->value));
    }
}

void method_fixture_folder(char *path, size_t size)
{
    const char *base = getenv("TMPDIR");
    snprintf(path, size, "%s/pb-method-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(path));
}

void method_fixture_remove(const char *path)
{
    char **names = NULL;
    size_t count = 0;
    assert_ok(pb_path_list(path, NULL, &names, &count));
    for (size_t i = 0; i < count; i++) {
        char *file = NULL;
        assert_ok(pb_path_join(path, names[i], &file));
        assert_int_equal(unlink(file), 0);
        pb_memory_free(file);
    }
    pb_memory_free_texts(names, count);
    assert_int_equal(rmdir(path), 0);
}

void method_fixture_write(const char *folder, const char *name, const char *text)
{
    char *path = NULL;
    assert_ok(pb_path_join(folder, name, &path));
    assert_ok(pb_file_write_atomic(path, text, strlen(text)));
    pb_memory_free(path);
}

pb_status method_describe(const pb_method *m, pb_string *out)
{
    PB_TRY(pb_string_printf(out, "name = \"%s\";\n", m->ops->name));
    return pb_config_write(pb_method_fields(m->ops), m->options, "", 0, out);
}
