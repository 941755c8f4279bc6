// SPDX-License-Identifier: Apache-2.0
/* A file of rows with invalid contents, and its one outcome. */
#pragma once

#include "fixture.h"
#include "reader.h"

enum { KIB = 1 << 10, MIB = 1 << 20 };

/* The outcome: rows as JSON and a '!' for a bad one, in order; or, if rows are long, a '.' for
 * each. A '#' at the end: the rest cannot be read (PB_ERR_IO). "": a file without rows. "open": the
 * file is refused when opened. */
typedef struct hostile_case {
    const char *name; /* what is wrong */
    const char *file;
    const char *bytes;
    size_t size;
    const char *outcome;
    const char *part; /* of the first message, NULL when there is none */
} hostile_case;

#define HOSTILE(name, file, bytes, outcome, part)                     \
    {                                                                 \
        (name), (file), (bytes), sizeof(bytes) - 1, (outcome), (part) \
    }

void hostile_check(const hostile_case *c);
void hostile_check_as(const hostile_case *c, dataset_format format);

#define HOSTILE_CHECK_ALL(cases)                                       \
    do {                                                               \
        for (size_t i = 0; i < sizeof(cases) / sizeof *(cases); i++) { \
            hostile_check(&(cases)[i]);                                \
        }                                                              \
    } while (0)
