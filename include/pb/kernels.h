// SPDX-License-Identifier: Apache-2.0
/* The kernels of the product library that this process uses, and how they were chosen.
 *
 * OpenBLAS chooses them when it is loaded, from the processor's model or as OPENBLAS_CORETYPE says.
 * main calls pb_kernels_start before MPI starts: where the library's choice is much slower than the
 * processor allows, the program sets that variable and restarts itself, once. */
#pragma once

#include <stdbool.h>

typedef enum pb_kernels_by {
    PB_KERNELS_BY_LIBRARY,
    PB_KERNELS_BY_PROGRAM,
    PB_KERNELS_BY_USER, /* by OPENBLAS_CORETYPE */
} pb_kernels_by;

extern const char *const pb_kernels_by_names[]; /* "library", "program", "user" */

enum { PB_KERNELS_NAME = 32 };

/* Rates are GFLOP/s of F32 products on one thread, 0 where nothing was measured. */
typedef struct pb_kernels {
    char name[PB_KERNELS_NAME]; /* in use; "" where the library is not OpenBLAS */
    pb_kernels_by by;
    double gflops;
    char other[PB_KERNELS_NAME]; /* the kernels they were compared with, "" for none: if the program
                                    chose, the library's own choice; else better ones that are not
                                    in use */
    double other_gflops;
} pb_kernels;

void pb_kernels_get(pb_kernels *out);

/* The fastest known kernels, and their rate relative to those in use: 1 where they are in use. */
double pb_kernels_best(const pb_kernels *kernels, const char **name);

/* Once, at the start of main: settles the kernels and, for a process with several `threads`, makes
 * waiting threads yield soon. The user's settings take precedence. Returns in the process that
 * continues. */
void pb_kernels_start(char *const *argv, bool threads);

/* Measures all kernels that suit this processor, each in a separate process, on one thread and on
 * `threads` (0: all that the process may use); before MPI starts. pb_kernels_list then has the
 * rates. */
void pb_kernels_measure_all(int threads);

typedef struct pb_kernels_rate {
    char name[PB_KERNELS_NAME];
    double gflops, gflops_threads;
    int threads;
} pb_kernels_rate;

enum { PB_KERNELS_RATES = 8 };

/* The number of measured kernels; 0 without pb_kernels_measure_all. Those in use come first. */
int pb_kernels_list(pb_kernels_rate rates[PB_KERNELS_RATES]);

/* True in a process that was started only to measure its kernels: it has done so, and main
 * returns. */
bool pb_kernels_child(int argc, char *const *argv);
