// SPDX-License-Identifier: Apache-2.0
/* F32 copies of weights in any float dtype. */
#include "pb/safetensors.h"

pb_status pb_tensor_to_f32(pb_tensor *dst, const pb_tensor *src)
{
    char dst_text[128];
    char src_text[128];
    if (!pb_dtype_is_float(src->dtype)) {
        return PB_FAIL(PB_ERR_UNSUPPORTED, "dtype %s is not a float type that converts to F32",
                       pb_dtype_name(src->dtype));
    }
    if (!pb_tensor_same_shape(dst, src)) {
        return PB_FAIL(PB_ERR_SHAPE, "a tensor of shape %s does not go into one of shape %s",
                       pb_tensor_shape_text(src, src_text, sizeof src_text),
                       pb_tensor_shape_text(dst, dst_text, sizeof dst_text));
    }
    if (dst->dtype != PB_DTYPE_F32 || !pb_tensor_is_contiguous(dst)) {
        return PB_FAIL(PB_ERR_ARGUMENT, "the destination is not a contiguous F32 tensor");
    }
    if (pb_tensor_count(src) == 0) {
        return PB_OK;
    }
    int64_t width = pb_tensor_width(src);
    int64_t rows  = src->shape[0];
    if (src->ndim > 0 && pb_tensor_is_contiguous(src)) {
        width = pb_tensor_count(src);
        rows  = 1;
    }
    size_t src_stride = (size_t)src->stride * pb_dtype_size(src->dtype);
    for (int64_t r = 0; r < rows; r++) {
        pb_floats_to_f32((float *)dst->data + r * width,
                         (const unsigned char *)src->data + (size_t)r * src_stride, src->dtype,
                         width);
    }
    return PB_OK;
}
