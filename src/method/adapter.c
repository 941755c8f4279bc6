// SPDX-License-Identifier: Apache-2.0
/* Adapters as Hugging Face PEFT lays them out: adapter_config.json says which method with which
 * options, adapter_model.safetensors holds its tensors. Of methods that act before the tokens the
 * file holds what goes there, not what makes it; encoder.safetensors, ours alone, holds that. */
#include "internal.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define CONFIG_NAME    "adapter_config.json"
#define MODEL_NAME     "adapter_model.safetensors"
#define ENCODER_NAME   "encoder.safetensors"
#define ENCODER_TENSOR "prompt_encoder.embedding.weight"

enum { CONFIG_BYTES = 16 << 20 };

/* Between the rows of the adapter file and those the encoder makes, relative to the largest: wide
 * enough for a file that was saved in bf16. */
static const double encoder_tolerance = 1e-2;

/* Reading ------------------------------------------------------------------------------------- */

static pb_status fail_type(const pb_adapter_config *c, const char *type)
{
    pb_string known  = {0};
    pb_status status = PB_OK;
    for (const pb_method_ops *const *ops = pb_method_registry(); *ops != NULL; ops++) {
        if ((*ops)->peft_type != NULL &&
            (known.data == NULL || strstr(known.data, (*ops)->peft_type) == NULL)) {
            PB_TRY_GOTO(
                status,
                pb_string_printf(&known, "%s%s", known.length > 0 ? ", " : "", (*ops)->peft_type),
                done);
        }
    }
    status = PB_FAIL(PB_ERR_UNSUPPORTED, "%s: peft_type \"%s\" is not supported; known are %s",
                     c->path, type, known.data);
done:
    pb_string_clear(&known);
    return status;
}

/* The one method of this peft_type that claims the file. */
static pb_status find_type(const pb_adapter_config *c, const pb_method_ops **out)
{
    const char *type           = NULL;
    const pb_method_ops *found = NULL;
    bool known                 = false;
    PB_TRY(adapter_text(c, "peft_type", &type));
    if (type == NULL) {
        return PB_FAIL(PB_ERR_FORMAT, "%s: peft_type is missing", c->path);
    }
    for (const pb_method_ops *const *ops = pb_method_registry(); *ops != NULL; ops++) {
        if ((*ops)->peft_type == NULL || strcmp((*ops)->peft_type, type) != 0) {
            continue;
        }
        known = true;
        if ((*ops)->claims != NULL && !(*ops)->claims(c)) {
            continue;
        }
        if (found != NULL) {
            return PB_FAIL(PB_ERR_FORMAT,
                           "%s: an adapter of type %s that is both %s and %s is not supported",
                           c->path, type, found->name, (*ops)->name);
        }
        found = *ops;
    }
    if (found == NULL && known) {
        return PB_FAIL(PB_ERR_UNSUPPORTED, "%s: no method here reads this variant of %s", c->path,
                       type);
    }
    *out = found;
    return found != NULL ? PB_OK : fail_type(c, type);
}

static pb_status read_options(const pb_method_ops *ops, const pb_adapter_config *c, void **options)
{
    static const char *const refused[] = {"modules_to_save", NULL};
    void *made                         = NULL;
    PB_TRY(adapter_refuse(c, refused));
    PB_TRY(adapter_warn_unknown(c, ops->peft_type));
    PB_TRY(pb_method_options_read(ops, NULL, NULL, &made));
    pb_status status = ops->adapter_config_read(made, c);
    if (status != PB_OK) {
        pb_method_options_free(ops, made);
        return status;
    }
    *options = made;
    return PB_OK;
}

static bool is_before_tokens(const pb_method *m)
{
    return m->ops->rows_forward != NULL || m->ops->keys_forward != NULL;
}

/* A block of backend memory with what goes before the tokens: *out [n, D] or [n, L·2·K·E]. */
static pb_status output_of(pb_method *m, void **block, pb_tensor *out)
{
    const pb_model_config *c = pb_model_get_config(m->model);
    bool rows                = m->ops->rows_forward != NULL;
    int64_t n                = rows ? m->ops->virtual_rows(m) : m->ops->virtual_keys(m);
    int64_t width            = rows ? c->width : c->layers * 2 * c->kv_heads * c->head_dim;
    PB_TRY(pb_backend_alloc(m->backend, (size_t)(n * width) * sizeof(float), block));
    *out             = pb_tensor_2d(*block, PB_DTYPE_F32, n, width);
    pb_status status = rows ? m->ops->rows_forward(m, out) : m->ops->keys_forward(m, out);
    if (status != PB_OK) {
        pb_backend_free(m->backend, *block);
        *block = NULL;
    }
    return status;
}

static bool is_near(const float *a, const float *b, int64_t count)
{
    double largest = 0.0;
    double error   = 0.0;
    for (int64_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs((double)b[i]));
        error   = fmax(error, fabs((double)a[i] - (double)b[i]));
    }
    return error <= encoder_tolerance * largest;
}

static pb_status compare_output(pb_method *m, const pb_named_tensor *saved, const char *path)
{
    void *block      = NULL;
    float *host      = NULL;
    pb_tensor output = {0};
    pb_status status = PB_OK;
    PB_TRY(output_of(m, &block, &output));
    int64_t count = pb_tensor_count(&output);
    PB_TRY_GOTO(status, PB_ALLOC(host, 2 * count), done);
    pb_tensor made = pb_tensor_2d(host, PB_DTYPE_F32, output.shape[0], output.shape[1]);
    pb_tensor file = pb_tensor_2d(host + count, PB_DTYPE_F32, output.shape[0], output.shape[1]);
    if (saved == NULL || !pb_tensor_same_shape(&saved->tensor, &output)) {
        status = PB_FAIL(PB_ERR_SHAPE,
                         "%s: tensor %s is missing or has another shape than what "
                         "%s beside it makes",
                         path, PROMPT_NAME, ENCODER_NAME);
        goto done;
    }
    PB_TRY_GOTO(status, pb_copy(m->backend, &made, &output), done);
    PB_TRY_GOTO(status, pb_tensor_to_f32(&file, &saved->tensor), done);
    if (!is_near(host, host + count, count)) {
        status = PB_FAIL(PB_ERR_FORMAT,
                         "%s: %s beside it belongs to another adapter: it makes other values; "
                         "remove it to use the adapter alone",
                         path, ENCODER_NAME);
    }
done:
    pb_memory_free(host);
    pb_backend_free(m->backend, block);
    return status;
}

/* The encoder beside an adapter must be the one that made it. */
static pb_status check_encoder(pb_method *m, const char *directory)
{
    char *path           = NULL;
    pb_safetensors *file = NULL;
    pb_status status     = PB_OK;
    PB_TRY(pb_path_join(directory, MODEL_NAME, &path));
    PB_TRY_GOTO(status, pb_safetensors_open(path, &file), done);
    status = compare_output(m, pb_safetensors_find(file, PROMPT_NAME), path);
done:
    pb_safetensors_close(file);
    pb_memory_free(path);
    return status;
}

/* Where the values come from: `given`, or the encoder beside the adapter, or the adapter. */
static pb_status choose_values(const char *directory, const char *given, const pb_method_ops *ops,
                               char **path, bool *beside)
{
    *beside = false;
    if (given != NULL) {
        return PB_TEXT(*path, given);
    }
    if (ops->rows_forward != NULL || ops->keys_forward != NULL) {
        PB_TRY(pb_path_join(directory, ENCODER_NAME, path));
        if (pb_path_exists(*path)) {
            *beside = true;
            return PB_OK;
        }
        pb_memory_free(*path);
        *path = NULL;
    }
    return pb_path_join(directory, MODEL_NAME, path);
}

/* A checkpoint given as an adapter is a likely mistake. */
static pb_status fail_without_config(const char *directory)
{
    bool is_model = false;
    PB_TRY(pb_path_has(directory, "config.json", &is_model));
    return PB_FAIL(PB_ERR_NOT_FOUND, "%s holds no " CONFIG_NAME "%s", directory,
                   is_model ? ", but the config.json of a model: give it as the model, or the "
                              "folder that HF PEFT saved as the adapter"
                            : "; give the folder that HF PEFT saved");
}

pb_status pb_method_load(const char *directory, const char *given, const pb_model *model,
                         pb_backend *backend, uint64_t seed, pb_method **out)
{
    char *path = NULL, *values = NULL;
    json_t *json             = NULL;
    pb_safetensors *file     = NULL;
    const pb_method_ops *ops = NULL;
    pb_method *m             = NULL;
    bool beside              = false;
    pb_status status         = PB_OK;
    void *options            = NULL;
    PB_TRY(pb_path_join(directory, CONFIG_NAME, &path));
    if (pb_path_is_directory(directory) && !pb_path_exists(path)) {
        status = fail_without_config(directory);
        goto done;
    }
    PB_TRY_GOTO(status, pb_json_file_read(path, CONFIG_BYTES, &json), done);
    pb_adapter_config config = {.json = json, .path = path, .model = model};
    PB_TRY_GOTO(status, find_type(&config, &ops), done);
    PB_TRY_GOTO(status, choose_values(directory, given, ops, &values, &beside), done);
    if (given == NULL && !pb_path_exists(values)) {
        status = pb_safetensors_missing(directory, MODEL_NAME, true);
        goto done;
    }
    PB_TRY_GOTO(status, pb_safetensors_open(values, &file), done);
    config.encoder = pb_safetensors_find(file, ENCODER_TENSOR) != NULL;
    PB_TRY_GOTO(status, read_options(ops, &config, &options), done);
    pb_method_source source = {
        .adapter = path, .file = file, .file_path = values, .is_whole = given == NULL};
    status = method_create(ops, &options, model, backend, seed, &source, &m);
    if (status == PB_ERR_CONFIG) { /* the options are those of the file */
        status = PB_FAIL(PB_ERR_FORMAT, "%s", pb_error_message());
    }
    PB_TRY_GOTO(status, status, done);
    PB_TRY_GOTO(status, pb_method_set_values(m, file, values), done);
    if (beside && m->backend != NULL) {
        PB_TRY_GOTO(status, check_encoder(m, directory), done);
    }
    *out = m;
    m    = NULL;
done:
    pb_method_destroy(m);
    pb_safetensors_close(file);
    pb_memory_free(values);
    json_decref(json);
    pb_memory_free(path);
    return status;
}

/* Writing ------------------------------------------------------------------------------------- */

static pb_status compose_json(const pb_method *m, pb_string *text)
{
    pb_json json = pb_json_begin(text, PB_JSON_LINES, 1);
    pb_json_put_text(&json, "peft_type", m->ops->peft_type);
    pb_json_put_text(&json, "task_type", "CAUSAL_LM");
    pb_json_put_bool(&json, "inference_mode", true);
    pb_json_put_text(&json, "base_model_name_or_path",
                     m->base != NULL ? m->base : pb_model_directory(m->model));
    m->ops->adapter_config_write(m, &json);
    return pb_json_finish(&json, "\n");
}

static pb_status write_json(const pb_method *m, const char *directory)
{
    char *path       = NULL;
    pb_string json   = {0};
    pb_status status = PB_OK;
    PB_TRY(pb_path_join(directory, CONFIG_NAME, &path));
    PB_TRY_GOTO(status, compose_json(m, &json), done);
    PB_TRY_GOTO(status, pb_file_write_atomic(path, json.data, json.length), done);
done:
    pb_string_clear(&json);
    pb_memory_free(path);
    return status;
}

static pb_status saved_form(pb_method *m, pb_named_tensor *tensor)
{
    for (int64_t i = 0; i < m->count && m->ops->saved_form != NULL; i++) {
        if (strcmp(m->trainables[i].name, tensor->name) == 0) {
            return m->ops->saved_form(m, i, &tensor->tensor);
        }
    }
    return PB_OK;
}

/* Tensors of the backend in the form of an adapter. */
static pb_status write_tensors(pb_method *m, const char *path, const pb_named_tensor *tensors,
                               int64_t count)
{
    float *host            = NULL;
    pb_named_tensor *views = NULL;
    int64_t total          = 0;
    pb_status status       = PB_OK;
    for (int64_t i = 0; i < count; i++) {
        total += pb_tensor_count(&tensors[i].tensor);
    }
    PB_TRY_GOTO(status, PB_ALLOC(host, total), done);
    PB_TRY_GOTO(status, PB_ALLOC(views, count), done);
    float *next = host;
    for (int64_t i = 0; i < count; i++) {
        views[i]             = tensors[i];
        views[i].tensor.data = next;
        next += pb_tensor_count(&tensors[i].tensor);
        PB_TRY_GOTO(status, pb_copy(m->backend, &views[i].tensor, &tensors[i].tensor), done);
        PB_TRY_GOTO(status, saved_form(m, &views[i]), done);
    }
    PB_TRY_GOTO(status, pb_safetensors_write(path, views, count, "pt"), done);
done:
    pb_memory_free(views);
    pb_memory_free(host);
    return status;
}

pb_status pb_method_write_tensors(pb_method *m, pb_method_list_kind kind, const char *path)
{
    pb_named_tensor *tensors = NULL;
    PB_TRY(PB_ALLOC(tensors, m->count));
    int64_t count    = pb_method_list(m, kind, tensors);
    pb_status status = kind == PB_LIST_SAVED
                           ? write_tensors(m, path, tensors, count)
                           : pb_safetensors_write_from(m->backend, path, tensors, count, NULL);
    pb_memory_free(tensors);
    return status;
}

static pb_status write_output(pb_method *m, const char *path)
{
    void *block            = NULL;
    pb_named_tensor output = {.name = PROMPT_NAME};
    PB_TRY(output_of(m, &block, &output.tensor));
    pb_status status = write_tensors(m, path, &output, 1);
    pb_backend_free(m->backend, block);
    return status;
}

/* One file of an adapter: the saved tensors, or what goes before the tokens. */
static pb_status write_file(pb_method *m, const char *directory, const char *name, bool output)
{
    char *path = NULL;
    PB_TRY(pb_path_join(directory, name, &path));
    pb_status status =
        output ? write_output(m, path) : pb_method_write_tensors(m, PB_LIST_SAVED, path);
    pb_memory_free(path);
    return status;
}

static pb_status remove_file(const char *directory, const char *name)
{
    char *path = NULL;
    PB_TRY(pb_path_join(directory, name, &path));
    pb_status status = PB_OK;
    if (remove(path) != 0 && errno != ENOENT) {
        status = PB_FAIL(PB_ERR_IO, "%s: cannot be removed: %s", path, strerror(errno));
    }
    pb_memory_free(path);
    return status;
}

/* A checkpoint of the trained weights in place of the frozen ones. */
static pb_status write_checkpoint(pb_method *m, const char *directory)
{
    int64_t sites        = pb_model_site_count(m->model);
    pb_binding *bindings = NULL;
    pb_tensor *tensors   = NULL;
    pb_status status     = PB_OK;
    PB_TRY(PB_ALLOC(bindings, sites));
    PB_TRY_GOTO(status, PB_ALLOC(tensors, 2 * sites), done);
    for (int64_t i = 0; i < sites; i++) {
        bindings[i].weight = pb_model_site_at(m->model, i)->weight;
        bindings[i].bias   = pb_model_site_at(m->model, i)->bias;
    }
    PB_TRY_GOTO(status, m->ops->bind(m, bindings), done);
    for (int64_t i = 0; i < sites; i++) {
        tensors[i]         = bindings[i].weight;
        tensors[sites + i] = bindings[i].bias;
    }
    PB_TRY_GOTO(status,
                pb_model_save(directory, pb_model_get_config(m->model), m->backend, tensors,
                              tensors + sites),
                done);
done:
    pb_memory_free(tensors);
    pb_memory_free(bindings);
    return status;
}

pb_status pb_method_save(pb_method *m, const char *directory)
{
    if (m->count == 0) {
        return PB_FAIL(PB_ERR_UNSUPPORTED, "method %s trains nothing: there is nothing to save",
                       m->ops->name);
    }
    if (pb_tensor_is_none(&m->values)) {
        return PB_FAIL(PB_ERR_ARGUMENT, "method %s is only planned: it has no values to save",
                       m->ops->name);
    }
    if (m->ops->peft_type == NULL && m->ops->bind == NULL) {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "method %s cannot be saved: Hugging Face PEFT has no adapter of this type, "
                       "and it does not replace weights of a checkpoint",
                       m->ops->name);
    }
    PB_TRY(pb_path_make_directories(directory));
    if (m->ops->peft_type == NULL) {
        return write_checkpoint(m, directory);
    }
    /* The configuration makes the directory an adapter: without it an interrupted save is not one,
     * and no file of an earlier adapter is mistaken for one of this. */
    PB_TRY(remove_file(directory, CONFIG_NAME));
    PB_TRY(remove_file(directory, ENCODER_NAME));
    PB_TRY(write_file(m, directory, MODEL_NAME, is_before_tokens(m)));
    if (is_before_tokens(m) && strcmp(m->trainables[0].name, PROMPT_NAME) != 0) {
        PB_TRY(write_file(m, directory, ENCODER_NAME, false));
    }
    return write_json(m, directory);
}
