// SPDX-License-Identifier: Apache-2.0
/* The record: the plain result of one cell (model, dataset, method, seed). It owns its texts and
 * arrays.
 *
 *     pb_record record;
 *     pb_record_init(&record);
 *     PB_TRY_GOTO(status, pb_record_set_key(&record, model, dataset, method, seed), out);
 *     PB_TRY_GOTO(status, pb_record_add_step(&record, &(pb_record_step){.step = 1, …}), out);
 *     PB_TRY_GOTO(status, pb_shard_write(directory, &record), out);    (pb/results.h)
 *     pb_record_clear(&record); */
#pragma once

#include "pb/hash.h"
#include "pb/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The name of a cell, and the SHA-256 of everything that can change its result. */
typedef struct pb_record_key {
    char *model, *dataset, *method; /* owned */
    int64_t seed;
    char config_hash[PB_HASH_TEXT];
} pb_record_key;

typedef struct pb_record_metric {
    char *name;
    double value; /* in the metric's own range, mostly 0 … 1 */
} pb_record_metric;

typedef struct pb_record_pair {
    char *name, *value;
} pb_record_pair;

typedef struct pb_record_step { /* one optimiser step */
    int64_t step;               /* from 1 */
    double loss;                /* nats per label token */
    double lr, grad_norm;       /* the norm before clipping */
    int64_t tokens;             /* real tokens of this step */
    double seconds;             /* of this step */
} pb_record_step;

typedef struct pb_record_validation {
    int64_t step;
    double loss; /* nats per label token */
} pb_record_validation;

typedef struct pb_record_memory {            /* a sample of the memory trace */
    double seconds;                          /* since the cell began */
    int64_t host_bytes;                      /* the most since the sample before */
    int64_t device_bytes, device_peak_bytes; /* now, and the most since the sample before */
    char *phase;
} pb_record_memory;

typedef struct pb_record_phase {
    char *name;
    double start, seconds; /* start: since the cell began */
    double flops;          /* of the products, 2 per multiply-accumulate */
    double product_share;  /* flops / seconds / best known GEMM rate */
} pb_record_phase;

typedef struct pb_record_prediction {
    int64_t row; /* of the test rows */
    char *prediction, *label;
    int8_t correct; /* 1, 0, or -1 where the metric has no right and wrong */
    double value;   /* score of the row by itself, 1 at best; NaN where unknown */
} pb_record_prediction;

/* Unknown numbers are NaN (floating) or -1 (counts); pb_record_init sets all of them so. Texts are
 * NULL or owned, NULL counts as "". */
typedef struct pb_record {
    pb_record_key key;
    char *protocol;   /* "paper" or "corrected" */
    pb_status status; /* PB_OK: done; anything else: failed, with the cause in message */
    char *message;
    bool valid; /* an invalid cell has a reason, and its speed is not ranked */
    char *reason;

    char *metric_name; /* of the main metric */
    double score;      /* main metric × 100 */
    double score_low;  /* 95 % interval of score from resampled test rows */
    double score_high;
    double invalid_share; /* of the predictions that could not be parsed, 0 … 1 */
    pb_record_metric *metrics;
    int64_t metrics_count;

    int64_t trainable_params, model_params;
    double flops_forward_t;       /* 10^12 FLOP, 512 tokens, adapted model, from the shapes */
    double flops_base_t;          /* the same of the base model */
    double memory_peak_gb;        /* accounted peak, 10^9 bytes; in a gang that of all together */
    int64_t adapter_bytes;        /* of the files of the kept adapter */
    int64_t gang;                 /* cells that trained together with it, itself included */
    double memory_device_peak_gb; /* the device's part of it; NaN on the CPU */
    double memory_mean_gb, memory_p99_gb; /* of the accounted bytes in training, over time */
    double memory_system_peak_gb;         /* peak resident set of the process, 10^9 bytes */
    double seconds_train, seconds_validation, seconds_test, seconds_total;
    int64_t segments;         /* runs that worked on it: 1 where none was stopped inside it */
    double seconds_lost;      /* of work in passes that a stop cut off */
    double tokens_per_second; /* real tokens in training per second of seconds_train */
    int64_t train_tokens, label_tokens; /* trained on, all steps */
    double flops_train;                 /* FLOP of the products of the training steps, counted */
    double flops_validation, flops_test;
    double mfu; /* flops_train / seconds_train / best known GEMM rate */
    double mfu_validation, mfu_test;
    double energy_j; /* joule of the device in all phases of the cell */
    double energy_train_j, energy_validation_j, energy_test_j; /* parts of it */
    /* The same of this process's share in the packages, their memory and the node. */
    double energy_package_j, energy_package_train_j, energy_package_validation_j,
        energy_package_test_j;
    double energy_dram_j, energy_dram_train_j, energy_dram_validation_j, energy_dram_test_j;
    double energy_node_j, energy_node_train_j, energy_node_validation_j, energy_node_test_j;
    double validation_loss; /* of the values that were tested, nats per label token */
    int64_t best_step;      /* with the smallest validation loss */
    int64_t rows_train, rows_validation, rows_test;
    /* Of both files together: cut to fit; too long even without their text, left out of training
     * and tested without it; bad and left out; with label -1; with a null answer, left out of
     * training. */
    int64_t rows_truncated, rows_too_long, rows_bad, rows_unlabelled, rows_no_answer;
    int64_t rows_empty, rows_duplicate, rows_overlap;
    int64_t bytes_train, bytes_test; /* of the files, as they are stored */

    pb_record_step *train;
    int64_t train_count;
    pb_record_validation *validation;
    int64_t validation_count;
    pb_record_memory *memory;
    int64_t memory_count;
    pb_record_phase *phases;
    int64_t phases_count;
    pb_record_prediction *predictions;
    int64_t predictions_count;

    char *config;                                  /* the effective configuration, libconfig text */
    char *model_hash, *tokenizer_hash, *data_hash; /* SHA-256 */
    char *created;                                 /* ISO 8601, UTC, when the cell ended */
    pb_record_pair *provenance; /* host, cpu, gpu, driver, libraries, compiler, flags, commit, … */
    int64_t provenance_count;

    int64_t escaped_bytes; /* bytes of texts that were not UTF-8 and are stored as \xHH; set on
                              reading */
    /* The file it was read from; NULL and "" for a fresh one. A merged file is kept open by its
     * records; a shard is read again, and its checksum shows whether it is unchanged. */
    char *source_file, *source_group; /* source_group: NULL where it follows from the key */
    int64_t source_at, source_size;   /* bytes of a shard that is in a pack, else 0 */
    char source_hash[PB_HASH_TEXT];
    struct pb_record_source *source;
    bool shared;   /* its texts, metric names and provenance belong to the results it is in */
    bool complete; /* false when it was read without its curves and predictions */
} pb_record;

/* How much of a record to read from a file. */
typedef enum pb_record_parts {
    PB_RECORD_HEAD,    /* key, status, validity, hashes of the inputs, when the cell ended */
    PB_RECORD_ROW,     /* what /results of a merged file has, too: the single numbers and texts */
    PB_RECORD_NUMBERS, /* all but the configuration, the curves and predictions */
    PB_RECORD_ALL
} pb_record_parts;

/* The single numbers by their place in the order of /results, from 0: name and unit, NULL past the
 * last; the value, NaN where unknown. */
const char *pb_record_number_name(int index, const char **unit);
double pb_record_number(const pb_record *record, int index);

void pb_record_init(pb_record *record);
void pb_record_clear(pb_record *record); /* accepts a zeroed one; it is then zeroed */

/* Replaces an owned text by a copy of `value` (NULL: none). */
pb_status pb_record_set_text(char **text, const char *value) PB_MUST_USE;

pb_status pb_record_set_key(pb_record *record, const char *model, const char *dataset,
                            const char *method, int64_t seed) PB_MUST_USE;
void pb_record_key_clear(pb_record_key *key);
/* By model, dataset, method (bytes), seed; the configuration hash is not part of it. */
int pb_record_key_compare(const pb_record_key *a, const pb_record_key *b);

const char *pb_record_state(const pb_record *record); /* "done", "failed" or "invalid" */

/* Marks the record as failed with this status and the text of this thread's error record, and as
 * not valid. */
pb_status pb_record_fail(pb_record *record, pb_status status) PB_MUST_USE;

/* These append copies. A metric or provenance of the same name is replaced. */
pb_status pb_record_add_metric(pb_record *record, const char *name, double value) PB_MUST_USE;
pb_status pb_record_add_provenance(pb_record *record, const char *name,
                                   const char *value) PB_MUST_USE;
/* SHA-256 of the files of an adapter that was kept. */
#define PB_RECORD_ADAPTER "adapter_sha256"
const char *pb_record_find_provenance(const pb_record *record, const char *name); /* NULL: none */
pb_status pb_record_add_step(pb_record *record, const pb_record_step *step) PB_MUST_USE;
pb_status pb_record_add_validation(pb_record *record, int64_t step, double loss) PB_MUST_USE;
pb_status pb_record_add_memory(pb_record *record, double seconds, int64_t host_bytes,
                               int64_t device_bytes, int64_t device_peak_bytes,
                               const char *phase) PB_MUST_USE;
pb_status pb_record_add_phase(pb_record *record, const char *name, double start, double seconds,
                              double flops, double product_share) PB_MUST_USE;
pb_status pb_record_add_prediction(pb_record *record, int64_t row, const char *prediction,
                                   const char *label, int correct, double value) PB_MUST_USE;
