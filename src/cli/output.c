// SPDX-License-Identifier: Apache-2.0
/* Standard output: whole texts in as few pieces as the system allows, and how wide it is. */
#include "commands.h"

#include "pb/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { WIDEST = 100000 };

const pb_option pb_options_width[] = {
    {.name    = "width",
     .kind    = PB_OPTION_INT,
     .value   = "N",
     .minimum = PB_TABLE_WIDTH_MIN,
     .maximum = WIDEST,
     .help    = "columns of a line of text; default: $COLUMNS, else the terminal's, else 120"},
    PB_OPTION_END,
};

static bool unheard = false; /* the reader of standard output has gone */

bool pb_cli_is_heard(void)
{
    return !unheard;
}

pb_status pb_cli_write(pb_comm *comm, const char *text)
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
            unheard = true; /* as behind `| head`: nothing is wrong */
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
    return pb_cli_write(cli->comm, text);
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

int64_t pb_cli_terminal_width(void)
{
    int64_t columns = columns_of_environment();

    if (columns <= 0 || columns > WIDEST) {
        columns = columns_of_terminal();
    }
    if (columns <= 0) {
        return PB_TABLE_WIDTH;
    }
    return columns < PB_TABLE_WIDTH_MIN ? PB_TABLE_WIDTH_MIN : columns;
}

int64_t pb_cli_width(const pb_cli *cli)
{
    return pb_cli_given(cli, "width") ? pb_cli_int(cli, "width") : pb_cli_terminal_width();
}
