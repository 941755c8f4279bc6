// SPDX-License-Identifier: Apache-2.0
/* The help texts, from the tables of commands and options. */
#include "commands.h"

#include "pb/memory.h"

#include <stdio.h>
#include <string.h>

pb_status pb_cli_help_program(const pb_command *const *commands, pb_string *out)
{
    PB_TRY(pb_string_puts(out, "usage: peftbench COMMAND [arguments] [options]\n\n"
                               "Measures parameter-efficient fine-tuning of language models over a "
                               "grid\nmodel x dataset x method x seed.\n\ncommands:\n"));
    for (; *commands != NULL; commands++) {
        PB_TRY(pb_string_printf(out, "  %-10s %s\n", (*commands)->name, (*commands)->help));
    }
    return pb_string_puts(out,
                          "\npeftbench COMMAND --help describes one, peftbench --version says "
                          "which this is\n"
                          "exit codes: 0 done; 1 failed; 2 bad usage or configuration; 3 "
                          "stopped early,\n            everything kept; 4 done, but some cells "
                          "failed\n");
}

static pb_status help_option(const pb_option *option, pb_string *out)
{
    char left[64];
    char letter[8] = "";
    if (option->letter != 0) {
        snprintf(letter, sizeof letter, "-%c, ", option->letter);
    }
    bool takes = option->kind != PB_OPTION_FLAG;
    snprintf(left, sizeof left, "%s--%s%s%s", letter, option->name, takes ? " " : "",
             !takes                  ? ""
             : option->value != NULL ? option->value
                                     : "TEXT");
    PB_TRY(pb_string_printf(out, "  %-28s %s", left, option->help));
    if (option->required) {
        PB_TRY(pb_string_puts(out, " (required)"));
    } else if (option->fallback != NULL) {
        PB_TRY(pb_string_printf(out, " (default %s)", option->fallback));
    } else if (option->kind == PB_OPTION_LIST) {
        PB_TRY(pb_string_puts(out, " (may be repeated)"));
    }
    return pb_string_puts(out, "\n");
}

static pb_status help_options(const pb_command *command, pb_string *out)
{
    pb_option_entry *entries = NULL;
    int64_t count            = 0;
    pb_status status         = PB_OK;
    PB_TRY(pb_option_list(command, &entries, &count));
    for (int64_t i = 0; i < count && status == PB_OK; i++) {
        status = help_option(&entries[i].option, out);
    }
    pb_memory_free(entries);
    return status;
}

pb_status pb_cli_help_command(const pb_command *command, pb_string *out)
{
    bool has_usage = command->usage != NULL && *command->usage != '\0';
    PB_TRY(pb_string_printf(out, "usage: peftbench %s%s%s\n\n%s\n\noptions:\n", command->name,
                            has_usage ? " " : "", has_usage ? command->usage : "", command->help));
    PB_TRY(help_options(command, out));
    if (command->details != NULL) {
        PB_TRY(pb_string_printf(out, "\n%s\n", command->details));
    }
    return PB_OK;
}
