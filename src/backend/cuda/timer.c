// SPDX-License-Identifier: Apache-2.0
/* Seconds by kind of work, from events on the stream: the host only queues it. */
#include "cuda.h"

static void close_all(cuda_timer *t)
{
    for (int i = 0; i < CUDA_SPANS; i++) {
        for (int end = 0; end < 2; end++) {
            if (t->spans[i].ends[end] != NULL) {
                (void)cudaEventDestroy(t->spans[i].ends[end]);
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
static pb_status collect(cuda *c)
{
    cuda_timer *t = &c->timer;
    for (int i = 0; i < t->count; i++) {
        cuda_span *s       = &t->spans[i];
        float milliseconds = 0.0f;
        CUDA_TRY(cudaEventSynchronize(s->ends[1]));
        CUDA_TRY(cudaEventElapsedTime(&milliseconds, s->ends[0], s->ends[1]));
        *(s->attention ? &c->base.work.attention_seconds : &c->base.work.matmul_seconds) +=
            (double)milliseconds * 1e-3;
    }
    t->count = 0;
    return PB_OK;
}

pb_status cuda_timer_begin(pb_backend *be, bool attention)
{
    cuda *c       = cuda_of(be);
    cuda_timer *t = &c->timer;
    if (!be->timing) {
        return PB_OK;
    }
    if (t->count == CUDA_SPANS) {
        PB_TRY(collect(c));
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
    if (collect(cuda_of(be)) != PB_OK) {
        pb_error_clear(); /* the operation that failed reports it */
    }
}
