// SPDX-License-Identifier: Apache-2.0
/* The CUDA backend: opening and describing a device, and its table. */
#include "cuda.h"

#include "pb/memory.h"
#include "pb/utf8.h"

#include <omp.h>

#include <stdio.h>
#include <string.h>

enum { COPY_THREADS = 8 };

/* Opening ------------------------------------------------------------------------------------- */

static pb_status open_device(cuda *c, int device)
{
    int count = 0;
    PB_TRY(cuda_count(&count));
    device = device < 0 ? (-1 - device) % count : device;
    if (device >= count) {
        char last[24] = "";
        if (count > 1) {
            (void)snprintf(last, sizeof last, " to cuda:%d", count - 1);
        }
        return PB_FAIL(PB_ERR_CONFIG, "cuda: no such device: %d; the driver shows %d: cuda:0%s",
                       device, count, last);
    }
    PB_TRY(cuda_usable(cudaSetDevice(device), "cudaSetDevice"));
    CUDA_TRY(cudaGetDeviceProperties(&c->properties, device));
    if (c->properties.major < 8) {
        return PB_FAIL(PB_ERR_CONFIG,
                       "cuda: device %d, %s, has compute capability %d.%d; at least 8.0 is needed",
                       device, c->properties.name, c->properties.major, c->properties.minor);
    }
    c->device = device;
    _Static_assert(sizeof c->properties.uuid == sizeof c->base.device_id, "the UUID is the name");
    memcpy(&c->base.device_id, &c->properties.uuid, sizeof c->base.device_id);
    CUDA_TRY(cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking));
    PB_TRY(cuda_memory_open(c));
    PB_TRY(cuda_products_open(c));
    PB_TRY(cuda_nvml_open(c));
    (void)snprintf(c->base.describe, sizeof c->base.describe,
                   "%.*s, compute capability %d.%d, %d multiprocessors, %s",
                   PB_FIT(c->properties.name, 128), c->properties.major, c->properties.minor,
                   c->properties.multiProcessorCount, cuda_products_name(c));
    return PB_OK;
}

static void cuda_close(pb_backend *be);

static pb_status cuda_open(int device, int threads, pb_backend **out)
{
    cuda *c = NULL;
    PB_TRY(PB_ALLOC(c, 1));
    c->base.ops      = &backend_cuda;
    c->base.threads  = threads > 0 ? threads : omp_get_max_threads();
    c->base.lag      = 1;
    c->base.pads     = true;
    c->base.border   = PB_BORDER;
    c->base.shares   = true;
    c->copy_threads  = omp_get_num_procs() < COPY_THREADS ? omp_get_num_procs() : COPY_THREADS;
    pb_status status = open_device(c, device);
    if (status != PB_OK) {
        cuda_close(&c->base);
        return PB_FRAME(status);
    }
    *out = &c->base;
    return PB_OK;
}

static void cuda_trim(pb_backend *be)
{
    cuda *c = cuda_of(be);
    CUDA_DROP(cudaStreamSynchronize(c->stream)); /* copies read pinned memory until then */
    cuda_graphs_close(c);
    cuda_block_free(c, &c->scratch);
    cuda_pages_close(c);
    cuda_transfer_close(c);
    cuda_timer_close(c);
    plan_cut_free(c->cut);
    c->cut = NULL;
}

static void cuda_close(pb_backend *be)
{
    cuda *c = cuda_of(be);
    if (c->stream != NULL) {
        cuda_trim(be);
    }
    cuda_nvml_close(c);
    cuda_products_close(c);
    cuda_memory_close(c);
    if (c->stream != NULL) {
        CUDA_DROP(cudaStreamDestroy(c->stream));
    }
    pb_memory_free(c);
}

static pb_status cuda_sync(pb_backend *be)
{
    CUDA_TRY(cudaStreamSynchronize(cuda_of(be)->stream));
    return PB_OK;
}

static pb_dtype cuda_activation(const pb_backend *be)
{
    return be->bf16 ? PB_DTYPE_BF16 : PB_DTYPE_F32;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Sums over the rows of any tensor with at most `factor` elements. */
static size_t sum_bytes(const pb_reserve_args *args)
{
    return cuda_bytes(args->norm_rows, sizeof(float)) +
           cuda_bytes(args->factor / COLUMN_SUM_CHUNK + args->inner, sizeof(double));
}

/* Low-rank parts: a product cut into parts for few rows, or a gradient over chunks of rows. */
static size_t part_bytes(const pb_reserve_args *args)
{
    int64_t down = (args->factor / LOW_RANK_PART + args->norm_rows) * args->rank;
    int64_t grad = (args->factor / COLUMN_SUM_CHUNK + args->inner) * args->rank;
    return cuda_bytes(down > grad ? down : grad, sizeof(float));
}

static pb_status cuda_reserve(pb_backend *be, const pb_reserve_args *args)
{
    cuda *c      = cuda_of(be);
    size_t bytes = cuda_products_scratch(c, args);
    void *unused = NULL;
    bytes        = larger(bytes, cuda_bytes(SQUARE_PARTS, sizeof(double)));
    bytes        = larger(bytes, sum_bytes(args));
    bytes        = larger(bytes, part_bytes(args));
    bytes        = larger(bytes, args->plan != NULL ? cuda_attention_bytes(args->plan) : 0);
    PB_TRY(cuda_pages_reserve(c));
    PB_TRY(cuda_transfer_reserve(c));
    PB_TRY(cuda_products_reserve(c));
    PB_TRY(cuda_graphs_reserve(c));
    return cuda_scratch(be, bytes, &unused);
}

const pb_backend_ops backend_cuda = {
    .name              = "cuda",
    .open              = cuda_open,
    .close             = cuda_close,
    .alloc             = cuda_alloc,
    .free              = cuda_free,
    .reserve           = cuda_reserve,
    .trim              = cuda_trim,
    .sync              = cuda_sync,
    .page_begin        = cuda_page_begin,
    .page_list         = cuda_page_list,
    .page_plan         = cuda_page_plan,
    .page_end          = cuda_page_end,
    .repeat            = cuda_repeat,
    .post              = cuda_post,
    .take              = cuda_take,
    .activation        = cuda_activation,
    .work_reset        = cuda_work_reset,
    .work_collect      = cuda_work_collect,
    .energy            = cuda_energy,
    .facts             = cuda_facts,
    .list              = cuda_list,
    .copy_scaled       = cuda_copy_scaled,
    .linear_forward    = cuda_linear_forward,
    .linear_backward   = cuda_linear_backward,
    .low_rank_forward  = cuda_low_rank_forward,
    .low_rank_backward = cuda_low_rank_backward,
#define PB_OPERATION(name, ...) .name = cuda_##name,
#include "pb/operations.def"
};
