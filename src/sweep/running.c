// SPDX-License-Identifier: Apache-2.0
/* The files that show what a run is doing: hints for readers, on which nothing else depends. */
#include "running.h"

#include "pb/clock.h"
#include "pb/json.h"
#include "pb/log.h"
#include "pb/memory.h"

#include <errno.h>
#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOLDER     "running"
#define FILE_BYTES ((size_t)1 << 20)

enum { HOST_BYTES = 256 };

static pb_status file_path(const char *directory, const char *job, int64_t rank, char **out)
{
    pb_string path = {0};

    PB_TRY(pb_string_printf(&path, "%s/" FOLDER "/%s.%" PRId64 ".json", directory, job, rank));
    *out = path.data;
    return PB_OK;
}

/* "<job>.7.json" or a temporary of it, the files that this program writes; earlier versions wrote
 * "7.json". The folder may be a link to anywhere, and other files are not ours. */
static bool is_ours(const char *name)
{
    const char *rest  = strstr(name, ".json");
    const char *digit = rest;

    while (digit != NULL && digit > name && isdigit((unsigned char)digit[-1])) {
        digit--;
    }
    return rest != NULL && digit < rest && (digit == name || digit[-1] == '.') &&
           (strcmp(rest, ".json") == 0 ||
            (strncmp(rest, ".json.", 6) == 0 && pb_file_is_temporary(name)));
}

static pb_status remove_ours(void *context, const char *path, const char *name)
{
    (void)context;
    return !is_ours(name) || unlink(path) == 0
               ? PB_OK
               : PB_FAIL(PB_ERR_IO, "cannot remove %s: %s", path, strerror(errno));
}

pb_status running_clear_folder(const char *directory)
{
    char *folder = NULL;
    pb_status status;

    PB_TRY(pb_path_join(directory, FOLDER, &folder));
    PB_TRY_GOTO(status, pb_path_make_directories(folder), out);
    PB_TRY_GOTO(status, pb_path_each(folder, NULL, remove_ours, NULL), out);
out:
    pb_memory_free(folder);
    return status;
}

static pb_status compose(const pb_running *r, pb_string *out)
{
    pb_json json = pb_json_begin(out, PB_JSON_INLINE, 0);

    pb_json_put_text(&json, "job", r->job);
    pb_json_put_int(&json, "rank", r->rank);
    pb_json_put_int(&json, "process", r->process);
    pb_json_put_text(&json, "host", r->host);
    pb_json_put_text(&json, "model", r->model);
    pb_json_put_text(&json, "dataset", r->dataset);
    pb_json_put_text(&json, "method", r->method);
    pb_json_put_int(&json, "seed", r->seed);
    pb_json_put_text(&json, "phase", r->phase);
    pb_json_put_int(&json, "step", r->step);
    pb_json_put_int(&json, "steps", r->steps);
    pb_json_put_number(&json, "loss", r->loss, PB_JSON_EXACT);
    pb_json_put_number(&json, "seconds_left", r->seconds_left, PB_JSON_EXACT);
    pb_json_put_number(&json, "begun", r->begun, PB_JSON_EXACT);
    pb_json_put_number(&json, "written", r->written, PB_JSON_EXACT);
    return pb_json_finish(&json, "\n");
}

pb_status running_write(const char *directory, const pb_running *running)
{
    pb_string text   = {0};
    char *path       = NULL;
    pb_status status = PB_OK;

    PB_TRY_GOTO(status, compose(running, &text), out);
    PB_TRY_GOTO(status, file_path(directory, running->job, running->rank, &path), out);
    PB_TRY_GOTO(status, pb_file_write_atomic(path, text.data, text.length), out);
out:
    pb_memory_free(path);
    pb_string_clear(&text);
    return status;
}

void running_remove(const char *directory, const char *job, int64_t rank)
{
    char *path = NULL;

    if (file_path(directory, job, rank, &path) != PB_OK) {
        pb_error_clear();
        return;
    }
    if (remove(path) != 0 && errno != ENOENT) {
        pb_log_debug("cannot remove %s: %s", path, strerror(errno));
    }
    pb_memory_free(path);
}

static const char *text_of(const json_t *root, const char *name)
{
    const char *text = json_string_value(json_object_get(root, name));
    return text != NULL ? text : "";
}

static int64_t integer_of(const json_t *root, const char *name)
{
    return json_integer_value(json_object_get(root, name));
}

static double number_of(const json_t *root, const char *name)
{
    const json_t *value = json_object_get(root, name);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static pb_status read_one(const char *path, pb_running *out)
{
    json_t *root = NULL;

    PB_TRY(pb_json_file_read(path, FILE_BYTES, &root));
    *out = (pb_running){.owner        = root,
                        .job          = text_of(root, "job"),
                        .host         = text_of(root, "host"),
                        .process      = integer_of(root, "process"),
                        .rank         = integer_of(root, "rank"),
                        .model        = text_of(root, "model"),
                        .dataset      = text_of(root, "dataset"),
                        .method       = text_of(root, "method"),
                        .seed         = integer_of(root, "seed"),
                        .phase        = text_of(root, "phase"),
                        .step         = integer_of(root, "step"),
                        .steps        = integer_of(root, "steps"),
                        .loss         = number_of(root, "loss"),
                        .seconds_left = number_of(root, "seconds_left"),
                        .begun        = number_of(root, "begun"),
                        .written      = number_of(root, "written")};
    return PB_OK;
}

static int compare_ranks(const void *a, const void *b)
{
    const pb_running *x = a, *y = b;
    int jobs = strcmp(x->job, y->job);
    return jobs != 0 ? jobs : (x->rank > y->rank) - (x->rank < y->rank);
}

typedef struct reader {
    const pb_job_list *jobs;
    pb_running_list *list;
} reader;

static bool is_of(const pb_running *r, const pb_job_list *jobs)
{
    for (int64_t i = 0; i < jobs->count; i++) {
        if (strcmp(jobs->items[i].name, r->job) == 0) {
            return true;
        }
    }
    return false;
}

/* A file that is gone or incomplete is skipped. */
static pb_status add(void *context, const char *path, const char *name)
{
    const reader *r  = context;
    pb_running one   = {0};
    pb_status status = read_one(path, &one);
    (void)name;
    if (status == PB_ERR_MEMORY) {
        return PB_FRAME(status);
    }
    if (status != PB_OK) {
        pb_log_debug("%s", pb_error_message());
        pb_error_clear();
        return PB_OK;
    }
    bool counts = is_of(&one, r->jobs);
    status      = counts ? PB_GROW(r->list->items, r->list->count + 1) : PB_OK;
    if (!counts || status != PB_OK) {
        json_decref(one.owner);
        return status;
    }
    r->list->items[r->list->count++] = one;
    return PB_OK;
}

pb_status running_read(const char *directory, const pb_job_list *jobs, pb_running_list *out)
{
    char *folder         = NULL;
    pb_running_list list = {0};
    pb_status status;

    PB_TRY_GOTO(status, pb_path_join(directory, FOLDER, &folder), out);
    if (jobs->count > 0 && pb_path_is_directory(folder)) {
        reader r = {.jobs = jobs, .list = &list};
        PB_TRY_GOTO(status, pb_path_each(folder, ".json", add, &r), out);
    }
    if (list.count > 0) {
        qsort(list.items, (size_t)list.count, sizeof *list.items, compare_ranks);
    }
    *out = list;
    list = (pb_running_list){0};
out:
    running_list_clear(&list);
    pb_memory_free(folder);
    return status;
}

void running_list_clear(pb_running_list *list)
{
    for (int64_t i = 0; i < list->count; i++) {
        json_decref(list->items[i].owner);
    }
    pb_memory_free(list->items);
    *list = (pb_running_list){0};
}

static void fall_silent(running_teller *teller)
{
    teller->silent = true;
    pb_log0_warn("`peftbench status` cannot show what runs here: %s", pb_error_message());
    pb_error_clear();
}

void running_begin(running_teller *teller, bool shared)
{
    if (!shared && running_clear_folder(teller->directory) != PB_OK) {
        fall_silent(teller);
    }
}

void running_tell(running_teller *teller, const pb_grid_state *state)
{
    char host[HOST_BYTES] = "";

    if (teller->silent) {
        return;
    }
    if (state == NULL) {
        running_remove(teller->directory, teller->job, teller->rank);
        return;
    }
    (void)gethostname(host, sizeof host - 1);
    double now         = pb_clock_unix();
    pb_running running = {.job          = teller->job,
                          .host         = host,
                          .process      = getpid(),
                          .rank         = teller->rank,
                          .model        = state->cell->model,
                          .dataset      = state->cell->dataset,
                          .method       = state->cell->method,
                          .seed         = state->cell->seed,
                          .phase        = state->progress->phase,
                          .step         = state->progress->step,
                          .steps        = state->progress->steps,
                          .loss         = state->progress->loss,
                          .seconds_left = state->seconds_left,
                          .begun        = now - (pb_clock_seconds() - state->begun),
                          .written      = now};
    if (running_write(teller->directory, &running) != PB_OK) {
        fall_silent(teller);
    }
}
