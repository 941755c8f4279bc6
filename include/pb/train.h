// SPDX-License-Identifier: Apache-2.0
/* The training loop: AdamW, warm-up and cosine, clipping, validation, and the best state restored
 * at the end.
 *
 * The trainer knows a network, a list of trainable tensors and rows of tokens; it reads no file and
 * knows no grid. loss = sum of -log p over the label tokens / number of label tokens of the whole
 * batch, over all accumulated parts alike, plus the method's penalty, where it has one. */
#pragma once

#include "pb/config.h"
#include "pb/network.h"

typedef struct pb_train_options {
    double learning_rate; /* peak */
    int64_t batch;        /* rows per forward pass */
    int64_t accumulate;   /* forward passes per step */
    int64_t split;        /* parts of a pass; above 1, other processes may compute some of them */
    double epochs;
    int64_t max_steps; /* 0: epochs decide */
    double beta1, beta2, eps, weight_decay;
    bool decay_all;        /* decay biases and norms too */
    double warmup_ratio;   /* of all steps, rounded up */
    int schedule;          /* pb_schedule */
    double clip;           /* largest norm of the gradient; 0: none */
    double evaluate_share; /* steps between validations, as a share of all; 0: only at the end */
    bool evaluate_last;    /* also at the last step when it is not a multiple */
    bool restore_best;
    int validation_mean; /* pb_validation_mean */
    bool shuffle;        /* a new order every epoch, whose last step may be short; off: file order,
                            wrapping around without a short step */
} pb_train_options;

typedef enum pb_schedule {
    PB_SCHEDULE_COSINE,
    PB_SCHEDULE_LINEAR,
    PB_SCHEDULE_CONSTANT
} pb_schedule;

/* Over all label tokens; or over batches, weighted by rows, of means over tokens (the paper's). */
typedef enum pb_validation_mean { PB_MEAN_TOKENS, PB_MEAN_ROWS } pb_validation_mean;

extern const pb_config_field pb_train_fields[];

typedef struct pb_train_step {
    int64_t step;     /* from 1 */
    int64_t steps;    /* of the run */
    double loss;      /* before the update, nats per label token */
    double lr;        /* used in this step */
    double grad_norm; /* before clipping */
    int64_t tokens, label_tokens;
    double seconds; /* in a gang its share of the step by rows, as are the operations */
    double flops;   /* of the products, 2 per multiply-accumulate */
} pb_train_step;

struct pb_train_state; /* of one member, between two steps */

/* The caller's callbacks; every slot may be NULL. A status other than PB_OK ends the run with
 * it. */
typedef struct pb_train_observer {
    void *context;
    pb_status (*step)(void *context, const pb_train_step *step);
    /* Before and after a validation; all steps before it are complete. */
    void (*validating)(void *context);
    pb_status (*validation)(void *context, int64_t step, double loss, double seconds);
    /* After the gradients of a step are complete, before they are scaled and used. */
    pb_status (*gradients)(void *context, int64_t step);
    /* Asked before every pass: true ends the run with PB_STOPPED, as of its last whole step. */
    bool (*stop)(void *context);
    bool (*due)(void *context); /* asked after every step: true saves all members */
    /* Keeps the state of the training as of a whole step, which pb_train_archive writes: when it is
     * due, and before a stop. */
    pb_status (*save)(void *context, struct pb_train_state *state);
    /* In a gang: this member is done, or has failed, with the cause in the error record. */
    void (*ended)(void *context, pb_status status);
} pb_train_observer;

typedef struct pb_train_data {
    const pb_sample *train; /* [train_count] */
    int64_t train_count;
    const pb_sample *validation; /* [validation_count], may be none */
    int64_t validation_count;
} pb_train_data;

typedef struct pb_train_result {
    int64_t steps;
    int64_t best_step;            /* 0 when nothing was validated */
    double best_loss;             /* NaN then */
    double final_loss;            /* of the last step */
    int64_t tokens, label_tokens; /* trained on */
    double seconds_steps, seconds_validation;
    int64_t rung, place, of; /* a search ended it: see pb_train_place */
} pb_train_result;

/* A training whose passes are split computes the gradient of every part from zero, and adds those
 * of a step up in order: who computes them does not matter. A part has consecutive rows of a
 * pass. */
typedef struct pb_train_part {
    uint64_t pass;       /* numbers it in the training, for dropout */
    double grad_scale;   /* 1 / label tokens of the step */
    const int64_t *rows; /* [count] numbers of training rows */
    int64_t count;
} pb_train_part;

/* What came of a part. */
typedef struct pb_train_share {
    float *grads;   /* [parameters], host memory */
    double loss;    /* sum of -log p over its label tokens */
    double flops;   /* of its products */
    int64_t tokens; /* real tokens of its rows */
} pb_train_share;

/* Other processes that compute parts of a step. */
typedef struct pb_train_helpers {
    void *context;
    /* How many there are now; those of an earlier step may be gone. */
    int64_t (*count)(void *context);
    /* Gives part `index` of a step to helper number `helper`; `values` [parameters], host memory,
     * are those of the method. */
    pb_status (*give)(void *context, int64_t helper, int64_t index, const pb_train_part *part,
                      const float *values);
    /* Waits for any part that was given; *done is false when its helper could not compute it.
     * `shares`: of all parts of the step. */
    pb_status (*take)(void *context, pb_train_share *shares, int64_t *index, bool *done);
} pb_train_helpers;

/* How many steps a run has. */
int64_t pb_train_steps(const pb_train_options *options, int64_t train_count);

/* lr of a step (from 0: the number of finished steps): w = ceil(warmup_ratio · N) steps of s / w,
 * then (1 + cos(π (s - w) / max(1, N - w))) / 2. */
double pb_train_lr(const pb_train_options *options, int64_t steps, int64_t step);

/* Trains the method in place. Where the rows of any step have no label token together, that is
 * PB_ERR_FORMAT before the first step. A loss that is not finite ends the run with PB_ERR_NUMERIC.
 * A method without trainable tensors is only validated. */
pb_status pb_train_run(pb_network *net, pb_method *method, const pb_train_options *options,
                       uint64_t seed, const pb_train_data *data, const pb_train_observer *observer,
                       pb_train_result *result) PB_MUST_USE;

/* The arguments of pb_train_run, for one of several runs. */
typedef struct pb_train_member {
    pb_network *net;
    pb_method *method;
    const pb_train_options *options;
    uint64_t seed;
    const pb_train_data *data;
    const pb_train_observer *observer;
    pb_train_result *result;
    pb_archive *resume; /* stands at what pb_train_archive wrote: the training goes on from there;
                           NULL: it begins */
    const pb_train_helpers *helpers; /* NULL: none; called only where the training is split */
} pb_train_member;

/* pb_train_run, which may go on from a state that was saved. */
pb_status pb_train_alone(const pb_train_member *member) PB_MUST_USE;

/* Computes a part of another process's training, whose values [parameters] the method takes over:
 * the network, the method and the rows are the same there. */
pb_status pb_train_help(pb_network *net, pb_method *method, const pb_train_data *data,
                        const pb_train_part *part, const float *values,
                        pb_train_share *share) PB_MUST_USE;

/* Trains networks of one model together (see pb/gang.h): step n of all in the same passes. Each has
 * the curves and values of pb_train_run, bit for bit, and ends by itself: after its own last step,
 * or with a failure of its own, which leaves the others as they are; `ended` of its observer says
 * which. `accumulate` is the same for all. Any other status than PB_OK ends all that still run:
 * PB_STOPPED when one of them asks to stop, or the failure of what all share, such as memory for
 * their passes. None of them is split. */
pb_status pb_train_gang(const pb_train_member *members, int64_t count) PB_MUST_USE;

/* Writes the values, the optimiser, the position and the result so far. A training that goes on
 * from there has the curves and values of one that was never stopped, bit for bit. Members that go
 * on together stand at the same step. */
pb_status pb_train_archive(struct pb_train_state *state, pb_archive *archive) PB_MUST_USE;
/* Of the last whole step. */
int64_t pb_train_state_step(const struct pb_train_state *state);

/* Successive halving (Jamieson and Talwalkar, "Non-stochastic best arm identification and
 * hyperparameter optimization", 2016): when a percentage of the steps has been taken, the members
 * that still run are validated, and the best of them, rounded up, go on; of equal losses the first.
 */
/* At this percentage of its steps (0: nowhere) a member was ended, as place-th of those left. */
typedef struct pb_train_place {
    int64_t rung, place, of;
} pb_train_place;

typedef struct pb_train_search {
    const int64_t *rungs; /* [count] percent, ascending, below 100 */
    int64_t count;
    double keep; /* the share that goes on, above 0 */
    /* NULL: the losses decide. Else what they decided earlier about the only member. */
    const pb_train_place *decided;
} pb_train_search;

/* A gang that is searched: all members have the same number of steps, and validation rows. Those
 * that go on have the curves and values of pb_train_gang, beside a validation at each rung. */
pb_status pb_train_gang_search(const pb_train_member *members, int64_t count,
                               const pb_train_search *search) PB_MUST_USE;

/* Mean loss of rows in batches, no dropout. */
pb_status pb_train_loss(pb_network *net, const pb_sample *rows, int64_t count, int64_t batch,
                        pb_validation_mean mean, double *loss) PB_MUST_USE;
