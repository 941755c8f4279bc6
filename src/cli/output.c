// SPDX-License-Identifier: Apache-2.0
/* Standard output: its width, and writing whole texts in as few pieces as the system allows. */
#include "commands.h"

#include "pb/table.h"
#include "pb/width.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static bool unheard = false; /* the reader of standard output is gone */

bool pb_cli_is_heard(void)
{
    return !unheard;
}

pb_status cli_write(pb_comm *comm, const char *text)
{
    size_t left = strlen(text);

    if (pb_comm_rank(comm) != 0 || unheard) {
        return PB_OK;
    }
    while (left > 0) {
        ssize_t written = write(STDOUT_FILENO, text, left);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0 && errno == EPIPE) {
            unheard = true; /* as with `| head`: not an error */
            return PB_OK;
        }
        if (written < 0) {
            return PB_FAIL(PB_ERR_IO, "standard output cannot be written: %s", strerror(errno));
        }
        text += written;
        left -= (size_t)written;
    }
    return PB_OK;
}

pb_status pb_cli_print(const pb_cli *cli, const char *text)
{
    return cli_write(cli->comm, text);
}

static int64_t columns_of_environment(void)
{
    const char *text = getenv("COLUMNS");
    char *rest       = NULL;
    long columns     = text != NULL ? strtol(text, &rest, 10) : 0;

    return text != NULL && rest != text && *rest == '\0' ? columns : 0;
}

static int64_t columns_of_terminal(void)
{
    struct winsize window;

    return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 ? window.ws_col
                                                                                   : 0;
}

/* 0: unknown. */
static int64_t known_columns(void)
{
    int64_t columns = columns_of_environment();

    if (columns <= 0 || columns > CLI_WIDEST) {
        columns = columns_of_terminal();
    }
    if (columns <= 0) {
        return 0;
    }
    return columns < PB_TABLE_WIDTH_MIN ? PB_TABLE_WIDTH_MIN : columns;
}

int64_t cli_terminal_width(void)
{
    int64_t columns = known_columns();
    return columns > 0 ? columns : PB_TABLE_WIDTH;
}

bool cli_takes_colour(const pb_cli *cli)
{
    const char *refused = getenv("NO_COLOR");
    const char *term    = getenv("TERM");

    return strcmp(pb_comm_name(cli->comm), "self") == 0 && isatty(STDOUT_FILENO) &&
           (refused == NULL || *refused == '\0') && (term == NULL || strcmp(term, "dumb") != 0);
}

int64_t pb_cli_width(const pb_cli *cli)
{
    return pb_cli_given(cli, "width") ? pb_cli_int(cli, "width") : cli_terminal_width();
}

/* Bytes before the value of a line: its blanks, the dash of a list, or a name followed by a gap. */
static size_t label_length(const char *line)
{
    size_t blanks   = strspn(line, " ");
    const char *gap = strstr(line + blanks, "  ");

    if (strncmp(line + blanks, "- ", 2) == 0) {
        return blanks + 2;
    }
    return gap != NULL ? (size_t)(gap - line) + strspn(gap, " ") : blanks;
}

static pb_status put_line(pb_string *out, int64_t width, const char *line)
{
    size_t label     = label_length(line);
    pb_string before = {0};
    pb_status status;

    if (width <= 0 || pb_width(line) <= width) {
        return pb_string_printf(out, "%s\n", line);
    }
    PB_TRY_GOTO(status, pb_string_append(&before, line, label), done);
    PB_TRY_GOTO(status, pb_string_append(out, line, label), done);
    PB_TRY_GOTO(status,
                pb_table_note(out, width, before.length > 0 ? pb_width(before.data) : 0, "%s",
                              line + label),
                done);
done:
    pb_string_clear(&before);
    return status;
}

pb_status cli_print_made(const pb_cli *cli, pb_status made, pb_string *text)
{
    pb_status status = made;

    if (status == PB_OK) {
        status = pb_cli_print(cli, text->data != NULL ? text->data : "");
    }
    pb_string_clear(text);
    return PB_FRAME(status);
}

static pb_status put_lines(const pb_cli *cli, const char *text, pb_string *out)
{
    int64_t width    = pb_cli_given(cli, "width") ? pb_cli_int(cli, "width") : known_columns();
    pb_string line   = {0};
    pb_status status = PB_OK;

    while (*text != '\0') {
        size_t length = strcspn(text, "\n");
        PB_TRY_GOTO(status, pb_string_printf(&line, "%.*s", (int)length, text), done);
        PB_TRY_GOTO(status, put_line(out, width, line.data), done);
        pb_string_clear(&line);
        text += length + (text[length] == '\n');
    }
done:
    pb_string_clear(&line);
    return status;
}

pb_status cli_print_lines(const pb_cli *cli, pb_status made, pb_string *text)
{
    pb_string lines  = {0};
    pb_status status = made == PB_OK ? put_lines(cli, text->data, &lines) : made;

    pb_string_clear(text);
    return cli_print_made(cli, status, &lines);
}

pb_status cli_print_facts(const pb_cli *cli, pb_status made, pb_string *text)
{
    return pb_cli_flag(cli, "json") ? cli_print_made(cli, made, text)
                                    : cli_print_lines(cli, made, text);
}
