// SPDX-License-Identifier: Apache-2.0
/* Runs one operation case in each mode: calls the backend, and compares with the naive forward in
 * double, with the CPU, or with other threads. */
#include "ports.h"

#include "pb/clock.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double worst_error;

double ops_take_worst_error(void)
{
    double worst = worst_error;
    worst_error  = 0.0;
    return worst;
}

static bool complain(const op_case *c, const char *what)
{
    char text[1024] = "";
    pb_error_describe(text, sizeof text);
    fprintf(stderr, "%s: %s %s\n", c->name, what, text);
    return false;
}

/* Root of the mean square error over the root mean square, and no single element far off. */
static bool is_close(const op_case *c, const op_port *port, const pb_tensor *got,
                     const double *want, double tolerance)
{
    double error  = 0;
    double square = 0;
    double worst  = 0;
    int64_t n     = port->rows * port->columns;
    for (int64_t i = 0; i < n; i++) {
        double x = (double)*bench_at(got, i / port->columns, i % port->columns);
        double d = x - want[i];
        error += d * d;
        square += want[i] * want[i];
        worst = fabs(d) > worst || d != d ? fabs(d) : worst;
    }
    double scale = sqrt(square / (double)(n > 0 ? n : 1)) + 1e-30;
    double rms   = sqrt(error / (double)(n > 0 ? n : 1)) / scale;
    worst_error  = rms <= worst_error ? worst_error : rms;
    if (n > 0 && !(rms <= tolerance && worst <= 40 * tolerance * scale)) {
        fprintf(stderr, "%s: %s is off by %.3g (rms, relative), at most %.3g; allowed %.3g\n",
                c->name, port->name, rms, worst / scale, tolerance);
        return false;
    }
    if (!bench_gaps_hold(port, got)) {
        fprintf(stderr, "%s: memory between rows of %s has changed\n", c->name, port->name);
        return false;
    }
    return true;
}

bool ops_run_test(const op_case *c, const char *backend, int64_t pad)
{
    bench b;
    if (bench_open(c, backend, 1, pad, ALL_F32, &b) != PB_OK) {
        return complain(c, "cannot be set up");
    }
    c->naive(c, b.in64, b.out64);
    bool good = bench_run(&b, false) == PB_OK || complain(c, "forward failed");
    for (int i = 0; good && i < c->outs; i++) {
        double tolerance = c->tolerance > 0 ? c->tolerance : 1e-6;
        good             = is_close(c, &c->out[i], &b.host.out[i], b.out64[i], tolerance);
    }
    bench_close(&b);
    return good;
}

/* The loss sum(dout · out) of the naive forward. */
static double naive_loss(bench *b)
{
    double loss = 0;
    b->c->naive(b->c, b->in64, b->out64);
    for (int i = 0; i < b->c->outs; i++) {
        const op_port *port = &b->c->out[i];
        for (int64_t n = 0; n < port->rows * port->columns; n++) {
            loss += b->out64[i][n] *
                    (double)*bench_at(&b->host.dout[i], n / port->columns, n % port->columns);
        }
    }
    return loss;
}

/* x + step · direction in one input. */
static double loss_at(bench *b, int i, const double *x, const double *direction, double step)
{
    int64_t n = b->c->in[i].rows * b->c->in[i].columns;
    for (int64_t k = 0; k < n; k++) {
        b->in64[i][k] = x[k] + step * direction[k];
    }
    return naive_loss(b);
}

/* Slope along a direction, error of order step^4. */
static double slope(bench *b, int i, const double *x, const double *direction)
{
    const double h = 1e-3;
    double near    = loss_at(b, i, x, direction, h) - loss_at(b, i, x, direction, -h);
    double far     = loss_at(b, i, x, direction, 2 * h) - loss_at(b, i, x, direction, -2 * h);
    return (8 * near - far) / (12 * h);
}

/* Direction `number`: single elements spread over a small input; for a larger one, random signs on
 * a random third, so that every element of the gradient is covered sooner or later. */
static void make_direction(double *direction, int64_t n, int64_t number, int64_t singles)
{
    memset(direction, 0, (size_t)n * sizeof *direction);
    if (number < singles) {
        direction[number * n / singles] = 1.0;
        return;
    }
    for (int64_t k = 0; k < n; k++) {
        double u     = bench_random(100 + (uint64_t)number, (uint64_t)k);
        direction[k] = fabs(u) < 1.0 / 3 ? (u < 0 ? -1.0 : 1.0) : 0.0;
    }
}

/* Directional derivatives of the naive forward against gradient · direction; a backward that adds
 * keeps the previous values. The error is relative to the length of the gradient, as it is for a
 * random direction. */
static bool check_gradient(bench *b, int i, const pb_tensor *before)
{
    enum { ELEMENTS = 24, SAMPLES = 6, DIRECTIONS = 4 };
    const op_port *port = &b->c->in[i];
    int64_t n           = port->rows * port->columns;
    int64_t singles     = n <= ELEMENTS ? n : SAMPLES;
    int64_t all         = n <= ELEMENTS ? n : SAMPLES + DIRECTIONS;
    double *x           = bench_dense(port);
    double *direction   = bench_dense(port);
    double error        = 0;
    double square       = 0;
    memcpy(x, b->in64[i], (size_t)n * sizeof *x);
    for (int64_t d = 0; d < all; d++) {
        make_direction(direction, n, d, singles);
        double want = slope(b, i, x, direction);
        double got  = 0;
        for (int64_t k = 0; k < n; k++) {
            int64_t row = k / port->columns;
            int64_t col = k % port->columns;
            double base = port->gradient == OP_GRAD_ADD ? (double)*bench_at(before, row, col) : 0.0;
            double here = (double)*bench_at(&b->host.din[i], row, col);
            got += direction[k] * here;
            want += direction[k] * base;
        }
        error += (got - want) * (got - want);
        square += want * want;
    }
    memcpy(b->in64[i], x, (size_t)n * sizeof *x);
    free(x);
    free(direction);
    double relative = sqrt(error) / (sqrt(square) + 1e-30);
    if (n > 0 && !(relative <= 2e-6 || sqrt(error) <= 1e-9)) {
        fprintf(stderr, "%s: gradient of %s is off by %.3g (relative)\n", b->c->name, port->name,
                relative);
        return false;
    }
    if (!bench_gaps_hold(port, &b->host.din[i])) {
        fprintf(stderr, "%s: memory between rows of d%s has changed\n", b->c->name, port->name);
        return false;
    }
    return true;
}

static bool compare_gradients(bench *b)
{
    bool good = true;
    for (int i = 0; good && i < b->c->ins; i++) {
        if (b->c->in[i].gradient == OP_GRAD_NONE) {
            continue;
        }
        pb_tensor before = bench_host_tensor(b, &b->c->in[i]);
        bench_fill_port(b, &b->c->in[i], &before, NULL, 1.0, 20 + (uint64_t)i);
        good = check_gradient(b, i, &before);
        free(before.data);
    }
    return good;
}

bool ops_run_grad(const op_case *c, const char *backend, int64_t pad)
{
    bench b;
    if (c->backward == NULL) {
        return true;
    }
    if (bench_open(c, backend, 1, pad, ALL_F32, &b) != PB_OK) {
        return complain(c, "cannot be set up");
    }
    bool good = bench_run(&b, true) == PB_OK || complain(c, "backward failed");
    good      = good && compare_gradients(&b);
    bench_close(&b);
    return good;
}

/* One tensor of both benches, as close as BF16 between operations allows. */
static bool is_alike(const op_case *c, const op_port *port, const pb_tensor *got,
                     const pb_tensor *reference)
{
    double *want = bench_dense(port);
    for (int64_t i = 0; i < port->rows * port->columns; i++) {
        want[i] = (double)*bench_at(reference, i / port->columns, i % port->columns);
    }
    bool good = is_close(c, port, got, want, 4e-3);
    free(want);
    return good;
}

static bool compare_mixed(const bench *mixed, const bench *reference)
{
    const op_case *c = mixed->c;
    bool good        = true;
    for (int i = 0; i < c->outs; i++) {
        good = good && is_alike(c, &c->out[i], &mixed->host.out[i], &reference->host.out[i]);
    }
    for (int i = 0; i < c->ins; i++) {
        good = good && (c->in[i].gradient == OP_GRAD_NONE ||
                        is_alike(c, &c->in[i], &mixed->host.din[i], &reference->host.din[i]));
    }
    return good;
}

static bool run_variant(const op_case *c, const char *backend, variant how, int64_t pad)
{
    bench mixed;
    bench reference;
    if (bench_open(c, backend, 1, pad, how, &mixed) != PB_OK) {
        return complain(c, "cannot be set up in BF16");
    }
    if (bench_open(c, "cpu", 1, pad, how, &reference) != PB_OK) {
        bench_close(&mixed);
        return complain(c, "has no reference");
    }
    bool good =
        !mixed.holds || (bench_run(&mixed, true) == PB_OK && bench_run(&reference, true) == PB_OK);
    if (!good) {
        (void)complain(c, "failed in BF16");
    } else if (mixed.holds && !compare_mixed(&mixed, &reference)) {
        fprintf(stderr, "%s: variant %d, %d elements between rows\n", c->name, (int)how, (int)pad);
        good = false;
    }
    bench_close(&mixed);
    bench_close(&reference);
    return good;
}

bool ops_run_mixed(const op_case *c, const char *backend)
{
    const pb_backend_ops *ops = NULL;
    /* Queries, keys and values have one type; a tensor in place of another has its type. */
    bool one  = strcmp(c->operation, "attention") == 0 || c->in_place;
    bool good = pb_backend_find(backend, &ops) == PB_OK;
    for (variant how = ALL_BF16;
         good && ops->activation != NULL && how < (one ? INPUT_F32 : VARIANTS); how++) {
        good = run_variant(c, backend, how, 0) && run_variant(c, backend, how, 5);
    }
    return good;
}

static bool same_bits(const op_port *port, const pb_tensor *x, const pb_tensor *y)
{
    for (int64_t i = 0; i < port->rows; i++) {
        if (memcmp(bench_at(x, i, 0), bench_at(y, i, 0), (size_t)port->columns * sizeof(float)) !=
            0) {
            return false;
        }
    }
    return true;
}

static bool compare_bits(const bench *one, const bench *many)
{
    const op_case *c = one->c;
    for (int i = 0; i < c->outs; i++) {
        if (!same_bits(&c->out[i], &one->host.out[i], &many->host.out[i])) {
            fprintf(stderr, "%s: %s has other bits in the second run\n", c->name, c->out[i].name);
            return false;
        }
    }
    for (int i = 0; i < c->ins; i++) {
        if (c->in[i].gradient != OP_GRAD_NONE &&
            !same_bits(&c->in[i], &one->host.din[i], &many->host.din[i])) {
            fprintf(stderr, "%s: the gradient of %s has other bits in the second run\n", c->name,
                    c->in[i].name);
            return false;
        }
    }
    return true;
}

bool ops_run_twice(const op_case *c, const char *backend, bool bf16, int threads)
{
    variant how = bf16 ? ALL_BF16 : ALL_F32;
    bench one;
    bench two;
    if (bench_open(c, backend, 1, 0, how, &one) != PB_OK) {
        return complain(c, "cannot be set up");
    }
    if (bench_open(c, backend, threads, 0, how, &two) != PB_OK) {
        bench_close(&one);
        return complain(c, "cannot be set up");
    }
    bool good =
        (bench_run(&one, true) == PB_OK && bench_run(&two, true) == PB_OK) || complain(c, "failed");
    good = good && compare_bits(&one, &two);
    bench_close(&one);
    bench_close(&two);
    return good;
}

/* Seconds of one call: the minimum of a few rounds, each long enough for the clock. */
static double seconds_of(bench *b, pb_status (*call)(bench *b))
{
    double best = 1e30;
    for (int round = 0; round < 5; round++) {
        int calls    = 0;
        double start = pb_clock_seconds();
        double spent = 0;
        for (; spent < 0.03; spent = pb_clock_seconds() - start, calls++) {
            if (call(b) != PB_OK || pb_sync(b->be) != PB_OK) {
                complain(b->c, "failed");
                return 0;
            }
        }
        best = spent / calls < best ? spent / calls : best;
    }
    return best;
}

static void print_rate(const op_case *c, const char *direction, double factor, double seconds)
{
    double per_second = 1e-9 * factor / seconds;
    printf("%-58s %-8s %10.1f us", c->name, direction, 1e6 * seconds);
    if (c->flops > 0) {
        printf(" %8.1f GFLOP/s", c->flops * per_second);
    }
    if (c->bytes > 0) {
        printf(" %8.1f GB/s", c->bytes * per_second);
    }
    printf("\n");
}

void ops_run_perf(const op_case *c, const char *backend, int threads)
{
    bench b;
    if (bench_open(c, backend, threads, 0, ALL_F32, &b) != PB_OK) {
        complain(c, "cannot be set up");
        return;
    }
    print_rate(c, "forward", 1.0, seconds_of(&b, bench_forward));
    if (c->backward != NULL) {
        print_rate(c, "backward", c->backward_factor > 0 ? c->backward_factor : 1.0,
                   seconds_of(&b, bench_backward));
    }
    bench_close(&b);
}
