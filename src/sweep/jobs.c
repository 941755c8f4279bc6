// SPDX-License-Identifier: Apache-2.0
#include "jobs.h"

#include "pb/clock.h"
#include "pb/file.h"
#include "pb/json.h"
#include "pb/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FOLDER     "jobs"
#define FILE_BYTES ((size_t)1 << 24)

enum { HOST_BYTES = 128, MACHINE_BYTES = 160 };

/* Between two heartbeats, at most; a verdict counts for a second. */
#define BEAT_SECONDS    30.0
#define VERDICT_SECONDS 0.05

/* What is known of another job. */
typedef struct seen {
    char name[JOBS_NAME];
    jobs_state state;
    double looked;          /* clock seconds of the verdict; 0: none yet */
    double beat, unchanged; /* its heartbeat, and the clock seconds when that was first seen */
    bool beats;             /* it has changed */
} seen;

struct jobs {
    char *folder, *path;
    char name[JOBS_NAME];
    char machine[MACHINE_BYTES];
    double seconds;
    seen *items;
    int64_t count;
    bool cleared; /* it was the only job, when the folder had this time */
    struct timespec last;
    /* the heartbeat */
    bool started;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool ends; /* under the lock */
    atomic_bool evicted;
};

/* ---------------------------------------------------------------- this machine */

/* What process numbers belong to: one start of one system, and a namespace there. */
static void name_machine(char out[MACHINE_BYTES])
{
    pb_string boot  = {0};
    char space[64]  = "";
    ssize_t written = readlink("/proc/self/ns/pid", space, sizeof space - 1);
    out[0]          = '\0';
    if (written > 0 && pb_file_read("/proc/sys/kernel/random/boot_id", 0, &boot) == PB_OK) {
        (void)snprintf(out, MACHINE_BYTES, "%.*s %s", (int)strcspn(boot.data, "\n"), boot.data,
                       space);
    }
    pb_error_clear();
    pb_string_clear(&boot);
}

/* When the process began, in ticks since the system did; 0: there is none, -1: unknown. */
static int64_t process_began(int64_t process)
{
    enum { FIELDS_BETWEEN = 19 }; /* from its state, the first after the name, to the start */
    char path[64];
    pb_string text = {0};
    char state     = '\0';
    int64_t began  = -1;
    (void)snprintf(path, sizeof path, "/proc/%" PRId64 "/stat", process);
    if (pb_file_read(path, 0, &text) == PB_OK && text.length > 0) {
        const char *at = strrchr(text.data, ')'); /* the name before it may be anything */
        state          = at != NULL && at[1] != '\0' ? at[2] : '\0';
        for (int i = 0; i <= FIELDS_BETWEEN && at != NULL; i++) {
            at = strchr(at + 1, ' ');
        }
        began = at != NULL ? strtoll(at, NULL, 10) : -1;
    } else if (kill((pid_t)process, 0) != 0 && errno == ESRCH) {
        began = 0;
    }
    pb_error_clear();
    pb_string_clear(&text);
    return state == 'Z' || state == 'X' ? 0 : began;
}

/* The batch system's name of this job. */
static pb_status name_batch(pb_string *out)
{
    static const char *const names[][3] = {
        {"Slurm", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"},
        {"Slurm", "SLURM_JOB_ID", NULL},
        {"PBS", "PBS_JOBID", NULL},
        {"LSF", "LSB_JOBID", "LSB_JOBINDEX"},
        {"Flux", "FLUX_JOB_ID", NULL},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *job  = getenv(names[i][1]);
        const char *task = names[i][2] != NULL ? getenv(names[i][2]) : NULL;
        bool tasks       = task != NULL && strcmp(task, "0") != 0;
        if (job != NULL && *job != '\0') {
            return pb_string_printf(out, "%s job %s%s%s", names[i][0], job, tasks ? "_" : "",
                                    tasks ? task : "");
        }
    }
    return pb_string_puts(out, "");
}

/* ---------------------------------------------------------------- the heartbeat */

/* NULL: the file system's own time. */
static bool touch(const char *path)
{
    return utimensat(AT_FDCWD, path, NULL, 0) == 0;
}

static double modified(const struct stat *about)
{
    return (double)about->st_mtim.tv_sec + 1e-9 * (double)about->st_mtim.tv_nsec;
}

static void *beat(void *context)
{
    jobs *j      = context;
    double pause = fmin(BEAT_SECONDS, j->seconds / 5);
    struct timespec at;
    (void)pthread_mutex_lock(&j->lock);
    while (!j->ends) {
        (void)clock_gettime(CLOCK_MONOTONIC, &at);
        double next = (double)at.tv_nsec * 1e-9 + pause;
        at.tv_sec += (time_t)next;
        at.tv_nsec = (long)((next - floor(next)) * 1e9);
        if (pthread_cond_timedwait(&j->wake, &j->lock, &at) == ETIMEDOUT && !touch(j->path) &&
            errno == ENOENT) {
            atomic_store(&j->evicted, true);
        }
    }
    (void)pthread_mutex_unlock(&j->lock);
    return NULL;
}

/* Signals are for the first thread. */
static pb_status start_beat(jobs *j)
{
    pthread_condattr_t kind;
    sigset_t all, before;
    (void)pthread_condattr_init(&kind);
    (void)pthread_condattr_setclock(&kind, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&j->lock, NULL);
    (void)pthread_cond_init(&j->wake, &kind);
    (void)pthread_condattr_destroy(&kind);
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int reason = pthread_create(&j->thread, NULL, beat, j);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    j->started = reason == 0;
    return j->started ? PB_OK
                      : PB_FAIL(PB_ERR_MEMORY, "cannot start the thread of the heartbeat: %s",
                                strerror(reason));
}

static void stop_beat(jobs *j)
{
    if (j->started) {
        (void)pthread_mutex_lock(&j->lock);
        j->ends = true;
        (void)pthread_cond_signal(&j->wake);
        (void)pthread_mutex_unlock(&j->lock);
        (void)pthread_join(j->thread, NULL);
        (void)pthread_cond_destroy(&j->wake);
        (void)pthread_mutex_destroy(&j->lock);
    }
}

bool jobs_is_evicted(const jobs *j)
{
    return atomic_load(&j->evicted);
}

/* ---------------------------------------------------------------- the file */

static pb_status compose(const jobs *j, int64_t ranks, const char *cell, pb_string *out)
{
    char host[HOST_BYTES] = "";
    pb_string batch       = {0};
    pb_json json          = pb_json_begin(out, PB_JSON_LINES, 1);
    pb_status status      = name_batch(&batch);
    (void)gethostname(host, sizeof host - 1);
    pb_json_put_text(&json, "job", j->name);
    pb_json_put_text(&json, "host", host);
    pb_json_put_text(&json, "machine", j->machine);
    pb_json_put_int(&json, "process", getpid());
    pb_json_put_int(&json, "process_began", process_began(getpid()));
    pb_json_put_text(&json, "batch", batch.data);
    pb_json_put_int(&json, "ranks", ranks);
    pb_json_put_number(&json, "started", pb_clock_unix(), PB_JSON_EXACT);
    pb_json_put_number(&json, "claim_seconds", j->seconds, PB_JSON_EXACT);
    pb_json_put_text(&json, "cell", cell);
    pb_string_clear(&batch);
    pb_status made = pb_json_finish(&json, "\n");
    return status != PB_OK ? status : made;
}

static const char *text_of(const json_t *root, const char *name)
{
    const char *text = json_string_value(json_object_get(root, name));
    return text != NULL ? text : "";
}

/* *root is NULL without a file; the caller releases it. */
static pb_status read_file(const char *path, json_t **root, double *heard)
{
    struct stat about;
    *root            = NULL;
    pb_status status = pb_json_file_read(path, FILE_BYTES, root);
    if (stat(path, &about) != 0) { /* after the file was opened, when NFS has asked the server */
        pb_error_clear();
        json_decref(*root);
        *root = NULL;
        return PB_OK;
    }
    *heard = modified(&about);
    return status;
}

/* Whether the job's process has ended, or still runs; false when this machine cannot know. */
static bool knows_process(const json_t *root, const char *machine, bool *runs)
{
    int64_t process = json_integer_value(json_object_get(root, "process"));
    int64_t began   = json_integer_value(json_object_get(root, "process_began"));
    if (*machine == '\0' || strcmp(text_of(root, "machine"), machine) != 0 || process <= 0) {
        return false;
    }
    int64_t now = process_began(process);
    *runs       = now != 0 && (now < 0 || began <= 0 || now == began);
    return true;
}

static pb_status file_of(const jobs *j, const char *name, char **out)
{
    pb_string path   = {0};
    pb_status status = pb_string_printf(&path, "%s/%s.json", j->folder, name);
    *out             = path.data;
    return status;
}

/* ---------------------------------------------------------------- joining */

static pb_status join(jobs *j, const char *directory, int64_t ranks, const char *cell)
{
    char host[HOST_BYTES] = "";
    pb_string text        = {0};
    pb_status status      = PB_OK;
    (void)gethostname(host, sizeof host - 1);
    (void)snprintf(j->name, sizeof j->name, "%s.%ld.%.0f", host, (long)getpid(), pb_clock_unix());
    name_machine(j->machine);
    PB_TRY(pb_path_join(directory, FOLDER, &j->folder));
    PB_TRY(pb_path_make_directories(j->folder));
    PB_TRY(file_of(j, j->name, &j->path));
    PB_TRY_GOTO(status, compose(j, ranks, cell, &text), out);
    PB_TRY_GOTO(status, pb_file_write_atomic(j->path, text.data, text.length), out);
    PB_TRY_GOTO(status, start_beat(j), out);
out:
    pb_string_clear(&text);
    return status;
}

pb_status jobs_join(const char *directory, int64_t ranks, double seconds, const char *cell,
                    jobs **out)
{
    jobs *j          = NULL;
    pb_status status = PB_ALLOC(j, 1);
    PB_TRY_GOTO(status, status, fail);
    j->seconds = seconds;
    PB_TRY_GOTO(status, join(j, directory, ranks, cell), fail);
    *out = j;
    return PB_OK;
fail:
    jobs_leave(j);
    return status;
}

void jobs_leave(jobs *j)
{
    if (j == NULL) {
        return;
    }
    stop_beat(j);
    if (j->path != NULL) {
        (void)unlink(j->path);
    }
    pb_memory_free(j->items);
    pb_memory_free(j->folder);
    pb_memory_free(j->path);
    pb_memory_free(j);
}

const char *jobs_name(const jobs *j)
{
    return j->name;
}

/* ---------------------------------------------------------------- others */

/* The time of the file system. */
static double file_time(jobs *j)
{
    struct stat about;
    return touch(j->path) && stat(j->path, &about) == 0 ? modified(&about) : pb_clock_unix();
}

bool jobs_is_old(jobs *j, const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && file_time(j) - modified(&about) > j->seconds;
}

static jobs_state judge(jobs *j, const char *path, seen *s)
{
    json_t *root     = NULL;
    double heard     = 0;
    bool runs        = false;
    double now       = pb_clock_seconds();
    pb_status status = read_file(path, &root, &heard);
    if (status == PB_OK && root == NULL) {
        return JOBS_GONE;
    }
    pb_error_clear(); /* a file that cannot be read has a heartbeat all the same */
    bool known = root != NULL && knows_process(root, j->machine, &runs);
    json_decref(root);
    if (known) {
        return runs ? JOBS_LIVES : JOBS_GONE;
    }
    if (s->looked <= 0 || heard != s->beat) {
        s->beats     = s->looked > 0;
        s->beat      = heard;
        s->unchanged = now;
    }
    if (file_time(j) - heard > j->seconds || now - s->unchanged > j->seconds) {
        return JOBS_GONE;
    }
    return s->beats ? JOBS_LIVES : JOBS_SILENT;
}

static seen *find(jobs *j, const char *name)
{
    for (int64_t i = 0; i < j->count; i++) {
        if (strcmp(j->items[i].name, name) == 0) {
            return &j->items[i];
        }
    }
    if (PB_GROW(j->items, j->count + 1) != PB_OK) {
        return NULL;
    }
    seen *s = &j->items[j->count++];
    *s      = (seen){.state = JOBS_SILENT};
    (void)snprintf(s->name, sizeof s->name, "%s", name);
    return s;
}

jobs_state jobs_look(jobs *j, const char *name)
{
    seen *s    = find(j, name);
    char *path = NULL;
    double now = pb_clock_seconds();
    if (s == NULL || file_of(j, name, &path) != PB_OK) {
        pb_error_clear();
        return JOBS_SILENT;
    }
    bool fresh = s->looked > 0 && now - s->looked < fmin(VERDICT_SECONDS, j->seconds / 10);
    if (s->state != JOBS_GONE && !fresh) {
        s->state  = judge(j, path, s);
        s->looked = now;
    }
    pb_memory_free(path);
    return s->state;
}

pb_status jobs_others(jobs *j, char ***names, size_t *count)
{
    size_t kept = 0;
    PB_TRY(pb_path_list(j->folder, ".json", names, count));
    for (size_t i = 0; i < *count; i++) {
        char *name                           = (*names)[i];
        name[strlen(name) - strlen(".json")] = '\0';
        if (strcmp(name, j->name) != 0 && jobs_look(j, name) != JOBS_GONE) {
            (*names)[i]      = (*names)[kept];
            (*names)[kept++] = name;
        }
    }
    for (size_t i = kept; i < *count; i++) {
        pb_memory_free((*names)[i]);
    }
    *count = kept;
    return PB_OK;
}

static pb_status remove_other(void *context, const char *path, const char *name)
{
    const jobs *j = context;
    if (strcmp(path, j->path) != 0 &&
        (pb_string_ends(name, ".json") || pb_file_is_temporary(name))) {
        (void)unlink(path);
    }
    return PB_OK;
}

/* When a file was last added or removed; opening the folder makes NFS ask the server. */
static bool folder_time(const jobs *j, struct timespec *out)
{
    struct stat about;
    int fd     = open(j->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool known = fd >= 0 && fstat(fd, &about) == 0;
    if (known) {
        *out = about.st_mtim;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return known;
}

pb_status jobs_clear(jobs *j)
{
    PB_TRY(pb_path_each(j->folder, NULL, remove_other, j));
    j->cleared = folder_time(j, &j->last);
    return PB_OK;
}

bool jobs_are_alone(const jobs *j)
{
    struct timespec now;
    char **names = NULL;
    size_t count = 0;
    bool same    = j->cleared && folder_time(j, &now) && now.tv_sec == j->last.tv_sec &&
                now.tv_nsec == j->last.tv_nsec;
    /* One that came within the same tick of the clock is still there. */
    if (same && pb_path_list(j->folder, ".json", &names, &count) != PB_OK) {
        pb_error_clear();
        return false;
    }
    pb_memory_free_texts(names, count);
    return same && count == 1;
}

static pb_status read_other(jobs *j, const char *name, json_t **root)
{
    char *path   = NULL;
    double heard = 0;
    PB_TRY(file_of(j, name, &path));
    pb_status status = read_file(path, root, &heard);
    pb_memory_free(path);
    if (status != PB_ERR_MEMORY) {
        pb_error_clear();
        status = PB_OK;
    }
    return status;
}

pb_status jobs_describe(jobs *j, const char *name, pb_string *out)
{
    json_t *root = NULL;
    PB_TRY(read_other(j, name, &root));
    const char *batch = text_of(root, "batch");
    pb_status status  = pb_string_printf(
         out, "job %s (host %s, process %" PRId64 "%s%s)", name, text_of(root, "host"),
         (int64_t)json_integer_value(json_object_get(root, "process")), *batch != '\0' ? ", " : "",
         batch);
    json_decref(root);
    return status;
}

pb_status jobs_cell(jobs *j, const char *name, pb_string *out)
{
    json_t *root = NULL;
    PB_TRY(read_other(j, name, &root));
    pb_status status = pb_string_puts(out, text_of(root, "cell"));
    json_decref(root);
    return status;
}

/* ---------------------------------------------------------------- for status */

typedef struct reader {
    pb_job_list *list;
    char machine[MACHINE_BYTES];
} reader;

static pb_status add(void *context, const char *path, const char *name)
{
    reader *r        = context;
    json_t *root     = NULL;
    double heard     = 0;
    bool runs        = false;
    pb_status status = read_file(path, &root, &heard);
    (void)name;
    if (status != PB_OK || root == NULL) {
        pb_error_clear();
        return status == PB_ERR_MEMORY ? status : PB_OK;
    }
    double silence = json_number_value(json_object_get(root, "claim_seconds"));
    bool known     = knows_process(root, r->machine, &runs);
    bool lives     = known ? runs : pb_clock_unix() - heard < silence;
    status         = lives ? PB_GROW(r->list->items, r->list->count + 1) : PB_OK;
    if (!lives || status != PB_OK) {
        json_decref(root);
        return status;
    }
    r->list->items[r->list->count++] =
        (pb_job){.owner   = root,
                 .name    = text_of(root, "job"),
                 .host    = text_of(root, "host"),
                 .batch   = text_of(root, "batch"),
                 .process = json_integer_value(json_object_get(root, "process")),
                 .ranks   = json_integer_value(json_object_get(root, "ranks")),
                 .started = json_number_value(json_object_get(root, "started")),
                 .heard   = heard};
    return PB_OK;
}

pb_status jobs_read(const char *directory, pb_job_list *out)
{
    char *folder     = NULL;
    pb_job_list list = {0};
    reader r         = {.list = &list};
    PB_TRY(pb_path_join(directory, FOLDER, &folder));
    name_machine(r.machine);
    pb_status status =
        pb_path_is_directory(folder) ? pb_path_each(folder, ".json", add, &r) : PB_OK;
    pb_memory_free(folder);
    if (status != PB_OK) {
        jobs_list_clear(&list);
        return status;
    }
    *out = list;
    return PB_OK;
}

void jobs_list_clear(pb_job_list *list)
{
    for (int64_t i = 0; i < list->count; i++) {
        json_decref(list->items[i].owner);
    }
    pb_memory_free(list->items);
    *list = (pb_job_list){0};
}
