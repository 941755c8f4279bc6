// SPDX-License-Identifier: Apache-2.0
/* The settings that vary among results, gathered from the names of their axes. */
#include "pb/memory.h"
#include "pb/results.h"
#include "pb/variant.h"

#include <math.h>
#include <string.h>

void pb_results_settings_clear(pb_results_settings *settings)
{
    for (int64_t i = 0; i < settings->count; i++) {
        pb_memory_free(settings->items[i].key);
        pb_memory_free(settings->items[i].column);
    }
    pb_memory_free(settings->items);
    *settings = (pb_results_settings){0};
}

const char *pb_record_key_name(const pb_record_key *key, int axis)
{
    const char *const names[] = {key->model, key->dataset, key->method};
    return names[axis] != NULL ? names[axis] : "";
}

static bool is_key(const pb_results_setting *known, const pb_variant_setting *s)
{
    return strlen(known->key) == (size_t)s->key_length &&
           memcmp(known->key, s->key, strlen(known->key)) == 0;
}

static pb_results_setting *find(const pb_results_settings *settings, int axis,
                                const pb_variant_setting *s)
{
    for (int64_t i = 0; i < settings->count; i++) {
        if (settings->items[i].axis == axis && is_key(&settings->items[i], s)) {
            return &settings->items[i];
        }
    }
    return NULL;
}

/* "setting_r"; where several sweeps are read together, "setting_r_method" for a key that varies on
 * an earlier axis too. */
static pb_status add(pb_results_settings *settings, int axis, const pb_variant_setting *s)
{
    static const char *const suffixes[] = {"", "_dataset", "_method"};
    pb_string key                       = {0};
    pb_string column                    = {0};
    pb_string name                      = {0};
    bool again                          = false;
    pb_status status;
    for (int64_t i = 0; i < settings->count; i++) {
        again = again || is_key(&settings->items[i], s);
    }
    PB_TRY_GOTO(status, PB_GROW(settings->items, settings->count + 1), done);
    PB_TRY_GOTO(status, pb_string_printf(&key, "%.*s", s->key_length, s->key), done);
    PB_TRY_GOTO(status,
                pb_string_printf(&name, "setting_%s%s", key.data, again ? suffixes[axis] : ""),
                done);
    PB_TRY_GOTO(status, pb_results_escape(name.data, &column), done);
    settings->items[settings->count++] =
        (pb_results_setting){.key = key.data, .column = column.data, .axis = axis, .numeric = true};
    key    = (pb_string){0};
    column = (pb_string){0};
done:
    pb_string_clear(&key);
    pb_string_clear(&column);
    pb_string_clear(&name);
    return status;
}

static pb_status add_name(pb_results_settings *settings, int axis, const char *name)
{
    const char *at = NULL;
    pb_variant_setting s;
    while (pb_variant_next(name, &at, &s)) {
        if (find(settings, axis, &s) == NULL) {
            PB_TRY(add(settings, axis, &s));
        }
        pb_results_setting *known = find(settings, axis, &s);
        known->numeric            = known->numeric && !isnan(pb_variant_number(&s));
    }
    return PB_OK;
}

pb_status pb_results_settings_find(const pb_results *results, pb_results_settings *out)
{
    char *const *const names[]   = {results->models, results->datasets, results->methods};
    const int64_t counts[]       = {results->models_count, results->datasets_count,
                                    results->methods_count};
    pb_results_settings settings = {0};
    pb_status status             = PB_OK;
    for (int axis = 0; axis < 3; axis++) {
        for (int64_t i = 0; i < counts[axis] && status == PB_OK; i++) {
            status = add_name(&settings, axis, names[axis][i]);
        }
    }
    /* Where one variant stands for its method, only its cells have its name. */
    for (int64_t i = 0; i < results->count && status == PB_OK; i++) {
        status = add_name(&settings, 2, pb_record_key_name(&results->records[i].key, 2));
    }
    if (status != PB_OK) {
        pb_results_settings_clear(&settings);
        return status;
    }
    *out = settings;
    return PB_OK;
}
