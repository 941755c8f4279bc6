// SPDX-License-Identifier: Apache-2.0
#include "fixture.h"

#include "pb/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const fixture_options =
    "columns = [\"s:string\", \"t:string?\", \"label:label\"]; labels = [\"yes\", \"no\"]; "
    "instruction = \"Q\"; lines = [\"{s}\", \"{t}\"];";

static char folder[64];

int fixture_open(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/pb-dataset-XXXXXX");
    assert_non_null(mkdtemp(folder));
    return 0;
}

int fixture_close(void **state)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
    return returns_all_bytes(state);
}

const char *fixture_path(const char *name)
{
    static char paths[4][128];
    static int next;
    char *path = paths[next++ % 4];

    (void)snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

void fixture_write(const char *name, const char *bytes, size_t length)
{
    FILE *file = fopen(fixture_path(name), "w");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

pb_status fixture_dataset(const char *options, pb_protocol protocol, const pb_data_options *data,
                          pb_dataset **out)
{
    pb_string text       = {0};
    pb_config *config    = NULL;
    pb_data_options none = {0};

    assert_ok(pb_config_defaults(pb_data_fields, &none));
    assert_ok(pb_string_printf(&text,
                               "dataset = { name = \"made-up\"; train_file = \"%s\"; test_file = "
                               "\"%s\"; %s };",
                               fixture_path("train.jsonl"), fixture_path("test.jsonl"), options));
    assert_ok(pb_config_parse(text.data, "made-up.cfg", &config));
    pb_status status =
        pb_dataset_open(config, "dataset", protocol, data != NULL ? data : &none, out);
    pb_config_close(config);
    pb_string_clear(&text);
    pb_config_clear(pb_data_fields, &none);
    return status;
}

pb_status fixture_samples(const char *options, pb_protocol protocol, const pb_data_options *data,
                          test_samples splits[PB_SPLIT_COUNT])
{
    pb_dataset *ds = NULL;

    memset(splits, 0, PB_SPLIT_COUNT * sizeof *splits);
    pb_status status = fixture_dataset(options, protocol, data, &ds);
    for (int split = 0; split < PB_SPLIT_COUNT && status == PB_OK; split++) {
        status = test_samples_read(ds, (pb_split)split, 2, &splits[split]);
    }
    pb_dataset_close(ds);
    if (status != PB_OK) {
        fixture_clear(splits);
    }
    return status;
}

void fixture_clear(test_samples splits[PB_SPLIT_COUNT])
{
    for (int split = 0; split < PB_SPLIT_COUNT; split++) {
        test_samples_clear(&splits[split]);
    }
}
