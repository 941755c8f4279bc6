// SPDX-License-Identifier: Apache-2.0
/* Which kernels of OpenBLAS a process should compute with: a function of what the processor can do,
 * what the library chose, and measured rates. Nothing here asks the machine, so all of it is tested
 * on every machine.
 *
 * OpenBLAS chooses by family and model of the processor. It does not know those that are newer than
 * itself and may then fall to kernels of SSE3. */
#pragma once

#include <stdbool.h>

/* Instructions that the processor has and the system supports. */
enum {
    CHOICE_AVX    = 1 << 0,
    CHOICE_FMA3   = 1 << 1,
    CHOICE_FMA4   = 1 << 2,
    CHOICE_AVX2   = 1 << 3,
    CHOICE_AVX512 = 1 << 4, /* F, CD, DQ, BW and VL */
    CHOICE_BF16   = 1 << 5, /* AVX512_BF16 */
};

enum { CHOICE_NAME = 32, CHOICE_TRIALS = 8 };

typedef struct choice_facts {
    unsigned features;
    bool amd;            /* or Hygon: Zen's kernels suit it best */
    bool selectable;     /* OpenBLAS that chooses when it is loaded (DYNAMIC_ARCH) */
    const char *in_use;  /* the kernels it chose, or was set to use */
    double gflops;       /* their rate on one thread */
    const char *setting; /* OPENBLAS_CORETYPE as the user set it, NULL or "" for none */
} choice_facts;

/* Kernels that were requested in a separate process. */
typedef struct choice_trial {
    const char *asked;
    char took[CHOICE_NAME]; /* other than requested: this OpenBLAS has none of that name */
    double gflops;          /* on one thread; 0: the process ended without a result */
} choice_trial;

typedef struct choice {
    const char *better; /* kernels well ahead of those in use, NULL for none */
    double gflops;      /* their rate */
    bool take;          /* and no setting of the user rules them out */
} choice;

/* Kernels that may be well ahead of those in use and were not tried yet; NULL: go on and decide. */
const char *choice_next(const choice_facts *facts, const choice_trial *trials, int count);
choice choice_make(const choice_facts *facts, const choice_trial *trials, int count);

/* False for kernels known to need instructions that are not there. */
bool choice_can_run(const char *name, unsigned features);
/* What they need, for a message: "AVX-512". */
const char *choice_needs(const char *name);

/* All kernels worth listing for such a processor, the best ones first: at most CHOICE_TRIALS. */
int choice_list(unsigned features, bool amd, const char *names[CHOICE_TRIALS]);
