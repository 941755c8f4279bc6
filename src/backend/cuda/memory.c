// SPDX-License-Identifier: Apache-2.0
/* Device memory and what is held of it. Blocks are few and large; the list of them tells device
 * memory from the host's. */
#include "cuda.h"

#include "pb/memory.h"

#include <stdio.h>
#include <string.h>

enum { KINDS = 4, MESSAGE = 256 };

typedef struct block {
    const char *data;
    size_t bytes;
    const char *kind;
} block;

struct cuda_memory {
    block *blocks; /* by address */
    int64_t count;
};

pb_status cuda_memory_open(cuda *c)
{
    return PB_ALLOC(c->memory, 1);
}

void cuda_memory_close(cuda *c)
{
    if (c->memory != NULL) {
        pb_memory_free(c->memory->blocks);
        pb_memory_free(c->memory);
        c->memory = NULL;
    }
}

/* The index of the first block beyond an address. */
static int64_t beyond(const cuda_memory *m, const char *data)
{
    int64_t low  = 0;
    int64_t high = m->count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (m->blocks[middle].data <= data) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool cuda_owns(const cuda *c, const void *data)
{
    const cuda_memory *m = c->memory;
    int64_t i            = beyond(m, data);
    return i > 0 && (size_t)((const char *)data - m->blocks[i - 1].data) < m->blocks[i - 1].bytes;
}

/* "tensors 3.10 GB, scratch 0.20 GB" */
static void held_by_kind(const cuda_memory *m, char *text, size_t size)
{
    const char *kinds[KINDS] = {NULL};
    size_t bytes[KINDS]      = {0};
    size_t length            = 0;
    text[0]                  = '\0';
    for (int64_t i = 0; i < m->count; i++) {
        int k = 0;
        while (k < KINDS - 1 && kinds[k] != NULL && strcmp(kinds[k], m->blocks[i].kind) != 0) {
            k++;
        }
        kinds[k] = m->blocks[i].kind;
        bytes[k] += m->blocks[i].bytes;
    }
    for (int k = 0; k < KINDS && kinds[k] != NULL && length < size; k++) {
        length += (size_t)snprintf(text + length, size - length, "%s%s %.3f GB", k > 0 ? ", " : "",
                                   kinds[k], (double)bytes[k] / 1e9);
    }
}

static pb_status out_of_memory(cuda *c, size_t bytes, const char *kind)
{
    char held[MESSAGE];
    char left[64]     = "";
    size_t free_bytes = 0;
    size_t all        = 0;
    if (cudaMemGetInfo(&free_bytes, &all) == cudaSuccess) {
        (void)snprintf(left, sizeof left, "; %.3f of %.3f GB are free", (double)free_bytes / 1e9,
                       (double)all / 1e9);
    }
    (void)cudaGetLastError(); /* has been seen */
    held_by_kind(c->memory, held, sizeof held);
    return PB_FAIL(PB_ERR_MEMORY,
                   "cuda: device %d has no %.3f GB for %s; this process holds %s%s%s", c->device,
                   (double)bytes / 1e9, kind, *held != '\0' ? held : "nothing",
                   *held != '\0' ? " of it" : "", left);
}

static pb_status note(cuda *c, const char *data, size_t bytes, const char *kind)
{
    cuda_memory *m = c->memory;
    PB_TRY(PB_GROW(m->blocks, m->count + 1));
    int64_t i = beyond(m, data);
    memmove(&m->blocks[i + 1], &m->blocks[i], (size_t)(m->count - i) * sizeof *m->blocks);
    m->blocks[i] = (block){data, bytes, kind};
    m->count++;
    c->base.memory_now += bytes;
    if (c->base.memory_now > c->base.memory_peak) {
        c->base.memory_peak = c->base.memory_now;
    }
    return PB_OK;
}

pb_status cuda_memory_take(cuda *c, size_t bytes, const char *kind, void **data)
{
    void *memory     = NULL;
    bytes            = bytes > 0 ? bytes : 1;
    cudaError_t code = cudaMalloc(&memory, bytes);
    if (code == cudaErrorMemoryAllocation) {
        return out_of_memory(c, bytes, kind);
    }
    CUDA_CHECK(code, "cudaMalloc of %zu bytes for %s", bytes, kind);
    pb_status status = note(c, memory, bytes, kind);
    if (status != PB_OK) {
        CUDA_DROP(cudaFree(memory));
        return PB_FRAME(status);
    }
    *data = memory;
    return PB_OK;
}

pb_status cuda_alloc(pb_backend *be, size_t bytes, void **data)
{
    cuda *c      = cuda_of(be);
    void *memory = NULL;
    PB_TRY(cuda_memory_take(c, bytes, "tensors", &memory));
    cudaError_t code = bytes > 0 ? cudaMemsetAsync(memory, 0, bytes, c->stream) : cudaSuccess;
    if (code != cudaSuccess) {
        cuda_free(be, memory);
    }
    CUDA_CHECK(code, "cudaMemsetAsync of %zu bytes", bytes);
    *data = memory;
    return PB_OK;
}

void cuda_free(pb_backend *be, void *data)
{
    cuda *c        = cuda_of(be);
    cuda_memory *m = c->memory;
    int64_t i      = beyond(m, data) - 1;
    if (i < 0 || m->blocks[i].data != data) {
        return;
    }
    be->memory_now -= m->blocks[i].bytes;
    m->count--;
    memmove(&m->blocks[i], &m->blocks[i + 1], (size_t)(m->count - i) * sizeof *m->blocks);
    c->generation++;
    CUDA_DROP(cudaFree(data)); /* waits for work that uses it */
}

void cuda_block_free(cuda *c, cuda_block *b)
{
    if (b->data != NULL) {
        cuda_free(&c->base, b->data);
        *b = (cuda_block){0};
    }
}

pb_status cuda_block_take(cuda *c, cuda_block *b, size_t bytes, const char *kind, void **data)
{
    if (bytes > b->bytes || b->data == NULL) {
        void *memory = NULL;
        cuda_block_free(c, b);
        PB_TRY(cuda_memory_take(c, bytes, kind, &memory));
        *b = (cuda_block){memory, bytes};
    }
    *data = b->data;
    return PB_OK;
}

pb_status cuda_scratch(pb_backend *be, size_t bytes, void **data)
{
    cuda *c = cuda_of(be);
    PB_TRY(cuda_block_take(c, &c->scratch, bytes, "scratch", data));
    return PB_OK;
}
