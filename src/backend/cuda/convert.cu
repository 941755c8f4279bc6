// SPDX-License-Identifier: Apache-2.0
/* Rows from one type to another, or to other places; and what launches of all kernels report. */
#include "map.cuh"

struct same {
    __device__ void operator()(const piece *in, piece *out, int64_t, int64_t) const
    {
        *out = *in;
    }
};

extern "C" cudaError_t launch_convert(view y, view x, extent shape, cudaStream_t stream)
{
    return map<4, 0, 1, 2, 3>("convert", same{}, matrices<1, 1>{{x, y}}, shape, stream);
}

extern "C" refused_launch launch_refused(void)
{
    refused_launch last = device_refused;
    device_refused      = {};
    return last;
}
