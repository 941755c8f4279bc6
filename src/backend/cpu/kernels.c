// SPDX-License-Identifier: Apache-2.0
/* Settling the kernels before MPI starts, and what is known of them from then on. OpenBLAS and the
 * OpenMP library read their variables when they are loaded: a change takes effect in a process that
 * takes the place of this one, with its id, its files and its place in the launcher's job. */
#include "kernels.h"
#include "choice.h"

#include "pb/log.h"
#include "pb/stop.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/auxv.h>
#include <unistd.h>

const char *const pb_kernels_by_names[] = {"library", "program", "user", NULL};

/* What this process found, or the one whose place it took. */
typedef enum stage {
    STAGE_NONE,
    STAGE_CLEARED, /* an empty setting is removed, nothing else was done */
    STAGE_SETTLED,
} stage;

static const char *own_setting(void)
{
    const char *setting = getenv(KERNELS_SETTING);
    return setting != NULL && *setting != '\0' ? setting : NULL;
}

static void write_state(stage reached, const pb_kernels *k)
{
    char text[160];
    snprintf(text, sizeof text, "%ld %d %d %s %.3f %s %.3f", (long)getpid(), (int)reached,
             (int)k->by, *k->name != '\0' ? k->name : "-", k->gflops,
             *k->other != '\0' ? k->other : "-", k->other_gflops);
    (void)setenv(KERNELS_STATE, text, 1);
}

void kernels_remember(const pb_kernels *kernels)
{
    write_state(STAGE_SETTLED, kernels);
}

/* What another process left, perhaps a parent, is ignored. */
static stage read_state(pb_kernels *k)
{
    const char *text = getenv(KERNELS_STATE);
    long pid         = 0;
    int reached      = 0;
    int by           = 0;
    if (text == NULL ||
        sscanf(text, "%ld %d %d %31s %lf %31s %lf", &pid, &reached, &by, k->name, &k->gflops,
               k->other, &k->other_gflops) != 7 ||
        pid != (long)getpid() || by < 0 || by > PB_KERNELS_BY_USER) {
        *k = (pb_kernels){.by = PB_KERNELS_BY_LIBRARY};
        return STAGE_NONE;
    }
    k->by = (pb_kernels_by)by;
    if (strcmp(k->other, "-") == 0) {
        k->other[0] = '\0';
    }
    return (stage)reached;
}

void pb_kernels_get(pb_kernels *out)
{
    if (read_state(out) != STAGE_SETTLED) {
        *out    = (pb_kernels){.by = PB_KERNELS_BY_LIBRARY};
        out->by = own_setting() != NULL && kernels_selectable() ? PB_KERNELS_BY_USER
                                                                : PB_KERNELS_BY_LIBRARY;
    }
    kernels_name(out->name); /* what it is, whatever was asked for */
}

double pb_kernels_best(const pb_kernels *kernels, const char **name)
{
    bool ahead = kernels->gflops > 0.0 && kernels->other_gflops > kernels->gflops;
    *name      = ahead ? kernels->other : kernels->name;
    return ahead ? kernels->other_gflops / kernels->gflops : 1.0;
}

/* A thread that waits for the others of its team spins for some 50 µs, the price of a sleep, and
 * then sleeps. The libraries' own spinning, milliseconds and more, keeps a processor that is shared
 * with other work from the very thread that is waited for. */
static bool wait_politely(void)
{
    static const char *const names[] = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME",
                                        "KMP_LIBRARY"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (getenv(names[i]) != NULL) {
            return false;
        }
    }
    return setenv("GOMP_SPINCOUNT", "1000", 0) == 0 && setenv("KMP_BLOCKTIME", "1", 0) == 0;
}

/* Returns only on failure. */
static void start_again(char *const *argv)
{
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length <= 0 || getauxval(AT_BASE) == 0) {
        return; /* no such link, or it names the dynamic loader, which was called by name */
    }
    path[length] = '\0';
    pb_stop_hold(true);
    (void)execv(path, argv);
    (void)execv("/proc/self/exe", argv); /* the file was replaced meanwhile */
    int reason = errno;
    pb_stop_hold(false);
    errno = reason;
}

/* What the library's choice, or the user's, costs. */
static choice compare(pb_kernels *k)
{
    choice_trial trials[CHOICE_TRIALS];
    choice_facts facts = {.in_use = k->name, .setting = own_setting()};
    int count          = 0;
    const char *next   = NULL;
    facts.features     = kernels_features(&facts.amd);
    facts.selectable   = kernels_selectable();
    while (count < CHOICE_TRIALS && (next = choice_next(&facts, trials, count)) != NULL) {
        pb_kernels_rate rate = {.threads = 0};
        facts.gflops         = count == 0 ? kernels_rate() : facts.gflops;
        bool measured        = kernels_try(next, 0, &rate);
        trials[count] = (choice_trial){.asked = next, .gflops = measured ? rate.gflops : 0.0};
        snprintf(trials[count].took, sizeof trials[count].took, "%s", rate.name);
        count++;
    }
    k->gflops = facts.gflops;
    return choice_make(&facts, trials, count);
}

/* True when the program takes other kernels: *k is then what the process that continues will
 * have. */
static bool settle(pb_kernels *k)
{
    bool amd = false;
    kernels_name(k->name);
    k->by =
        own_setting() != NULL && kernels_selectable() ? PB_KERNELS_BY_USER : PB_KERNELS_BY_LIBRARY;
    if (!choice_can_run(k->name, kernels_features(&amd))) {
        return false; /* the backend refuses them */
    }
    choice found = compare(k);
    if (found.better == NULL) {
        return false;
    }
    if (!found.take) {
        snprintf(k->other, sizeof k->other, "%s", found.better);
        k->other_gflops = found.gflops;
        return false;
    }
    memcpy(k->other, k->name, sizeof k->other);
    k->other_gflops = k->gflops;
    k->gflops       = found.gflops;
    k->by           = PB_KERNELS_BY_PROGRAM;
    snprintf(k->name, sizeof k->name, "%s", found.better);
    return setenv(KERNELS_SETTING, found.better, 1) == 0;
}

void pb_kernels_start(char *const *argv, bool threads)
{
    pb_kernels k   = {.by = PB_KERNELS_BY_LIBRARY};
    stage reached  = read_state(&k);
    bool waiting   = reached == STAGE_NONE && threads && wait_politely();
    const char *is = getenv(KERNELS_SETTING);
    if (reached == STAGE_SETTLED) {
        return;
    }
    if (reached == STAGE_NONE && is != NULL && *is == '\0' && kernels_selectable()) {
        (void)unsetenv(KERNELS_SETTING); /* OpenBLAS takes it for a name, and has no such kernels */
        write_state(STAGE_CLEARED, &k);
        start_again(argv);
    }
    k              = (pb_kernels){.by = PB_KERNELS_BY_LIBRARY};
    bool takes     = settle(&k);
    pb_kernels own = k;
    kernels_remember(&k);
    if (takes || waiting) {
        start_again(argv);
        pb_log_warn("the program could not start itself again (%s): threads wait, and kernels are "
                    "chosen, as the libraries do by default",
                    strerror(errno));
    }
    if (takes) { /* the better ones are those that are not in use */
        (void)unsetenv(KERNELS_SETTING);
        k = (pb_kernels){.gflops = own.other_gflops, .other_gflops = own.gflops};
        memcpy(k.other, own.name, sizeof k.other);
        memcpy(k.name, own.other, sizeof k.name);
        kernels_remember(&k);
    }
}

void pb_kernels_measure_all(int threads)
{
    const char *names[CHOICE_TRIALS];
    char text[PB_KERNELS_RATES * 80];
    pb_kernels_rate rate = {.name = ""};
    bool amd             = false;
    unsigned features    = kernels_features(&amd);
    int count            = kernels_selectable() ? choice_list(features, amd, names) : 0;
    kernels_name(rate.name);
    if (!choice_can_run(rate.name, features)) {
        return; /* the backend refuses them */
    }
    threads             = threads > 0 ? threads : kernels_all_threads();
    rate.threads        = threads;
    rate.gflops         = kernels_rate();
    rate.gflops_threads = threads > 1 ? kernels_rate_together(threads) : rate.gflops;
    int used = snprintf(text, sizeof text, "%ld %d %s %.3f %.3f", (long)getpid(), threads,
                        *rate.name != '\0' ? rate.name : "-", rate.gflops, rate.gflops_threads);
    for (int i = 0, listed = 1; i < count && listed < PB_KERNELS_RATES; i++) {
        pb_kernels_rate other = {.name = ""};
        if (strcasecmp(names[i], rate.name) != 0 && kernels_try(names[i], threads, &other) &&
            strcasecmp(names[i], other.name) == 0) {
            used += snprintf(text + used, sizeof text - (size_t)used, " %s %.3f %.3f", other.name,
                             other.gflops, other.gflops_threads);
            listed++;
        }
    }
    (void)setenv(KERNELS_RATES, text, 1);
}

int pb_kernels_list(pb_kernels_rate rates[PB_KERNELS_RATES])
{
    const char *at = getenv(KERNELS_RATES);
    long pid       = 0;
    int threads    = 0;
    int length     = 0;
    int count      = 0;
    if (at == NULL || sscanf(at, "%ld %d%n", &pid, &threads, &length) != 2 ||
        pid != (long)getpid()) {
        return 0;
    }
    for (at += length; count < PB_KERNELS_RATES; at += length) {
        pb_kernels_rate *r = &rates[count];
        if (sscanf(at, "%31s %lf %lf%n", r->name, &r->gflops, &r->gflops_threads, &length) != 3) {
            break;
        }
        r->threads = threads;
        count++;
    }
    return count;
}
