// SPDX-License-Identifier: Apache-2.0
/* A mapping shows its file, and names the file when it is truncated while mapped. */
#include "pb/file.h"
#include "pb/memory.h"

#include "scratch.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGES = 64, PAGE_BYTES = 4096, FOUND = 7 };

static char message[1536];
static volatile char seen;

static void a_mapping_shows_the_file(void **state)
{
    pb_mapping mapping = {0};

    (void)state;
    pb_mapping_close(&mapping);
    assert_int_equal(pb_file_write_atomic(scratch_path("f"), "mapped", 6), PB_OK);
    assert_int_equal(pb_mapping_open(scratch_path("f"), &mapping), PB_OK);
    assert_int_equal(mapping.size, 6);
    assert_memory_equal(mapping.data, "mapped", 6);
    pb_mapping_close(&mapping);
    assert_null(mapping.data);
    assert_int_equal(mapping.size, 0);
    assert_int_equal(pb_file_write_atomic(scratch_path("f"), "", 0), PB_OK);
    assert_int_equal(pb_mapping_open(scratch_path("f"), &mapping), PB_OK);
    assert_null(mapping.data);
    pb_mapping_close(&mapping);
    assert_int_equal(pb_mapping_open(scratch_path("absent"), &mapping), PB_ERR_NOT_FOUND);
    assert_int_equal(pb_mapping_open(scratch, &mapping), PB_ERR_IO);
    assert_int_equal(pb_mapping_open("/dev/null", &mapping), PB_ERR_IO);
    assert_non_null(strstr(pb_error_message(), "not a regular file"));
}

/* Bytes of files that this process has in memory. */
static int64_t resident(void)
{
    long pages[3] = {0}; /* of the program, in memory, and of files among the latter */
    FILE *file    = fopen("/proc/self/statm", "r");

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld %ld", &pages[0], &pages[1], &pages[2]), 3);
    (void)fclose(file);
    return (int64_t)pages[2] * sysconf(_SC_PAGESIZE);
}

static void released_pages_take_no_memory_and_keep_their_contents(void **state)
{
    pb_mapping mapping = {0};
    size_t size        = (size_t)8 << 20;
    char *bytes        = malloc(size);

    (void)state;
    pb_mapping_release(&mapping);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (char)(i / PAGE_BYTES);
    }
    assert_int_equal(pb_file_write_atomic(scratch_path("large"), bytes, size), PB_OK);
    assert_int_equal(pb_mapping_open(scratch_path("large"), &mapping), PB_OK);
    assert_memory_equal(mapping.data, bytes, size);
    int64_t before = resident();
    pb_mapping_release(&mapping);
    assert_true(before - resident() > (int64_t)size / 2);
    assert_memory_equal(mapping.data, bytes, size);
    pb_mapping_close(&mapping);
    free(bytes);
}

static void describe(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    size_t length = pb_mapping_describe_loss(info->si_addr, message, sizeof message);
    _exit(write(STDOUT_FILENO, message, length) == (ssize_t)length && length > 0 ? FOUND : 1);
}

/* Reads the whole mapping after its file was truncated, in a process that may die of it. */
static void read_what_was_cut(const char *name, int output)
{
    struct sigaction action = {.sa_sigaction = describe, .sa_flags = SA_SIGINFO};
    pb_mapping mapping      = {0};

    (void)dup2(output, STDOUT_FILENO);
    if (sigaction(SIGBUS, &action, NULL) != 0 ||
        pb_mapping_open(scratch_path(name), &mapping) != PB_OK ||
        truncate(scratch_path(name), PAGE_BYTES) != 0) {
        _exit(2);
    }
    for (size_t i = 0; i < mapping.size; i += PAGE_BYTES) {
        seen = ((const char *)mapping.data)[i];
    }
    _exit(0);
}

static void the_file_of_a_lost_page_is_named(void **state)
{
    static char bytes[PAGES * PAGE_BYTES];
    const char *name = "a name with spaces";
    int output[2]    = {-1, -1};
    int status       = 0;

    (void)state;
    assert_int_equal(pipe(output), 0);
    assert_int_equal(pb_file_write_atomic(scratch_path(name), bytes, sizeof bytes), PB_OK);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        read_what_was_cut(name, output[1]);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), FOUND);
    memset(message, 0, sizeof message);
    assert_true(read(output[0], message, sizeof message - 1) > 0);
    assert_non_null(strstr(message, scratch_path(name)));
    assert_non_null(strstr(message, "truncated while in use"));
    (void)close(output[0]);
    (void)close(output[1]);
}

static void only_mapped_files_are_named(void **state)
{
    pb_mapping mapping = {0};
    char small[24];
    char *heap = NULL;

    (void)state;
    assert_int_equal(PB_ALLOC(heap, 1), PB_OK);
    assert_int_equal(pb_mapping_describe_loss(NULL, message, sizeof message), 0);
    assert_int_equal(pb_mapping_describe_loss(heap, message, sizeof message), 0);
    assert_int_equal(pb_mapping_describe_loss(small, message, sizeof message), 0);
    pb_memory_free(heap);

    assert_int_equal(pb_file_write_atomic(scratch_path("f\x1b"), "x", 1), PB_OK);
    assert_int_equal(pb_mapping_open(scratch_path("f\x1b"), &mapping), PB_OK);
    size_t length = pb_mapping_describe_loss(mapping.data, message, sizeof message);
    assert_int_equal(length, strlen(message));
    assert_non_null(strstr(message, "/f? any more")); /* no control characters of terminals */
    length = pb_mapping_describe_loss(mapping.data, small, sizeof small);
    assert_int_equal(length, sizeof small - 1);
    assert_int_equal(small[length], '\0');
    pb_mapping_close(&mapping);
    assert_int_equal(pb_mapping_describe_loss(mapping.data, message, sizeof message), 0);
}

#define SCRATCH_TEST(function) \
    cmocka_unit_test_setup_teardown(function, scratch_create, scratch_destroy)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(a_mapping_shows_the_file),
        SCRATCH_TEST(released_pages_take_no_memory_and_keep_their_contents),
        SCRATCH_TEST(the_file_of_a_lost_page_is_named),
        SCRATCH_TEST(only_mapped_files_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
