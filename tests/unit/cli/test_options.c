// SPDX-License-Identifier: Apache-2.0
/* Parsing of the command line, dispatch, help and exit codes, over a synthetic table of commands.
 */
#include "pb/backend.h"
#include "pb/cli.h"
#include "pb/memory.h"

#include "../../../src/cli/commands.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const formats[] = {"text", "csv", NULL};

static const pb_option options[] = {
    {.name = "model", .kind = PB_OPTION_TEXT, .value = "DIR", .required = true, .help = "a model"},
    {.name = "output", .letter = 'o', .kind = PB_OPTION_TEXT, .value = "DIR", .help = "results"},
    {.name     = "steps",
     .kind     = PB_OPTION_INT,
     .value    = "N",
     .minimum  = 1,
     .maximum  = 100,
     .fallback = "10",
     .help     = "steps"},
    {.name = "lr", .kind = PB_OPTION_FLOAT, .value = "X", .fallback = "1e-3", .help = "rate"},
    {.name = "format", .kind = PB_OPTION_TEXT, .choices = formats, .help = "form"},
    {.name = "fresh", .kind = PB_OPTION_FLAG, .help = "start over"},
    PB_OPTION_END,
};

typedef struct settings {
    int64_t rows;
    double rate;
    bool all;
} settings;

static const pb_config_field fields[] = {
    PB_FIELD_INT(settings, rows, 4, 1, 64, "rows", "rows at once"),
    PB_FIELD_FLOAT(settings, rate, 5e-5, 0, 1, "", "peak of the rate"),
    PB_FIELD_BOOL(settings, all, false, "all of them"),
    PB_FIELD_END,
};

static const pb_option shared[] = {
    {.name = "batch", .fields = fields, .key = "rows"},
    {.name = "peak", .fields = fields, .key = "rate"},
    {.name = "all", .fields = fields, .key = "all"},
    PB_OPTION_END,
};

static pb_status outcome;
static int outcome_code;

static pb_status finish(pb_cli *cli)
{
    cli->exit_code = outcome_code;
    return outcome == PB_OK ? PB_OK : PB_FAIL(outcome, "made to fail");
}

static const pb_command train = {.name          = "train",
                                 .help          = "trains",
                                 .usage         = "GRID.cfg --model DIR",
                                 .options       = {options, shared},
                                 .min_arguments = 1,
                                 .max_arguments = 2,
                                 .computes      = true,
                                 .run           = finish};
static const pb_command merge = {
    .name = "merge", .help = "merges", .usage = "DIR", .max_arguments = -1, .run = finish};
static const pb_command *const commands[] = {&train, &merge, NULL};

static pb_comm *comm;

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

static void values_are_read_in_every_form(void **state)
{
    (void)state;
    char *argv[] = {"g.cfg",   "--model",  "m",     "-o",     "out",   "--steps=7",
                    "--lr",    "-2e-5",    "--set", "a.b=1",  "--set", "c=--x",
                    "--fresh", "--device", "cpu:3", "--json", "--",    "--odd"};
    pb_cli *cli  = NULL;
    assert_int_equal(pb_cli_open(&train, comm, COUNT(argv), argv, &cli), PB_OK);
    assert_string_equal(pb_cli_text(cli, "model"), "m");
    assert_string_equal(pb_cli_text(cli, "output"), "out");
    assert_int_equal(pb_cli_int(cli, "steps"), 7);
    assert_string_equal(pb_cli_text(cli, "lr"), "-2e-5");
    assert_true(pb_cli_flag(cli, "fresh") && pb_cli_flag(cli, "json"));
    assert_null(pb_cli_text(cli, "format"));
    int64_t count            = 0;
    const char *const *items = pb_cli_list(cli, "set", &count);
    assert_int_equal(count, 2);
    assert_string_equal(items[1], "c=--x");
    const char *device = NULL;
    int number         = 0;
    assert_int_equal(pb_cli_device(cli, &device, &number), PB_OK);
    assert_string_equal(device, "cpu");
    assert_int_equal(number, 3);
    assert_int_equal(pb_cli_argument_count(cli), 2);
    assert_string_equal(pb_cli_argument(cli, 0), "g.cfg");
    assert_string_equal(pb_cli_argument(cli, 1), "--odd");
    assert_null(pb_cli_argument(cli, 2));
    pb_cli_close(cli);
    assert_int_equal(pb_memory_current(), 0);
}

static void common_options_without_use_are_not_there(void **state)
{
    (void)state;
    static const char *const without[] = {"seed", "json", NULL};
    pb_command bare                    = train;
    bare.without                       = without;
    char *good[]                       = {"g.cfg", "--model", "m", "--threads", "2"};
    char *bad[]                        = {"g.cfg", "--model", "m", "--json"};
    pb_cli *cli                        = NULL;
    pb_string help                     = {0};
    assert_int_equal(pb_cli_open(&bare, comm, COUNT(good), good, &cli), PB_OK);
    assert_int_equal(pb_cli_int(cli, "threads"), 2);
    pb_cli_close(cli);
    cli = NULL;
    assert_int_equal(pb_cli_open(&bare, comm, COUNT(bad), bad, &cli), PB_ERR_USAGE);
    assert_non_null(strstr(pb_error_message(), "unknown option --json"));
    assert_int_equal(cli_help_command(&bare, &help), PB_OK);
    assert_null(strstr(help.data, "--seed"));
    assert_non_null(strstr(help.data, "--threads"));
    pb_string_clear(&help);
    assert_int_equal(pb_memory_current(), 0);
}

static void what_is_not_given_has_its_fallback(void **state)
{
    (void)state;
    char *argv[] = {"g.cfg", "--model", "m"};
    pb_cli *cli  = NULL;
    assert_int_equal(pb_cli_open(&train, comm, COUNT(argv), argv, &cli), PB_OK);
    assert_int_equal(pb_cli_int(cli, "steps"), 10);
    assert_false(pb_cli_given(cli, "steps"));
    assert_string_equal(pb_cli_text(cli, "lr"), "1e-3");
    assert_int_equal(pb_cli_int(cli, "threads"), 1);
    assert_string_equal(pb_cli_text(cli, "dtype"), "f32");
    assert_false(pb_cli_flag(cli, "fresh"));
    pb_cli_close(cli);
}

static void options_of_a_field_take_all_but_the_name_from_it(void **state)
{
    (void)state;
    char *argv[]  = {"g.cfg", "--model", "m", "--batch", "8", "--all"};
    pb_cli *cli   = NULL;
    settings made = {.rate = 0.25};
    assert_int_equal(pb_cli_open(&train, comm, COUNT(argv), argv, &cli), PB_OK);
    assert_int_equal(pb_cli_int(cli, "batch"), 8);
    assert_string_equal(pb_cli_text(cli, "peak"), "5e-05");
    pb_cli_overlay(cli, fields, &made);
    assert_int_equal(made.rows, 8);
    assert_true(made.rate == 0.25); /* not typed */
    assert_true(made.all);
    pb_cli_close(cli);
}

#define EXPECT_REFUSED(message, ...) EXPECT_FAILURE(PB_ERR_USAGE, message, __VA_ARGS__)
#define EXPECT_FAILURE(status, message, ...)                                          \
    do {                                                                              \
        char *argv[] = {__VA_ARGS__};                                                 \
        pb_cli *cli  = NULL;                                                          \
        assert_int_equal(pb_cli_open(&train, comm, COUNT(argv), argv, &cli), status); \
        assert_string_equal(pb_error_message(), message);                             \
        assert_null(cli);                                                             \
        assert_int_equal(pb_memory_current(), 0);                                     \
    } while (0)

/* The message about a device that this build lacks: it lists those of the build. */
static const char *no_device(const char *given, char *text, size_t size)
{
    int length = snprintf(text, size,
                          "train: --device: unknown backend \"%s\"; did you mean \"cpu\"? Known: "
                          "auto",
                          given);
    for (const pb_backend_ops *const *ops = pb_backend_registry(); *ops != NULL; ops++) {
        length += snprintf(text + length, size - (size_t)length, ", %s", (*ops)->name);
    }
    return text;
}

static void mistakes_name_the_option_and_the_nearest_one(void **state)
{
    char text[256];

    (void)state;
    EXPECT_REFUSED(
        "train: unknown option --modle; did you mean --model? see peftbench train --help", "g",
        "--modle=x");
    EXPECT_REFUSED("train: unknown option -x; see peftbench train --help", "g", "-x");
    EXPECT_REFUSED("train: --model DIR is missing: a model", "g");
    EXPECT_REFUSED("train: --model needs a value: DIR", "g", "--model");
    EXPECT_REFUSED("train: --model needs a value: DIR", "g", "--model", "--fresh");
    EXPECT_REFUSED("train: --fresh takes no value", "g", "--fresh=1");
    EXPECT_REFUSED("train: --model is given twice", "--model", "a", "--model", "b");
    EXPECT_REFUSED("train: --steps 0 is outside 1 … 100", "--steps", "0");
    EXPECT_REFUSED("train: --steps 5x is not an integer", "--steps", "5x");
    EXPECT_REFUSED("train: --steps 99999999999999999999 is not an integer", "--steps",
                   "99999999999999999999");
    EXPECT_REFUSED("train: --lr nan is not a number", "--lr", "nan");
    EXPECT_REFUSED("train: --format csx is not one of its values; did you mean \"csv\"? Known: "
                   "text, csv",
                   "--format", "csx");
    EXPECT_REFUSED("train: --dtype int8 is not one of its values; known: f32, bf16", "g", "--model",
                   "m", "--dtype", "int8");
    EXPECT_REFUSED("train: --batch 65 is outside 1 … 64", "--batch", "65");
    EXPECT_FAILURE(PB_ERR_CONFIG, no_device("gpu", text, sizeof text), "g", "--model", "m",
                   "--device", "gpu");
    EXPECT_FAILURE(PB_ERR_CONFIG, no_device("cpu:", text, sizeof text), "g", "--model", "m",
                   "--device", "cpu:");
    EXPECT_REFUSED("train: an argument is missing; usage: peftbench train GRID.cfg --model DIR",
                   "--model", "m");
    EXPECT_REFUSED("train: unexpected argument \"c\"; usage: peftbench train GRID.cfg --model DIR",
                   "a", "b", "c", "--model", "m");
}

/* Runs with standard output in a file and returns what was printed. */
static pb_status run(int argc, char *const *argv, int *code, char *text, size_t size)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    fflush(stdout);
    int kept = dup(STDOUT_FILENO);
    dup2(fileno(file), STDOUT_FILENO);
    pb_status status = pb_cli_dispatch(commands, comm, argc, argv, code);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    rewind(file);
    size_t length = fread(text, 1, size - 1, file);
    text[length]  = '\0';
    fclose(file);
    return status;
}

static void help_and_version_go_to_standard_output(void **state)
{
    (void)state;
    char text[8192];
    int code               = 7;
    char *const lines[][4] = {{"peftbench"}, {"peftbench", "--help"}, {"peftbench", "help"}};
    const int counts[]     = {1, 2, 2};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(run(counts[i], lines[i], &code, text, sizeof text), PB_OK);
        assert_non_null(strstr(text, "usage: peftbench COMMAND"));
        assert_non_null(strstr(text, "  train      trains\n  merge      merges\n"));
        assert_int_equal(code, 0);
    }
    char *const version[] = {"peftbench", "--version"};
    assert_int_equal(run(2, version, &code, text, sizeof text), PB_OK);
    assert_memory_equal(text, "peftbench ", 10);
    char *const helps[][4] = {{"peftbench", "help", "train"},
                              {"peftbench", "train", "--help"},
                              {"peftbench", "train", "--bad", "-h"}};
    const int widths[]     = {3, 3, 4};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(run(widths[i], helps[i], &code, text, sizeof text), PB_OK);
        assert_non_null(strstr(text, "usage: peftbench train GRID.cfg --model DIR\n\ntrains\n"));
        assert_non_null(strstr(text, "--model DIR                  a model (required)"));
        assert_non_null(strstr(text, "-o, --output DIR"));
        assert_non_null(strstr(text, "--steps N                    steps (default 10)"));
        assert_non_null(strstr(text, "--batch N                    rows at once (default 4)"));
        assert_non_null(strstr(text, "--all                        all of them\n"));
        assert_non_null(strstr(text, "--threads N"));
        const char *device = strstr(text, "--device auto|");
        assert_non_null(device);
        for (const pb_backend_ops *const *b = pb_backend_registry(); *b != NULL; b++) {
            const char *name = strstr(device, (*b)->name);
            assert_true(name != NULL && name < strchr(device, '\n'));
        }
        assert_non_null(strstr(text, "--log-level LEVEL"));
    }
}

static void an_unknown_command_names_the_nearest(void **state)
{
    (void)state;
    int code              = 0;
    char *const words[]   = {"peftbench", "trian"};
    char *const helpful[] = {"peftbench", "help", "qqqqqq"};
    assert_int_equal(pb_cli_dispatch(commands, comm, 2, words, &code), PB_ERR_CONFIG);
    assert_string_equal(pb_error_message(),
                        "unknown command \"trian\"; did you mean \"train\"? Known: "
                        "train, merge");
    assert_int_equal(pb_cli_dispatch(commands, comm, 3, helpful, &code), PB_ERR_CONFIG);
    assert_string_equal(pb_error_message(), "unknown command \"qqqqqq\"; known: train, merge");
}

static void status_and_exit_code_of_a_command_come_through(void **state)
{
    (void)state;
    char *const words[] = {"peftbench", "merge", "--log-level", "error"};
    int code            = 0;
    outcome             = PB_OK;
    outcome_code        = 4;
    assert_int_equal(pb_cli_dispatch(commands, comm, 4, words, &code), PB_OK);
    assert_int_equal(code, 4);
    outcome = PB_ERR_IO;
    assert_int_equal(pb_cli_dispatch(commands, comm, 4, words, &code), PB_ERR_IO);
    assert_int_equal(pb_memory_current(), 0);
}

static void statuses_become_exit_codes(void **state)
{
    (void)state;
    assert_int_equal(pb_cli_exit_code(PB_OK), 0);
    assert_int_equal(pb_cli_exit_code(PB_ERR_IO), 1);
    assert_int_equal(pb_cli_exit_code(PB_ERR_USAGE), 2);
    assert_int_equal(pb_cli_exit_code(PB_ERR_CONFIG), 2);
    assert_int_equal(pb_cli_exit_code(PB_STOPPED), 3);
}

static void commands_of_the_program_are_complete_and_sane(void **state)
{
    (void)state;
    for (const pb_command *const *c = pb_cli_commands(); *c != NULL; c++) {
        option_entry *entries = NULL;
        int64_t count         = 0;
        assert_non_null((*c)->name);
        assert_non_null((*c)->help);
        assert_non_null((*c)->usage);
        assert_non_null((*c)->run);
        assert_int_equal(option_list(*c, &entries, &count), PB_OK);
        for (int64_t i = 0; i < count; i++) {
            const pb_option *o = &entries[i].option;
            assert_non_null(o->help);
            for (const option_entry *p = &entries[i + 1]; p < entries + count; p++) {
                assert_string_not_equal(o->name, p->option.name);
                assert_true(o->letter == 0 || o->letter != p->option.letter);
            }
        }
        pb_memory_free(entries);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_read_in_every_form),
        cmocka_unit_test(what_is_not_given_has_its_fallback),
        cmocka_unit_test(common_options_without_use_are_not_there),
        cmocka_unit_test(options_of_a_field_take_all_but_the_name_from_it),
        cmocka_unit_test(mistakes_name_the_option_and_the_nearest_one),
        cmocka_unit_test(help_and_version_go_to_standard_output),
        cmocka_unit_test(an_unknown_command_names_the_nearest),
        cmocka_unit_test(status_and_exit_code_of_a_command_come_through),
        cmocka_unit_test(statuses_become_exit_codes),
        cmocka_unit_test(commands_of_the_program_are_complete_and_sane),
    };
    if (pb_comm_open(NULL, NULL, &comm) != PB_OK) {
        return 1;
    }
    size_t before = pb_memory_current();
    pb_memory_account(-(int64_t)before);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pb_memory_account((int64_t)before);
    pb_comm_close(comm);
    return failed;
}
