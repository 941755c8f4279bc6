// SPDX-License-Identifier: Apache-2.0
/* The numbers of a (model, method) under their names in CSV and JSON. */
#pragma once

#include "summary.h"

typedef struct quantity {
    const char *name, *unit;
    double value, std;
    int64_t n;
} quantity;

enum { COSTS = 12 + SUMMARY_COMPONENTS * SUMMARY_PARTS, TERMS = 8 };

void cost_quantities(const summary_cost *cost, quantity out[COSTS]);
void pscp_quantities(const summary_cost *cost,
                     quantity out[TERMS]); /* the first 5 over data sets */
