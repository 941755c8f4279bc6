// SPDX-License-Identifier: Apache-2.0
/* A broadcast of more bytes than fit in an int. The middle of the block maps one small piece of
 * memory repeatedly, so that the test needs little of it; the first and last bytes are separate
 * memory and prove that every chunk arrives at its place. */
#include "pb/comm.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PIECE ((size_t)64 << 20)
#define EDGE  ((size_t)1 << 20)

static pb_comm *comm;

/* [edge | piece | piece | … | edge], *bytes in all, more than INT_MAX. */
static unsigned char *map_block(size_t *bytes)
{
    size_t pieces        = (size_t)INT_MAX / PIECE + 1;
    size_t total         = 2 * EDGE + pieces * PIECE;
    int file             = memfd_create("piece", MFD_CLOEXEC);
    unsigned char *block = mmap(NULL, total, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    assert_true(file >= 0 && ftruncate(file, (off_t)PIECE) == 0);
    assert_true(block != MAP_FAILED);
    for (size_t i = 0; i < pieces; i++) {
        void *at = block + EDGE + i * PIECE;
        assert_ptr_equal(mmap(at, PIECE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0),
                         at);
    }
    (void)close(file);
    *bytes = total;
    return block;
}

static void a_block_beyond_int_max_arrives_whole(void **state)
{
    size_t bytes         = 0;
    unsigned char *block = map_block(&bytes);
    int root             = pb_comm_size(comm) - 1;

    (void)state;
    assert_true(bytes > (size_t)INT_MAX);
    if (pb_comm_rank(comm) == root) {
        memset(block, 1, EDGE);
        memset(block + EDGE, 2, PIECE);
        memset(block + bytes - EDGE, 3, EDGE);
    }
    assert_int_equal(pb_comm_barrier(comm), PB_OK);
    assert_int_equal(pb_comm_broadcast(comm, block, bytes, root), PB_OK);
    for (size_t i = 0; i < EDGE; i++) {
        assert_true(block[i] == 1 && block[bytes - EDGE + i] == 3);
    }
    for (size_t i = 0; i < PIECE; i++) {
        assert_true(block[EDGE + i] == 2);
    }
    (void)munmap(block, bytes);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_beyond_int_max_arrives_whole),
    };

    if (pb_comm_open(&argc, &argv, &comm) != PB_OK) {
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pb_comm_close(comm);
    return failed;
}
