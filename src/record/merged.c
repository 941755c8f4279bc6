// SPDX-License-Identifier: Apache-2.0
/* Gathers records from merged files, or from shards named one by one. Curves stay on disk. */
#include "cell.h"
#include "gather.h"
#include "source.h"

#include "pb/file.h"
#include "pb/log.h"
#include "pb/memory.h"
#include "pb/stop.h"
#include "pb/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The axes and states that a merged file declares; one of several files that are read together. */
typedef struct declared {
    pb_results axes; /* no records */
    bool merged;     /* false for a shard, which declares nothing */
} declared;

/* Merged files of earlier versions do not have it. */
static pb_status read_shards_hash(hid_t file, char text[PB_HASH_TEXT])
{
    char *hash = NULL;

    if (!hdf_has_attribute(file, "shards_sha256")) {
        return PB_OK;
    }
    PB_TRY(hdf_get_text(file, "shards_sha256", &hash));
    (void)snprintf(text, PB_HASH_TEXT, "%s", hash);
    pb_memory_free(hash);
    return PB_OK;
}

static pb_status read_declared(hid_t file, declared *out)
{
    pb_results *axes = &out->axes;
    char *kind       = NULL;
    void *seeds      = NULL;
    hid_t grid       = -1;
    hid_t dataset    = -1;
    hid_t space      = -1;
    pb_status status = PB_OK;

    PB_TRY(hdf_get_text(file, "kind", &kind));
    out->merged = strcmp(kind, "results") == 0;
    pb_memory_free(kind);
    if (!out->merged) {
        return PB_OK;
    }
    PB_TRY_GOTO(status, hdf_get_text(file, "sweep", &axes->sweep), out);
    PB_TRY_GOTO(status, hdf_get_text(file, "protocol", &axes->protocol), out);
    PB_TRY_GOTO(status, hdf_get_text(file, "command_line", &axes->command_line), out);
    PB_TRY_GOTO(status, hdf_get_text(file, "created", &axes->created), out);
    PB_TRY_GOTO(status, hdf_get_text(file, "program", &axes->program), out);
    PB_TRY_GOTO(status, read_shards_hash(file, axes->shards), out);
    PB_TRY_GOTO(status, hdf_group_open(file, "grid", &grid), out);
    PB_TRY_GOTO(status, hdf_texts_read(grid, "model", &axes->models, &axes->models_count), out);
    PB_TRY_GOTO(status, hdf_texts_read(grid, "dataset", &axes->datasets, &axes->datasets_count),
                out);
    PB_TRY_GOTO(status, hdf_texts_read(grid, "method", &axes->methods, &axes->methods_count), out);
    PB_TRY_GOTO(status, hdf_numbers_read(grid, "seed", RECORD_I64, &seeds, &axes->seeds_count),
                out);
    axes->seeds = seeds;
    PB_TRY_GOTO(status, axes_grid(axes, PB_CELL_EXCLUDED), out);
    int64_t count = pb_results_positions(axes);
    PB_TRY_GOTO(status, hdf_dataset_open(grid, "status", &dataset), out);
    TRY_HDF5(status, space = H5Dget_space(dataset), out);
    if (H5Sget_simple_extent_npoints(space) != count) {
        status = PB_FAIL(PB_ERR_FORMAT, "grid/status does not span the axes");
        goto out;
    }
    if (count > 0) {
        TRY_HDF5(status,
                 H5Dread(dataset, H5T_NATIVE_INT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, axes->state),
                 out);
    }
out:
    hdf_release(&space);
    hdf_release(&dataset);
    hdf_release(&grid);
    return status;
}

typedef struct reading {
    pb_results *results;
    pb_record_source *source;
    bool keep;
} reading;

static pb_status keep_cell(void *context, hid_t file, const char *group)
{
    reading *at      = context;
    pb_record record = {0};

    PB_TRY(pb_stop_check());
    PB_TRY(cell_read(file, group, PB_RECORD_NUMBERS, &record));
    pb_status status = source_mark(at->source, at->keep, &record);
    if (status != PB_OK) {
        pb_record_clear(&record);
        return status;
    }
    return results_take(at->results, &record);
}

/* The table and the grid of a merged file name its cells: a missing one is damage, not a cell that
 * was never run. */
static pb_status check_cells(hid_t file, const declared *from, const pb_results *results,
                             int64_t before)
{
    const pb_results *axes = &from->axes;
    int64_t cells          = results->count - before;
    int64_t named          = 0;
    int64_t rows           = 0;
    pb_status status       = PB_OK;

    PB_TRY(hdf_rows(file, "results", &rows));
    for (int64_t i = 0; i < pb_results_positions(axes); i++) {
        named += axes->state[i] != PB_CELL_EXCLUDED && axes->state[i] != PB_CELL_MISSING;
    }
    for (int64_t i = before; i < results->count; i++) {
        if (axes_find(axes, &results->records[i].key) < 0) {
            const pb_record_key *key = &results->records[i].key;
            status =
                PB_FAIL(PB_ERR_FORMAT, "the axes of /grid do not name the cell %s/%s/%s/%" PRId64,
                        key->model, key->dataset, key->method, key->seed);
        }
    }
    if (rows != cells || named != cells) {
        status = PB_FAIL(PB_ERR_FORMAT,
                         "/results has %" PRId64 " cells, /grid %" PRId64 ", but /cells %" PRId64
                         "; the file is damaged: merge its shards again",
                         rows, named, cells);
    }
    return status;
}

/* Shards have always had a checksum; merged files have not. */
static pb_status check_seal(const pb_record_source *source, const declared *from)
{
    if (source_is_sealed(source)) {
        return PB_OK;
    }
    if (!from->merged) {
        return PB_FAIL(PB_ERR_FORMAT, "a shard without its checksum: it was cut or changed; the "
                                      "same `peftbench run` makes its cell again");
    }
    pb_log_warn("%s has no checksum, so damage would go unnoticed: merge its shards again",
                source_path(source));
    return PB_OK;
}

static pb_status read_file(const char *path, declared *axes, pb_results *results)
{
    pb_record_source *source = NULL;
    int64_t before           = results->count;
    pb_status status         = PB_OK;

    if (pb_path_is_directory(path)) {
        return PB_FAIL(PB_ERR_ARGUMENT,
                       "%s: a directory; merge it first: peftbench merge %s -o FILE.h5", path,
                       path);
    }
    PB_TRY(source_open(path, false, &source));
    hid_t file = source_file(source);
    PB_TRY_GOTO(status, cell_root_check(file), out);
    PB_TRY_GOTO(status, read_declared(file, axes), out);
    PB_TRY_GOTO(status, check_seal(source, axes), out);
    reading at = {results, source, axes->merged};
    PB_TRY_GOTO(status, cell_each(file, keep_cell, &at), out);
    if (axes->merged) {
        PB_TRY_GOTO(status, check_cells(file, axes, results, before), out);
    }
out:
    if (status != PB_OK) {
        pb_error_prefix(status, "%s", path);
    }
    record_source_release(source);
    return status;
}

/* Called for every position of a declared grid: adds its axes, or its states. */
static pb_status join(const declared *from, bool states, pb_results *out)
{
    const pb_results *axes = &from->axes;

    for (int64_t i = 0; i < pb_results_positions(axes); i++) {
        pb_record_key key = pb_results_key(axes, i);
        if (!states) {
            PB_TRY(axes_add(out, &key));
        } else if (axes->state[i] != PB_CELL_EXCLUDED) {
            out->state[axes_find(out, &key)] = PB_CELL_MISSING;
        }
    }
    return PB_OK;
}

static pb_status join_all(const declared *files, int64_t count, pb_results *out)
{
    bool merged = true;

    PB_TRY(results_drop_repeated(out));
    for (int64_t i = 0; i < count; i++) {
        const pb_results *axes = &files[i].axes;
        merged                 = merged && files[i].merged;
        PB_TRY(join(&files[i], false, out));
        if (out->sweep == NULL && files[i].merged) {
            PB_TRY(pb_record_set_text(&out->sweep, axes->sweep));
            PB_TRY(pb_record_set_text(&out->protocol, axes->protocol));
            PB_TRY(pb_record_set_text(&out->command_line, axes->command_line));
            PB_TRY(pb_record_set_text(&out->created, axes->created));
            PB_TRY(pb_record_set_text(&out->program, axes->program));
            memcpy(out->shards, axes->shards, sizeof out->shards);
        }
    }
    for (int64_t i = 0; i < out->count; i++) {
        PB_TRY(axes_add(out, &out->records[i].key));
        if (out->protocol == NULL) {
            PB_TRY(pb_record_set_text(&out->protocol, out->records[i].protocol));
        }
    }
    PB_TRY(axes_grid(out, merged ? PB_CELL_EXCLUDED : PB_CELL_MISSING));
    for (int64_t i = 0; i < count; i++) {
        PB_TRY(join(&files[i], true, out));
    }
    return axes_enter(out);
}

pb_status pb_results_open(const char *const *paths, int64_t count, pb_results *out)
{
    pb_results results = {0};
    declared *files    = NULL;
    pb_status status   = PB_OK;

    PB_TRY(PB_ALLOC(files, count + 1));
    for (int64_t i = 0; i < count; i++) {
        PB_TRY_GOTO(status, read_file(paths[i], &files[i], &results), out);
    }
    PB_TRY_GOTO(status, join_all(files, count, &results), out);
    *out = results;
out:
    for (int64_t i = 0; i < count; i++) {
        pb_results_clear(&files[i].axes);
    }
    pb_memory_free(files);
    if (status != PB_OK) {
        pb_results_clear(&results);
    }
    return status;
}
