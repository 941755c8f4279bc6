// SPDX-License-Identifier: Apache-2.0
/* Which neighbouring parts of a pass share a product with a frozen weight. Whether they do changes
 * no bit: a backend's products are tried first, with all numbers of rows that occur. */
#include "internal.h"

#include "pb/rows.h"

/* Rows of a part at a site: those of x, or labels where x is NULL. */
static int64_t rows_of(const pass *p, int64_t part, const pb_tensor *x)
{
    return x == NULL ? p->parts[part].labels : network_part_range(p, &p->parts[part], x, 1).count;
}

static bool drops(const pb_network *net, const pb_site *site)
{
    pb_linear_part part;
    pb_linear linear = network_linear_at(net, site, &part);
    return linear.count > 0 && part.low_rank.dropout > 0.0;
}

/* Dropout decides whether a part rides in the backward. */
static bool are_like(const pb_network *a, const pb_network *b, const pb_site *site)
{
    const pb_binding *of_a = &a->bindings[site->index];
    const pb_binding *of_b = &b->bindings[site->index];
    return a->acts[site->index] == b->acts[site->index] && drops(a, site) == drops(b, site) &&
           (a->acts[site->index] & PB_ACTS_ON_INPUT) == 0 &&
           of_a->weight.data == of_b->weight.data && of_a->bias.data == of_b->bias.data;
}

/* Columns of the border in which what a part adds at a site rides; 0: it does not. */
static int64_t columns_of(const pb_network *net, const pb_site *site)
{
    pb_linear_part part;
    pb_linear linear = network_linear_at(net, site, &part);
    return pb_linear_may_ride(&linear) ? part.low_rank.a.shape[0] : 0;
}

/* Parts from `first` on that may share a product, whatever their rows: they ride side by side, or
 * none rides. */
static int64_t count_like(const pb_network *net, const pass *p, const pb_site *site, int64_t first)
{
    const pb_network *one = p->parts[first].net;
    int64_t border        = net->bindings[site->index].weight.border;
    int64_t columns       = columns_of(one, site);
    bool ride             = columns > 0;
    int64_t end           = first + 1;
    for (; pb_backend_shares(net->backend) && end < p->part_count; end++) {
        const pb_network *other = p->parts[end].net;
        int64_t more            = columns_of(other, site);
        columns += more;
        if (!are_like(one, other, site) || (more > 0) != ride || columns > border) {
            break;
        }
    }
    return end - first;
}

/* Parts that may share a product at a site whose input is x, or at the head (NULL). */
typedef struct share {
    const pass *p;
    const pb_site *site;
    const pb_tensor *x;
    int64_t first, count;
    int64_t rows, width; /* of all of them */
} share;

static share share_of(const pass *p, const pb_site *site, const pb_tensor *x, int64_t first,
                      int64_t count)
{
    share s = {.p = p, .site = site, .x = x, .first = first, .count = count};
    for (int64_t i = first; i < first + count; i++) {
        s.rows += rows_of(p, i, x);
        s.width += columns_of(p->parts[i].net, site);
    }
    return s;
}

/* The rows of a part alone, and as they are multiplied with those of the others; *column is where
 * its columns begin, and then where they end. */
static void rows_of_part(const share *s, int64_t part, int64_t *column, pb_rows *alone,
                         pb_rows *together)
{
    int64_t rank = columns_of(s->p->parts[part].net, s->site);
    *alone       = (pb_rows){.rows = rows_of(s->p, part, s->x), .width = rank, .rank = rank};
    *together    = (pb_rows){.rows = s->rows, .width = s->width, .column = *column, .rank = rank};
    *column += rank;
}

static bool are_alike(const pb_network *net, const share *s)
{
    const pb_tensor *weight = &net->bindings[s->site->index].weight;
    int64_t column          = 0;
    bool alike              = true;
    for (int64_t i = s->first; i < s->first + s->count && alike; i++) {
        pb_rows alone, together;
        rows_of_part(s, i, &column, &alone, &together);
        alike = pb_rows_alike(net->backend, weight, &alone, &together);
    }
    return alike;
}

int64_t network_share(const pb_network *net, const pass *p, const pb_site *site, const pb_tensor *x,
                      int64_t first)
{
    int64_t count = count_like(net, p, site, first);
    share s       = share_of(p, site, x, first, count);
    return count > 1 && are_alike(net, &s) ? count : 1;
}

/* The labels of these parts, and those of each when it is alone, are one chunk. */
static bool are_one_chunk(const pb_network *net, const pass *p, int64_t first, int64_t count)
{
    int64_t labels = 0;
    bool one       = true;
    for (int64_t i = first; i < first + count; i++) {
        const pass_part *part = &p->parts[i];
        one                   = one && part->labels <= network_chunk(net, part->outs, part->labels);
        labels += part->labels;
    }
    return one && labels <= net->scratch.logits.shape[0];
}

int64_t network_share_head(const pb_network *net, const pass *p, int64_t first)
{
    const pb_site *head = network_site(net, PB_SITE_HEAD, -1);
    int64_t count       = count_like(net, p, head, first);
    share s             = share_of(p, head, NULL, first, count);
    return count > 1 && are_one_chunk(net, p, first, count) && are_alike(net, &s) ? count : 1;
}

/* The pass has not begun, so its memory is free. */
static pb_status try_rows(pb_network *net, const share *s)
{
    const pb_tensor *weight = &net->bindings[s->site->index].weight;
    const pass_memory *free = net->memory;
    int64_t column          = 0;
    for (int64_t i = s->first; i < s->first + s->count; i++) {
        pb_rows alone, together;
        rows_of_part(s, i, &column, &alone, &together);
        PB_TRY(pb_rows_try(net->backend, weight, &alone, free->block, free->block_bytes));
        PB_TRY(pb_rows_try(net->backend, weight, &together, free->block, free->block_bytes));
    }
    pb_rows_report(net->backend, weight, are_alike(net, s));
    return PB_OK;
}

static pb_status try_site(pb_network *net, const pass *p, const pb_site *site)
{
    bool head = site->kind == PB_SITE_HEAD;
    for (int64_t i = 0, n = 0; i < p->part_count; i += n) {
        n = count_like(net, p, site, i);
        if (n == 1 || (head && !are_one_chunk(net, p, i, n))) {
            continue;
        }
        share s = share_of(p, site, head ? NULL : &net->scratch.h, i, n);
        PB_TRY(try_rows(net, &s));
        if (!head && layer_is_subset(net, p, site->layer)) {
            s = share_of(p, site, &net->scratch.hq, i, n);
            PB_TRY(try_rows(net, &s));
        }
    }
    return PB_OK;
}

pb_status network_try_shares(pb_network *net, const pass *p)
{
    for (int64_t i = 0; i < pb_model_site_count(net->model); i++) {
        const pb_site *site = pb_model_site_at(net->model, i);
        if (site->site_class == PB_SITE_LINEAR || site->kind == PB_SITE_HEAD) {
            PB_TRY(try_site(net, p, site));
        }
    }
    return PB_OK;
}
