// SPDX-License-Identifier: Apache-2.0
/* peftbench evaluate: the scores of a model, with or without an adapter, on a data set. */
#include "commands.h"
#include "one_cell.h"

#include "pb/file.h"
#include "pb/json.h"

static const pb_option options[] = {
    PB_CLI_NEEDED("model", "DIR", "checkpoint in Hugging Face layout"),
    PB_CLI_TEXT("adapter", "DIR", NULL,
                "adapter as HF PEFT saves it; without it the model as it is"),
    PB_CLI_NEEDED("dataset", "NAME", "a name from configs/dataset or a path that ends in .cfg"),
    PB_CLI_CHOICE("protocol", "paper|corrected", "corrected", pb_protocol_names,
                  "whose rules apply"),
    PB_CLI_TEXT(
        "predictions", "FILE", NULL,
        "write a JSON line {\"row\", \"prediction\", \"label\"} per prediction, as `score` reads"),
    PB_OPTION_END,
};

static pb_status write_predictions(const char *path, const pb_record *record)
{
    pb_string text   = {0};
    pb_status status = PB_OK;
    for (int64_t i = 0; i < record->predictions_count && status == PB_OK; i++) {
        const pb_record_prediction *p = &record->predictions[i];
        pb_json json                  = pb_json_begin(&text, PB_JSON_INLINE, 0);
        pb_json_put_int(&json, "row", p->row);
        pb_json_put_text(&json, "prediction", p->prediction);
        pb_json_put_text(&json, "label", p->label);
        status = pb_json_finish(&json, "\n");
    }
    if (status == PB_OK) {
        status = pb_file_write_atomic(path, text.data != NULL ? text.data : "", text.length);
    }
    pb_string_clear(&text);
    return status;
}

static pb_status run(pb_cli *cli)
{
    const pb_cell_own own = {.tests_only = true, .adapter = pb_cli_text(cli, "adapter")};
    const char *path      = pb_cli_text(cli, "predictions");
    pb_record record      = {0};
    pb_status status;
    PB_TRY_GOTO(status, one_cell_run(cli, NULL, NULL, &own, NULL, &record), done);
    if (path != NULL) {
        PB_TRY_GOTO(status, write_predictions(path, &record), done);
    }
    status = one_cell_print(cli, &record);
done:
    pb_record_clear(&record);
    return status;
}

const pb_command command_evaluate = {
    .name  = "evaluate",
    .help  = "scores of a model or adapter on a data set",
    .usage = "--model DIR [--adapter DIR] --dataset NAME [--protocol paper|corrected]",
    .details =
        "Prints a JSON line with the scores that a cell of a sweep has with these values and "
        "the same settings: those of its grid file go into --set, like eval.batch=50 and "
        "data.test_rows=100.\n",
    .options  = {options},
    .computes = true,
    .alone    = true,
    .run      = run,
};
