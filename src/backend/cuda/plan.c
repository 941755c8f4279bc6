// SPDX-License-Identifier: Apache-2.0
/* Cuts a forest into the tables of attention.h.
 *
 * Cuts follow the segments of a chain or a subtree alone, never the rest of the forest. The order
 * in which tiles and parts are started, heaviest first, changes no result. */
#include "plan.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 256, LEAST_ROOM = 8 };

/* A table under way. */
typedef struct table {
    void *data;
    int64_t count;
    size_t size; /* bytes of an item */
} table;

enum { COUNTS, TILES, RUNS, INDEX, ORDER, PIECES, LONES, PARTS, RANGES, SUMS, TABLES };

/* Query tiles of a segment, a number of the list of segments, and the place in `seen` where those
 * of its descendants begin. */
typedef struct segment_tiles {
    int32_t tile, count;
    int32_t seen, seen_count;
} segment_tiles;

/* What is sorted: heaviest first. */
typedef struct weighed {
    int64_t weight;
    int32_t index;
} weighed;

struct plan_cut {
    table tables[TABLES];
    segment_tiles *segments; /* [segments] */
    int32_t *seen;           /* per segment: itself and its descendants, those with queries */
    weighed *weights;
    attention_part *sorted;
    int32_t dense, piece_rooms, part_rooms;
    int64_t queries, keys;
};

static const size_t SIZES[TABLES] = {
    [COUNTS] = sizeof(attention_counts), [TILES] = sizeof(attention_tile),
    [RUNS] = sizeof(attention_run),      [INDEX] = sizeof(int32_t),
    [ORDER] = sizeof(int32_t),           [PIECES] = sizeof(attention_piece),
    [LONES] = sizeof(attention_lone),    [PARTS] = sizeof(attention_part),
    [RANGES] = sizeof(attention_range),  [SUMS] = sizeof(attention_sum),
};

static pb_status append(plan_cut *cut, int which, const void *item)
{
    table *t = &cut->tables[which];
    if (t->count >= ATTENTION_FAR) {
        return PB_FAIL(PB_ERR_UNSUPPORTED, "attention plan: more than %d tiles", ATTENTION_FAR);
    }
    PB_TRY(pb_memory_grow(&t->data, (size_t)t->count + 1, SIZES[which]));
    memcpy((char *)t->data + (size_t)t->count * SIZES[which], item, SIZES[which]);
    t->count++;
    return PB_OK;
}

static attention_tile *tile_at(const plan_cut *cut, int64_t i)
{
    return (attention_tile *)cut->tables[TILES].data + i;
}

static attention_run *run_at(const plan_cut *cut, int64_t i)
{
    return (attention_run *)cut->tables[RUNS].data + i;
}

static int64_t clamp(int64_t x, int64_t low, int64_t high)
{
    return x < low ? low : (x > high ? high : x);
}

/* The bounds of what queries of segment `of` see of keys of `segment`; see attention.h. */
static void bounds_of(const pb_attention_args *args, int32_t segment, int32_t of, int32_t *low,
                      int32_t *high)
{
    const pb_segment *s = args->forest->segments;
    int64_t window      = args->window > ATTENTION_FAR ? ATTENTION_FAR : args->window;
    int64_t first       = s[of].position - s[segment].position - window + 1;
    *low  = window > 0 ? (int32_t)clamp(first, -ATTENTION_FAR, ATTENTION_FAR) : -ATTENTION_FAR;
    *high = segment == of ? 1 : ATTENTION_FAR;
}

/* Tiles, forward ------------------------------------------------------------------------------ */

static pb_status add_runs(plan_cut *cut, const pb_attention_args *args, int32_t of,
                          attention_tile *tile)
{
    const pb_segment *s = args->forest->segments;
    tile->run           = (int32_t)cut->tables[RUNS].count;
    tile->runs          = 0;
    for (int32_t i = of; i >= 0; i = s[i].parent) {
        attention_run run = {.key = (int32_t)s[i].key};
        bounds_of(args, i, of, &run.low, &run.high);
        int64_t first = clamp((int64_t)tile->first + run.low, 0, s[i].length);
        int64_t end   = clamp((int64_t)tile->last + run.high, 0, s[i].length);
        if (first < end) {
            run.first = (int32_t)(first / ATTENTION_KEYS * ATTENTION_KEYS);
            run.end   = (int32_t)end;
            PB_TRY(append(cut, RUNS, &run));
            tile->runs++;
        }
    }
    return PB_OK;
}

/* Key tiles of a query tile. */
static int64_t steps_of(const plan_cut *cut, const attention_tile *tile)
{
    int64_t steps = 0;
    for (int32_t r = tile->run; r < tile->run + tile->runs; r++) {
        const attention_run *run = run_at(cut, r);
        steps += (run->end - run->first + ATTENTION_KEYS - 1) / ATTENTION_KEYS;
    }
    return steps;
}

/* The key tile after the one at key *first of *run. */
static void next_step(const plan_cut *cut, int32_t *run, int32_t *first)
{
    *first += ATTENTION_KEYS;
    if (*first >= run_at(cut, *run)->end) {
        (*run)++;
        *first = run_at(cut, *run)->first;
    }
}

/* The pieces of the only query of a segment. */
static pb_status add_pieces(plan_cut *cut, int32_t index)
{
    const attention_tile tile = *tile_at(cut, index);
    int64_t left              = steps_of(cut, &tile);
    bool several              = left > ATTENTION_STEPS;
    attention_lone lone       = {.slot = tile.slot, .room = cut->piece_rooms};
    attention_piece piece     = {
            .tile = index, .run = tile.run, .first = run_at(cut, tile.run)->first, .room = -1};
    while (left > 0) {
        piece.steps = left < ATTENTION_STEPS ? (int32_t)left : ATTENTION_STEPS;
        piece.room  = several ? cut->piece_rooms : -1;
        PB_TRY(append(cut, PIECES, &piece));
        cut->piece_rooms += several;
        lone.pieces++;
        left -= piece.steps;
        for (int32_t i = 0; i < piece.steps && left > 0; i++) {
            next_step(cut, &piece.run, &piece.first);
        }
    }
    return several ? append(cut, LONES, &lone) : PB_OK;
}

/* Queries slot … last - 1, which are those of a segment. */
static pb_status add_tiles(plan_cut *cut, const pb_attention_args *args, int32_t segment,
                           int64_t slot, int64_t last)
{
    int64_t group   = args->heads / args->kv_heads;
    int64_t most    = ATTENTION_ROWS / group > 1 ? ATTENTION_ROWS / group : 1;
    int32_t *index  = cut->tables[INDEX].data;
    int32_t tile    = (int32_t)cut->tables[TILES].count;
    int64_t queries = last - slot;
    for (; slot < last; slot += most) {
        int64_t count    = last - slot < most ? last - slot : most;
        attention_tile t = {.slot  = (int32_t)slot,
                            .count = (int32_t)count,
                            .first = index[slot],
                            .last  = index[slot + count - 1]};
        PB_TRY(add_runs(cut, args, segment, &t));
        PB_TRY(append(cut, TILES, &t));
    }
    cut->segments[segment].tile  = tile;
    cut->segments[segment].count = (int32_t)cut->tables[TILES].count - tile;
    return queries == 1 ? add_pieces(cut, tile) : PB_OK;
}

static pb_status cut_queries(plan_cut *cut, const pb_attention_args *args)
{
    const pb_forest *forest = args->forest;
    int64_t slot            = 0;
    for (int64_t i = 0; i < forest->count; i++) {
        const pb_segment *s = &forest->segments[i];
        int64_t last        = slot;
        while (s->rows > 0 && last < cut->queries && query_row(args, last) < s->row + s->rows) {
            int32_t index = (int32_t)(query_row(args, last) - s->row + s->length - s->rows);
            PB_TRY(append(cut, INDEX, &index));
            last++;
        }
        PB_TRY(add_tiles(cut, args, (int32_t)i, slot, last));
        slot = last;
    }
    return PB_OK;
}

/* Parts, backward ----------------------------------------------------------------------------- */

/* Lists, for each segment, itself and its descendants, as far as they have queries. */
static pb_status list_descendants(plan_cut *cut, const pb_forest *forest)
{
    int64_t total = 0;
    for (int32_t i = 0; i < forest->count; i++) {
        for (int32_t j = i; j >= 0 && cut->segments[i].count > 0; j = forest->segments[j].parent) {
            cut->segments[j].seen_count++;
            total++;
        }
    }
    if (total >= ATTENTION_FAR) {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "attention plan: the chains of the forest have %" PRId64 " segments", total);
    }
    PB_TRY(PB_GROW(cut->seen, total + 1));
    int32_t at = 0;
    for (int32_t i = 0; i < forest->count; i++) {
        cut->segments[i].seen = at;
        at += cut->segments[i].seen_count;
        cut->segments[i].seen_count = 0;
    }
    for (int32_t i = 0; i < forest->count; i++) {
        for (int32_t j = i; j >= 0 && cut->segments[i].count > 0; j = forest->segments[j].parent) {
            segment_tiles *s                     = &cut->segments[j];
            cut->seen[s->seen + s->seen_count++] = i;
        }
    }
    return PB_OK;
}

/* The tiles of segment `of` some of whose queries may see keys first … end - 1 of `segment`. */
static attention_range range_of(const plan_cut *cut, const pb_attention_args *args, int32_t segment,
                                int32_t of, int64_t first, int64_t end)
{
    attention_range range = {.tile = cut->segments[of].tile};
    int32_t last          = range.tile + cut->segments[of].count;
    bounds_of(args, segment, of, &range.low, &range.high);
    while (range.tile < last && (int64_t)tile_at(cut, range.tile)->last + range.high <= first) {
        range.tile++;
    }
    while (range.tile + range.count < last &&
           (int64_t)tile_at(cut, range.tile + range.count)->first + range.low < end) {
        range.count++;
    }
    return range;
}

/* Cuts the `tiles` tiles of the ranges from `range` on. */
static pb_status add_parts(plan_cut *cut, attention_part part, int64_t most)
{
    int32_t tiles     = part.tiles;
    bool several      = tiles > most;
    attention_sum sum = {
        .key = part.key + part.first, .count = part.end - part.first, .room = cut->part_rooms};
    const table *ranges      = &cut->tables[RANGES];
    const attention_range *r = ranges->data;
    do {
        part.tiles = tiles < most ? tiles : (int32_t)most;
        part.room  = several ? cut->part_rooms : -1;
        PB_TRY(append(cut, PARTS, &part));
        cut->part_rooms += several;
        sum.parts++;
        tiles -= part.tiles;
        part.skip += part.tiles;
        while (part.range < ranges->count && part.skip >= r[part.range].count) {
            part.skip -= r[part.range].count;
            part.range++;
        }
    } while (tiles > 0);
    return several ? append(cut, SUMS, &sum) : PB_OK;
}

static pb_status cut_keys(plan_cut *cut, const pb_attention_args *args)
{
    PB_TRY(list_descendants(cut, args->forest));
    for (int32_t i = 0; i < args->forest->count; i++) {
        const pb_segment *s     = &args->forest->segments[i];
        const segment_tiles *to = &cut->segments[i];
        int64_t most            = to->count > ATTENTION_TILES ? to->count : ATTENTION_TILES;
        for (int64_t first = 0; first < s->length; first += ATTENTION_KEYS) {
            int64_t left        = s->length - first;
            attention_part part = {.key   = (int32_t)s->key,
                                   .first = (int32_t)first,
                                   .range = (int32_t)cut->tables[RANGES].count};
            part.end = part.first + (int32_t)(left < ATTENTION_KEYS ? left : ATTENTION_KEYS);
            for (int32_t k = 0; k < to->seen_count; k++) {
                attention_range range =
                    range_of(cut, args, i, cut->seen[to->seen + k], part.first, part.end);
                if (range.count > 0) {
                    PB_TRY(append(cut, RANGES, &range));
                    part.tiles += range.count;
                }
            }
            PB_TRY(add_parts(cut, part, most));
        }
        cut->keys += s->length;
    }
    return PB_OK;
}

/* Order --------------------------------------------------------------------------------------- */

static int heavier(const void *a, const void *b)
{
    const weighed *x = a;
    const weighed *y = b;
    return x->weight != y->weight ? (x->weight < y->weight) - (x->weight > y->weight)
                                  : (x->index > y->index) - (x->index < y->index);
}

static pb_status order_tiles(plan_cut *cut)
{
    int64_t count = cut->tables[TILES].count;
    PB_TRY(PB_GROW(cut->weights, count + 1));
    for (int32_t i = 0; i < count; i++) {
        cut->weights[i] = (weighed){steps_of(cut, tile_at(cut, i)), i};
    }
    for (int64_t i = 0; i < cut->tables[PIECES].count; i++) {
        const attention_piece *piece     = (const attention_piece *)cut->tables[PIECES].data + i;
        const attention_tile *tile       = tile_at(cut, piece->tile);
        cut->weights[piece->tile].weight = steps_of(cut, tile) - ATTENTION_FAR; /* last */
    }
    cut->dense = 0;
    for (int64_t i = 0; i < count; i++) {
        cut->dense += cut->weights[i].weight > 0;
    }
    qsort(cut->weights, (size_t)count, sizeof *cut->weights, heavier);
    for (int64_t i = 0; i < count; i++) {
        PB_TRY(append(cut, ORDER, &cut->weights[i].index));
    }
    return PB_OK;
}

static pb_status order_parts(plan_cut *cut)
{
    int64_t count         = cut->tables[PARTS].count;
    attention_part *parts = cut->tables[PARTS].data;
    PB_TRY(PB_GROW(cut->weights, count + 1));
    PB_TRY(PB_GROW(cut->sorted, count + 1));
    for (int32_t i = 0; i < count; i++) {
        cut->weights[i] = (weighed){parts[i].tiles, i};
    }
    qsort(cut->weights, (size_t)count, sizeof *cut->weights, heavier);
    for (int64_t i = 0; i < count; i++) {
        cut->sorted[i] = parts[cut->weights[i].index];
    }
    if (count > 0) {
        memcpy(parts, cut->sorted, (size_t)count * sizeof *parts);
    }
    return PB_OK;
}

/* The whole ----------------------------------------------------------------------------------- */

/* The next power of two; none for none. */
static int32_t room_for(int64_t count)
{
    int32_t room = count > 0 ? LEAST_ROOM : 0;
    while (room < count) {
        room *= 2;
    }
    return room;
}

static size_t table_bytes(const plan_cut *cut, int which)
{
    size_t bytes = (size_t)room_for(cut->tables[which].count) * SIZES[which];
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static attention_counts counts_of(const plan_cut *cut)
{
    return (attention_counts){.tiles  = (int32_t)cut->tables[TILES].count,
                              .dense  = cut->dense,
                              .pieces = (int32_t)cut->tables[PIECES].count,
                              .lones  = (int32_t)cut->tables[LONES].count,
                              .parts  = (int32_t)cut->tables[PARTS].count,
                              .sums   = (int32_t)cut->tables[SUMS].count};
}

static pb_status check_sizes(const pb_attention_args *args)
{
    const pb_forest *forest = args->forest;
    if (forest->keys >= ATTENTION_FAR || forest->rows >= ATTENTION_FAR ||
        forest->count >= ATTENTION_FAR || args->heads > UINT16_MAX) {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "attention plan: %" PRId64 " rows, %" PRId64 " keys, %" PRId64
                       " segments, %" PRId64 " heads are more than cuda takes",
                       forest->rows, forest->keys, forest->count, args->heads);
    }
    if (args->head_dim > ATTENTION_WIDTH) {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "attention plan: a head of cuda has at most %d columns, not %" PRId64,
                       ATTENTION_WIDTH, args->head_dim);
    }
    return PB_OK;
}

pb_status plan_cut_make(plan_cut **kept, const pb_attention_plan *plan, size_t *bytes)
{
    const pb_attention_args *args = &plan->args;
    PB_TRY(check_sizes(args));
    if (*kept == NULL) {
        PB_TRY(PB_ALLOC(*kept, 1));
    }
    plan_cut *cut   = *kept;
    size_t count    = (size_t)args->forest->count;
    cut->queries    = plan->queries;
    cut->keys       = 0;
    cut->part_rooms = cut->piece_rooms = 0;
    for (int i = 0; i < TABLES; i++) {
        cut->tables[i].count = 0;
    }
    PB_TRY(PB_GROW(cut->segments, count + 1));
    memset(cut->segments, 0, (count + 1) * sizeof *cut->segments);
    PB_TRY(cut_queries(cut, args));
    PB_TRY(order_tiles(cut));
    if (args->backward) {
        PB_TRY(cut_keys(cut, args));
        PB_TRY(order_parts(cut));
    }
    attention_counts counts = counts_of(cut);
    PB_TRY(append(cut, COUNTS, &counts));
    *bytes = 0;
    for (int i = 0; i < TABLES; i++) {
        *bytes += table_bytes(cut, i);
    }
    return PB_OK;
}

void plan_cut_write(const plan_cut *cut, char *host, const char *device, cuda_plan *out)
{
    const char *at[TABLES];
    for (int i = 0; i < TABLES; i++) {
        const table *t = &cut->tables[i];
        if (t->count > 0) {
            memcpy(host, t->data, (size_t)t->count * SIZES[i]);
        }
        at[i] = device;
        host += table_bytes(cut, i);
        device += table_bytes(cut, i);
    }
    attention_counts counts = counts_of(cut);
    *out                    = (cuda_plan){.queries     = cut->queries,
                                          .keys        = cut->keys,
                                          .piece_rooms = cut->piece_rooms,
                                          .part_rooms  = cut->part_rooms};
    out->cut                = (attention_cut){.counts = (const void *)at[COUNTS],
                                              .tiles  = (const void *)at[TILES],
                                              .runs   = (const void *)at[RUNS],
                                              .index  = (const void *)at[INDEX],
                                              .order  = (const void *)at[ORDER],
                                              .pieces = (const void *)at[PIECES],
                                              .lones  = (const void *)at[LONES],
                                              .parts  = (const void *)at[PARTS],
                                              .ranges = (const void *)at[RANGES],
                                              .sums   = (const void *)at[SUMS],
                                              .room   = {.tiles  = room_for(counts.tiles),
                                                         .dense  = room_for(counts.dense),
                                                         .pieces = room_for(counts.pieces),
                                                         .lones  = room_for(counts.lones),
                                                         .parts  = room_for(counts.parts),
                                                         .sums   = room_for(counts.sums)}};
}

void plan_cut_free(plan_cut *cut)
{
    if (cut == NULL) {
        return;
    }
    for (int i = 0; i < TABLES; i++) {
        pb_memory_free(cut->tables[i].data);
    }
    pb_memory_free(cut->segments);
    pb_memory_free(cut->seen);
    pb_memory_free(cut->weights);
    pb_memory_free(cut->sorted);
    pb_memory_free(cut);
}
