// SPDX-License-Identifier: Apache-2.0
/* What the parts share: tensors of random values, clocks, and networks of a shape with random
 * weights and rows. */
#pragma once

#include "bench_gpu.h"

#include "pb/network.h"
#include "pb/train.h"

enum { SETUP_MEMBERS = 8 };

/* The device of the command line, for operations of this type. */
pb_status open_device(const bench *b, pb_dtype dtype, pb_backend **out) PB_MUST_USE;

/* N(0, 1) in backend memory; give .data to pb_backend_free. */
pb_status random_matrix(const bench *b, pb_backend *be, pb_dtype dtype, int64_t rows,
                        int64_t columns, uint64_t salt, pb_tensor *out) PB_MUST_USE;

/* Median seconds of a call, of which many are queued before the clock is read. */
typedef pb_status timed_call(pb_backend *be, void *context);
pb_status time_call(const bench *b, pb_backend *be, timed_call *call, void *context,
                    double *seconds) PB_MUST_USE;

/* The same call for some seconds, and what the device was at meanwhile. */
typedef struct load {
    double seconds; /* of a call */
    double watts;   /* mean; NaN: not known, or less than a second */
    double mhz;     /* of the multiprocessors near the end; NaN: not known */
} load;

pb_status measure_load(pb_backend *be, timed_call *call, void *context, double seconds,
                       load *out) PB_MUST_USE;
/* Power and clock, where they are known. */
void put_load(const bench *b, const char *sizes, const load *l);

/* A fact of the backend that is a number, "sm_clock_mhz"; NaN: it is not known. */
double device_fact(pb_backend *be, const char *name);

/* Bytes read and written per second by a copy within the device's memory. */
pb_status copy_rate(const bench *b, pb_backend *be, double *bytes_per_second) PB_MUST_USE;

/* Rows of one length with random ids; labels from `answer_start` on. */
typedef struct made_rows {
    pb_sample *samples;
    int64_t count;
    int32_t *ids;
} made_rows;

pb_status rows_make(int64_t count, int64_t length, int64_t answer_start, int64_t vocabulary,
                    uint64_t seed, made_rows *out) PB_MUST_USE;
void rows_free(made_rows *rows);

/* Networks over one model. */
typedef struct setup {
    pb_backend *be;
    const pb_model *model;
    pb_model *own_model; /* NULL: the caller's is used */
    pb_weights *weights;
    pb_method *methods[SETUP_MEMBERS];
    pb_network *nets[SETUP_MEMBERS];
    int count;
} setup;

/* What a run does without, to see what it is worth. */
typedef struct setup_without {
    bool border; /* low-rank parts ride in no product */
} setup_without;

/* A shape by name, weights made in the device's memory. `method`: as in a configuration, "name =
 * \"lora\"; r = 16;". `without` may be NULL: nothing is left out. Member m of a gang has the seed m
 * + 1. On failure there is nothing to close.
 */
pb_status setup_open(const bench *b, const char *shape, pb_dtype dtype, const char *method,
                     int members, const setup_without *without, setup *out) PB_MUST_USE;
/* The same over a model of the caller's, on a backend by name. */
pb_status setup_over(const char *backend, int number, const pb_model *model, pb_dtype dtype,
                     const char *method, int members, setup *out) PB_MUST_USE;
void setup_close(setup *s);

/* Training of all members, as a gang where there are several, over the same number of rows each. */
typedef struct training {
    double *losses;  /* [members][steps] */
    double *seconds; /* [steps] wall time of a step of all members */
    int64_t warm, steps;
    load load; /* of the steps after the first `warm`; seconds: the median of a step */
} training;

/* `warm` steps of `steps` are not timed. */
pb_status train(setup *s, const made_rows *rows, int64_t batch, int64_t warm, int64_t steps,
                training *out) PB_MUST_USE;
void training_free(training *t);
