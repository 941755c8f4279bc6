// SPDX-License-Identifier: Apache-2.0
/* Activations and the gated product. */
#include "rows.h"

pb_status cuda_activation_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                                  pb_activation act)
{
    extent shape = rows_extent((const pb_tensor *[]){y, x}, 2);
    CUDA_LAUNCH(be, "activation_forward", shape.rows, shape.columns,
                launch_activation_forward(rows_view(y, &shape), rows_view(x, &shape), (int)act,
                                          shape, cuda_of(be)->stream));
    return PB_OK;
}

pb_status cuda_activation_backward(pb_backend *be, pb_tensor *dx, const pb_tensor *dy,
                                   const pb_tensor *x, pb_activation act)
{
    extent shape = rows_extent((const pb_tensor *[]){dx, dy, x}, 3);
    CUDA_LAUNCH(be, "activation_backward", shape.rows, shape.columns,
                launch_activation_backward(rows_view(dx, &shape), rows_view(dy, &shape),
                                           rows_view(x, &shape), (int)act, shape,
                                           cuda_of(be)->stream));
    return PB_OK;
}

pb_status cuda_gated_forward(pb_backend *be, pb_tensor *y, const pb_tensor *gate,
                             const pb_tensor *up, pb_activation act)
{
    extent shape = rows_extent((const pb_tensor *[]){y, gate, up}, 3);
    CUDA_LAUNCH(be, "gated_forward", shape.rows, shape.columns,
                launch_gated_forward(rows_view(y, &shape), rows_view(gate, &shape),
                                     rows_view(up, &shape), (int)act, shape, cuda_of(be)->stream));
    return PB_OK;
}

pb_status cuda_gated_backward(pb_backend *be, pb_tensor *dgate, pb_tensor *dup, const pb_tensor *dy,
                              const pb_tensor *gate, const pb_tensor *up, pb_activation act)
{
    extent shape = rows_extent((const pb_tensor *[]){dgate, dup, dy, gate, up}, 5);
    CUDA_LAUNCH(be, "gated_backward", shape.rows, shape.columns,
                launch_gated_backward(rows_view(dgate, &shape), rows_view(dup, &shape),
                                      rows_view(dy, &shape), rows_view(gate, &shape),
                                      rows_view(up, &shape), (int)act, shape, cuda_of(be)->stream));
    return PB_OK;
}
