// SPDX-License-Identifier: Apache-2.0
/* A list of messages without duplicates. */
#include "pb/mistakes.h"
#include "pb/log.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

void pb_mistakes_clear(pb_mistakes *list)
{
    for (int64_t i = 0; i < list->count; i++) {
        pb_memory_free(list->items[i].text);
    }
    pb_memory_free(list->items);
    *list = (pb_mistakes){0};
}

static pb_status add(pb_mistakes *list, const char *text, int64_t *place)
{
    for (int64_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i].text, text) == 0) {
            list->items[i].count++;
            *place = i;
            return PB_OK;
        }
    }
    PB_TRY(PB_GROW(list->items, list->count + 1));
    pb_mistake *item = &list->items[list->count];
    *item            = (pb_mistake){.count = 1};
    PB_TRY(PB_TEXT(item->text, text));
    *place = list->count++;
    return PB_OK;
}

/* What is not a mistake of an input. */
static bool is_ours(pb_status status)
{
    return status == PB_ERR_MEMORY || status == PB_ERR_COMM || status == PB_STOPPED;
}

pb_status pb_mistakes_take(pb_mistakes *list, pb_status status, int64_t *place)
{
    int64_t unused = 0;
    place          = place != NULL ? place : &unused;
    *place         = -1;
    if (status == PB_OK || is_ours(status)) {
        return PB_FRAME(status);
    }
    PB_TRY(add(list, pb_error_message(), place));
    pb_error_clear();
    return PB_OK;
}

pb_status pb_mistake_keep(pb_status status, char **message)
{
    *message = NULL;
    if (status == PB_OK || is_ours(status)) {
        return PB_FRAME(status);
    }
    PB_TRY(PB_TEXT(*message, pb_error_message()));
    pb_error_clear();
    return PB_OK;
}

pb_status pb_mistakes_fail(const pb_mistakes *list, pb_status code, const char *what)
{
    if (list->count == 0) {
        return PB_OK;
    }
    if (list->count == 1) {
        return PB_FAIL(code, "%s", list->items[0].text);
    }
    for (int64_t i = 0; i < list->count; i++) {
        pb_log0_error("%s", list->items[i].text);
    }
    return PB_FAIL(code, "%s: the %" PRId64 " errors above", what, list->count);
}
