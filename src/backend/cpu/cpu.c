// SPDX-License-Identifier: Apache-2.0
/* The CPU backend: opening and describing it, its memory, and its table.
 *
 * Products go to a CBLAS that stays on one thread; this backend's own threads share out the parts
 * of a product, cut by its shape alone. */
#include "cpu.h"
#include "choice.h"
#include "kernels.h"
#include "onednn.h"

#include "pb/memory.h"

#include <cblas.h>
#include <omp.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A result belongs to its number of threads, so it can be repeated on a smaller machine: 64 threads
 * are always allowed. Beyond that, several to a processor are a mistake. */
enum { FREE_THREADS = 64, THREADS_PER_PROCESSOR = 4 };

/* The best instruction set of the processor among those that matter here. */
static const char *instruction_set(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f")) {
        return "AVX-512";
    }
    if (__builtin_cpu_supports("avx2")) {
        return __builtin_cpu_supports("fma") ? "AVX2 FMA" : "AVX2";
    }
    return "SSE2";
#elif defined(__aarch64__)
    return "NEON";
#else
    return "generic";
#endif
}

/* What this file was compiled for, which may be less than the processor has. */
static const char *compiled_for(void)
{
#if defined(__AVX512F__)
    return "AVX-512";
#elif defined(__AVX2__) && defined(__FMA__)
    return "AVX2 FMA";
#elif defined(__AVX2__)
    return "AVX2";
#elif defined(__x86_64__) || defined(__i386__)
    return "SSE2";
#elif defined(__aarch64__)
    return "NEON";
#else
    return "generic";
#endif
}

/* "OpenBLAS 0.3.21 Zen" */
static void blas_name(const pb_kernels *kernels, char *text, size_t size)
{
#ifdef PB_HAVE_OPENBLAS
    char version[32] = "";
    if (sscanf(openblas_get_config(), "OpenBLAS %31s", version) != 1) {
        version[0] = '\0';
    }
    snprintf(text, size, "OpenBLAS %s %s", version, kernels->name);
#else
    (void)kernels;
    snprintf(text, size, "CBLAS");
#endif
}

/* What the log should mention: kernels other than the library's own choice, and what a setting of
 * the user costs. */
static void remark(pb_backend *be, const pb_kernels *k)
{
    const char *setting = getenv(KERNELS_SETTING);
    double ratio        = k->gflops > 0.0 ? k->other_gflops / k->gflops : 0.0;
    if (k->by == PB_KERNELS_BY_PROGRAM) {
        snprintf(be->note, sizeof be->note,
                 "products use OpenBLAS's %s kernels, %.1f GFLOP/s on one thread; its own choice "
                 "for this processor, %s, has %.1f",
                 k->name, k->gflops, k->other, k->other_gflops);
    } else if (k->by == PB_KERNELS_BY_USER && strcasecmp(setting, k->name) != 0) {
        snprintf(be->warning, sizeof be->warning,
                 "OPENBLAS_CORETYPE=%s: this OpenBLAS has no kernels of that name and took %s%s",
                 setting, k->name, *k->other != '\0' ? ", which are slower than others here" : "");
    } else if (k->by == PB_KERNELS_BY_USER && *k->other != '\0') {
        snprintf(be->warning, sizeof be->warning,
                 "OPENBLAS_CORETYPE=%s makes products %.1f times as slow as they could be: %.1f "
                 "GFLOP/s on one thread, %.1f with %s kernels; unset it unless that is wanted",
                 setting, ratio, k->gflops, k->other_gflops, k->other);
    } else if (*k->other != '\0') {
        snprintf(be->warning, sizeof be->warning,
                 "products are %.1f times as slow as they could be: %.1f GFLOP/s on one thread, "
                 "%.1f with OPENBLAS_CORETYPE=%s",
                 ratio, k->gflops, k->other_gflops, k->other);
    }
}

static void describe(pb_backend *be, const pb_kernels *kernels)
{
    char blas[96];
    blas_name(kernels, blas, sizeof blas);
    snprintf(be->describe, sizeof be->describe, "%s, processor %s, compiled for %s, %d %s", blas,
             instruction_set(), compiled_for(), be->threads,
             be->threads == 1 ? "thread" : "threads");
    remark(be, kernels);
}

/* Kernels that need more than the processor has end the process at their first product. */
static pb_status check_kernels(const pb_kernels *kernels)
{
    bool amd = false;
    if (choice_can_run(kernels->name, kernels_features(&amd))) {
        return PB_OK;
    }
    return PB_FAIL(PB_ERR_CONFIG,
                   "cpu: OpenBLAS has taken its %s kernels, which need %s; this processor, or its "
                   "system, has %s: %s OPENBLAS_CORETYPE",
                   kernels->name, choice_needs(kernels->name), instruction_set(),
                   kernels->by == PB_KERNELS_BY_USER ? "unset" : "set other ones in");
}

static pb_status cpu_open(int device, int threads, pb_backend **out)
{
    if (device > 0) {
        return PB_FAIL(PB_ERR_CONFIG, "cpu: no such device: %d; the only one is 0", device);
    }
    int processors = omp_get_num_procs();
    if (threads > FREE_THREADS && threads > THREADS_PER_PROCESSOR * processors) {
        return PB_FAIL(
            PB_ERR_ARGUMENT,
            "cpu: %d threads for the %d processors that this process may use; at most "
            "%d are allowed (--threads, run.threads), more would only wait for each other",
            threads, processors,
            processors * THREADS_PER_PROCESSOR > FREE_THREADS ? processors * THREADS_PER_PROCESSOR
                                                              : FREE_THREADS);
    }
    cpu *c = NULL;
    pb_kernels kernels;
    pb_kernels_get(&kernels);
    PB_TRY(check_kernels(&kernels));
    PB_TRY(PB_ALLOC(c, 1));
    kernels_threads_each(1);
    c->base.ops     = &backend_cpu;
    c->base.threads = threads > 0 ? threads : kernels_all_threads();
    describe(&c->base, &kernels);
    c->described = strlen(c->base.describe);
    products_write(&c->products, c->base.products);
    *out = &c->base;
    return PB_OK;
}

static void cpu_trim(pb_backend *be)
{
    cpu *c = (cpu *)be;
    cpu_block_free(&c->scratch);
    for (int i = 0; i < PB_PAGE_PLANS; i++) {
        cpu_block_free(&c->plans[i]);
    }
    for (int i = 0; i < PB_SLOTS; i++) {
        cpu_block_free(&c->posted[i]);
    }
}

static void cpu_close(pb_backend *be)
{
    if (be != NULL) {
        cpu_trim(be);
        onednn_close(((cpu *)be)->onednn);
        pb_memory_free(be);
    }
}

static pb_status cpu_alloc(pb_backend *be, size_t bytes, void **data)
{
    (void)be;
    char *block = NULL;
    PB_TRY(PB_ALLOC(block, bytes));
    *data = block;
    return PB_OK;
}

static void cpu_free(pb_backend *be, void *data)
{
    (void)be;
    pb_memory_free(data);
}

static pb_status cpu_sync(pb_backend *be)
{
    (void)be;
    return PB_OK;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static pb_status cpu_reserve(pb_backend *be, const pb_reserve_args *args)
{
    size_t bytes = cpu_attention_forward_bytes(be, args->plan);
    void *unused = NULL;
    if (args->plan->args.backward) {
        bytes = larger(bytes, cpu_attention_backward_bytes(be, args->plan));
        bytes = larger(bytes, cpu_bytes(args->norm_rows, sizeof(float)));
    }
    if (args->narrow_types || be->bf16 || products_have(&((cpu *)be)->products, BY_OWN)) {
        bytes = larger(bytes, cpu_matmul_bytes(be, args->factor, args->inner));
    }
    for (int i = 0; i < PB_SLOTS; i++) {
        PB_TRY(cpu_block_take(&((cpu *)be)->posted[i], PB_NUMBERS * sizeof(double), &unused));
    }
    return cpu_scratch(be, bytes, &unused);
}

const pb_backend_ops backend_cpu = {
    .name         = "cpu",
    .is_host      = true,
    .open         = cpu_open,
    .close        = cpu_close,
    .alloc        = cpu_alloc,
    .free         = cpu_free,
    .reserve      = cpu_reserve,
    .trim         = cpu_trim,
    .sync         = cpu_sync,
    .use_dtype    = cpu_use_dtype,
    .use_products = cpu_use_products,
    .page_list    = cpu_page_list,
    .page_plan    = cpu_page_plan,
    .post         = cpu_post,
    .take         = cpu_take,
#define PB_OPERATION(name, ...) .name = cpu_##name,
#include "pb/operations.def"
};
