// SPDX-License-Identifier: Apache-2.0
/* See products.h. */
#include "products.h"

#include "internal.h"

static pb_backend_ops table;
static const pb_backend_ops *own; /* what the table replaces */
static products_rows kind;
static int64_t count;

/* Row by row. */
static pb_status matmul(pb_backend *be, pb_tensor *c, const pb_tensor *a, const pb_tensor *b,
                        const pb_matmul_args *args)
{
    pb_matmul_args scaled = *args;
    if (args->transpose_a) {
        return own->matmul(be, c, a, b, args);
    }
    count++;
    if (kind == PRODUCTS_DEPEND) {
        scaled.alpha *= 1.0f + (float)c->shape[0] / 1024.0f;
    }
    for (int64_t i = 0; i < c->shape[0]; i++) {
        pb_tensor to         = pb_tensor_rows(c, i, 1);
        const pb_tensor from = pb_tensor_rows(a, i, 1);
        PB_TRY(own->matmul(be, &to, &from, b, &scaled));
    }
    return PB_OK;
}

void products_replace(pb_backend *be, products_rows rows)
{
    own          = be->ops;
    kind         = rows;
    count        = 0;
    table        = *own;
    table.matmul = matmul;
    be->ops      = &table;
    be->shares   = false;
}

void products_share(pb_backend *be)
{
    be->shares = true;
}

int64_t products_take_count(void)
{
    int64_t taken = count;
    count         = 0;
    return taken;
}
