// SPDX-License-Identifier: Apache-2.0
/* peftbench tokenize: lines in, lines out, and the line number of a bad one. Standard input and
 * output are files here. */
#include "fixture.h"

#include "pb/cli.h"
#include "pb/file.h"
#include "pb/memory.h"

#include "../../../src/cli/commands.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const pb_command *const commands[] = {&command_tokenize, NULL};

static pb_comm *comm;

static int setup(void **state)
{
    static const char json[] =
        "{\"added_tokens\": [{\"id\": 3, \"content\": \"<s>\", \"special\": true}], "
        "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": "
        "{\"id\": \"<s>\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}], "
        "\"special_tokens\": {\"<s>\": {\"id\": \"<s>\", \"ids\": [3], \"tokens\": [\"<s>\"]}}}, "
        "\"decoder\": {\"type\": \"Fuse\"}, \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, "
        "\"\\\"\": 1, \"a\\\"\": 2}, \"merges\": [\"a \\\"\"]}}";

    (void)state;
    fixture_write("tokenizer.json", json, strlen(json));
    assert_ok(pb_comm_open(NULL, NULL, &comm));
    return 0;
}

static int teardown(void **state)
{
    pb_comm_close(comm);
    fixture_delete("input");
    fixture_delete("output");
    return fixture_remove(state);
}

static const char *path_of(const char *name, char *path, size_t size)
{
    (void)snprintf(path, size, "%s/%s", fixture_folder(), name);
    return path;
}

/* Runs the command with an input, checks its output, and returns the exit code. */
static int tokenize(const char *option, const char *input, const char *expected)
{
    char path[300];
    char folder[300];
    char program[]    = "peftbench";
    char name[]       = "tokenize";
    char model[]      = "--model";
    char last[32]     = "--json-lines";
    char *argv[]      = {program, name, model, folder, last, NULL};
    int exit_code     = -1;
    int standard_in   = dup(STDIN_FILENO);
    int standard_out  = dup(STDOUT_FILENO);
    pb_string printed = {0};
    pb_status status  = PB_OK;

    (void)snprintf(folder, sizeof folder, "%s", fixture_folder());
    if (option != NULL) {
        (void)snprintf(last, sizeof last, "%s", option);
    }
    fixture_write("input", input, strlen(input));
    (void)fflush(stdout);
    assert_non_null(freopen(path_of("input", path, sizeof path), "r", stdin));
    assert_non_null(freopen(path_of("output", path, sizeof path), "w", stdout));
    status = pb_cli_dispatch(commands, comm, 5, argv, &exit_code);
    (void)fflush(stdout);
    assert_true(dup2(standard_in, STDIN_FILENO) >= 0 && dup2(standard_out, STDOUT_FILENO) >= 0);
    (void)close(standard_in);
    (void)close(standard_out);

    assert_ok(pb_file_read(path_of("output", path, sizeof path), 0, &printed));
    assert_string_equal(printed.data == NULL ? "" : printed.data, expected);
    pb_string_clear(&printed);
    return status == PB_OK ? exit_code : pb_cli_exit_code(status);
}

static void test_lines_are_encoded(void **state)
{
    (void)state;
    assert_int_equal(tokenize(NULL, "{\"text\": \"aa\\\"\"}\n\n{\"text\": \"\", \"label\": 1}",
                              "{\"ids\": [0, 2]}\n{\"ids\": []}\n"),
                     0);
    assert_int_equal(tokenize("--special", "{\"text\": \"a\"}\r\n", "{\"ids\": [3, 0]}\n"), 0);
    assert_int_equal(tokenize(NULL, "", ""), 0);
}

static void test_lines_are_decoded(void **state)
{
    (void)state;
    assert_int_equal(tokenize("--decode", "{\"ids\": [3, 0, 2]}\n{\"ids\": []}\n",
                              "{\"text\": \"<s>aa\\\"\"}\n{\"text\": \"\"}\n"),
                     0);
}

static void test_a_bad_line_is_named_and_ends_the_command(void **state)
{
    static const char *const lines[] = {"{\"text\": 1}",    "{\"txt\": \"a\"}",     "[]",
                                        "{\"text\": \"a\"", "{\"text\": \"\xff\"}", "nonsense"};

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        pb_string input = {0};
        assert_ok(pb_string_printf(&input, "{\"text\": \"a\"}\n%s\n{\"text\": \"a\"}\n", lines[i]));
        assert_int_equal(tokenize(NULL, input.data, "{\"ids\": [0]}\n"), 1);
        assert_non_null(strstr(pb_error_message(), "standard input:2: "));
        pb_error_clear();
        pb_string_clear(&input);
    }
}

static void test_a_bad_id_is_named(void **state)
{
    static const char *const lines[] = {"{\"ids\": [0, 4]}", "{\"ids\": [0, -1]}",
                                        "{\"ids\": [0, 1.5]}", "{\"ids\": [0, 99999999999]}"};

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        assert_int_equal(tokenize("--decode", lines[i], ""), 1);
        assert_non_null(strstr(pb_error_message(), "standard input:1: \"ids\"[1] is not an id"));
        pb_error_clear();
    }
}

static void test_the_speed_of_a_text_is_measured(void **state)
{
    char path[300];
    char folder[300];
    char output[300];
    char program[]    = "peftbench";
    char name[]       = "tokenize";
    char model[]      = "--model";
    char bench[]      = "--bench";
    char text[]       = "--text";
    char threads[]    = "--threads=2";
    char json[]       = "--json";
    char *argv[]      = {program, name, model, folder, bench, text, path, threads, json, NULL};
    int exit_code     = -1;
    int standard_out  = dup(STDOUT_FILENO);
    pb_string printed = {0};

    (void)state;
    (void)snprintf(folder, sizeof folder, "%s", fixture_folder());
    (void)path_of("input", path, sizeof path);
    fixture_write("input", "a\"a\n\"", 5);
    (void)fflush(stdout);
    assert_non_null(freopen(path_of("output", output, sizeof output), "w", stdout));
    pb_status status = pb_cli_dispatch(commands, comm, 9, argv, &exit_code);
    (void)fflush(stdout);
    assert_true(dup2(standard_out, STDOUT_FILENO) >= 0);
    (void)close(standard_out);
    assert_ok(status);
    assert_ok(pb_file_read(output, 0, &printed));
    assert_non_null(
        strstr(printed.data, "{\"threads\": 1, \"bytes\": 5, \"rows\": 1, \"ids\": 2, "));
    assert_non_null(strstr(printed.data, "{\"threads\": 2, \"bytes\": 5, "));
    pb_string_clear(&printed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_are_encoded),
        cmocka_unit_test(test_lines_are_decoded),
        cmocka_unit_test(test_a_bad_line_is_named_and_ends_the_command),
        cmocka_unit_test(test_a_bad_id_is_named),
        cmocka_unit_test(test_the_speed_of_a_text_is_measured),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
