// SPDX-License-Identifier: Apache-2.0
/* The work of a cell that has run, from its record: operations as they were counted, passes from
 * its configuration. */
#include "internal.h"

#include <math.h>
#include <string.h>

/* What the record's configuration says about batches. */
typedef struct batches {
    double train, eval, accumulate;
    double later; /* passes of the test after the first one */
} batches;

static double generated_tokens(const pb_record *r)
{
    for (int64_t i = 0; i < r->metrics_count; i++) {
        if (strcmp(r->metrics[i].name, "output_tokens_mean") == 0) {
            return r->metrics[i].value;
        }
    }
    return 1.0;
}

static pb_status read_batches(const pb_record *r, batches *out)
{
    pb_config *config      = NULL;
    pb_train_options train = {0};
    cell_eval_options eval = {0};
    pb_status status;
    PB_TRY(pb_config_parse(r->config != NULL ? r->config : "", "its configuration", &config));
    PB_TRY_GOTO(status, pb_config_read(config, "train", pb_train_fields, NULL, &train), done);
    PB_TRY_GOTO(status, pb_config_read(config, "eval", pb_cell_eval_fields, NULL, &eval), done);
    bool labels    = pb_config_length(config, "dataset.labels") > 0;
    bool generates = eval.scoring == SCORING_GENERATION;
    double more    = generates ? fmax(generated_tokens(r) - 1.0, 0.0) : 0.0;
    *out           = (batches){.train      = (double)train.batch,
                               .eval       = (double)eval.batch,
                               .accumulate = (double)train.accumulate,
                               .later      = cell_later_passes(&eval, labels, more)};
done:
    pb_config_clear(pb_train_fields, &train);
    pb_config_clear(pb_cell_eval_fields, &eval);
    pb_config_close(config);
    return status;
}

/* Of a phase; all of them: NULL. */
static double flops_of(const pb_record *r, const char *phase)
{
    double flops = 0.0;
    for (int64_t i = 0; i < r->phases_count; i++) {
        bool wanted = phase == NULL || strcmp(r->phases[i].name, phase) == 0;
        flops += wanted ? r->phases[i].flops : 0.0;
    }
    return flops;
}

static double weight_bytes(const pb_record *r)
{
    const char *dtype = pb_record_find_provenance(r, "dtype");
    bool half         = dtype != NULL && strcmp(dtype, "bf16") == 0;
    return (half ? sizeof(float) / 2.0 : sizeof(float)) * (double)r->model_params;
}

static void add(pb_rates_sample *samples, int *count, pb_work work, double seconds)
{
    if (isfinite(seconds) && seconds > 0.0) {
        samples[(*count)++] = (pb_rates_sample){.work = work, .seconds = seconds};
    }
}

static pb_work test_work(const pb_record *r, const batches *b)
{
    double passes = ceil((double)r->rows_test / b->eval);
    return (pb_work){.amount = {[PB_WORK_FORWARD] = flops_of(r, "test"),
                                [PB_WORK_PASSES]  = passes * (1.0 + b->later),
                                [PB_WORK_READ]    = passes * b->later * weight_bytes(r)}};
}

pb_status pb_rates_measured(const pb_record *r, pb_rates_sample samples[PB_RATES_SAMPLES],
                            int *count)
{
    double gang = r->gang > 1 ? (double)r->gang : 1.0;
    pb_work one = {.amount = {[PB_WORK_CELLS] = 1.0}};
    batches b   = {0};
    *count      = 0;
    if (!(flops_of(r, NULL) > 0.0)) { /* a baseline */
        add(samples, count, one, r->seconds_total);
        return PB_OK;
    }
    PB_TRY(read_batches(r, &b));
    pb_work train = {.amount = {[PB_WORK_TRAIN]  = r->flops_train,
                                [PB_WORK_PASSES] = (double)r->train_count * b.accumulate / gang}};
    pb_work test  = test_work(r, &b);
    add(samples, count, train, r->train_count > 0 ? r->seconds_train : 0.0);
    if (gang > 1.0) {
        add(samples, count, test, r->seconds_test);
        return PB_OK;
    }
    test.amount[PB_WORK_FORWARD] = flops_of(r, NULL) - r->flops_train;
    test.amount[PB_WORK_PASSES] +=
        (double)r->validation_count * ceil((double)r->rows_validation / b.train);
    add(samples, count, test, r->seconds_validation + r->seconds_test);
    add(samples, count, one,
        r->seconds_total - r->seconds_train - r->seconds_validation - r->seconds_test);
    return PB_OK;
}
