// SPDX-License-Identifier: Apache-2.0
/* Every case of the operation suite: exactness, and the same bits twice. */
#include "ops.h"
#include "setup.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef bool case_check(const op_case *c, const char *backend);

static bool forward_packed(const op_case *c, const char *backend)
{
    return ops_run_test(c, backend, 0);
}

static bool forward_strided(const op_case *c, const char *backend)
{
    return ops_run_test(c, backend, 5);
}

static bool gradient(const op_case *c, const char *backend)
{
    return ops_run_grad(c, backend, 0);
}

static bool same_f32(const op_case *c, const char *backend)
{
    return ops_run_twice(c, backend, false, 1);
}

static bool same_bf16(const op_case *c, const char *backend)
{
    return ops_run_twice(c, backend, true, 1);
}

/* Whether the device is of use to this process still. */
static bool device_answers(pb_backend *be)
{
    if (pb_sync(be) == PB_OK) {
        return true;
    }
    fprintf(stderr, "%s\n", pb_error_message());
    pb_error_clear();
    return false;
}

typedef struct tally {
    int64_t done, failed, left_out;
    bool lost; /* the last case left the process without a device */
} tally;

/* Cases of an operation: as many as time allows, one with --tiny. */
static tally check_cases(const bench *b, pb_backend *be, const char *operation, const char *what,
                         case_check *check)
{
    tally t              = {0};
    int64_t count        = 0;
    int64_t most         = b->tiny ? 1 : INT64_MAX;
    const op_case *cases = ops_cases(&count);
    for (int64_t i = 0; i < count && t.done < most; i++) {
        if (cases[i].slow || strcmp(cases[i].operation, operation) != 0) {
            continue;
        }
        if (t.lost || !time_is_left(b)) {
            t.left_out++;
            continue;
        }
        item_at(what, cases[i].name);
        t.done++;
        if (!check(&cases[i], b->backend)) {
            t.failed++;
            t.lost = !device_answers(be);
        }
    }
    return t;
}

/* An operation in one mode. */
static void check_operation(const bench *b, pb_backend *be, const char *operation, const char *what,
                            case_check *check, bool errors)
{
    char note[BENCH_TEXT];
    if (!item_begin(b, what, operation)) {
        return;
    }
    (void)ops_take_worst_error();
    tally t      = check_cases(b, be, operation, what, check);
    double worst = ops_take_worst_error();
    if (t.done == 0) {
        return;
    }
    int length =
        snprintf(note, sizeof note, "%" PRId64 " of %" PRId64 " cases", t.done - t.failed, t.done);
    if (t.left_out > 0) {
        (void)snprintf(note + length, sizeof note - (size_t)length, ", %" PRId64 " left out: %s",
                       t.left_out,
                       t.lost ? "the last one left the process without a device"
                              : "the time of the part is spent");
    }
    put_verdict(b, what, operation, t.failed == 0, note);
    if (t.lost) {
        _exit(EXIT_NEXT_ITEM);
    }
    if (errors) {
        char name[BENCH_TEXT];
        (void)snprintf(name, sizeof name, "%s, worst error", what);
        put_figure(b, name, operation, worst, "relative rms");
    }
}

typedef void check_modes(const bench *b, pb_backend *be, const char *operation);

/* Calls `check` once per operation, in the order of the cases, over one backend. */
static pb_status each_operation(const bench *b, check_modes *check)
{
    int64_t count        = 0;
    const op_case *cases = ops_cases(&count);
    pb_backend *be       = NULL;
    PB_TRY(open_device(b, PB_DTYPE_F32, &be));
    ops_share_backend(be);
    for (int64_t i = 0; i < count; i++) {
        int64_t before = 0;
        while (strcmp(cases[before].operation, cases[i].operation) != 0) {
            before++;
        }
        if (before == i) {
            check(b, be, cases[i].operation);
        }
    }
    ops_share_backend(NULL);
    pb_backend_close(be);
    ops_cases_free();
    return PB_OK;
}

static void check_values(const bench *b, pb_backend *be, const char *operation)
{
    check_operation(b, be, operation, "forward, F32", forward_packed, true);
    check_operation(b, be, operation, "forward, F32, strided", forward_strided, false);
    check_operation(b, be, operation, "gradient, F32", gradient, false);
    check_operation(b, be, operation, "BF16 against the CPU", ops_run_mixed, true);
}

pb_status part_operations(const bench *b)
{
    return each_operation(b, check_values);
}

static void check_bits(const bench *b, pb_backend *be, const char *operation)
{
    check_operation(b, be, operation, "same bits twice, F32", same_f32, false);
    check_operation(b, be, operation, "same bits twice, BF16", same_bf16, false);
}

pb_status operations_bits(const bench *b)
{
    return each_operation(b, check_bits);
}
