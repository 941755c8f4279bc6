// SPDX-License-Identifier: Apache-2.0
/* peftbench completion: what completes the command line in a shell, from the tables of commands and
 * options. */
#include "commands.h"

#include "pb/memory.h"
#include "pb/registry.h"

#include <string.h>

typedef struct shell {
    const char *name;
    const char *head; /* up to the names of all commands */
    const char *next; /* up to the cases */
    const char *tail;
    const char *begin, *end; /* before the name of a command, and after its options */
    /* The words that can be its first argument, "" where any can be. */
    pb_status (*words)(const char *words, pb_string *out);
    pb_status (*option)(const pb_option *option, pb_string *out);
} shell;

/* --------------------------------------------------------------------------------------- bash */

static const char bash_head[] =
    "# bash completion of peftbench\n"
    "_peftbench() {\n"
    "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
    "    local words='' options=' ' kind=''\n"
    "    if [ \"$before\" = = ]; then # --option=value is three words\n"
    "        before=${COMP_WORDS[COMP_CWORD - 2]}\n"
    "    elif [ \"$word\" = = ]; then\n"
    "        word=''\n"
    "    fi\n"
    "    if [ \"$COMP_CWORD\" -eq 1 ] || [ \"${COMP_WORDS[1]}\" = help ]; then\n"
    "        words='help --help --version";

static const char bash_next[] = "'\n    fi\n"
                                "    case ${COMP_WORDS[1]} in\n";

static const char bash_tail[] =
    "    esac\n"
    "    [[ $word == -* && $options ]] && words+=$options\n"
    "    mapfile -t COMPREPLY < <(compgen ${kind:+-A \"$kind\"} -W \"$words\" -- \"$word\")\n"
    "}\n"
    "complete -o default -F _peftbench peftbench\n";

static pb_status bash_words(const char *words, pb_string *out)
{
    return *words == '\0'
               ? PB_OK
               : pb_string_printf(out, "        [ -n \"$words\" ] || words='%s'\n", words);
}

/* A value is one of the choices, a folder, or what bash offers by default: a file. */
static pb_status bash_option(const pb_option *option, pb_string *out)
{
    bool folder = option->value != NULL && strcmp(option->value, "DIR") == 0;
    PB_TRY(pb_string_printf(out, "        options+=' --%s'\n", option->name));
    if (option->kind == PB_OPTION_FLAG) {
        return PB_OK;
    }
    PB_TRY(pb_string_printf(out, "        case $before in --%s", option->name));
    if (option->letter != 0) {
        PB_TRY(pb_string_printf(out, " | -%c", option->letter));
    }
    PB_TRY(pb_string_printf(out, ") options='' kind='%s' words='", folder ? "directory" : ""));
    for (const char *const *c = option->choices; c != NULL && *c != NULL; c++) {
        PB_TRY(pb_string_printf(out, "%s%s", c == option->choices ? "" : " ", *c));
    }
    return pb_string_puts(out, "' ;; esac\n");
}

/* ---------------------------------------------------------------------------------------- zsh */

static const char zsh_head[] = "#compdef peftbench\n"
                               "local -a specs\n"
                               "if (( CURRENT == 2 )) || [[ $words[2] == help ]]; then\n"
                               "    compadd help --help --version";

static const char zsh_next[] = "\n    return\nfi\n"
                               "case $words[2] in\n";

static const char zsh_tail[] = "esac\n"
                               "shift words\n"
                               "(( CURRENT-- ))\n"
                               "_arguments $specs\n";

static pb_status zsh_words(const char *words, pb_string *out)
{
    return *words != '\0' ? pb_string_printf(out, "    specs=('1:word:(%s)' '*:file:_files'", words)
                          : pb_string_puts(out, "    specs=('*:file:_files'");
}

/* "[meaning]:value:what it can be", for the option as it is written. */
static pb_status zsh_spec(const pb_option *option, const char *written, pb_string *out)
{
    PB_TRY(pb_string_printf(out, "\n        '%s%s[", option->kind == PB_OPTION_LIST ? "*" : "",
                            written));
    for (const char *p = option->help; *p != '\0'; p++) {
        PB_TRY(pb_string_puts(out, *p == '\'' ? "'\\'" : strchr("[]:\\", *p) != NULL ? "\\" : ""));
        PB_TRY(pb_string_append(out, p, 1));
    }
    if (option->kind == PB_OPTION_FLAG) {
        return pb_string_puts(out, "]'");
    }
    PB_TRY(pb_string_puts(out, "]:value:"));
    for (const char *const *c = option->choices; c != NULL && *c != NULL; c++) {
        PB_TRY(pb_string_printf(out, "%s%s", c == option->choices ? "(" : " ", *c));
    }
    return pb_string_puts(out, option->choices != NULL ? ")'" : "_files'");
}

static pb_status zsh_option(const pb_option *option, pb_string *out)
{
    const char letter[] = {'-', option->letter, '\0'};
    pb_string name      = {0};
    pb_status status    = PB_OK;

    PB_TRY(
        pb_string_printf(&name, "--%s%s", option->name, option->kind == PB_OPTION_FLAG ? "" : "="));
    PB_TRY_GOTO(status, zsh_spec(option, name.data, out), done);
    if (option->letter != 0) {
        PB_TRY_GOTO(status, zsh_spec(option, letter, out), done);
    }
done:
    pb_string_clear(&name);
    return status;
}

/* ------------------------------------------------------------------------------------------ */

static const shell shells[] = {
    {.name   = "bash",
     .head   = bash_head,
     .next   = bash_next,
     .tail   = bash_tail,
     .begin  = "    ",
     .end    = "        ;;\n",
     .words  = bash_words,
     .option = bash_option},
    {.name   = "zsh",
     .head   = zsh_head,
     .next   = zsh_next,
     .tail   = zsh_tail,
     .begin  = "",
     .end    = "\n    )\n    ;;\n",
     .words  = zsh_words,
     .option = zsh_option},
    {.name = NULL},
};

/* A usage such as "models|datasets [--json]" names the words of the first argument. */
static pb_status put_words(const shell *its, const char *usage, pb_string *out)
{
    char words[256] = "";
    size_t length   = usage != NULL ? strcspn(usage, " ") : 0;
    if (length > 0 && length < sizeof words && memchr(usage, '|', length) != NULL) {
        for (size_t i = 0; i < length; i++) {
            words[i] = usage[i] == '|' ? ' ' : usage[i];
        }
    }
    return its->words(words, out);
}

static pb_status put_command(const shell *its, const pb_command *command, pb_string *out)
{
    option_entry *entries = NULL;
    int64_t count         = 0;

    PB_TRY(pb_string_printf(out, "%s%s)\n", its->begin, command->name));
    PB_TRY(put_words(its, command->usage, out));
    PB_TRY(option_list(command, &entries, &count));
    pb_status status = PB_OK;
    for (int64_t i = 0; i < count && status == PB_OK; i++) {
        status = its->option(&entries[i].option, out);
    }
    pb_memory_free(entries);
    PB_TRY(status);
    return pb_string_puts(out, its->end);
}

static pb_status put_shell(const pb_command *const *all, const char *name, pb_string *out)
{
    static const pb_registry registry = {
        .kind = "shell", .entries = shells, .stride = sizeof *shells};
    size_t k;

    PB_TRY(pb_registry_find(&registry, name, &k));
    PB_TRY(pb_string_puts(out, shells[k].head));
    for (const pb_command *const *c = all; *c != NULL; c++) {
        PB_TRY(pb_string_printf(out, " %s", (*c)->name));
    }
    PB_TRY(pb_string_puts(out, shells[k].next));
    for (const pb_command *const *c = all; *c != NULL; c++) {
        PB_TRY(put_command(&shells[k], *c, out));
    }
    return pb_string_puts(out, shells[k].tail);
}

static pb_status run(pb_cli *cli)
{
    pb_string text = {0};
    return cli_print_made(cli, put_shell(cli->commands, pb_cli_argument(cli, 0), &text), &text);
}

const pb_command command_completion = {
    .name    = "completion",
    .help    = "print what completes this program's commands and options in a shell",
    .usage   = "bash|zsh",
    .details = "For bash: . <(peftbench completion bash). For zsh: a file _peftbench in a folder "
               "of $fpath. An installed program has both already.\n",
    .first   = true,
    .min_arguments = 1,
    .max_arguments = 1,
    .run           = run,
};
