// SPDX-License-Identifier: Apache-2.0
/* A packed batch: rows of tokens as a forest of segments, without padding, with common prefixes
 * computed once; and the order in which rows are taken.
 *
 * A batch may be padded: after everything else, more roots have rows of token 0 that no other row
 * sees, outputs, and labels without a target. What they add to a sum over rows is zero. */
#pragma once

#include "pb/forest.h"
#include "pb/status.h"

#include <stdbool.h>
#include <stddef.h>

#define PB_LABEL_NONE (-100) /* HF's value for "no label here" */

/* One row of a data set. The label at position t is predicted from position t - 1; one at position
 * 0 is never used. */
typedef struct pb_sample {
    const int32_t *ids;    /* [length], length ≥ 1 */
    const int32_t *labels; /* [length], PB_LABEL_NONE where there is none; NULL: see answer_start */
    int64_t length;
    int64_t answer_start; /* without `labels`: the ids from here on are their own labels; 0: no
                             labels */
} pb_sample;

static inline bool pb_sample_has_labels(const pb_sample *s)
{
    return s->labels != NULL || s->answer_start > 0;
}

static inline int32_t pb_sample_label(const pb_sample *s, int64_t t)
{
    if (s->labels != NULL) {
        return s->labels[t];
    }
    return s->answer_start > 0 && t >= s->answer_start ? s->ids[t] : PB_LABEL_NONE;
}

/* Fewer common tokens are not shared: that saves less than a further segment costs. */
enum { PB_SHARE_MIN = 8 };

typedef struct pb_batch_options {
    int64_t virtual_rows; /* rows before the tokens (prompt methods): one shared root */
    int64_t virtual_keys; /* keys before the tokens (prefix tuning): one shared root without rows */
    bool share;           /* compute common prefixes once; must be off where dropout acts */
    bool trim; /* leave out tokens that neither predict a label nor are seen by one that does */
    bool pad;  /* round the sizes of a batch with labels up, so that few different ones occur */
    /* To measure and to check what is saved: rows are as long as the longest one; every row is an
     * output; every row is the padding's label, too, unless it is a sample's. */
    bool square, out_everywhere, label_everywhere;
} pb_batch_options;

typedef struct pb_batch {
    pb_forest forest;
    pb_segment *segments;
    int32_t *ids;       /* [T], -1 for virtual rows */
    int32_t *positions; /* [T] */

    /* Label n is predicted by packed row label_rows[n]. Samples that share a row share its output:
     * out_rows are the distinct ones, and label_rows[n] == out_rows[label_slots[n]]. Without
     * labels, out_rows are the last rows. */
    int32_t *label_rows;    /* [N], ascending */
    int32_t *label_slots;   /* [N] */
    int32_t *label_samples; /* [N] whose label it is; -1: the padding's */
    int32_t *targets;       /* [N]; -1: the padding's */
    int32_t *out_rows;      /* [U], strictly ascending */
    int32_t *out_positions; /* [U] */
    int64_t padded_labels;  /* N */
    int64_t labels;         /* those of samples */
    int64_t outs;           /* U */

    int32_t *last_rows;     /* [samples] packed row of a sample's last token; -1 where trimming left
                               nothing */
    int32_t *last_segments; /* [samples] its segment */
    int64_t samples;
    int64_t tokens; /* real tokens of all samples: no virtual ones, and regardless of sharing and
                       trimming */
    int64_t virtual_rows, virtual_keys;

    void *block; /* all of the lists above, and scratch of packing */
    size_t block_bytes;
} pb_batch;

/* What numbers of rows and labels are rounded up to where `pad` is set. */
int64_t pb_batch_padded_rows(int64_t rows);
int64_t pb_batch_padded_labels(int64_t labels);

/* Fails on an empty sample or on more than INT32_MAX rows. On failure `out` is zeroed. */
pb_status pb_batch_build(const pb_sample *samples, int64_t count, const pb_batch_options *options,
                         pb_batch *out) PB_MUST_USE;
/* The same in the memory of an earlier batch (or a zeroed one), which grows only when necessary. */
pb_status pb_batch_rebuild(const pb_sample *samples, int64_t count, const pb_batch_options *options,
                           pb_batch *batch) PB_MUST_USE;
/* Lays batches end to end, as rows of the cells 0 … count - 1: first all virtual keys, then the
 * keys of all rows. A batch with both virtual rows and virtual keys cannot be joined. The memory of
 * `out` is kept as above; the batches may be freed. */
pb_status pb_batch_join(const pb_batch *const *batches, int64_t count, pb_batch *out) PB_MUST_USE;
void pb_batch_clear(pb_batch *batch); /* accepts a zeroed one */

/* Samples that are evaluated together: those of group g are order[starts[g]] … order[starts[g + 1]
 * - 1]. */
typedef struct pb_groups {
    int64_t *order;  /* [n] */
    int64_t *starts; /* [count + 1] */
    int64_t count;
    int64_t largest; /* samples of a group */
} pb_groups;

/* Groups that depend on the samples alone. Sorted, neighbours have the longest common beginnings,
 * and the tokens of a group, common ones counted once and `more` added for each sample, are at most
 * those of `batch` samples of mean length; a group has at least one sample. Not sorted, a group is
 * the next `batch` samples. On failure *out is zeroed. */
pb_status pb_groups_make(const pb_sample *samples, int64_t n, int64_t batch, int64_t more,
                         bool sorted, pb_groups *out) PB_MUST_USE;
void pb_groups_clear(pb_groups *groups); /* accepts zeroed ones */

/* Order [n]: the validation part first, *n_validation = ceil(share · n) rows, then the training
 * part. The permutation is numpy's default_rng(seed).permutation(n). With order NULL it only
 * counts. */
pb_status pb_split_validation(int64_t n, double share, uint64_t seed, int64_t *order,
                              int64_t *n_validation) PB_MUST_USE;
/* Order [n] of the training rows in an epoch: torch's randperm seeded with run seed + epoch. */
pb_status pb_epoch_order(int64_t n, uint64_t seed, int64_t *order) PB_MUST_USE;
