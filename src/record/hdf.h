// SPDX-License-Identifier: Apache-2.0
/* A thin layer over HDF5: failures become a pb_status with the text of HDF5's own error stack, and
 * the few objects that this schema uses (groups, texts, numbers, columns with dimension scales). */
#pragma once

#include "tables.h"

#include "pb/string.h"

#include <hdf5.h>

/* Runs an HDF5 call whose negative result is a failure; the message names the call. */
#define TRY_HDF5(status, expression, label)                                 \
    do {                                                                    \
        if ((expression) < 0) {                                             \
            (status) = hdf_fail(#expression, __FILE__, __LINE__, __func__); \
            goto label;                                                     \
        }                                                                   \
    } while (0)

pb_status hdf_fail(const char *call, const char *file, int line, const char *function);

/* Turns HDF5's own printing and its clean-up at exit off. The latter only works before any other
 * call to the library, so every entry into this module calls it first. */
void hdf_quiet(void);

/* A new file; path NULL: in memory, where hdf_image returns its bytes. Creation order is tracked
 * and the format is the one of HDF5 1.8, which every later version reads. */
pb_status hdf_create(const char *path, hid_t *file) PB_MUST_USE;
/* The bytes of a file in memory, to be freed with pb_memory_free; the file stays open. */
pb_status hdf_image(hid_t file, void **bytes, size_t *size) PB_MUST_USE;
/* Closes a file that was written; failures to store the last bytes appear here. */
pb_status hdf_close(hid_t *file) PB_MUST_USE;
/* Closes a file that is written and opens it again. */
pb_status hdf_reopen(const char *path, hid_t *file) PB_MUST_USE;

pb_status hdf_group_create(hid_t parent, const char *name, hid_t *group) PB_MUST_USE;
pb_status hdf_group_open(hid_t parent, const char *name, hid_t *group) PB_MUST_USE;
bool hdf_has(hid_t parent, const char *name);
/* Fails where the name is a link to another place or file: results files have none, and a foreign
 * file must not make us read others. */
pb_status hdf_check_link(hid_t parent, const char *name) PB_MUST_USE;
bool hdf_has_attribute(hid_t object, const char *name);
/* Closes anything but a file; accepts a negative one. */
void hdf_release(hid_t *id);
/* The type of all texts: variable length, UTF-8. Close it with hdf_release. */
hid_t hdf_text_type(void);

/* Attributes. Texts that are not UTF-8 are escaped; their invalid bytes are counted in *escaped
 * (may be NULL). */
pb_status hdf_put_text(hid_t object, const char *name, const char *text,
                       int64_t *escaped) PB_MUST_USE;
/* A list of texts, all valid UTF-8 and none NULL. */
pb_status hdf_put_texts(hid_t object, const char *name, const char *const *texts,
                        int count) PB_MUST_USE;
pb_status hdf_put_i64(hid_t object, const char *name, int64_t value) PB_MUST_USE;
pb_status hdf_put_f64(hid_t object, const char *name, double value) PB_MUST_USE;
/* PB_ERR_FORMAT, naming the attribute, when it is missing, of another type, or an array. */
pb_status hdf_get_text(hid_t object, const char *name, char **text) PB_MUST_USE;
pb_status hdf_get_i64(hid_t object, const char *name, int64_t *value) PB_MUST_USE;
pb_status hdf_get_f64(hid_t object, const char *name, double *value) PB_MUST_USE;
/* Names of all attributes, or of all links, in the order of their creation; free with
 * pb_memory_free_texts. */
pb_status hdf_names(hid_t object, bool attributes, char ***names, size_t *count) PB_MUST_USE;

/* A dataset of any rank: `values` holds int64_t, double, int8_t or char * (never NULL). */
typedef struct hdf_array {
    const char *name, *units, *long_name;
    record_kind kind;
    int rank;
    hsize_t shape[4];
    const void *values;
} hdf_array;

pb_status hdf_array_write(hid_t group, const hdf_array *array, hid_t *dataset) PB_MUST_USE;
/* Makes a dataset the scale of a dimension, and gives a dimension its scale. */
pb_status hdf_scale_make(hid_t dataset, const char *name) PB_MUST_USE;
pb_status hdf_scale_attach(hid_t dataset, hid_t scale, int dimension, const char *name) PB_MUST_USE;
/* Refuses a dataset whose data is in another file. */
pb_status hdf_dataset_open(hid_t group, const char *name, hid_t *dataset) PB_MUST_USE;

/* A list of rows as a group of columns; the first column is the scale. */
pb_status hdf_list_write(hid_t parent, const record_list *list, const void *rows, int64_t count,
                         int64_t *escaped) PB_MUST_USE;
/* On failure there is nothing to free. */
pb_status hdf_list_read(hid_t parent, const record_list *list, void **rows,
                        int64_t *count) PB_MUST_USE;

/* One-dimensional datasets, one per column. Opening checks that the type fits `kind` and returns
 * the length; texts are copied into slots `stride` bytes apart, and those set before a failure
 * remain. */
size_t hdf_kind_size(record_kind kind);
pb_status hdf_column_open(hid_t group, const char *name, record_kind kind, hid_t *dataset,
                          hsize_t *count) PB_MUST_USE;
pb_status hdf_column_texts(hid_t dataset, hsize_t count, char *slots, size_t stride) PB_MUST_USE;
pb_status hdf_column_numbers(hid_t dataset, record_kind kind, hsize_t count,
                             void *values) PB_MUST_USE;

/* The length of a one-dimensional dataset of any type. */
pb_status hdf_rows(hid_t group, const char *name, int64_t *count) PB_MUST_USE;

/* One-dimensional datasets: texts (free each and the array); numbers of RECORD_I64 or RECORD_F64.
 */
pb_status hdf_texts_read(hid_t group, const char *name, char ***texts, int64_t *count) PB_MUST_USE;
pb_status hdf_numbers_read(hid_t group, const char *name, record_kind kind, void **values,
                           int64_t *count) PB_MUST_USE;
