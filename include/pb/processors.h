// SPDX-License-Identifier: Apache-2.0
/* The processors that this process may use, and the remedy where they are fewer than the threads: a
 * launcher that binds every process to a core leaves its threads one processor to share. */
#pragma once

#include "pb/status.h"
#include "pb/string.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct pb_processors {
    int64_t online;  /* of the machine */
    int64_t allowed; /* by the affinity mask */
    int64_t granted; /* by the limits of control groups, rounded up; `allowed` without any */
    int64_t mask;    /* identifies the mask: processes with the same mask share their processors */
} pb_processors;

typedef enum pb_launcher {
    PB_LAUNCHER_NONE,
    PB_LAUNCHER_OPEN_MPI,
    PB_LAUNCHER_SRUN,
    PB_LAUNCHER_OTHER, /* another mpiexec */
} pb_launcher;

void pb_processors_get(pb_processors *out);
pb_launcher pb_processors_launcher(void);

/* How many threads can run at the same time. */
int64_t pb_processors_usable(const pb_processors *p);

/* Why there are fewer than `threads`, and the launch line that gives more: "mpirun has bound … 1 of
 * 16 processors; start it with mpirun --bind-to none …". */
pb_status pb_processors_advise(const pb_processors *p, pb_launcher launcher, int threads,
                               pb_string *out) PB_MUST_USE;

/* The launch line that gives each process of a node `threads` processors of its own: "start them
 * with mpirun --map-by …". */
pb_status pb_processors_advise_spread(pb_launcher launcher, int threads,
                                      pb_string *out) PB_MUST_USE;

/* Logs the number of threads where it was left open (`open`: --threads 0), and a warning where
 * there are more threads than processors for this process. For commands of one process. */
void pb_processors_report(int threads, bool open);

/* Logs only the number of threads. */
void pb_processors_report_open(int threads);

/* The limit that control groups put on the processors' time, in processors; 0: none. `groups` is
 * /proc/self/cgroup, `mount` /sys/fs/cgroup. */
double pb_processors_limit(const char *groups, const char *mount);
