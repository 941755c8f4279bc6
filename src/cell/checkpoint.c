// SPDX-License-Identifier: Apache-2.0
/* The checkpoint of a cell: all that a later run needs to go on as if this one had never stopped.
 * Every cell has its own file, with the name of its shard; members of a gang can go on together, if
 * they stand at the same step, or alone. A checkpoint that cannot be written is reported once: the
 * cell continues and the one before stays. */
#include "running.h"

#include "pb/clock.h"
#include "pb/log.h"
#include "pb/memory.h"
#include "pb/results.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#define FOLDER "checkpoints"

pb_status pb_cell_env_set_checkpoints(pb_cell_env *env, const char *directory, double seconds)
{
    pb_memory_free(env->checkpoints);
    env->checkpoint_seconds = seconds;
    return PB_TEXT(env->checkpoints, directory);
}

pb_status pb_cell_path(const char *directory, const char *folder, const pb_cell *cell,
                       const char *suffix, char **out)
{
    const pb_cell_name *name = &cell->name;
    pb_record named;
    pb_record_init(&named);
    pb_status status =
        pb_record_set_key(&named, name->model, name->dataset, name->method, name->seed);
    memcpy(named.key.config_hash, cell->hash, sizeof named.key.config_hash);
    if (status == PB_OK) {
        status = pb_cell_file_path(directory, folder, &named.key, suffix, out);
    }
    pb_record_clear(&named);
    return status;
}

static pb_status find_path(const char *directory, const pb_cell *cell, char **out)
{
    return pb_cell_path(directory, FOLDER, cell, ".ckpt", out);
}

/* The hash of the cell covers configuration, model, data, backend and version of results. */
static pb_status identity(const pb_cell *cell, pb_string *out)
{
    return pb_string_printf(out, "%s\n%s", pb_cell_program(), cell->hash);
}

/* ---------------------------------------------------------------- contents */

typedef struct header {
    int64_t stage, step;
} header;

static pb_status archive_count(pb_archive *a, int64_t *count)
{
    return pb_archive_bytes(a, count, sizeof *count);
}

/* The number of rows of `size` bytes in the array at *rows, with room for them. */
static pb_status archive_rows(pb_archive *a, void *rows, int64_t *count, size_t size)
{
    int64_t wanted = *count;
    PB_TRY(archive_count(a, &wanted));
    PB_TRY(pb_memory_grow(rows, (size_t)wanted, size));
    *count = wanted;
    return PB_OK;
}

static pb_status archive_curves(pb_archive *a, pb_record *record)
{
    PB_TRY(archive_rows(a, &record->train, &record->train_count, sizeof *record->train));
    PB_TRY(pb_archive_bytes(a, record->train, (size_t)record->train_count * sizeof *record->train));
    PB_TRY(archive_rows(a, &record->validation, &record->validation_count,
                        sizeof *record->validation));
    return pb_archive_bytes(a, record->validation,
                            (size_t)record->validation_count * sizeof *record->validation);
}

static pb_status archive_memory(pb_archive *a, pb_record *record)
{
    PB_TRY(archive_rows(a, &record->memory, &record->memory_count, sizeof *record->memory));
    for (int64_t i = 0; i < record->memory_count; i++) {
        pb_record_memory *m = &record->memory[i];
        PB_TRY(pb_archive_bytes(a, &m->seconds, sizeof m->seconds));
        PB_TRY(pb_archive_bytes(a, &m->host_bytes, sizeof m->host_bytes));
        PB_TRY(pb_archive_bytes(a, &m->device_bytes, sizeof m->device_bytes));
        PB_TRY(pb_archive_bytes(a, &m->device_peak_bytes, sizeof m->device_peak_bytes));
        PB_TRY(pb_archive_text(a, &m->phase));
    }
    return PB_OK;
}

static pb_status archive_phases(pb_archive *a, pb_record *record)
{
    PB_TRY(archive_rows(a, &record->phases, &record->phases_count, sizeof *record->phases));
    for (int64_t i = 0; i < record->phases_count; i++) {
        pb_record_phase *p = &record->phases[i];
        PB_TRY(pb_archive_text(a, &p->name));
        PB_TRY(pb_archive_bytes(a, &p->start, sizeof p->start));
        PB_TRY(pb_archive_bytes(a, &p->seconds, sizeof p->seconds));
        PB_TRY(pb_archive_bytes(a, &p->flops, sizeof p->flops));
        PB_TRY(pb_archive_bytes(a, &p->product_share, sizeof p->product_share));
    }
    return PB_OK;
}

/* Times and energy so far, without what is lost by stopping here. */
static pb_status archive_times(pb_archive *a, running *r)
{
    double now     = pb_clock_seconds();
    double elapsed = now - r->begin;
    double lost    = r->record->seconds_lost + (r->worked > 0.0 ? now - r->worked : 0.0);
    double test    = r->test != NULL ? now - r->test_begin : r->test_before;
    double tested  = r->test != NULL ? running_flops_tested(r) : r->flops_tested;
    PB_TRY(pb_archive_bytes(a, &elapsed, sizeof elapsed));
    PB_TRY(pb_archive_bytes(a, &lost, sizeof lost));
    PB_TRY(pb_archive_bytes(a, &test, sizeof test));
    PB_TRY(pb_archive_bytes(a, &tested, sizeof tested));
    PB_TRY(pb_archive_bytes(a, &r->seconds, sizeof r->seconds));
    if (pb_archive_reads(a)) {
        r->begin                = now - elapsed;
        r->record->seconds_lost = lost;
        r->test_before          = test;
        r->flops_tested         = tested;
    }
    return PB_OK;
}

/* The energy of a gang's steps is shared out, so that its members may go on alone. */
static pb_status archive_energy(pb_archive *a, running *r)
{
    running *lead     = r->gang;
    int64_t processes = lead->energy_processes;
    energies steps    = lead->energy_steps;
    char why[ENERGY_COMPONENTS][sizeof *lead->energy_lost];
    memcpy(why, lead->energy_lost, sizeof why);
    for (int c = 0; c < ENERGY_COMPONENTS; c++) {
        steps.joules[c] *= running_energy_share(r);
    }
    PB_TRY(pb_archive_bytes(a, &steps, sizeof steps));
    PB_TRY(pb_archive_bytes(a, why, sizeof why));
    PB_TRY(pb_archive_bytes(a, &processes, sizeof processes));
    PB_TRY(pb_archive_bytes(a, &r->energy_setup, sizeof r->energy_setup));
    PB_TRY(pb_archive_bytes(a, &r->energy_validation, sizeof r->energy_validation));
    PB_TRY(pb_archive_bytes(a, &r->energy_test, sizeof r->energy_test));
    if (pb_archive_reads(a)) {
        for (int c = 0; c < ENERGY_COMPONENTS; c++) {
            lead->energy_steps.joules[c] += steps.joules[c];
        }
        lead->energy_processes = processes;
        memcpy(lead->energy_lost, why, sizeof why);
    }
    return PB_OK;
}

/* The peak of training, which an earlier run may have reached. */
static pb_status archive_peak(pb_archive *a, running_stage stage, int64_t now, int64_t *before)
{
    if (!pb_archive_reads(a) && stage == STAGE_TRAINING && now > *before) {
        *before = now;
    }
    return pb_archive_bytes(a, before, sizeof *before);
}

static pb_status archive_record(pb_archive *a, running *r)
{
    pb_record *record = r->record;
    PB_TRY(pb_archive_bytes(a, &record->segments, sizeof record->segments));
    PB_TRY(pb_archive_bytes(a, &record->flops_train, sizeof record->flops_train));
    PB_TRY(pb_archive_bytes(a, &record->flops_validation, sizeof record->flops_validation));
    PB_TRY(archive_peak(a, r->stage, r->peak_bytes, &r->peak_before));
    PB_TRY(archive_peak(a, r->stage, r->peak_device_bytes, &r->peak_device_before));
    PB_TRY(pb_archive_bytes(a, &r->trained, sizeof r->trained));
    PB_TRY(archive_times(a, r));
    PB_TRY(archive_energy(a, r));
    PB_TRY(archive_curves(a, record));
    PB_TRY(archive_memory(a, record));
    return archive_phases(a, record);
}

pb_status running_archive_test(pb_archive *a, cell_test *t)
{
    bool begun = t != NULL;
    PB_TRY(pb_archive_bytes(a, &begun, sizeof begun));
    if (!begun) {
        return PB_OK;
    }
    PB_TRY(archive_count(a, &t->done));
    PB_TRY(archive_count(a, &t->tokens));
    PB_TRY(archive_count(a, &t->norm_right));
    for (int64_t i = 0; i < t->done; i++) {
        PB_TRY(pb_archive_text(a, &t->predictions[t->groups.order[i]]));
    }
    return PB_OK;
}

/* ---------------------------------------------------------------- writing */

/* `state`: of a training that goes on; NULL: it is over. */
static pb_status write_all(pb_archive *a, running *r, struct pb_train_state *state)
{
    header h = {.stage = r->stage, .step = state != NULL ? pb_train_state_step(state) : 0};
    PB_TRY(pb_archive_bytes(a, &h, sizeof h));
    PB_TRY(archive_record(a, r));
    if (state != NULL) {
        return pb_train_archive(state, a);
    }
    PB_TRY(pb_method_archive(r->method, a));
    return running_archive_test(a, r->test);
}

static pb_status write_file(running *r, struct pb_train_state *state)
{
    char *path         = NULL;
    char *folder       = NULL;
    pb_archive *a      = NULL;
    pb_string identify = {0};
    pb_status status;
    PB_TRY_GOTO(status, find_path(r->env->checkpoints, r->cell, &path), done);
    PB_TRY_GOTO(status, pb_path_directory(path, &folder), done);
    PB_TRY_GOTO(status, pb_path_make_directories(folder), done);
    PB_TRY_GOTO(status, identity(r->cell, &identify), done);
    PB_TRY_GOTO(status, pb_archive_create(path, identify.data, &a), done);
    PB_TRY_GOTO(status, pb_archive_close(a, write_all(a, r, state)), done);
done:
    pb_string_clear(&identify);
    pb_memory_free(folder);
    pb_memory_free(path);
    return status;
}

pb_status running_save(running *r, struct pb_train_state *state)
{
    pb_cell_env *env = r->env;
    if (env->checkpoints == NULL) {
        return PB_OK;
    }
    size_t peak = pb_memory_peak(); /* what is written here is not the cell's */
    if (state != NULL) {
        running_energy_of_steps(r);
    } else if (r->test != NULL) {
        running_energy(r, &r->energy_test);
    }
    pb_status status = write_file(r, state);
    pb_memory_peak_restore(peak);
    r->gang->saved   = pb_clock_seconds();
    r->has_file      = r->has_file || status == PB_OK;
    r->trained_saved = status == PB_OK && state == NULL;
    if (status != PB_ERR_IO && status != PB_ERR_MEMORY) {
        return PB_FRAME(status);
    }
    if (!env->checkpoint_failed) {
        pb_log_warn("a checkpoint cannot be written; a stop now loses the work on this cell since "
                    "the one before: %s",
                    pb_error_message());
        env->checkpoint_failed = true;
    }
    pb_error_clear();
    return PB_OK;
}

pb_status running_save_trained(running *r)
{
    for (int64_t i = 0; i < r->gang_size; i++) {
        running *m   = &r->gang[i];
        bool changed = m->test != NULL || !m->trained_saved;
        if (m->stage == STAGE_TRAINED && changed && !m->failed && !m->again) {
            PB_TRY(running_save(m, NULL));
        }
    }
    return PB_OK;
}

bool running_save_due(const running *r)
{
    const pb_cell_env *env = r->env;
    return env->checkpoints != NULL && env->checkpoint_seconds > 0.0 &&
           pb_clock_seconds() - r->gang->saved >= env->checkpoint_seconds;
}

pb_status running_test_progress(running *r, int64_t done)
{
    int64_t rows = r->data.test_set.count;
    bool further = done > r->test->done || !r->trained_saved;

    r->test->done = done;
    r->worked     = pb_clock_seconds();
    running_progress(r, done, rows, NAN);
    if (done < rows && further && running_save_due(r)) {
        PB_TRY(running_save_trained(r));
    }
    if (done < rows && running_wants_stop(r)) {
        return PB_FAIL(PB_STOPPED, "stopped before test row %" PRId64 " of %" PRId64, done, rows);
    }
    return PB_OK;
}

/* ---------------------------------------------------------------- reading */

static pb_status open_file(running *r, header *h)
{
    pb_string identify = {0};
    char *path         = NULL;
    pb_status status;
    PB_TRY_GOTO(status, find_path(r->env->checkpoints, r->cell, &path), done);
    PB_TRY_GOTO(status, identity(r->cell, &identify), done);
    PB_TRY_GOTO(status, pb_archive_open(path, identify.data, &r->resume), done);
    PB_TRY_GOTO(status, r->resume != NULL ? pb_archive_bytes(r->resume, h, sizeof *h) : PB_OK,
                done);
done:
    pb_string_clear(&identify);
    pb_memory_free(path);
    return status;
}

pb_status running_open_checkpoint(running *r)
{
    header h = {0};
    if (r->env->checkpoints == NULL) {
        return PB_OK;
    }
    pb_status status = open_file(r, &h);
    if (status == PB_ERR_FORMAT || status == PB_ERR_IO) {
        pb_log_warn("a cell begins again: %s", pb_error_message());
        pb_error_clear();
        r->has_file = true; /* until there is a result */
        return PB_OK;
    }
    r->stage         = (running_stage)h.stage;
    r->resume_step   = h.step;
    r->has_file      = r->resume != NULL;
    r->trained_saved = r->stage == STAGE_TRAINED;
    return PB_FRAME(status);
}

void running_close_checkpoint(running *r)
{
    pb_ignore(pb_archive_close(r->resume, PB_OK), "nothing was written");
    r->resume = NULL;
}

pb_status pb_cell_remove_checkpoint(const char *directory, const pb_cell *cell)
{
    char *path = NULL;
    PB_TRY(find_path(directory, cell, &path));
    pb_status status = unlink(path) == 0 || errno == ENOENT
                           ? PB_OK
                           : PB_FAIL(PB_ERR_IO, "cannot remove %s: %s", path, strerror(errno));
    pb_memory_free(path);
    return status;
}

void running_remove_checkpoint(running *r)
{
    if (r->has_file) {
        pb_ignore(pb_cell_remove_checkpoint(r->env->checkpoints, r->cell),
                  "a later run removes it");
    }
}

pb_status running_restore(running *r)
{
    if (r->resume == NULL) {
        return PB_OK;
    }
    pb_status status = archive_record(r->resume, r);
    r->record->segments++;
    if (status == PB_ERR_FORMAT) {
        running_remove_checkpoint(r);
    }
    return PB_FRAME(status);
}
