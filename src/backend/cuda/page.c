// SPDX-License-Identifier: Apache-2.0
/* Pages: the small data of a pass on its way to the device; and the numbers that come back.
 *
 * The page of a pass is filled in pinned memory and copied at once to device memory that stays
 * where it is. The stream orders the copy after the previous pass; the host only waits when the
 * slot of pinned memory that comes next may still be read. Taking posted numbers, and a copy to the
 * host, prove that all copies queued before them are complete, so a step waits for nothing but what
 * comes back. */
#include "cuda.h"

#include <string.h>

enum { PAGE_FIRST = 1 << 20 }; /* bytes */

/* Rings --------------------------------------------------------------------------------------- */

static void ring_close(cuda *c, cuda_ring *ring)
{
    for (int i = 0; i < ring->slots; i++) {
        if (ring->copied[i] != NULL) {
            CUDA_DROP(cudaEventDestroy(ring->copied[i]));
        }
    }
    CUDA_DROP(cudaFreeHost(ring->pinned));
    if (ring->device != NULL) {
        cuda_free(&c->base, ring->device);
    }
    *ring = (cuda_ring){0};
}

static pb_status fill_ring(cuda *c, cuda_ring *ring, const char *kind)
{
    void *device = NULL;
    void *pinned = NULL;
    for (int i = 0; i < ring->slots; i++) {
        CUDA_TRY(cudaEventCreateWithFlags(&ring->copied[i], cudaEventDisableTiming));
    }
    CUDA_TRY(cudaHostAlloc(&pinned, ring->bytes * (size_t)ring->slots, cudaHostAllocDefault));
    ring->pinned = pinned;
    PB_TRY(cuda_memory_take(c, ring->bytes, kind, &device));
    ring->device = device;
    return PB_OK;
}

static pb_status ring_open(cuda *c, cuda_ring *ring, int slots, size_t bytes, const char *kind)
{
    *ring            = (cuda_ring){.bytes = bytes, .slots = slots};
    pb_status status = fill_ring(c, ring, kind);
    if (status != PB_OK) {
        ring_close(c, ring);
    }
    return status;
}

/* The next slot, when its last copy is complete. */
static pb_status ring_next(cuda *c, cuda_ring *ring)
{
    ring->slot = (ring->slot + 1) % ring->slots;
    if (ring->post_after[ring->slot] > c->taken) {
        CUDA_TRY(cudaEventSynchronize(ring->copied[ring->slot]));
    }
    ring->post_after[ring->slot] = 0;
    return PB_OK;
}

void cuda_pages_settle(cuda *c)
{
    memset(c->pages.post_after, 0, sizeof c->pages.post_after);
}

static char *ring_host(const cuda_ring *ring)
{
    return ring->pinned + (size_t)ring->slot * ring->bytes;
}

static pb_status ring_copy(cuda *c, cuda_ring *ring, size_t bytes)
{
    CUDA_TRY(
        cudaMemcpyAsync(ring->device, ring_host(ring), bytes, cudaMemcpyHostToDevice, c->stream));
    CUDA_TRY(cudaEventRecord(ring->copied[ring->slot], c->stream));
    ring->post_after[ring->slot] = c->posts + 1;
    return PB_OK;
}

/* Pages --------------------------------------------------------------------------------------- */

static void free_full(cuda *c)
{
    for (int i = 0; i < CUDA_FULL_PAGES; i++) {
        cuda_block_free(c, &c->full[i]);
    }
    c->full_count = 0;
    c->full_bytes = 0;
}

void cuda_pages_close(cuda *c)
{
    ring_close(c, &c->pages);
    free_full(c);
    for (int i = 0; i < PB_SLOTS; i++) {
        cuda_posting *p = &c->posted[i];
        if (p->copied != NULL) {
            CUDA_DROP(cudaEventDestroy(p->copied));
        }
        CUDA_DROP(cudaFreeHost(p->values));
        *p = (cuda_posting){0};
    }
    c->page_used = 0;
    c->page_sent = 0;
}

static pb_status send_page(cuda *c)
{
    if (c->page_used > c->page_sent) {
        PB_TRY(ring_copy(c, &c->pages, c->page_used));
        c->page_sent = c->page_used;
    }
    return PB_OK;
}

/* A page begins with the number of its pass. */
static void begin_page(cuda *c)
{
    memcpy(ring_host(&c->pages), &c->base.pass, sizeof c->base.pass);
    c->page_used = cuda_bytes(1, sizeof c->base.pass);
    c->page_sent = 0;
}

/* Goes on with larger pages. What the page already has stays where it is until the next one. */
static pb_status enlarge_pages(cuda *c, size_t bytes)
{
    size_t size = c->pages.bytes;
    while (size < bytes) {
        size *= 2;
    }
    if (c->full_count == CUDA_FULL_PAGES) {
        return PB_FAIL(PB_ERR_INTERNAL, "cuda: a page was enlarged %d times", CUDA_FULL_PAGES);
    }
    PB_TRY(send_page(c));
    CUDA_TRY(cudaStreamSynchronize(c->stream));
    c->full[c->full_count++] = (cuda_block){c->pages.device, c->pages.bytes};
    c->full_bytes += c->page_used;
    c->pages.device = NULL;
    c->generation++;
    ring_close(c, &c->pages);
    PB_TRY(ring_open(c, &c->pages, CUDA_PAGES, size, "pages"));
    begin_page(c);
    return PB_OK;
}

static pb_status open_pages(cuda *c)
{
    if (c->pages.slots == 0) {
        PB_TRY(ring_open(c, &c->pages, CUDA_PAGES, PAGE_FIRST, "pages"));
        begin_page(c);
    }
    return PB_OK;
}

pb_status cuda_page_begin(pb_backend *be)
{
    cuda *c = cuda_of(be);
    PB_TRY(open_pages(c));
    free_full(c);
    PB_TRY(ring_next(c, &c->pages));
    begin_page(c);
    return PB_OK;
}

pb_status cuda_page_pass(pb_backend *be, const uint64_t **pass)
{
    cuda *c = cuda_of(be);
    PB_TRY(open_pages(c));
    PB_TRY(send_page(c));
    *pass = (const uint64_t *)(void *)c->pages.device;
    return PB_OK;
}

/* Room on the page: host memory to fill, and where that will be on the device. */
static pb_status page_room(cuda *c, size_t bytes, char **host, char **device)
{
    size_t room = cuda_bytes((int64_t)bytes, 1);
    PB_TRY(open_pages(c));
    if (c->page_used + room > c->pages.bytes) {
        PB_TRY(enlarge_pages(c, c->page_used + room));
    }
    *host   = ring_host(&c->pages) + c->page_used;
    *device = c->pages.device + c->page_used;
    c->page_used += room;
    return PB_OK;
}

pb_status cuda_page_list(pb_backend *be, const int32_t *host, pb_list *list)
{
    size_t bytes = (size_t)list->count * sizeof *host;
    char *to     = NULL;
    char *device = NULL;
    PB_TRY(page_room(cuda_of(be), bytes, &to, &device));
    if (bytes > 0) {
        memcpy(to, host, bytes);
    }
    list->data = (const int32_t *)(void *)device;
    return PB_OK;
}

pb_status cuda_page_plan(pb_backend *be, int index, pb_attention_plan *plan)
{
    cuda *c      = cuda_of(be);
    size_t bytes = 0;
    char *host   = NULL;
    char *device = NULL;
    PB_TRY(plan_cut_make(&c->cut, plan, &bytes));
    PB_TRY(page_room(c, bytes, &host, &device));
    plan_cut_write(c->cut, host, device, &c->plans[index]);
    plan->parts             = &c->plans[index];
    c->plans[index].scratch = cuda_attention_bytes(plan);
    return PB_OK;
}

pb_status cuda_page_end(pb_backend *be)
{
    return send_page(cuda_of(be));
}

/* Numbers ------------------------------------------------------------------------------------- */

static pb_status open_posting(cuda_posting *p, int64_t count)
{
    void *values = NULL;
    int64_t room = p->room > 0 ? p->room : PB_NUMBERS;
    while (room < count) {
        room *= 2;
    }
    if (p->copied == NULL) {
        CUDA_TRY(cudaEventCreateWithFlags(&p->copied, cudaEventDisableTiming));
    }
    if (room > p->room) {
        CUDA_TRY(cudaEventSynchronize(p->copied));
        CUDA_DROP(cudaFreeHost(p->values));
        p->values = NULL;
        p->room   = 0;
        CUDA_TRY(cudaHostAlloc(&values, (size_t)room * sizeof *p->values, cudaHostAllocDefault));
        p->values = values;
        p->room   = room;
    }
    return PB_OK;
}

pb_status cuda_post(pb_backend *be, int slot, const pb_tensor *numbers)
{
    cuda *c         = cuda_of(be);
    cuda_posting *p = &c->posted[slot];
    p->count        = 0;
    PB_TRY(open_posting(p, numbers->shape[0]));
    if (numbers->shape[0] > 0) {
        CUDA_TRY(cudaMemcpyAsync(p->values, numbers->data, pb_tensor_bytes(numbers),
                                 cudaMemcpyDeviceToHost, c->stream));
    }
    CUDA_TRY(cudaEventRecord(p->copied, c->stream));
    p->count = numbers->shape[0];
    p->post  = ++c->posts;
    return PB_OK;
}

pb_status cuda_take(pb_backend *be, int slot, double *values)
{
    cuda *c               = cuda_of(be);
    const cuda_posting *p = &c->posted[slot];
    CUDA_TRY(cudaEventSynchronize(p->copied));
    c->taken = p->post > c->taken ? p->post : c->taken;
    if (p->count > 0) {
        memcpy(values, p->values, (size_t)p->count * sizeof *values);
    }
    return PB_OK;
}

pb_status cuda_pages_reserve(cuda *c)
{
    PB_TRY(open_pages(c));
    if (c->full_bytes + c->page_used > c->pages.bytes) {
        PB_TRY(enlarge_pages(c, c->full_bytes + c->page_used));
    }
    for (int i = 0; i < PB_SLOTS; i++) {
        PB_TRY(open_posting(&c->posted[i], PB_NUMBERS));
    }
    return PB_OK;
}
