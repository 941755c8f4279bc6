// SPDX-License-Identifier: Apache-2.0
/* Greedy generation with a cache against the full forward pass, rows together against rows alone,
 * and how a row ends. */
#include "network_fixture.h"

#include "pb/memory.h"

#include <math.h>
#include <string.h>

enum { NEW_TOKENS = 10, MOST_TOKENS = 140 };

/* Two logits closer than this may swap under a different order of summation. */
#define MARGIN 1e-4f

static void generate(pb_network *net, const pb_sample *prompts, int64_t count,
                     const pb_generate_options *options, pb_generated *out)
{
    assert_ok(pb_network_generate(net, prompts, count, options, out));
    for (int64_t i = 0; i < count; i++) {
        assert_true(out[i].count >= 1 && out[i].count <= options->max_new_tokens);
        for (int64_t t = 0; t < out[i].count; t++) {
            assert_true(out[i].ids[t] >= 0 && out[i].ids[t] < NETWORK_VOCAB);
        }
    }
}

static void free_generated(pb_generated *out, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        pb_memory_free(out[i].ids);
    }
}

/* Logits of the last token of a row by the full forward pass. */
static void last_logits(network_fixture *f, const int32_t *ids, int64_t length, float *logits)
{
    pb_sample sample = {.ids = ids, .length = length};
    pb_batch batch   = network_pack(f, &sample, 1, false);
    assert_ok(pb_network_logits(f->net, &batch, &batch.last_rows[0], 1, logits, NULL));
    pb_batch_clear(&batch);
}

/* How far the logit of `id` is below the largest one. */
static float behind_best(const float *logits, int32_t id)
{
    float best = logits[0];
    for (int32_t v = 1; v < NETWORK_VOCAB; v++) {
        best = logits[v] > best ? logits[v] : best;
    }
    return best - logits[id];
}

static void check_against_forward(network_fixture *f, const char *what, const pb_sample *prompt,
                                  const pb_generated *got)
{
    int32_t ids[NETWORK_LENGTH + NEW_TOKENS];
    float logits[NETWORK_VOCAB];
    memcpy(ids, prompt->ids, (size_t)prompt->length * sizeof *ids);
    for (int64_t t = 0; t < got->count; t++) {
        last_logits(f, ids, prompt->length + t, logits);
        if (!(behind_best(logits, got->ids[t]) <= MARGIN)) {
            fail_msg("%s: new id %d is %g below the best", what, (int)t,
                     (double)behind_best(logits, got->ids[t]));
        }
        ids[prompt->length + t] = got->ids[t];
    }
}

static void cached_generation_follows_the_full_forward_pass(void **state)
{
    (void)state;
    for (int i = 0; i < method_case_count(); i += method_case_step()) {
        network_fixture f;
        network_rows rows;
        pb_generated out[NETWORK_ROWS];
        pb_generate_options options = {.max_new_tokens = NEW_TOKENS, .batch = NETWORK_ROWS};
        network_rows_fill(&rows);
        network_fixture_open(&f, method_case_at(i), i % 2 != 0, 1);
        generate(f.net, rows.samples, NETWORK_ROWS, &options, out);
        for (int r = 0; r < NETWORK_ROWS; r++) {
            assert_int_equal(out[r].count, NEW_TOKENS);
            check_against_forward(&f, method_case_text(method_case_at(i)), &rows.samples[r],
                                  &out[r]);
        }
        free_generated(out, NETWORK_ROWS);
        network_fixture_close(&f);
    }
}

/* The same ids up to the first place where two logits are too close to distinguish. */
static void check_same(network_fixture *f, const char *what, const pb_sample *prompt,
                       const pb_generated *a, const pb_generated *b)
{
    int32_t ids[NETWORK_LENGTH + NEW_TOKENS];
    float logits[NETWORK_VOCAB];
    memcpy(ids, prompt->ids, (size_t)prompt->length * sizeof *ids);
    assert_int_equal(a->count, b->count);
    for (int64_t t = 0; t < a->count; t++) {
        if (a->ids[t] != b->ids[t]) {
            last_logits(f, ids, prompt->length + t, logits);
            if (behind_best(logits, a->ids[t]) > MARGIN ||
                behind_best(logits, b->ids[t]) > MARGIN) {
                fail_msg("%s: new id %d is %d or %d", what, (int)t, (int)a->ids[t], (int)b->ids[t]);
            }
            return;
        }
        ids[prompt->length + t] = a->ids[t];
    }
}

static void rows_together_give_what_each_gives_alone(void **state)
{
    (void)state;
    for (int i = 0; i < method_case_count(); i += method_case_step()) {
        network_fixture f;
        network_rows rows;
        pb_generated alone[NETWORK_ROWS];
        network_rows_fill(&rows);
        network_fixture_open(&f, method_case_at(i), i % 2 == 0, 1);
        pb_generate_options options = {.max_new_tokens = NEW_TOKENS, .batch = 1};
        generate(f.net, rows.samples, NETWORK_ROWS, &options, alone);
        for (options.batch = 4; options.batch <= 8; options.batch += 4) {
            pb_generated together[NETWORK_ROWS];
            generate(f.net, rows.samples, NETWORK_ROWS, &options, together);
            for (int r = 0; r < NETWORK_ROWS; r++) {
                check_same(&f, method_case_text(method_case_at(i)), &rows.samples[r], &alone[r],
                           &together[r]);
            }
            free_generated(together, NETWORK_ROWS);
        }
        free_generated(alone, NETWORK_ROWS);
        network_fixture_close(&f);
    }
}

/* The rows are first run to the end, then again with one of their ids as the stop: each must be cut
 * after its first one. */
static void a_row_ends_with_the_first_stop_id(void **state)
{
    (void)state;
    network_fixture f;
    network_rows rows;
    pb_generated whole[NETWORK_ROWS];
    network_rows_fill(&rows);
    network_fixture_open(&f, NULL, true, 1);
    pb_generate_options options = {.max_new_tokens = NEW_TOKENS, .batch = 1};
    generate(f.net, rows.samples, NETWORK_ROWS, &options, whole);
    bool different = false;
    for (int64_t at = 0; at < NEW_TOKENS; at++) {
        pb_generated cut[NETWORK_ROWS];
        int32_t stops[2] = {whole[3].ids[at], whole[0].ids[2]};
        options          = (pb_generate_options){.max_new_tokens = NEW_TOKENS,
                                                 .stop_ids       = stops,
                                                 .stop_count     = 2,
                                                 .batch          = NETWORK_ROWS};
        generate(f.net, rows.samples, NETWORK_ROWS, &options, cut);
        for (int r = 0; r < NETWORK_ROWS; r++) {
            int64_t expected = 1;
            while (expected < NEW_TOKENS && whole[r].ids[expected - 1] != stops[0] &&
                   whole[r].ids[expected - 1] != stops[1]) {
                expected++;
            }
            assert_int_equal(cut[r].count, expected);
            assert_memory_equal(cut[r].ids, whole[r].ids, (size_t)expected * sizeof(int32_t));
            different = different || cut[r].count != cut[0].count;
        }
        free_generated(cut, NETWORK_ROWS);
    }
    assert_true(different);
    free_generated(whole, NETWORK_ROWS);
    network_fixture_close(&f);
}

/* Every token of a long row is the best one after those before it. */
static void long_rows_agree_with_the_full_forward_pass(void **state)
{
    (void)state;
    enum { LONG = 90 };
    const method_case prefix = {"prefix", "num_virtual_tokens = 3; projection = false;"};
    network_fixture f;
    network_rows rows;
    pb_generated out[NETWORK_ROWS];
    float logits[NETWORK_VOCAB];
    int32_t ids[NETWORK_LENGTH + LONG];
    pb_generate_options options = {.max_new_tokens = LONG, .batch = 4};
    network_rows_fill(&rows);
    network_fixture_open(&f, &prefix, false, 1);
    generate(f.net, rows.samples, NETWORK_ROWS, &options, out);
    for (int r = 0; r < NETWORK_ROWS; r++) {
        int64_t length = rows.samples[r].length;
        memcpy(ids, rows.ids[r], (size_t)length * sizeof *ids);
        assert_int_equal(out[r].count, LONG);
        for (int64_t t = 0; t < LONG; t++) {
            ids[length + t] = out[r].ids[t];
            if (t % 8 == 0 || t == LONG - 1) {
                last_logits(&f, ids, length + t, logits);
                assert_true(behind_best(logits, out[r].ids[t]) <= MARGIN);
            }
        }
    }
    free_generated(out, NETWORK_ROWS);
    network_fixture_close(&f);
}

/* Allocations of a fresh network that generates. */
static size_t count_allocations(network_fixture *f, const pb_sample *prompts,
                                pb_generate_options *options, int64_t new_tokens)
{
    pb_generated out[NETWORK_ROWS];
    pb_network_destroy(f->net);
    assert_ok(pb_network_create(f->weights, f->method, &f->net));
    pb_network_without(f->net, 1U << PB_SAVING_ORDER); /* groups of as many rows, however long */
    size_t before           = pb_memory_allocations();
    options->max_new_tokens = new_tokens;
    generate(f->net, prompts, NETWORK_ROWS, options, out);
    size_t count = pb_memory_allocations() - before;
    free_generated(out, NETWORK_ROWS);
    return count;
}

static void compare_allocations(pb_dtype dtype, int64_t rows_at_once)
{
    network_fixture f;
    network_rows rows;
    pb_generate_options options = {.batch = rows_at_once};
    network_rows_fill(&rows);
    for (int r = 0; r < NETWORK_ROWS; r += 2) { /* one token of theirs serves three rows */
        rows.samples[r].ids    = rows.ids[0];
        rows.samples[r].length = 1;
    }
    network_fixture_open(&f, NULL, false, 1);
    assert_ok(pb_backend_use_dtype(f.backend, dtype));
    (void)count_allocations(&f, rows.samples, &options, MOST_TOKENS); /* tables of a device grow */
    size_t few = count_allocations(&f, rows.samples, &options, 2);
    assert_int_equal(count_allocations(&f, rows.samples, &options, MOST_TOKENS), few);
    network_fixture_close(&f);
}

/* More tokens need no more allocations, not even beyond the positions of the model. */
static void nothing_is_allocated_after_the_first_token(void **state)
{
    (void)state;
    for (int64_t batch = 1; batch <= NETWORK_ROWS; batch += NETWORK_ROWS - 1) {
        compare_allocations(PB_DTYPE_F32, batch);
        compare_allocations(PB_DTYPE_BF16, batch);
    }
}

/* Drafts of a row: what it will say, with an end that is wrong, and other beginnings of its. */
typedef struct draft_set {
    pb_sample drafts[4];
    int32_t ids[4][NEW_TOKENS];
} draft_set;

static void fill_drafts(const pb_generated *row, int right, draft_set *set)
{
    static const int lengths[4] = {NEW_TOKENS, 3, NEW_TOKENS, 1};
    for (int d = 0; d < 4; d++) {
        memcpy(set->ids[d], row->ids, sizeof set->ids[d]);
        for (int t = d == 2 ? 1 : right; t < NEW_TOKENS; t++) {
            set->ids[d][t] = (row->ids[t] + 1) % NETWORK_VOCAB;
        }
        set->drafts[d] = (pb_sample){.ids = set->ids[d], .length = lengths[d]};
    }
}

/* Whatever the drafts say, and however much of it is right. */
static void drafts_change_no_token(void **state)
{
    (void)state;
    for (int i = 0; i < method_case_count(); i += 8 * method_case_step()) {
        network_fixture f;
        network_rows rows;
        pb_generated plain[NETWORK_ROWS];
        pb_generated drafted[NETWORK_ROWS];
        pb_generate_options options = {.max_new_tokens = NEW_TOKENS, .batch = NETWORK_ROWS};
        network_rows_fill(&rows);
        network_fixture_open(&f, method_case_at(i), true, 1);
        generate(f.net, rows.samples, NETWORK_ROWS, &options, plain);
        for (int right = 1; right <= NEW_TOKENS; right += 3) {
            draft_set set;
            fill_drafts(&plain[right % NETWORK_ROWS], right, &set);
            options.drafts      = set.drafts;
            options.draft_count = 4;
            generate(f.net, rows.samples, NETWORK_ROWS, &options, drafted);
            for (int r = 0; r < NETWORK_ROWS; r++) {
                check_same(&f, method_case_text(method_case_at(i)), &rows.samples[r], &plain[r],
                           &drafted[r]);
            }
            free_generated(drafted, NETWORK_ROWS);
        }
        free_generated(plain, NETWORK_ROWS);
        network_fixture_close(&f);
    }
}

static bool count_asked(void *context)
{
    ++*(int *)context;
    return false;
}

/* The first token comes from the prompt, the rest from one pass more. */
static void a_right_draft_takes_one_pass(void **state)
{
    (void)state;
    network_fixture f;
    network_rows rows;
    pb_generated out[1];
    draft_set set;
    int passes                  = 0;
    pb_generate_options options = {
        .max_new_tokens = NEW_TOKENS, .batch = 1, .stop = count_asked, .context = &passes};
    network_rows_fill(&rows);
    network_fixture_open(&f, NULL, false, 1);
    generate(f.net, rows.samples, 1, &options, out);
    assert_int_equal(passes, NEW_TOKENS - 1);
    fill_drafts(out, NEW_TOKENS, &set);
    free_generated(out, 1);
    options.drafts      = set.drafts;
    options.draft_count = 4;
    for (unsigned without = 0; without < 2; without++) {
        passes = 0;
        pb_network_without(f.net, without << PB_SAVING_DRAFTS);
        generate(f.net, rows.samples, 1, &options, out);
        assert_int_equal(passes, without ? NEW_TOKENS - 1 : 1);
        assert_memory_equal(out[0].ids, set.ids[0], sizeof set.ids[0]);
        free_generated(out, 1);
    }
    network_fixture_close(&f);
}

/* With stops at different tokens, so that rows are finished while others go on. */
static void whatever_is_not_saved_the_tokens_are_the_same(void **state)
{
    (void)state;
    const method_case prefix = {"prefix", "num_virtual_tokens = 3; projection = false;"};
    network_fixture f;
    network_rows rows;
    draft_set set;
    pb_generated plain[NETWORK_ROWS];
    pb_generated other[NETWORK_ROWS];
    pb_generate_options options = {.max_new_tokens = NEW_TOKENS, .batch = 4};
    network_rows_fill(&rows);
    network_fixture_open(&f, &prefix, false, 1);
    generate(f.net, rows.samples, NETWORK_ROWS, &options, plain);
    fill_drafts(plain, 4, &set);
    int32_t stops[2]    = {plain[3].ids[2], plain[5].ids[6]};
    options.drafts      = set.drafts;
    options.draft_count = 4;
    options.stop_ids    = stops;
    options.stop_count  = 2;
    free_generated(plain, NETWORK_ROWS);
    generate(f.net, rows.samples, NETWORK_ROWS, &options, plain);
    for (unsigned s = 0; s < PB_SAVING_COUNT; s++) {
        pb_network_without(f.net, 1U << s);
        generate(f.net, rows.samples, NETWORK_ROWS, &options, other);
        for (int r = 0; r < NETWORK_ROWS; r++) {
            check_same(&f, pb_saving_names[s], &rows.samples[r], &plain[r], &other[r]);
        }
        free_generated(other, NETWORK_ROWS);
    }
    free_generated(plain, NETWORK_ROWS);
    network_fixture_close(&f);
}

static void one_new_token_needs_the_prompt_alone(void **state)
{
    (void)state;
    network_fixture f;
    network_rows rows;
    pb_generated out[NETWORK_ROWS];
    pb_generate_options options = {.max_new_tokens = 1, .batch = 4};
    network_rows_fill(&rows);
    network_fixture_open(&f, NULL, false, 1);
    generate(f.net, rows.samples, NETWORK_ROWS, &options, out);
    for (int r = 0; r < NETWORK_ROWS; r++) {
        assert_int_equal(out[r].count, 1);
        check_against_forward(&f, "one token", &rows.samples[r], &out[r]);
    }
    free_generated(out, NETWORK_ROWS);
    network_fixture_close(&f);
}

static void labels_of_prompts_are_not_looked_at(void **state)
{
    (void)state;
    network_fixture f;
    network_rows rows;
    pb_generated with[2];
    pb_generated without[2];
    pb_generate_options options = {.max_new_tokens = 4, .batch = 2};
    network_rows_fill(&rows);
    network_fixture_open(&f, NULL, false, 1);
    generate(f.net, rows.samples + 1, 2, &options, with);
    rows.samples[1].labels = NULL;
    rows.samples[2].labels = NULL;
    generate(f.net, rows.samples + 1, 2, &options, without);
    for (int r = 0; r < 2; r++) {
        assert_memory_equal(with[r].ids, without[r].ids, 4 * sizeof(int32_t));
    }
    free_generated(with, 2);
    free_generated(without, 2);
    network_fixture_close(&f);
}

/* Generation is the same whether a step of training or another generation went before. */
static void earlier_passes_change_nothing(void **state)
{
    (void)state;
    const method_case prefix = {"prefix", "num_virtual_tokens = 3; projection = false;"};
    network_fixture f;
    network_rows rows;
    pb_generated first[NETWORK_ROWS];
    pb_generated again[NETWORK_ROWS];
    pb_generate_options options = {.max_new_tokens = NEW_TOKENS, .batch = 4};
    network_rows_fill(&rows);
    network_fixture_open(&f, &prefix, false, 1);
    generate(f.net, rows.samples, NETWORK_ROWS, &options, first);
    pb_batch batch = network_pack(&f, rows.samples, NETWORK_ROWS, true);
    (void)network_step(&f, &batch, 0);
    generate(f.net, rows.samples, NETWORK_ROWS, &options, again);
    for (int r = 0; r < NETWORK_ROWS; r++) {
        assert_memory_equal(first[r].ids, again[r].ids, NEW_TOKENS * sizeof(int32_t));
    }
    pb_batch_clear(&batch);
    free_generated(first, NETWORK_ROWS);
    free_generated(again, NETWORK_ROWS);
    network_fixture_close(&f);
}

static void bad_requests_are_refused(void **state)
{
    (void)state;
    network_fixture f;
    network_rows rows;
    pb_generated out[NETWORK_ROWS];
    network_rows_fill(&rows);
    network_fixture_open(&f, NULL, false, 1);
    pb_generate_options options = {.max_new_tokens = 2, .batch = 2};
    rows.samples[4].length      = 0;
    assert_error(pb_network_generate(f.net, rows.samples, NETWORK_ROWS, &options, out),
                 PB_ERR_ARGUMENT, "has no tokens");
    for (int r = 0; r < NETWORK_ROWS; r++) {
        assert_null(out[r].ids);
    }
    rows.ids[1][3] = NETWORK_VOCAB;
    assert_error(pb_network_generate(f.net, rows.samples, 2, &options, out), PB_ERR_ARGUMENT,
                 "outside the model's vocabulary");
    options.max_new_tokens = 0;
    assert_error(pb_network_generate(f.net, rows.samples, 1, &options, out), PB_ERR_ARGUMENT,
                 "at least one new token");
    network_rows_fill(&rows);
    options.max_new_tokens = INT64_MAX;
    assert_error(pb_network_generate(f.net, rows.samples, 2, &options, out), PB_ERR_ARGUMENT,
                 "more than a cache can count");
    options = (pb_generate_options){.max_new_tokens = 1, .batch = 0};
    assert_error(pb_network_generate(f.net, rows.samples, 1, &options, out), PB_ERR_ARGUMENT,
                 "one row at a time");
    options.batch = 1;
    assert_ok(pb_network_generate(f.net, rows.samples, 0, &options, out));
    network_fixture_close(&f);
}

/* The method's tensor of this name. */
static pb_tensor named(const pb_method *m, const char *name)
{
    for (int64_t i = 0; i < m->count; i++) {
        if (strcmp(m->trainables[i].name, name) == 0) {
            return m->trainables[i].value;
        }
    }
    fail_msg("no tensor %s", name);
    return (pb_tensor){0};
}

/* Finite weights with products that are not, and weights that are not finite. */
static void logits_that_are_not_finite_are_refused(void **state)
{
    (void)state;
    static const method_case full = {"full", ""};
    static const float norms[]    = {3e38f, NAN, INFINITY};
    for (size_t i = 0; i < sizeof norms / sizeof *norms; i++) {
        network_fixture f;
        network_rows rows;
        pb_generated out[NETWORK_ROWS];
        float logits[2 * NETWORK_VOCAB];
        pb_generate_options options = {.max_new_tokens = NEW_TOKENS, .batch = 2};
        network_rows_fill(&rows);
        network_fixture_open(&f, &full, false, 1);
        pb_tensor norm = named(f.method, "model.norm.weight");
        for (int64_t k = 0; k < pb_tensor_count(&norm); k++) {
            host_set(f.backend, &norm, k, norms[i]);
        }
        pb_network_without(f.net, 1U << PB_SAVING_ORDER);
        assert_error(pb_network_generate(f.net, rows.samples, 3, &options, out), PB_ERR_NUMERIC,
                     "logits of row 1 of 3 are not finite at its new token 1: a value left the "
                     "range of F32; use another checkpoint or adapter");
        assert_null(out[0].ids);
        pb_batch batch    = network_pack(&f, rows.samples, 1, false);
        int32_t wanted[2] = {0, 1};
        assert_error(pb_network_logits(f.net, &batch, wanted, 2, logits, NULL), PB_ERR_NUMERIC,
                     "logits of row 1 of 2 are not finite: a value left the range of F32");
        pb_batch_clear(&batch);
        network_fixture_close(&f);
    }
}

/* Only the row that has the damaged token is named, in whatever batch it is. */
static void the_row_without_finite_logits_is_named(void **state)
{
    (void)state;
    static const method_case full = {"full", ""};
    for (int64_t batch = 1; batch <= 4; batch++) {
        network_fixture f;
        pb_generated out[4];
        int32_t ids[4][2]           = {{1, 2}, {1, 3}, {4, 39}, {5, 3}};
        pb_sample prompts[4]        = {0};
        pb_generate_options options = {.max_new_tokens = 1, .batch = batch};
        for (int i = 0; i < 4; i++) {
            prompts[i] = (pb_sample){.ids = ids[i], .length = 2};
        }
        network_fixture_open(&f, &full, false, 1);
        pb_tensor table = named(f.method, "model.embed_tokens.weight");
        host_set(f.backend, &table, 39 * table.shape[1], NAN);
        assert_error(pb_network_generate(f.net, prompts, 4, &options, out), PB_ERR_NUMERIC,
                     "logits of row 3 of 4 are not finite");
        network_fixture_close(&f);
    }
}

/* Rows that begin alike are computed together, in fewer passes; the results stay with their rows.
 */
static void rows_are_grouped_by_their_beginnings(void **state)
{
    enum { PAIRS = 4, COMMON = 30 };
    (void)state;
    network_fixture f;
    int32_t ids[2 * PAIRS][COMMON + 1];
    pb_sample prompts[2 * PAIRS];
    pb_generated plain[2 * PAIRS];
    pb_generated sorted[2 * PAIRS];
    int passes[2]               = {0, 0};
    pb_generate_options options = {.max_new_tokens = 2, .batch = 3, .stop = count_asked};
    for (int r = 0; r < 2 * PAIRS; r++) { /* row r and row r + PAIRS */
        for (int t = 0; t < COMMON; t++) {
            ids[r][t] = (r % PAIRS + t) % NETWORK_VOCAB;
        }
        ids[r][COMMON] = r;
        prompts[r]     = (pb_sample){.ids = ids[r], .length = COMMON + 1};
    }
    network_fixture_open(&f, NULL, false, 1);
    pb_network_without(f.net, 1U << PB_SAVING_ORDER);
    options.context = &passes[0];
    generate(f.net, prompts, 2 * PAIRS, &options, plain);
    pb_network_without(f.net, 0);
    options.context = &passes[1];
    generate(f.net, prompts, 2 * PAIRS, &options, sorted);
    assert_int_equal(passes[0], 3);
    assert_int_equal(passes[1], 2);
    for (int r = 0; r < 2 * PAIRS; r++) {
        check_same(&f, "sorted", &prompts[r], &plain[r], &sorted[r]);
    }
    free_generated(plain, (int64_t)2 * PAIRS);
    free_generated(sorted, (int64_t)2 * PAIRS);
    network_fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cached_generation_follows_the_full_forward_pass),
        cmocka_unit_test(rows_together_give_what_each_gives_alone),
        cmocka_unit_test(a_row_ends_with_the_first_stop_id),
        cmocka_unit_test(long_rows_agree_with_the_full_forward_pass),
        cmocka_unit_test(nothing_is_allocated_after_the_first_token),
        cmocka_unit_test(drafts_change_no_token),
        cmocka_unit_test(a_right_draft_takes_one_pass),
        cmocka_unit_test(whatever_is_not_saved_the_tokens_are_the_same),
        cmocka_unit_test(rows_are_grouped_by_their_beginnings),
        cmocka_unit_test(one_new_token_needs_the_prompt_alone),
        cmocka_unit_test(labels_of_prompts_are_not_looked_at),
        cmocka_unit_test(earlier_passes_change_nothing),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(logits_that_are_not_finite_are_refused),
        cmocka_unit_test(the_row_without_finite_logits_is_named),
    };
    return cmocka_run_group_tests_name("unit_network_generate", tests, NULL, NULL);
}
