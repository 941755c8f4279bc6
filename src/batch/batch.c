// SPDX-License-Identifier: Apache-2.0
/* Packs samples into a forest: a radix tree over their ids. Samples are grouped by common prefixes
 * of at least PB_SHARE_MIN tokens; each prefix becomes one segment, its continuations become
 * children. The packed rows are the segments in depth-first order, so parents come before children
 * and rows ascend. */
#include "internal.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <string.h>

typedef struct packer {
    const pb_sample *samples;
    const pb_batch_options *options;
    pb_batch *out;
    int64_t *lengths; /* [samples] tokens that are packed */
    int64_t *row_of;  /* [tokens] packed row of every packed token, sample by sample */
    int64_t *first;   /* [samples] where a sample starts in row_of */
    int32_t *order;   /* [samples] their indices, grouped by split */
    int64_t *start;   /* [rows + 1] first label of every packed row */
    int64_t longest;  /* tokens of a sample that are packed */
} packer;

static int64_t packed_length(const pb_sample *s, bool trim)
{
    if (!trim || !pb_sample_has_labels(s)) {
        return s->length;
    }
    int64_t length = s->length;
    while (length > 1 && pb_sample_label(s, length - 1) == PB_LABEL_NONE) {
        length--;
    }
    return length - 1; /* the last label is predicted by the row before it */
}

/* The number of ids after `depth` that all samples of the group have in common. */
static int64_t common_prefix(const packer *p, const int32_t *group, int64_t count, int64_t depth)
{
    int64_t common      = p->lengths[group[0]];
    const int32_t *lead = p->samples[group[0]].ids;
    for (int64_t i = 1; i < count; i++) {
        const int32_t *ids = p->samples[group[i]].ids;
        int64_t limit      = p->lengths[group[i]] < common ? p->lengths[group[i]] : common;
        int64_t same       = depth;
        while (same < limit && ids[same] == lead[same]) {
            same++;
        }
        common = same;
    }
    return common - depth;
}

/* Appends the segment of tokens depth … depth + length - 1 of the group, which they share. */
static int32_t emit(packer *p, const int32_t *group, int64_t count, int64_t depth, int64_t length,
                    int32_t parent)
{
    pb_batch *out        = p->out;
    int64_t before       = out->virtual_rows + out->virtual_keys;
    int64_t row          = out->forest.rows;
    int32_t index        = (int32_t)out->forest.count++;
    out->segments[index] = (pb_segment){
        .row      = row,
        .rows     = length,
        .key      = out->virtual_keys + row,
        .length   = length,
        .position = before + depth,
        .parent   = parent,
    };
    memcpy(out->ids + row, p->samples[group[0]].ids + depth, (size_t)length * sizeof *out->ids);
    for (int64_t i = 0; i < length; i++) {
        out->positions[row + i] = (int32_t)(before + depth + i);
    }
    for (int64_t g = 0; g < count; g++) {
        int64_t *rows = p->row_of + p->first[group[g]];
        for (int64_t i = 0; i < length; i++) {
            rows[depth + i] = row + i;
        }
        if (depth + length == p->lengths[group[g]]) {
            out->last_rows[group[g]]     = (int32_t)(row + length - 1);
            out->last_segments[group[g]] = index;
        }
    }
    out->forest.rows += length;
    return index;
}

static bool same_start(const packer *p, int32_t a, int32_t b, int64_t depth)
{
    return p->lengths[a] >= depth + PB_SHARE_MIN && p->lengths[b] >= depth + PB_SHARE_MIN &&
           memcmp(p->samples[a].ids + depth, p->samples[b].ids + depth,
                  PB_SHARE_MIN * sizeof(int32_t)) == 0;
}

/* Packs a group whose first `depth` tokens lie in `parent`. The group is reordered: classes in
 * order of their first member. Every level consumes at least PB_SHARE_MIN tokens, so the recursion
 * is as deep as the forest. */
static void split(packer *p, int32_t *group, int64_t count, int64_t depth, int32_t parent)
{
    int64_t begin = 0;
    while (begin < count) {
        int32_t lead = group[begin];
        int64_t end  = begin + 1;
        for (int64_t i = end; p->options->share && i < count; i++) {
            if (same_start(p, lead, group[i], depth)) {
                int32_t moved = group[i];
                memmove(group + end + 1, group + end, (size_t)(i - end) * sizeof *group);
                group[end++] = moved;
            }
        }
        if (end - begin == 1) {
            if (p->lengths[lead] > depth) {
                emit(p, group + begin, 1, depth, p->lengths[lead] - depth, parent);
            }
        } else {
            int64_t common = common_prefix(p, group + begin, end - begin, depth);
            int32_t shared = emit(p, group + begin, end - begin, depth, common, parent);
            split(p, group + begin, end - begin, depth + common, shared);
        }
        begin = end;
    }
}

void *batch_part(char *base, size_t *used, int64_t count, size_t size)
{
    void *at = base != NULL ? base + *used : NULL;
    *used += ((size_t)count * size + 63) / 64 * 64;
    return at;
}

size_t batch_lay_out(const batch_room *r, char *base, pb_batch *out)
{
    size_t used        = 0;
    out->segments      = batch_part(base, &used, r->segments, sizeof *out->segments);
    out->ids           = batch_part(base, &used, r->rows, sizeof *out->ids);
    out->positions     = batch_part(base, &used, r->rows, sizeof *out->positions);
    out->label_rows    = batch_part(base, &used, r->labels, sizeof *out->label_rows);
    out->label_slots   = batch_part(base, &used, r->labels, sizeof *out->label_slots);
    out->label_samples = batch_part(base, &used, r->labels, sizeof *out->label_samples);
    out->targets       = batch_part(base, &used, r->labels, sizeof *out->targets);
    out->out_rows      = batch_part(base, &used, r->outs, sizeof *out->out_rows);
    out->out_positions = batch_part(base, &used, r->outs, sizeof *out->out_positions);
    out->last_rows     = batch_part(base, &used, r->samples, sizeof *out->last_rows);
    out->last_segments = batch_part(base, &used, r->samples, sizeof *out->last_segments);
    return used;
}

pb_status batch_provide(pb_batch *out, size_t bytes)
{
    if (bytes > out->block_bytes) {
        pb_memory_free(out->block);
        out->block_bytes = 0;
        out->block       = pb_memory_new(bytes, 1);
        if (out->block == NULL) {
            return PB_ERR_MEMORY;
        }
        out->block_bytes = bytes;
    }
    return PB_OK;
}

/* The lists of the batch, followed by those of packing. */
static size_t lay_out(packer *p, char *base, const batch_room *r, int64_t tokens)
{
    size_t used = batch_lay_out(r, base, p->out);
    p->lengths  = batch_part(base, &used, r->samples, sizeof *p->lengths);
    p->first    = batch_part(base, &used, r->samples, sizeof *p->first);
    p->row_of   = batch_part(base, &used, tokens, sizeof *p->row_of);
    p->order    = batch_part(base, &used, r->samples, sizeof *p->order);
    p->start    = batch_part(base, &used, r->rows + 1, sizeof *p->start);
    return used;
}

static int64_t round_up(int64_t n, int64_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

int64_t pb_batch_padded_rows(int64_t rows)
{
    return round_up(rows, rows <= 256 ? 32 : rows <= 1024 ? 64 : rows <= 4096 ? 128 : 256);
}

/* Powers of two while there are few; then as rows, of which large batches may have hardly more. */
int64_t pb_batch_padded_labels(int64_t labels)
{
    int64_t padded = 8;
    while (padded < labels && padded < 256) {
        padded *= 2;
    }
    return padded >= labels ? padded : pb_batch_padded_rows(labels);
}

static pb_status allocate(packer *p, int64_t count, int64_t tokens, int64_t labels)
{
    const pb_batch_options *o = p->options;
    int64_t rows              = p->out->virtual_rows + (o->square ? count * p->longest : tokens);
    int64_t outs              = labels > count ? labels : count;
    batch_room r              = {.segments = (o->square ? 3 : 2) * count + 3,
                                 .rows     = rows,
                                 .labels   = labels + (o->label_everywhere ? rows : 0),
                                 .outs     = o->out_everywhere && rows > outs ? rows : outs,
                                 .samples  = count};
    if (p->options->pad && labels > 0) {
        r.labels = pb_batch_padded_labels(r.labels);
        r.outs   = pb_batch_padded_labels(r.outs);
        r.rows   = pb_batch_padded_rows(r.rows + r.outs);
    }
    PB_TRY(batch_provide(p->out, lay_out(p, NULL, &r, tokens)));
    lay_out(p, p->out->block, &r, tokens);
    return PB_OK;
}

/* The root of virtual rows or keys; -1 where there is neither. */
static int32_t emit_root(pb_batch *out)
{
    int64_t length = out->virtual_rows + out->virtual_keys;
    if (length == 0) {
        return -1;
    }
    out->segments[0] = (pb_segment){.rows = out->virtual_rows, .length = length, .parent = -1};
    for (int64_t i = 0; i < out->virtual_rows; i++) {
        out->ids[i]       = -1;
        out->positions[i] = (int32_t)(out->virtual_keys + i);
    }
    out->forest.rows  = out->virtual_rows;
    out->forest.count = 1;
    return 0;
}

/* Sorts labels by row with one counting pass, and lists the distinct rows. */
static void place_labels(packer *p, int64_t count)
{
    pb_batch *out  = p->out;
    int64_t *start = p->start;
    memset(start, 0, (size_t)(out->forest.rows + 1) * sizeof *start);
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t s = 0; s < count; s++) {
            const pb_sample *sample = &p->samples[s];
            for (int64_t t = 1; t < sample->length; t++) {
                int32_t label = pb_sample_label(sample, t);
                if (label == PB_LABEL_NONE) {
                    continue;
                }
                int64_t row = p->row_of[p->first[s] + t - 1];
                if (pass == 0) {
                    start[row + 1]++;
                    continue;
                }
                int64_t n             = start[row]++;
                out->label_rows[n]    = (int32_t)row;
                out->label_samples[n] = (int32_t)s;
                out->targets[n]       = label;
            }
        }
        for (int64_t row = 0; pass == 0 && row < out->forest.rows; row++) {
            start[row + 1] += start[row];
        }
    }
    out->labels        = out->forest.rows > 0 ? start[out->forest.rows - 1] : 0;
    out->padded_labels = out->labels;
    for (int64_t n = 0; n < out->labels && !p->options->out_everywhere; n++) {
        if (n == 0 || out->label_rows[n] != out->label_rows[n - 1]) {
            out->out_rows[out->outs++] = out->label_rows[n];
        }
        out->label_slots[n] = (int32_t)(out->outs - 1);
    }
}

/* Without labels the outputs are the last rows, sorted, each once. */
static void place_last_rows(pb_batch *out)
{
    for (int64_t s = 0; s < out->samples; s++) {
        int32_t row = out->last_rows[s];
        int64_t at  = out->outs;
        while (at > 0 && out->out_rows[at - 1] > row) {
            at--;
        }
        if (row < 0 || (at > 0 && out->out_rows[at - 1] == row)) {
            continue;
        }
        memmove(out->out_rows + at + 1, out->out_rows + at,
                (size_t)(out->outs - at) * sizeof *out->out_rows);
        out->out_rows[at] = row;
        out->outs++;
    }
}

/* All at position 0: the padding asks for no longer rope than the samples do. */
static void add_padding(pb_batch *out, int64_t rows)
{
    int64_t first = out->forest.rows;
    if (rows == first) {
        return;
    }
    out->segments[out->forest.count++] = (pb_segment){.row    = first,
                                                      .rows   = rows - first,
                                                      .key    = out->virtual_keys + first,
                                                      .length = rows - first,
                                                      .parent = -1};
    memset(out->ids + first, 0, (size_t)(rows - first) * sizeof *out->ids);
    memset(out->positions + first, 0, (size_t)(rows - first) * sizeof *out->positions);
    out->forest.rows = rows;
}

/* Every sample gets as many rows as the longest one has. */
static void square(packer *p, int64_t count)
{
    for (int64_t s = 0; s < count; s++) {
        add_padding(p->out, p->out->forest.rows + p->longest - p->lengths[s]);
    }
}

static void widen_outs(pb_batch *out)
{
    out->outs = out->forest.rows;
    for (int64_t row = 0; row < out->outs; row++) {
        out->out_rows[row] = (int32_t)row;
    }
    for (int64_t n = 0; n < out->labels; n++) {
        out->label_slots[n] = out->label_rows[n];
    }
}

static void add_padded_label(pb_batch *out, int64_t slot)
{
    int64_t n             = out->padded_labels++;
    out->label_slots[n]   = (int32_t)slot;
    out->label_rows[n]    = out->out_rows[slot];
    out->label_samples[n] = -1;
    out->targets[n]       = -1;
}

/* Those that are no sample's label become the padding's. */
static void widen_labels(pb_batch *out)
{
    for (int64_t slot = 0, n = 0; slot < out->outs; slot++) {
        bool own = n < out->labels && out->label_slots[n] == slot;
        while (n < out->labels && out->label_slots[n] == slot) {
            n++;
        }
        if (!own) {
            add_padded_label(out, slot);
        }
    }
}

/* The last rows are wanted, and the last wanted one has the labels. */
static pb_status pad(pb_batch *out)
{
    int64_t outs   = pb_batch_padded_labels(out->outs);
    int64_t labels = pb_batch_padded_labels(out->padded_labels);
    int64_t rows   = pb_batch_padded_rows(out->forest.rows + outs - out->outs);
    if (rows > INT32_MAX) {
        return PB_FAIL(PB_ERR_ARGUMENT, "a batch of %" PRId64 " rows is too large", rows);
    }
    add_padding(out, rows);
    while (out->outs < outs) {
        out->out_rows[out->outs] = (int32_t)(rows - (outs - out->outs));
        out->outs++;
    }
    while (out->padded_labels < labels) {
        add_padded_label(out, outs - 1);
    }
    return PB_OK;
}

/* Tokens of all samples. Lengths are checked before anything of theirs is read. */
static pb_status count_tokens(packer *p, int64_t count, int64_t *total)
{
    *total = 0;
    for (int64_t s = 0; s < count; s++) {
        if (p->samples[s].length < 1) {
            return PB_FAIL(PB_ERR_ARGUMENT, "sample %" PRId64 " of the batch has no tokens", s);
        }
        int64_t packed = packed_length(&p->samples[s], p->options->trim);
        p->longest     = packed > p->longest ? packed : p->longest;
        *total += p->samples[s].length;
    }
    int64_t rows = p->out->virtual_rows + (p->options->square ? count * p->longest : *total);
    if (rows > INT32_MAX) {
        return PB_FAIL(PB_ERR_ARGUMENT, "a batch of %" PRId64 " rows is too large", rows);
    }
    return PB_OK;
}

static int64_t count_labels(const packer *p, int64_t count)
{
    int64_t labels = 0;
    for (int64_t s = 0; s < count; s++) {
        for (int64_t t = 1; t < p->samples[s].length; t++) {
            labels += pb_sample_label(&p->samples[s], t) != PB_LABEL_NONE;
        }
    }
    return labels;
}

/* Outputs and labels. */
static void place(packer *p, int64_t count, int64_t labels)
{
    if (labels > 0) {
        place_labels(p, count);
    } else if (!p->options->out_everywhere) {
        place_last_rows(p->out);
    }
    if (p->options->square) {
        square(p, count);
    }
    if (p->options->out_everywhere) {
        widen_outs(p->out);
    }
    if (p->options->label_everywhere && labels > 0) {
        widen_labels(p->out);
    }
}

static pb_status pack(packer *p, int64_t count)
{
    pb_batch *out = p->out;
    int64_t total;
    PB_TRY(count_tokens(p, count, &total));
    int64_t labels = count_labels(p, count);
    PB_TRY(allocate(p, count, total, labels));
    out->tokens  = total;
    out->samples = count;
    for (int64_t s = 0, at = 0; s < count; s++) {
        p->lengths[s]         = packed_length(&p->samples[s], p->options->trim);
        p->first[s]           = at;
        p->order[s]           = (int32_t)s;
        out->last_rows[s]     = -1;
        out->last_segments[s] = 0;
        at += p->lengths[s];
    }
    split(p, p->order, count, 0, emit_root(out));
    place(p, count, labels);
    if (p->options->pad && labels > 0) {
        PB_TRY(pad(out));
    }
    out->forest.segments = out->segments;
    out->forest.keys     = out->virtual_keys + out->forest.rows;
    for (int64_t u = 0; u < out->outs; u++) {
        out->out_positions[u] = out->positions[out->out_rows[u]];
    }
    return PB_OK;
}

pb_status pb_batch_rebuild(const pb_sample *samples, int64_t count, const pb_batch_options *options,
                           pb_batch *batch)
{
    pb_status status;
    *batch   = (pb_batch){.virtual_rows = options->virtual_rows,
                          .virtual_keys = options->virtual_keys,
                          .block        = batch->block,
                          .block_bytes  = batch->block_bytes};
    packer p = {.samples = samples, .options = options, .out = batch};
    if (count < 1) {
        status = PB_FAIL(PB_ERR_ARGUMENT, "a batch needs at least one sample");
        goto err_batch;
    }
    PB_TRY_GOTO(status, pack(&p, count), err_batch);
    return PB_OK;
err_batch:
    pb_batch_clear(batch);
    return status;
}

pb_status pb_batch_build(const pb_sample *samples, int64_t count, const pb_batch_options *options,
                         pb_batch *out)
{
    *out = (pb_batch){0};
    return PB_FRAME(pb_batch_rebuild(samples, count, options, out));
}

void pb_batch_clear(pb_batch *batch)
{
    pb_memory_free(batch->block);
    *batch = (pb_batch){0};
}
