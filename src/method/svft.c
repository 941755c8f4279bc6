// SPDX-License-Identifier: Apache-2.0
/* SVFT (Lingam et al., "SVFT: Parameter-efficient fine-tuning with singular vectors", NeurIPS
 * 2024).
 *
 *     W = U Σ Vᵀ,   W' = U (Σ + M) Vᵀ,   so y = W x + U M (Vᵀ x),   M [r, r], r = min(out, in)
 *
 * M is zero except at the positions of a pattern, which are trained and start at zero: the diagonal
 * (plain); d more diagonals on either side of it (banded); the same number of positions, drawn at
 * random (random) or those of the largest |u_iᵀ v_j| (top_k). U and V are computed once, when the
 * method is created with weights: r (out + in) floats, and minutes for a matrix of 4096 by 4096.
 *
 * The authors' program multiplies M by σ(g), g a scalar of each module trained with it; here, as in
 * their paper, M stands alone. HF PEFT has no such method; the files are laid out as its adapters
 * are. They hold no factors: U and V are computed from the base model again. */
#include "internal.h"

#include "pb/memory.h"
#include "pb/permutation.h"
#include "pb/svd.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

enum { PATTERN_PLAIN, PATTERN_BANDED, PATTERN_RANDOM, PATTERN_TOP_K };

static const char *const patterns[] = {"plain", "banded", "random", "top_k", NULL};

typedef struct svft_options {
    method_targets where;
    int pattern;
    int64_t off_diagonals;
} svft_options;

static const pb_config_field fields[] = {
    PB_FIELD_CHOICE(svft_options, pattern, PATTERN_BANDED, patterns, "which positions are trained"),
    PB_FIELD_INT(svft_options, off_diagonals, 1, 0, 1048576, "",
                 "d: r (2d + 1) - d (d + 1) positions are trained; plain: r"),
    TARGET_FIELDS("q_proj k_proj", "linear modules to adapt, by the end of their path"),
    PB_FIELD_END,
};

static const char adapter_keys[] = "off_diag pattern target_modules";

/* Tensors of a site: M's trained entries [k], U [out, r], Vᵀ [r, in]; of a scattered pattern also
 * the positions [k, 2], row and column. */
enum { ENTRIES, U, VT, POSITIONS };

enum { RANK_MAX = 46340 }; /* places among r · r are counted in 31 bits */

/* Of scattered patterns. M and its gradient are laid out in full for one site at a time. */
typedef struct svft_state {
    int32_t **places; /* by site: where the entries are among the r · r, */
    pb_list *lists;   /* and the same in backend memory */
    float *pairs;     /* room for the positions of the largest site, so that no step allocates */
    void *block;      /* backend memory of the tensors below, of the largest site */
    pb_tensor full, dfull, dentries;
} svft_state;

static int64_t rank_of(const pb_site *site)
{
    return site->in < site->out ? site->in : site->out;
}

static bool is_scattered(const pb_method *m)
{
    return ((const svft_options *)m->options)->pattern >= PATTERN_RANDOM;
}

/* d, at most r - 1. */
static int64_t diagonals_beside(const pb_method *m, int64_t r)
{
    const svft_options *o = m->options;
    int64_t d             = o->pattern == PATTERN_PLAIN ? 0 : o->off_diagonals;
    return d < r ? d : r - 1;
}

static pb_status declare(pb_method *m, const pb_site *site, int which, int64_t rows,
                         int64_t columns)
{
    static const char *const names[] = {"M", "U", "V", "positions"};
    pb_trainable t                   = {.ndim = which == ENTRIES ? 1 : 2, .shape = {rows, columns}};
    t.frozen                         = which != ENTRIES;
    t.derived                        = which == U || which == VT;
    PB_TRY(trainable_name(&t, "base_model.model.%s.svft_%s", site->hf_name, names[which]));
    return pb_method_declare(m, &t, NULL);
}

static pb_status plan_site(pb_method *m, const pb_site *site)
{
    const svft_options *o = m->options;
    int64_t r             = rank_of(site);
    int64_t d             = diagonals_beside(m, r);
    int64_t count         = r * (2 * d + 1) - d * (d + 1);
    if (is_scattered(m) && r > RANK_MAX) {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "svft: %s has %" PRId64 " singular values; the patterns random and top_k "
                       "place entries among those of up to %d",
                       site->hf_name, r, RANK_MAX);
    }
    if (o->pattern == PATTERN_TOP_K && site->in != site->out) {
        return method_at(m, "pattern", -1,
                         PB_FAIL(PB_ERR_CONFIG,
                                 "svft: top_k compares left and right singular vectors, which "
                                 "are not equally long in %s, %" PRId64 " by %" PRId64
                                 "; leave it out of targets, or take another pattern",
                                 site->hf_name, site->out, site->in));
    }
    PB_TRY(declare(m, site, ENTRIES, count, 1));
    PB_TRY(declare(m, site, U, site->out, r));
    PB_TRY(declare(m, site, VT, r, site->in));
    return is_scattered(m) ? declare(m, site, POSITIONS, count, 2) : PB_OK;
}

static pb_status allocate(pb_method *m)
{
    svft_state *s   = m->state;
    int64_t largest = 0;
    int64_t entries = 0;
    for (int64_t i = 0; i < pb_model_site_count(m->model); i++) {
        if (m->sites[i] >= 0) {
            int64_t r     = rank_of(pb_model_site_at(m->model, i));
            int64_t count = m->trainables[m->sites[i]].shape[0];
            largest       = r > largest ? r : largest;
            entries       = count > entries ? count : entries;
        }
    }
    int64_t square = largest * largest;
    PB_TRY(PB_ALLOC(s->places, pb_model_site_count(m->model)));
    PB_TRY(PB_ALLOC(s->pairs, 2 * entries));
    PB_TRY(PB_ALLOC(s->lists, pb_model_site_count(m->model)));
    PB_TRY(pb_backend_alloc(m->backend, (size_t)(2 * square + entries) * sizeof(float), &s->block));
    float *block = s->block;
    s->full      = pb_tensor_2d(block, PB_DTYPE_F32, largest, largest);
    s->dfull     = pb_tensor_2d(block + square, PB_DTYPE_F32, largest, largest);
    s->dentries  = pb_tensor_1d(block + 2 * square, PB_DTYPE_F32, entries);
    return PB_OK;
}

static pb_status plan(pb_method *m)
{
    svft_state *state = NULL;
    PB_TRY(PB_ALLOC(state, 1));
    m->state = state;
    PB_TRY(method_plan_sites(m, PB_SITE_LINEAR, plan_site));
    return m->backend != NULL && is_scattered(m) ? allocate(m) : PB_OK;
}

static void destroy(pb_method *m)
{
    svft_state *s = m->state;
    if (s == NULL) {
        return;
    }
    for (int64_t i = 0; s->places != NULL && i < pb_model_site_count(m->model); i++) {
        pb_memory_free(s->places[i]);
    }
    for (int64_t i = 0; s->lists != NULL && i < pb_model_site_count(m->model); i++) {
        pb_list_close(m->backend, &s->lists[i]);
    }
    pb_memory_free(s->places);
    pb_memory_free(s->pairs);
    pb_memory_free(s->lists);
    pb_backend_free(m->backend, s->block);
    pb_memory_free(s);
}

/* Factors and positions ------------------------------------------------------------------------ */

static pb_status make_factors(pb_method *m, const pb_site *site)
{
    pb_trainable *t  = site_trainable(m, site, 0);
    int64_t r        = rank_of(site);
    float *w         = NULL;
    float *u         = NULL;
    float *vt        = NULL;
    pb_status status = PB_OK;
    PB_TRY_GOTO(status, PB_ALLOC(w, site->out * site->in), out_host);
    PB_TRY_GOTO(status, PB_ALLOC(u, site->out * r), out_host);
    PB_TRY_GOTO(status, PB_ALLOC(vt, r * site->in), out_host);
    pb_tensor weight = pb_tensor_2d(w, PB_DTYPE_F32, site->out, site->in);
    PB_TRY_GOTO(status, pb_tensor_to_f32(&weight, &site->weight), out_host);
    status = pb_svd(w, site->out, site->in, pb_backend_threads(m->backend), u, vt);
    if (status != PB_OK) {
        status = pb_error_prefix(status, "svft: %s", site->hf_name);
        goto out_host;
    }
    pb_tensor left  = pb_tensor_2d(u, PB_DTYPE_F32, site->out, r);
    pb_tensor right = pb_tensor_2d(vt, PB_DTYPE_F32, r, site->in);
    PB_TRY_GOTO(status, pb_copy(m->backend, &t[U].value, &left), out_host);
    PB_TRY_GOTO(status, pb_copy(m->backend, &t[VT].value, &right), out_host);
out_host:
    pb_memory_free(vt);
    pb_memory_free(u);
    pb_memory_free(w);
    return status;
}

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

typedef struct candidate {
    float size;
    int32_t place;
} candidate;

/* Largest first; of equal ones the first. */
static int by_size(const void *a, const void *b)
{
    const candidate *x = a;
    const candidate *y = b;
    return x->size != y->size ? (x->size < y->size) - (x->size > y->size)
                              : (x->place > y->place) - (x->place < y->place);
}

/* order [r · r] = all places, those of the largest |u_iᵀ v_j| first. */
static pb_status order_by_product(pb_method *m, const pb_site *site, int64_t *order)
{
    const svft_state *s   = m->state;
    const pb_trainable *t = site_trainable(m, site, 0);
    int64_t r             = rank_of(site);
    pb_tensor product     = pb_tensor_2d(s->full.data, PB_DTYPE_F32, r, r);
    float *host           = NULL;
    candidate *all        = NULL;
    pb_status status      = PB_OK;
    PB_TRY_GOTO(status, PB_ALLOC(host, r * r), out_host);
    PB_TRY_GOTO(status, PB_ALLOC(all, r * r), out_host);
    pb_tensor copy = pb_tensor_2d(host, PB_DTYPE_F32, r, r);
    PB_TRY_GOTO(
        status,
        pb_matmul(m->backend, &product, &t[U].value, &t[VT].value,
                  &(pb_matmul_args){.transpose_a = true, .transpose_b = true, .alpha = 1.0f}),
        out_host);
    PB_TRY_GOTO(status, pb_copy(m->backend, &copy, &product), out_host);
    for (int64_t i = 0; i < r * r; i++) {
        all[i] = (candidate){.size = fabsf(host[i]), .place = (int32_t)i};
    }
    qsort(all, (size_t)(r * r), sizeof *all, by_size);
    for (int64_t i = 0; i < r * r; i++) {
        order[i] = all[i].place;
    }
out_host:
    pb_memory_free(all);
    pb_memory_free(host);
    return status;
}

/* The first places of an order, ascending. */
static pb_status make_positions(pb_method *m, const pb_site *site)
{
    const svft_options *o = m->options;
    pb_trainable *t       = site_trainable(m, site, 0);
    int64_t r             = rank_of(site);
    int64_t count         = t[ENTRIES].shape[0];
    int64_t *order        = NULL;
    float *pairs          = ((const svft_state *)m->state)->pairs;
    pb_status status      = PB_OK;
    PB_TRY(PB_ALLOC(order, r * r));
    if (o->pattern == PATTERN_RANDOM) {
        pb_permutation_torch(r * r, m->seed + (uint64_t)site->index, order);
    } else {
        PB_TRY_GOTO(status, order_by_product(m, site, order), out_host);
    }
    qsort(order, (size_t)count, sizeof *order, by_number);
    for (int64_t i = 0; i < count; i++) {
        pairs[2 * i]     = (float)(order[i] / r);
        pairs[2 * i + 1] = (float)(order[i] % r);
    }
    pb_tensor host = pb_tensor_2d(pairs, PB_DTYPE_F32, count, 2);
    PB_TRY_GOTO(status, pb_copy(m->backend, &t[POSITIONS].value, &host), out_host);
out_host:
    pb_memory_free(order);
    return status;
}

static pb_status initialise(pb_method *m)
{
    for (int64_t i = 0; i < pb_model_site_count(m->model); i++) {
        if (m->sites[i] >= 0) {
            const pb_site *site = pb_model_site_at(m->model, i);
            PB_TRY(make_factors(m, site));
            PB_TRY(is_scattered(m) ? make_positions(m, site) : PB_OK);
        }
    }
    return PB_OK;
}

static pb_status read_places(const pb_method *m, const pb_site *site, const float *pairs)
{
    const pb_trainable *t = site_trainable(m, site, 0);
    svft_state *s         = m->state;
    int32_t **places      = &s->places[site->index];
    pb_list *list         = &s->lists[site->index];
    int64_t r             = rank_of(site);
    bool changed          = list->data == NULL;
    if (*places == NULL) {
        PB_TRY(PB_ALLOC(*places, t->shape[0]));
    }
    for (int64_t i = 0; i < 2 * t->shape[0]; i++) {
        if (!(pairs[i] >= 0.0f && pairs[i] < (float)r) || pairs[i] != floorf(pairs[i])) {
            return PB_FAIL(PB_ERR_FORMAT,
                           "%s holds %g; a position is a row and a column below %" PRId64,
                           t[POSITIONS].name, (double)pairs[i], r);
        }
    }
    for (int64_t i = 0; i < t->shape[0]; i++) {
        int32_t place = (int32_t)pairs[2 * i] * (int32_t)r + (int32_t)pairs[2 * i + 1];
        changed       = changed || (*places)[i] != place;
        (*places)[i]  = place;
    }
    if (!changed) {
        return PB_OK;
    }
    pb_list_close(m->backend, list);
    return pb_list_open(m->backend, "positions", *places, t->shape[0], 0, r * r, list);
}

/* The positions of a scattered pattern may have come from a file. */
static pb_status frozen_changed(pb_method *m)
{
    const svft_state *s = m->state;
    for (int64_t i = 0; is_scattered(m) && i < pb_model_site_count(m->model); i++) {
        const pb_site *site = pb_model_site_at(m->model, i);
        if (m->sites[i] < 0) {
            continue;
        }
        const pb_tensor *pairs = &site_trainable(m, site, POSITIONS)->value;
        pb_tensor copy         = pb_tensor_2d(s->pairs, PB_DTYPE_F32, pairs->shape[0], 2);
        PB_TRY(pb_copy(m->backend, &copy, pairs));
        PB_TRY(read_places(m, site, s->pairs));
    }
    return PB_OK;
}

/* Products with M ------------------------------------------------------------------------------ */

/* A diagonal of M: the entries [first, first + length) join columns from `row` on of one side with
 * those from `column` on of the other. */
typedef struct diagonal {
    int64_t first, length, row, column;
} diagonal;

/* Diagonal 0 … 2d, from the lowest to the highest, after the one before. */
static diagonal diagonal_after(int64_t r, int64_t d, int64_t index, const diagonal *before)
{
    int64_t offset = index - d;
    return (diagonal){
        .first  = before->first + before->length,
        .length = r - (offset < 0 ? -offset : offset),
        .row    = offset < 0 ? -offset : 0,
        .column = offset > 0 ? offset : 0,
    };
}

/* M [r, r] with zeros where nothing is trained. */
static pb_status lay_out(const pb_method *m, const pb_site *site, pb_tensor *full)
{
    const svft_state *s   = m->state;
    const pb_trainable *t = site_trainable(m, site, 0);
    int64_t r             = rank_of(site);
    *full                 = pb_tensor_2d(s->full.data, PB_DTYPE_F32, r, r);
    pb_tensor places      = pb_tensor_2d(s->full.data, PB_DTYPE_F32, r * r, 1);
    pb_tensor entries     = pb_tensor_2d(t[ENTRIES].value.data, PB_DTYPE_F32, t->shape[0], 1);
    PB_TRY(pb_zero(m->backend, full));
    return pb_scatter_add(m->backend, &places, &entries, &s->lists[site->index]);
}

/* out [T, r] = M in for every row, or Mᵀ in. part [T, r]: room. */
static pb_status multiply(const pb_method *m, const pb_site *site, bool transposed, pb_tensor *out,
                          const pb_tensor *in, pb_tensor *part)
{
    const pb_tensor *entries = &site_trainable(m, site, ENTRIES)->value;
    int64_t r                = rank_of(site);
    int64_t d                = diagonals_beside(m, r);
    diagonal g               = {0};
    if (is_scattered(m)) {
        pb_tensor full;
        PB_TRY(lay_out(m, site, &full));
        return pb_matmul(m->backend, out, in, &full,
                         &(pb_matmul_args){.transpose_b = !transposed, .alpha = 1.0f});
    }
    PB_TRY(pb_zero(m->backend, out));
    for (int64_t i = 0; i <= 2 * d; i++) {
        g              = diagonal_after(r, d, i, &g);
        pb_tensor mine = pb_tensor_rows(entries, g.first, g.length);
        pb_tensor from = pb_tensor_columns(in, transposed ? g.row : g.column, g.length);
        pb_tensor to   = pb_tensor_columns(out, transposed ? g.column : g.row, g.length);
        pb_tensor room = pb_tensor_columns(part, 0, g.length);
        PB_TRY(pb_column_scale_forward(m->backend, &room, &from, &mine));
        PB_TRY(pb_axpy(m->backend, &to, 1.0f, &room));
    }
    return PB_OK;
}

/* The gradient of the entries += what dq pᵀ has there; dp = Mᵀ dq. */
static pb_status multiply_backward(pb_method *m, const pb_site *site, pb_tensor *dp,
                                   const pb_tensor *dq, const pb_tensor *p, pb_tensor *part)
{
    const svft_state *s = m->state;
    pb_trainable *t     = site_trainable(m, site, 0);
    int64_t r           = rank_of(site);
    int64_t d           = diagonals_beside(m, r);
    diagonal g          = {0};
    if (is_scattered(m)) {
        pb_tensor dfull  = pb_tensor_2d(s->dfull.data, PB_DTYPE_F32, r, r);
        pb_tensor places = pb_tensor_2d(s->dfull.data, PB_DTYPE_F32, r * r, 1);
        pb_tensor picked = pb_tensor_2d(s->dentries.data, PB_DTYPE_F32, t->shape[0], 1);
        pb_tensor flat   = method_flat(&picked);
        PB_TRY(pb_matmul(m->backend, &dfull, dq, p,
                         &(pb_matmul_args){.transpose_a = true, .alpha = 1.0f}));
        PB_TRY(pb_gather(m->backend, &picked, &places, &s->lists[site->index]));
        PB_TRY(pb_axpy(m->backend, &t[ENTRIES].grad, 1.0f, &flat));
        return multiply(m, site, true, dp, dq, part);
    }
    PB_TRY(pb_zero(m->backend, dp));
    for (int64_t i = 0; i <= 2 * d; i++) {
        g               = diagonal_after(r, d, i, &g);
        pb_tensor mine  = pb_tensor_rows(&t[ENTRIES].value, g.first, g.length);
        pb_tensor dmine = pb_tensor_rows(&t[ENTRIES].grad, g.first, g.length);
        pb_tensor from  = pb_tensor_columns(dq, g.row, g.length);
        pb_tensor with  = pb_tensor_columns(p, g.column, g.length);
        pb_tensor to    = pb_tensor_columns(dp, g.column, g.length);
        pb_tensor room  = pb_tensor_columns(part, 0, g.length);
        PB_TRY(pb_column_scale_backward(m->backend, &room, &dmine, &from, &with, &mine));
        PB_TRY(pb_axpy(m->backend, &to, 1.0f, &room));
    }
    return PB_OK;
}

/* Slots ---------------------------------------------------------------------------------------- */

/* p = Vᵀ x. */
static int64_t kept_width(const pb_method *m, const pb_site *site)
{
    return m->sites[site->index] >= 0 ? rank_of(site) : 0;
}

/* Three times r columns: q = M p or its gradient, the gradient of p, and room for products. */
static int64_t scratch_width(const pb_method *m, const pb_site *site)
{
    return m->sites[site->index] >= 0 ? (3 * rank_of(site) + 1) / 2 : 0;
}

static pb_tensor room_of(const pb_site_context *ctx, const pb_site *site, int64_t which)
{
    return pb_tensor_columns(ctx->scratch, which * rank_of(site), rank_of(site));
}

static pb_status output_forward(pb_method *m, const pb_site *site, const pb_site_context *ctx,
                                pb_tensor *y, const pb_tensor *x, pb_tensor *kept)
{
    const pb_trainable *t = site_trainable(m, site, 0);
    pb_tensor q           = room_of(ctx, site, 0);
    pb_tensor part        = room_of(ctx, site, 1);
    PB_TRY(pb_matmul(m->backend, kept, x, &t[VT].value,
                     &(pb_matmul_args){.transpose_b = true, .alpha = 1.0f}));
    PB_TRY(multiply(m, site, false, &q, kept, &part));
    return pb_matmul(m->backend, y, &q, &t[U].value,
                     &(pb_matmul_args){.transpose_b = true, .alpha = 1.0f, .beta = 1.0f});
}

static pb_status output_backward(pb_method *m, const pb_site *site, const pb_site_context *ctx,
                                 pb_tensor *dy, pb_tensor *dx, const pb_tensor *x,
                                 const pb_tensor *kept)
{
    const pb_trainable *t = site_trainable(m, site, 0);
    pb_tensor dq          = room_of(ctx, site, 0);
    pb_tensor dp          = room_of(ctx, site, 1);
    pb_tensor part        = room_of(ctx, site, 2);
    (void)x;
    PB_TRY(pb_matmul(m->backend, &dq, dy, &t[U].value, &(pb_matmul_args){.alpha = 1.0f}));
    PB_TRY(multiply_backward(m, site, &dp, &dq, kept, &part));
    return pb_tensor_is_none(dx) ? PB_OK
                                 : pb_matmul(m->backend, dx, &dp, &t[VT].value,
                                             &(pb_matmul_args){.alpha = 1.0f, .beta = 1.0f});
}

/* W + (U M) Vᵀ: a row of U M is Mᵀ times the row of U. */
static pb_status merge(pb_method *m, const pb_site *site, pb_tensor *weight, pb_tensor *bias)
{
    const pb_trainable *t = site_trainable(m, site, 0);
    int64_t r             = rank_of(site);
    void *block           = NULL;
    pb_status status      = PB_OK;
    (void)bias;
    PB_TRY(pb_backend_alloc(m->backend, (size_t)(2 * site->out * r) * sizeof(float), &block));
    pb_tensor um   = pb_tensor_2d(block, PB_DTYPE_F32, site->out, r);
    pb_tensor part = pb_tensor_2d((float *)block + site->out * r, PB_DTYPE_F32, site->out, r);
    PB_TRY_GOTO(status, multiply(m, site, true, &um, &t[U].value, &part), out_block);
    PB_TRY_GOTO(status,
                pb_matmul(m->backend, weight, &um, &t[VT].value,
                          &(pb_matmul_args){.alpha = 1.0f, .beta = 1.0f}),
                out_block);
out_block:
    pb_backend_free(m->backend, block);
    return status;
}

/* Vᵀ x, U q, and in between each trained entry once. */
static double extra_flops(const pb_method *m, int64_t tokens)
{
    double products = (double)m->parameters;
    for (int64_t i = 0; i < pb_model_site_count(m->model); i++) {
        const pb_site *site = pb_model_site_at(m->model, i);
        if (m->sites[site->index] >= 0) {
            products += (double)(rank_of(site) * (site->in + site->out));
        }
    }
    return 2.0 * (double)tokens * products;
}

static void config_write(const pb_method *m, pb_json *json)
{
    const svft_options *o = m->options;
    pb_json_put_text(json, "pattern", patterns[o->pattern]);
    pb_json_put_int(json, "off_diag", o->off_diagonals);
    targets_write(m, json);
}

static pb_status config_read(void *options, const pb_adapter_config *c)
{
    svft_options *o = options;
    PB_TRY(adapter_choice(c, "pattern", patterns, &o->pattern));
    PB_TRY(adapter_int(c, "off_diag", 0, &o->off_diagonals));
    return targets_read(c, &o->where);
}

const pb_method_ops method_svft = {
    .name                   = "svft",
    .help                   = "trained entries between the singular vectors of linear modules",
    .options_size           = sizeof(svft_options),
    .fields                 = fields,
    .plan                   = plan,
    .destroy                = destroy,
    .initialise             = initialise,
    .frozen_changed         = frozen_changed,
    .acts                   = acts_on_output,
    .linear_output_forward  = output_forward,
    .linear_output_backward = output_backward,
    .kept_width             = kept_width,
    .scratch_width          = scratch_width,
    .merge                  = merge,
    .extra_flops            = extra_flops,
    .peft_type              = "SVFT",
    .adapter_keys           = adapter_keys,
    .adapter_config_write   = config_write,
    .adapter_config_read    = config_read,
};
