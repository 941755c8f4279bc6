// SPDX-License-Identifier: Apache-2.0
/* Jobs and their claims: which job is gone, and that a claim is one job's. */
#include "claim.h"
#include "support.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A heartbeat of two seconds: long enough for a loaded machine, short enough to wait for. */
#define SECONDS 2.0

static char folder[64];

static const char *path(const char *name)
{
    static char text[256];

    snprintf(text, sizeof text, "%s/%s", folder, name);
    return text;
}

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/pb_claim.XXXXXX");
    return mkdtemp(folder) == NULL || mkdir(path("claims"), 0777) != 0;
}

static int remove_folder(void **state)
{
    (void)state;
    pb_temporary_remove(folder);
    return 0;
}

static jobs *join(double seconds)
{
    jobs *job = NULL;

    assert_ok(jobs_join(folder, 1, seconds, "cell a\n", &job));
    return job;
}

/* The file of a job on another machine, whose heartbeat was so many seconds ago. */
static void write_job(const char *name, double age)
{
    char text[512], file[128];
    struct timespec times[2];

    snprintf(file, sizeof file, "jobs/%s.json", name);
    snprintf(text, sizeof text,
             "{\"job\": \"%s\", \"host\": \"far\", \"machine\": \"another\", \"process\": 1}",
             name);
    assert_ok(pb_file_write_atomic(path(file), text, strlen(text)));
    (void)clock_gettime(CLOCK_REALTIME, &times[0]);
    times[0].tv_sec -= (time_t)age;
    times[1] = times[0];
    assert_int_equal(utimensat(AT_FDCWD, path(file), times, 0), 0);
}

static void wait_for(jobs *job, const char *name, jobs_state state)
{
    while (jobs_look(job, name) != state) {
        (void)usleep(20000);
    }
}

static void a_job_of_another_machine_is_judged_by_its_heartbeat(void **state)
{
    jobs *job = join(1000);

    (void)state;
    assert_int_equal(jobs_look(job, "none"), JOBS_GONE);
    write_job("old", 1100);
    assert_int_equal(jobs_look(job, "old"), JOBS_GONE);
    write_job("far", 900);
    assert_int_equal(jobs_look(job, "far"), JOBS_SILENT);
    write_job("far", 800);
    wait_for(job, "far", JOBS_LIVES);
    jobs_leave(job);
}

/* A clock that jumped back leaves heartbeats in the future: no age makes them old. */
static void a_heartbeat_from_the_future_is_old_when_it_stays_the_same(void **state)
{
    jobs *job = join(SECONDS);

    (void)state;
    write_job("far", -86400);
    assert_int_equal(jobs_look(job, "far"), JOBS_SILENT);
    wait_for(job, "far", JOBS_GONE);
    write_job("near", -86400);
    assert_int_equal(jobs_look(job, "near"), JOBS_SILENT);
    write_job("near", -86401);
    wait_for(job, "near", JOBS_LIVES);
    jobs_leave(job);
}

static pid_t fork_job(char name[JOBS_NAME])
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        jobs *job = NULL;
        if (jobs_join(folder, 1, SECONDS, "", &job) != PB_OK ||
            write(ends[1], jobs_name(job), JOBS_NAME) != JOBS_NAME) {
            _exit(1);
        }
        (void)pause();
        _exit(0);
    }
    assert_int_equal(read(ends[0], name, JOBS_NAME), JOBS_NAME);
    (void)close(ends[0]);
    (void)close(ends[1]);
    return child;
}

static void a_job_of_this_machine_is_judged_by_its_process(void **state)
{
    char name[JOBS_NAME], file[256];
    jobs *job   = join(SECONDS);
    pid_t child = fork_job(name);

    (void)state;
    assert_int_equal(jobs_look(job, name), JOBS_LIVES);
    assert_int_equal(kill(child, SIGSTOP), 0);
    assert_int_equal(waitpid(child, NULL, WUNTRACED), child);
    snprintf(file, sizeof file, "jobs/%s.json", name);
    struct timespec past[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    assert_int_equal(utimensat(AT_FDCWD, path(file), past, 0), 0);
    (void)usleep(400000);                               /* an earlier verdict no longer counts */
    assert_int_equal(jobs_look(job, name), JOBS_LIVES); /* stopped, not gone */
    assert_int_equal(kill(child, SIGKILL), 0);
    wait_for(job, name, JOBS_GONE); /* not reaped yet */
    assert_int_equal(waitpid(child, NULL, 0), child);
    jobs_leave(job);
    assert_false(pb_path_exists(path("jobs/none.json")));
}

static void a_heartbeat_keeps_the_file_young(void **state)
{
    jobs *job               = join(SECONDS);
    struct timespec past[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    struct stat about       = {0};
    char file[256];

    (void)state;
    snprintf(file, sizeof file, "jobs/%s.json", jobs_name(job));
    assert_int_equal(utimensat(AT_FDCWD, path(file), past, 0), 0);
    while (stat(path(file), &about) == 0 && about.st_mtim.tv_sec == 1000) {
        (void)usleep(20000);
    }
    assert_int_equal(unlink(path(file)), 0);
    while (!jobs_is_evicted(job)) {
        (void)usleep(20000);
    }
    jobs_leave(job);
}

static void a_claim_is_of_one_job(void **state)
{
    jobs *job = join(1000);
    char from[JOBS_NAME];
    bool mine = false;
    jobs_state of;

    (void)state;
    assert_ok(claim_look(job, path("claims/a"), &of));
    assert_int_equal(of, JOBS_GONE);
    assert_ok(claim_take(job, path("claims/a"), &mine, from));
    assert_true(mine);
    assert_string_equal(from, "");
    assert_ok(claim_look(job, path("claims/a"), &of));
    assert_int_equal(of, JOBS_LIVES);
    write_job("far", 900);
    assert_ok(pb_file_write_atomic(path("claims/b"), "far\n", 4));
    assert_ok(claim_take(job, path("claims/b"), &mine, from));
    assert_false(mine);
    assert_ok(pb_file_write_atomic(path("claims/c"), "", 0)); /* about to be written, or cut off */
    assert_ok(claim_take(job, path("claims/c"), &mine, from));
    assert_false(mine);
    assert_ok(pb_file_write_atomic(path("claims/e"), "go", 2)); /* the rest is about to follow */
    assert_ok(claim_take(job, path("claims/e"), &mine, from));
    assert_false(mine);
    assert_ok(pb_file_write_atomic(path("claims/d"), "gone\n", 5));
    assert_ok(claim_take(job, path("claims/d"), &mine, from));
    assert_true(mine);
    assert_string_equal(from, "gone");
    assert_error(claim_take(job, path("nowhere/a"), &mine, from), PB_ERR_IO, "nowhere/a");
    jobs_leave(job);
}

/* Takes what a job left that is gone: a letter for each claim. */
enum { TAKERS = 2, CLAIMS = 400 };

static void race(int index)
{
    char file[64], from[JOBS_NAME], name[64];
    char won[CLAIMS] = {0};
    jobs *job        = NULL;
    pb_status status = jobs_join(folder, 1, 1000, "", &job);
    while (!pb_path_exists(path("go"))) {
    }
    for (int i = 0; i < CLAIMS && status == PB_OK; i++) {
        bool mine = false;
        snprintf(file, sizeof file, "claims/%d", i);
        status = claim_take(job, path(file), &mine, from);
        won[i] = mine ? 'x' : '-';
    }
    snprintf(name, sizeof name, "won.%d", index);
    status = status == PB_OK ? pb_file_write_atomic(path(name), won, CLAIMS) : status;
    _exit(status != PB_OK);
}

static void one_of_several_takers_wins(void **state)
{
    pid_t takers[TAKERS];
    int won[TAKERS]         = {0};
    pb_string marks[TAKERS] = {0};
    char name[64];

    (void)state;
    for (int i = 0; i < CLAIMS; i++) {
        snprintf(name, sizeof name, "claims/%d", i);
        assert_ok(pb_file_write_atomic(path(name), "gone\n", 5));
    }
    for (int i = 0; i < TAKERS; i++) {
        takers[i] = fork();
        if (takers[i] == 0) {
            race(i);
        }
    }
    assert_ok(pb_file_write_atomic(path("go"), "", 0));
    for (int i = 0; i < TAKERS; i++) {
        int code = -1;
        assert_int_equal(waitpid(takers[i], &code, 0), takers[i]);
        assert_int_equal(code, 0);
        snprintf(name, sizeof name, "won.%d", i);
        assert_ok(pb_file_read(path(name), 0, &marks[i]));
    }
    for (int i = 0; i < CLAIMS; i++) {
        assert_true((marks[0].data[i] == 'x') != (marks[1].data[i] == 'x'));
        won[marks[1].data[i] == 'x']++;
    }
    print_message("             %d and %d of %d claims\n", won[0], won[1], CLAIMS);
    pb_string_clear(&marks[0]);
    pb_string_clear(&marks[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_job_of_another_machine_is_judged_by_its_heartbeat),
        TEST(a_heartbeat_from_the_future_is_old_when_it_stays_the_same),
        TEST(a_job_of_this_machine_is_judged_by_its_process),
        TEST(a_heartbeat_keeps_the_file_young),
        TEST(a_claim_is_of_one_job),
        TEST(one_of_several_takers_wins),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
