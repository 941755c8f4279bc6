// SPDX-License-Identifier: Apache-2.0
/* The counters of a profile: lengths of texts and distinct answers. */
#include "pb/profile.h"

#include "pb/memory.h"
#include "pb/utf8.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 64 };

pb_status pb_profile_lengths_add(pb_profile_lengths *l, int64_t length)
{
    if (l->counts == NULL) {
        PB_TRY(PB_ALLOC(l->counts, PB_PROFILE_SHORT));
    }
    if (length < PB_PROFILE_SHORT) {
        l->counts[length]++;
    } else {
        PB_TRY(PB_GROW(l->longer, l->longer_count + 1));
        l->longer[l->longer_count++] = (int32_t)(length < INT32_MAX ? length : INT32_MAX);
        l->sorted                    = false;
    }
    l->minimum = l->count == 0 || length < l->minimum ? length : l->minimum;
    l->maximum = length > l->maximum ? length : l->maximum;
    l->sum += (double)length;
    l->count++;
    return PB_OK;
}

static int compare(const void *a, const void *b)
{
    int32_t x, y;

    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

int64_t pb_profile_lengths_quantile(pb_profile_lengths *l, double percent)
{
    int64_t below = 0;

    if (!l->sorted && l->longer_count > 0) {
        qsort(l->longer, (size_t)l->longer_count, sizeof *l->longer, compare);
    }
    l->sorted = true;
    for (int64_t length = 0; length < PB_PROFILE_SHORT && l->count > 0; length++) {
        below += l->counts[length];
        if (100.0 * (double)below >= percent * (double)l->count) {
            return length;
        }
    }
    for (int64_t i = 0; i < l->longer_count; i++) {
        if (100.0 * (double)(below + i + 1) >= percent * (double)l->count) {
            return l->longer[i];
        }
    }
    return l->maximum;
}

void pb_profile_lengths_clear(pb_profile_lengths *l)
{
    pb_memory_free(l->counts);
    pb_memory_free(l->longer);
    *l = (pb_profile_lengths){0};
}

/* The slot of the answer, or the free slot for it. */
static pb_profile_answer *find(const pb_profile_answers *a, const pb_digest *digest)
{
    size_t at = 0;

    memcpy(&at, digest->bytes, sizeof at);
    for (;; at++) {
        pb_profile_answer *slot = &a->slots[at & (a->capacity - 1)];
        if (slot->count == 0 || memcmp(&slot->digest, digest, sizeof *digest) == 0) {
            return slot;
        }
    }
}

static pb_status grow(pb_profile_answers *a)
{
    pb_profile_answers larger = {.capacity = a->capacity > 0 ? 2 * a->capacity : FIRST_CAPACITY,
                                 .count    = a->count};

    PB_TRY(PB_ALLOC(larger.slots, larger.capacity));
    for (size_t i = 0; i < a->capacity; i++) {
        if (a->slots[i].count > 0) {
            *find(&larger, &a->slots[i].digest) = a->slots[i];
        }
    }
    pb_memory_free(a->slots);
    *a = larger;
    return PB_OK;
}

/* The beginning of a long text, up to a whole character. */
static pb_status copy_text(const char *text, char **out)
{
    size_t length = (size_t)pb_utf8_fit(text, PB_PROFILE_ANSWER_BYTES);

    PB_TRY(PB_ALLOC(*out, length + 1));
    memcpy(*out, text, length);
    return PB_OK;
}

pb_status pb_profile_answers_add(pb_profile_answers *a, const pb_digest *digest, const char *text)
{
    if (2 * (a->count + 1) > a->capacity) {
        PB_TRY(grow(a));
    }
    pb_profile_answer *slot = find(a, digest);
    if (slot->count == 1) {
        PB_TRY(copy_text(text, &slot->text));
    }
    a->count += slot->count == 0;
    slot->digest = *digest;
    slot->count++;
    return PB_OK;
}

int64_t pb_profile_answers_count(const pb_profile_answers *a, const char *text)
{
    pb_digest digest;

    if (a->count == 0 || pb_digest_of(text, strlen(text), &digest) != PB_OK) {
        return 0;
    }
    return find(a, &digest)->count;
}

static bool comes_before(const pb_profile_answer *x, const pb_profile_answer *y)
{
    return x->count != y->count ? x->count > y->count : strcmp(x->text, y->text) < 0;
}

int64_t pb_profile_answers_top(const pb_profile_answers *a,
                               const pb_profile_answer *top[PB_PROFILE_TOP])
{
    int64_t count = 0;

    for (size_t i = 0; i < a->capacity; i++) {
        const pb_profile_answer *slot = &a->slots[i];
        int64_t at                    = count;
        if (slot->text == NULL) {
            continue;
        }
        for (; at > 0 && comes_before(slot, top[at - 1]); at--) {
            if (at < PB_PROFILE_TOP) {
                top[at] = top[at - 1];
            }
        }
        if (at < PB_PROFILE_TOP) {
            top[at] = slot;
            count += count < PB_PROFILE_TOP;
        }
    }
    return count;
}

void pb_profile_answers_clear(pb_profile_answers *a)
{
    for (size_t i = 0; i < a->capacity; i++) {
        pb_memory_free(a->slots[i].text);
    }
    pb_memory_free(a->slots);
    *a = (pb_profile_answers){0};
}
