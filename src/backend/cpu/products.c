// SPDX-License-Identifier: Apache-2.0
#include "products.h"

#include <stdio.h>
#include <string.h>

enum { FEW_ROWS = 32 };

static const char letters[] = "bfhpa";

/* More than noise, so that processes that measure at the same time decide alike; no class of
 * products was met whose ratio lies near. */
static const double WELL_AHEAD = 1.3;

product_library products_by(const products *p, bool transpose_a, bool transpose_b, int64_t m)
{
    product_form form   = transpose_a ? FORM_TN : transpose_b ? FORM_NT : FORM_NN;
    product_shape shape = m <= FEW_ROWS ? SHAPE_FEW : SHAPE_FULL;
    return (product_library)p->by[form][shape];
}

bool products_pick(const product_trial trials[PRODUCT_LIBRARIES], product_library *out)
{
    bool found  = trials[BY_BLAS].right;
    double best = trials[BY_BLAS].seconds;
    *out        = BY_BLAS;
    for (product_library i = BY_BLAS + 1; i < PRODUCT_LIBRARIES; i++) {
        bool tried = trials[i].right && trials[i].seconds > 0.0;
        if (tried && (!found || trials[i].seconds < best / WELL_AHEAD)) {
            *out  = i;
            best  = trials[i].seconds;
            found = true;
        }
    }
    return found;
}

products products_all(product_library library)
{
    products p;
    memset(p.by, (int)library, sizeof p.by);
    return p;
}

bool products_have(const products *p, product_library library)
{
    return memchr(p->by, (int)library, sizeof p->by) != NULL;
}

static char letter(const products *p, product_form form, product_shape shape)
{
    return letters[p->by[form][shape]];
}

void products_write(const products *p, char text[PRODUCTS_TEXT])
{
    (void)snprintf(text, PRODUCTS_TEXT, "nt=%c%c nn=%c%c tn=%c%c", letter(p, FORM_NT, SHAPE_FULL),
                   letter(p, FORM_NT, SHAPE_FEW), letter(p, FORM_NN, SHAPE_FULL),
                   letter(p, FORM_NN, SHAPE_FEW), letter(p, FORM_TN, SHAPE_FULL),
                   letter(p, FORM_TN, SHAPE_FEW));
}

bool products_read(const char *text, products *out)
{
    char by[PRODUCT_FORMS][PRODUCT_SHAPES + 1] = {{0}};
    char again[PRODUCTS_TEXT];
    if (sscanf(text, "nt=%2[bfhpa] nn=%2[bfhpa] tn=%2[bfhpa]", by[FORM_NT], by[FORM_NN],
               by[FORM_TN]) != PRODUCT_FORMS) {
        return false;
    }
    for (int form = 0; form < PRODUCT_FORMS; form++) {
        for (int shape = 0; shape < PRODUCT_SHAPES; shape++) {
            const char *at       = strchr(letters, by[form][shape]);
            out->by[form][shape] = (uint8_t)((at - letters) % PRODUCT_LIBRARIES);
        }
    }
    products_write(out, again); /* as long, and nothing behind it */
    return strcmp(again, text) == 0;
}
