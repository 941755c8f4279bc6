// SPDX-License-Identifier: Apache-2.0
/* Opening a backend by name, its memory, and the count of its work. The checked fronts of the
 * operations are in operations.c and attention.c. */
#include "internal.h"

#include "pb/clock.h"
#include "pb/archive.h"
#include "pb/log.h"
#include "pb/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The last table of the registry that opens. PB_ERR_CONFIG says that this machine has no such
 * device, which is remembered; any other error is one. */
static pb_status open_best(int device, int threads, pb_backend **out)
{
    const pb_backend_ops *const *all = pb_backend_registry();
    char reason[DESCRIBE_SIZE]       = "";
    int count                        = 0;
    while (all[count] != NULL) {
        count++;
    }
    for (int i = count - 1; i > 0; i--) {
        pb_status status = all[i]->open(device, threads, out);
        if (status == PB_OK || status != PB_ERR_CONFIG) {
            return PB_FRAME(status);
        }
        (void)snprintf(reason, sizeof reason, "%s", pb_error_message());
        pb_error_clear();
    }
    PB_TRY(all[0]->open(device, threads, out));
    memcpy((*out)->absent, reason, sizeof reason);
    return PB_OK;
}

pb_status pb_backend_open(const char *name, int device, int threads, pb_backend **out)
{
    const pb_backend_ops *ops = NULL;

    if (name == NULL || out == NULL) {
        return PB_FAIL(PB_ERR_ARGUMENT, "backend open: no name or no place for the result");
    }
    *out = NULL;
    if (strcmp(name, "auto") == 0) {
        return open_best(device, threads, out);
    }
    PB_TRY(pb_backend_find(name, &ops));
    return PB_FRAME(ops->open(device, threads, out));
}

/* One product of bf16 factors against its sums in double. Integers are exact in BF16, thirds are
 * not. */
static pb_status try_bf16(pb_backend *be, int m, bool transposed)
{
    enum { M = 6, N = 20, K = 70, FACTORS = (M + N) * K, ALL = FACTORS + M * N };
    pb_matmul_args args = {.transpose_b = transposed, .alpha = 1.0f};
    float host[ALL]     = {0};
    void *memory        = NULL;
    pb_status status    = PB_OK;
    for (int i = 0; i < FACTORS; i++) {
        host[i] = (float)(i % 11 - 5) / 3.0f;
    }
    PB_TRY(pb_backend_alloc(be, sizeof host, &memory));
    float *block = memory;
    pb_tensor a  = pb_tensor_2d(block, PB_DTYPE_F32, m, K);
    pb_tensor b = pb_tensor_2d(block + M * K, PB_DTYPE_F32, transposed ? N : K, transposed ? K : N);
    pb_tensor c = pb_tensor_2d(block + FACTORS, PB_DTYPE_F32, m, N);
    pb_tensor own = pb_tensor_1d(host, PB_DTYPE_F32, ALL);
    pb_tensor all = pb_tensor_1d(block, PB_DTYPE_F32, ALL);
    PB_TRY_GOTO(status, pb_copy(be, &all, &own), done);
    PB_TRY_GOTO(status, pb_matmul(be, &c, &a, &b, &args), done);
    PB_TRY_GOTO(status, pb_copy(be, &own, &all), done);
    pb_floats_round_bf16(host, FACTORS);
    const float *right = host + M * K;
    for (int i = 0; i < m * N; i++) {
        double sum = 0.0;
        double got = (double)host[FACTORS + i];
        for (int k = 0; k < K; k++) {
            sum += (double)host[i / N * K + k] *
                   (double)(transposed ? right[i % N * K + k] : right[k * N + i % N]);
        }
        if (!(fabs(sum - got) < 1e-4)) {
            status = PB_FAIL(PB_ERR_NUMERIC,
                             "backend %s: a product of bf16 factors is wrong: %g, not %g; use f32",
                             be->ops->name, got, sum);
            goto done;
        }
    }
done:
    pb_backend_free(be, memory);
    return status;
}

pb_status pb_backend_use_dtype(pb_backend *be, pb_dtype dtype)
{
    static const int rows[] = {2, 6}; /* products of few rows take another path */
    pb_status status        = PB_OK;
    if (dtype != PB_DTYPE_F32 && dtype != PB_DTYPE_BF16) {
        return PB_FAIL(PB_ERR_UNSUPPORTED, "backend %s: products of %s are not computed",
                       be->ops->name, pb_dtype_name(dtype));
    }
    be->bf16 = dtype == PB_DTYPE_BF16;
    rows_forget(be);
    if (be->ops->use_dtype != NULL) {
        PB_TRY(be->ops->use_dtype(be, dtype));
    }
    for (int i = 0; i < 4 && be->bf16 && status == PB_OK; i++) {
        status = try_bf16(be, rows[i / 2], i % 2 != 0);
    }
    be->bf16 = be->bf16 && status == PB_OK;
    be->work = (pb_backend_work){0};
    return status;
}

pb_status pb_backend_use_products(pb_backend *be, const char *text)
{
    pb_status status = PB_OK;
    rows_forget(be);
    if (be->ops->use_products != NULL) {
        status = be->ops->use_products(be, text);
    } else if (strcmp(text, "auto") != 0 && strcmp(text, "blas") != 0) {
        status = PB_FAIL(PB_ERR_CONFIG,
                         "products = \"%s\": backend %s has one library for them; choose auto",
                         text, be->ops->name);
    }
    be->work = (pb_backend_work){0};
    return status;
}

const char *pb_backend_products(const pb_backend *be)
{
    return be->products;
}

void pb_backend_use_graphs(pb_backend *be, bool graphs)
{
    be->plain = !graphs;
}

void pb_backend_close(pb_backend *be)
{
    if (be != NULL) {
        rows_forget(be);
        be->ops->close(be);
    }
}

pb_dtype pb_backend_activation(const pb_backend *be)
{
    return activation_of(be);
}

pb_dtype pb_backend_weight_type(const pb_backend *be, pb_dtype dtype)
{
    return be->ops->activation != NULL ? activation_of(be) : dtype;
}

int64_t pb_backend_border(const pb_backend *be)
{
    return be->border;
}

const char *pb_backend_name(const pb_backend *be)
{
    return be->ops->name;
}

bool pb_backend_pads(const pb_backend *be)
{
    return be->pads;
}

bool pb_backend_is_host(const pb_backend *be)
{
    return be->ops->is_host;
}

int pb_backend_threads(const pb_backend *be)
{
    return be->threads;
}

pb_device_id pb_backend_device_id(const pb_backend *be)
{
    return be->device_id;
}

const char *pb_backend_describe(const pb_backend *be)
{
    return be->describe;
}

void pb_backend_warn(const pb_backend *be)
{
    if (be->absent[0] != '\0') {
        pb_log0_info("the CPU computes: %s", be->absent);
    }
    if (be->note[0] != '\0') {
        pb_log0_info("%s", be->note);
    }
    if (be->warning[0] != '\0') {
        pb_log0_warn("%s", be->warning);
    }
}

void pb_backend_part(pb_backend *be, pb_work_part part)
{
    if (host_times(be)) {
        double now = pb_clock_seconds();
        be->work.part_seconds[be->part] += now - be->part_begin;
        be->part       = part;
        be->part_begin = now;
    }
}

void pb_backend_work_reset(pb_backend *be, bool timing)
{
    be->timing     = timing;
    be->work       = (pb_backend_work){0};
    be->part       = PB_PART_OTHER;
    be->part_begin = timing ? pb_clock_seconds() : 0.0;
    if (be->ops->work_reset != NULL) {
        be->ops->work_reset(be);
    }
}

pb_backend_work pb_backend_work_get(pb_backend *be)
{
    if (be->ops->work_collect != NULL) {
        be->ops->work_collect(be);
    }
    return be->work;
}

void pb_backend_memory(const pb_backend *be, size_t *now, size_t *peak)
{
    if (now != NULL) {
        *now = be->memory_now;
    }
    if (peak != NULL) {
        *peak = be->memory_peak;
    }
}

void pb_backend_memory_peak_reset(pb_backend *be)
{
    be->memory_peak = be->memory_now;
}

double pb_backend_energy(pb_backend *be, const char **why)
{
    if (be->ops->energy == NULL) {
        *why = "the backend has no counter of energy";
        return (double)NAN;
    }
    return be->ops->energy(be, why);
}

pb_status pb_backend_facts(pb_backend *be, pb_backend_put *put, void *context)
{
    return be->ops->facts != NULL ? PB_FRAME(be->ops->facts(be, put, context)) : PB_OK;
}

pb_status pb_backend_list(pb_backend_put *put, void *context)
{
    for (const pb_backend_ops *const *ops = pb_backend_registry(); *ops != NULL; ops++) {
        if ((*ops)->list != NULL) {
            PB_TRY((*ops)->list(put, context));
        }
    }
    return PB_OK;
}

void pb_backend_reset(pb_backend *be)
{
    be->ops->trim(be);
    pb_backend_work_reset(be, false);
    pb_backend_memory_peak_reset(be);
}

pb_status pb_backend_alloc(pb_backend *be, size_t bytes, void **data)
{
    *data = NULL;
    return PB_FRAME(be->ops->alloc(be, bytes, data));
}

pb_status pb_backend_vector(pb_backend *be, pb_dtype dtype, int64_t n, pb_tensor *out)
{
    void *data = NULL;
    if (n > 0) {
        PB_TRY(pb_backend_alloc(be, (size_t)n * pb_dtype_size(dtype), &data));
        *out = pb_tensor_1d(data, dtype, n);
    }
    return PB_OK;
}

void pb_backend_free(pb_backend *be, void *data)
{
    if (data != NULL) {
        be->ops->free(be, data);
    }
}

pb_status pb_backend_reserve(pb_backend *be, const pb_reserve_args *args)
{
    return PB_FRAME(be->ops->reserve(be, args));
}

pb_status pb_sync(pb_backend *be)
{
    return PB_FRAME(be->ops->sync(be));
}

pb_status pb_archive_tensor(pb_archive *archive, pb_backend *be, pb_tensor *t)
{
    enum { MOST = 1 << 16 }; /* values at once */
    int64_t n        = pb_tensor_is_none(t) ? 0 : pb_tensor_count(t);
    float *values    = NULL;
    pb_status status = PB_ALLOC(values, n < MOST ? n : MOST);
    for (int64_t first = 0; first < n && status == PB_OK; first += MOST) {
        int64_t count  = n - first < MOST ? n - first : MOST;
        pb_tensor here = pb_tensor_1d(values, PB_DTYPE_F32, count);
        pb_tensor part = pb_tensor_rows(t, first, count);
        status         = pb_archive_reads(archive) ? PB_OK : pb_copy(be, &here, &part);
        if (status == PB_OK) {
            status = pb_archive_bytes(archive, values, (size_t)count * sizeof *values);
        }
        if (status == PB_OK && pb_archive_reads(archive)) {
            status = pb_copy(be, &part, &here);
        }
    }
    pb_memory_free(values);
    return status;
}
