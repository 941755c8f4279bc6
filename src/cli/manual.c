// SPDX-License-Identifier: Apache-2.0
/* peftbench manual: the manual page, from the tables that --help prints. */
#include "commands.h"

#include "pb/memory.h"

#include <string.h>

/* `macro`, then `text` without anything that roff takes for its own. A line of the text is a
 * paragraph; it ends with a line break. */
static pb_status put(pb_string *out, const char *macro, const char *text)
{
    PB_TRY(pb_string_puts(out, macro));
    for (const char *p = text; *p != '\0'; p++) {
        bool begins      = p == text ? macro[strlen(macro) - 1] == '\n' : p[-1] == '\n';
        const char *safe = *p == '\\' ? "\\e" : *p == '-' ? "\\-" : NULL;
        if (begins) {
            PB_TRY(pb_string_puts(out, p == text ? "\\&" : ".PP\n\\&"));
        }
        PB_TRY(safe != NULL ? pb_string_puts(out, safe) : pb_string_append(out, p, 1));
    }
    return pb_string_puts(out, pb_string_ends(text, "\n") ? "" : "\n");
}

static pb_status put_options(const pb_command *command, pb_string *out)
{
    char left[CLI_LEFT_BYTES];
    pb_string meaning     = {0};
    option_entry *entries = NULL;
    int64_t count         = 0;
    pb_status status      = PB_OK;

    PB_TRY(option_list(command, &entries, &count));
    for (int64_t i = 0; i < count; i++) {
        pb_string_clear(&meaning);
        cli_option_left(&entries[i].option, left);
        PB_TRY_GOTO(status, cli_option_meaning(&entries[i].option, &meaning), done);
        PB_TRY_GOTO(status, put(out, ".TP\n.B ", left), done);
        PB_TRY_GOTO(status, put(out, "\\&", meaning.data), done);
    }
done:
    pb_string_clear(&meaning);
    pb_memory_free(entries);
    return status;
}

static pb_status put_command(const pb_command *command, pb_string *out)
{
    PB_TRY(put(out, ".SS ", command->name));
    PB_TRY(put(out, ".B peftbench ", command->name));
    PB_TRY(put(out, "\\&", command->usage != NULL ? command->usage : ""));
    PB_TRY(put(out, ".PP\n", command->help));
    PB_TRY(put_options(command, out));
    return command->details != NULL ? put(out, ".PP\n", command->details) : PB_OK;
}

static pb_status manual(const pb_command *const *commands, pb_string *out)
{
    PB_TRY(pb_string_puts(out, ".TH PEFTBENCH 1 \"\" \"peftbench " PB_VERSION "\"\n.SH NAME\n"
                               "peftbench \\- parameter\\-efficient fine\\-tuning, measured\n"
                               ".SH SYNOPSIS\n.B peftbench\n.I COMMAND\n"
                               "[arguments] [options]\n.SH DESCRIPTION\n"));
    PB_TRY(put(out, "\\&", cli_about));
    PB_TRY(put(out, ".SH EXIT STATUS\n", cli_exit_codes));
    PB_TRY(pb_string_puts(out, ".SH COMMANDS\n"));
    for (; *commands != NULL; commands++) {
        PB_TRY(put_command(*commands, out));
    }
    return PB_OK;
}

static pb_status run(pb_cli *cli)
{
    pb_string text = {0};
    return cli_print_made(cli, manual(cli->commands, &text), &text);
}

const pb_command command_manual = {
    .name  = "manual",
    .help  = "print the manual page, for man: all commands and options",
    .usage = "",
    .first = true,
    .run   = run,
};
