// SPDX-License-Identifier: Apache-2.0
/* Errors that are reported together. */
#include "pb/log.h"
#include "pb/memory.h"
#include "pb/mistakes.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

static void the_same_mistake_is_counted(void **state)
{
    size_t before    = pb_memory_current();
    pb_mistakes list = {0};
    int64_t place    = 7;

    (void)state;
    assert_int_equal(pb_mistakes_take(&list, PB_OK, &place), PB_OK);
    assert_int_equal(place, -1);
    assert_int_equal(pb_mistakes_fail(&list, PB_ERR_CONFIG, "x"), PB_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pb_mistakes_take(&list, PB_FAIL(PB_ERR_IO, "a"), &place), PB_OK);
        assert_int_equal(place, 0);
        assert_string_equal(pb_error_message(), "");
    }
    assert_int_equal(list.count, 1);
    assert_int_equal(list.items[0].count, 3);
    assert_int_equal(pb_mistakes_fail(&list, PB_ERR_CONFIG, "x"), PB_ERR_CONFIG);
    assert_string_equal(pb_error_message(), "a");
    assert_int_equal(pb_mistakes_take(&list, PB_FAIL(PB_ERR_FORMAT, "b"), NULL), PB_OK);
    assert_int_equal(pb_mistakes_fail(&list, PB_ERR_CONFIG, "grid.cfg"), PB_ERR_CONFIG);
    assert_string_equal(pb_error_message(), "grid.cfg: the 2 errors above");
    pb_mistakes_clear(&list);
    pb_error_clear();
    assert_int_equal(pb_memory_current(), before);
}

static void a_mistake_is_kept_as_a_text(void **state)
{
    char *message = NULL;

    (void)state;
    assert_int_equal(pb_mistake_keep(PB_FAIL(PB_ERR_FORMAT, "row %d", 7), &message), PB_OK);
    assert_string_equal(message, "row 7");
    assert_string_equal(pb_error_message(), "");
    pb_memory_free(message);
    assert_int_equal(pb_mistake_keep(PB_OK, &message), PB_OK);
    assert_null(message);
}

static void what_is_no_mistake_of_an_input_is_passed_on(void **state)
{
    static const pb_status passed[] = {PB_ERR_MEMORY, PB_ERR_COMM, PB_STOPPED};
    pb_mistakes list                = {0};
    char *message                   = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++) {
        assert_int_equal(pb_mistakes_take(&list, PB_FAIL(passed[i], "no"), NULL), passed[i]);
        assert_int_equal(list.count, 0);
        assert_int_equal(pb_mistake_keep(PB_FAIL(passed[i], "no"), &message), passed[i]);
        assert_null(message);
        assert_string_equal(pb_error_message(), "no");
    }
    pb_error_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_mistake_is_counted),
        cmocka_unit_test(a_mistake_is_kept_as_a_text),
        cmocka_unit_test(what_is_no_mistake_of_an_input_is_passed_on),
    };
    pb_log_setup(PB_LOG_ERROR, 1, 2); /* rank 1 prints nothing of rank 0's */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
