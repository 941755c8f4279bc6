// SPDX-License-Identifier: Apache-2.0
/* Attention of the CUDA backend, on the CPU, against plain loops in double: every kind of forest,
 * widths, groups and windows, both types; threads and blocks in other orders, and a forest among
 * others, give the same bits. */
#include "attention_case.h"
#include "fake_cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool same(const float *a, const float *b, int64_t rows, int64_t width)
{
    return memcmp(a, b, (size_t)(rows * width) * sizeof *a) == 0;
}

static void assert_same(const char *name, const char *how, const attention_case *a,
                        const attention_case *b)
{
    if (!same(a->out, b->out, a->queries, q_width(a)) ||
        !same(a->lse, b->lse, a->queries, a->shape.heads) ||
        !same(a->dq, b->dq, a->queries, q_width(a)) ||
        !same(a->dkeys, b->dkeys, a->store, kv_width(a)) ||
        !same(a->dvalues, b->dvalues, a->store, kv_width(a))) {
        fail_msg("%s: other bits %s", name, how);
    }
}

static pb_backend *open_backend(pb_dtype dtype)
{
    pb_backend *be = NULL;
    assert_ok(pb_backend_open("cuda", 0, 1, &be));
    if (dtype == PB_DTYPE_BF16) {
        assert_ok(pb_backend_use_dtype(be, dtype));
    }
    return be;
}

#define COUNT(list) ((int64_t)(sizeof(list) / sizeof(list)[0]))

static const branch ROWS[]        = {{5, 5, -1}, {1, 1, -1}, {12, 12, -1}};
static const branch SHARED[]      = {{6, 6, -1}, {3, 3, 0}, {1, 1, 0}, {7, 7, 0}};
static const branch LEVELS[]      = {{4, 4, -1}, {5, 5, 0}, {2, 2, 1},  {3, 3, 1},
                                     {4, 4, 0},  {2, 2, 4}, {3, 3, -1}, {2, 2, 6}};
static const branch PREFIX[]      = {{0, 5, -1}, {4, 4, 0}, {6, 6, 0}};
static const branch CACHED[]      = {{0, 9, -1}, {1, 4, 0}, {1, 1, 0}, {1, 12, 0}};
static const branch SEVERAL[]     = {{0, 4, -1}, {3, 8, 0}, {5, 11, 0}};
static const branch EMPTY[]       = {{0, 0, -1}, {3, 3, 0}, {0, 0, 0}, {2, 2, 2}, {0, 0, -1}};
static const branch INTERLEAVED[] = {{3, 3, -1}, {3, 3, -1}, {2, 2, 0}, {4, 4, 1}, {1, 1, 0}};
static const branch TREE[]        = {{66, 270, -1}, {10, 10, 0}, {66, 70, 0}, {1, 1, 2}};
static const branch GLUE[]        = {{45, 45, -1}, {30, 30, 0}, {71, 71, 0}, {52, 52, 0}};
static const branch DECODE[]      = {{0, 300, -1}, {1, 4, 0}, {1, 700, 0}, {1, 1, 0}, {2, 2, 0}};

#define FOREST(list) #list, list, COUNT(list)

typedef struct listed {
    const char *name;
    const branch *list;
    int64_t count;
    shape shape;
} listed;

static const listed BF16_CASES[] = {
    {FOREST(ROWS), {2, 2, 64, 0, 0}},     {FOREST(SHARED), {4, 2, 64, 0, 0}},
    {FOREST(LEVELS), {4, 1, 64, 3, 0}},   {FOREST(PREFIX), {4, 2, 80, 0, 0}},
    {FOREST(CACHED), {8, 1, 128, 0, 0}},  {FOREST(SEVERAL), {6, 2, 96, 4, 0}},
    {FOREST(EMPTY), {4, 2, 96, 0, 0}},    {FOREST(INTERLEAVED), {4, 2, 64, 0, 3}},
    {FOREST(LEVELS), {7, 1, 256, 0, 0}},  {FOREST(TREE), {8, 2, 64, 0, 0}},
    {FOREST(TREE), {2, 2, 64, 33, 0}},    {FOREST(TREE), {6, 2, 64, 260, 5}},
    {FOREST(TREE), {20, 1, 64, 100, 60}}, {FOREST(GLUE), {4, 1, 128, 0, 0}},
    {FOREST(DECODE), {4, 2, 128, 0, 0}},  {FOREST(DECODE), {20, 1, 64, 320, 0}},
    {FOREST(DECODE), {2, 1, 256, 0, 0}},
};

/* The plain kernels, in both types. */
static const listed PLAIN_CASES[] = {
    {FOREST(ROWS), {2, 2, 8, 0, 0}},     {FOREST(SHARED), {4, 2, 5, 0, 0}},
    {FOREST(LEVELS), {4, 1, 16, 3, 0}},  {FOREST(PREFIX), {4, 2, 20, 0, 0}},
    {FOREST(CACHED), {8, 1, 100, 0, 0}}, {FOREST(SEVERAL), {6, 2, 36, 4, 0}},
    {FOREST(EMPTY), {4, 2, 8, 0, 0}},    {FOREST(INTERLEAVED), {4, 2, 8, 0, 3}},
    {FOREST(TREE), {70, 1, 8, 33, 7}},   {FOREST(TREE), {2, 2, 8, 260, 5}},
    {FOREST(GLUE), {3, 1, 24, 0, 0}},    {FOREST(DECODE), {2, 1, 8, 0, 0}},
};

static attention_case make(const listed *l, pb_dtype dtype)
{
    attention_case c = {.shape = l->shape, .dtype = dtype};
    case_add_branches(&c, l->list, l->count);
    case_fill(&c, 0);
    return c;
}

/* Against the reference, and the same bits in other orders of threads and blocks. */
static void check_listed(const listed *list, int64_t count, pb_dtype dtype)
{
    static const char *const orders[] = {"1", "7"};
    pb_backend *be                    = open_backend(dtype);
    for (int64_t i = 0; i < count; i++) {
        char name[96];
        const shape *s = &list[i].shape;
        snprintf(name, sizeof name, "%s h%d/%d e%d window %d only %d %s", list[i].name,
                 (int)s->heads, (int)s->kv_heads, (int)s->width, (int)s->window, (int)s->only,
                 pb_dtype_name(dtype));
        attention_case c = make(&list[i], dtype);
        case_run(be, &c);
        case_check(name, &c);
        bool small = c.forest.rows < 30;
        for (size_t o = 0; o < (small ? sizeof orders / sizeof *orders : 0); o++) {
            attention_case other = make(&list[i], dtype);
            setenv("CUDA_HOST_ORDER", orders[o], 1);
            case_run(be, &other);
            unsetenv("CUDA_HOST_ORDER");
            assert_same(name, "in another order", &c, &other);
            case_clear(&other);
        }
        case_clear(&c);
    }
    pb_backend_close(be);
}

static void test_tensor_cores(void **state)
{
    (void)state;
    check_listed(BF16_CASES, COUNT(BF16_CASES), PB_DTYPE_BF16);
}

static void test_plain(void **state)
{
    (void)state;
    check_listed(PLAIN_CASES, COUNT(PLAIN_CASES), PB_DTYPE_F32);
    check_listed(PLAIN_CASES, COUNT(PLAIN_CASES), PB_DTYPE_BF16);
}

/* Rows that 16-byte accesses cannot take have the same bits. */
static void test_strides(void **state)
{
    static const listed list[] = {{FOREST(SHARED), {4, 2, 64, 0, 0}},
                                  {FOREST(CACHED), {4, 2, 80, 0, 0}},
                                  {FOREST(LEVELS), {4, 2, 16, 0, 0}}};
    (void)state;
    for (int type = 0; type < 2; type++) {
        pb_dtype dtype = type == 0 ? PB_DTYPE_F32 : PB_DTYPE_BF16;
        pb_backend *be = open_backend(dtype);
        for (int64_t i = 0; i < COUNT(list); i++) {
            attention_case a = make(&list[i], dtype);
            attention_case b = make(&list[i], dtype);
            b.skew           = 1;
            case_run(be, &a);
            case_run(be, &b);
            assert_same(list[i].name, "with another stride", &a, &b);
            case_clear(&a);
            case_clear(&b);
        }
        pb_backend_close(be);
    }
}

/* The bits of a tree are the same alone and among others. */
static void check_among(pb_backend *be, pb_dtype dtype, shape s)
{
    static const branch tree[]   = {{9, 70, -1}, {40, 40, 0}, {1, 300, 0}, {0, 3, 1}, {33, 33, 3}};
    static const branch others[] = {{80, 80, -1}, {1, 1, 0}, {0, 5, -1}};
    attention_case alone         = {.shape = s, .dtype = dtype};
    attention_case among         = {.shape = s, .dtype = dtype};
    case_add_branches(&alone, tree, COUNT(tree));
    case_add_branches(&among, others, COUNT(others));
    case_add_branches(&among, tree, COUNT(tree));
    case_add_branches(&among, others, COUNT(others));
    case_fill(&alone, 0);
    case_fill(&among, COUNT(others));
    case_run(be, &alone);
    case_run(be, &among);
    int64_t slot = 0;
    while (among.only[slot] < among.segments[COUNT(others)].row) {
        slot++;
    }
    assert_true(
        same(alone.out, among.out + slot * q_width(&among), alone.queries, q_width(&among)));
    assert_true(same(alone.dq, among.dq + slot * q_width(&among), alone.queries, q_width(&among)));
    assert_true(same(alone.lse, among.lse + slot * s.heads, alone.queries, s.heads));
    for (int64_t i = 0; i < COUNT(tree); i++) {
        int64_t a = alone.segments[i].key * kv_width(&alone);
        int64_t b = among.segments[COUNT(others) + i].key * kv_width(&alone);
        assert_true(same(alone.dkeys + a, among.dkeys + b, tree[i].length, kv_width(&alone)));
        assert_true(same(alone.dvalues + a, among.dvalues + b, tree[i].length, kv_width(&alone)));
    }
    case_clear(&alone);
    case_clear(&among);
}

static void test_among(void **state)
{
    (void)state;
    pb_backend *be = open_backend(PB_DTYPE_BF16);
    check_among(be, PB_DTYPE_BF16, (shape){4, 2, 64, 0, 0});
    check_among(be, PB_DTYPE_BF16, (shape){2, 1, 80, 50, 0});
    check_among(be, PB_DTYPE_BF16, (shape){2, 1, 8, 0, 0});
    pb_backend_close(be);
    be = open_backend(PB_DTYPE_F32);
    check_among(be, PB_DTYPE_F32, (shape){2, 1, 8, 50, 0});
    pb_backend_close(be);
}

/* A prefix under so many rows that its keys are cut into parts. */
static void test_parts(void **state)
{
    (void)state;
    branch rows[40] = {{3, 70, -1}};
    for (int64_t i = 1; i < COUNT(rows); i++) {
        rows[i] = (branch){2, 2, 0};
    }
    const listed list[] = {{"parts", rows, COUNT(rows), {2, 1, 64, 0, 0}},
                           {"parts", rows, COUNT(rows), {2, 1, 8, 0, 0}}};
    check_listed(list, COUNT(list), PB_DTYPE_BF16);
}

/* Devices with less shared memory take the same bits from kernels that load less ahead. */
static void test_shared_memory(void **state)
{
    static const size_t sizes[] = {227 << 10, 163 << 10, 99 << 10};
    static const listed list[]  = {
         {FOREST(LEVELS), {4, 2, 64, 0, 0}},  {FOREST(CACHED), {4, 2, 80, 0, 0}},
         {FOREST(DECODE), {4, 2, 96, 0, 0}},  {FOREST(DECODE), {4, 2, 128, 0, 0}},
         {FOREST(TREE), {2, 1, 256, 0, 0}},   {FOREST(DECODE), {2, 1, 256, 320, 0}},
         {FOREST(LEVELS), {7, 1, 256, 3, 0}}, {FOREST(LEVELS), {2, 1, 250, 0, 0}}};
    (void)state;
    for (int64_t i = 0; i < COUNT(list); i++) {
        attention_case first = make(&list[i], PB_DTYPE_BF16);
        for (int64_t n = 0; n < COUNT(sizes); n++) {
            fake_cuda_shared(sizes[n]);
            pb_backend *be   = open_backend(PB_DTYPE_BF16);
            attention_case c = make(&list[i], PB_DTYPE_BF16);
            case_run(be, n == 0 ? &first : &c);
            if (n == 0) {
                case_check(list[i].name, &first);
            } else {
                assert_same(list[i].name, "with less shared memory", &first, &c);
            }
            case_clear(&c);
            pb_backend_close(be);
        }
        case_clear(&first);
    }
    fake_cuda_shared(sizes[0]);
}

/* A kernel that no device of the backend refuses: the message for one that did. */
static void test_too_much_shared_memory(void **state)
{
    (void)state;
    fake_cuda_shared(50 << 10);
    pb_backend *be         = open_backend(PB_DTYPE_BF16);
    pb_segment segment     = {.rows = 1, .length = 1, .parent = -1};
    pb_forest forest       = {.segments = &segment, .count = 1, .rows = 1, .keys = 1};
    pb_attention_args args = {
        .forest = &forest, .heads = 1, .kv_heads = 1, .head_dim = 128, .scale = 1};
    pb_attention_plan plan;
    void *data = NULL;
    assert_ok(pb_page_begin(be, 0));
    assert_ok(pb_page_plan(be, &args, &plan));
    assert_ok(pb_page_end(be));
    assert_ok(pb_backend_alloc(be, 4 * 128 * 2 + 4, &data));
    pb_tensor rows[4];
    for (int i = 0; i < 4; i++) {
        rows[i] = pb_tensor_2d((char *)data + i * 128 * 2, PB_DTYPE_BF16, 1, 128);
    }
    pb_tensor lse = pb_tensor_2d((char *)data + 4 * 128 * 2, PB_DTYPE_F32, 1, 1);
    assert_error(pb_attention_forward(be, &rows[0], &lse, &rows[1], &rows[2], &rows[3], &plan),
                 PB_ERR_UNSUPPORTED,
                 "the kernel \"attention_decode\" needs 73984 bytes of shared memory per block, "
                 "the device allows 51200");
    fake_cuda_shared(227 << 10);
    pb_backend_free(be, data);
    pb_backend_close(be);
}

static void test_refusals(void **state)
{
    (void)state;
    pb_backend *be         = open_backend(PB_DTYPE_F32);
    pb_segment segment     = {.rows = 1, .length = 1, .parent = -1};
    pb_forest forest       = {.segments = &segment, .count = 1, .rows = 1, .keys = 1};
    pb_attention_args args = {
        .forest = &forest, .heads = 1, .kv_heads = 1, .head_dim = 257, .scale = 1};
    pb_attention_plan plan;
    assert_ok(pb_page_begin(be, 0));
    assert_error(pb_page_plan(be, &args, &plan), PB_ERR_UNSUPPORTED, "at most 256 columns");
    pb_backend_close(be);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tensor_cores), cmocka_unit_test(test_plain),
        cmocka_unit_test(test_strides),      cmocka_unit_test(test_among),
        cmocka_unit_test(test_parts),        cmocka_unit_test(test_shared_memory),
        cmocka_unit_test(test_refusals),     cmocka_unit_test(test_too_much_shared_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
