// SPDX-License-Identifier: Apache-2.0
/* Every file of configs/dataset opens on the real rows, and names a metric that exists. */
#include "support.h"

#include "pb/dataset.h"
#include "pb/file.h"
#include "pb/memory.h"
#include "pb/metric.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check_examples(const char *name, const pb_dataset *ds, pb_split split)
{
    const pb_config_list *labels = pb_dataset_labels(ds);

    for (int64_t i = 0; i < pb_dataset_count(ds, split); i++) {
        pb_example example = pb_dataset_example(ds, split, i);
        bool known         = labels->count == 0;
        for (int64_t k = 0; k < labels->count; k++) {
            known = known || strcmp(labels->items[k], example.answer) == 0;
        }
        if (!known || *example.user == '\0' || *example.answer == '\0') {
            fail_msg("%s row %d: \"%s\" => \"%s\"", name, (int)example.row, example.user,
                     example.answer);
        }
    }
}

static void check_metric(const char *name, const pb_dataset *ds)
{
    const pb_config_list *labels = pb_dataset_labels(ds);
    pb_example example           = pb_dataset_example(ds, PB_SPLIT_TEST, 0);
    pb_metric_input input        = {.protocol    = pb_dataset_protocol(ds),
                                    .predictions = &example.answer,
                                    .references  = &example.answer,
                                    .rows        = 1,
                                    .labels      = labels->items,
                                    .label_count = labels->count};
    pb_metric_result result      = {0};

    if (pb_metric_find(pb_dataset_get_options(ds)->metric) == NULL) {
        fail_msg("%s: no metric %s", name, pb_dataset_get_options(ds)->metric);
    }
    assert_ok(pb_metric_score(pb_dataset_get_options(ds)->metric, &input, &result));
    assert_true(result.correct[0]);
    pb_metric_result_clear(&result);
}

static void every_dataset_opens_under_both_protocols(void **state)
{
    char **names = NULL;
    size_t count = 0;
    char path[512];

    (void)state;
    assert_ok(pb_path_list(PB_SOURCE_DIR "/configs/dataset", ".cfg", &names, &count));
    assert_true(count >= 7);
    for (size_t i = 0; i < 2 * count; i++) {
        pb_protocol protocol = i % 2 == 0 ? PB_PROTOCOL_CORRECTED : PB_PROTOCOL_PAPER;
        pb_data_options data = {.train_rows = 300, .test_rows = 100, .peftbench_info = ""};
        pb_config *config    = NULL;
        pb_dataset *ds       = NULL;
        const char *name     = names[i / 2];
        (void)snprintf(path, sizeof path, PB_SOURCE_DIR "/configs/dataset/%s", name);
        assert_ok(pb_config_open(path, &config));
        assert_ok(pb_dataset_open(config, "dataset", protocol, &data, &ds));
        assert_int_equal(strncmp(name, pb_dataset_get_options(ds)->name, strlen(name) - 4), 0);
        check_examples(name, ds, PB_SPLIT_TRAIN);
        check_examples(name, ds, PB_SPLIT_TEST);
        check_metric(name, ds);
        pb_dataset_close(ds);
        pb_config_close(config);
    }
    pb_path_list_free(names, count);
    assert_int_equal(pb_memory_current(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_dataset_opens_under_both_protocols),
    };
    (void)setenv("PB_PEFTBENCH_INFO", shared_path("protocol/dataset_info.json"), 1);
    (void)setenv("PB_DATA", shared_path("data"), 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
