// SPDX-License-Identifier: Apache-2.0
/* Invariants of every packed batch, over random samples: the forest is well formed, every sample
 * can be read back along its chain of segments, and the lists of labels agree with the samples. */
#include "support.h"

#include "pb/batch.h"
#include "pb/memory.h"
#include "pb/random.h"

#include <string.h>

enum { SAMPLES = 12, LENGTH = 60, ROUNDS = 400 };

typedef struct rows {
    pb_sample samples[SAMPLES];
    int32_t ids[SAMPLES][LENGTH];
    int32_t labels[SAMPLES][LENGTH];
    int64_t count;
} rows;

static int64_t draw(uint64_t round, uint64_t *at, int64_t n)
{
    return (int64_t)pb_random_below(pb_random_stream(round, PB_RANDOM_TEST, 0), (*at)++,
                                    (uint64_t)n);
}

/* A sample continues the start of an earlier one, or is new; ids are few, so that short prefixes
 * are also shared by chance. */
static void make_rows(uint64_t round, rows *r)
{
    uint64_t at = 0;
    r->count    = 1 + draw(round, &at, SAMPLES);
    for (int64_t s = 0; s < r->count; s++) {
        int64_t length = 1 + draw(round, &at, LENGTH);
        int64_t from   = s > 0 ? draw(round, &at, s) : 0;
        int64_t common = s > 0 && draw(round, &at, 4) > 0 ? draw(round, &at, LENGTH) : 0;
        int64_t kind   = draw(round, &at, 5); /* of labels: none, no list, some, an answer */
        common         = common < r->samples[from].length ? common : r->samples[from].length;
        for (int64_t t = 0; t < length; t++) {
            bool label      = kind == 1 ? draw(round, &at, 5) == 0 : t > length / 2;
            r->ids[s][t]    = s > 0 && t < common ? r->ids[from][t] : (int32_t)draw(round, &at, 2);
            r->labels[s][t] = kind > 0 && label ? (int32_t)(100 * s + t) : PB_LABEL_NONE;
        }
        r->samples[s] = (pb_sample){
            .ids = r->ids[s], .labels = kind == 4 ? NULL : r->labels[s], .length = length};
    }
}

static void check_forest(const pb_batch *b)
{
    int64_t row = 0;
    int64_t key = 0;
    for (int64_t i = 0; i < b->forest.count; i++) {
        const pb_segment *s = &b->forest.segments[i];
        assert_true(s->length > 0 && s->rows >= 0 && s->rows <= s->length);
        assert_true(s->parent >= -1 && s->parent < i);
        assert_int_equal(s->row, row);
        assert_int_equal(s->key, key);
        int64_t before =
            s->parent < 0 ? 0 : b->segments[s->parent].position + b->segments[s->parent].length;
        assert_int_equal(s->position, before);
        for (int64_t k = 0; k < s->rows; k++) {
            assert_int_equal(b->positions[row + k], s->position + s->length - s->rows + k);
        }
        row += s->rows;
        key += s->length;
    }
    assert_int_equal(row, b->forest.rows);
    assert_int_equal(key, b->forest.keys);
}

/* The packed row of token `t` of sample `sample`: up the chain from its last segment. */
static int64_t row_of(const pb_batch *b, int64_t sample, int64_t t)
{
    int64_t position = b->virtual_rows + b->virtual_keys + t;
    for (int32_t i = b->last_segments[sample]; i >= 0; i = b->segments[i].parent) {
        const pb_segment *s = &b->segments[i];
        if (position >= s->position && position < s->position + s->length) {
            return s->row + position - s->position;
        }
    }
    return -1;
}

static int64_t expected_length(const pb_sample *s, bool trim)
{
    int64_t length = s->length;
    if (trim && s->labels != NULL) {
        for (length = s->length - 1; length > 0 && s->labels[length] == PB_LABEL_NONE; length--) {
        }
    }
    return length;
}

static void check_samples(const rows *r, const pb_batch *b, bool trim)
{
    int64_t tokens = 0;
    for (int64_t s = 0; s < r->count; s++) {
        int64_t length = expected_length(&r->samples[s], trim);
        tokens += r->samples[s].length;
        if (length == 0) {
            assert_int_equal(b->last_rows[s], -1);
            continue;
        }
        assert_int_equal(b->last_rows[s], row_of(b, s, length - 1));
        assert_int_equal(row_of(b, s, length), -1);
        for (int64_t t = 0; t < length; t++) {
            int64_t row = row_of(b, s, t);
            assert_true(row >= b->virtual_rows);
            assert_int_equal(b->ids[row], r->samples[s].ids[t]);
        }
    }
    assert_int_equal(b->tokens, tokens);
    assert_int_equal(b->samples, r->count);
}

/* Every label of the samples is in the list once, with the row before it. Targets name sample and
 * position. */
static void check_labels(const rows *r, const pb_batch *b)
{
    static bool seen[SAMPLES][LENGTH];
    int64_t labels = 0;
    memset(seen, 0, sizeof seen);
    for (int64_t s = 0; s < r->count; s++) {
        for (int64_t t = 1; r->samples[s].labels != NULL && t < r->samples[s].length; t++) {
            labels += r->samples[s].labels[t] != PB_LABEL_NONE;
        }
    }
    assert_int_equal(b->labels, labels);
    for (int64_t n = 0; n < labels; n++) {
        int32_t s = b->targets[n] / 100;
        int32_t t = b->targets[n] % 100;
        assert_false(seen[s][t]);
        seen[s][t] = true;
        assert_int_equal(b->label_rows[n], row_of(b, s, t - 1));
        assert_true(n == 0 || b->label_rows[n] >= b->label_rows[n - 1]);
        assert_true(b->label_slots[n] >= 0 && b->label_slots[n] < b->outs);
        assert_int_equal(b->out_rows[b->label_slots[n]], b->label_rows[n]);
    }
    for (int64_t u = 1; u < b->outs; u++) {
        assert_true(b->out_rows[u] > b->out_rows[u - 1]);
    }
    assert_true(labels == 0 || b->label_slots[labels - 1] == b->outs - 1);
    for (int64_t s = 0; labels == 0 && s < b->samples; s++) {
        bool found = b->last_rows[s] < 0;
        for (int64_t u = 0; u < b->outs; u++) {
            found = found || b->out_rows[u] == b->last_rows[s];
        }
        assert_true(found);
    }
}

static void every_batch_spells_its_samples(void **state)
{
    (void)state;
    static rows r;
    int64_t rows_shared   = 0;
    int64_t rows_unshared = 0;
    int deepest           = 0;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        make_rows(round, &r);
        for (int kind = 0; kind < 12; kind++) {
            pb_batch_options options = {
                .virtual_rows = kind % 3 == 1 ? 5 : 0,
                .virtual_keys = kind % 3 == 2 ? 4 : 0,
                .share        = kind / 3 % 2 != 0,
                .trim         = kind / 6 != 0,
            };
            pb_batch b;
            assert_ok(pb_batch_build(r.samples, r.count, &options, &b));
            check_forest(&b);
            check_samples(&r, &b, options.trim);
            check_labels(&r, &b);
            *(options.share ? &rows_shared : &rows_unshared) += b.forest.rows;
            for (int64_t i = 0; i < b.forest.count; i++) {
                int depth = 0;
                for (int32_t p = b.segments[i].parent; p >= 0; p = b.segments[p].parent) {
                    depth++;
                }
                deepest = depth > deepest ? depth : deepest;
            }
            pb_batch_clear(&b);
        }
    }
    assert_true(rows_shared < rows_unshared);
    assert_true(deepest >= 3);
    assert_int_equal(pb_memory_current(), 0);
}

/* Two samples whose packed tokens start with the same eight ids share at least their whole common
 * start. */
static void common_starts_are_packed_once(void **state)
{
    (void)state;
    static rows r;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        make_rows(round, &r);
        pb_batch_options options = {.share = true};
        pb_batch b;
        assert_ok(pb_batch_build(r.samples, r.count, &options, &b));
        for (int64_t i = 0; i < r.count; i++) {
            for (int64_t j = 0; j < i; j++) {
                const pb_sample *x = &r.samples[i];
                const pb_sample *y = &r.samples[j];
                int64_t limit      = x->length < y->length ? x->length : y->length;
                int64_t common     = 0;
                while (common < limit && x->ids[common] == y->ids[common]) {
                    common++;
                }
                if (common >= 8) {
                    assert_int_equal(row_of(&b, i, 7), row_of(&b, j, 7));
                }
                for (int64_t t = common; t < limit; t++) {
                    assert_true(row_of(&b, i, t) != row_of(&b, j, t));
                }
            }
        }
        pb_batch_clear(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_batch_spells_its_samples),
        cmocka_unit_test(common_starts_are_packed_once),
    };
    return cmocka_run_group_tests_name("unit_network_batch_random", tests, NULL, NULL);
}
