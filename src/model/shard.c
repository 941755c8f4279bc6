// SPDX-License-Identifier: Apache-2.0
/* The header of a safetensors file: 8 bytes of size (little endian), that many bytes of JSON, then
 * the data part. The format: https://github.com/huggingface/safetensors (README, "Format").
 *
 * Nothing in the header is trusted before it is checked; after shard_open every view lies inside
 * the mapping, and the ranges cover the data part exactly once. */
#include "shard.h"

#include "pb/memory.h"
#include "pb/utf8.h"

#include <jansson.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_BYTES 8
/* The limit of the reference implementation. */
#define HEADER_MAX     UINT64_C(100000000)
#define NAME_MAX_BYTES 1000

#define DAMAGED "the file is damaged or incomplete: copy or download it again"

/* The dtypes of the format. `held` is the type this program computes with; PB_DTYPE_COUNT:
 * unsupported. */
static const struct {
    const char *name;
    uint64_t size;
    pb_dtype held;
} file_dtypes[] = {
    {"F32", 4, PB_DTYPE_F32},       {"BF16", 2, PB_DTYPE_BF16},
    {"F16", 2, PB_DTYPE_F16},       {"I32", 4, PB_DTYPE_I32},
    {"F64", 8, PB_DTYPE_F64},       {"I64", 8, PB_DTYPE_COUNT},
    {"U64", 8, PB_DTYPE_COUNT},     {"U32", 4, PB_DTYPE_COUNT},
    {"I16", 2, PB_DTYPE_COUNT},     {"U16", 2, PB_DTYPE_COUNT},
    {"I8", 1, PB_DTYPE_COUNT},      {"U8", 1, PB_DTYPE_COUNT},
    {"BOOL", 1, PB_DTYPE_COUNT},    {"F8_E4M3", 1, PB_DTYPE_F8_E4M3},
    {"F8_E5M2", 1, PB_DTYPE_COUNT}, {"F8_E8M0", 1, PB_DTYPE_COUNT},
};

#define FILE_DTYPES (sizeof file_dtypes / sizeof file_dtypes[0])

bool shard_name_is_plain(const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length > NAME_MAX_BYTES) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c < 0x20 || c == 0x7f) {
            return false;
        }
    }
    return true;
}

static pb_status check_metadata(const json_t *metadata)
{
    const char *key;
    const json_t *value;
    if (!json_is_object(metadata)) {
        return PB_FAIL(PB_ERR_FORMAT, "header: __metadata__ is not an object; " DAMAGED);
    }
    json_object_foreach((json_t *)(uintptr_t)metadata, key, value)
    {
        if (!json_is_string(value)) {
            return PB_FAIL(
                PB_ERR_FORMAT,
                "header: __metadata__.%.*s is not a string; only strings are allowed there",
                PB_FIT(key, 100));
        }
    }
    return PB_OK;
}

/* dtype → its row in file_dtypes. */
static pb_status parse_dtype(const json_t *value, size_t *row)
{
    if (!json_is_string(value)) {
        return PB_FAIL(PB_ERR_FORMAT, "dtype is missing or not a string; " DAMAGED);
    }
    for (size_t i = 0; i < FILE_DTYPES; i++) {
        if (strcmp(json_string_value(value), file_dtypes[i].name) == 0) {
            *row = i;
            return PB_OK;
        }
    }
    return PB_FAIL(PB_ERR_FORMAT,
                   "dtype \"%.*s\" is unknown; known are F32, F16, BF16, F64 and the integer, BOOL "
                   "and F8 types of the safetensors format",
                   PB_FIT(json_string_value(value), 40));
}

/* The first dimensions into `view`, the number of elements into `elements`. */
static pb_status parse_shape(const json_t *value, shard_tensor *out, uint64_t *elements)
{
    if (!json_is_array(value)) {
        return PB_FAIL(PB_ERR_FORMAT, "shape is missing or not a list; " DAMAGED);
    }
    size_t ndim   = json_array_size(value);
    int64_t count = 1;
    for (size_t d = 0; d < ndim; d++) {
        const json_t *item = json_array_get(value, d);
        int64_t size       = json_integer_value(item);
        if (!json_is_integer(item) || size < 0) {
            return PB_FAIL(PB_ERR_FORMAT,
                           "shape: dimension %zu is not a whole number of at least 0; " DAMAGED, d);
        }
        if (__builtin_mul_overflow(count, size, &count)) {
            return PB_FAIL(PB_ERR_FORMAT, "shape: more than 2^63 elements; " DAMAGED);
        }
        if (d < PB_TENSOR_DIMS) {
            out->named.tensor.shape[d] = size;
        }
    }
    out->file_ndim = (int64_t)ndim;
    *elements      = (uint64_t)count;
    return PB_OK;
}

static pb_status parse_offsets(const json_t *value, uint64_t data_size, shard_tensor *out)
{
    int64_t offsets[2];
    if (!json_is_array(value) || json_array_size(value) != 2) {
        return PB_FAIL(PB_ERR_FORMAT, "data_offsets is not a list of two numbers; " DAMAGED);
    }
    for (size_t i = 0; i < 2; i++) {
        const json_t *item = json_array_get(value, i);
        offsets[i]         = json_integer_value(item);
        if (!json_is_integer(item) || offsets[i] < 0) {
            return PB_FAIL(PB_ERR_FORMAT,
                           "data_offsets[%zu] is not a whole number of at least 0; " DAMAGED, i);
        }
    }
    if (offsets[0] > offsets[1] || (uint64_t)offsets[1] > data_size) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "data_offsets [%" PRId64 ", %" PRId64
                       "] do not lie inside the data part of %" PRIu64 " bytes; " DAMAGED,
                       offsets[0], offsets[1], data_size);
    }
    out->begin = (uint64_t)offsets[0];
    out->end   = (uint64_t)offsets[1];
    return PB_OK;
}

/* Points the view at its bytes. A file may hold data that is not aligned for its dtype (the header
 * of old writers has any length, and small types may stand before large ones); loading it would be
 * undefined, so it is copied once. */
static pb_status set_view(shard_tensor *tensor, pb_dtype dtype, const unsigned char *data)
{
    pb_tensor *view = &tensor->named.tensor;
    if (dtype == PB_DTYPE_COUNT || tensor->file_ndim > PB_TENSOR_DIMS) {
        *view = (pb_tensor){.dtype = dtype};
        return PB_OK;
    }
    if (tensor->file_ndim == 0) {
        view->shape[0] = 1; /* a scalar is one element here */
    }
    view->dtype  = dtype;
    view->ndim   = tensor->file_ndim == 0 ? 1 : (int)tensor->file_ndim;
    view->stride = pb_tensor_width(view);
    view->data   = (void *)(uintptr_t)(data + tensor->begin);
    if ((uintptr_t)view->data % pb_dtype_size(dtype) != 0) {
        size_t bytes = (size_t)(tensor->end - tensor->begin);
        tensor->copy = pb_memory_new(bytes, 1);
        if (tensor->copy == NULL) {
            return PB_ERR_MEMORY;
        }
        memcpy(tensor->copy, data + tensor->begin, bytes);
        view->data = tensor->copy;
    }
    return PB_OK;
}

static pb_status parse_tensor(const json_t *value, uint64_t data_size, const unsigned char *data,
                              shard_tensor *out)
{
    size_t row        = 0;
    uint64_t elements = 0;
    uint64_t bytes    = 0;
    if (!json_is_object(value)) {
        return PB_FAIL(PB_ERR_FORMAT, "its entry in the header is not an object; " DAMAGED);
    }
    PB_TRY(parse_dtype(json_object_get(value, "dtype"), &row));
    PB_TRY(parse_shape(json_object_get(value, "shape"), out, &elements));
    PB_TRY(parse_offsets(json_object_get(value, "data_offsets"), data_size, out));
    if (json_object_size(value) != 3) {
        return PB_FAIL(PB_ERR_FORMAT, "its entry in the header has keys other than dtype, shape "
                                      "and data_offsets; " DAMAGED);
    }
    if (__builtin_mul_overflow(elements, file_dtypes[row].size, &bytes) ||
        bytes != out->end - out->begin) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%" PRIu64 " elements of %s do not fill data_offsets [%" PRIu64 ", %" PRIu64
                       "]; " DAMAGED,
                       elements, file_dtypes[row].name, out->begin, out->end);
    }
    memcpy(out->dtype_text, file_dtypes[row].name, strlen(file_dtypes[row].name) + 1);
    return set_view(out, file_dtypes[row].held, data);
}

static pb_status parse_tensors(const json_t *header, const unsigned char *data, uint64_t data_size,
                               model_shard *shard)
{
    const char *key;
    const json_t *value;
    PB_TRY(PB_ALLOC(shard->tensors, json_object_size(header)));
    json_object_foreach((json_t *)(uintptr_t)header, key, value)
    {
        if (strcmp(key, "__metadata__") == 0) {
            PB_TRY(check_metadata(value));
            continue;
        }
        if (!shard_name_is_plain(key)) {
            return PB_FAIL(PB_ERR_FORMAT,
                           "header: the name of tensor %" PRId64
                           " is empty, longer than 1000 bytes or has control characters; " DAMAGED,
                           shard->count);
        }
        shard_tensor *tensor = &shard->tensors[shard->count++];
        char *name           = NULL;
        PB_TRY(PB_TEXT(name, key));
        tensor->named.name = name;
        PB_TRY(pb_error_prefix(parse_tensor(value, data_size, data, tensor), "tensor %.*s",
                               PB_FIT(key, 200)));
    }
    return PB_OK;
}

static int by_offset(const void *a, const void *b)
{
    const shard_tensor *x = a;
    const shard_tensor *y = b;
    if (x->begin != y->begin) {
        return x->begin < y->begin ? -1 : 1;
    }
    if (x->end != y->end) {
        return x->end < y->end ? -1 : 1;
    }
    return strcmp(x->named.name, y->named.name);
}

/* The ranges must be contiguous, without gap or overlap, and end with the file. */
static pb_status check_cover(model_shard *shard, uint64_t data_size)
{
    uint64_t end = 0;
    qsort(shard->tensors, (size_t)shard->count, sizeof *shard->tensors, by_offset);
    for (int64_t i = 0; i < shard->count; i++) {
        const shard_tensor *tensor = &shard->tensors[i];
        if (tensor->begin != end) {
            return PB_FAIL(PB_ERR_FORMAT,
                           "tensor %.*s: its data begin at %" PRIu64 ", %s the data before it "
                           "(end %" PRIu64 "); " DAMAGED,
                           PB_FIT(tensor->named.name, 200), tensor->begin,
                           tensor->begin < end ? "inside" : "with a hole after", end);
        }
        end = tensor->end;
    }
    if (end != data_size) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%" PRIu64 " bytes after the last tensor belong to nothing; " DAMAGED,
                       data_size - end);
    }
    return PB_OK;
}

/* Files of other programs, recognised by their first bytes, whatever their name. */
static pb_status refuse_other_forms(const unsigned char *bytes, size_t size)
{
    static const struct {
        const char *bytes, *name;
    } forms[] = {
        {"PK\x03\x04", "a file of torch.save (a pickle)"}, /* since PyTorch 1.6 a zip archive */
        {"\x80\x02\x8a\x0alf", "a file of torch.save (a pickle)"},
        {"GGUF", "a GGUF file of llama.cpp"},
        {"\x89HDF\r\n", "an HDF5 file"},
    };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        size_t length = strlen(forms[i].bytes);
        if (size >= length && memcmp(bytes, forms[i].bytes, length) == 0) {
            return PB_FAIL(PB_ERR_UNSUPPORTED,
                           "this is %s, and only safetensors files are read; load it with "
                           "the program that wrote it and save it with save_pretrained of "
                           "transformers or HF PEFT",
                           forms[i].name);
        }
    }
    return PB_OK;
}

static pb_status parse_file(model_shard *shard)
{
    const unsigned char *bytes = shard->mapping.data;
    size_t size                = shard->mapping.size;
    uint64_t header_size       = 0;
    json_error_t error;
    const char *instead = pb_file_failed_download(bytes, size);

    if (instead != NULL) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s where a safetensors file is expected; copy or download it again",
                       instead);
    }
    PB_TRY(refuse_other_forms(bytes, size));
    if (size < SIZE_BYTES) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%zu bytes are too few for a safetensors file, which begins with 8 bytes "
                       "of header size; " DAMAGED,
                       size);
    }
    for (int i = SIZE_BYTES - 1; i >= 0; i--) {
        header_size = header_size << 8 | bytes[i];
    }
    if (header_size > HEADER_MAX || header_size > size - SIZE_BYTES) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "a header of %" PRIu64 " bytes is announced, in a file of %zu bytes (and at "
                       "most %" PRIu64 " are allowed); " DAMAGED,
                       header_size, size, HEADER_MAX);
    }
    const char *text = (const char *)bytes + SIZE_BYTES;
    if (header_size == 0 || text[0] != '{') {
        return PB_FAIL(PB_ERR_FORMAT, "the header does not begin with {; " DAMAGED);
    }
    json_t *header = json_loadb(text, (size_t)header_size, JSON_REJECT_DUPLICATES, &error);
    if (header == NULL) {
        return PB_FAIL(PB_ERR_FORMAT, "header: invalid JSON at byte %d: %s; " DAMAGED,
                       error.position, error.text);
    }
    uint64_t data_size = (uint64_t)size - SIZE_BYTES - header_size;
    pb_status status   = PB_OK;
    PB_TRY_GOTO(status, parse_tensors(header, bytes + SIZE_BYTES + header_size, data_size, shard),
                out_header);
    PB_TRY_GOTO(status, check_cover(shard, data_size), out_header);
out_header:
    json_decref(header);
    return status;
}

pb_status shard_open(const char *path, model_shard *out)
{
    pb_status status = PB_OK;
    *out             = (model_shard){0};
    PB_TRY(PB_TEXT(out->path, path));
    PB_TRY_GOTO(status, pb_mapping_open(path, &out->mapping), err_shard);
    status = parse_file(out);
    if (status != PB_OK) {
        pb_error_prefix(status, "%s", path);
        goto err_shard;
    }
    return PB_OK;
err_shard:
    shard_close(out);
    return status;
}

void shard_tensor_clear(shard_tensor *tensor)
{
    pb_memory_free((void *)(uintptr_t)tensor->named.name);
    pb_memory_free(tensor->copy);
    *tensor = (shard_tensor){0};
}

void shard_close(model_shard *shard)
{
    for (int64_t i = 0; i < shard->count; i++) {
        shard_tensor_clear(&shard->tensors[i]);
    }
    pb_memory_free(shard->tensors);
    pb_mapping_close(&shard->mapping);
    pb_memory_free(shard->path);
    *shard = (model_shard){0};
}
