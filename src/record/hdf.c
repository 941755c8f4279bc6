// SPDX-License-Identifier: Apache-2.0
/* Files, groups and attributes of HDF5. Every failure carries the innermost entry of HDF5's error
 * stack, which names the cause; the stack's own printing is off. */
#include "hdf.h"

#include "text.h"

#include "pb/file.h"
#include "pb/memory.h"
#include "pb/results.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct hdf_cause {
    char text[256];
    int reason; /* errno of a failed read or write, 0 otherwise */
} hdf_cause;

/* For a failed read or write HDF5 reports the time, the buffer and more; only the operation and the
 * system's reason are kept. */
static herr_t keep_innermost(unsigned n, const H5E_error2_t *error, void *data)
{
    static const char key[]    = "error message = '";
    static const char number[] = "errno = ";
    hdf_cause *cause           = data;

    if (n != 0 || error->desc == NULL) {
        return 0;
    }
    const char *reason = strstr(error->desc, key);
    if (reason == NULL) {
        (void)snprintf(cause->text, sizeof cause->text, "%s", error->desc);
        return 0;
    }
    const char *code = strstr(error->desc, number);
    cause->reason    = code != NULL ? (int)strtol(code + sizeof number - 1, NULL, 10) : 0;
    reason += sizeof key - 1;
    (void)snprintf(cause->text, sizeof cause->text, "%.*s: %.*s", (int)strcspn(error->desc, ":"),
                   error->desc, (int)strcspn(reason, "'"), reason);
    return 0;
}

/* Takes the innermost entry off the error stack. */
static hdf_cause take_cause(void)
{
    hdf_cause cause = {.text = "no reason given"};

    (void)H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, &cause);
    (void)H5Eclear2(H5E_DEFAULT);
    return cause;
}

pb_status hdf_fail(const char *call, const char *file, int line, const char *function)
{
    hdf_cause cause   = take_cause();
    const char *start = strstr(call, "H5");
    const char *end   = start != NULL ? strchr(start, '(') : NULL;

    if (end == NULL) {
        start = call;
        end   = call + strlen(call);
    }
    return pb_error_set(PB_ERR_LIBRARY, file, line, function, "HDF5 %.*s: %s%s", (int)(end - start),
                        start, cause.text, pb_file_remedy(cause.reason));
}

void hdf_quiet(void)
{
    /* Files are replaced as a whole and read from memory, so HDF5 has nothing to lock, and on file
     * systems without locks it would refuse to work. The variable overrides H5Pset_file_locking and
     * works with versions that lack it. */
    (void)setenv("HDF5_USE_FILE_LOCKING", "FALSE", 1);
    /* After a failed write (a full disk) HDF5 cannot close the file, and its own clean-up at exit
     * crashes on it (seen in 1.10.8). Every file is closed by us, so the clean-up is not needed. */
    (void)H5dont_atexit();
    (void)H5open();
    (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    (void)H5Lunregister(H5L_TYPE_EXTERNAL); /* links into other files are not followed */
    (void)H5Eclear2(H5E_DEFAULT);
}

const char *pb_results_library(void)
{
    static char text[40];
    unsigned major = 0;
    unsigned minor = 0;
    unsigned patch = 0;

    hdf_quiet();
    (void)H5get_libversion(&major, &minor, &patch);
    (void)snprintf(text, sizeof text, "HDF5 %u.%u.%u", major, minor, patch);
    return text;
}

pb_status hdf_create(const char *path, hid_t *out)
{
    const unsigned order = H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED;
    hid_t access         = -1;
    hid_t creation       = -1;
    hid_t file           = -1;
    pb_status status     = PB_OK;

    hdf_quiet();
    TRY_HDF5(status, access = H5Pcreate(H5P_FILE_ACCESS), out);
    TRY_HDF5(status, creation = H5Pcreate(H5P_FILE_CREATE), out);
    TRY_HDF5(status, H5Pset_libver_bounds(access, H5F_LIBVER_EARLIEST, H5F_LIBVER_V18), out);
    TRY_HDF5(status, H5Pset_link_creation_order(creation, order), out);
    TRY_HDF5(status, H5Pset_attr_creation_order(creation, order), out);
    if (path == NULL) {
        TRY_HDF5(status, H5Pset_fapl_core(access, (size_t)1 << 16, false), out);
        path = "in-memory";
    }
    TRY_HDF5(status, file = H5Fcreate(path, H5F_ACC_TRUNC, creation, access), out);
    *out = file;

out:
    hdf_release(&creation);
    hdf_release(&access);
    return status;
}

pb_status hdf_image(hid_t file, void **bytes, size_t *size)
{
    char *image      = NULL;
    ssize_t length   = 0;
    pb_status status = PB_OK;

    TRY_HDF5(status, H5Fflush(file, H5F_SCOPE_GLOBAL), out);
    TRY_HDF5(status, length = H5Fget_file_image(file, NULL, 0), out);
    PB_TRY(PB_ALLOC(image, length));
    TRY_HDF5(status, length = H5Fget_file_image(file, image, (size_t)length), err_image);
    *bytes = image;
    *size  = (size_t)length;
    return PB_OK;

err_image:
    pb_memory_free(image);
out:
    return status;
}

pb_status hdf_close(hid_t *file)
{
    pb_status status = PB_OK;
    hid_t closing    = *file;

    *file = -1;
    TRY_HDF5(status, H5Fclose(closing), out);
out:
    return status;
}

pb_status hdf_reopen(const char *path, hid_t *file)
{
    hid_t access     = -1;
    pb_status status = PB_OK;

    PB_TRY(hdf_close(file));
    TRY_HDF5(status, access = H5Pcreate(H5P_FILE_ACCESS), out);
    TRY_HDF5(status, H5Pset_libver_bounds(access, H5F_LIBVER_EARLIEST, H5F_LIBVER_V18), out);
    TRY_HDF5(status, *file = H5Fopen(path, H5F_ACC_RDWR, access), out);
out:
    hdf_release(&access);
    return status;
}

pb_status hdf_group_create(hid_t parent, const char *name, hid_t *out)
{
    const unsigned order = H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED;
    hid_t creation       = -1;
    pb_status status     = PB_OK;

    TRY_HDF5(status, creation = H5Pcreate(H5P_GROUP_CREATE), out);
    TRY_HDF5(status, H5Pset_link_creation_order(creation, order), out);
    TRY_HDF5(status, H5Pset_attr_creation_order(creation, order), out);
    /* A cell has about 45 small attributes: kept in its header, they are read at once. */
    TRY_HDF5(status, H5Pset_attr_phase_change(creation, 64, 48), out);
    TRY_HDF5(status, *out = H5Gcreate2(parent, name, H5P_DEFAULT, creation, H5P_DEFAULT), out);
out:
    hdf_release(&creation);
    return status;
}

pb_status hdf_group_open(hid_t parent, const char *name, hid_t *group)
{
    pb_status status = PB_OK;

    if (!hdf_has(parent, name)) {
        return PB_FAIL(PB_ERR_FORMAT, "group \"%s\" is missing", name);
    }
    PB_TRY(hdf_check_link(parent, name));
    TRY_HDF5(status, *group = H5Gopen2(parent, name, H5P_DEFAULT), out);
out:
    return status;
}

bool hdf_has(hid_t parent, const char *name)
{
    bool found = H5Lexists(parent, name, H5P_DEFAULT) > 0;

    (void)H5Eclear2(H5E_DEFAULT);
    return found;
}

pb_status hdf_check_link(hid_t parent, const char *name)
{
    H5L_info_t about = {0};
    pb_status status = PB_OK;

    TRY_HDF5(status, H5Lget_info(parent, name, &about, H5P_DEFAULT), out);
    if (about.type != H5L_TYPE_HARD) {
        status = PB_FAIL(PB_ERR_FORMAT,
                         "\"%s\" is a link to another %s, which is not followed: results files "
                         "contain no links",
                         name, about.type == H5L_TYPE_SOFT ? "place" : "file");
    }
out:
    return status;
}

bool hdf_has_attribute(hid_t object, const char *name)
{
    bool found = H5Aexists(object, name) > 0;

    (void)H5Eclear2(H5E_DEFAULT);
    return found;
}

void hdf_release(hid_t *id)
{
    if (*id >= 0) {
        (void)H5Idec_ref(*id);
        *id = -1;
    }
}

hid_t hdf_text_type(void)
{
    hid_t type = H5Tcopy(H5T_C_S1);

    if (type >= 0 &&
        (H5Tset_size(type, H5T_VARIABLE) < 0 || H5Tset_cset(type, H5T_CSET_UTF8) < 0)) {
        hdf_release(&type);
    }
    return type;
}

typedef struct attribute_type {
    hid_t stored, memory;
    int count; /* negative: a single value */
} attribute_type;

static pb_status put(hid_t object, const char *name, attribute_type type, const void *value)
{
    hsize_t count    = (hsize_t)type.count;
    hid_t space      = -1;
    hid_t attribute  = -1;
    hid_t creation   = -1;
    pb_status status = PB_OK;

    TRY_HDF5(status,
             space = type.count < 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &count, NULL),
             out);
    TRY_HDF5(status, creation = H5Pcreate(H5P_ATTRIBUTE_CREATE), out);
    TRY_HDF5(status, H5Pset_char_encoding(creation, H5T_CSET_UTF8), out);
    TRY_HDF5(status,
             attribute = H5Acreate2(object, name, type.stored, space, creation, H5P_DEFAULT), out);
    TRY_HDF5(status, H5Awrite(attribute, type.memory, value), out);
out:
    hdf_release(&attribute);
    hdf_release(&creation);
    hdf_release(&space);
    return pb_error_prefix(status, "attribute \"%s\"", name);
}

pb_status hdf_put_text(hid_t object, const char *name, const char *text, int64_t *escaped)
{
    char *clean      = NULL;
    hid_t type       = -1;
    pb_status status = PB_OK;

    PB_TRY(text_utf8(text, &clean, escaped));
    TRY_HDF5(status, type = hdf_text_type(), out);
    PB_TRY_GOTO(status, put(object, name, (attribute_type){type, type, -1}, &clean), out);
out:
    hdf_release(&type);
    pb_memory_free(clean);
    return status;
}

pb_status hdf_put_texts(hid_t object, const char *name, const char *const *texts, int count)
{
    hid_t type       = -1;
    pb_status status = PB_OK;

    TRY_HDF5(status, type = hdf_text_type(), out);
    status = put(object, name, (attribute_type){type, type, count}, texts);
out:
    hdf_release(&type);
    return status;
}

pb_status hdf_put_i64(hid_t object, const char *name, int64_t value)
{
    return put(object, name, (attribute_type){H5T_STD_I64LE, H5T_NATIVE_INT64, -1}, &value);
}

pb_status hdf_put_f64(hid_t object, const char *name, double value)
{
    return put(object, name, (attribute_type){H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, -1}, &value);
}

/* Opens an attribute that must be one value of a class. */
static pb_status attribute_open(hid_t object, const char *name, H5T_class_t class, hid_t *out)
{
    hid_t attribute  = -1;
    hid_t space      = -1;
    hid_t type       = -1;
    pb_status status = PB_OK;

    if (!hdf_has_attribute(object, name)) {
        return PB_FAIL(PB_ERR_FORMAT, "attribute \"%s\" is missing", name);
    }
    TRY_HDF5(status, attribute = H5Aopen(object, name, H5P_DEFAULT), out);
    TRY_HDF5(status, space = H5Aget_space(attribute), out);
    TRY_HDF5(status, type = H5Aget_type(attribute), out);
    if (H5Sget_simple_extent_npoints(space) != 1 || H5Tget_class(type) != class ||
        (class == H5T_STRING && H5Tis_variable_str(type) <= 0)) {
        status = PB_FAIL(PB_ERR_FORMAT, "attribute \"%s\" has another type than the schema", name);
    }
out:
    hdf_release(&type);
    hdf_release(&space);
    if (status == PB_OK) {
        *out = attribute;
    } else if (attribute >= 0) {
        (void)H5Aclose(attribute);
    }
    return status;
}

pb_status hdf_get_text(hid_t object, const char *name, char **text)
{
    hid_t attribute  = -1;
    hid_t type       = -1;
    char *read       = NULL;
    pb_status status = PB_OK;

    PB_TRY(attribute_open(object, name, H5T_STRING, &attribute));
    TRY_HDF5(status, type = hdf_text_type(), out);
    TRY_HDF5(status, H5Aread(attribute, type, &read), out);
    PB_TRY_GOTO(status, pb_record_set_text(text, read != NULL ? read : ""), out);
out:
    if (read != NULL) {
        (void)H5free_memory(read);
    }
    hdf_release(&type);
    (void)H5Aclose(attribute);
    return status;
}

static pb_status get_number(hid_t object, const char *name, H5T_class_t class, hid_t type,
                            void *value)
{
    hid_t attribute  = -1;
    pb_status status = PB_OK;

    PB_TRY(attribute_open(object, name, class, &attribute));
    TRY_HDF5(status, H5Aread(attribute, type, value), out);
out:
    (void)H5Aclose(attribute);
    return status;
}

pb_status hdf_get_i64(hid_t object, const char *name, int64_t *value)
{
    return get_number(object, name, H5T_INTEGER, H5T_NATIVE_INT64, value);
}

pb_status hdf_get_f64(hid_t object, const char *name, double *value)
{
    return get_number(object, name, H5T_FLOAT, H5T_NATIVE_DOUBLE, value);
}

pb_status hdf_names(hid_t object, bool attributes, char ***out, size_t *count)
{
    H5O_info_t about = {0};
    H5G_info_t group = {0};
    char **names     = NULL;
    size_t n         = 0;
    pb_status status = PB_OK;

    if (attributes) {
        TRY_HDF5(status, H5Oget_info2(object, &about, H5O_INFO_NUM_ATTRS), out);
    } else {
        TRY_HDF5(status, H5Gget_info(object, &group), out);
    }
    hsize_t total = attributes ? about.num_attrs : group.nlinks;
    PB_TRY_GOTO(status, PB_ALLOC(names, total + 1), out);
    for (; n < total; n++) {
        char name[4096];
        if (attributes) {
            TRY_HDF5(status,
                     H5Aget_name_by_idx(object, ".", H5_INDEX_CRT_ORDER, H5_ITER_INC, n, name,
                                        sizeof name, H5P_DEFAULT),
                     err_names);
        } else {
            TRY_HDF5(status,
                     H5Lget_name_by_idx(object, ".", H5_INDEX_CRT_ORDER, H5_ITER_INC, n, name,
                                        sizeof name, H5P_DEFAULT),
                     err_names);
        }
        PB_TRY_GOTO(status, pb_record_set_text(&names[n], name), err_names);
    }
    *out   = names;
    *count = n;
    return PB_OK;

err_names:
    pb_memory_free_texts(names, n);
out:
    return status;
}
