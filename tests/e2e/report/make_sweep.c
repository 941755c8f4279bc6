// SPDX-License-Identifier: Apache-2.0
/* Writes a merged file of made-up cells: make_sweep DIRECTORY MODELS DATASETS METHODS SEEDS
 * [hostile]. In larger sweeps some cells failed or are missing; hostile names try to break out of
 * every format. */
#include "sample.h"

#include "pb/sweep.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const models[]   = {"Llama-3.2-1B", "Llama-3-8B-Instruct", "Qwen3-0.6B"};
static const char *const datasets[] = {
    "mnli",   "qqp",     "qnli", "sst2",  "stsb",  "mrpc",   "rte",  "cola",    "boolq",
    "record", "multirc", "wic",  "wsc",   "cb",    "copa",   "piqa", "siqa",    "hellaswag",
    "wngr",   "obqa",    "mmlu", "gsm8k", "svamp", "conala", "apps", "codefim", "math-qa"};
static const char *const methods[] = {"none",          "full",     "lora",    "ia3",
                                      "lntuning",      "bitfit",   "dora",    "prompt-tuning",
                                      "prefix-tuning", "p-tuning", "adalora", "bottleneck-adapter"};
static const char *const hostile[] = {"<script>alert(\"1\")</script>", "a|b*c*_d_ & 'x' $5 #1 100%",
                                      "Größe \\textbf{q} 大模型"};

typedef struct made_sweep {
    const char *directory;
    int counts[4]; /* models, data sets, methods, seeds */
    bool is_hostile;
    pb_plan plan;
} made_sweep;

static const char *name(const made_sweep *s, const char *const *names, int index)
{
    return s->is_hostile ? hostile[index % 3] : names[index];
}

/* Curves that fall, and memory that rises with the method. */
static pb_status fill_curves(pb_record *r, int method, double skill)
{
    for (int step = 1; step <= 120; step++) {
        double noise           = 0.15 * sin(step * (1.7 + method)) * exp(-step / 60.0);
        const pb_record_step s = {.step      = step,
                                  .loss      = 0.3 + 2 * exp(-step * skill / 1500) + noise,
                                  .lr        = 1e-3 * (1 - step / 120.0),
                                  .grad_norm = 1,
                                  .tokens    = 500,
                                  .seconds   = 0.1};
        PB_TRY(pb_record_add_step(r, &s));
        if (step % 30 == 0) {
            PB_TRY(pb_record_add_validation(r, step, s.loss + 0.1));
        }
        PB_TRY(pb_record_add_memory(
            r, step * 0.1, (int64_t)((0.2 + fmin(step, 20) / 20) * r->memory_peak_gb / 1.2 * 1e9),
            0, 0, step < 20 ? "setup" : "train"));
    }
    for (int row = 0; row < 8; row++) {
        int right = (row * 7 + method) % 3 != 0;
        PB_TRY(pb_record_add_prediction(r, row, "x", "x", right, right));
    }
    return pb_record_add_provenance(r, "host", "node1");
}

static pb_status put_cell(made_sweep *s, int m, int d, int t, int seed)
{
    double skill = 40 + 25 * sin(0.9 * t + 1) + 15 * sin(0.7 * d) + 5 * m + 3 * sin(seed + t * d);
    int place    = ((m * s->counts[1] + d) * s->counts[2] + t) * s->counts[3] + seed;
    pb_record r;

    PB_TRY(
        sample_small(name(s, models, m), name(s, datasets, d), name(s, methods, t), 42 + seed, &r));
    PB_TRY(pb_plan_add(&s->plan, r.key.model, r.key.dataset, r.key.method, r.key.seed,
                       r.key.config_hash));
    r.score            = fmin(fmax(skill, 0), 100);
    r.score_low        = fmax(r.score - 4, 0);
    r.score_high       = fmin(r.score + 4, 100);
    r.trainable_params = t == 0 ? 0 : (int64_t)(1000 * pow(6, 1 + t % 6));
    r.flops_base_t     = 1;
    r.flops_forward_t  = 1 + 0.1 * t;
    r.memory_peak_gb   = 4 + m * 8 + 3 * fabs(sin(t * 1.3));
    r.seconds_train    = 30 + 20 * t + 10 * m;
    pb_status status   = fill_curves(&r, t, skill);
    if (status == PB_OK && place % 97 == 13) {
        status = pb_record_fail(&r, PB_FAIL(PB_ERR_NUMERIC, "the loss of step 7 is not finite %s",
                                            s->is_hostile ? hostile[0] : ""));
        pb_error_clear();
        r.score = NAN;
        status  = PB_OK;
    }
    if (status == PB_OK && place % 89 != 31) {
        status = pb_shard_write(s->directory, &r);
    }
    pb_record_clear(&r);
    return status;
}

static pb_status make(made_sweep *s)
{
    char path[4096];

    PB_TRY(pb_record_set_text(&s->plan.name, s->is_hostile ? hostile[0] : "made-up"));
    PB_TRY(pb_record_set_text(&s->plan.protocol, "corrected"));
    PB_TRY(pb_record_set_text(&s->plan.command_line, "make_sweep"));
    for (int m = 0; m < s->counts[0]; m++) {
        for (int d = 0; d < s->counts[1]; d++) {
            for (int t = 0; t < s->counts[2]; t++) {
                for (int seed = 0; seed < s->counts[3]; seed++) {
                    PB_TRY(put_cell(s, m, d, t, seed));
                }
            }
        }
    }
    PB_TRY(pb_plan_write(s->directory, &s->plan));
    (void)snprintf(path, sizeof path, "%s/made-up.h5", s->directory);
    return pb_sweep_merge(s->directory, path);
}

int main(int argc, char **argv)
{
    made_sweep s = {.is_hostile = argc == 7};
    char text[2000];

    if (argc < 6) {
        return 2;
    }
    s.directory = argv[1];
    for (int i = 0; i < 4; i++) {
        s.counts[i] = (int)strtol(argv[i + 2], NULL, 10);
    }
    if (make(&s) != PB_OK) {
        pb_error_describe(text, sizeof text);
        (void)fputs(text, stderr);
        return 1;
    }
    pb_plan_clear(&s.plan);
    return 0;
}
