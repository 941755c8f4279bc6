// SPDX-License-Identifier: Apache-2.0
/* Attention over a forest. Type, width and group select the kernels: tensor cores for BF16 and the
 * widths that occur in models, the plain ones for everything else. */
#include "cuda.h"

#include <inttypes.h>

/* Scratch memory: delta, then the sums of pieces (forward) or parts (backward). */
static size_t delta_bytes(const pb_attention_plan *plan)
{
    return cuda_bytes(plan->queries * plan->args.heads, sizeof(float));
}

static size_t piece_bytes(const pb_attention_plan *plan)
{
    const cuda_plan *own = plan->parts;
    return cuda_bytes(own->piece_rooms * plan->args.heads * (plan->args.head_dim + 2),
                      sizeof(float));
}

static size_t part_bytes(const pb_attention_plan *plan)
{
    const cuda_plan *own = plan->parts;
    int64_t tile         = ATTENTION_KEYS * plan->args.head_dim;
    return cuda_bytes(2 * own->part_rooms * plan->args.kv_heads * tile, sizeof(float));
}

size_t cuda_attention_bytes(const pb_attention_plan *plan)
{
    size_t forward  = piece_bytes(plan);
    size_t backward = plan->args.backward ? delta_bytes(plan) + part_bytes(plan) : 0;
    return forward > backward ? forward : backward;
}

/* All tensors of a call but lse. */
enum { MOST_ROWS = 8 };

typedef struct rows_list {
    const pb_tensor *tensors[MOST_ROWS];
    int count;
} rows_list;

static bool is_aligned(const rows_list *list, int64_t width)
{
    size_t size  = pb_dtype_size(list->tensors[0]->dtype);
    bool aligned = (size_t)width * size % ATTENTION_ALIGNED == 0;
    for (int i = 0; i < list->count; i++) {
        const pb_tensor *t = list->tensors[i];
        aligned            = aligned && (uintptr_t)t->data % ATTENTION_ALIGNED == 0 &&
                  (size_t)t->stride * size % ATTENTION_ALIGNED == 0;
    }
    return aligned;
}

static pb_status check_types(const char *op, const rows_list *list)
{
    for (int i = 1; i < list->count; i++) {
        if (list->tensors[i]->dtype != list->tensors[0]->dtype) {
            return PB_FAIL(PB_ERR_UNSUPPORTED,
                           "cuda: %s: all of q, keys, values, outputs and gradients are of one "
                           "type, not %s and %s",
                           op, pb_dtype_name(list->tensors[0]->dtype),
                           pb_dtype_name(list->tensors[i]->dtype));
        }
    }
    return PB_OK;
}

static attention_call call_of(pb_backend *be, const pb_attention_plan *plan, const rows_list *list)
{
    const pb_attention_args *args = &plan->args;
    const cuda_plan *own          = plan->parts;
    return (attention_call){.cut      = own->cut,
                            .queries  = (int32_t)plan->queries,
                            .heads    = (int32_t)args->heads,
                            .kv_heads = (int32_t)args->kv_heads,
                            .width    = (int32_t)args->head_dim,
                            .vector   = is_aligned(list, args->head_dim),
                            .scale    = args->scale,
                            .shared   = cuda_of(be)->properties.sharedMemPerBlockOptin};
}

/* Whether the kernels on the tensor cores take it. */
static bool has_tensor_cores(const attention_call *call)
{
    bool width = call->width == 64 || call->width == 80 || call->width == 96 ||
                 call->width == 128 || call->width == 256;
    return call->q.element == ELEMENT_BF16 && width && call->scale > 0 &&
           call->heads / call->kv_heads <= ATTENTION_ROWS;
}

pb_status cuda_attention_forward(pb_backend *be, pb_tensor *out, pb_tensor *lse, const pb_tensor *q,
                                 const pb_tensor *keys, const pb_tensor *values,
                                 const pb_attention_plan *plan)
{
    cudaStream_t stream = cuda_of(be)->stream;
    rows_list list      = {.tensors = {q, keys, values, out}, .count = 4};
    attention_call call = call_of(be, plan, &list);
    void *scratch       = NULL;
    PB_TRY(check_types("attention forward", &list));
    PB_TRY(cuda_scratch(be, piece_bytes(plan), &scratch));
    call.q      = view_of(q);
    call.keys   = view_of(keys);
    call.values = view_of(values);
    call.out    = view_of(out);
    call.lse    = view_of(lse);
    call.sums   = scratch;
    PB_TRY(cuda_timer_begin(be, true));
    if (!has_tensor_cores(&call)) {
        CUDA_LAUNCH(be, "attention_plain", plan->queries, q->shape[1],
                    launch_attention_plain_forward(&call, call.q.element, stream));
        return cuda_timer_end(be);
    }
    CUDA_LAUNCH(be, "attention_forward", plan->queries, q->shape[1],
                launch_attention_forward(&call, stream));
    CUDA_LAUNCH(be, "attention_decode", plan->queries, q->shape[1],
                launch_attention_decode(&call, stream));
    return cuda_timer_end(be);
}

static pb_status launch_backward(pb_backend *be, const attention_call *call)
{
    cudaStream_t stream  = cuda_of(be)->stream;
    enum element element = call->q.element;
    bool tensor_cores    = has_tensor_cores(call);
    int64_t columns      = (int64_t)call->heads * call->width;
    if (tensor_cores || element == ELEMENT_F32) { /* else the next makes it */
        CUDA_LAUNCH(be, "attention_delta", call->queries, columns,
                    launch_attention_delta(call, element, stream));
    }
    CUDA_LAUNCH(be, "attention_queries", call->queries, columns,
                tensor_cores ? launch_attention_queries(call, stream)
                             : launch_attention_plain_queries(call, element, stream));
    CUDA_LAUNCH(be, "attention_keys", call->queries, columns,
                tensor_cores ? launch_attention_keys(call, stream)
                             : launch_attention_plain_keys(call, element, stream));
    CUDA_LAUNCH(be, "attention_sums", call->queries, columns,
                launch_attention_sums(call, element, stream));
    return PB_OK;
}

pb_status cuda_attention_backward(pb_backend *be, pb_tensor *dq, pb_tensor *dkeys,
                                  pb_tensor *dvalues, const pb_tensor *dout, const pb_tensor *out,
                                  const pb_tensor *lse, const pb_tensor *q, const pb_tensor *keys,
                                  const pb_tensor *values, const pb_attention_plan *plan)
{
    const cuda_plan *own = plan->parts;
    rows_list list       = {.tensors = {q, keys, values, out, dout, dq, dkeys, dvalues},
                            .count   = MOST_ROWS};
    attention_call call  = call_of(be, plan, &list);
    void *scratch        = NULL;
    PB_TRY(check_types("attention backward", &list));
    PB_TRY(cuda_scratch(be, delta_bytes(plan) + part_bytes(plan), &scratch));
    call.q       = view_of(q);
    call.keys    = view_of(keys);
    call.values  = view_of(values);
    call.out     = view_of(out);
    call.lse     = view_of(lse);
    call.dout    = view_of(dout);
    call.dq      = view_of(dq);
    call.dkeys   = view_of(dkeys);
    call.dvalues = view_of(dvalues);
    call.delta   = scratch;
    call.sums    = (float *)(void *)((char *)scratch + delta_bytes(plan));
    if (own->keys < keys->shape[0]) { /* keys of no segment */
        PB_TRY(cuda_zero(be, dkeys));
        PB_TRY(cuda_zero(be, dvalues));
    }
    PB_TRY(cuda_timer_begin(be, true));
    PB_TRY(launch_backward(be, &call));
    return cuda_timer_end(be);
}
