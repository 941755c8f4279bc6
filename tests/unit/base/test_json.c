// SPDX-License-Identifier: Apache-2.0
/* JSON: accepted input, input refused with its file, line and column, and output. */
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

#include <math.h>
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
        {"[]", PB_ERR_FORMAT, "/f: not a JSON object"},
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

static void every_kind_has_a_name(void **state)
{
    static const char *const names[] = {"an object", "an array",      "a string",      "an integer",
                                        "a number",  "true or false", "true or false", "null"};
    json_t *root                     = NULL;

    (void)state;
    assert_int_equal(read_text("{\"a\": [{}, [], \"\", 1, 1.0, true, false, null]}", &root), PB_OK);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const json_t *node = json_array_get(json_object_get(root, "a"), i);
        assert_string_equal(pb_json_kind(node), names[i]);
    }
    assert_string_equal(pb_json_kind(NULL), "nothing");
    json_decref(root);
}

#define SCRATCH_TEST(test) cmocka_unit_test_setup_teardown(test, scratch_create, scratch_destroy)

static void every_kind_of_member_is_written(void **state)
{
    pb_string text = {0};
    pb_json json   = pb_json_begin(&text, PB_JSON_LINES, 2);
    json_t *root   = NULL;

    (void)state;
    pb_json_put_text(&json, "te\"xt", "a\n\x01\xFF");
    pb_json_put_bytes(&json, "bytes", "a\0b", 3);
    pb_json_put_text(&json, "none", NULL);
    pb_json_put_array(&json, "inline", PB_JSON_INLINE);
    pb_json_put_int(&json, NULL, INT64_MIN);
    pb_json_put_bool(&json, NULL, true);
    pb_json_put_null(&json, NULL);
    pb_json_put_number(&json, NULL, 0.1, PB_JSON_EXACT);
    pb_json_put_number(&json, NULL, (double)NAN, PB_JSON_EXACT);
    pb_json_put_fixed(&json, NULL, -(double)INFINITY, 2);
    pb_json_put_fixed(&json, NULL, 2.0 / 3, 3);
    pb_json_put_number(&json, NULL, -0.0, 4);
    pb_json_put_float(&json, NULL, 1);
    pb_json_put_float(&json, NULL, 0.1);
    pb_json_put_float(&json, NULL, 1e-5);
    pb_json_end(&json);
    pb_json_put_object(&json, "lines", PB_JSON_LINES);
    pb_json_put_array(&json, "compact", PB_JSON_COMPACT);
    pb_json_put_int(&json, NULL, 1);
    pb_json_put_object(&json, NULL, PB_JSON_COMPACT);
    pb_json_put_int(&json, "b", 2);
    pb_json_put_int(&json, "c", 3);
    pb_json_end(&json);
    pb_json_end(&json);
    pb_json_put_array(&json, "empty", PB_JSON_LINES);
    pb_json_end(&json);
    pb_json_end(&json);
    assert_int_equal(pb_json_finish(&json, "\n"), PB_OK);
    assert_string_equal(
        text.data,
        "{\n"
        "  \"te\\\"xt\": \"a\\n\\u0001\xEF\xBF\xBD\",\n"
        "  \"bytes\": \"a\\u0000b\",\n"
        "  \"none\": null,\n"
        "  \"inline\": [-9223372036854775808, true, null, 0.10000000000000001, null, null, 0.667, "
        "0, 1.0, 0.1, 1e-05],\n"
        "  \"lines\": {\n"
        "    \"compact\": [1,{\"b\":2,\"c\":3}],\n"
        "    \"empty\": []\n"
        "  }\n"
        "}\n");
    assert_int_equal(pb_json_parse("text", &text, JSON_ALLOW_NUL, &root), PB_OK);
    json_decref(root);
    pb_string_clear(&text);
}

/* At whichever call memory runs out, this is reported at the end, and no later call writes. */
static void the_first_failure_is_kept(void **state)
{
    size_t before = pb_memory_current();
    int failures  = 0;

    (void)state;
    for (size_t room = 64; room < 700; room += 64) {
        pb_string text = {0};
        pb_memory_limit(before + room);
        pb_json json = pb_json_begin_array(&text, PB_JSON_LINES, 1);
        for (int i = 0; i < 50; i++) {
            pb_json_put_int(&json, NULL, i);
            pb_json_put_text(&json, NULL, "a");
        }
        pb_status status = pb_json_finish(&json, "");
        pb_memory_limit(0);
        failures += status != PB_OK;
        assert_true(status == PB_OK || status == PB_ERR_MEMORY);
        assert_int_equal(status == PB_OK, text.data != NULL && text.data[text.length - 1] == ']');
        pb_string_clear(&text);
    }
    assert_in_range(failures, 2, 10);
    assert_int_equal(pb_memory_current(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(an_object_is_read),
        SCRATCH_TEST(anything_else_is_refused_with_its_place),
        SCRATCH_TEST(every_kind_has_a_name),
        cmocka_unit_test(every_kind_of_member_is_written),
        cmocka_unit_test(the_first_failure_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
