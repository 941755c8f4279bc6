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
#define PATHS      16 /* results of fixture_path that live at a time */

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
    return (pb_model_config){.architecture  = "LlamaForCausalLM",
                             .layers        = 1,
                             .width         = 8,
                             .heads         = 2,
                             .kv_heads      = 1,
                             .head_dim      = 4,
                             .ff            = 12,
                             .vocab         = 16,
                             .max_positions = 32,
                             .rms_eps       = 1e-5,
                             .activation    = PB_ACTIVATION_SILU,
                             .rope_type     = PB_ROPE_DEFAULT,
                             .rope_theta    = 10000.0,
                             .bos_id        = 1,
                             .eos_ids       = {2},
                             .eos_count     = 1};
}

void fixture_expect_equal(const pb_model_config *a, const pb_model_config *b)
{
    assert_string_equal(a->architecture, b->architecture);
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
    assert_int_equal(a->attention_bias, b->attention_bias);
    assert_int_equal(a->mlp_bias, b->mlp_bias);
    assert_int_equal(a->activation, b->activation);
    assert_int_equal(a->rope_type, b->rope_type);
    assert_true(a->rope_theta == b->rope_theta);
    assert_true(a->rope_factor == b->rope_factor);
    assert_true(a->rope_low_freq == b->rope_low_freq);
    assert_true(a->rope_high_freq == b->rope_high_freq);
    assert_int_equal(a->rope_original_positions, b->rope_original_positions);
    assert_int_equal(a->bos_id, b->bos_id);
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
    assert_int_equal(pb_model_open_random(config, 7, &model), PB_OK);
    int64_t count = pb_model_site_count(model);
    assert_int_equal(PB_ALLOC(weights, count), PB_OK);
    assert_int_equal(PB_ALLOC(biases, count), PB_OK);
    for (int64_t i = 0; i < count; i++) {
        weights[i] = pb_model_site_at(model, i)->weight;
        biases[i]  = pb_model_site_at(model, i)->bias;
    }
    assert_int_equal(pb_model_save(path, config, weights, biases), PB_OK);
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
