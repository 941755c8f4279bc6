// SPDX-License-Identifier: Apache-2.0
/* The options of a command: its own tables, the shared ones, and the properties that an option
 * takes from the configuration field it sets. */
#include "commands.h"

#include "pb/memory.h"
#include "pb/table.h"

#include <stdio.h>
#include <string.h>

static const char *const dtypes[] = {"f32", "bf16", NULL};
static const char *const levels[] = {"error", "warn", "info", "debug", "trace", NULL};

static const pb_option compute_options[] = {
    PB_CLI_CHOICE("dtype", "f32|bf16", "f32", dtypes,
                  "bf16 rounds the factors of products; on a GPU, what passes between operations"),
    PB_CLI_INT("threads", "N", "1", 0, 4096, "threads per process, 0: one per processor"),
    PB_CLI_TEXT("products", "auto|blas|CHOICE", NULL,
                "which library computes products on the CPU: auto measures, CHOICE as in a result; "
                "default: blas, for BF16 factors oneDNN or AMX where well ahead"),
    PB_CLI_TEXT("device", "auto|cpu|cuda[:N]", "auto",
                "where to compute; auto: the best there is; processes of a node share its devices"),
    PB_CLI_INT("seed", "N", "42", 0, 9007199254740992.0, "seed of all random numbers"),
    PB_CLI_LIST("set", "KEY=VALUE", "set a key of the configuration, like train.batch=8"),
    PB_CLI_FLAG("json", "print JSON to standard output"),
    PB_OPTION_END,
};

static const pb_option general_options[] = {
    PB_CLI_CHOICE("log-level", "LEVEL", "info", levels,
                  "log level: error, warn, info, debug, trace"),
    {.name    = "width",
     .kind    = PB_OPTION_INT,
     .value   = "N",
     .minimum = PB_TABLE_WIDTH_MIN,
     .maximum = CLI_WIDEST,
     .help    = "columns of a line of text; default: $COLUMNS, else the terminal's, else 120"},
    {.name = "help", .letter = 'h', .kind = PB_OPTION_FLAG, .help = "print this help"},
    PB_OPTION_END,
};

const pb_config_field *option_field(const pb_option *option)
{
    const pb_config_field *field = option->fields;
    while (field->key != NULL && strcmp(field->key, option->key) != 0) {
        field++;
    }
    PB_ASSERT(field->key != NULL);
    return field;
}

static void add_option(const pb_option *option, option_entry *entry)
{
    entry->option = *option;
    if (option->fields == NULL) {
        return;
    }
    const pb_config_field *field = option_field(option);
    pb_option *made              = &entry->option;
    made->help                   = field->help;
    if (field->type == PB_CONFIG_BOOL) {
        made->kind = PB_OPTION_FLAG;
        return;
    }
    bool whole    = field->type == PB_CONFIG_INT;
    made->kind    = whole ? PB_OPTION_INT : PB_OPTION_FLOAT;
    made->value   = whole ? "N" : "X";
    made->minimum = field->minimum;
    made->maximum = field->maximum;
    snprintf(entry->fallback, sizeof entry->fallback, "%.15g", field->number);
    made->fallback = entry->fallback;
}

pb_status option_list(const pb_command *command, option_entry **out, int64_t *count)
{
    enum { OWN = sizeof command->options / sizeof *command->options };
    const pb_option *tables[OWN + 2] = {0};
    option_entry *entries            = NULL;
    int64_t n                        = 0;
    memcpy(tables, command->options, sizeof command->options);
    tables[OWN]     = command->computes ? compute_options : NULL;
    tables[OWN + 1] = general_options;
    for (int t = 0; t < OWN + 2; t++) {
        for (const pb_option *o = tables[t]; o != NULL && o->name != NULL; o++) {
            n++;
        }
    }
    PB_TRY(PB_ALLOC(entries, n));
    *out   = entries;
    *count = 0;
    for (int t = 0; t < OWN + 2; t++) {
        for (const pb_option *o = tables[t]; o != NULL && o->name != NULL; o++) {
            if (!pb_string_is_in(o->name, command->without)) {
                add_option(o, &entries[(*count)++]);
            }
        }
    }
    return PB_OK;
}
