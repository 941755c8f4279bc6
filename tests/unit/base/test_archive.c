// SPDX-License-Identifier: Apache-2.0
/* Archives give back what was written, and are refused as a whole where a byte differs. */
#include "pb/archive.h"
#include "pb/file.h"
#include "pb/memory.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

typedef struct place {
    char *folder, *path;
    size_t before;
} place;

static void begin(place *p)
{
    p->before = pb_memory_current();
    assert_int_equal(pb_temporary_make("peftbench", &p->folder), PB_OK);
    assert_int_equal(pb_path_join(p->folder, "a.ckpt", &p->path), PB_OK);
}

static void end(place *p)
{
    pb_temporary_remove(p->folder);
    pb_memory_free(p->path);
    pb_memory_free(p->folder);
    pb_error_clear();
    assert_int_equal(pb_memory_current(), p->before);
}

static pb_status content(pb_archive *a, int64_t *number, char **text, char **none)
{
    PB_TRY(pb_archive_bytes(a, number, sizeof *number));
    PB_TRY(pb_archive_text(a, text));
    return pb_archive_text(a, none);
}

static void put(const place *p, const char *identity)
{
    pb_archive *a  = NULL;
    int64_t number = 42;
    char word[]    = "some words";
    char *text     = word;
    char *none     = NULL;
    assert_int_equal(pb_archive_create(p->path, identity, &a), PB_OK);
    assert_false(pb_archive_reads(a));
    assert_int_equal(pb_archive_close(a, content(a, &number, &text, &none)), PB_OK);
}

static pb_status get(const place *p, const char *identity)
{
    pb_archive *a  = NULL;
    int64_t number = 0;
    char *text     = NULL;
    char *none     = NULL;
    PB_TRY(pb_archive_open(p->path, identity, &a));
    assert_non_null(a);
    assert_true(pb_archive_reads(a));
    assert_int_equal(content(a, &number, &text, &none), PB_OK);
    assert_int_equal(number, 42);
    assert_string_equal(text, "some words");
    assert_null(none);
    assert_int_equal(pb_archive_bytes(a, &number, 1), PB_ERR_FORMAT);
    pb_memory_free(text);
    return pb_archive_close(a, PB_OK);
}

static void what_was_written_is_read(void **state)
{
    (void)state;
    place p;
    pb_archive *a = NULL;
    begin(&p);
    assert_int_equal(pb_archive_open(p.path, "cell", &a), PB_OK);
    assert_null(a);
    put(&p, "cell");
    assert_int_equal(get(&p, "cell"), PB_OK);
    end(&p);
}

static void another_identity_is_refused(void **state)
{
    (void)state;
    static const char *const others[] = {"", "cel", "cell ", "Cell", "a cell"};
    place p;
    begin(&p);
    put(&p, "cell");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_int_equal(get(&p, others[i]), PB_ERR_FORMAT);
        assert_non_null(strstr(pb_error_message(), "another version, or for another cell"));
    }
    end(&p);
}

/* Every byte counts, and so does every length. */
static void a_damaged_file_is_refused(void **state)
{
    (void)state;
    place p;
    pb_string whole = {0};
    begin(&p);
    put(&p, "cell");
    assert_int_equal(pb_file_read(p.path, 0, &whole), PB_OK);
    for (size_t i = 0; i < whole.length; i++) {
        whole.data[i] ^= 1;
        assert_int_equal(pb_file_write_atomic(p.path, whole.data, whole.length), PB_OK);
        assert_int_equal(get(&p, "cell"), PB_ERR_FORMAT);
        whole.data[i] ^= 1;
        assert_int_equal(pb_file_write_atomic(p.path, whole.data, i), PB_OK);
        assert_int_equal(get(&p, "cell"), PB_ERR_FORMAT);
    }
    assert_int_equal(pb_file_write_atomic(p.path, whole.data, whole.length), PB_OK);
    assert_int_equal(get(&p, "cell"), PB_OK);
    pb_string_clear(&whole);
    end(&p);
}

static void a_failure_leaves_the_file_before(void **state)
{
    (void)state;
    place p;
    pb_archive *a  = NULL;
    char **names   = NULL;
    size_t count   = 0;
    int64_t number = 7;
    begin(&p);
    put(&p, "cell");
    assert_int_equal(pb_archive_create(p.path, "cell", &a), PB_OK);
    assert_int_equal(pb_archive_bytes(a, &number, sizeof number), PB_OK);
    assert_int_equal(pb_archive_close(a, PB_ERR_MEMORY), PB_ERR_MEMORY);
    assert_int_equal(get(&p, "cell"), PB_OK);
    assert_int_equal(pb_path_list(p.folder, NULL, &names, &count), PB_OK);
    assert_int_equal(count, 1);
    pb_memory_free_texts(names, count);
    end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(another_identity_is_refused),
        cmocka_unit_test(a_damaged_file_is_refused),
        cmocka_unit_test(a_failure_leaves_the_file_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
