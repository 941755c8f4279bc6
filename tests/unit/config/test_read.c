// SPDX-License-Identifier: Apache-2.0
/* Reading groups into structs: values, defaults, and the message for every kind of error. */
#include "fixture.h"

#include "pb/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static const char *file_path(const char *name)
{
    static char path[160];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    assert_int_equal(pb_file_write_atomic(file_path(name), text, strlen(text)), PB_OK);
}

static void an_absent_group_gives_the_defaults(void **state)
{
    (void)state;
    settings s;
    assert_int_equal(read_text("", &s), PB_OK);
    assert_int_equal(s.r, 8);
    assert_true(s.big == 5000000000);
    assert_true(s.alpha == 16.5);
    assert_true(s.merge);
    assert_string_equal(s.name, "lora");
    assert_string_equal(s.file, "");
    assert_int_equal(s.dtype, 1);
    assert_int_equal(s.targets.count, 2);
    assert_string_equal(s.targets.items[1], "v");
    assert_int_equal(s.seeds.count, 2);
    assert_int_equal(s.seeds.items[1], 123);
    pb_config_clear(fields, &s);
    assert_int_equal(pb_memory_current(), 0);
}

static void every_type_reads_its_value(void **state)
{
    (void)state;
    settings s;
    assert_int_equal(read_text("lora = { r = 16; big = -9000000000; alpha = 2; free = 1e-5;\n"
                               "  merge = false; name = \"a\\\"b\"; file = \"x/y\";\n"
                               "  dtype = \"f32\"; targets = [ \"k\" ]; seeds = ( 1, 2, 3L ); };",
                               &s),
                     PB_OK);
    assert_int_equal(s.r, 16);
    assert_true(s.big == -9000000000);
    assert_true(s.alpha == 2.0);
    assert_true(s.free == 1e-5);
    assert_false(s.merge);
    assert_string_equal(s.name, "a\"b");
    assert_string_equal(s.file, "x/y");
    assert_int_equal(s.dtype, 0);
    assert_int_equal(s.targets.count, 1);
    assert_int_equal(s.seeds.count, 3);
    assert_int_equal(s.seeds.items[2], 3);
    pb_config_clear(fields, &s);
}

static void a_single_value_stands_for_a_list_of_one(void **state)
{
    (void)state;
    settings s;
    assert_int_equal(read_text("lora = { targets = \"k\"; seeds = 7; };", &s), PB_OK);
    assert_int_equal(s.targets.count, 1);
    assert_string_equal(s.targets.items[0], "k");
    assert_int_equal(s.seeds.count, 1);
    assert_int_equal(s.seeds.items[0], 7);
    pb_config_clear(fields, &s);
}

static void unknown_keys_name_the_nearest_and_all_allowed_ones(void **state)
{
    (void)state;
    const char *rest = "allowed: r, big, alpha, free, merge, name, file, dtype, targets, seeds";
    char message[256];
    snprintf(message, sizeof message,
             "x.cfg:2: key \"alpah\" is not known here; did you mean \"alpha\"? %s", rest);
    expect_message("lora = {\n alpah = 1; };", message);
    snprintf(message, sizeof message, "x.cfg:1: key \"zzzzzzz\" is not known here; %s", rest);
    expect_message("lora = { zzzzzzz = { a = 1; }; };", message);
}

static void keys_of_other_modules_pass_when_they_are_allowed(void **state)
{
    (void)state;
    const char *const also[] = {"groups", NULL};
    settings s;
    pb_config *config = NULL;
    assert_int_equal(pb_config_parse("r = 2; groups = { a = 1; };", "x", &config), PB_OK);
    assert_int_equal(pb_config_read(config, "", fields, also, &s), PB_OK);
    assert_int_equal(s.r, 2);
    pb_config_clear(fields, &s);
    assert_int_equal(pb_config_read(config, "", fields, NULL, &s), PB_ERR_CONFIG);
    pb_config_close(config);
}

/* 2^53 + 1 is not a double: it would be mistaken for the bound. */
static void integers_are_compared_as_integers(void **state)
{
    static const pb_config_field wide[] = {
        PB_FIELD_INT_LIST(settings, seeds, "42", 0, 9007199254740992, "seeds"),
        PB_FIELD_INT(settings, big, 0, INT64_MIN, INT64_MAX, "", "any integer"),
        PB_FIELD_END,
    };
    pb_config *config = NULL;
    pb_string help    = {0};
    settings s;

    (void)state;
    assert_int_equal(pb_config_parse("seeds = [9007199254740993];", "x.cfg", &config), PB_OK);
    assert_int_equal(pb_config_read(config, "", wide, NULL, &s), PB_ERR_CONFIG);
    assert_string_equal(pb_error_message(),
                        "x.cfg:1: seeds = 9007199254740993 is outside 0 … 9007199254740992");
    pb_config_close(config);
    assert_int_equal(
        pb_config_parse("seeds = [9007199254740992]; big = 9223372036854775807;", "x.cfg", &config),
        PB_OK);
    assert_int_equal(pb_config_read(config, "", wide, NULL, &s), PB_OK);
    assert_int_equal(s.seeds.items[0], 9007199254740992);
    assert_int_equal(s.big, INT64_MAX);
    pb_config_clear(wide, &s);
    pb_config_close(config);
    assert_int_equal(pb_config_help("x", wide, &help), PB_OK);
    assert_non_null(strstr(help.data, "a list of integers 0 … 9007199254740992"));
    pb_string_clear(&help);
}

static void values_outside_their_bounds_are_refused(void **state)
{
    (void)state;
    expect_message("lora = {\n\n r = 0; };", "x.cfg:3: r = 0 is outside 1 … 4096");
    expect_message("lora = { r = 4097; };", "x.cfg:1: r = 4097 is outside 1 … 4096");
    expect_message("lora = { alpha = -0.5; };", "x.cfg:1: alpha = -0.5 is outside 0 … 1000");
    expect_message("lora = { seeds = [1,\n-2]; };", "x.cfg:2: seeds = -2 is outside 0 … 1000000");
}

static void wrong_types_say_what_they_are_and_should_be(void **state)
{
    (void)state;
    expect_message("lora = { r = \"8\"; };",
                   "x.cfg:1: r is the string \"8\", it should be an integer 1 … 4096");
    expect_message("lora = { r = 8.5; };",
                   "x.cfg:1: r is the number 8.5, it should be an integer 1 … 4096");
    expect_message("lora = { alpha = true; };",
                   "x.cfg:1: alpha is true, it should be a number 0 … 1000");
    expect_message("lora = { free = []; };",
                   "x.cfg:1: free is a list, it should be a number seconds");
    expect_message("lora = { merge = 1; };",
                   "x.cfg:1: merge is the integer 1, it should be true or false");
    expect_message("lora = { name = { }; };", "x.cfg:1: name is a group, it should be a string");
    expect_message("lora = { targets = [1]; };",
                   "x.cfg:1: targets is the integer 1, it should be a list of strings");
    expect_message(
        "lora = { seeds = \"x\"; };",
        "x.cfg:1: seeds is the string \"x\", it should be a list of integers 0 … 1000000");
    expect_message("lora = 3;", "x.cfg:1: lora is not a group; it is written lora = { … };");
}

static void choices_name_the_allowed_ones(void **state)
{
    (void)state;
    expect_message("lora = { dtype = \"bf61\"; };",
                   "x.cfg:1: dtype = \"bf61\" is not one of f32, bf16; did you mean \"bf16\"?");
    expect_message("lora = { dtype = 3; };",
                   "x.cfg:1: dtype is the integer 3, it should be one of f32, bf16");
}

static void syntax_errors_name_the_line(void **state)
{
    (void)state;
    expect_part("lora = {\n r = 8;\n x x\n};", "x.cfg:3: syntax error");
    expect_part("lora = { r = 8; r = 9; };", "x.cfg:1: duplicate setting name");
    expect_part("lora = {\n name = \"abc; };", "x.cfg:2: a string that begins here has no closing");
    expect_part("\n/* open", "x.cfg:2: a comment that begins here has no closing */");
    expect_part("lora = { r = 1", "syntax error");
    expect_part("a = \"x\\q\";", "x.cfg:1: \"\\q\" is not an escape");
    expect_part("a = \"x\\x00y\";", "x.cfg:1: a string cannot hold \\x00");
    expect_part("a = \"\\xC3\";", "x.cfg:1: the text is not UTF-8");
    expect_part("a = \"\\x4\";", "x.cfg:1: two hexadecimal digits follow \\x");
    expect_part("a = \"x\\", "x.cfg:1: a string that begins here has no closing");
    expect_part("\na \"x\";", "x.cfg:2: syntax error");
    expect_part("a = \"x\"b;", "x.cfg:1: syntax error");
    expect_part("a = 5\"x\";", "x.cfg:1: syntax error");
    expect_part("a = [ 1, \"x\" ];", "x.cfg:1: mismatched element type in array");
    expect_part("# \xc3\n", "x.cfg:1: this is not UTF-8 text (byte 0xc3)");
    expect_part("((((((((((((((((((((((((((((((((((", "nested more than 32 deep");
}

static void texts_keep_every_character(void **state)
{
    settings s;

    (void)state;
    assert_int_equal(
        read_text("lora = { name = \"a\" /* one */ \"\\x41\\xC3\\xBC\" # text\n"
                  "\"\\n\\t\\\\\\\"\nend\"; targets = [ \"\", \"x\" \"y\", \"z\" ]; };",
                  &s),
        PB_OK);
    assert_string_equal(s.name, "aA\xC3\xBC\n\t\\\"\nend");
    assert_int_equal(s.targets.count, 3);
    assert_string_equal(s.targets.items[0], "");
    assert_string_equal(s.targets.items[1], "xy");
    assert_string_equal(s.targets.items[2], "z");
    pb_config_clear(fields, &s);
}

static void numbers_that_do_not_fit_are_refused_not_cut(void **state)
{
    (void)state;
    expect_part("lora = { r = 99999999999999999999; };", "does not fit 64 bits");
    expect_part("lora = { r = 99999999999999999999L; };", "does not fit 64 bits");
    expect_part("lora = { r = 4294967304; };", "r = 4294967304 is outside 1 … 4096");
    expect_part("lora = { alpha = 1e999; };", "x.cfg:1: the number 1e999 is not finite");
    expect_part("lora = { alpha = nan; };", "syntax error");
    expect_part("lora = { alpha = -inf; };", "\"-inf\" is not a number");
    expect_part("lora = { alpha = .; };", "\".\" is not a number");
    expect_part("lora = { alpha = 1.5.2; };", "\"1.5.2\" is not a number");
    expect_part("lora = { r = 0x10; };", "0x10: numbers are written in decimal digits");
}

static void a_missing_required_key_is_named(void **state)
{
    (void)state;
    typedef struct {
        char *name;
    } named;
    static const pb_config_field named_fields[] = {
        PB_FIELD_TEXT(named, name, NULL, "name of the sweep"),
        PB_FIELD_END,
    };
    named n;
    pb_config *config = NULL;
    assert_int_equal(pb_config_parse("\nsweep = { };", "g.cfg", &config), PB_OK);
    assert_int_equal(pb_config_read(config, "sweep", named_fields, NULL, &n), PB_ERR_CONFIG);
    assert_string_equal(pb_error_message(),
                        "g.cfg:2: sweep.name is missing: a string, name of the sweep");
    pb_config_close(config);
}

static void an_overlay_keeps_what_it_does_not_name_and_changes_nothing_on_failure(void **state)
{
    (void)state;
    settings s;
    pb_config *config = NULL;
    assert_int_equal(read_text("lora = { r = 3; name = \"one\"; };", &s), PB_OK);
    assert_int_equal(
        pb_config_parse("a = { name = \"two\"; }; b = { name = \"x\"; r = 0; };", "o.cfg", &config),
        PB_OK);
    assert_int_equal(pb_config_overlay(config, "a", fields, NULL, &s), PB_OK);
    assert_int_equal(s.r, 3);
    assert_string_equal(s.name, "two");
    assert_int_equal(pb_config_overlay(config, "b", fields, NULL, &s), PB_ERR_CONFIG);
    assert_string_equal(s.name, "two");
    assert_int_equal(pb_config_overlay(config, "none", fields, NULL, &s), PB_OK);
    pb_config_close(config);
    pb_config_clear(fields, &s);
    assert_int_equal(pb_memory_current(), 0);
}

static void paths_are_relative_to_their_file_and_take_the_environment(void **state)
{
    (void)state;
    settings s;
    pb_config *config = NULL;
    char expected[160];
    write_file("p.cfg", "a = { file = \"data/x\"; };\nb = { file = \"${PB_TEST_DIR}/y\"; };\n"
                        "c = { file = \"${PB_TEST_UNSET}/y\"; };\n");
    setenv("PB_TEST_DIR", "/abs", 1);
    unsetenv("PB_TEST_UNSET");
    assert_int_equal(pb_config_open(file_path("p.cfg"), &config), PB_OK);
    assert_int_equal(pb_config_read(config, "a", fields, NULL, &s), PB_OK);
    snprintf(expected, sizeof expected, "%s/data/x", folder);
    assert_string_equal(s.file, expected);
    pb_config_clear(fields, &s);
    assert_int_equal(pb_config_read(config, "b", fields, NULL, &s), PB_OK);
    assert_string_equal(s.file, "/abs/y");
    pb_config_clear(fields, &s);
    assert_int_not_equal(pb_config_read(config, "c", fields, NULL, &s), PB_OK);
    snprintf(expected, sizeof expected, "%s/p.cfg:3: file: ", folder);
    assert_memory_equal(pb_error_message(), expected, strlen(expected));
    assert_non_null(strstr(pb_error_message(), "PB_TEST_UNSET"));
    pb_config_close(config);
}

static void an_included_file_keeps_its_name_line_and_directory(void **state)
{
    (void)state;
    settings s;
    pb_config *config = NULL;
    char expected[200];
    mkdir(file_path("sub"), 0777);
    write_file("sub/inner.cfg", "# a comment\nfile = \"z\";\nr = 0;\n");
    write_file("outer.cfg", "lora = {\n@include \"sub/inner.cfg\"\nalpha = -1; };\n");
    assert_int_equal(pb_config_open(file_path("outer.cfg"), &config), PB_OK);
    assert_int_equal(pb_config_read(config, "lora", fields, NULL, &s), PB_ERR_CONFIG);
    snprintf(expected, sizeof expected, "%s/sub/inner.cfg:3: r = 0 is outside 1 … 4096", folder);
    assert_string_equal(pb_error_message(), expected);
    assert_int_equal(pb_config_set(config, "lora.r=1"), PB_OK);
    assert_int_equal(pb_config_read(config, "lora", fields, NULL, &s), PB_ERR_CONFIG);
    snprintf(expected, sizeof expected, "%s/outer.cfg:3: alpha = -1 is outside 0 … 1000", folder);
    assert_string_equal(pb_error_message(), expected);
    assert_int_equal(pb_config_set(config, "lora.alpha=1"), PB_OK);
    assert_int_equal(pb_config_read(config, "lora", fields, NULL, &s), PB_OK);
    snprintf(expected, sizeof expected, "%s/sub/z", folder);
    assert_string_equal(s.file, expected);
    pb_config_clear(fields, &s);
    pb_config_close(config);
}

static void hostile_includes_are_refused(void **state)
{
    (void)state;
    const struct {
        const char *text, *part;
    } cases[] = {
        {"@include \"/etc/passwd\"\n", "must lie in the including file's folder"},
        {"@include \"../x.cfg\"\n", "must lie in the including file's folder"},
        {"@include \"sub/../../x.cfg\"\n", "must lie in the including file's folder"},
        {"@include \"\"\n", "must lie in the including file's folder"},
        {"@include \".\"\n", "bad.cfg:1: @include"},
        {"@include \"none.cfg\"\n", "none.cfg"},
        {"@include \"bad.cfg\"\n", "more than 8 deep"},
        {"@include none\n", "is written @include \"FILE\""},
        {"@other\n", "has no meaning here"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pb_config *config = NULL;
        write_file("bad.cfg", cases[i].text);
        assert_int_not_equal(pb_config_open(file_path("bad.cfg"), &config), PB_OK);
        if (strstr(pb_error_message(), cases[i].part) == NULL) {
            fail_msg("\"%s\" is not in \"%s\"", cases[i].part, pb_error_message());
        }
    }
    assert_int_equal(pb_memory_current(), 0);
}

static void a_file_that_cannot_be_read_is_named(void **state)
{
    (void)state;
    pb_config *config = NULL;
    assert_int_not_equal(pb_config_open(file_path("absent.cfg"), &config), PB_OK);
    assert_non_null(strstr(pb_error_message(), "absent.cfg"));
    assert_int_not_equal(pb_config_open(folder, &config), PB_OK);
    assert_non_null(strstr(pb_error_message(), folder));
    assert_null(config);
}

static void running_out_of_memory_is_an_error_at_every_allocation(void **state)
{
    (void)state;
    const char *text = "lora = { name = \"abc\"; targets = [\"a\", \"b\"]; seeds = [1, 2]; };";
    bool done        = false;
    for (size_t limit = 1; !done; limit += 16) {
        settings s;
        pb_memory_limit(limit);
        pb_status status = read_text(text, &s);
        pb_memory_limit(0);
        if (status == PB_OK) {
            pb_config_clear(fields, &s);
            done = limit > 1000;
        } else {
            assert_int_equal(status, PB_ERR_MEMORY);
        }
        assert_int_equal(pb_memory_current(), 0);
        assert_true(limit < 1000000);
    }
}

/* The lists in these messages are longer than the initial capacity of a text. */
static void running_out_of_memory_within_a_message_loses_nothing(void **state)
{
    static const char *const words[] = {"a choice of many words that fill the first room of a text",
                                        "another choice that does not fit into that room", NULL};
    static const pb_config_field one[] = {
        {.key      = "word",
         .type     = PB_CONFIG_CHOICE,
         .required = true,
         .choices  = words,
         .unit     = "",
         .help     = "a word"},
        PB_FIELD_END,
    };
    static const char *const also[]  = {"a key that other modules know, of as many words as that",
                                        NULL};
    static const char *const texts[] = {"lora = { };", "lora = { word = 1; };",
                                        "lora = { word = \"other\"; };",
                                        "lora = { word = \"x\"; more = 1; };"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        pb_config *config = NULL;
        assert_int_equal(pb_config_parse(texts[i], "x.cfg", &config), PB_OK);
        size_t held      = pb_memory_current();
        pb_status status = PB_ERR_MEMORY;
        for (size_t more = 1; status == PB_ERR_MEMORY; more += 8) {
            int word = 0;
            pb_memory_limit(held + more);
            status = pb_config_read(config, "lora", one, also, &word);
            pb_memory_limit(0);
            assert_int_equal(pb_memory_current(), held);
        }
        assert_int_equal(status, PB_ERR_CONFIG);
        pb_config_close(config);
    }
}

static void keys_and_lengths_of_groups_and_lists_can_be_asked(void **state)
{
    (void)state;
    pb_config *config = NULL;
    const char *name  = NULL;
    char place[64];
    assert_int_equal(pb_config_parse("s = { o = ( { a = 1; }, { b = { c = 2; }; d = 3; } ); };\n"
                                     "t = 1;",
                                     "k.cfg", &config),
                     PB_OK);
    assert_int_equal(pb_config_length(config, "s.o"), 2);
    assert_int_equal(pb_config_length(config, ""), 2);
    assert_int_equal(pb_config_length(config, "nothing.at.all"), 0);
    assert_int_equal(pb_config_key(config, "s.o.[1]", 1, &name), PB_OK);
    assert_string_equal(name, "d");
    assert_int_equal(pb_config_key(config, "s.o.[1]", 2, &name), PB_OK);
    assert_null(name);
    assert_int_equal(pb_config_key(config, "t", 0, &name), PB_ERR_CONFIG);
    assert_true(pb_config_has(config, "s.o.[1].b.c"));
    assert_false(pb_config_has(config, "s.o.[2]"));
    assert_string_equal(pb_config_where(config, "t", place, sizeof place), "k.cfg:2");
    assert_string_equal(pb_config_where(config, "none", place, sizeof place), "k.cfg");
    assert_string_equal(pb_config_path(config), "k.cfg");
    pb_config_close(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_absent_group_gives_the_defaults),
        cmocka_unit_test(every_type_reads_its_value),
        cmocka_unit_test(a_single_value_stands_for_a_list_of_one),
        cmocka_unit_test(unknown_keys_name_the_nearest_and_all_allowed_ones),
        cmocka_unit_test(keys_of_other_modules_pass_when_they_are_allowed),
        cmocka_unit_test(integers_are_compared_as_integers),
        cmocka_unit_test(values_outside_their_bounds_are_refused),
        cmocka_unit_test(wrong_types_say_what_they_are_and_should_be),
        cmocka_unit_test(choices_name_the_allowed_ones),
        cmocka_unit_test(syntax_errors_name_the_line),
        cmocka_unit_test(texts_keep_every_character),
        cmocka_unit_test(numbers_that_do_not_fit_are_refused_not_cut),
        cmocka_unit_test(a_missing_required_key_is_named),
        cmocka_unit_test(an_overlay_keeps_what_it_does_not_name_and_changes_nothing_on_failure),
        cmocka_unit_test(paths_are_relative_to_their_file_and_take_the_environment),
        cmocka_unit_test(an_included_file_keeps_its_name_line_and_directory),
        cmocka_unit_test(hostile_includes_are_refused),
        cmocka_unit_test(a_file_that_cannot_be_read_is_named),
        cmocka_unit_test(running_out_of_memory_is_an_error_at_every_allocation),
        cmocka_unit_test(running_out_of_memory_within_a_message_loses_nothing),
        cmocka_unit_test(keys_and_lengths_of_groups_and_lists_can_be_asked),
    };
    snprintf(folder, sizeof folder, "/tmp/pb_config_XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return 1;
    }
    int failed                = cmocka_run_group_tests(tests, NULL, NULL);
    const char *const names[] = {"sub/inner.cfg", "p.cfg", "outer.cfg", "bad.cfg", "sub", ""};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        remove(file_path(names[i]));
    }
    return failed;
}
