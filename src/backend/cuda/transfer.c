// SPDX-License-Identifier: Apache-2.0
/* Copies between host and device go through two buffers of pinned memory: while one is copied, the
 * host fills or empties the other and converts types. A piece is whole rows of a tensor, or part of
 * one row. */
#include "cuda.h"

#include <string.h>

enum {
    BUFFER_FIRST = 1 << 20,  /* bytes of a buffer: at least, */
    BUFFER_MOST  = 64 << 20, /* and at most */
    SPAN         = 1 << 16,  /* elements that a thread converts at once */
    FLOATS       = 256       /* elements that are converted by way of F32 at once */
};

/* Rows of both sides, in elements. */
typedef struct route {
    char *host, *device;
    pb_dtype host_type, device_type;
    int64_t host_stride, device_stride;
    int64_t rows, width;
    bool up; /* to the device */
} route;

typedef struct piece {
    int64_t row, rows, column, columns;
} piece;

/* Buffers ------------------------------------------------------------------------------------- */

void cuda_transfer_close(cuda *c)
{
    cuda_transfer *t = &c->transfer;
    for (int i = 0; i < CUDA_BUFFERS; i++) {
        if (t->copied[i] != NULL) {
            CUDA_DROP(cudaEventSynchronize(t->copied[i]));
            CUDA_DROP(cudaEventDestroy(t->copied[i]));
        }
        CUDA_DROP(cudaFreeHost(t->pinned[i]));
    }
    *t = (cuda_transfer){0};
}

/* Two buffers of at least `bytes`, or of the most that a buffer has. */
static pb_status open_buffers(cuda *c, size_t bytes)
{
    cuda_transfer *t = &c->transfer;
    size_t size      = t->bytes > 0 ? t->bytes : BUFFER_FIRST;
    while (size < bytes && size < BUFFER_MOST) {
        size *= 2;
    }
    if (size == t->bytes) {
        return PB_OK;
    }
    cuda_transfer_close(c);
    for (int i = 0; i < CUDA_BUFFERS; i++) {
        CUDA_TRY(cudaEventCreateWithFlags(&t->copied[i], cudaEventDisableTiming));
        CUDA_TRY(cudaHostAlloc((void **)&t->pinned[i], size, cudaHostAllocDefault));
    }
    t->bytes = size;
    return PB_OK;
}

pb_status cuda_transfer_reserve(cuda *c)
{
    return open_buffers(c, BUFFER_FIRST);
}

static pb_status wait_for(cuda *c, int buffer)
{
    cuda_transfer *t = &c->transfer;
    if (t->busy[buffer]) {
        CUDA_TRY(cudaEventSynchronize(t->copied[buffer]));
        t->busy[buffer] = false;
    }
    return PB_OK;
}

/* Types --------------------------------------------------------------------------------------- */

static void to_bf16(uint16_t *to, const void *from, pb_dtype type, int64_t n)
{
    float values[FLOATS];
    for (int64_t first = 0; first < n; first += FLOATS) {
        int64_t count = n - first < FLOATS ? n - first : FLOATS;
        pb_floats_to_f32(values, (const char *)from + (size_t)first * pb_dtype_size(type), type,
                         count);
        for (int64_t i = 0; i < count; i++) {
            to[first + i] = pb_f32_to_bf16(values[i]);
        }
    }
}

static void convert(void *to, pb_dtype to_type, const void *from, pb_dtype from_type, int64_t n)
{
    if (to_type == from_type) {
        memcpy(to, from, (size_t)n * pb_dtype_size(to_type));
    } else if (to_type == PB_DTYPE_BF16) {
        to_bf16(to, from, from_type, n);
    } else {
        pb_floats_to_f32(to, from, from_type, n);
    }
}

/* Between the buffer, which holds the piece densely in the device's type, and the host's memory. */
static void convert_piece(const cuda *c, const route *r, const piece *p, char *buffer)
{
    int64_t spans    = (p->columns + SPAN - 1) / SPAN;
    size_t host_size = pb_dtype_size(r->host_type);
    size_t size      = pb_dtype_size(r->device_type);
#pragma omp parallel for num_threads(c->copy_threads) if (p->rows * p->columns > SPAN)
    for (int64_t i = 0; i < p->rows * spans; i++) {
        int64_t row   = i / spans;
        int64_t first = i % spans * SPAN;
        int64_t n     = p->columns - first < SPAN ? p->columns - first : SPAN;
        char *host =
            r->host + (size_t)((p->row + row) * r->host_stride + p->column + first) * host_size;
        char *dense = buffer + (size_t)(row * p->columns + first) * size;
        if (r->up) {
            convert(dense, r->device_type, host, r->host_type, n);
        } else {
            convert(host, r->host_type, dense, r->device_type, n);
        }
    }
}

/* Pieces -------------------------------------------------------------------------------------- */

static int64_t piece_count(const cuda *c, const route *r, piece *largest)
{
    int64_t room     = (int64_t)(c->transfer.bytes / pb_dtype_size(r->device_type));
    largest->columns = r->width < room ? r->width : room;
    largest->rows    = room / largest->columns < r->rows ? room / largest->columns : r->rows;
    return (r->rows + largest->rows - 1) / largest->rows *
           ((r->width + largest->columns - 1) / largest->columns);
}

static piece piece_at(const route *r, const piece *largest, int64_t index)
{
    int64_t across = (r->width + largest->columns - 1) / largest->columns;
    piece p = {.row = index / across * largest->rows, .column = index % across * largest->columns};
    p.rows  = r->rows - p.row < largest->rows ? r->rows - p.row : largest->rows;
    p.columns = r->width - p.column < largest->columns ? r->width - p.column : largest->columns;
    return p;
}

/* Queues the copy of a piece between a buffer and the device. */
static pb_status queue_piece(cuda *c, const route *r, const piece *p, int buffer)
{
    cuda_transfer *t = &c->transfer;
    size_t size      = pb_dtype_size(r->device_type);
    size_t width     = (size_t)p->columns * size;
    size_t pitch     = (size_t)r->device_stride * size;
    char *device     = r->device + (size_t)(p->row * r->device_stride + p->column) * size;
    void *to         = r->up ? device : t->pinned[buffer];
    const void *from = r->up ? t->pinned[buffer] : device;
    if (p->rows == 1 || p->columns == r->device_stride) {
        CUDA_TRY(cudaMemcpyAsync(to, from, width * (size_t)p->rows,
                                 r->up ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost,
                                 c->stream));
    } else {
        CUDA_TRY(cudaMemcpy2DAsync(
            to, r->up ? pitch : width, from, r->up ? width : pitch, width, (size_t)p->rows,
            r->up ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost, c->stream));
    }
    CUDA_TRY(cudaEventRecord(t->copied[buffer], c->stream));
    t->busy[buffer] = true;
    return PB_OK;
}

static pb_status upload(cuda *c, const route *r)
{
    cuda_transfer *t = &c->transfer;
    piece largest;
    int64_t count = piece_count(c, r, &largest);
    for (int64_t i = 0; i < count; i++) {
        piece p = piece_at(r, &largest, i);
        PB_TRY(wait_for(c, t->next));
        convert_piece(c, r, &p, t->pinned[t->next]);
        PB_TRY(queue_piece(c, r, &p, t->next));
        t->next = (t->next + 1) % CUDA_BUFFERS;
    }
    return PB_OK;
}

static pb_status download(cuda *c, const route *r)
{
    cuda_transfer *t = &c->transfer;
    piece largest;
    int64_t count = piece_count(c, r, &largest);
    for (int64_t i = 0; i <= count; i++) {
        if (i < count) {
            piece p = piece_at(r, &largest, i);
            PB_TRY(wait_for(c, (int)(i % CUDA_BUFFERS)));
            PB_TRY(queue_piece(c, r, &p, (int)(i % CUDA_BUFFERS)));
        }
        if (i > 0) {
            piece before = piece_at(r, &largest, i - 1);
            PB_TRY(wait_for(c, (int)((i - 1) % CUDA_BUFFERS)));
            convert_piece(c, r, &before, t->pinned[(i - 1) % CUDA_BUFFERS]);
        }
    }
    cuda_pages_settle(c);
    return PB_OK;
}

static bool convertible(pb_dtype to, pb_dtype from)
{
    return to == from || (from != PB_DTYPE_I32 && (to == PB_DTYPE_F32 || to == PB_DTYPE_BF16));
}

static pb_status transfer(cuda *c, const pb_tensor *dst, const pb_tensor *src, bool up)
{
    const pb_tensor *host   = up ? src : dst;
    const pb_tensor *device = up ? dst : src;
    route r                 = {
                        .host          = host->data,
                        .device        = device->data,
                        .host_type     = host->dtype,
                        .device_type   = device->dtype,
                        .host_stride   = host->stride,
                        .device_stride = device->stride,
                        .rows          = host->shape[0],
                        .width         = pb_tensor_width(host),
                        .up            = up,
    };
    if (pb_tensor_is_contiguous(host) && pb_tensor_is_contiguous(device)) {
        r.width       = pb_tensor_count(host);
        r.rows        = 1;
        r.host_stride = r.device_stride = r.width;
    }
    PB_TRY(open_buffers(c, (size_t)(r.rows * r.width) * pb_dtype_size(device->dtype)));
    return up ? upload(c, &r) : download(c, &r);
}

static void copy_host(const pb_tensor *dst, const pb_tensor *src)
{
    for (int64_t row = 0; row < dst->shape[0]; row++) {
        char *to = (char *)dst->data + (size_t)(row * dst->stride) * pb_dtype_size(dst->dtype);
        const char *from =
            (const char *)src->data + (size_t)(row * src->stride) * pb_dtype_size(src->dtype);
        convert(to, dst->dtype, from, src->dtype, pb_tensor_width(dst));
    }
}

pb_status cuda_copy(pb_backend *be, pb_tensor *dst, const pb_tensor *src)
{
    cuda *c = cuda_of(be);
    bool to = cuda_owns(c, dst->data);
    bool of = cuda_owns(c, src->data);
    if (!convertible(dst->dtype, src->dtype)) {
        return PB_FAIL(PB_ERR_UNSUPPORTED, "copy: %s to %s", pb_dtype_name(src->dtype),
                       pb_dtype_name(dst->dtype));
    }
    if (!to && !of) {
        copy_host(dst, src);
        return PB_OK;
    }
    if (to && of) {
        PB_TRY(cuda_copy_device(be, dst, src));
        return PB_OK;
    }
    PB_TRY(transfer(c, dst, src, to));
    return PB_OK;
}
