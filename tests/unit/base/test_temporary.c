// SPDX-License-Identifier: Apache-2.0
/* Temporary folders: unique, in $TMPDIR, and removed with their contents, but without following
 * links. */
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

/* "<folder>/<name>", valid until the next call. */
static const char *at(const char *folder, const char *name)
{
    static char path[1024];

    assert_true(snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path);
    return path;
}

static void goes_with_its_contents_but_not_beyond_links(void **state)
{
    char *a = NULL, *b = NULL;

    (void)state;
    assert_int_equal(setenv("TMPDIR", scratch, 1), 0);
    assert_int_equal(pb_temporary_make("some", &a), PB_OK);
    assert_int_equal(pb_temporary_make("some", &b), PB_OK);
    assert_string_not_equal(a, b);
    assert_int_equal(strncmp(a, scratch_path("some-"), strlen(scratch) + 6), 0);
    assert_int_equal(pb_path_make_directories(at(a, "inner")), PB_OK);
    assert_int_equal(pb_file_write_atomic(at(a, "inner/file"), "x", 1), PB_OK);
    assert_int_equal(pb_file_write_atomic(at(b, "kept"), "x", 1), PB_OK);
    assert_int_equal(symlink(b, at(a, "link")), 0);
    pb_temporary_remove(a);
    assert_false(pb_path_exists(a));
    assert_true(pb_path_exists(at(b, "kept")));
    pb_temporary_remove(b);
    pb_temporary_remove(b); /* already removed */
    pb_temporary_remove(NULL);
    pb_memory_free(a);
    pb_memory_free(b);
    assert_int_equal(pb_memory_current(), 0);
}

static void a_parent_that_is_missing_is_named_with_the_remedy(void **state)
{
    char *path = NULL;

    (void)state;
    assert_int_equal(setenv("TMPDIR", scratch_path("missing"), 1), 0);
    assert_int_equal(pb_temporary_make("some", &path), PB_ERR_IO);
    assert_null(path);
    assert_non_null(strstr(pb_error_message(), "/missing/some-"));
    assert_non_null(strstr(pb_error_message(), "set TMPDIR to a folder with room"));
    assert_int_equal(pb_memory_current(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(goes_with_its_contents_but_not_beyond_links, scratch_create,
                                        scratch_destroy),
        cmocka_unit_test_setup_teardown(a_parent_that_is_missing_is_named_with_the_remedy,
                                        scratch_create, scratch_destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
