// SPDX-License-Identifier: Apache-2.0
#include "golden.h"

#include "device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

json_t *golden_json(const char *path)
{
    json_error_t error;
    json_t *value = json_load_file(path, 0, &error);
    if (value == NULL) {
        fail_msg("%s:%d: %s", path, error.line, error.text);
    }
    return value;
}

double json_number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) {
        fail_msg("the golden file has no number \"%s\"", key);
    }
    return json_number_value(value);
}

int64_t json_ids(const json_t *array, int32_t *ids, int64_t capacity)
{
    int64_t count = (int64_t)json_array_size(array);
    assert_true(count > 0 && count <= capacity);
    for (int64_t i = 0; i < count; i++) {
        ids[i] = (int32_t)json_integer_value(json_array_get(array, (size_t)i));
    }
    return count;
}

static void fill_row(golden_rows *out, int64_t index, const json_t *ids, int64_t prompt,
                     int32_t **at)
{
    int64_t length  = (int64_t)json_array_size(ids);
    int32_t *row    = *at;
    int32_t *labels = row + length;
    for (int64_t t = 0; t < length; t++) {
        row[t]    = (int32_t)json_integer_value(json_array_get(ids, (size_t)t));
        labels[t] = t < prompt ? PB_LABEL_NONE : row[t];
    }
    out->samples[index] = (pb_sample){.ids = row, .labels = labels, .length = length};
    *at                 = labels + length;
}

void golden_rows_load(const json_t *batch, golden_rows *out)
{
    size_t total = 0;
    size_t i;
    json_t *row;
    json_array_foreach(batch, i, row)
    {
        total += json_array_size(json_object_get(row, "ids"));
    }
    out->count   = (int64_t)json_array_size(batch);
    out->samples = calloc((size_t)out->count, sizeof *out->samples);
    out->storage = calloc(2 * total, sizeof *out->storage);
    assert_true(out->count > 0 && out->samples != NULL && out->storage != NULL);
    int32_t *at = out->storage;
    json_array_foreach(batch, i, row)
    {
        fill_row(out, (int64_t)i, json_object_get(row, "ids"),
                 (int64_t)json_number(row, "prompt_len"), &at);
    }
}

void golden_rows_sequence(const json_t *ids, golden_rows *out)
{
    out->count   = 1;
    out->samples = calloc(1, sizeof *out->samples);
    out->storage = calloc(2 * json_array_size(ids), sizeof *out->storage);
    assert_true(out->samples != NULL && out->storage != NULL);
    int32_t *at = out->storage;
    fill_row(out, 0, ids, 1, &at);
}

void golden_rows_free(golden_rows *rows)
{
    free(rows->samples);
    free(rows->storage);
    *rows = (golden_rows){0};
}

double golden_error(const float *a, const float *b, int64_t n)
{
    double error   = 0.0;
    double largest = 0.0;
    for (int64_t i = 0; i < n; i++) {
        double difference = fabs((double)a[i] - (double)b[i]);
        if (isnan(difference)) {
            return INFINITY;
        }
        error   = fmax(error, difference);
        largest = fmax(largest, fabs((double)b[i]));
    }
    return largest > 0.0 ? error / largest : error;
}

double golden_tensor_error(pb_backend *be, const pb_tensor *t, const float *expected)
{
    float *values = host_values(be, t);
    double error  = golden_error(values, expected, pb_tensor_count(t));
    free(values);
    return error;
}

double golden_update_error(const float *a, const float *b, const float *start, int64_t n)
{
    double error  = 0.0;
    double update = 0.0;
    for (int64_t i = 0; i < n; i++) {
        error += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        update += ((double)b[i] - (double)start[i]) * ((double)b[i] - (double)start[i]);
    }
    return isnan(error) ? INFINITY : sqrt(error / update);
}

pb_model_config golden_shape(const json_t *entry)
{
    static const char *const architectures[][2] = {
        {"llama", "LlamaForCausalLM"},        {"mistral", "MistralForCausalLM"},
        {"qwen2", "Qwen2ForCausalLM"},        {"qwen3", "Qwen3ForCausalLM"},
        {"gemma3_text", "Gemma3ForCausalLM"}, {"phi3", "Phi3ForCausalLM"}};
    json_t *shape          = json_deep_copy(json_object_get(entry, "shape"));
    const char *type       = json_string_value(json_object_get(shape, "model_type"));
    pb_model_config config = {0};
    json_t *list           = json_array();
    for (size_t i = 0; i < sizeof architectures / sizeof architectures[0]; i++) {
        if (strcmp(type, architectures[i][0]) == 0) {
            json_array_append_new(list, json_string(architectures[i][1]));
        }
    }
    json_object_set_new(shape, "architectures", list);
    json_object_set_new(shape, "max_position_embeddings", json_integer(4096));
    json_object_set_new(shape, "rms_norm_eps", json_real(1e-6));
    char *text = json_dumps(shape, 0);
    assert_ok(pb_model_config_parse(text, strlen(text), "shape", &config));
    free(text);
    json_decref(shape);
    return config;
}
