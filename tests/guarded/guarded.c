// SPDX-License-Identifier: Apache-2.0
/* The backend `guarded`, for tests: the operations of the CPU over memory that only an operation
 * may touch, as on a device. An operation opens its operands, those that it only reads for reading
 * alone, and closes them before it returns. An operand in host memory is refused, lists are copied
 * when they are put on a page, and posted numbers may be taken a step late. */
#include "blocks.h"

#include "internal.h"

#include "pb/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

extern const pb_backend_ops backend_guarded;

enum { LAG = 1 };

/* The guard's own memory is not among the bytes that the program accounts. */
#define GROW(pointer, count)                                                       \
    (((pointer) = realloc((pointer), (size_t)(count) * sizeof *(pointer))) != NULL \
         ? PB_OK                                                                   \
         : PB_ERR_MEMORY)

/* A range of backend memory, as an operation uses it. */
typedef struct operand {
    const void *begin;
    size_t bytes;
    bool writes;
} operand;

/* Posted numbers. */
typedef struct posting {
    double *values;
    int64_t count;
} posting;

typedef struct guarded {
    pb_backend base;
    pb_backend *cpu;
    const char *operation;
    operand *open; /* opened by the running operation */
    int64_t open_count;
    void **page; /* blocks of the lists and plans of the page */
    int64_t page_count;
    posting posted[PB_SLOTS];
} guarded;

/* Opening and closing ------------------------------------------------------------------------- */

static operand range_of(const pb_tensor *t, bool writes)
{
    if (t == NULL || pb_tensor_count(t) == 0) {
        return (operand){0};
    }
    int64_t last = t->ndim == 1 ? t->shape[0] : (t->shape[0] - 1) * t->stride + pb_tensor_width(t);
    return (operand){t->data, (size_t)last * pb_dtype_size(t->dtype), writes};
}

static operand reads(const pb_tensor *t)
{
    return range_of(t, false);
}

static operand writes(pb_tensor *t)
{
    return range_of(t, true);
}

static operand lists(const pb_list *list)
{
    return (operand){list->data, (size_t)list->count * sizeof *list->data, false};
}

/* The block of a plan, which contains the address of the CPU's block. */
static operand plans(const pb_attention_plan *plan)
{
    return (operand){plan->parts, sizeof plan->parts, false};
}

/* The plan of the CPU; the block of `plan` must be open. */
static pb_attention_plan plan_of(const pb_attention_plan *plan)
{
    pb_attention_plan own = *plan;
    memcpy(&own.parts, plan->parts, sizeof own.parts);
    return own;
}

/* On shared pages writing is allowed for both: ranges that are written come last. */
static void protect(const guarded *g, bool open)
{
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t i = 0; i < g->open_count; i++) {
            const operand *o = &g->open[i];
            if (o->writes == (pass == 1)) {
                int access = o->writes ? PROT_READ | PROT_WRITE : PROT_READ;
                block_protect(o->begin, o->bytes, open ? access : PROT_NONE);
            }
        }
    }
}

static pb_backend *start(pb_backend *be, const char *operation)
{
    guarded *g    = (guarded *)be;
    g->operation  = operation;
    g->open_count = 0;
    g->cpu->bf16  = be->bf16;
    g->cpu->pass  = be->pass;
    return g->cpu;
}

/* `host`: memory of the host is accepted too. */
static pb_status add(pb_backend *be, operand o, bool host)
{
    guarded *g = (guarded *)be;
    if (o.bytes == 0 || (host && !block_has(o.begin, 1))) {
        return PB_OK;
    }
    if (!block_has(o.begin, o.bytes)) {
        return PB_FAIL(PB_ERR_ARGUMENT, "guarded: %s: %zu bytes at %p are not in backend memory",
                       g->operation, o.bytes, o.begin);
    }
    PB_TRY(GROW(g->open, g->open_count + 1));
    g->open[g->open_count++] = o;
    return PB_OK;
}

static pb_status enter(pb_backend *be, const char *operation, const operand *operands, size_t count)
{
    (void)start(be, operation);
    for (size_t i = 0; i < count; i++) {
        PB_TRY(add(be, operands[i], false));
    }
    protect((guarded *)be, true);
    return PB_OK;
}

static pb_status leave(pb_backend *be, pb_status status)
{
    protect((guarded *)be, false);
    return status;
}

static pb_backend *cpu_of(pb_backend *be)
{
    return ((guarded *)be)->cpu;
}

/* Opens the operands of the calling slot. */
#define ENTER(...)                            \
    const operand operands[] = {__VA_ARGS__}; \
    PB_TRY(enter(be, __func__, operands, sizeof operands / sizeof *operands))

/* The backend ---------------------------------------------------------------------------------- */

static pb_status guarded_open(int device, int threads, pb_backend **out)
{
    guarded *g = NULL;
    PB_TRY(PB_ALLOC(g, 1));
    pb_status status = backend_cpu.open(device, threads, &g->cpu);
    if (status != PB_OK) {
        pb_memory_free(g);
        return status;
    }
    g->base        = *g->cpu;
    g->base.ops    = &backend_guarded;
    g->base.lag    = LAG;
    g->base.shares = true;
    block_watch();
    *out = &g->base;
    return PB_OK;
}

static void guarded_free(pb_backend *be, void *data)
{
    be->memory_now -= block_free(data);
}

static void clear_page(pb_backend *be)
{
    guarded *g = (guarded *)be;
    for (int64_t i = 0; i < g->page_count; i++) {
        guarded_free(be, g->page[i]);
    }
    g->page_count = 0;
}

static void guarded_close(pb_backend *be)
{
    guarded *g = (guarded *)be;
    if (g == NULL) {
        return;
    }
    clear_page(be);
    if (be->memory_now > 0) {
        fprintf(stderr, "guarded: %zu bytes were not given back\n", be->memory_now);
        abort();
    }
    pb_backend_close(g->cpu);
    for (int slot = 0; slot < PB_SLOTS; slot++) {
        free(g->posted[slot].values);
    }
    free(g->open);
    free(g->page);
    pb_memory_free(g);
}

static pb_status take_block(pb_backend *be, size_t bytes, void **data)
{
    PB_TRY(block_new(bytes, data));
    be->memory_now += bytes;
    be->memory_peak = be->memory_now > be->memory_peak ? be->memory_now : be->memory_peak;
    return PB_OK;
}

/* Fails and counts as an allocation, like host memory, although its bytes are not accounted. */
static pb_status guarded_alloc(pb_backend *be, size_t bytes, void **data)
{
    size_t peak = pb_memory_peak();
    char *room  = NULL;
    PB_TRY(PB_ALLOC(room, bytes));
    pb_memory_free(room);
    pb_memory_peak_restore(peak);
    block_watch(); /* a test framework sets its own handler before every test */
    return take_block(be, bytes, data);
}

static pb_status guarded_reserve(pb_backend *be, const pb_reserve_args *args)
{
    pb_reserve_args own = *args;
    ENTER(plans(args->plan));
    pb_attention_plan plan = plan_of(args->plan);
    own.plan               = &plan;
    return leave(be, backend_cpu.reserve(cpu_of(be), &own));
}

static pb_status guarded_use_dtype(pb_backend *be, pb_dtype dtype)
{
    cpu_of(be)->bf16 = be->bf16;
    return backend_cpu.use_dtype(cpu_of(be), dtype);
}

static void guarded_trim(pb_backend *be)
{
    clear_page(be);
    backend_cpu.trim(cpu_of(be));
}

static pb_status guarded_sync(pb_backend *be)
{
    return backend_cpu.sync(cpu_of(be));
}

static pb_status guarded_page_begin(pb_backend *be)
{
    clear_page(be);
    return PB_OK;
}

/* A block with bytes of the host, until the next page begins. */
static pb_status put_on_page(pb_backend *be, const void *host, size_t bytes, const void **block)
{
    guarded *g = (guarded *)be;
    void *data = NULL;
    PB_TRY(GROW(g->page, g->page_count + 1));
    PB_TRY(take_block(be, bytes, &data));
    g->page[g->page_count++] = data;
    if (bytes > 0) {
        block_protect(data, bytes, PROT_READ | PROT_WRITE);
        memcpy(data, host, bytes);
        block_protect(data, bytes, PROT_NONE);
    }
    *block = data;
    return PB_OK;
}

/* The host's array may change afterwards. */
static pb_status guarded_page_list(pb_backend *be, const int32_t *host, pb_list *list)
{
    const void *block = NULL;
    PB_TRY(put_on_page(be, host, (size_t)list->count * sizeof *host, &block));
    list->data = block;
    return PB_OK;
}

static pb_status guarded_page_plan(pb_backend *be, int index, pb_attention_plan *plan)
{
    PB_TRY(backend_cpu.page_plan(start(be, "page_plan"), index, plan));
    return put_on_page(be, &plan->parts, sizeof plan->parts, &plan->parts);
}

static pb_status guarded_post(pb_backend *be, int slot, const pb_tensor *numbers)
{
    posting *p = &((guarded *)be)->posted[slot];
    p->count   = pb_tensor_count(numbers);
    PB_TRY(GROW(p->values, p->count + 1));
    ENTER(reads(numbers));
    memcpy(p->values, numbers->data, (size_t)p->count * sizeof *p->values);
    return leave(be, PB_OK);
}

static pb_status guarded_take(pb_backend *be, int slot, double *values)
{
    const posting *p = &((guarded *)be)->posted[slot];
    memcpy(values, p->values, (size_t)p->count * sizeof *values);
    return PB_OK;
}

/* Operations ----------------------------------------------------------------------------------- */

/* Either side may be in host memory. */
static pb_status guarded_copy(pb_backend *be, pb_tensor *dst, const pb_tensor *src)
{
    pb_backend *cpu = start(be, __func__);
    PB_TRY(add(be, writes(dst), true));
    PB_TRY(add(be, reads(src), true));
    protect((guarded *)be, true);
    return leave(be, backend_cpu.copy(cpu, dst, src));
}

static pb_status guarded_zero(pb_backend *be, pb_tensor *x)
{
    ENTER(writes(x));
    return leave(be, backend_cpu.zero(cpu_of(be), x));
}

static pb_status guarded_matmul(pb_backend *be, pb_tensor *c, const pb_tensor *a,
                                const pb_tensor *b, const pb_matmul_args *args)
{
    ENTER(writes(c), reads(a), reads(b));
    return leave(be, backend_cpu.matmul(cpu_of(be), c, a, b, args));
}

static pb_status guarded_axpy(pb_backend *be, pb_tensor *y, float alpha, const pb_tensor *x)
{
    ENTER(writes(y), reads(x));
    return leave(be, backend_cpu.axpy(cpu_of(be), y, alpha, x));
}

static pb_status guarded_embedding_forward(pb_backend *be, pb_tensor *y, const pb_tensor *table,
                                           const pb_list *ids, float scale)
{
    ENTER(writes(y), reads(table), lists(ids));
    return leave(be, backend_cpu.embedding_forward(cpu_of(be), y, table, ids, scale));
}

static pb_status guarded_embedding_backward(pb_backend *be, pb_tensor *dtable, const pb_tensor *dy,
                                            const pb_list *ids, float scale)
{
    ENTER(writes(dtable), reads(dy), lists(ids));
    return leave(be, backend_cpu.embedding_backward(cpu_of(be), dtable, dy, ids, scale));
}

static pb_status guarded_gather(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                                const pb_list *rows)
{
    ENTER(writes(y), reads(x), lists(rows));
    return leave(be, backend_cpu.gather(cpu_of(be), y, x, rows));
}

static pb_status guarded_scatter_add(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                                     const pb_list *rows)
{
    ENTER(writes(y), reads(x), lists(rows));
    return leave(be, backend_cpu.scatter_add(cpu_of(be), y, x, rows));
}

static pb_status guarded_put_rows(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                                  const pb_list *rows)
{
    ENTER(writes(y), reads(x), lists(rows));
    return leave(be, backend_cpu.put_rows(cpu_of(be), y, x, rows));
}

static pb_status guarded_rmsnorm_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                                         const pb_tensor *weight, const pb_rmsnorm_args *args)
{
    ENTER(writes(y), reads(x), reads(weight));
    return leave(be, backend_cpu.rmsnorm_forward(cpu_of(be), y, x, weight, args));
}

static pb_status guarded_rmsnorm_backward(pb_backend *be, pb_tensor *dx, pb_tensor *dweight,
                                          const pb_tensor *dy, const pb_tensor *x,
                                          const pb_tensor *weight, const pb_rmsnorm_args *args)
{
    ENTER(writes(dx), writes(dweight), reads(dy), reads(x), reads(weight));
    return leave(be, backend_cpu.rmsnorm_backward(cpu_of(be), dx, dweight, dy, x, weight, args));
}

static pb_status guarded_rope(pb_backend *be, pb_tensor *x, const pb_tensor *table,
                              const pb_list *positions, int64_t heads, bool inverse)
{
    ENTER(writes(x), reads(table), lists(positions));
    return leave(be, backend_cpu.rope(cpu_of(be), x, table, positions, heads, inverse));
}

static pb_status guarded_attention_forward(pb_backend *be, pb_tensor *out, pb_tensor *lse,
                                           const pb_tensor *q, const pb_tensor *keys,
                                           const pb_tensor *values, const pb_attention_plan *plan)
{
    ENTER(writes(out), writes(lse), reads(q), reads(keys), reads(values), plans(plan));
    pb_attention_plan own = plan_of(plan);
    return leave(be, backend_cpu.attention_forward(cpu_of(be), out, lse, q, keys, values, &own));
}

static pb_status guarded_attention_backward(pb_backend *be, pb_tensor *dq, pb_tensor *dkeys,
                                            pb_tensor *dvalues, const pb_tensor *dout,
                                            const pb_tensor *out, const pb_tensor *lse,
                                            const pb_tensor *q, const pb_tensor *keys,
                                            const pb_tensor *values, const pb_attention_plan *plan)
{
    ENTER(writes(dq), writes(dkeys), writes(dvalues), reads(dout), reads(out), reads(lse), reads(q),
          reads(keys), reads(values), plans(plan));
    pb_attention_plan own = plan_of(plan);
    return leave(be, backend_cpu.attention_backward(cpu_of(be), dq, dkeys, dvalues, dout, out, lse,
                                                    q, keys, values, &own));
}

static pb_status guarded_gated_forward(pb_backend *be, pb_tensor *y, const pb_tensor *gate,
                                       const pb_tensor *up, pb_activation act)
{
    ENTER(writes(y), reads(gate), reads(up));
    return leave(be, backend_cpu.gated_forward(cpu_of(be), y, gate, up, act));
}

static pb_status guarded_gated_backward(pb_backend *be, pb_tensor *dgate, pb_tensor *dup,
                                        const pb_tensor *dy, const pb_tensor *gate,
                                        const pb_tensor *up, pb_activation act)
{
    ENTER(writes(dgate), writes(dup), reads(dy), reads(gate), reads(up));
    return leave(be, backend_cpu.gated_backward(cpu_of(be), dgate, dup, dy, gate, up, act));
}

static pb_status guarded_activation_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                                            pb_activation act)
{
    ENTER(writes(y), reads(x));
    return leave(be, backend_cpu.activation_forward(cpu_of(be), y, x, act));
}

static pb_status guarded_activation_backward(pb_backend *be, pb_tensor *dx, const pb_tensor *dy,
                                             const pb_tensor *x, pb_activation act)
{
    ENTER(writes(dx), reads(dy), reads(x));
    return leave(be, backend_cpu.activation_backward(cpu_of(be), dx, dy, x, act));
}

static pb_status guarded_column_scale_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                                              const pb_tensor *scale)
{
    ENTER(writes(y), reads(x), reads(scale));
    return leave(be, backend_cpu.column_scale_forward(cpu_of(be), y, x, scale));
}

static pb_status guarded_column_scale_backward(pb_backend *be, pb_tensor *dx, pb_tensor *dscale,
                                               const pb_tensor *dy, const pb_tensor *x,
                                               const pb_tensor *scale)
{
    ENTER(writes(dx), writes(dscale), reads(dy), reads(x), reads(scale));
    return leave(be, backend_cpu.column_scale_backward(cpu_of(be), dx, dscale, dy, x, scale));
}

static pb_status guarded_bias_forward(pb_backend *be, pb_tensor *y, const pb_tensor *bias)
{
    ENTER(writes(y), reads(bias));
    return leave(be, backend_cpu.bias_forward(cpu_of(be), y, bias));
}

static pb_status guarded_bias_backward(pb_backend *be, pb_tensor *dbias, const pb_tensor *dy)
{
    ENTER(writes(dbias), reads(dy));
    return leave(be, backend_cpu.bias_backward(cpu_of(be), dbias, dy));
}

static pb_status guarded_dropout(pb_backend *be, pb_tensor *y, const pb_tensor *x, double p,
                                 const pb_mask *mask)
{
    ENTER(writes(y), reads(x));
    return leave(be, backend_cpu.dropout(cpu_of(be), y, x, p, mask));
}

static pb_status guarded_cross_entropy(pb_backend *be, pb_tensor *losses, pb_tensor *logits,
                                       const pb_list *targets, const pb_tensor *grad_scale)
{
    ENTER(writes(losses), writes(logits), lists(targets), reads(grad_scale));
    return leave(be, backend_cpu.cross_entropy(cpu_of(be), losses, logits, targets, grad_scale));
}

static pb_status guarded_loss_sum(pb_backend *be, pb_tensor *sum, const pb_tensor *losses,
                                  double divisor, double factor)
{
    ENTER(writes(sum), reads(losses));
    return leave(be, backend_cpu.loss_sum(cpu_of(be), sum, losses, divisor, factor));
}

static pb_status guarded_argmax(pb_backend *be, pb_tensor *indices, pb_tensor *largest,
                                const pb_tensor *logits)
{
    ENTER(writes(indices), writes(largest), reads(logits));
    return leave(be, backend_cpu.argmax(cpu_of(be), indices, largest, logits));
}

static pb_status guarded_sum_squares(pb_backend *be, pb_tensor *out, const pb_tensor *x)
{
    ENTER(writes(out), reads(x));
    return leave(be, backend_cpu.sum_squares(cpu_of(be), out, x));
}

static pb_status guarded_clip(pb_backend *be, pb_tensor *x, const pb_tensor *numbers, double limit)
{
    ENTER(writes(x), reads(numbers));
    return leave(be, backend_cpu.clip(cpu_of(be), x, numbers, limit));
}

static pb_status guarded_adamw(pb_backend *be, const pb_adamw_tensor *tensors, int64_t count,
                               pb_tensor *numbers, const pb_adamw_args *args)
{
    pb_backend *cpu = start(be, __func__);
    PB_TRY(add(be, writes(numbers), false));
    for (int64_t i = 0; i < count; i++) {
        PB_TRY(add(be, range_of(&tensors[i].value, true), false));
        PB_TRY(add(be, range_of(&tensors[i].first, true), false));
        PB_TRY(add(be, range_of(&tensors[i].second, true), false));
        PB_TRY(add(be, range_of(&tensors[i].grad, false), false));
    }
    protect((guarded *)be, true);
    return leave(be, backend_cpu.adamw(cpu, tensors, count, numbers, args));
}

static pb_status guarded_inverse_norms(pb_backend *be, pb_tensor *y, const pb_tensor *squares,
                                       const pb_tensor *a, const pb_tensor *b)
{
    ENTER(writes(y), reads(squares), reads(a), reads(b));
    return leave(be, backend_cpu.inverse_norms(cpu_of(be), y, squares, a, b));
}

static pb_status guarded_identity_distance(pb_backend *be, pb_tensor *norm, pb_tensor *gram,
                                           double weight)
{
    ENTER(writes(norm), writes(gram));
    return leave(be, backend_cpu.identity_distance(cpu_of(be), norm, gram, weight));
}

static pb_status guarded_sensitivity(pb_backend *be, pb_tensor *mean, pb_tensor *deviation,
                                     const pb_tensor *value, const pb_tensor *grad, double b1,
                                     double b2)
{
    ENTER(writes(mean), writes(deviation), reads(value), reads(grad));
    return leave(be, backend_cpu.sensitivity(cpu_of(be), mean, deviation, value, grad, b1, b2));
}

static pb_status guarded_product_means(pb_backend *be, pb_tensor *y, const pb_tensor *a,
                                       const pb_tensor *b, bool by_columns)
{
    ENTER(writes(y), reads(a), reads(b));
    return leave(be, backend_cpu.product_means(cpu_of(be), y, a, b, by_columns));
}

static pb_status guarded_drop_smallest(pb_backend *be, pb_tensor *kept, const pb_tensor *scores,
                                       int64_t count)
{
    ENTER(writes(kept), reads(scores));
    return leave(be, backend_cpu.drop_smallest(cpu_of(be), kept, scores, count));
}

static pb_status guarded_keep(pb_backend *be, pb_tensor *x, const pb_tensor *kept)
{
    ENTER(writes(x), reads(kept));
    return leave(be, backend_cpu.keep(cpu_of(be), x, kept));
}

const pb_backend_ops backend_guarded = {
    .name       = "guarded",
    .open       = guarded_open,
    .close      = guarded_close,
    .alloc      = guarded_alloc,
    .free       = guarded_free,
    .reserve    = guarded_reserve,
    .trim       = guarded_trim,
    .use_dtype  = guarded_use_dtype,
    .sync       = guarded_sync,
    .page_begin = guarded_page_begin,
    .page_list  = guarded_page_list,
    .page_plan  = guarded_page_plan,
    .post       = guarded_post,
    .take       = guarded_take,
#define PB_OPERATION(name, ...) .name = guarded_##name,
#include "pb/operations.def"
};
