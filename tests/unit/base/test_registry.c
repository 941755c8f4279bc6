// SPDX-License-Identifier: Apache-2.0
#include "pb/memory.h"
#include "pb/registry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

typedef struct table {
    const char *name;
    double value;
} table;

static const table lora = {"lora", 1}, ia3 = {"ia3", 2};

static const table *const pointers[] = {&lora, &ia3, NULL};
static const table tables[]          = {{"lora", 1}, {"ia3", 2}, {NULL, 0}};
static const char *const names[]     = {"lora", "ia3", NULL};

static const pb_registry registries[] = {
    {.kind = "method", .entries = pointers},
    {.kind = "method", .entries = tables, .stride = sizeof *tables},
    {.kind = "method", .entries = names, .stride = sizeof *names},
};

enum { REGISTRIES = sizeof registries / sizeof registries[0] };

static void entries_are_found_by_name(void **state)
{
    (void)state;
    for (int r = 0; r < REGISTRIES; r++) {
        size_t index = 7;
        assert_int_equal(pb_registry_find(&registries[r], "ia3", &index), PB_OK);
        assert_int_equal(index, 1);
        assert_int_equal(pb_registry_find(&registries[r], "lora", &index), PB_OK);
        assert_int_equal(index, 0);
        assert_string_equal(pb_registry_name(&registries[r], 1), "ia3");
        assert_null(pb_registry_name(&registries[r], 2));
    }
}

static void an_unknown_name_is_refused_with_the_nearest(void **state)
{
    size_t index = 7;

    (void)state;
    for (int r = 0; r < REGISTRIES; r++) {
        assert_int_equal(pb_registry_find(&registries[r], "lorra", &index), PB_ERR_CONFIG);
        assert_string_equal(pb_error_message(),
                            "unknown method \"lorra\"; did you mean \"lora\"? Known: lora, ia3");
        assert_int_equal(index, 7);
    }
    pb_registry open = registries[0];
    open.also        = "auto";
    assert_int_equal(pb_registry_find(&open, "atuo", &index), PB_ERR_CONFIG);
    assert_string_equal(pb_error_message(),
                        "unknown method \"atuo\"; did you mean \"auto\"? Known: auto, lora, ia3");
    pb_error_clear();
    assert_int_equal(pb_memory_current(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_found_by_name),
        cmocka_unit_test(an_unknown_name_is_refused_with_the_nearest),
    };
    return cmocka_run_group_tests_name("registry", tests, NULL, NULL);
}
