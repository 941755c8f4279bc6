// SPDX-License-Identifier: Apache-2.0
/* See fixture.h. */
#include "fixture.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES 4096
#define PATHS      16 /* results of fixture_path that are valid at a time */

static char folder[PATH_BYTES];
static char paths[PATHS][PATH_BYTES];
static int next_path;

const char *fixture_folder(void)
{
    if (folder[0] == '\0') {
        const char *base = getenv("TMPDIR");
        snprintf(folder, sizeof folder, "%s/pb-model-XXXXXX", base != NULL ? base : "/tmp");
        assert_non_null(mkdtemp(folder));
    }
    return folder;
}

static const char *joined(const char *base, const char *name)
{
    char *path = paths[next_path++ % PATHS];
    assert_true(snprintf(path, PATH_BYTES, "%s/%s", base, name) < PATH_BYTES);
    return path;
}

const char *fixture_path(const char *name)
{
    return joined(fixture_folder(), name);
}

void fixture_write(const char *path, const void *bytes, size_t size)
{
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    assert_int_equal(fwrite(bytes, 1, size, stream), size);
    assert_int_equal(fclose(stream), 0);
}

void fixture_write_text(const char *path, const char *text)
{
    fixture_write(path, text, strlen(text));
}

char *fixture_read(const char *path, size_t *size)
{
    pb_string text = {0};
    assert_int_equal(pb_file_read(path, 0, &text), PB_OK);
    if (size != NULL) {
        *size = text.length;
    }
    return text.data;
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *walk)
{
    (void)about;
    (void)kind;
    (void)walk;
    return remove(path);
}

void fixture_remove(void)
{
    if (folder[0] != '\0') {
        assert_int_equal(nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
        folder[0] = '\0';
    }
}

int fixture_finish(void **state)
{
    (void)state;
    fixture_remove();
    assert_int_equal(pb_memory_current(), 0);
    return 0;
}

void fixture_expect(pb_status status, pb_status expected, ...)
{
    va_list words;
    if (status != expected) {
        print_message("expected %s, got %s: %s\n", pb_status_name(expected), pb_status_name(status),
                      pb_error_message());
    }
    assert_int_equal(status, expected);
    va_start(words, expected);
    for (const char *word = va_arg(words, const char *); word != NULL;
         word             = va_arg(words, const char *)) {
        if (strstr(pb_error_message(), word) == NULL) {
            print_message("\"%s\" is not in: %s\n", word, pb_error_message());
        }
        assert_non_null(strstr(pb_error_message(), word));
    }
    va_end(words);
    pb_error_clear();
}

pb_model_config fixture_config(void)
{
    pb_model_config config = {0};
    char json[1024];
    int length = snprintf(json, sizeof json,
                          "{\"architectures\": [\"LlamaForCausalLM\"], \"num_hidden_layers\": 1, "
                          "\"hidden_size\": 8, \"num_attention_heads\": 2, "
                          "\"num_key_value_heads\": 1, \"head_dim\": 4, "
                          "\"intermediate_size\": 12, \"vocab_size\": 16, "
                          "\"max_position_embeddings\": 32, \"rms_norm_eps\": 1e-5}");
    assert_int_equal(pb_model_config_parse(json, (size_t)length, "fixture", &config), PB_OK);
    return config;
}

static void expect_equal_ropes(const pb_rope_config *a, const pb_rope_config *b)
{
    assert_int_equal(a->type, b->type);
    assert_true(a->theta == b->theta);
    assert_true(a->factor == b->factor);
    assert_true(a->low_freq == b->low_freq);
    assert_true(a->high_freq == b->high_freq);
    assert_true(a->beta_fast == b->beta_fast);
    assert_true(a->beta_slow == b->beta_slow);
    assert_true(a->attention_factor == b->attention_factor);
    assert_int_equal(a->truncate, b->truncate);
    assert_int_equal(a->original_positions, b->original_positions);
}

void fixture_expect_equal(const pb_model_config *a, const pb_model_config *b)
{
    assert_ptr_equal(a->family, b->family);
    assert_int_equal(a->layers, b->layers);
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->heads, b->heads);
    assert_int_equal(a->kv_heads, b->kv_heads);
    assert_int_equal(a->head_dim, b->head_dim);
    assert_int_equal(a->ff, b->ff);
    assert_int_equal(a->vocab, b->vocab);
    assert_int_equal(a->max_positions, b->max_positions);
    assert_true(a->rms_eps == b->rms_eps);
    assert_int_equal(a->tied, b->tied);
    assert_int_equal(a->qkv_bias, b->qkv_bias);
    assert_int_equal(a->o_bias, b->o_bias);
    assert_int_equal(a->mlp_bias, b->mlp_bias);
    assert_int_equal(a->activation, b->activation);
    assert_true(a->query_scalar == b->query_scalar);
    assert_true(a->embedding_scale == b->embedding_scale);
    assert_true(a->norm_offset == b->norm_offset);
    assert_int_equal(a->window, b->window);
    assert_memory_equal(a->sliding, b->sliding, sizeof a->sliding);
    assert_int_equal(a->two_ropes, b->two_ropes);
    expect_equal_ropes(&a->rope, &b->rope);
    expect_equal_ropes(&a->rope_sliding, &b->rope_sliding);
    assert_int_equal(a->bos_id, b->bos_id);
    assert_int_equal(a->pad_id, b->pad_id);
    assert_int_equal(a->eos_count, b->eos_count);
    for (int64_t i = 0; i < a->eos_count; i++) {
        assert_int_equal(a->eos_ids[i], b->eos_ids[i]);
    }
}

const char *fixture_model(const char *name, const pb_model_config *config)
{
    const char *path   = fixture_path(name);
    pb_model *model    = NULL;
    pb_tensor *weights = NULL;
    pb_tensor *biases  = NULL;
    assert_int_equal(pb_model_open_random(config, 7, 1, &model), PB_OK);
    int64_t count = pb_model_site_count(model);
    assert_int_equal(PB_ALLOC(weights, count), PB_OK);
    assert_int_equal(PB_ALLOC(biases, count), PB_OK);
    for (int64_t i = 0; i < count; i++) {
        weights[i] = pb_model_site_at(model, i)->weight;
        biases[i]  = pb_model_site_at(model, i)->bias;
    }
    assert_int_equal(pb_model_save(path, config, NULL, weights, biases), PB_OK);
    pb_memory_free(biases);
    pb_memory_free(weights);
    pb_model_close(model);
    return path;
}

static const char *shared_root(void)
{
    const char *root = getenv("PB_SHARED");
    return root != NULL && root[0] != '\0' ? root : PB_SOURCE_DIR "/../shared";
}

bool fixture_shared(int *code)
{
    if (pb_path_is_directory(shared_root())) {
        return true;
    }
    bool strict = getenv("CI") != NULL;
    fprintf(stderr, "%s is absent: set PB_SHARED to the folder of shared input\n", shared_root());
    *code = strict ? 1 : 77;
    return false;
}

const char *fixture_shared_path(const char *name)
{
    return joined(shared_root(), name);
}
