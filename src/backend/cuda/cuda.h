// SPDX-License-Identifier: Apache-2.0
/* The CUDA backend's own state, and what its operations share. All work is queued on one stream, in
 * the order of the calls; an operation that returns PB_OK may still be running. Every sum has an
 * order that follows from the shapes alone, so results repeat bit by bit. */
#pragma once

#include "internal.h"
#include "kernels.h"
#include "plan.h"

#include <cuda_runtime_api.h>

#include <stddef.h>

enum {
    CUDA_PAGES      = 4, /* pages that may be in flight */
    CUDA_BUFFERS    = 2, /* pinned, for other copies */
    CUDA_SPANS      = 512,
    CUDA_FULL_PAGES = 16,
    CUDA_ALIGNMENT  = 256, /* bytes: of every block, and of the parts that cuda_bytes cuts */
};

/* Device memory that grows to the largest need and stays. */
typedef struct cuda_block {
    char *data;
    size_t bytes;
} cuda_block;

/* Small data on its way: the host writes a slot of pinned memory, one copy takes it to the device,
 * where it has a fixed address. A slot is written again when its copy is known to be complete. */
typedef struct cuda_ring {
    char *pinned; /* slots · bytes */
    char *device; /* bytes */
    size_t bytes;
    int slots, slot;                 /* of pinned memory; the one written last */
    cudaEvent_t copied[CUDA_PAGES];  /* after the copy of a slot */
    uint64_t post_after[CUDA_PAGES]; /* the first post after it; 0: no copy is under way */
} cuda_ring;

/* Numbers on their way to the host. */
typedef struct cuda_posting {
    double *values; /* pinned */
    int64_t room, count;
    cudaEvent_t copied;
    uint64_t post; /* which one it is */
} cuda_posting;

/* The way between pageable host memory and the device. */
typedef struct cuda_transfer {
    char *pinned[CUDA_BUFFERS];
    cudaEvent_t copied[CUDA_BUFFERS];
    bool busy[CUDA_BUFFERS]; /* a copy was queued and not waited for */
    size_t bytes;            /* of each */
    int next;
} cuda_transfer;

/* Work between two events. */
typedef struct cuda_span {
    cudaEvent_t ends[2];
    bool attention; /* else products */
} cuda_span;

typedef struct cuda_timer {
    cuda_span spans[CUDA_SPANS]; /* the first `count` have been measured */
    int count;
} cuda_timer;

typedef struct cuda_products cuda_products; /* blas.c */
typedef struct cuda_memory cuda_memory;     /* memory.c */
typedef struct cuda_nvml cuda_nvml;         /* nvml.c */
typedef struct cuda_graphs cuda_graphs;     /* graph.c */

typedef struct cuda {
    pb_backend base; /* first: a pb_backend pointer is a cuda pointer */
    int device;
    struct cudaDeviceProp properties;
    int copy_threads; /* of the host, for its side of a copy; no result depends on them */
    cudaStream_t stream;
    cuda_memory *memory;
    cuda_products *products;
    cuda_nvml *nvml;
    cuda_timer timer;
    cuda_block scratch;
    cuda_transfer transfer;
    cuda_ring pages;
    size_t page_used, page_sent; /* bytes of the page: filled, and of them copied */
    /* Memory of the page from before it was enlarged; freed with it. */
    cuda_block full[CUDA_FULL_PAGES];
    int full_count;
    size_t full_bytes;
    plan_cut *cut; /* host memory of plan.c */
    cuda_plan plans[PB_PAGE_PLANS];
    cuda_posting posted[PB_SLOTS];
    uint64_t posts, taken; /* posts so far; the last of them that is known to be complete */
    cuda_graphs *graphs;   /* NULL: none so far */
    uint64_t generation;   /* grows when memory that graphs refer to moves */
} cuda;

static inline cuda *cuda_of(pb_backend *be)
{
    return (cuda *)(void *)be;
}

/* How kernels read a tensor that the front has accepted: F32, BF16, or F16 for a frozen weight. */
static inline enum element element_of(const pb_tensor *t)
{
    return t->dtype == PB_DTYPE_BF16  ? ELEMENT_BF16
           : t->dtype == PB_DTYPE_F16 ? ELEMENT_F16
                                      : ELEMENT_F32;
}

/* A single row has no stride of its own: it is taken as aligned. */
static inline view view_of(const pb_tensor *t)
{
    int64_t stride = t->shape[0] > 1 ? t->stride : 0;
    return (view){.data = t->data, .stride = stride, .element = element_of(t)};
}

/* n · size, up to whole parts: what an array takes of scratch memory. */
static inline size_t cuda_bytes(int64_t n, size_t size)
{
    return ((size_t)n * size + CUDA_ALIGNMENT - 1) / CUDA_ALIGNMENT * CUDA_ALIGNMENT;
}

/* At least `bytes` of device memory, with undefined contents, for the launches of one operation:
 * the next call may hand out the same. What a training step takes must be covered by cuda_reserve,
 * since growing waits for the device. */
pb_status cuda_scratch(pb_backend *be, size_t bytes, void **data) PB_MUST_USE;

/* error.c: records a failed call of the runtime: its name for the code, its text, and what was
 * attempted. PB_ERR_MEMORY where memory ran out, PB_ERR_DEVICE where the context is lost,
 * PB_ERR_UNSUPPORTED where a kernel wants too much shared memory, else PB_ERR_LIBRARY. */
pb_status cuda_fail(cudaError_t code, const char *file, int line, const char *function,
                    const char *format, ...) PB_PRINTF(5, 6);

/* The error, such as an illegal address, that destroyed the context of this process, so that every
 * call fails from then on; or cudaSuccess. */
cudaError_t cuda_lost(void);

/* Returns unless a call of the runtime, which the text describes, succeeded. */
#define CUDA_CHECK(code, ...)                                                        \
    do {                                                                             \
        cudaError_t cuda_code_ = (code);                                             \
        if (cuda_code_ != cudaSuccess) {                                             \
            return cuda_fail(cuda_code_, __FILE__, __LINE__, __func__, __VA_ARGS__); \
        }                                                                            \
    } while (0)
#define CUDA_TRY(call) CUDA_CHECK(call, "%s", #call)

/* A launcher, which may launch several kernels: the message has `kernel`, the sizes and CUDA's own
 * text. */
#define CUDA_LAUNCH(be, kernel, rows, columns, launch)                                            \
    do {                                                                                          \
        CUDA_CHECK(launch, "%s [%lld, %lld]", (kernel), (long long)(rows), (long long)(columns)); \
        (void)(be);                                                                               \
    } while (0)

/* For a call whose failure changes no result, since it releases something or waits before that: a
 * warning in the log, unless the context is lost, which an operation reports. The error record
 * keeps what is being unwound. */
#define CUDA_DROP(call) cuda_drop((call), #call)
void cuda_drop(cudaError_t code, const char *what);

/* Every operation. */
#define PB_OPERATION(name, ...) pb_status cuda_##name(pb_backend *be, __VA_ARGS__) PB_MUST_USE;
#include "pb/operations.def"
pb_status cuda_copy_scaled(pb_backend *be, const pb_scaled_copy *copies, int64_t count) PB_MUST_USE;
pb_status cuda_linear_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                              const pb_linear *linear) PB_MUST_USE;
pb_status cuda_linear_backward(pb_backend *be, pb_tensor *dx, const pb_tensor *dy,
                               const pb_tensor *x, pb_linear *linear, bool add) PB_MUST_USE;
pb_status cuda_low_rank_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                                const pb_low_rank *part, pb_tensor *kept,
                                const pb_tensor *room) PB_MUST_USE;
pb_status cuda_low_rank_backward(pb_backend *be, pb_tensor *dx, const pb_tensor *dy,
                                 const pb_tensor *x, pb_low_rank *part, const pb_tensor *kept,
                                 const pb_tensor *room, bool add) PB_MUST_USE;

/* elementwise.c: copies within device memory, any strides: between equal types (I32 and F64 too),
 * from F32, BF16 or F16 to F32 or BF16. cuda_copy (transfer.c) leaves these to it. */
pb_status cuda_copy_device(pb_backend *be, pb_tensor *dst, const pb_tensor *src) PB_MUST_USE;

/* blas.c: y = before + x Wᵀ; in one pass over y where `before` has its type and stride. */
pb_status cuda_matmul_add(pb_backend *be, pb_tensor *y, const pb_tensor *before, const pb_tensor *x,
                          const pb_tensor *weight) PB_MUST_USE;

/* product.c: any product whose factors have one type, F32 or BF16; C may be F32 or BF16. No size,
 * stride or alignment is refused. `before`: read in place of C, with its type and stride; NULL: C.
 * cuda_matmul (blas.c) leaves to it what cuBLASLt does not take. Neither of these two may take
 * scratch memory, where cuda_matmul holds converted factors. */
pb_status cuda_product(pb_backend *be, pb_tensor *c, const pb_tensor *a, const pb_tensor *b,
                       const pb_matmul_args *args, const void *before) PB_MUST_USE;

/* lowrank.c, of a part without vectors: kept [T, r] = drop(x) Aᵀ, and once more in u where that is
 * not NULL. */
pb_status cuda_low_rank_down(pb_backend *be, pb_tensor *kept, pb_tensor *u, const pb_tensor *x,
                             const pb_low_rank *part) PB_MUST_USE;
/* du [T, r] =, and the gradients of A and B. */
pb_status cuda_low_rank_gradients(pb_backend *be, pb_tensor *du, const pb_tensor *dy,
                                  const pb_tensor *x, pb_low_rank *part,
                                  const pb_tensor *kept) PB_MUST_USE;

/* sums.c: out [N] += sum over rows of a · b · row_scale, a [T, N]; b and row_scale [T] may be NULL.
 * `parts`: cuda_column_sum_bytes of scratch memory. */
size_t cuda_column_sum_bytes(int64_t rows, int64_t columns);
pb_status cuda_column_sum(pb_backend *be, float *out, const pb_tensor *a, const pb_tensor *b,
                          const float *row_scale, void *parts) PB_MUST_USE;

/* identity.c: the devices that the process sees; PB_ERR_CONFIG where there is no driver or it shows
 * none */
pb_status cuda_count(int *count) PB_MUST_USE;
/* Of a call that opens: PB_ERR_CONFIG, with the remedy, where the machine offers no device. */
pb_status cuda_usable(cudaError_t code, const char *call) PB_MUST_USE;
pb_status cuda_facts(pb_backend *be, pb_backend_put *put, void *context) PB_MUST_USE;
pb_status cuda_list(pb_backend_put *put, void *context) PB_MUST_USE;

/* nvml.c: a machine without NVML is not an error */
pb_status cuda_nvml_open(cuda *c) PB_MUST_USE;
void cuda_nvml_close(cuda *c);
pb_status cuda_nvml_facts(const cuda *c, pb_backend_put *put, void *context) PB_MUST_USE;
double cuda_energy(pb_backend *be, const char **why);

/* dropout.c */
pb_status cuda_drop_mask(pb_backend *be, double p, const pb_mask *mask, drop_mask *out) PB_MUST_USE;

/* memory.c */
pb_status cuda_memory_open(cuda *c) PB_MUST_USE;
void cuda_memory_close(cuda *c);
pb_status cuda_alloc(pb_backend *be, size_t bytes, void **data) PB_MUST_USE;
void cuda_free(pb_backend *be, void *data);
/* Device memory that is not zeroed, counted and released as above; `what` names its kind in
 * messages. */
pb_status cuda_memory_take(cuda *c, size_t bytes, const char *what, void **data) PB_MUST_USE;
bool cuda_owns(const cuda *c, const void *data); /* else it is taken for host memory */
void cuda_block_free(cuda *c, cuda_block *block);
pb_status cuda_block_take(cuda *c, cuda_block *block, size_t bytes, const char *what,
                          void **data) PB_MUST_USE;

/* transfer.c */
pb_status cuda_transfer_reserve(cuda *c) PB_MUST_USE;
void cuda_transfer_close(cuda *c);

/* timer.c: nothing is measured unless timing is on */
pb_status cuda_timer_begin(pb_backend *be, bool attention) PB_MUST_USE;
pb_status cuda_timer_end(pb_backend *be) PB_MUST_USE;
void cuda_timer_close(cuda *c);
void cuda_work_reset(pb_backend *be);
void cuda_work_collect(pb_backend *be);

/* page.c */
void cuda_pages_close(cuda *c);
pb_status cuda_pages_reserve(cuda *c) PB_MUST_USE; /* pages as large as the largest so far */
void cuda_pages_settle(cuda *c);                   /* all that was queued so far is complete */
pb_status cuda_page_begin(pb_backend *be) PB_MUST_USE;
pb_status cuda_page_list(pb_backend *be, const int32_t *host, pb_list *list) PB_MUST_USE;
pb_status cuda_page_plan(pb_backend *be, int index, pb_attention_plan *plan) PB_MUST_USE;
pb_status cuda_page_end(pb_backend *be) PB_MUST_USE;
/* The number of the pass, in device memory. */
pb_status cuda_page_pass(pb_backend *be, const uint64_t **pass) PB_MUST_USE;
pb_status cuda_post(pb_backend *be, int slot, const pb_tensor *numbers) PB_MUST_USE;
pb_status cuda_take(pb_backend *be, int slot, double *values) PB_MUST_USE;

/* graph.c */
pb_status cuda_graphs_reserve(cuda *c) PB_MUST_USE;
void cuda_graphs_close(cuda *c);
pb_status cuda_repeat(pb_backend *be, const void *key, size_t bytes, pb_repeated *run,
                      void *context) PB_MUST_USE;

/* blas.c */
pb_status cuda_products_open(cuda *c) PB_MUST_USE;
void cuda_products_close(cuda *c);
pb_status cuda_products_reserve(cuda *c) PB_MUST_USE;
size_t cuda_products_scratch(const cuda *c, const pb_reserve_args *args);
/* "cuBLASLt 13.0.0" */
const char *cuda_products_name(const cuda *c);
