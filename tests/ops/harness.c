// SPDX-License-Identifier: Apache-2.0
/* Runs one operation case: makes its tensors (with gaps between rows that must stay untouched),
 * calls the backend, and compares with the naive forward in double. */
#include "ops.h"

#include "pb/clock.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const float gap_value = 12352.0f; /* exact in BF16 */
static double worst_error;
static pb_backend *shared; /* NULL: none */

void ops_share_backend(pb_backend *be)
{
    shared = be;
}

double ops_take_worst_error(void)
{
    double worst = worst_error;
    worst_error  = 0.0;
    return worst;
}

/* Tensors of all ports of a case, and their gradients. */
typedef struct ports {
    pb_tensor in[OP_PORTS], out[OP_PORTS], din[OP_PORTS], dout[OP_PORTS];
} ports;

/* Which of the ports that lie between operations hold BF16. */
typedef enum variant { ALL_F32, ALL_BF16, INPUT_F32, OUTPUT_F32, VARIANTS } variant;

typedef struct bench {
    pb_backend *be;
    const op_case *c;
    int64_t pad;
    variant variant;
    bool holds;         /* BF16 ports do so; else only their values are BF16 */
    ports host, device; /* the same, gaps included, after upload and after download */
    double *in64[OP_PORTS], *out64[OP_PORTS]; /* dense */
} bench;

static double random_value(uint64_t salt, uint64_t index)
{
    pb_random stream = pb_random_stream(7, PB_RANDOM_TEST, salt);
    return 2.0 * pb_random_uniform(stream, index) - 1.0;
}

static float *at(const pb_tensor *t, int64_t row, int64_t column)
{
    return (float *)t->data + (t->ndim == 1 ? column : row * t->stride + column);
}

static bool is_bf16(const bench *b, const op_port *port)
{
    static const char *const always_f32[] = {"table",     "lse",       "logits",   "losses",
                                             "trained A", "trained B", "trained W"};
    bool between = !port->vector && strcmp(b->c->operation, "embedding") != 0;
    for (size_t i = 0; i < sizeof always_f32 / sizeof always_f32[0]; i++) {
        between = between && strcmp(port->name, always_f32[i]) != 0;
    }
    return between && b->variant != ALL_F32 && !(b->variant == INPUT_F32 && port == &b->c->in[0]) &&
           !(b->variant == OUTPUT_F32 && port == &b->c->out[0]);
}

/* A host tensor filled with the gap value. */
static pb_tensor make_host(const bench *b, const op_port *port)
{
    int64_t width = port->columns + (port->vector ? 0 : b->pad);
    float *data   = calloc((size_t)(port->rows * width) + 1, sizeof *data);
    pb_tensor t   = port->vector ? pb_tensor_1d(data, PB_DTYPE_F32, port->columns)
                                 : pb_tensor_2d(data, PB_DTYPE_F32, port->rows, port->columns);
    t.stride      = port->vector ? 1 : width;
    for (int64_t i = 0; i < port->rows * width; i++) {
        data[i] = gap_value;
    }
    return t;
}

static int64_t elements(const pb_tensor *t)
{
    return pb_tensor_is_none(t) ? 0 : t->shape[0] * t->stride;
}

static pb_status make_tensor(bench *b, const op_port *port, pb_tensor *host, pb_tensor *device)
{
    *host   = make_host(b, port);
    *device = *host;
    if (b->holds && is_bf16(b, port)) {
        device->dtype = PB_DTYPE_BF16;
    }
    return pb_backend_alloc(b->be, (size_t)elements(host) * pb_dtype_size(device->dtype),
                            &device->data);
}

/* Copies a whole tensor with its gaps, in either direction. */
static pb_status move_tensor(pb_backend *be, const pb_tensor *to, const pb_tensor *from)
{
    pb_tensor all         = pb_tensor_1d(to->data, to->dtype, elements(to));
    const pb_tensor other = pb_tensor_1d(from->data, from->dtype, elements(from));
    return elements(to) > 0 ? pb_copy(be, &all, &other) : PB_OK;
}

static pb_status move_all(pb_backend *be, const ports *to, const ports *from)
{
    for (int i = 0; i < OP_PORTS; i++) {
        PB_TRY(move_tensor(be, &to->in[i], &from->in[i]));
        PB_TRY(move_tensor(be, &to->out[i], &from->out[i]));
        PB_TRY(move_tensor(be, &to->din[i], &from->din[i]));
        PB_TRY(move_tensor(be, &to->dout[i], &from->dout[i]));
    }
    return PB_OK;
}

/* Random values, rounded to F32 so that both sides get the same. */
static void fill(const bench *b, const op_port *port, pb_tensor *t, double *dense, double range,
                 uint64_t salt)
{
    for (int64_t i = 0; i < port->rows; i++) {
        for (int64_t j = 0; j < port->columns; j++) {
            int64_t n    = i * port->columns + j;
            float x      = (float)(range * random_value(salt, (uint64_t)n));
            x            = is_bf16(b, port) ? pb_bf16_to_f32(pb_f32_to_bf16(x)) : x;
            *at(t, i, j) = x;
            if (dense != NULL) {
                dense[n] = (double)x;
            }
        }
    }
}

static void keep_apart(const op_port *port, pb_tensor *t, double *dense, double apart)
{
    for (int64_t n = 0; n < port->rows * port->columns; n++) {
        if (fabs(dense[n]) < apart) {
            dense[n]                                     = apart;
            *at(t, n / port->columns, n % port->columns) = (float)apart;
        }
    }
}

static void bench_close(bench *b)
{
    for (int i = 0; i < OP_PORTS; i++) {
        if (!(b->c->in_place && i == 0)) {
            pb_backend_free(b->be, b->device.out[i].data);
            free(b->host.out[i].data);
        }
        pb_backend_free(b->be, b->device.in[i].data);
        pb_backend_free(b->be, b->device.din[i].data);
        pb_backend_free(b->be, b->device.dout[i].data);
        free(b->host.in[i].data);
        free(b->host.din[i].data);
        free(b->host.dout[i].data);
        free(b->in64[i]);
        free(b->out64[i]);
    }
    if (b->be != shared) {
        pb_backend_close(b->be);
    }
}

static double *dense_of(const op_port *port)
{
    return calloc((size_t)(port->rows * port->columns) + 1, sizeof(double));
}

static pb_status bench_fill(bench *b)
{
    const op_case *c = b->c;
    double range     = c->range > 0 ? c->range : 1.0;
    ports *host      = &b->host;
    ports *device    = &b->device;
    for (int i = 0; i < c->ins; i++) {
        PB_TRY(make_tensor(b, &c->in[i], &host->in[i], &device->in[i]));
        b->in64[i] = dense_of(&c->in[i]);
        fill(b, &c->in[i], &host->in[i], b->in64[i], range, 10 + (uint64_t)i);
        keep_apart(&c->in[i], &host->in[i], b->in64[i], c->apart);
        if (c->in[i].gradient != OP_GRAD_NONE) {
            PB_TRY(make_tensor(b, &c->in[i], &host->din[i], &device->din[i]));
            fill(b, &c->in[i], &host->din[i], NULL, 1.0, 20 + (uint64_t)i);
        }
    }
    for (int i = 0; i < c->outs; i++) {
        if (c->in_place && i == 0) {
            host->out[0]   = host->in[0];
            device->out[0] = device->in[0];
        } else {
            PB_TRY(make_tensor(b, &c->out[i], &host->out[i], &device->out[i]));
        }
        b->out64[i] = dense_of(&c->out[i]);
        PB_TRY(make_tensor(b, &c->out[i], &host->dout[i], &device->dout[i]));
        fill(b, &c->out[i], &host->dout[i], NULL, c->out[i].constant ? 0.0 : 1.0, 30 + (uint64_t)i);
        for (int64_t n = 0; c->same_dout && n < c->out[i].rows; n++) {
            *at(&host->dout[i], n, 0) = (float)OP_SAME_DOUT;
        }
    }
    return move_all(b->be, device, host);
}

static pb_status forward(bench *b)
{
    return b->c->forward(b->c, b->be, b->device.in, b->device.out);
}

static pb_status backward(bench *b)
{
    return b->c->backward(b->c, b->be, b->device.in, b->device.out, b->device.dout, b->device.din);
}

/* Runs forward, backward if it exists and is wanted, and brings their results to the host. */
static pb_status run_once(bench *b, bool with_backward)
{
    PB_TRY(forward(b));
    if (with_backward && b->c->backward != NULL) {
        PB_TRY(backward(b));
    }
    return move_all(b->be, &b->host, &b->device);
}

static pb_status bench_open(const op_case *c, const char *backend, int threads, int64_t pad,
                            variant how, bench *b)
{
    *b         = (bench){.c = c, .pad = pad, .variant = how};
    bool bf16  = how != ALL_F32 && strcmp(backend, "cpu") != 0;
    bool share = shared != NULL && threads == 1 && strcmp(pb_backend_name(shared), backend) == 0;
    b->be      = share ? shared : NULL;
    if (!share) {
        PB_TRY(pb_backend_open(backend, 0, threads, &b->be));
    }
    pb_status status = pb_backend_use_dtype(b->be, bf16 ? PB_DTYPE_BF16 : PB_DTYPE_F32);
    b->holds         = pb_backend_activation(b->be) == PB_DTYPE_BF16;
    status           = status == PB_OK ? bench_fill(b) : status;
    if (status != PB_OK) {
        bench_close(b);
    }
    return status;
}

static bool complain(const op_case *c, const char *what)
{
    char text[1024] = "";
    pb_error_describe(text, sizeof text);
    fprintf(stderr, "%s: %s %s\n", c->name, what, text);
    return false;
}

static bool gaps_are_untouched(const op_port *port, const pb_tensor *t)
{
    for (int64_t i = 0; i < port->rows && !port->vector; i++) {
        for (int64_t j = port->columns; j < t->stride; j++) {
            if (*at(t, i, j) != gap_value) {
                return false;
            }
        }
    }
    return true;
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
        double x = (double)*at(got, i / port->columns, i % port->columns);
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
    if (!gaps_are_untouched(port, got)) {
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
    bool good = run_once(&b, false) == PB_OK || complain(c, "forward failed");
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
                    (double)*at(&b->host.dout[i], n / port->columns, n % port->columns);
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
        double u     = random_value(100 + (uint64_t)number, (uint64_t)k);
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
    double *x           = dense_of(port);
    double *direction   = dense_of(port);
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
            double base = port->gradient == OP_GRAD_ADD ? (double)*at(before, row, col) : 0.0;
            double here = (double)*at(&b->host.din[i], row, col);
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
    if (!gaps_are_untouched(port, &b->host.din[i])) {
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
        pb_tensor before = make_host(b, &b->c->in[i]);
        fill(b, &b->c->in[i], &before, NULL, 1.0, 20 + (uint64_t)i);
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
    bool good = run_once(&b, true) == PB_OK || complain(c, "backward failed");
    good      = good && compare_gradients(&b);
    bench_close(&b);
    return good;
}

/* One tensor of both benches, as close as BF16 between operations allows. */
static bool is_alike(const op_case *c, const op_port *port, const pb_tensor *got,
                     const pb_tensor *reference)
{
    double *want = dense_of(port);
    for (int64_t i = 0; i < port->rows * port->columns; i++) {
        want[i] = (double)*at(reference, i / port->columns, i % port->columns);
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
        !mixed.holds || (run_once(&mixed, true) == PB_OK && run_once(&reference, true) == PB_OK);
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
        if (memcmp(at(x, i, 0), at(y, i, 0), (size_t)port->columns * sizeof(float)) != 0) {
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
        (run_once(&one, true) == PB_OK && run_once(&two, true) == PB_OK) || complain(c, "failed");
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
    print_rate(c, "forward", 1.0, seconds_of(&b, forward));
    if (c->backward != NULL) {
        print_rate(c, "backward", c->backward_factor > 0 ? c->backward_factor : 1.0,
                   seconds_of(&b, backward));
    }
    bench_close(&b);
}
