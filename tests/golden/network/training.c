// SPDX-License-Identifier: Apache-2.0
#include "training.h"
#include "waited.h"

#include "device.h"
#include "golden.h"
#include "method_fixture.h"

#include "pb/adapter.h"
#include "pb/file.h"
#include "pb/memory.h"
#include "pb/train.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 12 };

typedef struct fixture {
    const char *model_path, *folder;
    pb_backend *backend;
    pb_model *model;
    pb_weights *weights;
    pb_method *adapter;
    pb_network *net;
    json_t *data, *golden;
    golden_rows batches[3];
    pb_sample rows[16];
    int64_t row_count;
    int steps_seen;
} fixture;

/* The path of a file of the golden folder, in one of two static buffers. */
static const char *path_of(const fixture *f, const char *name)
{
    static char paths[2][1200];
    static int next;
    next = 1 - next;
    snprintf(paths[next], sizeof paths[next], "%s/%s", f->folder, name);
    return paths[next];
}

/* Options that adapter_config.json cannot express are in the golden file. */
static void make_method(const fixture *f, const char *options, const char *values, pb_method **out)
{
    char text[512];
    pb_config *config        = NULL;
    const pb_method_ops *ops = NULL;
    pb_safetensors *file     = NULL;
    assert_true(snprintf(text, sizeof text, "method = { %s };", options) < (int)sizeof text);
    assert_ok(pb_config_parse(text, "golden.json", &config));
    assert_ok(pb_method_find_in(config, "method", &ops));
    assert_ok(pb_method_create(ops, config, "method", f->model, f->backend, 1, out));
    assert_ok(pb_safetensors_open(values, &file));
    assert_ok(pb_method_set_values(*out, file, values));
    pb_safetensors_close(file);
    pb_config_close(config);
}

/* Encoders' own tensors are in a file beside the adapter, which holds only their output. */
static void load_method(const fixture *f, const char *stage, pb_method **out)
{
    char values[64];
    char adapter[64];
    const char *options = json_string_value(json_object_get(f->golden, "options"));
    snprintf(values, sizeof values, "trainable_%s.safetensors", stage);
    snprintf(adapter, sizeof adapter, "adapter_%s%s", stage,
             options != NULL ? "/adapter_model.safetensors" : "");
    const char *encoder = path_of(f, values);
    if (options != NULL) {
        make_method(f, options, path_of(f, adapter), out);
    } else {
        const char *given = pb_path_exists(encoder) ? encoder : NULL;
        assert_ok(pb_method_load(path_of(f, adapter), given, f->model, f->backend, 1, out));
    }
}

static void open_fixture(fixture *f)
{
    f->backend = device_open(1);
    assert_ok(pb_model_open(f->model_path, NULL, 1, &f->model));
    f->golden = golden_json(path_of(f, "golden.json"));
    for (size_t b = 0; b < 3; b++) {
        golden_rows_load(json_array_get(json_object_get(f->data, "batches"), b), &f->batches[b]);
        for (int64_t r = 0; r < f->batches[b].count; r++) {
            f->rows[f->row_count++] = f->batches[b].samples[r];
        }
    }
    load_method(f, "init", &f->adapter);
    assert_int_equal(f->adapter->parameters,
                     (int64_t)json_number(f->golden, "trainable_parameters"));
    assert_ok(pb_weights_open(f->model, f->backend, pb_backend_border(f->backend), &f->weights));
    assert_ok(pb_network_create(f->weights, f->adapter, &f->net));
}

static void close_fixture(fixture *f)
{
    pb_network_destroy(f->net);
    pb_method_destroy(f->adapter);
    pb_weights_close(f->weights);
    pb_model_close(f->model);
    pb_backend_close(f->backend);
    for (size_t b = 0; b < 3; b++) {
        golden_rows_free(&f->batches[b]);
    }
    json_decref(f->data);
    json_decref(f->golden);
    assert_int_equal(pb_memory_current(), 0);
}

static void check_logits(fixture *f, const char *name)
{
    pb_safetensors *file;
    assert_ok(pb_safetensors_open(path_of(f, "outputs.safetensors"), &file));
    const pb_named_tensor *expected = pb_safetensors_find(file, name);
    assert_non_null(expected);
    golden_rows rows;
    golden_rows_sequence(json_array_get(json_object_get(f->data, "sequences"), 0), &rows);
    pb_batch_options packing = pb_network_batch_options(f->net, false);
    packing.trim             = false;
    pb_batch batch;
    assert_ok(pb_batch_build(rows.samples, 1, &packing, &batch));
    int64_t length = rows.samples[0].length;
    int32_t wanted[256];
    for (int64_t t = 0; t < length; t++) {
        wanted[t] = (int32_t)(batch.virtual_rows + t);
    }
    float *logits = calloc((size_t)pb_tensor_count(&expected->tensor), sizeof *logits);
    assert_ok(pb_network_logits(f->net, &batch, wanted, length, logits, NULL));
    double error = golden_error(logits, expected->tensor.data, pb_tensor_count(&expected->tensor));
    if (!(error < TOLERANCE_LOGITS)) {
        fail_msg("%s %s: error %g", f->folder, name, error);
    }
    free(logits);
    pb_batch_clear(&batch);
    golden_rows_free(&rows);
    pb_safetensors_close(file);
}

static void check_gradients(fixture *f)
{
    pb_safetensors *file;
    assert_ok(pb_safetensors_open(path_of(f, "grads.safetensors"), &file));
    pb_batch_options packing = pb_network_batch_options(f->net, true);
    pb_batch batch;
    double sum = 0.0, penalty = 0.0;
    int64_t trained = 0;
    assert_ok(pb_batch_build(f->batches[0].samples, f->batches[0].count, &packing, &batch));
    assert_ok(pb_zero(f->backend, &f->adapter->grads));
    assert_ok(waited_step(f->net, &batch, 1.0 / (double)batch.labels, 0, &sum));
    assert_ok(waited_penalty(f->adapter, &penalty));
    double loss = sum / (double)batch.labels + penalty;
    assert_true(fabs(loss - json_number(f->golden, "loss_batch0_init_f64")) < TOLERANCE_LOSS);
    for (int64_t i = 0; i < f->adapter->count; i++) {
        const pb_trainable *t = &f->adapter->trainables[i];
        if (t->frozen) {
            continue;
        }
        trained++;
        const pb_named_tensor *expected = pb_safetensors_find(file, t->name);
        if (expected == NULL) {
            fail_msg("the golden file has no gradient of %s", t->name);
        }
        double error = golden_tensor_error(f->backend, &t->grad, expected->tensor.data);
        if (!(error < TOLERANCE_GRADIENT)) {
            fail_msg("%s: gradient of %s: error %g", f->folder, t->name, error);
        }
    }
    assert_int_equal(pb_safetensors_count(file), trained);
    pb_batch_clear(&batch);
    pb_safetensors_close(file);
}

/* PB_GOLDEN_STEPS ends the curve after fewer steps, where one takes seconds. */
static int steps_wanted(void)
{
    const char *text = getenv("PB_GOLDEN_STEPS");
    return text != NULL ? atoi(text) : STEPS;
}

static bool has_enough(void *context)
{
    const fixture *f = context;
    return f->steps_seen >= steps_wanted();
}

static pb_status check_step(void *context, const pb_train_step *step)
{
    fixture *f = context;
    const json_t *expected =
        json_array_get(json_object_get(f->golden, "curve_f64"), (size_t)(step->step - 1));
    double norm = json_number(expected, "grad_norm");
    f->steps_seen++;
    if (!(fabs(step->loss - json_number(expected, "loss")) < TOLERANCE_LOSS) ||
        !(fabs(step->grad_norm - norm) < TOLERANCE_GRAD_NORM * norm) ||
        !(fabs(step->lr - json_number(expected, "lr")) <= TOLERANCE_LR)) {
        fail_msg("%s step %d: loss %.9g, norm %.9g, lr %.12g; expected %.9g, %.9g, %.12g",
                 f->folder, (int)step->step, step->loss, step->grad_norm, step->lr,
                 json_number(expected, "loss"), norm, json_number(expected, "lr"));
    }
    return PB_OK;
}

static void check_curve(fixture *f)
{
    const json_t *recipe = json_object_get(f->golden, "train");
    pb_train_options options;
    assert_ok(pb_config_defaults(pb_train_fields, &options));
    options.learning_rate      = json_number(recipe, "lr");
    options.weight_decay       = json_number(recipe, "weight_decay");
    options.max_steps          = (int64_t)json_number(recipe, "steps");
    options.batch              = f->batches[0].count;
    options.epochs             = 1000;
    options.decay_all          = true;
    options.shuffle            = false;
    pb_train_data data         = {.train = f->rows, .train_count = f->row_count};
    pb_train_observer observer = {.context = f, .step = check_step, .stop = has_enough};
    pb_train_result result;
    pb_status status = pb_train_run(f->net, f->adapter, &options, 1, &data, &observer, &result);
    assert_int_equal(status, steps_wanted() < STEPS ? PB_STOPPED : PB_OK);
    assert_true(f->steps_seen >= steps_wanted());
    pb_config_clear(pb_train_fields, &options);
}

/* Judged by the l2 error of the whole update: single elements near rounding noise move by lr in any
 * direction. */
static double update_error(const fixture *f, const pb_method *expected)
{
    pb_method *start;
    float *values[3];
    load_method(f, "init", &start);
    const pb_tensor *tensors[3] = {&f->adapter->values, &expected->values, &start->values};
    for (int i = 0; i < 3; i++) {
        values[i] = host_values(f->backend, tensors[i]);
    }
    double error = golden_update_error(values[0], values[1], values[2], expected->parameters);
    for (int i = 0; i < 3; i++) {
        free(values[i]);
    }
    pb_method_destroy(start);
    return error;
}

/* A method whose file contains less than was trained: the saved tensors are compared. */
static double saved_error(const fixture *f, const pb_method *expected)
{
    char folder[512];
    pb_method *saved;
    pb_string texts[2] = {0};
    method_fixture_folder(folder, sizeof folder);
    assert_ok(pb_method_save(f->adapter, folder));
    assert_ok(pb_method_load(folder, NULL, f->model, f->backend, 1, &saved));
    method_fixture_remove(folder);
    assert_ok(method_describe(saved, &texts[0]));
    assert_ok(method_describe(expected, &texts[1]));
    assert_string_equal(texts[0].data, texts[1].data);
    assert_int_equal(saved->parameters, expected->parameters);
    float *values = host_values(f->backend, &expected->values);
    double error  = golden_tensor_error(f->backend, &saved->values, values);
    free(values);
    pb_string_clear(&texts[0]);
    pb_string_clear(&texts[1]);
    pb_method_destroy(saved);
    return error;
}

static void check_final(const fixture *f)
{
    pb_method *expected;
    if (!pb_path_exists(path_of(f, "adapter_final"))) {
        return;
    }
    load_method(f, "final", &expected);
    bool whole   = expected->parameters == f->adapter->parameters;
    double error = whole ? update_error(f, expected) : saved_error(f, expected);
    if (!(error < (whole ? TOLERANCE_UPDATE : TOLERANCE_GRADIENT))) {
        fail_msg("%s: error %g of the final tensors", f->folder, error);
    }
    pb_method_destroy(expected);
}

void golden_training_check(const char *model, const char *data, const char *folder,
                           unsigned without)
{
    fixture f = {.model_path = model, .folder = folder, .data = golden_json(data)};
    open_fixture(&f);
    pb_network_without(f.net, without);
    check_logits(&f, "init.logits");
    check_gradients(&f);
    check_curve(&f);
    if (f.steps_seen == STEPS) {
        check_logits(&f, "final.logits");
        check_final(&f);
    }
    close_fixture(&f);
}
