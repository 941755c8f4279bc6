// SPDX-License-Identifier: Apache-2.0
/* The life of a gang, of one cell or several: its cells are set up one after the other, train
 * together, and are tested one after the other. A cell that fails does not stop the others.
 * Memory may be enough for one and too little for all: cells that ran out of it together run
 * again alone. */
#include "running.h"

#include "pb/clock.h"
#include "pb/gang.h"
#include "pb/log.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct gang {
    pb_cell_env *env;
    running *members;   /* [count] */
    pb_record *records; /* [count] */
    int64_t count;
    int64_t first; /* number of the first one, for `keep` */
    pb_cell_keep keep;
    void *context;
    /* What the trainer gets of those that were set up. */
    pb_train_member *of;          /* [count] */
    pb_train_data *data;          /* [count] */
    pb_train_observer *observers; /* [count] */
} gang;

bool pb_cell_may_join(const pb_cell_env *env, const pb_cell *cell, const pb_cell *other)
{
    const cell_options *a  = &cell->plan->options;
    const cell_options *b  = &other->plan->options;
    const env_model *model = env_find_model(env, cell->name.model);
    if (cell->plan->status != PB_OK || other->plan->status != PB_OK || model == NULL ||
        model->model == NULL || model != env_find_model(env, other->name.model)) {
        return false;
    }
    return cell->plan->prediction.trainable_params > 0 &&
           other->plan->prediction.trainable_params > 0 &&
           a->train.accumulate == b->train.accumulate && a->train.split == 1 &&
           b->train.split == 1 && pb_gang_possible(pb_model_get_config(model->model));
}

static bool goes_on(const running *r)
{
    return !r->failed && !r->again;
}

/* What came of a member's own work. PB_OK: the others continue. */
static pb_status settle(running *r, pb_status status)
{
    if (status == PB_OK || status == PB_STOPPED) {
        return PB_FRAME(status);
    }
    return running_fail(r, status);
}

static pb_status set_up(running *r)
{
    PB_TRY(running_phase(r, "setup"));
    running_energy_begin(r);
    PB_TRY(running_set_up(r));
    running_energy(r, &r->energy_setup);
    if (r->resume != NULL && r->stage == STAGE_TRAINED) {
        PB_TRY(pb_method_archive(r->method, r->resume));
    }
    return running_phase(r, NULL);
}

/* Those that still train stand at the same step. */
static bool in_step(const gang *g)
{
    const running *first = NULL;
    for (int64_t i = 0; i < g->count; i++) {
        const running *r = &g->members[i];
        if (r->stage == STAGE_TRAINED) {
            continue;
        }
        first = first != NULL ? first : r;
        if (r->resume_step != first->resume_step) {
            return false;
        }
    }
    return true;
}

/* Members at different steps, as a kill between two checkpoints leaves them, go on alone; those of
 * a search, which only make sense together, begin again. */
static pb_status open_checkpoints(gang *g)
{
    for (int64_t i = 0; i < g->count; i++) {
        PB_TRY(running_open_checkpoint(&g->members[i]));
    }
    if (in_step(g)) {
        return PB_OK;
    }
    pb_log_warn("%" PRId64 " cells were stopped at different steps: %s", g->count,
                g->env->search == NULL ? "each goes on alone" : "their search begins again");
    for (int64_t i = 0; i < g->count; i++) {
        running *r = &g->members[i];
        running_close_checkpoint(r);
        r->again         = g->env->search == NULL;
        r->stage         = STAGE_TRAINING;
        r->trained_saved = false;
    }
    return PB_OK;
}

static pb_status set_up_all(gang *g)
{
    PB_TRY(open_checkpoints(g));
    for (int64_t i = 0; i < g->count; i++) {
        PB_TRY(goes_on(&g->members[i]) ? running_start(&g->members[i]) : PB_OK);
    }
    for (int64_t i = 0; i < g->count; i++) {
        running *r = &g->members[i];
        PB_TRY(goes_on(r) ? settle(r, set_up(r)) : PB_OK);
    }
    g->members->saved = pb_clock_seconds();
    return PB_OK;
}

/* Those that were set up and have a network; returns how many. */
static pb_status list_members(gang *g, int64_t *count)
{
    *count = 0;
    for (int64_t i = 0; i < g->count; i++) {
        running *r = &g->members[i];
        r->ended   = !goes_on(r) || r->stage == STAGE_TRAINED;
        if (r->ended) {
            continue;
        }
        PB_TRY(running_phase(r, "train"));
        r->peak_bytes        = r->peak_before; /* the reported peak is that of training */
        r->peak_device_bytes = r->peak_device_before;
        if (r->net == NULL || r->cell->own.tests_only) {
            continue;
        }
        g->data[*count]      = running_data(r);
        g->observers[*count] = running_observer(r);
        g->of[*count]        = (pb_train_member){.net      = r->net,
                                                 .method   = r->method,
                                                 .options  = &r->options->train,
                                                 .seed     = (uint64_t)r->cell->name.seed,
                                                 .data     = &g->data[*count],
                                                 .observer = &g->observers[*count],
                                                 .result   = &r->trained,
                                                 .resume   = r->resume};
        PB_TRY(running_helpers(r, &g->of[*count].helpers));
        (*count)++;
    }
    return PB_OK;
}

/* The peak is that of all together. */
static void record_all(gang *g)
{
    int64_t peak   = 0;
    int64_t device = 0;
    for (int64_t i = 0; i < g->count; i++) {
        const running *r = &g->members[i];
        peak             = r->peak_bytes > peak ? r->peak_bytes : peak;
        device           = r->peak_device_bytes > device ? r->peak_device_bytes : device;
    }
    for (int64_t i = 0; i < g->count; i++) {
        running *r     = &g->members[i];
        bool by_itself = r->resume != NULL; /* it was trained in an earlier run */
        if (goes_on(r)) {
            r->peak_before        = by_itself ? r->peak_before : peak;
            r->peak_device_before = by_itself ? r->peak_device_before : device;
            running_record_training(r);
            running_record_peak(r, r->peak_before, r->peak_device_before);
        }
    }
}

/* A cell that failed before is not trained; one without a network has nothing to train. */
static pb_status train_alone(const gang *g, int64_t count)
{
    running *r = g->members;
    PB_TRY(count > 0 ? pb_train_alone(g->of) : PB_OK);
    if (!goes_on(r)) {
        return PB_OK;
    }
    if (count > 0) {
        running_close_checkpoint(r); /* it was read to its end */
    }
    r->stage = STAGE_TRAINED;
    return running_phase(r, NULL);
}

/* The device is lost to all members, or they cannot be searched: they have the same message. */
static pb_status lose_all(gang *g, pb_status status)
{
    char message[1024];
    (void)snprintf(message, sizeof message, "%s", pb_error_message());
    for (int64_t i = 0; i < g->count; i++) {
        if (goes_on(&g->members[i])) {
            PB_TRY(settle(&g->members[i], PB_FAIL(status, "%s", message)));
        }
    }
    return PB_OK;
}

/* Members that were trained wait for their test. */
static pb_status save_stopped(gang *g)
{
    char message[160];
    (void)snprintf(message, sizeof message, "%s", pb_error_message());
    PB_TRY(running_save_trained(g->members));
    return PB_FAIL(PB_STOPPED, "%s", message);
}

static pb_status train_all(gang *g)
{
    int64_t count    = 0;
    pb_status status = PB_OK;
    PB_TRY(list_members(g, &count));
    running_energy_begin(g->members);
    if (g->count == 1 && (g->env->search == NULL || g->env->search->decided == NULL)) {
        status = settle(g->members, train_alone(g, count));
    } else if (count > 0) {
        status = pb_train_gang_search(g->of, count, g->env->search);
    }
    running_energy_of_steps(g->members);
    for (int64_t i = 0; i < g->count && status == PB_OK; i++) {
        status = g->members[i].lost;
    }
    if (status == PB_STOPPED) {
        return save_stopped(g);
    }
    if (status == PB_OK) {
        record_all(g);
        return PB_FRAME(status);
    }
    if (status == PB_ERR_DEVICE || g->env->search != NULL) {
        return lose_all(g, status);
    }
    pb_log_warn("a gang of %" PRId64 " cells cannot train together, so each runs alone: %s", count,
                pb_error_message());
    pb_error_clear();
    for (int64_t i = 0; i < g->count; i++) {
        g->members[i].again = !g->members[i].failed;
    }
    return PB_OK;
}

static pb_status test(running *r)
{
    PB_TRY(running_phase(r, "test"));
    return running_finish_test(r);
}

/* A search ended the training: the cell has no test, and enters no mean. */
static pb_status record_rung(running *r)
{
    pb_string reason = {0};
    pb_status status = pb_string_printf(
        &reason,
        "stopped at %" PRId64 " %% of its steps: validation loss %.6g is number "
        "%" PRId64 " of %" PRId64,
        r->trained.rung, r->record->validation[r->record->validation_count - 1].loss,
        r->trained.place, r->trained.of);
    if (status == PB_OK) {
        status = pb_record_set_text(&r->record->reason, reason.data);
    }
    r->record->valid = false;
    pb_string_clear(&reason);
    return status;
}

/* A cell that failed before is only kept. */
static pb_status conclude_member(gang *g, int64_t i)
{
    running *r = &g->members[i];
    if (!r->failed && r->trained.rung > 0) {
        PB_TRY(record_rung(r));
    } else if (!r->failed) {
        PB_TRY(settle(r, test(r)));
    }
    if (r->again) {
        return PB_OK;
    }
    running_tear_down(r);
    PB_TRY(running_conclude(r));
    PB_TRY(g->keep(g->context, g->first + i, r->record));
    r->stage = STAGE_KEPT;
    running_remove_checkpoint(r);
    return PB_OK;
}

static void tear_down(gang *g)
{
    for (int64_t i = 0; i < g->count; i++) {
        running_tear_down(&g->members[i]);
    }
}

static pb_status run(gang *g, const pb_cell *const *cells, const pb_cell_observer *observer);

static pb_status run_again(const gang *g, int64_t i)
{
    gang alone = {.env = g->env, .count = 1, .first = i, .keep = g->keep, .context = g->context};
    return run(&alone, &g->members[i].cell, g->members[i].observer);
}

static pb_status run_all(gang *g)
{
    PB_TRY(set_up_all(g));
    PB_TRY(train_all(g));
    for (int64_t i = 0; i < g->count; i++) {
        if (!g->members[i].again) {
            PB_TRY(conclude_member(g, i));
        }
    }
    tear_down(g);
    for (int64_t i = 0; i < g->count; i++) {
        if (g->members[i].again) {
            PB_TRY(run_again(g, i));
        }
    }
    return PB_OK;
}

static pb_status open_gang(gang *g, const pb_cell *const *cells, const pb_cell_observer *observer)
{
    PB_TRY(PB_ALLOC(g->of, g->count));
    PB_TRY(PB_ALLOC(g->data, g->count));
    PB_TRY(PB_ALLOC(g->observers, g->count));
    PB_TRY(PB_ALLOC(g->records, g->count));
    PB_TRY(PB_ALLOC(g->members, g->count));
    for (int64_t i = 0; i < g->count; i++) {
        pb_record_init(&g->records[i]);
        g->members[i] = (running){.env       = g->env,
                                  .cell      = cells[i],
                                  .options   = &cells[i]->plan->options,
                                  .observer  = observer,
                                  .record    = &g->records[i],
                                  .gang      = g->members,
                                  .gang_size = g->count};
    }
    return PB_OK;
}

static void close_gang(gang *g)
{
    if (g->members != NULL) {
        tear_down(g);
        for (int64_t i = 0; i < g->count; i++) {
            pb_record_clear(&g->records[i]);
        }
    }
    pb_memory_free(g->records);
    pb_memory_free(g->members);
    pb_memory_free(g->of);
    pb_memory_free(g->data);
    pb_memory_free(g->observers);
}

static pb_status run(gang *g, const pb_cell *const *cells, const pb_cell_observer *observer)
{
    pb_status status;
    PB_TRY_GOTO(status, open_gang(g, cells, observer), done);
    PB_TRY_GOTO(status, run_all(g), done);
done:
    close_gang(g);
    return status;
}

pb_status pb_cell_run(pb_cell_env *env, const pb_cell *const *cells, int64_t count,
                      const pb_cell_observer *observer, pb_cell_keep keep, void *context)
{
    gang g = {.env = env, .count = count, .keep = keep, .context = context};
    PB_TRY(run(&g, cells, observer));
    return env->device_lost
               ? PB_FAIL(PB_ERR_DEVICE, "an error of %s destroyed the context of this process",
                         pb_backend_name(env->backend))
               : PB_OK;
}
