// SPDX-License-Identifier: Apache-2.0
/* The S-expressions of trees, which the program compares without writing them out. */
#pragma once

#include "codebleu/shape.h"

/* Appends the S-expression of a shape. */
pb_status shapes_print(const code_shapes *s, int32_t shape, pb_string *out) PB_MUST_USE;
