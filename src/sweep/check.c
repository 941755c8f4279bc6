// SPDX-License-Identifier: Apache-2.0
/* Finds all errors of a sweep before its first cell. A cell can have several: its model and its
 * data set are checked separately. */
#include "internal.h"

#include "pb/log.h"
#include "pb/memory.h"
#include "pb/string.h"

#include <inttypes.h>
#include <string.h>

/* Records the error of `status`; a cell shows its first one. */
static pb_status note(pb_sweep_forecast *f, int64_t i, pb_status status)
{
    int64_t place = -1;
    PB_TRY(pb_mistakes_take(&f->mistakes, status, &place));
    if (place >= 0 && f->cells[i].mistake < 0) {
        f->cells[i].mistake = place;
        f->bad++;
    }
    return PB_OK;
}

/* Files are read once for all cells that use the same rows of them, whatever the overrides. */
typedef struct rows_read {
    pb_string text; /* the groups that determine the rows */
    pb_cell_rows rows;
    const char *model; /* whose tokens are in `counted`; NULL: none yet */
    pb_cell_rows counted;
    pb_status status;
    char *message; /* of a status that is not PB_OK */
} rows_read;

typedef struct rows_list {
    rows_read *items;
    int64_t count;
    int64_t configuration, last; /* of the previous cell, and the item of its rows; -1 at first */
} rows_list;

static void clear_rows(rows_list *list)
{
    for (int64_t k = 0; k < list->count; k++) {
        pb_string_clear(&list->items[k].text);
        pb_memory_free(list->items[k].message);
    }
    pb_memory_free(list->items);
}

static pb_status find_rows(const pb_sweep *s, rows_list *list, const pb_cell *cell, int64_t *out)
{
    pb_string text = {0};
    PB_TRY(pb_cell_data_text(cell, &text));
    *out = 0;
    while (*out < list->count && strcmp(list->items[*out].text.data, text.data) != 0) {
        ++*out;
    }
    pb_status status = *out < list->count ? PB_OK : PB_GROW(list->items, list->count + 1);
    if (status != PB_OK || *out < list->count) {
        pb_string_clear(&text);
        return status;
    }
    rows_read *read = &list->items[list->count++];
    *read           = (rows_read){.text = text};
    read->status    = pb_cell_check_data(cell, !s->options.needs_weights, &read->rows);
    return pb_mistake_keep(read->status, &read->message);
}

/* Cells that differ only in their seed are adjacent, and so are those of a model. A row that the
 * tokenizer refuses fails in its cell. */
static pb_status check_rows(const pb_sweep *s, rows_list *list, const pb_grid_cell *c,
                            pb_cell_rows *out)
{
    if (c->configuration != list->configuration) {
        PB_TRY(find_rows(s, list, c->cell, &list->last));
        list->configuration = c->configuration;
    }
    rows_read *read = &list->items[list->last];
    if (read->status == PB_OK && read->model != c->model) {
        read->model   = c->model;
        read->counted = read->rows;
        if (pb_cell_count_tokens(s->env, c->cell, &read->counted) != PB_OK) {
            read->counted = read->rows;
            pb_error_clear();
        }
    }
    *out = read->counted;
    return read->status == PB_OK ? PB_OK : PB_FAIL(read->status, "%s", read->message);
}

static pb_status check_cell(const pb_sweep *s, int64_t i, rows_list *list, pb_sweep_forecast *f)
{
    const pb_cell *cell      = s->cells.items[i].cell;
    pb_sweep_foreseen *known = &f->cells[i];
    *known                   = (pb_sweep_foreseen){.cell = &s->cells.items[i], .mistake = -1};
    pb_status status         = pb_cell_check(cell);
    bool has_config          = status == PB_OK;
    f->config                = f->config || !has_config;
    PB_TRY(note(f, i, status));
    status         = pb_cell_env_check_model(s->env, known->cell->model);
    bool has_model = status == PB_OK;
    PB_TRY(note(f, i, status));
    status        = has_config ? check_rows(s, list, known->cell, &known->rows) : PB_OK;
    bool has_rows = status == PB_OK;
    PB_TRY(note(f, i, status));
    return has_config && has_model
               ? note(f, i,
                      pb_cell_predict(s->env, cell, has_rows ? &known->rows : NULL,
                                      &known->prediction))
               : PB_OK;
}

void pb_sweep_forecast_clear(pb_sweep_forecast *forecast)
{
    pb_memory_free(forecast->cells);
    pb_mistakes_clear(&forecast->mistakes);
    *forecast = (pb_sweep_forecast){0};
}

pb_status check_cells(const pb_sweep *s, pb_sweep_forecast *out)
{
    pb_sweep_forecast f = {.count = s->cells.count};
    rows_list list      = {.configuration = -1};
    pb_status status    = PB_ALLOC(f.cells, f.count);
    for (int64_t i = 0; i < f.count && status == PB_OK; i++) {
        status = check_cell(s, i, &list, &f);
    }
    clear_rows(&list);
    if (status != PB_OK) {
        pb_sweep_forecast_clear(&f);
        return PB_FRAME(status);
    }
    *out = f;
    return PB_OK;
}

pb_status check_models(const pb_sweep *s, pb_sweep_forecast *f)
{
    for (int64_t i = 0; i < f->count; i++) {
        if (f->cells[i].mistake < 0) {
            PB_TRY(note(f, i, pb_cell_env_check_model(s->env, f->cells[i].cell->model)));
        }
    }
    return PB_OK;
}

static const char *cells_word(int64_t count)
{
    return count == 1 ? "cell" : "cells";
}

static pb_status refuse(const pb_sweep *s, const pb_sweep_forecast *f)
{
    int64_t cells    = f->count;
    const char *rest = f->bad < cells ? "; with --keep-going they are recorded as failed and the "
                                        "others run"
                                      : "";
    if (f->mistakes.count == 1) {
        return PB_FAIL(PB_ERR_CONFIG,
                       "%s (nothing was run: %" PRId64 " of %" PRId64 " %s cannot run%s)",
                       f->mistakes.items[0].text, f->bad, cells, cells_word(cells), rest);
    }
    for (int64_t i = 0; i < f->mistakes.count; i++) {
        const pb_mistake *m = &f->mistakes.items[i];
        pb_log0_error("%s (%" PRId64 " %s)", m->text, m->count, cells_word(m->count));
    }
    return PB_FAIL(PB_ERR_CONFIG,
                   "%s: nothing was run: %" PRId64 " of %" PRId64
                   " %s cannot run because of the %" PRId64 " errors above%s",
                   pb_grid_path(s->grid), f->bad, cells, cells_word(cells), f->mistakes.count,
                   rest);
}

pb_status check_judge(const pb_sweep *s, const pb_sweep_forecast *f, int64_t first)
{
    if (f->bad == 0) {
        return PB_OK;
    }
    if (!s->options.keep_going || f->bad == f->count) {
        return refuse(s, f);
    }
    for (int64_t i = first; i < f->mistakes.count; i++) {
        const pb_mistake *m = &f->mistakes.items[i];
        pb_log0_warn("%s (%" PRId64 " %s will be recorded as failed)", m->text, m->count,
                     cells_word(m->count));
    }
    return PB_OK;
}
