// SPDX-License-Identifier: Apache-2.0
/* A record in memory, and that a shard returns exactly what was stored. */
#include "sample.h"
#include "support.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void write_and_read(const pb_record *record, bool complete, pb_record *out)
{
    const char *directory = sample_directory();
    char *path            = NULL;

    assert_ok(pb_shard_write(directory, record));
    assert_ok(pb_shard_path(directory, &record->key, &path));
    assert_ok(sample_read(path, complete, out));
    pb_memory_free(path);
}

static void assert_same_numbers(const pb_record *a, const pb_record *b)
{
    /* score, score_low, score_high, invalid_share */
    assert_memory_equal(&a->score, &b->score, 4 * sizeof a->score);
    assert_int_equal(a->trainable_params, b->trainable_params);
    assert_int_equal(a->model_params, b->model_params);
    /* The numbers from flops_forward_t to rows_test are contiguous 8-byte members. */
    assert_memory_equal(&a->flops_forward_t, &b->flops_forward_t,
                        offsetof(pb_record, train) - offsetof(pb_record, flops_forward_t));
}

static void a_full_record_comes_back_bit_for_bit(void **state)
{
    pb_record a;
    pb_record b;

    (void)state;
    assert_ok(sample_record("m", "d", "lora", -7, &a));
    a.score         = 0.1 + 0.2;
    a.invalid_share = -0.0;
    a.valid         = false;
    assert_ok(pb_record_set_text(&a.reason, "the loss is not finite"));
    write_and_read(&a, true, &b);

    assert_int_equal(pb_record_key_compare(&a.key, &b.key), 0);
    assert_string_equal(a.key.config_hash, b.key.config_hash);
    assert_int_equal(b.status, PB_OK);
    assert_false(b.valid);
    assert_string_equal(b.reason, "the loss is not finite");
    assert_string_equal(b.protocol, a.protocol);
    assert_string_equal(b.metric_name, a.metric_name);
    assert_string_equal(b.config, a.config);
    assert_string_equal(b.model_hash, a.model_hash);
    assert_string_equal(b.tokenizer_hash, a.tokenizer_hash);
    assert_string_equal(b.data_hash, a.data_hash);
    assert_string_equal(b.created, a.created);
    assert_same_numbers(&a, &b);
    assert_int_equal(b.metrics_count, 2);
    assert_string_equal(b.metrics[1].name, "f1");
    assert_true(b.metrics[1].value == a.metrics[1].value);
    assert_int_equal(b.train_count, 20);
    assert_memory_equal(a.train, b.train, 20 * sizeof *a.train);
    assert_int_equal(b.validation_count, 2);
    assert_memory_equal(a.validation, b.validation, 2 * sizeof *a.validation);
    assert_int_equal(b.memory_count, 2);
    assert_int_equal(b.memory[1].host_bytes, 750000000);
    assert_int_equal(b.memory[1].device_bytes, 200);
    assert_int_equal(b.memory[1].device_peak_bytes, 300);
    assert_string_equal(b.memory[1].phase, "train");
    assert_int_equal(b.phases_count, 2);
    assert_true(b.phases[1].flops == 1e12 && b.phases[1].start == 1 && b.phases[1].seconds == 12.5);
    assert_int_equal(b.predictions_count, 3);
    assert_string_equal(b.predictions[1].prediction, "");
    assert_string_equal(b.predictions[2].prediction, a.predictions[2].prediction);
    assert_int_equal(b.predictions[2].correct, -1);
    assert_true(b.predictions[0].value == 1 && b.predictions[2].value == 0.25);
    assert_int_equal(b.provenance_count, 2);
    assert_string_equal(b.provenance[0].name, "host");
    assert_string_equal(b.provenance[1].value, "gcc 12");
    assert_int_equal(b.escaped_bytes, 0);
    assert_true(b.complete);
    pb_record_clear(&a);
    pb_record_clear(&b);
}

static void lists_of_a_read_record_can_still_grow(void **state)
{
    pb_record a;
    pb_record b;

    (void)state;
    assert_ok(sample_record("m", "d", "lora", 1, &a));
    write_and_read(&a, true, &b);
    for (int i = 0; i < 50; i++) {
        assert_ok(pb_record_add_step(&b, &a.train[0]));
        assert_ok(pb_record_add_prediction(&b, i, "x", "y", 0, 0));
    }
    assert_int_equal(b.train_count, 70);
    assert_string_equal(b.predictions[52].label, "y");
    pb_record_clear(&a);
    pb_record_clear(&b);
}

static void curves_are_read_on_demand(void **state)
{
    pb_record a;
    pb_record b;
    pb_record whole;

    (void)state;
    assert_ok(sample_record("m", "d", "lora", 1, &a));
    write_and_read(&a, false, &b);
    assert_false(b.complete);
    assert_int_equal(b.train_count, 0);
    assert_int_equal(b.metrics_count, 2);
    assert_ok(sample_load(&b, &whole));
    assert_true(whole.complete);
    assert_int_equal(whole.train_count, 20);
    assert_memory_equal(a.train, whole.train, 20 * sizeof *a.train);
    pb_record_clear(&whole);
    pb_record_clear(&a);
    pb_record_clear(&b);
}

static void an_empty_record_comes_back_with_everything_unknown(void **state)
{
    pb_record a;
    pb_record b;

    (void)state;
    pb_record_init(&a);
    assert_ok(pb_record_set_key(&a, "", "", "", 0));
    write_and_read(&a, true, &b);
    assert_string_equal(b.key.model, "");
    assert_true(isnan(b.score) && isnan(b.energy_j));
    assert_int_equal(b.trainable_params, -1);
    assert_int_equal(b.train_count, 0);
    assert_null(b.train);
    assert_int_equal(b.predictions_count, 0);
    assert_int_equal(b.provenance_count, 0);
    pb_record_clear(&a);
    pb_record_clear(&b);
}

static void a_failed_record_keeps_status_and_message(void **state)
{
    pb_record a;
    pb_record b;

    (void)state;
    pb_record_init(&a);
    assert_ok(pb_record_set_key(&a, "m", "d", "lora", 1));
    assert_ok(pb_record_fail(&a, PB_FAIL(PB_ERR_IO, "the model is not there")));
    pb_error_clear();
    write_and_read(&a, true, &b);
    assert_int_equal(b.status, PB_ERR_IO);
    assert_string_equal(b.message, "the model is not there");
    assert_false(b.valid);
    assert_string_equal(b.reason, "the cell failed");
    pb_record_clear(&a);
    pb_record_clear(&b);
}

static void texts_that_are_not_utf8_are_escaped_and_counted(void **state)
{
    pb_record a;
    pb_record b;

    (void)state;
    pb_record_init(&a);
    assert_ok(pb_record_set_key(&a, "a/b", "..", "\xFFq", 1));
    assert_ok(pb_record_set_text(&a.message, "x\xC3(\xF0\x9F"));
    assert_ok(pb_record_add_prediction(&a, 0, "\xED\xA0\x80", "ok", 0, 0));
    assert_ok(pb_record_add_provenance(&a, "weird/name \n", "\x80"));
    write_and_read(&a, true, &b);
    assert_string_equal(b.key.model, "a/b");
    assert_string_equal(b.key.dataset, "..");
    assert_string_equal(b.key.method, "\\xFFq");
    assert_string_equal(b.message, "x\\xC3(\\xF0\\x9F");
    assert_string_equal(b.predictions[0].prediction, "\\xED\\xA0\\x80");
    assert_string_equal(b.provenance[0].name, "weird/name \n");
    assert_string_equal(b.provenance[0].value, "\\x80");
    assert_int_equal(b.escaped_bytes, 8);
    pb_record_clear(&a);
    pb_record_clear(&b);
}

static void long_texts_and_many_rows_come_back(void **state)
{
    pb_record a;
    pb_record b;
    size_t length = 300000;
    char *text    = malloc(length + 1);

    (void)state;
    assert_non_null(text);
    memset(text, 'x', length);
    text[length] = '\0';
    assert_ok(sample_record("m", "d", "lora", 1, &a));
    assert_ok(pb_record_set_text(&a.config, text));
    for (int i = 0; i < 5000; i++) {
        assert_ok(pb_record_add_step(&a, &(pb_record_step){.step = i, .loss = sqrt(i)}));
        assert_ok(pb_record_add_prediction(&a, i, "abc", "abd", 0, 0));
    }
    write_and_read(&a, true, &b);
    assert_int_equal(strlen(b.config), length);
    assert_int_equal(b.train_count, a.train_count);
    assert_memory_equal(a.train, b.train, (size_t)a.train_count * sizeof *a.train);
    assert_string_equal(b.predictions[5002].label, "abd");
    pb_record_clear(&a);
    pb_record_clear(&b);
    free(text);
}

static void appending_fails_cleanly_without_memory(void **state)
{
    pb_record a;
    pb_status status = PB_OK;

    (void)state;
    pb_record_init(&a);
    pb_memory_limit(pb_memory_current() + 5000);
    for (int i = 0; i < 1000 && status == PB_OK; i++) {
        status = pb_record_add_prediction(&a, i, "some text", "another", 1, 1);
    }
    assert_int_equal(status, PB_ERR_MEMORY);
    assert_true(a.predictions_count > 0);
    assert_string_equal(a.predictions[a.predictions_count - 1].label, "another");
    pb_memory_limit(0);
    pb_error_clear();
    pb_record_clear(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_full_record_comes_back_bit_for_bit, returns_all_bytes),
        cmocka_unit_test_teardown(lists_of_a_read_record_can_still_grow, returns_all_bytes),
        cmocka_unit_test_teardown(curves_are_read_on_demand, returns_all_bytes),
        cmocka_unit_test_teardown(an_empty_record_comes_back_with_everything_unknown,
                                  returns_all_bytes),
        cmocka_unit_test_teardown(a_failed_record_keeps_status_and_message, returns_all_bytes),
        cmocka_unit_test_teardown(texts_that_are_not_utf8_are_escaped_and_counted,
                                  returns_all_bytes),
        cmocka_unit_test_teardown(long_texts_and_many_rows_come_back, returns_all_bytes),
        cmocka_unit_test_teardown(appending_fails_cleanly_without_memory, returns_all_bytes),
    };
    return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
