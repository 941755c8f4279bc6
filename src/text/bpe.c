// SPDX-License-Identifier: Apache-2.0
/* Encoding of one word: it becomes one symbol per character (or byte), then the neighbouring pair
 * of lowest rank, leftmost first, is merged until none is left. Short pieces scan an array of
 * ranks; long ones use a heap of candidates over a linked list, O(n log n). */
#include "bpe.h"

#include "unicode.h"

#include "pb/memory.h"
#include "pb/utf8.h"

#include <inttypes.h>
#include <string.h>

enum { SCAN_LIMIT = 40 };

#define NO_RANK UINT32_MAX

/* The merge of two ids, NULL when there is none. */
static inline const text_merge *find_merge(const text_bpe *bpe, int32_t left, int32_t right)
{
    uint64_t key  = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    uint32_t slot = bpe_hash(key) & bpe->merge_mask;

    while (bpe->merges[slot].key != key) {
        if (bpe->merges[slot].key == NO_MERGE) {
            return NULL;
        }
        slot = (slot + 1) & bpe->merge_mask;
    }
    return &bpe->merges[slot];
}

static pb_status reserve_symbols(text_scratch *w, size_t count)
{
    if (count <= w->symbol_room) {
        return PB_OK;
    }
    size_t room     = count + count / 2 + SCAN_LIMIT;
    symbol *symbols = pb_memory_resize(w->symbols, room, sizeof *symbols);
    if (symbols == NULL) {
        return PB_ERR_MEMORY;
    }
    w->symbols            = symbols;
    candidate *candidates = pb_memory_resize(w->candidates, 3 * room, sizeof *candidates);
    if (candidates == NULL) {
        return PB_ERR_MEMORY;
    }
    w->candidates  = candidates;
    w->symbol_room = room;
    return PB_OK;
}

/* The symbols of a piece before any merge. */
typedef struct symboliser {
    const text_bpe *bpe;
    symbol *symbols;
    size_t count;
    bool unknown; /* an unknown token is pending */
} symboliser;

static inline void push_symbol(symboliser *s, int32_t id)
{
    s->symbols[s->count++].id = id;
}

static void push_known(symboliser *s, int32_t id)
{
    if (s->unknown) {
        push_symbol(s, s->bpe->unk);
        s->unknown = false;
    }
    push_symbol(s, id);
}

/* A character without a token: its bytes where all of them have one, else the unknown token. It
 * stays pending, so that a run of them can become one; bytes do not end the run (as in HF). */
static void push_unknown(symboliser *s, const char *c, size_t size)
{
    const text_bpe *bpe = s->bpe;
    bool all            = bpe->byte_fallback && !bpe->by_bytes;

    for (size_t i = 0; all && i < size; i++) {
        all = bpe->byte_ids[(uint8_t)c[i]] >= 0;
    }
    if (all) {
        for (size_t i = 0; i < size; i++) {
            push_symbol(s, bpe->byte_ids[(uint8_t)c[i]]);
        }
        return;
    }
    if (bpe->unk >= 0) {
        if (s->unknown && !bpe->fuse_unk) {
            push_symbol(s, bpe->unk);
        }
        s->unknown = true;
    }
}

static size_t symbolise(const text_bpe *bpe, const char *piece, size_t length, symbol *symbols)
{
    symboliser s = {.bpe = bpe, .symbols = symbols};

    for (size_t at = 0, size = 1; at < length; at += size) {
        int32_t id = -1;
        if (bpe->by_bytes) {
            id = bpe->byte_ids[(uint8_t)piece[at]];
        } else {
            size = pb_utf8_size(piece[at]);
            id   = lexicon_find(bpe->vocabulary, piece + at, size);
        }
        if (id >= 0) {
            push_known(&s, id);
        } else {
            push_unknown(&s, piece + at, size);
        }
    }
    if (s.unknown) {
        push_symbol(&s, bpe->unk);
    }
    return s.count;
}

/* The rank and the result of merging a symbol with the next one. */
static void look_up_pair(const text_bpe *bpe, const symbol *first, uint32_t *rank, int32_t *merged)
{
    const text_merge *m = find_merge(bpe, first[0].id, first[1].id);

    *rank   = m == NULL ? NO_RANK : m->rank;
    *merged = m == NULL ? -1 : m->id;
}

/* Merges a short piece in place; returns how many symbols are left. */
static size_t merge_by_scan(const text_bpe *bpe, symbol *symbols, size_t count)
{
    uint32_t ranks[SCAN_LIMIT]; /* of the pair that begins here */
    int32_t merged[SCAN_LIMIT];

    for (size_t i = 0; i + 1 < count; i++) {
        look_up_pair(bpe, &symbols[i], &ranks[i], &merged[i]);
    }
    if (count > 0) {
        ranks[count - 1]  = NO_RANK;
        merged[count - 1] = -1;
    }
    while (count > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < count; i++) {
            best = ranks[i] < ranks[best] ? i : best;
        }
        if (ranks[best] == NO_RANK) {
            break;
        }
        symbols[best].id = merged[best];
        count--;
        for (size_t i = best + 1; i < count; i++) {
            symbols[i].id = symbols[i + 1].id;
            ranks[i]      = ranks[i + 1];
            merged[i]     = merged[i + 1];
        }
        for (size_t i = best > 0 ? best - 1 : 0; i <= best && i + 1 < count; i++) {
            look_up_pair(bpe, &symbols[i], &ranks[i], &merged[i]);
        }
    }
    return count;
}

static void heap_push(candidate *heap, size_t *count, candidate item)
{
    size_t i = (*count)++;

    while (i > 0 && heap[(i - 1) / 2].key > item.key) {
        heap[i] = heap[(i - 1) / 2];
        i       = (i - 1) / 2;
    }
    heap[i] = item;
}

static candidate heap_pop(candidate *heap, size_t *count)
{
    candidate top  = heap[0];
    candidate last = heap[--*count];
    size_t i       = 0;

    for (size_t child = 1; child < *count; child = 2 * i + 1) {
        if (child + 1 < *count && heap[child + 1].key < heap[child].key) {
            child++;
        }
        if (heap[child].key >= last.key) {
            break;
        }
        heap[i] = heap[child];
        i       = child;
    }
    heap[i] = last;
    return top;
}

/* Offers the pair that begins at symbol `left` to the heap. */
static void offer(const text_bpe *bpe, text_scratch *w, size_t *heap, int32_t left)
{
    int32_t right = w->symbols[left].next;

    if (right >= 0) {
        const text_merge *m = find_merge(bpe, w->symbols[left].id, w->symbols[right].id);
        if (m != NULL) {
            uint64_t key = (uint64_t)m->rank << 32 | (uint32_t)left;
            heap_push(w->candidates, heap, (candidate){key, m->id});
        }
    }
}

/* A candidate is stale when its pair has changed since it was offered: then the pair now there has
 * a different merge. Every symbol is offered once at the start and every merge offers two, so three
 * times the symbols is room enough. */
static size_t merge_by_heap(const text_bpe *bpe, text_scratch *w, size_t count)
{
    symbol *symbols = w->symbols;
    size_t heap     = 0;
    size_t left     = 0;

    for (size_t i = 0; i < count; i++) {
        symbols[i].previous = (int32_t)i - 1;
        symbols[i].next     = i + 1 < count ? (int32_t)i + 1 : -1;
    }
    for (size_t i = 0; i + 1 < count; i++) {
        offer(bpe, w, &heap, (int32_t)i);
    }
    while (heap > 0) {
        candidate top = heap_pop(w->candidates, &heap);
        int32_t at    = (int32_t)(top.key & UINT32_MAX);
        int32_t right = symbols[at].next;
        if (symbols[at].id < 0 || right < 0) {
            continue;
        }
        const text_merge *m = find_merge(bpe, symbols[at].id, symbols[right].id);
        if (m == NULL || m->id != top.id) {
            continue;
        }
        symbols[at].id    = m->id;
        symbols[at].next  = symbols[right].next;
        symbols[right].id = -1;
        if (symbols[at].next >= 0) {
            symbols[symbols[at].next].previous = at;
        }
        if (symbols[at].previous >= 0) {
            offer(bpe, w, &heap, symbols[at].previous);
        }
        offer(bpe, w, &heap, at);
    }
    for (size_t i = 0; i < count; i++) {
        if (symbols[i].id >= 0) {
            symbols[left++].id = symbols[i].id;
        }
    }
    return left;
}

pb_status bpe_merge(const text_bpe *bpe, text_scratch *scratch, const char *word, size_t length,
                    pb_ids *out)
{
    if (bpe->whole != NULL) {
        int32_t id = lexicon_find(bpe->pieces, word, length);
        if (id >= 0 && bpe->whole[id]) {
            return pb_ids_append(out, id);
        }
    }
    if (length > INT32_MAX / 4) {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "tokenizer: a word of %zu bytes is too long; cut the text", length);
    }
    PB_TRY(reserve_symbols(scratch, length));
    size_t count = symbolise(bpe, word, length, scratch->symbols);
    count        = count <= SCAN_LIMIT ? merge_by_scan(bpe, scratch->symbols, count)
                                       : merge_by_heap(bpe, scratch, count);
    PB_TRY(pb_ids_reserve(out, (int64_t)count));
    for (size_t i = 0; i < count; i++) {
        out->items[out->count++] = scratch->symbols[i].id;
    }
    return PB_OK;
}
