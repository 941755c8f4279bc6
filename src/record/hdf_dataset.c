// SPDX-License-Identifier: Apache-2.0
/* Datasets of HDF5: arrays with units and dimension scales. Small ones are stored in the object
 * header, larger numeric ones shuffled and gzipped. */
#include "hdf.h"
#include "text.h"

#include "pb/memory.h"
#include "pb/record.h"

#include <hdf5_hl.h>
#include <inttypes.h>
#include <string.h>

#define COMPACT_BYTES  ((size_t)4096) /* up to this size an array is stored in its object header */
#define CHUNK_ELEMENTS ((hsize_t)16384)
#define GZIP_LEVEL     4
#define ROWS_MAX       ((hsize_t)1 << 40) /* a larger number is damage, not data */

static hid_t stored_type(record_kind kind)
{
    switch (kind) {
    case RECORD_I64:
        return H5Tcopy(H5T_STD_I64LE);
    case RECORD_F64:
        return H5Tcopy(H5T_IEEE_F64LE);
    case RECORD_I8:
        return H5Tcopy(H5T_STD_I8LE);
    case RECORD_TEXT:
        return hdf_text_type();
    }
    return -1;
}

static hid_t memory_type(record_kind kind)
{
    switch (kind) {
    case RECORD_I64:
        return H5Tcopy(H5T_NATIVE_INT64);
    case RECORD_F64:
        return H5Tcopy(H5T_NATIVE_DOUBLE);
    case RECORD_I8:
        return H5Tcopy(H5T_NATIVE_INT8);
    case RECORD_TEXT:
        return hdf_text_type();
    }
    return -1;
}

size_t hdf_kind_size(record_kind kind)
{
    return kind == RECORD_TEXT ? sizeof(char *) : kind == RECORD_I8 ? 1 : 8;
}

/* The layout of a dataset by its size. */
static pb_status layout(hid_t creation, const hdf_array *array, hsize_t elements)
{
    size_t bytes =
        (size_t)elements * (array->kind == RECORD_TEXT ? 16 : hdf_kind_size(array->kind));
    pb_status status = PB_OK;

    if (elements == 0) {
        return PB_OK;
    }
    if (bytes <= COMPACT_BYTES) {
        TRY_HDF5(status, H5Pset_layout(creation, H5D_COMPACT), out);
    } else if (array->kind != RECORD_TEXT) {
        hsize_t chunk[4];
        hsize_t inner = elements / array->shape[0];
        memcpy(chunk, array->shape, sizeof chunk);
        hsize_t rows = inner < CHUNK_ELEMENTS ? CHUNK_ELEMENTS / inner : 1;
        chunk[0]     = rows < array->shape[0] ? rows : array->shape[0];
        TRY_HDF5(status, H5Pset_chunk(creation, array->rank, chunk), out);
        if (H5Zfilter_avail(H5Z_FILTER_SHUFFLE) > 0 && H5Zfilter_avail(H5Z_FILTER_DEFLATE) > 0) {
            TRY_HDF5(status, H5Pset_shuffle(creation), out);
            TRY_HDF5(status, H5Pset_deflate(creation, GZIP_LEVEL), out);
        }
    }
out:
    return status;
}

/* Texts are converted in a buffer that HDF5 makes and clears for every call, 1 MB by default: for
 * the short columns of a cell that would be most of the cost of a merge. */
static pb_status transfer(hsize_t elements, hid_t *out)
{
    size_t bytes     = elements < 65536 ? 4096 + (size_t)elements * sizeof(hvl_t) : (size_t)1 << 20;
    pb_status status = PB_OK;

    TRY_HDF5(status, *out = H5Pcreate(H5P_DATASET_XFER), out);
    TRY_HDF5(status, H5Pset_buffer(*out, bytes, NULL, NULL), out);
out:
    return status;
}

pb_status hdf_array_write(hid_t group, const hdf_array *array, hid_t *out)
{
    const unsigned order = H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED;
    hsize_t elements     = 1;
    hid_t space          = -1;
    hid_t creation       = -1;
    hid_t stored         = -1;
    hid_t memory         = -1;
    hid_t dataset        = -1;
    hid_t how            = -1;
    pb_status status     = PB_OK;

    for (int i = 0; i < array->rank; i++) {
        elements *= array->shape[i];
    }
    TRY_HDF5(status, space = H5Screate_simple(array->rank, array->shape, NULL), out);
    TRY_HDF5(status, creation = H5Pcreate(H5P_DATASET_CREATE), out);
    TRY_HDF5(status, H5Pset_attr_creation_order(creation, order), out);
    PB_TRY_GOTO(status, layout(creation, array, elements), out);
    TRY_HDF5(status, stored = stored_type(array->kind), out);
    TRY_HDF5(status, memory = memory_type(array->kind), out);
    TRY_HDF5(status,
             dataset =
                 H5Dcreate2(group, array->name, stored, space, H5P_DEFAULT, creation, H5P_DEFAULT),
             out);
    if (elements > 0) {
        PB_TRY_GOTO(status, transfer(elements, &how), out);
        TRY_HDF5(status, H5Dwrite(dataset, memory, H5S_ALL, H5S_ALL, how, array->values), out);
    }
    if (array->kind != RECORD_TEXT) {
        PB_TRY_GOTO(status, hdf_put_text(dataset, "units", array->units, NULL), out);
    }
    PB_TRY_GOTO(status, hdf_put_text(dataset, "long_name", array->long_name, NULL), out);
    *out    = dataset;
    dataset = -1;
out:
    hdf_release(&dataset);
    hdf_release(&how);
    hdf_release(&memory);
    hdf_release(&stored);
    hdf_release(&creation);
    hdf_release(&space);
    return pb_error_prefix(status, "dataset \"%s\"", array->name);
}

pb_status hdf_scale_make(hid_t dataset, const char *name)
{
    pb_status status = PB_OK;

    TRY_HDF5(status, H5DSset_scale(dataset, name), out);
out:
    return status;
}

pb_status hdf_scale_attach(hid_t dataset, hid_t scale, int dimension, const char *name)
{
    pb_status status = PB_OK;

    TRY_HDF5(status, H5DSattach_scale(dataset, scale, (unsigned)dimension), out);
    TRY_HDF5(status, H5DSset_label(dataset, (unsigned)dimension, name), out);
out:
    return status;
}

pb_status hdf_dataset_open(hid_t group, const char *name, hid_t *out)
{
    hid_t dataset    = -1;
    hid_t creation   = -1;
    pb_status status = PB_OK;

    if (!hdf_has(group, name)) {
        return PB_FAIL(PB_ERR_FORMAT, "dataset \"%s\" is missing", name);
    }
    PB_TRY(hdf_check_link(group, name));
    TRY_HDF5(status, dataset = H5Dopen2(group, name, H5P_DEFAULT), out);
    TRY_HDF5(status, creation = H5Dget_create_plist(dataset), out);
    if (H5Pget_external_count(creation) > 0 || H5Pget_layout(creation) == H5D_VIRTUAL) {
        status = PB_FAIL(PB_ERR_FORMAT,
                         "dataset \"%s\" has its data in another file, which is not read: results "
                         "files are complete",
                         name);
        goto out;
    }
    *out    = dataset;
    dataset = -1;
out:
    hdf_release(&creation);
    hdf_release(&dataset);
    return status;
}

pb_status hdf_column_open(hid_t group, const char *name, record_kind kind, hid_t *out,
                          hsize_t *count)
{
    hid_t dataset     = -1;
    hid_t space       = -1;
    hid_t type        = -1;
    pb_status status  = PB_OK;
    H5T_class_t class = kind == RECORD_TEXT  ? H5T_STRING
                        : kind == RECORD_F64 ? H5T_FLOAT
                                             : H5T_INTEGER;

    PB_TRY(hdf_dataset_open(group, name, &dataset));
    TRY_HDF5(status, space = H5Dget_space(dataset), out);
    TRY_HDF5(status, type = H5Dget_type(dataset), out);
    if (H5Sget_simple_extent_ndims(space) != 1 || H5Tget_class(type) != class ||
        (kind == RECORD_TEXT && H5Tis_variable_str(type) <= 0)) {
        status =
            PB_FAIL(PB_ERR_FORMAT, "dataset \"%s\" has another type or rank than the schema", name);
        goto out;
    }
    TRY_HDF5(status, H5Sget_simple_extent_dims(space, count, NULL), out);
    if (*count > ROWS_MAX) {
        status = PB_FAIL(PB_ERR_FORMAT, "dataset \"%s\" claims %" PRIu64 " rows", name,
                         (uint64_t)*count);
    }
out:
    hdf_release(&type);
    hdf_release(&space);
    if (status == PB_OK) {
        *out = dataset;
    } else {
        hdf_release(&dataset);
    }
    return status;
}

pb_status hdf_rows(hid_t group, const char *name, int64_t *count)
{
    hid_t dataset    = -1;
    hid_t space      = -1;
    hsize_t length   = 0;
    pb_status status = PB_OK;

    PB_TRY(hdf_dataset_open(group, name, &dataset));
    TRY_HDF5(status, space = H5Dget_space(dataset), out);
    if (H5Sget_simple_extent_ndims(space) != 1) {
        status = PB_FAIL(PB_ERR_FORMAT, "dataset \"%s\" has another rank than the schema", name);
        goto out;
    }
    TRY_HDF5(status, H5Sget_simple_extent_dims(space, &length, NULL), out);
    *count = (int64_t)length;
out:
    hdf_release(&space);
    hdf_release(&dataset);
    return status;
}

pb_status hdf_column_texts(hid_t dataset, hsize_t count, char *slots, size_t stride)
{
    char **read      = NULL;
    hid_t type       = -1;
    hid_t space      = -1;
    hid_t how        = -1;
    pb_status status = PB_OK;

    if (count == 0) {
        return PB_OK;
    }
    PB_TRY_GOTO(status, PB_ALLOC(read, count), out);
    TRY_HDF5(status, type = hdf_text_type(), out);
    TRY_HDF5(status, space = H5Dget_space(dataset), out);
    PB_TRY_GOTO(status, transfer(count, &how), out);
    TRY_HDF5(status, H5Dread(dataset, type, H5S_ALL, H5S_ALL, how, read), out);
    for (hsize_t i = 0; status == PB_OK && i < count; i++) {
        status = pb_record_set_text((char **)(slots + i * stride), read[i] != NULL ? read[i] : "");
    }
    (void)H5Dvlen_reclaim(type, space, H5P_DEFAULT, read);
out:
    hdf_release(&how);
    hdf_release(&space);
    hdf_release(&type);
    pb_memory_free(read);
    return status;
}

pb_status hdf_column_numbers(hid_t dataset, record_kind kind, hsize_t count, void *values)
{
    hid_t type       = -1;
    pb_status status = PB_OK;

    if (count == 0) {
        return PB_OK;
    }
    TRY_HDF5(status, type = memory_type(kind), out);
    TRY_HDF5(status, H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), out);
out:
    hdf_release(&type);
    return status;
}

pb_status hdf_texts_read(hid_t group, const char *name, char ***texts, int64_t *count)
{
    hid_t dataset    = -1;
    char **read      = NULL;
    hsize_t length   = 0;
    pb_status status = PB_OK;

    PB_TRY(hdf_column_open(group, name, RECORD_TEXT, &dataset, &length));
    PB_TRY_GOTO(status, PB_ALLOC(read, length + 1), out);
    PB_TRY_GOTO(status, hdf_column_texts(dataset, length, (char *)read, sizeof *read), out);
    *texts = read;
    *count = (int64_t)length;
    read   = NULL;
out:
    pb_memory_free_texts(read, (size_t)length);
    hdf_release(&dataset);
    return status;
}

/* One number more is allocated, so that an empty column has a block. */
pb_status hdf_numbers_read(hid_t group, const char *name, record_kind kind, void **values,
                           int64_t *count)
{
    hid_t dataset    = -1;
    void *read       = NULL;
    hsize_t length   = 0;
    pb_status status = PB_OK;

    PB_TRY(hdf_column_open(group, name, kind, &dataset, &length));
    read = pb_memory_new((size_t)length + 1, hdf_kind_size(kind));
    if (read == NULL) {
        status = PB_ERR_MEMORY;
        goto out;
    }
    PB_TRY_GOTO(status, hdf_column_numbers(dataset, kind, length, read), out);
    *values = read;
    *count  = (int64_t)length;
    read    = NULL;
out:
    pb_memory_free(read);
    hdf_release(&dataset);
    return status;
}
