// SPDX-License-Identifier: Apache-2.0
/* Steps, rates and the steps that are validated, against the protocol's golden schedule. */
#include "golden.h"
#include "train_fixture.h"

#include <math.h>
#include <stdlib.h>

/* The share of steps between validations with which a case was made. */
static double share_of(const json_t *c)
{
    double steps = json_number(c, "N");
    double every = json_number(c, "eval_every");
    return ceil(0.05 * steps) == every ? 0.05 : 0.1;
}

static void steps_and_rates_match(void **state)
{
    (void)state;
    json_t *golden = golden_json(shared_path("golden/protocol/splits/schedule.json"));
    json_t *cases  = json_object_get(golden, "cases");
    size_t i;
    json_t *c;
    assert_true(json_array_size(cases) > 0);
    json_array_foreach(cases, i, c)
    {
        pb_train_options o;
        assert_ok(pb_config_defaults(pb_train_fields, &o));
        o.batch       = (int64_t)json_number(c, "batch");
        o.epochs      = json_number(c, "epochs");
        int64_t steps = pb_train_steps(&o, (int64_t)json_number(c, "n_train"));
        assert_int_equal(steps, (int64_t)json_number(c, "N"));
        const char *key;
        json_t *factor;
        json_object_foreach(json_object_get(c, "lr_factor"), key, factor)
        {
            double got = pb_train_lr(&o, steps, strtoll(key, NULL, 10)) / o.learning_rate;
            assert_true(fabs(got - json_number_value(factor)) < TOLERANCE_LR);
        }
    }
    json_decref(golden);
}

/* Real runs of the cases that are short enough, on rows of one label. */
static void validated_steps_match(void **state)
{
    (void)state;
    static train_log log;
    const method_case method = {"lntuning", "targets = [\"norm\"];"};
    json_t *golden           = golden_json(shared_path("golden/protocol/splits/schedule.json"));
    json_t *c;
    size_t i;
    int runs = 0;
    json_array_foreach(json_object_get(golden, "cases"), i, c)
    {
        if (json_number(c, "N") > 700) {
            continue;
        }
        int32_t ids[]       = {3, 4};
        int64_t count       = (int64_t)json_number(c, "n_train");
        pb_sample *rows     = calloc((size_t)count, sizeof *rows);
        const json_t *steps = json_object_get(c, "evaluated_steps");
        assert_non_null(rows);
        for (int64_t r = 0; r < count; r++) {
            rows[r] = (pb_sample){.ids = ids, .labels = ids, .length = 2};
        }
        pb_train_data data = {rows, count, rows, 1};
        pb_train_options o;
        pb_train_result result;
        network_fixture f;
        network_fixture_open(&f, &method, false, 1);
        assert_ok(pb_config_defaults(pb_train_fields, &o));
        o.batch          = (int64_t)json_number(c, "batch");
        o.epochs         = json_number(c, "epochs");
        o.evaluate_share = share_of(c);
        o.evaluate_last  = false;
        log              = (train_log){0};
        assert_ok(train_run(&f, &o, 1, &data, &log, &result));
        assert_int_equal(log.count, (int64_t)json_number(c, "N"));
        assert_int_equal(log.validations, json_array_size(steps));
        for (int64_t v = 0; v < log.validations; v++) {
            assert_int_equal(log.validated[v],
                             json_integer_value(json_array_get(steps, (size_t)v)));
        }
        bool last = log.validated[log.validations - 1] == log.count;
        assert_int_equal(last, json_is_true(json_object_get(c, "last_step_evaluated")));
        network_fixture_close(&f);
        free(rows);
        runs++;
    }
    assert_true(runs >= 2);
    json_decref(golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_and_rates_match),
        cmocka_unit_test(validated_steps_match),
    };
    shared_directory();
    return cmocka_run_group_tests_name("unit_train_protocol", tests, NULL, NULL);
}
