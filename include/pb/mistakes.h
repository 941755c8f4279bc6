// SPDX-License-Identifier: Apache-2.0
/* Errors of an input that are reported together, so that users need not fix it one message at a
 * time.
 *
 *     pb_mistakes list = {0};
 *     for (…) {
 *         PB_TRY_GOTO(status, pb_mistakes_take(&list, check(i), NULL), out);
 *     }
 *     status = pb_mistakes_fail(&list, PB_ERR_CONFIG, path); */
#pragma once

#include "pb/status.h"

#include <stdint.h>

typedef struct pb_mistake {
    char *text;
    int64_t count; /* how often it occurred */
} pb_mistake;

/* Zero-initialised is empty. */
typedef struct pb_mistakes {
    pb_mistake *items; /* in the order in which they occurred */
    int64_t count;
} pb_mistakes;

void pb_mistakes_clear(pb_mistakes *list); /* frees; the list is empty again */

/* Takes over the error of this thread: adds its message, or counts an equal one, and returns its
 * index (NULL: not wanted), -1 where `status` is PB_OK. Fails with a `status` that is not a mistake
 * of an input: no memory, a broken group, a stop. */
pb_status pb_mistakes_take(pb_mistakes *list, pb_status status, int64_t *place) PB_MUST_USE;

/* The same for one error, as a text of its own in *message; for PB_OK that is NULL. */
pb_status pb_mistake_keep(pb_status status, char **message) PB_MUST_USE;

/* PB_OK for an empty list. One mistake is the error; several are logged, one error line each, and
 * the error gives their number: "what: the 3 mistakes above". */
pb_status pb_mistakes_fail(const pb_mistakes *list, pb_status code, const char *what) PB_MUST_USE;
