// SPDX-License-Identifier: Apache-2.0
/* Seconds by kind of work, from events on the stream: the host only queues it. */
#include "cuda.h"

#include <math.h>

static void close_all(cuda_timer *t)
{
    for (int i = 0; i < CUDA_SPANS; i++) {
        for (int end = 0; end < 2; end++) {
            if (t->spans[i].ends[end] != NULL) {
                CUDA_DROP(cudaEventDestroy(t->spans[i].ends[end]));
            }
        }
    }
    *t = (cuda_timer){0};
}

void cuda_timer_close(cuda *c)
{
    close_all(&c->timer);
}

/* Adds what was measured; waits for it. */
static cudaError_t read_spans(cuda *c)
{
    cuda_timer *t = &c->timer;
    for (int i = 0; i < t->count; i++) {
        cuda_span *s       = &t->spans[i];
        float milliseconds = 0.0f;
        cudaError_t code   = cudaEventSynchronize(s->ends[1]);
        if (code == cudaSuccess) {
            code = cudaEventElapsedTime(&milliseconds, s->ends[0], s->ends[1]);
        }
        if (code != cudaSuccess) {
            return code;
        }
        *(s->attention ? &c->base.work.attention_seconds : &c->base.work.matmul_seconds) +=
            (double)milliseconds * 1e-3;
    }
    t->count = 0;
    return cudaSuccess;
}

pb_status cuda_timer_begin(pb_backend *be, bool attention)
{
    cuda *c       = cuda_of(be);
    cuda_timer *t = &c->timer;
    if (!be->timing) {
        return PB_OK;
    }
    if (t->count == CUDA_SPANS) {
        CUDA_TRY(read_spans(c));
    }
    cuda_span *s = &t->spans[t->count];
    s->attention = attention;
    for (int end = 0; end < 2 && s->ends[end] == NULL; end++) {
        CUDA_TRY(cudaEventCreate(&s->ends[end]));
    }
    CUDA_TRY(cudaEventRecord(s->ends[0], c->stream));
    return PB_OK;
}

pb_status cuda_timer_end(pb_backend *be)
{
    cuda *c       = cuda_of(be);
    cuda_timer *t = &c->timer;
    if (be->timing) {
        CUDA_TRY(cudaEventRecord(t->spans[t->count].ends[1], c->stream));
        t->count++;
    }
    return PB_OK;
}

void cuda_work_reset(pb_backend *be)
{
    cuda_of(be)->timer.count = 0;
}

void cuda_work_collect(pb_backend *be)
{
    cuda *c          = cuda_of(be);
    cudaError_t code = read_spans(c);
    if (code != cudaSuccess) {
        c->timer.count          = 0;
        be->work.matmul_seconds = be->work.attention_seconds = (double)NAN;
    }
    cuda_drop(code, "the seconds of products and of attention are unknown");
}
