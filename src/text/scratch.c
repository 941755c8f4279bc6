// SPDX-License-Identifier: Apache-2.0
/* Creation of working memory, and the rule by which steps pass texts on: a step writes to a spare
 * buffer and adopts it; three buffers suffice for a pinned text, the current text and the next
 * one. */
#include "scratch.h"

#include "pb/memory.h"

/* Words kept: at most 4 MiB. */
enum { WORD_BITS_LEAST = 8, WORD_BITS_MOST = 16 };

/* Bytes of the matcher's own stack: the first block, and its limit. */
enum { STACK_FIRST = 32 * 1024, STACK_LIMIT = 4 * 1024 * 1024 };

pb_status spans_grow(text_spans *spans)
{
    size_t capacity = spans->capacity == 0 ? 64 : spans->capacity * 2;

    PB_TRY(PB_GROW(spans->items, capacity));
    spans->capacity = capacity;
    return PB_OK;
}

pb_status scratch_create(int64_t tokens, text_scratch **out)
{
    int bits         = WORD_BITS_LEAST;
    text_scratch *w  = NULL;
    pb_status status = PB_OK;

    PB_TRY(PB_ALLOC(w, 1));
    while (bits < WORD_BITS_MOST && tokens > (int64_t)1 << bits) {
        bits++;
    }
    w->word_shift = 64 - bits;
    PB_TRY_GOTO(status, PB_ALLOC(w->words, (size_t)1 << bits), err_destroy);
    w->match   = pcre2_match_data_create(1, NULL);
    w->context = pcre2_match_context_create(NULL);
    w->stack   = pcre2_jit_stack_create(STACK_FIRST, STACK_LIMIT, NULL);
    w->pinned  = SCRATCH_OUTSIDE;
    scratch_set(w, "", 0);
    if (w->match == NULL || w->context == NULL) {
        status = PB_FAIL(PB_ERR_MEMORY, "tokenizer: out of memory for the matcher");
        goto err_destroy;
    }
    /* Without a stack of its own (no JIT in this build of PCRE2) the matcher uses the heap. */
    if (w->stack != NULL) {
        pcre2_jit_stack_assign(w->context, NULL, w->stack);
    }
    *out = w;
    return PB_OK;

err_destroy:
    scratch_destroy(w);
    return status;
}

void scratch_destroy(text_scratch *w)
{
    if (w == NULL) {
        return;
    }
    for (int i = 0; i < SCRATCH_BUFFERS; i++) {
        pb_string_clear(&w->buffers[i]);
    }
    pb_memory_free(w->spans.items);
    pb_memory_free(w->other.items);
    pb_memory_free(w->raw.items);
    pb_memory_free(w->normalised.items);
    pb_memory_free(w->symbols);
    pb_memory_free(w->candidates);
    pb_memory_free(w->words);
    pcre2_match_data_free(w->match);
    pcre2_match_context_free(w->context);
    pcre2_jit_stack_free(w->stack);
    pb_memory_free(w);
}

void scratch_set(text_scratch *w, const char *text, size_t length)
{
    w->text   = text;
    w->length = length;
    w->holder = SCRATCH_OUTSIDE;
}

pb_string *scratch_spare(text_scratch *w)
{
    int i = 0;

    while (i == w->holder || i == w->pinned) {
        i++;
    }
    w->buffers[i].length = 0;
    return &w->buffers[i];
}

void scratch_adopt(text_scratch *w, const pb_string *buffer)
{
    w->text   = buffer->length == 0 ? "" : buffer->data;
    w->length = buffer->length;
    w->holder = (int)(buffer - w->buffers);
}

void scratch_swap_spans(text_scratch *w)
{
    text_spans spans = w->spans;

    w->spans       = w->other;
    w->other       = spans;
    w->other.count = 0;
}
