// SPDX-License-Identifier: Apache-2.0
/* All mistakes of a sweep, found before its first cell. A cell can have several: its model and its
 * data set are looked at one by one. */
#include "check.h"

#include "pb/log.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <string.h>

/* Notes the mistake that `status` stands for; the first one of a cell is the one it shows. */
static pb_status note(sweep_check *c, int64_t i, pb_status status)
{
    int64_t place = -1;
    PB_TRY(pb_mistakes_take(&c->mistakes, status, &place));
    if (place >= 0 && c->cells[i].mistake < 0) {
        c->cells[i].mistake = place;
        c->bad++;
    }
    return PB_OK;
}

static pb_status find_data(sweep_check *c, const pb_cell *cell, data_check **out)
{
    pb_string text = {0};
    PB_TRY(pb_cell_data_text(cell, &text));
    for (int64_t k = 0; k < c->data_count; k++) {
        if (strcmp(c->data[k].text.data, text.data) == 0) {
            pb_string_clear(&text);
            *out = &c->data[k];
            return PB_OK;
        }
    }
    pb_status status = PB_GROW(c->data, c->data_count + 1);
    if (status != PB_OK) {
        pb_string_clear(&text);
        return status;
    }
    *out           = &c->data[c->data_count++];
    **out          = (data_check){.text = text};
    (*out)->status = pb_cell_check_data(cell, &(*out)->rows);
    if ((*out)->status != PB_OK) {
        (*out)->message = pb_memory_text(pb_error_message());
        pb_error_clear();
        return (*out)->message != NULL ? PB_OK : PB_ERR_MEMORY;
    }
    return PB_OK;
}

static pb_status check_data(sweep_check *c, const pb_cell *cell, pb_cell_rows *rows)
{
    data_check *data = NULL;
    PB_TRY(find_data(c, cell, &data));
    *rows = data->rows;
    return data->status == PB_OK ? PB_OK : PB_FAIL(data->status, "%s", data->message);
}

static pb_status check_cell(const sweep *s, sweep_check *c, int64_t i)
{
    pb_cell cell      = sweep_cell(s, i);
    cell_check *known = &c->cells[i];
    known->mistake    = -1;
    pb_status status  = pb_cell_check_config(&cell);
    bool has_config   = status == PB_OK;
    c->config         = c->config || !has_config;
    PB_TRY(note(c, i, status));
    status         = pb_cell_env_check_model(s->env, cell.model);
    bool has_model = status == PB_OK;
    PB_TRY(note(c, i, status));
    if (has_config && has_model) {
        PB_TRY(note(c, i, pb_cell_predict(s->env, &cell, &known->prediction)));
    }
    return has_config ? note(c, i, check_data(c, &cell, &known->rows)) : PB_OK;
}

pb_status sweep_check_open(const sweep *s, sweep_check *out)
{
    sweep_check c    = {0};
    pb_status status = PB_ALLOC(c.cells, s->cells.count);
    for (int64_t i = 0; i < s->cells.count && status == PB_OK; i++) {
        status = check_cell(s, &c, i);
    }
    if (status != PB_OK) {
        sweep_check_close(&c);
        return PB_FRAME(status);
    }
    *out = c;
    return PB_OK;
}

void sweep_check_close(sweep_check *c)
{
    for (int64_t k = 0; k < c->data_count; k++) {
        pb_string_clear(&c->data[k].text);
        pb_memory_free(c->data[k].message);
    }
    pb_memory_free(c->data);
    pb_memory_free(c->cells);
    pb_mistakes_clear(&c->mistakes);
    *c = (sweep_check){0};
}

pb_status sweep_check_models(const sweep *s, sweep_check *c)
{
    for (int64_t i = 0; i < s->cells.count; i++) {
        if (c->cells[i].mistake < 0) {
            PB_TRY(note(c, i, pb_cell_env_check_model(s->env, s->cells.items[i].model)));
        }
    }
    return PB_OK;
}

static const char *cells_word(int64_t count)
{
    return count == 1 ? "cell" : "cells";
}

static pb_status refuse(const sweep *s, const sweep_check *c)
{
    int64_t cells    = s->cells.count;
    const char *rest = c->bad < cells ? "; with --keep-going they are recorded as failed and the "
                                        "others run"
                                      : "";
    if (c->mistakes.count == 1) {
        return PB_FAIL(PB_ERR_CONFIG,
                       "%s (nothing was run: %" PRId64 " of %" PRId64 " %s cannot run%s)",
                       c->mistakes.items[0].text, c->bad, cells, cells_word(cells), rest);
    }
    for (int64_t i = 0; i < c->mistakes.count; i++) {
        const pb_mistake *m = &c->mistakes.items[i];
        pb_log0_error("%s (%" PRId64 " %s)", m->text, m->count, cells_word(m->count));
    }
    return PB_FAIL(PB_ERR_CONFIG,
                   "%s: nothing was run: %" PRId64 " of %" PRId64
                   " %s cannot run because of the %" PRId64 " mistakes above%s",
                   pb_grid_path(s->grid), c->bad, cells, cells_word(cells), c->mistakes.count,
                   rest);
}

pb_status sweep_check_judge(const sweep *s, sweep_check *c, bool keep_going)
{
    int64_t told = c->told;
    c->told      = c->mistakes.count;
    if (c->bad == 0) {
        return PB_OK;
    }
    if (!keep_going || c->bad == s->cells.count) {
        return refuse(s, c);
    }
    for (int64_t i = told; i < c->mistakes.count; i++) {
        const pb_mistake *m = &c->mistakes.items[i];
        pb_log0_warn("%s (%" PRId64 " %s will be recorded as failed)", m->text, m->count,
                     cells_word(m->count));
    }
    return PB_OK;
}
