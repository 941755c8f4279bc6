// SPDX-License-Identifier: Apache-2.0
#include "shape.h"

#include "pb/memory.h"

#include <string.h>

void code_shapes_clear(code_shapes *s)
{
    code_table_clear(&s->words);
    code_table_clear(&s->shapes);
}

pb_status code_shapes_word(code_shapes *s, const char *text, int32_t *word)
{
    return code_table_add(&s->words, text, strlen(text), word);
}

pb_status code_shapes_add(code_shapes *s, int32_t word, const int32_t (*children)[2], int64_t count,
                          int32_t *shape)
{
    int32_t few[64];
    int32_t *list    = few;
    int64_t size     = 1 + 2 * count;
    pb_status status = PB_OK;

    if (size > (int64_t)(sizeof few / sizeof *few)) {
        PB_TRY(PB_ALLOC(list, size));
    }
    list[0] = word;
    for (int64_t i = 0; i < count; i++) {
        list[1 + 2 * i] = children[i][0];
        list[2 + 2 * i] = children[i][1];
    }
    status = code_table_add_list(&s->shapes, list, size, shape);
    if (list != few) {
        pb_memory_free(list);
    }
    return status;
}

typedef struct frame {
    int32_t shape;
    int64_t next; /* place in the shape's list */
} frame;

static pb_status put_word(const code_shapes *s, const char *before, int32_t word, const char *after,
                          pb_string *out)
{
    size_t length    = 0;
    const char *text = code_table_bytes(&s->words, word, &length);

    PB_TRY(pb_string_puts(out, before));
    PB_TRY(pb_string_append(out, text, length));
    return pb_string_puts(out, after);
}

/* The text decides the depth, so the stack is our own. */
static pb_status print(const code_shapes *s, int32_t shape, frame **stack, pb_string *out)
{
    int64_t depth = 0;

    PB_TRY(PB_GROW(*stack, 1));
    (*stack)[depth++] = (frame){shape, 0};
    while (depth > 0) {
        frame *top          = &(*stack)[depth - 1];
        int64_t size        = 0;
        const int32_t *list = code_table_list(&s->shapes, top->shape, &size);
        if (top->next == 0) {
            PB_TRY(put_word(s, "(", list[0], "", out));
            top->next = 1;
        }
        if (top->next == size) {
            PB_TRY(pb_string_puts(out, ")"));
            depth--;
            continue;
        }
        PB_TRY(pb_string_puts(out, " "));
        if (list[top->next] >= 0) {
            PB_TRY(put_word(s, "", list[top->next], ": ", out));
        }
        int32_t child = list[top->next + 1];
        top->next += 2;
        PB_TRY(PB_GROW(*stack, depth + 1));
        (*stack)[depth++] = (frame){child, 0};
    }
    return PB_OK;
}

pb_status code_shapes_print(const code_shapes *s, int32_t shape, pb_string *out)
{
    frame *stack     = NULL;
    pb_status status = print(s, shape, &stack, out);

    pb_memory_free(stack);
    return status;
}
