// SPDX-License-Identifier: Apache-2.0
/* Processors by the affinity mask and by control groups, version 1 and 2; and how launchers limit
 * their number. */
#include "pb/processors.h"

#include "pb/log.h"

#include <omp.h>

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One line of a file; "" without it. */
static void read_line(const char *folder, const char *name, char *line, size_t size)
{
    char path[PATH_MAX];
    line[0] = '\0';
    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) >= sizeof path) {
        return;
    }
    FILE *file = fopen(path, "r");
    if (file != NULL && fgets(line, (int)size, file) == NULL) {
        line[0] = '\0';
    }
    if (file != NULL) {
        fclose(file);
    }
}

/* The limit of one group: "QUOTA PERIOD", or two files of one number; 0: none. */
static double group_limit(const char *folder)
{
    char line[64];
    double quota  = 0.0;
    double period = 0.0;
    read_line(folder, "cpu.max", line, sizeof line);
    if (sscanf(line, "%lf %lf", &quota, &period) != 2) { /* "max" is not a number */
        read_line(folder, "cpu.cfs_quota_us", line, sizeof line);
        quota = strtod(line, NULL);
        read_line(folder, "cpu.cfs_period_us", line, sizeof line);
        period = strtod(line, NULL);
    }
    return quota > 0.0 && period > 0.0 ? quota / period : 0.0;
}

/* The smallest limit of a group and of those above it, down to `mount` itself: a container may see
 * its own group there. */
static double path_limit(const char *mount, const char *path)
{
    char folder[PATH_MAX];
    double least = 0.0;
    if ((size_t)snprintf(folder, sizeof folder, "%s%s", mount, path) >= sizeof folder) {
        return 0.0;
    }
    for (;;) {
        double limit = group_limit(folder);
        least        = limit > 0.0 && (least == 0.0 || limit < least) ? limit : least;
        if (strlen(folder) <= strlen(mount)) {
            return least;
        }
        *strrchr(folder, '/') = '\0';
    }
}

/* "0::/path" of version 2 or "4:cpu,cpuacct:/path" of version 1. */
static double line_limit(char *line, const char *mount)
{
    char folder[PATH_MAX];
    char *names = strchr(line, ':');
    char *path  = names != NULL ? strchr(names + 1, ':') : NULL;
    if (path == NULL) {
        return 0.0;
    }
    *path++                   = '\0';
    path[strcspn(path, "\n")] = '\0';
    names++;
    if (*names == '\0') {
        return path_limit(mount, strcmp(path, "/") == 0 ? "" : path);
    }
    bool time = false;
    for (const char *at = names; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        time = time || (strncmp(at, "cpu", 3) == 0 && (at[3] == ',' || at[3] == '\0'));
    }
    if (!time || (size_t)snprintf(folder, sizeof folder, "%s/cpu", mount) >= sizeof folder) {
        return 0.0;
    }
    return path_limit(folder, strcmp(path, "/") == 0 ? "" : path);
}

double pb_processors_limit(const char *groups, const char *mount)
{
    char line[PATH_MAX + 256];
    double least = 0.0;
    FILE *file   = fopen(groups, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        double limit = line_limit(line, mount);
        least        = limit > 0.0 && (least == 0.0 || limit < least) ? limit : least;
    }
    if (file != NULL) {
        fclose(file);
    }
    return least;
}

void pb_processors_get(pb_processors *out)
{
    cpu_set_t set;
    double limit  = pb_processors_limit("/proc/self/cgroup", "/sys/fs/cgroup");
    long online   = sysconf(_SC_NPROCESSORS_ONLN);
    out->allowed  = omp_get_num_procs(); /* as it was before OMP_PROC_BIND placed the threads */
    out->online   = online > out->allowed ? online : out->allowed;
    out->granted  = limit > 0.0 ? (int64_t)ceil(limit - 1e-6) : out->allowed;
    uint64_t hash = 14695981039346656037u;
    CPU_ZERO(&set);
    (void)sched_getaffinity(0, sizeof set, &set); /* more than it holds: all look alike */
    for (size_t i = 0; i < sizeof set; i++) {
        hash = (hash ^ ((const unsigned char *)&set)[i]) * 1099511628211u;
    }
    out->mask = (int64_t)(hash >> 1);
}

/* mpirun's daemons on other nodes may have been started by srun, and their processes know its
 * variables too: mpirun's own come first. Open MPI sets some of its variables under srun as well.
 */
pb_launcher pb_processors_launcher(void)
{
    if (getenv("OMPI_COMMAND") != NULL || getenv("PRTE_LAUNCHED") != NULL) {
        return PB_LAUNCHER_OPEN_MPI;
    }
    if (getenv("SLURM_PROCID") != NULL && getenv("SLURM_STEP_ID") != NULL) {
        return PB_LAUNCHER_SRUN;
    }
    if (getenv("OMPI_COMM_WORLD_SIZE") != NULL) {
        return PB_LAUNCHER_OPEN_MPI;
    }
    return getenv("PMI_RANK") != NULL || getenv("PMIX_RANK") != NULL ? PB_LAUNCHER_OTHER
                                                                     : PB_LAUNCHER_NONE;
}

int64_t pb_processors_usable(const pb_processors *p)
{
    return p->granted < p->allowed ? p->granted : p->allowed;
}

static const char *plural(int64_t n)
{
    return n == 1 ? "" : "s";
}

/* The mask allows less than there is. */
static pb_status advise_mask(const pb_processors *p, pb_launcher launcher, int threads,
                             pb_string *out)
{
    switch (launcher) {
    case PB_LAUNCHER_OPEN_MPI:
        return pb_string_printf(
            out,
            "mpirun has bound a process to %" PRId64 " of %" PRId64
            " processors, as it does by default; start it with mpirun --bind-to "
            "none, or with mpirun --map-by slot:PE=%d --bind-to core",
            p->allowed, p->online, threads);
    case PB_LAUNCHER_SRUN:
        return pb_string_printf(out,
                                "srun gives a process %" PRId64 " of %" PRId64
                                " processors; start it with srun --cpus-per-task=%d",
                                p->allowed, p->online, threads);
    case PB_LAUNCHER_OTHER:
        return pb_string_printf(out,
                                "the launcher has bound a process to %" PRId64 " of %" PRId64
                                " processors; start it with mpiexec -bind-to none, or give every "
                                "process %d",
                                p->allowed, p->online, threads);
    default:
        return pb_string_printf(out,
                                "the affinity mask (taskset, a container, a batch system) allows "
                                "%" PRId64 " of %" PRId64 " processors; allow %d, or use --threads "
                                "%" PRId64,
                                p->allowed, p->online, threads, p->allowed);
    }
}

pb_status pb_processors_advise(const pb_processors *p, pb_launcher launcher, int threads,
                               pb_string *out)
{
    if (p->allowed < threads && p->allowed < p->online) {
        return advise_mask(p, launcher, threads, out);
    }
    if (p->granted < p->allowed) {
        return pb_string_printf(out,
                                "the control group (a container's or a job's limit of processor "
                                "time) grants the time of %" PRId64
                                " processor%s; raise the limit, or use "
                                "--threads %" PRId64,
                                p->granted, plural(p->granted), p->granted);
    }
    return pb_string_printf(out, "this machine has %" PRId64 " processor%s; use --threads %" PRId64,
                            p->online, plural(p->online), p->online);
}

pb_status pb_processors_advise_spread(pb_launcher launcher, int threads, pb_string *out)
{
    switch (launcher) {
    case PB_LAUNCHER_OPEN_MPI:
        return pb_string_printf(
            out, "start them with mpirun --map-by slot:PE=%d --bind-to core, or --bind-to none",
            threads);
    case PB_LAUNCHER_SRUN:
        return pb_string_printf(out, "start them with srun --cpus-per-task=%d --cpu-bind=cores",
                                threads);
    case PB_LAUNCHER_OTHER:
        return pb_string_printf(out, "start them with mpiexec -bind-to core:%d", threads);
    default:
        return pb_string_puts(out, "the affinity mask (taskset, a container, a batch system) is "
                                   "the same for all: allow each its own");
    }
}

void pb_processors_report_open(int threads)
{
    const char *set = getenv("OMP_NUM_THREADS");
    pb_log0_info("--threads 0: %d thread%s per process, %s", threads, plural(threads),
                 set != NULL && *set != '\0' ? "as OMP_NUM_THREADS says"
                                             : "one for each processor that it may use");
}

void pb_processors_report(int threads, bool open)
{
    pb_processors p;
    pb_string advice = {0};
    pb_processors_get(&p);
    if (open) {
        pb_processors_report_open(threads);
    }
    if (threads <= pb_processors_usable(&p)) {
        return;
    }
    pb_ignore(pb_processors_advise(&p, pb_processors_launcher(), threads, &advice),
              "it only warns");
    pb_log0_warn("%d threads share %" PRId64 " processor%s and wait for each other: %s", threads,
                 pb_processors_usable(&p), plural(pb_processors_usable(&p)),
                 advice.data != NULL ? advice.data : "");
    pb_string_clear(&advice);
}
