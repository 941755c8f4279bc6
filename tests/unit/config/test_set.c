// SPDX-License-Identifier: Apache-2.0
/* `--set key=value` and merging configurations. */
#include "fixture.h"

#include <stdio.h>

static pb_config *parsed(const char *text, const char *name)
{
    pb_config *config = NULL;
    assert_int_equal(pb_config_parse(text, name, &config), PB_OK);
    return config;
}

static void set_and_read(const char *assignment, settings *out)
{
    pb_config *config = parsed("lora = { r = 2; name = \"x\"; };", "x.cfg");
    assert_int_equal(pb_config_set(config, assignment), PB_OK);
    assert_int_equal(pb_config_read(config, "lora", fields, NULL, out), PB_OK);
    pb_config_close(config);
}

static void expect_name(const char *assignment, const char *name)
{
    settings s;
    set_and_read(assignment, &s);
    assert_string_equal(s.name, name);
    assert_int_equal(s.r, 2);
    pb_config_clear(fields, &s);
}

static void set_replaces_and_adds_values_of_every_type(void **state)
{
    (void)state;
    settings s;
    set_and_read("lora.r=16", &s);
    assert_int_equal(s.r, 16);
    pb_config_clear(fields, &s);
    set_and_read("lora.free=-1e-3", &s);
    assert_true(s.free == -1e-3);
    pb_config_clear(fields, &s);
    set_and_read("lora.merge=false", &s);
    assert_false(s.merge);
    pb_config_clear(fields, &s);
    set_and_read("lora.seeds=[1,2, 3]", &s);
    assert_int_equal(s.seeds.count, 3);
    pb_config_clear(fields, &s);
    set_and_read("lora={ r = 5; }", &s);
    assert_int_equal(s.r, 5);
    assert_string_equal(s.name, "x");
    pb_config_clear(fields, &s);
    assert_int_equal(pb_memory_current(), 0);
}

static void bare_words_are_text(void **state)
{
    (void)state;
    expect_name("lora.name=word", "word");
    expect_name("lora.name=\"quoted \\\" text\"", "quoted \" text");
    expect_name("lora.name=a/b.json", "a/b.json");
    expect_name("lora.name=http://h/x#y", "http://h/x#y");
    expect_name("lora.name=//server/x", "//server/x");
    expect_name("lora.name=a=b", "a=b");
    expect_name("lora.name=two words", "two words");
    expect_name("lora.name=1.5.2", "1.5.2");
    expect_name("lora.name=a; r = 3", "a; r = 3");
    expect_name("lora.name=@include \"/etc/passwd\"", "@include \"/etc/passwd\"");
    expect_name("lora.name=", "");
}

static void lists_of_bare_words_need_no_quotes(void **state)
{
    (void)state;
    settings s;
    set_and_read("lora.targets=[lora, ia3 ,\tq]", &s);
    assert_int_equal(s.targets.count, 3);
    assert_string_equal(s.targets.items[0], "lora");
    assert_string_equal(s.targets.items[1], "ia3");
    assert_string_equal(s.targets.items[2], "q");
    pb_config_clear(fields, &s);
}

static void braces_hold_commas_of_bare_words(void **state)
{
    settings s;
    (void)state;
    set_and_read("lora.targets=[lora{r=4,alpha=1e-04}, ia3,x{a=1}]", &s);
    assert_int_equal(s.targets.count, 3);
    assert_string_equal(s.targets.items[0], "lora{r=4,alpha=1e-04}");
    assert_string_equal(s.targets.items[1], "ia3");
    assert_string_equal(s.targets.items[2], "x{a=1}");
    pb_config_clear(fields, &s);
    set_and_read("lora.targets=[a{b, c]", &s);
    assert_int_equal(s.targets.count, 1);
    assert_string_equal(s.targets.items[0], "a{b, c]");
    pb_config_clear(fields, &s);
}

static void items_of_a_bare_list_may_be_of_any_length(void **state)
{
    char item[5001];
    char assignment[sizeof item + 100];
    settings s;

    (void)state;
    memset(item, 'x', sizeof item - 1);
    item[sizeof item - 1] = '\0';
    snprintf(assignment, sizeof assignment, "lora.targets=[a, %s ,b]", item);
    set_and_read(assignment, &s);
    assert_int_equal(s.targets.count, 3);
    assert_string_equal(s.targets.items[1], item);
    assert_string_equal(s.targets.items[2], "b");
    pb_config_clear(fields, &s);
}

static void expect_refused(const char *assignment, const char *part)
{
    settings s;
    pb_config *config = parsed("lora = { r = 2; };", "x.cfg");
    pb_status status  = pb_config_set(config, assignment);
    if (status == PB_OK) {
        status = pb_config_read(config, "lora", fields, NULL, &s);
    }
    assert_int_equal(status, PB_ERR_CONFIG);
    if (strstr(pb_error_message(), part) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", part, pb_error_message());
    }
    pb_config_close(config);
    assert_int_equal(pb_memory_current(), 0);
}

static void mistakes_name_the_whole_assignment(void **state)
{
    (void)state;
    expect_refused("lora.r", "--set lora.r: this is not key=value");
    expect_refused("=1", "this is not key=value");
    expect_refused("lora..r=1", "this is not key=value");
    expect_refused("lora.=1", "this is not key=value");
    expect_refused("1a=1", "this is not key=value");
    expect_refused("lora.r=0", "--set lora.r=0: r = 0 is outside 1 … 4096");
    expect_refused("lora.r=eight", "--set lora.r=eight: r is the string \"eight\"");
    expect_refused("lora.alpah=1", "--set lora.alpah=1: key \"alpah\" is not known here; did you "
                                   "mean \"alpha\"?");
    expect_refused("lora.r.x=1", "x.cfg:1: r is not a group");
    expect_refused("lora=1", "lora is not a group");
    expect_refused("lora.seeds=[1,2", "syntax error");
    expect_refused("lora.name=\"open", "no closing");
    expect_refused("lora.r=99999999999999999999L", "r is the string");
    expect_refused("lora.r=8 r = 9", "r is the string");
}

static void a_merge_replaces_values_keeps_others_and_remembers_places(void **state)
{
    (void)state;
    settings s;
    char place[64];
    pb_config *base = parsed("train = { lora = { r = 1; name = \"base\"; }; x = 1; };", "base.cfg");
    pb_config *over = parsed("\n\nr = 9; file = \"a\";", "over.cfg");
    assert_int_equal(pb_config_merge(base, "train.lora", over, ""), PB_OK);
    assert_int_equal(pb_config_merge(base, "new.group", over, ""), PB_OK);
    assert_int_equal(pb_config_merge(base, "train", over, "absent"), PB_OK);
    pb_config_close(over);
    assert_int_equal(pb_config_read(base, "train.lora", fields, NULL, &s), PB_OK);
    assert_int_equal(s.r, 9);
    assert_string_equal(s.name, "base");
    assert_string_equal(s.file, "a");
    pb_config_clear(fields, &s);
    assert_string_equal(pb_config_where(base, "train.lora.r", place, sizeof place), "over.cfg:3");
    assert_string_equal(pb_config_where(base, "train.lora.name", place, sizeof place),
                        "base.cfg:1");
    assert_true(pb_config_has(base, "new.group.r"));
    pb_config_close(base);
    assert_int_equal(pb_memory_current(), 0);
}

/* Values are shared, groups are not. */
static void a_merge_costs_little_and_leaves_its_source_alone(void **state)
{
    (void)state;
    char place[64];
    pb_config *source = parsed("g = { sub = { x = 1; }; list = [\"a long text in a list\", "
                               "\"another long text in a list\"]; };",
                               "source.cfg");
    size_t whole      = pb_memory_current();
    pb_config *merged = parsed("", "merged.cfg");
    size_t before     = pb_memory_current();
    assert_int_equal(pb_config_merge(merged, "", source, ""), PB_OK);
    assert_true(2 * (pb_memory_current() - before) < whole);
    assert_int_equal(pb_config_set(merged, "g.sub.x=2"), PB_OK);
    assert_int_equal(pb_config_set(merged, "g.list=[]"), PB_OK);
    assert_string_equal(pb_config_where(merged, "g.sub.x", place, sizeof place), "--set g.sub.x=2");
    assert_string_equal(pb_config_where(source, "g.sub.x", place, sizeof place), "source.cfg:1");
    assert_int_equal(pb_config_length(source, "g.list"), 2);
    pb_config_close(merged);
    pb_config_close(source);
    assert_int_equal(pb_memory_current(), 0);
}

static void a_merge_into_a_plain_value_is_refused(void **state)
{
    (void)state;
    pb_config *base = parsed("a = 1;", "base.cfg");
    pb_config *over = parsed("r = 9; v = 2;", "over.cfg");
    assert_int_equal(pb_config_merge(base, "a.b", over, ""), PB_ERR_CONFIG);
    assert_int_equal(pb_config_merge(base, "", over, "v"), PB_ERR_CONFIG);
    assert_string_equal(pb_error_message(),
                        "over.cfg:1: v is not a group; it is written v = { … };");
    pb_config_close(base);
    pb_config_close(over);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_replaces_and_adds_values_of_every_type),
        cmocka_unit_test(bare_words_are_text),
        cmocka_unit_test(lists_of_bare_words_need_no_quotes),
        cmocka_unit_test(braces_hold_commas_of_bare_words),
        cmocka_unit_test(items_of_a_bare_list_may_be_of_any_length),
        cmocka_unit_test(mistakes_name_the_whole_assignment),
        cmocka_unit_test(a_merge_replaces_values_keeps_others_and_remembers_places),
        cmocka_unit_test(a_merge_costs_little_and_leaves_its_source_alone),
        cmocka_unit_test(a_merge_into_a_plain_value_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
