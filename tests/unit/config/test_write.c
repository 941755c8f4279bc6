// SPDX-License-Identifier: Apache-2.0
/* Written configurations read back to the same values; the help names every key. */
#include "fixture.h"

#include <math.h>

static void what_is_written_reads_back_the_same(void **state)
{
    (void)state;
    settings a, b;
    pb_string text = {0};
    assert_int_equal(read_text("lora = { r = 3; big = 9007199254740993; alpha = 0.1;\n"
                               " free = -1.7976931348623157e308; name = \"a\\\\\\\"\\n\\x01ü\";\n"
                               " targets = [\"x y\", \"\"]; seeds = [1, 1000000]; };",
                               &a),
                     PB_OK);
    assert_int_equal(pb_string_puts(&text, "lora = {\n"), PB_OK);
    assert_int_equal(pb_config_write(fields, &a, "  ", 0, &text), PB_OK);
    assert_int_equal(pb_string_puts(&text, "};\n"), PB_OK);
    assert_int_equal(read_text(text.data, &b), PB_OK);
    assert_true(a.big == b.big && a.r == b.r);
    assert_true(a.alpha == b.alpha && a.free == b.free);
    assert_string_equal(a.name, b.name);
    assert_int_equal(b.targets.count, 2);
    assert_string_equal(b.targets.items[0], "x y");
    assert_int_equal(b.seeds.items[1], 1000000);
    pb_config_clear(fields, &a);
    pb_config_clear(fields, &b);
    pb_string_clear(&text);
    assert_int_equal(pb_memory_current(), 0);
}

static void defaults_are_written_in_table_order(void **state)
{
    (void)state;
    settings s;
    pb_string text = {0};
    assert_int_equal(pb_config_defaults(fields, &s), PB_OK);
    assert_int_equal(pb_config_write(fields, &s, " ", 0, &text), PB_OK);
    assert_string_equal(text.data, " r = 8;\n big = 5000000000L;\n alpha = 16.5;\n free = 0.1;\n"
                                   " merge = true;\n name = \"lora\";\n file = \"\";\n"
                                   " dtype = \"bf16\";\n targets = [\"q\", \"v\"];\n"
                                   " seeds = [42, 123];\n");
    pb_string_clear(&text);
    s.free = NAN;
    assert_int_equal(pb_config_write(fields, &s, " ", 0, &text), PB_ERR_NUMERIC);
    pb_string_clear(&text);
    pb_config_clear(fields, &s);
}

static void a_key_holds_what_the_kept_depends_on(void **state)
{
    typedef struct shown {
        int64_t rows, seed;
        double most;
        char *file, *note, *name;
        pb_config_list notes;
        pb_config_ints added;
    } shown;
    static const pb_config_field table[] = {
        PB_FIELD_INT_FOR(PB_KEPT_TEST_TOKENS, shown, rows, 1, 0, 9, "", "rows of training"),
        PB_FIELD_INT_FOR(PB_KEPT_TRAIN_TOKENS | PB_KEPT_TEST_TOKENS, shown, seed, 2, 0, 9, "",
                         "of the run"),
        PB_FIELD_GUARD(shown, most, 0.5, 0, 1, "", "refuses"),
        PB_FIELD_PATH(shown, file, "f", "a place"),
        PB_FIELD_NOTE(shown, note, "for readers"),
        PB_FIELD_NOTE_LIST(shown, notes, "for readers"),
        PB_FIELD_TEXT(shown, name, "n", "a name"),
        PB_FIELD_INT_LIST_FOR(PB_KEPT_BEFORE, shown, added, "1 2", 0, 9, "came later"),
        PB_FIELD_END,
    };
    static const struct {
        unsigned kept;
        const char *text;
    } cases[] = {
        {PB_KEPT_RESULT, "rows = 1;\nseed = 2;\nname = \"n\";\n"},
        {PB_KEPT_TRAIN_TOKENS, "rows = 1;\nname = \"n\";\n"},
        {PB_KEPT_TEST_TOKENS, "name = \"n\";\n"},
    };
    shown s;
    (void)state;
    assert_int_equal(pb_config_defaults(table, &s), PB_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pb_string text = {0};
        assert_int_equal(pb_config_write(table, &s, "", cases[i].kept, &text), PB_OK);
        assert_string_equal(text.data, cases[i].text);
        pb_string_clear(&text);
    }
    pb_string text   = {0};
    s.added.items[1] = 3;
    assert_int_equal(pb_config_write(table, &s, "", PB_KEPT_TEST_TOKENS, &text), PB_OK);
    assert_string_equal(text.data, "name = \"n\";\nadded = [1, 3];\n");
    pb_string_clear(&text);
    pb_config_clear(table, &s);
}

/* Also when any allocation on the way fails. */
static void a_copy_owns_what_it_holds(void **state)
{
    (void)state;
    settings a, b;
    pb_string text = {0}, copied = {0};
    pb_status status = PB_ERR_MEMORY;
    assert_int_equal(read_text("lora = { name = \"x\"; targets = [\"a\", \"bc\"]; };", &a), PB_OK);
    assert_int_equal(pb_config_write(fields, &a, "", 0, &text), PB_OK);
    size_t before = pb_memory_current();
    for (size_t room = 1; status != PB_OK; room++) {
        pb_memory_limit(before + room);
        status = pb_config_copy(fields, sizeof a, &a, &b);
        pb_memory_limit(0);
        assert_true(status == PB_OK || status == PB_ERR_MEMORY);
        assert_true(status == PB_OK || pb_memory_current() == before);
        pb_error_clear();
    }
    pb_config_clear(fields, &a);
    assert_int_equal(pb_config_write(fields, &b, "", 0, &copied), PB_OK);
    assert_string_equal(copied.data, text.data);
    pb_config_clear(fields, &b);
    pb_string_clear(&text);
    pb_string_clear(&copied);
    assert_int_equal(pb_memory_current(), 0);
}

static void the_help_names_type_bounds_unit_and_default(void **state)
{
    (void)state;
    pb_string text = {0};
    assert_int_equal(pb_config_help("lora", fields, &text), PB_OK);
    assert_non_null(strstr(text.data, "an integer 1 … 4096, default 8"));
    assert_non_null(strstr(text.data, "an integer bytes, default 5000000000"));
    assert_non_null(strstr(text.data, "one of f32, bf16, default bf16"));
    for (const pb_config_field *f = fields; f->key != NULL; f++) {
        assert_non_null(strstr(text.data, f->key));
        assert_non_null(strstr(text.data, f->help));
    }
    pb_string_clear(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_reads_back_the_same),
        cmocka_unit_test(defaults_are_written_in_table_order),
        cmocka_unit_test(a_key_holds_what_the_kept_depends_on),
        cmocka_unit_test(a_copy_owns_what_it_holds),
        cmocka_unit_test(the_help_names_type_bounds_unit_and_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
