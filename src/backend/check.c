// SPDX-License-Identifier: Apache-2.0
/* Argument checks of the fronts: shape, dtype, memory, stride, range of indices. */
#include "check.h"

#include <inttypes.h>
#include <stdio.h>

enum { TEXT = 96 };

static pb_status check_memory(const char *op, const char *name, const pb_tensor *t)
{
    char text[TEXT];

    for (int d = 0; d < t->ndim; d++) {
        if (t->shape[d] < 0) {
            return PB_FAIL(PB_ERR_SHAPE, "%s: %s has a negative size: %s", op, name,
                           pb_tensor_shape_text(t, text, sizeof text));
        }
    }
    if (t->data == NULL && pb_tensor_count(t) > 0) {
        return PB_FAIL(PB_ERR_ARGUMENT, "%s: %s %s has no memory", op, name,
                       pb_tensor_shape_text(t, text, sizeof text));
    }
    if (t->shape[0] > 1 && t->stride < pb_tensor_width(t)) {
        return PB_FAIL(PB_ERR_SHAPE, "%s: rows of %s %s overlap: stride %" PRId64, op, name,
                       pb_tensor_shape_text(t, text, sizeof text), t->stride);
    }
    return PB_OK;
}

/* F32, or `other`. */
static pb_status check_type(const char *op, const char *name, const pb_tensor *t, pb_dtype other)
{
    if (pb_tensor_is_none(t)) {
        return PB_FAIL(PB_ERR_ARGUMENT, "%s: %s is missing", op, name);
    }
    if (t->dtype != PB_DTYPE_F32 && t->dtype != other) {
        bool one = other == PB_DTYPE_F32;
        return PB_FAIL(PB_ERR_UNSUPPORTED, "%s: %s is %s, only F32%s%s %s computed", op, name,
                       pb_dtype_name(t->dtype), one ? "" : " and ", one ? "" : pb_dtype_name(other),
                       one ? "is" : "are");
    }
    return check_memory(op, name, t);
}

static pb_status check_f32(const char *op, const char *name, const pb_tensor *t)
{
    return check_type(op, name, t, PB_DTYPE_F32);
}

/* The same for frozen weights, which may be held in 16 bits. */
static pb_status check_weight_type(const char *op, const char *name, const pb_tensor *t)
{
    if (!pb_tensor_is_none(t) && (t->dtype == PB_DTYPE_BF16 || t->dtype == PB_DTYPE_F16)) {
        return check_memory(op, name, t);
    }
    return check_f32(op, name, t);
}

static pb_status check_sizes(const char *op, const char *name, const pb_tensor *t, int64_t rows,
                             int64_t columns)
{
    char text[TEXT];
    char want_rows[24]    = "any";
    char want_columns[24] = "any";

    if (t->ndim == 2 && (rows < 0 || t->shape[0] == rows) &&
        (columns < 0 || t->shape[1] == columns)) {
        return PB_OK;
    }
    if (rows >= 0) {
        snprintf(want_rows, sizeof want_rows, "%" PRId64, rows);
    }
    if (columns >= 0) {
        snprintf(want_columns, sizeof want_columns, "%" PRId64, columns);
    }
    return PB_FAIL(PB_ERR_SHAPE, "%s: %s is %s, not [%s, %s]", op, name,
                   pb_tensor_shape_text(t, text, sizeof text), want_rows, want_columns);
}

pb_status check_weight(const char *op, const char *name, const pb_tensor *t, int64_t rows,
                       int64_t columns)
{
    PB_TRY(check_weight_type(op, name, t));
    return check_sizes(op, name, t, rows, columns);
}

pb_status check_matrix(const char *op, const char *name, const pb_tensor *t, int64_t rows,
                       int64_t columns)
{
    PB_TRY(check_f32(op, name, t));
    return check_sizes(op, name, t, rows, columns);
}

pb_status check_rows(const pb_backend *be, const char *op, const char *name, const pb_tensor *t,
                     int64_t rows, int64_t columns)
{
    PB_TRY(check_type(op, name, t, activation_of(be)));
    return check_sizes(op, name, t, rows, columns);
}

pb_status check_vector(const char *op, const char *name, const pb_tensor *t, int64_t n)
{
    char text[TEXT];

    PB_TRY(check_f32(op, name, t));
    if (pb_tensor_count(t) != n || !pb_tensor_is_contiguous(t)) {
        return PB_FAIL(PB_ERR_SHAPE, "%s: %s is %s, not %" PRId64 " contiguous elements", op, name,
                       pb_tensor_shape_text(t, text, sizeof text), n);
    }
    return PB_OK;
}

static pb_status check_shape(const char *op, const char *name, const pb_tensor *t,
                             const pb_tensor *like)
{
    char text[TEXT];
    char other[TEXT];

    if (like != NULL && !pb_tensor_same_shape(t, like)) {
        return PB_FAIL(PB_ERR_SHAPE, "%s: %s is %s, not %s", op, name,
                       pb_tensor_shape_text(t, text, sizeof text),
                       pb_tensor_shape_text(like, other, sizeof other));
    }
    return PB_OK;
}

pb_status check_like(const char *op, const char *name, const pb_tensor *t, const pb_tensor *like)
{
    PB_TRY(check_f32(op, name, t));
    return check_shape(op, name, t, like);
}

pb_status check_rows_like(const pb_backend *be, const char *op, const char *name,
                          const pb_tensor *t, const pb_tensor *like)
{
    PB_TRY(check_type(op, name, t, activation_of(be)));
    return check_shape(op, name, t, like);
}

pb_status check_numbers(const char *op, const char *name, const pb_tensor *t, int64_t n)
{
    char text[TEXT];

    if (t->dtype != PB_DTYPE_F64 || t->ndim != 1 || t->stride != 1 ||
        (n != ANY && t->shape[0] != n)) {
        return PB_FAIL(PB_ERR_SHAPE, "%s: %s is %s %s, not contiguous F64 numbers", op, name,
                       pb_dtype_name(t->dtype), pb_tensor_shape_text(t, text, sizeof text));
    }
    return check_memory(op, name, t);
}

pb_status check_indices(const char *name, const int32_t *indices, int64_t count, int64_t first,
                        int64_t limit)
{
    if (indices == NULL && count > 0) {
        return PB_FAIL(PB_ERR_ARGUMENT, "the list %s is missing", name);
    }
    for (int64_t i = 0; i < count; i++) {
        if (indices[i] < first || indices[i] >= limit) {
            return PB_FAIL(PB_ERR_ARGUMENT,
                           "%s[%" PRId64 "] is %" PRId32 ", allowed are %" PRId64 " to %" PRId64,
                           name, i, indices[i], first, limit - 1);
        }
    }
    return PB_OK;
}

pb_status check_list(const char *op, const char *name, const pb_list *list, int64_t count,
                     int64_t first, int64_t limit)
{
    if (list->count != count || (list->data == NULL && count > 0)) {
        return PB_FAIL(PB_ERR_SHAPE, "%s: %" PRId64 " %s are needed, the list has %" PRId64, op,
                       count, name, list->count);
    }
    if (count > 0 && (list->first < first || list->limit > limit)) {
        return PB_FAIL(PB_ERR_ARGUMENT,
                       "%s: %s are within %" PRId64 " to %" PRId64 ", allowed are %" PRId64
                       " to %" PRId64,
                       op, name, list->first, list->limit - 1, first, limit - 1);
    }
    return PB_OK;
}
