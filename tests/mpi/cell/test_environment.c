// SPDX-License-Identifier: Apache-2.0
/* The environment of a sweep when something differs or fails on the last rank alone: every rank
 * gets the same status, none waits, and no byte is left. */
#include "pb/cell.h"
#include "pb/log.h"
#include "pb/memory.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

static pb_comm *comm;

static bool is_last(void)
{
    return pb_comm_rank(comm) == pb_comm_size(comm) - 1;
}

static bool is_alone(void)
{
    return pb_comm_size(comm) == 1;
}

static pb_status open_environment(int threads, pb_cell_env **env)
{
    pb_cell_setup setup = {.backend = "cpu", .threads = threads};
    return pb_cell_env_open(&setup, comm, env);
}

static void processes_that_compute_alike_open_it(void **state)
{
    (void)state;
    pb_cell_env *env = NULL;
    assert_int_equal(open_environment(0, &env), PB_OK);
    pb_cell_env_close(env);
}

static void another_number_of_threads_is_reported_with_both_texts(void **state)
{
    (void)state;
    pb_cell_env *env = NULL;
    size_t before    = pb_memory_current();
    pb_status status = open_environment(is_last() ? 2 : 1, &env);
    if (is_alone()) {
        assert_int_equal(status, PB_OK);
    } else {
        assert_int_equal(status, PB_ERR_CONFIG);
        assert_non_null(strstr(pb_error_message(), "1 thread\""));
        assert_non_null(strstr(pb_error_message(), "2 threads\""));
        assert_non_null(strstr(pb_error_message(), "--threads N"));
        assert_null(env);
    }
    pb_error_clear();
    pb_cell_env_close(env);
    assert_int_equal(pb_memory_current(), before);
}

/* A cell of model "m" with this text as its configuration. */
static pb_cell *open_cell(const char *text)
{
    const pb_cell_name name = {.model = "m", .dataset = "d", .method = "none"};
    pb_config *config       = NULL;
    pb_cell *cell           = NULL;
    assert_int_equal(pb_config_parse(text, "m.cfg", &config), PB_OK);
    assert_int_equal(pb_cell_open_take(&name, config, NULL, &cell), PB_OK);
    return cell;
}

typedef pb_status (*add_model)(pb_cell_env *env, const pb_cell *cell);

static pb_status add_shape(pb_cell_env *env, const pb_cell *cell)
{
    return pb_cell_env_add_shape(env, cell, false);
}

static const add_model ways[] = {pb_cell_env_add_model, add_shape};

/* A model that one rank cannot read is recorded as such by all, and does not end the sweep. */
static void a_wrong_key_on_one_rank_leaves_nothing_behind(void **state)
{
    (void)state;
    size_t before = pb_memory_current();
    for (int i = 0; i < 2; i++) {
        pb_cell_env *env = NULL;
        pb_cell *cell    = open_cell(is_last() ? "model = { paht = \"x\"; };"
                                               : "model = { path = \"/nowhere\"; };");
        assert_int_equal(open_environment(1, &env), PB_OK);
        assert_int_equal(ways[i](env, cell), PB_OK);
        assert_int_not_equal(pb_cell_env_check_model(env, "m"), PB_OK);
        assert_non_null(strstr(pb_error_message(), "model m: "));
        pb_error_clear();
        pb_cell_env_close(env);
        pb_cell_close(cell);
        assert_int_equal(pb_memory_current(), before);
    }
}

/* Running out of memory on one rank ends the sweep on all, at every allocation on the way. */
static void no_memory_on_one_rank_is_no_memory_on_all(void **state)
{
    (void)state;
    size_t before    = pb_memory_current();
    int64_t failures = 0;
    for (int64_t room = 0; room < 400; room += 40) {
        pb_cell_env *env = NULL;
        pb_cell *cell    = open_cell("model = { path = \"/nowhere\"; };");
        assert_int_equal(open_environment(1, &env), PB_OK);
        if (is_last()) {
            pb_memory_limit(pb_memory_current() + (size_t)room);
        }
        pb_status status = pb_cell_env_add_model(env, cell);
        pb_memory_limit(0);
        int64_t codes[2] = {status, -(int64_t)status};
        assert_int_equal(pb_comm_reduce_max(comm, codes, 2), PB_OK);
        assert_int_equal(codes[0], -codes[1]);
        failures += status == PB_ERR_MEMORY;
        pb_error_clear();
        pb_cell_env_close(env);
        pb_cell_close(cell);
        assert_int_equal(pb_memory_current(), before);
    }
    assert_true(failures > 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(processes_that_compute_alike_open_it),
        cmocka_unit_test(another_number_of_threads_is_reported_with_both_texts),
        cmocka_unit_test(a_wrong_key_on_one_rank_leaves_nothing_behind),
        cmocka_unit_test(no_memory_on_one_rank_is_no_memory_on_all),
    };
    if (pb_comm_open(&argc, &argv, &comm) != PB_OK) {
        return 1;
    }
    pb_log_setup(PB_LOG_ERROR, pb_comm_rank(comm), pb_comm_size(comm));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pb_comm_close(comm);
    return failed;
}
