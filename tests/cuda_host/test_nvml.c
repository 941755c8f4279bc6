// SPDX-License-Identifier: Apache-2.0
/* Facts and energy of a device by NVML, and what is said where there is none. The library comes
 * from LD_LIBRARY_PATH; the argument names which one that is, none means the whole fake. */
#include "device.h"
#include "fake_cuda.h"

#include "pb/usage.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT = 1024 };

/* "name=value;name=value;" */
static pb_status gather(void *context, const char *name, const char *value)
{
    char *all     = context;
    size_t length = strlen(all);
    int more      = snprintf(all + length, TEXT - length, "%s=%s;", name, value);
    assert_true(more > 0 && (size_t)more < TEXT - length);
    return PB_OK;
}

static void expect_facts(int device, const char *const *expected, const char *const *unexpected)
{
    char facts[TEXT] = "";
    pb_backend *be   = NULL;
    assert_ok(pb_backend_open("cuda", device, 1, &be));
    assert_ok(pb_backend_facts(be, gather, facts));
    for (; *expected != NULL; expected++) {
        if (strstr(facts, *expected) == NULL) {
            fail_msg("no \"%s\" in \"%s\"", *expected, facts);
        }
    }
    for (; *unexpected != NULL; unexpected++) {
        assert_null(strstr(facts, *unexpected));
    }
    pb_backend_close(be);
}

static void expect_no_energy(const char *expected)
{
    pb_backend *be  = NULL;
    const char *why = NULL;
    assert_ok(pb_backend_open("cuda", 0, 1, &be));
    assert_true(isnan(pb_backend_energy(be, &why)));
    assert_string_equal(why, expected);
    pb_backend_close(be);
}

static const char *const nothing[] = {NULL};

static void set(const char *mode)
{
    assert_int_equal(mode != NULL ? setenv("FAKE_NVML", mode, 1) : unsetenv("FAKE_NVML"), 0);
}

/* The whole library --------------------------------------------------------------------------- */

static void facts_are_those_of_the_device(void **state)
{
    (void)state;
    static const char *const first[]  = {"gpu=no device;",
                                         "gpu_number=0;",
                                         "compute_capability=9.0;",
                                         "multiprocessors=4;",
                                         "cublaslt=cuBLASLt ",
                                         "driver=999.1.2;",
                                         "sm_clock_mhz=1000;",
                                         "sm_clock_max_mhz=1500;",
                                         "memory_clock_mhz=2000;",
                                         "power_cap_w=250.5;",
                                         "ecc=on;",
                                         NULL};
    static const char *const third[]  = {"gpu_number=2;", "sm_clock_mhz=1002;", NULL};
    static const char *const absent[] = {"nvml=", "mig=", NULL};
    fake_cuda_devices(3);
    expect_facts(0, first, absent);
    expect_facts(2, third, absent);
    fake_cuda_devices(1);
}

static void facts_that_cannot_be_read_are_left_out(void **state)
{
    (void)state;
    static const char *const left[]   = {"gpu=", "multiprocessors=4;", NULL};
    static const char *const absent[] = {"driver=", "clock", "power", "ecc", "nvml=", NULL};
    set("facts");
    expect_facts(0, left, absent);
    set(NULL);
}

static void energy_is_counted(void **state)
{
    (void)state;
    pb_backend *be  = NULL;
    const char *why = NULL;
    assert_ok(pb_backend_open("cuda", 0, 1, &be));
    double first = pb_backend_energy(be, &why);
    assert_true(pb_backend_energy(be, &why) - first == 2.0);
    assert_null(why);
    pb_backend_close(be);
    assert_ok(pb_backend_open("cpu", 0, 1, &be));
    assert_true(isnan(pb_backend_energy(be, &why)));
    assert_string_equal(why, "the backend has no counter of energy");
    pb_backend_close(be);
}

static void what_fails_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *mode, *energy, *fact;
    } cases[] = {
        {"init", "nvmlInit_v2: Not Found", "nvml=absent: nvmlInit_v2: Not Found;"},
        {"no_counter", "nvmlDeviceGetTotalEnergyConsumption: Not Supported", "driver=999.1.2;"},
        {"lost", "nvmlDeviceGetTotalEnergyConsumption: GPU is lost", "driver=999.1.2;"},
        {"mig", "MIG is on: the counter is that of the whole device", "mig=on;"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const facts[] = {"gpu=no device", cases[i].fact, NULL};
        set(cases[i].mode);
        expect_no_energy(cases[i].energy);
        expect_facts(0, facts, nothing);
    }
    set(NULL);
    assert_int_equal(setenv("FAKE_NVML_BUS", "0", 1), 0);
    expect_no_energy("nvmlDeviceGetHandleByPciBusId_v2: Not Found");
    assert_int_equal(unsetenv("FAKE_NVML_BUS"), 0);
}

static void devices_are_listed_without_being_opened(void **state)
{
    (void)state;
    char list[TEXT] = "";
    fake_cuda_devices(2);
    assert_ok(pb_backend_list(gather, list));
    assert_non_null(strstr(list, "cuda:0=no device, compute capability 9.0, 4 multi"));
    assert_non_null(strstr(list, "cuda:1=no device, compute"));
    fake_cuda_devices(-1);
    assert_error(pb_backend_list(gather, list), PB_ERR_CONFIG, "has no NVIDIA driver");
    fake_cuda_devices(1);
}

/* Other libraries ----------------------------------------------------------------------------- */

static void an_old_library_has_facts_and_no_energy(void **state)
{
    (void)state;
    static const char *const facts[] = {"driver=999.1.2;", "power_cap_w=250.5;", NULL};
    expect_facts(0, facts, nothing);
    expect_no_energy("the library NVML has no nvmlDeviceGetTotalEnergyConsumption");
}

static void a_strange_library_is_refused(void **state)
{
    (void)state;
    static const char *const facts[] = {"nvml=absent: the library NVML has no nvmlInit_v2;",
                                        "multiprocessors=4;", NULL};
    expect_facts(0, facts, nothing);
    expect_no_energy("the library NVML has no nvmlInit_v2");
}

static void without_the_library_the_device_works(void **state)
{
    (void)state;
    static const char *const facts[] = {"nvml=absent: the library NVML cannot be opened;",
                                        "multiprocessors=4;", NULL};
    expect_facts(0, facts, nothing);
    expect_no_energy("the library NVML cannot be opened");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest whole[] = {
        cmocka_unit_test(facts_are_those_of_the_device),
        cmocka_unit_test(facts_that_cannot_be_read_are_left_out),
        cmocka_unit_test(energy_is_counted),
        cmocka_unit_test(what_fails_is_named),
        cmocka_unit_test(devices_are_listed_without_being_opened),
    };
    const struct CMUnitTest old[]     = {cmocka_unit_test(an_old_library_has_facts_and_no_energy)};
    const struct CMUnitTest strange[] = {cmocka_unit_test(a_strange_library_is_refused)};
    const struct CMUnitTest none[]    = {cmocka_unit_test(without_the_library_the_device_works)};
    const char *kind                  = argc > 1 ? argv[1] : "whole";
    return strcmp(kind, "old") == 0       ? cmocka_run_group_tests(old, NULL, NULL)
           : strcmp(kind, "strange") == 0 ? cmocka_run_group_tests(strange, NULL, NULL)
           : strcmp(kind, "none") == 0    ? cmocka_run_group_tests(none, NULL, NULL)
                                          : cmocka_run_group_tests(whole, NULL, NULL);
}
