// SPDX-License-Identifier: Apache-2.0
/* JSON files: what is read, and what is refused with its file, line and column. */
#include "pb/file.h"
#include "pb/json.h"
#include "pb/memory.h"

#include "scratch.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>

#include <string.h>

static pb_status read_text(const char *text, json_t **out)
{
    assert_int_equal(pb_file_write_atomic(scratch_path("f"), text, strlen(text)), PB_OK);
    return pb_json_file_read(scratch_path("f"), 1000, out);
}

static void an_object_is_read(void **state)
{
    json_t *root = NULL;

    (void)state;
    assert_int_equal(read_text(" {\"a\": 7}\n", &root), PB_OK);
    assert_int_equal(json_integer_value(json_object_get(root, "a")), 7);
    json_decref(root);
}

static void anything_else_is_refused_with_its_place(void **state)
{
    static const struct {
        const char *text;
        pb_status status;
        const char *part;
    } cases[] = {
        {"", PB_ERR_FORMAT, ":1:0: invalid JSON: the file is empty; download it again"},
        {"<!DOCTYPE html><html>", PB_ERR_FORMAT, "invalid JSON: the file holds an HTML page"},
        {"\xef\xbb\xbf\n <HTML lang=x>", PB_ERR_FORMAT, "the file holds an HTML page"},
        {"<?xml version=\"1.0\"?><Error/>", PB_ERR_FORMAT, "the file holds an XML page"},
        {" ", PB_ERR_FORMAT, ": invalid JSON"},
        {"{\n \"a\": }", PB_ERR_FORMAT, ":2:7: invalid JSON"},
        {"{\"a\": 1, \"a\": 2}", PB_ERR_FORMAT, "duplicate"},
        {"{\"a\": \"\\u0000\"}", PB_ERR_FORMAT, "invalid JSON"},
        {"[]", PB_ERR_FORMAT, "/f: holds no JSON object"},
    };
    size_t before = pb_memory_current();

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *root = NULL;
        assert_int_equal(read_text(cases[i].text, &root), cases[i].status);
        if (strstr(pb_error_message(), cases[i].part) == NULL) {
            fail_msg("\"%s\" is not in \"%s\"", cases[i].part, pb_error_message());
        }
        assert_non_null(strstr(pb_error_message(), scratch_path("f")));
        assert_null(root);
    }
    json_t *root = NULL;
    assert_int_equal(pb_json_file_read(scratch_path("absent"), 10, &root), PB_ERR_NOT_FOUND);
    assert_int_equal(pb_memory_current(), before);
}

#define SCRATCH_TEST(test) cmocka_unit_test_setup_teardown(test, scratch_create, scratch_destroy)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(an_object_is_read),
        SCRATCH_TEST(anything_else_is_refused_with_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
