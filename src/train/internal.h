// SPDX-License-Identifier: Apache-2.0
/* A run: one or several networks that step together, which share only the passes, the memory
 * of the numbers and the clock. */
#pragma once

#include "pb/gang.h"
#include "pb/train.h"

/* What a member keeps of a step whose numbers may not have arrived. */
typedef struct member_step {
    pb_train_step step;
    int64_t packed;   /* rows of its passes */
    double elsewhere; /* flops of products in other processes */
    bool takes_part;
} member_step;

/* The state of one network, which is what can be saved. */
typedef struct pb_train_state {
    pb_network *net;
    pb_backend *backend;
    pb_method *method;
    const pb_train_options *options;
    const pb_train_data *data;
    const pb_train_observer *observer;
    pb_train_result *result;
    uint64_t seed;
    int64_t steps;
    bool running;
    int64_t concluded, judged;     /* steps whose validation, and whose rung, are over */
    double validated;              /* the last validation loss */
    pb_tensor first, second, best; /* [parameters]: Adam's moments, values of the best step */
    pb_tensor numbers;             /* F64 [PB_NUMBERS], backend memory, the run's */
    pb_tensor loss, penalty;       /* of these */
    pb_adamw_tensor *tensors;      /* [tensor_count] what is trained */
    int64_t tensor_count;
    member_step posted[PB_SLOTS]; /* by step % PB_SLOTS */
    pb_sample *rows;              /* [batch · accumulate] of the step */
    int64_t *row_numbers;         /* [batch · accumulate] in the training set */
    int64_t count;                /* of these */
    pb_batch batch;               /* a part of it, packed */
    int64_t *order;               /* [train_count] of the epoch */
    int64_t epoch;                /* of `order`; -1 before the first */
    int64_t next;                 /* position in `order` */
    struct parts *parts;          /* split.c; NULL: passes are whole */
} member;

/* A step whose numbers may not have arrived. */
typedef struct posted_step {
    double begin;   /* seconds on the clock */
    double flops;   /* of its products */
    int64_t packed; /* rows of its passes */
    bool received;
} posted_step;

typedef struct run {
    pb_backend *backend;
    member *members; /* [count] */
    int64_t count;
    bool alone;                    /* the failure of the only member is that of the run */
    pb_gang *gang;                 /* NULL: alone */
    const pb_train_search *search; /* NULL: all train to the end */
    pb_gang_part *parts;           /* [count] of a pass */
    pb_tensor numbers;             /* F64 [count · PB_NUMBERS], backend memory */
    double *values;                /* [count · PB_NUMBERS] of the step received last */
    int64_t begun, taken;          /* steps */
    double completed;              /* when the last taken step was, seconds on the clock */
    posted_step posted[PB_SLOTS];  /* by step % PB_SLOTS */
} run;

/* ---------------------------------------------------------------- train.c */

/* `backend`, `members`, `count`, `alone`, `gang`, `search`, `parts` and `values` are set. */
pb_status run_all(run *r, const pb_train_member *members) PB_MUST_USE;

/* ---------------------------------------------------------------- member.c */

/* `numbers`: its part of the run's. */
pb_status member_open(member *t, const pb_train_member *of, const pb_tensor *numbers) PB_MUST_USE;
void member_close(member *t); /* accepts one that could not be opened */

/* Takes the rows of the next step; PB_ERR_FORMAT when none of them has a label. */
pb_status member_next_rows(member *t) PB_MUST_USE;
/* Before the first row of the first epoch. */
void member_rewind(member *t);
/* The rows of part `part` of a step: *first of t->rows on; returns their count. */
int64_t member_part_rows(const member *t, int64_t part, int64_t *first);
/* Packs part `part` of the step into t->batch. False where the step has none, or one without
 * labels. */
pb_status member_pack(member *t, int64_t part, bool *has_labels) PB_MUST_USE;

/* Takes the rows of step `number`, and zeroes its gradients and its loss. */
pb_status member_begin_step(member *t, int64_t number) PB_MUST_USE;
/* From the gradients to the new values. */
pb_status member_update(member *t, int64_t number) PB_MUST_USE;
/* The numbers of a step [PB_NUMBERS] have arrived; PB_ERR_NUMERIC when they are not finite. */
pb_status member_receive(member *t, int64_t number, const double *numbers) PB_MUST_USE;
/* Reports a step that was received. */
pb_status member_report(member *t, int64_t number) PB_MUST_USE;
bool member_validates_after(const member *t, int64_t number);
pb_status member_validate(member *t, int64_t number) PB_MUST_USE;
/* Writes or reads the member as of a step all of whose numbers were taken. */
pb_status member_archive(member *t, pb_archive *archive) PB_MUST_USE;
/* Puts the best values back. */
pb_status member_finish(member *t) PB_MUST_USE;

/* ---------------------------------------------------------------- split.c */

typedef struct parts parts;

pb_status parts_open(const member *t, const pb_train_helpers *helpers, parts **out) PB_MUST_USE;
void parts_close(parts *s); /* accepts NULL */
/* The gradients and the loss of step `number`. */
pb_status split_step(member *t, int64_t number) PB_MUST_USE;
/* Floating-point operations of all products so far. */
double products_done(pb_backend *be);

/* ---------------------------------------------------------------- search.c */

/* Members that can be searched: PB_ERR_CONFIG names what they lack. */
pb_status search_check(const member *members, int64_t count) PB_MUST_USE;
/* The percentage of the rung after step `number` of `steps`, 0: none. */
int64_t search_rung(const pb_train_search *search, int64_t number, int64_t steps);
/* Fills rung, place and of in the results of the members that do not go on. */
void search_judge(member *members, int64_t count, const pb_train_search *search, int64_t rung);

/* ---------------------------------------------------------------- validate.c */

bool wants_stop(const pb_train_observer *o);
/* In batches that are packed into *packed and add to *sum, F64 [1]; `observer` (NULL: none) may
 * stop it between two. */
pb_status mean_loss(pb_network *net, const pb_sample *rows, int64_t count, int64_t batch,
                    pb_validation_mean mean, const pb_train_observer *observer, pb_batch *packed,
                    pb_tensor *sum, double *loss) PB_MUST_USE;
