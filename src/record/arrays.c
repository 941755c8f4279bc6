// SPDX-License-Identifier: Apache-2.0
/* Arrays over the axes of a sweep, each axis a dimension scale: /grid [model, dataset, method,
 * seed] with every number of the records, NaN where there is none, and /pscp [model, method]. */
#include "arrays.h"

#include "nexus.h"

#include "pb/memory.h"
#include "pb/variant.h"

#include <math.h>
#include <string.h>

typedef struct axis {
    const char *name, *long_name;
    record_kind kind;
    const void *values;
    int64_t count;
} axis;

#define AXES_MAX 4

/* A group with its axes; arrays are then added. */
typedef struct axes_group {
    hid_t group;
    int rank;
    axis axes[AXES_MAX];
    hid_t scales[AXES_MAX];
} axes_group;

static void axes_close(axes_group *at)
{
    for (int i = 0; i < at->rank; i++) {
        hdf_release(&at->scales[i]);
    }
    hdf_release(&at->group);
}

static pb_status axes_open(hid_t file, const char *name, axes_group *at)
{
    for (int i = 0; i < at->rank; i++) {
        at->scales[i] = -1;
    }
    PB_TRY(hdf_group_create(file, name, &at->group));
    for (int i = 0; i < at->rank; i++) {
        const axis *one = &at->axes[i];
        hdf_array array = {.name      = one->name,
                           .units     = "1",
                           .long_name = one->long_name,
                           .kind      = one->kind,
                           .rank      = 1,
                           .shape     = {(hsize_t)one->count},
                           .values    = one->values};
        PB_TRY(hdf_array_write(at->group, &array, &at->scales[i]));
        PB_TRY(hdf_scale_make(at->scales[i], one->name));
    }
    return PB_OK;
}

/* Adds an array over `rank` axes of the group, from the first one. */
static pb_status add_array(const axes_group *at, const record_field *field, int first, int rank,
                           const void *values)
{
    hdf_array array  = {.name      = field->name,
                        .units     = field->units,
                        .long_name = field->long_name,
                        .kind      = field->kind,
                        .rank      = rank,
                        .values    = values};
    hid_t dataset    = -1;
    pb_status status = PB_OK;

    for (int i = 0; i < rank; i++) {
        array.shape[i] = (hsize_t)at->axes[first + i].count;
    }
    PB_TRY(hdf_array_write(at->group, &array, &dataset));
    for (int i = 0; i < rank && status == PB_OK; i++) {
        status = hdf_scale_attach(dataset, at->scales[first + i], i, at->axes[first + i].name);
    }
    if (status == PB_OK && strcmp(field->name, "status") == 0) {
        status = hdf_put_text(dataset, "flag_meanings",
                              "-1 excluded, 0 missing, 1 done, 2 failed, 3 invalid", NULL);
    }
    hdf_release(&dataset);
    return status;
}

static pb_status axes_array(const axes_group *at, const record_field *field, const void *values)
{
    return add_array(at, field, 0, at->rank, values);
}

/* The base of every name of an axis, or, with a setting, its value in every name. */
static pb_status write_texts(const axes_group *at, int i, const record_field *field,
                             const char *key)
{
    char *const *names = at->axes[i].values;
    int64_t count      = at->axes[i].count;
    char **texts       = NULL;
    pb_status status   = PB_ALLOC(texts, count + 1);
    for (int64_t n = 0; n < count && status == PB_OK; n++) {
        pb_variant_setting s = {.value = names[n], .value_length = pb_variant_base(names[n])};
        if (key != NULL && !pb_variant_find(names[n], key, &s)) {
            s.value_length = 0;
        }
        pb_string text = {0};
        status         = pb_string_append(&text, s.value, (size_t)s.value_length);
        if (status == PB_OK) {
            status = PB_TEXT(texts[n], text.data != NULL ? text.data : "");
        }
        pb_string_clear(&text);
    }
    if (status == PB_OK) {
        status = add_array(at, field, i, 1, texts);
    }
    pb_memory_free_texts(texts, texts != NULL ? (size_t)count : 0);
    return status;
}

static pb_status write_numbers(const axes_group *at, int i, const record_field *field,
                               const char *key)
{
    char *const *names = at->axes[i].values;
    int64_t count      = at->axes[i].count;
    double *values     = NULL;
    PB_TRY(PB_ALLOC(values, count + 1));
    for (int64_t n = 0; n < count; n++) {
        pb_variant_setting s;
        values[n] = pb_variant_find(names[n], key, &s) ? pb_variant_number(&s) : NAN;
    }
    pb_status status = add_array(at, field, i, 1, values);
    pb_memory_free(values);
    return status;
}

/* Auxiliary coordinates: what every name of an axis is a variant of, and its settings. xarray finds
 * them by the attribute "coordinates". */
static pb_status write_settings(const axes_group *at, const pb_results_settings *settings)
{
    static const char *const bases[] = {"model_base", "dataset_base", "method_base"};
    pb_string list                   = {0};
    pb_status status                 = PB_OK;
    for (int i = 0; i < 3; i++) {
        record_field field = {bases[i], RECORD_TEXT, 0, "1", "name without settings", true};
        PB_TRY_GOTO(status, write_texts(at, i, &field, NULL), out);
        PB_TRY_GOTO(status, pb_string_printf(&list, "%s%s", i > 0 ? " " : "", bases[i]), out);
    }
    for (int64_t k = 0; k < settings->count; k++) {
        const pb_results_setting *s = &settings->items[k];
        record_field field          = {s->column, RECORD_F64, 0, "1", "setting of a variant", true};
        field.kind                  = s->numeric ? RECORD_F64 : RECORD_TEXT;
        PB_TRY_GOTO(status,
                    s->numeric ? write_numbers(at, s->axis, &field, s->key)
                               : write_texts(at, s->axis, &field, s->key),
                    out);
        PB_TRY_GOTO(status, pb_string_printf(&list, " %s", s->column), out);
    }
    status = hdf_put_text(at->group, "coordinates", list.data, NULL);
out:
    pb_string_clear(&list);
    return status;
}

pb_status grid_write(hid_t file, const pb_results *results, const pb_results_settings *settings)
{
    static const record_field state = {
        "status", RECORD_I8, 0, "1", "-1 excluded, 0 missing, 1 done, 2 failed, 3 invalid", true};
    /* Scores of methods and data sets, for the first model and seed. */
    static const nexus_plot plot = {.signal         = "score",
                                    .rank           = 4,
                                    .axes           = {".", ".", ".", "seed"},
                                    .interpretation = "image",
                                    .slice          = {"0", ".", ".", "0"}};

    axes_group at = {
        .group = -1,
        .rank  = 4,
        .axes  = {{"model", "model", RECORD_TEXT, results->models, results->models_count},
                  {"dataset", "data set", RECORD_TEXT, results->datasets, results->datasets_count},
                  {"method", "method", RECORD_TEXT, results->methods, results->methods_count},
                  {"seed", "seed", RECORD_I64, results->seeds, results->seeds_count}}};
    double *values   = NULL;
    int64_t count    = pb_results_positions(results);
    pb_status status = PB_OK;

    PB_TRY_GOTO(status, axes_open(file, "grid", &at), out);
    PB_TRY_GOTO(status, write_settings(&at, settings), out);
    PB_TRY_GOTO(status, axes_array(&at, &state, results->state), out);
    PB_TRY_GOTO(status, PB_ALLOC(values, count + 1), out);
    for (int n = 0; n < record_numbers_count; n++) {
        record_field field = record_numbers[n];
        for (int64_t i = 0; i < count; i++) {
            int64_t index = results->grid[i];
            values[i]     = index < 0 ? NAN : pb_record_number(&results->records[index], n);
        }
        field.kind = RECORD_F64;
        PB_TRY_GOTO(status, axes_array(&at, &field, values), out);
    }
    if (count > 0) {
        PB_TRY_GOTO(status, nexus_data(at.group, &plot), out);
    }
out:
    pb_memory_free(values);
    axes_close(&at);
    return status;
}

pb_status pscp_write(hid_t file, const pb_results *results, const pb_results_pscp *pscp)
{
    const struct {
        record_field field;
        const void *values;
    } arrays[] = {
        {{"pscp", RECORD_F64, 0, "1", "PSCP: score times the three cost factors", true},
         pscp->pscp},
        {{"pscp_std", RECORD_F64, 0, "1", "sample standard deviation of PSCP over seeds", true},
         pscp->pscp_std},
        {{"score", RECORD_F64, 0, "percent", "P: mean score over data sets", true}, pscp->score},
        {{"cost_p", RECORD_F64, 0, "1", "(1 + params / c_p)^-beta_p", true}, pscp->cost_p},
        {{"cost_f", RECORD_F64, 0, "1", "(1 + flops_t / c_f)^-beta_f", true}, pscp->cost_f},
        {{"cost_m", RECORD_F64, 0, "1", "(1 + memory_gb / c_m)^-beta_m", true}, pscp->cost_m},
        {{"params", RECORD_F64, 0, "1", "M_p: trainable parameters", true}, pscp->params},
        {{"flops_t", RECORD_F64, 0, "TFLOP",
          "M_f: forward operations over 512 tokens beyond those of the base model", true},
         pscp->flops_t},
        {{"memory_gb", RECORD_F64, 0, "GB", "M_m: mean of the accounted peaks of the runs", true},
         pscp->memory_gb},
        {{"datasets", RECORD_I64, 0, "1", "data sets that entered", true}, pscp->datasets},
        {{"datasets_planned", RECORD_I64, 0, "1", "data sets the sweep asks for", true},
         pscp->datasets_planned},
    };
    const struct {
        const char *name;
        double value;
    } constants[] = {{"beta_p", pscp->beta_p}, {"beta_f", pscp->beta_f}, {"beta_m", pscp->beta_m},
                     {"c_p", pscp->c_p},       {"c_f", pscp->c_f},       {"c_m", pscp->c_m}};
    static const nexus_plot plot = {
        .signal = "pscp", .rank = 2, .axes = {".", "."}, .interpretation = "image"};
    axes_group at = {
        .group = -1,
        .rank  = 2,
        .axes  = {{"model", "model", RECORD_TEXT, results->models, results->models_count},
                  {"method", "method", RECORD_TEXT, results->methods, results->methods_count}}};
    pb_status status = PB_OK;

    PB_TRY_GOTO(status, axes_open(file, "pscp", &at), out);
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
        PB_TRY_GOTO(status, hdf_put_f64(at.group, constants[i].name, constants[i].value), out);
    }
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        PB_TRY_GOTO(status, axes_array(&at, &arrays[i].field, arrays[i].values), out);
    }
    if (results->models_count > 0 && results->methods_count > 0) {
        PB_TRY_GOTO(status, nexus_data(at.group, &plot), out);
    }
out:
    axes_close(&at);
    return status;
}
