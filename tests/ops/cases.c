// SPDX-License-Identifier: Apache-2.0
/* The list of operation cases and its construction. */
#include "ops.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST_CASES = 512, MOST_KEPT = 1024 };

static op_case cases[MOST_CASES];
static int64_t case_count;
static void *kept[MOST_KEPT];
static int64_t kept_count;

op_case *ops_add(const char *operation, const char *format, ...)
{
    if (case_count == MOST_CASES) {
        fprintf(stderr, "more than %d cases\n", MOST_CASES);
        exit(1);
    }
    op_case *c = &cases[case_count++];
    *c         = (op_case){.operation = operation};
    int used   = snprintf(c->name, sizeof c->name, "%s ", operation);
    va_list values;
    va_start(values, format);
    vsnprintf(c->name + used, sizeof c->name - (size_t)used, format, values);
    va_end(values);
    return c;
}

void *ops_keep(size_t bytes)
{
    void *block = kept_count < MOST_KEPT ? calloc(1, bytes > 0 ? bytes : 1) : NULL;
    if (block == NULL) {
        fprintf(stderr, "no room to keep %zu bytes\n", bytes);
        exit(1);
    }
    kept[kept_count++] = block;
    return block;
}

op_port ops_matrix(const char *name, int64_t rows, int64_t columns, op_gradient gradient)
{
    return (op_port){.name = name, .rows = rows, .columns = columns, .gradient = gradient};
}

op_port ops_vector(const char *name, int64_t columns, op_gradient gradient)
{
    return (op_port){
        .name = name, .rows = 1, .columns = columns, .vector = true, .gradient = gradient};
}

const op_case *ops_cases(int64_t *count)
{
    if (case_count == 0) {
        ops_add_products();
        ops_add_rows();
        ops_add_elementwise();
        ops_add_attention();
        ops_add_linear();
        ops_add_parameters();
    }
    *count = case_count;
    return cases;
}

void ops_cases_free(void)
{
    for (int64_t i = 0; i < kept_count; i++) {
        free(kept[i]);
    }
    kept_count = 0;
    case_count = 0;
}
