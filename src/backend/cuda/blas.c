// SPDX-License-Identifier: Apache-2.0
/* Products by cuBLASLt, which is opened when a device is, so that a run on the CPU neither needs
 * nor loads it.
 *
 * The library is column-major: row-major C = op(A) op(B) is its C' = op(B)' op(A)'. Each kind of
 * product (types, transposes, shape, strides, beta) keeps its descriptors and the first algorithm
 * of the library's heuristic among those that add no partial sums in an order of their own. Nothing
 * is chosen by timing, so a product has the same bits in every process. What the library refuses,
 * and products of few rows, are computed by product.c. */
#include "cuda.h"

#include "pb/log.h"
#include "pb/memory.h"

#include <cublasLt.h>
#include <dlfcn.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PLACES       = 1024,     /* of products that are kept */
    KEPT         = 768,      /* most of them */
    WORKSPACE    = 32 << 20, /* bytes */
    OWN_ROWS     = 16,       /* most rows of x Wᵀ that product.c computes */
    LT_ALIGNMENT = 16,       /* bytes, of addresses and rows that the library gets */
    OLDEST       = 120000    /* version of the library */
};

#define SYMBOLS(X)                          \
    X(cublasLtCreate)                       \
    X(cublasLtDestroy)                      \
    X(cublasLtGetVersion)                   \
    X(cublasLtGetStatusString)              \
    X(cublasLtMatmul)                       \
    X(cublasLtMatmulAlgoGetHeuristic)       \
    X(cublasLtMatmulDescCreate)             \
    X(cublasLtMatmulDescDestroy)            \
    X(cublasLtMatmulDescSetAttribute)       \
    X(cublasLtMatmulPreferenceCreate)       \
    X(cublasLtMatmulPreferenceDestroy)      \
    X(cublasLtMatmulPreferenceSetAttribute) \
    X(cublasLtMatrixLayoutCreate)           \
    X(cublasLtMatrixLayoutDestroy)

/* A program that has them, a test, need not load the library. */
#define WEAK(name) extern __typeof__(name) name __attribute__((weak));
SYMBOLS(WEAK)

typedef struct library {
    void *handle; /* of dlopen; NULL: the symbols are the program's own */
#define POINTER(name) __typeof__(name) *name;
    SYMBOLS(POINTER)
} library;

/* What decides an algorithm. Compared as bytes: no padding, and zeroed. */
typedef struct kind {
    int64_t m, n, k, lda, ldb, ldc;
    int32_t factor, result; /* cudaDataType */
    int32_t transpose_a, transpose_b, reads_c, unused;
} kind;

typedef struct product {
    kind kind;
    bool made, refused; /* refused: the library has no algorithm for it */
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulAlgo_t algorithm;
} product;

struct cuda_products {
    library lt;
    cublasLtHandle_t handle;
    cuda_block workspace;
    product kept[PLACES];
    int count; /* of these */
    char name[32];
};

/* The library --------------------------------------------------------------------------------- */

static void take_own_symbols(library *lt)
{
#define TAKE_OWN(name) lt->name = name;
    SYMBOLS(TAKE_OWN)
}

static pb_status load_symbol(void *handle, const char *name, void *pointer)
{
    void *symbol = dlsym(handle, name);
    if (symbol == NULL) {
        return PB_FAIL(PB_ERR_CONFIG, "cuda: the library cuBLASLt has no %s", name);
    }
    memcpy(pointer, &symbol, sizeof symbol);
    return PB_OK;
}

static pb_status load(library *lt)
{
    const char *given   = getenv("PB_CUBLASLT");
    const char *names[] = {"libcublasLt.so.13", "libcublasLt.so.12"};
    size_t count        = sizeof names / sizeof *names;
    if (given != NULL && *given != '\0') {
        names[0] = given;
        count    = 1;
    }
    for (size_t i = 0; i < count && lt->handle == NULL; i++) {
        lt->handle = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    }
    if (lt->handle == NULL) {
        return PB_FAIL(PB_ERR_CONFIG,
                       "cuda: the library cuBLASLt cannot be opened: %s; it comes with CUDA and "
                       "with PyTorch, and PB_CUBLASLT names its file",
                       dlerror());
    }
#define LOAD(name) PB_TRY(load_symbol(lt->handle, #name, &lt->name));
    SYMBOLS(LOAD)
    return PB_OK;
}

static pb_status fail(const library *lt, cublasStatus_t code, const char *what)
{
    (void)cudaGetLastError(); /* the library's calls of the runtime are reported here */
    cudaError_t lost = cuda_lost();
    if (lost != cudaSuccess) {
        return PB_FAIL(PB_ERR_DEVICE, "cuda: %s: %s: %s: %s", what,
                       lt->cublasLtGetStatusString(code), cudaGetErrorName(lost),
                       cudaGetErrorString(lost));
    }
    return PB_FAIL(code == CUBLAS_STATUS_ALLOC_FAILED ? PB_ERR_MEMORY : PB_ERR_LIBRARY,
                   "cuda: %s: %s", what, lt->cublasLtGetStatusString(code));
}

#define LT_TRY(lt, call)                        \
    do {                                        \
        cublasStatus_t lt_try_ = (lt)->call;    \
        if (lt_try_ != CUBLAS_STATUS_SUCCESS) { \
            return fail((lt), lt_try_, #call);  \
        }                                       \
    } while (0)

/* A failed release: a warning in the log, as CUDA_DROP. */
static void drop(const library *lt, cublasStatus_t code, const char *call)
{
    if (code != CUBLAS_STATUS_SUCCESS) {
        (void)cudaGetLastError();
        pb_log_line(cuda_lost() != cudaSuccess ? PB_LOG_DEBUG : PB_LOG_WARN, false, "cuda: %s: %s",
                    call, lt->cublasLtGetStatusString(code));
    }
}

#define LT_DROP(lt, call) drop((lt), (lt)->call, #call)

static pb_status open_products(cuda_products *p)
{
    if (cublasLtCreate != NULL) {
        take_own_symbols(&p->lt);
    } else {
        PB_TRY(load(&p->lt));
    }
    size_t version = p->lt.cublasLtGetVersion();
    (void)snprintf(p->name, sizeof p->name, "cuBLASLt %d.%d.%d", (int)(version / 10000),
                   (int)(version / 100 % 100), (int)(version % 100));
    if (version < OLDEST) {
        return PB_FAIL(PB_ERR_CONFIG,
                       "cuda: %s is too old, 12 or 13 is needed; PB_CUBLASLT names its file",
                       p->name);
    }
    LT_TRY(&p->lt, cublasLtCreate(&p->handle));
    return PB_OK;
}

pb_status cuda_products_open(cuda *c)
{
    PB_TRY(PB_ALLOC(c->products, 1));
    return open_products(c->products);
}

pb_status cuda_products_reserve(cuda *c)
{
    void *unused = NULL;
    return cuda_block_take(c, &c->products->workspace, WORKSPACE, "workspace", &unused);
}

const char *cuda_products_name(const cuda *c)
{
    return c->products->name;
}

static void forget(const library *lt, product *p)
{
    if (p->operation != NULL) {
        LT_DROP(lt, cublasLtMatmulDescDestroy(p->operation));
    }
    cublasLtMatrixLayout_t layouts[] = {p->a, p->b, p->c};
    for (int i = 0; i < 3; i++) {
        if (layouts[i] != NULL) {
            LT_DROP(lt, cublasLtMatrixLayoutDestroy(layouts[i]));
        }
    }
    *p = (product){0};
}

static void forget_all(cuda_products *all)
{
    for (int i = 0; i < PLACES; i++) {
        forget(&all->lt, &all->kept[i]);
    }
    all->count = 0;
}

void cuda_products_close(cuda *c)
{
    cuda_products *p = c->products;
    if (p == NULL) {
        return;
    }
    forget_all(p);
    if (p->handle != NULL) {
        LT_DROP(&p->lt, cublasLtDestroy(p->handle));
    }
    if (p->lt.handle != NULL) {
        (void)dlclose(p->lt.handle);
    }
    cuda_block_free(c, &p->workspace);
    pb_memory_free(p);
    c->products = NULL;
}

/* Kinds of products --------------------------------------------------------------------------- */

static pb_status set_preferences(const library *lt, cublasLtMatmulPreference_t preference)
{
    static const cublasLtMatmulPreferenceAttributes_t alignments[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    const uint64_t workspace = WORKSPACE;
    const uint32_t reduction = CUBLASLT_REDUCTION_SCHEME_NONE;
    const uint32_t alignment = LT_ALIGNMENT;
    LT_TRY(lt, cublasLtMatmulPreferenceSetAttribute(preference,
                                                    CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                    &workspace, sizeof workspace));
    LT_TRY(lt, cublasLtMatmulPreferenceSetAttribute(preference,
                                                    CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                                    &reduction, sizeof reduction));
    for (int i = 0; i < 4; i++) {
        LT_TRY(lt, cublasLtMatmulPreferenceSetAttribute(preference, alignments[i], &alignment,
                                                        sizeof alignment));
    }
    return PB_OK;
}

static pb_status choose(const cuda_products *all, product *p)
{
    const library *lt = &all->lt;
    cublasLtMatmulHeuristicResult_t best;
    cublasLtMatmulPreference_t preference = NULL;
    int found                             = 0;
    LT_TRY(lt, cublasLtMatmulPreferenceCreate(&preference));
    pb_status status = set_preferences(lt, preference);
    if (status == PB_OK) {
        memset(&best, 0, sizeof best);
        cublasStatus_t code = lt->cublasLtMatmulAlgoGetHeuristic(
            all->handle, p->operation, p->b, p->a, p->c, p->c, preference, 1, &best, &found);
        if (code != CUBLAS_STATUS_SUCCESS && code != CUBLAS_STATUS_NOT_SUPPORTED) {
            status = fail(lt, code, "cublasLtMatmulAlgoGetHeuristic");
        }
        p->refused   = code != CUBLAS_STATUS_SUCCESS || found == 0;
        p->algorithm = best.algo;
    }
    LT_DROP(lt, cublasLtMatmulPreferenceDestroy(preference));
    return status;
}

/* A row-major [rows, columns] as the library sees it. */
static pb_status make_layout(const library *lt, cublasLtMatrixLayout_t *layout, int32_t type,
                             int64_t rows, int64_t columns, int64_t stride)
{
    LT_TRY(lt, cublasLtMatrixLayoutCreate(layout, (cudaDataType_t)type, (uint64_t)columns,
                                          (uint64_t)rows, stride));
    return PB_OK;
}

static pb_status make_product(const cuda_products *all, product *p)
{
    const library *lt     = &all->lt;
    const kind *k         = &p->kind;
    const int32_t first   = k->transpose_b != 0 ? CUBLAS_OP_T : CUBLAS_OP_N;
    const int32_t second  = k->transpose_a != 0 ? CUBLAS_OP_T : CUBLAS_OP_N;
    const bool a_by_inner = k->transpose_a != 0;
    const bool b_by_inner = k->transpose_b == 0;
    LT_TRY(lt, cublasLtMatmulDescCreate(&p->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    LT_TRY(lt, cublasLtMatmulDescSetAttribute(p->operation, CUBLASLT_MATMUL_DESC_TRANSA, &first,
                                              sizeof first));
    LT_TRY(lt, cublasLtMatmulDescSetAttribute(p->operation, CUBLASLT_MATMUL_DESC_TRANSB, &second,
                                              sizeof second));
    PB_TRY(make_layout(lt, &p->a, k->factor, a_by_inner ? k->k : k->m, a_by_inner ? k->m : k->k,
                       k->lda));
    PB_TRY(make_layout(lt, &p->b, k->factor, b_by_inner ? k->k : k->n, b_by_inner ? k->n : k->k,
                       k->ldb));
    PB_TRY(make_layout(lt, &p->c, k->result, k->m, k->n, k->ldc));
    PB_TRY(choose(all, p));
    p->made = true;
    return PB_OK;
}

static uint64_t hash_of(const kind *k)
{
    const unsigned char *bytes = (const unsigned char *)k;
    uint64_t hash              = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < sizeof *k; i++) {
        hash = (hash ^ bytes[i]) * UINT64_C(1099511628211);
    }
    return hash ^ hash >> 32;
}

/* Where the product of a kind is, or can be: at its place or at the next one that is free. */
static product *place_of(cuda_products *all, const kind *k)
{
    product *p = &all->kept[hash_of(k) % PLACES];
    while (p->made && memcmp(&p->kind, k, sizeof *k) != 0) {
        p = p + 1 < all->kept + PLACES ? p + 1 : all->kept;
    }
    return p;
}

/* Numbers of rows come and go, those of generated tokens and of prompts most of all. Each has the
 * algorithm that the library takes for it; when too many are kept, all are made again. */
static pb_status find(cuda_products *all, const kind *k, const product **out)
{
    product *p = place_of(all, k);
    if (!p->made && all->count == KEPT) {
        forget_all(all);
        p = place_of(all, k);
    }
    if (!p->made) {
        p->kind          = *k;
        pb_status status = make_product(all, p);
        if (status != PB_OK) {
            forget(&all->lt, p);
            return PB_FRAME(status);
        }
        all->count++;
    }
    *out = p;
    return PB_OK;
}

/* The operation ------------------------------------------------------------------------------- */

/* A single row has no stride of its own. */
static int64_t stride_of(const pb_tensor *t)
{
    return t->shape[0] > 1 ? t->stride
                           : (t->shape[1] + LT_ALIGNMENT - 1) / LT_ALIGNMENT * LT_ALIGNMENT;
}

static bool is_aligned(const pb_tensor *t)
{
    size_t row = (size_t)stride_of(t) * pb_dtype_size(t->dtype);
    return (uintptr_t)t->data % LT_ALIGNMENT == 0 && row % LT_ALIGNMENT == 0;
}

static int32_t type_of(const pb_tensor *t)
{
    return t->dtype == PB_DTYPE_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

static kind kind_of(const pb_tensor *c, const pb_tensor *a, const pb_tensor *b,
                    const pb_matmul_args *args)
{
    kind k;
    memset(&k, 0, sizeof k);
    k.m           = c->shape[0];
    k.n           = c->shape[1];
    k.k           = a->shape[args->transpose_a ? 0 : 1];
    k.lda         = stride_of(a);
    k.ldb         = stride_of(b);
    k.ldc         = stride_of(c);
    k.factor      = type_of(a);
    k.result      = type_of(c);
    k.transpose_a = args->transpose_a;
    k.transpose_b = args->transpose_b;
    k.reads_c     = args->beta != 0.0f;
    return k;
}

/* Rows of x Wᵀ are decoded tokens: their bits may not depend on how many there are. */
static bool is_for_library(const pb_tensor *c, const pb_tensor *a, const pb_tensor *b,
                           const pb_matmul_args *args)
{
    bool few = !args->transpose_a && args->transpose_b && c->shape[0] <= OWN_ROWS;
    return !few && a->shape[args->transpose_a ? 0 : 1] > 0 && is_aligned(c) && is_aligned(a) &&
           is_aligned(b);
}

/* Factors of one type; `before`: as in cuda_product. */
static pb_status multiply(cuda *c, pb_tensor *y, const pb_tensor *a, const pb_tensor *b,
                          const pb_matmul_args *args, const void *before)
{
    cuda_products *all = c->products;
    const product *p   = NULL;
    if (is_for_library(y, a, b, args) && (uintptr_t)before % LT_ALIGNMENT == 0) {
        kind k = kind_of(y, a, b, args);
        PB_TRY(find(all, &k, &p));
    }
    if (p == NULL || p->refused) {
        PB_TRY(cuda_product(&c->base, y, a, b, args, before));
        return PB_OK;
    }
    PB_TRY(cuda_products_reserve(c));
    cublasStatus_t code =
        all->lt.cublasLtMatmul(all->handle, p->operation, &args->alpha, b->data, p->b, a->data,
                               p->a, &args->beta, before != NULL ? before : y->data, p->c, y->data,
                               p->c, &p->algorithm, all->workspace.data, WORKSPACE, c->stream);
    if (code != CUBLAS_STATUS_SUCCESS) {
        char what[96];
        (void)snprintf(what, sizeof what, "matmul [%lld, %lld, %lld]", (long long)p->kind.m,
                       (long long)p->kind.n, (long long)p->kind.k);
        return fail(&all->lt, code, what);
    }
    return PB_OK;
}

/* Bytes of scratch memory that a factor of another type takes. */
static size_t converted_bytes(const pb_tensor *t, pb_dtype type)
{
    return t->dtype != type ? cuda_bytes(pb_tensor_count(t), pb_dtype_size(type)) : 0;
}

/* *t as `type`, at `room` where it has another one. */
static pb_status convert(pb_backend *be, pb_tensor *t, pb_dtype type, void *room)
{
    if (t->dtype == type) {
        return PB_OK;
    }
    pb_tensor to = pb_tensor_2d(room, type, t->shape[0], t->shape[1]);
    PB_TRY(cuda_copy_device(be, &to, t));
    *t = to;
    return PB_OK;
}

size_t cuda_products_scratch(const cuda *c, const pb_reserve_args *args)
{
    size_t item = c->base.bf16 ? sizeof(uint16_t) : sizeof(float);
    return cuda_bytes(args->factor, item) + cuda_bytes(args->weight, item);
}

static pb_status convert_and_multiply(pb_backend *be, pb_tensor *c, const pb_tensor *a,
                                      const pb_tensor *b, const pb_matmul_args *args,
                                      const void *before)
{
    pb_dtype type   = be->bf16 ? PB_DTYPE_BF16 : PB_DTYPE_F32;
    size_t a_bytes  = converted_bytes(a, type);
    size_t b_bytes  = converted_bytes(b, type);
    char *room      = NULL;
    void *scratch   = NULL;
    pb_tensor left  = *a;
    pb_tensor right = *b;
    if (a_bytes + b_bytes > 0) {
        PB_TRY(cuda_scratch(be, a_bytes + b_bytes, &scratch));
        room = scratch;
        PB_TRY(convert(be, &left, type, room));
        PB_TRY(convert(be, &right, type, room + a_bytes));
    }
    PB_TRY(cuda_timer_begin(be, false));
    PB_TRY(multiply(cuda_of(be), c, &left, &right, args, before));
    return cuda_timer_end(be);
}

pb_status cuda_matmul(pb_backend *be, pb_tensor *c, const pb_tensor *a, const pb_tensor *b,
                      const pb_matmul_args *args)
{
    return convert_and_multiply(be, c, a, b, args, NULL);
}

pb_status cuda_matmul_add(pb_backend *be, pb_tensor *y, const pb_tensor *before, const pb_tensor *x,
                          const pb_tensor *weight)
{
    const pb_matmul_args args = {.transpose_b = true, .alpha = 1.0f, .beta = 1.0f};
    if (before->stride != y->stride || before->dtype != y->dtype) {
        PB_TRY(cuda_copy_device(be, y, before));
        return pb_matmul(be, y, x, weight, &args);
    }
    be->work.matmul_flops += 2.0 * (double)pb_tensor_count(y) * (double)x->shape[1];
    return convert_and_multiply(be, y, x, weight, &args, before->data);
}
