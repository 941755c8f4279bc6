// SPDX-License-Identifier: Apache-2.0
/* SentencePiece keeps no merges: any two neighbours that make a piece may be merged, the piece of
 * highest score first. As a list of merges: for every piece all ways to cut it into two pieces. */
#include "compose.h"

#include "lexicon.h"
#include "unicode.h"

#include "pb/memory.h"
#include "pb/utf8.h"

#include <stdlib.h>

typedef struct cut {
    float score; /* of the whole */
    int32_t whole, left, right;
} cut;

typedef struct cuts {
    cut *items;
    size_t count;
} cuts;

static pb_status push(cuts *list, cut item)
{
    PB_TRY(PB_GROW(list->items, list->count + 1));
    list->items[list->count++] = item;
    return PB_OK;
}

/* Highest score first; then by the ids of whole, left and right. */
static int compare(const void *a, const void *b)
{
    const cut *x = a;
    const cut *y = b;

    if (x->score != y->score) {
        return x->score > y->score ? -1 : 1;
    }
    if (x->whole != y->whole) {
        return x->whole < y->whole ? -1 : 1;
    }
    if (x->left != y->left) {
        return x->left < y->left ? -1 : 1;
    }
    return (x->right > y->right) - (x->right < y->right);
}

static bool is_merged(const text_piece *piece)
{
    return piece->type == PIECE_NORMAL || piece->type == PIECE_USER_DEFINED;
}

/* The pieces that merging may meet. Duplicate texts are detected later, when the vocabulary is
 * read; here the first one counts. */
static pb_status create_lexicon(const sentencepiece *sp, text_lexicon *out)
{
    size_t bytes = 0;

    for (size_t i = 0; i < sp->count; i++) {
        bytes += sp->pieces[i].length;
    }
    PB_TRY(lexicon_create(out, (int64_t)sp->count, (int64_t)sp->count, bytes));
    for (size_t i = 0; i < sp->count; i++) {
        if (is_merged(&sp->pieces[i])) {
            (void)lexicon_put(out, (int32_t)i, sp->pieces[i].text, sp->pieces[i].length);
        }
    }
    return PB_OK;
}

static pb_status cut_piece(const sentencepiece *sp, const text_lexicon *lexicon, size_t whole,
                           cuts *out)
{
    const text_piece *p = &sp->pieces[whole];

    for (size_t at = pb_utf8_size(p->text[0]); at < p->length; at += pb_utf8_size(p->text[at])) {
        int32_t left = lexicon_find(lexicon, p->text, at);
        if (left < 0) {
            continue;
        }
        int32_t right = lexicon_find(lexicon, p->text + at, p->length - at);
        if (right >= 0) {
            PB_TRY(push(out, (cut){p->score, (int32_t)whole, left, right}));
        }
    }
    return PB_OK;
}

pb_status compose_merges(const sentencepiece *sp, json_t *out)
{
    text_lexicon lexicon = {0};
    cuts list            = {0};
    pb_status status     = PB_OK;

    PB_TRY_GOTO(status, create_lexicon(sp, &lexicon), err_clear);
    for (size_t i = 0; i < sp->count; i++) {
        if (is_merged(&sp->pieces[i])) {
            PB_TRY_GOTO(status, cut_piece(sp, &lexicon, i, &list), err_clear);
        }
    }
    if (list.count > 1) {
        qsort(list.items, list.count, sizeof *list.items, compare);
    }
    for (size_t i = 0; i < list.count; i++) {
        const text_piece *left  = &sp->pieces[list.items[i].left];
        const text_piece *right = &sp->pieces[list.items[i].right];
        json_t *pair = json_pack("[s%, s%]", left->text, left->length, right->text, right->length);
        if (json_array_append_new(out, pair) != 0) {
            status = PB_FAIL(PB_ERR_MEMORY, "out of memory for its merges");
            goto err_clear;
        }
    }

err_clear:
    pb_memory_free(list.items);
    lexicon_clear(&lexicon);
    return status;
}
