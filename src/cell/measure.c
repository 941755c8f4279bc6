// SPDX-License-Identifier: Apache-2.0
/* Measuring: phases, the memory trace, and the rate of a square product, the reference for MFU. */
#include "running.h"

#include "pb/clock.h"
#include "pb/memory.h"
#include "pb/random.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Sizes of square products that are timed on a device, each twice the one before. */
enum { DEVICE_FIRST = 128, DEVICE_MOST = 8192 };
enum { RANDOM_ROWS = 64 };
static const double DEVICE_SECONDS = 1e-3;

double running_flops(const running *r)
{
    return pb_backend_flops(pb_backend_work_get(r->env->backend));
}

double running_flops_tested(const running *r)
{
    return r->flops_tested + running_flops(r) - r->flops_mark;
}

double running_product_share(const running *r, double flops, double seconds)
{
    double rate = r->env->peak_gflops * 1e9;
    return rate > 0.0 && seconds > 0.0 ? flops / seconds / rate : (double)NAN;
}

/* The weights in host memory that the cell reads, wherever they are mapped. */
static size_t mapped_bytes(const running *r)
{
    bool reads = pb_backend_is_host(r->env->backend) && r->model != NULL && r->model->model != NULL;
    return reads ? pb_model_bytes(r->model->model) : 0;
}

void running_grow_base(running *r, size_t host, size_t device)
{
    for (int64_t i = 0; i < r->gang_size; i++) {
        r->gang[i].base_bytes += host;
        r->gang[i].base_device_bytes += device;
    }
}

/* The most bytes held since the last sample of each; the peaks are reset. */
static void update_windows(running *r)
{
    size_t host = pb_memory_peak();
    size_t device;
    pb_backend_memory(r->env->backend, NULL, &device);
    for (int64_t i = 0; i < r->gang_size; i++) {
        running *m       = &r->gang[i];
        m->window_host   = host > m->window_host ? host : m->window_host;
        m->window_device = device > m->window_device ? device : m->window_device;
    }
    pb_memory_peak_reset();
    pb_backend_memory_peak_reset(r->env->backend);
}

/* Bytes of the cell: its own allocations, and the weights it borrows, wherever they are. The figure
 * is therefore the same on every rank and in any order of cells. Of a gang, those of all members.
 */
pb_status running_sample(running *r)
{
    update_windows(r);
    size_t placed = r->net != NULL ? pb_weights_bytes(r->model->weights) : 0;
    size_t others = r->base_device_bytes - placed; /* may wrap around: the sums below do not */
    size_t host   = r->window_host - r->base_bytes + mapped_bytes(r);
    size_t peak   = r->window_device - others;
    int64_t bytes = (int64_t)(host + peak);
    size_t now;
    pb_backend_memory(r->env->backend, &now, NULL);
    r->peak_bytes = bytes > r->peak_bytes ? bytes : r->peak_bytes;
    if ((int64_t)peak > r->peak_device_bytes) {
        r->peak_device_bytes = (int64_t)peak;
    }
    double seconds = pb_clock_seconds() - r->begin;
    r->window_host = r->window_device = 0;
    return pb_record_add_memory(r->record, seconds, (int64_t)host, (int64_t)(now - others),
                                (int64_t)peak, r->phase);
}

/* Most bytes held in a part of the training, and its seconds. */
typedef struct held {
    double bytes, seconds;
} held;

static int compare_held(const void *a, const void *b)
{
    double x = ((const held *)a)->bytes, y = ((const held *)b)->bytes;
    return (x > y) - (x < y);
}

/* A sample counts for the time since the one before, or since the phase began. */
static int64_t list_held(const pb_record *record, held *out, double *seconds)
{
    int64_t count = 0;
    for (int64_t i = 0; i < record->memory_count; i++) {
        const pb_record_memory *m = &record->memory[i];
        double before             = i > 0 ? record->memory[i - 1].seconds : m->seconds;
        if (strcmp(m->phase, "train") == 0) {
            out[count] = (held){.bytes   = (double)(m->host_bytes + m->device_peak_bytes),
                                .seconds = fmax(m->seconds - before, 0.0)};
            *seconds += out[count++].seconds;
        }
    }
    return count;
}

pb_status running_record_memory(running *r)
{
    pb_record *record = r->record;
    held *all         = NULL;
    double seconds    = 0.0;
    double sum        = 0.0;
    double below      = 0.0;
    PB_TRY(PB_ALLOC(all, record->memory_count));
    int64_t count = list_held(record, all, &seconds);
    qsort(all, (size_t)count, sizeof *all, compare_held);
    for (int64_t i = 0; i < count && seconds > 0.0; i++) {
        sum += all[i].bytes * all[i].seconds;
        below += all[i].seconds;
        if (isnan(record->memory_p99_gb) && (below >= 0.99 * seconds || i == count - 1)) {
            record->memory_p99_gb = all[i].bytes / 1e9;
        }
        record->memory_mean_gb = sum / seconds / 1e9;
    }
    pb_memory_free(all);
    return PB_OK;
}

/* Nothing comes after this phase. */
static bool is_last(const running *r)
{
    return strcmp(r->phase, "test") == 0 && r == r->gang + r->gang_size - 1;
}

void running_progress(const running *r, int64_t step, int64_t steps, double loss)
{
    const pb_cell_observer *o = r->observer;

    if (o != NULL && o->progress != NULL) {
        o->progress(
            o->context,
            &(pb_cell_progress){
                .phase = r->phase, .last = is_last(r), .step = step, .steps = steps, .loss = loss});
    }
}

bool running_wants_stop(void *context)
{
    running *r                = context;
    const pb_cell_observer *o = r->observer;
    running_energy_keep(r);
    return o != NULL && o->stop != NULL && o->stop(o->context);
}

pb_status running_phase(running *r, const char *name)
{
    double now   = pb_clock_seconds() - r->begin;
    double flops = running_flops(r);
    if (r->phase != NULL) {
        double seconds = now - r->phase_begin;
        double done    = flops - r->phase_flops;
        PB_TRY(running_sample(r));
        PB_TRY(pb_record_add_phase(r->record, r->phase, r->phase_begin, seconds, done,
                                   running_product_share(r, done, seconds)));
        r->seconds += strcmp(r->phase, "train") != 0 ? seconds : 0.0;
    }
    r->phase       = name;
    r->phase_begin = now;
    r->phase_flops = flops;
    if (name != NULL) {
        running_progress(r, 0, 0, NAN);
    }
    return PB_OK;
}

/* Random values in the first rows, and copies of these in the others: clock and power of a device
 * depend on what it multiplies. */
static pb_status fill(pb_backend *backend, const pb_tensor *t, uint64_t salt)
{
    pb_random stream = pb_random_stream(0, PB_RANDOM_SYNTHETIC, salt);
    int64_t rows     = t->shape[0] < RANDOM_ROWS ? t->shape[0] : RANDOM_ROWS;
    float *values    = NULL;
    PB_TRY(PB_ALLOC(values, rows * t->shape[1]));
    for (int64_t i = 0; i < rows * t->shape[1]; i++) {
        values[i] = (float)(2.0 * pb_random_uniform(stream, (uint64_t)i) - 1.0);
    }
    pb_tensor from   = pb_tensor_2d(values, PB_DTYPE_F32, rows, t->shape[1]);
    pb_tensor to     = pb_tensor_rows(t, 0, rows);
    pb_status status = pb_copy(backend, &to, &from);
    pb_memory_free(values);
    for (int64_t count; rows < t->shape[0] && status == PB_OK; rows += count) {
        count  = t->shape[0] - rows < rows ? t->shape[0] - rows : rows;
        from   = pb_tensor_rows(t, 0, count);
        to     = pb_tensor_rows(t, rows, count);
        status = pb_copy(backend, &to, &from);
    }
    return PB_FRAME(status);
}

static pb_status time_products(pb_backend *backend, pb_tensor *t, double seconds[5])
{
    for (int i = -1; i < 5; i++) { /* the first one warms up */
        PB_TRY(pb_sync(backend));
        double begin = pb_clock_seconds();
        PB_TRY(pb_matmul(backend, &t[2], &t[0], &t[1],
                         &(pb_matmul_args){.transpose_b = true, .alpha = 1.0f}));
        PB_TRY(pb_sync(backend));
        if (i >= 0) {
            seconds[i] = pb_clock_seconds() - begin;
        }
    }
    return PB_OK;
}

/* A product is cut into tiles of about 512 by 512: twice as many as threads keep all of them busy.
 */
static int64_t gemm_size(int threads)
{
    int64_t side = 2;
    while (side * side < 2 * (int64_t)threads) {
        side++;
    }
    return threads <= 2 ? 768 : 512 * side;
}

/* GFLOP/s at one size, and the seconds that a product took. */
static pb_status rate_at(pb_backend *backend, int64_t size, double *gflops, double *median)
{
    pb_dtype type  = pb_backend_activation(backend);
    size_t bytes   = (size_t)size * (size_t)size * pb_dtype_size(type);
    pb_tensor t[3] = {0};
    double seconds[5];
    pb_status status = PB_OK;
    for (int i = 0; i < 3 && status == PB_OK; i++) {
        void *data = NULL;
        status     = pb_backend_alloc(backend, bytes, &data);
        t[i]       = pb_tensor_2d(data, type, size, size);
    }
    for (int i = 0; i < 2 && status == PB_OK; i++) {
        status = fill(backend, &t[i], (uint64_t)i);
    }
    if (status == PB_OK) {
        status = time_products(backend, t, seconds);
    }
    for (int i = 0; i < 3; i++) {
        pb_backend_free(backend, t[i].data);
    }
    PB_TRY(status);
    pb_clock_sort(seconds, 5);
    double n = (double)size;
    *median  = seconds[2];
    *gflops  = 2.0 * n * n * n / seconds[2] / 1e9;
    return PB_OK;
}

/* On a device: the smallest size that takes long enough to be measured, or the largest of all. */
static pb_status device_rate(pb_backend *backend, double *gflops)
{
    double seconds = 0.0;
    for (int64_t size = DEVICE_FIRST; size <= DEVICE_MOST && seconds < DEVICE_SECONDS; size *= 2) {
        PB_TRY(rate_at(backend, size, gflops, &seconds));
    }
    return PB_OK;
}

pb_status pb_cell_gemm_rate(pb_backend *backend, int64_t least, double *gflops)
{
    double seconds;
    int64_t size = gemm_size(pb_backend_threads(backend));
    return pb_backend_is_host(backend)
               ? rate_at(backend, size > least ? size : least, gflops, &seconds)
               : device_rate(backend, gflops);
}
