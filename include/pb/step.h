// SPDX-License-Identifier: Apache-2.0
/* What a pass gives to a backend, and the numbers that come back, with neither side waiting.
 *
 * The small data of a pass is on a page: lists and attention plans, checked when they are put
 * there, so that operations only compare sizes. The host arrays they come from must not change
 * before the last operation of the pass has been called. Sums that the host reports (loss, norm)
 * are numbers, F64 in backend memory: posted when the step is complete, taken when they are wanted.
 *
 *     pb_page_begin(be, pass);
 *     pb_page_list(be, "ids", ids, rows, -1, vocab, &list);
 *     pb_page_plan(be, &args, &plan);
 *     pb_page_end(be);
 */
#pragma once

#include "pb/forest.h"
#include "pb/tensor.h"

typedef struct pb_backend pb_backend;

/* Whole numbers within first … limit - 1. */
typedef struct pb_list {
    const int32_t *data; /* backend memory */
    int64_t count;
    int64_t first, limit;
} pb_list;

static inline pb_list pb_list_part(const pb_list *list, int64_t from, int64_t count)
{
    return (pb_list){list->data + from, count, list->first, list->limit};
}

/* Attention over a forest: query head h reads key head h / (heads / kv_heads). A query at position
 * p sees keys at positions p - window + 1 … p of its own chain (window 0: all). */
typedef struct pb_attention_args {
    const pb_forest *forest;
    int64_t heads, kv_heads, head_dim; /* H, K, E */
    float scale;                       /* on q·k, usually 1/sqrt(E) */
    int64_t window;
    /* Packed rows whose output is wanted, ascending, or NULL for all. q, out, lse then hold just
     * these, in order. */
    const int32_t *only_rows;
    int64_t only_count;
    bool backward; /* one follows: no two segments may have keys in common */
} pb_attention_args;

/* A forest prepared for all layers of a kind. */
typedef struct pb_attention_plan {
    pb_attention_args args;
    int64_t queries;   /* rows of q */
    double pairs;      /* visible query-key pairs of one head: what attention costs */
    const void *parts; /* the backend's own */
    int index;         /* on its page */
} pb_attention_plan;

enum { PB_PAGE_PLANS = 4 }; /* most plans of a page */

/* Discards the previous page. `pass` numbers the forward passes of a run: dropout draws from it. */
pb_status pb_page_begin(pb_backend *be, uint64_t pass) PB_MUST_USE;
/* Refuses numbers outside first … limit - 1, in a message that says `name`. */
pb_status pb_page_list(pb_backend *be, const char *name, const int32_t *host, int64_t count,
                       int64_t first, int64_t limit, pb_list *out) PB_MUST_USE;
/* The same in memory of its own, for longer than a page. */
pb_status pb_list_open(pb_backend *be, const char *name, const int32_t *host, int64_t count,
                       int64_t first, int64_t limit, pb_list *out) PB_MUST_USE;
void pb_list_close(pb_backend *be, pb_list *list); /* accepts a zeroed one */
/* F32 [count] on the page. */
pb_status pb_page_floats(pb_backend *be, const float *host, int64_t count,
                         pb_tensor *out) PB_MUST_USE;
pb_status pb_page_plan(pb_backend *be, const pb_attention_args *args,
                       pb_attention_plan *out) PB_MUST_USE;
pb_status pb_page_end(pb_backend *be) PB_MUST_USE; /* before the first operation that reads it */

/* Queues operations, and nothing but operations. */
typedef pb_status pb_repeated(void *context);

/* Calls run(context) after pb_page_end, or queues again what it queued for the same key. So
 * everything that run does must follow from the key, the page, and the contents of backend
 * memory. */
pb_status pb_repeat(pb_backend *be, const void *key, size_t bytes, pb_repeated *run,
                    void *context) PB_MUST_USE;

/* The numbers of a training step, F64 [PB_NUMBERS]. */
enum {
    PB_NUMBER_LOSS,    /* sum of -log p */
    PB_NUMBER_SQUARES, /* of the gradient's elements */
    PB_NUMBER_BAD,     /* first step whose loss or norm was not finite; 0: none */
    PB_NUMBER_PENALTY, /* the method's part of the loss */
    PB_NUMBERS
};

static inline pb_tensor pb_number(const pb_tensor *numbers, int64_t which)
{
    return pb_tensor_rows(numbers, which, 1);
}

/* A step's numbers may be taken when this many later steps have been posted: 0 on the CPU, where
 * work is complete when a call returns. */
int pb_backend_lag(const pb_backend *be);

enum { PB_SLOTS = 2 }; /* posts in flight at once; more than any lag */

/* Starts a copy of numbers, F64 [n], to the host; they may change afterwards. */
pb_status pb_post(pb_backend *be, int slot, const pb_tensor *numbers) PB_MUST_USE;
/* Waits for what was posted there last, values [n], which can be taken once. */
pb_status pb_take(pb_backend *be, int slot, double *values) PB_MUST_USE;
