// SPDX-License-Identifier: Apache-2.0
/* The kernels that OpenBLAS has for x86-64, by the instructions they use, and the choice among
 * them. */
#include "choice.h"

#include <stddef.h>
#include <strings.h>

/* Each class has about twice the arithmetic of the one before per cycle, AVX-512 at least where a
 * core has full units for it. */
typedef enum kernel_class { CLASS_SSE, CLASS_AVX, CLASS_AVX2, CLASS_AVX512 } kernel_class;

typedef struct kernel {
    const char *name;
    kernel_class class;
    unsigned features; /* that it needs beyond SSE3 */
    const char *needs; /* the same in words */
} kernel;

#define NEEDS_AVX2   (CHOICE_AVX | CHOICE_FMA3 | CHOICE_AVX2)
#define NEEDS_AVX512 (NEEDS_AVX2 | CHOICE_AVX512)

static const kernel kernels[] = {
    {"Prescott", CLASS_SSE, 0, "SSE3"},
    {"Core2", CLASS_SSE, 0, "SSE3"},
    {"Penryn", CLASS_SSE, 0, "SSE3"},
    {"Dunnington", CLASS_SSE, 0, "SSE3"},
    {"Nehalem", CLASS_SSE, 0, "SSE3"},
    {"Atom", CLASS_SSE, 0, "SSE3"},
    {"Nano", CLASS_SSE, 0, "SSE3"},
    {"Athlon", CLASS_SSE, 0, "SSE3"},
    {"Opteron", CLASS_SSE, 0, "SSE3"},
    {"Opteron_SSE3", CLASS_SSE, 0, "SSE3"},
    {"Barcelona", CLASS_SSE, 0, "SSE3"},
    {"Bobcat", CLASS_SSE, 0, "SSE3"},
    {"Sandybridge", CLASS_AVX, CHOICE_AVX, "AVX"},
    {"Bulldozer", CLASS_AVX, CHOICE_AVX | CHOICE_FMA4, "AVX and FMA4"},
    {"Piledriver", CLASS_AVX, CHOICE_AVX | CHOICE_FMA3, "AVX and FMA"},
    {"Steamroller", CLASS_AVX, CHOICE_AVX | CHOICE_FMA3, "AVX and FMA"},
    {"Excavator", CLASS_AVX, CHOICE_AVX | CHOICE_FMA3, "AVX and FMA"},
    {"Haswell", CLASS_AVX2, NEEDS_AVX2, "AVX2 and FMA"},
    {"Zen", CLASS_AVX2, NEEDS_AVX2, "AVX2 and FMA"},
    {"SkylakeX", CLASS_AVX512, NEEDS_AVX512, "AVX-512"},
    {"Cooperlake", CLASS_AVX512, NEEDS_AVX512 | CHOICE_BF16, "AVX-512 with BF16"},
    {"SapphireRapids", CLASS_AVX512, NEEDS_AVX512 | CHOICE_BF16, "AVX-512 with BF16"},
};

/* What a processor should have, the best ones first. F32 products of Cooperlake and SapphireRapids
 * are those of SkylakeX, which every OpenBLAS with AVX-512 has. */
static const char *const best_of_amd[]    = {"SkylakeX", "Zen", "Haswell", "Sandybridge", NULL};
static const char *const best_of_others[] = {"SkylakeX", "Haswell", "Zen", "Sandybridge", NULL};

/* What `info` lists beside them. */
static const char *const others[] = {"Cooperlake", "SapphireRapids", "Prescott", NULL};

/* Well ahead: more than noise or a clock that AVX-512 lowers can do, less than a class brings.
 * Between processors where wide units bring 1.5 and more, and those where they bring 1.1 at most,
 * processes that measure at the same time decide alike. */
static const double WELL_AHEAD = 1.3;

static const kernel *find(const char *name)
{
    for (size_t i = 0; name != NULL && i < sizeof kernels / sizeof *kernels; i++) {
        if (strcasecmp(kernels[i].name, name) == 0) {
            return &kernels[i];
        }
    }
    return NULL;
}

bool choice_can_run(const char *name, unsigned features)
{
    const kernel *k = find(name);
    return k == NULL || (k->features & ~features) == 0;
}

const char *choice_needs(const char *name)
{
    const kernel *k = find(name);
    return k != NULL ? k->needs : "";
}

static const choice_trial *trial_of(const char *name, const choice_trial *trials, int count)
{
    for (int i = 0; i < count; i++) {
        if (strcasecmp(trials[i].asked, name) == 0) {
            return &trials[i];
        }
    }
    return NULL;
}

/* The library has them, and they run. */
static bool succeeded(const choice_trial *trial)
{
    return strcasecmp(trial->asked, trial->took) == 0 && trial->gflops > 0.0;
}

static bool well_ahead(const choice_trial *trial, const choice_facts *facts)
{
    return succeeded(trial) && trial->gflops >= WELL_AHEAD * facts->gflops;
}

/* The first kernels of the processor's list that are of a higher class than those in use, and not
 * known to be missing or hardly faster: AVX-512 that is slow does not rule out AVX2. */
static const char *wanted(const choice_facts *facts, const choice_trial *trials, int count)
{
    const kernel *now        = find(facts->in_use);
    const char *const *names = facts->amd ? best_of_amd : best_of_others;
    for (; facts->selectable && now != NULL && *names != NULL; names++) {
        const choice_trial *trial = trial_of(*names, trials, count);
        if (find(*names)->class > now->class && choice_can_run(*names, facts->features) &&
            (trial == NULL || well_ahead(trial, facts))) {
            return *names;
        }
    }
    return NULL;
}

const char *choice_next(const choice_facts *facts, const choice_trial *trials, int count)
{
    const char *name = wanted(facts, trials, count);
    return name != NULL && trial_of(name, trials, count) == NULL ? name : NULL;
}

choice choice_make(const choice_facts *facts, const choice_trial *trials, int count)
{
    const char *name          = wanted(facts, trials, count);
    const choice_trial *trial = name != NULL ? trial_of(name, trials, count) : NULL;
    if (trial == NULL) {
        return (choice){.better = NULL};
    }
    bool pinned = facts->setting != NULL && *facts->setting != '\0';
    return (choice){.better = name, .gflops = trial->gflops, .take = !pinned};
}

int choice_list(unsigned features, bool amd, const char *names[CHOICE_TRIALS])
{
    const char *const *lists[] = {amd ? best_of_amd : best_of_others, others};
    int count                  = 0;
    for (int l = 0; l < 2; l++) {
        for (const char *const *name = lists[l]; *name != NULL && count < CHOICE_TRIALS; name++) {
            if (choice_can_run(*name, features)) {
                names[count++] = *name;
            }
        }
    }
    return count;
}
