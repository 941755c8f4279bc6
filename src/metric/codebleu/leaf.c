// SPDX-License-Identifier: Apache-2.0
#include "leaf.h"

#include "pb/memory.h"
#include "pb/utf8.h"

#include <string.h>

/* The rows of a text, and where its characters begin. */
typedef struct rows {
    const char *text;
    size_t length;
    size_t *starts; /* [count + 1] characters before each row; the last is past the end */
    size_t count;
    uint32_t *characters; /* [characters + 1] first byte of each; NULL: one byte each */
} rows;

void code_leaves_clear(code_leaves *l)
{
    pb_memory_free(l->leaves);
    pb_memory_free(l->before);
    pb_interned_clear(&l->names);
    *l = (code_leaves){0};
}

static pb_status rows_find(const char *text, size_t length, rows *r)
{
    size_t characters = (size_t)pb_utf8_count(text, length), row = 0;

    r->text   = text;
    r->length = length;
    r->count  = 1;
    for (size_t i = 0; i < length; i++) {
        r->count += text[i] == '\n';
    }
    PB_TRY(PB_ALLOC(r->starts, r->count + 1));
    if (characters < length) {
        PB_TRY(PB_ALLOC(r->characters, characters + 1));
        r->characters[characters] = (uint32_t)length;
    }
    characters = 0;
    for (size_t i = 0; i < length; i++) {
        if (!pb_utf8_continues(text[i])) {
            if (r->characters != NULL) {
                r->characters[characters] = (uint32_t)i;
            }
            characters++;
        }
        if (text[i] == '\n') {
            r->starts[++row] = characters;
        }
    }
    r->starts[r->count] = characters + 1; /* as if a line feed ended the last row */
    return PB_OK;
}

/* Characters [from, to) of a row, without its line feed, and not beyond it. */
static pb_status cut(const rows *r, size_t row, size_t from, size_t to, pb_string *out)
{
    size_t start = r->starts[row], end = r->starts[row + 1] - 1;

    to    = to < end - start ? start + to : end;
    from  = from < end - start ? start + from : end;
    start = r->characters != NULL ? r->characters[from] : from;
    end   = r->characters != NULL ? r->characters[to] : to;
    return end > start ? pb_string_append(out, r->text + start, end - start) : PB_OK;
}

static pb_status text_of(const rows *r, const code_node *n, pb_string *out)
{
    out->length = 0;
    if (n->start_row == n->end_row) {
        return cut(r, n->start_row, n->start_byte, n->end_byte, out);
    }
    PB_TRY(cut(r, n->start_row, n->start_byte, SIZE_MAX, out));
    for (size_t row = n->start_row + 1; row < n->end_row; row++) {
        PB_TRY(cut(r, row, 0, SIZE_MAX, out));
    }
    return cut(r, n->end_row, 0, n->end_byte, out);
}

static bool at_same_place(const code_node *a, const code_node *b)
{
    return a->start_row == b->start_row && a->start_byte == b->start_byte &&
           a->end_row == b->end_row && a->end_byte == b->end_byte;
}

static pb_status find(const code_tree *tree, const rows *r, pb_string *text, code_leaves *out)
{
    PB_TRY(PB_ALLOC(out->before, (size_t)tree->count + 1));
    PB_TRY(pb_string_append(text, "", 0));
    for (int32_t i = 0, below = 0; i < tree->count; i++) {
        const code_node *n = &tree->nodes[i];
        out->before[i]     = out->count;
        if (i < below || !code_is_leaf(n)) {
            continue;
        }
        below = n->end;
        PB_TRY(text_of(r, n, text));
        PB_TRY(PB_GROW(out->leaves, (size_t)out->count + 1));
        code_leaf *leaf = &out->leaves[out->count];
        *leaf           = (code_leaf){.node = i, .index = out->count};
        leaf->is_variable =
            text->length != strlen(n->type) || memcmp(text->data, n->type, text->length) != 0;
        PB_TRY(pb_interned_add(&out->names, text->data, text->length, &leaf->name));
        out->depth = n->depth > out->depth ? n->depth : out->depth;
        out->count++;
    }
    out->before[tree->count] = out->count;
    for (int32_t i = out->count - 2; i >= 0; i--) {
        code_leaf *leaf = &out->leaves[i];
        if (at_same_place(&tree->nodes[leaf->node], &tree->nodes[leaf[1].node])) {
            leaf->index = leaf[1].index;
        }
    }
    return PB_OK;
}

pb_status code_leaves_find(const code_tree *tree, const char *text, size_t length, code_leaves *out)
{
    rows r           = {0};
    pb_string piece  = {0};
    pb_status status = rows_find(text, length, &r);

    if (status == PB_OK) {
        status = find(tree, &r, &piece, out);
    }
    if (status != PB_OK) {
        code_leaves_clear(out);
    }
    pb_string_clear(&piece);
    pb_memory_free(r.starts);
    pb_memory_free(r.characters);
    return status;
}
