// SPDX-License-Identifier: Apache-2.0
/* The configuration that a record keeps is enough to open the same cell again: for every method and
 * every data set that comes with the program, under both protocols. */
#include "support.h"

#include "pb/cell.h"
#include "pb/file.h"
#include "pb/memory.h"

#include <stdlib.h>
#include <string.h>

#define CONFIGS PB_SOURCE_DIR "/configs/"
#define METHOD  "method = { name = \"lora\"; r = 4; };\n"
#define MODEL   "model = { path = \"/models/a \\\"b\\\" \\\\c\"; chat = \"auto\"; };\n"
#define DATASET "dataset = { name = \"s\"; builder = \"synthetic\"; labels = [\"a\", \"b\"]; };\n"
#define NUMBERS "dataset = { name = \"s\"; builder = \"synthetic\"; metric = \"pearsonr\"; };\n"

static int64_t compared;

static void read_back(pb_config *config, pb_protocol protocol, const char *what)
{
    const pb_cell_name name = {
        .model = "m", .dataset = "d", .method = "t", .seed = 7, .protocol = protocol};
    pb_string first = {0}, second = {0};
    pb_cell *cell = NULL, *again = NULL;
    pb_config *recorded = NULL;
    assert_ok(pb_cell_open_take(&name, config, NULL, &cell));
    assert_ok(pb_cell_config(cell, &first));
    assert_ok(pb_config_parse(first.data, "the record", &recorded));
    assert_ok(pb_cell_open_take(&name, recorded, NULL, &again));
    assert_ok(pb_cell_config(again, &second));
    if (strcmp(first.data, second.data) != 0) {
        fail_msg("%s:\n%s\nis read back as\n%s", what, first.data, second.data);
    }
    pb_cell_close(cell);
    pb_cell_close(again);
    pb_string_clear(&first);
    pb_string_clear(&second);
    compared++;
}

/* The file over the rest of a cell. */
static pb_status with_file(void *context, const char *path, const char *name)
{
    for (int protocol = 0; protocol < 2; protocol++) {
        pb_config *config = NULL, *file = NULL;
        const char *rest = strcmp(name, "mean.cfg") == 0 ? MODEL NUMBERS : context;
        assert_ok(pb_config_parse(rest, "c.cfg", &config));
        assert_ok(pb_config_open(path, &file));
        assert_ok(pb_config_merge(config, "", file, ""));
        pb_config_close(file);
        read_back(config, (pb_protocol)protocol, name);
    }
    return PB_OK;
}

static void every_method_is_read_back(void **state)
{
    (void)state;
    assert_ok(pb_path_each(CONFIGS "method", ".cfg", with_file, MODEL DATASET));
    assert_true(compared > 2 * 16);
}

static void every_data_set_is_read_back(void **state)
{
    (void)state;
    compared = 0;
    assert_int_equal(setenv("PB_DATA", "/data", 1), 0);
    assert_ok(pb_path_each(CONFIGS "dataset", ".cfg", with_file, MODEL METHOD));
    assert_true(compared >= 2 * 27);
}

static void texts_and_numbers_are_read_back(void **state)
{
    pb_config *config = NULL;
    (void)state;
    assert_ok(pb_config_parse(
        MODEL METHOD
        "train = { learning_rate = 0.1234567890123456789; epochs = 1e-3; };\n"
        "dataset = { name = \"s\"; builder = \"synthetic\"; labels = [\"\\x01\\t\", \"ü\"];"
        " instruction = \"a\\n\\\"b\\\" \\\\ {x}\"; };\n",
        "c.cfg", &config));
    read_back(config, PB_PROTOCOL_CORRECTED, "texts");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_method_is_read_back),
        cmocka_unit_test(every_data_set_is_read_back),
        cmocka_unit_test(texts_and_numbers_are_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, returns_all_bytes);
}
