// SPDX-License-Identifier: Apache-2.0
/* Joins packed batches into one: rows, segments, labels and samples follow one another in the order
 * of the batches, and every number that refers to one of them is moved by those before it. */
#include "internal.h"

#include <inttypes.h>
#include <string.h>

typedef struct joined {
    pb_batch *out;
    int64_t next_key; /* the next virtual key */
} joined;

/* Segments are not in use yet. */
static pb_status provide_lists(const pb_batch *total, pb_batch *out)
{
    const batch_room room = {.segments = total->forest.count,
                             .rows     = total->forest.rows,
                             .labels   = total->padded_labels,
                             .outs     = total->outs,
                             .samples  = total->samples};
    PB_TRY(batch_provide(out, batch_lay_out(&room, NULL, out)));
    batch_lay_out(&room, out->block, out);
    return PB_OK;
}

static void add_counts(pb_batch *to, const pb_batch *b)
{
    to->forest.count += b->forest.count;
    to->forest.rows += b->forest.rows;
    to->labels += b->labels;
    to->padded_labels += b->padded_labels;
    to->outs += b->outs;
    to->samples += b->samples;
}

static pb_status count_all(const pb_batch *const *batches, int64_t count, pb_batch *total)
{
    for (int64_t i = 0; i < count; i++) {
        const pb_batch *b = batches[i];
        if (b->virtual_rows > 0 && b->virtual_keys > 0) {
            return PB_FAIL(PB_ERR_UNSUPPORTED,
                           "a batch with both virtual rows and virtual keys cannot be joined");
        }
        add_counts(total, b);
        total->tokens += b->tokens;
        total->virtual_rows += b->virtual_rows;
        total->virtual_keys += b->virtual_keys;
    }
    total->forest.keys = total->virtual_keys + total->forest.rows;
    if (total->forest.rows > INT32_MAX) {
        return PB_FAIL(PB_ERR_ARGUMENT, "joined batches of %" PRId64 " rows are too large",
                       total->forest.rows);
    }
    return PB_OK;
}

static void copy_moved(int32_t *to, const int32_t *from, int64_t count, int64_t by)
{
    for (int64_t i = 0; i < count; i++) {
        to[i] = from[i] < 0 ? from[i] : from[i] + (int32_t)by; /* -1: there is none */
    }
}

static void add_segments(joined *j, const pb_batch *b, int32_t cell, int64_t all_keys)
{
    pb_batch *out = j->out;
    for (int64_t i = 0; i < b->forest.count; i++) {
        pb_segment s = b->segments[i];
        if (b->virtual_keys > 0 && s.key < b->virtual_keys) {
            s.key += j->next_key;
        } else {
            s.key += all_keys - b->virtual_keys + out->forest.rows;
        }
        s.row += out->forest.rows;
        s.parent += s.parent >= 0 ? (int32_t)out->forest.count : 0;
        s.cell                               = cell;
        out->segments[out->forest.count + i] = s;
    }
    j->next_key += b->virtual_keys;
}

static void add(joined *j, const pb_batch *b, int32_t cell, int64_t all_keys)
{
    pb_batch *out = j->out;
    int64_t rows  = out->forest.rows;
    int64_t label = out->padded_labels;
    add_segments(j, b, cell, all_keys);
    memcpy(out->ids + rows, b->ids, (size_t)b->forest.rows * sizeof *b->ids);
    memcpy(out->positions + rows, b->positions, (size_t)b->forest.rows * sizeof *b->positions);
    memcpy(out->targets + label, b->targets, (size_t)b->padded_labels * sizeof *b->targets);
    memcpy(out->out_positions + out->outs, b->out_positions,
           (size_t)b->outs * sizeof *b->out_positions);
    copy_moved(out->label_rows + label, b->label_rows, b->padded_labels, rows);
    copy_moved(out->label_slots + label, b->label_slots, b->padded_labels, out->outs);
    copy_moved(out->label_samples + label, b->label_samples, b->padded_labels, out->samples);
    copy_moved(out->out_rows + out->outs, b->out_rows, b->outs, rows);
    copy_moved(out->last_rows + out->samples, b->last_rows, b->samples, rows);
    copy_moved(out->last_segments + out->samples, b->last_segments, b->samples, out->forest.count);
    add_counts(out, b);
}

pb_status pb_batch_join(const pb_batch *const *batches, int64_t count, pb_batch *out)
{
    pb_batch total = {0};
    joined j       = {.out = out};
    pb_status status;
    *out = (pb_batch){.block = out->block, .block_bytes = out->block_bytes};
    PB_TRY_GOTO(status, count_all(batches, count, &total), err_batch);
    PB_TRY_GOTO(status, provide_lists(&total, out), err_batch);
    out->tokens       = total.tokens;
    out->virtual_rows = total.virtual_rows;
    out->virtual_keys = total.virtual_keys;
    for (int64_t i = 0; i < count; i++) {
        add(&j, batches[i], (int32_t)i, total.virtual_keys);
    }
    out->forest.segments = out->segments;
    out->forest.keys     = total.forest.keys;
    return PB_OK;
err_batch:
    pb_batch_clear(out);
    return status;
}
