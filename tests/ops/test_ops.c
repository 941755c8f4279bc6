// SPDX-License-Identifier: Apache-2.0
/* Every operation case on every registered backend. Without arguments all modes run under cmocka;
 * "support" and "perf [name [threads]]" print tables. */
#include "device.h"
#include "ops.h"

#include "pb/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef bool case_runner(const op_case *c, const char *backend);

static bool run_test_packed(const op_case *c, const char *backend)
{
    return ops_run_test(c, backend, 0);
}

static bool run_test_strided(const op_case *c, const char *backend)
{
    return ops_run_test(c, backend, 5);
}

static bool run_grad_packed(const op_case *c, const char *backend)
{
    return ops_run_grad(c, backend, 0);
}

static bool run_grad_strided(const op_case *c, const char *backend)
{
    return ops_run_grad(c, backend, 3);
}

static bool run_with_threads(const op_case *c, const char *backend)
{
    return ops_run_twice(c, backend, false, 2) && ops_run_twice(c, backend, false, 3);
}

static void run_all(case_runner *run)
{
    int64_t count;
    int64_t failed       = 0;
    const op_case *cases = ops_cases(&count);
    for (const pb_backend_ops *const *ops = pb_backend_registry(); *ops != NULL; ops++) {
        bool absent = device_is_absent((*ops)->name);
        for (int64_t i = 0; i < count && !absent; i++) {
            if (!cases[i].slow && !run(&cases[i], (*ops)->name)) {
                failed++;
            }
        }
    }
    assert_int_equal(failed, 0);
}

static void forward_matches_the_naive_one(void **state)
{
    (void)state;
    run_all(run_test_packed);
}

static void forward_matches_on_strided_views(void **state)
{
    (void)state;
    run_all(run_test_strided);
}

static void backward_matches_finite_differences(void **state)
{
    (void)state;
    run_all(run_grad_packed);
}

static void backward_matches_on_strided_views(void **state)
{
    (void)state;
    run_all(run_grad_strided);
}

static void rows_of_both_types_are_close_to_f32(void **state)
{
    (void)state;
    run_all(ops_run_mixed);
}

static void results_do_not_depend_on_threads(void **state)
{
    (void)state;
    run_all(run_with_threads);
}

static void all_bytes_are_returned(void **state)
{
    (void)state;
    assert_int_equal(pb_memory_current(), 0);
}

static int print_support(void)
{
    int64_t count;
    const op_case *cases = ops_cases(&count);
    for (const pb_backend_ops *const *ops = pb_backend_registry(); *ops != NULL; ops++) {
        for (int64_t i = 0; i < count; i++) {
            if (!cases[i].slow) {
                printf("%-8s %-70s %s\n", (*ops)->name, cases[i].name,
                       ops_run_test(&cases[i], (*ops)->name, 0) ? "yes" : "NO");
            }
        }
    }
    return 0;
}

static int print_rates(const char *name, int threads)
{
    int64_t count;
    const op_case *cases = ops_cases(&count);
    for (const pb_backend_ops *const *ops = pb_backend_registry(); *ops != NULL; ops++) {
        pb_backend *be = NULL;
        if (pb_backend_open((*ops)->name, 0, threads, &be) != PB_OK) {
            fprintf(stderr, "%s\n", pb_error_message());
            return 1;
        }
        printf("%s\n", pb_backend_describe(be));
        pb_backend_close(be);
        for (int64_t i = 0; i < count; i++) {
            if (cases[i].slow && strstr(cases[i].name, name) != NULL) {
                ops_run_perf(&cases[i], (*ops)->name, threads);
            }
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_matches_the_naive_one),
        cmocka_unit_test(forward_matches_on_strided_views),
        cmocka_unit_test(backward_matches_finite_differences),
        cmocka_unit_test(backward_matches_on_strided_views),
        cmocka_unit_test(rows_of_both_types_are_close_to_f32),
        cmocka_unit_test(results_do_not_depend_on_threads),
        cmocka_unit_test(all_bytes_are_returned),
    };
    int result = 0;
    if (argc > 1 && strcmp(argv[1], "support") == 0) {
        result = print_support();
    } else if (argc > 1 && strcmp(argv[1], "perf") == 0) {
        result = print_rates(argc > 2 ? argv[2] : "", argc > 3 ? atoi(argv[3]) : 1);
    } else {
        result = cmocka_run_group_tests(tests, NULL, NULL);
    }
    ops_cases_free();
    return result;
}
