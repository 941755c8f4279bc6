// SPDX-License-Identifier: Apache-2.0
/* Parsing: arguments become values through the tables of options; every error names the option and
 * the nearest valid one. */
#include "commands.h"

#include "pb/device.h"
#include "pb/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct option_value {
    const pb_option *option;
    bool given;
    const char *text; /* as typed, or the fallback */
    int64_t integer;
    double number;
    const char **items;
    int64_t count;
} option_value;

struct pb_cli_values {
    option_entry *entries;
    option_value *options;
    int64_t option_count;
    const char **arguments;
    int argument_count;
};

static option_value *find(const pb_cli *cli, const char *name, size_t length)
{
    for (int64_t i = 0; i < cli->values->option_count; i++) {
        const pb_option *option = cli->values->options[i].option;
        if (strlen(option->name) == length && memcmp(option->name, name, length) == 0) {
            return &cli->values->options[i];
        }
    }
    return NULL;
}

static option_value *find_letter(const pb_cli *cli, char letter)
{
    for (int64_t i = 0; i < cli->values->option_count; i++) {
        if (cli->values->options[i].option->letter == letter) {
            return &cli->values->options[i];
        }
    }
    return NULL;
}

static pb_status fail_unknown(const pb_cli *cli, const char *argument)
{
    const char **names = NULL;
    char name[64]      = {0};
    PB_TRY(PB_ALLOC(names, cli->values->option_count + 1));
    for (int64_t i = 0; i < cli->values->option_count; i++) {
        names[i] = cli->values->options[i].option->name;
    }
    const char *bare = argument + strspn(argument, "-");
    size_t length    = strcspn(bare, "=");
    memcpy(name, bare, length < sizeof name ? length : sizeof name - 1);
    const char *near = pb_string_nearest(name, names);
    pb_status status = PB_FAIL(
        PB_ERR_USAGE, "%s: unknown option %.*s;%s%s%s see peftbench %s --help", cli->command->name,
        (int)strcspn(argument, "="), argument, near != NULL ? " did you mean --" : "",
        near != NULL ? near : "", near != NULL ? "?" : "", cli->command->name);
    pb_memory_free(names);
    return status;
}

static pb_status check_number(const pb_cli *cli, option_value *value)
{
    const pb_option *option = value->option;
    const char *what        = option->kind == PB_OPTION_INT ? "an integer" : "a number";
    char *rest              = NULL;
    errno                   = 0;
    if (option->kind == PB_OPTION_INT) {
        value->integer = strtoll(value->text, &rest, 10);
        value->number  = (double)value->integer;
    } else {
        value->number = strtod(value->text, &rest);
    }
    if (rest == value->text || *rest != '\0' || errno == ERANGE || !isfinite(value->number)) {
        return PB_FAIL(PB_ERR_USAGE, "%s: --%s %s is not %s", cli->command->name, option->name,
                       value->text, what);
    }
    bool bounded = option->minimum != 0 || option->maximum != 0;
    if (bounded && (value->number < option->minimum || value->number > option->maximum)) {
        return PB_FAIL(PB_ERR_USAGE, "%s: --%s %s is outside %.16g … %.16g", cli->command->name,
                       option->name, value->text, option->minimum, option->maximum);
    }
    return PB_OK;
}

static pb_status check_text(const pb_cli *cli, const option_value *value)
{
    const pb_option *option = value->option;
    char hint[PB_HINT_BYTES];

    for (const char *const *choice = option->choices; choice != NULL; choice++) {
        if (*choice == NULL) {
            return PB_FAIL(PB_ERR_USAGE, "%s: --%s %s is not one of its values%s",
                           cli->command->name, option->name, value->text,
                           pb_string_hint(hint, value->text, option->choices));
        }
        if (strcmp(*choice, value->text) == 0) {
            break;
        }
    }
    return PB_OK;
}

static pb_status take_value(const pb_cli *cli, option_value *value, const char *text)
{
    const pb_option *option = value->option;
    if (value->given && option->kind != PB_OPTION_LIST) {
        return PB_FAIL(PB_ERR_USAGE, "%s: --%s is given twice", cli->command->name, option->name);
    }
    value->given = true;
    value->text  = text;
    switch (option->kind) {
    case PB_OPTION_INT:
    case PB_OPTION_FLOAT:
        return check_number(cli, value);
    case PB_OPTION_TEXT:
        return check_text(cli, value);
    case PB_OPTION_LIST:
        value->items[value->count++] = text;
        return PB_OK;
    case PB_OPTION_FLAG:
        value->integer = 1;
        return PB_OK;
    }
    return PB_OK;
}

/* One option at argv[*at]; *at moves on to the last argument that belongs to it. */
static pb_status parse_option(pb_cli *cli, int argc, char *const *argv, int *at)
{
    const char *argument = argv[*at];
    bool is_long         = argument[1] == '-';
    const char *equals   = is_long ? strchr(argument, '=') : NULL;
    option_value *value  = NULL;
    if (is_long) {
        size_t length = equals != NULL ? (size_t)(equals - argument) : strlen(argument);
        value         = find(cli, argument + 2, length - 2);
    } else if (argument[2] == '\0') {
        value = find_letter(cli, argument[1]);
    }
    if (value == NULL) {
        return fail_unknown(cli, argument);
    }
    const pb_option *option = value->option;
    if (option->kind == PB_OPTION_FLAG) {
        if (equals != NULL) {
            return PB_FAIL(PB_ERR_USAGE, "%s: --%s takes no value", cli->command->name,
                           option->name);
        }
        return take_value(cli, value, "");
    }
    if (equals != NULL) {
        return take_value(cli, value, equals + 1);
    }
    if (*at + 1 >= argc || strncmp(argv[*at + 1], "--", 2) == 0) {
        return PB_FAIL(PB_ERR_USAGE, "%s: --%s needs a value: %s", cli->command->name, option->name,
                       option->value != NULL ? option->value : "TEXT");
    }
    *at += 1;
    return take_value(cli, value, argv[*at]);
}

static pb_status parse(pb_cli *cli, int argc, char *const *argv)
{
    bool options = true;
    for (int i = 0; i < argc; i++) {
        if (options && strcmp(argv[i], "--") == 0) {
            options = false;
        } else if (options && argv[i][0] == '-' && argv[i][1] != '\0') {
            PB_TRY(parse_option(cli, argc, argv, &i));
        } else {
            cli->values->arguments[cli->values->argument_count++] = argv[i];
        }
    }
    return PB_OK;
}

static pb_status check_complete(pb_cli *cli)
{
    const pb_command *command = cli->command;
    int count                 = cli->values->argument_count;
    if (count < command->min_arguments) {
        return PB_FAIL(PB_ERR_USAGE, "%s: an argument is missing; usage: peftbench %s %s",
                       command->name, command->name, command->usage);
    }
    if (command->max_arguments >= 0 && count > command->max_arguments) {
        return PB_FAIL(PB_ERR_USAGE, "%s: unexpected argument \"%s\"; usage: peftbench %s %s",
                       command->name, cli->values->arguments[command->max_arguments], command->name,
                       command->usage);
    }
    for (int64_t i = 0; i < cli->values->option_count; i++) {
        option_value *value = &cli->values->options[i];
        if (value->given) {
            continue;
        }
        if (value->option->required) {
            return PB_FAIL(PB_ERR_USAGE, "%s: --%s %s is missing: %s", command->name,
                           value->option->name, value->option->value, value->option->help);
        }
        if (value->option->fallback != NULL) {
            PB_TRY(take_value(cli, value, value->option->fallback));
            value->given = false;
        }
    }
    if (command->computes) {
        const char *device = NULL;
        int number         = 0;
        PB_TRY(pb_cli_device(cli, &device, &number));
    }
    return PB_OK;
}

/* Room for every value; lists may hold every argument. */
static pb_status make_values(pb_cli *cli, int argc)
{
    int64_t count = 0;
    PB_TRY(PB_ALLOC(cli->values, 1));
    PB_TRY(PB_ALLOC(cli->values->arguments, argc));
    PB_TRY(option_list(cli->command, &cli->values->entries, &count));
    PB_TRY(PB_ALLOC(cli->values->options, count));
    for (; cli->values->option_count < count; cli->values->option_count++) {
        option_value *value = &cli->values->options[cli->values->option_count];
        value->option       = &cli->values->entries[cli->values->option_count].option;
        if (value->option->kind == PB_OPTION_LIST) {
            PB_TRY(PB_ALLOC(value->items, argc));
        }
    }
    return PB_OK;
}

pb_status pb_cli_open(const pb_command *command, pb_comm *comm, int argc, char *const *argv,
                      pb_cli **out)
{
    pb_cli *cli      = NULL;
    pb_status status = PB_OK;
    PB_TRY(PB_ALLOC(cli, 1));
    cli->command = command;
    cli->comm    = comm;
    PB_TRY_GOTO(status, make_values(cli, argc), fail);
    PB_TRY_GOTO(status, parse(cli, argc, argv), fail);
    PB_TRY_GOTO(status, check_complete(cli), fail);
    *out = cli;
    return PB_OK;
fail:
    pb_cli_close(cli);
    return status;
}

void pb_cli_close(pb_cli *cli)
{
    if (cli == NULL) {
        return;
    }
    if (cli->values != NULL) {
        for (int64_t i = 0; i < cli->values->option_count; i++) {
            pb_memory_free(cli->values->options[i].items);
        }
        pb_memory_free(cli->values->options);
        pb_memory_free(cli->values->entries);
        pb_memory_free(cli->values->arguments);
        pb_memory_free(cli->values);
    }
    pb_memory_free(cli);
}

static const option_value *value_of(const pb_cli *cli, const char *name)
{
    static const option_value none = {0};
    const option_value *value      = find(cli, name, strlen(name));
    PB_ASSERT(value != NULL);
    return value != NULL ? value : &none;
}

const char *pb_cli_text(const pb_cli *cli, const char *name)
{
    return value_of(cli, name)->text;
}

int64_t pb_cli_int(const pb_cli *cli, const char *name)
{
    return value_of(cli, name)->integer;
}

bool pb_cli_flag(const pb_cli *cli, const char *name)
{
    return value_of(cli, name)->given;
}

bool pb_cli_given(const pb_cli *cli, const char *name)
{
    return value_of(cli, name)->given;
}

const char *const *pb_cli_list(const pb_cli *cli, const char *name, int64_t *count)
{
    const option_value *value = value_of(cli, name);
    *count                    = value->count;
    return value->items;
}

void pb_cli_overlay(const pb_cli *cli, const pb_config_field *fields, void *object)
{
    for (int64_t i = 0; i < cli->values->option_count; i++) {
        const option_value *value = &cli->values->options[i];
        if (!value->given || value->option->fields != fields) {
            continue;
        }
        const pb_config_field *field = option_field(value->option);
        char *member                 = (char *)object + field->offset;
        switch (value->option->kind) {
        case PB_OPTION_FLAG:
            memcpy(member, &value->given, sizeof value->given);
            break;
        case PB_OPTION_INT:
            memcpy(member, &value->integer, sizeof value->integer);
            break;
        default:
            memcpy(member, &value->number, sizeof value->number);
        }
    }
}

int pb_cli_argument_count(const pb_cli *cli)
{
    return cli->values->argument_count;
}

const char *pb_cli_argument(const pb_cli *cli, int index)
{
    return index < cli->values->argument_count ? cli->values->arguments[index] : NULL;
}

pb_status pb_cli_device(const pb_cli *cli, const char **name, int *number)
{
    int node_rank    = cli->comm != NULL ? pb_comm_node_rank(cli->comm) : 0;
    pb_status status = pb_device_parse(pb_cli_text(cli, "device"), node_rank, name, number);
    if (status != PB_OK) {
        pb_error_prefix(status, "%s: --device", cli->command->name);
        return PB_FRAME(status);
    }
    return PB_OK;
}

pb_dtype pb_cli_dtype(const pb_cli *cli)
{
    return strcmp(pb_cli_text(cli, "dtype"), "bf16") == 0 ? PB_DTYPE_BF16 : PB_DTYPE_F32;
}
