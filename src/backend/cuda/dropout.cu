// SPDX-License-Identifier: Apache-2.0
/* Dropout, piece by piece. */
#include "philox.cuh"

struct drawn_dropout {
    drop_draw draw;
    int64_t columns;
    __device__ void operator()(const piece *in, piece *out, int64_t row, int64_t column) const
    {
        *out = *in;
        drop_piece(out, draw, row, column, columns);
    }
};

struct dropout {
    drop_mask mask;
    int64_t columns;
};

static __device__ __forceinline__ drawn_dropout started(const dropout &f)
{
    return drawn_dropout{f.mask, f.columns};
}

extern "C" cudaError_t launch_dropout(view y, view x, drop_mask mask, extent shape,
                                      cudaStream_t stream)
{
    return map<4, 0, 3>("dropout", dropout{mask, shape.columns}, matrices<1, 1>{{x, y}}, shape,
                        stream);
}
