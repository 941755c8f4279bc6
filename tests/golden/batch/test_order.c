// SPDX-License-Identifier: Apache-2.0
/* The validation part and the order of an epoch against numpy's and torch's own permutations. */
#include "support.h"

#include "pb/batch.h"
#include "pb/hash.h"
#include "pb/string.h"

#include <jansson.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *load(const char *name)
{
    json_error_t error;
    json_t *root = json_load_file(shared_path("golden/protocol/splits/%s.json", name), 0, &error);

    if (root == NULL) {
        fail_msg("%s: %s", name, error.text);
    }
    return root;
}

static int64_t integer(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

/* The golden hash: decimal indices, each followed by a line feed. */
static void assert_hash(const int64_t *order, int64_t n, const json_t *wanted)
{
    pb_string text = {0};
    char sha[PB_HASH_TEXT];

    assert_ok(pb_string_puts(&text, ""));
    for (int64_t i = 0; i < n; i++) {
        assert_ok(pb_string_printf(&text, "%lld\n", (long long)order[i]));
    }
    assert_ok(pb_hash_bytes(text.data, text.length, sha));
    pb_string_clear(&text);
    assert_string_equal(sha, json_string_value(wanted));
}

static void assert_first(const int64_t *order, const json_t *wanted)
{
    for (size_t i = 0; i < json_array_size(wanted); i++) {
        assert_int_equal(order[i], json_integer_value(json_array_get(wanted, i)));
    }
}

static void check_parts(int64_t n, uint64_t seed, double share, const json_t *part, int64_t *order)
{
    int64_t held = -1;

    assert_ok(pb_split_validation(n, share, seed, order, &held));
    assert_int_equal(held, integer(part, "n_val"));
    assert_int_equal(n - held, integer(part, "n_train"));
    assert_first(order, json_object_get(part, "val_first50"));
    assert_first(order + held, json_object_get(part, "train_first50"));
}

static void validation_part_is_the_permutation_of_numpy(void **state)
{
    json_t *root        = load("validation_split");
    const json_t *cases = json_object_get(root, "cases");
    int parts           = 0;

    (void)state;
    assert_true(json_array_size(cases) > 5);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *entry = json_array_get(cases, i);
        int64_t n           = integer(entry, "n");
        uint64_t seed       = (uint64_t)integer(entry, "seed");
        int64_t *order      = calloc((size_t)n + 1, sizeof *order);
        int64_t held        = -1;
        const char *key     = NULL;
        json_t *value       = NULL;

        assert_ok(pb_split_validation(n, 0, seed, order, &held));
        assert_int_equal(held, 0);
        assert_first(order, json_object_get(entry, "permutation_first50"));
        assert_hash(order, n, json_object_get(entry, "permutation_sha256"));
        json_object_foreach((json_t *)(uintptr_t)entry, key, value)
        {
            if (strncmp(key, "val_", 4) == 0) {
                check_parts(n, seed, strtod(key + 4, NULL), value, order);
                parts++;
            }
        }
        free(order);
    }
    assert_true(parts > 5);
    json_decref(root);
}

static void epoch_order_is_the_permutation_of_torch(void **state)
{
    json_t *root        = load("epoch_order");
    const json_t *cases = json_object_get(root, "cases");

    (void)state;
    assert_true(json_array_size(cases) > 20);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *entry = json_array_get(cases, i);
        int64_t n           = integer(entry, "n");
        int64_t *order      = calloc((size_t)n + 1, sizeof *order);

        assert_ok(
            pb_epoch_order(n, (uint64_t)(integer(entry, "seed") + integer(entry, "epoch")), order));
        assert_first(order, json_object_get(entry, "first50"));
        assert_hash(order, n, json_object_get(entry, "sha256"));
        free(order);
    }
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(validation_part_is_the_permutation_of_numpy),
        cmocka_unit_test(epoch_order_is_the_permutation_of_torch),
    };
    (void)shared_directory();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
