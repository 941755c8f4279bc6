// SPDX-License-Identifier: Apache-2.0
/* Every file of configs/dataset works on all real rows without a bad one, and names a metric that
 * exists or is announced. */
#include "samples.h"
#include "support.h"

#include "pb/file.h"
#include "pb/memory.h"
#include "pb/metric.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const sets[] = {
    "mnli",    "qqp",    "qnli",    "sst2",   "stsb",         "mrpc",       "rte",
    "cola",    "record", "multirc", "boolq",  "wic",          "wsc",        "cb",
    "copa",    "mmlu",   "piqa",    "siqa",   "hellaswag",    "winogrande", "openbookqa",
    "math_qa", "gsm8k",  "svamp",   "conala", "codealpacapy", "apps",
};
enum { SETS = sizeof sets / sizeof *sets };

/* Open tasks may have an empty answer: problems of APPS without a solution. CoNaLa's rows may show
 * nothing but the instruction under the paper protocol. */
static void check_samples(const char *name, const pb_dataset *ds, const test_samples *samples)
{
    const pb_config_list *labels = pb_dataset_labels(ds);
    bool strict                  = pb_dataset_protocol(ds) == PB_PROTOCOL_CORRECTED;
    bool code                    = strcmp(pb_dataset_get_options(ds)->task, "code") == 0;

    for (int64_t i = 0; i < samples->count; i++) {
        const pb_example *example = &samples->items[i];
        bool known                = labels->count == 0;
        for (int64_t k = 0; k < labels->count; k++) {
            known = known || strcmp(labels->items[k], example->answer) == 0;
        }
        if (!known || *example->user == '\0' || (*example->body == '\0' && strict) ||
            (*example->answer == '\0' && !code)) {
            fail_msg("%s row %d: \"%s\" => \"%s\"", name, (int)example->row, example->user,
                     example->answer);
        }
    }
}

static void check_metric(const pb_dataset *ds, const char *answer)
{
    const pb_config_list *labels = pb_dataset_labels(ds);
    const char *metric           = pb_dataset_get_options(ds)->metric;
    pb_metric_input input        = {.protocol    = pb_dataset_protocol(ds),
                                    .predictions = &answer,
                                    .references  = &answer,
                                    .rows        = 1,
                                    .labels      = labels->items,
                                    .label_count = labels->count};
    pb_metric_result result      = {0};
    const pb_metric *ops         = NULL;

    assert_ok(pb_metric_find(metric, &ops));
    if (pb_metric_require(metric, &ops) != PB_OK) {
        pb_error_clear(); /* this build lacks a component; the golden tests report it */
        return;
    }
    assert_ok(pb_metric_score(metric, &input, &result));
    assert_true(result.correct[0]);
    pb_metric_result_clear(&result);
}

/* All rows of a file under a protocol; the samples of the test file may have references. */
static void check_split(const char *name, const pb_dataset *ds, pb_split split)
{
    test_samples samples = {0};

    assert_ok(test_samples_read(ds, split, 2, &samples));
    for (int k = 0; k < PB_ROW_FAULT_COUNT; k++) {
        if (samples.counts.faults[k] > 0) {
            fail_msg("%s, split %d: %d rows with fault %d, first in line %d", name, (int)split,
                     (int)samples.counts.faults[k], k, (int)samples.counts.first[k]);
        }
    }
    assert_true(samples.count >= samples.counts.rows - samples.counts.no_answer);
    check_samples(name, ds, &samples);
    if (split == PB_SPLIT_TEST) {
        check_metric(ds, samples.items[0].answer);
    }
    test_samples_clear(&samples);
}

static void check_config(const char *name)
{
    char path[512];

    (void)snprintf(path, sizeof path, PB_SOURCE_DIR "/configs/dataset/%s", name);
    for (int p = 0; p < 2; p++) {
        pb_data_options data = {.peftbench_info = ""};
        pb_config *config    = NULL;
        pb_dataset *ds       = NULL;
        assert_ok(pb_config_open(path, &config));
        assert_ok(pb_dataset_open(config, "dataset",
                                  p == 0 ? PB_PROTOCOL_CORRECTED : PB_PROTOCOL_PAPER, &data, &ds));
        assert_int_equal(strncmp(name, pb_dataset_get_options(ds)->name, strlen(name) - 4), 0);
        check_split(name, ds, PB_SPLIT_TRAIN);
        check_split(name, ds, PB_SPLIT_TEST);
        pb_dataset_close(ds);
        pb_config_close(config);
    }
}

static void every_file_works_on_all_rows_under_both_protocols(void **state)
{
    char **names = NULL;
    size_t count = 0;

    (void)state;
    assert_ok(pb_path_list(PB_SOURCE_DIR "/configs/dataset", ".cfg", &names, &count));
    for (size_t i = 0; i < count; i++) {
        check_config(names[i]);
    }
    for (size_t k = 0; k < SETS; k++) {
        bool found = false;
        for (size_t i = 0; i < count; i++) {
            size_t length = strlen(sets[k]);
            found         = found || (strncmp(names[i], sets[k], length) == 0 &&
                              strcmp(names[i] + length, ".cfg") == 0);
        }
        if (!found) {
            fail_msg("there is no configuration of %s", sets[k]);
        }
    }
    pb_memory_free_texts(names, count);
    assert_int_equal(pb_memory_current(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file_works_on_all_rows_under_both_protocols),
    };
    (void)setenv("PB_PEFTBENCH_INFO", shared_path("protocol/dataset_info.json"), 1);
    (void)setenv("PB_DATA", shared_path("data"), 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
