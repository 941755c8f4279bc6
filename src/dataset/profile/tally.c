// SPDX-License-Identifier: Apache-2.0
/* The counters of a profile: lengths of texts and distinct answers. */
#include "pb/profile.h"

#include "pb/memory.h"
#include "pb/utf8.h"

#include <stdlib.h>
#include <string.h>

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
    int32_t number = 0;

    PB_TRY(PB_GROW(a->items, (size_t)a->digests.count + 1));
    PB_TRY(pb_interned_add(&a->digests, digest, sizeof *digest, &number));
    pb_profile_answer *answer = &a->items[number];
    if (answer->count == 1) {
        PB_TRY(copy_text(text, &answer->text));
    }
    answer->count++;
    return PB_OK;
}

int64_t pb_profile_answers_count(const pb_profile_answers *a, const char *text)
{
    pb_digest digest;
    int32_t number = -1;

    if (pb_digest_of(text, strlen(text), &digest) == PB_OK) {
        number = pb_interned_find(&a->digests, &digest, sizeof digest);
    }
    return number >= 0 ? a->items[number].count : 0;
}

static bool comes_before(const pb_profile_answer *x, const pb_profile_answer *y)
{
    return x->count != y->count ? x->count > y->count : strcmp(x->text, y->text) < 0;
}

int64_t pb_profile_answers_top(const pb_profile_answers *a,
                               const pb_profile_answer *top[PB_PROFILE_TOP])
{
    int64_t count = 0;

    for (int32_t i = 0; i < a->digests.count; i++) {
        const pb_profile_answer *answer = &a->items[i];
        int64_t at                      = count;
        if (answer->text == NULL) {
            continue;
        }
        for (; at > 0 && comes_before(answer, top[at - 1]); at--) {
            if (at < PB_PROFILE_TOP) {
                top[at] = top[at - 1];
            }
        }
        if (at < PB_PROFILE_TOP) {
            top[at] = answer;
            count += count < PB_PROFILE_TOP;
        }
    }
    return count;
}

void pb_profile_answers_clear(pb_profile_answers *a)
{
    for (int32_t i = 0; i < a->digests.count; i++) {
        pb_memory_free(a->items[i].text);
    }
    pb_memory_free(a->items);
    pb_interned_clear(&a->digests);
    *a = (pb_profile_answers){0};
}
