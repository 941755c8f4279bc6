// SPDX-License-Identifier: Apache-2.0
/* See blocks.h. */
#include "blocks.h"

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BLOCKS = 4096, RETIRED = 1024 };

typedef struct block {
    uintptr_t begin, bytes, mapped;
} block;

static block blocks[BLOCKS]; /* the first block_count are in use */
static size_t block_count;
static block retired[RETIRED]; /* freed last: their addresses are not reused yet */
static size_t retired_next;
static struct sigaction before; /* the previous handlers of faults */

static uintptr_t page_bytes(void)
{
    return (uintptr_t)sysconf(_SC_PAGESIZE);
}

static const block *find(uintptr_t address)
{
    for (size_t i = 0; i < block_count; i++) {
        if (address - blocks[i].begin < blocks[i].mapped) {
            return &blocks[i];
        }
    }
    return NULL;
}

/* Reports the block; the access is then repeated under the previous handler. */
static void on_fault(int signal_number, siginfo_t *info, void *context)
{
    char text[256];
    uintptr_t at   = (uintptr_t)info->si_addr;
    const block *b = find(at);
    (void)context;
    if (b != NULL) {
        int length =
            snprintf(text, sizeof text,
                     "guarded: byte %zu of the block of %zu bytes at %#zx was touched, and "
                     "no operation had opened it\n",
                     (size_t)(at - b->begin), (size_t)b->bytes, (size_t)b->begin);
        (void)!write(STDERR_FILENO, text, (size_t)length);
    }
    (void)sigaction(signal_number, &before, NULL);
}

void block_watch(void)
{
    struct sigaction now = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    struct sigaction was;
    if (sigaction(SIGSEGV, &now, &was) == 0 && was.sa_sigaction != on_fault) {
        before = was;
    }
}

pb_status block_new(size_t bytes, void **data)
{
    uintptr_t page   = page_bytes();
    uintptr_t mapped = (bytes / page + 1) * page; /* at least one byte beyond the block */
    if (block_count == BLOCKS) {
        return PB_FAIL(PB_ERR_MEMORY, "guarded: more than %d blocks", (int)BLOCKS);
    }
    void *memory = mmap(NULL, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return PB_FAIL(PB_ERR_MEMORY, "guarded: the system refused %zu bytes", bytes);
    }
    blocks[block_count++] = (block){(uintptr_t)memory, bytes, mapped};
    *data                 = memory;
    return PB_OK;
}

size_t block_free(void *data)
{
    block *b = (block *)(uintptr_t)find((uintptr_t)data);
    if (b == NULL || b->begin != (uintptr_t)data) {
        fprintf(stderr, "guarded: %p is not a block\n", data);
        abort();
    }
    size_t bytes = b->bytes;
    /* The memory goes back at once, the addresses when RETIRED more blocks have been freed. */
    (void)madvise(data, b->mapped, MADV_DONTNEED);
    block *old = &retired[retired_next++ % RETIRED];
    if (old->mapped > 0) {
        (void)munmap((void *)old->begin, old->mapped);
    }
    *old = *b;
    *b   = blocks[--block_count];
    return bytes;
}

bool block_has(const void *begin, size_t bytes)
{
    const block *b = find((uintptr_t)begin);
    return b != NULL && (uintptr_t)begin - b->begin + bytes <= b->bytes;
}

void block_protect(const void *begin, size_t bytes, int protection)
{
    uintptr_t page  = page_bytes();
    uintptr_t first = (uintptr_t)begin / page * page;
    if (mprotect((void *)first, (uintptr_t)begin + bytes - first, protection) != 0) {
        perror("guarded: mprotect");
        abort();
    }
}
