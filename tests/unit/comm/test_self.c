// SPDX-License-Identifier: Apache-2.0
/* The group that a plain start gets, and the group of one: everything it owns is released. */
#include "pb/comm.h"
#include "pb/memory.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Variables that a launcher or a batch system around the test run may have set. */
static const char *const surroundings[] = {
    "PB_COMM",      "OMPI_COMM_WORLD_SIZE", "PMIX_RANK",           "PMI_RANK",
    "PMI_SIZE",     "PALS_RANKID",          "MV2_COMM_WORLD_SIZE", "JSM_NAMESPACE_RANK",
    "SLURM_NTASKS", "SLURM_STEP_NUM_TASKS",
};

static int clean_environment(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof surroundings / sizeof surroundings[0]; i++) {
        (void)unsetenv(surroundings[i]);
    }
    return 0;
}

static void assert_opens_self(void)
{
    pb_comm *comm = NULL;

    assert_int_equal(pb_comm_open(NULL, NULL, &comm), PB_OK);
    assert_string_equal(pb_comm_name(comm), "self");
    assert_string_equal(pb_comm_library(comm), "");
    assert_int_equal(pb_comm_rank(comm), 0);
    assert_int_equal(pb_comm_size(comm), 1);
    pb_comm_close(comm);
}

static void a_plain_start_is_a_group_of_one(void **state)
{
    (void)state;
    assert_opens_self();
}

static void a_plain_start_inside_an_allocation_is_a_group_of_one(void **state)
{
    (void)state;
    (void)setenv("SLURM_JOB_ID", "1", 1);
    (void)setenv("SLURM_NTASKS", "64", 1);
    (void)setenv("SLURM_PROCID", "0", 1);
    assert_opens_self();
    (void)setenv("SLURM_STEP_NUM_TASKS", "1", 1); /* an interactive step */
    assert_opens_self();
    (void)unsetenv("SLURM_JOB_ID");
    (void)unsetenv("SLURM_PROCID");
}

static void copies_that_srun_did_not_connect_are_refused(void **state)
{
    pb_comm *comm = NULL;

    (void)state;
    (void)setenv("SLURM_STEP_NUM_TASKS", "4", 1);
    assert_int_equal(pb_comm_open(NULL, NULL, &comm), PB_ERR_COMM);
    assert_null(comm);
    assert_non_null(strstr(pb_error_message(), "4 tasks"));
    assert_non_null(strstr(pb_error_message(), "--mpi=pmix"));
    (void)setenv("PB_COMM", "self", 1);
    assert_opens_self();
}

static void the_environment_overrides_the_choice(void **state)
{
    (void)state;
    (void)setenv("OMPI_COMM_WORLD_SIZE", "4", 1);
    (void)setenv("PB_COMM", "self", 1);
    assert_opens_self();
    (void)unsetenv("OMPI_COMM_WORLD_SIZE");
    (void)setenv("PB_COMM", "", 1);
    assert_opens_self();
}

static void an_unknown_group_is_refused_with_the_nearest_name(void **state)
{
    pb_comm *comm = NULL;

    (void)state;
    (void)setenv("PB_COMM", "mpii", 1);
    assert_int_equal(pb_comm_open(NULL, NULL, &comm), PB_ERR_CONFIG);
    assert_non_null(strstr(pb_error_message(),
                           "PB_COMM: unknown process group \"mpii\"; did you mean \"mpi\"?"));
    (void)setenv("PB_COMM", "something", 1);
    assert_int_equal(pb_comm_open(NULL, NULL, &comm), PB_ERR_CONFIG);
    assert_non_null(strstr(pb_error_message(), "known: self, mpi"));
    assert_null(strstr(pb_error_message(), "did you mean"));
    assert_null(comm);
}

static void a_reached_memory_limit_fails_every_creation(void **state)
{
    pb_comm *comm          = NULL;
    pb_comm_window *window = NULL;

    (void)state;
    pb_memory_account(1);
    pb_memory_limit(1);
    assert_int_equal(pb_comm_open(NULL, NULL, &comm), PB_ERR_MEMORY);
    pb_memory_limit(0);
    pb_memory_account(-1);
    assert_int_equal(pb_comm_open(NULL, NULL, &comm), PB_OK);
    size_t before = pb_memory_current();
    pb_memory_limit(before + 1000);
    assert_int_equal(pb_comm_window_create(comm, 1000, &window), PB_ERR_MEMORY);
    assert_int_equal(pb_memory_current(), before);
    pb_memory_limit(before);
    assert_int_equal(pb_comm_window_create(comm, 1, &window), PB_ERR_MEMORY);
    pb_memory_limit(0);
    assert_null(window);
    assert_int_equal(pb_memory_current(), before);
    pb_comm_close(comm);
    assert_int_equal(pb_memory_current(), 0);
}

static void an_abort_ends_the_process_with_its_code(void **state)
{
    int how     = 0;
    pid_t child = fork();

    (void)state;
    assert_true(child >= 0);
    if (child == 0) {
        pb_comm *comm = NULL;
        if (pb_comm_open(NULL, NULL, &comm) == PB_OK) {
            pb_comm_abort(comm, 23);
        }
        _exit(99);
    }
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFEXITED(how));
    assert_int_equal(WEXITSTATUS(how), 23);
}

#define CLEAN_TEST(test) cmocka_unit_test_setup_teardown(test, clean_environment, clean_environment)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLEAN_TEST(a_plain_start_is_a_group_of_one),
        CLEAN_TEST(a_plain_start_inside_an_allocation_is_a_group_of_one),
        CLEAN_TEST(copies_that_srun_did_not_connect_are_refused),
        CLEAN_TEST(the_environment_overrides_the_choice),
        CLEAN_TEST(an_unknown_group_is_refused_with_the_nearest_name),
        CLEAN_TEST(a_reached_memory_limit_fails_every_creation),
        CLEAN_TEST(an_abort_ends_the_process_with_its_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
