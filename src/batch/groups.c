// SPDX-License-Identifier: Apache-2.0
/* Which samples are evaluated together, so that common beginnings are computed as rarely as
 * possible in memory that is as large as that of a few samples. */
#include "pb/batch.h"
#include "pb/memory.h"

#include <stdlib.h>
#include <string.h>

typedef struct entry {
    const pb_sample *sample;
    int64_t index;
} entry;

static int64_t common_beginning(const pb_sample *a, const pb_sample *b)
{
    int64_t limit = a->length < b->length ? a->length : b->length;
    int64_t same  = 0;
    while (same < limit && a->ids[same] == b->ids[same]) {
        same++;
    }
    return same;
}

/* By ids; equal samples keep their order. */
static int compare(const void *left, const void *right)
{
    const entry *a = left;
    const entry *b = right;
    int64_t same   = common_beginning(a->sample, b->sample);
    bool a_ends    = same == a->sample->length;
    bool b_ends    = same == b->sample->length;
    if (a_ends || b_ends) {
        return a_ends && b_ends ? (a->index > b->index) - (a->index < b->index) : b_ends - a_ends;
    }
    return a->sample->ids[same] < b->sample->ids[same] ? -1 : 1;
}

static pb_status sort(const pb_sample *samples, int64_t n, int64_t *order)
{
    entry *entries = NULL;
    PB_TRY(PB_ALLOC(entries, n));
    for (int64_t i = 0; i < n; i++) {
        entries[i] = (entry){&samples[i], i};
    }
    qsort(entries, (size_t)n, sizeof *entries, compare);
    for (int64_t i = 0; i < n; i++) {
        order[i] = entries[i].index;
    }
    pb_memory_free(entries);
    return PB_OK;
}

/* Tokens that a sample adds to those of the one before it (NULL: none). */
static int64_t added_tokens(const pb_sample *sample, const pb_sample *before)
{
    int64_t same = before != NULL ? common_beginning(sample, before) : 0;
    return sample->length - (same >= PB_SHARE_MIN ? same : 0);
}

static void end_group(pb_groups *g, int64_t end)
{
    int64_t size          = end - g->starts[g->count];
    g->largest            = size > g->largest ? size : g->largest;
    g->starts[++g->count] = end;
}

static void cut(const pb_sample *samples, int64_t n, double limit, int64_t more, pb_groups *g)
{
    double tokens = 0.0;
    for (int64_t i = 0; i < n; i++) {
        const pb_sample *sample = &samples[g->order[i]];
        const pb_sample *before = i > 0 ? &samples[g->order[i - 1]] : NULL;
        double added            = (double)added_tokens(sample, before) + (double)more;
        if (i > g->starts[g->count] && tokens + added > limit) {
            end_group(g, i);
            tokens = 0.0;
            added  = (double)sample->length + (double)more;
        }
        tokens += added;
    }
}

static pb_status make(const pb_sample *samples, int64_t n, int64_t batch, int64_t more, bool sorted,
                      pb_groups *g)
{
    PB_TRY(PB_ALLOC(g->order, n));
    PB_TRY(PB_ALLOC(g->starts, n + 1));
    double tokens = 0.0;
    for (int64_t i = 0; i < n; i++) {
        g->order[i] = i;
        tokens += (double)samples[i].length + (double)more;
    }
    if (sorted) {
        PB_TRY(sort(samples, n, g->order));
        cut(samples, n, (double)batch * tokens / (double)n, more, g);
    }
    for (int64_t i = batch; !sorted && i < n; i += batch) {
        end_group(g, i);
    }
    if (n > 0) {
        end_group(g, n);
    }
    return PB_OK;
}

pb_status pb_groups_make(const pb_sample *samples, int64_t n, int64_t batch, int64_t more,
                         bool sorted, pb_groups *out)
{
    *out             = (pb_groups){0};
    pb_status status = make(samples, n, batch, more, sorted, out);
    if (status != PB_OK) {
        pb_groups_clear(out);
    }
    return PB_FRAME(status);
}

void pb_groups_clear(pb_groups *groups)
{
    pb_memory_free(groups->order);
    pb_memory_free(groups->starts);
    *groups = (pb_groups){0};
}
