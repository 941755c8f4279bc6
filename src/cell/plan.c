// SPDX-License-Identifier: Apache-2.0
/* The planned cell: its configuration is read when it is opened, and never again. */
#include "internal.h"

#include "pb/adapter.h"
#include "pb/memory.h"
#include "pb/mistakes.h"

#include <inttypes.h>
#include <string.h>

cell_plan *cell_plan_share(cell_plan *plan)
{
    plan->users++;
    return plan;
}

void cell_plan_release(cell_plan *plan)
{
    if (plan == NULL || --plan->users > 0) {
        return;
    }
    cell_options_clear(plan);
    for (int g = 0; g < CELL_GROUPS; g++) {
        cell_plan_release(plan->lenders[g]);
    }
    pb_config_close(plan->config);
    pb_memory_free(plan->message);
    pb_memory_free(plan);
}

/* Takes over the configuration. Its errors are part of the plan. */
static pb_status make_plan(pb_config *config, pb_protocol protocol, cell_plan *like,
                           cell_plan **out)
{
    cell_plan *plan  = NULL;
    pb_status status = PB_ALLOC(plan, 1);
    if (status != PB_OK) {
        pb_config_close(config);
        return status;
    }
    *plan        = (cell_plan){.users = 1, .config = config, .protocol = protocol};
    plan->status = cell_options_read(plan, like);
    status       = pb_mistake_keep(plan->status, &plan->message);
    if (status != PB_OK) {
        cell_plan_release(plan);
        return PB_FRAME(status);
    }
    *out = plan;
    return PB_OK;
}

static pb_status make_cell(const pb_cell_name *name, cell_plan *plan, pb_cell **out)
{
    pb_cell *cell = NULL;
    PB_TRY(PB_ALLOC(cell, 1));
    cell->name = *name;
    cell->plan = plan;
    *out       = cell;
    return PB_OK;
}

pb_status pb_cell_open_take(const pb_cell_name *name, pb_config *config, const pb_cell *like,
                            pb_cell **out)
{
    cell_plan *plan = NULL;
    PB_TRY(make_plan(config, name->protocol, like != NULL ? like->plan : NULL, &plan));
    pb_status status = make_cell(name, plan, out);
    if (status != PB_OK) {
        cell_plan_release(plan);
    }
    return status;
}

pb_status pb_cell_open_seed(const pb_cell *cell, int64_t seed, pb_cell **out)
{
    pb_cell_name name = cell->name;
    name.seed         = seed;
    PB_TRY(make_cell(&name, cell->plan, out));
    cell_plan_share(cell->plan);
    return PB_OK;
}

void pb_cell_close(pb_cell *cell)
{
    if (cell != NULL) {
        cell_plan_release(cell->plan);
        pb_memory_free(cell);
    }
}

pb_status pb_cell_check(const pb_cell *cell)
{
    const cell_plan *plan = cell->plan;
    return plan->status == PB_OK ? PB_OK : PB_FAIL(plan->status, "%s", plan->message);
}

pb_status cell_describe(const pb_cell *cell, unsigned kept, pb_string *out)
{
    PB_TRY(pb_cell_check(cell));
    PB_TRY(cell_options_write(&cell->plan->options, kept, out));
    return pb_string_printf(out, "protocol = \"%s\";\nseed = %" PRId64 "L;\n",
                            pb_protocol_names[cell->name.protocol], cell->name.seed);
}

pb_status pb_cell_config(const pb_cell *cell, pb_string *out)
{
    return cell_describe(cell, 0, out);
}

pb_status pb_cell_text(const pb_cell *cell, pb_string *out)
{
    return cell_describe(cell, PB_KEPT_RESULT, out);
}

pb_status pb_cell_data_text(const pb_cell *cell, pb_string *out)
{
    PB_TRY(pb_cell_check(cell));
    return cell_options_write_data(&cell->plan->options, out);
}

void pb_cell_set_own(pb_cell *cell, const pb_cell_own *own)
{
    cell->own = *own;
}

void pb_cell_set_hash(pb_cell *cell, const char text[PB_HASH_TEXT])
{
    memcpy(cell->hash, text, PB_HASH_TEXT);
}

void pb_cell_set_group(pb_cell *cell, const char text[PB_HASH_TEXT])
{
    memcpy(cell->group, text, PB_HASH_TEXT);
}

bool pb_cell_same_group(const pb_cell *a, const pb_cell *b)
{
    return *a->group != '\0' && strcmp(a->group, b->group) == 0;
}

bool pb_cell_is_baseline(const pb_cell *cell)
{
    const pb_method_ops *method = cell->plan->options.method;
    return method != NULL && method->baseline != NULL;
}

const char *pb_cell_get_hash(const pb_cell *cell)
{
    return cell->hash;
}

static pb_status check_answer(const pb_dataset *ds, const char *answer)
{
    const pb_config_list *labels = pb_dataset_labels(ds);

    return pb_metric_check_reference(pb_dataset_get_options(ds)->metric, labels->items,
                                     labels->count, answer);
}

void pb_cell_check_answers(pb_dataset *ds)
{
    pb_dataset_check_answers(ds, check_answer);
}

pb_status cell_open_dataset(const pb_cell *cell, pb_dataset **out)
{
    const cell_options *o = &cell->plan->options;
    pb_dataset_options own;
    PB_TRY(pb_config_copy(pb_dataset_fields, sizeof own, &o->dataset, &own));
    own.config = cell->plan->config;
    own.group  = "dataset";
    PB_TRY(pb_dataset_open_take(&own, cell->name.protocol, &o->data, out));
    pb_cell_check_answers(*out);
    return PB_OK;
}

pb_status cell_create_method(const pb_cell *cell, const pb_model *model, pb_backend *backend,
                             pb_method **out)
{
    const cell_options *o = &cell->plan->options;
    void *own             = NULL;
    if (cell->own.adapter != NULL) {
        return pb_method_load(cell->own.adapter, NULL, model, backend, (uint64_t)cell->name.seed,
                              out);
    }
    PB_TRY(pb_method_options_copy(o->method, o->method_options, &own));
    return pb_method_create_take(o->method, &own, cell->plan->config, "method", model, backend,
                                 (uint64_t)cell->name.seed, out);
}
