// SPDX-License-Identifier: Apache-2.0
/* The kernels of this process and of others: what the processor can do, which kernels the library
 * has taken, and how fast they are. */
#pragma once

#include "pb/kernels.h"

/* The variables that carry what was found to the process that continues, and to no other: its id is
 * part of the text. */
#define KERNELS_SETTING "OPENBLAS_CORETYPE"
#define KERNELS_STATE   "PB_KERNELS"
#define KERNELS_RATES   "PB_KERNELS_RATES"

/* CHOICE_… bits; *amd: whose processor it is. */
unsigned kernels_features(bool *amd);

/* The library can take other kernels when it is loaded again. */
bool kernels_selectable(void);

/* Their name in this process, "" where it is unknown. */
void kernels_name(char name[PB_KERNELS_NAME]);

/* On how many threads a call of the library runs: 1 for products, which stay on the thread that
 * asks for them. An OpenBLAS with OpenMP sets the number of threads of all of OpenMP by that. */
void kernels_threads_each(int threads);

/* As many threads as OpenMP uses by default: OMP_NUM_THREADS, else one per processor that the
 * process may use. */
int kernels_all_threads(void);

/* The thread's own clock, which stops while other work has the processor. */
double kernels_thread_seconds(void);

/* GFLOP/s of F32 products on one thread by its own clock, which stops while other work has the
 * processor: the best of some short products. 0 when out of memory. */
double kernels_rate(void);

/* The sum over `threads` threads that multiply at the same time, by the wall clock. */
double kernels_rate_together(int threads);

/* Measures the kernels `name` in a separate process; `took` are those that it used. False when it
 * gave no result. threads 0: on one thread alone. */
bool kernels_try(const char *name, int threads, pb_kernels_rate *took);

/* What was found, for this process and for one that takes its place. */
void kernels_remember(const pb_kernels *kernels);
