// SPDX-License-Identifier: Apache-2.0
/* The help texts, from the tables of commands and options. */
#include "commands.h"

#include "pb/memory.h"
#include "pb/table.h"

#include <stdio.h>
#include <string.h>

enum { COMMAND_COLUMNS = 13, OPTION_COLUMNS = 31 };

const char cli_about[] = "Measures parameter-efficient fine-tuning of language models over a grid "
                         "model x dataset x method x seed.";
const char cli_exit_codes[] =
    "0 done; 1 failed; 2 bad usage or configuration; 3 stopped early, everything kept; 4 done, but "
    "some cells failed, or sweeps that were compared are not alike";

/* Help stays narrow enough to read comfortably. */
static int64_t help_width(void)
{
    int64_t width = cli_terminal_width();
    return width < PB_TABLE_WIDTH ? width : PB_TABLE_WIDTH;
}

/* A name and its meaning, which continues in its own column. */
static pb_status help_line(const char *name, int64_t columns, const char *meaning, pb_string *out)
{
    PB_TRY(pb_string_printf(out, "  %-*s ", (int)columns - 3, name));
    return pb_table_note(out, help_width(), columns, "%s", meaning);
}

pb_status cli_help_program(const pb_command *const *commands, pb_string *out)
{
    int64_t width = help_width();
    PB_TRY(pb_table_note(out, width, 0, "usage: peftbench COMMAND [arguments] [options]"));
    PB_TRY(pb_string_puts(out, "\n"));
    PB_TRY(pb_table_note(out, width, 0, "%s", cli_about));
    PB_TRY(pb_string_puts(out, "\ncommands:\n"));
    for (; *commands != NULL; commands++) {
        PB_TRY(help_line((*commands)->name, COMMAND_COLUMNS, (*commands)->help, out));
    }
    PB_TRY(pb_string_puts(out, "\n"));
    PB_TRY(pb_table_note(
        out, width, 0,
        "peftbench COMMAND --help describes a command, peftbench --version shows which "
        "this is"));
    return pb_table_note(out, width, 0, "exit codes: %s", cli_exit_codes);
}

void cli_option_left(const pb_option *option, char left[CLI_LEFT_BYTES])
{
    char letter[8]    = "";
    bool takes        = option->kind != PB_OPTION_FLAG;
    const char *value = option->value != NULL ? option->value : "TEXT";
    if (option->letter != 0) {
        snprintf(letter, sizeof letter, "-%c, ", option->letter);
    }
    snprintf(left, CLI_LEFT_BYTES, "%s--%s%s%s", letter, option->name, takes ? " " : "",
             takes ? value : "");
}

pb_status cli_option_meaning(const pb_option *option, pb_string *out)
{
    PB_TRY(pb_string_puts(out, option->help));
    if (option->required) {
        return pb_string_puts(out, " (required)");
    }
    if (option->fallback != NULL) {
        return pb_string_printf(out, " (default %s)", option->fallback);
    }
    return option->kind == PB_OPTION_LIST ? pb_string_puts(out, " (may be repeated)") : PB_OK;
}

static pb_status help_option(const pb_option *option, pb_string *out)
{
    char left[CLI_LEFT_BYTES];
    pb_string text   = {0};
    pb_status status = cli_option_meaning(option, &text);
    if (status == PB_OK) {
        cli_option_left(option, left);
        status = help_line(left, OPTION_COLUMNS, text.data, out);
    }
    pb_string_clear(&text);
    return status;
}

static pb_status help_options(const pb_command *command, pb_string *out)
{
    option_entry *entries = NULL;
    int64_t count         = 0;
    pb_status status      = PB_OK;
    PB_TRY(option_list(command, &entries, &count));
    for (int64_t i = 0; i < count && status == PB_OK; i++) {
        status = help_option(&entries[i].option, out);
    }
    pb_memory_free(entries);
    return status;
}

/* Every line of the details is a paragraph. */
static pb_status help_details(const char *details, pb_string *out)
{
    while (*details != '\0') {
        size_t length = strcspn(details, "\n");
        PB_TRY(pb_table_note(out, help_width(), 0, "%.*s", (int)length, details));
        details += length + (details[length] == '\n');
    }
    return PB_OK;
}

pb_status cli_help_command(const pb_command *command, pb_string *out)
{
    static const char start[] = "usage: peftbench ";
    bool has_usage            = command->usage != NULL && *command->usage != '\0';
    PB_TRY(pb_string_puts(out, start));
    PB_TRY(pb_table_note(out, help_width(), (int64_t)sizeof start - 1, "%s%s%s", command->name,
                         has_usage ? " " : "", has_usage ? command->usage : ""));
    PB_TRY(pb_string_puts(out, "\n"));
    PB_TRY(pb_table_note(out, help_width(), 0, "%s", command->help));
    PB_TRY(pb_string_puts(out, "\noptions:\n"));
    PB_TRY(help_options(command, out));
    if (command->details != NULL) {
        PB_TRY(pb_string_puts(out, "\n"));
        PB_TRY(help_details(command->details, out));
    }
    return PB_OK;
}
