// SPDX-License-Identifier: Apache-2.0
/* The small checkpoints of the shared input: those of known architectures open with the shapes and
 * counts of the golden files, the others are refused by name. */
#include "fixture.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <jansson.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *model_path(const char *name)
{
    char relative[128];
    snprintf(relative, sizeof relative, "models/%s", name);
    return fixture_shared_path(relative);
}

static void checkpoints_of_the_known_architecture_open(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t parameters, layers, head_dim;
        bool tied;
    } models[] = {
        {"tiny-llama3", 361088, 2, 16, false}, {"tiny-llama32", 162240, 3, 16, true},
        {"tiny-smollm", 203256, 3, 8, true},   {"stories260K", 260032, 5, 8, true},
        {"llama2xs", 279232, 5, 8, true},
    };
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        pb_model *model = NULL;
        size_t held     = pb_memory_current();
        assert_int_equal(pb_model_open(model_path(models[i].name), NULL, 1, &model), PB_OK);
        const pb_model_config *c = pb_model_get_config(model);
        assert_int_equal(pb_model_parameters(model), models[i].parameters);
        assert_int_equal(c->layers, models[i].layers);
        assert_int_equal(c->head_dim, models[i].head_dim);
        assert_int_equal(c->tied, models[i].tied);
        /* Mapped weights are not accounted; of a BF16 file, only the norms are converted. */
        assert_true(pb_memory_current() - held < pb_model_bytes(model));
        pb_model_close(model);
        assert_int_equal(pb_memory_current(), held);
    }
}

static void same_in_new_keys(const char *name)
{
    char text[100];
    pb_model_config old = {0};
    pb_model_config new = {0};
    size_t size         = 0;
    snprintf(text, sizeof text, "%s/config.v5.json", name);
    char *json = fixture_read(model_path(text), &size);
    assert_int_equal(pb_model_config_read(model_path(name), &old), PB_OK);
    assert_int_equal(pb_model_config_parse(json, size, text, &new), PB_OK);
    pb_memory_free(json);
    fixture_expect_equal(&old, &new);
}

static void a_configuration_in_new_keys_says_the_same(void **state)
{
    (void)state;
    same_in_new_keys("tiny-llama3");
    same_in_new_keys("tiny-gemma3");
}

static void one_file_and_shards_hold_the_same_bits(void **state)
{
    (void)state;
    pb_model *sharded = NULL;
    pb_model *single  = NULL;
    pb_tensor weights[64];
    char texts[2][PB_HASH_TEXT];
    const char *path = fixture_path("single");
    assert_int_equal(pb_model_open(model_path("tiny-llama3"), NULL, 1, &sharded), PB_OK);
    int64_t count = pb_model_site_count(sharded);
    assert_true(count <= 64);
    for (int64_t i = 0; i < count; i++) {
        weights[i] = pb_model_site_at(sharded, i)->weight;
    }
    assert_int_equal(pb_model_save(path, pb_model_get_config(sharded), NULL, weights, NULL), PB_OK);
    assert_int_equal(pb_model_open(path, NULL, 1, &single), PB_OK);
    for (int64_t i = 0; i < count; i++) {
        const pb_tensor *a = &pb_model_site_at(sharded, i)->weight;
        const pb_tensor *b = &pb_model_site_at(single, i)->weight;
        assert_true(pb_tensor_same_shape(a, b));
        assert_memory_equal(a->data, b->data, pb_tensor_bytes(a));
    }
    assert_int_equal(pb_model_hash(sharded, texts[0]), PB_OK);
    assert_int_equal(pb_model_hash(single, texts[1]), PB_OK);
    assert_string_not_equal(texts[0], texts[1]);
    pb_model_close(single);
    pb_model_close(sharded);
}

/* The layout of a checkpoint in the hub's cache: every file is a symbolic link. */
static void a_folder_of_symbolic_links_opens(void **state)
{
    (void)state;
    static const char *const files[] = {
        "config.json", "model.safetensors.index.json", "model-00001-of-00003.safetensors",
        "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors"};
    pb_model *model  = NULL;
    const char *path = fixture_path("links");
    assert_int_equal(mkdir(path, 0700), 0);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char name[100];
        snprintf(name, sizeof name, "tiny-llama3/%s", files[i]);
        char *target = realpath(model_path(name), NULL);
        assert_non_null(target);
        snprintf(name, sizeof name, "links/%s", files[i]);
        assert_int_equal(symlink(target, fixture_path(name)), 0);
        free(target);
    }
    assert_int_equal(pb_model_open(path, NULL, 1, &model), PB_OK);
    pb_model_close(model);
}

/* Golden tensors have the shapes that they must have: here, the logits' width and the hidden
 * states' width and number, read by our own reader. */
static void golden_tensors_have_the_shapes_of_the_models(void **state)
{
    (void)state;
    static const char *const names[] = {
        "tiny-llama3",  "tiny-llama32",     "tiny-smollm", "stories260K", "llama2xs",
        "tiny-mistral", "tiny-mistral-swa", "tiny-qwen2",  "tiny-qwen3",  "tiny-gemma3"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char text[100];
        pb_model_config c;
        pb_tensor t;
        pb_safetensors *file = NULL;
        assert_int_equal(pb_model_config_read(model_path(names[i]), &c), PB_OK);
        snprintf(text, sizeof text, "golden/model/%s/tensors.safetensors", names[i]);
        assert_int_equal(pb_safetensors_open(fixture_shared_path(text), &file), PB_OK);
        assert_int_equal(pb_safetensors_get(file, "seq0.logits", &t), PB_OK);
        assert_int_equal(t.ndim, 2);
        assert_int_equal(t.shape[1], c.vocab);
        for (int64_t layer = 0; layer <= c.layers; layer++) {
            snprintf(text, sizeof text, "seq0.hidden.%d", (int)layer);
            assert_int_equal(pb_safetensors_get(file, text, &t), PB_OK);
            assert_int_equal(t.shape[1], c.width);
        }
        snprintf(text, sizeof text, "seq0.hidden.%d", (int)c.layers + 1);
        assert_null(pb_safetensors_find(file, text));
        pb_safetensors_close(file);
    }
}

/* An independent computation from the published rule, in double, on the real numbers of a
 * checkpoint whose wave lengths fall into all three bands. */
static void the_rope_table_of_llama3_follows_its_rule(void **state)
{
    (void)state;
    pb_model_config c;
    enum { POSITIONS = 40, E = 16 };
    float table[POSITIONS * E];
    int bands[3] = {0};
    assert_int_equal(pb_model_config_read(model_path("tiny-llama3"), &c), PB_OK);
    assert_int_equal(c.head_dim, E);
    assert_int_equal(pb_model_rope_table(&c.rope, c.head_dim, POSITIONS, table), PB_OK);
    for (int i = 0; i < E / 2; i++) {
        double f    = 1.0 / pow(500000.0, 2.0 * i / E);
        double turn = 64.0 * f / (2.0 * acos(-1.0)); /* turns within the old context */
        int band    = turn < 1.0 ? 0 : turn > 4.0 ? 2 : 1;
        double mix  = band == 0 ? 0.0 : band == 2 ? 1.0 : (turn - 1.0) / 3.0;
        double g    = f * (mix + (1.0 - mix) / 8.0);
        bands[band]++;
        for (int p = 0; p < POSITIONS; p++) {
            assert_true(fabs((double)table[p * E + i] - cos(p * g)) < 1e-7);
            assert_true(fabs((double)table[p * E + E / 2 + i] - sin(p * g)) < 1e-7);
        }
    }
    assert_true(bands[0] > 0 && bands[1] > 0 && bands[2] > 0);
}

int main(void)
{
    int code = 0;
    if (!fixture_shared(&code)) {
        return code;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checkpoints_of_the_known_architecture_open),
        cmocka_unit_test(a_configuration_in_new_keys_says_the_same),
        cmocka_unit_test(one_file_and_shards_hold_the_same_bits),
        cmocka_unit_test(a_folder_of_symbolic_links_opens),
        cmocka_unit_test(golden_tensors_have_the_shapes_of_the_models),
        cmocka_unit_test(the_rope_table_of_llama3_follows_its_rule),
    };
    return cmocka_run_group_tests(tests, NULL, fixture_finish);
}
