// SPDX-License-Identifier: Apache-2.0
/* Padding: what it rounds up, what it consists of, and that joined batches keep it. */
#include "batch_fixture.h"

#include "pb/batch.h"
#include "pb/memory.h"

#include <string.h>

/* Sizes that are rounded up, and what the padding consists of. */
static void assert_padding(const pb_batch *b, const pb_batch *bare, int64_t rows, int64_t outs,
                           int64_t labels)
{
    assert_int_equal(b->forest.rows, rows);
    assert_int_equal(b->forest.keys, bare->forest.keys + rows - bare->forest.rows);
    assert_int_equal(b->outs, outs);
    assert_int_equal(b->padded_labels, labels);
    assert_int_equal(b->labels, bare->labels);
    assert_int_equal(b->tokens, bare->tokens);
    assert_memory_equal(b->ids, bare->ids, (size_t)bare->forest.rows * sizeof *b->ids);
    assert_memory_equal(b->out_rows, bare->out_rows, (size_t)bare->outs * sizeof *b->out_rows);
    assert_memory_equal(b->targets, bare->targets, (size_t)bare->labels * sizeof *b->targets);
    for (int64_t t = bare->forest.rows; t < rows; t++) {
        assert_true(b->ids[t] == 0 && b->positions[t] == 0);
    }
    for (int64_t u = 1; u < outs; u++) {
        assert_true(b->out_rows[u] > b->out_rows[u - 1] && b->out_rows[u] < rows);
        assert_true(u < bare->outs || b->out_rows[u] >= bare->forest.rows);
    }
    for (int64_t n = bare->labels; n < labels; n++) {
        assert_true(b->targets[n] == -1 && b->label_samples[n] == -1);
        assert_int_equal(b->label_rows[n], b->out_rows[b->label_slots[n]]);
    }
}

static void padding_rounds_the_sizes_up(void **state)
{
    static const struct {
        int64_t length, answer, virtual_rows, virtual_keys, rows, outs, labels;
    } cases[] = {
        {20, 3, 0, 0, 32, 8, 8},         {33, 8, 0, 0, 32, 8, 8},           {34, 8, 0, 0, 64, 8, 8},
        {25, 9, 0, 0, 32, 16, 16},       {30, 9, 3, 0, 64, 16, 16},         {20, 3, 0, 4, 32, 8, 8},
        {300, 100, 0, 0, 384, 128, 128}, {1500, 300, 0, 0, 1536, 320, 320},
    };
    int32_t ids[1500];
    (void)state;
    count_up(ids, 1500, 1500, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pb_sample sample         = {.ids          = ids,
                                    .length       = cases[i].length,
                                    .answer_start = cases[i].length - cases[i].answer};
        pb_batch_options options = {.virtual_rows = cases[i].virtual_rows,
                                    .virtual_keys = cases[i].virtual_keys,
                                    .trim         = true};
        pb_batch bare            = build(&sample, 1, options);
        options.pad              = true;
        pb_batch padded          = build(&sample, 1, options);
        assert_padding(&padded, &bare, cases[i].rows, cases[i].outs, cases[i].labels);
        if (cases[i].rows > bare.forest.rows) {
            const pb_segment *s = &padded.segments[bare.forest.count];
            assert_int_equal(padded.forest.count, bare.forest.count + 1);
            assert_int_equal(s->row, bare.forest.rows);
            assert_int_equal(s->rows, cases[i].rows - bare.forest.rows);
            assert_int_equal(s->length, s->rows);
            assert_int_equal(s->key, bare.forest.keys);
            assert_int_equal(s->parent, -1);
        }
        pb_batch_clear(&bare);
        close_batch(&padded);
    }
}

static void what_has_no_label_is_not_padded(void **state)
{
    int32_t ids[LENGTH];
    (void)state;
    count_up(ids, LENGTH, LENGTH, 0);
    pb_sample sample = {.ids = ids, .length = 10};
    pb_batch b       = build(&sample, 1, (pb_batch_options){.pad = true});
    assert_int_equal(b.forest.rows, 10);
    assert_int_equal(b.outs, 1);
    assert_int_equal(b.padded_labels, 0);
    close_batch(&b);
}

/* Each batch keeps its padding, which lies between the batches then. */
static void padded_batches_are_joined(void **state)
{
    int32_t ids[LENGTH];
    (void)state;
    count_up(ids, LENGTH, LENGTH, 0);
    pb_sample sample        = {.ids = ids, .length = 20, .answer_start = 17};
    pb_batch one            = build(&sample, 1, (pb_batch_options){.trim = true, .pad = true});
    pb_batch joined         = {0};
    const pb_batch *parts[] = {&one, &one};
    assert_ok(pb_batch_join(parts, 2, &joined));
    assert_int_equal(joined.labels, 6);
    assert_int_equal(joined.padded_labels, 16);
    assert_int_equal(joined.forest.rows, 64);
    for (int64_t n = 0; n < 16; n++) {
        int64_t from = n % 8;
        assert_int_equal(joined.targets[n], one.targets[from]);
        assert_int_equal(joined.label_slots[n], one.label_slots[from] + (n < 8 ? 0 : one.outs));
        assert_int_equal(joined.label_rows[n], joined.out_rows[joined.label_slots[n]]);
    }
    pb_batch_clear(&one);
    close_batch(&joined);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(padding_rounds_the_sizes_up),
        cmocka_unit_test(what_has_no_label_is_not_padded),
        cmocka_unit_test(padded_batches_are_joined),
    };
    return cmocka_run_group_tests_name("unit_batch_padding", tests, NULL, NULL);
}
