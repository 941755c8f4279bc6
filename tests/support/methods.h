// SPDX-License-Identifier: Apache-2.0
/* The methods of the registry with small configurations, which every suite over methods uses.
 * Baselines, which answer without a model, are left out. */
#pragma once

#include <stdbool.h>

/* A method of the registry with options in configuration syntax. */
typedef struct method_case {
    const char *method, *options;
} method_case;

/* The cases, in the order of the registry: a method without a line in methods.c has one case, its
 * defaults. */
int method_case_count(void);
const method_case *method_case_at(int index);
bool method_case_is_first(int index); /* of its method */

/* The distance of the cases that suites with many passes take: 1, or 7 over `cuda` without a
 * device, where a pass takes some fifty times as long. */
int method_case_step(void);

/* "<method> { <options> }" for messages, in a static buffer. */
const char *method_case_text(const method_case *c);
