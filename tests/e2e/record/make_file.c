// SPDX-License-Identifier: Apache-2.0
/* Writes results files for readers in other languages: make_file DIRECTORY. made-up.h5 has two
 * synthetic cells, one failed cell, and one missing cell; variants/varied.h5 has variants. */
#include "sample.h"

#include "pb/sweep.h"

#include <stdio.h>
#include <string.h>

static pb_status put(const char *directory, pb_record *record)
{
    pb_status status = pb_shard_write(directory, record);

    pb_record_clear(record);
    return status;
}

static pb_status make(const char *directory)
{
    pb_plan plan = {0};
    pb_record record;
    char hash[PB_HASH_TEXT];
    char path[4096];

    PB_TRY(sample_record("demo/model", "rte", "lora", 1, &record));
    record.score      = 75;
    record.score_low  = 70;
    record.score_high = 79;
    PB_TRY(put(directory, &record));
    PB_TRY(sample_record("demo/model", "sst2", "lora", 1, &record));
    record.score = 85;
    PB_TRY(put(directory, &record));
    pb_record_init(&record);
    PB_TRY(pb_record_set_key(&record, "demo/model", "rte", "ia3", 1));
    (void)snprintf(record.key.config_hash, sizeof hash, "%064d", 1);
    PB_TRY(pb_record_fail(&record, PB_FAIL(PB_ERR_NUMERIC, "the loss is not finite: ü")));
    PB_TRY(put(directory, &record));

    (void)snprintf(hash, sizeof hash, "%064d", 1);
    PB_TRY(pb_record_set_text(&plan.name, "made-up"));
    PB_TRY(pb_record_set_text(&plan.protocol, "corrected"));
    PB_TRY(pb_record_set_text(&plan.command_line, "make_file"));
    PB_TRY(pb_plan_add(&plan, "demo/model", "rte", "lora", 1, hash));
    PB_TRY(pb_plan_add(&plan, "demo/model", "sst2", "lora", 1, hash));
    PB_TRY(pb_plan_add(&plan, "demo/model", "rte", "ia3", 1, hash));
    PB_TRY(pb_plan_add(&plan, "demo/model", "sst2", "ia3", 1, hash));
    PB_TRY(pb_plan_write(directory, &plan));
    pb_plan_clear(&plan);
    (void)snprintf(path, sizeof path, "%s/made-up.h5", directory);
    return pb_sweep_merge(directory, path);
}

/* Every variant on both data sets, with scores 1, 2, … in this order. */
static pb_status make_variants(const char *directory)
{
    static const char *const datasets[] = {"rte{train_rows=100}", "rte{train_rows=400}"};
    static const char *const methods[]  = {"none", "lora{r=4,rate=1e-04,schedule=linear}",
                                           "lora{r=8,rate=0.01,schedule=cosine}",
                                           "ia3{rate=0.01,decay_all=true}"};
    pb_plan plan                        = {0};
    pb_record record;
    char hash[PB_HASH_TEXT];
    char path[4096];
    double score = 0;

    (void)snprintf(hash, sizeof hash, "%064d", 1);
    PB_TRY(pb_record_set_text(&plan.name, "varied"));
    for (int d = 0; d < 2; d++) {
        for (int m = 0; m < 4; m++) {
            PB_TRY(sample_record("demo", datasets[d], methods[m], 1, &record));
            record.score = ++score;
            PB_TRY(put(directory, &record));
            PB_TRY(pb_plan_add(&plan, "demo", datasets[d], methods[m], 1, hash));
        }
    }
    PB_TRY(pb_plan_write(directory, &plan));
    pb_plan_clear(&plan);
    (void)snprintf(path, sizeof path, "%s/varied.h5", directory);
    return pb_sweep_merge(directory, path);
}

int main(int argc, char **argv)
{
    char text[2000];
    char folder[4000];

    if (argc != 2) {
        return 2;
    }
    (void)snprintf(folder, sizeof folder, "%s/variants", argv[1]);
    if (make(argv[1]) != PB_OK || make_variants(folder) != PB_OK) {
        pb_error_describe(text, sizeof text);
        (void)fputs(text, stderr);
        return 1;
    }
    return 0;
}
