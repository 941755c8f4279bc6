// SPDX-License-Identifier: Apache-2.0
/* Accounted memory. A block follows a hidden header of 64 bytes that holds its size and the address
 * from the system:
 *
 *     raw … | header, 64 bytes | block, 64-byte aligned …
 *
 * The system's zeroed allocation is used on purpose: pages of a large block are then touched first
 * by the thread that works on them, which places them in that thread's memory domain.
 *
 * A block that is resized to MAPPED_BYTES or more gets a mapping of its own, whose pages the system
 * moves to another place without a copy: a growing array of gigabytes is never held twice. */
#include "pb/memory.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_ADDRESS_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ADDRESS_SANITIZER 1
#endif
#if defined(UNDER_ADDRESS_SANITIZER)
#include <sanitizer/asan_interface.h>
#define FORBID(from, bytes) ASAN_POISON_MEMORY_REGION(from, bytes)
#define MAPS_BLOCKS         0 /* mappings are not checked */
#else
#define FORBID(from, bytes) ((void)(from))
#define MAPS_BLOCKS         1
#endif

enum { ALIGNMENT = 64, SLACK = 2 * ALIGNMENT, FIRST_ITEMS = 8, TAIL_BYTES = (1 << 16) + SLACK };

#define MAPPED_BYTES ((size_t)1 << 20)

static const uint64_t MAGIC = UINT64_C(0x70656674626c6f63);

typedef struct header {
    void *raw;
    size_t bytes;
    size_t mapped;  /* bytes of the mapping at `raw`, 0: the block is the allocator's */
    uint64_t magic; /* zeroed when the block is freed */
} header;

_Static_assert(sizeof(header) <= ALIGNMENT, "the header lies in the 64 bytes before the block");

static atomic_size_t current_bytes;
static atomic_size_t peak_bytes;
static atomic_size_t limit_bytes;
static atomic_size_t allocations;

static header *header_of(void *block)
{
    header *h = (header *)(void *)((char *)block - ALIGNMENT);

    PB_ASSERT(h->magic == MAGIC);
    return h;
}

static void raise_peak(size_t bytes)
{
    size_t peak = atomic_load(&peak_bytes);

    while (bytes > peak && !atomic_compare_exchange_weak(&peak_bytes, &peak, bytes)) {
    }
}

/* Counts the bytes before they are allocated, so that two threads cannot exceed the limit
 * together. */
static bool reserve(size_t bytes)
{
    size_t limit = atomic_load(&limit_bytes);
    size_t now   = atomic_fetch_add(&current_bytes, bytes) + bytes;

    if (limit != 0 && (now > limit || now < bytes)) {
        atomic_fetch_sub(&current_bytes, bytes);
        return false;
    }
    return true;
}

static pb_status count_bytes(size_t count, size_t size, size_t *bytes)
{
    if (size != 0 && count > (SIZE_MAX - SLACK) / size) {
        return PB_FAIL(PB_ERR_MEMORY, "memory: %zu items of %zu bytes are more than can be counted",
                       count, size);
    }
    *bytes = count * size;
    return PB_OK;
}

static void fail_limit(size_t bytes)
{
    (void)PB_FAIL(PB_ERR_MEMORY,
                  "memory: %zu bytes asked for, %zu held, limit %zu; raise the limit or use a "
                  "smaller problem",
                  bytes, pb_memory_current(), atomic_load(&limit_bytes));
}

static void fail_system(size_t bytes)
{
    (void)PB_FAIL(PB_ERR_MEMORY,
                  "memory: the system refused %zu bytes, %zu are held; use a smaller problem or a "
                  "machine with more memory",
                  bytes, pb_memory_current());
}

void *pb_memory_new(size_t count, size_t size)
{
    size_t bytes = 0;

    if (count_bytes(count, size, &bytes) != PB_OK) {
        return NULL;
    }
    if (!reserve(bytes)) {
        fail_limit(bytes);
        return NULL;
    }
    char *raw = calloc(bytes + SLACK, 1);
    if (raw == NULL) {
        atomic_fetch_sub(&current_bytes, bytes);
        fail_system(bytes);
        return NULL;
    }
    atomic_fetch_add(&allocations, 1);
    raise_peak(atomic_load(&current_bytes));
    size_t offset = 2 * ALIGNMENT - (size_t)((uintptr_t)raw % ALIGNMENT);
    char *block   = raw + offset;
    header *h     = (header *)(void *)(block - ALIGNMENT);
    *h            = (header){.raw = raw, .bytes = bytes, .magic = MAGIC};
    FORBID(block + bytes, SLACK - offset);
    return block;
}

/* A mapping for the block, which begins ALIGNMENT bytes into it; an old one keeps its pages. New
 * pages are zero. */
static char *map(header *old, size_t size)
{
    void *raw = old == NULL
                    ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                    : mremap(old->raw, old->mapped, size, MREMAP_MAYMOVE);
    return raw != MAP_FAILED ? raw : NULL;
}

/* pb_memory_resize into a mapping, for a mapped block or none. */
static void *resize_mapped(void *block, size_t bytes)
{
    header *old   = block != NULL ? header_of(block) : NULL;
    size_t before = old != NULL ? old->bytes : 0;

    if (bytes > before && !reserve(bytes - before)) {
        fail_limit(bytes);
        return NULL;
    }
    if (bytes < before) {
        /* The rest of the last page (at most 64 KiB) stays and must be zero when the block grows
         * again. */
        memset((char *)block + bytes, 0, before - bytes < TAIL_BYTES ? before - bytes : TAIL_BYTES);
    }
    char *raw = map(old, bytes + SLACK);
    if (raw == NULL) {
        if (bytes > before) {
            atomic_fetch_sub(&current_bytes, bytes - before);
        }
        fail_system(bytes);
        return NULL;
    }
    if (bytes < before) {
        atomic_fetch_sub(&current_bytes, before - bytes);
    }
    atomic_fetch_add(&allocations, 1);
    raise_peak(atomic_load(&current_bytes));
    header *h = (header *)(void *)raw;
    *h        = (header){.raw = raw, .bytes = bytes, .mapped = bytes + SLACK, .magic = MAGIC};
    return raw + ALIGNMENT;
}

void *pb_memory_resize(void *block, size_t count, size_t size)
{
    size_t bytes = 0;

    if (count_bytes(count, size, &bytes) != PB_OK) {
        return NULL;
    }
    bool is_mapped = block != NULL && header_of(block)->mapped > 0;
    if (is_mapped) {
        return resize_mapped(block, bytes);
    }
    void *grown = MAPS_BLOCKS && block != NULL && bytes >= MAPPED_BYTES
                      ? resize_mapped(NULL, bytes)
                      : pb_memory_new(count, size);

    if (grown != NULL && block != NULL) {
        size_t old = header_of(block)->bytes;
        size_t new = header_of(grown)->bytes;
        memcpy(grown, block, old < new ? old : new);
        pb_memory_free(block);
    }
    return grown;
}

pb_status pb_memory_grow(void *pointer, size_t count, size_t size)
{
    void *block = NULL;

    memcpy(&block, pointer, sizeof block); /* whatever it points to */
    size_t room = block != NULL ? header_of(block)->bytes / size : 0;
    if (block != NULL && count <= room) {
        return PB_OK;
    }
    size_t more = room;
    if (MAPS_BLOCKS && room * size >= MAPPED_BYTES) {
        /* The pages of a large block are not copied, so small steps keep the unused part small. */
        more = MAPPED_BYTES / size > room / 64 ? MAPPED_BYTES / size : room / 64;
    }
    size_t larger = room + more > FIRST_ITEMS ? room + more : FIRST_ITEMS;
    block         = pb_memory_resize(block, count > larger ? count : larger, size);
    if (block == NULL) {
        return PB_ERR_MEMORY;
    }
    memcpy(pointer, &block, sizeof block);
    return PB_OK;
}

void pb_memory_free(void *block)
{
    if (block == NULL) {
        return;
    }
    header *h = header_of(block);
    atomic_fetch_sub(&current_bytes, h->bytes);
    h->magic = 0;
    if (h->mapped > 0) {
        (void)munmap(h->raw, h->mapped);
    } else {
        free(h->raw);
    }
}

char *pb_memory_text(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy  = pb_memory_new(size, 1);

    if (copy != NULL) {
        memcpy(copy, text, size);
    }
    return copy;
}

void pb_memory_free_texts(char **texts, size_t count)
{
    for (size_t i = 0; texts != NULL && i < count; i++) {
        pb_memory_free(texts[i]);
    }
    pb_memory_free(texts);
}

size_t pb_memory_current(void)
{
    return atomic_load(&current_bytes);
}

size_t pb_memory_peak(void)
{
    return atomic_load(&peak_bytes);
}

size_t pb_memory_allocations(void)
{
    return atomic_load(&allocations);
}

void pb_memory_peak_reset(void)
{
    atomic_store(&peak_bytes, atomic_load(&current_bytes));
}

void pb_memory_peak_restore(size_t peak)
{
    atomic_store(&peak_bytes, peak);
    raise_peak(atomic_load(&current_bytes));
}

void pb_memory_account(int64_t bytes)
{
    if (bytes >= 0) {
        raise_peak(atomic_fetch_add(&current_bytes, (size_t)bytes) + (size_t)bytes);
    } else {
        atomic_fetch_sub(&current_bytes, (size_t)0 - (size_t)bytes);
    }
}

void pb_memory_limit(size_t bytes)
{
    atomic_store(&limit_bytes, bytes);
}

bool pb_memory_resident_peak_reset(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "we");

    if (file == NULL) {
        return false;
    }
    bool written = fputs("5", file) != EOF;
    return fclose(file) == 0 && written;
}

size_t pb_memory_from_system(const char *path, const char *name)
{
    FILE *file       = fopen(path, "re");
    size_t kibibytes = 0;
    size_t length    = strlen(name);
    char line[256];

    if (file == NULL) {
        return 0;
    }
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, length) == 0 &&
            sscanf(line + length, ": %zu kB", &kibibytes) == 1) {
            break;
        }
    }
    (void)fclose(file);
    return kibibytes * 1024;
}

size_t pb_memory_resident_peak(void)
{
    return pb_memory_from_system("/proc/self/status", "VmHWM");
}
