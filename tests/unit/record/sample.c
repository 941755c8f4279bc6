// SPDX-License-Identifier: Apache-2.0
/* Synthetic records for tests. */
#include "sample.h"

#include "cell.h"
#include "source.h"

#include "pb/memory.h"

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directories[64][64];
static int directory_count;
static pid_t owner;

static int remove_entry(const char *path, const struct stat *about, int kind, struct FTW *at)
{
    (void)about;
    (void)kind;
    (void)at;
    return remove(path);
}

static void remove_all(void)
{
    for (int i = 0; i < directory_count && getpid() == owner; i++) {
        (void)nftw(directories[i], remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    }
}

const char *sample_directory(void)
{
    char *name = directories[directory_count];

    if (directory_count == 0) {
        owner = getpid();
        (void)atexit(remove_all);
    }
    (void)snprintf(name, sizeof directories[0], "/tmp/pb_record_XXXXXX");
    if (mkdtemp(name) == NULL) {
        perror(name);
        _Exit(1);
    }
    directory_count++;
    return name;
}

pb_status sample_load(const pb_record *record, pb_record *out)
{
    pb_record_source *source = NULL;
    pb_string group          = {0};
    pb_status status;

    PB_TRY_GOTO(status, cell_source(record, &group), done);
    PB_TRY_GOTO(status, source_of(record, &source), done);
    status = cell_read(source_file(source), group.data, PB_RECORD_ALL, out);
    record_source_release(source);
    pb_error_prefix(status, "%s", record->source_file);
done:
    pb_string_clear(&group);
    return status;
}

pb_status sample_read(const char *path, bool complete, pb_record *out)
{
    pb_shard_state state = PB_SHARD_MISSING;
    char *damage         = NULL;

    PB_TRY(
        pb_shard_examine(path, complete ? PB_RECORD_ALL : PB_RECORD_NUMBERS, out, &state, &damage));
    if (state == PB_SHARD_MISSING) {
        return PB_FAIL(PB_ERR_NOT_FOUND, "%s", path);
    }
    pb_status status = damage != NULL ? PB_FAIL(PB_ERR_FORMAT, "%s", damage) : PB_OK;
    pb_memory_free(damage);
    return status;
}

/* A number in 0 … 1 that depends on a text and an index. */
static double made_up(const char *text, int64_t seed, int index)
{
    double x = (double)seed * 0.37 + index * 0.11;

    for (; *text != '\0'; text++) {
        x += (unsigned char)*text * 0.013;
    }
    return 0.5 + 0.5 * sin(x);
}

static void fill_numbers(pb_record *r, double u)
{
    r->score                 = 50 + 50 * u;
    r->score_low             = r->score - 5;
    r->score_high            = r->score + 4;
    r->invalid_share         = 0.125;
    r->trainable_params      = 4096 + (int64_t)(u * 1000);
    r->model_params          = 260032;
    r->flops_forward_t       = 0.25 + 0.01 * u;
    r->flops_base_t          = 0.25;
    r->memory_peak_gb        = 0.75 + u;
    r->memory_system_peak_gb = 1.5;
    r->seconds_train         = 12.5;
    r->seconds_validation    = 1.25;
    r->seconds_test          = 2.5;
    r->seconds_total         = 17;
    r->tokens_per_second     = 1000 * u;
    r->train_tokens          = 12345;
    r->label_tokens          = 678;
    r->flops_train           = 1e12;
    r->mfu                   = 0.5;
    r->best_step             = 2;
    r->rows_truncated        = 1;
    r->rows_too_long         = 2;
    r->rows_bad              = 3;
    r->rows_unlabelled       = 4;
    r->rows_no_answer        = 5;
    r->rows_empty            = 6;
    r->rows_duplicate        = 7;
    r->rows_overlap          = 8;
    r->bytes_train           = 9;
    r->bytes_test            = 10;
    r->rows_train            = 90;
    r->rows_validation       = 10;
    r->rows_test             = 4;
}

static pb_status fill_texts(pb_record *r)
{
    PB_TRY(pb_record_set_text(&r->protocol, "corrected"));
    PB_TRY(pb_record_set_text(&r->metric_name, "accuracy"));
    PB_TRY(pb_record_set_text(&r->config, "train = { batch = 8; };\n"));
    PB_TRY(pb_record_set_text(&r->model_hash, "aa"));
    PB_TRY(pb_record_set_text(&r->tokenizer_hash, "bb"));
    PB_TRY(pb_record_set_text(&r->data_hash, "cc"));
    PB_TRY(pb_record_set_text(&r->created, "2026-11-24T08:05:00Z"));
    return pb_record_add_metric(r, "accuracy", r->score / 100);
}

static pb_status fill_curves(pb_record *r, double u)
{
    PB_TRY(pb_record_add_metric(r, "f1", u));
    for (int64_t step = 1; step <= 20; step++) {
        pb_record_step one = {.step      = step,
                              .loss      = 3.0 / (double)step + u,
                              .lr        = 1e-3 / (double)step,
                              .grad_norm = 1.5,
                              .tokens    = 100 + step,
                              .seconds   = 0.25};
        PB_TRY(pb_record_add_step(r, &one));
    }
    PB_TRY(pb_record_add_validation(r, 10, 1.0 + u));
    PB_TRY(pb_record_add_validation(r, 20, 0.5 + u));
    PB_TRY(pb_record_add_memory(r, 0.0, 1000, 0, 0, "setup"));
    PB_TRY(pb_record_add_memory(r, 1.5, 750000000, 200, 300, "train"));
    PB_TRY(pb_record_add_phase(r, "setup", 0, 1, 0, 0));
    PB_TRY(pb_record_add_phase(r, "train", 1, 12.5, 1e12, 0.5));
    PB_TRY(pb_record_add_prediction(r, 0, "entailment", "entailment", 1, 1));
    PB_TRY(pb_record_add_prediction(r, 1, "", "not_entailment", 0, 0));
    PB_TRY(pb_record_add_prediction(r, 2, "日本語 \"quoted\"\n", "ü", -1, 0.25));
    PB_TRY(pb_record_add_provenance(r, "host", "node1"));
    return pb_record_add_provenance(r, "compiler", "gcc 12");
}

static pb_status make(const char *model, const char *dataset, const char *method, int64_t seed,
                      bool full, pb_record *out)
{
    pb_status status = PB_OK;
    double u = (made_up(model, seed, 1) + made_up(dataset, seed, 2) + made_up(method, seed, 3)) / 3;

    pb_record_init(out);
    PB_TRY_GOTO(status, pb_record_set_key(out, model, dataset, method, seed), err);
    (void)snprintf(out->key.config_hash, sizeof out->key.config_hash, "%064lld", (long long)seed);
    fill_numbers(out, u);
    PB_TRY_GOTO(status, fill_texts(out), err);
    if (full) {
        PB_TRY_GOTO(status, fill_curves(out, u), err);
    }
    return PB_OK;

err:
    pb_record_clear(out);
    return status;
}

pb_status sample_record(const char *model, const char *dataset, const char *method, int64_t seed,
                        pb_record *out)
{
    return make(model, dataset, method, seed, true, out);
}

pb_status sample_small(const char *model, const char *dataset, const char *method, int64_t seed,
                       pb_record *out)
{
    return make(model, dataset, method, seed, false, out);
}
