// SPDX-License-Identifier: Apache-2.0
/* Targets of a write that are not regular files: a symbolic link is replaced and never followed,
 * anything else is refused and stays. */
#include "pb/file.h"
#include "pb/memory.h"

#include "scratch.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

static void assert_contents(const char *path, const char *expected)
{
    pb_string text = {0};

    assert_int_equal(pb_file_read(path, 0, &text), PB_OK);
    assert_string_equal(text.data, expected);
    pb_string_clear(&text);
}

static mode_t kind(const char *path)
{
    struct stat about;

    assert_int_equal(lstat(path, &about), 0);
    return about.st_mode & S_IFMT;
}

static void a_link_is_replaced_and_its_target_stays(void **state)
{
    static const char *const targets[] = {"kept", "nothing",
                                          "out"}; /* the last one leads to itself */

    (void)state;
    assert_int_equal(pb_file_write_atomic(scratch_path("kept"), "kept", 4), PB_OK);
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        assert_int_equal(symlink(targets[i], scratch_path("out")), 0);
        assert_int_equal(pb_file_write_atomic(scratch_path("out"), "new", 3), PB_OK);
        assert_int_equal(kind(scratch_path("out")), S_IFREG);
        assert_contents(scratch_path("out"), "new");
        assert_contents(scratch_path("kept"), "kept");
        assert_false(pb_path_exists(scratch_path("nothing")));
        assert_int_equal(unlink(scratch_path("out")), 0);
    }
}

static void make_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int server                 = socket(AF_UNIX, SOCK_STREAM, 0);

    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    assert_int_equal(bind(server, (struct sockaddr *)&address, sizeof address), 0);
    (void)close(server);
}

/* Every way to write to `path` fails with a message that contains `words`, and leaves it
 * unchanged. */
static void assert_refused(const char *path, const char *words)
{
    mode_t before   = kind(path);
    size_t memory   = pb_memory_current();
    char *temporary = NULL;

    assert_int_equal(pb_file_write_atomic(path, "new", 3), PB_ERR_IO);
    assert_non_null(strstr(pb_error_message(), path));
    assert_non_null(strstr(pb_error_message(), words));
    assert_int_equal(pb_file_temporary_create(path, &temporary), PB_ERR_IO);
    assert_non_null(strstr(pb_error_message(), words));
    assert_int_equal(pb_file_write_atomic(scratch_path("ready"), "new", 3), PB_OK);
    assert_int_equal(pb_file_commit(scratch_path("ready"), path), PB_ERR_IO);
    assert_non_null(strstr(pb_error_message(), words));
    assert_int_equal(kind(path), before);
    assert_int_equal(pb_memory_current(), memory);
}

static void what_is_no_regular_file_is_not_replaced(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(scratch_path("pipe"), 0600), 0);
    assert_refused(scratch_path("pipe"), "it is a pipe");
    assert_int_equal(symlink("pipe", scratch_path("to pipe")), 0);
    assert_refused(scratch_path("to pipe"), "it leads to a pipe");
    assert_int_equal(mkdir(scratch_path("folder"), 0700), 0);
    assert_refused(scratch_path("folder"), "it is a directory");
    assert_int_equal(symlink("folder", scratch_path("to folder")), 0);
    assert_refused(scratch_path("to folder"), "it leads to a directory");
    make_socket(scratch_path("socket"));
    assert_refused(scratch_path("socket"), "it is a socket");
    /* As /dev/stdout, whatever the output of the test is. */
    assert_int_equal(symlink("/proc/self/fd/1", scratch_path("stdout")), 0);
    assert_refused(scratch_path("stdout"), "it leads to an open file");
    /* A device of our own: the system's must not be at risk. */
    if (mknod(scratch_path("device"), S_IFCHR | 0600, makedev(1, 3)) == 0) {
        assert_refused(scratch_path("device"), "it is a device");
    }
}

static void a_writer_of_a_temporary_follows_no_link(void **state)
{
    FILE *stream = NULL;

    (void)state;
    assert_int_equal(pb_file_write_atomic(scratch_path("kept"), "kept", 4), PB_OK);
    assert_int_equal(symlink("kept", scratch_path("link")), 0);
    assert_int_equal(pb_file_temporary_stream(scratch_path("link"), &stream), PB_ERR_IO);
    assert_null(stream);
    assert_int_equal(pb_file_commit(scratch_path("link"), scratch_path("out")), PB_ERR_IO);
    assert_contents(scratch_path("kept"), "kept");
    assert_false(pb_path_exists(scratch_path("out")));
}

/* Neither kind of lock touches anything but a file with a single name. */
static void assert_no_lock(const char *path, const char *words)
{
    pb_file_lock *lock = NULL;
    size_t memory      = pb_memory_current();
    bool held          = true;

    assert_int_equal(pb_file_lock_take(path, "holder", &lock), PB_ERR_IO);
    assert_non_null(strstr(pb_error_message(), path));
    assert_non_null(strstr(pb_error_message(), words));
    assert_non_null(strstr(pb_error_message(), "remove"));
    assert_null(lock);
    assert_int_equal(pb_file_lock_try(path, &lock, &held), PB_ERR_IO);
    assert_null(lock);
    assert_false(held);
    assert_int_equal(pb_memory_current(), memory);
}

static void a_lock_is_a_file_of_its_own(void **state)
{
    (void)state;
    (void)alarm(20); /* opening a pipe may wait forever */
    assert_int_equal(pb_file_write_atomic(scratch_path("kept"), "kept", 4), PB_OK);
    assert_int_equal(symlink("kept", scratch_path("link")), 0);
    assert_no_lock(scratch_path("link"), "it is a symbolic link");
    assert_int_equal(symlink("nothing", scratch_path("dangling")), 0);
    assert_no_lock(scratch_path("dangling"), "it is a symbolic link");
    assert_false(pb_path_exists(scratch_path("nothing")));
    assert_int_equal(symlink("loop", scratch_path("loop")), 0);
    assert_no_lock(scratch_path("loop"), "it is a symbolic link");
    assert_int_equal(link(scratch_path("kept"), scratch_path("second name")), 0);
    assert_no_lock(scratch_path("second name"), "hard links");
    assert_int_equal(mkfifo(scratch_path("pipe"), 0600), 0);
    assert_no_lock(scratch_path("pipe"), "it is a pipe");
    make_socket(scratch_path("socket"));
    assert_no_lock(scratch_path("socket"), "it is a socket");
    assert_int_equal(mkdir(scratch_path("folder"), 0700), 0);
    assert_no_lock(scratch_path("folder"), "it is a directory");
    assert_contents(scratch_path("kept"), "kept");
    (void)alarm(0);
}

static void a_link_to_a_directory_is_a_directory(void **state)
{
    (void)state;
    assert_int_equal(mkdir(scratch_path("folder"), 0700), 0);
    assert_int_equal(symlink("folder", scratch_path("link")), 0);
    assert_int_equal(pb_path_make_directories(scratch_path("link/below")), PB_OK);
    assert_true(pb_path_is_directory(scratch_path("folder/below")));
    assert_int_equal(symlink("loop", scratch_path("loop")), 0);
    assert_int_equal(symlink("nothing", scratch_path("dangling")), 0);
    assert_int_equal(pb_path_make_directories(scratch_path("loop")), PB_ERR_IO);
    assert_non_null(strstr(pb_error_message(), "loop: a symbolic link of that name does not lead"));
    assert_int_equal(pb_path_make_directories(scratch_path("loop/below")), PB_ERR_IO);
    assert_non_null(strstr(pb_error_message(), "loop: a symbolic link"));
    assert_int_equal(pb_path_make_directories(scratch_path("dangling")), PB_ERR_IO);
    assert_non_null(strstr(pb_error_message(), "dangling: a symbolic link"));
}

#define SCRATCH_TEST(function) \
    cmocka_unit_test_setup_teardown(function, scratch_create, scratch_destroy)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(a_link_is_replaced_and_its_target_stays),
        SCRATCH_TEST(what_is_no_regular_file_is_not_replaced),
        SCRATCH_TEST(a_writer_of_a_temporary_follows_no_link),
        SCRATCH_TEST(a_lock_is_a_file_of_its_own),
        SCRATCH_TEST(a_link_to_a_directory_is_a_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
