// SPDX-License-Identifier: Apache-2.0
/* Paths: joining, parents, making directories, ${NAME}, listing. */
#include "pb/file.h"
#include "pb/memory.h"

#include "scratch.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <unistd.h>

static void assert_joined(const char *directory, const char *name, const char *expected)
{
    char *path = NULL;

    assert_int_equal(pb_path_join(directory, name, &path), PB_OK);
    assert_string_equal(path, expected);
    pb_memory_free(path);
}

static void paths_are_joined_with_one_slash(void **state)
{
    (void)state;
    assert_joined("a", "b", "a/b");
    assert_joined("a/", "b", "a/b");
    assert_joined("/", "b", "/b");
    assert_joined("a", "/b", "/b");
    assert_joined("", "b", "b");
}

static void assert_directory(const char *path, const char *expected)
{
    char *directory = NULL;

    assert_int_equal(pb_path_directory(path, &directory), PB_OK);
    assert_string_equal(directory, expected);
    pb_memory_free(directory);
}

static void the_directory_of_a_path_is_what_stands_before_its_name(void **state)
{
    (void)state;
    assert_directory("a/b/c", "a/b");
    assert_directory("a//b", "a");
    assert_directory("a/b/", "a");
    assert_directory("/a", "/");
    assert_directory("/", "/");
    assert_directory("a", ".");
    assert_directory("", ".");
}

static void directories_are_made_with_their_parents_and_again(void **state)
{
    (void)state;
    assert_int_equal(pb_path_make_directories(scratch_path("a/b/c")), PB_OK);
    assert_true(pb_path_is_directory(scratch_path("a/b/c")));
    assert_int_equal(pb_path_make_directories(scratch_path("a/b/c")), PB_OK);
    assert_int_equal(pb_path_make_directories(scratch_path("a//b/d/")), PB_OK);
    assert_true(pb_path_is_directory(scratch_path("a/b/d")));
    assert_true(pb_path_exists(scratch_path("a")));
    assert_false(pb_path_exists(scratch_path("z")));
    assert_false(pb_path_is_directory(scratch_path("z")));
    assert_int_equal(pb_path_make_directories("/"), PB_OK);
}

static void directories_that_cannot_be_made_are_reported(void **state)
{
    (void)state;
    assert_int_equal(pb_path_make_directories(""), PB_ERR_ARGUMENT);
    assert_int_equal(pb_file_write_atomic(scratch_path("f"), "x", 1), PB_OK);
    assert_false(pb_path_is_directory(scratch_path("f")));
    assert_int_equal(pb_path_make_directories(scratch_path("f")), PB_ERR_IO);
    assert_non_null(strstr(pb_error_message(), "in the way"));
    assert_int_equal(pb_path_make_directories(scratch_path("f/g")), PB_ERR_IO);
    assert_non_null(strstr(pb_error_message(), scratch_path("f")));
    assert_int_equal(pb_path_make_directories("/proc/pb-test/x"), PB_ERR_IO);
    assert_non_null(strstr(pb_error_message(), "/proc/pb-test"));
}

static void names_are_expanded_from_the_environment(void **state)
{
    char *path = NULL;

    (void)state;
    assert_int_equal(setenv("PB_TEST_A", "/data", 1), 0);
    assert_int_equal(setenv("PB_TEST_EMPTY", "", 1), 0);
    assert_int_equal(unsetenv("PB_TEST_UNSET"), 0);
    assert_int_equal(pb_path_expand("${PB_TEST_A}/m${PB_TEST_EMPTY}/${PB_TEST_A}", &path), PB_OK);
    assert_string_equal(path, "/data/m//data");
    pb_memory_free(path);
    assert_int_equal(pb_path_expand("plain $HOME {x} $", &path), PB_OK);
    assert_string_equal(path, "plain $HOME {x} $");
    pb_memory_free(path);
    assert_int_equal(pb_path_expand("", &path), PB_OK);
    assert_string_equal(path, "");
    pb_memory_free(path);
}

static void a_name_that_is_not_set_or_not_closed_is_an_error(void **state)
{
    size_t before = pb_memory_current();
    char *path    = NULL;

    (void)state;
    assert_int_equal(pb_path_expand("a/${PB_TEST_UNSET}/b", &path), PB_ERR_CONFIG);
    assert_non_null(strstr(pb_error_message(), "PB_TEST_UNSET is not set"));
    assert_int_equal(pb_path_expand("a/${PB_TEST_A", &path), PB_ERR_CONFIG);
    assert_non_null(strstr(pb_error_message(), "a/${PB_TEST_A"));
    assert_int_equal(pb_path_expand("a/${}", &path), PB_ERR_CONFIG);
    assert_null(path);
    assert_int_equal(pb_memory_current(), before);
}

static void a_listing_is_sorted_and_filtered(void **state)
{
    char **names  = NULL;
    size_t count  = 99;
    size_t before = pb_memory_current();
    char name[32];

    (void)state;
    assert_int_equal(pb_path_list(scratch, NULL, &names, &count), PB_OK);
    assert_int_equal(count, 0);
    pb_memory_free_texts(names, count);
    for (int i = 39; i >= 0; i--) {
        (void)snprintf(name, sizeof name, "%02d.%s", i, i % 2 ? "h5" : "txt");
        assert_int_equal(pb_file_write_atomic(scratch_path(name), "", 0), PB_OK);
    }
    assert_int_equal(pb_path_list(scratch, ".h5", &names, &count), PB_OK);
    assert_int_equal(count, 20);
    assert_string_equal(names[0], "01.h5");
    assert_string_equal(names[19], "39.h5");
    pb_memory_free_texts(names, count);
    assert_int_equal(pb_path_list(scratch, NULL, &names, &count), PB_OK);
    assert_int_equal(count, 40);
    for (size_t i = 1; i < count; i++) {
        assert_true(strcmp(names[i - 1], names[i]) < 0);
    }
    pb_memory_free_texts(names, count);
    assert_int_equal(pb_path_list(scratch_path("absent"), NULL, &names, &count), PB_ERR_NOT_FOUND);
    assert_int_equal(pb_path_list(scratch_path("01.h5"), NULL, &names, &count), PB_ERR_IO);
    pb_memory_limit(before + 200);
    assert_int_equal(pb_path_list(scratch, NULL, &names, &count), PB_ERR_MEMORY);
    pb_memory_limit(0);
    assert_int_equal(pb_memory_current(), before);
}

/* Adds up the numbers that names begin with; 30 is too many. */
static pb_status add_number(void *sum, const char *path, const char *name)
{
    assert_true(pb_path_exists(path));
    assert_true(pb_string_ends(path, name));
    *(int *)sum += name[0] - '0';
    return *(int *)sum < 30 ? PB_OK : PB_FAIL(PB_ERR_FORMAT, "too many");
}

static void every_name_is_visited_with_its_path_until_one_fails(void **state)
{
    static const char *const names[] = {"1.h5", "2.h5", "4.txt", "8.h5"};
    int sum                          = 0;
    bool there                       = true;

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(pb_path_has(scratch, names[i], &there), PB_OK);
        assert_false(there);
        assert_int_equal(pb_file_write_atomic(scratch_path(names[i]), "", 0), PB_OK);
        assert_int_equal(pb_path_has(scratch, names[i], &there), PB_OK);
        assert_true(there);
    }
    assert_int_equal(pb_path_each(scratch, ".h5", add_number, &sum), PB_OK);
    assert_int_equal(sum, 11);
    sum = 27;
    assert_int_equal(pb_path_each(scratch, NULL, add_number, &sum), PB_ERR_FORMAT);
    assert_int_equal(sum, 30);
    assert_int_equal(pb_path_each(scratch_path("absent"), NULL, add_number, &sum),
                     PB_ERR_NOT_FOUND);
}

#define SCRATCH_TEST(test) cmocka_unit_test_setup_teardown(test, scratch_create, scratch_destroy)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_joined_with_one_slash),
        cmocka_unit_test(the_directory_of_a_path_is_what_stands_before_its_name),
        SCRATCH_TEST(directories_are_made_with_their_parents_and_again),
        SCRATCH_TEST(directories_that_cannot_be_made_are_reported),
        cmocka_unit_test(names_are_expanded_from_the_environment),
        cmocka_unit_test(a_name_that_is_not_set_or_not_closed_is_an_error),
        SCRATCH_TEST(a_listing_is_sorted_and_filtered),
        SCRATCH_TEST(every_name_is_visited_with_its_path_until_one_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
