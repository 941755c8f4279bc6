// SPDX-License-Identifier: Apache-2.0
/* Merged networks give the logits of unmerged ones; methods that add rows or keys are refused. */
#include "golden.h"
#include "network_fixture.h"

#include "pb/memory.h"

#include <stdlib.h>
#include <string.h>

/* Logits of all tokens of the fixture's rows 0 to 2. */
static float *all_logits(network_fixture *f, int64_t *count)
{
    network_rows rows;
    network_rows_fill(&rows);
    for (int r = 0; r < 3; r++) {
        rows.samples[r].labels = NULL;
    }
    pb_batch batch = network_pack(f, rows.samples, 3, false);
    int64_t n      = batch.forest.rows;
    int32_t wanted[3 * NETWORK_LENGTH];
    float *logits = malloc((size_t)(n * NETWORK_VOCAB) * sizeof *logits);
    assert_non_null(logits);
    for (int64_t t = 0; t < n; t++) {
        wanted[t] = (int32_t)t;
    }
    assert_ok(pb_network_logits(f->net, &batch, wanted, n, logits, NULL));
    pb_batch_clear(&batch);
    *count = n * NETWORK_VOCAB;
    return logits;
}

static bool can_merge(const pb_method *m)
{
    const pb_method_ops *ops = m->ops;
    bool at_sites = ops->linear_input_forward != NULL || ops->linear_output_forward != NULL;
    return ops->virtual_rows == NULL && ops->virtual_keys == NULL &&
           (!at_sites || ops->merge != NULL);
}

static void check_case(const method_case *c, bool biases)
{
    network_fixture f;
    int64_t count = 0;
    network_fixture_open(&f, c, biases, 1);
    if (!can_merge(f.method)) {
        assert_error(pb_network_merge(f.net), PB_ERR_UNSUPPORTED, c->method);
        network_fixture_close(&f);
        return;
    }
    float *before = all_logits(&f, &count);
    assert_ok(pb_network_merge(f.net));
    float *after = all_logits(&f, &count);
    double error = golden_error(after, before, count);
    if (!(error < TOLERANCE_MERGED)) {
        fail_msg("%s: merged logits differ by %g", method_case_text(c), error);
    }
    bool hooks = f.method->ops->merge != NULL || f.method->ops->low_rank != NULL;
    assert_true(hooks || memcmp(before, after, (size_t)count * sizeof *after) == 0);
    if (f.method->parameters > 0 && hooks) {
        /* The hooks no longer act: other values of the method change nothing. */
        assert_ok(pb_zero(f.backend, &f.method->values));
        float *third = all_logits(&f, &count);
        assert_memory_equal(third, after, (size_t)count * sizeof *third);
        free(third);
    }
    assert_ok(pb_network_merge(f.net)); /* a second time changes nothing */
    free(before);
    free(after);
    network_fixture_close(&f);
}

static void merged_logits_are_the_unmerged_ones(void **state)
{
    (void)state;
    for (int i = 0; i < method_case_count(); i++) {
        check_case(method_case_at(i), false);
    }
}

static void biases_are_merged_too(void **state)
{
    (void)state;
    for (int i = 0; i < method_case_count(); i++) {
        check_case(method_case_at(i), true);
    }
}

static void the_bare_network_merges_to_itself(void **state)
{
    (void)state;
    network_fixture f;
    network_fixture_open(&f, NULL, false, 1);
    assert_ok(pb_network_merge(f.net));
    network_fixture_close(&f);
}

/* Sites whose weights are copied by merging. */
static int merged_sites(const network_fixture *f)
{
    int count = 0;
    for (int64_t i = 0; i < pb_model_site_count(f->model); i++) {
        count += f->method->ops->acts(f->method, pb_model_site_at(f->model, i)) != 0;
    }
    return count;
}

/* After every failure merging can be tried again, and gives the same logits. */
static void merging_without_memory_can_be_tried_again(void **state)
{
    (void)state;
    device_skip_unless_host();
    for (int i = 0; i < method_case_count(); i++) {
        network_fixture f;
        int64_t count = 0;
        network_fixture_open(&f, method_case_at(i), true, 1);
        const pb_method_ops *ops = f.method->ops;
        bool at_outputs          = ops->linear_output_forward != NULL || ops->low_rank != NULL;
        if (!can_merge(f.method) || !at_outputs) {
            network_fixture_close(&f);
            continue;
        }
        float *before   = all_logits(&f, &count);
        pb_status again = PB_ERR_MEMORY;
        int failures    = 0;
        size_t limit    = pb_memory_current();
        while (again != PB_OK) {
            pb_memory_limit(limit);
            again = pb_network_merge(f.net);
            pb_memory_limit(0);
            if (again != PB_OK) {
                assert_int_equal(again, PB_ERR_MEMORY);
                limit = network_bytes_wanted();
                failures++;
            }
        }
        assert_true(failures >= 1 + merged_sites(&f)); /* the list, then each copy */
        float *after = all_logits(&f, &count);
        assert_true(golden_error(after, before, count) < TOLERANCE_MERGED);
        free(before);
        free(after);
        network_fixture_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merged_logits_are_the_unmerged_ones),
        cmocka_unit_test(biases_are_merged_too),
        cmocka_unit_test(the_bare_network_merges_to_itself),
        cmocka_unit_test(merging_without_memory_can_be_tried_again),
    };
    return cmocka_run_group_tests_name("unit_network_merge", tests, NULL, NULL);
}
