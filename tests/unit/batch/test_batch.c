// SPDX-License-Identifier: Apache-2.0
/* Packing of known samples: sharing, trimming, labels, virtual roots, and refused input. */
#include "batch_fixture.h"

#include "pb/batch.h"
#include "pb/memory.h"

#include <string.h>

#define NONE PB_LABEL_NONE

static void assert_segment(const pb_batch *b, int64_t i, int64_t row, int64_t length,
                           int64_t position, int32_t parent)
{
    assert_true(i < b->forest.count);
    const pb_segment *s = &b->segments[i];
    assert_int_equal(s->row, row);
    assert_int_equal(s->length, length);
    assert_int_equal(s->position, position);
    assert_int_equal(s->parent, parent);
    assert_int_equal(s->cell, 0);
}

static void without_sharing_every_sample_is_a_root(void **state)
{
    (void)state;
    int32_t a[LENGTH];
    count_up(a, LENGTH, LENGTH, 0);
    pb_sample samples[] = {
        {.ids = a, .length = 20}, {.ids = a, .length = 1}, {.ids = a, .length = 20}};
    pb_batch b = build(samples, 3, (pb_batch_options){0});
    assert_int_equal(b.forest.count, 3);
    assert_int_equal(b.forest.rows, 41);
    assert_int_equal(b.forest.keys, 41);
    assert_int_equal(b.tokens, 41);
    assert_int_equal(b.samples, 3);
    assert_segment(&b, 0, 0, 20, 0, -1);
    assert_segment(&b, 1, 20, 1, 0, -1);
    assert_segment(&b, 2, 21, 20, 0, -1);
    assert_int_equal(b.last_rows[0], 19);
    assert_int_equal(b.last_rows[1], 20);
    assert_int_equal(b.last_rows[2], 40);
    assert_int_equal(b.last_segments[2], 2);
    close_batch(&b);
}

static void three_levels_of_common_prefixes_become_three_levels(void **state)
{
    (void)state;
    int32_t ids[4][LENGTH];
    count_up(ids[0], 40, 30, 100);
    count_up(ids[1], 40, 30, 200);
    count_up(ids[2], 40, 10, 300);
    count_up(ids[3], 40, 0, 400);
    pb_sample samples[4];
    for (int i = 0; i < 4; i++) {
        samples[i] = (pb_sample){.ids = ids[i], .length = 40};
    }
    pb_batch b = build(samples, 4, (pb_batch_options){.share = true});
    assert_int_equal(b.forest.count, 6);
    assert_segment(&b, 0, 0, 10, 0, -1);  /* of 0, 1, 2 */
    assert_segment(&b, 1, 10, 20, 10, 0); /* of 0, 1 */
    assert_segment(&b, 2, 30, 10, 30, 1);
    assert_segment(&b, 3, 40, 10, 30, 1);
    assert_segment(&b, 4, 50, 30, 10, 0);
    assert_segment(&b, 5, 80, 40, 0, -1);
    assert_int_equal(b.forest.rows, 120);
    assert_int_equal(b.tokens, 160);
    assert_int_equal(b.last_segments[2], 4);
    assert_int_equal(b.last_rows[3], 119);
    close_batch(&b);
}

/* Samples that share a prefix are found even with others between them. */
static void sharing_samples_need_not_be_neighbours(void **state)
{
    (void)state;
    int32_t ids[4][LENGTH];
    count_up(ids[0], 20, 12, 100);
    count_up(ids[1], 20, 0, 200);
    count_up(ids[2], 20, 12, 300);
    count_up(ids[3], 20, 0, 200);
    pb_sample samples[4];
    for (int i = 0; i < 4; i++) {
        samples[i] = (pb_sample){.ids = ids[i], .length = 20};
    }
    pb_batch b = build(samples, 4, (pb_batch_options){.share = true});
    assert_int_equal(b.forest.count, 4);
    assert_segment(&b, 0, 0, 12, 0, -1);
    assert_segment(&b, 1, 12, 8, 12, 0);
    assert_segment(&b, 2, 20, 8, 12, 0);
    assert_segment(&b, 3, 28, 20, 0, -1);
    assert_int_equal(b.last_rows[1], 47);
    assert_int_equal(b.last_rows[3], 47);
    close_batch(&b);
}

static void identical_samples_are_one_segment(void **state)
{
    (void)state;
    int32_t a[LENGTH];
    count_up(a, LENGTH, LENGTH, 0);
    pb_sample samples[3] = {
        {.ids = a, .length = 9}, {.ids = a, .length = 9}, {.ids = a, .length = 9}};
    pb_batch b = build(samples, 3, (pb_batch_options){.share = true});
    assert_int_equal(b.forest.count, 1);
    assert_int_equal(b.forest.rows, 9);
    assert_int_equal(b.tokens, 27);
    assert_int_equal(b.outs, 1);
    assert_int_equal(b.out_rows[0], 8);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(b.last_rows[i], 8);
        assert_int_equal(b.last_segments[i], 0);
    }
    close_batch(&b);
}

static void a_sample_that_is_a_prefix_of_another_ends_inside(void **state)
{
    (void)state;
    int32_t a[LENGTH];
    count_up(a, LENGTH, LENGTH, 0);
    pb_sample samples[2] = {{.ids = a, .length = 12}, {.ids = a, .length = 30}};
    pb_batch b           = build(samples, 2, (pb_batch_options){.share = true});
    assert_int_equal(b.forest.count, 2);
    assert_segment(&b, 0, 0, 12, 0, -1);
    assert_segment(&b, 1, 12, 18, 12, 0);
    assert_int_equal(b.last_rows[0], 11);
    assert_int_equal(b.last_segments[0], 0);
    assert_int_equal(b.last_rows[1], 29);
    assert_int_equal(b.last_segments[1], 1);
    assert_int_equal(b.outs, 2);
    close_batch(&b);
}

static void a_prefix_of_seven_tokens_is_not_worth_a_segment(void **state)
{
    (void)state;
    for (int64_t common = 7; common <= 8; common++) {
        int32_t ids[2][LENGTH];
        count_up(ids[0], 20, common, 100);
        count_up(ids[1], 20, common, 200);
        pb_sample samples[2] = {{.ids = ids[0], .length = 20}, {.ids = ids[1], .length = 20}};
        pb_batch b           = build(samples, 2, (pb_batch_options){.share = true});
        assert_int_equal(b.forest.count, common == 8 ? 3 : 2);
        assert_int_equal(b.forest.rows, common == 8 ? 32 : 40);
        close_batch(&b);
    }
}

static void trimming_drops_what_predicts_no_label(void **state)
{
    (void)state;
    int32_t ids[]       = {5, 6, 7, 8, 9, 10};
    int32_t middle[]    = {NONE, NONE, 7, 8, NONE, NONE}; /* predicted by positions 1 and 2 */
    int32_t last[]      = {NONE, NONE, NONE, NONE, NONE, 10};
    int32_t first[]     = {NONE, 6, NONE, NONE, NONE, NONE};
    int32_t none[]      = {NONE, NONE, NONE, NONE, NONE, NONE};
    pb_sample samples[] = {
        {ids, middle, 6, 0}, {ids, last, 6, 0}, {ids, first, 6, 0},
        {ids, none, 6, 0},   {ids, NULL, 6, 0},
    };
    pb_batch b = build(samples, 5, (pb_batch_options){.trim = true});
    assert_int_equal(b.forest.count, 4);
    assert_segment(&b, 0, 0, 3, 0, -1);
    assert_segment(&b, 1, 3, 5, 0, -1);
    assert_segment(&b, 2, 8, 1, 0, -1);
    assert_segment(&b, 3, 9, 6, 0, -1); /* a sample without a list of labels stays whole */
    assert_int_equal(b.last_rows[0], 2);
    assert_int_equal(b.last_rows[3], -1);
    assert_int_equal(b.last_rows[4], 14);
    assert_int_equal(b.tokens, 30);
    static const int32_t rows[]    = {1, 2, 7, 8};
    static const int32_t targets[] = {7, 8, 10, 6};
    assert_int_equal(b.labels, 4);
    assert_int_equal(b.outs, 4);
    assert_memory_equal(b.label_rows, rows, sizeof rows);
    assert_memory_equal(b.targets, targets, sizeof targets);
    close_batch(&b);
}

static void trimming_may_leave_no_row_at_all(void **state)
{
    (void)state;
    int32_t ids[]      = {5, 6};
    int32_t none[]     = {5, NONE};
    pb_sample sample[] = {{ids, none, 2, 0}, {ids, none, 1, 0}};
    pb_batch b         = build(sample, 2, (pb_batch_options){.trim = true, .share = true});
    assert_int_equal(b.forest.rows, 0);
    assert_int_equal(b.forest.count, 0);
    assert_int_equal(b.labels, 0);
    assert_int_equal(b.outs, 0);
    assert_int_equal(b.last_rows[1], -1);
    assert_int_equal(b.tokens, 3);
    close_batch(&b);
}

static void a_label_at_position_zero_is_never_used(void **state)
{
    (void)state;
    int32_t ids[]    = {5, 6, 7};
    int32_t labels[] = {5, NONE, 7};
    pb_sample sample = {ids, labels, 3, 0};
    for (int trim = 0; trim < 2; trim++) {
        pb_batch b = build(&sample, 1, (pb_batch_options){.trim = trim != 0});
        assert_int_equal(b.labels, 1);
        assert_int_equal(b.label_rows[0], 1);
        assert_int_equal(b.targets[0], 7);
        close_batch(&b);
    }
}

static void labels_of_samples_that_share_a_row_share_its_output(void **state)
{
    (void)state;
    int32_t a[LENGTH];
    int32_t labels[3][LENGTH];
    count_up(a, LENGTH, LENGTH, 0);
    for (int i = 0; i < 3; i++) {
        for (int t = 0; t < LENGTH; t++) {
            labels[i][t] = NONE;
        }
        labels[i][10] = 70 + i;
    }
    labels[1][9]         = 80;
    pb_sample samples[3] = {{a, labels[0], 12, 0}, {a, labels[1], 12, 0}, {a, labels[2], 12, 0}};
    pb_batch b           = build(samples, 3, (pb_batch_options){.share = true, .trim = true});
    static const int32_t rows[]    = {8, 9, 9, 9};
    static const int32_t slots[]   = {0, 1, 1, 1};
    static const int32_t targets[] = {80, 70, 71, 72};
    assert_int_equal(b.forest.rows, 10);
    assert_int_equal(b.labels, 4);
    assert_int_equal(b.outs, 2);
    assert_memory_equal(b.label_rows, rows, sizeof rows);
    assert_memory_equal(b.label_slots, slots, sizeof slots);
    assert_memory_equal(b.targets, targets, sizeof targets);
    close_batch(&b);
}

static void virtual_rows_are_one_root_before_all_samples(void **state)
{
    (void)state;
    int32_t a[LENGTH];
    count_up(a, LENGTH, LENGTH, 0);
    int32_t labels[]    = {NONE, 1, 2};
    pb_sample samples[] = {{a, labels, 3, 0}, {a + 1, labels, 3, 0}};
    pb_batch b          = build(samples, 2, (pb_batch_options){.virtual_rows = 4});
    assert_int_equal(b.forest.count, 3);
    assert_segment(&b, 0, 0, 4, 0, -1);
    assert_segment(&b, 1, 4, 3, 4, 0);
    assert_segment(&b, 2, 7, 3, 4, 0);
    assert_int_equal(b.segments[0].rows, 4);
    assert_int_equal(b.forest.keys, 10);
    for (int32_t t = 0; t < 4; t++) {
        assert_int_equal(b.ids[t], -1);
        assert_int_equal(b.positions[t], t);
    }
    assert_int_equal(b.positions[4], 4);
    assert_int_equal(b.label_rows[0], 4);
    assert_int_equal(b.tokens, 6);
    close_batch(&b);
}

static void virtual_keys_are_a_root_without_rows(void **state)
{
    (void)state;
    int32_t a[LENGTH];
    count_up(a, LENGTH, LENGTH, 0);
    pb_sample samples[] = {{a, NULL, 3, 0}, {a + 1, NULL, 2, 0}};
    pb_batch b          = build(samples, 2, (pb_batch_options){.virtual_keys = 4});
    assert_int_equal(b.forest.count, 3);
    assert_segment(&b, 0, 0, 4, 0, -1);
    assert_int_equal(b.segments[0].rows, 0);
    assert_segment(&b, 1, 0, 3, 4, 0);
    assert_segment(&b, 2, 3, 2, 4, 0);
    assert_int_equal(b.segments[1].key, 4);
    assert_int_equal(b.segments[2].key, 7);
    assert_int_equal(b.forest.rows, 5);
    assert_int_equal(b.forest.keys, 9);
    assert_int_equal(b.positions[0], 4);
    close_batch(&b);
}

static void empty_samples_and_batches_are_refused(void **state)
{
    (void)state;
    int32_t ids[]            = {1, 2};
    pb_sample samples[]      = {{.ids = ids, .length = 2}, {.ids = ids, .length = 0}};
    pb_sample huge           = {.ids = ids, .length = INT64_C(3000000000)};
    pb_batch_options options = {.share = true};
    pb_batch b;
    memset(&b, 0xff, sizeof b);
    assert_error(pb_batch_build(samples, 2, &options, &b), PB_ERR_ARGUMENT,
                 "sample 1 of the batch has no tokens");
    assert_null(b.ids);
    assert_error(pb_batch_build(samples, 0, &options, &b), PB_ERR_ARGUMENT, "at least one sample");
    assert_error(pb_batch_build(&huge, 1, &options, &b), PB_ERR_ARGUMENT, "too large");
    close_batch(&b);
}

/* Values that an earlier, larger batch left in memory have no effect. */
static void a_batch_is_rebuilt_in_its_own_memory(void **state)
{
    (void)state;
    int32_t ids[LENGTH];
    int32_t labels[LENGTH];
    count_up(ids, LENGTH, LENGTH, 0);
    count_up(labels, LENGTH, 0, 3);
    pb_sample samples[] = {{ids, labels, LENGTH, 0}, {ids + 1, labels, 20, 0}, {ids, labels, 9, 0}};
    pb_batch_options options = {.virtual_rows = 2, .share = true, .trim = true};
    pb_batch used            = build(samples, 3, options);
    pb_batch fresh           = build(samples + 1, 2, options);
    size_t before            = pb_memory_allocations();
    assert_ok(pb_batch_rebuild(samples + 1, 2, &options, &used));
    assert_int_equal(pb_memory_allocations(), before);
    assert_int_equal(used.forest.count, fresh.forest.count);
    assert_int_equal(used.forest.rows, fresh.forest.rows);
    assert_int_equal(used.labels, fresh.labels);
    assert_int_equal(used.outs, fresh.outs);
    assert_memory_equal(used.segments, fresh.segments,
                        (size_t)fresh.forest.count * sizeof *fresh.segments);
    assert_memory_equal(used.ids, fresh.ids, (size_t)fresh.forest.rows * sizeof *fresh.ids);
    assert_memory_equal(used.label_rows, fresh.label_rows,
                        (size_t)fresh.labels * sizeof *fresh.label_rows);
    assert_memory_equal(used.targets, fresh.targets, (size_t)fresh.labels * sizeof *fresh.targets);
    assert_memory_equal(used.last_rows, fresh.last_rows, 2 * sizeof *fresh.last_rows);
    assert_ok(pb_batch_rebuild(samples, 3, &options, &used));
    assert_int_equal(pb_memory_allocations(), before);
    assert_error(pb_batch_rebuild(samples, 0, &options, &used), PB_ERR_ARGUMENT, "one sample");
    assert_null(used.block);
    pb_batch_clear(&fresh);
    close_batch(&used);
}

static void memory_that_is_not_had_leaves_nothing_behind(void **state)
{
    (void)state;
    int32_t a[LENGTH];
    int32_t labels[LENGTH];
    count_up(a, LENGTH, LENGTH, 0);
    memcpy(labels, a, sizeof a);
    pb_sample samples[]      = {{a, labels, 30, 0}, {a, labels, 40, 0}, {a + 1, labels, 20, 0}};
    pb_batch_options options = {.share = true, .trim = true};
    size_t limit             = 1;
    int failures             = 0;
    pb_batch b;
    for (; limit < 100000; limit += 16) {
        pb_memory_limit(limit);
        pb_status status = pb_batch_build(samples, 3, &options, &b);
        pb_memory_limit(0);
        if (status == PB_OK) {
            break;
        }
        assert_int_equal(status, PB_ERR_MEMORY);
        assert_int_equal(pb_memory_current(), 0);
        failures++;
    }
    assert_true(failures > 20);
    assert_int_equal(b.samples, 3);
    close_batch(&b);
}

/* `answer_start` is shorthand for a list that repeats the ids after the prompt. */
static void an_answer_packs_like_its_list_of_labels(void **state)
{
    int32_t ids[] = {5, 6, 7, 8, 9}, labels[] = {NONE, NONE, NONE, 8, 9};
    pb_sample lists[]  = {{ids, labels, 5, 0}, {ids, labels, 4, 0}, {ids + 2, NULL, 3, 0}};
    pb_sample short_[] = {{ids, NULL, 5, 3}, {ids, NULL, 4, 3}, {ids + 2, NULL, 3, 0}};

    (void)state;
    for (int trim = 0; trim < 2; trim++) {
        pb_batch a = build(lists, 3, (pb_batch_options){.trim = trim != 0, .share = true});
        pb_batch b = build(short_, 3, (pb_batch_options){.trim = trim != 0, .share = true});
        assert_int_equal(a.labels, 3);
        assert_int_equal(b.labels, 3);
        assert_int_equal(a.forest.rows, b.forest.rows);
        assert_memory_equal(a.targets, b.targets, 3 * sizeof *a.targets);
        assert_memory_equal(a.label_rows, b.label_rows, 3 * sizeof *a.label_rows);
        int32_t sums[3] = {0};
        for (int n = 0; n < 3; n++) {
            assert_int_equal(a.label_samples[n], b.label_samples[n]);
            sums[a.label_samples[n]] += a.targets[n];
        }
        assert_int_equal(sums[0], 8 + 9);
        assert_int_equal(sums[1], 8);
        pb_batch_clear(&a);
        pb_batch_clear(&b);
    }
}

/* Every list of `b` is that of `part`, moved by what lies before it in `b`. */
static void assert_part(const pb_batch *b, const pb_batch *part, int32_t cell, int64_t row,
                        int64_t segment, int64_t out, int64_t label, int64_t sample)
{
    for (int64_t i = 0; i < part->forest.count; i++) {
        const pb_segment *s = &b->segments[segment + i];
        const pb_segment *p = &part->segments[i];
        assert_int_equal(s->row, p->row + row);
        assert_int_equal(s->rows, p->rows);
        assert_int_equal(s->length, p->length);
        assert_int_equal(s->position, p->position);
        assert_int_equal(s->parent, p->parent < 0 ? -1 : p->parent + segment);
        assert_int_equal(s->cell, cell);
    }
    for (int64_t i = 0; i < part->forest.rows; i++) {
        assert_int_equal(b->ids[row + i], part->ids[i]);
        assert_int_equal(b->positions[row + i], part->positions[i]);
    }
    for (int64_t i = 0; i < part->outs; i++) {
        assert_int_equal(b->out_rows[out + i], part->out_rows[i] + row);
        assert_int_equal(b->out_positions[out + i], part->out_positions[i]);
    }
    for (int64_t i = 0; i < part->labels; i++) {
        assert_int_equal(b->label_rows[label + i], part->label_rows[i] + row);
        assert_int_equal(b->label_slots[label + i], part->label_slots[i] + out);
        assert_int_equal(b->label_samples[label + i], part->label_samples[i] + sample);
        assert_int_equal(b->targets[label + i], part->targets[i]);
    }
    for (int64_t i = 0; i < part->samples; i++) {
        assert_int_equal(b->last_rows[sample + i], part->last_rows[i] + row);
        assert_int_equal(b->last_segments[sample + i], part->last_segments[i] + segment);
    }
}

static void joined_batches_follow_one_another(void **state)
{
    (void)state;
    int32_t ids[2][LENGTH];
    count_up(ids[0], 30, 20, 100);
    count_up(ids[1], 30, 20, 200);
    pb_sample samples[] = {{.ids = ids[0], .length = 30, .answer_start = 25},
                           {.ids = ids[1], .length = 28, .answer_start = 27}};
    pb_batch keys       = build(samples, 2, (pb_batch_options){.virtual_keys = 3, .share = true});
    pb_batch rows       = build(samples, 1, (pb_batch_options){.virtual_rows = 2});
    pb_batch more       = build(samples + 1, 1, (pb_batch_options){.virtual_keys = 4});
    pb_batch joined     = {0};
    const pb_batch *parts[] = {&keys, &rows, &more};
    assert_ok(pb_batch_join(parts, 3, &joined));
    assert_int_equal(joined.samples, 4);
    assert_int_equal(joined.tokens, keys.tokens + rows.tokens + more.tokens);
    assert_int_equal(joined.virtual_rows, 2);
    assert_int_equal(joined.virtual_keys, 7);
    assert_int_equal(joined.forest.rows, keys.forest.rows + rows.forest.rows + more.forest.rows);
    assert_int_equal(joined.forest.keys, 7 + joined.forest.rows);
    assert_part(&joined, &keys, 0, 0, 0, 0, 0, 0);
    assert_part(&joined, &rows, 1, keys.forest.rows, keys.forest.count, keys.outs, keys.labels, 2);
    assert_part(&joined, &more, 2, keys.forest.rows + rows.forest.rows,
                keys.forest.count + rows.forest.count, keys.outs + rows.outs,
                keys.labels + rows.labels, 3);
    /* Virtual keys of all, then a key for every row. */
    for (int64_t i = 0; i < joined.forest.count; i++) {
        const pb_segment *s = &joined.segments[i];
        bool first          = i == 0;
        bool third          = i == keys.forest.count + rows.forest.count;
        assert_int_equal(s->key, first ? 0 : third ? 3 : 7 + s->row);
    }
    const pb_batch *one[] = {&rows};
    assert_ok(pb_batch_join(one, 1, &joined)); /* in the same memory */
    assert_part(&joined, &rows, 0, 0, 0, 0, 0, 0);
    assert_int_equal(joined.forest.keys, rows.forest.keys);
    pb_batch_clear(&keys);
    pb_batch_clear(&rows);
    pb_batch_clear(&more);
    close_batch(&joined);
}

static void virtual_rows_with_virtual_keys_cannot_be_joined(void **state)
{
    (void)state;
    int32_t ids[LENGTH];
    count_up(ids, LENGTH, LENGTH, 0);
    pb_sample sample = {.ids = ids, .length = 10};
    pb_batch both    = build(&sample, 1, (pb_batch_options){.virtual_rows = 1, .virtual_keys = 1});
    pb_batch joined  = {0};
    const pb_batch *parts[] = {&both};
    assert_error(pb_batch_join(parts, 1, &joined), PB_ERR_UNSUPPORTED, "cannot be joined");
    pb_batch_clear(&both);
    close_batch(&joined);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_sharing_every_sample_is_a_root),
        cmocka_unit_test(three_levels_of_common_prefixes_become_three_levels),
        cmocka_unit_test(sharing_samples_need_not_be_neighbours),
        cmocka_unit_test(identical_samples_are_one_segment),
        cmocka_unit_test(a_sample_that_is_a_prefix_of_another_ends_inside),
        cmocka_unit_test(a_prefix_of_seven_tokens_is_not_worth_a_segment),
        cmocka_unit_test(trimming_drops_what_predicts_no_label),
        cmocka_unit_test(trimming_may_leave_no_row_at_all),
        cmocka_unit_test(a_label_at_position_zero_is_never_used),
        cmocka_unit_test(labels_of_samples_that_share_a_row_share_its_output),
        cmocka_unit_test(virtual_rows_are_one_root_before_all_samples),
        cmocka_unit_test(virtual_keys_are_a_root_without_rows),
        cmocka_unit_test(empty_samples_and_batches_are_refused),
        cmocka_unit_test(a_batch_is_rebuilt_in_its_own_memory),
        cmocka_unit_test(an_answer_packs_like_its_list_of_labels),
        cmocka_unit_test(memory_that_is_not_had_leaves_nothing_behind),
        cmocka_unit_test(joined_batches_follow_one_another),
        cmocka_unit_test(virtual_rows_with_virtual_keys_cannot_be_joined),
    };
    return cmocka_run_group_tests_name("unit_network_batch", tests, NULL, NULL);
}
