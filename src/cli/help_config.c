// SPDX-License-Identifier: Apache-2.0
/* peftbench run --help-config: all keys of a grid and of the files it names. */
#include "commands.h"

#include "pb/cell.h"
#include "pb/dataset.h"
#include "pb/grid.h"
#include "pb/method.h"
#include "pb/train.h"

#include <stdio.h>

/* The lists of groups in `sweep`. */
static pb_status write_rules(pb_string *out)
{
    PB_TRY(pb_string_puts(
        out, "sweep.methods = ( …, { method = \"…\"; vary = { … }; }, … )   variants: one for each "
             "combination\n"
             "  method                   a name or path; in sweep.models: model, in "
             "sweep.datasets: dataset\n"
             "  vary                     groups as in sweep.override, with lists of values\n"));
    PB_TRY(
        pb_config_help("sweep.search   variants of a method train together; weak ones are stopped",
                       pb_grid_search_fields, out));
    PB_TRY(
        pb_config_help("sweep.exclude = ( { … }, … )   leaves out the cells that match all keys of "
                       "an entry",
                       pb_grid_match_fields, out));
    return pb_string_puts(out, "sweep.override = ( { when = { … }; set = { … }; }, … )   sets keys "
                               "of the cells that match `when`\n"
                               "  when                     keys as in sweep.exclude\n"
                               "  set                      groups model, dataset, method, train, "
                               "data, eval\n");
}

static pb_status write_all(pb_string *out)
{
    const struct {
        const char *title;
        const pb_config_field *fields;
    } groups[] = {
        {"sweep", pb_grid_sweep_fields},
        {"run", pb_grid_run_fields},
        {"model", pb_cell_model_fields},
        {"dataset", pb_dataset_fields},
        {"dataset.typical", pb_cell_typical_fields},
        {"data", pb_data_fields},
        {"train", pb_train_fields},
        {"eval", pb_cell_eval_fields},
    };
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        PB_TRY(pb_config_help(groups[i].title, groups[i].fields, out));
        if (i == 0) {
            PB_TRY(write_rules(out));
        }
    }
    for (const pb_method_ops *const *m = pb_method_registry(); *m != NULL; m++) {
        char title[96];
        snprintf(title, sizeof title, "method (name = \"%s\")", (*m)->name);
        if ((*m)->fields != NULL) {
            PB_TRY(pb_config_help(title, (*m)->fields, out));
        }
    }
    return PB_OK;
}

pb_status help_config_print(const pb_cli *cli)
{
    pb_string text = {0};
    if (pb_cli_flag(cli, "json")) {
        return PB_FAIL(PB_ERR_USAGE, "run: --help-config prints text only; leave --json out");
    }
    return cli_print_made(cli, write_all(&text), &text);
}
