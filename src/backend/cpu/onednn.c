// SPDX-License-Identifier: Apache-2.0
/* F32 products are calls of its sgemm. BF16: one primitive for each combination of transposed
 * factors and of adding, made once: sizes and strides are arguments of a call, so that a new shape
 * costs nothing. */
#include "onednn.h"

#ifdef PB_HAVE_ONEDNN
#include "pb/memory.h"

#include <dlfcn.h>
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

#include <stdio.h>
#include <string.h>

enum { ADDS = 1, TRANSPOSED_A = 2, TRANSPOSED_B = 4, KINDS = 8 };

/* The functions of the library, which is opened when it is first needed: it is large, and most runs
 * have none of it. The interface differs between versions 2 and 3: descriptions of memory are
 * values in one and objects in the other, and primitives are described in two steps or in one. */
// clang-format off
#if DNNL_VERSION_MAJOR >= 3
#define LIBRARY "libdnnl.so.3"
#define OF_VERSION(X) \
    X(memory_desc_create_with_strides) X(memory_desc_destroy) X(matmul_primitive_desc_create)
#else
#define LIBRARY "libdnnl.so.2"
#define OF_VERSION(X) \
    X(memory_desc_init_by_strides) X(matmul_desc_init) X(primitive_desc_create)
#endif
#define FUNCTIONS(X) OF_VERSION(X) X(version) X(sgemm) \
    X(engine_create) X(engine_destroy) X(stream_create) X(stream_destroy) X(stream_wait) \
    X(memory_create) X(memory_destroy) \
    X(post_ops_create) X(post_ops_append_sum) X(post_ops_destroy) \
    X(primitive_attr_create) X(primitive_attr_set_post_ops) \
    X(primitive_attr_set_scratchpad_mode) X(primitive_attr_destroy) \
    X(primitive_desc_query) X(primitive_desc_destroy) \
    X(primitive_create) X(primitive_execute) X(primitive_destroy)
// clang-format on

static struct api {
    void *handle;
#define FUNCTION(name) __typeof__(dnnl_##name) *name;
    FUNCTIONS(FUNCTION)
#undef FUNCTION
} api;

struct onednn {
    dnnl_engine_t engine;
    dnnl_primitive_t primitives[KINDS];
};

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t layout;

static dnnl_status_t layout_open(layout *out, const dnnl_dims_t sizes, dnnl_data_type_t type,
                                 const dnnl_dims_t strides)
{
    return api.memory_desc_create_with_strides(out, 2, sizes, type, strides);
}

static void layout_close(layout *l)
{
    (void)api.memory_desc_destroy(*l);
}

static dnnl_status_t memory_open(dnnl_memory_t *out, const layout *l, dnnl_engine_t engine,
                                 void *data)
{
    return api.memory_create(out, *l, engine, data);
}

static dnnl_status_t append_sum(dnnl_post_ops_t post)
{
    return api.post_ops_append_sum(post, 1.0f, 0, dnnl_data_type_undef);
}

static dnnl_status_t describe(dnnl_primitive_desc_t *out, dnnl_engine_t engine, const layout l[3],
                              dnnl_primitive_attr_t attr)
{
    return api.matmul_primitive_desc_create(out, engine, l[0], l[1], NULL, l[2], attr);
}
#else
typedef dnnl_memory_desc_t layout;

static dnnl_status_t layout_open(layout *out, const dnnl_dims_t sizes, dnnl_data_type_t type,
                                 const dnnl_dims_t strides)
{
    return api.memory_desc_init_by_strides(out, 2, sizes, type, strides);
}

static void layout_close(layout *l)
{
    (void)l;
}

static dnnl_status_t memory_open(dnnl_memory_t *out, const layout *l, dnnl_engine_t engine,
                                 void *data)
{
    return api.memory_create(out, l, engine, data);
}

static dnnl_status_t append_sum(dnnl_post_ops_t post)
{
    return api.post_ops_append_sum(post, 1.0f);
}

static dnnl_status_t describe(dnnl_primitive_desc_t *out, dnnl_engine_t engine, const layout l[3],
                              dnnl_primitive_attr_t attr)
{
    dnnl_matmul_desc_t matmul;
    dnnl_status_t status = api.matmul_desc_init(&matmul, &l[0], &l[1], NULL, &l[2]);
    return status == dnnl_success ? api.primitive_desc_create(out, &matmul, attr, engine, NULL)
                                  : status;
}
#endif

const char *onednn_name(void)
{
    static char name[32];
    const dnnl_version_t *v = api.version();
    (void)snprintf(name, sizeof name, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
    return name;
}

/* The factors and the result; a stride or size of DNNL_RUNTIME_DIM_VAL is known at a call. */
static dnnl_status_t layouts_open(layout l[3], int64_t m, int64_t n, int64_t k, int64_t lda,
                                  int64_t ldb, int64_t ldc, int kind)
{
    bool ta               = (kind & TRANSPOSED_A) != 0;
    bool tb               = (kind & TRANSPOSED_B) != 0;
    dnnl_dims_t sizes[]   = {{m, k}, {k, n}, {m, n}};
    dnnl_dims_t strides[] = {{ta ? 1 : lda, ta ? lda : 1}, {tb ? 1 : ldb, tb ? ldb : 1}, {ldc, 1}};
    for (int i = 0; i < 3; i++) {
        dnnl_status_t status =
            layout_open(&l[i], sizes[i], i < 2 ? dnnl_bf16 : dnnl_f32, strides[i]);
        if (status != dnnl_success) {
            while (i-- > 0) {
                layout_close(&l[i]);
            }
            return status;
        }
    }
    return dnnl_success;
}

static void layouts_close(layout l[3])
{
    for (int i = 0; i < 3; i++) {
        layout_close(&l[i]);
    }
}

static dnnl_status_t add_to(dnnl_primitive_attr_t attr)
{
    dnnl_post_ops_t post = NULL;
    dnnl_status_t status = api.post_ops_create(&post);
    if (status == dnnl_success) {
        status = append_sum(post);
        status = status == dnnl_success ? api.primitive_attr_set_post_ops(attr, post) : status;
        (void)api.post_ops_destroy(post);
    }
    return status;
}

/* Threads may use it at the same time, since it needs no memory between calls; one that does is as
 * good as none. */
static dnnl_status_t primitive_open(dnnl_engine_t engine, int kind, const layout l[3],
                                    dnnl_primitive_t *out)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t desc = NULL;
    int64_t room               = 0;
    dnnl_status_t status       = api.primitive_attr_create(&attr);
    if (status == dnnl_success) {
        status = api.primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    }
    if (status == dnnl_success && (kind & ADDS) != 0) {
        status = add_to(attr);
    }
    if (status == dnnl_success) {
        status = describe(&desc, engine, l, attr);
    }
    if (status == dnnl_success) {
        status = api.primitive_desc_query(desc, dnnl_query_memory_consumption_s64, 0, &room);
        status = status == dnnl_success && room > 0 ? dnnl_unimplemented : status;
    }
    if (status == dnnl_success) {
        status = api.primitive_create(out, desc);
    }
    (void)api.primitive_desc_destroy(desc);
    (void)api.primitive_attr_destroy(attr);
    return status;
}

static dnnl_status_t open_all(onednn *library)
{
    const int64_t any    = DNNL_RUNTIME_DIM_VAL;
    dnnl_status_t status = api.engine_create(&library->engine, dnnl_cpu, 0);
    for (int kind = 0; kind < KINDS && status == dnnl_success; kind++) {
        layout l[3];
        status = layouts_open(l, any, any, any, any, any, any, kind);
        if (status == dnnl_success) {
            status = primitive_open(library->engine, kind, l, &library->primitives[kind]);
            layouts_close(l);
        }
    }
    return status;
}

/* The library brings an OpenMP of its own where ours is linked statically, whose threads nobody
 * limits. */
static bool shares_openmp(void)
{
    void *program = dlopen(NULL, RTLD_LAZY);
    bool shares   = program != NULL && dlsym(program, "omp_set_num_threads") != NULL;
    if (program != NULL) {
        (void)dlclose(program);
    }
    return shares;
}

static bool load(void)
{
    bool whole = true;
    if (!shares_openmp()) {
        return false;
    }
    api.handle = api.handle != NULL ? api.handle : dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (api.handle == NULL) {
        return false;
    }
#define FUNCTION(name)                                  \
    do {                                                \
        void *found = dlsym(api.handle, "dnnl_" #name); \
        memcpy(&api.name, &found, sizeof found);        \
        whole = whole && found != NULL;                 \
    } while (0);
    FUNCTIONS(FUNCTION)
#undef FUNCTION
    return whole;
}

pb_status onednn_open(bool bf16, onednn **out)
{
    onednn *library = NULL;
    int threads     = omp_get_max_threads();
    *out            = NULL;
    if (!load()) {
        return PB_OK;
    }
    PB_TRY(PB_ALLOC(library, 1));
    omp_set_num_threads(1); /* primitives keep the number there is when they are made */
    dnnl_status_t status = bf16 ? open_all(library) : dnnl_success;
    omp_set_num_threads(threads);
    if (status != dnnl_success) {
        onednn_close(library);
        return PB_OK;
    }
    *out = library;
    return PB_OK;
}

void onednn_close(onednn *library)
{
    if (library == NULL) {
        return;
    }
    for (int kind = 0; kind < KINDS; kind++) {
        (void)api.primitive_destroy(library->primitives[kind]);
    }
    (void)api.engine_destroy(library->engine);
    pb_memory_free(library);
}

static dnnl_status_t execute(onednn *library, const onednn_product *p, int kind, const layout l[3])
{
    void *data[3]               = {(void *)p->a, (void *)p->b, p->c};
    dnnl_exec_arg_t arguments[] = {
        {DNNL_ARG_SRC, NULL}, {DNNL_ARG_WEIGHTS, NULL}, {DNNL_ARG_DST, NULL}};
    dnnl_stream_t stream = NULL;
    dnnl_status_t status = api.stream_create(&stream, library->engine, dnnl_stream_default_flags);
    for (int i = 0; i < 3 && status == dnnl_success; i++) {
        status = memory_open(&arguments[i].memory, &l[i], library->engine, data[i]);
    }
    if (status == dnnl_success) {
        status = api.primitive_execute(library->primitives[kind], stream, 3, arguments);
    }
    if (status == dnnl_success) {
        status = api.stream_wait(stream);
    }
    for (int i = 0; i < 3; i++) {
        (void)api.memory_destroy(arguments[i].memory);
    }
    (void)api.stream_destroy(stream);
    return status;
}

static dnnl_status_t multiply_bf16(onednn *library, const onednn_product *p)
{
    layout l[3];
    int kind = (p->beta != 0.0f ? ADDS : 0) | (p->transpose_a ? TRANSPOSED_A : 0) |
               (p->transpose_b ? TRANSPOSED_B : 0);
    dnnl_status_t status = layouts_open(l, p->m, p->n, p->k, p->lda, p->ldb, p->ldc, kind);
    if (status == dnnl_success) {
        status = execute(library, p, kind, l);
        layouts_close(l);
    }
    return status;
}

int onednn_multiply(onednn *library, const onednn_product *p)
{
    int threads = omp_get_max_threads();
    omp_set_num_threads(1); /* for what this thread starts */
    dnnl_status_t status =
        p->bf16 ? multiply_bf16(library, p)
                : api.sgemm(p->transpose_a ? 'T' : 'N', p->transpose_b ? 'T' : 'N', p->m, p->n,
                            p->k, p->alpha, p->a, p->lda, p->b, p->ldb, p->beta, p->c, p->ldc);
    omp_set_num_threads(threads);
    return (int)status;
}

pb_status onednn_failure(int status)
{
    return status == (int)dnnl_out_of_memory
               ? PB_FAIL(PB_ERR_MEMORY, "oneDNN: out of memory for a product")
               : PB_FAIL(PB_ERR_LIBRARY, "oneDNN: a product failed, status %d", status);
}
#else
pb_status onednn_open(bool bf16, onednn **out)
{
    (void)bf16;
    *out = NULL;
    return PB_OK;
}

void onednn_close(onednn *library)
{
    (void)library;
}

const char *onednn_name(void)
{
    return "";
}

int onednn_multiply(onednn *library, const onednn_product *product)
{
    (void)library;
    (void)product;
    return 1;
}

pb_status onednn_failure(int status)
{
    return PB_FAIL(PB_ERR_UNSUPPORTED, "built without oneDNN (%d)", status);
}
#endif
