// SPDX-License-Identifier: Apache-2.0
#include "attention_case.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static float *floats(int64_t n)
{
    float *x = malloc((size_t)(n + 1) * sizeof *x);
    assert_non_null(x);
    return x;
}

/* Values in -1 … 1 of the case's type, which depend on `seed` and place alone. */
static float value_at(const attention_case *c, uint32_t seed, int64_t row, int64_t column)
{
    uint32_t x = seed * 2654435761u + (uint32_t)row * 40503u + (uint32_t)column * 2246822519u;
    x ^= x >> 15;
    x *= 2246822519u;
    x ^= x >> 13;
    x *= 3266489917u;
    x ^= x >> 16;
    float value = (float)(x >> 8) / 8388608.0f - 1.0f;
    return c->dtype == PB_DTYPE_BF16 ? pb_bf16_to_f32(pb_f32_to_bf16(2 * value)) : 2 * value;
}

void case_add_branches(attention_case *c, const branch *branches, int64_t count)
{
    int64_t base = c->forest.count;
    assert_true(base + count <= MOST_SEGMENTS);
    for (int64_t i = 0; i < count; i++) {
        const branch *b     = &branches[i];
        int64_t parent      = b->parent >= 0 ? b->parent + base : -1;
        pb_segment *s       = &c->segments[base + i];
        const pb_segment *p = parent >= 0 ? &c->segments[parent] : NULL;
        *s                  = (pb_segment){.row      = c->forest.rows,
                                           .rows     = b->rows,
                                           .length   = b->length,
                                           .position = p != NULL ? p->position + p->length : 0,
                                           .parent   = (int32_t)parent};
        c->forest.rows += b->rows;
        c->forest.keys += b->length + 1;
    }
    c->forest.count += count;
    int64_t key = c->forest.keys;
    for (int64_t i = 0; i < c->forest.count; i++) {
        key -= c->segments[i].length + 1;
        c->segments[i].key = key;
    }
}

void case_fill(attention_case *c, int64_t first)
{
    int64_t slot = 0;
    c->store     = c->forest.keys + 3;
    c->only      = malloc((size_t)(c->forest.rows + 1) * sizeof *c->only);
    assert_non_null(c->only);
    int64_t widths[INPUTS] = {q_width(c), kv_width(c), kv_width(c), q_width(c)};
    for (int i = 0; i < INPUTS; i++) {
        int64_t rows = i == Q || i == DOUT ? c->forest.rows : c->store;
        c->in[i]     = floats(rows * widths[i]);
        for (int64_t j = 0; j < rows * widths[i]; j++) {
            c->in[i][j] = 0;
        }
    }
    for (int64_t s = 0; s < c->forest.count; s++) {
        const pb_segment *segment = &c->segments[s];
        for (int64_t r = 0; r < segment->rows; r++) {
            int64_t index = segment->length - segment->rows + r;
            if (c->shape.only > 0 && index % c->shape.only != c->shape.only / 2) {
                continue;
            }
            for (int64_t j = 0; j < q_width(c); j++) {
                for (int i = Q; i < INPUTS; i += DOUT) {
                    c->in[i][slot * q_width(c) + j] =
                        value_at(c, (uint32_t)(10 * (s - first) + i), index, j);
                }
            }
            c->only[slot++] = (int32_t)(segment->row + r);
        }
        for (int64_t k = 0; k < segment->length; k++) {
            for (int64_t j = 0; j < kv_width(c); j++) {
                for (int i = KEYS; i <= VALUES; i++) {
                    c->in[i][(segment->key + k) * kv_width(c) + j] =
                        value_at(c, (uint32_t)(10 * (s - first) + i), k, j);
                }
            }
        }
    }
    c->queries = slot;
    c->out     = floats(c->queries * q_width(c));
    c->dq      = floats(c->queries * q_width(c));
    c->lse     = floats(c->queries * c->shape.heads);
    c->dkeys   = floats(c->store * kv_width(c));
    c->dvalues = floats(c->store * kv_width(c));
}

void case_clear(attention_case *c)
{
    for (int i = 0; i < INPUTS; i++) {
        free(c->in[i]);
    }
    free(c->only);
    free(c->out);
    free(c->dq);
    free(c->lse);
    free(c->dkeys);
    free(c->dvalues);
}

static size_t place(const attention_case *c, pb_dtype dtype, int64_t row, int64_t width,
                    int64_t column)
{
    return (size_t)(row * (width + c->skew) + c->skew + column) * pb_dtype_size(dtype);
}

/* A matrix of the backend, `skew` elements after the start of its block. */
static pb_tensor to_device(pb_backend *be, const attention_case *c, pb_dtype dtype,
                           const float *values, int64_t rows, int64_t width)
{
    size_t bytes = place(c, dtype, rows, width, 0) + 16;
    char *host   = calloc(1, bytes);
    void *data   = NULL;
    assert_non_null(host);
    assert_ok(pb_backend_alloc(be, bytes, &data));
    for (int64_t i = 0; values != NULL && i < rows * width; i++) {
        char *at = host + place(c, dtype, i / width, width, i % width);
        if (dtype == PB_DTYPE_BF16) {
            uint16_t x = pb_f32_to_bf16(values[i]);
            memcpy(at, &x, sizeof x);
        } else {
            memcpy(at, &values[i], sizeof values[i]);
        }
    }
    pb_tensor from = pb_tensor_1d(host, PB_DTYPE_I32, (int64_t)(bytes / 4));
    pb_tensor to   = pb_tensor_1d(data, PB_DTYPE_I32, (int64_t)(bytes / 4));
    assert_ok(pb_copy(be, &to, &from));
    free(host);
    pb_tensor t = pb_tensor_2d((char *)data + place(c, dtype, 0, width, 0), dtype, rows, width);
    t.stride    = width + c->skew;
    return t;
}

static void to_host(pb_backend *be, const attention_case *c, pb_tensor *t, float *values)
{
    int64_t width = t->shape[1];
    size_t bytes  = place(c, t->dtype, t->shape[0], width, 0) + 16;
    char *host    = malloc(bytes);
    assert_non_null(host);
    void *data     = (char *)t->data - place(c, t->dtype, 0, width, 0);
    pb_tensor from = pb_tensor_1d(data, PB_DTYPE_I32, (int64_t)(bytes / 4));
    pb_tensor to   = pb_tensor_1d(host, PB_DTYPE_I32, (int64_t)(bytes / 4));
    assert_ok(pb_copy(be, &to, &from));
    for (int64_t i = 0; i < t->shape[0] * width; i++) {
        const char *at = host + place(c, t->dtype, i / width, width, i % width);
        if (t->dtype == PB_DTYPE_BF16) {
            uint16_t x;
            memcpy(&x, at, sizeof x);
            values[i] = pb_bf16_to_f32(x);
        } else {
            memcpy(&values[i], at, sizeof values[i]);
        }
    }
    free(host);
    pb_backend_free(be, data);
    *t = (pb_tensor){0};
}

void case_run(pb_backend *be, attention_case *c)
{
    c->forest.segments     = c->segments; /* a case may have been copied */
    int64_t rows           = c->queries;
    pb_dtype type          = c->dtype;
    pb_attention_args args = {.forest     = &c->forest,
                              .heads      = c->shape.heads,
                              .kv_heads   = c->shape.kv_heads,
                              .head_dim   = c->shape.width,
                              .scale      = (float)(1.0 / sqrt((double)c->shape.width)),
                              .window     = c->shape.window,
                              .only_rows  = c->shape.only > 0 ? c->only : NULL,
                              .only_count = rows,
                              .backward   = true};
    pb_attention_plan plan;
    assert_ok(pb_page_begin(be, 0));
    assert_ok(pb_page_plan(be, &args, &plan));
    assert_ok(pb_page_end(be));
    pb_tensor q       = to_device(be, c, type, c->in[Q], rows, q_width(c));
    pb_tensor keys    = to_device(be, c, type, c->in[KEYS], c->store, kv_width(c));
    pb_tensor values  = to_device(be, c, type, c->in[VALUES], c->store, kv_width(c));
    pb_tensor dout    = to_device(be, c, type, c->in[DOUT], rows, q_width(c));
    pb_tensor out     = to_device(be, c, type, NULL, rows, q_width(c));
    pb_tensor dq      = to_device(be, c, type, NULL, rows, q_width(c));
    pb_tensor dkeys   = to_device(be, c, type, c->in[KEYS], c->store, kv_width(c));
    pb_tensor dvalues = to_device(be, c, type, c->in[KEYS], c->store, kv_width(c));
    pb_tensor lse     = to_device(be, c, PB_DTYPE_F32, NULL, rows, c->shape.heads);
    assert_ok(pb_attention_forward(be, &out, &lse, &q, &keys, &values, &plan));
    assert_ok(pb_attention_backward(be, &dq, &dkeys, &dvalues, &dout, &out, &lse, &q, &keys,
                                    &values, &plan));
    to_host(be, c, &out, c->out);
    to_host(be, c, &lse, c->lse);
    to_host(be, c, &dq, c->dq);
    to_host(be, c, &dkeys, c->dkeys);
    to_host(be, c, &dvalues, c->dvalues);
    pb_tensor *inputs[] = {&q, &keys, &values, &dout};
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        pb_backend_free(be, (char *)inputs[i]->data - place(c, type, 0, inputs[i]->shape[1], 0));
    }
}

typedef struct squares {
    double wrong, all;
} squares;

static void compare(squares *s, double got, double want)
{
    s->wrong += (got - want) * (got - want);
    s->all += want * want;
}

static void assert_close(const char *name, const char *what, const squares *s, double most)
{
    double error = s->all > 0 ? sqrt(s->wrong / s->all) : sqrt(s->wrong);
    if (!(error <= most)) {
        fail_msg("%s: %s is off by %.2e, allowed are %.2e", name, what, error, most);
    }
}

/* What one query and head sees. */
typedef struct seen_keys {
    int64_t count;
    int64_t *row;
    double *prob;
} seen_keys;

static void see(const attention_case *c, int64_t slot, int64_t head, seen_keys *seen, double *lse)
{
    const pb_segment *s = c->segments;
    int32_t of          = 0;
    int64_t row         = c->only[slot];
    while (!(row >= s[of].row && row < s[of].row + s[of].rows)) {
        of++;
    }
    int64_t index  = row - s[of].row + s[of].length - s[of].rows;
    int64_t group  = c->shape.heads / c->shape.kv_heads;
    const float *q = c->in[Q] + slot * q_width(c) + head * c->shape.width;
    double max     = -INFINITY;
    double sum     = 0;
    seen->count    = 0;
    for (int32_t a = of; a >= 0; a = s[a].parent) {
        for (int64_t k = 0; k < s[a].length; k++) {
            int64_t past = s[of].position + index - s[a].position - k;
            if ((a == of && k > index) || (c->shape.window > 0 && past >= c->shape.window)) {
                continue;
            }
            const float *key =
                c->in[KEYS] + (s[a].key + k) * kv_width(c) + head / group * c->shape.width;
            double score = 0;
            for (int64_t e = 0; e < c->shape.width; e++) {
                score += (double)q[e] * (double)key[e];
            }
            score *= (double)(float)(1.0 / sqrt((double)c->shape.width));
            max                       = fmax(max, score);
            seen->row[seen->count]    = s[a].key + k;
            seen->prob[seen->count++] = score;
        }
    }
    for (int64_t i = 0; i < seen->count; i++) {
        sum += exp(seen->prob[i] - max);
    }
    *lse = max + log(sum);
    for (int64_t i = 0; i < seen->count; i++) {
        seen->prob[i] = exp(seen->prob[i] - *lse);
    }
}

/* Compares one query and head, and adds its part of dkeys and dvalues. */
static void check_query(const attention_case *c, int64_t slot, int64_t head, seen_keys *seen,
                        double *dkeys, double *dvalues, squares found[3])
{
    double lse      = 0;
    int64_t width   = c->shape.width;
    int64_t column  = head / (c->shape.heads / c->shape.kv_heads) * width;
    int64_t own     = slot * q_width(c) + head * width;
    double scale    = (double)(float)(1.0 / sqrt((double)width));
    double delta    = 0;
    double dq[256]  = {0};
    double out[256] = {0};
    see(c, slot, head, seen, &lse);
    compare(&found[1], (double)c->lse[slot * c->shape.heads + head], lse);
    /* The kernels on the tensor cores read `out`, which is rounded. */
    bool stored = width >= 64 && width % 16 == 0;
    for (int64_t e = 0; stored && e < width; e++) {
        delta += (double)c->in[DOUT][own + e] * (double)c->out[own + e];
    }
    for (int64_t i = 0; !stored && i < seen->count; i++) {
        for (int64_t e = 0; e < width; e++) {
            delta += seen->prob[i] * (double)c->in[DOUT][own + e] *
                     (double)c->in[VALUES][seen->row[i] * kv_width(c) + column + e];
        }
    }
    for (int64_t i = 0; i < seen->count; i++) {
        int64_t at   = seen->row[i] * kv_width(c) + column;
        double dprob = 0;
        for (int64_t e = 0; e < width; e++) {
            dprob += (double)c->in[DOUT][own + e] * (double)c->in[VALUES][at + e];
        }
        double ds = seen->prob[i] * (dprob - delta) * scale;
        for (int64_t e = 0; e < width; e++) {
            out[e] += seen->prob[i] * (double)c->in[VALUES][at + e];
            dq[e] += ds * (double)c->in[KEYS][at + e];
            dkeys[at + e] += ds * (double)c->in[Q][own + e];
            dvalues[at + e] += seen->prob[i] * (double)c->in[DOUT][own + e];
        }
    }
    for (int64_t e = 0; e < width; e++) {
        compare(&found[0], (double)c->out[own + e], out[e]);
        compare(&found[2], (double)c->dq[own + e], dq[e]);
    }
}

void case_check(const char *name, const attention_case *c)
{
    int64_t store    = c->store * kv_width(c);
    double *dkeys    = calloc((size_t)store + 1, sizeof *dkeys);
    double *dvalues  = calloc((size_t)store + 1, sizeof *dvalues);
    seen_keys seen   = {.row  = calloc((size_t)c->store, sizeof *seen.row),
                        .prob = calloc((size_t)c->store, sizeof *seen.prob)};
    squares found[5] = {{0, 0}};
    double most      = c->dtype == PB_DTYPE_BF16 ? 4e-3 : 1e-6;
    for (int64_t slot = 0; slot < c->queries; slot++) {
        for (int64_t head = 0; head < c->shape.heads; head++) {
            check_query(c, slot, head, &seen, dkeys, dvalues, found);
        }
    }
    for (int64_t i = 0; i < store; i++) {
        compare(&found[3], (double)c->dkeys[i], dkeys[i]);
        compare(&found[4], (double)c->dvalues[i], dvalues[i]);
    }
    assert_close(name, "out", &found[0], most);
    assert_close(name, "lse", &found[1], 1e-6);
    assert_close(name, "dq", &found[2], most);
    assert_close(name, "dkeys", &found[3], most);
    assert_close(name, "dvalues", &found[4], most);
    free(dkeys);
    free(dvalues);
    free(seen.row);
    free(seen.prob);
}
