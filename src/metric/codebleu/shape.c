// SPDX-License-Identifier: Apache-2.0
#include "shape.h"

#include "pb/memory.h"

#include <string.h>

void code_shapes_clear(code_shapes *s)
{
    pb_interned_clear(&s->words);
    pb_interned_clear(&s->shapes);
}

pb_status code_shapes_word(code_shapes *s, const char *text, int32_t *word)
{
    return pb_interned_add(&s->words, text, strlen(text), word);
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
    status = pb_interned_add_list(&s->shapes, list, size, shape);
    if (list != few) {
        pb_memory_free(list);
    }
    return status;
}
