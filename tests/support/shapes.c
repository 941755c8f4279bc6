// SPDX-License-Identifier: Apache-2.0
#include "shapes.h"

#include "pb/memory.h"

typedef struct frame {
    int32_t shape;
    int64_t next; /* place in the shape's list */
} frame;

static pb_status put_word(const code_shapes *s, const char *before, int32_t word, const char *after,
                          pb_string *out)
{
    size_t length    = 0;
    const char *text = pb_interned_bytes(&s->words, word, &length);

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
        const int32_t *list = pb_interned_list(&s->shapes, top->shape, &size);
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

pb_status shapes_print(const code_shapes *s, int32_t shape, pb_string *out)
{
    frame *stack     = NULL;
    pb_status status = print(s, shape, &stack, out);

    pb_memory_free(stack);
    return status;
}
