// SPDX-License-Identifier: Apache-2.0
/* What every registered builder promises: the same texts each time, from a file or without one. */
#include "support.h"

#include "pb/dataset.h"
#include "pb/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[64];

static pb_dataset *open_with(const pb_dataset_builder *builder, int64_t rows)
{
    pb_data_options data = {.train_rows = rows, .test_rows = rows};
    pb_config *config    = NULL;
    pb_dataset *ds       = NULL;
    char text[1024];

    (void)snprintf(text, sizeof text,
                   "dataset = { name = \"c\"; builder = \"%s\"; train_file = \"%s\"; test_file = "
                   "\"%s\"; columns = [\"s:string\", \"label:label\"]; labels = [\"yes\", \"no\"]; "
                   "instruction = \"Q\"; lines = [\"{s}\"]; };",
                   builder->name, path, path);
    assert_ok(pb_config_parse(text, "c.cfg", &config));
    assert_ok(pb_dataset_open(config, "dataset", PB_PROTOCOL_CORRECTED, &data, &ds));
    pb_config_close(config);
    return ds;
}

static void every_builder_has_a_name_and_one_source_of_rows(void **state)
{
    const pb_dataset_builder *const *all = pb_dataset_registry();

    (void)state;
    for (size_t b = 0; all[b] != NULL; b++) {
        assert_true(*all[b]->name != '\0');
        assert_non_null(all[b]->open);
        assert_non_null(all[b]->close);
        assert_true((all[b]->build != NULL) != (all[b]->generate != NULL));
        all[b]->close(NULL);
        for (size_t k = 0; k < b; k++) {
            assert_string_not_equal(all[b]->name, all[k]->name);
        }
    }
}

static void every_builder_gives_the_same_texts_each_time(void **state)
{
    const pb_dataset_builder *const *all = pb_dataset_registry();

    (void)state;
    for (size_t b = 0; all[b] != NULL; b++) {
        pb_dataset *first  = open_with(all[b], 0);
        pb_dataset *second = open_with(all[b], 2);
        for (int split = 0; split < PB_SPLIT_COUNT; split++) {
            assert_true(pb_dataset_count(first, (pb_split)split) >= 3);
            assert_int_equal(pb_dataset_count(second, (pb_split)split), 2);
            assert_int_equal(strlen(pb_dataset_sha(first, (pb_split)split)), 64);
            for (int64_t i = 0; i < 2; i++) {
                pb_example x = pb_dataset_example(first, (pb_split)split, i);
                pb_example y = pb_dataset_example(second, (pb_split)split, i);
                assert_string_equal(x.user, y.user);
                assert_string_equal(x.answer, y.answer);
                assert_int_equal(strncmp(x.user, "Q\n", 2), 0);
                assert_true(strcmp(x.answer, "yes") == 0 || strcmp(x.answer, "no") == 0);
                assert_int_equal(x.row, i);
                assert_int_equal(x.line, i + 1);
            }
        }
        pb_dataset_close(first);
        pb_dataset_close(second);
        assert_int_equal(pb_memory_current(), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_builder_has_a_name_and_one_source_of_rows),
        cmocka_unit_test(every_builder_gives_the_same_texts_each_time),
    };
    (void)snprintf(path, sizeof path, "/tmp/pb-builders-XXXXXX");
    int file = mkstemp(path);
    if (file < 0) {
        return 1;
    }
    static const char rows[] = "{\"s\":\"a\",\"label\":0}\n{\"s\":\"b\",\"label\":1}\n"
                               "{\"s\":\"c\",\"label\":0}\n";
    if (write(file, rows, sizeof rows - 1) != (ssize_t)(sizeof rows - 1)) {
        return 1;
    }
    (void)close(file);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)unlink(path);
    return failed;
}
