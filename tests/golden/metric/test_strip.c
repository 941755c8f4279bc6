// SPDX-License-Identifier: Apache-2.0
/* Comment removal against the results of Python 3.11's tokenizer for the golden texts, byte for
 * byte. */
#include "codebleu/strip.h"
#include "support.h"

#include "pb/memory.h"

#include <jansson.h>

#include <string.h>

static void check_case(const json_t *entry)
{
    const char *id     = json_string_value(json_object_get(entry, "id"));
    const char *text   = json_string_value(json_object_get(entry, "in"));
    const char *wanted = json_string_value(json_object_get(entry, "out"));
    pb_string out      = {0};
    bool failed        = false;

    assert_ok(code_strip(text, strlen(text), &out, &failed));
    if (strcmp(out.data, wanted) != 0) {
        fail_msg("%s:\n%s\nexpected:\n%s", id, out.data, wanted);
    }
    if (failed != json_is_true(json_object_get(entry, "failed"))) {
        fail_msg("%s: failed is %d", id, failed);
    }
    pb_string_clear(&out);
}

static void comments_and_docstrings_go_as_from_the_golden_texts(void **state)
{
    (void)state;
    json_error_t error;
    json_t *root =
        json_load_file(shared_path("golden/protocol/metrics/strip_comments.json"), 0, &error);
    if (root == NULL) {
        fail_msg("%s", error.text);
    }
    const json_t *cases = json_object_get(root, "cases");
    assert_true(json_array_size(cases) >= 188);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        check_case(json_array_get(cases, i));
    }
    json_decref(root);
    assert_int_equal(pb_memory_current(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comments_and_docstrings_go_as_from_the_golden_texts),
    };
    (void)shared_directory();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
