// SPDX-License-Identifier: Apache-2.0
/* Tokens are separated by white space. Common n-grams are counted once: the clipped matches of
 * precision and of recall are the same number, but for weights. */
#include "ngram.h"

#include "pb/interned.h"
#include "pb/memory.h"
#include "pb/python.h"

#include <string.h>

static const double other_weight = 0.2; /* of a token that is not a keyword */

typedef struct tokens {
    int32_t *numbers; /* [count] */
    int64_t count;
} tokens;

typedef struct counts {
    int64_t candidate, reference;
} counts;

static bool is_keyword(const char *text, size_t length)
{
    static const char *const keywords[] = {
        "False",   "None",     "True",     "and",    "as",   "assert", "async",  "await",
        "break",   "class",    "continue", "def",    "del",  "elif",   "else",   "except",
        "finally", "for",      "from",     "global", "if",   "import", "in",     "is",
        "lambda",  "nonlocal", "not",      "or",     "pass", "raise",  "return", "try",
        "while",   "with",     "yield",    "match",  "case", "type",
    };
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++) {
        if (strlen(keywords[i]) == length && memcmp(keywords[i], text, length) == 0) {
            return true;
        }
    }
    return false;
}

static pb_status split(const char *text, pb_interned *words, tokens *out)
{
    size_t length = strlen(text), bytes = 0;

    for (size_t at = 0; at < length;) {
        size_t start = at;
        while (at < length && !pb_str_is_space(pb_str_next(text + at, length - at, &bytes))) {
            at += bytes;
        }
        if (at == start) {
            at += bytes;
            continue;
        }
        PB_TRY(PB_GROW(out->numbers, out->count + 1));
        PB_TRY(pb_interned_add(words, text + start, at - start, &out->numbers[out->count]));
        out->count++;
    }
    return PB_OK;
}

static pb_status count_side(const tokens *t, int64_t order, bool is_candidate, pb_interned *grams,
                            counts **all)
{
    for (int64_t i = 0; i + order <= t->count; i++) {
        int32_t gram = 0;
        PB_TRY(pb_interned_add_list(grams, t->numbers + i, order, &gram));
        PB_TRY(PB_GROW(*all, (size_t)gram + 1));
        counts *c = &(*all)[gram];
        c->candidate += is_candidate;
        c->reference += !is_candidate;
    }
    return PB_OK;
}

static double at_least_one(double value)
{
    return value > 1 ? value : 1;
}

static int64_t common(counts c)
{
    return c.candidate < c.reference ? c.candidate : c.reference;
}

static pb_status count_order(const tokens *candidate, const tokens *reference, int64_t order,
                             double *sums)
{
    pb_interned grams = {0};
    counts *all       = NULL;
    pb_status status;

    PB_TRY_GOTO(status, count_side(reference, order, false, &grams, &all), done);
    PB_TRY_GOTO(status, count_side(candidate, order, true, &grams, &all), done);
    for (int32_t i = 0; i < grams.count; i++) {
        sums[CODE_MATCHES + order - 1] += (double)common(all[i]);
    }
    sums[CODE_CANDIDATES + order - 1] = at_least_one((double)(candidate->count - order + 1));
    sums[CODE_REFERENCES + order - 1] = at_least_one((double)(reference->count - order + 1));
done:
    pb_interned_clear(&grams);
    pb_memory_free(all);
    return status;
}

/* Single tokens of the reference, keywords with weight 1. */
static pb_status count_weighted(const tokens *candidate, const tokens *reference,
                                const pb_interned *words, double *sums)
{
    counts *all  = NULL;
    double total = 0;

    PB_TRY(PB_ALLOC(all, words->count));
    for (int64_t i = 0; i < candidate->count; i++) {
        all[candidate->numbers[i]].candidate++;
    }
    for (int64_t i = 0; i < reference->count; i++) {
        all[reference->numbers[i]].reference++;
    }
    for (int32_t i = 0; i < words->count; i++) {
        size_t length    = 0;
        const char *text = pb_interned_bytes(words, i, &length);
        double weight    = is_keyword(text, length) ? 1.0 : other_weight;
        total += weight * (double)all[i].reference;
        sums[CODE_WEIGHTED_MATCHES] += weight * (double)common(all[i]);
    }
    sums[CODE_REFERENCES] = at_least_one(total);
    pb_memory_free(all);
    return PB_OK;
}

pb_status code_count_ngrams(const char *candidate, const char *reference, double sums[CODE_SUMS])
{
    pb_interned words = {0};
    tokens c = {0}, r = {0};
    pb_status status;

    PB_TRY_GOTO(status, split(reference, &words, &r), done);
    PB_TRY_GOTO(status, split(candidate, &words, &c), done);
    for (int64_t order = 1; order <= CODE_ORDERS; order++) {
        PB_TRY_GOTO(status, count_order(&c, &r, order, sums), done);
    }
    PB_TRY_GOTO(status, count_weighted(&c, &r, &words, sums), done);
    sums[CODE_CANDIDATE_TOKENS] = (double)c.count;
    sums[CODE_REFERENCE_TOKENS] = (double)r.count;
    sums[CODE_PAIRS]            = 1;
done:
    pb_interned_clear(&words);
    pb_memory_free(c.numbers);
    pb_memory_free(r.numbers);
    return status;
}
