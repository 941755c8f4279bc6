// SPDX-License-Identifier: Apache-2.0
/* Writes the merged file: /results as one table, /grid as arrays over the axes, /pscp, and every
 * cell in full. Cells are copied one at a time, so that memory does not grow with the sweep. */
#include "arrays.h"
#include "cell.h"
#include "nexus.h"
#include "seal.h"
#include "text.h"

#include "pb/file.h"
#include "pb/memory.h"
#include "pb/stop.h"
#include "pb/utf8.h"
#include "pb/variant.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MESSAGE_BYTES ((size_t)1000) /* of a message in the table; the cell has all of it */

/* Rows of the table that are compressed together, and that are written together. */
enum { CHUNK = 256, BLOCK = 16 * CHUNK };

enum {
    COLUMN_MODEL,
    COLUMN_DATASET,
    COLUMN_METHOD,
    COLUMN_STATUS,
    COLUMN_MESSAGE,
    COLUMN_METRIC,
    COLUMN_HASH,
    COLUMN_BASES, /* of model, dataset, method */
    TEXT_COLUMNS = COLUMN_BASES + 3
};

static const char *const text_columns[TEXT_COLUMNS] = {
    "model",       "dataset",     "method",     "status",       "message",
    "metric_name", "config_hash", "model_base", "dataset_base", "method_base"};

/* One text of a row of the table, and its length. */
static const char *column_text(const pb_record *record, int column, size_t *length)
{
    const char *texts[COLUMN_BASES] = {
        record->key.model,      record->key.dataset,
        record->key.method,     record->status == PB_OK ? "done" : "failed",
        record->message,        record->metric_name,
        record->key.config_hash};
    const char *text = column < COLUMN_BASES
                           ? texts[column]
                           : pb_record_key_name(&record->key, column - COLUMN_BASES);

    text    = text != NULL ? text : "";
    *length = column < COLUMN_BASES ? (size_t)pb_utf8_fit(text, MESSAGE_BYTES)
                                    : (size_t)pb_variant_base(text);
    return text;
}

/* The value of a setting in a row; its length is 0 where it does not apply. */
static pb_variant_setting setting_of(const pb_record *record, const pb_results_setting *setting)
{
    pb_variant_setting s = {0};
    bool found = pb_variant_find(pb_record_key_name(&record->key, setting->axis), setting->key, &s);
    return found ? s : (pb_variant_setting){.value = ""};
}

/* The row of the table: offsets and sizes of its members. */
typedef struct row_layout {
    const pb_results_settings *settings;
    size_t text_at[TEXT_COLUMNS], text_size[TEXT_COLUMNS];
    size_t *setting_at, *setting_size; /* [settings] */
    size_t seed_at, valid_at, numbers_at, size;
} row_layout;

static void widen(size_t *size, size_t length)
{
    *size = length > *size ? length : *size;
}

static void measure_texts(const pb_results *results, row_layout *layout)
{
    for (int64_t i = 0; i < results->count; i++) {
        for (int c = 0; c < TEXT_COLUMNS; c++) {
            size_t length = 0;
            (void)column_text(&results->records[i], c, &length);
            widen(&layout->text_size[c], length);
        }
        for (int64_t k = 0; k < layout->settings->count; k++) {
            const pb_results_setting *s = &layout->settings->items[k];
            widen(&layout->setting_size[k],
                  s->numeric ? sizeof(double)
                             : (size_t)setting_of(&results->records[i], s).value_length);
        }
    }
}

static pb_status lay_out(const pb_results *results, const pb_results_settings *settings,
                         row_layout *layout)
{
    layout->settings = settings;
    PB_TRY(PB_ALLOC(layout->setting_at, settings->count + 1));
    PB_TRY(PB_ALLOC(layout->setting_size, settings->count + 1));
    for (int c = 0; c < TEXT_COLUMNS; c++) {
        layout->text_size[c] = 1;
    }
    for (int64_t k = 0; k < settings->count; k++) {
        layout->setting_size[k] = settings->items[k].numeric ? sizeof(double) : 1;
    }
    measure_texts(results, layout);
    layout->numbers_at = 8; /* after the seed, so that all numbers are aligned */
    layout->valid_at   = layout->numbers_at + 8 * (size_t)record_numbers_count;
    layout->size       = layout->valid_at + 1;
    for (int c = 0; c < TEXT_COLUMNS; c++) {
        layout->text_at[c] = layout->size;
        layout->size += layout->text_size[c];
    }
    for (int64_t k = 0; k < settings->count; k++) {
        layout->setting_at[k] = layout->size;
        layout->size += layout->setting_size[k];
    }
    layout->size = (layout->size + 7) / 8 * 8;
    return PB_OK;
}

static pb_status insert_text(hid_t table, const char *name, size_t at, size_t size)
{
    hid_t text       = -1;
    pb_status status = PB_OK;

    TRY_HDF5(status, text = H5Tcopy(H5T_C_S1), out);
    TRY_HDF5(status, H5Tset_size(text, size), out);
    TRY_HDF5(status, H5Tset_cset(text, H5T_CSET_UTF8), out);
    TRY_HDF5(status, H5Tset_strpad(text, H5T_STR_NULLPAD), out);
    TRY_HDF5(status, H5Tinsert(table, name, at, text), out);
out:
    hdf_release(&text);
    return status;
}

static pb_status insert_column(hid_t table, const row_layout *layout, int column)
{
    return insert_text(table, text_columns[column], layout->text_at[column],
                       layout->text_size[column]);
}

static pb_status insert_setting(hid_t table, const row_layout *layout, int64_t k)
{
    const pb_results_setting *s = &layout->settings->items[k];
    pb_status status            = PB_OK;

    if (!s->numeric) {
        return insert_text(table, s->column, layout->setting_at[k], layout->setting_size[k]);
    }
    TRY_HDF5(status, H5Tinsert(table, s->column, layout->setting_at[k], H5T_NATIVE_DOUBLE), out);
out:
    return status;
}

/* The booleans of h5py: an enumeration of one byte. */
static pb_status insert_valid(hid_t table, size_t at)
{
    hid_t type       = -1;
    int8_t no        = 0;
    int8_t yes       = 1;
    pb_status status = PB_OK;

    TRY_HDF5(status, type = H5Tenum_create(H5T_STD_I8LE), out);
    TRY_HDF5(status, H5Tenum_insert(type, "FALSE", &no), out);
    TRY_HDF5(status, H5Tenum_insert(type, "TRUE", &yes), out);
    TRY_HDF5(status, H5Tinsert(table, "valid", at, type), out);
out:
    hdf_release(&type);
    return status;
}

/* The type of the table; file and memory have the same byte order, or HDF5 converts. */
static pb_status table_type(const row_layout *layout, hid_t *out)
{
    static const int first[] = {COLUMN_MODEL, COLUMN_DATASET, COLUMN_METHOD};
    static const int later[] = {COLUMN_STATUS, COLUMN_MESSAGE, COLUMN_METRIC};
    hid_t table              = -1;
    pb_status status         = PB_OK;

    TRY_HDF5(status, table = H5Tcreate(H5T_COMPOUND, layout->size), err);
    for (int i = 0; i < 3; i++) {
        PB_TRY_GOTO(status, insert_column(table, layout, first[i]), err);
    }
    TRY_HDF5(status, H5Tinsert(table, "seed", layout->seed_at, H5T_NATIVE_INT64), err);
    for (int i = 0; i < 3; i++) {
        PB_TRY_GOTO(status, insert_column(table, layout, later[i]), err);
    }
    PB_TRY_GOTO(status, insert_valid(table, layout->valid_at), err);
    for (int n = 0; n < record_numbers_count; n++) {
        TRY_HDF5(
            status,
            H5Tinsert(table, record_numbers[n].name, layout->numbers_at + 8 * (size_t)n,
                      record_numbers[n].kind == RECORD_I64 ? H5T_NATIVE_INT64 : H5T_NATIVE_DOUBLE),
            err);
    }
    for (int c = COLUMN_HASH; c < TEXT_COLUMNS; c++) {
        PB_TRY_GOTO(status, insert_column(table, layout, c), err);
    }
    for (int64_t k = 0; k < layout->settings->count; k++) {
        PB_TRY_GOTO(status, insert_setting(table, layout, k), err);
    }
    *out = table;
    return PB_OK;

err:
    hdf_release(&table);
    return status;
}

static void fill_row(const pb_record *record, const row_layout *layout, char *row)
{
    memcpy(row + layout->seed_at, &record->key.seed, sizeof record->key.seed);
    row[layout->valid_at] = record->valid ? 1 : 0;
    for (int n = 0; n < record_numbers_count; n++) {
        memcpy(row + layout->numbers_at + 8 * (size_t)n,
               (const char *)record + record_numbers[n].offset, 8);
    }
    for (int c = 0; c < TEXT_COLUMNS; c++) {
        size_t length    = 0;
        const char *text = column_text(record, c, &length);
        memcpy(row + layout->text_at[c], text, length);
    }
    for (int64_t k = 0; k < layout->settings->count; k++) {
        const pb_results_setting *setting = &layout->settings->items[k];
        pb_variant_setting s              = setting_of(record, setting);
        double value                      = pb_variant_number(&s);
        memcpy(row + layout->setting_at[k], setting->numeric ? (const char *)&value : s.value,
               setting->numeric ? sizeof value : (size_t)s.value_length);
    }
}

/* Units of the columns of the table, one text per column, "" where there is none. */
static pb_status write_units(hid_t dataset, hid_t table)
{
    const char **units = NULL;
    int members        = 0;
    pb_status status   = PB_OK;

    TRY_HDF5(status, members = H5Tget_nmembers(table), out);
    PB_TRY_GOTO(status, PB_ALLOC(units, members), out);
    for (int i = 0; i < members; i++) {
        units[i] = "";
        if (H5Tget_member_class(table, (unsigned)i) == H5T_FLOAT) {
            units[i] = "1"; /* a setting, or a number below */
        }
        for (int n = 0; n < record_numbers_count; n++) {
            char *name = H5Tget_member_name(table, (unsigned)i);
            if (name != NULL && strcmp(name, record_numbers[n].name) == 0) {
                units[i] = record_numbers[n].units;
            }
            (void)H5free_memory(name);
        }
    }
    PB_TRY_GOTO(status, hdf_put_texts(dataset, "column_units", units, members), out);
    PB_TRY_GOTO(status, hdf_put_text(dataset, "units", "see column_units", NULL), out);
    PB_TRY_GOTO(status, hdf_put_text(dataset, "long_name", "one row per cell", NULL), out);
out:
    pb_memory_free(units);
    return status;
}

/* Creates the dataset of the table, gzipped when it has rows. */
static pb_status table_create(hid_t file, hid_t table, hsize_t count, hid_t *out)
{
    hid_t space      = -1;
    hid_t creation   = -1;
    hsize_t chunk    = count < CHUNK ? count : CHUNK;
    pb_status status = PB_OK;

    TRY_HDF5(status, space = H5Screate_simple(1, &count, NULL), out);
    TRY_HDF5(status, creation = H5Pcreate(H5P_DATASET_CREATE), out);
    TRY_HDF5(status,
             H5Pset_attr_creation_order(creation, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED),
             out);
    if (count > 0 && H5Zfilter_avail(H5Z_FILTER_DEFLATE) > 0) {
        TRY_HDF5(status, H5Pset_chunk(creation, 1, &chunk), out);
        TRY_HDF5(status, H5Pset_shuffle(creation), out);
        TRY_HDF5(status, H5Pset_deflate(creation, 4), out);
    }
    TRY_HDF5(status,
             *out = H5Dcreate2(file, "results", table, space, H5P_DEFAULT, creation, H5P_DEFAULT),
             out);
out:
    hdf_release(&creation);
    hdf_release(&space);
    return status;
}

static pb_status write_cell_axis(hid_t file, int64_t count, hid_t *scale)
{
    int64_t *numbers = NULL;

    PB_TRY(PB_ALLOC(numbers, count + 1));
    for (int64_t i = 0; i < count; i++) {
        numbers[i] = i;
    }
    hdf_array array  = {.name      = "cell",
                        .units     = "1",
                        .long_name = "number of the cell in the table",
                        .kind      = RECORD_I64,
                        .rank      = 1,
                        .shape     = {(hsize_t)count},
                        .values    = numbers};
    pb_status status = hdf_array_write(file, &array, scale);
    pb_memory_free(numbers);
    return status == PB_OK ? hdf_scale_make(*scale, "cell") : status;
}

/* Writes the rows in blocks of whole chunks. */
static pb_status write_rows(hid_t dataset, hid_t table, const pb_results *results,
                            const row_layout *layout)
{
    const hsize_t count = (hsize_t)results->count;
    char *rows          = NULL;
    hid_t block         = -1;
    hid_t space         = -1;
    pb_status status    = PB_OK;

    rows = pb_memory_new(count < BLOCK ? count : BLOCK, layout->size);
    if (rows == NULL) {
        return PB_ERR_MEMORY;
    }
    TRY_HDF5(status, space = H5Dget_space(dataset), out);
    for (hsize_t at = 0; at < count; at += BLOCK) {
        hsize_t size = count - at < BLOCK ? count - at : BLOCK;
        memset(rows, 0, size * layout->size);
        for (hsize_t i = 0; i < size; i++) {
            fill_row(&results->records[at + i], layout, rows + i * layout->size);
        }
        hdf_release(&block);
        TRY_HDF5(status, block = H5Screate_simple(1, &size, NULL), out);
        TRY_HDF5(status, H5Sselect_hyperslab(space, H5S_SELECT_SET, &at, NULL, &size, NULL), out);
        TRY_HDF5(status, H5Dwrite(dataset, table, block, space, H5P_DEFAULT, rows), out);
    }
out:
    hdf_release(&space);
    hdf_release(&block);
    pb_memory_free(rows);
    return status;
}

static pb_status write_table(hid_t file, const pb_results *results,
                             const pb_results_settings *settings)
{
    row_layout layout = {0};
    hid_t table       = -1;
    hid_t dataset     = -1;
    hid_t scale       = -1;
    pb_status status  = PB_OK;

    PB_TRY_GOTO(status, lay_out(results, settings, &layout), out);
    PB_TRY_GOTO(status, table_type(&layout, &table), out);
    PB_TRY_GOTO(status, table_create(file, table, (hsize_t)results->count, &dataset), out);
    PB_TRY_GOTO(status, write_rows(dataset, table, results, &layout), out);
    PB_TRY_GOTO(status, write_units(dataset, table), out);
    PB_TRY_GOTO(status, write_cell_axis(file, results->count, &scale), out);
    PB_TRY_GOTO(status, hdf_scale_attach(dataset, scale, 0, "cell"), out);
out:
    hdf_release(&scale);
    hdf_release(&dataset);
    hdf_release(&table);
    pb_memory_free(layout.setting_at);
    pb_memory_free(layout.setting_size);
    return status;
}

/* HDF5 remembers every gap in a file that it has open, some thousand bytes for each cell. */
enum { REOPENED_AFTER = 1000 };

static pb_status write_cell(void *file, const pb_record *whole)
{
    return cell_write(*(hid_t *)file, whole);
}

static pb_status write_cells(const char *path, hid_t *file, const pb_results *results)
{
    for (int64_t i = 0; i < results->count; i++) {
        PB_TRY(pb_stop_check());
        if (i > 0 && i % REOPENED_AFTER == 0) {
            PB_TRY(hdf_reopen(path, file));
        }
        PB_TRY(pb_record_visit(&results->records[i], write_cell, file));
    }
    return PB_OK;
}

/* The default plot: PSCP of models and methods, or the scores where none has a PSCP. */
static const char *first_plot(const pb_results *results, const pb_results_pscp *pscp)
{
    int64_t count = pscp != NULL ? results->models_count * results->methods_count : 0;

    for (int64_t i = 0; i < count; i++) {
        if (isfinite(pscp->pscp[i])) {
            return "pscp";
        }
    }
    return "grid";
}

static pb_status write_root(hid_t file, const pb_results *results, const pb_results_pscp *pscp)
{
    PB_TRY(cell_root_write(file, "results"));
    PB_TRY(hdf_put_text(file, "sweep", results->sweep, NULL));
    PB_TRY(hdf_put_text(file, "protocol", results->protocol, NULL));
    PB_TRY(hdf_put_text(file, "command_line", results->command_line, NULL));
    if (results->shards[0] != '\0') {
        PB_TRY(hdf_put_text(file, "shards_sha256", results->shards, NULL));
    }
    return nexus_default(file, first_plot(results, pscp));
}

/* All but the cells. */
static pb_status write_tables(hid_t file, const pb_results *results, const pb_results_pscp *pscp)
{
    pb_results_settings settings = {0};

    PB_TRY(write_root(file, results, pscp));
    PB_TRY(pb_results_settings_find(results, &settings));
    pb_status status = write_table(file, results, &settings);
    if (status == PB_OK) {
        status = grid_write(file, results, &settings);
    }
    pb_results_settings_clear(&settings);
    PB_TRY(status);
    return pscp != NULL ? pscp_write(file, results, pscp) : PB_OK;
}

pb_status pb_results_write(const pb_results *results, const pb_results_pscp *pscp, const char *path)
{
    char *temporary  = NULL;
    char *folder     = NULL;
    hid_t file       = -1;
    pb_status status = PB_OK;

    PB_TRY_GOTO(status, pb_path_directory(path, &folder), out);
    PB_TRY_GOTO(status, pb_path_make_directories(folder), out);
    PB_TRY_GOTO(status, pb_file_temporary_create(path, &temporary), out);
    PB_TRY_GOTO(status, hdf_create(temporary, &file), err_file);
    PB_TRY_GOTO(status, write_tables(file, results, pscp), err_file);
    PB_TRY_GOTO(status, write_cells(temporary, &file, results), err_file);
    PB_TRY_GOTO(status, hdf_close(&file), err_file);
    PB_TRY_GOTO(status, seal_file(temporary), err_file);
    PB_TRY_GOTO(status, pb_file_commit(temporary, path), out);
    goto out;

err_file:
    pb_error_prefix(status, "%s", path);
    if (file >= 0) {
        (void)H5Fclose(file);
    }
    (void)unlink(temporary);
out:
    pb_memory_free(temporary);
    pb_memory_free(folder);
    return status;
}
