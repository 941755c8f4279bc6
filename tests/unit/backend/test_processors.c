// SPDX-License-Identifier: Apache-2.0
/* Limits of control groups from synthetic trees, launchers from their variables, and the launch
 * line that gives threads their processors. */
#include "pb/processors.h"

#include "pb/file.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/pb-processors-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_folder(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

/* Writes folder/name, creating the folders above it. */
static void put(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    for (char *slash = path + strlen(folder) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        (void)mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static double limit(const char *groups, const char *mount)
{
    char file[256];
    char tree[256];
    put("groups", groups);
    snprintf(file, sizeof file, "%s/groups", folder);
    snprintf(tree, sizeof tree, "%s/%s", folder, mount);
    return pb_processors_limit(file, tree);
}

static void version_2_takes_the_smallest_on_the_way_up(void **state)
{
    (void)state;
    put("v2/cgroup.procs", "");
    put("v2/a/cpu.max", "400000 100000\n");
    put("v2/a/b/cpu.max", "max 100000\n");
    put("v2/a/c/cpu.max", "150000 100000\n");
    assert_true(limit("0::/a/b\n", "v2") == 4.0);
    assert_true(limit("0::/a/c\n", "v2") == 1.5);
    assert_true(limit("0::/a/not/there\n", "v2") == 4.0);
    assert_true(limit("0::/\n", "v2") == 0.0);
    put("own/cpu.max", "200000 100000\n"); /* a container that sees its own group as the root */
    assert_true(limit("0::/\n", "own") == 2.0);
    assert_true(limit("0::/outside/of/it\n", "own") == 2.0);
}

static void version_1_has_two_files(void **state)
{
    (void)state;
    put("v1/cpu/job/cpu.cfs_quota_us", "300000\n");
    put("v1/cpu/job/cpu.cfs_period_us", "100000\n");
    put("v1/cpu/cpu.cfs_quota_us", "-1\n");
    put("v1/cpu/cpu.cfs_period_us", "100000\n");
    assert_true(limit("5:cpuset:/job\n4:cpu,cpuacct:/job\n", "v1") == 3.0);
    assert_true(limit("4:cpuacct,cpu:/job\n", "v1") == 3.0);
    assert_true(limit("4:cpuacct:/job\n5:cpuset:/job\n", "v1") == 0.0);
    assert_true(limit("4:cpu:/\n", "v1") == 0.0);
}

static void what_cannot_be_read_is_no_limit(void **state)
{
    (void)state;
    put("odd/cpu.max", "many\n");
    assert_true(limit("0::/\n", "odd") == 0.0);
    assert_true(limit("", "odd") == 0.0);
    assert_true(limit("no colons\n:\n", "odd") == 0.0);
    assert_true(limit("0::/\n", "absent") == 0.0);
    assert_true(pb_processors_limit("/absent/file", "/absent") == 0.0);
}

static void launchers_are_known_by_their_variables(void **state)
{
    static const char *const names[] = {"OMPI_COMMAND", "PRTE_LAUNCHED", "OMPI_COMM_WORLD_SIZE",
                                        "SLURM_PROCID", "SLURM_STEP_ID", "PMI_RANK",
                                        "PMIX_RANK"};
    static const struct {
        const char *set[4];
        pb_launcher launcher;
    } cases[] = {
        {{NULL}, PB_LAUNCHER_NONE},
        {{"OMPI_COMMAND", "OMPI_COMM_WORLD_SIZE", "PMIX_RANK", NULL}, PB_LAUNCHER_OPEN_MPI},
        {{"OMPI_COMMAND", "SLURM_PROCID", "SLURM_STEP_ID", NULL}, PB_LAUNCHER_OPEN_MPI},
        {{"PRTE_LAUNCHED", "PMIX_RANK", NULL}, PB_LAUNCHER_OPEN_MPI},
        {{"SLURM_PROCID", "SLURM_STEP_ID", "PMIX_RANK", NULL}, PB_LAUNCHER_SRUN},
        {{"SLURM_PROCID", "SLURM_STEP_ID", "OMPI_COMM_WORLD_SIZE", NULL}, PB_LAUNCHER_SRUN},
        {{"SLURM_PROCID", NULL}, PB_LAUNCHER_NONE}, /* a batch script */
        {{"PMI_RANK", NULL}, PB_LAUNCHER_OTHER},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
            unsetenv(names[n]);
        }
        for (const char *const *name = cases[i].set; *name != NULL; name++) {
            setenv(*name, "1", 1);
        }
        assert_int_equal(pb_processors_launcher(), cases[i].launcher);
    }
}

static void check_advice(pb_processors p, pb_launcher launcher, int threads, const char *wanted)
{
    pb_string text = {0};
    assert_int_equal(pb_processors_advise(&p, launcher, threads, &text), PB_OK);
    if (strstr(text.data, wanted) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", wanted, text.data);
    }
    pb_string_clear(&text);
}

static void the_launch_line_fits_the_launcher_and_the_threads(void **state)
{
    const pb_processors bound = {.online = 16, .allowed = 1, .granted = 1};
    const pb_processors whole = {.online = 4, .allowed = 4, .granted = 4};
    const pb_processors quota = {.online = 16, .allowed = 16, .granted = 2};
    (void)state;
    check_advice(bound, PB_LAUNCHER_OPEN_MPI, 2, "1 of 16 processors");
    check_advice(bound, PB_LAUNCHER_OPEN_MPI, 2, "mpirun --bind-to none");
    check_advice(bound, PB_LAUNCHER_OPEN_MPI, 6, "--map-by slot:PE=6 --bind-to core");
    check_advice(bound, PB_LAUNCHER_SRUN, 8, "srun --cpus-per-task=8");
    check_advice(bound, PB_LAUNCHER_OTHER, 8, "mpiexec -bind-to none");
    check_advice(bound, PB_LAUNCHER_NONE, 2, "taskset");
    check_advice(whole, PB_LAUNCHER_OPEN_MPI, 8, "this machine has 4 processors; use --threads 4");
    check_advice(quota, PB_LAUNCHER_OPEN_MPI, 4, "control group");
    check_advice(quota, PB_LAUNCHER_NONE, 4, "the time of 2 processors");
    assert_int_equal(pb_processors_usable(&quota), 2);
    assert_int_equal(pb_processors_usable(&bound), 1);
}

static void this_process_has_at_least_one(void **state)
{
    pb_processors p;
    (void)state;
    pb_processors_get(&p);
    assert_true(p.allowed >= 1 && p.online >= p.allowed && p.granted >= 1);
    assert_true(pb_processors_usable(&p) >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_2_takes_the_smallest_on_the_way_up),
        cmocka_unit_test(version_1_has_two_files),
        cmocka_unit_test(what_cannot_be_read_is_no_limit),
        cmocka_unit_test(launchers_are_known_by_their_variables),
        cmocka_unit_test(the_launch_line_fits_the_launcher_and_the_threads),
        cmocka_unit_test(this_process_has_at_least_one),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
