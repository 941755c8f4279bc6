// SPDX-License-Identifier: Apache-2.0
/* A checkpoint as one list of named tensors: one file, or the shards that an index names.
 *
 * The index must agree with the shards in both directions: every name it lists is in its shard, and
 * a shard holds nothing that is not listed. Its metadata.total_size is informative and not used. */
#include "shard.h"

#include "pb/json.h"
#include "pb/memory.h"
#include "pb/utf8.h"

#include <jansson.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SINGLE_NAME "model.safetensors"
#define INDEX_NAME  "model.safetensors.index.json"
#define INDEX_MAX   ((size_t)100 << 20) /* bytes */

struct pb_safetensors {
    model_shard *shards; /* their tensors have moved to the list below */
    int64_t shard_count;
    shard_tensor *tensors; /* sorted by name */
    int64_t count;
};

static int by_name(const void *a, const void *b)
{
    const shard_tensor *x = a;
    const shard_tensor *y = b;
    return strcmp(x->named.name, y->named.name);
}

/* Moves the tensors of all shards into the sorted list. */
static pb_status gather(pb_safetensors *file)
{
    int64_t total = 0;
    for (int64_t s = 0; s < file->shard_count; s++) {
        total += file->shards[s].count;
    }
    PB_TRY(PB_ALLOC(file->tensors, total));
    for (int64_t s = 0; s < file->shard_count; s++) {
        model_shard *shard = &file->shards[s];
        for (int64_t i = 0; i < shard->count; i++) {
            shard_tensor *tensor = &file->tensors[file->count++];
            *tensor              = shard->tensors[i];
            tensor->shard        = s;
        }
        pb_memory_free(shard->tensors);
        shard->tensors = NULL;
        shard->count   = 0;
    }
    qsort(file->tensors, (size_t)file->count, sizeof *file->tensors, by_name);
    return PB_OK;
}

static pb_status open_single(const char *path, pb_safetensors *file)
{
    PB_TRY(PB_ALLOC(file->shards, 1));
    PB_TRY(shard_open(path, &file->shards[0]));
    file->shard_count = 1;
    return gather(file);
}

/* A shard's name is a plain file name, without a folder. The file may be a symbolic link, as in the
 * hub's cache. */
static bool is_plain_file_name(const char *name)
{
    return shard_name_is_plain(name) && strchr(name, '/') == NULL && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

/* The distinct file names of the map, sorted; texts stay with the map. */
static pb_status list_files(const json_t *map, const char **names, int64_t *count)
{
    const char *tensor;
    const json_t *value;
    size_t filled = 0;
    json_object_foreach((json_t *)(uintptr_t)map, tensor, value)
    {
        const char *name = json_string_value(value);
        if (name == NULL || !is_plain_file_name(name)) {
            return PB_FAIL(PB_ERR_FORMAT,
                           "weight_map: the file of tensor %.*s is not the plain name of a file "
                           "in this folder; correct the index or copy it again",
                           PB_FIT(tensor, 200));
        }
        names[filled++] = name;
    }
    pb_string_sort(names, filled);
    int64_t distinct = 0;
    for (size_t i = 0; i < filled; i++) {
        if (i == 0 || strcmp(names[i], names[i - 1]) != 0) {
            names[distinct++] = names[i];
        }
    }
    *count = distinct;
    return PB_OK;
}

static pb_status open_shards(const char *directory, const char *const *names, int64_t count,
                             pb_safetensors *file)
{
    PB_TRY(PB_ALLOC(file->shards, count));
    for (int64_t i = 0; i < count; i++) {
        char *path = NULL;
        PB_TRY(pb_path_join(directory, names[i], &path));
        pb_status status = pb_path_exists(path)
                               ? shard_open(path, &file->shards[i])
                               : PB_FAIL(PB_ERR_NOT_FOUND,
                                         "weight_map places tensors in %.*s, which is not in the "
                                         "folder; copy or download that file",
                                         PB_FIT(names[i], 200));
        pb_memory_free(path);
        PB_TRY(status);
        file->shard_count++;
    }
    return PB_OK;
}

/* Every tensor of a shard is listed for that shard. */
static pb_status check_listed(const json_t *map, const char *const *names,
                              const pb_safetensors *file)
{
    for (int64_t s = 0; s < file->shard_count; s++) {
        const model_shard *shard = &file->shards[s];
        for (int64_t i = 0; i < shard->count; i++) {
            const char *tensor = shard->tensors[i].named.name;
            const char *listed = json_string_value(json_object_get(map, tensor));
            if (listed == NULL || strcmp(listed, names[s]) != 0) {
                return PB_FAIL(PB_ERR_FORMAT,
                               "tensor %.*s is in %s, but weight_map %s%.*s; the files do not "
                               "belong together: copy the whole folder again",
                               PB_FIT(tensor, 200), shard->path,
                               listed == NULL ? "does not list it" : "places it in ",
                               PB_FIT(listed == NULL ? "" : listed, 200));
            }
        }
    }
    return PB_OK;
}

/* Every listed name was found: the shards hold only listed names, each once, so the counts must
 * agree. */
static pb_status check_found(const json_t *map, const pb_safetensors *file)
{
    const char *tensor;
    const json_t *value;
    json_object_foreach((json_t *)(uintptr_t)map, tensor, value)
    {
        if (pb_safetensors_find(file, tensor) == NULL) {
            return PB_FAIL(PB_ERR_FORMAT,
                           "weight_map places tensor %.*s in %.*s, which does not hold it; the "
                           "files do not belong together: copy the whole folder again",
                           PB_FIT(tensor, 200), PB_FIT(json_string_value(value), 200));
        }
    }
    return PB_OK;
}

static pb_status open_index(const char *directory, const char *index_path, pb_safetensors *file)
{
    pb_status status   = PB_OK;
    const char **names = NULL;
    json_t *root       = NULL;
    int64_t count      = 0;

    PB_TRY(pb_json_file_read(index_path, INDEX_MAX, &root));
    const json_t *map = json_object_get(root, "weight_map");
    if (!json_is_object(map) || json_object_size(map) == 0) {
        status = PB_FAIL(PB_ERR_FORMAT, "weight_map is missing, empty or not an object; correct "
                                        "the index or copy it again");
        goto out_root;
    }
    PB_TRY_GOTO(status, PB_ALLOC(names, json_object_size(map)), out_root);
    PB_TRY_GOTO(status, list_files(map, names, &count), out_names);
    PB_TRY_GOTO(status, open_shards(directory, names, count, file), out_names);
    PB_TRY_GOTO(status, check_listed(map, names, file), out_names);
    PB_TRY_GOTO(status, gather(file), out_names);
    PB_TRY_GOTO(status, check_found(map, file), out_names);
out_names:
    pb_memory_free(names);
out_root:
    json_decref(root);
    return pb_error_prefix(status, "%s", index_path);
}

/* Like the Hugging Face loader: the single file first, then the index. */
static pb_status open_folder(const char *directory, pb_safetensors *file)
{
    char *single     = NULL;
    char *index      = NULL;
    pb_status status = PB_OK;
    PB_TRY_GOTO(status, pb_path_join(directory, SINGLE_NAME, &single), out_paths);
    PB_TRY_GOTO(status, pb_path_join(directory, INDEX_NAME, &index), out_paths);
    if (pb_path_exists(single)) {
        PB_TRY_GOTO(status, open_single(single, file), out_paths);
    } else if (pb_path_exists(index)) {
        PB_TRY_GOTO(status, open_index(directory, index, file), out_paths);
    } else {
        status = pb_safetensors_missing(directory, SINGLE_NAME ", nor " INDEX_NAME, false);
    }
out_paths:
    pb_memory_free(single);
    pb_memory_free(index);
    return status;
}

pb_status pb_safetensors_present(const char *directory, bool *out)
{
    static const char *const names[] = {SINGLE_NAME, INDEX_NAME};
    *out                             = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !*out; i++) {
        PB_TRY(pb_path_has(directory, names[i], out));
    }
    return PB_OK;
}

pb_status pb_safetensors_open(const char *path, pb_safetensors **out)
{
    pb_safetensors *file = NULL;
    pb_status status     = PB_OK;
    PB_TRY(PB_ALLOC(file, 1));
    if (pb_path_is_directory(path)) {
        PB_TRY_GOTO(status, open_folder(path, file), err_file);
    } else {
        PB_TRY_GOTO(status, open_single(path, file), err_file);
    }
    *out = file;
    return PB_OK;
err_file:
    pb_safetensors_close(file);
    return status;
}

void pb_safetensors_close(pb_safetensors *file)
{
    if (file == NULL) {
        return;
    }
    for (int64_t i = 0; i < file->count; i++) {
        shard_tensor_clear(&file->tensors[i]);
    }
    for (int64_t s = 0; s < file->shard_count; s++) {
        shard_close(&file->shards[s]);
    }
    pb_memory_free(file->tensors);
    pb_memory_free(file->shards);
    pb_memory_free(file);
}

void pb_safetensors_release(const pb_safetensors *file)
{
    for (int64_t i = 0; i < file->shard_count; i++) {
        pb_mapping_release(&file->shards[i].mapping);
    }
}

int64_t pb_safetensors_count(const pb_safetensors *file)
{
    return file->count;
}

const pb_named_tensor *pb_safetensors_at(const pb_safetensors *file, int64_t index)
{
    PB_ASSERT(index >= 0 && index < file->count);
    return &file->tensors[index].named;
}

static const shard_tensor *find(const pb_safetensors *file, const char *name)
{
    shard_tensor key = {.named.name = name};
    return bsearch(&key, file->tensors, (size_t)file->count, sizeof *file->tensors, by_name);
}

const pb_named_tensor *pb_safetensors_find(const pb_safetensors *file, const char *name)
{
    const shard_tensor *tensor = find(file, name);
    return tensor != NULL ? &tensor->named : NULL;
}

int64_t pb_safetensors_index(const pb_safetensors *file, const char *name)
{
    const shard_tensor *tensor = find(file, name);
    return tensor != NULL ? tensor - file->tensors : -1;
}

pb_status pb_safetensors_get(const pb_safetensors *file, const char *name, pb_tensor *out)
{
    const shard_tensor *tensor = find(file, name);
    if (tensor == NULL) {
        return PB_FAIL(PB_ERR_NOT_FOUND, "%s: tensor %.*s is missing",
                       file->shard_count > 0 ? file->shards[0].path : "", PB_FIT(name, 200));
    }
    if (pb_tensor_is_none(&tensor->named.tensor)) {
        return PB_FAIL(
            PB_ERR_UNSUPPORTED,
            "%s: tensor %.*s is of dtype %s with %" PRId64
            " dimensions; F32, F16, BF16, F64, F8_E4M3 and I32 with at most %d can be used",
            file->shards[tensor->shard].path, PB_FIT(name, 200), tensor->dtype_text,
            tensor->file_ndim, PB_TENSOR_DIMS);
    }
    *out = tensor->named.tensor;
    return PB_OK;
}

const char *pb_safetensors_path(const pb_safetensors *file, int64_t index)
{
    PB_ASSERT(index >= 0 && index < file->count);
    return file->shards[file->tensors[index].shard].path;
}

int64_t pb_safetensors_file_count(const pb_safetensors *file)
{
    return file->shard_count;
}

const char *pb_safetensors_file_path(const pb_safetensors *file, int64_t index)
{
    PB_ASSERT(index >= 0 && index < file->shard_count);
    return file->shards[index].path;
}

bool pb_safetensors_is_mapped(const pb_safetensors *file, int64_t index)
{
    PB_ASSERT(index >= 0 && index < file->count);
    return file->tensors[index].copy == NULL;
}
