// SPDX-License-Identifier: Apache-2.0
/* Counters of energy of the node, read from a folder in place of /sys: what they add up to, and
 * what is said where they are not there, not readable, or make no sense. */
#include "pb/energy.h"
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
#include <unistd.h>

static char *root;
static size_t before;

static int begin(void **state)
{
    (void)state;
    before = pb_memory_current();
    assert_int_equal(pb_temporary_make("peftbench", &root), PB_OK);
    return setenv("PB_SYS", root, 1);
}

static int end(void **state)
{
    (void)state;
    pb_temporary_remove(root);
    pb_memory_free(root);
    pb_error_clear();
    assert_int_equal(pb_memory_current(), before);
    return 0;
}

static void put(const char *name, const char *text)
{
    char path[512], *folder = NULL;
    (void)snprintf(path, sizeof path, "%s/%s", root, name);
    assert_int_equal(pb_path_directory(path, &folder), PB_OK);
    assert_int_equal(pb_path_make_directories(folder), PB_OK);
    pb_memory_free(folder);
    assert_int_equal(pb_file_write_atomic(path, text, strlen(text)), PB_OK);
}

static void put_zone(const char *zone, const char *name, const char *microjoules)
{
    char path[256];
    (void)snprintf(path, sizeof path, "class/powercap/%s/name", zone);
    put(path, name);
    (void)snprintf(path, sizeof path, "class/powercap/%s/max_energy_range_uj", zone);
    put(path, "262143328850\n");
    (void)snprintf(path, sizeof path, "class/powercap/%s/energy_uj", zone);
    put(path, microjoules);
}

static void put_packages(const char *first, const char *second)
{
    put_zone("intel-rapl:0", "package-0\n", first);
    put_zone("intel-rapl:1", "package-1\n", second);
}

static pb_energy *open_all(void)
{
    pb_energy *energy = NULL;
    assert_int_equal(pb_energy_open(&energy), PB_OK);
    return energy;
}

static void expect(pb_energy *energy, pb_energy_part part, double joules)
{
    const char *why = "";
    double found    = pb_energy_read(energy, part, &why);
    assert_string_equal(why, "");
    assert_true(fabs(found - joules) < 1e-6);
}

static void expect_none(pb_energy *energy, pb_energy_part part, const char *reason)
{
    const char *why = "";
    assert_true(isnan(pb_energy_read(energy, part, &why)));
    assert_non_null(strstr(why, reason));
}

static void packages_add_up_and_nothing_counts_twice(void **state)
{
    (void)state;
    put_packages("1000000\n", "2000000\n");
    put_zone("intel-rapl:0:0", "core\n", "1\n");
    put_zone("intel-rapl:0:1", "dram\n", "500000\n");
    put_zone("intel-rapl:2", "psys\n", "7\n");
    put_zone("intel-rapl-mmio:0", "package-0\n", "1000000\n");
    pb_energy *energy = open_all();
    put_packages("1500000\n", "4000000\n");
    put_zone("intel-rapl-mmio:0", "package-0\n", "9000000\n");
    put_zone("intel-rapl:0:0", "core\n", "9000000\n");
    expect(energy, PB_ENERGY_PACKAGE, 2.5);
    expect(energy, PB_ENERGY_PACKAGE, 0.0);
    expect(energy, PB_ENERGY_DRAM, 0.0);
    assert_string_equal(pb_energy_source(energy, PB_ENERGY_DRAM), "RAPL");
    expect_none(energy, PB_ENERGY_NODE, "the system has no such counter");
    assert_string_equal(pb_energy_source(energy, PB_ENERGY_NODE), "");
    pb_energy_close(energy);
}

static void a_counter_that_starts_again_goes_on(void **state)
{
    (void)state;
    put_packages("262143000000\n", "0\n");
    pb_energy *energy = open_all();
    put_packages("671150\n", "0\n");
    expect(energy, PB_ENERGY_PACKAGE, 1.0);
    pb_energy_close(energy);
}

static void a_counter_that_was_left_alone_too_long_is_not_believed(void **state)
{
    (void)state;
    put_zone("intel-rapl:0", "package-0\n", "100\n");
    put("class/powercap/intel-rapl:0/max_energy_range_uj", "1000\n"); /* 1.7 µs at 600 W */
    pb_energy *energy = open_all();
    put_zone("intel-rapl:0", "package-0\n", "200\n");
    expect_none(energy, PB_ENERGY_PACKAGE, "the counter was not read, and may have started again");
    pb_energy_close(energy);
}

static void the_counters_of_cray_are_the_node_s_and_stand_in_for_others(void **state)
{
    (void)state;
    put_zone("intel-rapl:0:0", "dram\n", "1000000\n");
    put("cray/pm_counters/energy", "100 J 1700000000 us\n");
    put("cray/pm_counters/cpu_energy", "10 J 1700000000 us\n");
    put("cray/pm_counters/memory_energy", "7 J 1700000000 us\n");
    pb_energy *energy = open_all();
    put("cray/pm_counters/energy", "130 J 1700000001 us\n");
    put("cray/pm_counters/cpu_energy", "15 J 1700000001 us\n");
    put("cray/pm_counters/memory_energy", "9 J 1700000001 us\n");
    expect(energy, PB_ENERGY_NODE, 30.0);
    expect(energy, PB_ENERGY_PACKAGE, 5.0);
    expect(energy, PB_ENERGY_DRAM, 0.0);
    assert_string_equal(pb_energy_source(energy, PB_ENERGY_PACKAGE), "Cray pm_counters");
    assert_string_equal(pb_energy_source(energy, PB_ENERGY_DRAM), "RAPL");
    put("cray/pm_counters/energy", "120 J 1700000002 us\n");
    expect_none(energy, PB_ENERGY_NODE, "the counter went backwards");
    pb_energy_close(energy);
}

static void contents_that_make_no_sense_are_absent(void **state)
{
    static const char *const contents[] = {
        "", "-1\n", "abc\n", "1 2\n", "0x10\n", "99999999999999999999999\n", "300000000000\n"};
    (void)state;
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
        put_packages("1000000\n", contents[i]);
        pb_energy *energy = open_all();
        expect_none(energy, PB_ENERGY_PACKAGE, "intel-rapl:1/energy_uj");
        pb_energy_close(energy);
        put_packages("1000000\n", "1000000\n");
        energy = open_all();
        put_packages("1000000\n", contents[i]);
        if (i < 6) {
            expect_none(energy, PB_ENERGY_PACKAGE, "intel-rapl:1/energy_uj");
        }
        pb_energy_close(energy);
    }
    put_packages("1000000\n", "1000000\n");
    put("class/powercap/intel-rapl:0/max_energy_range_uj", "0\n");
    pb_energy *energy = open_all();
    expect_none(energy, PB_ENERGY_PACKAGE, "intel-rapl:0/max_energy_range_uj is 0");
    pb_energy_close(energy);
}

static void files_of_another_kind_are_absent(void **state)
{
    char path[512];
    (void)state;
    put_packages("1000000\n", "1000000\n");
    (void)snprintf(path, sizeof path, "%s/class/powercap/intel-rapl:0/energy_uj", root);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    pb_energy *energy = open_all();
    expect_none(energy, PB_ENERGY_PACKAGE, "it is a pipe, not a regular file");
    pb_energy_close(energy);
    (void)snprintf(path, sizeof path, "%s/class/powercap/intel-rapl:1/name", root);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("name", path), 0);
    energy = open_all();
    expect_none(energy, PB_ENERGY_PACKAGE, "intel-rapl:");
    pb_energy_close(energy);
}

static void counters_for_root_alone_are_absent_with_that_reason(void **state)
{
    char path[512];
    (void)state;
    put_packages("1000000\n", "1000000\n");
    (void)snprintf(path, sizeof path, "%s/class/powercap/intel-rapl:1/energy_uj", root);
    assert_int_equal(chmod(path, 0400), 0);
    assert_int_equal(chmod(root, 0755), 0);
    bool is_root = geteuid() == 0;
    if (is_root) {
        assert_int_equal(seteuid(65534), 0);
    } else {
        assert_int_equal(chmod(path, 0), 0);
    }
    pb_energy *energy = open_all();
    if (is_root) {
        assert_int_equal(seteuid(0), 0);
    }
    expect_none(energy, PB_ENERGY_PACKAGE, "only root may read the counters");
    pb_energy_close(energy);
}

static void a_system_without_counters_has_none(void **state)
{
    (void)state;
    pb_energy *energy = open_all();
    for (int part = 0; part < PB_ENERGY_PARTS; part++) {
        expect_none(energy, (pb_energy_part)part, "the system has no such counter");
    }
    pb_energy_close(energy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(packages_add_up_and_nothing_counts_twice, begin, end),
        cmocka_unit_test_setup_teardown(a_counter_that_starts_again_goes_on, begin, end),
        cmocka_unit_test_setup_teardown(a_counter_that_was_left_alone_too_long_is_not_believed,
                                        begin, end),
        cmocka_unit_test_setup_teardown(the_counters_of_cray_are_the_node_s_and_stand_in_for_others,
                                        begin, end),
        cmocka_unit_test_setup_teardown(contents_that_make_no_sense_are_absent, begin, end),
        cmocka_unit_test_setup_teardown(files_of_another_kind_are_absent, begin, end),
        cmocka_unit_test_setup_teardown(counters_for_root_alone_are_absent_with_that_reason, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_system_without_counters_has_none, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
