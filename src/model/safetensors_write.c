// SPDX-License-Identifier: Apache-2.0
/* Writing a safetensors file: header size, JSON header padded with spaces to 8 bytes, then the data
 * in the order given. The bytes go to a temporary file that is renamed at the end, so a failure
 * leaves what was there before. */
#include "shard.h"

#include "pb/json.h"
#include "pb/memory.h"
#include "pb/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SIZE_BYTES 8

static pb_status check_tensors(const pb_named_tensor *tensors, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        const pb_named_tensor *t = &tensors[i];
        if (t->name == NULL || !shard_name_is_plain(t->name) ||
            strcmp(t->name, "__metadata__") == 0) {
            return PB_FAIL(PB_ERR_ARGUMENT, "tensor %" PRId64 " has no name that can be written",
                           i);
        }
        size_t size = pb_dtype_size(t->tensor.dtype);
        if (pb_tensor_is_none(&t->tensor) || size == 0 ||
            (t->tensor.data == NULL && pb_tensor_count(&t->tensor) > 0)) {
            return PB_FAIL(PB_ERR_ARGUMENT, "tensor %.*s is none and cannot be written",
                           PB_FIT(t->name, 200));
        }
    }
    return PB_OK;
}

/* A reader would refuse a file with a name twice. */
static pb_status check_distinct(const pb_named_tensor *tensors, int64_t count)
{
    pb_status status   = PB_OK;
    const char **names = NULL;
    PB_TRY(PB_ALLOC(names, count));
    for (int64_t i = 0; i < count; i++) {
        names[i] = tensors[i].name;
    }
    pb_string_sort(names, (size_t)count);
    for (int64_t i = 1; i < count && status == PB_OK; i++) {
        if (strcmp(names[i], names[i - 1]) == 0) {
            status = PB_FAIL(PB_ERR_ARGUMENT, "tensor %.*s is to be written twice",
                             PB_FIT(names[i], 200));
        }
    }
    pb_memory_free(names);
    return status;
}

static void put_entry(pb_json *json, const pb_named_tensor *t, int64_t begin)
{
    pb_json_put_object(json, t->name, PB_JSON_COMPACT);
    pb_json_put_text(json, "dtype", pb_dtype_name(t->tensor.dtype));
    pb_json_put_array(json, "shape", PB_JSON_COMPACT);
    for (int d = 0; d < t->tensor.ndim; d++) {
        pb_json_put_int(json, NULL, t->tensor.shape[d]);
    }
    pb_json_end(json);
    pb_json_put_array(json, "data_offsets", PB_JSON_COMPACT);
    pb_json_put_int(json, NULL, begin);
    pb_json_put_int(json, NULL, begin + (int64_t)pb_tensor_bytes(&t->tensor));
    pb_json_end(json);
    pb_json_end(json);
}

static pb_status build_header(const pb_named_tensor *tensors, int64_t count, const char *format,
                              pb_string *header)
{
    pb_json json  = pb_json_begin(header, PB_JSON_COMPACT, 0);
    int64_t begin = 0;
    if (format != NULL) {
        pb_json_put_object(&json, "__metadata__", PB_JSON_COMPACT);
        pb_json_put_text(&json, "format", format);
        pb_json_end(&json);
    }
    for (int64_t i = 0; i < count; i++) {
        put_entry(&json, &tensors[i], begin);
        begin += (int64_t)pb_tensor_bytes(&tensors[i].tensor);
    }
    PB_TRY(pb_json_finish(&json, ""));
    while (header->length % SIZE_BYTES != 0) {
        PB_TRY(pb_string_puts(header, " "));
    }
    return PB_OK;
}

/* What a file is written from: host memory, or a backend's through `buffer`. */
typedef struct source {
    const pb_named_tensor *tensors;
    int64_t count;
    pb_backend *backend; /* NULL: all tensors are the host's */
    char *buffer;        /* of the largest tensor */
} source;

static pb_status source_open(source *from)
{
    size_t bytes = 0;
    if (from->backend == NULL || pb_backend_is_host(from->backend)) {
        from->backend = NULL;
        return PB_OK;
    }
    for (int64_t i = 0; i < from->count; i++) {
        size_t own = pb_tensor_bytes(&from->tensors[i].tensor);
        bytes      = own > bytes ? own : bytes;
    }
    return PB_ALLOC(from->buffer, bytes);
}

/* Tensor i where the host can read it, until the next call. */
static pb_status source_get(source *from, int64_t i, pb_tensor *t)
{
    const pb_tensor *own = &from->tensors[i].tensor;
    *t                   = *own;
    if (from->backend == NULL) {
        return PB_OK;
    }
    t->data   = from->buffer;
    t->stride = own->ndim == 1 ? 1 : pb_tensor_width(own);
    return pb_copy(from->backend, t, own);
}

static pb_status fail_write(const char *path)
{
    int reason = errno;
    return PB_FAIL(PB_ERR_IO, "cannot write %s: %s%s", path, strerror(reason),
                   pb_file_remedy(reason));
}

static pb_status write_bytes(FILE *stream, const void *bytes, size_t size, const char *path)
{
    return fwrite(bytes, 1, size, stream) == size ? PB_OK : fail_write(path);
}

static pb_status write_tensor(FILE *stream, const pb_tensor *t, const char *path)
{
    size_t row_bytes        = (size_t)pb_tensor_width(t) * pb_dtype_size(t->dtype);
    size_t stride           = (size_t)t->stride * pb_dtype_size(t->dtype);
    const unsigned char *at = t->data;
    if (pb_tensor_bytes(t) == 0) {
        return PB_OK;
    }
    if (pb_tensor_is_contiguous(t)) {
        return write_bytes(stream, at, pb_tensor_bytes(t), path);
    }
    for (int64_t r = 0; r < t->shape[0]; r++, at += stride) {
        PB_TRY(write_bytes(stream, at, row_bytes, path));
    }
    return PB_OK;
}

static pb_status write_all(FILE *stream, const pb_string *header, source *from, const char *path)
{
    unsigned char size[SIZE_BYTES];
    for (int i = 0; i < SIZE_BYTES; i++) {
        size[i] = (unsigned char)((uint64_t)header->length >> (8 * i));
    }
    PB_TRY(write_bytes(stream, size, sizeof size, path));
    PB_TRY(write_bytes(stream, header->data, header->length, path));
    for (int64_t i = 0; i < from->count; i++) {
        pb_tensor t;
        PB_TRY(source_get(from, i, &t));
        PB_TRY(write_tensor(stream, &t, path));
    }
    return PB_OK;
}

static pb_status write_file(const char *temporary, const char *path, const pb_string *header,
                            source *from)
{
    FILE *stream     = NULL;
    pb_status status = pb_file_temporary_stream(temporary, &stream);
    if (status == PB_OK) {
        status = write_all(stream, header, from, path);
        if (fclose(stream) != 0 && status == PB_OK) {
            status = fail_write(path);
        }
    }
    if (status != PB_OK) {
        (void)unlink(temporary);
        return status;
    }
    return pb_file_commit(temporary, path);
}

pb_status pb_safetensors_write_from(pb_backend *backend, const char *path,
                                    const pb_named_tensor *tensors, int64_t count,
                                    const char *format)
{
    source from      = {.tensors = tensors, .count = count, .backend = backend};
    pb_string header = {0};
    char *temporary  = NULL;

    pb_status status = check_tensors(tensors, count);
    if (status == PB_OK) {
        status = check_distinct(tensors, count);
    }
    if (status != PB_OK) {
        return pb_error_prefix(status, "%s", path);
    }
    PB_TRY_GOTO(status, build_header(tensors, count, format, &header), out);
    PB_TRY_GOTO(status, source_open(&from), out);
    PB_TRY_GOTO(status, pb_file_temporary_create(path, &temporary), out);
    PB_TRY_GOTO(status, write_file(temporary, path, &header, &from), out);
out:
    pb_memory_free(temporary);
    pb_memory_free(from.buffer);
    pb_string_clear(&header);
    return status;
}

pb_status pb_safetensors_write(const char *path, const pb_named_tensor *tensors, int64_t count,
                               const char *format)
{
    return pb_safetensors_write_from(NULL, path, tensors, count, format);
}
