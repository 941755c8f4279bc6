// SPDX-License-Identifier: Apache-2.0
/* The files that show what a run is doing: they are read as written, only while a run works, and
 * nothing in their folder does harm. */
#include "jobs.h"
#include "running.h"

#include "pb/clock.h"
#include "pb/file.h"
#include "pb/memory.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];
static size_t held_before;

static const char *path(const char *name)
{
    static char text[256];

    snprintf(text, sizeof text, "%s/%s", folder, name);
    return text;
}

static int make_folder(void **state)
{
    (void)state;
    held_before = pb_memory_current();
    strcpy(folder, "/tmp/pb_running.XXXXXX");
    return mkdtemp(folder) == NULL || running_clear_folder(folder) != PB_OK;
}

static int remove_folder(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) != 0 || pb_memory_current() != held_before;
}

static jobs *join(void)
{
    jobs *job = NULL;

    assert_int_equal(jobs_join(folder, 1, 300, "", &job), PB_OK);
    return job;
}

static pb_file_lock *take_lock(void)
{
    pb_file_lock *lock = NULL;

    assert_int_equal(pb_file_lock_take(path("run.lock"), "a test", &lock), PB_OK);
    assert_non_null(lock);
    return lock;
}

static pb_running example(const char *job, int64_t rank)
{
    return (pb_running){.job          = job,
                        .host         = "node \"7\"",
                        .process      = 4711,
                        .rank         = rank,
                        .model        = "m",
                        .dataset      = "d/e",
                        .method       = "caf\xc3\xa9",
                        .seed         = -3,
                        .phase        = "train",
                        .step         = 120,
                        .steps        = 500,
                        .loss         = 1.25,
                        .seconds_left = NAN,
                        .begun        = 1.7e9,
                        .written      = pb_clock_unix()};
}

static void read_all(pb_running_list *out)
{
    pb_job_list list = {0};

    assert_int_equal(jobs_read(folder, &list), PB_OK);
    assert_int_equal(running_read(folder, &list, out), PB_OK);
    jobs_list_clear(&list);
}

static int64_t count_read(void)
{
    pb_running_list list = {0};

    read_all(&list);
    int64_t count = list.count;
    running_list_clear(&list);
    return count;
}

static void what_is_read_was_written(void **state)
{
    pb_running_list list = {0};
    jobs *job            = join();
    pb_running second    = example(jobs_name(job), 10);
    pb_running first     = example(jobs_name(job), 9);

    (void)state;
    first.loss         = NAN;
    first.seconds_left = 12.5;
    assert_int_equal(running_write(folder, &second), PB_OK);
    assert_int_equal(running_write(folder, &first), PB_OK);
    second.step = 121;
    assert_int_equal(running_write(folder, &second), PB_OK);
    read_all(&list);
    assert_int_equal(list.count, 2);
    assert_int_equal(list.items[0].rank, 9);
    assert_true(isnan(list.items[0].loss) && list.items[0].seconds_left == 12.5);
    const pb_running *r = &list.items[1];
    assert_string_equal(r->host, second.host);
    assert_string_equal(r->model, "m");
    assert_string_equal(r->dataset, "d/e");
    assert_string_equal(r->method, second.method);
    assert_string_equal(r->phase, "train");
    assert_int_equal(r->process, 4711);
    assert_int_equal(r->seed, -3);
    assert_int_equal(r->step, 121);
    assert_int_equal(r->steps, 500);
    assert_true(r->loss == 1.25 && isnan(r->seconds_left));
    assert_true(r->begun == 1.7e9 && r->written == second.written);
    running_list_clear(&list);
    running_remove(folder, jobs_name(job), 9);
    running_remove(folder, jobs_name(job), 9); /* no file, no message */
    assert_int_equal(count_read(), 1);
    jobs_leave(job);
}

/* Files in the folder "running"; the first ones are not written by a run. */
static void clearing_leaves_the_files_of_others(void **state)
{
    enum { OTHERS = 6, ALL = 10 };
    static const char *const names[ALL] = {
        "running/notes",           "running/7.json.old",
        "running/x.json",          "running/7",
        "running/.json",           "running/7.json.tmp.x",
        "running/7.json",          "running/12.json.tmp.node.77.0",
        "running/node.1.2.7.json", "running/node.1.2.7.json.tmp.node.77.0"};

    (void)state;
    for (int i = 0; i < ALL; i++) {
        assert_int_equal(pb_file_write_atomic(path(names[i]), "x", 1), PB_OK);
    }
    assert_int_equal(running_clear_folder(folder), PB_OK);
    for (int i = 0; i < ALL; i++) {
        assert_int_equal(pb_path_exists(path(names[i])), i < OTHERS);
    }
}

static void what_a_killed_run_left_is_not_running(void **state)
{
    jobs *job      = join();
    pb_running one = example(jobs_name(job), 0);

    (void)state;
    assert_int_equal(running_write(folder, &one), PB_OK);
    assert_int_equal(count_read(), 1);
    jobs_leave(job);
    assert_int_equal(count_read(), 0);
    assert_int_equal(remove(path("jobs")), 0);
    assert_int_equal(count_read(), 0);
    assert_false(pb_path_exists(path("jobs"))); /* reading creates nothing */
    job = join();
    assert_int_equal(running_clear_folder(folder), PB_OK); /* as at the start of the next run */
    assert_int_equal(count_read(), 0);
    jobs_leave(job);
}

static void files_that_say_nothing_are_left_out(void **state)
{
    const char *const texts[] = {"", "{", "[1]", "null"};
    jobs *job                 = join();
    pb_running one            = example(jobs_name(job), 5);
    char name[64];

    (void)state;
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "running/%d.json", i);
        assert_int_equal(pb_file_write_atomic(path(name), texts[i], strlen(texts[i])), PB_OK);
    }
    assert_int_equal(pb_file_write_atomic(path("running/README"), "x", 1), PB_OK);
    assert_int_equal(running_write(folder, &one), PB_OK);
    assert_int_equal(count_read(), 1);
    jobs_leave(job);
}

static void names_have_any_length(void **state)
{
    enum { LONG = 20000 };
    jobs *job            = join();
    pb_running_list list = {0};
    pb_running one       = example(jobs_name(job), 0);
    char *name           = malloc(LONG + 1);

    (void)state;
    memset(name, 'x', LONG);
    name[LONG]  = '\0';
    one.dataset = name;
    assert_int_equal(running_write(folder, &one), PB_OK);
    read_all(&list);
    assert_string_equal(list.items[0].dataset, name);
    running_list_clear(&list);
    free(name);
    jobs_leave(job);
}

static void a_folder_that_cannot_be_had_is_an_error_and_no_harm(void **state)
{
    jobs *job      = join();
    pb_running one = example(jobs_name(job), 0);

    (void)state;
    assert_int_equal(rmdir(path("running")), 0);
    assert_int_equal(count_read(), 0);
    assert_int_equal(pb_file_write_atomic(path("running"), "x", 1), PB_OK);
    assert_int_equal(running_clear_folder(folder), PB_ERR_IO);
    assert_int_equal(running_write(folder, &one), PB_ERR_IO);
    running_remove(folder, jobs_name(job), 0);
    assert_int_equal(count_read(), 0);
    jobs_leave(job);
}

/* Checking the lock holds it for a moment: a run that takes it meanwhile must not be refused. */
static void looking_at_a_lock_takes_it_from_nobody(void **state)
{
    pb_file_lock *lock = take_lock();

    (void)state;
    assert_int_equal(pb_file_lock_look(path("run.lock")), PB_FILE_LOCK_HELD);
    assert_int_equal(pb_file_lock_look(path("run.lock")), PB_FILE_LOCK_HELD);
    pb_file_lock_release(lock);
    assert_int_equal(pb_file_lock_look(path("run.lock")), PB_FILE_LOCK_FREE);
    assert_int_equal(pb_file_lock_look(path("none.lock")), PB_FILE_LOCK_FREE);
    pid_t looker = fork();
    for (int i = 0; looker == 0 && i < 20000; i++) {
        (void)pb_file_lock_look(path("run.lock"));
    }
    if (looker == 0) {
        _exit(0);
    }
    for (int i = 0; i < 200; i++) {
        pb_file_lock_release(take_lock());
    }
    assert_int_equal(waitpid(looker, NULL, 0), looker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_read_was_written, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(clearing_leaves_the_files_of_others, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(what_a_killed_run_left_is_not_running, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(files_that_say_nothing_are_left_out, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(names_have_any_length, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_folder_that_cannot_be_had_is_an_error_and_no_harm,
                                        make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(looking_at_a_lock_takes_it_from_nobody, make_folder,
                                        remove_folder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
