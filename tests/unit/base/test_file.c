// SPDX-License-Identifier: Apache-2.0
/* Reading and atomic writing, with the failures a user meets: missing and unwritable
 * places, size limits, a kill in the middle. */
#include "pb/file.h"
#include "pb/hash.h"
#include "pb/memory.h"

#include "scratch.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void assert_contents(const char *path, const char *expected)
{
    pb_string text = {0};

    assert_int_equal(pb_file_read(path, 0, &text), PB_OK);
    assert_string_equal(text.data, expected);
    assert_int_equal(text.length, strlen(expected));
    pb_string_clear(&text);
}

static void assert_entries(size_t expected)
{
    char **names = NULL;
    size_t count = 0;

    assert_int_equal(pb_path_list(scratch, NULL, &names, &count), PB_OK);
    assert_int_equal(count, expected);
    pb_memory_free_texts(names, count);
}

static void what_is_written_is_read_back(void **state)
{
    enum { BYTES = 300001 };
    size_t before  = pb_memory_current();
    char *bytes    = NULL;
    pb_string text = {0};

    (void)state;
    assert_int_equal(PB_ALLOC(bytes, BYTES), PB_OK);
    for (size_t i = 0; i < BYTES; i++) {
        bytes[i] = (char)(i * 31 % 251);
    }
    assert_int_equal(pb_file_write_atomic(scratch_path("f"), bytes, BYTES), PB_OK);
    assert_int_equal(pb_file_read(scratch_path("f"), BYTES, &text), PB_OK);
    assert_int_equal(text.length, BYTES);
    assert_memory_equal(text.data, bytes, BYTES);
    assert_int_equal(text.data[BYTES], 0);
    assert_int_equal(pb_string_puts(&text, "more"), PB_OK);
    pb_string_clear(&text);
    pb_memory_free(bytes);
    assert_int_equal(pb_file_write_atomic(scratch_path("f"), "", 0), PB_OK);
    assert_contents(scratch_path("f"), "");
    assert_entries(1);
    assert_int_equal(pb_memory_current(), before);
}

static void files_without_a_known_size_are_read_whole(void **state)
{
    pb_string text = {0};

    (void)state;
    assert_int_equal(pb_file_read("/proc/self/status", 0, &text), PB_OK);
    assert_true(text.length > 100 && strlen(text.data) == text.length);
    pb_string_clear(&text);
}

static void reading_refuses_what_is_too_large_missing_or_no_file(void **state)
{
    size_t before  = pb_memory_current();
    pb_string text = {0};

    (void)state;
    assert_int_equal(pb_file_write_atomic(scratch_path("f"), "12345", 5), PB_OK);
    assert_int_equal(pb_file_read(scratch_path("f"), 4, &text), PB_ERR_FORMAT);
    assert_non_null(strstr(pb_error_message(), scratch_path("f")));
    assert_non_null(strstr(pb_error_message(), "5 bytes"));
    assert_int_equal(pb_file_read("/proc/self/status", 10, &text), PB_ERR_FORMAT);
    assert_int_equal(pb_file_read(scratch_path("absent"), 0, &text), PB_ERR_NOT_FOUND);
    assert_non_null(strstr(pb_error_message(), scratch_path("absent")));
    assert_int_equal(pb_file_read(scratch_path("f/below"), 0, &text), PB_ERR_IO);
    assert_non_null(strstr(pb_error_message(), "not a directory"));
    assert_int_equal(pb_file_read(scratch, 0, &text), PB_ERR_IO);
    assert_non_null(strstr(pb_error_message(), "it is a directory"));
    pb_memory_limit(before + 4);
    assert_int_equal(pb_file_read(scratch_path("f"), 0, &text), PB_ERR_MEMORY);
    pb_memory_limit(0);
    assert_null(text.data);
    assert_int_equal(pb_memory_current(), before);
}

static void only_regular_files_are_opened(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char hash[PB_HASH_TEXT];
    pb_mapping mapping = {0};
    pb_string text     = {0};
    int flags          = 0;
    int fd             = -1;

    (void)state;
    (void)alarm(20); /* reading a pipe without a writer would wait forever */
    assert_int_equal(mkfifo(scratch_path("pipe"), 0600), 0);
    assert_int_equal(pb_file_read(scratch_path("pipe"), 0, &text), PB_ERR_IO);
    assert_non_null(strstr(pb_error_message(), "pipe: it is a pipe, not a regular file"));
    assert_int_equal(pb_mapping_open(scratch_path("pipe"), &mapping), PB_ERR_IO);
    assert_int_equal(pb_hash_file(scratch_path("pipe"), hash), PB_ERR_IO);
    assert_int_equal(pb_file_read("/dev/zero", 0, &text), PB_ERR_IO);
    assert_non_null(strstr(pb_error_message(), "/dev/zero: it is a device"));
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", scratch_path("socket"));
    int server = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(server, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(pb_file_read(scratch_path("socket"), 0, &text), PB_ERR_IO);
    assert_non_null(strstr(pb_error_message(), "socket: it is a socket"));
    (void)close(server);

    assert_int_equal(pb_file_write_atomic(scratch_path("f"), "x", 1), PB_OK);
    assert_int_equal(pb_file_open(scratch_path("f"), &fd), PB_OK);
    flags = fcntl(fd, F_GETFL);
    assert_int_equal(flags & O_NONBLOCK, 0);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    (void)close(fd);
    (void)alarm(0);
}

#define LFS_BODY "oid sha256:0123\nsize 988097824\n"

static void pointers_of_git_are_refused_with_the_command_that_fetches(void **state)
{
    static const struct {
        const char *text, *command;
    } cases[] = {
        {"version https://git-lfs.github.com/spec/v1\n" LFS_BODY, "`git lfs pull`"},
        {"version https://git-lfs.github.com/spec/v1\r\n" LFS_BODY, "`git lfs pull`"},
        {"version https://hawser.github.com/spec/v1\n" LFS_BODY, "`git lfs pull`"},
        {"/annex/objects/SHA256E-s988097824--0123.safetensors\n", "`git annex get`"},
        {"version https://git-lfs.example.org/spec/v1\n" LFS_BODY, NULL},
        {"a text that mentions version https://git-lfs.github.com/spec/v1\n", NULL},
    };
    char hash[PB_HASH_TEXT];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path   = scratch_path("f");
        pb_status expected = cases[i].command != NULL ? PB_ERR_FORMAT : PB_OK;
        pb_mapping mapping = {0};
        pb_string text     = {0};
        assert_int_equal(pb_file_write_atomic(path, cases[i].text, strlen(cases[i].text)), PB_OK);
        assert_int_equal(pb_mapping_open(path, &mapping), expected);
        pb_mapping_close(&mapping);
        assert_int_equal(pb_hash_file(path, hash), expected);
        assert_int_equal(pb_file_read(path, 0, &text), expected);
        pb_string_clear(&text);
        if (expected != PB_OK) {
            assert_non_null(strstr(pb_error_message(), path));
            assert_non_null(strstr(pb_error_message(), cases[i].command));
        }
    }
}

static void a_text_is_no_pointer_when_it_is_longer(void **state)
{
    char text[1200] = "version https://git-lfs.github.com/spec/v1\n";

    (void)state;
    memset(text + strlen(text), 'x', sizeof text - 1 - strlen(text));
    assert_int_equal(pb_file_write_atomic(scratch_path("f"), text, strlen(text)), PB_OK);
    assert_contents(scratch_path("f"), text);
}

static void an_unwritable_place_is_reported_with_its_path(void **state)
{
    (void)state;
    assert_int_equal(pb_file_write_atomic(scratch_path("no/f"), "x", 1), PB_ERR_IO);
    assert_non_null(strstr(pb_error_message(), scratch_path("no/f")));
    assert_int_equal(pb_file_write_atomic(scratch_path("f"), "x", 1), PB_OK);
    assert_int_equal(pb_file_write_atomic(scratch_path("f/g"), "x", 1), PB_ERR_IO);
    assert_non_null(strstr(pb_error_message(), "a part of the path is a file"));
    assert_true(pb_file_write_atomic("/proc/pb-test", "x", 1) != PB_OK);
    assert_non_null(strstr(pb_error_message(), "/proc/pb-test"));
    assert_int_equal(pb_file_write_atomic("", "x", 1), PB_ERR_ARGUMENT);
    assert_int_equal(mkdir(scratch_path("d"), 0777), 0);
    assert_int_equal(pb_file_write_atomic(scratch_path("d"), "x", 1), PB_ERR_IO);
    assert_entries(2); /* f and d: no temporary is left */
}

static void a_write_beyond_the_size_limit_leaves_the_old_file(void **state)
{
    struct rlimit kept  = {0};
    struct rlimit small = {0};
    static char large[1 << 16];

    (void)state;
    assert_int_equal(pb_file_write_atomic(scratch_path("f"), "old", 3), PB_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &kept), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    small                = (struct rlimit){.rlim_cur = 1000, .rlim_max = kept.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    pb_status status = pb_file_write_atomic(scratch_path("f"), large, sizeof large);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &kept), 0);
    (void)signal(SIGXFSZ, handler);
    assert_int_equal(status, PB_ERR_IO);
    assert_non_null(strstr(pb_error_message(), scratch_path("f")));
    assert_non_null(strstr(pb_error_message(), "limit on file sizes"));
    assert_contents(scratch_path("f"), "old");
    assert_entries(1);
}

static void a_commit_publishes_a_finished_temporary(void **state)
{
    char *temporary = NULL;

    (void)state;
    assert_int_equal(pb_file_write_atomic(scratch_path("f"), "old", 3), PB_OK);
    assert_int_equal(pb_file_temporary_create(scratch_path("f"), &temporary), PB_OK);
    assert_int_equal(strncmp(temporary, scratch_path("f.tmp."), strlen(scratch_path("f.tmp."))), 0);
    FILE *file = fopen(temporary, "w");
    assert_non_null(file);
    assert_int_equal(fputs("new", file) >= 0, 1);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(pb_file_commit(temporary, scratch_path("f")), PB_OK);
    assert_contents(scratch_path("f"), "new");
    assert_entries(1);
    assert_int_equal(pb_file_commit(temporary, scratch_path("f")), PB_ERR_IO);
    /* One that cannot be opened is removed too. */
    assert_int_equal(symlink("nowhere", temporary), 0);
    assert_int_equal(pb_file_commit(temporary, scratch_path("f")), PB_ERR_IO);
    assert_contents(scratch_path("f"), "new");
    assert_entries(1);
    pb_memory_free(temporary);
}

/* A restarted container has the host and the process number of the killed one, so the next names
 * are those of existing files. */
static void names_that_a_killed_run_left_are_passed_over(void **state)
{
    enum { LEFT = 40 };
    char *first = NULL;
    char *next  = NULL;

    (void)state;
    assert_int_equal(pb_file_temporary_create(scratch_path("f"), &first), PB_OK);
    char *number = strrchr(first, '.') + 1;
    long count   = strtol(number, NULL, 10);
    for (int i = 1; i <= LEFT; i++) {
        char name[512];
        (void)snprintf(name, sizeof name, "%.*s%ld", (int)(number - first), first, count + i);
        FILE *file = fopen(name, "w");
        assert_non_null(file);
        assert_int_equal(fclose(file), 0);
    }
    assert_int_equal(pb_file_write_atomic(scratch_path("f"), "x", 1), PB_OK);
    assert_contents(scratch_path("f"), "x");
    assert_int_equal(pb_file_temporary_create(scratch_path("f"), &next), PB_OK);
    assert_string_not_equal(first, next);
    assert_entries(LEFT + 3);
    pb_memory_free(first);
    pb_memory_free(next);
}

/* The child rewrites the file, all 'a' then all 'b', until it is killed. */
static void rewrite_for_ever(const char *path, char *bytes, size_t size)
{
    for (int i = 0;; i++) {
        memset(bytes, i % 2 ? 'b' : 'a', size);
        if (pb_file_write_atomic(path, bytes, size) != PB_OK) {
            _exit(1);
        }
    }
}

static void a_kill_at_any_moment_leaves_a_whole_file(void **state)
{
    enum { BYTES = 200000, KILLS = 12 };
    char *bytes = NULL;
    char path[512];

    (void)state;
    (void)snprintf(path, sizeof path, "%s", scratch_path("f"));
    assert_int_equal(PB_ALLOC(bytes, BYTES), PB_OK);
    memset(bytes, 'a', BYTES);
    assert_int_equal(pb_file_write_atomic(path, bytes, BYTES), PB_OK);
    for (int i = 0; i < KILLS; i++) {
        const struct timespec pause = {.tv_nsec = 3000000 + i * 1700000};
        pb_string text              = {0};
        int how                     = 0;
        pid_t child                 = fork();
        assert_true(child >= 0);
        if (child == 0) {
            rewrite_for_ever(path, bytes, BYTES);
        }
        (void)nanosleep(&pause, NULL);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &how, 0), child);
        assert_true(WIFSIGNALED(how));
        assert_int_equal(pb_file_read(path, 0, &text), PB_OK);
        assert_int_equal(text.length, BYTES);
        assert_true(text.data[0] == 'a' || text.data[0] == 'b');
        assert_int_equal(strspn(text.data, text.data[0] == 'a' ? "a" : "b"), BYTES);
        pb_string_clear(&text);
    }
    pb_memory_free(bytes);
}

static void temporary_names_are_known_again(void **state)
{
    const char *const others[] = {
        "",           "a.h5",           "a.tmp",           "a.tmp.host.1",
        "a.tmp..1.2", "a.tmp.host.x.2", "a.tmp.host.1.2x", "tmp.host.1.2"};
    char *name = NULL;

    (void)state;
    assert_int_equal(pb_file_temporary_create(scratch_path("a.h5"), &name), PB_OK);
    assert_true(pb_file_is_temporary(name));
    pb_memory_free(name);
    assert_true(pb_file_is_temporary("a.tmp.node.cluster.org.17.0"));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_false(pb_file_is_temporary(others[i]));
    }
}

static void the_second_holder_of_a_lock_hears_of_the_first(void **state)
{
    const char *path     = scratch_path("lock");
    pb_file_lock *first  = NULL;
    pb_file_lock *second = NULL;
    size_t before        = pb_memory_current();

    (void)state;
    assert_int_equal(pb_file_lock_take(path, "the first, process 7", &first), PB_OK);
    assert_non_null(first);
    assert_contents(path, "the first, process 7");
    assert_int_equal(pb_file_lock_take(path, "the second", &second), PB_ERR_IO);
    assert_non_null(strstr(pb_error_message(), path));
    assert_non_null(strstr(pb_error_message(), "held by the first, process 7;"));
    pb_file_lock_release(first);
    assert_contents(path, "");
    assert_int_equal(pb_file_lock_take(path, "the second", &second), PB_OK);
    assert_contents(path, "the second");
    pb_file_lock_release(second);
    pb_file_lock_release(NULL);
    assert_int_equal(pb_file_lock_take("/proc/nothing/lock", "x", &second), PB_ERR_IO);
    assert_int_equal(pb_memory_current(), before);
}

static void a_killed_holder_leaves_no_lock(void **state)
{
    const char *path   = scratch_path("lock");
    pb_file_lock *lock = NULL;
    int ready[2]       = {-1, -1};
    char byte          = 0;

    (void)state;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        bool taken = pb_file_lock_take(path, "the child, a longer text", &lock) == PB_OK;
        _exit(taken && write(ready[1], "x", 1) == 1 ? pause() : 1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(pb_file_lock_take(path, "the parent", &lock), PB_ERR_IO);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(pb_file_lock_take(path, "the parent", &lock), PB_OK);
    assert_contents(path, "the parent");
    pb_file_lock_release(lock);
    (void)close(ready[0]);
    (void)close(ready[1]);
}

#define SCRATCH_TEST(test) cmocka_unit_test_setup_teardown(test, scratch_create, scratch_destroy)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(what_is_written_is_read_back),
        cmocka_unit_test(files_without_a_known_size_are_read_whole),
        SCRATCH_TEST(reading_refuses_what_is_too_large_missing_or_no_file),
        SCRATCH_TEST(only_regular_files_are_opened),
        SCRATCH_TEST(pointers_of_git_are_refused_with_the_command_that_fetches),
        SCRATCH_TEST(a_text_is_no_pointer_when_it_is_longer),
        SCRATCH_TEST(an_unwritable_place_is_reported_with_its_path),
        SCRATCH_TEST(a_write_beyond_the_size_limit_leaves_the_old_file),
        SCRATCH_TEST(a_commit_publishes_a_finished_temporary),
        SCRATCH_TEST(names_that_a_killed_run_left_are_passed_over),
        SCRATCH_TEST(temporary_names_are_known_again),
        SCRATCH_TEST(the_second_holder_of_a_lock_hears_of_the_first),
        SCRATCH_TEST(a_killed_holder_leaves_no_lock),
        SCRATCH_TEST(a_kill_at_any_moment_leaves_a_whole_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
