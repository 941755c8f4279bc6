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

static pb_results_setting *find(const pb_results_settings *settings, const pb_variant_setting *s)
{
    for (int64_t i = 0; i < settings->count; i++) {
        const char *key = settings->items[i].key;
        if (strlen(key) == (size_t)s->key_length && memcmp(key, s->key, strlen(key)) == 0) {
            return &settings->items[i];
        }
    }
    return NULL;
}

static pb_status add(pb_results_settings *settings, int axis, const pb_variant_setting *s)
{
    pb_string key    = {0};
    pb_string column = {0};
    pb_string name   = {0};
    pb_status status;
    PB_TRY_GOTO(status, PB_GROW(settings->items, settings->count + 1), done);
    PB_TRY_GOTO(status, pb_string_printf(&key, "%.*s", s->key_length, s->key), done);
    PB_TRY_GOTO(status, pb_string_printf(&name, "setting_%s", key.data), done);
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
        if (find(settings, &s) == NULL) {
            PB_TRY(add(settings, axis, &s));
        }
        pb_results_setting *known = find(settings, &s);
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
